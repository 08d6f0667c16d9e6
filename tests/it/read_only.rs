//! Given a database that refuses writes, always or for a while, or that has lost rows that the server has seen, then
//! reads are served, and a refused write has the right error code.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::Project,
    server::{self, Server, user_id},
};

const VIEWER: &str =
    "{ viewer { id email fullName avatarUrl preferences { editorTheme autoSaveEnabled uiPreferences } } }";

/// Checks that a user sees the claims of their own token.
async fn sees_themselves(client: &Client, email: &str) {
    let viewer = client.gql(VIEWER, json!({})).await.ok()["viewer"].take();
    let preferences = json!({ "editorTheme": "vs-dark", "autoSaveEnabled": true, "uiPreferences": {} });
    let name = email.split('@').next();
    let expected = json!({ "id": user_id(email), "email": email, "fullName": name, "avatarUrl": null, "preferences": preferences });
    assert_eq!(viewer, expected);
}

async fn ready(server: &Server) -> (u16, Value) {
    let answer = server.anonymous().send("GET", "/readyz", &[], "").await.unwrap();
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    (answer.status, said["readOnly"].clone())
}

async fn make_read_only(database: &Database, is_read_only: bool) {
    let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    admin.execute("SET default_transaction_read_only = off").await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut admin).await.unwrap();
    let how =
        if is_read_only { "SET default_transaction_read_only = on" } else { "RESET default_transaction_read_only" };
    admin.execute(AssertSqlSafe(format!("ALTER DATABASE {name} {how}"))).await.unwrap();
    // The setting applies to new connections.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'antiphon_server'";
    admin.execute(end).await.unwrap();
}

async fn forget(database: &Database, email: &str) {
    let id = database.uuid(&user_id(email));
    database.execute(&format!("DELETE FROM user_preferences WHERE user_id = {id}")).await;
    assert_eq!(database.execute(&format!("DELETE FROM user_profiles WHERE id = {id}")).await, 1);
}

tests::on_both! {
    async fn a_read_only_database_is_read_and_reported(database: Database) {
        // Making a SQLite file read-only for root needs a mount.
        if database.kind() == Kind::Sqlite {
            return;
        }
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Read-only").await;
        project.create_file("a.py", "a").await;
        assert_eq!(ready(&server).await, (200, json!(false)));
        make_read_only(&database, true).await;
        server.stop().await;

        // Given a server that starts on it, then it is ready for reads …
        let server = Server::start(&database).await;
        assert_eq!(ready(&server).await, (200, json!(true)));
        let ada = server.user("ada@example.com");
        let project = project.of(&ada);
        assert_eq!(project.contents().await, [("a.py".to_owned(), "a".to_owned())]);
        assert_eq!(project.listen(1, "revision changes { newContent }").await.event().await["projectEvents"]["revision"], 2);

        // … also for a user whom it has never seen …
        sees_themselves(&server.user("new@example.com"), "new@example.com").await;
        assert_eq!(server.user("new@example.com").gql("{ projects { totalCount } }", json!({})).await.ok()["projects"]["totalCount"], 0);

        // … and every write is refused with the read-only code.
        for (name, input) in [
            ("createFile", json!({ "path": "b.py", "content": "" })),
            ("syncFiles", json!({ "files": [] })),
            ("startSession", json!({})),
        ] {
            let answer = project.mutate(name, input, "revision").await;
            assert_eq!(answer.error_code(), "READ_ONLY", "{name}: {answer:?}");
            assert!(answer.error()["message"].as_str().unwrap().contains("read-only"), "{answer:?}");
        }
        let input = json!({ "fullName": "Ada Lovelace" });
        assert_eq!(ada.mutate("updateProfile", input, "fullName").await.error_code(), "READ_ONLY");
        let found = tokio::task::spawn_blocking({
            let database = database.clone();
            move || server::examine(&database, &[])
        });
        assert!(found.await.unwrap().contains("default_transaction_read_only"));

        // When the database accepts writes again, then so does the server.
        make_read_only(&database, false).await;
        let written = async {
            loop {
                let answer = project.mutate("createFile", json!({ "path": "b.py", "content": "" }), "revision").await;
                if answer.errors.is_empty() {
                    break;
                }
            }
            while ready(&server).await != (200, json!(false)) {}
        };
        tokio::time::timeout(Duration::from_secs(20), written).await.expect("writes are accepted");
        server.stop().await;
    }

    async fn reads_do_not_wait_for_profiles_to_be_stored(database: Database) {
        // The profiles of the new users wait for as many connections as there are.
        let flags = ["--database-connections", "3", "--database-acquire-seconds", "30"];
        let server = Server::start_with(&database, &flags).await;
        let ada = server.user("ada@example.com");
        ada.gql(VIEWER, json!({})).await.ok();
        // Given a lock that blocks all writes of profiles …
        let (mut file, mut backend) = (None, None);
        match database.kind() {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&database.url()).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                file = Some(connection);
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&database.url()).await.unwrap();
                connection.execute("BEGIN; LOCK TABLE user_profiles IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
                backend = Some(connection);
            }
        }
        // … then new users can still read, several times, and so can known ones.
        let begun = Instant::now();
        for email in ["a@example.com", "b@example.com", "c@example.com", "d@example.com", "a@example.com", "ada@example.com"] {
            sees_themselves(&server.user(email), email).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        if let Some(connection) = file {
            connection.close().await.unwrap();
        }
        if let Some(connection) = backend {
            connection.close().await.unwrap();
        }
        server.stop().await;
    }

    async fn a_lost_profile_is_created_again(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let database = server.database();
        bob.gql(VIEWER, json!({})).await.ok();
        forget(database, "bob@example.com").await;
        sees_themselves(&bob, "bob@example.com").await;
        let writes = [
            ("createProject", json!({ "name": "New", "initialPrompt": "", "config": {} }), "revision"),
            ("updateProfile", json!({ "fullName": "Bob" }), "fullName"),
            ("updatePreferences", json!({ "editorTheme": "light" }), "editorTheme"),
        ];
        for (name, input, select) in writes {
            bob.gql("{ viewer { fullName } }", json!({})).await.ok();
            database.execute(&format!("DELETE FROM projects WHERE user_id = {}", database.uuid(&user_id("bob@example.com")))).await;
            forget(database, "bob@example.com").await;
            bob.mutate(name, input, select).await.ok();
        }

        // An invitation by address finds them, too.
        let project = Project::create(&ada, "Invited").await;
        project.write("inviteByEmail", json!({ "email": "bob@example.com", "role": "EDITOR" }), "revision").await;
        forget(database, "bob@example.com").await;
        let accepted = bob.mutate_with("acceptInvitation", json!({ "projectId": project.id }), "revision").await;
        assert!(accepted.errors.is_empty(), "{accepted:?}");
        project.of(&bob).create_file("bob.py", "").await;
    }
}
