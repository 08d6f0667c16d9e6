//! Given a client that writes its own frames, when a message is large, slow or wrong, then others are not affected, and the
//! client sees why its socket ends.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{
    database::Database,
    project::Project,
    server::{ChildServer, Server, memory},
    socket::PATIENCE,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, ToSocketAddrs},
    time::{sleep, timeout},
};

use super::budgets::handshake;

/// The operation codes of a text, a close frame and a ping.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// The start of a frame of a client, masked by zeros.
fn head(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        _ => {
            bytes.push(0xff);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len()), payload.to_vec()].concat()
}

/// Reads a frame of the server: its first byte, and its payload.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let read = async {
        let first = stream.read_u8().await.unwrap();
        let length = match stream.read_u8().await.unwrap() {
            126 => u64::from(stream.read_u16().await.unwrap()),
            127 => stream.read_u64().await.unwrap(),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        (first, payload)
    };
    timeout(PATIENCE, read).await.expect("a frame")
}

/// Reads until the server closes, and returns the code and the reason.
async fn closed(stream: &mut TcpStream) -> (u16, String) {
    loop {
        if let (CLOSE, payload) = read(stream).await {
            let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
            return (u16::from_be_bytes([payload[0], payload[1]]), reason);
        }
    }
}

/// A socket that is ready for operations.
async fn greeted(server: &Server) -> TcpStream {
    greeted_at(server.address()).await
}

async fn greeted_at(address: impl ToSocketAddrs) -> TcpStream {
    let mut stream = handshake(address).await;
    stream.write_all(&frame(TEXT, br#"{"type":"connection_init"}"#)).await.unwrap();
    assert_eq!(read(&mut stream).await.1, br#"{"type":"connection_ack"}"#);
    stream
}

/// A message that starts an operation, with this many more bytes.
fn subscribe(more: usize) -> String {
    json!({ "id": "1", "type": "subscribe", "payload": { "query": "{ __typename }", "extensions": { "x": "x".repeat(more) } } })
        .to_string()
}

/// Reads the result of [`subscribe`].
async fn answered(stream: &mut (impl AsyncRead + Unpin)) -> Value {
    loop {
        if let (TEXT, payload) = read(stream).await {
            return serde_json::from_slice(&payload).unwrap();
        }
    }
}

tests::on_both! {
    async fn incomplete_messages_count_as_memory(database: Database) {
        let flags = ["--max-memory-bytes=20000000", "--max-body-bytes=8000000"];
        let server = Server::start_with(&database, &flags).await;
        let project = Project::create(&server.user("ada@example.com"), "Beside").await;
        let mut sockets = Vec::new();
        for _ in 0..4 {
            let mut socket = greeted(&server).await;
            let mut bytes = head(TEXT, 8_000_000);
            bytes.resize(6_000_000, b' ');
            // The server can close the connection before everything is sent.
            let _ = socket.write_all(&bytes).await;
            sockets.push(socket);
        }
        // Together they are more than there is, so one of them has to go; the others wait for the rest.
        let (code, reason) = closed(sockets.last_mut().unwrap()).await;
        assert_eq!(code, 1013);
        assert!(reason.contains("--max-memory-bytes"), "{reason}");
        assert_eq!(project.revision().await, 1);
        drop(sockets);
        // A large message has room again, as soon as the server has noticed that the others are gone.
        timeout(PATIENCE, async {
            loop {
                let mut socket = greeted(&server).await;
                let _ = socket.write_all(&frame(TEXT, subscribe(3_000_000).as_bytes())).await;
                let (first, payload) = read(&mut socket).await;
                if first == TEXT {
                    let answer: Value = serde_json::from_slice(&payload).unwrap();
                    if answer["type"] == "next" {
                        break;
                    }
                }
            }
        })
        .await
        .expect("memory is released");
        server.stop().await;
    }

    async fn a_message_that_arrives_slowly_keeps_its_socket(database: Database) {
        let server = Server::start_with(&database, &["--socket-ping-seconds=1"]).await;
        let mut socket = greeted(&server).await;
        let message = frame(TEXT, subscribe(90_000).as_bytes());
        // The client answers no ping: it is within a frame.
        for part in message.chunks(message.len() / 9) {
            socket.write_all(part).await.unwrap();
            sleep(Duration::from_millis(600)).await;
        }
        assert_eq!(answered(&mut socket).await["payload"]["data"]["__typename"], "Query");
        drop(socket);
        server.stop().await;
    }

    async fn a_message_has_a_time_limit(database: Database) {
        let server = Server::start_with(&database, &["--socket-ping-seconds=1", "--max-body-seconds=2"]).await;
        let mut socket = greeted(&server).await;
        let mut bytes = head(TEXT, 100_000);
        bytes.resize(1_000, b' ');
        socket.write_all(&bytes).await.unwrap();
        let (mut receiving, mut sending) = socket.into_split();
        let drip = tokio::spawn(async move {
            while sending.write_all(b" ").await.is_ok() {
                sleep(Duration::from_millis(100)).await;
            }
        });
        let mut received = Vec::new();
        timeout(PATIENCE, receiving.read_to_end(&mut received)).await.expect("it is closed").unwrap();
        let reason = String::from_utf8_lossy(&received).into_owned();
        assert!(reason.contains("--max-body-seconds"), "{reason:?}");
        drop(receiving);
        drip.await.unwrap();
        server.stop().await;
    }
}

tests::on_sqlite! {
    async fn control_frames_are_no_part_of_a_message(database: Database) {
        let server = Server::start_with(&database, &["--socket-ping-seconds=1", "--max-body-seconds=2"]).await;
        // A message in fragments has its time limit, whatever is in between …
        let in_fragments = async {
            let mut socket = greeted(&server).await;
            socket.write_all(&frame(0x01, b"{")).await.unwrap();
            let (mut receiving, mut sending) = socket.into_split();
            let fragments = tokio::spawn(async move {
                while sending.write_all(&[frame(PING, b"ping"), frame(0x00, b" ")].concat()).await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
            });
            let mut received = Vec::new();
            timeout(PATIENCE, receiving.read_to_end(&mut received)).await.expect("it is closed").unwrap();
            assert!(String::from_utf8_lossy(&received).contains("--max-body-seconds"), "{received:?}");
            drop(receiving);
            fragments.await.unwrap();
        };
        // … and a socket that only answers pings stays.
        let only_pongs = async {
            let mut socket = greeted(&server).await;
            for _ in 0..50 {
                socket.write_all(&frame(0x8a, &[b'x'; 100])).await.unwrap();
                sleep(Duration::from_millis(100)).await;
            }
            socket.write_all(&frame(TEXT, subscribe(10).as_bytes())).await.unwrap();
            assert_eq!(answered(&mut socket).await["payload"]["data"]["__typename"], "Query");
        };
        tokio::join!(in_fragments, only_pongs);
        server.stop().await;
    }

    async fn a_client_that_reads_no_pongs_is_not_read(server: Server) {
        /// More than the buffers of the system take.
        const MANY: usize = 64_000_000;
        let mut socket = greeted(&server).await;
        let pings = frame(PING, &[b'x'; 125]).repeat(1_000);
        let mut sent = 0;
        while let Ok(written) = timeout(Duration::from_secs(1), socket.write(&pings[sent % pings.len()..])).await {
            sent += written.unwrap();
            assert!(sent < MANY, "the server reads on");
        }
        // It goes on as soon as the client reads.
        let (receiving, mut sending) = socket.into_split();
        let writing = tokio::spawn(async move {
            sending.write_all(&pings[sent % pings.len()..]).await.unwrap();
            sending.write_all(&frame(TEXT, subscribe(10).as_bytes())).await.unwrap();
            sending
        });
        let mut receiving = BufReader::new(receiving);
        assert_eq!(answered(&mut receiving).await["payload"]["data"]["__typename"], "Query");
        drop(writing.await.unwrap());
    }

    async fn a_refused_message_takes_no_more_memory(database: Database) {
        const SOCKETS: usize = 12;
        let flags = ["--max-memory-bytes=32000000", "--max-body-bytes=16000000"];
        let server = ChildServer::start_with_flags(&database, &flags);
        let address = server.base().trim_start_matches("http://").to_owned();
        let before = server.resident_bytes();
        let text = vec![b' '; 1_000_000];
        let clients = (0..SOCKETS).map(|_| async {
            let mut socket = greeted_at(address.as_str()).await;
            for number in 0..15 {
                // The server closes most of the connections before everything is sent.
                if socket.write_all(&frame(u8::from(number == 0), &text)).await.is_err() {
                    break;
                }
            }
            socket
        });
        let sockets = futures::future::join_all(clients).await;
        // The server has read what it reads of the last fragments once it has answered the others.
        Project::create(&server.user("ada@example.com"), "Beside").await;
        let most = memory(server.id(), "VmHWM:").unwrap_or_default();
        assert!(most < before + 100_000_000, "{before} bytes before, {most} at most");
        drop(sockets);
    }

    async fn a_wrong_frame_is_answered_by_its_close_code(server: Server) {
        for (what, bytes, expected) in [
            ("a ping over 125 bytes", frame(PING, &[b'x'; 126]), 1002),
            ("a reserved bit", frame(0xc1, b"{}"), 1002),
            ("an unknown operation", frame(0x83, b"{}"), 1002),
            ("a continuation of nothing", frame(0x80, b"{}"), 1002),
            ("a frame without a mask", vec![TEXT, 2, b'{', b'}'], 1002),
            ("a fragmented ping", frame(0x09, b""), 1002),
            ("invalid UTF-8", frame(TEXT, &[0xff, 0xfe]), 1007),
        ] {
            let mut socket = greeted(&server).await;
            socket.write_all(&bytes).await.unwrap();
            assert_eq!(closed(&mut socket).await.0, expected, "{what}");
        }
    }
}
