//! Relay connections: <https://relay.dev/graphql/connections.htm>.

use std::convert::Infallible;

use async_graphql::connection::{Connection, CursorType, Edge};
use async_graphql::{Context, ID, InputObject, InputType, Lookahead, Object, Value};

use super::context::{Caller, caller};
use super::loader::{ChildrenOf, Count, VersionsKept};
use super::row::{Plain, Row};
use crate::domain::{chat, collaborator, project};
use crate::model::chat::{MessageFilter, SessionFilter};
use crate::model::error::{Error, Result};
use crate::model::file::{ChangeFilter, FileFilter, FilesOf};
use crate::model::ids::{FileId, ProjectId, ReadId, SessionId, Within};
use crate::model::page::{self as model, Cursor, PageSize, Slice};
use crate::model::project::ProjectFilter;
use crate::model::snapshot::SnapshotFilter;

/// A page of a list whose rows are `T`.
pub type Page<T> = Connection<Place, Row<T>, Total>;

/// Makes a connection of a slice.
pub fn connection<R, T: Plain>(slice: Slice<R>, total: Total, node: impl Fn(R) -> T) -> Page<T> {
    let mut connection = Connection::with_additional_fields(slice.has_previous, slice.has_next, total);
    connection.edges = slice.rows.into_iter().map(|(cursor, row)| Edge::new(Place(cursor), Row(node(row)))).collect();
    connection
}

/// A row's cursor, written only where an operation selects it.
pub struct Place(Cursor);

impl CursorType for Place {
    type Error = Infallible;

    fn decode_cursor(text: &str) -> std::result::Result<Self, Infallible> {
        // Resolvers read cursors themselves, by [`Cursor::parse`], whose error names the argument.
        Ok(Self(Cursor::parse(text, "").unwrap_or(Cursor(Vec::new()))))
    }

    fn encode_cursor(&self) -> String {
        self.0.encode()
    }
}

/// The arguments of every list.
#[derive(InputObject)]
pub struct Paging {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

impl Paging {
    /// Reads them.
    ///
    /// # Errors
    /// As [`model::Page::parse`].
    pub fn parse(self, size: PageSize) -> Result<model::Page> {
        model::Page::parse(self.first, self.after, self.last, self.before, size)
    }
}

/// The arguments with which a selection selects one of its fields, before its resolver runs. `None` where it does not, does so
/// on a condition, or with arguments that the resolver will refuse.
pub fn arguments<A: InputType>(selected: &Lookahead<'_>, field: &str) -> Option<A> {
    let field = selected.field(field).selection_fields().into_iter().next()?;
    let is_certain = field.directives().is_ok_and(|directives| directives.is_empty());
    let arguments = field.arguments().ok().filter(|_| is_certain)?;
    A::parse(Some(Value::Object(arguments.into_iter().collect()))).ok()
}

/// Where weights end: sums of them must not run over, however lists are nested.
const MAX_WEIGHT: usize = 1 << 40;

/// What a list costs whose rows cost `row` each, by its arguments. They are not checked yet: a number that is not allowed is
/// refused later, and weighs as the largest that is.
pub fn weigh(first: Option<i32>, last: Option<i32>, size: PageSize, row: usize) -> usize {
    let rows =
        first.or(last).map_or(size.default, |rows| usize::try_from(rows).map_or(size.max, |rows| rows.min(size.max)));
    self::rows(rows, row)
}

/// What a list without pages costs of which so many rows are asked for.
pub fn weigh_part(first: Option<i32>, row: usize) -> usize {
    rows(first.map_or(UNPAGED, |first| usize::try_from(first).unwrap_or(UNPAGED)), row)
}

/// How many rows of a list without pages are wanted, at most.
///
/// # Errors
/// `BadInput` for a number that is negative or too large.
pub fn part(caller: &Caller, first: Option<i32>) -> Result<usize> {
    let max = usize::try_from(caller.services.limits.max_list_rows).unwrap_or(usize::MAX);
    match first.map(usize::try_from) {
        None => Ok(max),
        Some(Ok(first)) if first <= max => Ok(first),
        Some(_) => {
            Err(Error::bad_input("first", format!("`first` is a number from 0 to {max} here (--max-list-rows).")))
        }
    }
}

/// Refuses a list that is longer than is read at once, unless the caller asked for a part of it.
///
/// # Errors
/// `QueryTooComplex` naming the setting.
pub fn whole(caller: &Caller, first: Option<i32>, is_longer: bool) -> Result<()> {
    if first.is_some() || !is_longer {
        return Ok(());
    }
    let max = caller.services.limits.max_list_rows;
    let message = format!(
        "This list has more than the {max} rows that --max-list-rows allows: read it in parts, by `first` and `after`."
    );
    Err(Error::QueryTooComplex(message))
}

/// Cuts a list without pages to the part that is asked for. `begins` tells the rows before it from the others.
///
/// # Errors
/// As [`part`] and [`whole`].
pub fn cut<T>(caller: &Caller, rows: Vec<T>, first: Option<i32>, begins: impl Fn(&T) -> bool) -> Result<Vec<T>> {
    let limit = part(caller, first)?;
    let mut rows: Vec<T> = rows.into_iter().skip_while(|row| !begins(row)).collect();
    whole(caller, first, rows.len() > limit)?;
    rows.truncate(limit);
    Ok(rows)
}

/// Cuts a list without pages that is sorted by nothing that its rows say: `after` is the id of the row before.
///
/// # Errors
/// As [`cut`]; `BadInput` for an id of no row of the list.
pub fn cut_by_id<T>(
    caller: &Caller,
    rows: Vec<T>,
    first: Option<i32>,
    after: Option<&ID>,
    id: impl Fn(&T) -> String,
) -> Result<Vec<T>> {
    let start = match after {
        None => 0,
        Some(after) => match rows.iter().position(|row| id(row) == after.as_str()) {
            Some(at) => at + 1,
            None => return Err(Error::bad_input("after", "No row of this list has this id.")),
        },
    };
    cut(caller, rows.into_iter().skip(start).collect(), first, |_| true)
}

/// How many rows a list counts that has no pages: as many as it has on a busy day.
pub const UNPAGED: usize = 10;

/// What a list of that many rows costs.
pub fn rows(rows: usize, row: usize) -> usize {
    // An empty page still has its page info.
    row.saturating_mul(rows.max(1)).saturating_add(1).min(MAX_WEIGHT)
}

/// What a field costs that compares texts, in fields that only read one.
pub const COMPARE: usize = 10;

/// How long a list is; counted only when asked.
pub enum Total {
    /// It is known already.
    Known(i64),
    /// The caller's projects.
    Projects(ProjectFilter),
    /// The messages of the caller's active projects, or of one of them.
    Recent(Option<ReadId<ProjectId>>),
    /// A project's sessions.
    Sessions(Count<ProjectId, SessionFilter>),
    /// A session's messages.
    Messages(Count<Within<SessionId>, MessageFilter>),
    /// A project's files.
    Files(Count<FilesOf, FileFilter>),
    /// What is directly in a folder.
    Children(Count<FilesOf, ChildrenOf>),
    /// A project's changes.
    Changes(Count<ProjectId, ChangeFilter>),
    /// A file's versions.
    Versions(FileId),
    /// Those of a file's versions that stay where saves are shown as one.
    JoinedVersions(Count<Within<FileId>, VersionsKept>),
    /// The caller's invitations.
    Invitations,
    /// A project's snapshots.
    Snapshots(Count<ProjectId, SnapshotFilter>),
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
            Self::JoinedVersions(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            Self::Invitations => collaborator::invitations_count(&*caller.reader.tx().await?).await?,
            Self::Snapshots(count) => caller.load(count.clone()).await?.unwrap_or_default(),
        };
        Ok(int(total))
    }
}

/// A count as GraphQL's `Int`, which ends at 2^31 - 1.
pub fn int(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
