//! Accepts connections for HTTP/1.1 and for HTTP/2 without TLS ("h2c" with prior knowledge, RFC 9113 section 3.3), and
//! closes those on which no request arrives. axum's own loop has no timeout for the head of a request.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::ConnectInfo,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    header::{HOST, HeaderValue, UPGRADE},
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, lookup_host},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::read_limit::{Limited, ReadLimit, Stream};
use crate::config::listen::Address;

/// Pause after a failed accept, for example when the limit on open files is reached.
const PAUSE: Duration = Duration::from_secs(1);

/// The first bytes of every HTTP/2 connection (RFC 9113, section 3.4). No HTTP/1.1 request begins like this.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests at a time on an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// Bytes of a response that an HTTP/2 connection holds for a client that does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// Most header fields of a request, and most bytes of its head. hyper limits the fields of HTTP/1.1 only, and it ends an HTTP/2
/// connection with all its requests if a head is much larger than its own limit, which is therefore higher.
const MAX_HEADERS: usize = 100;
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The colon, the space and the end of the line of a header field.
const FIELD_BYTES: usize = 4;
const MAX_HTTP2_HEAD_BYTES: u32 = 256 * 1024;
/// Time between the pings that detect a lost client of HTTP/2.
const PING: Duration = Duration::from_secs(20);

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

/// How connections are served.
#[derive(Clone)]
struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    /// Longest time without a request.
    head_time: Duration,
}

impl Protocols {
    fn new(head_time: Duration) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(head_time).max_headers(MAX_HEADERS);
        // Header names are case-insensitive, but some clients compare them literally.
        http1.title_case_headers(true).preserve_header_case(true);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new()).keep_alive_interval(PING).max_concurrent_streams(MAX_STREAMS);
        http2.max_send_buf_size(SEND_BUFFER).max_header_list_size(MAX_HTTP2_HEAD_BYTES);
        Self { http1, http2, head_time }
    }
}

/// Serves connections until `shutdown`, then waits for the running requests. Closes a connection if the head of a
/// request does not arrive within `head_time`, both initially and after a response.
pub async fn serve(listener: Listener, router: Router, head_time: Duration, shutdown: CancellationToken) {
    let protocols = Protocols::new(head_time);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(serve_one(stream, peer, router.clone(), protocols.clone(), shutdown.clone()));
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
    mut stream: Box<dyn Stream>,
    peer: SocketAddr,
    router: Router,
    protocols: Protocols,
    shutdown: CancellationToken,
) {
    let first = tokio::select! {
        first = timeout(protocols.head_time, first_bytes(&mut stream)) => first,
        () = shutdown.cancelled() => return,
    };
    let Ok(Ok(first)) = first else { return };
    let is_http2 = first == PREFACE;
    let router = TowerToHyperService::new(router);
    let limit = ReadLimit::default();
    let stream = TokioIo::new(Limited::new(stream, first, limit.clone()));
    let running = watch::Sender::new(0_usize);
    let service = service_fn(|mut request: Request<Incoming>| {
        let is_large = has_large_head(&request);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(limit.clone());
        insert_host(&mut request);
        // Some clients look for `Sec-WebSocket-Protocol` in the response in the same letter case as they sent it.
        let upgrade = request.headers().contains_key(UPGRADE).then(|| request.extensions().clone());
        let request_of_http2 = is_http2.then(|| Running::new(&running));
        let answer = router.call(request);
        async move {
            if is_large {
                return Ok::<_, std::convert::Infallible>(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
            }
            let mut response: Response = answer.await?;
            if let (Some(upgrade), StatusCode::SWITCHING_PROTOCOLS) = (upgrade, response.status()) {
                response.extensions_mut().extend(upgrade);
            }
            Ok(match request_of_http2 {
                Some(running) => response.map(|body| running.until_sent(body)),
                None => response,
            })
        }
    });
    let served = if is_http2 {
        let mut connection = pin!(protocols.http2.serve_connection(stream, service));
        tokio::select! {
            served = connection.as_mut() => served,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = idle(running.subscribe(), protocols.head_time) => {
                connection.as_mut().graceful_shutdown();
                // A client that does not answer is not waited for.
                timeout(protocols.head_time, connection).await.unwrap_or(Ok(()))
            }
        }
    } else {
        let mut connection = pin!(protocols.http1.serve_connection(stream, service).with_upgrades());
        tokio::select! {
            served = connection.as_mut() => served,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = served {
        tracing::trace!(%error, %peer, "a connection ended with an error");
    }
}

/// Reads until the bytes are the preface of HTTP/2 or cannot become it.
async fn first_bytes(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut first = Vec::with_capacity(PREFACE.len());
    while PREFACE.starts_with(&first) && first.len() < PREFACE.len() {
        if stream.take((PREFACE.len() - first.len()) as u64).read_buf(&mut first).await? == 0 {
            break;
        }
    }
    Ok(first.into())
}

fn has_large_head(request: &Request<Incoming>) -> bool {
    let fields = request.headers();
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES).sum();
    fields.len() > MAX_HEADERS || uri.saturating_add(bytes) > MAX_HEAD_BYTES
}

/// HTTP/2 has the host in the request's URI only.
fn insert_host(request: &mut Request<Incoming>) {
    let host = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let (false, Some(Ok(host))) = (request.headers().contains_key(HOST), host) {
        request.headers_mut().insert(HOST, host);
    }
}

/// Waits until an HTTP/2 connection has had no request for this time. hyper limits this only for HTTP/1.1.
async fn idle(mut running: watch::Receiver<usize>, time: Duration) {
    while *running.borrow_and_update() > 0 || timeout(time, running.changed()).await.is_ok() {
        if running.wait_for(|running| *running == 0).await.is_err() {
            return;
        }
    }
}

/// A request of an HTTP/2 connection, until its response is sent.
struct Running(watch::Sender<usize>);

impl Running {
    fn new(running: &watch::Sender<usize>) -> Self {
        running.send_modify(|running| *running += 1);
        Self(running.clone())
    }

    fn until_sent(self, body: Body) -> Body {
        Body::new(body.map_frame(move |frame| {
            let Self(_) = &self;
            frame
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running = running.saturating_sub(1));
    }
}
