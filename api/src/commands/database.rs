//! Opens the database for a command that needs its tables.

use std::path::Path;

use anyhow::{bail, ensure};

use crate::{
    config::Settings,
    database_url::{DatabaseUrl, for_operator},
    migrations::require,
    storage::db::Db,
};

/// Checks that a SQLite file has a database. SQLite would create one, and the command would report that a user or a project is
/// missing.
///
/// # Errors
/// It has none; says how to name the file.
pub(super) fn check_exists(file: &Path) -> anyhow::Result<()> {
    let at = file.display();
    let why = match file.metadata() {
        Ok(found) if found.len() > 0 => return Ok(()),
        Ok(_) => format!("{at} is empty, and not a database of antiphon"),
        Err(_) => format!("there is no database at {at}"),
    };
    bail!(
        "{why}: run this in the folder of the server, or name its file with --database-url \
         (DATABASE_URL=sqlite:///PATH/antiphon.db); `antiphon` and `antiphon migrate` create a new one"
    )
}

/// The database of the settings, which must exist.
pub(super) fn existing(settings: &Settings) -> anyhow::Result<DatabaseUrl> {
    let target = DatabaseUrl::parse(settings.store.database_url.expose())?;
    if let DatabaseUrl::Sqlite(options) = &target {
        check_exists(options.get_filename())?;
    }
    Ok(target)
}

/// Opens the database, which must exist and have the tables of this version.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Db> {
    let target = existing(settings)?;
    let db = target.connect_directly(settings).await?;
    require(&db).await?;
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
