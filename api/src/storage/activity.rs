//! `project_activity`: what users did in a project, in segments of [`SEGMENT`] revisions, and the same from the log.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{QueryResult, Value};
use uuid::Uuid;

use super::access::Member;
use super::db::{Db, Operator, Tx, fail};
use super::sql::{Sql, union};
use crate::model::activity::{Activity, Cell, Counts, FileChanges, SEGMENT, pack, sum};
use crate::model::enums::{EventKind, MessageRole};
use crate::model::error::Result;
use crate::model::event::Undos;
use crate::model::ids::{FileId, ProjectId, UserId};

/// How far a project and its stored segments are.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'t> {
    /// The project.
    pub project: Member<'t>,
    /// Its newest revision.
    pub revision: i32,
    /// The number of its stored segments.
    pub segments: i32,
}

/// A segment of the activity of a project.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The project.
    pub project: ProjectId,
    /// Its number, from 1.
    pub number: i32,
    /// The time of its first revision.
    pub first_at: DateTime<Utc>,
    /// The time of its last revision.
    pub last_at: DateTime<Utc>,
    /// Its packed cells; `None` if they were not requested.
    pub cells: Option<Vec<u8>>,
}

impl Segment {
    /// The segment with this activity; `None` if there is none.
    pub fn of(project: ProjectId, number: i32, activity: &[Activity]) -> Result<Option<Self>> {
        let times = || activity.iter().map(|one| one.at);
        let (Some(first_at), Some(last_at)) = (times().min(), times().max()) else { return Ok(None) };
        Ok(Some(Self { project, number, first_at, last_at, cells: Some(pack(&sum(activity))?) }))
    }

    /// The revisions before its first one, and its last one.
    pub fn revisions(number: i32) -> (i32, i32) {
        let last = number.saturating_mul(SEGMENT);
        (last.saturating_sub(SEGMENT), last)
    }
}

/// Revisions of a project: those after `after`, up to `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch<P> {
    /// The project.
    pub project: P,
    /// The revision before the first.
    pub after: i32,
    /// The last revision.
    pub until: i32,
}

fn get<T: sea_orm::TryGetable>(row: &QueryResult, column: &str) -> Result<T> {
    row.try_get("", column).map_err(fail)
}

/// The progress of projects.
pub async fn progress<'t>(tx: &Tx, projects: &[Member<'t>]) -> Result<Vec<Progress<'t>>> {
    let members: HashMap<ProjectId, Member<'t>> = projects.iter().map(|member| (member.project(), *member)).collect();
    let mut sql = Sql::new(
        "SELECT p.id, p.revision, coalesce((SELECT max(a.segment) FROM project_activity a WHERE a.project_id = p.id), 0) AS segments \
         FROM projects p WHERE p.id IN ",
    );
    sql.list(projects.iter().copied());
    let mut progress = Vec::with_capacity(projects.len());
    for row in tx.rows(sql).await? {
        if let Some(project) = members.get(&ProjectId(get(&row, "id")?)) {
            let (revision, segments) = (get(&row, "revision")?, get(&row, "segments")?);
            progress.push(Progress { project: *project, revision, segments });
        }
    }
    Ok(progress)
}

/// The stored segments that have revisions in a range of time, in order; with their cells if all of their revisions are in it.
pub async fn segments(
    tx: &Tx,
    projects: &[Member<'_>],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Vec<Segment>> {
    let mut sql = Sql::new("SELECT a.project_id, a.segment, a.first_at, a.last_at, CASE WHEN a.first_at >= ");
    sql.bind(from).push(" AND a.last_at < ").bind(to);
    sql.push(" THEN a.cells END AS cells FROM project_activity a WHERE a.project_id IN ")
        .list(projects.iter().copied());
    sql.push(" AND a.last_at >= ").bind(from).push(" AND a.first_at < ").bind(to);
    sql.push(" ORDER BY a.project_id, a.segment");
    tx.rows(sql).await?.iter().map(segment).collect()
}

fn segment(row: &QueryResult) -> Result<Segment> {
    Ok(Segment {
        project: ProjectId(get(row, "project_id")?),
        number: get(row, "segment")?,
        first_at: get(row, "first_at")?,
        last_at: get(row, "last_at")?,
        cells: get(row, "cells")?,
    })
}

/// Stored segments of a project after one, in order, for `verify`.
pub async fn stored(operator: &Operator, project: ProjectId, after: i32, limit: i32) -> Result<Vec<Segment>> {
    const READ: &str =
        "SELECT a.* FROM project_activity a WHERE a.project_id = $1 AND a.segment > $2 ORDER BY a.segment LIMIT $3";
    let rows = operator.rows(Sql::with(READ, [project.0.into(), after.into(), limit.into()])).await?;
    rows.iter().map(segment).collect()
}

/// Stores segments that follow the stored ones. Segments that are stored already do not change.
pub async fn store(tx: &Tx, segments: &[Segment]) -> Result<()> {
    const COLUMNS: [&str; 5] = ["project_id", "segment", "first_at", "last_at", "cells"];
    let rows = segments.iter().map(|segment| -> [Value; 5] {
        let Segment { project, number, first_at, last_at, cells } = segment;
        [project.0.into(), (*number).into(), (*first_at).into(), (*last_at).into(), cells.clone().into()]
    });
    for sql in super::sql::insert("project_activity", COLUMNS, rows, " ON CONFLICT DO NOTHING") {
        tx.execute(sql).await?;
    }
    Ok(())
}

/// As [`store`], on PostgreSQL, where servers write segments and callers cannot.
pub async fn store_as_server(db: &Db, segments: &[Segment]) -> Result<()> {
    let mut sql = Sql::new("SELECT ");
    for (index, segment) in segments.iter().enumerate() {
        sql.push(if index == 0 { "store_activity(" } else { ", store_activity(" }).bind(segment.project.0).push(", ");
        sql.bind(segment.number).push(", ").bind(segment.first_at).push(", ").bind(segment.last_at).push(", decode(");
        sql.bind(hex::encode(segment.cells.as_deref().unwrap_or_default())).push(", 'hex'))");
    }
    db.run_as_nobody(sql).await
}

/// The activity of stretches of the log, for each in the order of the revisions.
pub async fn read(tx: &Tx, stretches: &[Stretch<Member<'_>>]) -> Result<Vec<Vec<Activity>>> {
    let stretches: Vec<Stretch<ProjectId>> = stretches
        .iter()
        .map(|Stretch { project, after, until }| Stretch { project: project.project(), after: *after, until: *until })
        .collect();
    let mut log = Log { events: tx.rows(events(&stretches)?).await?, ..Log::default() };
    log.changes = tx.rows(changes(&stretches)?).await?;
    log.undos = tx.rows(undos(&stretches)?).await?;
    if let Some(sessions) = sessions(&log.events)? {
        log.sessions = tx.rows(sessions).await?;
    }
    log.activity(stretches.len())
}

/// The same for `verify`, which reads every project.
pub async fn read_any(operator: &Operator, stretch: Stretch<ProjectId>) -> Result<Vec<Activity>> {
    let stretches = [stretch];
    let mut log = Log { events: operator.rows(events(&stretches)?).await?, ..Log::default() };
    log.changes = operator.rows(changes(&stretches)?).await?;
    log.undos = operator.rows(undos(&stretches)?).await?;
    if let Some(sessions) = sessions(&log.events)? {
        log.sessions = operator.rows(sessions).await?;
    }
    Ok(log.activity(1)?.pop().unwrap_or_default())
}

/// One statement for all stretches. `select` adds the columns and the tables, up to the condition on the project; `column`
/// has the revision.
fn each(stretches: &[Stretch<ProjectId>], select: &str, column: &str) -> Result<Sql> {
    let numbered: Vec<(usize, Stretch<ProjectId>)> = stretches.iter().copied().enumerate().collect();
    union(&numbered, |sql, (index, Stretch { project, after, until })| {
        sql.push(&format!("SELECT {index} AS n, ")).push(select).bind(project.0);
        sql.push(" AND ").push(column).push(" > ").bind(after).push(" AND ").push(column).push(" <= ").bind(until);
        Ok(())
    })
}

/// The events, with the message that each added and the session that it may have ended. These are looked up row by row: for
/// a join, PostgreSQL could read the whole table.
fn events(stretches: &[Stretch<ProjectId>]) -> Result<Sql> {
    const SELECT: &str = "e.revision, e.kind, e.actor_id, e.created_at, \
        CASE e.kind WHEN 'MESSAGE_ADDED' THEN (SELECT m.role FROM chat_messages m WHERE m.id = e.message_id) END AS role, \
        CASE e.kind WHEN 'MESSAGE_ADDED' THEN (SELECT m.is_checkpoint FROM chat_messages m WHERE m.id = e.message_id) END AS is_checkpoint, \
        CASE e.kind WHEN 'SESSION_ENDED' THEN e.session_id WHEN 'COLLABORATORS_CHANGED' THEN e.session_id \
        WHEN 'SESSION_STARTED' THEN (SELECT s.id FROM chat_sessions s WHERE s.project_id = e.project_id AND s.user_id = e.actor_id \
        AND s.revision < e.revision ORDER BY s.revision DESC LIMIT 1) END AS session_id \
        FROM project_events e WHERE e.project_id = ";
    each(stretches, SELECT, "e.revision")
}

fn changes(stretches: &[Stretch<ProjectId>]) -> Result<Sql> {
    const SELECT: &str = "v.revision, v.file_id, v.additions, v.deletions FROM file_snapshots v WHERE v.project_id = ";
    each(stretches, SELECT, "v.revision")
}

/// The undos, and the undos that they undo, and so on: these decide which are redos.
fn undos(stretches: &[Stretch<ProjectId>]) -> Result<Sql> {
    let numbered: Vec<(usize, Stretch<ProjectId>)> = stretches.iter().copied().enumerate().collect();
    union(&numbered, |sql, (index, Stretch { project, after, until })| {
        sql.push("WITH RECURSIVE c (revision, undone) AS (SELECT u.revision, u.undone_revision FROM project_undos u WHERE u.project_id = ");
        sql.bind(project.0).push(" AND u.revision > ").bind(after).push(" AND u.revision <= ").bind(until);
        sql.push(" UNION SELECT u.revision, u.undone_revision FROM c JOIN project_undos u ON u.revision = c.undone AND u.project_id = ");
        sql.bind(project.0).push(&format!(") SELECT {index} AS n, c.revision, c.undone FROM c"));
        Ok(())
    })
}

/// The sessions that events may have ended; `None` if there are none.
fn sessions(events: &[QueryResult]) -> Result<Option<Sql>> {
    let ids = events.iter().map(|row| get::<Option<Uuid>>(row, "session_id"));
    let ids: HashSet<Uuid> = ids.filter_map(Result::transpose).collect::<Result<_>>()?;
    let mut sql = Sql::new("SELECT s.id, s.user_id, s.started_at, s.ended_at FROM chat_sessions s WHERE s.id IN ");
    Ok((!ids.is_empty()).then(|| {
        sql.list(ids);
        sql
    }))
}

/// The rows of stretches of the log.
#[derive(Default)]
struct Log {
    events: Vec<QueryResult>,
    changes: Vec<QueryResult>,
    undos: Vec<QueryResult>,
    sessions: Vec<QueryResult>,
}

/// The changes of files, by the number of the stretch and the revision.
type FilesByRevision = HashMap<(i32, i32), Vec<(FileId, FileChanges)>>;

/// A session that has ended.
struct Ended {
    user: UserId,
    at: DateTime<Utc>,
    microseconds: u64,
}

impl Log {
    /// The activity of each stretch.
    fn activity(&self, stretches: usize) -> Result<Vec<Vec<Activity>>> {
        let mut changes = self.files()?;
        let undos = self.undos_of_stretches()?;
        let mut sessions = self.ended_sessions()?;
        let mut activity: Vec<Vec<Activity>> = (0..stretches).map(|_| Vec::new()).collect();
        for row in &self.events {
            let (n, revision): (i32, i32) = (get(row, "n")?, get(row, "revision")?);
            let Some(activity) = usize::try_from(n).ok().and_then(|n| activity.get_mut(n)) else { continue };
            let at: DateTime<Utc> = get(row, "created_at")?;
            let mut counts = counts(row)?;
            let undo = undos.get(&n).and_then(|undos| undos.is_undo_of_change(revision));
            match undo {
                Some(true) => counts.undos = 1,
                Some(false) => counts.redos = 1,
                None => {}
            }
            counts.undoable = if undo.is_some() { 0 } else { counts.undoable };
            let files = changes.remove(&(n, revision)).unwrap_or_default();
            let user = get::<Option<Uuid>>(row, "actor_id")?.map(UserId);
            activity.push(Activity { at, user, counts, files });
            // Every session ends once. The session before a new one can also have ended earlier.
            let session: Option<Uuid> = get(row, "session_id")?;
            let ended = session.filter(|id| sessions.get(id).is_some_and(|session| session.at == at));
            if let Some(Ended { user, microseconds, .. }) = ended.and_then(|id| sessions.remove(&id)) {
                let counts = Counts { sessions_ended: 1, session_microseconds: microseconds, ..Counts::default() };
                activity.push(Activity { at, user: Some(user), counts, files: Vec::new() });
            }
        }
        Ok(activity)
    }

    fn files(&self) -> Result<FilesByRevision> {
        let lines = |row: &QueryResult, column: &str| Ok(u64::try_from(get::<i32>(row, column)?).unwrap_or_default());
        let mut files = FilesByRevision::new();
        for row in &self.changes {
            let (lines_added, lines_removed) = (lines(row, "additions")?, lines(row, "deletions")?);
            let changes = FileChanges { changes: 1, lines_added, lines_removed };
            files
                .entry((get(row, "n")?, get(row, "revision")?))
                .or_default()
                .push((FileId(get(row, "file_id")?), changes));
        }
        Ok(files)
    }

    fn undos_of_stretches(&self) -> Result<HashMap<i32, Undos>> {
        let mut pairs: HashMap<i32, Vec<(i32, i32)>> = HashMap::new();
        for row in &self.undos {
            pairs.entry(get(row, "n")?).or_default().push((get(row, "revision")?, get(row, "undone")?));
        }
        Ok(pairs.into_iter().map(|(n, pairs)| (n, Undos::new(&pairs))).collect())
    }

    fn ended_sessions(&self) -> Result<HashMap<Uuid, Ended>> {
        let mut sessions = HashMap::new();
        for row in &self.sessions {
            let Some(at) = get::<Option<DateTime<Utc>>>(row, "ended_at")? else { continue };
            let length = at - get::<DateTime<Utc>>(row, "started_at")?;
            let microseconds = u64::try_from(length.num_microseconds().unwrap_or_default()).unwrap_or_default();
            sessions.insert(get(row, "id")?, Ended { user: UserId(get(row, "user_id")?), at, microseconds });
        }
        Ok(sessions)
    }
}

/// The counts of an event, apart from its files. Undos are counted as undoable here.
fn counts(row: &QueryResult) -> Result<Counts> {
    let mut counts = Counts { revisions: 1, ..Counts::default() };
    let kind: String = get(row, "kind")?;
    match EventKind::from_stored(&kind) {
        Some(EventKind::MessageAdded) => {
            let role: Option<String> = get(row, "role")?;
            match role.as_deref().and_then(MessageRole::from_stored) {
                Some(MessageRole::User) => counts.user_messages = 1,
                Some(MessageRole::Assistant) => counts.assistant_messages = 1,
                Some(MessageRole::System) => counts.system_messages = 1,
                None => {}
            }
            counts.checkpoints = u64::from(get::<Option<bool>>(row, "is_checkpoint")? == Some(true));
        }
        Some(EventKind::SessionStarted) => counts.sessions_started = 1,
        Some(EventKind::ProjectRestored) => (counts.restores, counts.undoable) = (1, 1),
        Some(EventKind::FilesChanged | EventKind::ProjectUpdated) => counts.undoable = 1,
        _ => {}
    }
    Ok(counts)
}

/// The cells of the activity in a range of time.
pub fn within(activity: &[Activity], from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Cell> {
    sum(activity.iter().filter(|one| from <= one.at && one.at < to))
}
