//! The size of a database.

use std::fs;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};

use crate::database::Database;

/// The size of a database and of its parts, largest first.
pub struct Size {
    /// The total in bytes.
    pub bytes: u64,
    /// The number of versions, including deletions.
    pub rows: i64,
    /// Tables and indexes, with their bytes.
    pub parts: Vec<(String, u64)>,
}

/// The size after a vacuum.
///
/// # Errors
/// If the database fails.
pub async fn size(database: &Database) -> anyhow::Result<Size> {
    const ROWS: &str = "SELECT count(*) FROM file_snapshots";
    let part = |name: String, bytes: i64| (name, bytes as u64);
    match database.file() {
        Some(file) => {
            let copy = file.with_extension("vacuumed");
            let _ = fs::remove_file(&copy);
            let mut connection = SqliteConnection::connect(&database.url()).await?;
            let vacuum = format!("VACUUM INTO '{}'", copy.display());
            sqlx::raw_sql(AssertSqlSafe(vacuum)).execute(&mut connection).await?;
            connection.close().await?;
            let mut connection = SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await?;
            let rows = sqlx::query_scalar(ROWS).fetch_one(&mut connection).await?;
            let parts = sqlx::query("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC");
            let parts = parts.fetch_all(&mut connection).await?;
            connection.close().await?;
            let parts = parts.iter().map(|row| part(row.get(0), row.get(1))).collect();
            Ok(Size { bytes: fs::metadata(copy)?.len(), rows, parts })
        }
        None => {
            let mut connection = PgConnection::connect(&database.admin_url()).await?;
            sqlx::raw_sql("VACUUM FULL").execute(&mut connection).await?;
            let rows = sqlx::query_scalar(ROWS).fetch_one(&mut connection).await?;
            let bytes = sqlx::query_scalar("SELECT pg_database_size(current_database())");
            let bytes: i64 = bytes.fetch_one(&mut connection).await?;
            // A table without its indexes, and each index.
            let parts = sqlx::query(
                "SELECT c.relname::text, CASE WHEN c.relkind = 'r' THEN pg_table_size(c.oid) ELSE pg_relation_size(c.oid) END \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i') ORDER BY 2 DESC",
            );
            let parts = parts.fetch_all(&mut connection).await?;
            let parts = parts.iter().map(|row| part(row.get(0), row.get(1))).collect();
            connection.close().await?;
            Ok(Size { bytes: bytes as u64, rows, parts })
        }
    }
}
