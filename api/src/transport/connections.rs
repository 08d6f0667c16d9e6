//! Connections, by HTTP/1.1: accepted, and let go when nothing comes of them. axum's own loop waits for the head of a request for
//! as long as it takes.

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

/// How long nothing is accepted after that has failed for want of something, such as files that may be open.
const PAUSE: Duration = Duration::from_secs(1);

/// What accepts connections.
pub enum Listener {
    /// At an address.
    Tcp(TcpListener),
    /// At a path.
    #[cfg(unix)]
    Unix(UnixSocket),
}

/// A socket in the file system, which goes with the value.
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
    /// Listens at an address: a name may have several, and all are listened at.
    ///
    /// # Errors
    /// As the system says.
    pub async fn bind(address: &Address) -> io::Result<Vec<Self>> {
        match address {
            Address::Tcp { host: None, port } => {
                // Linux takes IPv4 there, too.
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
                        // A name may have an address of a kind that this machine has not.
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
                // A server that was killed has left its socket there, and nobody answers.
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

    /// Where it listens; `None` for a path.
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
                // Small messages of a subscription must not wait for the acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), peer))
            }
            #[cfg(unix)]
            Self::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                // It is on this machine.
                Ok((Box::new(stream), (Ipv4Addr::LOCALHOST, 0).into()))
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Serves whoever connects, until `shutdown`; then ends with the last request that is under way. A connection on which no whole
/// head of a request comes within `head_time`, neither the first nor after an answer, is closed.
pub async fn serve(listener: Listener, router: Router, head_time: Duration, shutdown: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_time);
    // Names of headers have no case, but some clients compare them as they are written.
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
            // Whoever it was has gone.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
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
        // How the client writes `Sec-WebSocket-Protocol` is how it looks for it in the answer.
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
        tracing::trace!(%error, %peer, "a connection has ended");
    }
}
