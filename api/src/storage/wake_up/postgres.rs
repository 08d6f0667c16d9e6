//! Wake-ups by `LISTEN` and `NOTIFY`.
//!
//! A server notifies after its commit and not in the transaction (by a trigger, say): PostgreSQL lets only one transaction at
//! a time commit that has notified anything, so that sixteen writers together commit four times fewer a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};

use super::{Outbox, PAUSE, WakeUp, parse};
use crate::storage::db::Db;
use crate::storage::sql::Sql;

const CHANNEL: &str = "antiphon";

/// How long a server's notification to itself may take before the log says that none arrive.
const PROBE_TIME: Duration = Duration::from_secs(5);

pub(super) async fn run(options: &PgConnectOptions, db: &Db, outbox: &Outbox, heard: impl Fn(WakeUp)) {
    tokio::join!(send(db, outbox), receive(options, db, &outbox.works, heard));
}

async fn send(db: &Db, outbox: &Outbox) {
    loop {
        let reached = outbox.take().await.reached.into_iter();
        let payloads: Vec<String> = reached.map(|(project, revision)| format!("{}:{revision}", project.0)).collect();
        if payloads.is_empty() {
            continue;
        }
        if let Err(error) = notify(db, &payloads).await {
            // The others find it by their sweep.
            tracing::warn!(%error, "other servers could not be notified");
        }
    }
}

async fn notify(db: &Db, payloads: &[String]) -> anyhow::Result<()> {
    let mut sql = Sql::new("SELECT ");
    for (index, payload) in payloads.iter().enumerate() {
        sql.push(if index == 0 { "pg_notify(" } else { ", pg_notify(" })
            .bind(CHANNEL)
            .push(", ")
            .bind(payload.as_str())
            .push(")");
    }
    db.run_as_nobody(sql).await.map_err(|error| anyhow!("{error:?}"))
}

async fn receive(options: &PgConnectOptions, db: &Db, works: &AtomicBool, heard: impl Fn(WakeUp)) {
    loop {
        let listener = async {
            // For one connection, which it opens again when it is lost.
            let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
            let mut listener = PgListener::connect_with(&pool.connect_with(options.clone()).await?).await?;
            listener.ignore_pool_close_event(true);
            listener.listen(CHANNEL).await?;
            notify(db, &[String::new()]).await?;
            anyhow::Ok(listener)
        };
        let error = match listener.await {
            Ok(listener) => {
                tracing::debug!("listening for notifications of other servers");
                // What was notified while nobody listened is gone.
                heard(WakeUp::LookAtAll);
                take(listener, works, &heard).await.into()
            }
            Err(error) => error,
        };
        works.store(false, Ordering::Relaxed);
        tracing::warn!(%error, "no notifications of other servers for now: their writes are found by the sweep");
        sleep(PAUSE).await;
    }
}

/// Takes notifications until that fails.
async fn take(mut listener: PgListener, works: &AtomicBool, heard: &impl Fn(WakeUp)) -> sqlx::Error {
    let mut is_proven = false;
    loop {
        let next = listener.try_recv();
        let next = if is_proven { Ok(next.await) } else { timeout(PROBE_TIME, next).await };
        is_proven = true;
        works.store(next.is_ok(), Ordering::Relaxed);
        match next {
            Ok(Ok(Some(notification))) => {
                if let Some(wake_up) = read(notification.payload()) {
                    heard(wake_up);
                }
            }
            // The connection was lost, and is there again.
            Ok(Ok(None)) => heard(WakeUp::LookAtAll),
            Ok(Err(error)) => return error,
            Err(_) => tracing::warn!(
                "notifications do not arrive, as through a pooler in transaction mode: other servers' writes are found by the \
                 sweep (--sweep-seconds); say --notify false to be without this connection"
            ),
        }
    }
}

fn read(payload: &str) -> Option<WakeUp> {
    let (project, revision) = payload.split_once(':')?;
    Some(WakeUp::Reached(parse(project)?, revision.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_wake_up_is_passed_over() {
        let id = "0198f3a0-0000-7000-8000-000000000001";
        assert_eq!(read(&format!("{id}:7")), parse(id).map(|project| WakeUp::Reached(project, 7)));
        for payload in ["", "7", id, &format!("{id}:"), &format!("{id}:x"), ":7", "x:7"] {
            assert_eq!(read(payload), None, "{payload}");
        }
    }
}
