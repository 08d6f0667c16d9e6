//! `antiphon export`: writes a project's files, its history as a git repository, or the whole project as one file.

use std::{
    io::{Write, stderr},
    path::Path,
};

use anyhow::{bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::{database::open, project_file, serve::stop_signal, terminal::print};
use crate::{
    config::{Export, Settings},
    database_url::for_operator,
    domain::{
        Services,
        import_export::{export, project_file::SUFFIX},
    },
    model::ids::{ProjectId, ReadId},
};

/// Exports a project's files, its history, or the whole project. Returns the lines of the summary, and reports the number of
/// written commits or rows to `report`.
///
/// # Errors
/// Why the export failed.
pub async fn export(
    settings: &Settings,
    wanted: &Export,
    report: &mut (dyn FnMut(usize) + Send + Sync),
) -> anyhow::Result<Vec<String>> {
    let ReadId { id: project, at } = ReadId::<ProjectId>::parse(&wanted.project, "PROJECT").map_err(for_operator)?;
    let at = match (at, wanted.at) {
        (Some(at), _) if wanted.git.is_some() => bail!("--git writes the whole history; give the id without @{at}"),
        (Some(one), Some(other)) if one != other => {
            bail!("the id refers to revision {one}, and --at to {other}; give one")
        }
        (one, other) => one.or(other),
    };
    let db = open(settings).await?;
    let ends_in = |to: &Path, wanted: &str| to.extension().is_some_and(|suffix| suffix.eq_ignore_ascii_case(wanted));
    if let Some(to) = &wanted.to {
        // A folder is refused when it is written; a pipe or a device gets the archive.
        ensure!(
            ends_in(to, SUFFIX) || ends_in(to, "zip") || to.metadata().is_ok_and(|found| !found.is_file()),
            "end the name in .zip for the files of a revision, or in .{SUFFIX} for the whole project"
        );
    }
    if let Some(to) = wanted.to.as_ref().filter(|to| ends_in(to, SUFFIX)) {
        ensure!(at.is_none(), "a revision is for archives: an .{SUFFIX} file has the whole history");
        let rows = project_file::export(settings, &db, project, to, &mut |rows, _| report(rows as usize)).await;
        db.close().await;
        return Ok(vec![format!("{} rows written to {}", rows?, to.display())]);
    }
    let (owner, newest) = export::owner(&db, project).await.map_err(for_operator)?;
    let services = Services::new(db, settings.limits.clone(), &settings.database);
    let summary = match (&wanted.to, &wanted.git) {
        (Some(to), _) => {
            let archived = export::archive(&services, (&owner, newest), project, at, to).await.map_err(for_operator)?;
            let renamed = archived.renamed.into_iter().map(|(path, name)| format!("renamed: {path:?} is {name:?}"));
            let redirected = archived.redirected.into_iter();
            let redirected = redirected.map(|(path, target)| format!("link: {path:?} leads to {target:?}"));
            let plain = archived.plain_links.into_iter();
            let plain =
                plain.map(|path| format!("no link: {path:?} could lead out of the archive or to another entry of it"));
            let written = format!("{} files written to {}", archived.files, to.display());
            renamed.chain(redirected).chain(plain).chain([written]).collect()
        }
        (None, Some(folder)) => {
            let exported = export::history(&services, &owner, project, folder, report).await.map_err(for_operator)?;
            let left_out = exported.skipped.into_iter().map(|path| format!("left out: {path}"));
            let in_history = exported.not_checked_out.into_iter();
            let in_history = in_history.map(|path| format!("in the history, not checked out: {path:?}"));
            let repaired = exported.repaired.into_iter();
            let repaired =
                repaired.map(|person| format!("without what git refuses: the author or committer {person:?}"));
            left_out
                .chain(in_history)
                .chain(repaired)
                .chain([format!("{} commits written to {}", exported.commits, folder.display())])
                .collect()
        }
        (None, None) => bail!("give --to FILE.zip or --git FOLDER"),
    };
    services.close().await;
    Ok(summary)
}

/// Exports, and shows the progress.
pub(super) async fn run(settings: &Settings, wanted: &Export) -> anyhow::Result<()> {
    let what = if wanted.git.is_some() { "commits" } else { "rows" };
    let bar = ProgressBar::no_length().with_style(ProgressStyle::with_template("{spinner} {pos} {msg}")?);
    bar.set_message(what);
    let mut report = |written| bar.set_position(written as u64);
    // A stop drops the unfinished export, which removes its files.
    let summary = tokio::select! {
        summary = export(settings, wanted, &mut report) => summary,
        signal = stop_signal() => signal.and_then(|()| bail!("interrupted: the export is not complete")),
    };
    bar.finish_and_clear();
    // Standard output can be the archive itself (`--to /dev/stdout`).
    let is_special = wanted.to.as_ref().is_some_and(|to| to.metadata().is_ok_and(|found| !found.is_file()));
    summary?.iter().try_for_each(|line| match is_special {
        true => Ok(writeln!(stderr(), "{line}")?),
        false => print(&format!("{line}\n")),
    })
}
