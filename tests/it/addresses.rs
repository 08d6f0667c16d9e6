//! Given the addresses of a server, when clients connect, directly or through proxies, then they are served and
//! identified by their own addresses.

use std::{collections::BTreeSet, time::Duration};

use antiphon::{app::App, config::Serve};
use serde_json::json;
use tests::{
    client::Client,
    database::Database,
    server::{Server, settings, token},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

/// Sends a raw request, and returns the response up to its end or the first pause.
async fn raw(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut chunk)).await {
        answer.extend_from_slice(&chunk[..read]);
        if read == 0 || answer.starts_with(b"HTTP/1.1 101") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A WebSocket handshake with these headers.
fn handshake(headers: &str) -> String {
    format!(
        "GET /graphql/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n{headers}\r\n"
    )
}

tests::on_sqlite! {
    async fn the_server_listens_on_each_form_of_an_address(database: Database) {
        for (listen, reached) in [
            ("127.0.0.1:0", "127.0.0.1"),
            (":0", "127.0.0.1"),
            ("0", "127.0.0.1"),
            ("localhost:0", "127.0.0.1"),
            ("[::]:0", "127.0.0.1"),
            ("0.0.0.0:0", "127.0.0.1"),
        ] {
            let server = Server::start_with(&database, &["--listen", listen, "--metrics-listen", listen]).await;
            for port in [server.address().port()] {
                let client = Client::new(&format!("http://{reached}:{port}"), Some(token("ada@example.com")));
                let viewer = client.gql("{ viewer { email } }", json!({})).await.ok();
                assert_eq!(viewer["viewer"]["email"], "ada@example.com", "{listen}");
            }
            server.stop().await;
        }
    }

    async fn a_port_alone_listens_on_all_interfaces_if_there_is_a_secret(database: Database) {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let mut given = settings(&database.url(), &["--port", &free]);
        given.listen.address = None;
        let app = App::start(given.clone(), Serve::default()).await.unwrap();
        assert!(app.address().unwrap().ip().is_unspecified());
        app.stop().await;
        given.auth.signing.jwt_secret = None;
        let app = App::start(given, Serve::default()).await.unwrap();
        assert_eq!(app.address().unwrap().to_string(), format!("127.0.0.1:{free}"));
        assert!(app.sign_in_link().unwrap().starts_with(&format!("http://127.0.0.1:{free}/#token=")));
        app.stop().await;
    }

    async fn a_unix_socket_is_served(database: Database) {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("antiphon-{}.sock", antiphon::model::clock::new_id()));
        let listen = format!("unix:{}", path.display());
        let given = settings(&database.url(), &["--listen", &listen]);
        let app = App::start(given.clone(), Serve::default()).await.unwrap();
        assert!(app.address().is_none());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        let body = r#"{"query":"{ viewer { email } }"}"#;
        let request = format!(
            "POST /graphql HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            token("ada@example.com"),
            body.len()
        );
        let answer = raw(UnixStream::connect(&path).await.unwrap(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("ada@example.com"), "{answer}");
        let upgraded = raw(UnixStream::connect(&path).await.unwrap(), &handshake("Host: x\r\n")).await;
        assert!(upgraded.starts_with("HTTP/1.1 101"), "{upgraded}");

        // Two servers cannot share it, and after a kill the next server can use it.
        let refused = App::start(given.clone(), Serve::default()).await.err().unwrap();
        assert!(format!("{refused:#}").contains(&listen), "{refused:#}");
        app.stop().await;
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let app = App::start(given, Serve::default()).await.unwrap();
        app.stop().await;
        std::fs::write(&path, "somebody's file").unwrap();
        assert!(App::start(settings(&database.url(), &["--listen", &listen]), Serve::default()).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "somebody's file");
        std::fs::remove_file(&path).unwrap();
    }

    async fn the_page_works_below_a_base_path(database: Database) {
        let server = Server::start(&database).await;
        let client = server.anonymous();
        let page = client.send("GET", "/", &[], "").await.unwrap();
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        let mut found = BTreeSet::new();
        for start in ["href=\"", "src=\""] {
            for (at, _) in page.match_indices(start) {
                found.insert(page[at + start.len()..].split('"').next().unwrap().to_owned());
            }
        }
        let own: Vec<&String> = found.iter().filter(|url| !url.contains(':')).collect();
        assert!(own.iter().any(|url| url.ends_with("page.js")) && own.iter().any(|url| url.ends_with("page.css")), "{found:?}");
        for url in own {
            assert!(!url.starts_with('/'), "{url}");
            assert_eq!(client.send("GET", &format!("/{url}"), &[], "").await.unwrap().status, 200, "{url}");
        }
        let script = client.send("GET", "/graphiql/page.js", &[], "").await.unwrap();
        let script = String::from_utf8(script.body.to_vec()).unwrap();
        for absolute in ["'/", "\"/", "`/", "origin"] {
            assert!(!script.contains(absolute), "{absolute}");
        }
        server.stop().await;
    }

    async fn a_page_of_the_same_origin_connects_with_or_without_the_port(database: Database) {
        let server = Server::start(&database).await;
        for (host, origin, status) in [
            ("ide.example.com:443", "https://ide.example.com", 101),
            ("ide.example.com", "https://ide.example.com:443", 101),
            ("ide.example.com:80", "http://ide.example.com", 101),
            ("ide.example.com", "http://ide.example.com", 101),
            ("ide.example.com:8443", "https://ide.example.com:8443", 101),
            ("ide.example.com:8443", "https://ide.example.com", 403),
            ("ide.example.com:80", "https://ide.example.com", 403),
            ("ide.example.com:443", "https://evil.example.com", 403),
        ] {
            let stream = TcpStream::connect(server.address()).await.unwrap();
            let answer = raw(stream, &handshake(&format!("Host: {host}\r\nOrigin: {origin}\r\n"))).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host} {origin}: {answer}");
        }
        server.stop().await;
    }

    async fn addresses_behind_a_proxy_are_distinguished_in_every_notation(database: Database) {
        let flags = ["--trusted-proxies", "1", "--max-address-rate", "1"];
        for (name, [one, other]) in [
            ("x-forwarded-for", ["203.0.113.8:41234", "203.0.113.9:41234"]),
            ("x-forwarded-for", ["198.51.100.1, 203.0.113.8", "198.51.100.1, 203.0.113.9"]),
            ("x-forwarded-for", ["[2001:db8::1]:443", "[2001:db8:0:1::1]:443"]),
            ("x-forwarded-for", ["2001:db8::1", "2001:db8:0:1::1"]),
            ("x-forwarded-for", ["fe80::1%eth0", "203.0.113.9"]),
            ("x-forwarded-for", ["unknown", "203.0.113.9"]),
            ("forwarded", ["for=203.0.113.8;proto=https", "for=203.0.113.9"]),
            ("forwarded", ["for=\"[2001:db8::1]:4711\"", "for=\"[2001:db8:0:1::1]\""]),
        ] {
            let server = Server::start_with(&database, &flags).await;
            let client = server.anonymous();
            let ask = async |address: &str| {
                let headers = [("content-type", "application/json"), (name, address)];
                client.send("POST", "/graphql", &headers, r#"{"query":"{ __typename }"}"#).await.unwrap().status
            };
            let mut limited = false;
            for _ in 0..40 {
                limited |= ask(one).await == 429;
            }
            assert!(limited, "{name}: {one}");
            assert_eq!(ask(other).await, 200, "{name}: {other}");
            server.stop().await;
        }
    }
}
