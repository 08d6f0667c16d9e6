//! Given users who subscribe to a project in several windows, when they come and go, with or without a proper close,
//! then the others see who is present, each user once; and the history is not affected.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::{Project, each},
    server::{ChildServer, Server, user_id},
    socket::Subscription,
};
use tokio::time::sleep;

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// A project of Ada's with Bob as a viewer.
async fn shared(server: &Server) -> (Project, Client) {
    let (ada, bob) = (server.user(ADA), server.user(BOB));
    bob.gql("{ viewer { id } }", json!({})).await.ok();
    let project = Project::create(&ada, "Here").await;
    server.database().add_collaborator(&project.id, BOB, "viewer", true).await;
    (project, bob)
}

/// The names of the users who are present.
async fn here(project: &Project) -> Vec<Value> {
    let people = project.ask("presence { user { fullName } }").await;
    each(&Value::Array(each(&people["presence"], "user")), "fullName")
}

/// Waits until these users are present.
#[track_caller]
fn until(project: &Project, expected: &[&str]) -> impl Future<Output = ()> + Send {
    let (project, expected) = (project.clone(), expected.iter().map(|name| json!(name)).collect::<Vec<_>>());
    let caller = std::panic::Location::caller();
    async move {
        let mut found = Vec::new();
        for _ in 0..1_000 {
            found = here(&project).await;
            if found == expected {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("{caller}: {found:?} are here, and not {expected:?}");
    }
}

async fn watch(project: &Project) -> Subscription {
    let query = "subscription($id: ID!) { presence(projectId: $id) { user { id fullName email } joinedAt } }";
    project.client.subscribe(query, json!({ "id": project.id })).await
}

/// Receives presence until these users are present.
async fn receive_until(subscription: &mut Subscription, expected: &[&str]) {
    loop {
        let event = subscription.event().await;
        let people = Value::Array(each(&event["presence"], "user"));
        if each(&people, "fullName") == expected {
            return;
        }
    }
}

tests::on_both! {
    async fn a_subscriber_is_present_once_and_as_long_as_they_subscribe(server: Server) {
        let (project, bob) = shared(&server).await;
        let of_bob = project.of(&bob);
        let session = project.start_session().await;
        let before = project.state().await;
        assert_eq!(here(&project).await, Vec::<Value>::new());
        let one = project.listen(0, "revision").await;
        let mut other = project.client.subscribe("subscription($id: ID!) { messageAdded(sessionId: $id, afterRevision: 0) { id } }", json!({ "id": session })).await;
        until(&of_bob, &["ada"]).await;
        let mut subscription = of_bob.listen(0, "revision").await;
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 1);
        until(&project, &["ada", "bob"]).await;
        let seen = of_bob.ask("presence { user { id email } }").await;
        assert_eq!(seen["presence"][0]["user"], json!({ "id": user_id(ADA), "email": null }));
        let then = project.ask("then: id").await;
        assert!(then["then"].is_string());
        let past = project.client.gql("query($id: ID!) { project(id: $id, at: { revision: 1 }) { presence { joinedAt } } }", json!({ "id": project.id })).await;
        assert_eq!(past.ok()["project"]["presence"], json!([]));

        // One window closes, and another is still open.
        drop(one);
        project.add_message(&session, "Still", false).await;
        assert!(other.event().await["messageAdded"]["id"].is_string());
        assert_eq!(here(&project).await, [json!("ada"), json!("bob")]);
        drop(other);
        until(&project, &["bob"]).await;
        drop(subscription);
        until(&project, &[]).await;
        let mut after = project.state().await;
        for field in ["revision", "stats", "events", "sessions"] {
            after[field] = before[field].clone();
        }
        assert_eq!(after, before);
        assert_eq!(project.revision().await, 3);
    }

    async fn presence_subscribers_receive_arrivals_and_departures(server: Server) {
        let (project, bob) = shared(&server).await;
        let mut seen = watch(&project).await;
        let first = seen.event().await["presence"].take();
        assert_eq!(each(&first, "user"), [json!({ "id": user_id(ADA), "fullName": "ada", "email": ADA })]);
        let mut of_bob = watch(&project.of(&bob)).await;
        let first = of_bob.event().await["presence"].take();
        assert_eq!(each(&first, "user"), [
            json!({ "id": user_id(ADA), "fullName": "ada", "email": null }),
            json!({ "id": user_id(BOB), "fullName": "bob", "email": BOB }),
        ]);
        receive_until(&mut seen, &["ada", "bob"]).await;
        // Writes are not published to them.
        project.create_file("a.py", "").await;
        drop(of_bob);
        receive_until(&mut seen, &["ada"]).await;

        // A removed member is no longer present, and their subscription ends.
        let mut of_bob = watch(&project.of(&bob)).await;
        of_bob.event().await;
        receive_until(&mut seen, &["ada", "bob"]).await;
        let whom = json!({ "projectId": project.id, "userId": user_id(BOB) });
        project.client.mutate_with("removeCollaborator", whom, "revision").await.ok();
        let errors = of_bob.next().await.expect("an answer").expect_err("an end");
        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
        receive_until(&mut seen, &["ada"]).await;
        assert_eq!(project.of(&bob).ask("presence { joinedAt }").await, Value::Null);
    }

    async fn users_at_one_server_are_present_at_the_other(database: Database) {
        // On SQLite each process knows only its own subscribers.
        if database.kind() == Kind::Sqlite {
            return;
        }
        let quick = ["--sweep-seconds=1", "--presence-seconds=3"];
        let (one, other) = (Server::start_with(&database, &quick).await, Server::start_with(&database, &quick).await);
        let (project, _) = shared(&one).await;
        let there = project.of(&other.user(BOB));
        let mut seen = watch(&project).await;
        receive_until(&mut seen, &["ada"]).await;
        let of_bob = there.listen(0, "revision").await;
        receive_until(&mut seen, &["ada", "bob"]).await;
        until(&there, &["ada", "bob"]).await;
        // A user at both servers counts once.
        let also = project.of(&one.user(BOB)).listen(0, "revision").await;
        drop(of_bob);
        sleep(Duration::from_millis(500)).await;
        assert_eq!(here(&there).await, [json!("ada"), json!("bob")]);
        drop(also);
        receive_until(&mut seen, &["ada"]).await;

        // A killed server sends no more heartbeats.
        let mut child = ChildServer::start_with_flags(&database, &quick);
        let of_bob = project.of(&child.user(BOB)).listen(0, "revision").await;
        receive_until(&mut seen, &["ada", "bob"]).await;
        child.kill();
        receive_until(&mut seen, &["ada"]).await;
        until(&there, &["ada"]).await;
        drop(of_bob);

        // A stopped server removes its users.
        drop(seen);
        let of_bob = there.listen(0, "revision").await;
        until(&project, &["bob"]).await;
        other.stop().await;
        assert_eq!(here(&project).await, Vec::<Value>::new());
        drop(of_bob);
        one.stop().await;
    }

    async fn users_of_a_dead_server_are_not_present_even_before_a_sweep(database: Database) {
        // On SQLite, servers do not store who subscribes.
        if database.kind() == Kind::Sqlite {
            return;
        }
        let server = Server::start(&database).await;
        let (project, _) = shared(&server).await;
        // Given a user at another server; this server has no subscribers, so it sends no heartbeats and does not sweep.
        let (of, bob) = (database.uuid(&project.id), database.uuid(&user_id(BOB)));
        let row = format!("{of}, {bob}, gen_random_uuid(), now(), now()");
        let insert = "INSERT INTO presences (project_id, user_id, server_id, since, seen_at) VALUES";
        assert_eq!(database.execute(&format!("{insert} ({row})")).await, 1);
        assert_eq!(here(&project).await, [json!("bob")]);

        // If the other server has not sent heartbeats within its timeout, the user is not present; with a new heartbeat
        // they are.
        let seen = async |when: &str| database.execute(&format!("UPDATE presences SET seen_at = {when}")).await;
        assert_eq!(seen("now() - interval '11 seconds'").await, 1);
        assert_eq!(here(&project).await, Vec::<Value>::new());
        assert_eq!(seen("now()").await, 1);
        assert_eq!(here(&project).await, [json!("bob")]);
        server.stop().await;
    }
}
