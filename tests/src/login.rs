//! The server's login to PostgreSQL, with the rights of a caller.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::{database::Database, server::user_id};

/// A connection with the server's login.
pub struct LoginConnection(
    /// The connection itself.
    pub PgConnection,
);

impl LoginConnection {
    /// Connects.
    ///
    /// # Panics
    /// If this fails.
    pub async fn open(database: &Database) -> Self {
        Self(PgConnection::connect(&database.server_url()).await.expect("a connection"))
    }

    /// Runs statements as the server would for that caller, with a verified address, and rolls them back. Returns how
    /// many rows the last statement touched, or the number in its only row.
    ///
    /// # Errors
    /// The code of the database's error.
    ///
    /// # Panics
    /// If the connection fails.
    pub async fn run(&mut self, email: Option<&str>, sql: &str) -> Result<i64, String> {
        let mut tx = self.0.begin().await.expect("a connection");
        let claims = email.map_or_else(String::new, |email| {
            let claims = serde_json::json!({ "sub": user_id(email), "email": email, "email_verified": true });
            format!("SET LOCAL request.jwt.claims = '{claims}'")
        });
        let opening = format!("SET LOCAL ROLE authenticated; {claims}");
        sqlx::raw_sql(AssertSqlSafe(opening)).execute(&mut *tx).await.expect("a connection");
        let refused = |error: sqlx::Error| {
            let error = error.into_database_error().expect("an answer of the database");
            error.code().expect("a code").into_owned()
        };
        let (first, sql) = sql.rsplit_once("; ").unwrap_or(("", sql));
        sqlx::raw_sql(AssertSqlSafe(first.to_owned())).execute(&mut *tx).await.map_err(refused)?;
        if sql.starts_with("SELECT") {
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *tx).await.map_err(refused)?;
            return Ok(row.get(0));
        }
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.map_err(refused)?;
        Ok(i64::try_from(done.rows_affected()).expect("a connection"))
    }
}

/// `insufficient_privilege`: from a missing grant, a policy or a trigger.
pub const DENIED: &str = "42501";
