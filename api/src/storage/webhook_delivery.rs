//! `webhook_deliveries`: the newest deliveries of webhooks. Only the owner of a project sees them.

use chrono::{DateTime, Utc};
use entity::webhook_deliveries;
use sea_orm::Value;

use super::access::{self, Member, owns};
use super::db::{Me, Tx, fail, unknown};
use super::sql::{Order, Sql, insert, pages};
use crate::model::enums::{DeliveryStatus, EventKind};
use crate::model::error::Result;
use crate::model::ids::{ProjectId, WebhookDeliveryId, WebhookId, Within};
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};
use crate::model::webhook::{Delivery, KEPT_DELIVERIES, Webhook};

const NEWEST_FIRST: Order = Order { columns: &[("d.revision", KeyKind::Number)], descending: true };

fn delivery(row: webhook_deliveries::Model) -> Result<Delivery> {
    Ok(Delivery {
        id: WebhookDeliveryId(row.id),
        webhook_id: WebhookId(row.webhook_id),
        project_id: ProjectId(row.project_id),
        revision: row.revision,
        kind: EventKind::from_stored(&row.kind).ok_or_else(|| unknown("kind of event", &row.kind))?,
        status: DeliveryStatus::from_stored(&row.status).ok_or_else(|| unknown("status of a delivery", &row.status))?,
        attempts: row.attempts,
        response_status: row.response_status,
        error: row.error,
        created_at: row.created_at.to_utc(),
        last_attempt_at: row.last_attempt_at.to_utc(),
        next_attempt_at: row.next_attempt_at.map(|time| time.to_utc()),
        delivered_at: row.delivered_at.map(|time| time.to_utc()),
    })
}

/// Adds the conditions that the actor owns the project of a delivery `d`, and that this version knows its kind: an unknown one
/// leaves out the delivery and not the list.
fn visible(sql: &mut Sql, me: Me) -> &mut Sql {
    sql.push(" AND d.kind IN ").list(EventKind::ALL.iter().map(|kind| kind.as_str())).push(" AND ");
    owns(sql, "d.project_id", me)
}

async fn all(tx: &Tx, sql: Sql) -> Result<Vec<Delivery>> {
    let rows: Vec<webhook_deliveries::Model> = tx.all(sql).await?;
    let found = rows.into_iter().map(delivery).collect::<Result<Vec<_>>>()?;
    access::opened(tx, found.iter().map(|delivery| delivery.project_id));
    Ok(found)
}

/// The deliveries of each of these webhooks, newest first.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn page(
    tx: &Tx,
    webhooks: &[(Member<'_>, WebhookId)],
    page: &Page,
) -> Result<Vec<(Within<WebhookId>, Slice<Delivery>)>> {
    let me = tx.me();
    let sql = pages(webhooks, NEWEST_FIRST, page, |sql, (project, webhook)| {
        sql.push("SELECT d.* FROM webhook_deliveries d WHERE d.webhook_id = ").bind(webhook.0);
        visible(sql.push(" AND d.project_id = ").bind(project), me);
    })?;
    let rows = all(tx, sql).await?.into_iter().map(|row| {
        let parent = Within { project: row.project_id, id: row.webhook_id };
        (parent, Cursor(vec![Key::Number(row.revision.into())]), row)
    });
    Ok(super::group(rows.collect(), page))
}

/// The number of deliveries of each of these webhooks.
pub async fn counts(tx: &Tx, webhooks: &[(Member<'_>, WebhookId)]) -> Result<Vec<(Within<WebhookId>, i64)>> {
    let mut sql =
        Sql::new("SELECT d.project_id, d.webhook_id AS parent, count(*) AS n FROM webhook_deliveries d WHERE ");
    access::among(&mut sql, ("d.project_id", "d.webhook_id"), webhooks);
    visible(&mut sql, tx.me()).push(" GROUP BY d.project_id, d.webhook_id");
    tx.rows(sql).await?.iter().map(|row| access::counted(row, WebhookId)).collect()
}

/// The deliveries among `ids` in projects that the actor owns.
pub async fn by_ids(tx: &Tx, ids: &[WebhookDeliveryId]) -> Result<Vec<Delivery>> {
    let mut sql = Sql::new("SELECT d.* FROM webhook_deliveries d WHERE d.id IN ");
    visible(sql.list(ids.iter().map(|id| id.0)), tx.me());
    all(tx, sql).await
}

/// Requests another attempt of a delivery, at a time that identifies the request.
pub async fn request(tx: &Tx, id: WebhookDeliveryId, now: DateTime<Utc>) -> Result<()> {
    let mut sql = Sql::new("UPDATE webhook_deliveries SET status = 'pending', next_attempt_at = ");
    sql.bind(now).push(" WHERE id = ").bind(id.0).push(" AND ");
    owns(&mut sql, "webhook_deliveries.project_id", tx.me());
    tx.execute(sql).await?;
    Ok(())
}

/// Ends the attempts of the next delivery of a webhook if it does not want events of that kind any more.
pub async fn give_up_others(tx: &Tx, webhook: &Webhook) -> Result<()> {
    if webhook.kinds.is_empty() {
        return Ok(());
    }
    let mut sql =
        Sql::new("UPDATE webhook_deliveries SET status = 'failed', next_attempt_at = NULL WHERE webhook_id = ");
    sql.bind(webhook.id.0).push(" AND status = 'pending' AND revision > ").bind(webhook.revision);
    sql.push(" AND kind NOT IN ").list(webhook.kinds.iter().map(|kind| kind.as_str())).push(" AND ");
    owns(&mut sql, "webhook_deliveries.project_id", tx.me());
    tx.execute(sql).await?;
    Ok(())
}

/// Records the attempt that was requested at a time. A newer request stays pending.
pub async fn answer(tx: &Tx, attempted: &Delivery, requested: Option<DateTime<Utc>>) -> Result<()> {
    const ANSWER: &str = "UPDATE webhook_deliveries SET attempts = attempts + 1, response_status = $1, error = $2, last_attempt_at = $3, \
        delivered_at = coalesce($4, delivered_at), status = CASE WHEN next_attempt_at = $5 THEN $6 ELSE status END, \
        next_attempt_at = CASE WHEN next_attempt_at = $5 THEN NULL ELSE next_attempt_at END WHERE webhook_id = $7 AND revision = $8";
    let values: [Value; 8] = [
        attempted.response_status.into(),
        attempted.error.clone().into(),
        attempted.last_attempt_at.into(),
        attempted.delivered_at.into(),
        requested.into(),
        attempted.status.as_str().into(),
        attempted.webhook_id.0.into(),
        attempted.revision.into(),
    ];
    tx.execute(Sql::with(ANSWER, values)).await?;
    Ok(())
}

/// The deliveries of a webhook up to a revision that are to be sent again, oldest first, at most so many.
pub async fn requested(tx: &Tx, id: WebhookId, until: i32, limit: i32) -> Result<Vec<Delivery>> {
    let mut sql = Sql::new("SELECT d.* FROM webhook_deliveries d WHERE d.status = 'pending' AND d.webhook_id = ");
    sql.bind(id.0).push(" AND d.revision <= ").bind(until);
    visible(&mut sql, tx.me()).push(" ORDER BY d.revision LIMIT ").bind(limit);
    all(tx, sql).await
}

/// Stores the state of a delivery after an attempt. After an earlier attempt it keeps its id and the time of its creation.
pub async fn save(tx: &Tx, delivery: &Delivery) -> Result<()> {
    const COLUMNS: [&str; 13] = [
        "id",
        "webhook_id",
        "revision",
        "project_id",
        "kind",
        "status",
        "attempts",
        "response_status",
        "error",
        "created_at",
        "last_attempt_at",
        "next_attempt_at",
        "delivered_at",
    ];
    const CHANGE: &str = " ON CONFLICT (webhook_id, revision) DO UPDATE SET status = excluded.status, \
        attempts = webhook_deliveries.attempts + excluded.attempts, response_status = excluded.response_status, \
        error = excluded.error, last_attempt_at = excluded.last_attempt_at, next_attempt_at = excluded.next_attempt_at, \
        delivered_at = coalesce(excluded.delivered_at, webhook_deliveries.delivered_at)";
    let row: [Value; 13] = [
        delivery.id.0.into(),
        delivery.webhook_id.0.into(),
        delivery.revision.into(),
        delivery.project_id.0.into(),
        delivery.kind.as_str().into(),
        delivery.status.as_str().into(),
        delivery.attempts.into(),
        delivery.response_status.into(),
        delivery.error.clone().into(),
        delivery.created_at.into(),
        delivery.last_attempt_at.into(),
        delivery.next_attempt_at.into(),
        delivery.delivered_at.into(),
    ];
    for sql in insert("webhook_deliveries", COLUMNS, [row], CHANGE) {
        tx.execute(sql).await?;
    }
    Ok(())
}

/// Removes all deliveries of a webhook except the newest. The transaction must have locked the webhook.
pub async fn prune(tx: &Tx, id: WebhookId) -> Result<()> {
    let mut sql = Sql::new("SELECT d.revision FROM webhook_deliveries d WHERE d.webhook_id = ");
    sql.bind(id.0).push(" AND ");
    owns(&mut sql, "d.project_id", tx.me()).push(" ORDER BY d.revision DESC LIMIT 1 OFFSET ").bind(KEPT_DELIVERIES);
    let Some(row) = tx.row(sql).await? else { return Ok(()) };
    let oldest: i32 = row.try_get("", "revision").map_err(fail)?;
    let mut sql = Sql::new("DELETE FROM webhook_deliveries WHERE webhook_id = ");
    sql.bind(id.0).push(" AND revision <= ").bind(oldest);
    tx.execute(sql).await?;
    Ok(())
}
