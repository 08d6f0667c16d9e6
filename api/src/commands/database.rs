//! Opens the database for a command that needs its tables.

use anyhow::ensure;

use crate::{
    config::{Serve, Settings},
    database_url::{DatabaseUrl, for_operator},
    migrations::prepare,
    storage::db::Db,
};

/// Opens the database, with its tables. With `must_exist`, a SQLite file that does not exist is an error and is not
/// created.
pub(super) async fn open(settings: &Settings, must_exist: bool) -> anyhow::Result<Db> {
    let target = DatabaseUrl::parse(settings.store.database_url.expose())?;
    if let DatabaseUrl::Sqlite(options) = &target {
        ensure!(
            !must_exist || options.get_filename().exists(),
            "there is no {target}; see --database-url (DATABASE_URL)"
        );
    }
    let db = target.connect_directly(settings).await?;
    prepare(&db, &Serve::default()).await?;
    if !db.is_sqlite() {
        let login = db.login().await.map_err(for_operator)?;
        ensure!(
            login.reads_all,
            "{:?} owns no tables, but this command reads whole projects: use the login of `antiphon migrate` in --database-url \
             (DATABASE_URL), or in --database-direct-url (DATABASE_DIRECT_URL) if it is set",
            login.name
        );
    }
    Ok(db)
}
