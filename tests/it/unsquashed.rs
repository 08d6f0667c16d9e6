//! Given a database of the last development version, which has the schema of many small migrations, when it is migrated, then it
//! is like a fresh one, and its data is complete. Databases of other versions are refused with the reason.

use std::fs;

use antiphon::{
    app::App,
    commands,
    config::{Serve, Settings},
};
use serde_json::json;
use tests::{
    database::{Database, Kind},
    project::{Project, text},
    server::{self, Server, settings},
};

use crate::database::schema_of;

/// A database of the last development version, written by that version.
async fn development_database(kind: Kind) -> Database {
    let database = Database::blank(kind).await;
    let dump = match kind {
        Kind::Sqlite => include_str!("../dumps/development.sqlite.sql"),
        Kind::Postgres => include_str!("../dumps/development.postgres.sql"),
    };
    if let Some(file) = database.file() {
        fs::write(file, "").unwrap();
    }
    database.execute(dump).await;
    database
}

async fn refuse_to_migrate(settings: &Settings) -> String {
    let refused = commands::migrate(settings).await.expect_err("a refusal");
    format!("{refused:#}")
}

async fn refuse_to_start(settings: &Settings) -> String {
    let refused = App::start(settings.clone(), Serve::default()).await.err().expect("a refusal");
    format!("{refused:#}")
}

tests::on_both! {
    async fn a_database_of_the_last_development_version_is_migrated(database: Database) {
        let old = development_database(database.kind()).await;
        let settings = settings(&old.url(), &[]);
        // Given that a server on PostgreSQL does not migrate by itself, and that nothing can be reverted before …
        if old.kind() == Kind::Postgres {
            let refused = refuse_to_start(&settings).await;
            assert!(refused.contains("lacks") && refused.contains("_schema") && refused.contains("antiphon migrate"), "{refused}");
        }
        let refused = commands::take_back(&settings, 1, true, &mut |loss| panic!("{loss}")).await.expect_err("a refusal");
        assert!(refused.to_string().contains("first run `antiphon migrate`"), "{refused:#}");

        // … when it is migrated, then its schema is that of a fresh database …
        let names = commands::migrate(&settings).await.unwrap();
        assert!(matches!(names.as_slice(), [name, ..] if name.ends_with("_schema")), "{names:?}");
        assert_eq!(commands::migrate(&settings).await.unwrap(), [""; 0]);
        let fresh = Database::blank(database.kind()).await;
        server::migrate(&fresh).await;
        assert_eq!(schema_of(&old).await, schema_of(&fresh).await);
        fresh.remove().await;

        // … its data is sound and complete …
        let verified = commands::verify(&settings, None, &mut |_, wrong| panic!("{wrong}")).await.unwrap();
        assert_eq!((verified.projects, verified.problems), (1, 0));
        let server = Server::start(&old).await;
        let ada = server.user("ada@example.com");
        let mut projects = ada.gql("{ projects { nodes { id } } }", json!({})).await.ok();
        let project = Project { client: ada, id: text(&projects["projects"]["nodes"][0]["id"].take()) };
        let found = project
            .ask("name sessions { nodes { id messages(filter: { includeHidden: true }) { nodes { content isHidden } }
                  streamingMessages { text } } }
                  agentConfigurations { configName } emailInvitations { email }
                  snapshots { nodes { name } } files { nodes { path } } file(path: \"src/main.py\") { versions { totalCount } }")
            .await;
        let session = found["sessions"]["nodes"][0].clone();
        assert_eq!(session["messages"]["nodes"], json!([
            { "content": "Hello, with a checkpoint 🎉", "isHidden": false },
            { "content": "A hidden message", "isHidden": true },
            { "content": "Another hidden message", "isHidden": true },
            { "content": "After the restore", "isHidden": false },
            { "content": "Hidden and shown again", "isHidden": false },
        ]));
        assert_eq!(session["streamingMessages"], json!([{ "text": "So far, so good" }]));
        assert_eq!(found["name"], "From before, renamed");
        assert_eq!(found["agentConfigurations"], json!([{ "configName": "Agent" }]));
        assert_eq!(found["emailInvitations"], json!([{ "email": "carol@example.com" }]));
        assert_eq!(found["file"]["versions"]["totalCount"], 2);

        // … and it can be written to: messages, streaming messages, files, hidden messages, and their undo.
        let session = session["id"].as_str().unwrap();
        let before = project.revision().await;
        project.add_message(session, "In the new version", true).await;
        project.update_file("src/main.py", "print(3)\n").await;
        let input = json!({ "revision": before, "scope": "BOTH", "sessionId": session });
        assert_eq!(project.write("restoreRevision", input, "hiddenMessages").await["hiddenMessages"], 1);
        assert_eq!(project.write("undo", json!({}), "shownMessages").await["shownMessages"], 1);
        let input = json!({ "sessionId": session, "role": "ASSISTANT" });
        let started = project.client.mutate("startMessage", input, "messageId").await.ok();
        let chunk = json!({ "messageId": started["startMessage"]["messageId"], "offset": 0, "text": "More" });
        project.client.mutate("appendToMessage", chunk, "length").await.ok();
        server.stop().await;
        let verified = commands::verify(&settings, None, &mut |_, wrong| panic!("{wrong}")).await.unwrap();
        assert_eq!(verified.problems, 0);

        // It can also be reverted completely.
        server::roll_back_all(&settings).await.unwrap();
        assert!(schema_of(&old).await.is_empty());
        old.remove().await;
    }

    async fn a_database_of_an_earlier_development_version_is_refused(database: Database) {
        for records in [
            "version LIKE '%_ended_sessions'",
            "version LIKE '%_exact_json'",
            "version NOT LIKE '%_000001_tables'",
        ] {
            let old = development_database(database.kind()).await;
            old.execute(&format!("DELETE FROM seaql_migrations WHERE {records}")).await;
            let (settings, before) = (settings(&old.url(), &[]), schema_of(&old).await);
            // Each way in refuses it, and names the version to run first …
            for refused in [refuse_to_migrate(&settings).await, refuse_to_start(&settings).await] {
                assert!(refused.contains("antiphon migrate") && refused.contains("m20261129_000061_ended_sessions"), "{refused}");
            }
            let refused = commands::take_back(&settings, 1, true, &mut |loss| panic!("{loss}")).await.expect_err("a refusal");
            assert!(refused.to_string().contains("m20261129_000061_ended_sessions"), "{refused:#}");
            // … and nothing has changed.
            assert_eq!(schema_of(&old).await, before);
            old.remove().await;
        }
    }

    async fn a_newer_database_is_refused(database: Database) {
        // Given a migration that this version does not know, in a fresh database or after those of the development version …
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_newer', 1)";
        server::migrate(&database).await;
        for old in [database.clone(), development_database(database.kind()).await] {
            old.execute(newer).await;
            let (settings, before) = (settings(&old.url(), &[]), schema_of(&old).await);
            // … when it is migrated or served, then it is refused, and nothing has changed.
            for refused in [refuse_to_migrate(&settings).await, refuse_to_start(&settings).await] {
                assert!(refused.contains("does not know") && refused.contains("later one"), "{refused}");
            }
            assert_eq!(schema_of(&old).await, before);
        }
    }
}
