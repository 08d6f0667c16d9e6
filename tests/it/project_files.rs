//! Given a project with everything that there is, when it is exported to one file and imported on either database, then the API
//! returns the same, `verify` finds no problems, and a file that is not whole and unchanged is refused without a trace.

use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use antiphon::{commands, storage::copy_error::FileRefusal, transport::auth::user_of};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tests::{
    client::Client,
    database::{self, Database, Kind},
    project::{Project, settings as configuration, text},
    server::{Server, settings, token_with},
};

use super::import_export::{Folder, create, export};

const ADA: &str = "ada@example.com";
pub(super) const EVE: &str = "eve@example.com";

/// The user whom `--owner` names: signed in with a token of the service itself.
pub(super) fn ada(server: &Server) -> Client {
    let id = user_of(ADA).unwrap_or_else(|error| panic!("{error:?}")).0;
    server.anonymous().with_token(Some(token_with(ADA, json!({ "sub": id.0 }))))
}

/// A project with an object of every kind, by two authors.
pub(super) async fn fill(server: &Server) -> Project {
    let ada = ada(server);
    server.user(EVE).gql("{ viewer { id } }", json!({})).await.ok();
    let project = Project::create(&ada, "Whole ✓").await;
    let session = project.start_session().await;
    let message = project.add_message(&session, "First 'quoted' \\ text\r\n", true).await;
    project.add_message(&session, "Hidden later", false).await;
    let back = json!({ "revision": 3, "scope": "CONVERSATION", "sessionId": session });
    project.write("restoreRevision", back, "revision").await;
    project.create_file("src/main.py", "one\r\ntwo\n").await;
    for n in 0..5 {
        let content = format!("one\r\n{n}\n{}", "the same line\n".repeat(50));
        let input = json!({ "path": "src/main.py", "content": content, "messageId": message });
        project.write("updateFile", input, "revision").await;
    }
    let entries = json!([
        { "path": "binary", "content": "\u{1}\u{7f}\u{fffd}" }, { "path": "empty", "content": "" },
        { "path": "copy.py", "content": "one\r\ntwo\n" },
    ]);
    project.write("syncFiles", json!({ "mode": "MERGE", "files": entries }), "revision").await;
    project.write("renameFile", json!({ "path": "copy.py", "newPath": "lib/näme.py" }), "revision").await;
    project.write("deleteFile", json!({ "path": "empty" }), "revision").await;
    project.create_file("empty", "again").await;
    let named = project.write("createSnapshot", json!({ "name": "Named" }), "snapshot { id }").await;
    let gone = project.write("createSnapshot", json!({ "name": "Gone" }), "snapshot { id }").await;
    let renamed = json!({ "snapshotId": named["snapshot"]["id"], "description": "Renamed" });
    ada.mutate("updateSnapshot", renamed, "revision").await.ok();
    ada.mutate("deleteSnapshot", json!({ "snapshotId": gone["snapshot"]["id"] }), "revision").await.ok();
    for step in ["undo", "undo", "redo"] {
        project.write(step, json!({}), "revision").await;
    }
    let agent = project.write("saveAgentConfiguration", configuration("Agent"), "agentConfiguration { id }").await;
    project.write("saveAgentConfiguration", configuration("Other"), "revision").await;
    let deleted = json!({ "id": agent["agentConfiguration"]["id"] });
    ada.mutate("deleteAgentConfiguration", deleted, "revision").await.ok();
    let named = json!({ "id": project.id, "name": "Whole, renamed", "config": { "n": 12345678901234567890_u64 } });
    ada.mutate("updateProject", named, "revision").await.ok();
    // Another author, who leaves.
    server.database().add_collaborator(&project.id, EVE, "editor", true).await;
    let hers = project.of(&server.user(EVE));
    let session = hers.start_session().await;
    hers.add_message(&session, "From Eve", false).await;
    hers.create_file("eve.py", "eve\n").await;
    hers.client.mutate_with("leaveProject", json!({ "projectId": project.id }), "revision").await.ok();
    project
}

/// Types by their names, from introspection.
type Types = HashMap<String, Value>;

async fn types(server: &Server) -> Types {
    let query = "{ __schema { types { name kind fields { name args { name type { kind } defaultValue }
        type { kind name ofType { kind name ofType { kind name ofType { name kind } } } } } } } }";
    let schema = ada(server).gql(query, json!({})).await.ok();
    let types = schema["__schema"]["types"].as_array().unwrap().iter();
    types.map(|of| (text(&of["name"]), of.clone())).collect()
}

/// What belongs to the team, to the reader or to a server, changes with each read, or links back to the project.
const NOT_IN_THE_FILE: [&str; 11] = [
    "collaborators",
    "emailInvitations",
    "presence",
    "lastAccessedAt",
    "project",
    "cursor",
    "edges",
    "streamingMessages",
    "present",
    "pageInfo",
    "email",
];

/// The fields of a type that need no arguments, with what is below them to this depth.
fn fields(types: &Types, name: &str, depth: usize) -> Vec<String> {
    let mut selected = Vec::new();
    for field in types[name]["fields"].as_array().into_iter().flatten() {
        let field_name = text(&field["name"]);
        let arguments = field["args"].as_array().unwrap();
        let is_required =
            |argument: &Value| argument["type"]["kind"] == "NON_NULL" && argument["defaultValue"].is_null();
        // The settings of a user, and when a token last changed the profile, belong to the database.
        let is_of_server = name == "User" && ["preferences", "updatedAt"].contains(&field_name.as_str());
        if is_of_server || NOT_IN_THE_FILE.contains(&field_name.as_str()) || arguments.iter().any(is_required) {
            continue;
        }
        let mut of = &field["type"];
        while !of["ofType"].is_null() {
            of = &of["ofType"];
        }
        match of["kind"].as_str().unwrap() {
            "SCALAR" | "ENUM" => selected.push(field_name),
            "OBJECT" if depth > 0 => {
                let below = fields(types, of["name"].as_str().unwrap(), depth - 1).join(" ");
                let rows = if depth == 4 { 60 } else { 5 };
                let is_list = arguments.iter().any(|argument| argument["name"] == "first");
                let first = if is_list { format!("(first: {rows})") } else { String::new() };
                if !below.is_empty() {
                    selected.push(format!("{field_name}{first} {{ {below} }}"));
                }
            }
            _ => {}
        }
    }
    selected
}

/// Everything that the API returns of a project, with all ids numbered in the order in which they occur.
async fn everything(server: &Server, project: &str) -> Value {
    let types = types(server).await;
    let mut read = json!({});
    // One query for each field, so that none is too complex.
    for field in fields(&types, "Project", 4) {
        let query = format!("query($id: ID!) {{ project(id: $id) {{ {field} }} }}");
        let answer = ada(server).gql(&query, json!({ "id": project })).await;
        assert!(answer.errors.is_empty(), "{field}: {:?}", answer.errors);
        read.as_object_mut().unwrap().extend(answer.data["project"].as_object().unwrap().clone());
    }
    assert!(read["snapshots"]["nodes"].as_array().unwrap().len() > 1, "{read:#}");
    assert!(read["changes"]["nodes"].as_array().unwrap().len() > 8, "{read:#}");
    number_ids(&mut read, &mut HashMap::new());
    read
}

fn number_ids(value: &mut Value, seen: &mut HashMap<String, usize>) {
    match value {
        Value::String(text) => {
            for at in 0..text.len() {
                let is_id = text.get(at..at + 36).is_some_and(|id| {
                    id.chars().enumerate().all(|(index, character)| match index {
                        8 | 13 | 18 | 23 => character == '-',
                        _ => character.is_ascii_hexdigit(),
                    })
                });
                if is_id {
                    let next = seen.len();
                    // The id of a change has another version than that of its version.
                    let mut id = text[at..at + 36].to_owned();
                    id.replace_range(14..15, "_");
                    let number = *seen.entry(id).or_insert(next);
                    text.replace_range(at..at + 36, &format!("{number:036}"));
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|value| number_ids(value, seen)),
        Value::Object(all) => all.values_mut().for_each(|value| number_ids(value, seen)),
        _ => {}
    }
}

pub(super) async fn import(database: &Database, file: &Path) -> anyhow::Result<String> {
    let settings = settings(&database.url(), &[]);
    create(database).await;
    commands::import_file(&settings, file, ADA, &mut |_, _| ()).await.map(|copied| copied.project.0.to_string())
}

pub(super) async fn problems(database: &Database) -> Vec<String> {
    let mut wrong = Vec::new();
    commands::verify(&settings(&database.url(), &[]), None, &mut |_, text| wrong.push(text)).await.unwrap();
    wrong
}

fn kinds() -> impl Iterator<Item = Kind> {
    [Kind::Sqlite, Kind::Postgres].into_iter().filter(|kind| *kind == Kind::Sqlite || database::postgres_is_here())
}

/// What the API returns on a server with this database.
pub(super) async fn returned(database: &Database, project: &str) -> Value {
    let flags = ["--max-query-complexity=10000000", "--max-query-fields=100000", "--max-operation-bytes=1073741824"];
    let server = Server::start_with(database, &flags).await;
    let read = everything(&server, project).await;
    server.stop().await;
    read
}

async fn edit(file: &Path, sql: &str) {
    let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    sqlx::raw_sql("PRAGMA foreign_keys = OFF").execute(&mut connection).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    connection.close().await.unwrap();
}

tests::on_both! {
    async fn a_project_is_the_same_after_an_export_and_an_import(server: Server) {
        let folder = Folder::new();
        let project = fill(&server).await;
        let database = server.database();
        // Other projects stay out of the file.
        Project::create(&server.user(EVE), "Other").await.create_file("elsewhere.py", "elsewhere").await;
        let file = folder.path("whole.antiphon");
        export(database, &project.id, &["--to", file.to_str().unwrap()]).await.unwrap();
        let bytes = fs::read(&file).unwrap();
        for secret in ["elsewhere", ADA, EVE] {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "the file contains {secret:?}");
        }
        let expected = returned(database, &project.id).await;
        assert!(expected.to_string().contains("eve"), "{expected:#}");

        for kind in kinds() {
            // Given a database in which the id is free, then the project has it …
            let other = Database::create(kind).await;
            let id = import(&other, &file).await.unwrap();
            assert_eq!(id, project.id);
            assert_eq!(problems(&other).await, [""; 0]);
            assert_eq!(returned(&other, &id).await, expected, "{kind:?}");
            // … the second time it has new ids …
            let again = import(&other, &file).await.unwrap();
            assert_ne!(again, project.id);
            assert_eq!(problems(&other).await, [""; 0]);
            // This is compared on one of the databases, and the last export on the other: the test runs for both.
            if kind != database.kind() {
                assert_eq!(returned(&other, &again).await, expected, "{kind:?}");
            }
            // … it can be written to …
            let served = Server::start(&other).await;
            for id in [&id, &again] {
                let project = Project { client: ada(&served), id: id.clone() };
                let session = project.start_session().await;
                project.add_message(&session, "After the import", true).await;
                project.update_file("src/main.py", "after").await;
                project.write("undo", json!({}), "revision").await;
            }
            // … those who wrote are no members …
            let seen = served.user(EVE).gql("{ projects { totalCount } }", json!({})).await.ok();
            assert_eq!(seen["projects"]["totalCount"], 0);
            served.stop().await;
            assert_eq!(problems(&other).await, [""; 0]);
            if kind != database.kind() {
                other.remove().await;
                continue;
            }
            // … and an export of it is the same project again.
            let back = folder.path(&format!("{kind:?}.antiphon"));
            export(&other, &again, &["--to", back.to_str().unwrap()]).await.unwrap();
            let last = Database::create(Kind::Sqlite).await;
            assert_eq!(import(&last, &back).await.unwrap(), again);
            assert_eq!(returned(&last, &again).await, returned(&other, &again).await);
            last.remove().await;
            other.remove().await;
        }
        assert_eq!(problems(database).await, [""; 0]);
        // A file is not overwritten, and its name says what it is.
        assert!(export(database, &project.id, &["--to", file.to_str().unwrap()]).await.is_err());
        assert_eq!(fs::read(&file).unwrap(), bytes);
        for name in ["whole", "whole.db", "zip"] {
            let refused = export(database, &project.id, &["--to", folder.path(name).to_str().unwrap()]).await.unwrap_err();
            assert!(refused.to_string().contains(".antiphon for the whole project"), "{refused}");
        }
        let shouted = folder.path("AGAIN.ANTIPHON");
        export(database, &project.id, &["--to", shouted.to_str().unwrap()]).await.unwrap();
        assert!(fs::read(&shouted).unwrap().starts_with(b"SQLite format 3"));
    }

    async fn the_people_of_a_file_are_no_members_and_no_machines(server: Server) {
        let folder = Folder::new();
        let project = fill(&server).await;
        let file = folder.path("claims.antiphon");
        export(server.database(), &project.id, &["--to", file.to_str().unwrap()]).await.unwrap();
        edit(&file, "UPDATE user_profiles SET is_machine = true WHERE id NOT IN (SELECT user_id FROM projects);
            UPDATE chat_sessions SET is_active = true, ended_at = NULL WHERE user_id NOT IN (SELECT user_id FROM projects)").await;
        let target = Database::create(if server.database().file().is_some() { Kind::Sqlite } else { Kind::Postgres }).await;
        let imported = import(&target, &file).await.unwrap();
        let served = Server::start(&target).await;
        let query = "query($id: ID!) { project(id: $id) { collaborators { id }
            sessions { nodes { isActive author { isMachine fullName } } } } }";
        let seen = ada(&served).gql(query, json!({ "id": imported })).await.ok()["project"].take();
        assert_eq!(seen["collaborators"], json!([]));
        let sessions = seen["sessions"]["nodes"].as_array().unwrap();
        let others: Vec<_> = sessions.iter().filter(|session| session["author"]["fullName"] == "eve").collect();
        assert!(!others.is_empty(), "{seen}");
        for session in others {
            assert_eq!(json!([session["isActive"], session["author"]["isMachine"]]), json!([false, false]));
        }
        served.stop().await;
        target.remove().await;
    }
}

/// Files that are refused, each made from a whole one by SQL or bytes, and the kind of the refusal.
fn hostile(whole: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 4096 * 2048;
    flipped[middle..middle + 3 * 2048].fill(0xa5);
    let mut longer = whole.to_vec();
    longer.extend([0; 4096]);
    vec![
        ("empty", Vec::new()),
        ("short", whole[..50].to_vec()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("without its last page", whole[..whole.len() - 2048].to_vec()),
        ("longer", longer),
        ("zip", b"PK\x03\x04".repeat(100)),
        ("overwritten", flipped),
    ]
}

/// Changes of the schema or of the number of projects.
const SCHEMAS: &[(&str, &str)] = &[
            ("a trigger", "CREATE TRIGGER t AFTER INSERT ON projects BEGIN DELETE FROM projects; END"),
            ("a view", "CREATE VIEW more AS SELECT * FROM projects"),
            ("a table", "CREATE TABLE more (id)"),
            ("no table", "DROP TABLE project_undone_files"),
            ("no index", "DROP INDEX blobs_sha256"),
            ("no project", "DELETE FROM projects"),
            ("two projects", "INSERT INTO projects SELECT randomblob(16), user_id, name, description, initial_prompt, config, status,
                0, 0, 0, 0, 0, created_at, updated_at, last_accessed_at, last_session_at, last_activity_at FROM projects"),
        ];

/// Contents, hashes, values and histories that do not match.
const HISTORIES: &[(&str, &str)] = &[
    ("another content", "UPDATE blobs SET data = x'00'"),
    ("another hash", "UPDATE blobs SET sha256 = randomblob(32) WHERE id = (SELECT max(id) FROM blobs)"),
    ("another manifest", "UPDATE project_snapshots SET manifest_sha256 = randomblob(32)"),
    ("no event", "DELETE FROM project_events WHERE revision = 2"),
    ("no version", "DELETE FROM file_snapshots WHERE version = 2"),
    ("a revision", "UPDATE projects SET revision = revision + 1"),
    ("no message", "DELETE FROM chat_messages WHERE content LIKE 'From%'"),
    ("text for a number", "UPDATE chat_sessions SET revision = 'x'"),
    ("a time", "UPDATE project_events SET created_at = 'yesterday' WHERE revision = 3"),
    ("invalid UTF-8", "UPDATE chat_messages SET content = CAST(x'ff' AS text)"),
    ("NUL", "UPDATE chat_messages SET content = 'a' || char(0)"),
    (
        "a path",
        "UPDATE project_files SET file_path = '../b', parent_path = '..', file_name = 'b' WHERE file_path = 'eve.py';
                UPDATE file_snapshots SET path = '../b' WHERE path = 'eve.py'",
    ),
    ("JSON", "UPDATE chat_messages SET metadata = '{'"),
    ("another user", "UPDATE chat_sessions SET user_id = randomblob(16)"),
    ("a kind", "UPDATE project_events SET kind = 'EVIL' WHERE revision = 3"),
    ("a mode", "UPDATE project_files SET mode = 99; UPDATE file_snapshots SET mode = 99"),
    ("a role", "PRAGMA ignore_check_constraints = 1; UPDATE chat_messages SET role = 'root'"),
];

/// Times and numbers that later writes could not follow.
const FUTURES: &[(&str, &str)] = &[
    (
        "the largest offset",
        "UPDATE file_snapshots SET version_offset = 2147483647 WHERE path = 'eve.py';
            UPDATE project_files SET version_offset = 2147483647 WHERE file_path = 'eve.py'",
    ),
    (
        "a negative offset",
        "UPDATE file_snapshots SET version_offset = -1 WHERE path = 'eve.py';
            UPDATE project_files SET version_offset = -1 WHERE file_path = 'eve.py'",
    ),
    ("an offset of the file alone", "UPDATE project_files SET version_offset = 7 WHERE file_path = 'eve.py'"),
    (
        "an offset of the first version",
        "UPDATE file_snapshots SET version_offset = 7 WHERE version = 1 AND path = 'src/main.py'",
    ),
    ("a restored version", "UPDATE file_snapshots SET restored_version = 2147483647 WHERE path = 'eve.py'"),
    ("a count of lines", "UPDATE file_snapshots SET additions = -2147483648 WHERE path = 'eve.py'"),
    (
        "an event after the last activity",
        "UPDATE project_events SET created_at = strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '+2 minutes')
            WHERE revision = (SELECT max(revision) FROM project_events)",
    ),
    (
        "an event later today",
        "UPDATE project_events SET created_at = strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '+6 minutes')
            WHERE revision = (SELECT max(revision) FROM project_events);
            UPDATE projects SET last_activity_at = strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '+6 minutes')",
    ),
    ("the last activity", "UPDATE projects SET last_activity_at = '9999-12-31T23:59:59.5+00:00'"),
    ("a project of the future", "UPDATE projects SET created_at = '9999-12-31T23:59:59+00:00'"),
    ("a message of the future", "UPDATE chat_messages SET timestamp = '9999-12-31T23:59:59+00:00'"),
    ("a person of the future", "UPDATE user_profiles SET created_at = '9999-12-31T23:59:59+00:00'"),
    ("a year of five digits", "UPDATE chat_messages SET timestamp = '+10000-01-01T00:00:00+00:00'"),
    ("a negative year", "UPDATE chat_messages SET timestamp = '-200000-01-01T00:00:00+00:00'"),
    ("the negative year 1", "UPDATE projects SET created_at = '-0001-01-01T00:00:00+00:00'"),
    ("the year 0", "UPDATE chat_sessions SET started_at = '0000-12-31T23:59:59+00:00'"),
    ("another zone", "UPDATE chat_messages SET timestamp = '2026-01-01T00:00:00+14:00'"),
    ("another form", "UPDATE chat_messages SET timestamp = '2026-01-01 00:00:00+00:00'"),
    ("no zone", "UPDATE chat_messages SET timestamp = '2026-01-01T00:00:00'"),
    ("a time that is bytes", "UPDATE chat_messages SET timestamp = CAST('2026-01-01T00:00:00+00:00' AS blob)"),
    ("a time that is a number", "UPDATE chat_messages SET timestamp = 1.5"),
];

fn refusal(imported: anyhow::Result<String>, what: &str) -> FileRefusal {
    let error = imported.err().unwrap_or_else(|| panic!("{what} is imported"));
    error.downcast::<FileRefusal>().unwrap_or_else(|error| panic!("{what}: {error:#}"))
}

tests::on_both! {
    async fn numbers_of_versions_that_cannot_be_are_named_and_do_no_harm(server: Server) {
        let project = Project::create(&ada(&server), "Numbered").await;
        project.create_file("hist.txt", "one\n").await;
        project.update_file("hist.txt", "two\n").await;
        for (versions, offset) in [(2, i32::MAX), (3, i32::MIN)] {
            let sql = format!("UPDATE file_snapshots SET version_offset = {offset}; UPDATE project_files SET version_offset = {offset}");
            server.database().execute(&sql).await;
            let named = problems(server.database()).await;
            assert_eq!(named.iter().filter(|problem| problem.contains("has a number")).count(), versions, "{named:?}");
            // Later writes have numbers, too.
            let restored = project.mutate("restoreRevision", json!({ "revision": 2 }), "revision").await;
            restored.ok();
        }
    }

    async fn a_text_above_the_limit_of_requests_is_imported(server: Server) {
        let folder = Folder::new();
        let project = Project::create(&ada(&server), "Long").await;
        let session = project.start_session().await;
        project.add_message(&session, "Short", false).await;
        // The commit messages of `import --git` can be that long.
        let length = 11_000_001;
        let text = if server.database().file().is_some() {
            format!("substr(hex(zeroblob({length})), 1, {length})")
        } else {
            format!("repeat('0', {length})")
        };
        server.database().execute(&format!("UPDATE chat_messages SET content = {text}")).await;
        let file = folder.path("long.antiphon");
        export(server.database(), &project.id, &["--to", file.to_str().unwrap()]).await.unwrap();
        let target = Database::create(Kind::Sqlite).await;
        assert_eq!(import(&target, &file).await.unwrap(), project.id);
        assert_eq!(target.execute(&format!("UPDATE chat_messages SET content = '' WHERE length(content) = {length}")).await, 1);
        target.remove().await;
    }

    async fn a_hostile_file_is_refused_and_leaves_nothing(server: Server) {
        let folder = Folder::new();
        let project = fill(&server).await;
        let file = folder.path("whole.antiphon");
        export(server.database(), &project.id, &["--to", file.to_str().unwrap()]).await.unwrap();
        let whole = fs::read(&file).unwrap();
        let target = Database::create(if server.database().file().is_some() { Kind::Sqlite } else { Kind::Postgres }).await;
        let copy = |name: &str| -> PathBuf {
            let path = folder.path(name);
            fs::write(&path, &whole).unwrap();
            path
        };
        for (what, bytes) in hostile(&whole) {
            let path = folder.path(what);
            fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
            let refused = refusal(import(&target, &path).await, what);
            assert!(matches!(refused, FileRefusal::Unreadable(_) | FileRefusal::Damaged(_)), "{what}: {refused:?}");
        }
        // A pipe is not opened.
        let pipe = folder.path("pipe.antiphon");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let refused = import(&target, &pipe).await.unwrap_err();
        assert!(format!("{refused:#}").contains("is not a file"), "{refused:#}");
        // Other databases, other versions, and other schemas.
        let foreign = folder.path("foreign.antiphon");
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", foreign.display())).await.unwrap();
        sqlx::raw_sql("CREATE TABLE projects (id)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert!(matches!(refusal(import(&target, &foreign).await, "foreign"), FileRefusal::Foreign(_)));
        let newer = copy("newer");
        edit(&newer, "INSERT INTO seaql_migrations VALUES ('m29991231_000000_future', 0)").await;
        assert!(matches!(refusal(import(&target, &newer).await, "newer"), FileRefusal::Version(_)));
        for (what, sql) in SCHEMAS {
            let path = copy(what);
            edit(&path, sql).await;
            let refused = refusal(import(&target, &path).await, what);
            let is_expected = matches!(refused, FileRefusal::Foreign(_) | FileRefusal::Unreadable(_));
            assert!(is_expected, "{what}: {refused:?}");
        }
        for (what, sql) in HISTORIES {
            let path = copy(what);
            edit(&path, sql).await;
            let refused = refusal(import(&target, &path).await, what);
            assert!(matches!(refused, FileRefusal::Damaged(_) | FileRefusal::Unreadable(_)), "{what}: {refused:?}");
        }
        // The columns of a file are checked before the database is opened: a sample is enough on the second one.
        let step = if server.database().kind() == Kind::Sqlite { 1 } else { 3 };
        for (what, sql) in FUTURES.iter().step_by(step) {
            let path = copy(what);
            edit(&path, sql).await;
            let FileRefusal::Damaged(why) = refusal(import(&target, &path).await, what) else { panic!("{what}") };
            let is_named = ["in the column", "has a number", "another number", "the log goes to"].iter().any(|words| why.contains(words));
            assert!(is_named, "{what}: {why}");
        }
        let large = copy("a large content");
        edit(&large, "UPDATE blobs SET size = 2000000000 WHERE id = 1").await;
        assert!(matches!(refusal(import(&target, &large).await, "a large content"), FileRefusal::TooLarge(_)));
        // Then nothing of them is there, and the whole file still is imported.
        assert_eq!(problems(&target).await, [""; 0]);
        let served = Server::start(&target).await;
        let seen = ada(&served).gql("{ projects { totalCount } }", json!({})).await.ok();
        assert_eq!(seen["projects"]["totalCount"], 0);
        served.stop().await;
        assert_eq!(import(&target, &file).await.unwrap(), project.id);
        target.remove().await;
    }
}
