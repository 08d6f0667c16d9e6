//! The one connection that writes to a SQLite file, and the turns of those who want it.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::DbErr;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use super::connection::{Connection, DbResult, breaks};
use super::pool::{Connector, close};
use crate::model::error::{Error, Result};
use crate::model::limits::DatabaseLimits;
use crate::storage::failure::{fail, fail_of};

/// A SQLite file's writer.
pub(super) struct Writer {
    /// Nothing where the connection was closed because its state was not certain.
    connection: Arc<Mutex<Option<Connection>>>,
    connector: Connector,
    wait: Duration,
}

impl Writer {
    /// Opens the file, which is made where there is none.
    pub(super) async fn open(connector: Connector, limits: &DatabaseLimits) -> Result<Self> {
        let connection = connector.connect().await.map_err(|error| fail_of(&error))?;
        Ok(Self {
            connection: Arc::new(Mutex::new(Some(connection))),
            connector,
            wait: Duration::from_secs(limits.database_acquire_seconds),
        })
    }

    /// Waits for the turn to write, in the order of coming, and begins.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let waited = timeout(self.wait, self.connection.clone().lock_owned()).await;
        let mut turn =
            Turn { connection: waited.map_err(|_| Error::busy("Others have been writing", self.wait))?, is_open: true };
        // Reading first and writing later fails at once in SQLite's default mode when somebody else wrote in between.
        const BEGIN: &str = "BEGIN IMMEDIATE";
        if let Some(connection) = &mut *turn.connection {
            match connection.run(BEGIN).await {
                Ok(_) => return Ok(turn),
                Err(error) if breaks(&error) => *turn.connection = None,
                Err(error) => return Err(fail_of(&error)),
            }
        }
        let mut connection = self.connector.connect().await.map_err(|error| fail_of(&error))?;
        connection.run(BEGIN).await.map_err(|error| fail_of(&error))?;
        *turn.connection = Some(connection);
        Ok(turn)
    }

    /// Closes the connection, once nobody writes any more.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.connection.lock().await.take() {
            close(connection).await;
        }
    }

    /// Whether there is a connection, and whether nobody uses it.
    pub(super) fn count(&self) -> (u32, usize) {
        self.connection.try_lock().map_or((1, 0), |connection| (1, usize::from(connection.is_some())))
    }
}

/// A turn to write. One that ends in no other way closes the connection, and with it what was written.
pub(super) struct Turn {
    connection: OwnedMutexGuard<Option<Connection>>,
    is_open: bool,
}

impl Turn {
    pub(super) fn connection(&mut self) -> DbResult<&mut Connection> {
        self.connection.as_mut().ok_or_else(|| DbErr::Custom("the connection of this transaction was lost".to_owned()))
    }

    pub(super) async fn commit(self) -> Result<()> {
        self.end("COMMIT").await
    }

    pub(super) async fn roll_back(self) -> Result<()> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, how: &'static str) -> Result<()> {
        // Whatever the error: what state the connection is in is not certain after it, and dropping the turn closes it.
        self.connection().map_err(fail)?.run(how).await.map_err(|error| fail_of(&error))?;
        self.is_open = false;
        Ok(())
    }

    pub(super) fn close(self) {
        drop(self);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_open {
            *self.connection = None;
        }
    }
}
