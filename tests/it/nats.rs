//! Given servers that notify each other through NATS, when NATS starts, stops, refuses them or belongs to somebody
//! else, then subscribers still receive everything, and writers notice nothing.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use antiphon::{commands, config::Cli, model::clock};
use serde_json::json;
use tests::{
    authority::Authority,
    database::Database,
    nats::{Nats, PASSWORD, USER},
    project::Project,
    server::{ChildServer, Server, examine, settings},
    socket::Subscription,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

/// The sweep runs too rarely to help.
const NEVER: [&str; 2] = ["--sweep-seconds", "3600"];

async fn start(database: &Database, url: &str) -> Server {
    Server::start_with(database, &[&NEVER[..], &["--nats-url", url]].concat()).await
}

async fn expect_revision(listener: &mut Subscription, revision: i64) {
    assert_eq!(listener.event().await["projectEvents"]["revision"], revision);
}

tests::on_both! {
    async fn a_notification_by_nats_is_enough_and_an_outage_is_made_up_for(database: Database) {
        let Some(mut nats) = Nats::start() else { return };
        let (one, other) = (start(&database, &nats.url()).await, start(&database, &nats.url()).await);
        let project = Project::create(&one.user("ada@example.com"), "Woken").await;
        let elsewhere = project.of(&other.user("ada@example.com"));
        let mut listener = project.listen(0, "revision").await;
        expect_revision(&mut listener, 1).await;
        for revision in 2..=10 {
            elsewhere.create_file(&format!("{revision}"), "").await;
            expect_revision(&mut listener, revision).await;
        }

        // While NATS is down, writes and readiness checks are answered as usual.
        nats.kill();
        for revision in 11..=13 {
            elsewhere.create_file(&format!("{revision}"), "").await;
        }
        assert_eq!(one.anonymous().send("GET", "/readyz", &[], "").await.unwrap().status, 200);
        project.create_file("14", "").await;
        for revision in 11..=14 {
            expect_revision(&mut listener, revision).await;
        }
        elsewhere.create_file("15", "").await;
        nats.resume();
        expect_revision(&mut listener, 15).await;
        for revision in 16..=20 {
            elsewhere.create_file(&format!("{revision}"), "").await;
            expect_revision(&mut listener, revision).await;
        }
        drop(listener);
        one.stop().await;
        other.stop().await;
    }
}

tests::on_sqlite! {
    async fn writes_during_a_pending_nats_subscription_are_received(database: Database) {
        let Some(nats) = Nats::start() else { return };
        let (url, held_up) = delayed_proxy(&nats).await;
        let (one, other) = (start(&database, &url).await, start(&database, &nats.url()).await);
        let project = Project::create(&one.user("ada@example.com"), "Held up").await;
        let (first, mut wire) = (Project::create(&project.client, "First").await, Wire::connect(&nats).await);
        let mut early = first.listen(0, "revision").await;
        expect_revision(&mut early, 1).await;
        wire.wait_for(&first.id, true).await;

        // Given a subscriber that has received everything, of a project to which NATS has no subscription yet …
        held_up.send_replace(true);
        let mut listener = project.listen(0, "revision").await;
        expect_revision(&mut listener, 1).await;
        project.create_file("here", "").await;
        expect_revision(&mut listener, 2).await;
        // … when another server writes, and NATS delivers that notification to no server, then it is received once NATS
        // has the subscription.
        project.of(&other.user("ada@example.com")).create_file("there", "").await;
        assert!(!wire.has_listeners(&project.id).await);
        held_up.send_replace(false);
        expect_revision(&mut listener, 3).await;
        drop((early, listener));
        one.stop().await;
        other.stop().await;
    }

    async fn servers_start_without_nats_and_notify_each_other_once_it_is_up(database: Database) {
        let Some(mut nats) = Nats::stopped() else { return };
        let (one, other) = (start(&database, &nats.url()).await, start(&database, &nats.url()).await);
        let ready = one.anonymous().send("GET", "/readyz", &[], "").await.unwrap();
        assert_eq!(ready.status, 200);
        let project = Project::create(&one.user("ada@example.com"), "Early").await;
        let mut listener = project.listen(1, "revision").await;
        project.create_file("here", "").await;
        expect_revision(&mut listener, 2).await;
        let elsewhere = project.of(&other.user("ada@example.com"));
        elsewhere.create_file("there", "").await;
        nats.resume();
        expect_revision(&mut listener, 3).await;
        elsewhere.create_file("there again", "").await;
        expect_revision(&mut listener, 4).await;
        drop(listener);
        one.stop().await;
        other.stop().await;
    }

    async fn a_server_subscribes_only_to_projects_with_subscribers(database: Database) {
        let Some(nats) = Nats::start() else { return };
        let server = start(&database, &nats.url()).await;
        let project = Project::create(&server.user("ada@example.com"), "Alone").await;
        let mut wire = Wire::connect(&nats).await;
        assert!(!wire.has_listeners(&project.id).await);
        let mut listener = project.listen(0, "revision").await;
        expect_revision(&mut listener, 1).await;
        project.create_file("a.py", "").await;
        expect_revision(&mut listener, 2).await;
        wire.wait_for(&project.id, true).await;
        drop(listener);
        wire.wait_for(&project.id, false).await;

        // Messages of other programs do no harm.
        let mut listener = project.listen(2, "revision").await;
        wire.wait_for(&project.id, true).await;
        for nonsense in ["", "x", "7", "@-1", "@9999999999", "@2147483647", "@0", "side", "resync"] {
            wire.publish(&project.id, nonsense).await;
        }
        for revision in 3..=5 {
            project.create_file(&revision.to_string(), "").await;
            expect_revision(&mut listener, revision).await;
        }
        drop(listener);
        server.stop().await;
    }

    async fn a_server_that_nats_refuses_still_serves_and_hides_its_password(database: Database) {
        let Some(nats) = Nats::start() else { return };
        let (right, wrong) = (nats.url(), nats.url().replace("p%40ss", "hunter2"));
        for (url, said) in [(&right, "connected to NATS"), (&wrong, "NATS is unavailable")] {
            let child = ChildServer::start_with(&database, &[("NATS_URL", url), ("LOG_FORMAT", "json"), ("RUST_LOG", "info,async_nats=trace")]);
            let project = Project::create(&child.user("ada@example.com"), "Refused").await;
            let mut listener = project.listen(1, "revision").await;
            project.create_file("a.py", "").await;
            expect_revision(&mut listener, 2).await;
            let log = child.stop();
            assert!(log.contains(said), "{said}");
            for secret in [PASSWORD, "p%40ss", "hunter2"] {
                assert!(!log.contains(secret), "{secret} is in the log");
            }
        }
    }

    async fn nats_needs_a_trusted_certificate_for_its_host(database: Database) {
        let authority = Authority::make();
        let (here, another) = (authority.certify("127.0.0.1"), authority.certify("nats.example.com"));
        let (Some(nats), Some(impostor)) = (Nats::start_with_tls(here), Nats::start_with_tls(another)) else { return };
        let (file, url, wrong) = (authority.file(), nats.url(), impostor.url());
        let trusting = ("SSL_CERT_FILE", file.to_str().unwrap());
        let [by_tls, by_impostor] = [&url, &wrong].map(|url| [("NATS_URL", url.as_str()), ("SWEEP_SECONDS", "3600"), trusting]);
        let report = examine(&database, &by_tls);
        assert!(report.contains("ok       NATS: "), "{report}");
        let (one, other) = (ChildServer::start_with(&database, &by_tls), ChildServer::start_with(&database, &by_tls));
        let project = Project::create(&one.user("ada@example.com"), "By TLS").await;
        let elsewhere = project.of(&other.user("ada@example.com"));
        let mut listener = project.listen(0, "revision").await;
        expect_revision(&mut listener, 1).await;
        for revision in 2..=4 {
            elsewhere.create_file(&format!("{revision}"), "").await;
            expect_revision(&mut listener, revision).await;
        }

        // The system does not trust the test authority; and a certificate for another name is refused.
        for (variables, why) in [(&by_tls[..2], "UnknownIssuer"), (&by_impostor[..], "not valid for name")] {
            let report = examine(&database, variables);
            for text in ["BROKEN   NATS: ", why, "SSL_CERT_FILE"] {
                assert!(report.contains(text), "{text} is not in {report}");
            }
            let path = std::env::temp_dir().join(format!("antiphon-log-{}", clock::new_id()));
            let child = ChildServer::start_logging(&database, variables, File::create(&path).unwrap());
            let project = Project::create(&child.user("ada@example.com"), "Refused").await;
            let mut listener = project.listen(1, "revision").await;
            project.create_file("a.py", "").await;
            expect_revision(&mut listener, 2).await;
            logged(&path, why).await;
            drop(listener);
            child.stop();
            fs::remove_file(&path).unwrap();
        }
    }

    async fn an_invalid_url_prevents_the_start_and_is_not_repeated(database: Database) {
        let url = format!("http://{USER}:hunter2@127.0.0.1:4222");
        let flags = ["--nats-url", &url];
        let started = antiphon::app::App::start(settings(&database.server_url(), &flags), Default::default()).await;
        let error = format!("{:#}", started.err().expect("no start"));
        assert!(error.contains("NATS_URL") && !error.contains("hunter2"), "{error}");
    }

    async fn the_doctor_checks_nats(database: Database) {
        let Some(mut nats) = Nats::start() else { return };
        let report = async |url: &str| {
            let settings = Cli::parse_from(["antiphon", "--database-url", &database.url(), "--nats-url", url]).settings;
            commands::examine(&settings).await.iter().map(ToString::to_string).collect::<String>()
        };
        let fine = report(&nats.url()).await;
        assert!(fine.contains("ok       NATS: "), "{fine}");
        let refused = report(&nats.url().replace("p%40ss", "hunter2")).await;
        assert!(refused.contains("BROKEN   NATS: ") && refused.contains("authorization"), "{refused}");
        nats.kill();
        let away = report(&nats.url()).await;
        assert!(away.contains("BROKEN   NATS: ") && away.contains("what to do: "), "{away}");
        let none = report("nats://me:hunter2@").await;
        assert!(none.contains("BROKEN   NATS: ") && none.contains("NATS_URL"), "{none}");
        for report in [refused, away, none] {
            assert!(!report.contains("hunter2") && !report.contains(PASSWORD), "{report}");
        }
    }
}

/// Waits until the log contains this text.
async fn logged(path: &Path, text: &str) {
    let wait = async {
        while !fs::read_to_string(path).unwrap().contains(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("{text} is not in the log"));
}

/// A proxy to NATS that can hold back what the server sends.
async fn delayed_proxy(nats: &Nats) -> (String, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (who, address) =
        nats.url().rsplit_once('@').map(|(who, address)| (who.to_owned(), address.to_owned())).unwrap();
    let url = format!("{who}@{}", listener.local_addr().unwrap());
    let (hold_up, held_up) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (address, mut held_up) = (address.clone(), held_up.clone());
            tokio::spawn(async move {
                let ((mut said, mut to_client), server) = (client.into_split(), TcpStream::connect(address).await?);
                let (mut answers, mut to_server) = server.into_split();
                let there = async {
                    let mut buffer = [0; 4096];
                    loop {
                        let count = said.read(&mut buffer).await?;
                        if count == 0 || held_up.wait_for(|held_up| !held_up).await.is_err() {
                            return Ok(());
                        }
                        to_server.write_all(&buffer[..count]).await?;
                    }
                };
                tokio::try_join!(there, tokio::io::copy(&mut answers, &mut to_client)).map(drop)
            });
        }
    });
    (url, hold_up)
}

/// A client of NATS that uses its protocol directly
/// (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).
struct Wire(BufReader<TcpStream>);

impl Wire {
    async fn connect(nats: &Nats) -> Self {
        let (_, address) =
            nats.url().rsplit_once('@').map(|(user, address)| (user.to_owned(), address.to_owned())).unwrap();
        let mut wire = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        let who = json!({ "user": USER, "pass": PASSWORD, "verbose": false, "headers": true, "no_responders": true });
        wire.send(&format!("CONNECT {who}\r\nSUB answer 1\r\n")).await;
        wire
    }

    /// Sends a command, and returns everything that NATS sends before the answer to a ping.
    async fn send(&mut self, text: &str) -> String {
        self.0.get_mut().write_all(format!("{text}PING\r\n").as_bytes()).await.unwrap();
        let mut said = String::new();
        while !said.ends_with("PONG\r\n") {
            assert!(
                timeout(Duration::from_secs(10), self.0.read_line(&mut said)).await.unwrap().unwrap() > 0,
                "{said}"
            );
        }
        assert!(!said.contains("-ERR"), "{said}");
        said
    }

    async fn publish(&mut self, project: &str, payload: &str) {
        self.send(&format!("PUB antiphon.project.{project} {}\r\n{payload}\r\n", payload.len())).await;
    }

    /// Whether NATS has a subscription to the project.
    async fn has_listeners(&mut self, project: &str) -> bool {
        // NATS answers a request without subscribers with the status 503.
        let said = self.send(&format!("PUB antiphon.project.{project} answer 1\r\n0\r\n")).await;
        !said.contains("NATS/1.0 503")
    }

    async fn wait_for(&mut self, project: &str, has_listeners: bool) {
        let wait = async {
            while self.has_listeners(project).await != has_listeners {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), wait).await.expect("the state is reached");
    }
}
