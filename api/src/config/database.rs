//! Database settings.

use std::path::PathBuf;

use clap::Args;

use super::secret::{Secret, read_setting};

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
    /// PostgreSQL URL of the same database without a pooler. With it, --database-url can lead to a pooler in transaction mode:
    /// what needs a session (LISTEN, migrations, the other commands) uses this URL
    #[arg(long, env = "DATABASE_DIRECT_URL", hide_env_values = true, value_name = "URL")]
    pub database_direct_url: Option<Secret>,
    /// File with that URL, readable only by its owner, instead of --database-direct-url
    #[arg(long, env = "DATABASE_DIRECT_URL_FILE", conflicts_with = "database_direct_url", value_name = "FILE")]
    pub database_direct_url_file: Option<PathBuf>,
    /// PostgreSQL schema that contains the tables; it must exist. It is set by a statement on each connection, so that it
    /// also works behind a pooler that drops start-up options. The default is the schema in which the login creates
    /// tables
    #[arg(long, env = "DATABASE_SCHEMA", value_name = "NAME", value_parser = schema_name)]
    pub database_schema: Option<String>,
}

/// Streaming replicas of the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Several servers")]
pub struct Replicas {
    /// Streaming replicas of the PostgreSQL database that also answer reads: URLs like --database-url, with commas
    /// between them. A user always reads their own writes. Each replica gets up to --database-connections connections
    #[arg(long, env = "DATABASE_REPLICA_URLS", hide_env_values = true, value_name = "URLS")]
    pub database_replica_urls: Option<Secret>,
}

impl Store {
    /// Reads the URLs from their files, if they are given.
    ///
    /// # Errors
    /// Why a file is unusable, never its content.
    pub(super) fn read_files(&mut self) -> anyhow::Result<()> {
        if let Some(path) = &self.database_url_file {
            self.database_url = read_setting("DATABASE_URL_FILE", path)?;
        }
        if let Some(path) = &self.database_direct_url_file {
            self.database_direct_url = Some(read_setting("DATABASE_DIRECT_URL_FILE", path)?);
        }
        Ok(())
    }
}

/// Longest name in PostgreSQL, in bytes. It cuts a longer one.
const MAX_NAME_BYTES: usize = 63;

/// A name that a schema of the tables may have. The migrations write it into functions, between apostrophes and between dollar signs.
///
/// # Errors
/// Why it cannot be, for the operator.
pub fn schema_name(name: &str) -> Result<String, String> {
    let why = if name.contains(['\'', '$', '{', '}']) || name.chars().any(char::is_control) {
        "its name must not have an apostrophe, a dollar sign, a brace or a control character"
    } else if name.starts_with("pg_") {
        "PostgreSQL keeps names that begin with pg_ for itself"
    } else if name.len() > MAX_NAME_BYTES {
        "its name is longer than 63 bytes, and PostgreSQL would cut it"
    } else {
        return Ok(name.to_owned());
    };
    Err(format!("the schema {name:?} cannot have the tables: {why}; CREATE SCHEMA antiphon makes one that can"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_name_that_the_migrations_can_write() {
        for name in ["antiphon", "Anti Phon", "a\"b", "a,b", "a\\b", "ü", "_", &"x".repeat(63)] {
            assert_eq!(schema_name(name).as_deref(), Ok(name));
        }
        for name in [
            "o'x",
            "a''b",
            "'",
            "$user",
            "$$",
            "a$b",
            "{uuid}",
            "a\nb",
            "a\0",
            "pg_temp",
            &"x".repeat(64),
            &"ü".repeat(32),
        ] {
            assert!(schema_name(name).is_err_and(|why| why.contains("CREATE SCHEMA antiphon")), "{name}");
        }
    }
}
