//! Entries of a project's log.

use async_graphql::{Context, ID, Object};

use super::agent_configuration::AgentConfigurationVersion;
use super::chat::{ChatMessage, ChatSession};
use super::code_change::CodeChange;
use super::profile::User;
use super::project::Project;
use super::snapshot::ProjectSnapshot;
use crate::graphql::context::caller;
use crate::graphql::enums::EventKind;
use crate::graphql::error::{or_empty, or_null};
use crate::graphql::loader::{ChangesMadeAt, ConfiguredAt, SnapshotOfEvent};
use crate::graphql::page::{UNPAGED, cut_by_id, rows, weigh_part};
use crate::graphql::row::Row;
use crate::graphql::scalar::Time;
use crate::model::enums;
use crate::model::error::Result;
use crate::model::event::Event;
use crate::model::node_id::NodeId;

/// One entry of a project's log.
pub struct ProjectEvent(pub Event);

async fn changes(
    ctx: &Context<'_>,
    event: &Event,
    first: Option<i32>,
    after: Option<ID>,
) -> Result<Vec<Row<CodeChange>>> {
    use enums::EventKind::{FilesChanged, ProjectRestored};
    if !matches!(event.kind, FilesChanged | ProjectRestored) {
        return Ok(Vec::new());
    }
    let caller = caller(ctx)?;
    let rows = caller.load(ChangesMadeAt(event.project_id, event.revision)).await?.unwrap_or_default();
    if first.is_none() && after.is_none() {
        // Without arguments, an event has all of its changes, even if they exceed the limit on lists.
        return Ok(rows.into_iter().map(|row| Row(CodeChange(row))).collect());
    }
    let rows = cut_by_id(caller, rows, first, after.as_ref(), |row| row.change_id().0.to_string())?;
    Ok(rows.into_iter().map(|row| Row(CodeChange(row))).collect())
}

/// One entry of a project's log, which describes one revision. `kind` determines which links are set. The entry itself
/// never changes. Linked objects are in their present state with plain ids, so that a client's cache stores the objects
/// of an event as the present ones.
#[Object]
impl ProjectEvent {
    /// The globally unique id, for `node`.
    pub(super) async fn id(&self) -> ID {
        NodeId::Event(self.0.project_id, self.0.revision).to_string().into()
    }

    /// The project as it is now.
    async fn project(&self, ctx: &Context<'_>) -> Result<Project> {
        super::project(ctx, self.0.project_id, None).await
    }

    /// The number of the revision, from 1, without gaps.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// What the revision did.
    async fn kind(&self) -> EventKind {
        self.0.kind.into()
    }

    /// When the revision was made. Times never decrease along a log.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// The author of the revision; null if the account no longer exists.
    async fn actor(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.actor_id)).await
    }

    /// The session that the revision belongs to.
    async fn session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(super::optional_session(ctx, self.0.session_id)).await
    }

    /// The message that the revision added or was made for.
    async fn message(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, self.0.message_id)).await
    }

    /// The snapshot that the revision created, renamed or deleted, as it is now; for a restore, the snapshot of the
    /// state before. Null if it was deleted since; only the entry of the deletion still shows it.
    async fn snapshot(&self, ctx: &Context<'_>) -> Option<Result<ProjectSnapshot>> {
        or_null(async {
            use enums::EventKind::{MessageAdded, ProjectRestored, SnapshotCreated, SnapshotDeleted, SnapshotUpdated};
            let of_snapshots = [MessageAdded, ProjectRestored, SnapshotCreated, SnapshotUpdated, SnapshotDeleted];
            if !of_snapshots.contains(&self.0.kind) {
                return Ok(None);
            }
            let key = SnapshotOfEvent(self.0.project_id, self.0.revision);
            Ok(caller(ctx)?.load(key).await?.map(ProjectSnapshot))
        })
        .await
    }

    /// The changes of files in the revision; empty if there are none.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "At most so many. Without it all that the write made.")] first: Option<i32>,
        #[graphql(desc = "Only those after the change with this id.")] after: Option<ID>,
    ) -> Result<Vec<Row<CodeChange>>> {
        or_empty(ctx, async { changes(ctx, &self.0, first, after).await }).await
    }

    /// The revisions that it undoes, oldest first; empty unless it is an undo.
    async fn undoes(&self, ctx: &Context<'_>) -> Result<Vec<i32>> {
        super::undoes(ctx, self.0.project_id, self.0.revision).await
    }

    /// The revision that undid it; null while it is effective. A redo makes it null again.
    async fn undone_by(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        or_null(super::undone_by(ctx, self.0.project_id, self.0.revision)).await
    }

    /// The versions of agent configurations that the revision created: of the saved one, and of the one that became
    /// inactive.
    async fn agent_configuration_versions(&self, ctx: &Context<'_>) -> Result<Vec<Row<AgentConfigurationVersion>>> {
        if self.0.kind != enums::EventKind::AgentConfigurationChanged {
            return Ok(Vec::new());
        }
        let key = ConfiguredAt(self.0.project_id, self.0.revision);
        let rows = caller(ctx)?.load(key).await?.unwrap_or_default();
        Ok(rows.into_iter().map(|row| Row(AgentConfigurationVersion::from(row))).collect())
    }
}

/// All changes of files in one write.
pub struct CodeChangeSet(pub Event);

/// All changes of files in one write.
#[Object]
impl CodeChangeSet {
    /// The revision that made the changes.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// When the changes were made.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// The author of the changes; null if the account no longer exists.
    async fn actor(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.actor_id)).await
    }

    /// The session that the changes belong to.
    async fn session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(super::optional_session(ctx, self.0.session_id)).await
    }

    /// The message that the changes were made for.
    async fn message(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, self.0.message_id)).await
    }

    /// The revisions that it undoes, oldest first; empty unless it is an undo.
    async fn undoes(&self, ctx: &Context<'_>) -> Result<Vec<i32>> {
        super::undoes(ctx, self.0.project_id, self.0.revision).await
    }

    /// The revision that undid it; null while it is effective. A redo makes it null again.
    async fn undone_by(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        or_null(super::undone_by(ctx, self.0.project_id, self.0.revision)).await
    }

    /// The changes, oldest first.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn changes(&self, ctx: &Context<'_>) -> Result<Vec<Row<CodeChange>>> {
        changes(ctx, &self.0, None, None).await
    }
}
