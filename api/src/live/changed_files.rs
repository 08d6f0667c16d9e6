//! The files that a revision changed, read once for all subscribers on this server that want them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::log_tail::LogTail;
use super::shared_read::SharedRead;
use crate::domain::{Needs, Services, access, file};
use crate::model::actor::Actor;
use crate::model::enums::ChangeType;
use crate::model::error::Result;
use crate::model::file::FileSnapshot;
use crate::model::ids::ProjectId;
use crate::model::path::FilePath;

/// The changed files of the revision of a project that was wanted last. Subscribers want the same revisions, in order.
pub struct ChangedFiles {
    project: ProjectId,
    shared: SharedRead<Arc<Changed>>,
}

/// The files that a revision changed.
pub struct Changed {
    revision: i32,
    /// The paths of the changed files and folders, before and after the revision.
    pub paths: BTreeSet<FilePath>,
    /// Whether files were created, deleted or renamed. Folders do not count: they have no content.
    pub changes_list: bool,
}

impl ChangedFiles {
    /// The changed files of a project, not read yet.
    pub fn new(project: ProjectId) -> Self {
        Self { project, shared: SharedRead::default() }
    }

    /// The files that a revision changed.
    ///
    /// # Errors
    /// `NotFound` if the actor is not a member, or is no longer one.
    pub async fn at(&self, services: &Services, tail: &LogTail, actor: &Actor, revision: i32) -> Result<Arc<Changed>> {
        // A user who is no longer a member reads, and is refused.
        let suits = |read: &Arc<Changed>| read.revision == revision && tail.has_member(actor.user_id);
        let read = |_| async { Ok(Arc::new(self.read(services, actor, revision).await?)) };
        self.shared.get(suits, read).await
    }

    async fn read(&self, services: &Services, actor: &Actor, revision: i32) -> Result<Changed> {
        let tx = services.read_for_all(actor, Needs::Known).await?;
        let member = access::required(&tx, self.project).await?;
        let changes = file::changes_of_revisions(&tx, &[(member, revision)]).await?;
        let is_gone = |change: &&FileSnapshot| {
            matches!(change.change_type, ChangeType::Rename | ChangeType::Delete) && change.version > 1
        };
        let before: Vec<_> =
            changes.iter().filter(is_gone).map(|change| (member, (change.file_id, change.version - 1))).collect();
        let before = if before.is_empty() { Vec::new() } else { file::versions_by_numbers(&tx, &before).await? };
        let is_listed = |change: &FileSnapshot| change.change_type != ChangeType::Update && change.hash.is_some();
        let changes_list = changes.iter().any(is_listed) || before.iter().any(|file| file.hash.is_some());
        let paths = changes.into_iter().chain(before).map(|change| change.path).collect();
        Ok(Changed { revision, paths, changes_list })
    }
}
