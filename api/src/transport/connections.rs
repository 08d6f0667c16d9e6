//! Connections, by HTTP/1.1: accepted, and let go when nothing comes of them. axum's own loop waits for the head of a request for
//! as long as it takes.

use std::{io::ErrorKind, net::SocketAddr, pin::pin, time::Duration};

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
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long nothing is accepted after that has failed for want of something, such as files that may be open.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves whoever connects, until `shutdown`; then ends with the last request that is under way. A connection on which no whole
/// head of a request comes within `head_time`, neither the first nor after an answer, is closed.
pub async fn serve(listener: TcpListener, router: Router, head_time: Duration, shutdown: CancellationToken) {
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
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    http: http1::Builder,
    shutdown: CancellationToken,
) {
    // Small messages of a subscription must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
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
