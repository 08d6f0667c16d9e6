//! Database settings.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::secret::{Secret, read_secret};

/// The database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct Store {
    /// sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, env = "DATABASE_URL", default_value = "sqlite://antiphon.db", hide_env_values = true)]
    pub database_url: Secret,
    /// File with the database URL, readable only by its owner, instead of --database-url
    #[arg(long, env = "DATABASE_URL_FILE", conflicts_with = "database_url", value_name = "FILE")]
    pub database_url_file: Option<PathBuf>,
    /// PostgreSQL schema that contains the tables; it must exist. It is set by a statement on each connection, so that it
    /// also works behind a pooler that drops start-up options. The default is the schema in which the login creates
    /// tables
    #[arg(long, env = "DATABASE_SCHEMA", value_name = "NAME")]
    pub database_schema: Option<String>,
}

impl Store {
    /// Reads the URL from its file, if one is given.
    ///
    /// # Errors
    /// Why the file is unusable, never its content.
    pub(super) fn read_files(&mut self) -> anyhow::Result<()> {
        if let Some(path) = &self.database_url_file {
            let read = read_secret(path);
            self.database_url =
                read.with_context(|| format!("DATABASE_URL_FILE, {}, is not usable", path.display()))?;
        }
        Ok(())
    }
}
