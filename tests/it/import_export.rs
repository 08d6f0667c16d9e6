//! Given histories of git and of the API, when they are imported, exported and read back, then every file of every
//! revision has its bytes, and damage is found.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use antiphon::{
    commands,
    config::{Cli, Command as Antiphon, Export, Import, Settings},
    domain::import_export::{
        import::{Imported, Progress},
        verify::Verified,
    },
    model::clock,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::{Project, settings, with},
    server::{JWT_SECRET, Server, migrate, user_id},
};

/// A temporary folder for one test.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("antiphon-import-export-{}", clock::new_id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The people of a commit, and no settings of the system or the user.
pub(super) const ENVIRONMENT: [(&str, &str); 8] = [
    ("GIT_AUTHOR_NAME", "Ada Löwe"),
    ("GIT_AUTHOR_EMAIL", "ada@example.com"),
    ("GIT_AUTHOR_DATE", "1700000000 +0545"),
    ("GIT_COMMITTER_NAME", "Bob"),
    ("GIT_COMMITTER_EMAIL", "bob@example.com"),
    ("GIT_COMMITTER_DATE", "1700000600 -0330"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
];

/// A git repository under construction or under test.
pub(super) struct Repository(pub(super) PathBuf);

impl Repository {
    pub(super) fn init(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let repository = Self(path);
        repository.git(&["init", "-q", "-b", "trunk"]);
        repository
    }

    pub(super) fn git_bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.0).args(arguments).stdin(Stdio::null());
        command.envs(ENVIRONMENT);
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(super) fn git(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.git_bytes(arguments)).unwrap().trim_end().to_owned()
    }

    pub(super) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Removes a file, and the folders that become empty.
    pub(super) fn remove(&self, path: &str) -> &Self {
        let path = self.0.join(path);
        fs::remove_file(&path).unwrap();
        for folder in path.ancestors().skip(1) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        self
    }

    pub(super) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "--allow-empty", "--allow-empty-message", "--cleanup=verbatim", "-m", message]);
    }

    pub(super) fn commits(&self) -> Vec<String> {
        self.git(&["rev-list", "--first-parent", "--reverse", "HEAD"]).lines().map(str::to_owned).collect()
    }

    fn tree(&self, commit: &str) -> String {
        self.git(&["rev-parse", &format!("{commit}^{{tree}}")])
    }

    pub(super) fn trees(&self) -> Vec<String> {
        self.commits().iter().map(|commit| self.tree(commit)).collect()
    }

    /// Path and content of every file of a commit, without submodules.
    pub(super) fn files(&self, commit: &str) -> BTreeMap<String, Vec<u8>> {
        let listing = String::from_utf8(self.git_bytes(&["ls-tree", "-r", "-z", commit])).unwrap();
        let entries = listing.split_terminator('\0').map(|entry| entry.split_once('\t').unwrap());
        let blobs = entries.filter(|(head, _)| head.contains(" blob "));
        blobs
            .map(|(head, path)| {
                (path.to_owned(), self.git_bytes(&["cat-file", "blob", head.rsplit(' ').next().unwrap()]))
            })
            .collect()
    }

    /// A commit's message, byte for byte.
    pub(super) fn message(&self, commit: &str) -> String {
        let object = String::from_utf8(self.git_bytes(&["cat-file", "commit", commit])).unwrap();
        object.split_once("\n\n").unwrap().1.to_owned()
    }
}

/// A history with every unusual feature of git that a project must support; the commit messages name them.
pub(super) fn odd_history(path: PathBuf) -> Repository {
    let repository = Repository::init(path);
    repository.write("main.py", "print('one')\n").write("crlf.txt", "a\r\nb\r\nno newline at the end");
    repository.write("data.bin", (0..=255).cycle().take(3_000).collect::<Vec<u8>>()).write("empty", "");
    repository.commit("First\n\nWith a body, and a last line feed.\n");
    repository.write("größe/日本 1.py", "print('ü')\n").write("main.py", "print('two')\n");
    repository.commit("Non-ASCII paths, without a last line feed");
    repository.write("lib/a.py", "a = 1\n".repeat(50)).write("lib/b.py", "b = 1\n");
    repository.commit("A folder\n");
    repository.git(&["mv", "lib/a.py", "lib/renamed.py"]);
    repository.commit("A rename\n");
    repository.remove("lib/b.py").remove("lib/renamed.py").write("lib", "a file where a folder was\n");
    repository.commit("A folder becomes a file\n");
    repository.remove("lib").write("lib/c/d.py", "d = 1\n");
    repository.commit("A file becomes a folder\n");
    std::os::unix::fs::symlink("lib/c/d.py", repository.0.join("link")).unwrap();
    repository.commit("A symbolic link\n");
    repository.git(&["update-index", "--chmod=+x", "main.py"]);
    repository.git(&["commit", "-q", "-m", "An executable"]);
    repository.git(&["checkout", "-q", "--", "."]);
    repository.commit("Nothing\n");
    repository.git(&["checkout", "-q", "-b", "side"]);
    repository.write("side.py", "side = 1\n").commit("On a side branch\n");
    repository.write("side.py", "side = 2\n").commit("On a side branch again\n");
    repository.git(&["checkout", "-q", "trunk"]);
    repository.write("main.py", "print('three')\n").commit("On the trunk meanwhile\n");
    repository.git(&["merge", "-q", "--no-ff", "-m", "A merge", "side"]);
    repository.remove("data.bin").write("crlf.txt", "a\r\nb2\r\nno newline at the end").commit("");
    repository.git(&["update-index", "--chmod=-x", "main.py"]);
    repository.git(&["mv", "link", "moved link"]);
    repository.git(&["commit", "-q", "-m", "No executable any more, and the link has moved\n"]);
    repository.git(&["checkout", "-q", "--", "."]);
    repository
}

fn parse(database: &Database, arguments: &[&str]) -> (Antiphon, Settings) {
    let url = database.url();
    let common = ["--database-url", &url, "--jwt-secret", JWT_SECRET];
    let cli = Cli::try_parse_from(["antiphon"].iter().chain(arguments).chain(&common)).unwrap();
    (cli.command.unwrap(), cli.settings)
}

pub(super) async fn try_import(
    database: &Database,
    git: &Path,
    name: &str,
    more: &[&str],
) -> anyhow::Result<(Imported, Vec<String>)> {
    import_with(database, git, &[&["--name", name, "--email", "Ada@example.com"], more].concat()).await
}

/// Imports with these options; returns also what was reported.
pub(super) async fn import_with(
    database: &Database,
    git: &Path,
    more: &[&str],
) -> anyhow::Result<(Imported, Vec<String>)> {
    let (mut skipped, mut replaced, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut report = |progress| match progress {
        Progress::Skipped { path, why, .. } => skipped.push(format!("{path}: {why}")),
        Progress::Replaced { what, .. } => replaced.push(what),
        Progress::Kept { path, why, .. } => kept.push(format!("{path}: {why}")),
        Progress::Begins { .. } | Progress::Commit | Progress::Created(_) | Progress::Overtaken { .. } => {}
    };
    let imported = import_reporting(database, git, more, &mut report).await?;
    let counts = (imported.skipped, imported.replaced, imported.kept);
    assert_eq!(counts, (skipped.len(), replaced.len(), kept.len()));
    skipped.extend(replaced);
    skipped.extend(kept);
    Ok((imported, skipped))
}

/// Creates the database if there is none: an import does not.
pub(super) async fn create(database: &Database) {
    if database.file().is_some_and(|file| !file.exists()) {
        migrate(database).await;
    }
}

pub(super) async fn import_reporting(
    database: &Database,
    git: &Path,
    more: &[&str],
    report: &mut (dyn FnMut(Progress) + Send),
) -> anyhow::Result<Imported> {
    let base = ["import", "--git", git.to_str().unwrap()];
    let (Antiphon::Import(import), settings) = parse(database, &[&base, more].concat()) else { panic!() };
    let import: Import = import;
    create(database).await;
    commands::import(&settings, &import, report).await
}

pub(super) async fn import(database: &Database, git: &Path, name: &str, more: &[&str]) -> Imported {
    try_import(database, git, name, more).await.unwrap().0
}

pub(super) async fn export(database: &Database, project: &str, more: &[&str]) -> anyhow::Result<Vec<String>> {
    let (Antiphon::Export(export), settings) = parse(database, &[&["export", project], more].concat()) else {
        panic!()
    };
    let export: Export = export;
    commands::export(&settings, &export, &mut |_| {}).await
}

async fn verify(database: &Database) -> (Verified, Vec<String>) {
    let (_, settings) = parse(database, &["verify"]);
    let mut wrong = Vec::new();
    let verified = commands::verify(&settings, None, &mut |_, text| wrong.push(text)).await.unwrap();
    assert_eq!(verified.problems, wrong.len());
    (verified, wrong)
}

pub(super) async fn assert_sound(database: &Database) {
    let (_, wrong) = verify(database).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The client of the owner that `import` sets: the default user of `antiphon token`, not the tests' own.
pub(super) async fn owner(server: &Server) -> Client {
    operator_user(server, "ada@example.com").await
}

/// The client of the user that `import --email` sets.
pub(super) async fn operator_user(server: &Server, email: &str) -> Client {
    let settings = parse(server.database(), &["verify"]).1;
    server.anonymous().with_token(Some(commands::token(&settings, email, None, 1).await.unwrap()))
}

/// The checkpoints of a project from the API, oldest first: message, metadata, manifest and revision.
pub(super) async fn checkpoints(ada: &Client, project: &str) -> Vec<Value> {
    let query = "query($id: ID!) { project(id: $id) { sessions { nodes { messages(first: 500) { nodes {
        content role isCheckpoint metadata snapshot { manifestSha256 revision name } } } } } } }";
    let data = ada.gql(query, json!({ "id": project })).await.ok();
    let sessions = data["project"]["sessions"]["nodes"].as_array().unwrap();
    let messages = sessions.iter().rev().flat_map(|session| session["messages"]["nodes"].as_array().unwrap());
    messages.filter(|message| message["isCheckpoint"] == true).cloned().collect()
}

fn manifests(checkpoints: &[Value]) -> Vec<String> {
    checkpoints.iter().map(|checkpoint| checkpoint["snapshot"]["manifestSha256"].as_str().unwrap().to_owned()).collect()
}

/// Path and bytes of every file of a project at a revision, from the API.
async fn files_at(ada: &Client, project: &str, revision: &Value) -> BTreeMap<String, Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let query = "query($id: ID!, $at: Int) { project(id: $id) { files(at: $at, first: 500) { nodes {
        path type content contentBase64 } } } }";
    let data = ada.gql(query, json!({ "id": project, "at": revision })).await.ok();
    let files = data["project"]["files"]["nodes"].as_array().unwrap();
    let files = files.iter().filter(|file| file["type"] == "FILE");
    files
        .map(|file| {
            // Text arrives as text, other contents in Base64.
            let text = file["content"].as_str().map(|text| text.as_bytes().to_vec());
            let content = text.unwrap_or_else(|| STANDARD.decode(file["contentBase64"].as_str().unwrap()).unwrap());
            (file["path"].as_str().unwrap().to_owned(), content)
        })
        .collect()
}

/// Runs SQL directly on the database.
async fn execute(database: &Database, sql: &str) {
    let (url, sql) = (database.url(), AssertSqlSafe(sql.to_owned()));
    match database.kind() {
        Kind::Sqlite => {
            let mut connection = SqliteConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

tests::on_both! {
    async fn cached_contents_are_not_read_and_hide_no_damage(database: Database) {
        // Given contents that were just written, and all of whose rows are damaged, when the server restores them, then
        // it reads none of the rows …
        let server = Server::start(&database).await;
        let project = Project::create(&server.user("ada@example.com"), "Memory").await;
        project.create_file("a.py", "one\n").await;
        project.update_file("a.py", "two\n").await;
        let nothing = if database.kind() == Kind::Sqlite { "x'00'" } else { "'\\x00'" };
        assert_eq!(database.execute(&format!("UPDATE blobs SET data = {nothing}")).await, 2);
        project.write("restoreRevision", json!({ "revision": 2 }), "revision").await;
        let one = ("a.py".to_owned(), "one\n".to_owned());
        assert_eq!(project.contents().await, [one]);
        server.stop().await;

        // … but `verify` reports the damage, and so does a server with an empty cache.
        assert_eq!(verify(&database).await.0.problems, 2);
        let server = Server::start(&database).await;
        let query = "query($id: ID!) { project(id: $id) { file(path: \"a.py\") { content } } }";
        let answer = server.user("ada@example.com").gql(query, json!({ "id": project.id })).await;
        assert_eq!(answer.error_code(), "INTERNAL");
        server.stop().await;
    }

    async fn a_git_history_survives_import_export_and_import(database: Database) {
        // Given a history with every unusual feature, when it is imported …
        let folder = Folder::new();
        let original = odd_history(folder.path("original"));
        let imported = import(&database, &original.0, "odd", &[]).await;
        let commits = original.commits();
        assert_eq!((imported.commits, imported.left, imported.skipped), (commits.len(), 0, 0));
        assert_sound(&database).await;

        // … then each commit is a checkpoint of the assistant with the commit's files, bytes and message …
        let server = Server::start(&database).await;
        let ada = owner(&server).await;
        let project = imported.project.0.to_string();
        let all = checkpoints(&ada, &project).await;
        assert_eq!(all.len(), commits.len());
        for (commit, checkpoint) in commits.iter().zip(&all) {
            assert_eq!(checkpoint["metadata"]["commit"], **commit);
            assert_eq!(checkpoint["metadata"]["author"], "Ada Löwe");
            assert_eq!(checkpoint["metadata"]["authoredAt"], "2023-11-15T03:58:20+05:45");
            assert_eq!(checkpoint["metadata"]["committerEmail"], "bob@example.com");
            assert_eq!(checkpoint["role"], "ASSISTANT");
            assert_eq!(checkpoint["content"], original.message(commit));
            let first = original.message(commit);
            let name = checkpoint["snapshot"]["name"].as_str().unwrap();
            match first.lines().map(str::trim).find(|line| !line.is_empty()) {
                Some(line) => assert_eq!(name, line),
                None => assert!(name.starts_with("Auto-snapshot"), "{name}"),
            }
            let files = files_at(&ada, &project, &checkpoint["snapshot"]["revision"]).await;
            assert_eq!(files, original.files(commit), "{}", checkpoint["content"]);
        }

        // … and the export has the same trees (thus the same modes), messages, authors and times …
        let to = folder.path("exported");
        let said = export(&database, &project, &["--git", to.to_str().unwrap()]).await.unwrap();
        assert_eq!(said.len(), 1, "{said:?}");
        let exported = Repository(to);
        assert_eq!(exported.trees(), original.trees());
        assert_eq!(exported.git(&["status", "--porcelain"]), "");
        let merge = commits.iter().position(|commit| original.message(commit).starts_with("A merge")).unwrap();
        for (at, (ours, theirs)) in exported.commits().iter().zip(&commits).enumerate() {
            assert_eq!(exported.message(ours), original.message(theirs));
            // Before the merge, whose second parent is not part of the project, the commits are identical.
            assert_eq!(ours == theirs, at < merge);
        }

        // … whose import gives the same project again …
        let again = import(&database, &exported.0, "again", &[]).await.project.0.to_string();
        assert_eq!(manifests(&checkpoints(&ada, &again).await), manifests(&all));
        assert_sound(&database).await;

        // … and importing the same history a third time does nothing.
        assert_eq!(import(&database, &exported.0, "again", &[]).await.commits, 0);
        assert_eq!(checkpoints(&ada, &again).await.len(), all.len());
        server.stop().await;
    }

    async fn an_import_continues_where_it_stopped(database: Database) {
        let folder = Folder::new();
        let repository = odd_history(folder.path("original"));
        let total = repository.commits().len();
        let first = import(&database, &repository.0, "steps", &["--max", "5"]).await;
        assert_eq!((first.commits, first.left), (5, total - 5));
        // As if the process was killed between a message and its files: the message has no files yet.
        let server = Server::start(&database).await;
        let ada = owner(&server).await;
        let query = "query($id: ID!) { project(id: $id) { activeSession { id } } }";
        let session = ada.gql(query, json!({ "id": first.project.0 })).await.ok()["project"]["activeSession"]["id"].take();
        let query = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
        let input = json!({ "sessionId": session, "role": "ASSISTANT", "content": repository.message(&repository.commits()[5]),
            "isCheckpoint": true, "metadata": { "commit": repository.commits()[5] } });
        ada.gql(query, json!({ "input": input })).await.ok();

        // When the import runs again, then it completes that message first.
        let second = import(&database, &repository.0, "steps", &["--max", "2"]).await;
        assert_eq!((second.commits, second.left, second.project), (2, total - 7, first.project));
        let third = import(&database, &repository.0, "steps", &[]).await;
        assert_eq!((third.commits, third.left), (total - 7, 0));
        assert_sound(&database).await;
        repository.write("later.py", "1\n").commit("Later");
        assert_eq!(import(&database, &repository.0, "steps", &[]).await.commits, 1);
        assert_eq!(import(&database, &repository.0, "steps", &[]).await.commits, 0);
        let whole = import(&database, &repository.0, "whole", &[]).await;

        let to = folder.path("exported");
        export(&database, &first.project.0.to_string(), &["--git", to.to_str().unwrap()]).await.unwrap();
        assert_eq!(Repository(to).trees(), repository.trees());
        assert_eq!(whole.commits, total + 1);

        // A different history is refused.
        let other = Repository::init(folder.path("other"));
        other.write("a", "b").commit("Other");
        let refused = try_import(&database, &other.0, "steps", &[]).await.unwrap_err();
        assert!(refused.to_string().contains("is not an ancestor of HEAD"), "{refused}");
        server.stop().await;
    }

    async fn files_that_cannot_be_imported_are_skipped_and_named(database: Database) {
        let folder = Folder::new();
        let repository = Repository::init(folder.path("original"));
        repository.write("good", "1\n").write("grows", "1\n").write("line\nfeed", "1\n").commit("One");
        let object = repository.git(&["rev-parse", "HEAD"]);
        repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{object},module")]);
        repository.git(&["commit", "-q", "-m", "A submodule"]);
        repository.write("grows", "x".repeat(2_000)).write("good", "2\n");
        repository.git(&["add", "good", "grows"]);
        repository.git(&["commit", "-q", "-m", "Too large"]);
        let imported = try_import(&database, &repository.0, "limits", &["--max-file-bytes", "1000"]).await.unwrap();
        let (imported, skipped) = imported;
        assert_eq!(imported.commits, 3);
        let starts = ["line\nfeed: ", "module: It is a submodule", "grows: It has 2000 bytes; MAX_FILE_BYTES allows 1000"];
        assert_eq!(skipped.len(), starts.len(), "{skipped:?}");
        assert!(starts.iter().zip(&skipped).all(|(start, skipped)| skipped.starts_with(start)), "{skipped:?}");
        // Run again, nothing is left to do, although the last commit could not be taken whole.
        assert_eq!(import(&database, &repository.0, "limits", &["--max-file-bytes", "1000"]).await.commits, 0);
        let to = folder.path("exported");
        export(&database, &imported.project.0.to_string(), &["--git", to.to_str().unwrap()]).await.unwrap();
        let exported = Repository(to);
        let last = exported.files("HEAD");
        assert_eq!(last, BTreeMap::from([("good".to_owned(), b"2\n".to_vec())]));
        assert_sound(&database).await;
    }

    async fn a_project_of_the_api_becomes_a_git_history(server: Server) {
        // Given a conversation with files, writes of its own, a rename, a rollback and a folder …
        let ada = server.user("ada@example.com");
        let write = |query: &str, input: Value| {
            let (ada, query) = (ada.clone(), query.to_owned());
            async move { ada.gql(&query, json!({ "input": input })).await.ok() }
        };
        let project = write(
            "mutation($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }",
            json!({ "name": "Agent", "initialPrompt": "", "config": {} }),
        ).await["createProject"]["project"]["id"].clone();
        let session = write(
            "mutation($input: StartSessionInput!) { startSession(input: $input) { session { id } } }",
            json!({ "projectId": project }),
        ).await["startSession"]["session"]["id"].clone();
        let add_message = async |role: &str, content: &str| {
            let checkpoint = role == "ASSISTANT";
            let input = json!({ "sessionId": session, "role": role, "content": content, "isCheckpoint": checkpoint });
            let query = "mutation($input: AddMessageInput!) { addMessage(input: $input) { message { id } revision } }";
            write(query, input).await["addMessage"].clone()
        };
        let sync = async |message: &Value, files: Value, deletes: Value, why: Value| {
            let input = json!({ "projectId": project, "messageId": message, "files": files, "deletes": deletes,
                "changeDescription": why });
            let query = "mutation($input: SyncFilesInput!) { syncFiles(input: $input) { revision } }";
            write(query, input).await["syncFiles"]["revision"].clone()
        };
        add_message("USER", "Make an agent, please.\n").await;
        let first = add_message("ASSISTANT", "Here it is.").await["message"]["id"].clone();
        sync(&first, json!([{ "path": "main.py", "content": "1\n" }, { "path": "docs", "type": "FOLDER" }]), json!([]), Value::Null).await;
        let moment = sync(&Value::Null, json!([{ "path": "main.py", "content": "2\n" }]), json!([]), json!("Autosave")).await;
        sync(&first, json!([{ "path": ".git/config", "content": "evil" }, { "path": "a.py", "content": "a\n" }]), json!([]), Value::Null).await;
        let second = add_message("ASSISTANT", "Tidied up.").await["message"]["id"].clone();
        sync(&second, json!([{ "path": "b.py", "content": "a\n" }]), json!(["a.py", "not there"]), Value::Null).await;
        write(
            "mutation($input: RestoreRevisionInput!) { restoreRevision(input: $input) { revision } }",
            json!({ "projectId": project, "revision": moment }),
        ).await;

        // One path cannot be both written and deleted.
        let query = "mutation($input: SyncFilesInput!) { syncFiles(input: $input) { revision } }";
        let input = json!({ "projectId": project, "files": [{ "path": "a.py", "content": "" }], "deletes": ["b.py", "/a.py"] });
        let refused = ada.gql(query, json!({ "input": input })).await;
        assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "deletes[1]"));

        // … when it is exported, then messages and writes become commits with the files of their revisions …
        let folder = Folder::new();
        let to = folder.path("exported");
        let id = project.as_str().unwrap();
        let said = export(server.database(), id, &["--git", to.to_str().unwrap()]).await.unwrap();
        assert!(said[0].contains(".git/config") && said.len() == 2, "{said:?}");
        let exported = Repository(to);
        let commits = exported.commits();
        let found: Vec<_> = commits
            .iter()
            .map(|commit| (exported.message(commit), exported.files(commit).into_keys().collect::<Vec<_>>().join(" ")))
            .collect();
        let expected = [
            ("Make an agent, please.\n", ""),
            ("Autosave", "main.py"),
            ("Here it is.", "a.py main.py"),
            ("Tidied up.", "b.py main.py"),
            ("Restore an earlier state", "main.py"),
        ];
        let expected: Vec<_> = expected.iter().map(|(text, files)| ((*text).to_owned(), (*files).to_owned())).collect();
        assert_eq!(found, expected);
        assert_eq!(exported.git(&["log", "-1", "--format=%an <%ae>"]), "ada <ada@example.com>");
        assert_sound(server.database()).await;

        // … and the archive of a revision has its files and folders, with the same bytes each time.
        let zip = |name: &str| folder.path(name);
        let at = moment.to_string();
        for name in ["one.zip", "two.zip"] {
            export(server.database(), id, &["--to", zip(name).to_str().unwrap(), "--at", &at]).await.unwrap();
        }
        let bytes = fs::read(zip("one.zip")).unwrap();
        assert_eq!(bytes, fs::read(zip("two.zip")).unwrap());
        // The id of the project as of a revision has the same effect.
        let (of_then, three) = (format!("{id}@{at}"), zip("three.zip"));
        for more in [&["--to", three.to_str().unwrap()][..], &["--to", three.to_str().unwrap(), "--at", &at]] {
            export(server.database(), &of_then, more).await.unwrap();
            assert_eq!(bytes, fs::read(&three).unwrap());
        }
        let other = export(server.database(), &of_then, &["--to", three.to_str().unwrap(), "--at", "1"]).await;
        assert!(other.unwrap_err().to_string().contains("and --at to 1"));
        let history = export(server.database(), &of_then, &["--git", zip("history").to_str().unwrap()]).await;
        assert!(history.unwrap_err().to_string().contains("the whole history"));
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let mut entries = Vec::new();
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at).unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            entries.push((entry.name().unwrap().into_owned(), content));
        }
        assert_eq!(entries, [("docs/".to_owned(), String::new()), ("main.py".to_owned(), "2\n".to_owned())]);
        let refused = export(server.database(), id, &["--to", zip("x.zip").to_str().unwrap(), "--at", "99"]).await;
        assert!(refused.unwrap_err().to_string().contains("revisions 1 to"));
    }

    async fn verify_finds_damage(database: Database) {
        let folder = Folder::new();
        let repository = odd_history(folder.path("original"));
        import(&database, &repository.0, "odd", &[]).await;
        assert_sound(&database).await;
        let (read, _) = verify(&database).await;
        assert_eq!(read.projects, 1);
        assert_eq!(read.snapshots, repository.commits().len());

        // Each damage is planted, found by the words that name it, and reverted: a column (rows if none is named), the
        // change, and the expected words.
        let zeros = if database.kind() == Kind::Sqlite { "x'000000'" } else { "'\\x000000'::bytea" };
        let blob = "id = (SELECT min(id) FROM blobs WHERE encoding = 1)";
        let newest = "revision = (SELECT max(revision) FROM file_snapshots)";
        let middle = "id = (SELECT id FROM file_snapshots WHERE version = 2 AND superseded_revision IS NOT NULL
            AND change_type = 'update' ORDER BY revision LIMIT 1)";
        for (table, column, damage, words) in [
            ("blobs", "data", format!("{zeros} WHERE {blob}"), "cannot be decompressed"),
            ("blobs", "sha256", format!("{zeros} WHERE {blob}"), "its hash has a wrong length"),
            ("blobs", "size", format!("size + 1 WHERE {blob}"), "bytes instead of"),
            ("blobs", "depth", format!("depth + 1 WHERE {blob}"), "its depth is"),
            ("file_snapshots", "", format!("WHERE {middle}"), "version 2 of"),
            ("file_snapshots", "", format!("WHERE {newest}"), "none follows"),
            ("file_snapshots", "superseded_revision", format!("superseded_revision + 1 WHERE {middle}"), "the version before it ends at"),
            ("file_snapshots", "superseded_revision", format!("superseded_revision - 1 WHERE {middle}"), "the version before it ends at"),
            ("file_snapshots", "blob_id", format!("NULL WHERE {middle}"), "has no contents"),
            ("file_snapshots", "path", format!("'elsewhere' WHERE {middle}"), "says its manifest is"),
            ("project_events", "", "WHERE revision = 5".to_owned(), "revision 5 has no event"),
            ("project_snapshots", "revision", "revision - 2 WHERE revision > 6".to_owned(), "says its manifest is"),
            ("project_files", "version", "version + 1".to_owned(), "the version on its row"),
            ("projects", "change_count", "change_count + 1".to_owned(), "changes; there are"),
            ("projects", "revision", "revision + 2".to_owned(), "have no events"),
            ("chat_sessions", "message_count", "1".to_owned(), "says it has 1 messages"),
        ] {
            let key = if table == "project_events" { "revision" } else { "id" };
            let (damage, repair) = match column {
                "" => (
                    format!("DELETE FROM {table} {damage}"),
                    format!("INSERT INTO {table} SELECT * FROM kept WHERE {key} NOT IN (SELECT {key} FROM {table})"),
                ),
                column => (
                    format!("UPDATE {table} SET {column} = {damage}"),
                    format!("UPDATE {table} SET {column} = (SELECT kept.{column} FROM kept WHERE kept.{key} = {table}.{key})"),
                ),
            };
            execute(&database, &format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
            execute(&database, &damage).await;
            let found = verify(&database).await.1;
            assert!(found.iter().any(|wrong| wrong.contains(words)), "{damage}: {words:?} is not in {found:#?}");
            execute(&database, &repair).await;
            execute(&database, "DROP TABLE kept").await;
        }
        assert_sound(&database).await;
    }

    async fn verify_finds_damage_in_teams_and_configurations(database: Database) {
        // Given a project with a member, a former member, an invited address, three versions of a configuration,
        // changed names, and messages that were hidden and shown again …
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Named").await;
        let ids = json!({ "projectId": project.id });
        for email in ["bob@example.com", "fay@example.com"] {
            let user = server.user(email);
            user.gql("{ viewer { id } }", json!({})).await.ok();
            project.write("inviteCollaborator", json!({ "userId": user_id(email), "role": "EDITOR" }), "revision").await;
            user.mutate_with("acceptInvitation", ids.clone(), "revision").await.ok();
        }
        server.user("fay@example.com").mutate_with("leaveProject", ids, "revision").await.ok();
        project.write("inviteByEmail", json!({ "email": "amy@example.com", "role": "VIEWER" }), "revision").await;
        let saved = project.write("saveAgentConfiguration", settings("One"), "agentConfiguration { id }").await;
        let id = &saved["agentConfiguration"]["id"];
        for name in ["Two", "Three"] {
            project.write("saveAgentConfiguration", with(settings(name), json!({ "id": id })), "revision").await;
        }
        ada.mutate("updateProject", json!({ "id": project.id, "name": "Renamed" }), "revision").await.ok();
        let session = project.start_session().await;
        let before = project.revision().await;
        project.add_message(&session, "Forget this", false).await;
        let restore = json!({ "revision": before, "scope": "CONVERSATION", "sessionId": session });
        project.write("restoreRevision", restore.clone(), "revision").await;
        project.write("undo", json!({}), "revision").await;
        project.write("restoreRevision", restore, "revision").await;
        server.stop().await;
        assert_sound(&database).await;

        // … when one of its rows is damaged, then `verify` finds it, in words that name it.
        let (versions, hidden) = ("agent_configuration_versions", "hidden_messages");
        for (table, damage, words) in [
            (versions, "DELETE FROM agent_configuration_versions WHERE version = 2", "do not follow each other"),
            (versions, "UPDATE agent_configuration_versions SET superseded_revision = revision + 9 WHERE version = 1", "do not follow each other"),
            (versions, "UPDATE agent_configuration_versions SET superseded_revision = revision WHERE version = 2", "do not follow each other"),
            (versions, "DELETE FROM agent_configuration_versions WHERE version = 3", "differs from its newest version"),
            (versions, "DELETE FROM agent_configuration_versions", "differs from its newest version"),
            (versions, "UPDATE agent_configuration_versions SET superseded_revision = 99 WHERE version = 3", "differs from its newest version"),
            (versions, "UPDATE agent_configuration_versions SET llm_model = 'other' WHERE version = 3", "differs from its newest version"),
            (versions, "UPDATE agent_configuration_versions SET description = 'other' WHERE version = 3", "differs from its newest version"),
            (versions, "UPDATE agent_configuration_versions SET is_active = NOT is_active WHERE version = 3", "differs from its newest version"),
            (versions, "UPDATE agent_configuration_versions SET revision = 2 WHERE version = 1", "without an entry in the log"),
            ("project_collaborators", "UPDATE project_collaborators SET role = 'owner'", "has the owner's role"),
            ("project_collaborators", "UPDATE project_collaborators SET user_id = (SELECT user_id FROM projects)", "is the project's owner"),
            ("project_collaborators", "UPDATE project_collaborators SET accepted_at = (SELECT created_at FROM projects)", "before being invited"),
            ("project_former_collaborators", "UPDATE project_former_collaborators SET left_at = '2999-01-01 00:00:00+00:00'", "after the newest revision"),
            ("project_invitations", "UPDATE project_invitations SET email = 'Amy@example.com'", "1 invitations are to invalid addresses"),
            ("project_invitations", "UPDATE project_invitations SET email = 'amy'", "1 invitations are to invalid addresses"),
            ("project_versions", "UPDATE project_versions SET superseded_revision = 2", "changes of its fields without an entry in the log"),
            (hidden, "UPDATE hidden_messages SET revision = 1 WHERE superseded_revision IS NOT NULL", "is hidden at a revision where it cannot be"),
            (hidden, "UPDATE hidden_messages SET superseded_revision = revision WHERE superseded_revision IS NOT NULL", "is hidden at a revision where it cannot be"),
            (hidden, "UPDATE hidden_messages SET superseded_revision = NULL", "is hidden at a revision where it cannot be"),
            (hidden, "UPDATE hidden_messages SET revision = 99 WHERE superseded_revision IS NULL", "is hidden at a revision where it cannot be"),
        ] {
            execute(&database, &format!("CREATE TABLE kept AS SELECT * FROM {table}")).await;
            execute(&database, damage).await;
            let found = verify(&database).await.1;
            assert!(found.iter().any(|wrong| wrong.contains(words)), "{damage}: {words:?} is not in {found:#?}");
            assert!(found.iter().all(|wrong| !wrong.contains('@')), "{found:#?}");
            execute(&database, &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept")).await;
        }
        assert_sound(&database).await;
        execute(&database, "UPDATE agent_configurations SET config_name = 'Another'").await;
        let found = verify(&database).await.1;
        assert!(found.iter().any(|wrong| wrong.contains("differs from its newest version")), "{found:#?}");
    }
}
