//! SQL with the server's login, as the role that the server takes and with any claims.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tests::{database::Database, server::user_id};

/// A connection with the server's login.
pub(crate) struct LoginConnection(pub(crate) PgConnection);

impl LoginConnection {
    pub(crate) async fn open(database: &Database) -> Self {
        Self(PgConnection::connect(&database.server_url()).await.unwrap())
    }

    /// Runs statements as the server would for that caller, with a verified address, and rolls them back. Returns how
    /// many rows the last statement touched, or the number in its only row.
    pub(crate) async fn run(&mut self, email: Option<&str>, sql: &str) -> Result<i64, String> {
        let claims = email.map(|email| {
            serde_json::json!({ "sub": user_id(email), "email": email, "email_verified": true }).to_string()
        });
        self.run_with(claims.as_deref(), sql).await
    }

    /// The same for the user with this id, who has no address.
    pub(crate) async fn run_as(&mut self, user: &str, sql: &str) -> Result<i64, String> {
        self.run_with(Some(&serde_json::json!({ "sub": user, "role": "authenticated" }).to_string()), sql).await
    }

    async fn run_with(&mut self, claims: Option<&str>, sql: &str) -> Result<i64, String> {
        let claims = claims.map_or_else(String::new, |claims| format!("SET LOCAL request.jwt.claims = '{claims}'"));
        let opening = format!("BEGIN; SET LOCAL ROLE authenticated; {claims}");
        sqlx::raw_sql(AssertSqlSafe(opening)).execute(&mut self.0).await.unwrap();
        let done = self.run_in_transaction(sql).await;
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.unwrap();
        done
    }

    /// Tests run thousands of statements, so each takes one round trip: it is not prepared.
    async fn run_in_transaction(&mut self, sql: &str) -> Result<i64, String> {
        let refused = |error: sqlx::Error| {
            let error = error.into_database_error().expect("an answer of the database");
            error.code().expect("a code").into_owned()
        };
        let (first, sql) = sql.rsplit_once("; ").unwrap_or(("", sql));
        if !first.is_empty() {
            sqlx::raw_sql(AssertSqlSafe(first.to_owned())).execute(&mut self.0).await.map_err(refused)?;
        }
        if sql.starts_with("SELECT") {
            let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.0).await.map_err(refused)?;
            return Ok(row.get(0));
        }
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await.map_err(refused)?;
        Ok(i64::try_from(done.rows_affected()).unwrap())
    }
}

/// `insufficient_privilege`: from a missing grant, a policy or a trigger.
pub(crate) const DENIED: &str = "42501";

pub(crate) async fn rows(database: &Database, sql: &str) -> Vec<Vec<String>> {
    let mut owner = PgConnection::connect(&database.url()).await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut owner).await.unwrap();
    rows.iter()
        .map(|row| (0..row.len()).map(|at| row.get::<Option<String>, _>(at).unwrap_or_default()).collect())
        .collect()
}
