//! Wake-ups between the servers of one PostgreSQL database, by `LISTEN` and `NOTIFY`: a project's id and its revision, nothing
//! else. One that is lost costs a delay: the log is what is read.
//!
//! A server notifies after its commit and not in the transaction (by a trigger, say): PostgreSQL lets only one transaction at
//! a time commit that has notified anything, so that sixteen writers together commit four times fewer a second. What is
//! committed while the notifications before it are on their way goes out with the next, in one statement.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::db::Db;
use crate::model::ids::ProjectId;

const CHANNEL: &str = "antiphon";

/// How long after a failure the next attempt is made.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a server's notification to itself may take before the log says that none arrive.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// The revisions that other servers are yet to be told of.
#[derive(Default)]
pub struct Outbox {
    /// None as long as nobody takes anything out.
    waiting: Mutex<Option<HashMap<ProjectId, i32>>>,
    filled: Notify,
}

impl Outbox {
    /// Puts a project's revision in, in place of an earlier one.
    pub fn put(&self, project: ProjectId, revision: i32) {
        if let Some(waiting) = &mut *self.lock() {
            let newest = waiting.entry(project).or_insert(revision);
            *newest = revision.max(*newest);
            self.filled.notify_one();
        }
    }

    fn take(&self) -> Vec<(ProjectId, i32)> {
        self.lock().replace(HashMap::new()).unwrap_or_default().into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<ProjectId, i32>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells other servers what is put into the outbox, and `heard` what they tell: a project with its revision, or nothing where
/// anything may have been missed. Ends at once where the database is not PostgreSQL, and else with its task.
pub async fn run(db: &Db, outbox: &Outbox, heard: impl Fn(Option<(ProjectId, i32)>)) {
    let Some((url, pool)) = db.postgres() else { return };
    outbox.take();
    tokio::join!(send(pool, outbox), receive(url, pool, heard));
}

async fn send(pool: &PgPool, outbox: &Outbox) {
    loop {
        outbox.filled.notified().await;
        let payloads = outbox.take().into_iter().map(|(project, revision)| format!("{}:{revision}", project.0));
        let payloads: Vec<String> = payloads.collect();
        if let Err(error) = notify(pool, &payloads).await {
            // The others find it by their sweep.
            tracing::warn!(%error, "other servers could not be notified");
        }
    }
}

async fn notify(pool: &PgPool, payloads: &[String]) -> sqlx::Result<()> {
    let sql = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload";
    sqlx::query(sql).bind(CHANNEL).bind(payloads).execute(pool).await?;
    Ok(())
}

async fn receive(url: &str, pool: &PgPool, heard: impl Fn(Option<(ProjectId, i32)>)) {
    loop {
        let listener = async {
            let mut listener = PgListener::connect(url).await?;
            listener.listen(CHANNEL).await?;
            notify(pool, &[String::new()]).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        let error = match listener.await {
            Ok(listener) => {
                tracing::debug!("listening for notifications of other servers");
                // What was notified while nobody listened is gone.
                heard(None);
                take(listener, &heard).await
            }
            Err(error) => error,
        };
        tracing::warn!(%error, "no notifications of other servers for now: their writes are found by the sweep");
        sleep(PAUSE).await;
    }
}

/// Takes notifications until that fails.
async fn take(mut listener: PgListener, heard: &impl Fn(Option<(ProjectId, i32)>)) -> sqlx::Error {
    let mut is_proven = false;
    loop {
        let next = listener.try_recv();
        let next = if is_proven { Ok(next.await) } else { timeout(PROBE_TIME, next).await };
        is_proven = true;
        match next {
            Ok(Ok(Some(notification))) => {
                if let Some(wake_up) = parse(notification.payload()) {
                    heard(Some(wake_up));
                }
            }
            // The connection was lost, and is there again.
            Ok(Ok(None)) => heard(None),
            Ok(Err(error)) => return error,
            Err(_) => tracing::warn!(
                "notifications do not arrive, as through a pooler in transaction mode: other servers' writes are found by the \
                 sweep (--sweep-seconds); say --notify false to be without this connection"
            ),
        }
    }
}

fn parse(payload: &str) -> Option<(ProjectId, i32)> {
    let (project, revision) = payload.split_once(':')?;
    Some((ProjectId(Uuid::try_parse(project).ok()?), revision.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outbox_keeps_the_newest_of_each_project_once_somebody_empties_it() {
        let outbox = Outbox::default();
        let (one, two) = (ProjectId(Uuid::from_u128(1)), ProjectId(Uuid::from_u128(2)));
        outbox.put(one, 1);
        assert_eq!(outbox.take(), []);
        for (project, revision) in [(one, 2), (two, 1), (one, 4), (one, 3)] {
            outbox.put(project, revision);
        }
        let mut taken = outbox.take();
        taken.sort();
        assert_eq!(taken, [(one, 4), (two, 1)]);
        assert_eq!(outbox.take(), []);
    }

    #[test]
    fn what_is_no_wake_up_is_passed_over() {
        let id = "0198f3a0-0000-7000-8000-000000000001";
        assert_eq!(parse(&format!("{id}:7")).map(|(_, revision)| revision), Some(7));
        for payload in ["", "7", id, &format!("{id}:"), &format!("{id}:x"), ":7", "x:7"] {
            assert_eq!(parse(payload), None, "{payload}");
        }
    }
}
