//! Given the server's own login with a member's claims, when SQL calls the permitted functions and updates the
//! permitted columns with values that no client sends, then the API can still read everything. The functions and
//! columns come from the catalog.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tests::{
    database::{Database, Kind},
    project::Project,
    server::{Server, run_with_server, user_id},
};

/// For each type: a usual value, and unusual ones.
fn values(kind: &str, project: &str) -> (String, &'static [&'static str]) {
    const TIMES: &[&str] = &[
        "'infinity'::timestamptz",
        "'-infinity'::timestamptz",
        "'294276-12-31 23:59:59+00'::timestamptz",
        "'262143-01-01 00:00:00+00'::timestamptz",
        "'4713-01-02 00:00:00+00 BC'::timestamptz",
        "NULL::timestamptz",
    ];
    let whole = &["-1", "0", "2147483647", "-2147483648", "NULL"];
    match kind {
        "uuid" => (format!("'{project}'::uuid"), &["NULL::uuid", "'00000000-0000-0000-0000-000000000000'::uuid"]),
        "timestamp with time zone" => ("now()".to_owned(), TIMES),
        "integer" | "smallint" | "bigint" => ("1".to_owned(), whole),
        "boolean" => ("false".to_owned(), &["true", "NULL::boolean"]),
        "text" => ("'a'::text".to_owned(), &["''::text", "repeat('a', 100000)", "NULL::text"]),
        "double precision" | "real" | "numeric" => ("1".to_owned(), &["'NaN'", "'infinity'", "'-infinity'"]),
        "jsonb" => ("'{}'::jsonb".to_owned(), &["'null'::jsonb", "'[]'::jsonb", "'1e400'::jsonb", "NULL::jsonb"]),
        "uuid[]" => (format!("ARRAY['{project}'::uuid]"), &["'{}'::uuid[]", "ARRAY[NULL::uuid]", "NULL::uuid[]"]),
        "text[]" => ("'{owner,editor,viewer}'::text[]".to_owned(), &["'{}'::text[]", "NULL::text[]"]),
        "timestamp with time zone[]" => {
            ("ARRAY[now()]".to_owned(), &["'{infinity}'::timestamptz[]", "'{}'::timestamptz[]"])
        }
        other => (format!("NULL::{other}"), &[]),
    }
}

/// Calls of each permitted function, with one unusual argument each.
async fn calls(connection: &mut PgConnection, project: &str) -> Vec<String> {
    let functions = "SELECT p.proname::text, ARRAY(SELECT format_type(t.oid, NULL) FROM unnest(p.proargtypes)
            WITH ORDINALITY AS a (oid, at) JOIN pg_type t ON t.oid = a.oid ORDER BY a.at)
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND has_function_privilege('authenticated', p.oid, 'EXECUTE')
        ORDER BY 1";
    let mut calls = Vec::new();
    for row in sqlx::query(functions).fetch_all(connection).await.unwrap() {
        let (name, kinds): (String, Vec<String>) = (row.get(0), row.get(1));
        for (odd, kind) in kinds.iter().enumerate() {
            for value in values(kind, project).1 {
                let argument = |(at, kind): (usize, &String)| match at == odd {
                    true => (*value).to_owned(),
                    false => values(kind, project).0,
                };
                let arguments: Vec<_> = kinds.iter().enumerate().map(argument).collect();
                calls.push(format!("SELECT {name}({})", arguments.join(", ")));
            }
        }
    }
    calls
}

/// Updates of each permitted column with unusual times.
async fn updates(connection: &mut PgConnection) -> Vec<String> {
    let columns = "SELECT c.relname::text, a.attname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
          AND a.atttypid = 'timestamptz'::regtype AND has_column_privilege('authenticated', c.oid, a.attnum, 'UPDATE')
        ORDER BY 1, 2";
    let mut updates = Vec::new();
    for row in sqlx::query(columns).fetch_all(connection).await.unwrap() {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        for value in values("timestamp with time zone", "").1 {
            updates.push(format!("UPDATE {table} SET {column} = {value}"));
        }
    }
    updates
}

/// Runs a statement as the user, and commits it if it succeeds. Returns whether it did.
async fn attempt(connection: &mut PgConnection, email: &str, sql: &str) -> bool {
    let claims = json!({ "sub": user_id(email), "role": "authenticated", "email": email, "email_verified": true });
    let opening = format!("SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = '{claims}'");
    let mut transaction = connection.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(opening)).execute(&mut *transaction).await.unwrap();
    match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *transaction).await {
        Ok(_) => transaction.commit().await.is_ok(),
        Err(_) => {
            transaction.rollback().await.unwrap();
            false
        }
    }
}

async fn team(server: &Server) -> Project {
    let ada = server.user("ada@example.com");
    let project = Project::create(&ada, "Odd").await;
    let session = project.start_session().await;
    project.add_message(&session, "Hello", false).await;
    project.create_file("a.py", "a\n").await;
    for (email, role) in [("vic@example.com", "viewer"), ("eve@example.com", "editor")] {
        server.user(email).gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&project.id, email, role, true).await;
    }
    server.user("ivy@example.com").gql("{ viewer { id } }", json!({})).await.ok();
    server.database().add_collaborator(&project.id, "ivy@example.com", "viewer", false).await;
    project
}

async fn login(database: &Database) -> PgConnection {
    PgConnection::connect(&database.server_url()).await.unwrap()
}

async fn assert_readable(project: &Project, after: &str) {
    let query = "query($id: ID!) { viewer { id email createdAt } projects { nodes { id updatedAt lastAccessedAt } }
        project(id: $id) { revision name createdAt updatedAt lastAccessedAt stats { lastActivityAt latestSessionAt }
            sessions { nodes { startedAt endedAt } } files { nodes { updatedAt content } } events(first: 500) { createdAt }
            collaborators { acceptedAt } presence { user { id } } } }";
    let answer = project.client.gql(query, json!({ "id": project.id })).await;
    assert!(answer.errors.is_empty(), "after {after}: {:?}", answer.errors);
}

#[test]
fn no_permitted_function_makes_a_project_unreadable() {
    run_with_server(Kind::Postgres, async |server| {
        let project = team(&server).await;
        let mut admin = PgConnection::connect(&server.database().admin_url()).await.unwrap();
        let mut login = login(server.database()).await;
        let calls = calls(&mut admin, &project.id).await;
        assert!(calls.iter().any(|call| call.starts_with("SELECT touch_project(") && call.contains("infinity")));
        let mut done = 0;
        for email in ["vic@example.com", "ivy@example.com", "eve@example.com", "ada@example.com"] {
            for call in &calls {
                // A refused call has changed nothing.
                if attempt(&mut login, email, call).await {
                    done += 1;
                    assert_readable(&project, &format!("{email}: {call}")).await;
                }
            }
        }
        assert!(done > 0);
    });
}

#[test]
fn no_permitted_time_makes_a_project_unreadable() {
    run_with_server(Kind::Postgres, async |server| {
        let project = team(&server).await;
        let mut admin = PgConnection::connect(&server.database().admin_url()).await.unwrap();
        let mut login = login(server.database()).await;
        let updates = updates(&mut admin).await;
        assert!(updates.iter().any(|update| update.contains("updated_at = 'infinity'")), "{updates:?}");
        for email in ["eve@example.com", "ada@example.com"] {
            for update in &updates {
                if attempt(&mut login, email, update).await {
                    assert_readable(&project, &format!("{email}: {update}")).await;
                }
            }
        }
    });
}
