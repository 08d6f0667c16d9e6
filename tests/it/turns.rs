//! Given a busy database, when some requests wait for a locked row, then other requests do not wait for them, and a
//! request that waited too long gets an error with the time to retry after.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{
    client::Raw,
    database::{Database, Kind},
    project::{Project, mutation},
    server::{Server, run_with_database},
};

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
