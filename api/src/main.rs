//! The command line. What a command makes goes to standard output, everything said about it to standard error.

use std::{
    io::{ErrorKind, IsTerminal, Write, stderr, stdout},
    process::ExitCode,
};

use antiphon::{
    app::{self, App},
    config::{Cli, Command, Export, Import, Serve, Settings},
    doctor,
    domain::portability::import::Progress,
    graphql::schema,
    model::ids::ProjectId,
    telemetry::Telemetry,
};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Answers are many small allocations: this allocator took a sixth off a request's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            // Where not even this can be said, the exit code says it.
            let _ = writeln!(stderr(), "antiphon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::start(cli.settings.observability.log.log_format)?;
    let done = obey(cli).await;
    telemetry.finish().await;
    done
}

/// The exit code of an import by which something stays as it is here although a commit changed it too.
const CONFLICTS: u8 = 3;

async fn obey(cli: Cli) -> anyhow::Result<ExitCode> {
    let Cli { command, serve, settings } = cli;
    let settings = settings.with_files()?;
    match command {
        None => run_server(settings, serve).await,
        Some(Command::Serve(again)) => {
            run_server(settings, Serve { migrate: serve.migrate || again.migrate, ..serve }).await
        }
        Some(Command::Migrate { down: None, .. }) => {
            let names = app::migrate(&settings).await?;
            if names.is_empty() {
                print("No migration to be applied.\n")
            } else {
                names.iter().try_for_each(|name| print(&format!("{name} applied\n")))
            }
        }
        Some(Command::Migrate { down: Some(steps), yes }) => take_back(&settings, steps, yes).await,
        Some(Command::Token { email, name, hours }) => {
            print(&format!("{}\n", app::token(&settings, &email, name.as_deref(), hours)?))
        }
        Some(Command::Import(import)) => return run_import(&settings, &import).await,
        Some(Command::Export(export)) => run_export(&settings, &export).await,
        Some(Command::Verify { project }) => run_verify(&settings, project.as_deref()).await,
        Some(Command::Doctor) => run_doctor(&settings).await,
        Some(Command::Schema) => print(&format!("{}\n", schema::sdl(&schema::build(&settings.limits)).trim_end())),
    }?;
    Ok(ExitCode::SUCCESS)
}

async fn take_back(settings: &Settings, steps: u32, confirmed: bool) -> anyhow::Result<()> {
    let mut printed = Ok(());
    let mut report = |loss| {
        if printed.is_ok() {
            printed = print(&format!("lost: {loss}\n"));
        }
    };
    let names = app::take_back(settings, steps, confirmed, &mut report).await;
    printed?;
    names?.iter().try_for_each(|name| print(&format!("{name} taken back\n")))
}

async fn run_import(settings: &Settings, import: &Import) -> anyhow::Result<ExitCode> {
    let bar =
        ProgressBar::new(0).with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} commits, {eta} left")?);
    let mut report = |progress| match progress {
        Progress::Begins { commits, before } => {
            if before > 0 {
                say(&bar, &format!("continuing after {before} commits"));
            }
            bar.set_length(commits as u64);
        }
        Progress::Commit => bar.inc(1),
        Progress::Skipped { commit, path, why } => say(&bar, &format!("left out: {path:?} of commit {commit}: {why}")),
        Progress::Kept { commit, path, why } => {
            say(&bar, &format!("conflict: {path:?} of commit {commit}: {why} What is here stays."));
        }
        Progress::Replaced { commit, what } => say(&bar, &format!("commit {commit}: {what}")),
    };
    let imported = app::import(settings, import, &mut report).await;
    bar.finish_and_clear();
    let imported = imported?;
    print(&format!(
        "project {}: {} commits imported, {} versions of files, {} left out, {} parts of commits replaced, {} conflicts; {} commits to go\n",
        imported.project.0,
        imported.commits,
        imported.versions,
        imported.skipped,
        imported.replaced,
        imported.kept,
        imported.left
    ))?;
    Ok(if imported.kept > 0 { ExitCode::from(CONFLICTS) } else { ExitCode::SUCCESS })
}

async fn run_export(settings: &Settings, export: &Export) -> anyhow::Result<()> {
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template("{spinner} {pos} commits")?);
    let said = app::export(settings, export, &mut |commits| bar.set_position(commits as u64)).await;
    bar.finish_and_clear();
    said?.iter().try_for_each(|line| print(&format!("{line}\n")))
}

async fn run_verify(settings: &Settings, project: Option<&str>) -> anyhow::Result<()> {
    let mut printed = Ok(());
    let mut report = |project: Option<ProjectId>, wrong| {
        if printed.is_ok() {
            let of = project.map_or("database".to_owned(), |project| format!("project {}", project.0));
            printed = print(&format!("{of}: {wrong}\n"));
        }
    };
    let verified = app::verify(settings, project, &mut report).await?;
    printed?;
    let (projects, revisions, snapshots) = (verified.projects, verified.revisions, verified.snapshots);
    let (versions, blobs) = (verified.versions, verified.blobs);
    print(&format!(
        "read {projects} projects: {revisions} revisions, {versions} versions, {blobs} contents, {snapshots} snapshots\n"
    ))?;
    verified.notes.iter().try_for_each(|note| print(&format!("{note}\n")))?;
    match verified.problems {
        0 => print("nothing wrong was found\n"),
        problems => bail!("{problems} things are wrong"),
    }
}

async fn run_doctor(settings: &Settings) -> anyhow::Result<()> {
    let findings = doctor::examine(settings).await;
    findings.iter().try_for_each(|finding| print(&finding.to_string()))?;
    match findings.iter().filter(|finding| finding.is_broken()).count() {
        0 => Ok(()),
        broken => bail!("{broken} of {} things are broken", findings.len()),
    }
}

/// Says something of a command's work, above its progress bar where there is one.
fn say(bar: &ProgressBar, text: &str) {
    if stderr().is_terminal() {
        bar.println(text);
    } else {
        // Where not even this can be said, the counts at the end say it.
        let _ = writeln!(stderr(), "{text}");
    }
}

/// Serves until the process is told to stop; told again, it stops at once.
async fn run_server(settings: Settings, serve: Serve) -> anyhow::Result<()> {
    let app = App::start(settings, serve).await?;
    if let Some(link) = app.sign_in_link() {
        print(&sign_in(link, stdout().is_terminal()))?;
    }
    told_to_stop().await?;
    tokio::select! {
        () = app.stop() => Ok(()),
        told = told_to_stop() => told,
    }
}

/// The sign-in link, so that nobody looks for it among the lines of the log.
fn sign_in(link: &str, is_terminal: bool) -> String {
    let (bold, plain) = if is_terminal { ("\u{1b}[1m", "\u{1b}[0m") } else { ("", "") };
    let rule = "─".repeat(80);
    format!(
        "\n{rule}\n  Sign in here (no JWT_SECRET is set: the link lets in whoever opens it):\n\n  {bold}{link}{plain}\n{rule}\n\n"
    )
}

/// Waits for an interrupt (Ctrl-C) or, where there is such a thing, SIGTERM.
async fn told_to_stop() -> anyhow::Result<()> {
    let cannot = "cannot wait for signals";
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).context(cannot)?;
        tokio::select! {
            told = tokio::signal::ctrl_c() => told.context(cannot),
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await.context(cannot)
}

/// Writes to standard output; whoever closes it has read enough.
fn print(text: &str) -> anyhow::Result<()> {
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}
