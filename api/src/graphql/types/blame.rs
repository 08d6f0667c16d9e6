//! The authors of lines.

use async_graphql::{Context, Object};

use super::chat::ChatMessage;
use super::code_change::CodeChange;
use super::file::FileSnapshot;
use super::profile::User;
use crate::domain::blame;
use crate::graphql::page::int;
use crate::model::error::Result;

/// Lines of a file that one version wrote.
pub struct BlameRange(pub(super) blame::BlameRange);

/// Consecutive lines of a file that one version wrote.
#[Object]
impl BlameRange {
    /// The number of the first line, from 1.
    async fn start_line(&self) -> i32 {
        int(i64::try_from(self.0.start_line).unwrap_or(i64::MAX))
    }

    /// The number of the last line.
    async fn end_line(&self) -> i32 {
        int(i64::try_from(self.0.end_line).unwrap_or(i64::MAX))
    }

    /// The version that wrote the lines.
    async fn version(&self) -> FileSnapshot {
        FileSnapshot(self.0.version.clone())
    }

    /// Whether the version is the oldest of the last 1,000, so that an older one can have written the lines. Git marks
    /// such lines with `^`.
    async fn is_boundary(&self) -> bool {
        self.0.is_boundary
    }

    /// The change that wrote the lines.
    async fn change(&self) -> CodeChange {
        CodeChange(self.0.version.clone())
    }

    /// The message that the change was made for.
    async fn message(&self, ctx: &Context<'_>) -> Result<Option<ChatMessage>> {
        super::optional_message(ctx, self.0.version.message_id).await
    }

    /// The author of the lines; null if the account no longer exists.
    async fn author(&self, ctx: &Context<'_>) -> Result<Option<User>> {
        super::optional_user(ctx, self.0.version.created_by).await
    }
}
