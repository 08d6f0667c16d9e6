//! Given a project with anything in it, when a git client clones it that checks every object (`fetch.fsckObjects`), then
//! the clone succeeds, and what git refuses is not in it. A push of objects that could not be served again is refused before
//! anything is written.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tests::{
    database::{Database, Kind},
    project::Project,
};

use crate::{
    git_http::{checked_clone, git, start, url},
    git_push::{Pushing, push},
    import_export::{Folder, export},
};

const ADA: &str = "ada@example.com";

/// A line of so many bytes.
fn line(bytes: usize) -> String {
    format!("# {}", "x".repeat(bytes - 2))
}

/// Paths that git refuses (`hasDotgit`, `gitmodulesUrl`, `gitmodulesBlob`, `gitattributesBlob` …), with contents that
/// make it so.
const REFUSED: [(&str, &str); 34] = [
    (".git/config", "x\n"),
    ("a/.GIT", "x\n"),
    ("a/.git /x", "x\n"),
    ("b/.git.", "x\n"),
    ("c/.git. . /x", "x\n"),
    ("git~1/x", "x\n"),
    ("d/GIT~1", "x\n"),
    ("e/git~1 .", "x\n"),
    ("a\\.git\\x", "x\n"),
    ("f\\git~1", "x\n"),
    (".git::$INDEX_ALLOCATION/x", "x\n"),
    (".g\u{200c}it/x", "x\n"),
    ("\u{feff}.GiT", "x\n"),
    ("g/.gi\u{206f}t", "x\n"),
    (".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = -u./payload\n"),
    ("h/.gitmodules", "[submodule \"..\"]\n\tpath = a\n\turl = https://example.com/a\n"),
    ("i/.gitmodules", "[submodule \"a\"]\n\tpath = -a\n\turl = https://example.com/a\n"),
    ("j/.gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = https://example.com/a\n\tupdate = !sh\n"),
    ("k/.gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = ext::sh -c x\n\tupdate = !sh\n"),
    ("l/.gitmodules", "[submodule \"a\"]\n\turl = https://example.com/\\nhost=x\n"),
    ("m/.gitmodules/x", "x\n"),
    ("n/.GitModules", "[submodule \"a\"]\n\turl = -x\n"),
    ("o/.gitmodules. ", "[submodule \"a\"]\n\turl = -x\n"),
    ("p/gitmod~1", "[submodule \"a\"]\n\turl = -x\n"),
    ("q/gi7eba~1", "[submodule \"a\"]\n\turl = -x\n"),
    ("r/gi7eb~10", "[submodule \"a\"]\n\turl = -x\n"),
    ("s/~1000000", "[submodule \"a\"]\n\turl = -x\n"),
    ("t/.gitmo\u{200d}dules", "[submodule \"a\"]\n\turl = -x\n"),
    ("u\\.gitmodules", "[submodule \"a\"]\n\turl = -x\n"),
    ("v/.gitmodules:x", "[submodule \"a\"]\n\turl = -x\n"),
    ("w/.gitattributes/x", "x\n"),
    ("x/.GITATTRIBUTES/y/z", "x\n"),
    ("y/gitatt~1/x", "x\n"),
    ("z/gi7d29~1/x", "x\n"),
];

/// Paths that git accepts.
const ACCEPTED: [&str; 11] = [
    ".gitattributes",
    ".github/x",
    ".gitignore",
    ".mailmap",
    "a:b",
    "con",
    "git",
    "git~a",
    "gitmod~x",
    "gitmodules",
    "sub/.gitattributes",
];

tests::on_both! {
    async fn files_that_git_refuses_are_in_no_commit(database: Database) {
        let folder = Folder::new();
        let server = start(&database, &folder.path("cache"), &[]).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        for path in ACCEPTED {
            project.create_file(path, "x\n").await;
        }
        for (path, content) in REFUSED {
            project.create_file(path, content).await;
        }
        for (number, path) in ["links/.gitmodules", "links/more/.GITMODULES", "links/.gitattributes", "links/.gitignore"].iter().enumerate() {
            let link = json!({ "path": path, "content": format!("target{number}"), "mode": "SYMLINK" });
            project.write("createFile", link, "revision").await;
        }
        let at = url(&ada, &server, &project.id);
        let clone = checked_clone(&folder, "clone", &at).await;
        let mut expected: Vec<&str> = ACCEPTED.iter().copied().chain(["links/.gitattributes", "links/.gitignore"]).collect();
        expected.sort_unstable();
        let files = async |clone: &Path| git(clone, &["ls-files", "-z"]).await.ok();
        let listed = files(&clone).await;
        assert_eq!(listed.split_terminator('\0').collect::<Vec<_>>(), expected);
        assert_eq!(git(&clone, &["status", "--porcelain"]).await.ok(), "");
        // An export leaves out the same, and names it.
        let to = folder.path("exported");
        let said = export(&database, &project.id, &["--git", to.to_str().unwrap()]).await.unwrap();
        for (path, _) in REFUSED {
            let start = format!("left out: {path:?} at revision");
            assert!(said.iter().any(|line| line.starts_with(&start)), "{path:?}: {said:?}");
        }
        let exported = checked_clone(&folder, "again", &format!("file://{}", to.display())).await;
        assert_eq!(files(&exported).await, listed);
        server.stop().await;
    }

    async fn attributes_are_in_the_commits_in_which_git_reads_them(database: Database) {
        let folder = Folder::new();
        let server = start(&database, &folder.path("cache"), &[]).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        let at = url(&ada, &server, &project.id);
        let (good, bad) = (line(2047), format!("* text\n{}\n", line(2048)));
        // The same content elsewhere is accepted.
        project.create_file("notes.txt", bad.as_str()).await;
        for path in [".gitattributes", "a/.GitAttributes", "b/gitatt~1", "c/gi7d2~10"] {
            project.create_file(path, good.as_str()).await;
            project.update_file(path, &bad).await;
            project.update_file(path, "* text\n").await;
            project.update_file(path, &bad).await;
        }
        let clone = checked_clone(&folder, "clone", &at).await;
        assert_eq!(git(&clone, &["ls-files"]).await.ok(), "notes.txt");
        let to = folder.path("exported");
        let said = export(&database, &project.id, &["--git", to.to_str().unwrap()]).await.unwrap();
        assert!(said[0].starts_with("left out: \".gitattributes\": git reads no attributes in a line of 2048"), "{said:?}");
        let exported = checked_clone(&folder, "again", &format!("file://{}", to.display())).await;
        assert_eq!(git(&exported, &["ls-files"]).await.ok(), "notes.txt");
        for clone in [&clone, &exported] {
            let log = git(clone, &["log", "--reverse", "--format=", "--name-status", "--", ".gitattributes"]).await.ok();
            let states: Vec<&str> = log.lines().filter_map(|line| line.split('\t').next()).collect();
            assert_eq!(states, ["A", "D", "A", "D"]);
        }
        // A push at the path of a file that the clone cannot have seen is refused, and so is one of such a file.
        fs::write(clone.join(".gitattributes"), "* text\n").unwrap();
        git(&clone, &["add", "--all"]).await.ok();
        git(&clone, &["commit", "-q", "-m", "Attributes"]).await.ok();
        let refused = git(&clone, &["push", "origin", "HEAD:main"]).await.refused();
        assert!(refused.contains(".gitattributes") && refused.contains("not in its commits"), "{refused}");
        project.write("deleteFile", json!({ "path": ".gitattributes" }), "revision").await;
        git(&clone, &["push", "origin", "HEAD:main"]).await.ok();
        server.stop().await;
    }

    async fn authors_in_metadata_are_made_valid(database: Database) {
        let folder = Folder::new();
        let server = start(&database, &folder.path("cache"), &[]).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        let session = project.start_session().await;
        let write = async |number: usize, metadata: Value| {
            let input = json!({ "sessionId": session, "role": "ASSISTANT", "content": "Step", "metadata": metadata });
            let added = ada.mutate("addMessage", input, "message { id }").await.ok();
            let message = added["addMessage"]["message"]["id"].clone();
            let files = json!([{ "path": "a.txt", "content": format!("{number}\n") }]);
            project.write("syncFiles", json!({ "files": files, "messageId": message }), "revision").await;
        };
        let at = url(&ada, &server, &project.id);
        for (number, (author, email, date)) in [
            ("A", "a@x", "7 +051800"),
            ("A", "a@x", "7 +1"),
            ("A", "a@x", "18446744073709551615 +0000"),
            ("A", "a@x", "7 -0000"),
            ("", "a@x", "7 +0100"),
            ("A <b@x>", "<a@x>", "7 +0100"),
            ("A\nparent x", "a\n@x", "7 +0100"),
            ("<", ">", "7 +9999"),
            (" ", "", "0 +0000"),
        ]
        .into_iter()
        .enumerate()
        {
            let person = json!({ "author": author, "authorEmail": email, "authorDate": date, "committer": author,
                "committerEmail": email, "committerDate": date, "commit": "1" });
            write(number, person).await;
        }
        // A whole object is used only if git accepts it.
        let clone = checked_clone(&folder, "clone", &at).await;
        for (number, (author, message)) in [
            ("author A <a@x> 7 +051800\ncommitter A <a@x> 7 +0000\n", &b"\nzone"[..]),
            ("author A <a@x> 7 +0000\n", b"\nno committer"),
            ("author A <a@x> 7 +0000\nauthor A <a@x> 7 +0000\ncommitter A <a@x> 7 +0000\n", b"\ntwo authors"),
            ("author <a@x> 7 +0000\ncommitter A <a@x> 7 +0000\n", b"\nno name"),
            ("author A <a@x> 7 +0000\ncommitter A <a@x> 007 +0000\n", b"\npadded"),
            ("author A <a@x> 7 +0000\ncommitter A <a@x> 7 +0000\n", b"\nNUL \0"),
            ("author A <a@x> 7 +0000\ncommitter A <a@x> 7 +0000", b""),
            ("author A\0 <a@x> 7 +0000\ncommitter A <a@x> 7 +0000\n", b"\nNUL in the header"),
        ]
        .into_iter()
        .enumerate()
        {
            git(&clone, &["pull", "-q"]).await.ok();
            let number = 100 + number;
            fs::write(clone.join("a.txt"), format!("{number}\n")).unwrap();
            git(&clone, &["add", "--all"]).await.ok();
            let (tree, parent) = (git(&clone, &["write-tree"]).await.ok(), git(&clone, &["rev-parse", "HEAD"]).await.ok());
            let object = [format!("tree {tree}\nparent {parent}\n{author}").as_bytes(), message].concat();
            git(&clone, &["reset", "-q", "--hard"]).await.ok();
            write(number, json!({ "author": "A", "authorEmail": "a@x", "authorDate": "7 +0000",
                "object": BASE64_STANDARD.encode(object) })).await;
        }
        // A clone checks all commits, and its error names the one that is invalid.
        checked_clone(&folder, "all", &at).await;
        let to = folder.path("exported");
        export(&database, &project.id, &["--git", to.to_str().unwrap()]).await.unwrap();
        checked_clone(&folder, "again", &format!("file://{}", to.display())).await;
        server.stop().await;
    }

    async fn modes_and_folders_that_git_does_not_write_are_refused(database: Database) {
        let Pushing { folder: _folder, server, project, clone } = Pushing::start(&database, &[]).await;
        let blob = git(&clone, &["rev-parse", "HEAD:a.txt"]).await.ok();
        let empty = tree(&clone, &[]).await;
        let old = tree(&clone, &[("100664", "b.txt", &blob)]).await;
        let nested = tree(&clone, &[("40000", "empty", &empty)]).await;
        let file = ("100644", "a.txt", blob.as_str());
        // Objects are checked before the database is used, so that a sample is enough on the second one.
        let step = if database.kind() == Kind::Sqlite { 1 } else { 3 };
        let odd = [
            // The files are those of the parent, and only a mode differs.
            (vec![("100664", "a.txt", blob.as_str())], "\"a.txt\" has the mode 100664"),
            (vec![("100600", "a.txt", &blob)], "\"a.txt\" has the mode 100600"),
            (vec![("100777", "a.txt", &blob)], "\"a.txt\" has the mode 100777"),
            (vec![("100640", "a.txt", &blob)], "\"a.txt\" has the mode 100640"),
            (vec![file, ("100744", "b.sh", &blob)], "\"b.sh\" has the mode 100744"),
            (vec![file, ("120777", "link", &blob)], "\"link\" has the mode 120777"),
            (vec![file, ("40755", "src", &old)], "\"src\" has the mode 40755"),
            (vec![file, ("40000", "src", &old)], "\"src/b.txt\" has the mode 100664"),
            (vec![file, ("40000", "src", &empty)], "\"src\" is an empty folder"),
            (vec![file, ("40000", "src", &nested)], "\"src/empty\" is an empty folder"),
        ];
        for (entries, words) in odd.into_iter().step_by(step) {
            let before = project.ask("revision").await;
            let parent = git(&clone, &["rev-parse", "HEAD"]).await.ok();
            let tree = tree(&clone, &entries).await;
            let first = git(&clone, &["commit-tree", &tree, "-p", &parent, "-m", "Odd"]).await.ok();
            git(&clone, &["update-ref", "HEAD", &first]).await.ok();
            git(&clone, &["reset", "-q", "--hard"]).await.ok();
            let refused = async || {
                let refused = push(&clone).await.refused();
                assert!(refused.contains("! [remote rejected]") && refused.contains(words), "{words}: {refused}");
                assert_eq!(project.ask("revision").await, before, "{words}");
                refused
            };
            let answer = refused().await;
            // Also if a later commit has other entries.
            fs::write(clone.join("a.txt"), words).unwrap();
            git(&clone, &["commit", "-q", "--all", "-m", "After"]).await.ok();
            refused().await;
            // The advice in the answer works.
            git(&clone, &["reset", "-q", "--hard", &first]).await.ok();
            let advice = answer.lines().find_map(|line| line.split_once("again: ")).unwrap().1.trim_end();
            for step in advice.split(" && ") {
                let words: Vec<&str> = step.split(' ').skip(1).collect();
                git(&clone, &[&words[..], if step.contains("--amend") { &["--allow-empty"] } else { &[] }].concat()).await.ok();
            }
            push(&clone).await.ok();
        }
        // A commit that deletes everything has the empty tree, and is stored.
        git(&clone, &["rm", "-q", "-r", "."]).await.ok();
        git(&clone, &["commit", "-q", "-m", "Nothing is left"]).await.ok();
        push(&clone).await.ok();
        server.stop().await;
    }

    async fn a_pushed_object_that_is_no_commit_is_named(database: Database) {
        let Pushing { folder: _folder, server, project, clone } = Pushing::start(&database, &[]).await;
        let before = project.ask("revision").await;
        git(&clone, &["commit", "-q", "--allow-empty", "-m", "Next"]).await.ok();
        git(&clone, &["tag", "-a", "v1", "-m", "Version 1"]).await.ok();
        git(&clone, &["tag", "-a", "v2", "-m", "A tag of a blob", "HEAD:a.txt"]).await.ok();
        for (object, words) in [
            ("v1", "this is an annotated tag, and the branch takes commits"),
            ("v2", "this is an annotated tag, and the branch takes commits"),
            ("HEAD:a.txt", "this is a blob, and the branch takes commits"),
            ("HEAD^{tree}", "this is a tree, and the branch takes commits"),
        ] {
            let refused = git(&clone, &["push", "--force", "origin", &format!("{object}:refs/heads/main")]).await.refused();
            assert!(refused.contains(words), "{object}: {refused}");
            assert_eq!(refused.contains("TAG^{commit}"), words.contains("tag"), "{refused}");
        }
        let refused = git(&clone, &["push", "origin", "v1"]).await.refused();
        assert!(refused.contains("only refs/heads/main can be pushed"), "{refused}");
        assert_eq!(project.ask("revision").await, before);
        git(&clone, &["push", "origin", "v1^{commit}:refs/heads/main"]).await.ok();
        server.stop().await;
    }
}

/// Writes a tree object as it is, and returns its id.
async fn tree(clone: &Path, entries: &[(&str, &str, &str)]) -> String {
    let entry = |(mode, name, id): &(&str, &str, &str)| {
        [format!("{mode} {name}\0").as_bytes(), &hex::decode(id).unwrap()].concat()
    };
    let file = clone.join(".git/object");
    fs::write(&file, entries.iter().flat_map(entry).collect::<Vec<u8>>()).unwrap();
    git(clone, &["hash-object", "-t", "tree", "-w", "--literally", file.to_str().unwrap()]).await.ok()
}
