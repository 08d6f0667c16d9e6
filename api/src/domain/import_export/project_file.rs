//! A project as one file: a SQLite database of this service with that project alone.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};

use super::verify;
use crate::domain::{Services, policy, project};
use crate::model::actor::Actor;
use crate::model::error::{Error, Result};
use crate::model::ids::ProjectId;
pub use crate::storage::copy_error::no_temporary_file;
use crate::storage::copy_error::{CopyError, FileRefusal};
use crate::storage::db::{Db, Needs, Size, Tx, vacuum_into};
use crate::storage::operator;
use crate::storage::project_copy::{self, Report};

/// How the names of such files end.
pub const SUFFIX: &str = "antiphon";

/// A project that its owner exports.
pub struct Export {
    services: Arc<Services>,
    source: Tx,
    project: ProjectId,
}

impl Export {
    /// Begins to read a project in one state.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` unless the actor is the owner.
    pub async fn begin(services: &Arc<Services>, actor: &Actor, project: ProjectId) -> Result<Self> {
        let source = services.read_with(actor, Needs::Present, Size::Large).await?;
        let found = project::by_ids(&source, &[project]).await?.into_iter().next();
        let found = found.ok_or_else(|| Error::not_found("project", "id"))?;
        policy::may_export(found.viewer_role)?;
        Ok(Self { services: services.clone(), source, project })
    }

    /// Writes the project to the new file `to` in an empty temporary folder, and reads it back.
    ///
    /// # Errors
    /// `RateLimited` if the file cannot be written.
    pub async fn write(self, to: &Path, report: Report<'_>) -> Result<()> {
        let Self { services, source, project } = self;
        let scratch = to.with_extension("scratch");
        let copied = project_copy::to_file(&source, project, &scratch, &services.database_limits, report).await;
        let (file, _) = copied.map_err(CopyError::of_request)?;
        // The rest does not need the connection.
        drop(source);
        finish(file, &scratch, to).await.map_err(|error| match error.downcast::<FileRefusal>() {
            Ok(refusal) => Error::internal(format!("a project cannot be exported: {refusal}")),
            Err(error) => no_temporary_file(&format!("{error:#}")),
        })
    }
}

/// Checks a database that was written to the file `scratch`, and copies it to the new or empty file `to`, without a log and
/// without free pages.
///
/// # Errors
/// A [`FileRefusal`], or why there is no file.
pub async fn finish(file: Db, scratch: &Path, to: &Path) -> anyhow::Result<()> {
    let checked = check(&file).await;
    file.close().await;
    checked?;
    vacuum_into(scratch, to).await
}

/// Checks that a database has one project without problems, and returns it.
///
/// # Errors
/// A [`FileRefusal`], or why it cannot be read.
pub async fn check(db: &Db) -> anyhow::Result<ProjectId> {
    let mut problems = Vec::new();
    let report = &mut |_, problem| problems.push(problem);
    let shown = |error: Error| error.cause().map_or_else(|| error.message(), str::to_owned);
    let verified = verify::verify(db, None, report).await.map_err(|error| FileRefusal::Damaged(shown(error)))?;
    if let Some(problem) = problems.first() {
        bail!(FileRefusal::Damaged(problem.clone()));
    }
    if verified.projects != 1 {
        bail!(FileRefusal::Foreign(format!("it has {} projects instead of one", verified.projects)));
    }
    let operator = db.operator().await.map_err(|error| anyhow!(shown(error)))?;
    let found = operator::projects(&operator, None).await.map_err(|error| anyhow!(shown(error)))?;
    found.first().map(|project| project.id).context("the project is gone")
}
