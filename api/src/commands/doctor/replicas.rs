//! The servers of a URL with several hosts, and the replicas that answer reads.

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use tokio::time::timeout;

use super::finding::{CHECK_TIMEOUT, Findings};
use crate::config::Settings;
use crate::database_url::{DatabaseUrl, refusal};
use crate::storage::db::{Hosts, shown};

/// Number of bytes of the write-ahead log that a healthy replica can be behind.
const MAX_BEHIND: i64 = 16 * 1024 * 1024;

/// The cluster of a server, its role, and its position in the write-ahead log.
const ABOUT: &str = "SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
    pg_is_in_recovery() AS is_standby, coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
    ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn, 0)::bigint AS position";

/// What [`ABOUT`] returns.
struct About {
    system: String,
    is_standby: bool,
    position: i64,
}

async fn about(options: &PgConnectOptions) -> anyhow::Result<About> {
    if let Some(refusal) = refusal(options.connect()).await {
        return Err(refusal);
    }
    let asked = async {
        let mut connection = options.connect().await?;
        let row = sqlx::raw_sql(AssertSqlSafe(ABOUT)).fetch_one(&mut connection).await?;
        connection.close().await?;
        let about = About {
            system: row.try_get("system")?,
            is_standby: row.try_get("is_standby")?,
            position: row.try_get("position")?,
        };
        anyhow::Ok(about)
    };
    timeout(CHECK_TIMEOUT, asked).await.context("it accepts connections but does not answer")?
}

/// Checks every host of a URL that has several, and every replica.
pub(super) async fn check(target: &DatabaseUrl, hosts: &Hosts, settings: &Settings, findings: &mut Findings) {
    // The server that the pool would use was found by an earlier check.
    let Ok(primary) = about(hosts.last()).await else { return };
    if hosts.all().count() > 1 {
        for host in hosts.all() {
            check_host(host, &primary, findings).await;
        }
    }
    match target.replicas(settings) {
        Ok(replicas) => {
            for replica in replicas.iter().flat_map(Hosts::all) {
                check_replica(replica, &primary, findings).await;
            }
        }
        Err(error) => findings.broken(
            "replica",
            format!("{error:#}"),
            "the server does not start",
            "correct the URLs; they are not shown here, because they can contain passwords",
        ),
    }
}

async fn check_host(host: &PgConnectOptions, primary: &About, findings: &mut Findings) {
    let name = shown(host);
    match about(host).await {
        Ok(found) if found.system != primary.system => findings.broken(
            "host",
            format!("{name} belongs to another cluster than the primary"),
            "after a failover to it, the server would use another database",
            "list only the primary and its standbys in --database-url (DATABASE_URL)",
        ),
        Ok(found) => {
            findings.fine("host", format!("{name} is {}", if found.is_standby { "a standby" } else { "a primary" }))
        }
        Err(error) => findings.warn(
            "host",
            format!("{name} cannot be reached: {error:#}"),
            "after a failover to it, the server would have no database",
            "check that it is running and reachable from this machine",
        ),
    }
}

async fn check_replica(replica: &PgConnectOptions, primary: &About, findings: &mut Findings) {
    let name = shown(replica);
    let unused = "the primary answers all reads in its place";
    match about(replica).await {
        Err(error) => findings.warn(
            "replica",
            format!("{name} cannot be reached: {error:#}"),
            unused,
            "check --database-replica-urls (DATABASE_REPLICA_URLS), and that the replica is running with hot_standby",
        ),
        Ok(found) if found.system != primary.system => findings.broken(
            "replica",
            format!("{name} belongs to another cluster than the primary"),
            unused,
            "list only streaming replicas of the database in --database-replica-urls (DATABASE_REPLICA_URLS)",
        ),
        Ok(found) if !found.is_standby => findings.broken(
            "replica",
            format!("{name} is not a standby"),
            unused,
            "list only streaming replicas of the database in --database-replica-urls (DATABASE_REPLICA_URLS)",
        ),
        Ok(found) => match primary.position.saturating_sub(found.position).max(0) {
            behind if behind > MAX_BEHIND => findings.warn(
                "replica",
                format!("{name} is {behind} bytes behind the primary"),
                "while it is more than 5 seconds behind, the primary answers in its place",
                "look at pg_stat_replication on the primary, and at the replica's log",
            ),
            behind => findings.fine("replica", format!("{name} follows the primary, {behind} bytes behind")),
        },
    }
}
