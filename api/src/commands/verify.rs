//! `antiphon verify`: reads projects back and reports what is wrong.

use anyhow::bail;

use super::{database::open, terminal::print};
use crate::{
    config::Settings,
    database_url::for_operator,
    domain::import_export::verify::{self, Verified},
    model::ids::ProjectId,
};

/// Reads every project back, or the named one, and reports each problem with its project to `report`.
///
/// # Errors
/// Why the database cannot be read.
pub async fn verify(
    settings: &Settings,
    project: Option<&str>,
    report: &mut (dyn FnMut(Option<ProjectId>, String) + Send),
) -> anyhow::Result<Verified> {
    let project = project.map(|project| ProjectId::parse(project, "PROJECT")).transpose().map_err(for_operator)?;
    let db = open(settings).await?;
    let verified = verify::verify(&db, project, report).await;
    db.close().await;
    verified.map_err(for_operator)
}

/// Verifies, and prints problems and counts.
pub(super) async fn run(settings: &Settings, project: Option<&str>) -> anyhow::Result<()> {
    let mut printed = Ok(());
    let mut report = |project: Option<ProjectId>, wrong| {
        if printed.is_ok() {
            let subject = project.map_or("database".to_owned(), |project| format!("project {}", project.0));
            printed = print(&format!("{subject}: {wrong}\n"));
        }
    };
    let verified = verify(settings, project, &mut report).await?;
    printed?;
    let (projects, revisions, snapshots) = (verified.projects, verified.revisions, verified.snapshots);
    let (versions, blobs) = (verified.versions, verified.blobs);
    print(&format!(
        "read {projects} project{}: {revisions} revisions, {versions} versions, {blobs} contents, {snapshots} snapshots\n",
        if projects == 1 { "" } else { "s" }
    ))?;
    verified.notes.iter().try_for_each(|note| print(&format!("{note}\n")))?;
    match verified.problems {
        0 => print("no problems found\n"),
        problems => bail!("{problems} problems found"),
    }
}
