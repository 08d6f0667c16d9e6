//! Given a server, when an operator asks how it does, then it says so: alive, ready, what it has done, and why it cannot start.

use serde_json::{Value, json};
use tests::{database::Database, project::Project, server::Server};
use tokio::sync::oneshot;

const METRICS: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

async fn ready(client: &tests::client::Client) -> (u16, Value) {
    let answer = client.send("GET", "/readyz", &[], "").await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// The value of a time series, by how its line starts; 0 where there is none.
async fn metric(server: &Server, series: &str) -> f64 {
    let answer = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

tests::on_both! {
    async fn a_server_that_is_ready_says_so_part_by_part(server: Server) {
        let anonymous = server.anonymous();
        let alive = anonymous.send("GET", "/healthz", &[], "").await.unwrap();
        assert_eq!((alive.status, &alive.body[..]), (200, &b"ok\n"[..]));
        let parts = ["database", "migrations", "server"].map(|name| json!({ "name": name, "ready": true }));
        assert_eq!(ready(&anonymous).await, (200, json!({ "ready": true, "parts": parts })));
    }

    async fn a_database_that_is_not_migrated_is_named_and_nothing_of_it_told(server: Server) {
        server.database().execute("DELETE FROM seaql_migrations").await;
        let (status, said) = ready(&server.anonymous()).await;
        assert_eq!((status, &said["ready"], &said["parts"][0]["ready"]), (503, &json!(false), &json!(true)));
        let expected = json!({ "name": "migrations", "ready": false, "reason": "the database is not the one of this version" });
        assert_eq!(said["parts"][1], expected);
        let alive = server.anonymous().send("GET", "/healthz", &[], "").await.unwrap();
        assert_eq!(alive.status, 200);
    }

    async fn what_operations_cost_is_counted_by_their_names(database: Database) {
        let server = Server::start_with(&database, &METRICS).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Counted").await;
        let document = "query Names { projects { nodes { name } } }";
        for _ in 0..3 {
            ada.gql(document, json!({})).await.ok();
        }
        // A name is worth a series of its own only once a signed-in caller's operation of it has succeeded.
        server.anonymous().gql("query Stranger { projects { nodes { name } } }", json!({})).await;
        server.anonymous().gql("query Broken {", json!({})).await;
        let named = |metric: &str| format!("antiphon_{metric}{{kind=\"query\",name=\"Names\"}}");
        assert_eq!(metric(&server, r#"antiphon_operations_total{kind="query",name="Names",outcome="OK"}"#).await, 3.0);
        assert_eq!(metric(&server, &named("operation_seconds_count")).await, 3.0);
        assert_eq!(metric(&server, &named("operation_statements_total")).await, 3.0);
        assert!(metric(&server, &named("operation_sql_seconds_total")).await > 0.0);
        let other = r#"antiphon_operations_total{kind="query",name="(other)",outcome="UNAUTHENTICATED"}"#;
        assert_eq!(metric(&server, other).await, 1.0);
        let broken = r#"antiphon_operations_total{kind="none",name="(other)",outcome="GRAPHQL_PARSE_FAILED"}"#;
        assert_eq!(metric(&server, broken).await, 1.0);

        // A write's statements count though it has a task of its own.
        let before = server.statements();
        project.create_file("a.py", &"x\n".repeat(1000)).await;
        let sent = (server.statements() - before) as f64;
        let all: f64 = metric(&server, r#"antiphon_operation_statements_total{kind="mutation",name=""}"#).await;
        assert!(all >= sent && sent > 3.0, "{all} of {sent}");
        assert_eq!(metric(&server, "antiphon_blob_bytes_total").await, 2000.0);
        let stored = metric(&server, "antiphon_blob_stored_bytes_total").await;
        assert!(stored > 0.0 && stored < 200.0, "{stored}");
        assert!(metric(&server, "process_resident_memory_bytes").await > 1e6);
        let idle = if database.file().is_some() { r#"{pool="read",state="idle"}"# } else { r#"{pool="all",state="idle"}"# };
        assert!(metric(&server, &format!("antiphon_pool_connections{idle}")).await >= 1.0);
        server.stop().await;
    }

    async fn listeners_and_what_they_hear_are_counted(database: Database) {
        let server = Server::start_with(&database, &METRICS).await;
        let project = Project::create(&server.user("ada@example.com"), "Heard").await;
        project.create_file("before.py", "1\n").await;
        let mut heard = project.listen(1, "revision").await;
        heard.event().await;
        assert_eq!(metric(&server, "antiphon_listeners").await, 1.0);
        assert_eq!(metric(&server, "antiphon_sockets").await, 1.0);
        // What was written before somebody listened says nothing of how fast it came.
        assert_eq!(metric(&server, "antiphon_delivery_lag_seconds_count").await, 0.0);
        project.create_file("after.py", "2\n").await;
        heard.event().await;
        assert_eq!(metric(&server, "antiphon_deliveries_total").await, 2.0);
        assert_eq!(metric(&server, "antiphon_delivery_lag_seconds_count").await, 1.0);
        drop(heard);
        server.stop().await;
    }
}

tests::on_sqlite! {
    async fn the_metrics_are_not_for_everybody(server: Server) {
        assert_eq!(server.anonymous().send("GET", "/metrics", &[], "").await.unwrap().status, 404);
    }

    async fn a_server_that_drains_serves_on_and_says_that_it_is_not_ready(database: Database) {
        let server = Server::start_with(&database, &["--drain-seconds", "2"]).await;
        let ada = server.user("ada@example.com");
        ada.gql("{ viewer { id } }", json!({})).await.ok();
        let (tell, stopped) = oneshot::channel();
        let stopping = tokio::spawn({
            let server = server.clone();
            async move {
                server.stop().await;
                let _ = tell.send(());
            }
        });
        let said = loop {
            let (status, said) = ready(&server.anonymous()).await;
            if status == 503 {
                break said;
            }
        };
        assert_eq!(said["parts"][2], json!({ "name": "server", "ready": false, "reason": "the server is stopping" }));
        ada.gql("{ viewer { id } }", json!({})).await.ok();
        stopped.await.unwrap();
        stopping.await.unwrap();
        assert!(ada.request("{ viewer { id } }", json!({})).await.is_err());
    }
}
