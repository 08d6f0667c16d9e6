//! Bodies that are written while they are sent.

use std::io;

use async_stream::try_stream;
use axum::body::Body;
use futures::{StreamExt, stream::BoxStream};
use tokio::{
    sync::mpsc,
    time::{Duration, timeout},
};

/// Timeout for sending a piece of a body. The buffers of a slow connection hold many pieces.
const STALL_TIME: Duration = Duration::from_secs(60);

/// Sends the pieces of a body.
pub(super) struct BodyWriter(mpsc::Sender<Vec<u8>>);

impl BodyWriter {
    /// Sends a piece. `None` if the client has disconnected or stopped reading.
    pub(super) async fn write(&self, piece: Vec<u8>) -> Option<()> {
        timeout(STALL_TIME, self.0.send(piece)).await.ok()?.ok()
    }

    /// Waits until the client disconnects.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// The body that `write` writes in a task; `None` cuts it off. A client that stops reading loses the connection: the response
/// takes memory that others need.
pub(super) fn written<W>(write: impl FnOnce(BodyWriter) -> W) -> Body
where
    W: Future<Output = Option<()>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(1);
    let writer = tokio::spawn(write(BodyWriter(sender)));
    let pieces = try_stream! {
        while let Some(piece) = receiver.recv().await {
            yield piece;
        }
        if !matches!(writer.await, Ok(Some(()))) {
            // Otherwise the response would look complete.
            Err(io::Error::other("the response is incomplete"))?;
        }
    };
    let pieces: BoxStream<'static, io::Result<Vec<u8>>> = pieces.boxed();
    Body::from_stream(pieces)
}
