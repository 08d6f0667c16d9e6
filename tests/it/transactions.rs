//! Given lost connections, another default isolation level, or a database file that is gone, when somebody reads or
//! writes, then the request succeeds or gets a precise error; and writes that are committed together are each complete.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::{Project, number, text},
    server::{Server, run_with_database, run_with_server},
};

const READ: &str = "query($id: ID!) { project(id: $id) { revision sessions { nodes { messageCount } } } }";

/// Sends this many messages at once; returns the codes of those that failed.
async fn add_messages(project: &Project, session: &str, count: usize) -> Vec<String> {
    let one = async |n: usize| {
        let input = json!({ "sessionId": session, "role": "USER", "content": format!("{n}") });
        project.client.mutate("addMessage", input, "revision").await
    };
    let answers = join_all((0..count).map(one)).await;
    answers.iter().filter(|answer| !answer.errors.is_empty()).map(|answer| answer.error_code().to_owned()).collect()
}

async fn read(client: &Client, project: &str) -> Value {
    client.gql(READ, json!({ "id": project })).await.ok()["project"].take()
}

/// Ends every other connection to the database.
async fn cut(database: &Database) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    let ended = sqlx::raw_sql(sql).fetch_all(&mut admin).await.unwrap().len();
    assert!(ended > 1, "{ended}");
    admin.close().await.unwrap();
}

#[test]
fn reads_and_writes_succeed_after_connections_were_cut() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = Project::create(&server.user("ada@example.com"), "Cut").await;
        let session = project.start_session().await;
        for round in 1..=5 {
            // Given many idle connections …
            assert_eq!(add_messages(&project, &session, 16).await, [""; 0]);
            // … when all are cut, then each request is served, on whichever connection it starts.
            cut(server.database()).await;
            let reads = join_all((0..24).map(|_| read(&project.client, &project.id)));
            for seen in reads.await {
                assert_eq!(number(&seen["sessions"]["nodes"][0]["messageCount"]), 32 * round - 16);
            }
            cut(server.database()).await;
            assert_eq!(add_messages(&project, &session, 16).await, [""; 0]);
        }
    });
}

#[test]
fn a_read_ends_its_transaction_soon_after_it() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = Project::create(&server.user("ada@example.com"), "Ended").await;
        let mut admin = PgConnection::connect(&server.database().admin_url()).await.unwrap();
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'";
        for readers in [1, 12] {
            join_all((0..readers).map(|_| read(&project.client, &project.id))).await;
            let mut checks = 0;
            while sqlx::query_scalar::<_, i64>(open).fetch_one(&mut admin).await.unwrap() > 0 {
                checks += 1;
                assert!(checks < 100_000, "transactions stay open after {readers} reads");
            }
        }
        admin.close().await.unwrap();
    });
}

#[test]
fn concurrent_writers_do_not_depend_on_the_default_isolation_level() {
    run_with_database(Kind::Postgres, async |database: Database| {
        let level =
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''',
                     current_database()); END $$";
        database.execute(level).await;
        let server = Server::start(&database).await;
        let project = Project::create(&server.user("ada@example.com"), "Met").await;
        let session = project.start_session().await;
        assert_eq!(add_messages(&project, &session, 40).await, [""; 0]);
        server.stop().await;
    });
}

tests::on_both! {
    async fn each_concurrent_write_is_complete_or_leaves_nothing(server: Server) {
        // Given users who write to their own projects at once, where every other write is refused only within its
        // transaction …
        let people: Vec<_> = (0..16).map(|n| server.user(&format!("p{n}@example.com"))).collect();
        let write = async |client: &Client| {
            let project = Project::create(client, "Whole").await;
            let session = project.start_session().await;
            for n in 0..10 {
                let input = json!({ "sessionId": session, "role": "USER", "content": format!("{n}") });
                client.mutate("addMessage", input, "revision").await.ok();
                let path = format!("{n}");
                project.create_file(&path, &path).await;
                // The path is taken, which only the transaction can see.
                let again = project.mutate("createFile", json!({ "path": path, "content": "other" }), "revision").await;
                assert_eq!(again.error_code(), "CONFLICT");
            }
            let query = "query($id: ID!) { project(id: $id) { revision stats { totalMessages totalFiles }
                         events(first: 500) { revision } files(first: 100) { nodes { content path } } } }";
            client.gql(query, json!({ "id": project.id })).await.ok()["project"].take()
        };
        // … then each project contains the acknowledged writes, without gaps, and nothing else.
        for seen in join_all(people.iter().map(write)).await {
            assert_eq!(seen["stats"], json!({ "totalMessages": 10, "totalFiles": 10 }));
            let revision = number(&seen["revision"]);
            let revisions: Vec<i64> = seen["events"].as_array().unwrap().iter().map(|event| number(&event["revision"])).collect();
            let mut sorted = revisions.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (1..=revision).collect::<Vec<_>>());
            for file in seen["files"]["nodes"].as_array().unwrap() {
                assert_eq!(text(&file["content"]), text(&file["path"]));
            }
        }
    }
}

#[test]
fn nothing_is_written_once_the_file_at_the_path_is_another() {
    run_with_server(Kind::Sqlite, async |server: Server| {
        let project = Project::create(&server.user("ada@example.com"), "Moved").await;
        let session = project.start_session().await;
        assert_eq!(add_messages(&project, &session, 1).await, [""; 0]);
        let file = server.database().file().unwrap();
        let aside = file.with_extension("aside");

        // Given that the file is moved away, then writes are refused and reads continue …
        std::fs::rename(&file, &aside).unwrap();
        assert_eq!(add_messages(&project, &session, 3).await, ["READ_ONLY"; 3]);
        assert_eq!(number(&read(&project.client, &project.id).await["sessions"]["nodes"][0]["messageCount"]), 1);
        assert!(!file.exists(), "the server has created another file");

        // … also with another file in its place, until the file is back.
        std::fs::write(&file, "").unwrap();
        assert_eq!(add_messages(&project, &session, 3).await, ["READ_ONLY"; 3]);
        let reads = join_all((0..20).map(|_| read(&project.client, &project.id))).await;
        assert!(reads.iter().all(|seen| number(&seen["sessions"]["nodes"][0]["messageCount"]) == 1));
        std::fs::rename(&aside, &file).unwrap();
        assert_eq!(add_messages(&project, &session, 3).await, [""; 0]);
        assert_eq!(number(&read(&project.client, &project.id).await["sessions"]["nodes"][0]["messageCount"]), 4);
    });
}

#[cfg(unix)]
#[test]
fn a_new_file_and_its_log_are_accessible_to_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    run_with_server(Kind::Sqlite, async |server: Server| {
        let project = Project::create(&server.user("ada@example.com"), "Mine").await;
        project.start_session().await;
        let file = server.database().file().unwrap();
        for end in ["", "-wal", "-shm"] {
            let path = format!("{}{end}", file.display());
            let mode = std::fs::metadata(&path).unwrap_or_else(|error| panic!("{path}: {error}")).permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path}");
        }
    });
}
