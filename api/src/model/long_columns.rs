//! The long columns of rows: texts and JSON that callers write. An operation reads only those that it selects.

use std::collections::HashMap;
use std::hash::Hash;

/// A long column.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LongColumn {
    AvatarUrl,
    NotificationPreferences,
    UiPreferences,
    ProjectDescription,
    InitialPrompt,
    ProjectConfig,
    SessionMetadata,
    MessageContent,
    /// The start of a message's content.
    MessageExcerpt,
    MessageContextData,
    MessageMetadata,
    StreamingContextData,
    StreamingMetadata,
    ChangeDescription,
    SnapshotDescription,
    AgentDescription,
    AgentInstructions,
    AgentPersonality,
    SttConfig,
    TtsConfig,
    LlmConfig,
    VadConfig,
    TurnDetectionConfig,
    FunctionCalls,
    ToolIntegrations,
    RequiredEnvVars,
    Dependencies,
    SourceFiles,
}

/// A set of long columns. The default has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LongColumns(u32);

impl LongColumns {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// A set of these columns.
    pub fn of(columns: impl IntoIterator<Item = LongColumn>) -> Self {
        let mut set = Self::NONE;
        columns.into_iter().for_each(|column| set.insert(column));
        set
    }

    /// Adds a column.
    pub fn insert(&mut self, column: LongColumn) {
        self.0 |= Self::bit(column);
    }

    /// The columns that both sets have.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The columns that either set has.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set has a column.
    pub fn has(self, column: LongColumn) -> bool {
        self.0 & Self::bit(column) != 0
    }

    fn bit(column: LongColumn) -> u32 {
        1 << column as u8
    }
}

impl Default for LongColumns {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

/// The key of an object to read, and the long columns that are needed of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Needing<K>(pub K, pub LongColumns);

impl<K: Copy + Eq + Hash> Needing<K> {
    /// Each key once, with all long columns that are needed of its object.
    pub fn merged(keys: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut needs: HashMap<K, LongColumns> = HashMap::new();
        for Self(key, columns) in keys {
            let needed = needs.entry(key).or_insert(LongColumns::NONE);
            *needed = needed.or(columns);
        }
        needs.into_iter().map(|(key, columns)| Self(key, columns)).collect()
    }
}

impl<K> From<K> for Needing<K> {
    fn from(key: K) -> Self {
        Self(key, LongColumns::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_inserted() {
        let set = LongColumns::of([LongColumn::InitialPrompt, LongColumn::SourceFiles]);
        assert!(set.has(LongColumn::InitialPrompt) && set.has(LongColumn::SourceFiles));
        assert!(!set.has(LongColumn::AvatarUrl) && !set.has(LongColumn::Dependencies));
        assert!(LongColumns::default().has(LongColumn::SourceFiles));
        assert_eq!(LongColumns::default().and(set), set);
        assert_eq!(set.and(LongColumns::of([LongColumn::AvatarUrl])), LongColumns::NONE);
    }
}
