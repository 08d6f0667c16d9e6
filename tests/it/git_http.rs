//! Given a project, when git clients use it as a repository over HTTP, then they get its history as commits that are the
//! same on every server and never change, and only members do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::json;
use tests::{
    client::Client,
    database::Database,
    project::Project,
    server::{ChildServer, Server, user_id},
    workload::Random,
};
use tokio::process::Command;

use crate::import_export::{ENVIRONMENT, Folder, Repository, import, odd_history, owner};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// The result of a git command: whether it succeeded, what it printed, and its messages.
pub(super) struct Ran {
    pub(super) is_ok: bool,
    pub(super) output: String,
    pub(super) messages: String,
}

impl Ran {
    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert!(self.is_ok, "{}", self.messages);
        self.output.trim_end().to_owned()
    }

    /// The messages of a command that must fail.
    #[track_caller]
    pub(super) fn refused(self) -> String {
        assert!(!self.is_ok, "{}{}", self.output, self.messages);
        self.messages
    }
}

/// Runs git in a folder.
pub(super) async fn git(folder: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(arguments).stdin(Stdio::null());
    command.envs(ENVIRONMENT).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
    let ran = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { is_ok: ran.status.success(), output: text(ran.stdout), messages: text(ran.stderr) }
}

/// The address of a project for git, with a client's token.
pub(super) fn url(client: &Client, server: &Server, project: &str) -> String {
    let user = client.token().map(|token| format!("anyone:{token}@")).unwrap_or_default();
    format!("http://{user}{}/git/{project}.git", server.address())
}

/// A server whose copies are in a folder.
pub(super) async fn start(database: &Database, cache: &Path, flags: &[&str]) -> Server {
    Server::start_with(database, &[&["--git-cache", cache.to_str().unwrap()], flags].concat()).await
}

/// A clone of a project, in this folder.
pub(super) async fn clone(folder: &Folder, name: &str, url: &str) -> PathBuf {
    git(&folder.path(""), &["clone", "-q", url, name]).await.ok();
    folder.path(name)
}

/// A clone of a repository by a client that checks every object.
pub(super) async fn checked_clone(folder: &Folder, name: &str, url: &str) -> PathBuf {
    let settings = ["-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true"];
    git(&folder.path(""), &[&settings[..], &["clone", "-q", url, name]].concat()).await.ok();
    folder.path(name)
}

/// The newest commit that a server shows.
pub(super) async fn tip(folder: &Folder, url: &str) -> String {
    let listed = git(&folder.path(""), &["ls-remote", url, "refs/heads/main"]).await.ok();
    listed.split('\t').next().unwrap_or_default().to_owned()
}

/// The number of objects in a clone.
pub(super) async fn objects(clone: &Path) -> usize {
    let counted = git(clone, &["count-objects", "-v"]).await.ok();
    let number = |line: &str| line.split_once(": ").map_or(0, |(_, number)| number.parse().unwrap());
    counted.lines().filter(|line| line.starts_with("count:") || line.starts_with("in-pack:")).map(number).sum()
}

/// The repository that a server keeps of a project.
fn kept(cache: &Path, project: &Project) -> PathBuf {
    cache.join(format!("{}.git", project.id))
}

tests::on_both! {
    async fn a_project_is_cloned_and_a_fetch_gets_only_what_is_new(database: Database) {
        let folder = Folder::new();
        let server = start(&database, &folder.path("cache"), &[]).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        // Given a project without files, then the clone is empty …
        let url = url(&ada, &server, &project.id);
        let clone = clone(&folder, "clone", &url).await;
        assert_eq!(fs::read_dir(&clone).unwrap().count(), 1);
        // … and when files are written, then a fetch gets them, with their messages.
        let session = project.start_session().await;
        let message = project.add_message(&session, "Write the agent", true).await;
        let files = json!([{ "path": "src/main.py", "content": "print(1)\n" }, { "path": "größe.txt", "content": "ü" }]);
        project.write("syncFiles", json!({ "files": files, "messageId": message }), "revision").await;
        project.create_file("notes.md", "a\r\nb").await;
        git(&clone, &["pull", "-q", "origin", "main"]).await.ok();
        assert_eq!(fs::read_to_string(clone.join("src/main.py")).unwrap(), "print(1)\n");
        assert_eq!(fs::read(clone.join("notes.md")).unwrap(), b"a\r\nb");
        let log = git(&clone, &["log", "--format=%s|%an|%ae", "--reverse"]).await.ok();
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("Write the agent|user-"), "{log}");
        assert!(lines[1].starts_with("Create notes.md|user-") && !log.contains("@example.com"), "{log}");
        let before = objects(&clone).await;
        // When one file of a folder changes, then a fetch gets its commit, its two trees and its content.
        project.update_file("src/main.py", "print(2)\n").await;
        git(&clone, &["pull", "-q"]).await.ok();
        assert_eq!(objects(&clone).await - before, 4);
        assert_eq!(fs::read_to_string(clone.join("src/main.py")).unwrap(), "print(2)\n");
        // A message without files is no commit.
        project.add_message(&session, "Just talk", false).await;
        let head = git(&clone, &["rev-parse", "HEAD"]).await.ok();
        assert_eq!(tip(&folder, &url).await, head);
        git(&clone, &["fsck", "--strict"]).await.ok();
        server.stop().await;
    }

    async fn only_members_see_a_repository(database: Database) {
        let folder = Folder::new();
        let server = start(&database, &folder.path("cache"), &[]).await;
        let (ada, bob) = (server.user(ADA), server.user(BOB));
        let project = Project::create(&ada, "Voice").await;
        project.create_file("a.txt", "a").await;
        let path = format!("/git/{}.git/info/refs?service=git-upload-pack", project.id);
        // Given no token or a wrong one, then the server asks for one …
        for headers in [&[][..], &[("authorization", "Basic eDp5")], &[("authorization", "Bearer x")]] {
            let answer = server.anonymous().send("GET", &path, headers, "").await.unwrap();
            assert_eq!(answer.status, 401, "{headers:?}");
            assert!(answer.header("www-authenticate").starts_with("Basic realm=\"Antiphon\""), "{headers:?}");
        }
        // … and given a user who is not a member, then the answer is that of a project that does not exist.
        let bearer = |client: &Client| format!("Bearer {}", client.token().unwrap());
        let ask = async |client: &Client, path: &str| {
            let bearer = bearer(client);
            let answer = client.send("GET", path, &[("authorization", &bearer)], "").await.unwrap();
            (answer.status, String::from_utf8(answer.body.to_vec()).unwrap())
        };
        let missing = "/git/01990000-0000-7000-8000-000000000000.git/info/refs?service=git-upload-pack";
        let refused = ask(&bob, &path).await;
        assert_eq!(refused, (404, "There is no such project.\n".to_owned()));
        assert_eq!(ask(&bob, missing).await, refused);
        assert_eq!(ask(&bob, "/git/nothing/info/refs?service=git-upload-pack").await, refused);
        // A member can leave out the extension, and gets a clear answer for the dumb protocol.
        assert_eq!(ask(&ada, &path.replace(".git/", "/")).await.0, 200);
        let (status, text) = ask(&ada, &format!("/git/{}.git/info/refs", project.id)).await;
        assert!(status == 403 && text.contains("smart HTTP"), "{text}");
        assert_eq!(ask(&ada, &format!("/git/{}.git/HEAD", project.id)).await.0, 404);
        // A viewer can clone until they are removed, although the server has a copy.
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let invite = json!({ "userId": user_id(BOB), "role": "VIEWER" });
        project.write("inviteCollaborator", invite, "collaborator { role }").await;
        assert_eq!(ask(&bob, &path).await, refused);
        bob.mutate_with("acceptInvitation", json!({ "projectId": project.id }), "revision").await.ok();
        clone(&folder, "viewer", &url(&bob, &server, &project.id)).await;
        let removed = json!({ "projectId": project.id, "userId": user_id(BOB) });
        ada.mutate_with("removeCollaborator", removed, "revision").await.ok();
        assert_eq!(ask(&bob, &path).await, refused);
        // A request of a page, and one of another type, are refused.
        let (path, bearer) = (format!("/git/{}.git/git-upload-pack", project.id), bearer(&ada));
        let page = [("authorization", bearer.as_str()), ("origin", "https://evil.example.com")];
        assert_eq!(ada.send("POST", &path, &page, "0000").await.unwrap().status, 403);
        let plain = [("authorization", bearer.as_str()), ("content-type", "text/plain")];
        assert_eq!(ada.send("POST", &path, &plain, "0000").await.unwrap().status, 415);
        server.stop().await;
    }

    async fn a_copy_that_is_lost_or_damaged_is_made_again(database: Database) {
        let folder = Folder::new();
        let cache = folder.path("cache");
        let server = start(&database, &cache, &[]).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        for number in 0..3 {
            project.create_file(&format!("{number}.txt"), "text\n".repeat(100 + number).as_str()).await;
        }
        let url = url(&ada, &server, &project.id);
        let first = tip(&folder, &url).await;
        let copy = kept(&cache, &project);
        let packs = || fs::read_dir(copy.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        let damages: [&dyn Fn(); 7] = [
            &|| fs::remove_dir_all(&copy).unwrap(),
            &|| fs::write(copy.join("tip"), "9 9").unwrap(),
            // As if the database were an older backup, which has another history.
            &|| {
                let tip = fs::read_to_string(copy.join("tip")).unwrap();
                let mut words: Vec<&str> = tip.split(' ').collect();
                words[2] = "1";
                fs::write(copy.join("tip"), words.join(" ")).unwrap();
            },
            &|| fs::remove_dir_all(copy.join("objects")).unwrap(),
            &|| packs().for_each(|path| fs::remove_file(path).unwrap()),
            // As after a kill: the branch and the state are those of an earlier time, and a pack is incomplete.
            &|| {
                fs::remove_file(copy.join("refs/heads/main")).unwrap();
                fs::remove_file(copy.join("tip")).unwrap();
                fs::write(copy.join("objects/pack/tmp_pack_x"), "PACK").unwrap();
            },
            &|| fs::write(copy.join("HEAD"), "").unwrap(),
        ];
        for (number, damage) in damages.into_iter().enumerate() {
            damage();
            let clone = clone(&folder, &format!("clone{number}"), &url).await;
            let log = git(&clone, &["rev-list", "--reverse", "HEAD"]).await.ok();
            assert!(log.ends_with(&first), "{number}");
            assert_eq!(log.lines().count(), 3);
            git(&clone, &["fsck", "--strict"]).await.ok();
        }
        // Bytes that change within a pack are found at the next request after one that failed.
        let damaged = packs().find(|path| path.extension().is_some_and(|extension| extension == "pack")).unwrap();
        let mut permissions = fs::metadata(&damaged).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
        fs::set_permissions(&damaged, permissions).unwrap();
        let mut bytes = fs::read(&damaged).unwrap();
        let middle = bytes.len() / 2;
        bytes[12..middle].fill(0);
        fs::write(&damaged, bytes).unwrap();
        // It succeeds if the newest commit was damaged, since that is always read.
        git(&folder.path(""), &["clone", "-q", &url, "broken"]).await;
        clone(&folder, "mended", &url).await;
        server.stop().await;
    }

    async fn every_server_makes_the_same_commits_however_often_it_looks(database: Database) {
        let folder = Folder::new();
        let often = start(&database, &folder.path("often"), &[]).await;
        let ada = often.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        let here = url(&ada, &often, &project.id);
        let session = project.start_session().await;
        let seed = 20_261_130;
        let mut random = Random(seed);
        let mut tips = Vec::new();
        for step in 0..20 {
            random_write(&project, &session, &mut random, step).await;
            tips.push(tip(&folder, &here).await);
        }
        // When another server exports the whole history at once, then its commits are the same.
        let once = start(&database, &folder.path("once"), &[]).await;
        let there = url(&ada, &once, &project.id);
        assert_eq!(tip(&folder, &there).await, *tips.last().unwrap(), "seed {seed}");
        let clone = clone(&folder, "clone", &there).await;
        let commits = git(&clone, &["rev-list", "--reverse", "HEAD"]).await.ok();
        tips.retain(|tip| !tip.is_empty());
        tips.dedup();
        let mut commits: Vec<&str> = commits.lines().collect();
        commits.retain(|commit| tips.iter().any(|tip| tip == commit));
        assert_eq!(commits, tips, "every tip that was ever shown is in the history, in order");
        git(&clone, &["fsck", "--strict"]).await.ok();
        // The newest commit has the project's files.
        let live = project.ask("files(first: 500) { nodes { path type content } }").await;
        let live = live["files"]["nodes"].as_array().unwrap().clone();
        let live: std::collections::BTreeMap<String, Vec<u8>> = live
            .iter()
            .filter(|file| file["type"] == "FILE")
            .map(|file| (file["path"].as_str().unwrap().to_owned(), file["content"].as_str().unwrap().into()))
            .collect();
        assert_eq!(Repository(clone).files("HEAD"), live, "seed {seed}");
        often.stop().await;
        once.stop().await;
    }

    async fn imported_commits_keep_their_ids(database: Database) {
        let folder = Folder::new();
        let original = odd_history(folder.path("original"));
        let merge = original.git(&["rev-list", "--merges", "HEAD"]);
        let imported = import(&database, &original.0, "Odd", &[]).await;
        let server = start(&database, &folder.path("cache"), &[]).await;
        let ada = owner(&server).await;
        let clone = clone(&folder, "clone", &url(&ada, &server, &imported.project.0.to_string())).await;
        let served = Repository(clone);
        // Up to the first merge, whose side branch is not imported, the commits are the same; all trees are.
        let (were, are) = (original.commits(), served.commits());
        let until = were.iter().position(|commit| *commit == merge).unwrap();
        assert_eq!(are[..until], were[..until]);
        assert_eq!(served.trees(), original.trees());
        server.stop().await;
    }
}

/// A write of any kind.
async fn random_write(project: &Project, session: &str, random: &mut Random, step: usize) {
    let path = |random: &mut Random| {
        let folders = ["", "a/", "a/b/", "a-b/", "a.b/", "ü/"];
        let names = ["x.py", "y.txt", "a", "b"];
        format!("{}{}", folders[random.below(6)], names[random.below(4)])
    };
    let files: Vec<_> = (0..1 + random.below(3))
        .map(|_| (path(random), format!("{}\n", random.below(5))))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .map(|(path, content)| json!({ "path": path, "content": content }))
        .collect();
    // Many of these are refused, since a file is in the way, or change nothing.
    match random.below(9) {
        0 | 1 => drop(project.mutate("syncFiles", json!({ "files": files, "mode": "MIRROR" }), "revision").await),
        2 => {
            let input = json!({ "path": path(random), "newPath": path(random) });
            drop(project.mutate("renameFile", input, "revision").await);
        }
        3 => drop(project.mutate("deleteFile", json!({ "path": path(random) }), "revision").await),
        4 => {
            let revision = 1 + random.below(step + 1);
            drop(project.mutate("restoreRevision", json!({ "revision": revision }), "revision").await);
        }
        5 => {
            let message = project.add_message(session, &format!("Step {step}"), true).await;
            let input = json!({ "files": files, "messageId": message });
            drop(project.mutate("syncFiles", input, "revision").await);
        }
        6 => drop(project.mutate("undo", json!({}), "revision").await),
        7 => drop(project.mutate("createFile", json!({ "path": path(random), "type": "FOLDER" }), "revision").await),
        _ => drop(project.mutate("syncFiles", json!({ "files": files }), "revision").await),
    }
}

tests::on_sqlite! {
    async fn without_the_git_program_or_a_cache_the_routes_explain_it(database: Database) {
        let folder = Folder::new();
        let off = start(&database, &folder.path("cache"), &["--git-cache-bytes", "0"]).await;
        let without = ChildServer::start_with(&database, &[("PATH", "/nonexistent")]);
        for client in [off.user(ADA), without.user(ADA)] {
            let path = "/git/01990000-0000-7000-8000-000000000000.git/info/refs?service=git-upload-pack";
            let answer = client.send("GET", path, &[], "").await.unwrap();
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(answer.status == 501 && text.contains("git program"), "{text}");
        }
        off.stop().await;
    }
}
