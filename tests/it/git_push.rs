//! Given a clone of a project, when a user pushes commits, then each is a message with its files, the clone is up to date
//! without another fetch, and a push that cannot be stored unchanged is refused with a reason.

use std::{
    fs,
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::json;
use tests::{client::Client, database::Database, project::Project, server::Server};

use crate::{
    git_http::{clone, git, objects, start, url},
    import_export::Folder,
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// A project of Ada with the file `a.txt`, on a server of its own, and a clone of it.
pub(super) struct Pushing {
    pub(super) folder: Folder,
    pub(super) server: Server,
    pub(super) project: Project,
    pub(super) clone: PathBuf,
}

impl Pushing {
    pub(super) async fn start(database: &Database, flags: &[&str]) -> Self {
        let folder = Folder::new();
        let server = start(database, &folder.path("cache"), flags).await;
        let project = Project::create(&server.user(ADA), "Voice").await;
        project.create_file("a.txt", "a\n").await;
        let clone = clone(&folder, "clone", &url(&project.client, &server, &project.id)).await;
        Self { folder, server, project, clone }
    }

    /// Another clone, of this client.
    async fn clone_of(&self, name: &str, client: &Client) -> PathBuf {
        clone(&self.folder, name, &url(client, &self.server, &self.project.id)).await
    }

    pub(super) async fn files(&self) -> Vec<String> {
        let files = self.project.ask("files(first: 500) { nodes { path } }").await;
        let files = files["files"]["nodes"].as_array().unwrap().clone();
        files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
    }

    /// Makes the file `l` a symbolic link, as earlier versions of the server have stored it.
    async fn store_link(&self, database: &Database) {
        let project = database.uuid(&self.project.id);
        for (table, path) in [("file_snapshots", "path"), ("project_files", "file_path")] {
            let of_link = format!("project_id = {project} AND {path} = 'l'");
            database.execute(&format!("UPDATE {table} SET mode = 2 WHERE {of_link}")).await;
        }
    }
}

/// Commits everything in a clone; returns the id.
pub(super) async fn commit(clone: &Path, message: &str) -> String {
    git(clone, &["add", "--all"]).await.ok();
    git(clone, &["commit", "-q", "--allow-empty", "--allow-empty-message", "--cleanup=verbatim", "-m", message])
        .await
        .ok();
    git(clone, &["rev-parse", "HEAD"]).await.ok()
}

pub(super) async fn push(clone: &Path) -> crate::git_http::Ran {
    git(clone, &["push", "origin", "HEAD:refs/heads/main"]).await
}

/// Checks that a clone and the server have the same newest commit, and that a fetch gets nothing.
async fn assert_up_to_date(clone: &Path) {
    let before = objects(clone).await;
    git(clone, &["fetch", "-q", "origin"]).await.ok();
    let ids = git(clone, &["rev-parse", "HEAD", "origin/main"]).await.ok();
    let (head, remote) = ids.split_once('\n').unwrap();
    assert_eq!((head, objects(clone).await), (remote, before));
    git(clone, &["fsck", "--strict"]).await.ok();
}

tests::on_both! {
    async fn every_pushed_commit_is_a_message_with_its_files(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let (project, clone) = (&pushing.project, &pushing.clone);
        let session = project.start_session().await;
        fs::write(clone.join("a.txt"), "a2\n").unwrap();
        fs::create_dir(clone.join("lib")).unwrap();
        fs::write(clone.join("lib/ü.py"), "print(1)\r\n").unwrap();
        commit(clone, "Change and add\n\nWith a body\n").await;
        git(clone, &["mv", "a.txt", "b.txt"]).await.ok();
        symlink("b.txt", clone.join("link")).unwrap();
        commit(clone, "Rename").await;
        git(clone, &["update-index", "--chmod=+x", "b.txt"]).await.ok();
        git(clone, &["commit", "-q", "-m", "An executable"]).await.ok();
        git(clone, &["checkout", "-q", "--", "."]).await.ok();
        commit(clone, "Nothing").await;
        fs::remove_dir_all(clone.join("lib")).unwrap();
        fs::write(clone.join("lib"), "a file now\n").unwrap();
        commit(clone, "").await;
        push(clone).await.ok();
        assert_up_to_date(clone).await;
        assert_eq!(pushing.files().await, ["b.txt", "lib", "link"]);
        assert!(project.contents().await.contains(&("lib".to_owned(), "a file now\n".to_owned())));
        // The messages are those of the commits, in a session of their own that does not end the active one.
        let read = project.ask("sessions(first: 10) { nodes { id title isActive messages(first: 10) { nodes { content metadata isCheckpoint } } } }").await;
        let sessions = read["sessions"]["nodes"].as_array().unwrap();
        assert!(sessions.iter().any(|other| other["id"] == session && other["isActive"] == true));
        let pushed = sessions.iter().find(|session| session["title"] == "Pushed from git").unwrap();
        let messages = pushed["messages"]["nodes"].as_array().unwrap();
        let contents: Vec<_> = messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
        assert_eq!(contents[..2], ["Change and add\n\nWith a body\n", "Rename\n"]);
        assert_eq!((contents.len(), contents[4].trim()), (5, ""));
        assert_eq!(messages[0]["metadata"]["author"], "Ada Löwe");
        // A second clone, and one of another server, have the same commits.
        let again = pushing.clone_of("again", &project.client).await;
        let other = start(&database, &pushing.folder.path("other"), &[]).await;
        let there = crate::git_http::clone(&pushing.folder, "there", &url(&project.client, &other, &project.id)).await;
        let log = async |clone: &Path| git(clone, &["rev-list", "HEAD"]).await.ok();
        assert_eq!(log(&again).await, log(clone).await);
        assert_eq!(log(&there).await, log(clone).await);
        // The next write here follows them.
        project.update_file("b.txt", "here\n").await;
        git(clone, &["pull", "-q", "--ff-only"]).await.ok();
        assert_eq!(fs::read_to_string(clone.join("b.txt")).unwrap(), "here\n");
        other.stop().await;
        pushing.server.stop().await;
    }

    async fn an_import_continues_after_a_push(database: Database) {
        let folder = Folder::new();
        let server = start(&database, &folder.path("cache"), &[]).await;
        let ada = crate::import_export::owner(&server).await;
        let project = Project::create(&ada, "Voice").await;
        project.create_file("a.txt", "a\n").await;
        let clone = &clone(&folder, "clone", &url(&ada, &server, &project.id)).await;
        commit(clone, "Empty").await;
        fs::write(clone.join("pushed.txt"), "pushed\n").unwrap();
        commit(clone, "Pushed").await;
        push(clone).await.ok();
        fs::write(clone.join("imported.txt"), "imported\n").unwrap();
        let head = commit(clone, "Imported").await;
        let options = ["--project", project.id.as_str(), "--email", "ada@example.com"];
        let (imported, _) = crate::import_export::import_with(&database, clone, &options).await.unwrap();
        assert_eq!((imported.commits, imported.kept), (1, 0));
        // The imported commit is the one of the clone, too.
        let shown = git(clone, &["ls-remote", "origin", "refs/heads/main"]).await.ok();
        assert!(shown.starts_with(&head), "{shown}");
        server.stop().await;
    }

    async fn unusual_commits_keep_their_bytes(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let clone = &pushing.clone;
        let parent = git(clone, &["rev-parse", "HEAD"]).await.ok();
        let tree = git(clone, &["rev-parse", "HEAD^{tree}"]).await.ok();
        let who = "A <a@x> 1700000000 +0545\ncommitter B <b@x> 1700000001 -0000";
        let heads: [(String, &[u8]); 8] = [
            (format!("author {who}\n"), b"plain\n"),
            (format!("author {who}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n abc=\n -----END PGP SIGNATURE-----\n"), b"signed\n"),
            (format!("author {who}\nencoding ISO-8859-1\n"), b"gr\xfc\xdfe\n"),
            (format!("author {who}\n"), b"not UTF-8: \xff\n"),
            (format!("author {who}\nmergetag object 0000000000000000000000000000000000000001\n type commit\nx-other a  b \n"), b""),
            ("author  <a@x> 7 +0000\ncommitter Ada  B. <a@x> 7 +9999\n".to_owned(), b"\n\n  odd name \n\n"),
            ("author A <a@x> 253402300800 +0000\ncommitter A <a@x> 0 +0000\n".to_owned(), b"late"),
            (format!("author {who}\nencoding UTF-8\n"), "ü".as_bytes()),
        ];
        let mut last = parent;
        for (number, (head, message)) in heads.iter().enumerate() {
            let text = [format!("tree {tree}\nparent {last}\n{head}\n").as_bytes(), message].concat();
            let file = pushing.folder.path("object");
            fs::write(&file, text).unwrap();
            let write = ["hash-object", "-t", "commit", "-w", "--literally", file.to_str().unwrap()];
            last = git(clone, &write).await.ok();
            git(clone, &["reset", "-q", "--hard", &last]).await.ok();
            // Each on its own, so that the failure names it.
            let pushed = push(clone).await;
            assert!(pushed.is_ok, "{number} {head:?}: {}", pushed.messages);
        }
        // The id of the last one contains those before it.
        let shown = git(clone, &["ls-remote", "origin", "refs/heads/main"]).await.ok();
        assert!(shown.starts_with(&last), "{shown}");
        let again = pushing.clone_of("again", &pushing.project.client).await;
        assert_eq!(git(&again, &["rev-parse", "HEAD"]).await.ok(), last);
        pushing.server.stop().await;
    }

    async fn a_push_that_does_not_follow_is_refused(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let (project, clone) = (&pushing.project, &pushing.clone);
        let base = git(clone, &["rev-parse", "HEAD"]).await.ok();
        fs::write(clone.join("mine.txt"), "mine\n").unwrap();
        commit(clone, "Mine").await;
        project.create_file("theirs.txt", "theirs\n").await;
        let before = pushing.project.revision().await;
        // Given a write that the clone does not have, then git refuses, also by force.
        let refused = push(clone).await.refused();
        assert!(refused.contains("! [rejected]") && refused.contains("(fetch first)"), "{refused}");
        let refused = git(clone, &["push", "--force", "origin", "HEAD:refs/heads/main"]).await.refused();
        assert!(refused.contains("! [remote rejected]") && refused.contains("(non-fast-forward)"), "{refused}");
        let refused = git(clone, &["push", "--force", "origin", &format!("{base}:refs/heads/main")]).await.refused();
        assert!(refused.contains("(non-fast-forward)"), "{refused}");
        // No other reference can be written, and the branch cannot be deleted.
        for (reference, reason) in [
            ("HEAD:refs/heads/other", "only refs/heads/main can be pushed"),
            ("HEAD:refs/tags/v1", "only refs/heads/main can be pushed"),
            (":refs/heads/main", "the branch cannot be deleted"),
        ] {
            let refused = git(clone, &["push", "origin", reference]).await.refused();
            assert!(refused.contains(reason), "{refused}");
        }
        let refused = git(clone, &["push", "-o", "x", "origin", "HEAD:refs/heads/main"]).await.refused();
        assert!(refused.contains("does not support push options"), "{refused}");
        assert_eq!(pushing.project.revision().await, before);
        git(clone, &["pull", "-q", "--rebase", "origin", "main"]).await.ok();
        // With --atomic, a refused reference refuses all; without it, the branch is written.
        let both = ["origin", "HEAD:refs/heads/main", "HEAD:refs/heads/other"];
        let refused = git(clone, &[&["push", "--atomic"], &both[..]].concat()).await.refused();
        assert!(refused.contains("(atomic push failed)"), "{refused}");
        assert_eq!(pushing.project.revision().await, before);
        let refused = git(clone, &[&["push"], &both[..]].concat()).await.refused();
        assert!(refused.contains("HEAD -> main") && refused.contains("HEAD -> other (only"), "{refused}");
        assert_up_to_date(clone).await;
        assert_eq!(pushing.files().await, ["a.txt", "mine.txt", "theirs.txt"]);
        pushing.server.stop().await;
    }

    async fn what_cannot_be_stored_is_refused_before_anything_is_written(database: Database) {
        let pushing = Pushing::start(&database, &["--max-file-bytes", "3000", "--max-sync-files", "5"]).await;
        let clone = &pushing.clone;
        let base = git(clone, &["rev-parse", "HEAD"]).await.ok();
        pushing.project.write("createFile", json!({ "path": "empty", "type": "FOLDER" }), "revision").await;
        let before = pushing.project.revision().await;
        let write = async |path: &str, content: &str| {
            fs::create_dir_all(clone.join(path).parent().unwrap()).unwrap();
            fs::write(clone.join(path), content).unwrap();
        };
        let link = format!("160000,{base},module");
        for (number, reason) in [
            "MAX_FILE_BYTES allows 3000",
            "MAX_SYNC_FILES allows 5",
            "It is a submodule",
            "Its path is not UTF-8",
            "control characters",
            "is a folder in the project",
            "merge commits cannot be stored",
            "git keeps \"git~1\" for itself",
            "at most 1024 bytes",
            ": \".gitmodules\": it lists submodules, which a project does not have",
            ".gitattributes",
        ]
        .into_iter()
        .enumerate()
        {
            // Each in a second commit, so that a refusal also stops the first.
            write("fine.txt", "fine\n").await;
            commit(clone, "Fine").await;
            match number {
                0 => write("big.txt", &"x".repeat(3001)).await,
                1 => {
                    for file in 0..6 {
                        write(&format!("many/{file}"), "x").await;
                    }
                }
                2 => drop(git(clone, &["update-index", "--add", "--cacheinfo", &link]).await.ok()),
                3 => write_named(clone, b"\xff.txt"),
                4 => write("tab\there.txt", "x").await,
                5 => write("empty", "a file\n").await,
                6 => {
                    git(clone, &["checkout", "-q", "-b", "side", &base]).await.ok();
                    write("side.txt", "side\n").await;
                    commit(clone, "Side").await;
                    git(clone, &["checkout", "-q", "-"]).await.ok();
                    git(clone, &["merge", "-q", "--no-ff", "-m", "Merge", "side"]).await.ok();
                }
                7 => commit_at(clone, "git~1").await,
                9 => write(".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = https://example.com/a\n").await,
                10 => write(".gitattributes", &format!("# {}\n", "x".repeat(2048))).await,
                _ => write(&["d".repeat(200).as_str(); 6].join("/"), "x").await,
            }
            if number == 2 {
                git(clone, &["commit", "-q", "-m", "Bad"]).await.ok();
            } else if ![6, 7].contains(&number) {
                commit(clone, "Bad").await;
            }
            let refused = push(clone).await.refused();
            // git's own check of names comes first.
            let reason = if number == 7 { "hasDotgit" } else { reason };
            assert!(refused.contains("! [remote rejected]") && refused.contains(reason), "{number}: {refused}");
            assert!(!refused.contains("\".gitmodules\": \".gitmodules\""), "{refused}");
            assert_eq!(pushing.project.revision().await, before, "{number}");
            git(clone, &["reset", "-q", "--hard", &base]).await.ok();
            git(clone, &["clean", "-q", "-f", "-d", "-x", "-f"]).await.ok();
        }
        pushing.server.stop().await;
    }

    async fn written_and_deleted_files_of_a_commit_are_counted_apart(database: Database) {
        let pushing = Pushing::start(&database, &["--max-sync-files", "5"]).await;
        let clone = &pushing.clone;
        let write = async |name: &str| {
            for number in 0..5 {
                fs::write(clone.join(format!("{name}{number}")), format!("the same {number}\n").repeat(20)).unwrap();
            }
            commit(clone, name).await;
        };
        write("old").await;
        // Moved files are written and deleted ones, also if git would show them as renamed.
        for number in 0..5 {
            fs::rename(clone.join(format!("old{number}")), clone.join(format!("new{number}"))).unwrap();
        }
        commit(clone, "Moved").await;
        push(clone).await.ok();
        assert_up_to_date(clone).await;
        assert_eq!(pushing.files().await, ["a.txt", "new0", "new1", "new2", "new3", "new4"]);
        for number in 0..5 {
            fs::remove_file(clone.join(format!("new{number}"))).unwrap();
        }
        fs::remove_file(clone.join("a.txt")).unwrap();
        commit(clone, "Empty").await;
        let refused = push(clone).await.refused();
        assert!(refused.contains("it changes 6 files; MAX_SYNC_FILES allows 5"), "{refused}");
        pushing.server.stop().await;
    }

    async fn a_link_without_a_target_is_refused(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let (project, clone) = (&pushing.project, &pushing.clone);
        let base = git(clone, &["rev-parse", "HEAD"]).await.ok();
        let before = pushing.project.revision().await;
        for (content, path) in [("", "l"), ("a\0b", "folder/l"), ("", "a.txt")] {
            fs::write(clone.join("target"), content).unwrap();
            let object = git(clone, &["hash-object", "-w", "target"]).await.ok();
            fs::remove_file(clone.join("target")).unwrap();
            let entry = format!("120000,{object},{path}");
            git(clone, &["update-index", "--add", "--cacheinfo", &entry]).await.ok();
            git(clone, &["commit", "-q", "-m", "A link to nothing"]).await.ok();
            let refused = push(clone).await.refused();
            let is_named = refused.contains(&format!("{path:?}")) && refused.contains("symbolic link");
            assert!(is_named && refused.contains("! [remote rejected]"), "{path}: {refused}");
            git(clone, &["reset", "-q", "--hard", &base]).await.ok();
        }
        assert_eq!(pushing.project.revision().await, before);
        // A link that an earlier version has stored comes back by every way.
        project.create_file("l", "").await;
        pushing.store_link(&database).await;
        let mode = async || project.ask("file(path: \"l\") { mode content }").await["file"].take();
        let (stored, link) = (pushing.project.revision().await, json!({ "mode": "SYMLINK", "content": "" }));
        assert_eq!(mode().await, link);
        for (name, input) in [
            ("deleteFile", json!({ "path": "l" })),
            ("updateFile", json!({ "path": "l", "mode": "FILE" })),
            ("updateFile", json!({ "path": "l", "mode": "FILE", "content": "text\n" })),
            ("renameFile", json!({ "path": "l", "newPath": "moved" })),
        ] {
            for (back, arguments) in [
                ("undo", json!({})),
                ("restoreRevision", json!({ "revision": stored })),
                ("restoreRevision", json!({ "revision": stored, "paths": ["l"] })),
            ] {
                project.write(name, input.clone(), "revision").await;
                project.write(back, arguments.clone(), "revision").await;
                assert_eq!(mode().await, link, "{name} {input} {back} {arguments}");
                if project.contents().await.iter().any(|(path, _)| path == "moved") {
                    project.write("deleteFile", json!({ "path": "moved" }), "revision").await;
                }
            }
        }
        pushing.server.stop().await;
    }

    async fn only_writers_push(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let (server, project) = (&pushing.server, &pushing.project);
        let bob = server.user(BOB);
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        database.add_collaborator(&project.id, BOB, "viewer", true).await;
        // A viewer can clone, and is refused before anything is uploaded.
        let clone = pushing.clone_of("bobs", &bob).await;
        commit(&clone, "As a viewer").await;
        let refused = push(&clone).await.refused();
        assert!(refused.contains("403") && refused.contains("Viewers can read"), "{refused}");
        let bearer = format!("Bearer {}", bob.token().unwrap());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/x-git-receive-pack-request")];
        let path = format!("/git/{}.git/git-receive-pack", project.id);
        assert_eq!(bob.send("POST", &path, &headers, "0000").await.unwrap().status, 403);
        // An editor's access token pushes until it is revoked.
        let input = json!({ "name": "CI", "role": "EDITOR" });
        let made = project.write("createAccessToken", input, "token accessToken { id }").await;
        let machine = project.client.with_token(Some(made["token"].as_str().unwrap().to_owned()));
        let clone = pushing.clone_of("machines", &machine).await;
        commit(&clone, "As a machine").await;
        push(&clone).await.ok();
        assert_up_to_date(&clone).await;
        let revoke = json!({ "accessTokenId": made["accessToken"]["id"] });
        project.client.mutate_with("revokeAccessToken", revoke, "revision").await.ok();
        commit(&clone, "Too late").await;
        let before = pushing.project.revision().await;
        let refused = push(&clone).await.refused();
        assert!(refused.contains("Authentication failed") || refused.contains("could not read"), "{refused}");
        assert_eq!(pushing.project.revision().await, before);
        server.stop().await;
    }

    async fn a_first_push_and_one_of_a_shallow_clone(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let (server, ada) = (&pushing.server, &pushing.project.client);
        // Given a project without files, then a first push starts its history.
        let empty = Project::create(ada, "Empty").await;
        let other = clone(&pushing.folder, "empty", &url(ada, server, &empty.id)).await;
        fs::write(other.join("first.txt"), "first\n").unwrap();
        commit(&other, "First").await;
        commit(&other, "Second").await;
        push(&other).await.ok();
        assert_up_to_date(&other).await;
        // A shallow clone pushes what follows.
        let from = format!("file://{}", other.display());
        git(&pushing.folder.path(""), &["clone", "-q", "--depth", "1", &url(ada, server, &empty.id), "shallow"]).await.ok();
        let shallow = pushing.folder.path("shallow");
        fs::write(shallow.join("second.txt"), "second\n").unwrap();
        commit(&shallow, "From a shallow clone").await;
        push(&shallow).await.ok();
        assert_up_to_date(&shallow).await;
        // The history of a shallow clone cannot start a project, and an unrelated one cannot continue it.
        git(&pushing.folder.path(""), &["clone", "-q", "--depth", "1", &from, "part"]).await.ok();
        let part = pushing.folder.path("part");
        let third = Project::create(ada, "Third").await;
        let refused = git(&part, &["push", &url(ada, server, &third.id), "HEAD:refs/heads/main"]).await.refused();
        assert!(refused.contains("! [remote rejected]"), "{refused}");
        let here = url(ada, server, &pushing.project.id);
        let refused = git(&other, &["push", "--force", &here, "HEAD:refs/heads/main"]).await.refused();
        assert!(refused.contains("(non-fast-forward)"), "{refused}");
        server.stop().await;
    }
}

/// Commits a file at a path that git does not add itself.
async fn commit_at(clone: &Path, path: &str) {
    let blob = git(clone, &["rev-parse", "HEAD:a.txt"]).await.ok();
    let tree = tree(clone, &format!("100644 blob {blob}\t{path}\n"));
    let commit = git(clone, &["commit-tree", "-p", "HEAD", "-m", "Bad", &tree]).await.ok();
    git(clone, &["update-ref", "HEAD", &commit]).await.ok();
}

fn write_named(clone: &Path, name: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    fs::write(clone.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
}

/// Writes a tree, and returns its id.
pub(super) fn tree(clone: &Path, entries: &str) -> String {
    let mut child = std::process::Command::new("git")
        .arg("mktree")
        .current_dir(clone)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(entries.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}
