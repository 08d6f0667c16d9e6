//! Accepts HTTP/1.1 connections, and closes those on which no request arrives. axum's own loop has no timeout for the
//! head of a request.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::UPGRADE,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, lookup_host},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::read_limit::{Limited, ReadLimit};
use crate::config::listen::Address;

/// Pause after a failed accept, for example when the limit on open files is reached.
const PAUSE: Duration = Duration::from_secs(1);

/// A listening socket.
pub enum Listener {
    /// A TCP address.
    Tcp(TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixSocket),
}

/// A Unix socket. Dropping it deletes its file.
#[cfg(unix)]
pub struct UnixSocket {
    listener: tokio::net::UnixListener,
    path: std::path::PathBuf,
}

#[cfg(unix)]
impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Listener {
    /// Listens at an address. A name can have several addresses; all of them are used.
    pub async fn bind(address: &Address) -> io::Result<Vec<Self>> {
        match address {
            Address::Tcp { host: None, port } => {
                // On Linux this accepts IPv4 as well.
                let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)).await {
                    Err(error) if error.kind() != ErrorKind::AddrInUse => {
                        TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).await
                    }
                    bound => bound,
                };
                Ok(vec![Self::Tcp(listener?)])
            }
            Address::Tcp { host: Some(host), port } => {
                let mut listeners = Vec::<TcpListener>::new();
                for mut address in lookup_host((host.as_str(), *port)).await? {
                    if let Some(first) = listeners.first() {
                        address.set_port(first.local_addr()?.port());
                    }
                    match TcpListener::bind(address).await {
                        Ok(listener) => listeners.push(listener),
                        // A name can have addresses of a kind that this machine does not support.
                        Err(error) if error.kind() == ErrorKind::AddrNotAvailable && !listeners.is_empty() => {}
                        Err(error) => return Err(error),
                    }
                }
                if listeners.is_empty() {
                    return Err(io::Error::new(ErrorKind::AddrNotAvailable, "the name has no address"));
                }
                Ok(listeners.into_iter().map(Self::Tcp).collect())
            }
            #[cfg(unix)]
            Address::Unix { path, mode } => {
                use std::os::unix::fs::{FileTypeExt, PermissionsExt};
                // A killed server leaves its socket behind. If nothing accepts connections there, delete it.
                if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
                    match tokio::net::UnixStream::connect(path).await {
                        Ok(_) => return Err(ErrorKind::AddrInUse.into()),
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                        Err(error) => return Err(error),
                    }
                }
                let listener = tokio::net::UnixListener::bind(path)?;
                std::fs::set_permissions(path, PermissionsExt::from_mode(*mode))?;
                Ok(vec![Self::Unix(UnixSocket { listener, path: path.clone() })])
            }
            #[cfg(not(unix))]
            Address::Unix { .. } => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// The local address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small messages of a subscription must not wait for the acknowledgement of the previous one.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), peer))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                // The peer is on this machine.
                Ok((Box::new(stream), (Ipv4Addr::LOCALHOST, 0).into()))
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Serves connections until `shutdown`, then waits for the running requests. Closes a connection if the head of a
/// request does not arrive within `head_time`, both initially and after a response.
pub async fn serve(listener: Listener, router: Router, head_time: Duration, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_time);
    // Header names are case-insensitive, but some clients compare them literally.
    http.title_case_headers(true).preserve_header_case(true);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(serve_one(stream, peer, router.clone(), http.clone(), shutdown.clone()));
            }
            // The client has already disconnected.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_one(
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    router: Router,
    http: http1::Builder,
    shutdown: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let limit = ReadLimit::default();
    let stream = Limited::new(stream, limit.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(limit.clone());
        // Some clients look for `Sec-WebSocket-Protocol` in the response in the same letter case as they sent it.
        let upgrade = request.headers().contains_key(UPGRADE).then(|| request.extensions().clone());
        let answer = router.call(request);
        async move {
            let mut response = answer.await?;
            if let (Some(upgrade), StatusCode::SWITCHING_PROTOCOLS) = (upgrade, response.status()) {
                response.extensions_mut().extend(upgrade);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::trace!(%error, %peer, "a connection ended with an error");
    }
}
