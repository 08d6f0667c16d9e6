//! Given a database with projects, when the operator backs it up, restores it, or purges deleted projects, then everything that
//! was acknowledged before is there, and everything else is as before.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use antiphon::{commands, domain::import_export::verify::Verified};
use serde_json::json;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions,
};
use tests::{
    database::{Database, Kind, postgres_tool},
    ledger::{Fate, Ledger},
    project::Project,
    server::{ChildServer, Server, migrate, run_with_database, settings},
};

async fn problems(url: &str) -> Vec<String> {
    let mut problems = Vec::new();
    commands::verify(&settings(url, &[]), None, &mut |_, problem| problems.push(problem)).await.unwrap();
    problems
}

fn next_to(file: &Path, end: &str) -> PathBuf {
    PathBuf::from(format!("{}{end}", file.display()))
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

tests::on_sqlite! {
    async fn a_backup_under_load_has_everything_acknowledged_before_it(database: Database) {
        let file = database.file().unwrap();
        let backup = file.with_file_name("a backup of #1?.db");
        let server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        let (before, during) = (Ledger::begin(&client).await, Ledger::begin(&client).await);
        before.write_at_once(&client, 4, 10).await;
        // Given a writer that does not stop, when a backup is made, then it is complete …
        let stop = AtomicBool::new(false);
        let write = async {
            while !stop.load(Ordering::Relaxed) {
                assert!(matches!(during.write(&client).await, Fate::Acknowledged));
            }
        };
        let make = async {
            let made = commands::backup(&settings(&database.url(), &[]), &backup).await;
            stop.store(true, Ordering::Relaxed);
            made
        };
        let ((), made) = tokio::join!(write, make);
        assert_eq!(made.unwrap().unwrap().projects, 2);
        assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
        server.stop();
        // … nothing else is left in the folder, and a server on it has every earlier write.
        assert_eq!(names(file.parent().unwrap()), ["a backup of #1?.db", "antiphon.db"]);
        let restored = Database::file_in(file.parent().unwrap());
        fs::rename(&backup, restored.file().unwrap()).unwrap();
        let server = ChildServer::start(&restored);
        let (tally, differences) = before.check(&server.user("ada@example.com")).await;
        assert_eq!((tally.acknowledged, differences), (40, vec![]));
        server.stop();
        assert_eq!(problems(&restored.url()).await, [""; 0]);
    }

    async fn a_backup_never_replaces_a_file_and_leaves_nothing_behind(database: Database) {
        let file = database.file().unwrap();
        let folder = file.parent().unwrap().to_owned();
        migrate(&database).await;
        let settings = |url: &str| settings(url, &[]);
        let taken = folder.join("taken.db");
        fs::write(&taken, "mine").unwrap();
        // SQLite's own files of the database go with its last connection.
        let is_own = |name: &String| name.starts_with("antiphon.db-");
        let others = || names(&folder).into_iter().filter(|name| !is_own(name)).collect::<Vec<_>>();
        let present = others();
        let refused = |result: anyhow::Result<_>| format!("{:#}", result.map(drop::<Option<Verified>>).unwrap_err());
        let message = refused(commands::backup(&settings(&database.url()), &taken).await);
        assert!(message.contains("taken.db exists already"), "{message}");
        let message = refused(commands::backup(&settings(&database.url()), &folder.join("missing/backup.db")).await);
        assert!(message.contains("cannot write") && message.contains("missing/backup.db"), "{message}");
        let absent = format!("sqlite://{}", folder.join("absent.db").display());
        let message = refused(commands::backup(&settings(&absent), &folder.join("new.db")).await);
        assert!(message.contains("there is no") && message.contains("absent.db"), "{message}");
        let foreign = folder.join("foreign.db");
        for sql in ["", "CREATE TABLE projects (id integer, name text)"] {
            let mut connection = SqliteConnectOptions::new().filename(&foreign).create_if_missing(true).connect().await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            let url = format!("sqlite://{}", foreign.display());
            let message = refused(commands::backup(&settings(&url), &folder.join("new.db")).await);
            assert!(message.contains("not a database of antiphon"), "{message}");
            let is_empty = sql.is_empty();
            assert_eq!(commands::migrate(&settings(&url)).await.is_ok(), is_empty);
            // Connections can end a moment later; if several end at once, the next one removes the file.
            while next_to(&foreign, "-wal").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let mut last = SqliteConnectOptions::new().filename(&foreign).connect().await.unwrap();
                // A connection that has read nothing does not know the log.
                sqlx::raw_sql("SELECT count(*) FROM sqlite_schema").execute(&mut last).await.unwrap();
                last.close().await.unwrap();
            }
            if is_empty {
                fs::write(&foreign, "").unwrap();
            }
            for from in [&foreign, Path::new("/dev/null")] {
                let message = format!("{:#}", commands::restore(&settings(&database.url()), from, true).await.unwrap_err());
                assert!(message.contains("not a database of antiphon"), "{message}");
            }
            fs::remove_file(&foreign).unwrap();
        }
        let message = refused(commands::backup(&settings("postgres://u:hunter2@h/d"), &folder.join("new.db")).await);
        assert!(message.contains("pg_dump") && !message.contains("hunter2"), "{message}");
        assert_eq!(others(), present);
        assert_eq!(fs::read(&taken).unwrap(), b"mine");
    }

    async fn a_backup_of_an_older_version_states_that_projects_were_not_read(database: Database) {
        migrate(&database).await;
        database.execute("DELETE FROM seaql_migrations").await;
        let backup = database.file().unwrap().with_file_name("backup.db");
        assert_eq!(commands::backup(&settings(&database.url(), &[]), &backup).await.unwrap(), None);
        let copy = format!("sqlite://{}", backup.with_file_name("copy.db").display());
        assert_eq!(commands::restore(&settings(&copy, &[]), &backup, false).await.unwrap().verified, None);
    }

    async fn repeated_backups_rotate_and_other_files_stay(database: Database) {
        let folder = database.file().unwrap().with_file_name("backups");
        fs::create_dir(&folder).unwrap();
        migrate(&database).await;
        // The last one has the name of a later time.
        let others = [
            "antiphon-old.db",
            "antiphon-20200101T000000.000000Z.db.gz",
            "notes",
            "antiphon-20990101T000000.000000Z.db",
        ];
        for other in others {
            fs::write(folder.join(other), "").unwrap();
        }
        // A folder is no backup. A killed process left the other one.
        fs::create_dir(folder.join("antiphon-20200101T000000.000000Z.db")).unwrap();
        fs::create_dir(folder.join(".antiphon-abandoned")).unwrap();
        fs::write(folder.join(".antiphon-abandoned/copy.db"), "half").unwrap();
        let mut others = names(&folder);
        others.retain(|name| name != ".antiphon-abandoned");
        let good = settings(&database.url(), &[]);
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(commands::backup_in(&good, &folder, 2).await.unwrap().0);
        }
        let kept: Vec<_> = names(&folder).into_iter().filter(|name| !others.contains(name)).collect();
        let newest: Vec<_> = made[1..].iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(kept, newest);
        // A failed backup removes none.
        let absent = settings(&format!("sqlite://{}/absent.db", folder.display()), &[]);
        commands::backup_in(&absent, &folder, 1).await.unwrap_err();
        assert_eq!(names(&folder).len(), others.len() + 2);
    }

    async fn a_restored_backup_is_the_database_and_the_former_one_is_kept(database: Database) {
        let file = database.file().unwrap();
        let (folder, settings) = (file.parent().unwrap().to_owned(), settings(&database.url(), &[]));
        let backup = folder.join("backup.db");
        let server = ChildServer::start(&database);
        let client = server.user("ada@example.com");
        let project = Project::create(&client, "Before").await;
        project.create_file("a.txt", "one").await;
        commands::backup(&settings, &backup).await.unwrap();
        project.update_file("a.txt", "two").await;
        let (newest, copied) = (project.revision().await, fs::read(&backup).unwrap());
        // A database in use, a database without --yes and a backup that is none are not touched …
        let refused = |result: anyhow::Result<commands::Restored>| format!("{:#}", result.unwrap_err());
        let message = refused(commands::restore(&settings, &backup, true).await);
        assert!(message.contains("is in use: stop the server"), "{message}");
        assert_eq!(project.contents().await, [("a.txt".to_owned(), "two".to_owned())]);
        project.update_file("a.txt", "three").await;
        let message = refused(commands::restore(&settings, &backup, false).await);
        assert!(message.contains("--yes"), "{message}");
        for (name, content) in [("text.db", b"not a database at all".to_vec()), ("cut.db", copied[..copied.len() / 2].to_vec())] {
            fs::write(folder.join(name), content).unwrap();
            let message = refused(commands::restore(&settings, &folder.join(name), true).await);
            assert!(message.contains(name), "{message}");
        }
        let message = refused(commands::restore(&settings, &folder.join("absent.db"), true).await);
        assert!(message.contains("absent.db"), "{message}");
        assert_eq!(project.contents().await, [("a.txt".to_owned(), "three".to_owned())]);
        server.stop();
        // … and when the server is stopped, the backup becomes the database.
        let former = commands::restore(&settings, &backup, true).await.unwrap().former.unwrap();
        assert_eq!(fs::read(&backup).unwrap(), copied);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let left = names(&folder).into_iter().filter(|name| name.starts_with(".antiphon-") || name.contains("-wal")).count();
        assert_eq!(left, 0);
        let server = ChildServer::start(&database);
        let project = project.of(&server.user("ada@example.com"));
        assert_eq!(project.contents().await, [("a.txt".to_owned(), "one".to_owned())]);
        // A subscriber that saw the lost revisions gets an error with the present one.
        let mut lost = project.listen(newest, "revision").await;
        let errors = lost.next().await.expect("an answer").expect_err("a refusal");
        assert_eq!(errors[0]["extensions"]["code"], "POSITION_LOST");
        server.stop();
        let former = Database::at(&former);
        let server = ChildServer::start(&former);
        let project = project.of(&server.user("ada@example.com"));
        assert_eq!(project.contents().await, [("a.txt".to_owned(), "three".to_owned())]);
        server.stop();
    }

    async fn restores_in_the_same_second_keep_every_former_database(database: Database) {
        migrate(&database).await;
        let (backup, settings) = (database.file().unwrap().with_file_name("backup.db"), settings(&database.url(), &[]));
        commands::backup(&settings, &backup).await.unwrap();
        for _ in 0..3 {
            let former = commands::restore(&settings, &backup, true).await.unwrap().former.unwrap();
            assert!(former.exists());
        }
        let kept = names(backup.parent().unwrap()).into_iter().filter(|name| name.contains(".replaced-")).count();
        assert_eq!(kept, 3);
    }

    async fn a_database_behind_a_symbolic_link_is_served_and_restored(database: Database) {
        let folder = database.file().unwrap().parent().unwrap().to_owned();
        fs::create_dir(folder.join("real")).unwrap();
        let (link, real) = (folder.join("link.db"), folder.join("real/antiphon.db"));
        std::os::unix::fs::symlink("real/antiphon.db", &link).unwrap();
        let linked = Database::at(&link);
        let server = ChildServer::start(&linked);
        let project = Project::create(&server.user("ada@example.com"), "Linked").await;
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
        let settings = settings(&linked.url(), &[]);
        commands::backup(&settings, &folder.join("backup.db")).await.unwrap();
        project.create_file("a.txt", "one").await;
        server.stop();
        let former = commands::restore(&settings, &folder.join("backup.db"), true).await.unwrap().former.unwrap();
        assert_eq!(former.parent(), fs::canonicalize(&real).unwrap().parent());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let server = ChildServer::start(&linked);
        assert_eq!(project.of(&server.user("ada@example.com")).contents().await, []);
        server.stop();
    }

    async fn a_damaged_database_is_replaced_and_its_log_is_not_taken_over(database: Database) {
        let file = database.file().unwrap();
        let (folder, settings) = (file.parent().unwrap().to_owned(), settings(&database.url(), &[]));
        let backup = folder.join("backup.db");
        let mut server = ChildServer::start(&database);
        let project = Project::create(&server.user("ada@example.com"), "Kept").await;
        commands::backup(&settings, &backup).await.unwrap();
        project.create_file("a.txt", "one").await;
        server.kill();
        assert!(fs::metadata(next_to(&file, "-wal")).unwrap().len() > 0);
        for damaged in [file.clone(), next_to(&file, "-wal")] {
            fs::write(damaged, vec![1; 65_536]).unwrap();
        }
        let former = commands::restore(&settings, &backup, true).await.unwrap().former.unwrap();
        assert_eq!(fs::read(&former).unwrap(), vec![1; 65_536]);
        assert!(!next_to(&file, "-wal").exists());
        let server = ChildServer::start(&database);
        assert_eq!(project.of(&server.user("ada@example.com")).ask("name").await["name"], "Kept");
        server.stop();
    }
}

#[test]
fn a_dump_restored_into_a_new_database_has_everything() {
    run_with_database(Kind::Postgres, async |database| {
        let server = Server::start(&database).await;
        let client = server.user("ada@example.com");
        let ledger = Ledger::begin(&client).await;
        ledger.write_at_once(&client, 4, 10).await;
        let dump = std::env::temp_dir().join(format!("antiphon-dump-{}", std::process::id()));
        let run = |command: &mut Command| {
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        let options = ["--format=custom", "--file"];
        run(Command::new(postgres_tool("pg_dump")).args(options).arg(&dump).arg(database.admin_url()));
        server.stop().await;
        let restored = Database::blank(Kind::Postgres).await;
        let into = format!("--dbname={}", restored.admin_url());
        run(Command::new(postgres_tool("pg_restore")).arg(into).arg(&dump));
        fs::remove_file(&dump).unwrap();
        let server = Server::start(&restored).await;
        let (tally, differences) = ledger.check(&server.user("ada@example.com")).await;
        assert_eq!((tally.acknowledged, differences), (40, vec![]));
        server.stop().await;
        assert_eq!(problems(&restored.url()).await, [""; 0]);
        restored.remove().await;
    });
}

/// Each table that has rows of the project, and all indexes.
async fn traces(database: &Database, project: &str) -> (Vec<String>, Vec<String>) {
    let tables = match database.kind() {
        Kind::Sqlite => "SELECT t.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND c.name = 'project_id'",
        Kind::Postgres => "SELECT table_name::text FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
                           WHERE column_name = 'project_id' AND table_type = 'BASE TABLE' AND table_schema = current_schema()",
    };
    let indexes = match database.kind() {
        Kind::Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY 1",
        Kind::Postgres => "SELECT indexname::text FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1",
    };
    let mut found = Vec::new();
    for table in list(database, tables).await {
        let rows = format!("SELECT '{table}' FROM {table} WHERE project_id = {}", database.uuid(project));
        if !list(database, &rows).await.is_empty() {
            found.push(table);
        }
    }
    (found, list(database, indexes).await)
}

async fn list(database: &Database, sql: &str) -> Vec<String> {
    let sql = AssertSqlSafe(sql);
    match database.kind() {
        Kind::Sqlite => {
            let mut connection = SqliteConnection::connect(&database.url()).await.unwrap();
            sqlx::query(sql).fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get(0)).collect()
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(&database.url()).await.unwrap();
            sqlx::query(sql).fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get(0)).collect()
        }
    }
}

tests::on_both! {
    async fn a_purge_removes_old_deleted_projects_and_nothing_else(database: Database) {
        let server = Server::start(&database).await;
        let client = server.user("ada@example.com");
        let (gone, kept) = (Project::create(&client, "Gone").await, Project::create(&client, "Kept").await);
        for project in [&gone, &kept] {
            let session = project.start_session().await;
            for n in 0..3 {
                project.add_message(&session, &format!("message {n}"), true).await;
                project.write("syncFiles", json!({ "files": [{ "path": "a.txt", "content": format!("{n}\n").repeat(300) }] }), "revision").await;
            }
        }
        let (settings, before) = (settings(&database.url(), &[]), kept.state().await);
        let indexes = traces(&database, &gone.id).await.1;
        assert_eq!(commands::purge(&settings, 0, true).await.unwrap(), []);
        client.mutate_id("deleteProject", &gone.id, "revision").await.ok();
        // A project that was deleted today is not old …
        assert_eq!(commands::purge(&settings, 1, true).await.unwrap(), []);
        // … a list changes nothing, an interrupted purge leaves an index …
        database.execute("CREATE INDEX purge_blobs_base_id ON blobs (base_id)").await;
        let listed = commands::purge(&settings, 0, false).await.unwrap();
        assert_eq!(listed.iter().map(|project| &*project.name).collect::<Vec<_>>(), ["Gone"]);
        assert!(traces(&database, &gone.id).await.0.len() >= 6);
        // … and a confirmed purge removes every trace, while the other project and the indexes stay.
        assert_eq!(commands::purge(&settings, 0, true).await.unwrap(), listed);
        assert_eq!(traces(&database, &gone.id).await, (vec![], indexes));
        assert_eq!(kept.state().await, before);
        kept.update_file("a.txt", "after").await;
        assert_eq!(commands::purge(&settings, 0, false).await.unwrap(), []);
        server.stop().await;
        assert_eq!(problems(&database.url()).await, [""; 0]);
    }
}
