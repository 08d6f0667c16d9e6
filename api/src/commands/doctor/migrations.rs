//! Whether the migrations of this version are applied, and whether the login can act for callers.

use anyhow::anyhow;
use tokio::time::timeout;

use super::finding::{CHECK_TIMEOUT, Findings};
use crate::{config::Settings, database_url::DatabaseUrl, migrations::missing, storage::db::Login};

pub(super) async fn check(settings: &Settings, target: &DatabaseUrl, findings: &mut Findings) {
    let found = async {
        let db = target.connect(settings).await?;
        let is_sqlite = db.is_sqlite();
        let login = if is_sqlite { None } else { db.login().await.ok() };
        let found = missing(&db).await;
        db.close().await;
        // A login that can migrate gets the missing right with the migrations.
        let is_whole = found.as_ref().is_ok_and(Vec::is_empty);
        let is_mute = |login: &Login| !login.may_serve && (is_whole || !login.may_migrate);
        let (mute, login) = match login {
            Some(login) if is_mute(&login) => (Some(login), None),
            login => (None, login),
        };
        Ok((found, is_sqlite, mute, login))
    };
    let found = timeout(2 * CHECK_TIMEOUT, found).await.unwrap_or_else(|_| Err(anyhow!("no answer in time")));
    let found = found.and_then(|(found, is_sqlite, mute, login)| {
        if let Some(login) = login {
            check_login(&login, findings);
        }
        let Some(login) = mute else { return Ok(Some((found?, is_sqlite))) };
        findings.broken(
            "role",
            format!("the login {:?} cannot act for callers", login.name),
            "every transaction switches to the callers' role, so that row-level security applies; without the right to \
             do so it fails",
            &format!("run GRANT authenticated TO \"{}\" as the database's owner", login.name),
        );
        // A login without any rights cannot read the applied migrations either.
        Ok(found.ok().map(|missing| (missing, is_sqlite)))
    });
    match found {
        Err(error) => findings.broken(
            "migrations",
            format!("{error:#}"),
            "the server does not start on an unknown database",
            "start the antiphon version that matches the database, or use another database",
        ),
        Ok(None) => {}
        Ok(Some((missing, _))) if missing.is_empty() => findings.fine("migrations", "all are applied"),
        Ok(Some((missing, true))) => {
            findings.fine("migrations", format!("{} are pending; the next start applies them", missing.len()));
        }
        Ok(Some((missing, false))) => findings.broken(
            "migrations",
            format!("pending: {}", missing.join(", ")),
            "the server does not start on tables of another version",
            "run `antiphon migrate`, or start once with --migrate (MIGRATE=true)",
        ),
    }
}

fn check_login(login: &Login, findings: &mut Findings) {
    if let Err(error) = login.check_encoding() {
        let advice = "then move the data with pg_dump and pg_restore";
        findings.broken("encoding", error.to_string(), "the server does not start", advice);
    }
    if login.reads_all {
        findings.warn(
            "role",
            format!("the login {:?} could read all projects: it owns the tables", login.name),
            "each transaction gives up those rights, but anyone who obtains the login's password can read every project",
            "use a separate login for the server, which owns nothing (docs/postgres.md, \"Two logins\")",
        );
    } else {
        findings.fine("role", format!("the login {:?} reads and writes only as the callers", login.name));
    }
}
