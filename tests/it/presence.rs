//! Given people who listen to a project in windows of their own, when they come and go, by the door or without a word, then
//! the others see who is here, each once; and nothing of it is in the history.

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

/// A project of Ada's with Bob in it, who reads.
async fn shared(server: &Server) -> (Project, Client) {
    let (ada, bob) = (server.user(ADA), server.user(BOB));
    bob.gql("{ viewer { id } }", json!({})).await.ok();
    let project = Project::create(&ada, "Here").await;
    server.database().add_collaborator(&project.id, BOB, "viewer", true).await;
    (project, bob)
}

/// The names of those who are here.
async fn here(project: &Project) -> Vec<Value> {
    let people = project.ask("presence { user { fullName } }").await;
    each(&Value::Array(each(&people["presence"], "user")), "fullName")
}

/// Waits until these are here.
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

/// Hears until these are here, by name.
async fn hear(heard: &mut Subscription, expected: &[&str]) {
    loop {
        let event = heard.event().await;
        let people = Value::Array(each(&event["presence"], "user"));
        if each(&people, "fullName") == expected {
            return;
        }
    }
}

tests::on_both! {
    async fn whoever_listens_is_here_once_and_as_long_as_they_do(server: Server) {
        let (project, bob) = shared(&server).await;
        let of_bob = project.of(&bob);
        let session = project.start_session().await;
        let before = project.state().await;
        assert_eq!(here(&project).await, Vec::<Value>::new());
        let one = project.listen(0, "revision").await;
        let mut other = project.client.subscribe("subscription($id: ID!) { messageAdded(sessionId: $id, afterRevision: 0) { id } }", json!({ "id": session })).await;
        until(&of_bob, &["ada"]).await;
        let mut heard = of_bob.listen(0, "revision").await;
        assert_eq!(heard.event().await["projectEvents"]["revision"], 1);
        until(&project, &["ada", "bob"]).await;
        let seen = of_bob.ask("presence { user { id email } }").await;
        assert_eq!(seen["presence"][0]["user"], json!({ "id": user_id(ADA), "email": null }));
        let then = project.ask("then: id").await;
        assert!(then["then"].is_string());
        let past = project.client.gql("query($id: ID!) { project(id: $id, at: { revision: 1 }) { presence { joinedAt } } }", json!({ "id": project.id })).await;
        assert_eq!(past.ok()["project"]["presence"], json!([]));

        // One window goes, and another is still there.
        drop(one);
        project.add_message(&session, "Still", false).await;
        assert!(other.event().await["messageAdded"]["id"].is_string());
        assert_eq!(here(&project).await, [json!("ada"), json!("bob")]);
        drop(other);
        until(&project, &["bob"]).await;
        drop(heard);
        until(&project, &[]).await;
        let mut after = project.state().await;
        for field in ["revision", "stats", "events", "sessions"] {
            after[field] = before[field].clone();
        }
        assert_eq!(after, before);
        assert_eq!(project.revision().await, 3);
    }

    async fn whoever_watches_hears_who_comes_and_goes(server: Server) {
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
        hear(&mut seen, &["ada", "bob"]).await;
        // Writes are none of their business.
        project.create_file("a.py", "").await;
        drop(of_bob);
        hear(&mut seen, &["ada"]).await;

        // Who is removed is here no more, and hears it.
        let mut of_bob = watch(&project.of(&bob)).await;
        of_bob.event().await;
        hear(&mut seen, &["ada", "bob"]).await;
        let whom = json!({ "projectId": project.id, "userId": user_id(BOB) });
        project.client.mutate_with("removeCollaborator", whom, "revision").await.ok();
        let errors = of_bob.next().await.expect("an answer").expect_err("an end");
        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
        hear(&mut seen, &["ada"]).await;
        assert_eq!(project.of(&bob).ask("presence { joinedAt }").await, Value::Null);
    }

    async fn the_people_at_one_server_are_seen_at_the_other(database: Database) {
        // On SQLite each process knows its own alone.
        if database.kind() == Kind::Sqlite {
            return;
        }
        let quick = ["--sweep-seconds=1", "--presence-seconds=3"];
        let (one, other) = (Server::start_with(&database, &quick).await, Server::start_with(&database, &quick).await);
        let (project, _) = shared(&one).await;
        let there = project.of(&other.user(BOB));
        let mut seen = watch(&project).await;
        hear(&mut seen, &["ada"]).await;
        let of_bob = there.listen(0, "revision").await;
        hear(&mut seen, &["ada", "bob"]).await;
        until(&there, &["ada", "bob"]).await;
        // Here and there, they are one.
        let also = project.of(&one.user(BOB)).listen(0, "revision").await;
        drop(of_bob);
        sleep(Duration::from_millis(500)).await;
        assert_eq!(here(&there).await, [json!("ada"), json!("bob")]);
        drop(also);
        hear(&mut seen, &["ada"]).await;

        // A server that is killed says nothing any more.
        let mut child = ChildServer::start_with_flags(&database, &quick);
        let of_bob = project.of(&child.user(BOB)).listen(0, "revision").await;
        hear(&mut seen, &["ada", "bob"]).await;
        child.kill();
        hear(&mut seen, &["ada"]).await;
        until(&there, &["ada"]).await;
        drop(of_bob);

        // One that is stopped says so.
        drop(seen);
        let of_bob = there.listen(0, "revision").await;
        until(&project, &["bob"]).await;
        other.stop().await;
        assert_eq!(here(&project).await, Vec::<Value>::new());
        drop(of_bob);
        one.stop().await;
    }

    async fn who_was_at_a_server_that_is_gone_is_not_here_though_nobody_has_swept(database: Database) {
        // On SQLite no server says who listens there.
        if database.kind() == Kind::Sqlite {
            return;
        }
        let server = Server::start(&database).await;
        let (project, _) = shared(&server).await;
        // Given somebody at another server; nobody listens at this one, so that it says nothing and sweeps nothing either.
        let (of, bob) = (database.uuid(&project.id), database.uuid(&user_id(BOB)));
        let row = format!("{of}, {bob}, gen_random_uuid(), now(), now()");
        let insert = "INSERT INTO presences (project_id, user_id, server_id, since, seen_at) VALUES";
        assert_eq!(database.execute(&format!("{insert} ({row})")).await, 1);
        assert_eq!(here(&project).await, [json!("bob")]);

        // When that one has not seen them for longer than it waits, then they are not here; and they are as soon as it has.
        let seen = async |when: &str| database.execute(&format!("UPDATE presences SET seen_at = {when}")).await;
        assert_eq!(seen("now() - interval '11 seconds'").await, 1);
        assert_eq!(here(&project).await, Vec::<Value>::new());
        assert_eq!(seen("now()").await, 1);
        assert_eq!(here(&project).await, [json!("bob")]);
        server.stop().await;
    }
}
