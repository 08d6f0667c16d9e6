//! Given the files by which people deploy the service, when they are used, then it works behind them, and they name what there is.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use antiphon::config::Cli;
use serde_json::{Value, json};
use tests::{
    client::{Client, Stream},
    database::Database,
    nginx::Nginx,
    project::Project,
    server::{Server, token},
};

fn deployed(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// The URLs of the page at a path, as a browser reads them there.
async fn page(client: &Client, path: &str) -> (String, Vec<String>) {
    let page = client.send("GET", path, &[], "").await.unwrap();
    assert_eq!(page.status, 200, "{path}");
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    let urls = ["href=\"", "src=\""]
        .into_iter()
        .flat_map(|start| text.match_indices(start).map(move |(at, _)| at + start.len()).collect::<Vec<_>>());
    let urls =
        urls.map(|at| text[at..].split('"').next().unwrap().to_owned()).filter(|url| !url.contains(':')).collect();
    (text, urls)
}

/// The next event of a stream; a comment is a heart-beat.
async fn event(stream: &mut Stream) -> String {
    loop {
        let block = stream.until("\n\n").await.unwrap();
        if block != ":" {
            return block;
        }
    }
}

tests::on_both! {
    async fn nginx_passes_queries_sockets_streams_uploads_and_the_page(database: Database) {
        let server = Server::start_with(&database, &["--trusted-proxies", "1"]).await;
        let Some(nginx) = Nginx::start(server.address()) else { return server.stop().await };
        // A body of 10 MiB, and one that is above nginx's own limit and buffers.
        for (base, mebibytes) in nginx.bases().into_iter().zip([10, 2]) {
            let large = "0123456789abcde\n".repeat(mebibytes * 65_536);
            let ada = Client::new(&base, Some(token("ada@example.com")));
            let project = Project::create(&ada, "Behind nginx").await;
            let mut socket = project.listen(0, "revision").await;
            assert_eq!(socket.event().await["projectEvents"]["revision"], 1, "{base}");
            let events = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";
            let body = json!({ "query": events, "variables": { "id": project.id } });
            let mut stream = ada.stream("text/event-stream", &[], &body).await;
            assert!(event(&mut stream).await.starts_with("id: 1\n"), "{base}");

            // Its event comes at once: nothing waits for a buffer to fill.
            project.create_file("large.txt", &large).await;
            assert_eq!(socket.event().await["projectEvents"]["revision"], 2, "{base}");
            assert!(event(&mut stream).await.starts_with("id: 2\n"), "{base}");
            assert!(project.contents().await == [("large.txt".to_owned(), large.clone())], "{base}");

            let (_, urls) = page(&ada, "/").await;
            assert!(urls.iter().any(|url| url.ends_with("page.js")), "{urls:?}");
            for url in urls {
                assert_eq!(ada.send("GET", &format!("/{url}"), &[], "").await.unwrap().status, 200, "{base}/{url}");
            }
        }
        // The path without its slash has the page, too, which first goes to the one with the slash.
        let below_path = Client::new(&nginx.bases()[1], None);
        let (text, _) = page(&below_path, "").await;
        let script = text.find("location.replace(location.pathname + '/'").unwrap();
        assert!(script < text.find("src=").unwrap() && script < text.find("href=").unwrap(), "{text}");
        server.stop().await;
    }
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    words.filter(|word| word.starts_with("antiphon_") || word.starts_with("process_")).collect()
}

tests::on_both! {
    async fn dashboard_and_alerts_name_metrics_that_a_server_has(database: Database) {
        let server = Server::start_with(&database, &["--metrics-listen", "127.0.0.1:0"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Measured").await;
        let mut listener = project.listen(0, "revision").await;
        listener.event().await;
        project.create_file("a.py", "a\n").await;
        listener.event().await;
        let answer = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let mut there: BTreeSet<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
        // Only servers with replicas have it; `replicas.rs` reads it.
        there.insert("antiphon_replica_usable");
        let dashboard: Value = serde_json::from_str(&deployed("deploy/grafana/dashboard.json")).unwrap();
        for (file, named) in [("dashboard", dashboard.to_string()), ("alerts", deployed("deploy/prometheus/alerts.yaml"))] {
            let names = metrics(&named);
            assert!(names.len() > 3, "{file}: {names:?}");
            let missing: Vec<_> = names.iter().filter(|name| !there.contains(*name)).collect();
            assert!(missing.is_empty(), "{file} names metrics that a server does not have: {missing:?}\n{text}");
        }
        drop(listener);
        server.stop().await;
    }
}

/// The words in capitals that a file gives a value to.
fn settings(text: &str) -> BTreeSet<&str> {
    let is_name = |word: &&str| {
        word.len() > 3
            && word.starts_with(|sign: char| sign.is_ascii_uppercase())
            && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split([' ', '"', '\'']));
    let words = words.map(|word| word.strip_prefix("Environment=").unwrap_or(word));
    words.filter_map(|word| Some(word.split_once([':', '='])?.0)).filter(is_name).collect()
}

#[test]
fn deployments_name_settings_that_there_are() {
    let help = Cli::try_parse_from(["antiphon", "serve", "--help"]).unwrap_err().to_string();
    for (file, least) in
        [("Dockerfile", 3), ("compose.yaml", 5), ("deploy/antiphon.service", 3), ("deploy/kubernetes/antiphon.yaml", 5)]
    {
        let text = deployed(file);
        let others = ["POSTGRES_", "CMD", "ENV", "USER", "OWNER_DATABASE_URL", "ON_ERROR_STOP"];
        let names: Vec<_> =
            settings(&text).into_iter().filter(|name| !others.iter().any(|other| name.starts_with(other))).collect();
        assert!(names.len() >= least, "{file}: {names:?}");
        let missing: Vec<_> = names.iter().filter(|name| !help.contains(&format!("[env: {name}"))).collect();
        assert!(missing.is_empty(), "{file} names settings that there are not: {missing:?}");
    }
}

#[test]
fn systemd_takes_the_unit() {
    let unit = deployed("deploy/antiphon.service");
    let own = env::current_exe().unwrap();
    let unit = unit.replace("/usr/local/bin/antiphon", own.to_str().unwrap());
    let folder = env::temp_dir().join(format!("antiphon-unit-{}", antiphon::model::clock::new_id()));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("antiphon.service");
    fs::write(&path, unit).unwrap();
    let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output();
    fs::remove_dir_all(&folder).unwrap();
    // Not every machine has systemd.
    let Ok(verified) = verified else { return };
    let problems = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !problems.contains("antiphon"), "{problems}");
}
