//! Notifications between servers. A notification contains a project's id and the kind of change, nothing else. A lost
//! notification only causes a delay, since the log is read.
//!
//! A [`Bus`] transports them: PostgreSQL's NOTIFY, or NATS. A server sends a notification after its commit. Changes
//! that are committed during a send are sent together afterwards.

use crate::storage::db::{Db, Hosts};

pub mod nats;
mod notification;
mod postgres;

pub use self::notification::{Notification, PendingNotifications, Received};

/// The transport of notifications between servers.
pub enum Bus {
    /// `LISTEN` and `NOTIFY` of the database. Every server receives the notifications of every project.
    Postgres(Hosts, Db),
    /// NATS. A server receives the notifications of the projects that have subscribers on it.
    Nats(nats::Servers),
}

impl Bus {
    /// NATS if it is configured; otherwise PostgreSQL's notifications, if the database supports them and they are
    /// enabled.
    pub fn choose(db: &Db, notifies: bool, nats: Option<nats::Servers>) -> Option<Self> {
        match (nats, db.postgres()) {
            (Some(servers), _) => Some(Self::Nats(servers)),
            (None, Some(hosts)) if notifies => Some(Self::Postgres(hosts, db.clone())),
            (None, _) => None,
        }
    }
}

/// Sends the pending notifications, and passes received ones to `receive`. Runs until its task is dropped.
pub async fn run(bus: &Bus, pending: &PendingNotifications, receive: impl Fn(Received)) {
    match bus {
        Bus::Postgres(hosts, db) => postgres::run(hosts, db, pending, receive).await,
        Bus::Nats(servers) => nats::run(servers, pending, receive).await,
    }
}
