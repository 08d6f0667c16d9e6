//! Given a project, when its owner downloads it as one file, then the file is that of the command, its progress precedes it if
//! the client accepts parts, and nobody else gets it.

use std::{
    fs,
    pin::pin,
    process::Command,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tests::{
    client::{Client, Raw},
    database::{Database, Kind},
    disk::SmallDisk,
    project::Project,
    server::{ChildServer, Server, run_with_server},
    socket::PATIENCE,
    workload::Random,
};
use tokio::time::sleep;

use super::{
    import_export::Folder,
    interruptions::cut,
    project_files::{EVE, ada, fill, import, problems, returned},
};

fn path(project: &str) -> String {
    format!("/projects/{project}/project.antiphon")
}

async fn get(client: &Client, path: &str, more: &[(&str, &str)]) -> Raw {
    let token = client.token().map(|token| format!("Bearer {token}"));
    let headers = token.iter().map(|token| ("authorization", token.as_str()));
    client.send("GET", path, &headers.chain(more.iter().copied()).collect::<Vec<_>>(), Vec::new()).await.unwrap()
}

/// A part of a body: its headers, and its content.
type Part = (Vec<(String, String)>, Vec<u8>);

/// The parts of a body. A part with a length can contain the boundary.
fn parts(answer: &Raw) -> Vec<Part> {
    let boundary = answer.header("content-type").strip_prefix("multipart/mixed; boundary=").unwrap();
    let (open, close) = (format!("--{boundary}\r\n"), format!("--{boundary}--\r\n"));
    let (mut rest, mut parts) = (&answer.body[..], Vec::new());
    while let Some(part) = rest.strip_prefix(open.as_bytes()) {
        let head = part.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let headers: Vec<(String, String)> = String::from_utf8(part[..head].to_vec())
            .unwrap()
            .split("\r\n")
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let content = &part[head + 4..];
        let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.parse().unwrap());
        let end = format!("\r\n--{boundary}");
        let length =
            length.unwrap_or_else(|| content.windows(end.len()).position(|bytes| bytes == end.as_bytes()).unwrap());
        parts.push((headers, content[..length].to_vec()));
        rest = content[length..].strip_prefix(b"\r\n").unwrap();
    }
    assert_eq!(rest, close.as_bytes());
    parts
}

tests::on_both! {
    async fn an_owner_downloads_the_whole_project(server: Server) {
        let project = fill(&server).await;
        let ada = ada(&server);
        let expected = returned(server.database(), &project.id).await;
        let plain = get(&ada, &path(&project.id), &[("accept-encoding", "gzip, br, zstd")]).await;
        assert_eq!(plain.status, 200, "{plain:?}");
        let headers = ["content-type", "content-disposition", "content-length", "content-encoding", "cache-control"];
        let (name, length) = (format!("attachment; filename=\"{}.antiphon\"", project.id), plain.body.len().to_string());
        assert_eq!(headers.map(|header| plain.header(header)), ["application/vnd.sqlite3", &name, &length, "", "no-store"]);

        let token = format!("Bearer {}", ada.token().unwrap());
        for (accept, kind) in [
            ("*/*", "application/vnd.sqlite3"),
            ("*/*, multipart/mixed;q=0", "application/vnd.sqlite3"),
            ("application/vnd.sqlite3, multipart/mixed;q=0.1", "application/vnd.sqlite3"),
            ("multipart/mixed", "multipart/mixed; boundary="),
            ("application/vnd.sqlite3;q=0.5, Multipart/Mixed", "multipart/mixed; boundary="),
        ] {
            let headers = [("authorization", token.as_str()), ("accept", accept)];
            let head = ada.send("HEAD", &path(&project.id), &headers, Vec::new()).await.unwrap();
            assert_eq!((head.status, head.header("content-length"), head.header("cache-control")), (200, "", "no-store"), "{head:?}");
            assert!(head.header("content-type").starts_with(kind), "{head:?}");
        }

        let answer = get(&ada, &path(&project.id), &[("accept", "multipart/mixed, */*")]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut parts = parts(&answer);
        let (headers, file) = parts.pop().unwrap();
        let expected_headers = [
            ("content-type", "application/vnd.sqlite3"),
            ("content-disposition", &name),
            ("content-length", &file.len().to_string()),
        ];
        assert_eq!(headers, expected_headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let progress: Vec<Value> = parts.iter().map(|(_, json)| serde_json::from_slice(json).unwrap()).collect();
        let rows: Vec<u64> = progress.iter().map(|progress| progress["rows"].as_u64().unwrap()).collect();
        assert!(rows.is_sorted(), "{progress:?}");
        let last = progress.last().unwrap();
        assert!(last["rows"].as_u64().unwrap() > 40 && last["rows"] == last["totalRows"], "{progress:?}");

        // Both are the file that the command writes.
        let folder = Folder::new();
        for (name, file) in [("plain", plain.body.to_vec()), ("parts", file)] {
            let at = folder.path(name);
            fs::write(&at, file).unwrap();
            let other = Database::create(Kind::Sqlite).await;
            assert_eq!(import(&other, &at).await.unwrap(), project.id);
            assert_eq!(problems(&other).await, [""; 0]);
            assert_eq!(returned(&other, &project.id).await, expected, "{name}");
            other.remove().await;
        }
    }

    async fn only_the_owner_downloads_a_project(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Ours").await;
        for (email, role) in [("vic@example.com", "viewer"), ("ed@example.com", "editor")] {
            server.user(email).gql("{ viewer { id } }", json!({})).await.ok();
            server.database().add_collaborator(&project.id, email, role, true).await;
        }
        let input = json!({ "projectId": project.id, "name": "Agent", "role": "EDITOR" });
        let made = ada.mutate("createAccessToken", input, "token").await.ok();
        let machine = ada.with_token(Some(made["createAccessToken"]["token"].as_str().unwrap().to_owned()));
        let unknown = "0198f3a0-0000-7000-8000-000000000001";
        let as_of = format!("{}%401", project.id);
        for (who, client, id, status, code) in [
            ("anonymous", &server.anonymous(), project.id.as_str(), 401, "UNAUTHENTICATED"),
            ("nonsense", &ada.with_token(Some("nonsense".to_owned())), &project.id, 401, "UNAUTHENTICATED"),
            ("stranger", &server.user(EVE), &project.id, 404, "NOT_FOUND"),
            ("viewer", &server.user("vic@example.com"), &project.id, 403, "FORBIDDEN"),
            ("editor", &server.user("ed@example.com"), &project.id, 403, "FORBIDDEN"),
            ("machine", &machine, &project.id, 403, "FORBIDDEN"),
            ("unknown", &ada, unknown, 404, "NOT_FOUND"),
            ("no id", &ada, "nonsense", 400, "BAD_USER_INPUT"),
            ("as of a revision", &ada, &as_of, 400, "BAD_USER_INPUT"),
        ] {
            for accept in ["*/*", "multipart/mixed"] {
                let refused = get(client, &path(id), &[("accept", accept)]).await;
                let answer = refused.graphql().unwrap();
                assert_eq!((refused.status, answer.error_code()), (status, code), "{who}");
                assert_eq!(refused.header("www-authenticate").is_empty(), status != 401, "{who}");
            }
        }
        assert_eq!(get(&ada, &path(&project.id), &[]).await.status, 200);
        // Also a deleted project, which the owner can still read.
        ada.mutate_id("deleteProject", &project.id, "revision").await.ok();
        assert_eq!(get(&ada, &path(&project.id), &[]).await.status, 200);
    }

    async fn a_user_downloads_one_project_at_a_time(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Large").await;
        // More than the buffers of a connection hold.
        let mut random = Random(1);
        for file in ["a.txt", "b.txt"] {
            let noise: Vec<u8> = (0..4_000_000).map(|_| random.below(256) as u8).collect();
            project.create_file(file, &BASE64_STANDARD.encode(noise)).await;
        }
        // A client that does not read, and then hangs up.
        let slow = ada.open("GET", &path(&project.id), &[]).await;
        assert_eq!(slow.status, 200);
        let refused = get(&ada, &path(&project.id), &[]).await;
        let answer = refused.graphql().unwrap();
        assert_eq!((refused.status, answer.error_code()), (503, "RATE_LIMITED"));
        assert!(!refused.header("retry-after").is_empty());
        // Others are served meanwhile.
        let eve = server.user(EVE);
        let hers = Project::create(&eve, "Small").await;
        assert_eq!(get(&eve, &path(&hers.id), &[]).await.status, 200);
        drop(slow);
        let start = Instant::now();
        while get(&ada, &path(&project.id), &[]).await.status != 200 {
            assert!(start.elapsed() < PATIENCE);
        }
    }

    async fn a_server_without_temporary_space_refuses_downloads_alone(database: Database) {
        let folder = Folder::new();
        let small = SmallDisk::mount(2);
        if let Some(disk) = &small {
            disk.fill();
        }
        let missing = folder.path("missing");
        for temporary in [Some(missing.as_path()), small.as_ref().map(SmallDisk::path)].into_iter().flatten() {
            let server = ChildServer::start_with(&database, &[("TMPDIR", temporary.to_str().unwrap())]);
            let ada = server.user("ada@example.com");
            let project = Project::create(&ada, "No room").await;
            let refused = get(&ada, &path(&project.id), &[]).await;
            let answer = refused.graphql().unwrap();
            assert_eq!((refused.status, answer.error_code()), (503, "RATE_LIMITED"), "{answer:?}");
            assert!(answer.error()["message"].as_str().unwrap().contains("TMPDIR"), "{answer:?}");
            assert!(!refused.header("retry-after").is_empty());
            // The last part is the error.
            let in_parts = get(&ada, &path(&project.id), &[("accept", "multipart/mixed")]).await;
            let (_, last) = parts(&in_parts).pop().unwrap();
            let last: Value = serde_json::from_slice(&last).unwrap();
            assert_eq!(last["errors"][0]["extensions"]["code"], "RATE_LIMITED", "{last}");
            project.create_file("a.py", "").await;
            server.stop();
        }
    }

    async fn a_download_leaves_nothing_in_the_temporary_folder(database: Database) {
        let folder = Folder::new();
        let temporary = folder.path("temporary");
        fs::create_dir(&temporary).unwrap();
        let server = ChildServer::start_with(&database, &[("TMPDIR", temporary.to_str().unwrap())]);
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Tidy").await;
        project.create_file("a.txt", &"x".repeat(3_000_000)).await;
        assert_eq!(get(&ada, &path(&project.id), &[]).await.status, 200);
        // Clients that hang up while the file is made, and while it is sent.
        for _ in 0..3 {
            let mut stream = ada.open("GET", &path(&project.id), &[("accept", "multipart/mixed")]).await;
            assert!(stream.until("totalRows").await.is_some());
            drop(stream);
            drop(ada.open("GET", &path(&project.id), &[]).await);
        }
        let start = Instant::now();
        while fs::read_dir(&temporary).unwrap().next().is_some() {
            assert!(start.elapsed() < PATIENCE, "{:?}", fs::read_dir(&temporary).unwrap().collect::<Vec<_>>());
            sleep(Duration::from_millis(20)).await;
        }
        server.stop();
    }
}

tests::on_sqlite! {
    async fn the_next_start_removes_the_files_of_a_killed_server(database: Database) {
        let folder = Folder::new();
        let temporary = folder.path("temporary");
        fs::create_dir(&temporary).unwrap();
        let variables = [("TMPDIR", temporary.to_str().unwrap())];
        let names = || -> Vec<String> {
            fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let mut server = ChildServer::start_with(&database, &variables);
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Killed").await;
        for file in ["a.txt", "b.txt", "c.txt"] {
            project.create_file(file, &"x".repeat(5_000_000)).await;
        }
        let process = server.id().to_string();
        let signal = |name: &str| assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
        let start = Instant::now();
        // Until a download is stopped in its middle.
        loop {
            assert!(start.elapsed() < PATIENCE);
            let _download = ada.open("GET", &path(&project.id), &[("accept", "multipart/mixed")]).await;
            while names().is_empty() && start.elapsed() < PATIENCE {}
            signal("-STOP");
            if !names().is_empty() {
                break;
            }
            signal("-CONT");
        }
        server.kill();
        assert_eq!(names().len(), 1);
        // The folder of a process that lives stays, and so does everything else.
        let living = temporary.join(".antiphon-living");
        fs::create_dir(&living).unwrap();
        let lock = fs::File::open(&living).unwrap();
        lock.lock().unwrap();
        fs::write(temporary.join("other"), "").unwrap();
        let server = ChildServer::start_with(&database, &variables);
        let mut left = names();
        left.sort();
        assert_eq!(left, [".antiphon-living", "other"]);
        assert_eq!(get(&server.user("ada@example.com"), &path(&project.id), &[]).await.status, 200);
        server.stop();
    }
}

#[test]
fn a_download_of_a_database_that_fails_is_refused_and_works_again() {
    run_with_server(Kind::Postgres, async |server| {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Outage").await;
        for n in 0..20 {
            project.create_file(&format!("{n}.txt"), &n.to_string()).await;
        }
        let mut admin = PgConnection::connect(&server.database().admin_url()).await.unwrap();
        let (mut codes, mut cuts) = (Vec::new(), 0);
        while codes.len() < 10 || cuts == 0 {
            let path = path(&project.id);
            let mut download = pin!(get(&ada, &path, &[]));
            let answer = loop {
                tokio::select! {
                    answer = &mut download => break answer,
                    cut = cut(&mut admin) => cuts += cut,
                }
            };
            codes.push(if answer.status == 200 {
                String::new()
            } else {
                answer.graphql().unwrap().error_code().to_owned()
            });
        }
        let is_expected = |code: &String| ["", "UNAVAILABLE", "RATE_LIMITED"].contains(&code.as_str());
        assert!(codes.iter().all(is_expected), "{codes:?}");
        assert_eq!(get(&ada, &path(&project.id), &[]).await.status, 200, "{codes:?}");
    });
}
