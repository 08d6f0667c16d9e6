//! Given subscribers who connect, leave and return while others write, then each receives every requested revision once
//! and in order, and nothing else.

use std::{collections::HashMap, time::Duration};

use antiphon::graphql::listening::SAME_FOR_ALL;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::{Project, number},
    server::Server,
    socket::Subscription,
};
use tokio::{task::JoinHandle, time::sleep};

const WRITERS: usize = 4;
const WRITES: usize = 50;

/// Concurrent writers: files and messages, each with a path of its own.
fn write_at_once(project: &Project, session: &str) -> Vec<JoinHandle<()>> {
    let writer = |writer: usize| {
        let (project, session) = (project.clone(), session.to_owned());
        tokio::spawn(async move {
            for n in 0..WRITES {
                match n % 5 {
                    0 => drop(project.add_message(&session, &format!("{writer} {n}"), n % 2 == 0).await),
                    1 => drop(project.create_file(&format!("{writer}/{n}.py"), "new").await),
                    _ => drop(
                        project
                            .write(
                                "syncFiles",
                                json!({ "files": [
                        { "path": format!("{writer}/a.py"), "content": format!("{n}") },
                        { "path": format!("{writer}/b.py"), "content": format!("{n}") },
                    ] }),
                                "revision",
                            )
                            .await,
                    ),
                }
            }
        })
    };
    (0..WRITERS).map(writer).collect()
}

/// Receives revisions of a subscription up to the last.
async fn receive(mut subscription: Subscription, last: i64) -> Vec<(i64, Value)> {
    let mut received = Vec::new();
    while received.last().is_none_or(|(revision, _)| *revision < last) {
        let event = subscription.event().await["projectEvents"].take();
        received.push((number(&event["revision"]), event["kind"].clone()));
    }
    received
}

/// Waits until the server has attached this subscriber: from then on it receives all writes.
async fn attached(project: &Project, query: &str) -> Subscription {
    let mut subscription = project.client.subscribe(query, json!({ "id": project.id })).await;
    for _ in 0..50 {
        project
            .client
            .mutate(
                "updateProject",
                json!({ "id": project.id, "description": json!(project.revision().await).to_string() }),
                "revision",
            )
            .await
            .ok();
        let received = tokio::time::timeout(Duration::from_millis(200), subscription.event()).await;
        if received.is_ok() {
            return subscription;
        }
    }
    panic!("nothing was received");
}

tests::on_both! {
    async fn a_subscriber_receives_every_revision_once_and_in_order(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Busy").await;
        let session = project.start_session().await;
        let last = 2 + (WRITERS * WRITES) as i64;
        let writers = write_at_once(&project, &session);

        // Given subscribers that connect while all writers write, each with a different position …
        let mut listeners = Vec::new();
        for n in 0..5 {
            // At a different moment for each subscriber, and in each run.
            while project.revision().await < 10 + n * 35 {
                sleep(Duration::from_millis(1)).await;
            }
            let seen = [0, project.revision().await, 1, project.revision().await / 2, project.revision().await][n as usize];
            listeners.push((seen, tokio::spawn(receive(project.listen(seen, "revision kind").await, last))));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(project.revision().await, last);

        // … then none has missed an event, received one twice or out of order.
        for (seen, listener) in listeners {
            let revisions: Vec<i64> = listener.await.unwrap().into_iter().map(|(revision, _)| revision).collect();
            assert_eq!(revisions, (seen + 1..=last).collect::<Vec<_>>());
        }

        // A subscription to messages receives them alone, in the same order.
        let query = "subscription($id: ID!) { messageAdded(sessionId: $id, afterRevision: 0) { revision content } }";
        let mut messages = ada.subscribe(query, json!({ "id": session })).await;
        let expected = project.ask("sessions { nodes { messages(first: 100) { nodes { revision content } } } }").await;
        let expected = expected["sessions"]["nodes"][0]["messages"]["nodes"].as_array().unwrap().clone();
        assert_eq!(expected.len(), WRITERS * WRITES / 5);
        for message in expected {
            assert_eq!(messages.event().await["messageAdded"], message);
        }
    }

    async fn a_subscriber_without_a_position_receives_only_new_events(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Live").await;
        project.create_file("before.py", "").await;
        let mut subscription = attached(&project, "subscription($id: ID!) { projectEvents(projectId: $id) { revision kind changes { path } } }").await;
        project.create_file("after.py", "").await;
        let event = loop {
            let event = subscription.event().await["projectEvents"].take();
            if event["kind"] != "PROJECT_UPDATED" {
                break event;
            }
        };
        assert_eq!((&event["kind"], &event["changes"]), (&json!("FILES_CHANGED"), &json!([{ "path": "after.py" }])));
        assert_eq!(event["revision"], project.revision().await);
    }

    async fn a_subscriber_that_waits_for_ready_receives_its_later_writes(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Ready").await;
        project.create_file("a.py", "").await;
        let query = "subscription($id: ID!, $kinds: [EventKind!], $after: Int) {
            projectEvents(projectId: $id, kinds: $kinds, afterRevision: $after, ready: true) { revision kind } }";
        for round in 0..80 {
            // Whatever kinds it subscribes to.
            let kinds = [json!(null), json!(["FILES_CHANGED"])][round % 2].clone();
            let mut subscription = ada.subscribe(query, json!({ "id": project.id, "kinds": kinds })).await;
            let attached = subscription.event().await["projectEvents"].take();
            let revision = project.update_file("a.py", &round.to_string()).await;
            assert_eq!(attached["revision"], revision - 1);
            let event = subscription.event().await["projectEvents"].take();
            assert_eq!(event, json!({ "revision": revision, "kind": "FILES_CHANGED" }));
        }

        // From a past position, the entry at that position is repeated; before the first entry there is none.
        for (after, revisions) in [(1, [1, 2]), (0, [1, 2])] {
            let mut subscription = ada.subscribe(query, json!({ "id": project.id, "after": after })).await;
            for revision in revisions {
                assert_eq!(subscription.event().await["projectEvents"]["revision"], revision);
            }
        }
    }

    async fn projects_and_sessions_do_not_mix(server: Server) {
        let ada = server.user("ada@example.com");
        let (one, two) = (Project::create(&ada, "One").await, Project::create(&ada, "Two").await);
        let (first, second) = (one.start_session().await, two.start_session().await);
        let mut of_one = one.listen(0, "revision message { content }").await;
        let query = "subscription($id: ID!) { messageAdded(sessionId: $id, afterRevision: 0) { content session { id } } }";
        let mut said = ada.subscribe(query, json!({ "id": second })).await;
        for n in 0..10 {
            one.add_message(&first, &format!("one {n}"), false).await;
            two.add_message(&second, &format!("two {n}"), false).await;
        }
        let next = two.start_session().await;
        two.add_message(&next, "another session", false).await;
        two.of(&ada).create_file("a.py", "").await;
        for revision in 1..=12 {
            let event = of_one.event().await["projectEvents"].take();
            assert_eq!(event["revision"], revision);
            if revision > 2 {
                assert_eq!(event["message"]["content"], format!("one {}", revision - 3));
            }
        }
        for n in 0..10 {
            let expected = json!({ "content": format!("two {n}"), "session": { "id": second } });
            assert_eq!(said.event().await["messageAdded"], expected);
        }
        one.create_file("last.py", "").await;
        assert_eq!(of_one.event().await["projectEvents"]["revision"], 13);
        let silence = tokio::time::timeout(Duration::from_millis(300), said.event()).await;
        assert!(silence.is_err(), "{silence:?}");
    }

    async fn a_filter_by_kind_selects_events(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Kinds").await;
        let session = project.start_session().await;
        let query = "subscription($id: ID!, $kinds: [EventKind!]) { projectEvents(projectId: $id, kinds: $kinds, afterRevision: 0) { revision kind } }";
        let listen = async |kinds: Value| ada.subscribe(query, json!({ "id": project.id, "kinds": kinds })).await;
        let mut some = listen(json!(["MESSAGE_ADDED", "PROJECT_RESTORED"])).await;
        let mut all = listen(json!([])).await;
        let query = "subscription($id: ID!) { codeChanged(projectId: $id, afterRevision: 0) { revision changes { type path } } }";
        let mut code = ada.subscribe(query, json!({ "id": project.id })).await;
        project.add_message(&session, "One", true).await;
        project.create_file("a.py", "a").await;
        project.write("createSnapshot", json!({}), "revision").await;
        project.write("restoreRevision", json!({ "revision": 2 }), "revision").await;
        ada.mutate_id("endSession", &session, "revision").await.ok();
        for (revision, kind) in [(3, "MESSAGE_ADDED"), (6, "PROJECT_RESTORED")] {
            assert_eq!(some.event().await["projectEvents"], json!({ "revision": revision, "kind": kind }));
        }
        let kinds = ["PROJECT_CREATED", "SESSION_STARTED", "MESSAGE_ADDED", "FILES_CHANGED", "SNAPSHOT_CREATED", "PROJECT_RESTORED", "SESSION_ENDED"];
        for (at, kind) in kinds.iter().enumerate() {
            assert_eq!(all.event().await["projectEvents"], json!({ "revision": at + 1, "kind": kind }));
        }
        for (revision, step) in [(4, "CREATE"), (6, "DELETE")] {
            let expected = json!({ "revision": revision, "changes": [{ "type": step, "path": "a.py" }] });
            assert_eq!(code.event().await["codeChanged"], expected);
        }
    }

    async fn an_event_shows_the_state_of_its_own_revision(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Past").await;
        project.create_file("a.py", "1").await;
        project.update_file("a.py", "2").await;
        project.write("renameFile", json!({ "path": "a.py", "newPath": "b.py" }), "revision").await;
        let mut subscription = project.listen(1, "changes { path oldContent newContent file { path content } }").await;
        let now = json!({ "path": "b.py", "content": "2" });
        for (path, old, new) in [("a.py", Value::Null, "1"), ("a.py", json!("1"), "2"), ("b.py", json!("2"), "2")] {
            let expected = json!([{ "path": path, "oldContent": old, "newContent": new, "file": now }]);
            assert_eq!(subscription.event().await["projectEvents"]["changes"], expected);
        }
    }

    async fn a_subscriber_continues_with_the_next_server(database: Database) {
        let server = Server::start(&database).await;
        let project = Project::create(&server.user("ada@example.com"), "Restarted").await;
        project.create_file("a.py", "1").await;
        let mut subscription = project.listen(0, "revision").await;
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 1);
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 2);

        // The server stops during a subscription: the subscriber is notified, and misses nothing after it reconnects
        // with its position.
        let stopping = tokio::spawn({
            let server = server.clone();
            async move { server.stop().await }
        });
        assert_eq!(subscription.next().await, None);
        drop(subscription);
        stopping.await.unwrap();
        let server = Server::start(&database).await;
        let project = project.of(&server.user("ada@example.com"));
        project.update_file("a.py", "2").await;
        let mut subscription = project.listen(2, "revision").await;
        project.update_file("a.py", "3").await;
        for revision in [3, 4] {
            assert_eq!(subscription.event().await["projectEvents"]["revision"], revision);
        }
        drop(subscription);
        server.stop().await;
    }

    async fn a_subscriber_receives_writes_of_another_server(database: Database) {
        let (one, other) = (Server::start(&database).await, Server::start(&database).await);
        let project = Project::create(&one.user("ada@example.com"), "Two servers").await;
        let mut subscription = project.listen(1, "revision").await;
        let elsewhere = project.of(&other.user("ada@example.com"));
        for n in 0..5 {
            elsewhere.create_file(&format!("there/{n}"), "").await;
            project.create_file(&format!("here/{n}"), "").await;
        }
        elsewhere.create_file("last", "").await;
        for revision in 2..=12 {
            assert_eq!(subscription.event().await["projectEvents"]["revision"], revision);
        }
        drop(subscription);
        one.stop().await;
        other.stop().await;
    }

    async fn a_notification_is_enough_and_a_lost_one_is_made_up_for(database: Database) {
        // SQLite has no notifications: only the sweep.
        if database.kind() == Kind::Sqlite {
            return;
        }
        let never = ["--sweep-seconds", "3600"];
        let (one, other) = (Server::start_with(&database, &never).await, Server::start_with(&database, &never).await);
        let project = Project::create(&one.user("ada@example.com"), "Notified").await;
        let elsewhere = project.of(&other.user("ada@example.com"));
        let mut subscription = project.listen(0, "revision").await;
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 1);
        for n in 2..=4 {
            elsewhere.create_file(&format!("{n}"), "").await;
            assert_eq!(subscription.event().await["projectEvents"]["revision"], n);
        }
        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'listen%'";
        assert!(sqlx::raw_sql(cut).execute(&mut admin).await.unwrap().rows_affected() >= 2);
        for n in 5..=7 {
            elsewhere.create_file(&format!("{n}"), "").await;
            assert_eq!(subscription.event().await["projectEvents"]["revision"], n);
        }
        drop(subscription);
        one.stop().await;
        other.stop().await;
    }

    async fn many_subscribers_cost_the_statements_of_one(database: Database) {
        const SELECT: &str = "revision actor { fullName } changes { path diff } message { content }";
        let server = Server::start_with(&database, &["--sweep-seconds", "3600", "--notify", "false"]).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let project = Project::create(&ada, "Shared").await;
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        database.add_collaborator(&project.id, "bob@example.com", "viewer", true).await;
        let mut listeners = Vec::new();
        let mut costs = Vec::new();
        for wanted in [1, 20] {
            while listeners.len() < wanted {
                let project = project.of([&ada, &bob][listeners.len() % 2]);
                let mut subscription = project.listen(project.revision().await - 1, SELECT).await;
                subscription.event().await;
                listeners.push(subscription);
            }
            // A subscriber that has just read the past can still be on its own when the first of these is written.
            let mut fewest = u64::MAX;
            for n in 0..5 {
                let before = server.statements();
                project.create_file(&format!("{wanted}-{n}.py"), "a").await;
                let mut received = Vec::new();
                for listener in &mut listeners {
                    received.push(listener.event().await);
                }
                assert!(received.iter().all(|one| *one == received[0]) && received[0]["projectEvents"]["changes"][0]["path"].is_string());
                fewest = fewest.min(server.statements() - before);
            }
            costs.push(fewest);
        }
        assert_eq!(costs[0], costs[1]);
        drop(listeners);
        server.stop().await;
    }

    async fn private_fields_reach_only_callers_who_can_see_them(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let project = Project::create(&ada, "Own").await;
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&project.id, "bob@example.com", "viewer", true).await;
        let select = "revision actor { email } session { project { viewerRole } }";
        let mut of_ada = project.listen(1, select).await;
        let mut of_bob = project.of(&bob).listen(1, select).await;
        for revision in 2..=4 {
            project.start_session().await;
            let expected = |email: Value, role: &str| json!({ "revision": revision, "actor": { "email": email }, "session": { "project": { "viewerRole": role } } });
            assert_eq!(of_ada.event().await["projectEvents"], expected(json!("ada@example.com"), "OWNER"));
            assert_eq!(of_bob.event().await["projectEvents"], expected(Value::Null, "VIEWER"));
        }
    }

    async fn shared_fields_are_the_same_for_every_member(database: Database) {
        // More fields at once than the default cost limit allows.
        let server = Server::start_with(&database, &["--max-query-complexity=10000000"]).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let project = Project::create(&ada, "Same").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Hello", true).await;
        project.write("syncFiles", json!({ "messageId": message, "files": [{ "path": "a.py", "content": "a" }] }), "revision").await;
        project.write("createSnapshot", json!({}), "revision").await;
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&project.id, "bob@example.com", "viewer", true).await;

        // Every field that can be shared, three levels deep.
        let query = "{ __schema { types { name fields { name args { type { kind } } type { name ofType { name ofType { name ofType { name } } } } } } } }";
        let schema = ada.gql(query, json!({})).await.ok();
        let types: HashMap<&str, &Value> =
            schema["__schema"]["types"].as_array().unwrap().iter().map(|one| (one["name"].as_str().unwrap(), &one["fields"])).collect();
        let select = selection(&types, "ProjectEvent", 3);
        assert!(select.contains("manifestSha256") && select.contains("fullName"), "{select}");
        let read = async |client: &Client| project.of(client).ask(&format!("events(first: 500) {{ {select} }}")).await;
        let (owner, viewer) = (read(&ada).await, read(&bob).await);
        assert_eq!(owner["events"].as_array().unwrap().len(), 5);
        assert_eq!(owner, viewer);
        server.stop().await;
    }
}

/// Every field of a type that subscribers share, to this depth.
fn selection(types: &HashMap<&str, &Value>, name: &str, levels: usize) -> String {
    let mut selected = Vec::new();
    for field in types[name].as_array().unwrap() {
        let name = field["name"].as_str().unwrap();
        let needs_arguments =
            field["args"].as_array().unwrap().iter().any(|argument| argument["type"]["kind"] == "NON_NULL");
        if needs_arguments || !SAME_FOR_ALL.contains(&name) {
            continue;
        }
        let mut kind = &field["type"];
        while kind["name"].is_null() {
            kind = &kind["ofType"];
        }
        let kind = kind["name"].as_str().unwrap();
        if types[kind].is_null() {
            selected.push(name.to_owned());
        } else if levels > 1 {
            let below = selection(types, kind, levels - 1);
            if !below.is_empty() {
                selected.push(format!("{name} {{ {below} }}"));
            }
        }
    }
    selected.join(" ")
}
