//! Pages of lists: the arguments of Relay's connections, parsed once, and keyset cursors (a cursor names the sort key of
//! a row, so it stays valid while rows are added). <https://relay.dev/graphql/connections.htm>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::{Error, Result};

/// Which part of a list is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// How many rows, at most.
    pub limit: usize,
    /// Whether the caller said how many.
    pub is_counted: bool,
    /// Whether they are counted from the list's end.
    pub from_end: bool,
    /// Only what comes after this row.
    pub after: Option<Cursor>,
    /// Only what comes before this row.
    pub before: Option<Cursor>,
}

/// How long a page of some list may be.
#[derive(Clone, Copy, Debug)]
pub struct PageSize {
    /// Where the caller does not say.
    pub default: usize,
    /// At most.
    pub max: usize,
}

/// Lists in general.
pub const LIST: PageSize = PageSize { default: 20, max: 100 };
/// Messages of a session.
pub const MESSAGES: PageSize = PageSize { default: 50, max: 500 };
/// Files of a project.
pub const FILES: PageSize = PageSize { default: 20, max: 500 };

/// Events of a project.
pub const EVENTS: PageSize = PageSize { default: 100, max: 500 };

impl Page {
    /// Reads a connection's arguments.
    ///
    /// # Errors
    /// `BadInput` naming the argument: a negative or too large `first`/`last`, both at once, a cursor of another list.
    pub fn parse(
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
        size: PageSize,
    ) -> Result<Self> {
        let (field, count) = match (first, last) {
            (Some(_), Some(_)) => return Err(Error::bad_input("last", "Give `first` or `last`, not both.")),
            (None, Some(last)) => ("last", Some(last)),
            (first, None) => ("first", first),
        };
        let limit = match count.map(usize::try_from) {
            None => size.default,
            Some(Ok(limit)) if limit <= size.max => limit,
            Some(_) => {
                return Err(Error::bad_input(field, format!("`{field}` is a number from 0 to {} here.", size.max)));
            }
        };
        let cursor = |text: Option<String>, field: &str| text.map(|text| Cursor::parse(&text, field)).transpose();
        Ok(Self {
            limit,
            is_counted: count.is_some(),
            from_end: last.is_some(),
            after: cursor(after, "after")?,
            before: cursor(before, "before")?,
        })
    }

    /// The first rows of a list.
    pub fn first(limit: usize) -> Self {
        Self { limit, is_counted: true, from_end: false, after: None, before: None }
    }

    /// The last rows of a list.
    pub fn last(limit: usize) -> Self {
        Self { from_end: true, ..Self::first(limit) }
    }

    /// The whole of a list that its caller knows to be short.
    pub fn all() -> Self {
        Self::first(usize::MAX >> 2)
    }
}

/// Longest text that is searched for, in bytes; SQLite takes patterns of 50,000, in which some characters are escaped.
const MAX_SEARCH_BYTES: usize = 1_000;

/// Reads a text to search for; an empty one searches for nothing.
///
/// # Errors
/// `BadInput` naming `field` for a text that is too long, or that no row can contain.
pub fn search(text: Option<String>, field: &str) -> Result<Option<String>> {
    let text = text.filter(|text| !text.is_empty());
    match &text {
        Some(text) if text.contains('\0') => Err(Error::bad_input(field, "No text contains the character NUL.")),
        Some(text) if text.len() > MAX_SEARCH_BYTES => {
            Err(Error::bad_input(field, format!("A text to search for has at most {MAX_SEARCH_BYTES} bytes.")))
        }
        _ => Ok(text),
    }
}

/// A row's place in a list: the values it is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cursor(pub Vec<Key>);

/// One value that a list is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A revision or a version.
    #[serde(rename = "n")]
    Number(i64),
    /// A name or a path.
    #[serde(rename = "s")]
    Text(String),
    /// A moment.
    #[serde(rename = "t")]
    Time(DateTime<Utc>),
    /// An id, which breaks ties.
    #[serde(rename = "i")]
    Id(Uuid),
}

impl Key {
    /// Whether a row can have it; PostgreSQL does not even compare with what it cannot hold.
    fn is_possible(&self) -> bool {
        match self {
            Self::Text(text) => !text.contains('\0'),
            Self::Time(time) => (0..=9999).contains(&time.year()),
            Self::Number(_) | Self::Id(_) => true,
        }
    }
}

impl Cursor {
    /// Reads a cursor that [`Cursor::encode`] wrote.
    ///
    /// # Errors
    /// `BadInput` naming `field` where the text is anything else.
    pub fn parse(text: &str, field: &str) -> Result<Self> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .filter(|keys: &Vec<Key>| keys.iter().all(Key::is_possible))
            .map(Self)
            .ok_or_else(|| Self::foreign(field))
    }

    /// The error for a cursor that is not one of this list.
    pub fn foreign(field: &str) -> Error {
        Error::bad_input(field, "This is not a cursor of this list: pass back what `pageInfo` or an edge gave you.")
    }

    /// The cursor as clients see it; nothing in it is theirs to read.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&self.0).unwrap_or_default())
    }
}

/// The rows of a page, in the list's order.
#[derive(Clone, Debug)]
pub struct Slice<T> {
    /// The rows, each with its place.
    pub rows: Vec<(Cursor, T)>,
    /// Whether the list goes on behind them.
    pub has_next: bool,
    /// Whether the list has something before them.
    pub has_previous: bool,
}

impl<T> Default for Slice<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), has_next: false, has_previous: false }
    }
}

impl<T> Slice<T> {
    /// Cuts the rows that a query for `page` gave (one more than asked for, from the end backwards) to the page. Whether there is
    /// more is as the specification says: of the rows between the cursors where the caller counts in that direction, and else
    /// beyond the cursor, which was given out for a row.
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

    /// The page of a list that has no rows there.
    pub fn empty(page: &Page) -> Self {
        Self::cut(Vec::new(), page)
    }
}
