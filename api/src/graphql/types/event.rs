//! Entries of a project's log.

use async_graphql::{Context, Object};

use super::agent_configuration::AgentConfigurationVersion;
use super::chat::{ChatMessage, ChatSession};
use super::file::CodeChange;
use super::profile::User;
use super::snapshot::ProjectSnapshot;
use crate::graphql::context::caller;
use crate::graphql::error::or_null;
use crate::graphql::loader::{ChangesMadeAt, ConfiguredAt, SnapshotMadeAt};
use crate::graphql::names::EventKind;
use crate::graphql::page::{UNPAGED, rows};
use crate::graphql::scalar::Time;
use crate::model::error::Result;
use crate::model::event::Event;
use crate::model::names;

/// One entry of a project's log. `kind` says which of the links is set.
pub struct ProjectEvent(pub Event);

async fn changes(ctx: &Context<'_>, event: &Event) -> Result<Vec<CodeChange>> {
    use names::EventKind::{FilesChanged, ProjectRestored};
    if !matches!(event.kind, FilesChanged | ProjectRestored) {
        return Ok(Vec::new());
    }
    let rows = caller(ctx)?.load(ChangesMadeAt(event.project_id, event.revision)).await?.unwrap_or_default();
    Ok(rows.into_iter().map(CodeChange).collect())
}

#[Object]
impl ProjectEvent {
    /// Its number, from 1, without gaps.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// What it was.
    async fn kind(&self) -> EventKind {
        self.0.kind.into()
    }

    /// When.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// Who.
    async fn actor(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.actor_id)).await
    }

    /// The session it belongs to.
    async fn session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(super::optional_session(ctx, self.0.session_id)).await
    }

    /// The message it added, or was for.
    async fn message(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, self.0.message_id)).await
    }

    /// The snapshot it made; of a restore, the state before.
    async fn snapshot(&self, ctx: &Context<'_>) -> Option<Result<ProjectSnapshot>> {
        or_null(async {
            use names::EventKind::{MessageAdded, ProjectRestored, SnapshotCreated};
            if !matches!(self.0.kind, MessageAdded | ProjectRestored | SnapshotCreated) {
                return Ok(None);
            }
            let key = SnapshotMadeAt(self.0.project_id, self.0.revision);
            Ok(caller(ctx)?.load(key).await?.map(ProjectSnapshot))
        })
        .await
    }

    /// The files it changed.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn changes(&self, ctx: &Context<'_>) -> Result<Vec<CodeChange>> {
        changes(ctx, &self.0).await
    }

    /// The revisions that it takes back, oldest first; empty unless it is an undo.
    async fn undoes(&self, ctx: &Context<'_>) -> Result<Vec<i32>> {
        super::undoes(ctx, self.0.project_id, self.0.revision).await
    }

    /// The revision that has taken it back; null while it stands. A redo makes it null again.
    async fn undone_by(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        or_null(super::undone_by(ctx, self.0.project_id, self.0.revision)).await
    }

    /// The versions of agent configurations it made: of the one that was saved, and of the one that is active no longer.
    async fn agent_configuration_versions(&self, ctx: &Context<'_>) -> Result<Vec<AgentConfigurationVersion>> {
        if self.0.kind != names::EventKind::AgentConfigurationChanged {
            return Ok(Vec::new());
        }
        let key = ConfiguredAt(self.0.project_id, self.0.revision);
        let rows = caller(ctx)?.load(key).await?.unwrap_or_default();
        Ok(rows.into_iter().map(AgentConfigurationVersion).collect())
    }
}

/// All files that one write changed.
pub struct CodeChangeSet(pub Event);

#[Object]
impl CodeChangeSet {
    /// The revision.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// When.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// Who.
    async fn actor(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.0.actor_id)).await
    }

    /// The session it belongs to.
    async fn session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(super::optional_session(ctx, self.0.session_id)).await
    }

    /// The message it was for.
    async fn message(&self, ctx: &Context<'_>) -> Option<Result<ChatMessage>> {
        or_null(super::optional_message(ctx, self.0.message_id)).await
    }

    /// The revisions that it takes back, oldest first; empty unless it is an undo.
    async fn undoes(&self, ctx: &Context<'_>) -> Result<Vec<i32>> {
        super::undoes(ctx, self.0.project_id, self.0.revision).await
    }

    /// The revision that has taken it back; null while it stands. A redo makes it null again.
    async fn undone_by(&self, ctx: &Context<'_>) -> Option<Result<i32>> {
        or_null(super::undone_by(ctx, self.0.project_id, self.0.revision)).await
    }

    /// The changes, in their order.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn changes(&self, ctx: &Context<'_>) -> Result<Vec<CodeChange>> {
        changes(ctx, &self.0).await
    }
}
