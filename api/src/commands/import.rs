//! `antiphon import`: imports a git history into a project, or a project from one file.

use std::{path::Path, process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    database::open,
    project_file::import_file,
    serve::stop_signal,
    terminal::{note, print},
};
use crate::{
    config::{Import, Settings},
    database_url::for_operator,
    domain::{
        Services,
        import_export::{
            import::{self, Imported, Progress},
            place::{Created, Destination},
        },
    },
    model::{
        actor::{Actor, Claims},
        ids::ProjectId,
    },
    storage::project_copy::Copied,
    transport::auth::user_of,
};

/// Imports a git history and reports its progress to `report`.
///
/// # Errors
/// Why it stopped. Commits imported until then stay, and the next run continues after them.
pub async fn import(
    settings: &Settings,
    import: &Import,
    report: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<Imported> {
    let (user_id, email) = user_of(&import.email).map_err(for_operator)?;
    let claims = Arc::new(Claims { email: Some(email), ..Claims::default() });
    let actor = Actor { user_id, expires_at: None, verified_email: None, claims, is_machine: false };
    let git = import.git.as_ref().context("give --git or a file")?;
    let repository = git.canonicalize().with_context(|| format!("cannot open {}", git.display()))?;
    let destination = match (&import.project, &import.name) {
        (Some(id), _) => Destination::Id(ProjectId::parse(id, "--project").map_err(for_operator)?),
        (None, Some(name)) => Destination::Name(name.clone()),
        (None, None) => Destination::Folder(name_of(&repository).context("choose a --name for the project")?),
    };
    // These limits bound requests. The operator can spend more.
    let mut limits = settings.limits.clone();
    (limits.max_sync_files, limits.max_text_bytes) = (usize::MAX, usize::MAX);
    let services = Arc::new(Services::new(open(settings).await?, limits, &settings.database));
    let wanted = import::Import { repository, destination, branch: import.branch.clone(), max: import.max };
    let imported = import::import(&services, &actor, wanted, report).await;
    services.close().await;
    imported.map_err(for_operator)
}

/// The name of a repository's folder.
fn name_of(repository: &Path) -> Option<String> {
    let folder = repository.ancestors().find(|folder| !folder.ends_with(".git"))?;
    let name = folder.file_name()?.to_string_lossy();
    Some(name.strip_suffix(".git").unwrap_or(&name).to_owned())
}

fn describe(created: &Created) -> Vec<String> {
    let others = created.others.iter().map(|(id, name)| {
        format!("project {} ({name:?}) also has this history; to continue it, give --project {}", id.0, id.0)
    });
    [format!("project {} ({:?}) is new", created.project.0, created.name)].into_iter().chain(others).collect()
}

/// The exit code of an import that kept a present file although a commit changed it too.
const CONFLICTS: u8 = 3;

/// Imports, and shows the progress.
pub(super) async fn run(settings: &Settings, wanted: &Import) -> anyhow::Result<ExitCode> {
    if let Some(file) = &wanted.file {
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} rows")?);
        let report = &mut |rows, total| {
            bar.set_length(total);
            bar.set_position(rows);
        };
        // A stop drops the unfinished import, which removes its copy of the file.
        let imported = tokio::select! {
            imported = import_file(settings, file, &wanted.email, report) => imported,
            signal = stop_signal() => {
                signal?;
                bail!("interrupted: the project is imported as a whole or not at all")
            }
        };
        bar.finish_and_clear();
        let Copied { project, rows, has_new_ids } = imported?;
        let note =
            if has_new_ids { "; it has new ids, since the database already has the project of the file" } else { "" };
        print(&format!("project {}: {rows} rows imported{note}\n", project.0))?;
        return Ok(ExitCode::SUCCESS);
    }
    let bar =
        ProgressBar::new(0).with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} commits, {eta} left")?);
    let mut report = |progress| match progress {
        Progress::Begins { commits, before } => {
            if before > 0 {
                note(&bar, &format!("continuing after {before} commits"));
            }
            bar.set_length(commits as u64);
        }
        Progress::Commit => bar.inc(1),
        Progress::Created(created) => {
            for line in describe(&created) {
                note(&bar, &line);
            }
        }
        Progress::Overtaken { commits } => bar.inc(commits as u64),
        Progress::Skipped { commit, path, why } => note(&bar, &format!("left out: {path:?} of commit {commit}: {why}")),
        Progress::Kept { commit, path, why } => {
            note(&bar, &format!("conflict: {path:?} of commit {commit}: {why} The present file stays."));
        }
        Progress::Replaced { commit, what } => note(&bar, &format!("commit {commit}: {what}")),
    };
    // A stop drops the unfinished import, which ends its git processes.
    let imported = tokio::select! {
        imported = import(settings, wanted, &mut report) => imported,
        signal = stop_signal() => signal.and_then(|()| bail!("interrupted: the next import continues")),
    };
    bar.finish_and_clear();
    let imported = imported?;
    print(&format!(
        "project {}: {} imported, {} of files, {} left out, {} of commits replaced, {}; {} to go{}\n",
        imported.project.0,
        count(imported.commits, "commit"),
        count(imported.versions, "version"),
        imported.skipped,
        count(imported.replaced, "part"),
        count(imported.kept, "conflict"),
        count(imported.left, "commit"),
        if imported.is_shallow { "; the repository is shallow: older commits are missing" } else { "" }
    ))?;
    Ok(if imported.kept > 0 { ExitCode::from(CONFLICTS) } else { ExitCode::SUCCESS })
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
