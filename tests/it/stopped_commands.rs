//! Given a command that writes files of its own, when it is stopped or its disk is full, then it leaves none of them, and says
//! which folder it was.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use antiphon::{commands, config::Cli};
use serde_json::json;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tests::{
    database::{Database, Kind},
    disk::SmallDisk,
    project::Project,
    server::{Server, migrate},
};
use tokio::time::sleep;

use super::import_export::{Folder, export};

/// The variable with the arguments of the command that the child runs, one per line.
const ARGUMENTS: &str = "ANTIPHON_TEST_ARGUMENTS";

const PATIENCE: Duration = Duration::from_secs(60);

/// In the process of a child it runs the command; elsewhere it does nothing.
#[test]
fn command_child() {
    let Ok(arguments) = env::var(ARGUMENTS) else { return };
    let cli = Cli::parse_from(["antiphon"].into_iter().chain(arguments.lines()));
    let ended = commands::runtime().unwrap().block_on(commands::run(cli));
    if let Err(error) = ended {
        eprintln!("antiphon: {error:#}");
        std::process::exit(1);
    }
}

/// A child with the command, on a database and with a folder for temporary files.
pub(super) fn child(database: &Database, temporary: &Path, arguments: &[&str]) -> Command {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "stopped_commands::command_child", "--nocapture", "--test-threads=1"]);
    child.env(ARGUMENTS, arguments.join("\n")).env("DATABASE_URL", database.url()).env("TMPDIR", temporary);
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child
}

/// All files and folders below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| [vec![path.clone()], below(&path)].concat()).collect()
}

/// Starts a command, sends it a signal once its files are as expected, and returns how it ended.
async fn stop(mut command: Command, signal: &str, is_time: impl Fn() -> bool) -> Output {
    let child = command.spawn().unwrap();
    let (id, begun) = (child.id().to_string(), Instant::now());
    while !is_time() {
        assert!(begun.elapsed() < PATIENCE, "the command has no files");
        sleep(Duration::from_millis(1)).await;
    }
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap()
}

/// A project in a file, and its id.
async fn exported(server: &Server, folder: &Folder) -> (PathBuf, String) {
    let project = Project::create(&server.user("ada@example.com"), "Stopped").await;
    let files: Vec<_> =
        (0..200).map(|n| json!({ "path": format!("{n}.py"), "content": format!("{n}\n").repeat(500) })).collect();
    project.write("syncFiles", json!({ "mode": "MERGE", "files": files }), "revision").await;
    let file = folder.path("whole.antiphon");
    export(server.database(), &project.id, &["--to", file.to_str().unwrap()]).await.unwrap();
    (file, project.id)
}

tests::on_both! {
    async fn a_stopped_import_leaves_no_files(server: Server) {
        let folder = Folder::new();
        let (file, project) = exported(&server, &folder).await;
        let target = Database::create(server.database().kind()).await;
        migrate(&target).await;
        let temporary = folder.path("temporary");
        fs::create_dir(&temporary).unwrap();
        // The target is locked, so that the import cannot end.
        let mut sqlite = None;
        let mut postgres = None;
        match target.kind() {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&target.url()).await.unwrap();
                sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
                sqlite = Some(connection);
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&target.url()).await.unwrap();
                sqlx::raw_sql("BEGIN; LOCK TABLE blobs IN ACCESS EXCLUSIVE MODE").execute(&mut connection).await.unwrap();
                postgres = Some(connection);
            }
        }
        for signal in ["-TERM", "-INT"] {
            let command = child(&target, &temporary, &["import", file.to_str().unwrap(), "--owner", "ada@example.com"]);
            let has_begun = || below(&temporary).iter().any(|path| path.ends_with("schema.db"));
            let output = stop(command, signal, has_begun).await;
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && error.contains("interrupted"), "{signal}: {error}");
            assert_eq!(below(&temporary), Vec::<PathBuf>::new(), "{signal}");
        }
        drop((sqlite, postgres));
        // Afterwards the file can be imported.
        let done = child(&target, &temporary, &["import", file.to_str().unwrap(), "--owner", "ada@example.com"]).output().unwrap();
        assert!(done.status.success() && String::from_utf8_lossy(&done.stdout).contains(&project), "{done:?}");
        assert_eq!(below(&temporary), Vec::<PathBuf>::new());
        target.remove().await;
    }

    async fn a_stopped_export_leaves_no_files(server: Server) {
        let folder = Folder::new();
        let (file, project) = exported(&server, &folder).await;
        fs::remove_file(&file).unwrap();
        let to = folder.path("");
        for signal in ["-TERM", "-INT"] {
            let command = child(server.database(), &to, &["export", &project, "--to", file.to_str().unwrap()]);
            let output = stop(command, signal, || below(&to).iter().any(|path| path.metadata().is_ok_and(|found| found.len() > 4096))).await;
            // It can have ended just before the signal.
            if output.status.success() {
                fs::remove_file(&file).unwrap();
            } else {
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(error.contains("interrupted"), "{signal}: {error}");
            }
            assert_eq!(below(&to), Vec::<PathBuf>::new(), "{signal}");
        }
    }

    async fn an_import_names_the_temporary_folder_that_is_full(server: Server) {
        let folder = Folder::new();
        let (file, _) = exported(&server, &folder).await;
        let import = ["import", file.to_str().unwrap(), "--owner", "ada@example.com"];
        let missing = folder.path("missing");
        let refused = child(server.database(), &missing, &import).output().unwrap();
        let error = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && error.contains(missing.to_str().unwrap()), "{error}");
        // Without room for the copy, or for what is next to it.
        let bytes = fs::metadata(&file).unwrap().len();
        for mebibytes in [1, u32::try_from(bytes / 1024 / 1024).unwrap() + 1] {
            let Some(disk) = SmallDisk::mount(mebibytes) else { return };
            if mebibytes == 1 {
                disk.fill();
            }
            let refused = child(server.database(), disk.path(), &import).output().unwrap();
            let error = String::from_utf8_lossy(&refused.stderr).into_owned();
            let is_named = error.contains(disk.path().to_str().unwrap()) && error.contains("TMPDIR");
            assert!(refused.status.success() || is_named, "{mebibytes}: {error}");
        }
    }
}
