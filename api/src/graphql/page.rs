//! Relay connections: <https://relay.dev/graphql/connections.htm>.

use std::borrow::Cow;
use std::convert::Infallible;

use async_graphql::connection::{CursorType, Edge, EmptyFields, PageInfo};
use async_graphql::{Context, ID, InputObject, InputType, Lookahead, Object, TypeName, Value};

use super::context::{Caller, caller};
use super::loader::{ChildrenOf, Count, Deliveries, VersionFilter};
use super::row::{Plain, Row, Rows};
use crate::domain::{chat, collaborator, project};
use crate::model::chat::{MessageFilter, SessionFilter};
use crate::model::error::{Error, Result};
use crate::model::file::{ChangeFilter, FileFilter, FilesOf};
use crate::model::ids::{FileId, ProjectId, ReadId, SessionId, WebhookId, Within};
use crate::model::limits::Limits;
use crate::model::page::{self as model, Cursor, List, PageSize, Slice};
use crate::model::project::ProjectFilter;
use crate::model::snapshot::SnapshotFilter;

/// A page of a list whose rows are `T`. The library's type resolves its nodes one by one.
pub struct Page<T: Plain> {
    edges: Vec<Edge<Place, Row<T>, EmptyFields>>,
    has_previous_page: bool,
    has_next_page: bool,
    total: Total,
}

/// Converts a slice of a list to a connection.
pub fn connection<R, T: Plain>(list: List, slice: Slice<R>, total: Total, node: impl Fn(R) -> T) -> Page<T> {
    let edge = |(cursor, row)| Edge::new(Place { cursor, list: list.name }, Row(node(row)));
    let edges = slice.rows.into_iter().map(edge).collect();
    Page { edges, has_previous_page: slice.has_previous, has_next_page: slice.has_next, total }
}

impl<T: Plain> TypeName for Page<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

#[Object(name_type)]
impl<T: Plain> Page<T> {
    /// Information to aid in pagination.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_previous_page: self.has_previous_page,
            has_next_page: self.has_next_page,
            start_cursor: self.edges.first().map(|edge| edge.cursor.encode_cursor()),
            end_cursor: self.edges.last().map(|edge| edge.cursor.encode_cursor()),
        }
    }

    /// A list of edges.
    async fn edges(&self) -> &[Edge<Place, Row<T>, EmptyFields>] {
        &self.edges
    }

    /// A list of nodes.
    async fn nodes(&self) -> Rows<'_, Place, T> {
        Rows(&self.edges)
    }

    #[graphql(flatten)]
    async fn total(&self) -> &Total {
        &self.total
    }
}

/// A row's cursor, encoded only if the operation selects it.
pub struct Place {
    cursor: Cursor,
    /// The name of the list.
    list: &'static str,
}

impl CursorType for Place {
    type Error = Infallible;

    fn decode_cursor(_: &str) -> std::result::Result<Self, Infallible> {
        // Resolvers parse cursors themselves by [`Cursor::parse`], whose error contains the argument.
        Ok(Self { cursor: Cursor(Vec::new()), list: "" })
    }

    fn encode_cursor(&self) -> String {
        self.cursor.encode(self.list)
    }
}

/// The arguments of a list.
#[derive(InputObject)]
pub struct Paging {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

impl Paging {
    /// Parses the arguments.
    ///
    /// # Errors
    /// As [`model::Page::parse`].
    pub fn parse(self, list: List) -> Result<model::Page> {
        model::Page::parse(self.first, self.after, self.last, self.before, list)
    }
}

/// The arguments of a selected field, before its resolver runs, and its selection. `None` if the field is not selected,
/// is selected conditionally, or has arguments that its resolver will refuse.
pub fn arguments<'a, A: InputType>(selected: &Lookahead<'a>, field: &str) -> Option<(A, Lookahead<'a>)> {
    let field = selected.field(field).selection_fields().into_iter().next()?;
    let is_certain = field.directives().is_ok_and(|directives| directives.is_empty());
    let arguments = field.arguments().ok().filter(|_| is_certain)?;
    let parsed = A::parse(Some(Value::Object(arguments.into_iter().collect()))).ok()?;
    Some((parsed, field.into()))
}

/// The names of the selected fields of a page's rows.
pub fn fields_of_rows<'a>(page: &Lookahead<'a>) -> Vec<&'a str> {
    let rows = [page.field("nodes"), page.field("edges").field("node")];
    let rows = rows.iter().flat_map(Lookahead::selection_fields);
    rows.flat_map(|rows| rows.selection_set().map(|field| field.name()).collect::<Vec<_>>()).collect()
}

/// Upper bound of weights, so that their sums do not overflow in nested lists.
const MAX_WEIGHT: usize = 1 << 40;

/// The cost of a list whose rows cost `row` each. The arguments are not validated yet: an invalid number counts as the
/// maximum and is refused later.
pub fn weigh(first: Option<i32>, last: Option<i32>, size: PageSize, row: usize) -> usize {
    let rows =
        first.or(last).map_or(size.default, |rows| usize::try_from(rows).map_or(size.max, |rows| rows.min(size.max)));
    self::rows(rows, row)
}

/// The cost of a list without pages, of which `first` rows are requested.
pub fn weigh_part(first: Option<i32>, row: usize) -> usize {
    rows(first.map_or(UNPAGED, |first| usize::try_from(first).unwrap_or(UNPAGED)), row)
}

/// The maximum number of rows to return from a list without pages.
///
/// # Errors
/// `BadInput` if `first` is negative or too large.
pub fn part(limits: &Limits, first: Option<i32>) -> Result<usize> {
    let max = usize::try_from(limits.max_list_rows).unwrap_or(usize::MAX);
    match first.map(usize::try_from) {
        None => Ok(max),
        Some(Ok(first)) if first <= max => Ok(first),
        Some(_) => {
            Err(Error::bad_input("first", format!("`first` must be a number from 0 to {max} (--max-list-rows).")))
        }
    }
}

/// Refuses a list that exceeds the limit, unless the caller requested a part of it.
///
/// # Errors
/// `QueryTooComplex` with the name of the setting.
pub fn whole(caller: &Caller, first: Option<i32>, is_longer: bool) -> Result<()> {
    if first.is_some() || !is_longer {
        return Ok(());
    }
    let max = caller.services.limits.max_list_rows;
    let message =
        format!("This list has more than {max} rows (--max-list-rows): read it in parts with `first` and `after`.");
    Err(Error::QueryTooComplex(message))
}

/// Returns the requested part of a list without pages. `begins` is false for the rows before it.
///
/// # Errors
/// As [`part`] and [`whole`].
pub fn cut<T>(caller: &Caller, rows: Vec<T>, first: Option<i32>, begins: impl Fn(&T) -> bool) -> Result<Vec<T>> {
    let limit = part(&caller.services.limits, first)?;
    let mut rows: Vec<T> = rows.into_iter().skip_while(|row| !begins(row)).collect();
    whole(caller, first, rows.len() > limit)?;
    rows.truncate(limit);
    Ok(rows)
}

/// As [`cut`], for a list without a sort key: `after` is the id of the previous row.
///
/// # Errors
/// As [`cut`]; `BadInput` if no row of the list has the id.
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

/// As [`cut_by_id`]; `after` can also be the cursor of a row in the list `name`, which stays valid when the row is
/// removed.
///
/// # Errors
/// As [`cut_by_id`].
pub fn cut_by_place<T>(
    caller: &Caller,
    rows: Vec<T>,
    first: Option<i32>,
    after: Option<&ID>,
    (name, id, place): (&str, impl Fn(&T) -> String, impl Fn(&T) -> Cursor),
) -> Result<Vec<T>> {
    let Some(cursor) = after.filter(|after| Cursor::is_cursor(after)) else {
        return cut_by_id(caller, rows, first, after, id);
    };
    let after = Cursor::parse(cursor, name, "after")?;
    if rows.first().is_some_and(|row| !place(row).is_like(&after)) {
        return Err(Cursor::foreign("after"));
    }
    cut(caller, rows.into_iter().filter(|row| place(row) > after).collect(), first, |_| true)
}

/// Assumed length of a list without pages in cost calculations.
pub const UNPAGED: usize = 10;

/// The cost of a list with the given number of rows.
pub fn rows(rows: usize, row: usize) -> usize {
    // An empty page still contains its page info.
    row.saturating_mul(rows.max(1)).saturating_add(1).min(MAX_WEIGHT)
}

/// The cost of a field that compares texts, relative to a plain field.
pub const COMPARE: usize = 10;

/// The length of a list, counted only if selected.
pub enum Total {
    /// Already known.
    Known(i64),
    /// Projects of the caller.
    Projects(ProjectFilter),
    /// Messages of the caller's active projects, or of one project.
    Recent(Option<ReadId<ProjectId>>),
    /// Sessions of a project.
    Sessions(Count<ProjectId, SessionFilter>),
    /// Messages of a session.
    Messages(Count<Within<SessionId>, MessageFilter>),
    /// Files of a project.
    Files(Count<FilesOf, FileFilter>),
    /// Entries directly in a folder.
    Children(Count<FilesOf, ChildrenOf>),
    /// Changes of a project.
    Changes(Count<ProjectId, ChangeFilter>),
    /// Versions of a file.
    Versions(FileId),
    /// Versions of a file with coalesced autosaves.
    CoalescedVersions(Count<Within<FileId>, VersionFilter>),
    /// Invitations of the caller.
    Invitations,
    /// Snapshots of a project.
    Snapshots(Count<ProjectId, SnapshotFilter>),
    /// Deliveries of a webhook.
    Deliveries(Count<Within<WebhookId>, Deliveries>),
}

#[Object]
impl Total {
    /// Number of rows in the whole list.
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
            Self::CoalescedVersions(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            Self::Invitations => collaborator::invitations_count(&*caller.reader.tx().await?).await?,
            Self::Snapshots(count) => caller.load(count.clone()).await?.unwrap_or_default(),
            Self::Deliveries(count) => caller.load(count.clone()).await?.unwrap_or_default(),
        };
        Ok(int(total))
    }
}

/// A count as GraphQL's `Int`, saturated at 2^31 - 1.
pub fn int(count: i64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
