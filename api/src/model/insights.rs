//! Insights: the activity of a range of time, by buckets of a time zone's calendar, hours of the day, files and users.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::activity::{Cell, Counts, FileChanges, QUARTER};
use super::error::{Error, Result};
use super::ids::{FileId, UserId};

/// Maximum number of buckets.
pub const MAX_BUCKETS: usize = 1_000;

/// Maximum number of files and of users in a list.
pub const MAX_ROWS: usize = 100;

/// The earliest start of a range. Before, some clocks changed at times that are not whole quarters of an hour.
const EARLIEST: &str = "2023-01-01T00:00:00Z";

/// Length of the buckets.
#[expect(missing_docs, reason = "`graphql/enums.rs` describes the values")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    Hour,
    Day,
    Week,
}

/// What to sum up: a range of time, half open, and how to divide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// The start.
    pub from: DateTime<Utc>,
    /// The end, which is not part of the range.
    pub to: DateTime<Utc>,
    /// Length of the buckets.
    pub bucket: Bucket,
    /// The time zone whose calendar and clock divide the range.
    pub zone: Tz,
}

impl Range {
    /// Checks the arguments.
    ///
    /// # Errors
    /// `BadInput` for an unknown time zone, an empty range, one that starts too early, or one with too many buckets.
    pub fn parse(from: DateTime<Utc>, to: DateTime<Utc>, bucket: Bucket, zone: &str) -> Result<Self> {
        let unknown = |_| {
            let message = "This is not a time zone of the IANA database; use a name such as `Europe/Berlin` or `UTC`.";
            Error::bad_input("timeZone", message)
        };
        let zone: Tz = zone.parse().map_err(unknown)?;
        if from >= to {
            return Err(Error::bad_input("to", "`to` must be later than `from`."));
        }
        if EARLIEST.parse::<DateTime<Utc>>().is_ok_and(|earliest| from < earliest) {
            return Err(Error::bad_input("from", format!("The range can start at {EARLIEST} or later.")));
        }
        let range = Self { from, to, bucket, zone };
        let hours = match bucket {
            Bucket::Hour => 1,
            Bucket::Day => 24,
            Bucket::Week => 7 * 24,
        };
        let most = usize::try_from((to - from).num_hours() / hours).unwrap_or(usize::MAX);
        // Days can be shorter than 24 hours, but not by much.
        if most > MAX_BUCKETS + 1 || range.starts().len() > MAX_BUCKETS {
            let message = format!("The range has more than {MAX_BUCKETS} buckets: shorten it, or use longer buckets.");
            return Err(Error::bad_input("bucket", message));
        }
        Ok(range)
    }

    /// The starts of the buckets, in order; the first is the start of the range.
    pub fn starts(&self) -> Vec<DateTime<Utc>> {
        let mut starts = vec![self.from];
        match self.bucket {
            Bucket::Hour => starts.extend(self.hours()),
            Bucket::Day => starts.extend(self.days(1)),
            Bucket::Week => starts.extend(self.days(7)),
        }
        starts.dedup();
        starts
    }

    /// The first moments of the days, or of the Mondays, after the start of the range.
    fn days(&self, step: u64) -> impl Iterator<Item = DateTime<Utc>> {
        let first = self.from.with_timezone(&self.zone).date_naive();
        let since_monday = if step == 7 { u64::from(first.weekday().num_days_from_monday()) } else { 0 };
        let first = first.checked_sub_days(Days::new(since_monday)).unwrap_or(first);
        let dates = std::iter::successors(Some(first), move |date| date.checked_add_days(Days::new(step)));
        let (zone, from, to) = (self.zone, self.from, self.to);
        dates
            .skip(1)
            .map(move |date| start_of(zone, date))
            .skip_while(move |at| *at <= from)
            .take_while(move |at| *at < to)
    }

    /// The moments after the start of the range at which the zone's clock shows a full hour, or jumps to another hour.
    fn hours(&self) -> Vec<DateTime<Utc>> {
        let quarter = TimeDelta::seconds(QUARTER);
        let hour = |at: DateTime<Utc>| {
            let local = at.with_timezone(&self.zone).naive_local();
            (local.date(), local.hour())
        };
        let first = self.from.timestamp().div_euclid(QUARTER) + 1;
        let first = DateTime::from_timestamp(first.saturating_mul(QUARTER), 0).unwrap_or(self.to);
        let quarters = std::iter::successors(Some(first), |at| at.checked_add_signed(quarter));
        let quarters = quarters.take_while(|at| *at < self.to);
        let starts = |at: &DateTime<Utc>| {
            at.with_timezone(&self.zone).minute() == 0 || hour(*at) != hour(*at - TimeDelta::microseconds(1))
        };
        quarters.filter(starts).collect()
    }

    /// The hour that the zone's clock shows in a quarter of an hour.
    fn hour_of(&self, quarter: i64) -> usize {
        let at = DateTime::from_timestamp(quarter.saturating_mul(QUARTER), 0).unwrap_or(self.from);
        let offset = self.zone.offset_from_utc_datetime(&at.naive_utc()).fix();
        let local = at.timestamp() + i64::from(offset.local_minus_utc());
        usize::try_from(local.div_euclid(3600).rem_euclid(24)).unwrap_or_default()
    }
}

/// The first moment of a day: midnight, unless the clock skips it.
fn start_of(zone: Tz, date: NaiveDate) -> DateTime<Utc> {
    let midnight = date.and_time(NaiveTime::MIN);
    // A clock skips at most one day.
    let candidates = (0..=24 * 4).map(|quarters| midnight + TimeDelta::seconds(quarters * QUARTER));
    let mut existing = candidates.filter_map(|local| zone.from_local_datetime(&local).earliest());
    existing.next().map_or(midnight.and_utc(), |at| at.to_utc())
}

/// Sums of what was done, with the number of different files that were changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What was done.
    pub counts: Counts,
    /// Changes of all files.
    pub changes: FileChanges,
    /// Number of different files.
    pub active_files: usize,
}

/// A bucket of the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketTotals {
    /// The start.
    pub start: DateTime<Utc>,
    /// The end, which is not part of it.
    pub end: DateTime<Utc>,
    /// What was done in it.
    pub totals: Totals,
}

/// What was done in an hour of the day, on all days.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourOfDay {
    pub hour: usize,
    pub revisions: u64,
    pub messages: u64,
    pub changes: u64,
}

/// The activity of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Insights {
    /// What was summed up.
    pub range: Range,
    /// All of it.
    pub totals: Totals,
    /// By bucket, without gaps.
    pub buckets: Vec<BucketTotals>,
    /// By hour of the day, in the zone: those with activity, the busiest first.
    pub hours: Vec<HourOfDay>,
    /// The files that were changed most, at most [`MAX_ROWS`].
    pub files: Vec<(FileId, FileChanges)>,
    /// The users who did most, at most [`MAX_ROWS`]; `None` stands for users who no longer exist.
    pub users: Vec<(Option<UserId>, Totals)>,
}

impl Insights {
    /// Sums up cells, which are all in the range.
    pub fn of<'c>(range: Range, cells: impl IntoIterator<Item = &'c Cell>) -> Self {
        let starts = range.starts();
        let mut totals = Totals::default();
        let mut buckets = vec![Totals::default(); starts.len()];
        let mut hours: Vec<HourOfDay> = (0..24).map(|hour| HourOfDay { hour, ..HourOfDay::default() }).collect();
        let mut files: HashMap<FileId, FileChanges> = HashMap::new();
        let mut users: HashMap<Option<UserId>, Totals> = HashMap::new();
        let (mut files_of_buckets, mut files_of_users) = (HashSet::new(), HashSet::new());
        for cell in cells {
            // Buckets start at quarters, except the first.
            let at = DateTime::from_timestamp(cell.quarter.saturating_mul(QUARTER), 0).unwrap_or(range.from);
            let index = starts.partition_point(|start| *start <= at).saturating_sub(1);
            let user = users.entry(cell.user).or_default();
            let mut changes = FileChanges::default();
            for (file, of_file) in &cell.files {
                changes.add(of_file);
                files.entry(*file).or_default().add(of_file);
                if let Some(bucket) = buckets.get_mut(index) {
                    bucket.active_files += usize::from(files_of_buckets.insert((index, *file)));
                }
                user.active_files += usize::from(files_of_users.insert((cell.user, *file)));
            }
            for sums in [Some(&mut totals), buckets.get_mut(index), Some(user)].into_iter().flatten() {
                sums.counts.add(&cell.counts);
                sums.changes.add(&changes);
            }
            if let Some(hour) = hours.get_mut(range.hour_of(cell.quarter)) {
                hour.revisions += cell.counts.revisions;
                hour.messages += cell.counts.messages();
                hour.changes += changes.changes;
            }
        }
        totals.active_files = files.len();
        let ends = starts.iter().skip(1).copied().chain([range.to]);
        let buckets = starts.iter().copied().zip(ends).zip(buckets);
        Self {
            range,
            totals,
            buckets: buckets.map(|((start, end), totals)| BucketTotals { start, end, totals }).collect(),
            hours: busiest(hours),
            files: most_changed(files),
            users: most_active(users),
        }
    }
}

fn busiest(mut hours: Vec<HourOfDay>) -> Vec<HourOfDay> {
    hours.retain(|hour| hour.revisions > 0);
    hours.sort_by_key(|hour| (Reverse(hour.revisions), hour.hour));
    hours
}

fn most_changed(files: HashMap<FileId, FileChanges>) -> Vec<(FileId, FileChanges)> {
    let mut files: Vec<_> = files.into_iter().collect();
    let lines = |changes: &FileChanges| changes.lines_added.saturating_add(changes.lines_removed);
    files.sort_by_key(|(file, changes)| (Reverse(changes.changes), Reverse(lines(changes)), *file));
    files.truncate(MAX_ROWS);
    files
}

fn most_active(users: HashMap<Option<UserId>, Totals>) -> Vec<(Option<UserId>, Totals)> {
    let mut users: Vec<_> = users.into_iter().collect();
    users.sort_by_key(|(user, totals)| (Reverse(totals.counts.revisions), *user));
    users.truncate(MAX_ROWS);
    users
}

#[cfg(test)]
mod tests {
    use chrono_tz::TZ_VARIANTS;

    use super::*;

    fn range(from: &str, to: &str, bucket: Bucket, zone: &str) -> Result<Range> {
        Range::parse(from.parse().unwrap(), to.parse().unwrap(), bucket, zone)
    }

    fn starts(from: &str, to: &str, bucket: Bucket, zone: &str) -> Vec<String> {
        let starts = range(from, to, bucket, zone).unwrap().starts();
        starts.iter().map(|at| at.format("%m-%dT%H:%M").to_string()).collect()
    }

    #[test]
    fn days_begin_at_midnight_in_the_zone() {
        let berlin = |from, to| starts(from, to, Bucket::Day, "Europe/Berlin");
        // The clock goes forward on March 29 and back on October 25: these days have 23 and 25 hours.
        let spring = ["03-27T23:00", "03-28T23:00", "03-29T22:00"];
        assert_eq!(berlin("2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z"), spring);
        let autumn = ["10-24T22:00", "10-25T23:00"];
        assert_eq!(berlin("2026-10-24T22:00:00Z", "2026-10-26T23:00:00Z"), autumn);
        let kathmandu = starts("2026-01-01T00:00:00Z", "2026-01-02T18:15:01Z", Bucket::Day, "Asia/Kathmandu");
        assert_eq!(kathmandu, ["01-01T00:00", "01-01T18:15", "01-02T18:15"]);
        // The clock goes from 23:59:59 to 01:00 on April 24, and midnight occurs twice on November 1.
        let cairo = starts("2026-04-23T00:00:00Z", "2026-04-24T23:00:00Z", Bucket::Day, "Africa/Cairo");
        assert_eq!(cairo, ["04-23T00:00", "04-23T22:00", "04-24T21:00"]);
        let havana = starts("2026-11-01T03:00:00Z", "2026-11-02T06:00:00Z", Bucket::Day, "America/Havana");
        assert_eq!(havana, ["11-01T03:00", "11-01T04:00", "11-02T05:00"]);
    }

    #[test]
    fn weeks_begin_on_monday() {
        // 2026-01-01 is a Thursday.
        let utc = starts("2026-01-01T00:00:00Z", "2026-01-19T00:00:00Z", Bucket::Week, "UTC");
        assert_eq!(utc, ["01-01T00:00", "01-05T00:00", "01-12T00:00"]);
        let exact = starts("2026-01-05T00:00:00Z", "2026-01-12T00:00:00.000001Z", Bucket::Week, "UTC");
        assert_eq!(exact, ["01-05T00:00", "01-12T00:00"]);
        let auckland = starts("2026-01-04T10:00:00Z", "2026-01-06T00:00:00Z", Bucket::Week, "Pacific/Auckland");
        assert_eq!(auckland, ["01-04T10:00", "01-04T11:00"]);
    }

    #[test]
    fn hours_follow_the_clock() {
        let hours = |from, to, zone| starts(from, to, Bucket::Hour, zone);
        let kolkata = hours("2026-01-01T00:00:00Z", "2026-01-01T01:45:00Z", "Asia/Kolkata");
        assert_eq!(kolkata, ["01-01T00:00", "01-01T00:30", "01-01T01:30"]);
        // 02:00 occurs twice.
        let berlin = hours("2026-10-25T00:00:00Z", "2026-10-25T03:00:00Z", "Europe/Berlin");
        assert_eq!(berlin, ["10-25T00:00", "10-25T01:00", "10-25T02:00"]);
        // The clock goes back from 02:00 to 01:30, and forward from 02:00 to 02:30.
        let back = hours("2026-04-04T14:00:00Z", "2026-04-04T16:30:00Z", "Australia/Lord_Howe");
        assert_eq!(back, ["04-04T14:00", "04-04T15:30"]);
        let forward = hours("2026-10-03T14:30:00Z", "2026-10-03T16:30:00Z", "Australia/Lord_Howe");
        assert_eq!(forward, ["10-03T14:30", "10-03T15:30", "10-03T16:00"]);
    }

    #[test]
    fn bad_ranges_are_refused() {
        let field = |from, to, bucket, zone| match range(from, to, bucket, zone) {
            Err(Error::BadInput { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        let (day, next) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        for zone in ["", "Berlin", "europe/berlin", "+01:00", "UTC ", "Europe/Berlin\0"] {
            assert_eq!(field(day, next, Bucket::Day, zone), "timeZone", "{zone:?}");
        }
        assert_eq!(field(day, day, Bucket::Day, "UTC"), "to");
        assert_eq!(field(next, day, Bucket::Day, "UTC"), "to");
        assert_eq!(field("2022-12-31T23:59:59Z", day, Bucket::Week, "UTC"), "from");
        assert_eq!(field(day, "2026-02-11T16:00:00.000001Z", Bucket::Hour, "UTC"), "bucket");
        assert!(range(day, "2026-02-11T16:00:00Z", Bucket::Hour, "UTC").is_ok());
        assert_eq!(field(day, "9999-12-31T23:59:59Z", Bucket::Week, "UTC"), "bucket");
        assert!(range("9999-12-31T23:00:00Z", "9999-12-31T23:59:59Z", Bucket::Hour, "Pacific/Kiritimati").is_ok());
    }

    /// Sums of quarters are only exact if every clock differs from UTC by whole quarters, and changes at one.
    #[test]
    fn all_clocks_are_whole_quarters_from_utc() {
        let earliest = EARLIEST.parse::<DateTime<Utc>>().unwrap();
        for zone in TZ_VARIANTS {
            let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
            let mut before = offset(earliest);
            for day in 1..30 * 365 {
                let (start, end) = (earliest + TimeDelta::days(day - 1), earliest + TimeDelta::days(day));
                let after = offset(end);
                assert_eq!(i64::from(after) % QUARTER, 0, "{zone}");
                if before != after {
                    let change = (0..24 * 60).map(|minute| start + TimeDelta::minutes(minute + 1));
                    let change = change.into_iter().find(|at| offset(*at) == after).unwrap();
                    assert_eq!(change.timestamp() % QUARTER, 0, "{zone} {change}");
                }
                before = after;
            }
        }
    }
}
