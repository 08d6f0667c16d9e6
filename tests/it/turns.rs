//! Given a busy database, when some requests wait for a locked row, then other requests do not wait for them, and a
//! request that waited too long gets an error with the time to retry after.

use std::time::Duration;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{
    client::Raw,
    database::{Database, Kind},
    project::{Project, mutation, text},
    server::{Server, run_with_database},
};
use tokio::time::timeout;

async fn rename(project: &Project, name: &str) -> Raw {
    let variables = json!({ "input": { "id": project.id, "name": name } });
    let query = mutation("updateProject", &variables, "{ revision }");
    let body = json!({ "query": query, "variables": variables }).to_string();
    let bearer = format!("Bearer {}", project.client.token().unwrap());
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    project.client.send("POST", "/graphql", &headers, body).await.expect("an answer")
}

#[test]
fn requests_that_wait_for_a_locked_project_delay_no_others() {
    run_with_database(Kind::Postgres, async |database: Database| {
        // Fewer connections than waiting requests, and less time for an operation than for a wait.
        let flags = ["--database-connections=4", "--database-acquire-seconds=6", "--max-operation-seconds=1"];
        let server = Server::start_with(&database, &flags).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let (locked, free) = (Project::create(&ada, "Locked").await, Project::create(&bob, "Free").await);
        let mut holder = PgConnection::connect(&database.url()).await.expect("a connection");
        let mut holds = holder.begin().await.expect("a transaction");
        let lock = format!("SELECT FROM projects WHERE id = '{}' FOR UPDATE", locked.id);
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *holds).await.expect("a lock");

        let waiting: Vec<_> = (0..12)
            .map(|n| {
                let locked = locked.clone();
                tokio::spawn(async move { rename(&locked, &format!("Name {n}")).await })
            })
            .collect();
        // Meanwhile other users read and write, and Ada too, in another project.
        let elsewhere = Project::create(&ada, "Elsewhere").await;
        for n in 0..4 {
            bob.gql("{ viewer { id } projects { totalCount } }", json!({})).await.ok();
            ada.gql("{ viewer { id } }", json!({})).await.ok();
            for project in [&free, &elsewhere] {
                assert_eq!(rename(project, &format!("Name {n}")).await.graphql().unwrap().errors, [json!(null); 0]);
            }
        }
        assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "other requests waited for the waiting ones");

        for waiting in waiting {
            let refused = waiting.await.unwrap();
            let answer = refused.graphql().unwrap();
            let error = answer.error();
            assert_eq!(answer.error_code(), "RATE_LIMITED", "{error}");
            assert!(error["message"].as_str().unwrap().contains("--database-acquire-seconds"), "{error}");
            assert_eq!(refused.header("retry-after"), error["extensions"]["retryAfterSeconds"].to_string());
        }
        holds.rollback().await.unwrap();
        assert_eq!(rename(&locked, "Free again").await.graphql().unwrap().errors, [json!(null); 0]);
        server.stop().await;
    });
}

/// The project, as the machine of a new access token sees it.
async fn by_token(project: &Project, name: &str) -> Project {
    let made = project.write("createAccessToken", json!({ "name": name, "role": "EDITOR" }), "token").await;
    project.of(&project.client.with_token(Some(text(&made["token"]))))
}

#[test]
fn an_access_token_takes_no_more_than_its_share_of_the_connections() {
    run_with_database(Kind::Postgres, async |database: Database| {
        const SHARE: i64 = 2;
        let flags = ["--database-connections=8", "--database-user-connections=2", "--database-acquire-seconds=60"];
        let server = Server::start_with(&database, &flags).await;
        let project = Project::create(&server.user("ada@example.com"), "Machines").await;
        let session = project.start_session().await;
        let (one, two) = (by_token(&project, "One").await, by_token(&project, "Two").await);
        // Given reads that wait for a locked table …
        let mut holder = PgConnection::connect(&database.url()).await.expect("a connection");
        let mut holds = holder.begin().await.expect("a transaction");
        sqlx::raw_sql("LOCK TABLE chat_messages IN ACCESS EXCLUSIVE MODE").execute(&mut *holds).await.expect("a lock");
        let query =
            format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages {{ nodes {{ id }} }} }} }} }}");
        let read = |project: &Project| {
            let (client, query) = (project.client.clone(), query.clone());
            tokio::spawn(async move { client.gql(&query, json!({})).await })
        };
        let mut reads: Vec<_> = (0..12).map(|_| read(&one)).collect();
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'chat_messages'::regclass";
        let mut watcher = PgConnection::connect(&database.url()).await.expect("a connection");
        let mut until_waiting = async |count: i64| {
            let reached = async {
                while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await.expect("a count") < count {}
            };
            timeout(Duration::from_secs(30), reached).await.expect("reads that wait");
        };
        until_waiting(SHARE).await;
        // … then other reads of the same machine wait for its share, and those of everyone else do not.
        let more = one.clone();
        let mut more = tokio::spawn(async move { more.ask("name").await });
        for other in [&two, &project] {
            for _ in 0..4 {
                timeout(Duration::from_secs(30), other.ask("name")).await.expect("a share of its own");
            }
        }
        assert!(timeout(Duration::from_millis(1), &mut more).await.is_err(), "a machine exceeds its share");
        // Another token of the project has a share of its own.
        reads.extend((0..12).map(|_| read(&two)));
        until_waiting(2 * SHARE).await;
        timeout(Duration::from_secs(30), project.ask("name")).await.expect("a share for the owner");
        holds.rollback().await.unwrap();
        for read in reads {
            read.await.unwrap().ok();
        }
        more.await.unwrap();
        server.stop().await;
    });
}

tests::on_both! {
    async fn an_access_token_has_a_rate_of_its_own(database: Database) {
        let server = Server::start_with(&database, &["--max-user-rate", "1"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Machines").await;
        let (one, two) = (by_token(&project, "One").await, by_token(&project, "Two").await);
        let query = "{ viewer { id } }";
        let mut refused = 0;
        for _ in 0..20 {
            let answer = one.client.gql(query, json!({})).await;
            if !answer.errors.is_empty() {
                assert_eq!(answer.error_code(), "RATE_LIMITED");
                refused += 1;
            }
        }
        assert!(refused > 0, "a machine exceeds its rate");
        two.client.gql(query, json!({})).await.ok();
        project.client.gql(query, json!({})).await.ok();
        server.stop().await;
    }
}
