//! The keys of objects of which a field selects long columns.

use async_graphql::{Context, Lookahead};

use super::loader::{ConfigurationVersion, Past, Streaming};
use super::long_columns::of_object;
use crate::model::ids::{
    AgentConfigurationId, FileSnapshotId, MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId,
};
use crate::model::long_columns::{LongColumns, Needing};

/// A key of objects with long columns.
pub trait Keyed {
    /// The type of the objects.
    const TYPE: &'static str;
}

macro_rules! keyed {
    ($($key:ty => $name:literal,)+) => {$(
        impl Keyed for $key {
            const TYPE: &'static str = $name;
        }
    )+};
}

keyed! {
    UserId => "User",
    ProjectId => "Project",
    SessionId => "ChatSession",
    MessageId => "ChatMessage",
    Streaming => "StreamingMessage",
    FileSnapshotId => "FileSnapshot",
    ProjectSnapshotId => "ProjectSnapshot",
    AgentConfigurationId => "AgentConfiguration",
    ConfigurationVersion => "AgentConfigurationVersion",
}

impl<I: Keyed> Keyed for Past<I> {
    const TYPE: &'static str = I::TYPE;
}

/// The key of the object that the present field returns, with the long columns that the field selects of it.
pub fn needing<K: Keyed>(ctx: &Context<'_>, key: K) -> Needing<K> {
    selected(&ctx.look_ahead(), key)
}

/// The key of an object, with the long columns that these fields select of it.
pub fn selected<K: Keyed>(object: &Lookahead<'_>, key: K) -> Needing<K> {
    Needing(key, of_object(object, K::TYPE))
}

/// The key of an object of which no long column is needed.
pub fn without<K: Keyed>(key: K) -> Needing<K> {
    Needing(key, LongColumns::NONE)
}
