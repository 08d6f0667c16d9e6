//! Sends the messages of a socket.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use axum::extract::ws::{Message, WebSocket};
use futures::{SinkExt, stream::SplitSink};

/// Size of a message in bytes; 0 if it is not a result.
pub(super) fn size(message: &Message) -> usize {
    if let Message::Text(text) = message { text.len() } else { 0 }
}

/// Sends the waiting messages as far as the network takes them. Nothing is lost if it is dropped while pending.
pub(super) fn poll_write(
    sink: &mut SplitSink<WebSocket, Message>,
    waiting: &mut VecDeque<Message>,
    context: &mut Context<'_>,
) -> Poll<Result<(), axum::Error>> {
    while !waiting.is_empty() {
        ready!(sink.poll_ready_unpin(context))?;
        if let Some(message) = waiting.pop_front() {
            sink.start_send_unpin(message)?;
        }
    }
    sink.poll_flush_unpin(context)
}
