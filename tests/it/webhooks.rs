//! Given a webhook of a project, when the project is written, then the receiver gets every wanted event in order, signed by
//! Standard Webhooks, whatever the receiver does in between. Only the owner of the project sees the webhook.

use std::time::{Duration, Instant};

use antiphon::model::{ids::WebhookId, webhook_secret::WebhookKey};
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::Database,
    project::{Project, each, number, text},
    receiver::{Received, Receiver, Reply},
    server::{Server, WEBHOOK_SECRET, user_id},
};
use tokio::time::sleep;

/// Flags of servers whose webhooks lead to receivers of the tests.
pub(crate) const LOCAL: [&str; 2] = ["--webhook-allow-networks", "127.0.0.1"];

/// A state that takes longer than this fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Creates a webhook for all events, and returns its id.
pub(crate) async fn hook(project: &Project, url: &str) -> String {
    text(&project.write("createWebhook", json!({ "url": url }), "webhook { id }").await["webhook"]["id"])
}

/// Fields of a webhook.
pub(crate) async fn state(client: &Client, id: &str, select: &str) -> Value {
    let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on Webhook {{ {select} }} }} }}");
    client.gql(&query, json!({ "id": id })).await.ok()["node"].take()
}

/// The deliveries of a webhook, newest first.
async fn log(client: &Client, id: &str) -> Vec<Value> {
    let select = "deliveries(first: 100) { nodes { __typename id revision kind status attempts responseStatus error nextAttemptAt deliveredAt } }";
    let log = state(client, id, select).await["deliveries"]["nodes"].as_array().unwrap().clone();
    assert!(log.iter().all(|delivery| delivery["__typename"] == "WebhookDelivery"), "{log:?}");
    log
}

/// The id of the first delivery of a webhook, after its first attempt.
pub(crate) async fn first_delivery(client: &Client, id: &str) -> String {
    text(&until_delivery(client, id, |_| true).await["id"])
}

/// Waits until a field of a webhook has a value.
pub(crate) async fn until(client: &Client, id: &str, field: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let value = state(client, id, field).await[field].take();
        if is_right(&value) {
            return value;
        }
        assert!(begun.elapsed() < PATIENCE, "{field} is {value}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the newest delivery of a webhook is as expected, and returns it.
async fn until_delivery(client: &Client, id: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let log = log(client, id).await;
        if let Some(newest) = log.first().filter(|newest| is_right(newest)) {
            return newest.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{log:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn revisions(received: &[Received]) -> Vec<i64> {
    received.iter().map(Received::revision).collect()
}

/// The signature of a message by the secret with a number.
fn signature(webhook: &str, number: i32, message: &Received) -> String {
    let id = WebhookId::parse(webhook, "id").unwrap();
    let secret = WebhookKey::new(WEBHOOK_SECRET.as_bytes()).secret(id, number).unwrap();
    let timestamp = message.header("webhook-timestamp").parse().unwrap();
    secret.sign(message.header("webhook-id"), timestamp, &message.text).unwrap()
}

/// Makes a revision.
async fn touch(project: &Project, name: &str) -> i64 {
    let named = json!({ "id": project.id, "name": name });
    number(&project.client.mutate("updateProject", named, "revision").await.ok()["updateProject"]["revision"])
}

tests::on_both! {
    async fn events_are_sent_as_standard_webhooks_with_the_names_of_the_api(database: Database) {
        let flags = [LOCAL[0], LOCAL[1], "--metrics-listen", "127.0.0.1:0"];
        let server = Server::start_with(&database, &flags).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Observed").await;
        let session = project.start_session().await;
        let created = project.write("createWebhook", json!({ "url": receiver.url() }),
            "secret webhook { id url kinds isEnabled revision failingSince nextAttemptAt disabledAt disabledReason
             previousSecretExpiresAt project { id } deliveries { totalCount } }").await;
        let (id, secret) = (text(&created["webhook"]["id"]), text(&created["secret"]));
        assert!(secret.starts_with("whsec_"), "{secret}");
        let expected = json!({ "id": id, "url": receiver.url(), "kinds": [], "isEnabled": true, "revision": 2, "failingSince": null,
            "nextAttemptAt": null, "disabledAt": null, "disabledReason": null, "previousSecretExpiresAt": null,
            "project": { "id": project.id }, "deliveries": { "totalCount": 0 } });
        assert_eq!(created["webhook"], expected);

        // Every write after the creation is sent, with what it changed.
        let message = project.add_message(&session, "Hello", false).await;
        let files = json!({ "mode": "MERGE", "sessionId": session, "messageId": message,
            "files": [{ "path": "a.py", "content": "1\n2\n" }, { "path": "b.py", "content": "3\n" }] });
        project.write("syncFiles", files, "revision").await;
        touch(&project, "Renamed").await;
        let received = receiver.wait_for(3).await;
        assert_eq!(revisions(&received), [3, 4, 5]);
        let events = project.ask("events(afterRevision: 2) { id revision kind createdAt actor { id fullName } session { id }
            message { id } project { id } changes { id type path additions deletions } }").await["events"].take();
        for (message, mut event) in received.iter().zip(events.as_array().unwrap().clone()) {
            assert_eq!(message.header("content-type"), "application/json");
            assert_eq!(message.header("webhook-id"), event["id"]);
            assert_eq!(message.header("webhook-signature"), signature(&id, 1, message));
            assert_eq!((&message.body["type"], &message.body["timestamp"]), (&event["kind"], &event["createdAt"]));
            let nodes = event["changes"].take();
            let sum = |key: &str| each(&nodes, key).iter().map(number).sum::<i64>();
            event["changes"] = json!({ "totalCount": nodes.as_array().unwrap().len(), "additions": sum("additions"),
                "deletions": sum("deletions"), "nodes": nodes });
            assert_eq!(message.body["data"], event);
        }
        assert_eq!(received[1].body["data"]["changes"]["additions"], 3);

        // The log of deliveries has one row for each.
        until(&ada, &id, "revision", |revision| revision == 5).await;
        let log = log(&ada, &id).await;
        assert_eq!(each(&json!(log), "revision"), [5, 4, 3]);
        for delivery in &log {
            let seen = json!([delivery["status"], delivery["attempts"], delivery["responseStatus"], delivery["error"], delivery["nextAttemptAt"]]);
            assert_eq!(seen, json!(["SUCCEEDED", 1, 204, null, null]));
            assert!(delivery["deliveredAt"].is_string());
        }
        let query = "query($id: ID!) { node(id: $id) { ... on WebhookDelivery { id kind webhook { id } event { id revision } } } }";
        let read = ada.gql(query, json!({ "id": log[0]["id"] })).await.ok();
        assert_eq!(read["node"], json!({ "id": log[0]["id"], "kind": "PROJECT_UPDATED", "webhook": { "id": id },
            "event": { "id": received[2].header("webhook-id"), "revision": 5 } }));

        // The operator sees the attempts.
        let metrics = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
        let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
        assert!(metrics.contains("antiphon_webhook_attempt_seconds_count{outcome=\"accepted\"} 3"), "{metrics}");
        server.stop().await;
    }

    async fn a_webhook_receives_only_the_kinds_that_it_wants(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Filtered").await;
        let input = json!({ "url": receiver.url(), "kinds": ["SNAPSHOT_CREATED", "PROJECT_UPDATED", "SNAPSHOT_CREATED"] });
        let id = text(&project.write("createWebhook", input, "webhook { id }").await["webhook"]["id"]);
        assert_eq!(state(&ada, &id, "kinds").await["kinds"], json!(["SNAPSHOT_CREATED", "PROJECT_UPDATED"]));
        for path in ["a.py", "b.py", "c.py"] {
            project.create_file(path, "").await;
        }
        project.write("createSnapshot", json!({ "name": "Wanted" }), "revision").await;
        project.create_file("d.py", "").await;
        assert_eq!(revisions(&receiver.wait_for(1).await), [5]);
        // It moves on over events that it does not want, and sends those that it wants from now on.
        until(&ada, &id, "revision", |revision| revision == 6).await;
        ada.mutate("updateWebhook", json!({ "webhookId": id, "kinds": [] }), "webhook { kinds }").await.ok();
        project.create_file("e.py", "").await;
        assert_eq!(revisions(&receiver.wait_for(2).await), [5, 7]);
        server.stop().await;
    }

    async fn an_event_of_a_kind_that_is_no_longer_wanted_is_given_up(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Changed").await;
        let id = hook(&project, &receiver.url()).await;
        let address = receiver.stop().await;
        project.create_file("a.py", "").await;
        until_delivery(&ada, &id, |delivery| delivery["status"] == "PENDING").await;
        let input = json!({ "webhookId": id, "kinds": ["PROJECT_UPDATED"] });
        let changed = ada.mutate("updateWebhook", input, "webhook { failingSince nextAttemptAt }").await.ok();
        assert_eq!(changed["updateWebhook"]["webhook"], json!({ "failingSince": null, "nextAttemptAt": null }));
        let given_up = until_delivery(&ada, &id, |delivery| delivery["status"] == "FAILED").await;
        assert_eq!((&given_up["revision"], &given_up["nextAttemptAt"]), (&json!(2), &Value::Null));
        let receiver = Receiver::start_at(address).await;
        touch(&project, "Wanted").await;
        touch(&project, "Wanted too").await;
        assert_eq!(revisions(&receiver.wait_for(2).await), [3, 4]);
        until(&ada, &id, "revision", |revision| revision == 4).await;
        server.stop().await;
    }

    async fn a_thousand_events_arrive_in_order_and_once(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Busy").await;
        let id = hook(&project, &receiver.url()).await;
        let names: Vec<Value> = (0..1_000).map(|n| json!({ "id": project.id, "name": format!("Busy {n}") })).collect();
        ada.mutate_all("updateProject", &names, "revision").await;
        let received = receiver.wait_for(1_000).await;
        assert_eq!(revisions(&received), (2..=1_001).collect::<Vec<_>>());
        until(&ada, &id, "revision", |revision| revision == 1_001).await;
        touch(&project, "Busy still").await;
        receiver.wait_for(1_001).await;
        until(&ada, &id, "revision", |revision| revision == 1_002).await;
        // The newest thousand deliveries are kept.
        let begun = Instant::now();
        while state(&ada, &id, "deliveries { totalCount }").await["deliveries"]["totalCount"] != 1_000 {
            assert!(begun.elapsed() < PATIENCE);
            sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(receiver.received().len(), 1_001);
        server.stop().await;
    }

    async fn a_receiver_that_was_down_gets_everything_in_order(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Unreachable").await;
        let id = hook(&project, &receiver.url()).await;
        let address = receiver.stop().await;
        for n in 0..5 {
            touch(&project, &format!("Unreachable {n}")).await;
        }
        let failed = until_delivery(&ada, &id, |delivery| delivery["status"] == "PENDING").await;
        assert_eq!((&failed["revision"], &failed["attempts"], &failed["responseStatus"]), (&json!(2), &json!(1), &Value::Null));
        assert!(text(&failed["error"]).contains("cannot be reached") && failed["nextAttemptAt"].is_string(), "{failed}");
        let waiting = state(&ada, &id, "revision failingSince nextAttemptAt isEnabled").await;
        assert!(waiting["failingSince"].is_string() && waiting["nextAttemptAt"].is_string() && waiting["revision"] == 1, "{waiting}");

        // Times have at most microseconds.
        for time in [&waiting["nextAttemptAt"], &waiting["failingSince"], &failed["nextAttemptAt"]] {
            assert!(text(time).len() <= "2026-11-30T12:56:36.753022Z".len(), "{time}");
        }

        // It is tried again by itself, after about five seconds.
        let receiver = Receiver::start_at(address).await;
        assert_eq!(revisions(&receiver.wait_for(5).await), [2, 3, 4, 5, 6]);
        until(&ada, &id, "revision", |revision| revision == 6).await;
        let seen = state(&ada, &id, "failingSince nextAttemptAt isEnabled").await;
        assert_eq!(seen, json!({ "failingSince": null, "nextAttemptAt": null, "isEnabled": true }));
        let log = log(&ada, &id).await;
        assert_eq!((&log[4]["status"], &log[4]["attempts"]), (&json!("SUCCEEDED"), &json!(2)));
        server.stop().await;
    }

    async fn a_slow_receiver_fails_and_does_not_delay_others(database: Database) {
        let flags = [&LOCAL[..], &["--webhook-timeout-seconds", "1", "--webhook-concurrency", "4"]].concat();
        let server = Server::start_with(&database, &flags).await;
        let ada = server.user("ada@example.com");
        let (slow, quick) = (Receiver::start().await, Receiver::start().await);
        slow.replies(Reply::Nothing);
        let project = Project::create(&ada, "Slow").await;
        let id = hook(&project, &slow.url()).await;
        for _ in 0..6 {
            hook(&project, &slow.url()).await;
        }
        let other = Project::create(&server.user("bob@example.com"), "Quick").await;
        hook(&other, &quick.url()).await;
        touch(&project, "Slower").await;
        slow.wait_for(1).await;
        touch(&other, "Quicker").await;
        let begun = Instant::now();
        quick.wait_for(1).await;
        assert!(begun.elapsed() < Duration::from_secs(4), "an owner has a share of their own");
        let failed = until_delivery(&ada, &id, |delivery| delivery["attempts"] == 1).await;
        assert!(text(&failed["error"]).contains("in time"), "{failed}");

        // `redeliver` does not wait for the next attempt.
        slow.wait_for(7).await;
        slow.replies(Reply::Status(200, "ok".to_owned()));
        ada.mutate("redeliver", json!({ "deliveryId": failed["id"] }), "delivery { status }").await.ok();
        let seen = until_delivery(&ada, &id, |delivery| delivery["status"] == "SUCCEEDED").await;
        assert_eq!((&seen["attempts"], &seen["error"]), (&json!(2), &Value::Null));
        server.stop().await;
    }

    async fn the_projects_of_an_owner_share_a_quarter_of_the_attempts(database: Database) {
        let flags = [&LOCAL[..], &["--webhook-timeout-seconds", "10", "--webhook-concurrency", "4"]].concat();
        let server = Server::start_with(&database, &flags).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let (slow, quick) = (Receiver::start().await, Receiver::start().await);
        slow.replies(Reply::Nothing);
        let other = Project::create(&bob, "Quick").await;
        hook(&other, &quick.url()).await;
        // Given an owner with more slow projects than the server makes attempts at once …
        for n in 0..5 {
            let project = Project::create(&ada, &format!("Slow {n}")).await;
            hook(&project, &slow.url()).await;
            hook(&project, &slow.url()).await;
            touch(&project, &format!("Slower {n}")).await;
        }
        slow.wait_for(1).await;
        // … then the event of another user arrives during the first of their attempts.
        touch(&other, "Quicker").await;
        quick.wait_for(1).await;
        assert_eq!(slow.received().len(), 1, "an owner has a share of their own");
        server.stop().await;
    }

    async fn a_receiver_can_answer_anything(database: Database) {
        let flags = [&LOCAL[..], &["--webhook-response-bytes", "20"]].concat();
        let server = Server::start_with(&database, &flags).await;
        let ada = server.user("ada@example.com");
        let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
        let project = Project::create(&ada, "Lied to").await;
        let id = hook(&project, &receiver.url()).await;

        // A success is a success, whatever the body is.
        receiver.replies_next([Reply::Status(200, "<html>garbage".to_owned()), Reply::Endless(202), Reply::Status(299, String::new())]);
        for n in 0..3 {
            touch(&project, &format!("Lied to {n}")).await;
        }
        until(&ada, &id, "revision", |revision| revision == 4).await;

        // A redirect is not followed, wherever it leads, and a body is read in part.
        let lies = [
            (Reply::Elsewhere(elsewhere.url()), 302, "redirects are not followed"),
            (Reply::Elsewhere("http://127.0.0.1:1/".to_owned()), 302, "redirects are not followed"),
            (Reply::Elsewhere("http://169.254.169.254/latest".to_owned()), 302, "redirects are not followed"),
            (Reply::Endless(500), 500, "garbage  garbage  ga"),
            (Reply::Status(503, "Please wait\r\n".to_owned()), 503, "Please wait"),
            (Reply::Status(404, String::new()), 404, "404 Not Found."),
        ];
        receiver.replies(Reply::Status(500, String::new()));
        for (attempt, (reply, status, words)) in (1..).zip(lies) {
            receiver.replies_next([reply]);
            if attempt == 1 {
                touch(&project, "Lied to again").await;
            } else {
                let delivery = log(&ada, &id).await[0]["id"].take();
                ada.mutate("redeliver", json!({ "deliveryId": delivery }), "delivery { id }").await.ok();
            }
            let failed = until_delivery(&ada, &id, |delivery| delivery["revision"] == 5 && delivery["attempts"] == attempt).await;
            assert_eq!((&failed["responseStatus"], &failed["status"]), (&json!(status), &json!("PENDING")), "{failed}");
            let error = text(&failed["error"]);
            assert!(error.contains(words) && error.len() < 120, "{error}");
        }
        assert!(elsewhere.received().is_empty());

        // 410 Gone disables it at once, and enabling goes on where it stopped.
        receiver.replies(Reply::Status(410, String::new()));
        let delivery = log(&ada, &id).await[0]["id"].take();
        ada.mutate("redeliver", json!({ "deliveryId": delivery }), "delivery { id }").await.ok();
        until(&ada, &id, "isEnabled", |is_enabled| is_enabled == false).await;
        let seen = state(&ada, &id, "disabledAt disabledReason nextAttemptAt revision").await;
        assert!(seen["disabledAt"].is_string() && text(&seen["disabledReason"]).contains("410"), "{seen}");
        assert_eq!((&seen["nextAttemptAt"], &seen["revision"]), (&Value::Null, &json!(4)));
        assert_eq!(log(&ada, &id).await[0]["status"], "FAILED");
        let again = ada.mutate("redeliver", json!({ "deliveryId": delivery }), "delivery { id }").await;
        assert_eq!((again.error_code(), again.field()), ("CONFLICT", "deliveryId"));
        touch(&project, "Gone").await;
        receiver.replies(Reply::Status(200, String::new()));
        let before = receiver.received().len();
        let enabled = ada.mutate("updateWebhook", json!({ "webhookId": id, "isEnabled": true }), "webhook { isEnabled disabledAt disabledReason }").await.ok();
        assert_eq!(enabled["updateWebhook"]["webhook"], json!({ "isEnabled": true, "disabledAt": null, "disabledReason": null }));
        let received = receiver.wait_for(before + 2).await;
        assert_eq!(revisions(&received[before..]), [5, 6]);
        server.stop().await;
    }

    async fn a_webhook_that_fails_for_the_whole_time_is_disabled_with_the_reason(database: Database) {
        let flags = [&LOCAL[..], &["--webhook-retry-seconds", "1"]].concat();
        let server = Server::start_with(&database, &flags).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        receiver.replies(Reply::Status(500, "broken".to_owned()));
        let project = Project::create(&ada, "Broken").await;
        let id = hook(&project, &receiver.url()).await;
        touch(&project, "Broken 1").await;
        touch(&project, "Broken 2").await;
        until(&ada, &id, "disabledAt", Value::is_string).await;
        let seen = state(&ada, &id, "isEnabled disabledReason revision").await;
        assert_eq!((&seen["isEnabled"], &seen["revision"]), (&json!(false), &json!(1)));
        let reason = text(&seen["disabledReason"]);
        assert!(reason.contains("Every attempt since") && reason.contains("broken"), "{reason}");
        // The later event waited for the first, which was tried at the start and at the end of the time.
        assert_eq!(revisions(&receiver.received()), [2, 2]);
        let newest = log(&ada, &id).await;
        assert_eq!((newest.len(), &newest[0]["status"], &newest[0]["attempts"]), (1, &json!("FAILED"), &json!(2)));
        receiver.replies(Reply::Status(204, String::new()));
        ada.mutate("updateWebhook", json!({ "webhookId": id, "isEnabled": true }), "webhook { id }").await.ok();
        assert_eq!(revisions(&receiver.wait_for(4).await), [2, 2, 2, 3]);
        server.stop().await;
    }

    async fn deliveries_go_on_after_a_restart_and_after_a_transfer(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let bob = server.user("bob@example.com");
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let project = Project::create(&ada, "Restarted").await;
        database.add_collaborator(&project.id, "bob@example.com", "editor", true).await;
        let id = hook(&project, &receiver.url()).await;
        touch(&project, "Restarted 1").await;
        receiver.wait_for(1).await;
        until(&ada, &id, "revision", |revision| revision == 2).await;
        // The server stops while nothing can be delivered …
        receiver.replies(Reply::Status(500, String::new()));
        touch(&project, "Restarted 2").await;
        touch(&project, "Restarted 3").await;
        until(&ada, &id, "failingSince", Value::is_string).await;
        receiver.replies(Reply::Status(204, String::new()));
        let failed = receiver.received().len();
        server.stop().await;
        // … and another one goes on where it stopped, on behalf of the new owner.
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let input = json!({ "projectId": project.id, "userId": user_id("bob@example.com") });
        ada.mutate_with("transferOwnership", input, "revision").await.ok();
        assert_eq!(state(&ada, &id, "id").await, Value::Null);
        ada.mutate("updateWebhook", json!({ "webhookId": id, "url": receiver.url() }), "webhook { id }").await.error_code();
        bob.mutate("updateWebhook", json!({ "webhookId": id, "url": receiver.url() }), "webhook { id }").await.ok();
        let received = receiver.wait_for(failed + 3).await;
        assert_eq!(revisions(&received[failed..]), [3, 4, 5]);
        assert_eq!(received[failed + 2].body["type"], "COLLABORATORS_CHANGED");
        server.stop().await;
    }

    async fn a_rotated_secret_signs_together_with_the_previous_one(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Rotated").await;
        let created = project.write("createWebhook", json!({ "url": receiver.url() }), "secret webhook { id }").await;
        let id = text(&created["webhook"]["id"]);
        let rotate = async |overlap: Value| {
            let input = json!({ "webhookId": id, "overlapSeconds": overlap });
            ada.mutate("rotateWebhookSecret", input, "secret webhook { previousSecretExpiresAt }").await
        };
        let rotated = rotate(json!(3_600)).await.ok()["rotateWebhookSecret"].take();
        assert!(rotated["secret"] != created["secret"] && rotated["webhook"]["previousSecretExpiresAt"].is_string());
        touch(&project, "Rotated 1").await;
        let message = receiver.wait_for(1).await.remove(0);
        let both = format!("{} {}", signature(&id, 2, &message), signature(&id, 1, &message));
        assert_eq!(message.header("webhook-signature"), both);
        // Without an overlap the previous secret ends at once.
        let rotated = rotate(json!(0)).await.ok()["rotateWebhookSecret"].take();
        assert_eq!(rotated["webhook"]["previousSecretExpiresAt"], Value::Null);
        touch(&project, "Rotated 2").await;
        let message = receiver.wait_for(2).await.remove(1);
        assert_eq!(message.header("webhook-signature"), signature(&id, 3, &message));
        for overlap in [-1, 2_592_001] {
            let refused = rotate(json!(overlap)).await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "overlapSeconds"));
        }
        // An expired secret no longer signs.
        rotate(json!(1)).await.ok();
        let begun = Instant::now();
        for n in 3.. {
            touch(&project, &format!("Rotated {n}")).await;
            let message = receiver.wait_for(n).await.remove(n - 1);
            if message.header("webhook-signature") == signature(&id, 4, &message) {
                break;
            }
            assert!(begun.elapsed() < PATIENCE);
            sleep(Duration::from_millis(50)).await;
        }
        // The database has none of the secrets.
        for delivery in log(&ada, &id).await {
            assert!(!delivery.to_string().contains("whsec_"));
        }
        server.stop().await;
    }

    async fn a_delivery_is_repeated_with_the_same_id(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Repeated").await;
        let id = hook(&project, &receiver.url()).await;
        for n in 1..=3 {
            touch(&project, &format!("Repeated {n}")).await;
        }
        receiver.wait_for(3).await;
        until(&ada, &id, "revision", |revision| revision == 4).await;
        let delivery = log(&ada, &id).await[2]["id"].take();
        let again = ada.mutate("redeliver", json!({ "deliveryId": delivery }), "delivery { id revision status }").await.ok();
        assert_eq!(again["redeliver"]["delivery"]["id"], delivery);
        let received = receiver.wait_for(4).await;
        assert_eq!(revisions(&received), [2, 3, 4, 2]);
        assert_eq!(received[0].header("webhook-id"), received[3].header("webhook-id"));
        assert_eq!(received[0].text, received[3].text);
        // It fails once, and is not repeated by itself; later events do not wait for it.
        receiver.replies_next([Reply::Status(500, String::new())]);
        ada.mutate("redeliver", json!({ "deliveryId": delivery }), "delivery { id }").await.ok();
        receiver.wait_for(5).await;
        touch(&project, "Repeated 4").await;
        assert_eq!(revisions(&receiver.wait_for(6).await), [2, 3, 4, 2, 2, 5]);
        until(&ada, &id, "revision", |revision| revision == 5).await;
        let log = log(&ada, &id).await;
        assert_eq!(json!([log[3]["status"], log[3]["attempts"], log[3]["responseStatus"]]), json!(["FAILED", 3, 500]));
        // A receiver that is gone disables the webhook by this, too.
        receiver.replies_next([Reply::Status(410, String::new())]);
        ada.mutate("redeliver", json!({ "deliveryId": delivery }), "delivery { id }").await.ok();
        until(&ada, &id, "isEnabled", |is_enabled| is_enabled == false).await;
        assert!(text(&state(&ada, &id, "disabledReason").await["disabledReason"]).contains("410"));
        for wrong in [id.clone(), project.id.clone(), crate::access::NOWHERE.to_owned()] {
            let answer = ada.mutate("redeliver", json!({ "deliveryId": wrong }), "delivery { id }").await;
            assert_eq!((answer.error_code(), answer.field()), ("NOT_FOUND", "deliveryId"), "{wrong}");
        }
        for wrong in [format!("{id}@2"), format!("event:{}:2", project.id), "nonsense".to_owned()] {
            let answer = ada.mutate("redeliver", json!({ "deliveryId": wrong }), "delivery { id }").await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "deliveryId"), "{wrong}");
        }
        server.stop().await;
    }

    async fn a_webhook_leads_only_to_public_addresses(server: Server) {
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Inside").await;
        for url in ["http://127.0.0.1:8080/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://10.0.0.1/", "http://192.168.0.1/",
            "http://169.254.169.254/latest/meta-data/", "http://100.64.0.1/", "http://[fd00::1]/", "http://[fe80::1]/", "http://[64:ff9b::7f00:1]/",
            "http://[2606:4700::5efe:7f00:1]/", "http://[2606:4700::200:5efe:10.0.0.1]/", "https://b\u{fc}cher.example/", "http://0.0.0.0/", "http://224.0.0.1/", "http://metadata.google.internal/", "http://2130706433/", "http://0x7f.1/", "http://127.1/",
            "https://ada:secret@example.com/", "ftp://example.com/", "file:///etc/passwd", "example.com", ""] {
            let answer = project.mutate("createWebhook", json!({ "url": url }), "secret").await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "url"), "{url}");
        }
        let foreign = project.mutate("createWebhook", json!({ "url": "https://b\u{fc}cher.example/" }), "secret").await;
        assert!(text(&foreign.error()["message"]).contains("xn--"), "{foreign:?}");
        // A name is checked when it is resolved, and the error does not tell what it leads to.
        for host in ["localhost", "nowhere.invalid"] {
            let url = format!("http://{host}:{}/hook", receiver.address().port());
            let id = hook(&project, &url).await;
            touch(&project, host).await;
            let failed = until_delivery(&ada, &id, |delivery| delivery["attempts"] == 1).await;
            assert_eq!((&failed["status"], &failed["responseStatus"]), (&json!("PENDING"), &Value::Null));
            let error = text(&failed["error"]);
            assert!(error.contains("has no public address") && error.contains("WEBHOOK_ALLOW_NETWORKS"), "{error}");
            let refused = ada.mutate("updateWebhook", json!({ "webhookId": id, "url": receiver.url() }), "webhook { id }").await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "url"));
            ada.mutate("deleteWebhook", json!({ "webhookId": id }), "deletedWebhookId").await.ok();
            assert_eq!(state(&ada, &id, "id").await, Value::Null);
        }
        assert!(receiver.received().is_empty());
    }

    async fn only_the_owner_sees_and_manages_webhooks(database: Database) {
        let flags = [&LOCAL[..], &["--max-webhooks", "2"]].concat();
        let server = Server::start_with(&database, &flags).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Owned").await;
        let id = hook(&project, &receiver.url()).await;
        touch(&project, "Owned 1").await;
        receiver.wait_for(1).await;
        until(&ada, &id, "revision", |revision| revision == 2).await;
        let delivery = text(&log(&ada, &id).await[0]["id"]);
        for (email, role) in [("eve@example.com", "viewer"), ("bob@example.com", "editor"), ("sue@example.com", "")] {
            let client = server.user(email);
            client.gql("{ viewer { id } }", json!({})).await.ok();
            if !role.is_empty() {
                database.add_collaborator(&project.id, email, role, true).await;
                let seen = project.of(&client).ask("webhooks { id }").await;
                assert_eq!(seen, json!({ "webhooks": [] }));
            }
            for node in [&id, &delivery] {
                let read = client.gql("query($id: ID!) { node(id: $id) { id } }", json!({ "id": node })).await.ok();
                assert_eq!(read, json!({ "node": null }));
            }
            let expected = if role.is_empty() { "NOT_FOUND" } else { "FORBIDDEN" };
            let created = project.of(&client).mutate("createWebhook", json!({ "url": receiver.url() }), "secret").await;
            assert_eq!(created.error_code(), expected, "{email}");
            for (name, input, select) in [
                ("updateWebhook", json!({ "webhookId": id, "isEnabled": false }), "webhook { id }"),
                ("rotateWebhookSecret", json!({ "webhookId": id }), "secret"),
                ("deleteWebhook", json!({ "webhookId": id }), "deletedWebhookId"),
                ("redeliver", json!({ "deliveryId": delivery }), "delivery { id }"),
            ] {
                assert_eq!(client.mutate(name, input, select).await.error_code(), "NOT_FOUND", "{email}: {name}");
            }
        }
        // The owner lists them in parts, up to the limit.
        let second = hook(&project, &receiver.url()).await;
        let full = project.mutate("createWebhook", json!({ "url": receiver.url() }), "secret").await;
        assert!(full.error_code() == "CONFLICT" && full.error().to_string().contains("--max-webhooks"), "{full:?}");
        let list = project.ask(&format!("webhooks {{ id }} one: webhooks(first: 1) {{ id }} rest: webhooks(after: \"{id}\") {{ id }}")).await;
        assert_eq!(list, json!({ "webhooks": [{ "id": id }, { "id": second }], "one": [{ "id": id }], "rest": [{ "id": second }] }));
        // A write of a webhook is no revision, and a deleted project keeps its webhooks as they are.
        assert_eq!(project.revision().await, 2);
        ada.mutate_id("deleteProject", &project.id, "revision").await.ok();
        let received = receiver.wait_for(3).await;
        assert_eq!(revisions(&received), [2, 3, 3]);
        let refused = ada.mutate("updateWebhook", json!({ "webhookId": id, "isEnabled": false }), "webhook { id }").await;
        assert_eq!(refused.error_code(), "CONFLICT");
        server.stop().await;
    }

    async fn a_server_without_a_secret_has_no_webhooks(database: Database) {
        let server = Server::start_with(&database, &["--webhook-secret", ""]).await;
        let project = Project::create(&server.user("ada@example.com"), "Plain").await;
        let refused = project.mutate("createWebhook", json!({ "url": "https://example.com/" }), "secret").await;
        // No argument of the caller is wrong.
        assert_eq!((refused.error_code(), refused.error()["extensions"].get("field")), ("FORBIDDEN", None));
        assert!(refused.error()["message"].as_str().unwrap().contains("WEBHOOK_SECRET"));
        server.stop().await;
    }

    async fn the_events_of_many_deliveries_are_one_statement(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let project = Project::create(&ada, "Counted").await;
        let id = hook(&project, &receiver.url()).await;
        for n in 1..=8 {
            touch(&project, &format!("Counted {n}")).await;
        }
        until(&ada, &id, "revision", |revision| revision == 9).await;
        let count = async |first: usize| {
            let select = format!("deliveries(first: {first}) {{ nodes {{ event {{ revision }} revision }} }}");
            let before = server.statements();
            let nodes = state(&ada, &id, &select).await["deliveries"]["nodes"].take();
            let nodes = nodes.as_array().unwrap();
            assert!(nodes.len() == first && nodes.iter().all(|node| node["event"]["revision"] == node["revision"]));
            server.statements() - before
        };
        // The lease is returned after the last record, in statements of its own.
        let begun = Instant::now();
        while count(8).await != count(1).await {
            assert!(begun.elapsed() < PATIENCE, "a statement for each event");
        }
        server.stop().await;
    }

    async fn a_write_has_no_more_statements_with_webhooks_elsewhere(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user("ada@example.com"), Receiver::start().await);
        let (plain, other) = (Project::create(&ada, "Plain").await, Project::create(&ada, "Other").await);
        touch(&plain, "Plain 0").await;
        let count = async |n: i64| {
            let before = server.statements();
            touch(&plain, &format!("Plain {n}")).await;
            server.statements() - before
        };
        let without = count(1).await;
        let id = hook(&other, &receiver.url()).await;
        touch(&other, "Other 1").await;
        receiver.wait_for(1).await;
        until(&ada, &id, "revision", |revision| revision == 2).await;
        // The lease is returned after the last record.
        let begun = Instant::now();
        let mut counts = vec![count(2).await, count(3).await];
        while counts[counts.len() - 2..] != [without, without] {
            assert!(begun.elapsed() < PATIENCE, "{counts:?} instead of {without}");
            counts.push(count(counts.len() as i64 + 2).await);
        }
        server.stop().await;
    }
}
