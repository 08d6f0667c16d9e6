//! The command line. What a command makes goes to standard output, everything said about it to standard error.

use std::{
    io::{ErrorKind, Write, stderr, stdout},
    process::ExitCode,
};

use antiphon::{
    app::{self, App},
    config::{Cli, Command, Serve, Settings},
    graphql::schema,
    telemetry,
};
use anyhow::Context;
use clap::Parser;

/// Answers are many small allocations: this allocator took a sixth off a request's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where not even this can be said, the exit code says it.
            let _ = writeln!(stderr(), "antiphon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<()> {
    telemetry::init()?;
    let Cli { command, serve: Serve { migrate }, settings } = cli;
    match command {
        None => run_server(settings, Serve { migrate }).await,
        Some(Command::Serve(serve)) => run_server(settings, Serve { migrate: migrate || serve.migrate }).await,
        Some(Command::Migrate { down }) => {
            let names = app::migrate(&settings, down).await?;
            let done = if down.is_some() { "taken back" } else { "applied" };
            if names.is_empty() {
                return print(&format!("No migration to be {done}.\n"));
            }
            names.iter().try_for_each(|name| print(&format!("{name} {done}\n")))
        }
        Some(Command::Token { email, name, hours }) => {
            print(&format!("{}\n", app::token(&settings, &email, name.as_deref(), hours)?))
        }
        Some(Command::Schema) => print(&format!("{}\n", schema::build(&settings.limits).sdl().trim_end())),
    }
}

/// Serves until the process is told to stop; told again, it stops at once.
async fn run_server(settings: Settings, serve: Serve) -> anyhow::Result<()> {
    let app = App::start(settings, serve).await?;
    if let Some(link) = app.sign_in_link() {
        print(&format!("\nNo JWT_SECRET is set, so this server signs in whoever can open this link:\n\n  {link}\n\n"))?;
    }
    told_to_stop().await?;
    tokio::select! {
        () = app.stop() => Ok(()),
        told = told_to_stop() => told,
    }
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
