//! Given rows of webhooks that direct SQL has written, then PostgreSQL refuses those that the service cannot read or move, and
//! such a row that is there affects no other one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{
    database::{Database, Kind},
    project::{Project, text},
    receiver::Receiver,
    server::{Server, run_with_database, run_with_server, settings},
};

use crate::login_connection::{DENIED, LoginConnection, rows};
use crate::webhooks::{LOCAL, first_delivery, hook, until};

const ADA: &str = "ada@example.com";

/// `check_violation`.
const INVALID: &str = "23514";

const PATIENCE: Duration = Duration::from_secs(60);

/// Values of columns of `webhooks` that are refused, with the code of the refusal.
const WEBHOOKS: &[(&str, &str, &str)] = &[
    ("kinds", "'x'", INVALID),
    ("kinds", "'FILES_CHANGED,x'", INVALID),
    ("kinds", "'FILES_CHANGED,'", INVALID),
    ("kinds", "'files_changed'", INVALID),
    ("kinds", "' '", INVALID),
    ("revision", "2147483647", DENIED),
    ("revision", "2", DENIED),
    ("revision", "-1", INVALID),
    ("revision", "-2147483648", INVALID),
    ("failed_attempts", "-1", INVALID),
    ("failed_attempts", "2147483647", INVALID),
    ("secret_number", "0", INVALID),
    ("secret_number", "-2147483648", INVALID),
    ("secret_number", "2147483647", INVALID),
    ("url", "''", INVALID),
    ("url", "'x'", INVALID),
    ("url", "'file:///etc/passwd'", INVALID),
    ("url", "'https://'", INVALID),
    ("url", "'https:///x'", INVALID),
    ("url", "'https://example.com/ x'", INVALID),
    ("url", "E'https://example.com/\\n'", INVALID),
    ("url", "'https://example.com/#x'", INVALID),
    ("url", "'https://example.com/' || repeat('x', 2048)", INVALID),
    ("lease_until", "'9999-01-01'", DENIED),
];

/// The same of `webhook_deliveries`.
const DELIVERIES: &[(&str, &str, &str)] = &[
    ("kind", "'bogus'", INVALID),
    ("kind", "''", INVALID),
    ("status", "'bogus'", INVALID),
    ("revision", "0", INVALID),
    ("revision", "-2147483648", INVALID),
    ("revision", "3", DENIED),
    ("revision", "2147483647", DENIED),
    ("attempts", "-1", INVALID),
    ("attempts", "2147483647", INVALID),
];

/// A statement that inserts a row with these values, one of them replaced.
fn insert(table: &str, valid: &[(&str, &str)], (column, value): (&str, &str)) -> String {
    let names: Vec<&str> = valid.iter().map(|(name, _)| *name).collect();
    let values: Vec<&str> = valid.iter().map(|(name, valid)| if *name == column { value } else { valid }).collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
}

#[test]
fn an_owner_cannot_write_rows_that_the_service_cannot_read() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = Project::create(&server.user(ADA), "Rows").await;
        let id = text(
            &project.write("createWebhook", json!({ "url": "https://8.8.8.8/" }), "webhook { id }").await["webhook"]["id"],
        );
        let (of_project, of_webhook) = (format!("'{}'", project.id), format!("'{id}'"));
        let webhook = [
            ("id", "gen_random_uuid()"),
            ("project_id", &of_project),
            ("url", "'HTTPS://8.8.8.8/'"),
            ("kinds", "'FILES_CHANGED,MESSAGE_ADDED'"),
            ("is_enabled", "true"),
            ("secret_number", "1"),
            ("revision", "1"),
            ("failed_attempts", "0"),
            ("lease_until", "NULL"),
            ("created_at", "now()"),
            ("updated_at", "now()"),
        ];
        let delivery = [
            ("id", "gen_random_uuid()"),
            ("webhook_id", &of_webhook),
            ("project_id", &of_project),
            ("revision", "1"),
            ("kind", "'PROJECT_CREATED'"),
            ("status", "'failed'"),
            ("attempts", "1"),
            ("created_at", "now()"),
            ("last_attempt_at", "now()"),
        ];
        let mut login = LoginConnection::open(server.database()).await;
        for (table, valid, invalid) in
            [("webhooks", &webhook[..], WEBHOOKS), ("webhook_deliveries", &delivery[..], DELIVERIES)]
        {
            assert_eq!(login.run(Some(ADA), &insert(table, valid, ("", ""))).await, Ok(1));
            for (column, value, code) in invalid {
                let refused = login.run(Some(ADA), &insert(table, valid, (column, value))).await;
                assert_eq!(refused.as_ref().map_err(String::as_str), Err(*code), "{table}.{column} = {value}");
            }
        }
        for (column, value, code) in WEBHOOKS {
            let refused = login.run(Some(ADA), &format!("UPDATE webhooks SET {column} = {value}")).await;
            assert_eq!(refused.as_ref().map_err(String::as_str), Err(*code), "{column} = {value}");
        }
        assert_eq!(project.ask("webhooks { id }").await, json!({ "webhooks": [{ "id": id }] }));
    });
}

#[test]
fn the_migration_removes_rows_that_break_the_rules() {
    run_with_database(Kind::Postgres, async |database: Database| {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user(ADA), Receiver::start().await);
        let project = Project::create(&ada, "Rules").await;
        let kept = hook(&project, &receiver.url()).await;
        project.create_file("a.py", "").await;
        until(&ada, &kept, "revision", |revision| revision == 2).await;
        server.stop().await;
        antiphon::commands::take_back(&settings(&database.url(), &[]), 1, true, &mut |loss| panic!("{loss}"))
            .await
            .unwrap();
        let copy = |column: &str, value: &str| {
            let valid = [
                "id",
                "project_id",
                "url",
                "kinds",
                "is_enabled",
                "secret_number",
                "revision",
                "failed_attempts",
                "created_at",
                "updated_at",
            ];
            let values = valid.map(|name| match name {
                "id" => "gen_random_uuid()",
                name if name == column => value,
                name => name,
            });
            format!(
                "INSERT INTO webhooks ({}) SELECT {} FROM webhooks WHERE id = '{kept}'",
                valid.join(", "),
                values.join(", ")
            )
        };
        for (column, value, _) in WEBHOOKS.iter().filter(|(column, value, _)| *column != "lease_until" && *value != "2")
        {
            database.execute(&copy(column, value)).await;
        }
        let delivery = "INSERT INTO webhook_deliveries SELECT gen_random_uuid(), webhook_id, 1, project_id, 'bogus', status, attempts,
            response_status, error, created_at, last_attempt_at, next_attempt_at, delivered_at FROM webhook_deliveries";
        database.execute(delivery).await;
        tests::server::migrate(&database).await;
        assert_eq!(rows(&database, "SELECT id::text FROM webhooks").await, [[kept]]);
        assert_eq!(rows(&database, "SELECT revision::text FROM webhook_deliveries").await, [["2"]]);
    });
}

tests::on_both! {
    async fn a_row_that_the_service_cannot_read_affects_no_other(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let (ada, receiver) = (server.user(ADA), Receiver::start().await);
        let project = Project::create(&ada, "Damaged").await;
        let (sound, damaged) = (hook(&project, &receiver.url()).await, hook(&project, &receiver.url()).await);
        project.create_file("a.py", "").await;
        for id in [&sound, &damaged] {
            first_delivery(&ada, id).await;
            until(&ada, id, "revision", |revision| revision == 2).await;
        }
        if database.kind() == Kind::Postgres {
            database.execute("ALTER TABLE webhooks DROP CONSTRAINT webhooks_kinds;
                ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_kind").await;
        }
        let of_damaged = database.uuid(&damaged);
        database.execute(&format!("UPDATE webhooks SET kinds = 'x,FILES_CHANGED' WHERE id = {of_damaged}")).await;
        // To be sent again, which is impossible.
        database.execute(&format!("UPDATE webhook_deliveries SET kind = 'bogus', status = 'pending' WHERE webhook_id = {of_damaged}")).await;
        let select = "webhooks { id kinds isEnabled disabledReason deliveries { totalCount nodes { revision } } }";
        let seen = project.ask(select).await["webhooks"].take();
        let delivered = json!({ "totalCount": 1, "nodes": [{ "revision": 2 }] });
        assert_eq!(seen[0], json!({ "id": sound, "kinds": [], "isEnabled": true, "disabledReason": null, "deliveries": delivered }));
        assert_eq!((&seen[1]["kinds"], &seen[1]["isEnabled"]), (&json!(["FILES_CHANGED"]), &json!(false)));
        assert!(text(&seen[1]["disabledReason"]).contains("kinds"), "{seen}");
        assert_eq!(seen[1]["deliveries"], json!({ "totalCount": 0, "nodes": [] }));

        // The other webhook goes on, and this one too once the owner has mended it.
        project.create_file("b.py", "").await;
        until(&ada, &sound, "revision", |revision| revision == 3).await;
        assert_eq!(receiver.wait_for(3).await[2].revision(), 3);
        let input = json!({ "webhookId": damaged, "kinds": [], "isEnabled": true });
        let mended = ada.mutate("updateWebhook", input, "webhook { isEnabled kinds disabledReason }").await.ok();
        assert_eq!(mended["updateWebhook"]["webhook"], json!({ "isEnabled": true, "kinds": [], "disabledReason": null }));
        project.create_file("c.py", "").await;
        until(&ada, &damaged, "revision", |revision| revision == 4).await;

        // The delivery that cannot be sent is not tried without an end.
        let begun = Instant::now();
        let mut counts: Vec<u64> = Vec::new();
        while counts.len() < 3 || counts.iter().rev().take(3).any(|count| *count != counts[counts.len() - 1]) {
            assert!(begun.elapsed() < PATIENCE, "{counts:?}");
            let before = server.statements();
            for _ in 0..10 {
                assert_ne!(project.ask("webhooks { id }").await, Value::Null);
            }
            counts.push(server.statements() - before);
        }
        server.stop().await;
    }
}
