//! The addresses that the server listens on.

use std::{
    fmt,
    io::{self, ErrorKind},
};

use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::finding::{CHECK_TIMEOUT, Findings};
use crate::{config::listen::Address, transport::connections::Listener};

/// How much of an answer is read, and how much of the name of its server is shown.
const MAX_ANSWER_BYTES: u64 = 4096;
const MAX_NAME_CHARS: usize = 60;

pub(super) async fn check(part: &'static str, address: &Address, setting: &str, findings: &mut Findings) {
    let error = match Listener::bind(address).await {
        Ok(_) => return findings.fine(part, format!("{address} is free")),
        Err(error) => error,
    };
    let why = "the server does not start";
    match error.kind() {
        ErrorKind::AddrInUse => match find(address).await {
            ours @ Found::Antiphon(_) => {
                findings.fine(part, format!("{address} is in use by {ours}; a second one needs another {setting}"));
            }
            other => findings.broken(
                part,
                format!("{address} is in use by {other}"),
                why,
                &format!("stop that program (`ss -ltnp` shows it), or choose another address with {setting}"),
            ),
        },
        ErrorKind::PermissionDenied => findings.broken(
            part,
            format!("no permission to listen on {address}: {error}"),
            why,
            &format!("ports below 1024 need administrator rights: choose a higher port with {setting}, behind a proxy"),
        ),
        _ => findings.broken(
            part,
            format!("cannot listen on {address}: {error}"),
            why,
            &format!("choose an address of this machine with {setting}"),
        ),
    }
}

pub(super) async fn check_metrics(address: &Address, listen: &Address, findings: &mut Findings) {
    let setting = "--metrics-listen (METRICS_LISTEN)";
    if address.is_same(listen) {
        return findings.broken(
            "metrics",
            format!("METRICS_LISTEN is the same as LISTEN, {address}"),
            "only one of them can listen there, and the metrics must not be public",
            &format!("choose another port with {setting}"),
        );
    }
    check("metrics", address, setting, findings).await;
    if !address.is_loopback() {
        findings.warn(
            "metrics",
            format!("{address} is reachable from other machines"),
            "anyone who can connect sees operation names and the load of the server without signing in",
            &format!("restrict it to your Prometheus by a firewall, or choose a loopback address with {setting}"),
        );
    }
}

/// What listens at an address.
enum Found {
    /// A server of this program, and whether it says that it is ready.
    Antiphon(bool),
    /// A server that answers HTTP, with the name that it states.
    Http(Option<String>),
    /// Anything else.
    Unknown,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Antiphon(is_ready) => {
                write!(f, "a running antiphon server, which is {}ready", if *is_ready { "" } else { "not " })
            }
            Self::Http(Some(name)) => write!(f, "the HTTP server of another program ({name:?})"),
            Self::Http(None) => f.write_str("the HTTP server of another program"),
            Self::Unknown => f.write_str("another program, which does not answer HTTP"),
        }
    }
}

/// Asks what listens at an address for `/readyz`. Many programs have this path; the answer of ours lists its parts.
async fn find(address: &Address) -> Found {
    async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Found> {
        stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut answer = Vec::new();
        // What has arrived when the connection is cut is enough.
        let _ = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await;
        Ok(read(&String::from_utf8_lossy(&answer)))
    }
    let asked = async {
        match address {
            Address::Tcp { host, port } => {
                let host = host.as_deref().unwrap_or("localhost");
                ask(TcpStream::connect((host, *port)).await?).await
            }
            #[cfg(unix)]
            Address::Unix { path, .. } => ask(tokio::net::UnixStream::connect(path).await?).await,
            #[cfg(not(unix))]
            Address::Unix { .. } => Err(ErrorKind::Unsupported.into()),
        }
    };
    timeout(CHECK_TIMEOUT, asked).await.ok().and_then(Result::ok).unwrap_or(Found::Unknown)
}

fn read(answer: &str) -> Found {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    if !head.starts_with("HTTP/") {
        return Found::Unknown;
    }
    if let Some(Readiness { ready, parts }) = serde_json::from_str(body).ok()
        && PARTS.iter().all(|name| parts.iter().any(|part| part.name == *name))
    {
        return Found::Antiphon(ready);
    }
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut names = fields.filter(|(field, _)| field.eq_ignore_ascii_case("server"));
    Found::Http(names.next().map(|(_, name)| name.trim().chars().take(MAX_NAME_CHARS).collect()))
}

/// What the answer of `/readyz` says about a server of any version.
#[derive(Deserialize)]
struct Readiness {
    ready: bool,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    name: String,
}

/// The parts that every server has.
const PARTS: [&str; 3] = ["database", "migrations", "server"];
