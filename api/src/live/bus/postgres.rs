//! Notifications by `LISTEN` and `NOTIFY`.
//!
//! A server notifies after its commit, not in the transaction (for example by a trigger). PostgreSQL commits
//! transactions that use NOTIFY one at a time: sixteen concurrent writers would commit at most a quarter as many
//! transactions per second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use sqlx::Connection;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};

use super::notification::{
    Notification, PAUSE, PendingNotifications, Received, change_of, project_of, text_of, written_of, written_text,
};
use crate::storage::db::{Db, Hosts};
use crate::storage::event;

const CHANNEL: &str = "antiphon";

/// The beginning of the payload for a user's commit.
const WRITTEN: &str = "written:";

/// How long a server waits for a notification to itself before it logs that none arrive.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// Pause after sending notifications, during which more are collected: under load, one transaction notifies of the
/// changes of many writes.
const COLLECTION_TIME: Duration = Duration::from_millis(10);

pub(super) async fn run(hosts: &Hosts, db: &Db, pending: &PendingNotifications, receive: impl Fn(Received)) {
    tokio::join!(send(db, pending), listen(hosts, db, &pending.works, receive));
}

async fn send(db: &Db, pending: &PendingNotifications) {
    loop {
        let waiting = pending.take().await;
        // The positions first, since a notified server reads at or after them.
        let written =
            waiting.writers.into_iter().map(|(user, position)| format!("{WRITTEN}{}", written_text(user, position)));
        let changes = waiting.changes.into_iter().map(|(project, change)| format!("{}:{}", project.0, text_of(change)));
        let payloads: Vec<String> = written.chain(changes).collect();
        if payloads.is_empty() {
            continue;
        }
        if let Err(error) = notify(db, &payloads).await {
            // The other servers find the changes by their sweep.
            tracing::warn!(%error, "cannot notify other servers");
        }
        sleep(COLLECTION_TIME).await;
    }
}

async fn notify(db: &Db, payloads: &[String]) -> anyhow::Result<()> {
    event::notify(db, CHANNEL, payloads).await.map_err(|error| anyhow!("{error:?}"))
}

async fn listen(hosts: &Hosts, db: &Db, works: &AtomicBool, receive: impl Fn(Received)) {
    loop {
        let listener = async {
            // Find the primary, since the listener connects to one server.
            let _ = hosts.connect().await?.close().await;
            // One connection, which is opened again if it is lost.
            let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
            let mut listener = PgListener::connect_with(&pool.connect_with(hosts.last().clone()).await?).await?;
            listener.ignore_pool_close_event(true);
            listener.listen(CHANNEL).await?;
            notify(db, &[String::new()]).await?;
            anyhow::Ok(listener)
        };
        let error = match Box::pin(listener).await {
            Ok(listener) => {
                tracing::debug!("listening for notifications of other servers");
                // Notifications that were sent while there was no connection are lost.
                receive(Received::ResyncAll);
                take(listener, works, &receive).await.into()
            }
            Err(error) => error,
        };
        works.store(false, Ordering::Relaxed);
        tracing::warn!(%error, "no notifications of other servers for now: the sweep finds their writes");
        sleep(PAUSE).await;
    }
}

/// Receives notifications until the connection fails.
async fn take(mut listener: PgListener, works: &AtomicBool, receive: &impl Fn(Received)) -> sqlx::Error {
    let mut is_proven = false;
    loop {
        let next = listener.try_recv();
        let next = if is_proven { Ok(next.await) } else { timeout(PROBE_TIME, next).await };
        is_proven = true;
        works.store(next.is_ok(), Ordering::Relaxed);
        match next {
            Ok(Ok(Some(notification))) => {
                if let Some(received) = read(notification.payload()) {
                    receive(received);
                }
            }
            // The connection was lost and is open again.
            Ok(Ok(None)) => receive(Received::ResyncAll),
            Ok(Err(error)) => return error,
            Err(_) => tracing::warn!(
                "notifications do not arrive, for example because of a pooler in transaction mode: the sweep finds the writes \
                 sweep (--sweep-seconds); say --notify false to be without this connection"
            ),
        }
    }
}

fn read(payload: &str) -> Option<Received> {
    if let Some(written) = payload.strip_prefix(WRITTEN) {
        return written_of(written);
    }
    let (project, change) = payload.split_once(':')?;
    Some(Received::One(Notification { project: project_of(project)?, change: change_of(change)? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Change;

    #[test]
    fn other_payloads_are_ignored() {
        let id = "0198f3a0-0000-7000-8000-000000000001";
        let project = project_of(id).unwrap();
        let read_as = |change| Some(Received::One(Notification { project, change }));
        assert_eq!(read(&format!("{id}:@7")), read_as(Change::Advanced(7)));
        assert_eq!(read(&format!("{id}:side")), read_as(Change::SideChange));
        for payload in ["", "7", id, &format!("{id}:"), &format!("{id}:x"), &format!("{id}:7"), ":@7", "x:@7"] {
            assert_eq!(read(payload), None, "{payload}");
        }
    }
}
