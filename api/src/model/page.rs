//! Pages of lists: the arguments of Relay connections, parsed once, and keyset cursors. A cursor contains the sort key
//! of a row, so it stays valid when rows are added, and the name of its list, so that other lists and other orders refuse it.
//! <https://relay.dev/graphql/connections.htm>

use std::mem::discriminant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{Error, Result};
use super::long_columns::LongColumns;

/// The requested part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// Maximum number of rows.
    pub limit: usize,
    /// Whether the caller gave the number.
    pub is_counted: bool,
    /// Whether rows are counted from the end of the list.
    pub from_end: bool,
    /// Only rows after this one.
    pub after: Option<Cursor>,
    /// Only rows before this one.
    pub before: Option<Cursor>,
    /// The long columns of the rows that are needed.
    pub long_columns: LongColumns,
}

/// Page sizes of a list.
#[derive(Clone, Copy, Debug)]
pub struct PageSize {
    /// Default size.
    pub default: usize,
    /// Maximum size.
    pub max: usize,
}

impl PageSize {
    /// The number of rows that the argument `field` requests.
    ///
    /// # Errors
    /// `BadInput` if it is negative or too large.
    pub fn limit(self, field: &str, count: Option<i32>) -> Result<usize> {
        match count.map(usize::try_from) {
            None => Ok(self.default),
            Some(Ok(limit)) if limit <= self.max => Ok(limit),
            Some(_) => Err(Error::bad_input(field, format!("`{field}` must be a number from 0 to {}.", self.max))),
        }
    }
}

/// Most lists.
pub const LIST: PageSize = PageSize { default: 20, max: 100 };
/// Messages of a session.
pub const MESSAGES: PageSize = PageSize { default: 50, max: 500 };
/// Files of a project.
pub const FILES: PageSize = PageSize { default: 20, max: 500 };

/// Events of a project.
pub const EVENTS: PageSize = PageSize { default: 100, max: 500 };

/// A list with pages.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// The name in its cursors.
    pub name: &'static str,
    /// Its page sizes.
    pub size: PageSize,
}

#[expect(missing_docs, reason = "the names say it")]
impl List {
    pub const AGENT_CONFIGURATION_VERSIONS: Self = Self { name: "agentConfigurationVersions", size: LIST };
    pub const CHANGES: Self = Self { name: "changes", size: LIST };
    pub const CHILDREN: Self = Self { name: "children", size: FILES };
    pub const DELIVERIES: Self = Self { name: "deliveries", size: LIST };
    pub const FILES: Self = Self { name: "files", size: FILES };
    pub const INVITATIONS: Self = Self { name: "invitations", size: LIST };
    pub const MESSAGES: Self = Self { name: "messages", size: MESSAGES };
    pub const PROJECTS: Self = Self { name: "projects", size: LIST };
    pub const PROJECTS_ASCENDING: Self = Self { name: "projects, ascending", size: LIST };
    pub const RECENT_ACTIVITY: Self = Self { name: "recentActivity", size: LIST };
    pub const SESSIONS: Self = Self { name: "sessions", size: LIST };
    pub const SNAPSHOTS: Self = Self { name: "snapshots", size: LIST };
    pub const VERSIONS: Self = Self { name: "versions", size: LIST };

    /// The list of projects in a direction. The field by which they are sorted is in the keys of the cursors.
    pub fn projects(descending: bool) -> Self {
        if descending { Self::PROJECTS } else { Self::PROJECTS_ASCENDING }
    }
}

impl Page {
    /// Parses the arguments of a connection.
    ///
    /// # Errors
    /// `BadInput` with the argument: a negative or too large `first` or `last`, both of them, or a cursor of another
    /// list.
    pub fn parse(
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        list: List,
    ) -> Result<Self> {
        let (field, count) = match (first, last) {
            (Some(_), Some(_)) => return Err(Error::bad_input("last", "Use either `first` or `last`, not both.")),
            (None, Some(last)) => ("last", Some(last)),
            (first, None) => ("first", first),
        };
        let cursor =
            |text: Option<String>, field: &str| text.map(|text| Cursor::parse(&text, list.name, field)).transpose();
        Ok(Self {
            limit: list.size.limit(field, count)?,
            is_counted: count.is_some(),
            from_end: last.is_some(),
            after: cursor(after, "after")?,
            before: cursor(before, "before")?,
            long_columns: LongColumns::default(),
        })
    }

    /// Checks that the cursors have the sort keys of the list.
    ///
    /// # Errors
    /// `BadInput` for a cursor of another list.
    pub fn check_keys(&self, kinds: impl IntoIterator<Item = KeyKind> + Clone) -> Result<()> {
        for (cursor, field) in [(&self.after, "after"), (&self.before, "before")] {
            let Some(Cursor(keys)) = cursor else { continue };
            let mut kinds = kinds.clone().into_iter();
            let fits = keys.iter().all(|key| kinds.next().is_some_and(|kind| kind.is_of(key)));
            if !fits || kinds.next().is_some() {
                return Err(Cursor::foreign(field));
            }
        }
        Ok(())
    }

    /// The same page with only these long columns.
    pub fn needing(self, long_columns: LongColumns) -> Self {
        Self { long_columns, ..self }
    }

    /// The first rows of a list.
    pub fn first(limit: usize) -> Self {
        let (after, before, long_columns) = (None, None, LongColumns::default());
        Self { limit, is_counted: true, from_end: false, after, before, long_columns }
    }

    /// The last rows of a list.
    pub fn last(limit: usize) -> Self {
        Self { from_end: true, ..Self::first(limit) }
    }

    /// All rows, for a list that the caller knows to be short.
    pub fn all() -> Self {
        Self::first(usize::MAX >> 2)
    }
}

/// The position of a row in a list: the values of its sort keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor(pub Vec<Key>);

/// The value of a sort key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A revision or a version.
    #[serde(rename = "n")]
    Number(i64),
    /// A name or a path.
    #[serde(rename = "s")]
    Text(String),
    /// A time.
    #[serde(rename = "t")]
    Time(DateTime<Utc>),
    /// A time in a list that can be sorted by several, with the name of the order.
    #[serde(rename = "o")]
    TimeOf(String, DateTime<Utc>),
    /// An id, which breaks ties.
    #[serde(rename = "i")]
    Id(Uuid),
}

impl Key {
    /// Whether a row can have this value. PostgreSQL fails on a comparison with a value that it cannot store.
    fn is_possible(&self) -> bool {
        match self {
            Self::Text(text) => !text.contains('\0'),
            Self::Time(time) | Self::TimeOf(_, time) => (0..=9999).contains(&time.year()),
            Self::Number(_) | Self::Id(_) => true,
        }
    }
}

impl Cursor {
    /// Parses a cursor of a list from [`Cursor::encode`].
    ///
    /// # Errors
    /// `BadInput` with `field` for any other text.
    pub fn parse(text: &str, list: &str, field: &str) -> Result<Self> {
        match Self::decode(text) {
            Some((name, cursor)) if name.as_deref().is_none_or(|name| name == list) => Ok(cursor),
            _ => Err(Self::foreign(field)),
        }
    }

    /// Whether a text is a cursor of any list.
    pub fn is_cursor(text: &str) -> bool {
        Self::decode(text).is_some()
    }

    /// A cursor with the name of its list. Cursors that clients have stored for long have no name.
    fn decode(text: &str) -> Option<(Option<String>, Self)> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Encoded {
            Named(String, Vec<Key>),
            Nameless(Vec<Key>),
        }

        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (name, keys) = match serde_json::from_slice(&json).ok()? {
            Encoded::Named(name, keys) => (Some(name), keys),
            Encoded::Nameless(keys) => (None, keys),
        };
        keys.iter().all(Key::is_possible).then_some((name, Self(keys)))
    }

    /// The error for a cursor of another list.
    pub fn foreign(field: &str) -> Error {
        Error::bad_input(field, "This is not a cursor of this list: use a cursor from its `pageInfo` or edges.")
    }

    /// The opaque text for clients.
    pub fn encode(&self, list: &str) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(list, &self.0)).unwrap_or_default())
    }

    /// Whether another cursor has the same kinds of keys.
    pub fn is_like(&self, other: &Self) -> bool {
        let kinds = |cursor: &Self| cursor.0.iter().map(discriminant).collect::<Vec<_>>();
        kinds(self) == kinds(other)
    }
}

/// The kind of a sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A revision or a version.
    Number,
    /// A name or a path.
    Text,
    /// A time.
    Time,
    /// A time of the order with this name.
    TimeOf(&'static str),
    /// An id.
    Id,
}

impl KeyKind {
    fn is_of(self, key: &Key) -> bool {
        match (self, key) {
            (Self::TimeOf(name), Key::TimeOf(order, _)) => name == order,
            (Self::Number, Key::Number(_))
            | (Self::Text, Key::Text(_))
            | (Self::Time, Key::Time(_))
            | (Self::Id, Key::Id(_)) => true,
            _ => false,
        }
    }
}

/// The rows of a page, in the order of the list.
#[derive(Clone, Debug)]
pub struct Slice<T> {
    /// The rows with their positions.
    pub rows: Vec<(Cursor, T)>,
    /// Whether more rows follow.
    pub has_next: bool,
    /// Whether rows precede these.
    pub has_previous: bool,
}

impl<T> Default for Slice<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), has_next: false, has_previous: false }
    }
}

impl<T> Slice<T> {
    /// Builds a page from query results, which contain one row more than requested, in reverse order if counted from
    /// the end. Following the specification: in the direction of counting, `has_next` or `has_previous` is about the
    /// rows between the cursors; in the other direction it is true if there is a cursor, since a cursor belongs to a
    /// row.
    pub fn cut(mut rows: Vec<(Cursor, T)>, page: &Page) -> Self {
        let more = rows.len() > page.limit;
        rows.truncate(page.limit);
        if page.from_end {
            rows.reverse();
            return Self { rows, has_next: page.before.is_some(), has_previous: more };
        }
        let is_beyond = !page.is_counted && page.before.is_some();
        Self { rows, has_next: more || is_beyond, has_previous: page.after.is_some() }
    }

    /// The page of an empty list.
    pub fn empty(page: &Page) -> Self {
        Self::cut(Vec::new(), page)
    }
}
