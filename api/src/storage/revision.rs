//! The start and the end of every write: the project's lock, and its next revision with one event. On PostgreSQL both
//! are functions that enforce this (`migration/src/sql/postgres/functions.sql`).

use chrono::{DateTime, Utc};
use sea_orm::{QueryResult, Value};
use tokio::time::Instant;
use uuid::Uuid;

use super::access::{self, is_member, role, role_of};
use super::collaborator;
use super::db::{Call, Db, Size, Tx, fail, unknown};
use super::sql::Sql;
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::enums::{EventKind, ProjectRole, ProjectStatus};
use crate::model::error::Result;
use crate::model::event::Event;
use crate::model::ids::{AgentConfigurationId, FileId, MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId};

/// Identifies the project of a write.
#[derive(Clone, Copy)]
pub enum Target {
    /// By its id.
    Project(ProjectId),
    /// By one of its sessions.
    Session(SessionId),
    /// By one of its files.
    File(FileId),
    /// By one of its snapshots.
    Snapshot(ProjectSnapshotId),
    /// By one of its agent configurations.
    AgentConfiguration(AgentConfigurationId),
    /// By one of its streaming messages.
    StreamingMessage(MessageId),
}

impl Target {
    /// The kind for `lock_project`, with the id and the table.
    fn named(self) -> (&'static str, Uuid, &'static str) {
        match self {
            Self::Project(id) => ("project", id.0, "projects"),
            Self::Session(id) => ("session", id.0, "chat_sessions"),
            Self::File(id) => ("file", id.0, "project_files"),
            Self::Snapshot(id) => ("snapshot", id.0, "project_snapshots"),
            Self::AgentConfiguration(id) => ("configuration", id.0, "agent_configurations"),
            Self::StreamingMessage(id) => ("streaming_message", id.0, "streaming_messages"),
        }
    }

    /// The id of the target.
    pub fn id(self) -> Uuid {
        self.named().1
    }

    /// Adds the project's id.
    pub(super) fn project(self, sql: &mut Sql) -> &mut Sql {
        match self.named() {
            ("project", id, _) => sql.bind(id),
            (_, id, table) => sql.push("(SELECT project_id FROM ").push(table).push(" WHERE id = ").bind(id).push(")"),
        }
    }
}

/// The purpose of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A write. For viewers, the role is returned without a lock.
    Write,
    /// A change of the team; members who can only read can also do some of these.
    Team,
    /// An answer to an invitation.
    Invited,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Team => "team",
            Self::Invited => "invited",
        }
    }
}

/// The session and the message that a write names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Named {
    /// The session.
    pub session: Option<SessionId>,
    /// The message, which also determines its session.
    pub message: Option<MessageId>,
}

/// The session and message that a write to files belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Conversation {
    /// The session.
    pub session_id: SessionId,
    /// The author of the session.
    pub author_id: UserId,
    /// The message, if the write named one.
    pub message_id: Option<MessageId>,
    /// The snapshot of the message's checkpoint.
    pub snapshot_id: Option<ProjectSnapshotId>,
}

/// A project that this transaction has locked.
#[expect(missing_docs, reason = "the names say it")]
#[derive(Debug)]
pub struct Locked {
    /// The project.
    pub id: ProjectId,
    /// The revision of this write.
    pub revision: i32,
    /// The actor's role.
    pub role: ProjectRole,
    pub status: ProjectStatus,
    /// The time of the revision. Never before the time of the previous revision, even if the clock goes back.
    pub at: DateTime<Utc>,
    /// The session and message that the write names; `None` if the project has no such session.
    pub conversation: Option<Conversation>,
}

/// Begins a write: locks the project until the transaction ends. `None` if the actor has no access. On PostgreSQL this
/// takes one round trip.
pub async fn begin(
    db: &Db,
    (actor, size): (&Actor, Size),
    target: Target,
    purpose: Purpose,
    named: Named,
    deadline: Instant,
) -> Result<Option<(Tx, Locked)>> {
    let now = clock::now();
    if db.is_sqlite() {
        let tx = db.write(actor, size, deadline).await?;
        return match lock_file(&tx, target, purpose, named, now).await? {
            Some(locked) => Ok(Some(opened(tx, locked, purpose))),
            None => {
                // The next transaction must see the state that was found here.
                tx.rollback().await?;
                Ok(None)
            }
        };
    }
    let (kind, id, _) = target.named();
    let values: [Value; 6] = [
        kind.into(),
        id.into(),
        purpose.as_str().into(),
        named.session.map(|id| id.0).into(),
        named.message.map(|id| id.0).into(),
        now.into(),
    ];
    let (tx, rows) = db.write_with(actor, "lock_project", values, deadline).await?;
    let locked = rows.first().map(locked).transpose()?;
    Ok(locked.map(|locked| opened(tx, locked, purpose)))
}

/// The lock proves membership, except for an answer to an invitation: then the actor is not a member yet.
fn opened(tx: Tx, locked: Locked, purpose: Purpose) -> (Tx, Locked) {
    if purpose != Purpose::Invited {
        access::opened(&tx, [locked.id]);
    }
    (tx, locked)
}

/// Locks a project on SQLite, where the transaction is the lock.
async fn lock_file(
    tx: &Tx,
    target: Target,
    purpose: Purpose,
    named: Named,
    now: DateTime<Utc>,
) -> Result<Option<Locked>> {
    let (session, message) = (named.session.map(|id| id.0), named.message.map(|id| id.0));
    let mut sql = Sql::with(
        "SELECT projects.id, projects.revision + 1 AS revision, projects.status, s.id AS session_id, s.user_id AS session_author, \
         m.id AS message_id, n.id AS snapshot_id, \
         CASE WHEN last_activity_at > $1 THEN last_activity_at ELSE $1 END AS at, coalesce(",
        [now.into(), session.into(), message.into()],
    );
    role_of(&mut sql, "projects", tx.me()).push(
        ", 'viewer') AS role FROM projects \
         LEFT JOIN chat_sessions s ON s.project_id = projects.id \
         AND s.id = coalesce($2, (SELECT c.session_id FROM chat_messages c WHERE c.id = $3)) \
         LEFT JOIN chat_messages m ON m.session_id = s.id AND m.id = $3 \
         LEFT JOIN project_snapshots n ON n.project_id = m.project_id AND n.created_revision = m.revision \
         WHERE projects.id = ",
    );
    target.project(&mut sql).push(" AND ");
    if purpose == Purpose::Invited {
        sql.push("EXISTS (SELECT 1");
        collaborator::mine(&mut sql, tx).push(" AND i.project_id = projects.id)");
    } else {
        is_member(&mut sql, "projects.id", tx.me());
    }
    tx.row(sql).await?.as_ref().map(locked).transpose()
}

fn get<T: sea_orm::TryGetable>(row: &QueryResult, column: &str) -> Result<T> {
    row.try_get("", column).map_err(fail)
}

fn locked(row: &QueryResult) -> Result<Locked> {
    let status: String = get(row, "status")?;
    let conversation = match get::<Option<Uuid>>(row, "session_id")? {
        Some(session) => Some(Conversation {
            session_id: SessionId(session),
            author_id: UserId(get(row, "session_author")?),
            message_id: get::<Option<Uuid>>(row, "message_id")?.map(MessageId),
            snapshot_id: get::<Option<Uuid>>(row, "snapshot_id")?.map(ProjectSnapshotId),
        }),
        None => None,
    };
    Ok(Locked {
        id: ProjectId(get(row, "id")?),
        revision: get(row, "revision")?,
        role: role(&get::<String>(row, "role")?)?,
        status: ProjectStatus::from_stored(&status).ok_or_else(|| unknown("project status", &status))?,
        at: get(row, "at")?,
        conversation,
    })
}

/// What a revision adds to the project's counts.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) sessions: i32,
    pub(super) messages: i32,
    pub(super) files: i32,
    pub(super) changes: i32,
}

/// Records an event as the next revision of a locked project; on PostgreSQL the returned call does this. Messages and
/// changes of files have functions of their own, which also store their rows.
pub async fn record(tx: &Tx, event: &Event, description: Option<String>) -> Result<Option<Call>> {
    if tx.is_sqlite() {
        let sessions = i32::from(event.kind == EventKind::SessionStarted);
        take(tx, event, description, Counts { sessions, ..Counts::default() }).await?;
        return Ok(None);
    }
    Ok(Some(Call::last("record_revision", of(event, description))))
}

/// The common first parameters of the functions that record a revision.
pub(super) fn of(event: &Event, description: Option<String>) -> [Value; 7] {
    [
        event.project_id.0.into(),
        event.revision.into(),
        event.created_at.into(),
        event.kind.as_str().into(),
        event.session_id.map(|id| id.0).into(),
        event.message_id.map(|id| id.0).into(),
        description.into(),
    ]
}

/// Increments a project's revision and appends its event. On PostgreSQL a function does this.
pub(super) async fn take(tx: &Tx, event: &Event, description: Option<String>, counts: Counts) -> Result<()> {
    const PROJECT: &str = "UPDATE projects SET revision = $1, last_activity_at = $2, session_count = session_count + $3, \
        last_session_at = CASE $3 WHEN 0 THEN last_session_at ELSE $2 END, message_count = message_count + $4, \
        file_count = file_count + $5, change_count = change_count + $6 WHERE id = $7";
    let values: [Value; 7] = [
        event.revision.into(),
        event.created_at.into(),
        counts.sessions.into(),
        counts.messages.into(),
        counts.files.into(),
        counts.changes.into(),
        event.project_id.0.into(),
    ];
    tx.execute(Sql::with(PROJECT, values)).await?;
    append(tx, event, description).await
}

/// Appends the event of a revision that the project's row already has.
pub(super) async fn append(tx: &Tx, event: &Event, description: Option<String>) -> Result<()> {
    const EVENT: &str = "INSERT INTO project_events (project_id, revision, created_at, kind, session_id, message_id, description, \
        actor_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let actor = event.actor_id.map(|id| id.0).into();
    tx.execute(Sql::with(EVENT, of(event, description).into_iter().chain([actor]))).await?;
    Ok(())
}
