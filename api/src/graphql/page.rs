//! Relay connections: <https://relay.dev/graphql/connections.htm>.

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, Object, OutputType};

use super::context::caller;
use super::loader::{ChildrenOf, Count, SnapshotsUntil};
use crate::domain::{chat, project};
use crate::model::chat::{MessageFilter, SessionFilter};
use crate::model::error::Result;
use crate::model::file::{ChangeFilter, FileFilter, FilesOf};
use crate::model::ids::{FileId, ProjectId, SessionId};
use crate::model::page::Slice;
use crate::model::project::ProjectFilter;

/// A page of a list whose rows are `T`.
pub type Page<T> = Connection<String, T, Total>;

/// Makes a connection of a slice.
pub fn connection<R, T: OutputType>(slice: Slice<R>, total: Total, node: impl Fn(R) -> T) -> Page<T> {
    let mut connection = Connection::with_additional_fields(slice.has_previous, slice.has_next, total);
    connection.edges = slice.rows.into_iter().map(|(cursor, row)| Edge::new(cursor.encode(), node(row))).collect();
    connection
}

/// How long a list is; counted only when asked.
pub enum Total {
    /// It is known already.
    Known(i64),
    /// The caller's projects.
    Projects(ProjectFilter),
    /// The messages of the caller's active projects, or of one of them.
    Recent(Option<ProjectId>),
    /// A project's sessions.
    Sessions(Count<ProjectId, SessionFilter>),
    /// A session's messages.
    Messages(Count<SessionId, MessageFilter>),
    /// A project's files.
    Files(Count<FilesOf, FileFilter>),
    /// What is directly in a folder.
    Children(Count<FilesOf, ChildrenOf>),
    /// A project's changes.
    Changes(Count<ProjectId, ChangeFilter>),
    /// A file's versions.
    Versions(FileId),
    /// A project's snapshots.
    Snapshots(Count<ProjectId, SnapshotsUntil>),
}

#[Object]
impl Total {
    /// How many rows the whole list has, whatever part of it this page is.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let caller = caller(ctx)?;
        let total = match self {
            Self::Known(total) => *total,
            Self::Projects(keep) => project::count(&*caller.reader.tx().await?, keep).await?,
            Self::Recent(project) => chat::recent_count(&*caller.reader.tx().await?, *project).await?,
            Self::Sessions(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            Self::Messages(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            Self::Files(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            Self::Children(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            Self::Changes(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            // Versions are numbered without gaps.
            Self::Versions(file) => caller.load(*file).await?.map_or(0, |file| file.version.into()),
            Self::Snapshots(count) => caller.load(count.clone()).await?.unwrap_or_default(),
        };
        Ok(int(total))
    }
}

/// A count as GraphQL's `Int`, which ends at 2^31 - 1.
pub fn int(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
