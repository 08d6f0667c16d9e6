//! The addresses that the server listens on.

use std::io::ErrorKind;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::finding::{CHECK_TIMEOUT, Findings};
use crate::{config::listen::Address, transport::connections::Listener};

pub(super) async fn check(part: &'static str, address: &Address, setting: &str, findings: &mut Findings) {
    let error = match Listener::bind(address).await {
        Ok(_) => return findings.fine(part, format!("{address} is free")),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::AddrInUse && is_antiphon(address).await {
        return findings.fine(part, format!("a running antiphon server listens on {address}"));
    }
    let why = "the server does not start";
    match error.kind() {
        ErrorKind::AddrInUse => findings.broken(
            part,
            format!("{address} is in use by another program"),
            why,
            &format!("stop that program (`ss -ltnp` shows it), or choose another address with {setting}"),
        ),
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

/// Whether an antiphon server answers `/healthz` at this address.
async fn is_antiphon(address: &Address) -> bool {
    async fn responds_ok(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<bool> {
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok(answer.ends_with(b"\r\n\r\nok\n"))
    }
    let answered = async {
        match address {
            Address::Tcp { host, port } => {
                let host = host.as_deref().unwrap_or("localhost");
                responds_ok(TcpStream::connect((host, *port)).await?).await
            }
            #[cfg(unix)]
            Address::Unix { path, .. } => responds_ok(tokio::net::UnixStream::connect(path).await?).await,
            #[cfg(not(unix))]
            Address::Unix { .. } => Ok(false),
        }
    };
    matches!(timeout(CHECK_TIMEOUT, answered).await, Ok(Ok(true)))
}
