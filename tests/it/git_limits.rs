//! Given many git clients at once, hostile ones, or a server that is killed, then no commit is lost or shown that is not
//! stored, and a request that exceeds a limit is refused by the name of the setting.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::join_all;
use serde_json::json;
use tests::{
    client::{Client, Raw},
    database::Database,
    project::Project,
    server::ChildServer,
    workload::Random,
};

use tokio::time::timeout;

use crate::{
    git_http::{clone, git, start, tip, url},
    git_push::{Pushing, commit, push, tree},
    import_export::Folder,
};

const ADA: &str = "ada@example.com";

/// Bytes that cannot be compressed.
fn noise(random: &mut Random, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| random.below(256) as u8).collect()
}

/// Sends a request to a service of git.
async fn post(client: &Client, project: &Project, service: &str, more: &[(&str, &str)], body: Vec<u8>) -> Raw {
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("ada:{}", client.token().unwrap())));
    let media = format!("application/x-{service}-request");
    let headers = [&[("authorization", basic.as_str()), ("content-type", media.as_str())], more].concat();
    client.send("POST", &format!("/git/{}.git/{service}", project.id), &headers, body).await.unwrap()
}

pub(super) fn line(text: &str) -> String {
    format!("{:04x}{text}", text.len() + 4)
}

/// What `gzip` makes of bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, bytes) = (child.stdin.take().unwrap(), bytes.to_vec());
    let writing = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().unwrap().stdout;
    writing.join().unwrap().unwrap();
    output
}

/// The objects of a clone's newest commit that an old one does not have.
pub(super) fn pack(clone: &Path, old: &str) -> Vec<u8> {
    let script = format!("printf 'HEAD\\n^{old}\\n' | git pack-objects --stdout --revs -q");
    let packed = std::process::Command::new("sh").arg("-c").arg(script).current_dir(clone).output().unwrap();
    assert!(packed.status.success());
    packed.stdout
}

tests::on_both! {
    async fn a_small_pack_with_billions_of_paths_is_refused(database: Database) {
        let Pushing { folder: _folder, server, project, clone } = Pushing::start(&database, &[]).await;
        let blob = git(&clone, &["rev-parse", "HEAD:a.txt"]).await.ok();
        let mut top = tree(&clone, &(0..10).map(|n| format!("100644 blob {blob}\t{n}\n")).collect::<String>());
        for _ in 0..9 {
            top = tree(&clone, &(0..10).map(|n| format!("040000 tree {top}\t{n}\n")).collect::<String>());
        }
        let commit = git(&clone, &["commit-tree", &top, "-p", "HEAD", "-m", "many"]).await.ok();
        git(&clone, &["update-ref", "refs/heads/main", &commit]).await.ok();
        let refused = push(&clone).await;
        assert!(!refused.is_ok && refused.messages.contains("too many files"), "{}", refused.messages);
        assert_eq!(project.contents().await.len(), 1);
        server.stop().await;
    }

    async fn git_can_complain_of_each_object_of_a_push(database: Database) {
        let Pushing { folder: _folder, server, project, clone } = Pushing::start(&database, &[]).await;
        let blob = hex::decode(git(&clone, &["rev-parse", "HEAD:a.txt"]).await.ok()).unwrap();
        let mut paths = String::new();
        for number in 0..3_000 {
            let file = clone.join(format!(".git/tree{number}"));
            fs::write(&file, [format!("100664 {number}\0").as_bytes(), &blob].concat()).unwrap();
            paths.push_str(&format!("{}\n", file.display()));
        }
        fs::write(clone.join(".git/paths"), paths).unwrap();
        let script = "git hash-object -t tree -w --literally --stdin-paths < .git/paths";
        let written = std::process::Command::new("sh").arg("-c").arg(script).current_dir(&clone).output().unwrap();
        let ids = String::from_utf8(written.stdout).unwrap();
        let entries = ids.lines().enumerate().map(|(number, id)| format!("040000 tree {id}\t{number}\n"));
        let top = tree(&clone, &entries.collect::<String>());
        let commit = git(&clone, &["commit-tree", &top, "-p", "HEAD", "-m", "Old modes"]).await.ok();
        git(&clone, &["update-ref", "refs/heads/main", &commit]).await.ok();
        let refused = timeout(Duration::from_secs(60), push(&clone)).await.expect("an answer").refused();
        assert!(refused.contains("100664") || refused.contains("the pack is invalid"), "{refused}");
        assert_eq!(project.contents().await.len(), 1);
        server.stop().await;
    }

    async fn the_contents_of_a_commit_have_a_limit(database: Database) {
        let Pushing { folder: _folder, server, project, clone } = Pushing::start(&database, &["--max-body-bytes=1500000"]).await;
        for n in 0..4 {
            fs::write(clone.join(format!("{n}.bin")), [vec![n; 1], vec![0; 499_999]].concat()).unwrap();
        }
        commit(&clone, "large").await;
        let refused = push(&clone).await;
        assert!(!refused.is_ok && refused.messages.contains("MAX_BODY_BYTES"), "{}", refused.messages);
        fs::remove_file(clone.join("3.bin")).unwrap();
        git(&clone, &["add", "--all"]).await.ok();
        git(&clone, &["commit", "-q", "--amend", "-m", "fits"]).await.ok();
        push(&clone).await.ok();
        assert_eq!(project.contents().await.len(), 4);
        server.stop().await;
    }

    async fn bodies_and_commits_are_counted_in_the_memory_of_all(database: Database) {
        let flags = ["--max-memory-bytes=2000000"];
        let Pushing { folder, server, project, clone } = Pushing::start(&database, &flags).await;
        let client = project.client.clone();
        // The body of a fetch is held until git has read it.
        let have = |count: usize| line(&format!("have {:040}\n", 1)).repeat(count).into_bytes();
        let refused = post(&client, &project, "git-upload-pack", &[], have(50_000)).await;
        assert_eq!(refused.status, 413);
        assert!(String::from_utf8_lossy(&refused.body).contains("--max-memory-bytes"), "{:?}", refused.body);
        // The body of a push goes to the disk as it arrives, whatever its size; then its commits are counted.
        let mut random = Random(7);
        for n in 0..5 {
            fs::write(clone.join(format!("{n}.bin")), noise(&mut random, 450_000)).unwrap();
            if n % 2 == 1 {
                commit(&clone, "Two files").await;
            }
        }
        let pushed = post(&client, &project, "git-receive-pack", &[], pack(&clone, "HEAD~2").repeat(2)).await;
        assert_eq!(pushed.status, 400, "{:?}", String::from_utf8_lossy(&pushed.body));
        push(&clone).await.ok();
        let before = project.ask("revision").await;
        fs::write(clone.join("zeros.bin"), vec![0; 2_500_000]).unwrap();
        // A file that follows would be refused for its own size, but is not read any more.
        fs::write(clone.join("zz.bin"), vec![0; 11 * 1024 * 1024]).unwrap();
        commit(&clone, "Too large").await;
        let refused = push(&clone).await.refused();
        assert!(refused.contains("--max-memory-bytes"), "{refused}");
        assert_eq!(project.ask("revision").await, before);
        // All memory is released again.
        git(&clone, &["reset", "-q", "--hard", "HEAD~1"]).await.ok();
        fs::write(clone.join("last.bin"), noise(&mut random, 1_000_000)).unwrap();
        commit(&clone, "Last").await;
        push(&clone).await.ok();
        drop(folder);
        server.stop().await;
    }

    async fn pushes_and_other_writes_at_once_lose_nothing(database: Database) {
        const ROUNDS: usize = 3;
        let Pushing { folder, server, project, .. } = Pushing::start(&database, &[]).await;
        let ada = project.client.clone();
        let url = url(&ada, &server, &project.id);
        let (one, two) = (clone(&folder, "one", &url).await, clone(&folder, "two", &url).await);
        for round in 0..ROUNDS {
            for (clone, name) in [(&one, "one"), (&two, "two")] {
                for part in 0..3 {
                    fs::write(clone.join(format!("{name}-{round}-{part}.txt")), "x\n").unwrap();
                    commit(clone, &format!("{name} {round} {part}")).await;
                }
            }
            let here = format!("here-{round}.txt");
            let (pushed, others, _) = tokio::join!(push(&one), push(&two), project.create_file(&here, "x\n"));
            for (clone, pushed) in [(&one, pushed), (&two, others)] {
                let head = git(clone, &["rev-parse", "HEAD"]).await.ok();
                git(clone, &["fetch", "-q", "origin"]).await.ok();
                let is_stored = git(clone, &["merge-base", "--is-ancestor", &head, "origin/main"]).await.is_ok;
                // A reported success is stored; after a refusal a rebase continues, whatever part was stored.
                assert_eq!(pushed.is_ok, is_stored, "round {round}: {}", pushed.messages);
                if !pushed.is_ok {
                    assert!(pushed.messages.contains("fetch first"), "{}", pushed.messages);
                }
                while !git(clone, &["push", "-q", "origin", "HEAD:refs/heads/main"]).await.is_ok {
                    git(clone, &["pull", "-q", "--rebase", "origin", "main"]).await.ok();
                }
            }
        }
        let again = clone(&folder, "again", &url).await;
        let names: Vec<_> = fs::read_dir(&again).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2 + ROUNDS * 7, "{names:?}");
        git(&again, &["fsck", "--strict"]).await.ok();
        server.stop().await;
    }

    async fn many_clones_at_once_are_the_same(database: Database) {
        let folder = Folder::new();
        // Given two servers with one folder, and a project that neither has seen.
        let cache = folder.path("cache");
        let (one, two) = (start(&database, &cache, &[]).await, start(&database, &cache, &[]).await);
        let ada = one.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        project.create_files((0..30).map(|number| format!("{number}.txt")), "text\n").await;
        let names: Vec<String> = (0..6).map(|number| format!("clone{number}")).collect();
        let clones = names.iter().enumerate().map(|(number, name)| {
            let server = if number % 2 == 0 { &one } else { &two };
            let url = url(&ada, server, &project.id);
            async {
                let url = url;
                clone(&folder, name, &url).await
            }
        });
        let mut heads = HashSet::new();
        for clone in join_all(clones).await {
            assert_eq!(git(&clone, &["rev-list", "--count", "HEAD"]).await.ok(), "30");
            git(&clone, &["fsck", "--strict"]).await.ok();
            heads.insert(git(&clone, &["rev-parse", "HEAD"]).await.ok());
        }
        assert_eq!(heads.len(), 1, "{heads:?}");
        one.stop().await;
        two.stop().await;
    }

    async fn random_histories_are_pushed_and_cloned_unchanged(database: Database) {
        let folder = Folder::new();
        let server = start(&database, &folder.path("cache"), &[]).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        let here = url(&ada, &server, &project.id);
        let work = clone(&folder, "work", &here).await;
        let seed = 7;
        let mut random = Random(seed);
        for step in 0..20 {
            for _ in 0..1 + random.below(3) {
                let name = ["a", "b/c", "b/d e", "b-", "b.x/ü", "z"][random.below(6)];
                let path = work.join(name);
                match random.below(6) {
                    0 => drop(fs::remove_file(&path)),
                    1 => {
                        let to = ["moved", "b/moved", "n/moved"][random.below(3)];
                        git(&work, &["mv", "-k", name, to]).await;
                    }
                    2 => {
                        git(&work, &["update-index", "--chmod=+x", name]).await;
                    }
                    _ if path.is_dir() => {}
                    _ => {
                        fs::create_dir_all(path.parent().unwrap()).unwrap();
                        let bytes = random.below(300);
                        fs::write(path, noise(&mut random, bytes)).unwrap();
                    }
                }
            }
            git(&work, &["add", "--all"]).await.ok();
            let author = format!("A {step} <a{step}@x>");
            let date = format!("{} {}", random.below(2_000_000_000), ["+0000", "-0730", "+1245"][random.below(3)]);
            let dated = ["commit", "-q", "--allow-empty", "--author", &author, "--date", &date, "-m", "Step\n\nü"];
            git(&work, &dated).await.ok();
            if random.below(4) == 0 {
                push(&work).await.ok();
            }
        }
        push(&work).await.ok();
        let head = git(&work, &["rev-parse", "HEAD"]).await.ok();
        assert_eq!(tip(&folder, &here).await, head, "seed {seed}");
        let other = start(&database, &folder.path("other"), &[]).await;
        assert_eq!(tip(&folder, &url(&ada, &other, &project.id)).await, head, "seed {seed}");
        other.stop().await;
        server.stop().await;
    }

    async fn a_killed_server_leaves_a_copy_that_the_next_one_completes(database: Database) {
        let folder = Folder::new();
        let cache = folder.path("cache");
        let flags = ["--git-cache", cache.to_str().unwrap()];
        let mut child = ChildServer::start_with_flags(&database, &flags);
        let ada = child.user(ADA);
        let project = Project::create(&ada, "Voice").await;
        project.create_files((0..260).map(|number| format!("{number}.txt")), "text\n").await;
        // When it is killed while it writes the copy, in which there is something already.
        let path = format!("/git/{}.git/info/refs?service=git-upload-pack", project.id);
        let bearer = format!("Bearer {}", ada.token().unwrap());
        let asking = tokio::spawn(async move { ada.send("GET", &path, &[("authorization", &bearer)], "").await.is_ok() });
        let copy = cache.join(format!("{}.git", project.id));
        while !copy.exists() {
            tokio::task::yield_now().await;
        }
        child.kill();
        asking.await.unwrap();
        let server = start(&database, &cache, &[]).await;
        let fresh = start(&database, &folder.path("fresh"), &[]).await;
        let ada = server.user(ADA);
        let clone = clone(&folder, "clone", &url(&ada, &server, &project.id)).await;
        assert_eq!(git(&clone, &["rev-list", "--count", "HEAD"]).await.ok(), "260");
        git(&clone, &["fsck", "--strict"]).await.ok();
        let head = git(&clone, &["rev-parse", "HEAD"]).await.ok();
        assert_eq!(tip(&folder, &url(&ada, &fresh, &project.id)).await, head);
        server.stop().await;
        fresh.stop().await;
    }

    async fn a_large_push_arrives_and_a_too_large_one_is_refused(database: Database) {
        let Pushing { folder, server, project, clone } = Pushing::start(&database, &["--max-push-bytes", "2000000"]).await;
        let mut random = Random(1);
        // git sends more than a megabyte in chunks, after a request that asks whether it may.
        fs::write(clone.join("large.bin"), noise(&mut random, 1_500_000)).unwrap();
        commit(&clone, "Large").await;
        push(&clone).await.ok();
        let before = project.ask("revision").await;
        fs::write(clone.join("larger.bin"), noise(&mut random, 2_500_000)).unwrap();
        commit(&clone, "Larger").await;
        let refused = push(&clone).await.refused();
        assert!(refused.contains("more than 2000000 bytes (MAX_PUSH_BYTES)"), "{refused}");
        assert_eq!(project.ask("revision").await, before);
        // Nothing of a refused push remains.
        let left = fs::read_dir(folder.path("cache")).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("push-")).collect();
        assert!(left.is_empty(), "{left:?}");
        server.stop().await;
    }
}

tests::on_sqlite! {
    async fn copies_that_are_not_used_make_room(database: Database) {
        let folder = Folder::new();
        let cache = folder.path("cache");
        let server = start(&database, &cache, &["--git-cache-bytes", "1"]).await;
        let ada = server.user(ADA);
        let mut copies = Vec::new();
        for name in ["Old", "Recent", "New"] {
            let project = Project::create(&ada, name).await;
            project.create_file("a.txt", "a\n").await;
            // Copies of the last minutes stay, since git may be reading them.
            assert!(copies.iter().all(|copy: &std::path::PathBuf| copy.exists()));
            clone(&folder, name, &url(&ada, &server, &project.id)).await;
            copies.push(cache.join(format!("{}.git", project.id)));
            if name == "Recent" {
                let used = File::options().write(true).open(copies[0].join("used")).unwrap();
                used.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
            }
        }
        // They are removed beside the request.
        while copies[0].exists() {
            tokio::task::yield_now().await;
        }
        assert!(copies[1].exists() && copies[2].exists());
        server.stop().await;
    }

    async fn every_version_of_the_protocol_and_compressed_bodies_work(database: Database) {
        let Pushing { folder, server, project, .. } = Pushing::start(&database, &[]).await;
        let ada = project.client.clone();
        let url = url(&ada, &server, &project.id);
        for version in ["0", "1", "2"] {
            let name = format!("clone{version}");
            let setting = format!("protocol.version={version}");
            git(&folder.path(""), &["-c", &setting, "clone", "-q", &url, &name]).await.ok();
            let clone = folder.path(&name);
            project.update_file("a.txt", &format!("{version}\n")).await;
            git(&clone, &["-c", &setting, "pull", "-q"]).await.ok();
            commit(&clone, "Pushed").await;
            git(&clone, &["-c", &setting, "push", "-q", "origin", "HEAD:main"]).await.ok();
        }
        git(&folder.path(""), &["clone", "-q", "--filter=blob:none", &url, "partial"]).await.ok();
        let listing = format!("{}0001{}0000", line("command=ls-refs\n"), line("ref-prefix refs/heads/main\n"));
        let version = ("git-protocol", "version=2");
        let encoded = [version, ("content-encoding", "gzip")];
        for (more, body) in [(&[version][..], listing.clone().into_bytes()), (&encoded, gzip(listing.as_bytes()))] {
            let answer = post(&ada, &project, "git-upload-pack", more, body).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 200 && text.contains("refs/heads/main"), "{text}");
            assert_eq!(answer.header("content-encoding"), "");
        }
        // A compressed push is stored, whatever its size.
        let gzipped = [("content-encoding", "gzip")];
        let probe = post(&ada, &project, "git-receive-pack", &gzipped, gzip(b"0000")).await;
        assert_eq!((probe.status, probe.body.len()), (200, 0));
        let clone = clone(&folder, "compressed", &url).await;
        for bytes in [1, 300_000] {
            let old = git(&clone, &["rev-parse", "HEAD"]).await.ok();
            fs::write(clone.join("noise"), noise(&mut Random(1), bytes)).unwrap();
            let new = commit(&clone, "Compressed").await;
            let command = line(&format!("{old} {new} refs/heads/main\0 report-status\n"));
            let body = [format!("{command}0000").into_bytes(), pack(&clone, &old)].concat();
            let answer = post(&ada, &project, "git-receive-pack", &gzipped, gzip(&body)).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == 200 && text.contains("ok refs/heads/main"), "{bytes}: {text}");
            assert_eq!(tip(&folder, &url).await, new);
        }
        let answer = post(&ada, &project, "git-receive-pack", &[("content-encoding", "br")], Vec::new()).await;
        assert_eq!(answer.status, 415);
        server.stop().await;
    }

    async fn a_fetch_that_git_refuses_gets_a_whole_answer(database: Database) {
        let Pushing { folder, server, project, .. } = Pushing::start(&database, &[]).await;
        let ada = project.client.clone();
        let want = line(&format!("want {}\n", "1".repeat(40)));
        let two = ("git-protocol", "version=2");
        let fetch = format!("{}0001{}0000", line("command=fetch\n"), want);
        for (more, body, status, part) in [
            (&[][..], String::new(), 400, "not a request of a git client"),
            (&[], "zzzz".to_owned(), 400, "not a request of a git client"),
            (&[], "0003".to_owned(), 400, "not a request of a git client"),
            (&[], "0000zz".to_owned(), 400, "not a request of a git client"),
            (&[], "0032want".to_owned(), 400, "not a request of a git client"),
            (&[two], String::new(), 400, "not a request of a git client"),
            (&[two], "{\"query\":1}".to_owned(), 400, "not a request of a git client"),
            (&[], "0000".to_owned(), 200, ""),
            (&[], format!("{want}0000{}", line("done\n")), 200, "ERR upload-pack: not our ref"),
            (&[], format!("{}0000", line("hello\n")), 200, "ERR upload-pack: "),
            (&[], format!("{}0000", line("want x\n")), 200, "ERR upload-pack: "),
            (&[two], fetch, 200, "ERR upload-pack: not our ref"),
            (&[two], format!("{}0000", line("command=nothing\n")), 200, "ERR upload-pack: invalid command 'nothing'"),
            (&[two], format!("{}0000", line("x\n")), 200, "ERR upload-pack: unknown capability 'x'"),
            (&[two], format!("{}0001{}0000", line("command=ls-refs\n"), line("x\n")), 200, "ERR upload-pack: unexpected line: 'x'"),
        ] {
            // The whole body arrives, or this fails.
            let answer = post(&ada, &project, "git-upload-pack", more, body.clone().into_bytes()).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == status && text.contains(part), "{body:?}: {} {text}", answer.status);
        }
        // Nobody has reason to check the copy.
        let copy = folder.path("cache").join(format!("{}.git", project.id));
        assert!(!copy.join("suspect").exists());
        // If objects are missing, the answer is whole, too, and the next one is right.
        fs::remove_dir_all(copy.join("objects/pack")).unwrap();
        let head = fs::read_to_string(copy.join("refs/heads/main")).unwrap();
        let body = format!("{}0000{}", line(&format!("want {head}")), line("done\n"));
        post(&ada, &project, "git-upload-pack", &[], body.into_bytes()).await;
        clone(&folder, "again", &url(&ada, &server, &project.id)).await;
        server.stop().await;
    }

    async fn requests_of_git_are_in_the_metrics(database: Database) {
        let Pushing { folder, server, project, clone, .. } = Pushing::start(&database, &["--metrics-listen", "127.0.0.1:0"]).await;
        commit(&clone, "Next").await;
        push(&clone).await.ok();
        git(&clone, &["commit", "-q", "--amend", "--allow-empty", "-m", "Other"]).await.ok();
        git(&clone, &["push", "--force", "origin", "HEAD:main"]).await.refused();
        git(&clone, &["push", "origin", "HEAD:refs/heads/other"]).await.refused();
        post(&project.client, &project, "git-upload-pack", &[], b"zzzz".to_vec()).await;
        post(&project.client, &project, "git-upload-pack", &[], format!("{}0000", line("hello\n")).into_bytes()).await;
        let nobody = format!("http://anyone:wrong@{}/git/{}.git", server.address(), project.id);
        git(&folder.path(""), &["clone", "-q", &nobody, "nobody"]).await.refused();
        let answer = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let value = |series: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(series));
            line.map_or(0.0, |value| value.trim().parse::<f64>().unwrap())
        };
        let count = |kind: &str, name: &str, outcome: &str| {
            value(&format!("antiphon_operations_total{{kind=\"{kind}\",name=\"{name}\",outcome=\"{outcome}\"}}"))
        };
        assert!(count("query", "git-upload-pack refs", "OK") >= 1.0, "{text}");
        assert!(count("query", "git-upload-pack", "OK") >= 1.0, "{text}");
        assert_eq!(count("query", "git-upload-pack", "BAD_USER_INPUT"), 2.0, "{text}");
        assert!(count("query", "git-receive-pack refs", "OK") >= 3.0, "{text}");
        assert_eq!(count("mutation", "git-receive-pack", "OK"), 1.0, "{text}");
        assert_eq!(count("mutation", "git-receive-pack", "CONFLICT"), 1.0, "{text}");
        assert_eq!(count("mutation", "git-receive-pack", "BAD_USER_INPUT"), 1.0, "{text}");
        assert!(count("none", "", "UNAUTHENTICATED") >= 1.0, "{text}");
        let of = |metric: &str| value(&format!("{metric}{{kind=\"mutation\",name=\"git-receive-pack\"}}"));
        assert_eq!(of("antiphon_operation_seconds_count"), 3.0, "{text}");
        assert!(of("antiphon_operation_seconds_sum") > 0.0 && of("antiphon_operation_statements_total") > 0.0, "{text}");
        server.stop().await;
    }

    async fn hostile_requests_change_nothing(database: Database) {
        let Pushing { folder, server, project, .. } = Pushing::start(&database, &[]).await;
        let ada = project.client.clone();
        let head = tip(&folder, &url(&ada, &server, &project.id)).await;
        let before = project.ask("revision").await;
        let zero = "0".repeat(40);
        let new = "1".repeat(40);
        let update = |old: &str, new: &str, name: &str| {
            let text = format!("{old} {new} {name}\0 report-status side-band-64k\n");
            format!("{}0000", line(&text)).into_bytes()
        };
        let bomb = gzip(&vec![b'x'; 50_000_000]);
        let shallow = line(&format!("shallow {new}\n")).repeat(100_000);
        // The members of a compressed body are one body.
        let stale = update(&zero, &new, "refs/heads/main");
        let members = [gzip(&stale[..30]), gzip(&stale[30..])].concat();
        let command = line(&format!("{head} {new} refs/heads/main\n"));
        let twice = format!("{command}{command}0000").into_bytes();
        for (more, body, status, part) in [
            (&[][..], b"zzzz".to_vec(), 400, "not a push"),
            (&[], Vec::new(), 400, "not a push"),
            (&[], b"00".to_vec(), 400, "not a push"),
            (&[], b"0000".to_vec(), 200, ""),
            (&[], command.into_bytes(), 400, "not a push"),
            (&[], line("nonsense\n").into_bytes(), 400, "not a push"),
            (&[], twice, 400, "not a push"),
            (&[], "0032".repeat(50_000).into_bytes(), 400, "not a push"),
            (&[("content-encoding", "gzip")], b"no gzip".to_vec(), 400, "incomplete"),
            (&[("content-encoding", "gzip")], bomb, 400, "not a push"),
            (&[("content-encoding", "gzip")], gzip(b"zzzz"), 400, "not a push"),
            (&[("content-encoding", "gzip")], gzip(shallow.as_bytes()), 400, "not a push"),
            (&[], shallow.into_bytes(), 400, "not a push"),
            (&[("content-encoding", "gzip")], members, 200, "ng refs/heads/main fetch first"),
            (&[], update(&head, &new, "refs/heads/main"), 200, "ng refs/heads/main the pack is invalid"),
            (&[], update(&zero, &new, "refs/heads/main"), 200, "ng refs/heads/main fetch first"),
            (&[], update(&head, &new, "../../x"), 200, "ng ../../x only refs/heads/main"),
            (&[], [update(&head, &new, "refs/heads/main"), b"PACK\0\0\0\x02\xff\xff\xff\xff".to_vec()].concat(), 200, "the pack is invalid"),
            (&[], [update(&head, &new, "refs/heads/main"), empty_pack()].concat(), 200, "ng refs/heads/main the history"),
            (&[], [update(&head, &head, "refs/heads/main"), empty_pack()].concat(), 200, "ng refs/heads/main non-fast-forward"),
        ] {
            let answer = post(&ada, &project, "git-receive-pack", more, body).await;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(answer.status == status && text.contains(part), "{part}: {} {text}", answer.status);
        }
        assert_eq!(tip(&folder, &url(&ada, &server, &project.id)).await, head);
        assert_eq!(project.ask("revision").await, before);
        assert_eq!(json!(fs::read_dir(folder.path("cache")).unwrap().count()), 2);
        server.stop().await;
    }
}

/// A pack without objects.
fn empty_pack() -> Vec<u8> {
    let head = b"PACK\0\0\0\x02\0\0\0\0".to_vec();
    let hash = "029d08823bd8a8eab510ad6ac75c823cfd3ed31e";
    [head, hex::decode(hash).unwrap()].concat()
}
