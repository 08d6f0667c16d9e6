//! Given unusual or hostile repositories and projects, when they are imported and exported, then no program that they
//! name runs, everything that git can read is imported, and the rest is reported.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tests::{
    database::{Database, Kind},
    project::Project,
    server::Server,
};

use crate::git_http::{checked_clone, start, url};
use crate::git_push::tree;
use crate::import_export::{Folder, Repository, assert_sound, checkpoints, export, import, owner, try_import};

impl Repository {
    /// Writes a raw commit object on top of the present commit, without git's checks, and makes it the branch's tip.
    fn commit_raw(&self, head: &str, message: &[u8]) {
        let (tree, parent) = (self.git(&["rev-parse", "HEAD^{tree}"]), self.git(&["rev-parse", "HEAD"]));
        let mut git = Command::new("git");
        git.arg("-C").arg(&self.0).args(["hash-object", "-t", "commit", "-w", "--stdin", "--literally"]);
        let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let object = [format!("tree {tree}\nparent {parent}\n{head}").as_bytes(), message].concat();
        git.stdin.take().unwrap().write_all(&object).unwrap();
        let id = String::from_utf8(git.wait_with_output().unwrap().stdout).unwrap();
        self.git(&["update-ref", "refs/heads/trunk", id.trim()]);
    }
}

tests::on_both! {
    async fn malformed_commits_are_read_as_git_reads_them(database: Database) {
        // Given commits that present-day git would not write …
        let folder = Folder::new();
        let repository = Repository::init(folder.path("odd"));
        repository.write("a.py", "1\n").commit("First\n");
        let good = "Bob <b@x> 1700000000 +0100";
        let raw = |author: &str, message: &[u8]| repository.commit_raw(&format!("author {author}\ncommitter {good}\n"), message);
        raw("No Date <a@x>", b"\nNo date\n");
        raw("Odd Date <a@x> yesterday +0100", b"\nOdd date\n");
        raw("Line Feed <a\nb@x> 5 +0000", b"\nLine feed\n");
        raw("nobody", b"\nNo address\n");
        raw("Two Ends <a@x> b> 7 +0100", b"\nTwo ends\n");
        raw("Far Future <a@x> 253402300800 +0000", b"\nFar future\n");
        raw("Odd Zone <a@x> 7 +051800", b"\nOdd zone\n");
        raw("Two Begins <<a@b> 7 +0100", b"\nTwo begins\n");
        raw("<a@x> 7 +0100", b"\nNo name\n");
        raw("A> <a@x> 7 +0100", b"\nA name with a bracket\n");
        raw("A<a@x> 7 +0100", b"\nNo space\n");
        raw("A <a@x>7 +0100", b"\nNo space before the date\n");
        raw("A <a@x> 07 +0100", b"\nA padded date\n");
        raw("A <a@x> 18446744073709551615 +0100", b"\nA date that overflows\n");
        raw("A <a@x> 7 +0100\nauthor B <b@x> 8 +0100", b"\nTwo authors\n");
        raw("A <a@x> 7 +0100", b"\nA NUL \0 in the message\n");
        repository.commit_raw(&format!("author {good}\n"), b"\nNo committer\n");
        repository.commit_raw(&format!("committer {good}\n"), b"\nNo author\n");
        raw(good, b"No blank line\n");
        let head = format!("author {good}\ncommitter {good}\nencoding cp1251\n");
        repository.commit_raw(&head, b"\n\xcf\xf0\xe8\xe2\xe5\xf2\n");
        // The second byte of the author's last letter is that of `<`.
        let author = "\x1b$B;3ED@<\x1b(B <y@x> 7 +0900";
        let head = format!("author {author}\ncommitter {good}\nencoding ISO-2022-JP\n");
        repository.commit_raw(&head, b"\n\x1b$BF|K\\\x1b(B\n\n\x1b$B8l\x1b(B\n");

        // … when they are imported, then each is a checkpoint, and replaced values are reported …
        let (imported, named) = try_import(&database, &repository.0, "odd", &[]).await.unwrap();
        assert_eq!(imported.commits, 22);
        assert_eq!(
            named,
            [
                "the author has no date: 1970-01-01 stands for it",
                "the author has no date: 1970-01-01 stands for it",
                "the author has an address that does not end in its line",
                "the author has no date: 1970-01-01 stands for it",
                "the author has no address",
                "the author has no date: 1970-01-01 stands for it",
                "the author has no date: 1970-01-01 stands for it",
                "the message has a NUL at byte 6: it ends there, as in git",
                "the committer has no address",
                "the committer has no date: 1970-01-01 stands for it",
                "the author has no address",
                "the author has no date: 1970-01-01 stands for it",
                "no blank line before the message: it is empty",
            ]
        );
        assert_sound(&database).await;
        let server = start(&database, &folder.path("cache"), &[]).await;
        let all = checkpoints(&owner(&server).await, &imported.project.0.to_string()).await;
        let of = |key: &str| all.iter().map(|checkpoint| checkpoint["metadata"][key].clone()).collect::<Vec<Value>>();
        let emails = ["ada@example.com", "a@x", "a@x", "a", "", "a@x", "a@x", "a@x", "<a@b", "a@x", "a@x", "a@x", "a@x",
            "a@x", "a@x", "b@x", "a@x", "b@x", "", "b@x", "b@x", "y@x"];
        let git = repository.git(&["log", "--reverse", "--format=%ae"]);
        assert_eq!(git.lines().nth(8), Some("<a@b"));
        assert_eq!(of("authorEmail"), emails.map(Value::from));
        assert_eq!((&of("authorDate")[6], &of("authorDate")[7]), (&json!("253402300800 +0000"), &json!("7 +051800")));
        assert_eq!(all[20]["content"], "Привет\n");
        assert_eq!((&all[21]["content"], &of("author")[21]), (&json!("日本\n\n語\n"), &json!("山田声")));
        assert_eq!(all[19]["content"], "");

        // … and an export has the dates that git reads in the original.
        let to = folder.path("exported");
        let summary = export(&database, &imported.project.0.to_string(), &["--git", to.to_str().unwrap()]).await.unwrap();
        let repaired: Vec<&String> = summary.iter().filter(|line| line.starts_with("without")).collect();
        let line = |person: &str| format!("without what git refuses: the author or committer {person:?}");
        assert_eq!(repaired, [&line("A> <a@x> 7 +0100"), &line("Odd Zone <a@x> 7 +051800"), &line("Two Begins <<a@b> 7 +0100")]);
        let dates = |repository: &Repository| repository.git(&["log", "--reverse", "--format=%ad %cd", "--date=raw"]);
        let expected: Vec<String> = dates(&repository).lines().map(str::to_owned).collect();
        let exported: Vec<String> = dates(&Repository(to.clone())).lines().map(str::to_owned).collect();
        assert_eq!(exported.len(), 22);
        for at in [0, 5, 8, 19, 20, 21] {
            assert_eq!(exported[at], expected[at]);
        }
        assert_eq!(exported[7], "7 +0000 1700000000 +0100");

        // A client that checks every object can clone it, and the project, whose first commit keeps its id.
        checked_clone(&folder, "again", &format!("file://{}", to.display())).await;
        let project = imported.project.0.to_string();
        let clone = checked_clone(&folder, "clone", &url(&owner(&server).await, &server, &project)).await;
        assert_eq!(Repository(clone).commits()[0], repository.commits()[0]);
        server.stop().await;
    }

    async fn histories_of_every_shape_keep_their_trees_and_messages(database: Database) {
        let folder = Folder::new();
        for shape in ["octopus", "submodule", "notes", "nothing", "case", "links"] {
            // Given a history of that shape …
            let repository = Repository::init(folder.path(shape));
            repository.write("a.py", "1").write("Case.txt", "case\n").write("run", "#!/bin/sh\n").commit("First, and no line feed");
            match shape {
                "octopus" => {
                    for side in ["b", "c", "d"] {
                        repository.git(&["checkout", "-q", "-b", side, "trunk"]);
                        repository.write(side, format!("{side}\n")).commit(&format!("On {side}\n"));
                    }
                    repository.git(&["checkout", "-q", "trunk"]);
                    repository.write("trunk", "trunk\n").commit("On the trunk\n");
                    repository.git(&["merge", "-q", "--no-ff", "-m", "An octopus", "b", "c", "d"]);
                }
                "submodule" => {
                    let object = repository.git(&["rev-parse", "HEAD"]);
                    for path in ["module", "a.py"] {
                        repository.git(&["rm", "-q", "--cached", "--ignore-unmatch", path]);
                        repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{object},{path}")]);
                        repository.git(&["commit", "-q", "-m", path]);
                    }
                    repository.git(&["rm", "-q", "--cached", "a.py"]);
                    repository.git(&["add", "a.py"]);
                    repository.git(&["commit", "-q", "-m", "A file again"]);
                }
                "notes" => drop(repository.git(&["notes", "add", "-m", "A note", "HEAD"])),
                "nothing" => {
                    repository.git(&["rm", "-q", "-r", "."]);
                    repository.git(&["commit", "-q", "-m", "Nothing is left\n"]);
                    repository.commit("");
                    repository.write("back", "back\n").commit("Back\n");
                }
                "case" => {
                    repository.git(&["mv", "Case.txt", "case.txt"]);
                    repository.commit("A rename by case\n");
                    repository.write("CASE/x", "x\n").write("case/x", "x\n");
                    repository.git(&["mv", "case.txt", "Case"]);
                    repository.commit("Names that differ by case\n");
                }
                _ => {
                    std::os::unix::fs::symlink("a.py", repository.0.join("link")).unwrap();
                    repository.commit("A link\n");
                    fs::remove_file(repository.0.join("link")).unwrap();
                    repository.write("link", "a.py").commit("A file with the same bytes\n");
                    repository.git(&["mv", "run", "link/../ran"]);
                    repository.git(&["update-index", "--chmod=+x", "ran"]);
                    repository.git(&["commit", "-q", "-m", "Moved, and executable"]);
                    repository.git(&["checkout", "-q", "--", "."]);
                }
            }
            let commits = repository.commits();

            // … when it is imported and exported, then trees and messages are the same, but for the submodules that are named.
            let (imported, named) = try_import(&database, &repository.0, shape, &[]).await.unwrap();
            assert_eq!(imported.commits, commits.len(), "{shape}");
            assert_eq!(named.iter().filter(|line| line.contains("It is a submodule")).count(), named.len(), "{named:?}");
            assert_eq!(!named.is_empty(), shape == "submodule", "{named:?}");
            let to = folder.path(&format!("{shape}-exported"));
            export(&database, &imported.project.0.to_string(), &["--git", to.to_str().unwrap()]).await.unwrap();
            let exported = Repository(to);
            let found = exported.commits();
            assert_eq!(found.len(), commits.len(), "{shape}");
            for (ours, theirs) in found.iter().zip(&commits) {
                assert_eq!(exported.message(ours), repository.message(theirs), "{shape}");
                assert_eq!(exported.files(ours), repository.files(theirs), "{shape}: {}", repository.message(theirs));
            }
            if shape != "submodule" {
                assert_eq!(exported.trees(), repository.trees(), "{shape}");
            }
        }
        assert_sound(&database).await;
    }

    async fn a_branch_is_imported_by_name_and_an_empty_repository_is_refused(database: Database) {
        let folder = Folder::new();
        let empty = Repository::init(folder.path("empty"));
        let refused = try_import(&database, &empty.0, "empty", &[]).await.unwrap_err().to_string();
        assert!(refused.contains("no commits"), "{refused}");
        empty.write("a", "1\n").commit("One");
        empty.git(&["branch", "side"]);
        empty.write("a", "2\n").commit("Two");
        assert_eq!(import(&database, &empty.0, "side", &["--branch", "side"]).await.commits, 1);
        assert_eq!(import(&database, &empty.0, "trunk", &["--branch", "trunk"]).await.commits, 2);
        for name in ["nowhere", "--all", "HEAD"] {
            let refused = try_import(&database, &empty.0, "none", &[&format!("--branch={name}")]).await.unwrap_err();
            assert!(refused.to_string().contains("no such branch"), "{refused}");
        }
    }

    async fn a_repository_that_cannot_be_read_leaves_no_project(database: Database) {
        let folder = Folder::new();
        let nothing = folder.path("nothing");
        fs::create_dir(&nothing).unwrap();
        let empty = Repository::init(folder.path("empty"));
        // A file of the first commit ends early, …
        let damaged = Repository::init(folder.path("damaged"));
        damaged.write("a", "text\n").commit("One");
        let object = |name: &str| {
            let id = damaged.git(&["rev-parse", name]);
            let (start, rest) = id.split_at(2);
            (damaged.0.join(".git/objects").join(start).join(rest), id)
        };
        let ((file, id), (folder_of_files, _)) = (object("HEAD:a"), object("HEAD^{tree}"));
        let whole = fs::read(&file).unwrap();
        let damage = |content: &[u8]| {
            fs::remove_file(&file).unwrap();
            fs::write(&file, content).unwrap();
        };
        damage(&whole[..12]);
        let refuse = async |path: &Path| try_import(&database, path, "none", &[]).await.unwrap_err().to_string();
        for (path, part) in [
            (&nothing, "Git cannot read a repository in".to_owned()),
            (&empty.0, "no commits".to_owned()),
            (&damaged.0, format!("cannot read the object {id}")),
        ] {
            let refused = refuse(path).await;
            assert!(refused.contains(&part), "{refused}");
        }
        // … and its folder is missing.
        damage(&whole);
        let saved = fs::read(&folder_of_files).unwrap();
        fs::remove_file(&folder_of_files).unwrap();
        let refused = refuse(&damaged.0).await;
        assert!(refused.contains("diff-tree"), "{refused}");

        // None of them has left a project, until the repository is whole again.
        let server = start(&database, &folder.path("cache"), &[]).await;
        let projects = async || owner(&server).await.gql("{ projects { totalCount } }", json!({})).await.ok();
        assert_eq!(projects().await["projects"]["totalCount"], 0);
        fs::write(&folder_of_files, saved).unwrap();
        assert_eq!(import(&database, &damaged.0, "none", &[]).await.commits, 1);
        assert_eq!(projects().await["projects"]["totalCount"], 1);
        server.stop().await;
    }

    async fn a_missing_newest_commit_is_named(database: Database) {
        let folder = Folder::new();
        let repository = Repository::init(folder.path("torn"));
        repository.write("a", "1\n").commit("One");
        repository.git(&["branch", "good"]);
        repository.write("a", "2\n").commit("Two");
        let newest = repository.git(&["rev-parse", "HEAD"]);
        let (start, rest) = newest.split_at(2);
        let object = repository.0.join(".git/objects").join(start).join(rest);
        fs::remove_file(&object).unwrap();
        for more in [&[][..], &["--branch", "trunk"]] {
            let refused = try_import(&database, &repository.0, "torn", more).await.unwrap_err().to_string();
            assert!(refused.contains(&format!("{newest}, is missing or damaged")), "{refused}");
        }
        assert_eq!(import(&database, &repository.0, "good", &["--branch", "good"]).await.commits, 1);
        fs::write(&object, "garbage").unwrap();
        let refused = try_import(&database, &repository.0, "torn", &[]).await.unwrap_err().to_string();
        assert!(refused.contains("is missing or damaged"), "{refused}");
    }

    async fn the_import_of_a_shallow_clone_reports_that_its_history_is_cut(database: Database) {
        let folder = Folder::new();
        let whole = Repository::init(folder.path("whole"));
        for n in 1..=4 {
            whole.write("a", format!("{n}\n")).commit(&format!("Commit {n}"));
        }
        let clone = |name: &str, depth: &str| {
            let (from, to) = (format!("file://{}", whole.0.display()), folder.path(name));
            whole.git(&["clone", "-q", "--depth", depth, &from, to.to_str().unwrap()]);
            Repository(to)
        };
        for (name, depth, commits, is_shallow) in [("two", "2", 2, true), ("one", "1", 1, true), ("all", "9", 4, false)] {
            let clone = clone(name, depth);
            let imported = import(&database, &clone.0, name, &[]).await;
            assert_eq!((imported.commits, imported.is_shallow), (commits, is_shallow), "{name}");
            // The next import has nothing to do, and reports it as well.
            let imported = import(&database, &clone.0, name, &[]).await;
            assert_eq!((imported.commits, imported.is_shallow), (0, is_shallow), "{name}");
        }
        assert!(!import(&database, &whole.0, "whole", &[]).await.is_shallow);
    }

    async fn an_archive_has_no_entry_that_leaves_its_folder(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Windows").await;
        for path in ["..\\..\\evil.exe", "C:evil.exe", "a/.. ", "fine/a.py"] {
            project.create_file(path, path).await;
        }
        let folder = Folder::new();
        let to = folder.path("a.zip");
        let said = export(server.database(), &project.id, &["--to", to.to_str().unwrap()]).await.unwrap();
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said.iter().any(|line| line.contains("%5C")) && said.last().unwrap().starts_with("4 files"), "{said:?}");
        let mut archive = zip::ZipArchive::new(fs::File::open(&to).unwrap()).unwrap();
        let mut names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["..%5C..%5Cevil.exe", "C%3Aevil.exe", "a/%2E%2E%20", "fine/a.py"]);
        assert!((0..archive.len()).all(|at| archive.by_index(at).unwrap().enclosed_name().is_some()));
    }

    async fn an_archive_has_no_name_that_an_extractor_refuses_or_git_obeys(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Names").await;
        let names = [
            ("nul", "%6Eul"),
            ("src/aux", "src/%61ux"),
            ("CON.txt", "%43ON.txt"),
            ("com1.tar.gz", "%63om1.tar.gz"),
            ("a*b", "a%2Ab"),
            ("what?", "what%3F"),
            ("<in>|\"out\"", "%3Cin%3E%7C%22out%22"),
            (".git/hooks/post-checkout", "%2Egit/hooks/post-checkout"),
            ("lib/.GIT", "lib/%2EGIT"),
            ("git~1", "%67it~1"),
        ];
        for (path, _) in names {
            project.create_file(path, path).await;
        }
        let folder = Folder::new();
        let to = folder.path("a.zip");
        let said = export(server.database(), &project.id, &["--to", to.to_str().unwrap()]).await.unwrap();
        assert_eq!(said.len(), names.len() + 1, "{said:?}");
        let archive = zip::ZipArchive::new(fs::File::open(&to).unwrap()).unwrap();
        let entries: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        for (path, name) in names {
            assert!(entries.iter().any(|entry| entry == name), "{path}: {entries:?}");
            assert!(said.contains(&format!("renamed: {path:?} is {name:?}")), "{path}: {said:?}");
        }
    }

    async fn a_link_in_an_archive_leads_to_the_renamed_entry(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Links").await;
        // Two paths would have the same name.
        project.create_file("a:b/c.py", "1\n").await;
        project.create_file("a%3Ab/c.py", "2\n").await;
        for (path, target) in
            [("d/link", "../a:b/c.py"), ("same", "a%3Ab/c.py"), ("a:b/near", "c.py"), ("out", "../c.py"), ("odd", "x:y"), ("D", "same")]
        {
            let link = json!({ "path": path, "content": target, "mode": "SYMLINK" });
            project.write("createFile", link, "revision").await;
        }
        let folder = Folder::new();
        let to = folder.path("a.zip");
        let said = export(server.database(), &project.id, &["--to", to.to_str().unwrap()]).await.unwrap();
        let mut archive = zip::ZipArchive::new(fs::File::open(&to).unwrap()).unwrap();
        for (name, is_link, content) in [
            ("d/link", true, "../a%3Ab%/c.py"),
            ("a%3Ab%/c.py", false, "1\n"),
            ("same", true, "a%3Ab/c.py"),
            ("a%3Ab/c.py", false, "2\n"),
            ("a%3Ab%/near", true, "c.py"),
            ("out", false, "../c.py"),
            ("odd", false, "x:y"),
            // Where case is ignored, this is the folder `d`.
            ("D", false, "same"),
        ] {
            let mut entry = archive.by_name(name).unwrap();
            let mut found = String::new();
            entry.read_to_string(&mut found).unwrap();
            assert_eq!((entry.is_symlink(), found.as_str()), (is_link, content), "{name}");
        }
        let links: Vec<&String> = said.iter().filter(|line| line.contains("link: ")).collect();
        let of_a_file = |path: &str| format!("no link: {path:?} could lead out of the archive or to another entry of it");
        assert_eq!(links, [r#"link: "d/link" leads to "../a%3Ab%/c.py""#, &of_a_file("D"), &of_a_file("odd"), &of_a_file("out")]);
    }

    async fn an_archive_replaces_only_the_contents_of_what_is_there(server: Server) {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Archive").await;
        project.create_file("a.py", "1\n").await;
        let folder = Folder::new();
        let export_to = async |to: &std::path::Path| {
            export(server.database(), &project.id, &["--to", to.to_str().unwrap()]).await.unwrap();
        };
        let fresh = folder.path("fresh.zip");
        export_to(&fresh).await;
        let expected = fs::read(&fresh).unwrap();
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

        // A file keeps its mode, also behind links.
        for given in [0o600, 0o640, 0o755] {
            let (file, link, second) = (folder.path("own.zip"), folder.path("link.zip"), folder.path("second.zip"));
            fs::write(&file, "old").unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(given)).unwrap();
            symlink("own.zip", &link).unwrap();
            symlink(&link, &second).unwrap();
            for to in [&file, &link, &second] {
                fs::write(&file, "old").unwrap();
                export_to(to).await;
                assert_eq!((fs::read(&file).unwrap() == expected, mode(&file)), (true, given));
            }
            assert!([&link, &second].iter().all(|link| link.is_symlink()));
            [file, link, second].iter().for_each(|path| fs::remove_file(path).unwrap());
        }
        // A link that leads nowhere leads to the archive then.
        let (missing, link) = (folder.path("missing.zip"), folder.path("dangling.zip"));
        symlink("missing.zip", &link).unwrap();
        export_to(&link).await;
        assert!(link.is_symlink() && fs::read(&missing).unwrap() == expected);
        // A pipe is written into, and so is a device.
        let pipe = folder.path("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        export_to(&pipe).await;
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(reader.join().unwrap(), expected);
        let null = folder.path("null");
        symlink("/dev/null", &null).unwrap();
        export_to(&null).await;
        assert!(null.is_symlink() && fs::metadata(&null).unwrap().file_type().is_char_device());
        // A folder is refused, and nothing is left behind.
        assert!(export(server.database(), &project.id, &["--to", folder.path("").to_str().unwrap()]).await.is_err());
        let left: Vec<_> = fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains(".part")), "{left:?}");
    }

    async fn names_that_are_special_to_git_do_not_stop_an_export(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Names").await;
        let long = "n".repeat(297);
        let paths = [".git ", ".git.", "git~1/x", "a\\.git\\x", long.as_str(), "fine.py"];
        for path in paths {
            project.create_file(path, "x\n").await;
        }
        for path in [".gitmodules", "a/.GitModules"] {
            let link = json!({ "path": path, "content": "fine.py", "mode": "SYMLINK" });
            project.write("createFile", link, "revision").await;
        }
        project.create_file(".gitattributes", "* filter=lfs text eol=crlf\n").await;
        let folder = Folder::new();
        let to = folder.path("exported");
        let said = export(server.database(), &project.id, &["--git", to.to_str().unwrap()]).await.unwrap();
        assert_eq!(said.len(), 8, "{said:?}");
        for (line, path) in said.iter().zip([".git ", ".git.", "git~1/x", "a\\.git\\x", ".gitmodules", "a/.GitModules"]) {
            assert!(line.starts_with(&format!("left out: {path:?}")), "{path}: {said:?}");
        }
        assert!(said[6].contains("not checked out") && said[6].contains(&long), "{said:?}");
        let files = Repository(to.clone()).files("HEAD");
        assert!(files.keys().eq([".gitattributes", "fine.py", &long]), "{:?}", files.keys());
        // The attributes hold for the files that are checked out.
        assert_eq!(fs::read(to.join("fine.py")).unwrap(), b"x\r\n");
    }
}

tests::on_sqlite! {
    async fn a_commit_with_endless_empty_folders_is_refused_in_time(database: Database) {
        let folder = Folder::new();
        let repository = Repository::init(folder.path("empty"));
        let mut top = tree(&repository.0, "");
        for _ in 0..40 {
            top = tree(&repository.0, &format!("040000 tree {top}\ta\n040000 tree {top}\tb\n"));
        }
        let endless = repository.git(&["commit-tree", &top, "-m", "Endless"]);
        repository.git(&["branch", "endless", &endless]);
        let limited = ["--branch", "endless", "--max-operation-seconds", "1"];
        let refused = try_import(&database, &repository.0, "endless", &limited).await.unwrap_err().to_string();
        assert!(refused.contains("1 seconds (MAX_OPERATION_SECONDS)") && refused.contains(&endless), "{refused}");
    }

    async fn a_commit_with_billions_of_paths_is_refused_by_the_limit_of_memory(database: Database) {
        let folder = Folder::new();
        let repository = Repository::init(folder.path("many"));
        repository.write("a", "1\n").commit("One");
        let entries = |kind: &str, id: &str| (0..2_000).map(|n| format!("{kind} {id}\t{n}\n")).collect::<String>();
        let mut top = tree(&repository.0, &entries("100644 blob", &repository.git(&["rev-parse", "HEAD:a"])));
        for _ in 0..2 {
            top = tree(&repository.0, &entries("040000 tree", &top));
        }
        let many = repository.git(&["commit-tree", &top, "-m", "Billions"]);
        repository.git(&["branch", "many", &many]);
        let refused = try_import(&database, &repository.0, "many", &["--branch", "many"]).await.unwrap_err().to_string();
        for part in ["512 MiB of memory", "too many files", &many] {
            assert!(refused.contains(part), "{refused}");
        }
        // After a commit that is imported, its project stays.
        let second = repository.git(&["commit-tree", &top, "-p", "HEAD", "-m", "Billions"]);
        let server = start(&database, &folder.path("cache"), &[]).await;
        let projects = async || owner(&server).await.gql("{ projects { totalCount } }", json!({})).await.ok();
        assert_eq!(projects().await["projects"]["totalCount"], 0);
        repository.git(&["update-ref", "refs/heads/many", &second]);
        let refused = try_import(&database, &repository.0, "many", &["--branch", "many"]).await.unwrap_err().to_string();
        assert!(refused.contains(&second), "{refused}");
        assert_eq!(projects().await["projects"]["totalCount"], 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn programs_that_a_repository_names_do_not_run() {
    let database = Database::create(Kind::Sqlite).await;
    let folder = Folder::new();
    let repository = Repository::init(folder.path("hostile"));
    repository.write("a.py", "1\n").write(".gitattributes", "* diff=evil filter=evil\n").commit("One");
    repository.write("a.py", "2\n").commit("Two");
    let program = folder.path("program");
    let ran = folder.path("ran");
    fs::write(&program, format!("#!/bin/sh\nenv >> '{}'\ncat\n", ran.display())).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();
    for (name, value) in [
        ("core.fsmonitor", program),
        ("core.pager", program),
        ("core.sshCommand", program),
        ("core.alternateRefsCommand", program),
        ("diff.external", program),
        ("diff.evil.command", program),
        ("diff.evil.textconv", program),
        ("filter.evil.smudge", program),
        ("filter.evil.clean", program),
        ("filter.evil.process", program),
        ("gpg.program", program),
        ("log.showSignature", "true"),
        ("pager.rev-list", program),
        ("pager.diff-tree", program),
        ("credential.helper", program),
    ] {
        repository.git(&["config", name, value]);
    }
    assert_eq!(import(&database, &repository.0, "hostile", &[]).await.commits, 2);
    assert!(!ran.exists(), "{}", fs::read_to_string(ran).unwrap());
}
