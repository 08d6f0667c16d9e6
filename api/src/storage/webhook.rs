//! `webhooks`. Only the owner of a project sees them. Servers deliver on behalf of the owner, and hold a lease while they
//! do: a statement that moves a webhook contains the condition that the lease is still theirs. Leases are compared by the
//! clock of the database, so that the clocks of the servers do not matter.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::webhooks;
use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::access::{self, owns};
use super::db::{Operator, Tx, fail};
use super::sql::Sql;
use crate::model::clock;
use crate::model::enums::EventKind;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId, WebhookId};
use crate::model::webhook::{WaitingWebhook, Webhook, later};

/// Why a webhook whose row has other kinds than this version knows is not delivered. Without them it would want all kinds.
const UNKNOWN_KINDS: &str = "Its kinds of events are unknown to this server. Set its kinds, and enable it.";

fn webhook(row: webhooks::Model) -> Webhook {
    let stored = row.kinds.split(',').filter(|kind| !kind.is_empty());
    let kinds: Vec<Option<EventKind>> = stored.map(EventKind::from_stored).collect();
    let is_known = kinds.iter().all(Option::is_some);
    Webhook {
        id: WebhookId(row.id),
        project_id: ProjectId(row.project_id),
        kinds: kinds.into_iter().flatten().collect(),
        url: row.url,
        is_enabled: row.is_enabled && is_known,
        secret_number: row.secret_number,
        previous_secret_until: row.previous_secret_until.map(|time| time.to_utc()),
        revision: row.revision,
        failed_attempts: row.failed_attempts,
        failing_since: row.failing_since.map(|time| time.to_utc()),
        next_attempt_at: row.next_attempt_at.map(|time| time.to_utc()),
        disabled_at: row.disabled_at.map(|time| time.to_utc()),
        disabled_reason: if is_known { row.disabled_reason } else { Some(UNKNOWN_KINDS.to_owned()) },
        created_at: row.created_at.to_utc(),
        updated_at: row.updated_at.to_utc(),
    }
}

fn kinds(webhook: &Webhook) -> String {
    webhook.kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",")
}

async fn all(tx: &Tx, sql: Sql) -> Result<Vec<Webhook>> {
    let rows: Vec<webhooks::Model> = tx.all(sql).await?;
    let found: Vec<Webhook> = rows.into_iter().map(webhook).collect();
    access::opened(tx, found.iter().map(|webhook| webhook.project_id));
    Ok(found)
}

/// The webhooks among `ids` in projects that the actor owns.
pub async fn by_ids(tx: &Tx, ids: &[WebhookId]) -> Result<Vec<Webhook>> {
    let mut sql = Sql::new("SELECT w.* FROM webhooks w WHERE w.id IN ");
    sql.list(ids.iter().map(|id| id.0)).push(" AND ");
    owns(&mut sql, "w.project_id", tx.me());
    all(tx, sql).await
}

/// The webhooks of those of the projects that the actor owns, oldest first.
pub async fn of_projects(tx: &Tx, projects: &[ProjectId]) -> Result<Vec<Webhook>> {
    let mut sql = Sql::new("SELECT w.* FROM webhooks w WHERE w.project_id IN ");
    sql.list(projects.iter().map(|id| id.0)).push(" AND ");
    owns(&mut sql, "w.project_id", tx.me()).push(" ORDER BY w.project_id, w.id");
    all(tx, sql).await
}

/// A webhook of a locked project, locked.
pub async fn locked(tx: &Tx, project: ProjectId, id: WebhookId) -> Result<Option<Webhook>> {
    let mut sql = Sql::new("SELECT w.* FROM webhooks w WHERE w.id = ");
    sql.bind(id.0).push(" AND w.project_id = ").bind(project.0);
    sql.push(if tx.is_sqlite() { "" } else { " FOR NO KEY UPDATE" });
    Ok(all(tx, sql).await?.into_iter().next())
}

/// The number of webhooks of a locked project.
pub async fn count(tx: &Tx, project: ProjectId) -> Result<i64> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM webhooks WHERE project_id = ");
    sql.bind(project.0);
    tx.count(sql).await
}

/// Adds a webhook to a locked project.
pub async fn insert(tx: &Tx, new: &Webhook) -> Result<()> {
    const COLUMNS: [&str; 10] = [
        "id",
        "project_id",
        "url",
        "kinds",
        "is_enabled",
        "secret_number",
        "revision",
        "failed_attempts",
        "created_at",
        "updated_at",
    ];
    let row: [Value; 10] = [
        new.id.0.into(),
        new.project_id.0.into(),
        new.url.clone().into(),
        kinds(new).into(),
        new.is_enabled.into(),
        new.secret_number.into(),
        new.revision.into(),
        new.failed_attempts.into(),
        new.created_at.into(),
        new.updated_at.into(),
    ];
    for sql in super::sql::insert("webhooks", COLUMNS, [row], "") {
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Stores what the owner can change of a webhook that [`locked`] has returned.
pub async fn save(tx: &Tx, changed: &Webhook) -> Result<()> {
    const SAVE: &str = "UPDATE webhooks SET url = $1, kinds = $2, is_enabled = $3, secret_number = $4, previous_secret_until = $5, \
        failed_attempts = $6, failing_since = $7, next_attempt_at = $8, disabled_at = $9, disabled_reason = $10, updated_at = $11 \
        WHERE id = $12";
    let values: [Value; 12] = [
        changed.url.clone().into(),
        kinds(changed).into(),
        changed.is_enabled.into(),
        changed.secret_number.into(),
        changed.previous_secret_until.into(),
        changed.failed_attempts.into(),
        changed.failing_since.into(),
        changed.next_attempt_at.into(),
        changed.disabled_at.into(),
        changed.disabled_reason.clone().into(),
        changed.updated_at.into(),
        changed.id.0.into(),
    ];
    tx.execute(Sql::with(SAVE, values)).await?;
    Ok(())
}

/// Deletes a webhook of a locked project, with its deliveries. Returns whether it was there.
pub async fn delete(tx: &Tx, project: ProjectId, id: WebhookId) -> Result<bool> {
    let mut sql = Sql::new("DELETE FROM webhooks WHERE id = ");
    sql.bind(id.0).push(" AND project_id = ").bind(project.0);
    Ok(tx.execute(sql).await? > 0)
}

/// Adds the present time of the database, and as much later as given. A SQLite file has the clock of its machine.
fn time(sql: &mut Sql, is_sqlite: bool, by: Duration) -> &mut Sql {
    if is_sqlite {
        return sql.bind(later(clock::now(), by));
    }
    sql.push("(now() + make_interval(secs => ").bind(by.as_secs_f64()).push("))")
}

/// Adds the condition that a webhook `w` has something to deliver now and is free.
fn is_due(sql: &mut Sql, is_sqlite: bool) -> &mut Sql {
    sql.push("(w.lease_until IS NULL OR w.lease_until <= ");
    time(sql, is_sqlite, Duration::ZERO)
        .push(") AND (w.revision < (SELECT p.revision FROM projects p WHERE p.id = w.project_id)");
    sql.push(" AND (w.next_attempt_at IS NULL OR w.next_attempt_at <= ");
    time(sql, is_sqlite, Duration::ZERO)
        .push(") OR EXISTS (SELECT 1 FROM webhook_deliveries r WHERE r.webhook_id = w.id");
    sql.push(" AND r.status = 'pending' AND r.revision <= w.revision))")
}

/// Takes the lease of a webhook that has something to deliver; `None` if there is nothing, if another server has it, or if its
/// kinds are unknown: the caller must then roll back. Also returns whether the next event can be delivered now, or only earlier
/// ones again.
pub async fn claim(tx: &Tx, id: WebhookId, holder: Uuid, lease: Duration) -> Result<Option<(Webhook, bool)>> {
    let mut sql = Sql::new("UPDATE webhooks AS w SET lease_holder = ");
    sql.bind(holder).push(", lease_until = ");
    time(&mut sql, tx.is_sqlite(), lease).push(" WHERE w.is_enabled AND w.id = ").bind(id.0).push(" AND ");
    owns(&mut sql, "w.project_id", tx.me()).push(" AND ");
    is_due(&mut sql, tx.is_sqlite()).push(" RETURNING *, (next_attempt_at IS NULL OR next_attempt_at <= ");
    time(&mut sql, tx.is_sqlite(), Duration::ZERO).push(") AS is_ready");
    let Some(row) = tx.row(sql).await? else { return Ok(None) };
    let claimed = webhook(webhooks::Model::from_query_result(&row, "").map_err(fail)?);
    let is_ready = row.try_get("", "is_ready").map_err(fail)?;
    Ok(claimed.is_enabled.then_some((claimed, is_ready)))
}

/// Adds the condition that a lease is still held.
fn held<'s>(sql: &'s mut Sql, tx: &Tx, id: WebhookId, holder: Uuid) -> &'s mut Sql {
    sql.push(" WHERE id = ").bind(id.0).push(" AND lease_holder = ").bind(holder).push(" AND ");
    owns(sql, "webhooks.project_id", tx.me())
}

/// Moves a webhook to a revision that was delivered, and prolongs the lease. Returns when the owner last changed it; `None`
/// if the lease is lost.
pub async fn advance(
    tx: &Tx,
    id: WebhookId,
    holder: Uuid,
    revision: i32,
    lease: Duration,
) -> Result<Option<DateTime<Utc>>> {
    let mut sql = Sql::new("UPDATE webhooks SET revision = ");
    sql.bind(revision).push(", failed_attempts = 0, failing_since = NULL, next_attempt_at = NULL, lease_until = ");
    time(&mut sql, tx.is_sqlite(), lease);
    held(&mut sql, tx, id, holder).push(" AND revision < ").bind(revision).push(" RETURNING updated_at");
    tx.row(sql).await?.map(|row| row.try_get("", "updated_at").map_err(fail)).transpose()
}

/// Prolongs a lease. Returns whether it was still held.
pub async fn prolong(tx: &Tx, id: WebhookId, holder: Uuid, lease: Duration) -> Result<bool> {
    let mut sql = Sql::new("UPDATE webhooks SET lease_until = ");
    time(&mut sql, tx.is_sqlite(), lease);
    held(&mut sql, tx, id, holder);
    Ok(tx.execute(sql).await? > 0)
}

/// Returns a lease. The webhook moves to a revision if it has no events to deliver up to it. Returns whether the lease was
/// still held.
pub async fn release(tx: &Tx, id: WebhookId, holder: Uuid, revision: Option<i32>) -> Result<bool> {
    let mut sql = Sql::new("UPDATE webhooks SET lease_holder = NULL, lease_until = NULL");
    if let Some(revision) = revision {
        sql.push(", revision = CASE WHEN revision < ")
            .bind(revision)
            .push(" THEN ")
            .bind(revision)
            .push(" ELSE revision END");
    }
    held(&mut sql, tx, id, holder);
    Ok(tx.execute(sql).await? > 0)
}

/// Records a failed attempt, and returns the lease. The next attempt is after a pause, or the webhook is disabled for a
/// reason. Does nothing if the lease is lost, or if the owner has changed the webhook since a time; returns whether it did.
pub async fn fail_attempt(
    tx: &Tx,
    (id, holder): (WebhookId, Uuid),
    changed_at: DateTime<Utc>,
    (now, since): (DateTime<Utc>, DateTime<Utc>),
    next: std::result::Result<Duration, &str>,
) -> Result<bool> {
    let mut sql =
        Sql::new("UPDATE webhooks SET lease_holder = NULL, lease_until = NULL, failed_attempts = failed_attempts + 1");
    sql.push(", failing_since = ").bind(since).push(", next_attempt_at = ");
    match next {
        Ok(pause) => drop(time(&mut sql, tx.is_sqlite(), pause)),
        Err(reason) => {
            sql.push("NULL, is_enabled = ").bind(false).push(", disabled_at = ").bind(now);
            sql.push(", disabled_reason = ").bind(reason).push(", updated_at = ").bind(now);
        }
    }
    held(&mut sql, tx, id, holder).push(" AND updated_at = ").bind(changed_at);
    Ok(tx.execute(sql).await? > 0)
}

/// Which webhooks [`waiting`] returns.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Those of projects.
    Projects(Vec<ProjectId>),
    /// Those that have something to deliver now, or that have changed since a time.
    DueOrChanged(DateTime<Utc>),
}

/// Enabled webhooks with the owners of their projects, at most so many, those with something to deliver first. Callers use
/// the result only to decide which webhooks to deliver, on behalf of the owner.
pub async fn waiting(tx: &Operator, wanted: &Wanted, most: i32) -> Result<Vec<WaitingWebhook>> {
    let sql = if tx.is_sqlite() {
        let mut sql = Sql::new("SELECT d.* FROM (SELECT w.id, w.project_id, p.user_id AS owner_id, w.updated_at, ");
        is_due(&mut sql, true)
            .push(" AS is_due FROM webhooks w JOIN projects p ON p.id = w.project_id WHERE w.is_enabled");
        match wanted {
            Wanted::Projects(projects) => {
                sql.push(" AND w.project_id IN ").list(projects.iter().map(|id| id.0)).push(") AS d");
            }
            Wanted::DueOrChanged(since) => {
                sql.push(") AS d WHERE d.is_due OR d.updated_at >= ").bind(*since);
            }
        }
        sql.push(" ORDER BY d.is_due DESC, random() LIMIT ").bind(most);
        sql
    } else {
        // A server's login cannot see any webhook directly.
        tx.be_nobody().await?;
        let (projects, since) = match wanted {
            Wanted::Projects(projects) => (Some(projects), None),
            Wanted::DueOrChanged(since) => (None, Some(*since)),
        };
        let list = |projects: &Vec<ProjectId>| {
            format!("{{{}}}", projects.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(","))
        };
        let mut sql = Sql::new("SELECT h.* FROM waiting_webhooks(");
        sql.bind(projects.map(list)).push("::text::uuid[], ").bind(since).push(", ").bind(most).push(") AS h");
        sql
    };
    let rows = tx.rows(sql).await?;
    let waiting = rows.iter().map(|row| {
        let row = WaitingRow::from_query_result(row, "").map_err(fail)?;
        let (id, project, owner) = (WebhookId(row.id), ProjectId(row.project_id), UserId(row.owner_id));
        Ok(WaitingWebhook { id, project, owner, is_due: row.is_due })
    });
    waiting.collect()
}

#[derive(FromQueryResult)]
struct WaitingRow {
    id: Uuid,
    project_id: Uuid,
    owner_id: Uuid,
    is_due: bool,
}
