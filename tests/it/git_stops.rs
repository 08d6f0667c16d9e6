//! Given pushes that stop halfway, because their client goes, a commit cannot be stored, or the user has too many requests, then
//! what is stored is whole, nothing stays behind, and the next push goes on.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::Project,
    server::Server,
    socket::PATIENCE,
};
use tokio::time::{sleep, timeout};

use crate::{
    git_http::{checked_clone, clone, git, tip, url},
    git_limits::{line, pack},
    git_push::{Pushing, commit, push},
};

const BOB: &str = "bob@example.com";

/// Begins a push, and waits until the server reads its body: it has then found the repository and counts the request.
async fn begin(server: &Server, client: &Client, project: &Project, length: usize) -> TcpStream {
    let basic = BASE64_STANDARD.encode(format!("ada:{}", client.token().unwrap()));
    let head = format!(
        "POST /git/{}.git/git-receive-pack HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic {basic}\r\n\
         content-type: application/x-git-receive-pack-request\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n",
        project.id
    );
    let address = server.address();
    let begun = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 25];
        connection.read_exact(&mut answer).unwrap();
        assert_eq!(answer.as_slice(), b"HTTP/1.1 100 Continue\r\n\r\n");
        connection
    });
    begun.await.unwrap()
}

/// The body of a push of a clone's newest commit.
async fn request(clone: &Path, old: &str) -> Vec<u8> {
    let new = git(clone, &["rev-parse", "HEAD"]).await.ok();
    let command = line(&format!("{old} {new} refs/heads/main\0 report-status side-band-64k\n"));
    [command.as_bytes(), b"0000", &pack(clone, old)].concat()
}

/// The folders of pushes that arrive.
fn arriving(cache: &Path) -> Vec<String> {
    let names = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("push-")).collect()
}

/// Waits until no push is arriving.
async fn settle(cache: &Path) {
    let start = Instant::now();
    while !arriving(cache).is_empty() {
        assert!(start.elapsed() < PATIENCE, "{:?}", arriving(cache));
        sleep(Duration::from_millis(10)).await;
    }
}

/// Makes the file at a path impossible to store, or possible again.
async fn refuse_file(database: &Database, path: &str, is_refused: bool) {
    let sql = match (database.kind(), is_refused) {
        (Kind::Sqlite, true) => format!(
            "CREATE TRIGGER stop BEFORE INSERT ON file_snapshots WHEN NEW.path = '{path}' BEGIN SELECT RAISE(ABORT, 'stop'); END"
        ),
        (Kind::Sqlite, false) => "DROP TRIGGER stop".to_owned(),
        (Kind::Postgres, true) => format!(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'stop'; END $$; \
             CREATE TRIGGER stop BEFORE INSERT ON file_snapshots FOR EACH ROW WHEN (NEW.path = '{path}') EXECUTE FUNCTION stop()"
        ),
        (Kind::Postgres, false) => "DROP TRIGGER stop ON file_snapshots; DROP FUNCTION stop()".to_owned(),
    };
    database.execute(&sql).await;
}

tests::on_both! {
    async fn commits_before_one_that_fails_are_stored(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let clone = &pushing.clone;
        for name in ["1.txt", "2.txt", "3.txt", "4.txt", "5.txt"] {
            fs::write(clone.join(name), "text\n").unwrap();
            commit(clone, name).await;
        }
        let before = pushing.project.revision().await;
        refuse_file(&database, "3.txt", true).await;
        let refused = push(clone).await.refused();
        assert!(refused.contains("! [remote rejected] HEAD -> main"), "{refused}");
        assert!(refused.contains("remote: 2 of 5 commits are stored: fetch them, and rebase the others."), "{refused}");
        // A session, two commits of a message and files each, and the message of the third.
        assert_eq!(pushing.project.revision().await, before + 1 + 2 * 2 + 1);
        assert_eq!(pushing.files().await, ["1.txt", "2.txt", "a.txt"]);
        settle(&pushing.folder.path("cache")).await;
        refuse_file(&database, "3.txt", false).await;
        git(clone, &["pull", "-q", "--rebase", "origin", "main"]).await.ok();
        push(clone).await.ok();
        assert_eq!(pushing.files().await, ["1.txt", "2.txt", "3.txt", "4.txt", "5.txt", "a.txt"]);
        let url = url(&pushing.project.client, &pushing.server, &pushing.project.id);
        let again = checked_clone(&pushing.folder, "again", &url).await;
        assert_eq!(git(&again, &["rev-parse", "HEAD"]).await.ok(), git(clone, &["rev-parse", "HEAD"]).await.ok());
        pushing.server.stop().await;
    }

    async fn a_client_that_goes_in_a_push_leaves_nothing_half_stored(database: Database) {
        let pushing = Pushing::start(&database, &[]).await;
        let (server, project, clone) = (&pushing.server, &pushing.project, &pushing.clone);
        let (ada, cache) = (&project.client, pushing.folder.path("cache"));
        let url = url(ada, server, &project.id);
        let old = git(clone, &["rev-parse", "HEAD"]).await.ok();
        let before = project.revision().await;
        for name in ["1.txt", "2.txt", "3.txt"] {
            fs::write(clone.join(name), "text\n").unwrap();
            commit(clone, name).await;
        }
        let body = request(clone, &old).await;
        // In the middle of the commands, and of the objects.
        for sent in [10, body.len() / 2, body.len() - 1] {
            let mut connection = begin(server, ada, project, body.len()).await;
            connection.write_all(&body[..sent]).unwrap();
            if sent > 1000 {
                let start = Instant::now();
                while arriving(&cache).is_empty() {
                    assert!(start.elapsed() < PATIENCE);
                    sleep(Duration::from_millis(1)).await;
                }
            }
            drop(connection);
            settle(&cache).await;
            assert_eq!((tip(&pushing.folder, &url).await, project.revision().await), (old.clone(), before), "{sent}");
        }
        // When everything has arrived, the server goes on without the client, or has not begun.
        let mut connection = begin(server, ada, project, body.len()).await;
        connection.write_all(&body).unwrap();
        drop(connection);
        settle(&cache).await;
        let stored = project.revision().await - before;
        assert!([0, 1 + 2 * 3].contains(&stored), "{stored}");
        // The next push waits for nothing.
        let pushed = timeout(PATIENCE, push(clone)).await.unwrap();
        pushed.ok();
        assert_eq!(pushing.files().await, ["1.txt", "2.txt", "3.txt", "a.txt"]);
        let again = checked_clone(&pushing.folder, "again", &url).await;
        assert_eq!(git(&again, &["rev-parse", "HEAD"]).await.ok(), git(clone, &["rev-parse", "HEAD"]).await.ok());
        pushing.server.stop().await;
    }
}

tests::on_sqlite! {
    async fn the_requests_of_a_user_at_once_are_limited(database: Database) {
        const LIMIT: usize = 8;
        let pushing = Pushing::start(&database, &["--database-acquire-seconds=3"]).await;
        let (server, project) = (&pushing.server, &pushing.project);
        let (ada, bob) = (&project.client, server.user(BOB));
        let hers = Project::create(&bob, "Hers").await;
        hers.create_file("b.txt", "b\n").await;
        let mut running = Vec::new();
        for _ in 0..LIMIT {
            running.push(begin(server, ada, project, 1_000).await);
        }
        let ask = async || {
            let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("ada:{}", ada.token().unwrap())));
            let path = format!("/git/{}.git/info/refs?service=git-upload-pack", project.id);
            ada.send("GET", &path, &[("authorization", &basic)], "").await.unwrap()
        };
        // Others are served while one more waits, which is refused at last …
        let address = url(&bob, server, &hers.id);
        let (refused, _) = tokio::join!(ask(), clone(&pushing.folder, "hers", &address));
        let said = String::from_utf8(refused.body.to_vec()).unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (503, "3"), "{said}");
        assert!(said.contains("A user can run 8 git requests at once"), "{said}");
        // … or served when one of them ends.
        let waiting = tokio::join!(ask(), async { drop(running.pop()) }).0;
        assert_eq!(waiting.status, 200);
        drop(running);
        pushing.server.stop().await;
    }
}
