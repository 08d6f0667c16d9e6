//! Insights: the activity in a range of time.

use std::sync::Arc;

use async_graphql::{Context, Object, SimpleObject};

use super::file::ProjectFile;
use super::profile::User;
use crate::graphql::context::caller;
use crate::graphql::enums::InsightBucket;
use crate::graphql::error::or_null;
use crate::graphql::loader::Past;
use crate::graphql::page::{int, rows, weigh};
use crate::graphql::scalar::Time;
use crate::model::activity::FileChanges;
use crate::model::error::{Error, Result};
use crate::model::file::Entry;
use crate::model::ids::{FileId, UserId};
use crate::model::insights::{self as model, HourOfDay, MAX_BUCKETS, MAX_ROWS, Range, Totals};
use crate::model::page::PageSize;

/// Length of the list of files.
pub(in crate::graphql) const FILES: PageSize = PageSize { default: 10, max: MAX_ROWS };
/// Length of the list of users.
pub(in crate::graphql) const USERS: PageSize = PageSize { default: 20, max: MAX_ROWS };
/// Length of the list of hours.
pub(in crate::graphql) const HOURS: PageSize = PageSize { default: 24, max: 24 };

/// The range that the arguments describe.
///
/// # Errors
/// As [`Range::parse`].
pub fn range(from: Time, to: Time, bucket: InsightBucket, zone: Option<String>) -> Result<Range> {
    Range::parse(from.0, to.0, bucket.into(), zone.as_deref().unwrap_or("UTC"))
}

/// What was done in a range of time: its totals, and how it is distributed.
pub struct Insights {
    activity: Arc<model::Insights>,
    /// The revision of a project as of a moment.
    at: Option<i32>,
}

impl Insights {
    /// The insights of a project, as of a revision if one is given, or of a user.
    pub fn new(activity: Arc<model::Insights>, at: Option<i32>) -> Self {
        Self { activity, at }
    }
}

/// What was done in a range of time: its totals, and how it is distributed. Everything that was ever written counts,
/// also messages that are hidden and files that are deleted now, and changes that are undone.
#[Object]
impl Insights {
    /// The start of the range.
    async fn from(&self) -> Time {
        Time(self.activity.range.from)
    }

    /// The end of the range, which is not part of it.
    async fn to(&self) -> Time {
        Time(self.activity.range.to)
    }

    /// The length of `buckets`.
    async fn bucket(&self) -> InsightBucket {
        self.activity.range.bucket.into()
    }

    /// The time zone, by its name in the IANA database, whose calendar and clock divide the range.
    async fn time_zone(&self) -> &'static str {
        self.activity.range.zone.name()
    }

    /// The totals of the range.
    async fn totals(&self) -> ActivityTotals {
        ActivityTotals::from(&self.activity.totals)
    }

    /// The totals of each hour, day or week, in order and without gaps, at most 1,000. The first one begins at `from`,
    /// and the last one ends at `to`.
    #[graphql(complexity = "rows(MAX_BUCKETS, child_complexity)")]
    async fn buckets(&self) -> Vec<BucketTotals> {
        let bucket = |bucket: &model::BucketTotals| BucketTotals {
            start: Time(bucket.start),
            end: Time(bucket.end),
            totals: ActivityTotals::from(&bucket.totals),
        };
        self.activity.buckets.iter().map(bucket).collect()
    }

    /// The hours of the day with activity, on all days of the range together: those with most revisions first.
    #[graphql(complexity = "weigh(first, None, HOURS, child_complexity)")]
    async fn busiest_hours(
        &self,
        #[graphql(default = 24, desc = "Maximum number of hours, at most 24.")] first: Option<i32>,
    ) -> Result<Vec<HourActivity>> {
        Ok(self.activity.hours.iter().take(limit(first, HOURS)?).map(HourActivity::from).collect())
    }

    /// The files with most changes, those with most changes first; of equal ones, those with more changed lines first.
    #[graphql(complexity = "weigh(first, None, FILES, child_complexity)")]
    async fn most_changed_files(
        &self,
        #[graphql(default = 10, desc = "Maximum number of files, at most 100.")] first: Option<i32>,
    ) -> Result<Vec<FileActivity>> {
        let files = self.activity.files.iter().take(limit(first, FILES)?);
        Ok(files.map(|(id, changes)| FileActivity { id: *id, changes: *changes, at: self.at }).collect())
    }

    /// The users who did something in the range, those with most revisions first.
    #[graphql(complexity = "weigh(first, None, USERS, child_complexity)")]
    async fn contributors(
        &self,
        #[graphql(default = 20, desc = "Maximum number of users, at most 100.")] first: Option<i32>,
    ) -> Result<Vec<Contributor>> {
        let users = self.activity.users.iter().take(limit(first, USERS)?);
        Ok(users.map(|(user, totals)| Contributor { user: *user, totals: *totals }).collect())
    }
}

/// The number of rows to return.
pub(in crate::graphql) fn limit(first: Option<i32>, size: PageSize) -> Result<usize> {
    match first.map(usize::try_from) {
        None => Ok(size.default),
        Some(Ok(first)) if first <= size.max => Ok(first),
        Some(_) => Err(Error::bad_input("first", format!("`first` must be a number from 0 to {}.", size.max))),
    }
}

/// A count as GraphQL's `Int`, saturated at 2^31 - 1.
fn count(count: u64) -> i32 {
    int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Counts of what was done. Counts and sums of lines end at 2,147,483,647.
#[derive(SimpleObject)]
pub struct ActivityTotals {
    /// The number of revisions.
    revisions: i32,
    /// The number of messages of all roles.
    messages: i32,
    /// The number of messages of users.
    user_messages: i32,
    /// The number of messages of the AI assistant.
    assistant_messages: i32,
    /// The number of messages of the application itself.
    system_messages: i32,
    /// The number of messages that are checkpoints.
    checkpoints: i32,
    /// The number of sessions that started.
    sessions_started: i32,
    /// The number of sessions that ended.
    sessions_ended: i32,
    /// The length of the sessions that ended, from their start, in seconds. All of it counts when a session ends.
    session_seconds: f64,
    /// The average length of the sessions that ended, in seconds; null if none ended.
    average_session_seconds: Option<f64>,
    /// The number of changes of files and created folders. A revision can have several.
    changes: i32,
    /// The number of lines that these changes added.
    lines_added: i32,
    /// The number of lines that these changes removed.
    lines_removed: i32,
    /// The number of different files and folders that were changed.
    active_files: i32,
    /// The number of restores of an earlier state.
    restores: i32,
    /// The number of revisions that undo others.
    undos: i32,
    /// The number of revisions that undo an undo.
    redos: i32,
    /// `undos`, divided by the number of revisions that can be undone and are no undos or redos themselves: changes of
    /// files and of the project's own fields, and restores. Null if there are none. It can exceed 1, since older revisions
    /// can be undone.
    undo_rate: Option<f64>,
}

impl From<&Totals> for ActivityTotals {
    fn from(totals: &Totals) -> Self {
        let Totals { counts, changes, active_files } = totals;
        let seconds = counts.session_seconds();
        let share = |of: f64, all: u64| (all > 0).then(|| of / all as f64);
        Self {
            revisions: count(counts.revisions),
            messages: count(counts.messages()),
            user_messages: count(counts.user_messages),
            assistant_messages: count(counts.assistant_messages),
            system_messages: count(counts.system_messages),
            checkpoints: count(counts.checkpoints),
            sessions_started: count(counts.sessions_started),
            sessions_ended: count(counts.sessions_ended),
            session_seconds: seconds,
            average_session_seconds: share(seconds, counts.sessions_ended),
            changes: count(changes.changes),
            lines_added: count(changes.lines_added),
            lines_removed: count(changes.lines_removed),
            active_files: i32::try_from(*active_files).unwrap_or(i32::MAX),
            restores: count(counts.restores),
            undos: count(counts.undos),
            redos: count(counts.redos),
            undo_rate: share(counts.undos as f64, counts.undoable),
        }
    }
}

/// The totals of an hour, a day or a week.
#[derive(SimpleObject)]
pub struct BucketTotals {
    /// The start of the hour, day or week; of the first bucket, `from`.
    start: Time,
    /// The start of the next bucket; of the last one, `to`.
    end: Time,
    /// What was done in it.
    totals: ActivityTotals,
}

/// What was done in an hour of the day, on all days of a range.
#[derive(SimpleObject)]
pub struct HourActivity {
    /// The hour that the clock of the time zone shows, from 0 to 23.
    hour: i32,
    /// The number of revisions.
    revisions: i32,
    /// The number of messages.
    messages: i32,
    /// The number of changes of files.
    changes: i32,
}

impl From<&HourOfDay> for HourActivity {
    fn from(hour: &HourOfDay) -> Self {
        Self {
            hour: i32::try_from(hour.hour).unwrap_or_default(),
            revisions: count(hour.revisions),
            messages: count(hour.messages),
            changes: count(hour.changes),
        }
    }
}

/// The changes of a file in a range of time.
pub struct FileActivity {
    id: FileId,
    changes: FileChanges,
    at: Option<i32>,
}

/// The changes of a file in a range of time.
#[Object]
impl FileActivity {
    /// The file, also if it is deleted.
    async fn file(&self, ctx: &Context<'_>) -> Result<ProjectFile> {
        let caller = caller(ctx)?;
        let file = match self.at {
            Some(at) => caller.load(Past(self.id, at)).await?,
            None => caller.load(self.id).await?,
        };
        Ok(ProjectFile(Entry::File(file.ok_or_else(|| Error::not_found("file", "id"))?), self.at))
    }

    /// The number of changes.
    async fn changes(&self) -> i32 {
        count(self.changes.changes)
    }

    /// The number of lines that these changes added.
    async fn lines_added(&self) -> i32 {
        count(self.changes.lines_added)
    }

    /// The number of lines that these changes removed.
    async fn lines_removed(&self) -> i32 {
        count(self.changes.lines_removed)
    }
}

/// What a user did in a range of time.
pub struct Contributor {
    user: Option<UserId>,
    totals: Totals,
}

/// What a user did in a range of time.
#[Object]
impl Contributor {
    /// The user; null if the user no longer exists.
    async fn user(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, self.user)).await
    }

    /// What the user did.
    async fn totals(&self) -> ActivityTotals {
        ActivityTotals::from(&self.totals)
    }
}
