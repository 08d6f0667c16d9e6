//! Which database.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::secret::{Secret, read_secret};

/// Where the database is.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct Store {
    /// sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite://antiphon.db", hide_env_values = true)]
    pub database_url: Secret,
    /// File with the database's URL, which only its owner may read, instead of --database-url
    #[arg(long, env = "DATABASE_URL_FILE", conflicts_with = "database_url", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,
    /// PostgreSQL's schema of the tables, which must be there; set by a statement on each connection, so that a pooler that drops start-up
    /// options does no harm. Without it, the schema is the one in which the login makes tables
    #[arg(long, env = "DATABASE_SCHEMA", value_name = "NAME")]
    pub database_schema: Option<String>,
}

impl Store {
    /// With what the file holds.
    ///
    /// # Errors
    /// Why the file is not usable, never what is in it.
    pub(super) fn read_files(&mut self) -> anyhow::Result<()> {
        if let Some(path) = &self.database_url_file {
            let read = read_secret(path);
            self.database_url =
                read.with_context(|| format!("DATABASE_URL_FILE, {}, is not usable", path.display()))?;
        }
        Ok(())
    }
}
