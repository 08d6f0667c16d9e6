//! Counts and limits the bytes read from a connection while they are received: the WebSocket library reads a whole
//! message before its size can be checked.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::Notify,
    time::timeout,
};

/// A connection with a client.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// How long what a client still sends is discarded at the end.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// An incomplete message is reported each time that it has grown by this many bytes.
const STEP: usize = 64 * 1024;

/// Size of the buffer for discarded bytes.
const DISCARDED: usize = 4 * 1024;

/// The limit of one connection, unlimited until it is set. Clones share it.
#[derive(Clone, Default)]
pub struct ReadLimit(Arc<Limit>);

#[derive(Default)]
struct Limit {
    is_set: AtomicBool,
    left: AtomicUsize,
    is_exceeded: AtomicBool,
    exceeded: Notify,
    is_ending: AtomicBool,
    /// Bytes since the last complete message.
    of_message: AtomicUsize,
    grown: Notify,
}

impl ReadLimit {
    /// Allows this many more bytes. Bytes beyond the limit are discarded.
    pub fn set(&self, bytes: usize) {
        self.0.left.store(bytes, Ordering::Relaxed);
        self.0.is_set.store(true, Ordering::Relaxed);
    }

    /// Removes the limit.
    pub fn lift(&self) {
        self.0.is_set.store(false, Ordering::Relaxed);
    }

    /// Discards what the client still sends after the connection is dropped. Otherwise the system resets the connection,
    /// and the client does not read the reason.
    pub fn discard_rest(&self) {
        self.0.is_ending.store(true, Ordering::Relaxed);
    }

    /// Waits until the limit is exceeded.
    pub async fn exceeded(&self) {
        self.0.exceeded.notified().await;
    }

    /// Begins to count the bytes of another message.
    pub fn begin_message(&self) {
        self.0.of_message.store(0, Ordering::Relaxed);
    }

    /// Leaves out the bytes of a control frame, which are no part of the message.
    pub fn forget(&self, bytes: usize) {
        let without = |count: usize| Some(count.saturating_sub(bytes));
        // Never fails.
        let _ = self.0.of_message.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without);
    }

    /// Bytes that were read since the message began.
    pub fn of_message(&self) -> usize {
        self.0.of_message.load(Ordering::Relaxed)
    }

    /// Waits until the incomplete message has become much larger.
    pub async fn grown(&self) {
        self.0.grown.notified().await;
    }

    fn is_exceeded(&self) -> bool {
        self.0.is_exceeded.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        let before = self.0.of_message.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) / STEP > before / STEP {
            self.0.grown.notify_one();
        }
        if !self.0.is_set.load(Ordering::Relaxed) {
            return;
        }
        let left = self.0.left.load(Ordering::Relaxed);
        self.0.left.store(left.saturating_sub(bytes), Ordering::Relaxed);
        if bytes > left {
            self.0.is_exceeded.store(true, Ordering::Relaxed);
            self.0.exceeded.notify_one();
        }
    }
}

/// A connection with a limit.
pub struct Limited<S: Stream> {
    /// `None` only while it is dropped.
    stream: Option<S>,
    /// Bytes that were read from the connection before.
    first: Bytes,
    limit: ReadLimit,
}

impl<S: Stream> Limited<S> {
    /// Wraps a connection of which these first bytes were read.
    pub fn new(stream: S, first: Bytes, limit: ReadLimit) -> Self {
        Self { stream: Some(stream), first, limit }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<S: Stream> Drop for Limited<S> {
    fn drop(&mut self) {
        if let (true, Some(mut stream)) = (self.limit.0.is_ending.load(Ordering::Relaxed), self.stream.take()) {
            tokio::spawn(timeout(DISCARD_TIME, async move {
                stream.shutdown().await?;
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
            }));
        }
    }
}

impl<S: Stream> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.limit.is_exceeded() {
            let mut bytes = [0; DISCARDED];
            let mut discarded = ReadBuf::new(&mut bytes);
            ready!(self.stream()?.poll_read(context, &mut discarded))?;
            if discarded.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        if !self.first.is_empty() && buffer.remaining() > 0 {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(self.stream()?.poll_read(context, buffer))?;
        self.limit.count(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Limited<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_exceeds_the_limit_is_thrown_away() {
        let (ours, mut theirs) = duplex(1_000_000);
        let limit = ReadLimit::default();
        let mut ours = Limited::new(ours, Bytes::from_static(&[2; 150]), limit.clone());
        let mut bytes = [0; 100];
        theirs.write_all(&[1; 100_000]).await.unwrap();
        ours.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [2; 100]);
        ours.read_exact(&mut bytes).await.unwrap();
        assert_eq!((bytes[49], bytes[50]), (2, 1));
        limit.set(100);
        ours.read_exact(&mut bytes).await.unwrap();
        assert!(!limit.is_exceeded());
        limit.lift();
        ours.read_exact(&mut bytes).await.unwrap();
        limit.set(99);
        ours.read_exact(&mut bytes).await.unwrap();
        limit.exceeded().await;
        drop(theirs);
        assert_eq!(ours.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
}
