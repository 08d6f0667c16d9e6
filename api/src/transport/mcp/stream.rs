//! `GET /mcp`: the notifications of a session, as server-sent events. A client that reconnects with `Last-Event-ID`
//! receives what it has missed.

use std::sync::Arc;

use axum::{body::Bytes, http::HeaderMap, response::Response};
use futures::Stream;
use serde_json::json;

use super::{
    following::{Following, Step},
    sessions::McpSession,
    watch::Notice,
};
use crate::{
    model::{
        actor::Actor,
        error::{Error, Result},
    },
    transport::{
        sse::{Format, LAST_EVENT_ID},
        state::AppState,
    },
};

/// Opens the stream of a session, which ends the previous one.
///
/// # Errors
/// `RateLimited` if the user has too many streams; `BadInput` for a `Last-Event-ID` of another stream.
pub fn open(
    state: &AppState,
    session: Arc<McpSession>,
    actor: Actor,
    headers: &HeaderMap,
    id: &str,
) -> Result<Response> {
    let after = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()).map(|last| {
        let number = last.to_str().ok().and_then(|last| last.parse::<u64>().ok());
        number.ok_or_else(|| Error::bad_input("last-event-id", "This must be the id of an event of this stream."))
    });
    let after = after.transpose()?;
    let place = state.throttle.open_socket(actor.user_id)?;
    let events = events(state.clone(), session, actor, after, id.to_owned());
    let events = futures::StreamExt::map(events, move |bytes| {
        // Held until the response ends.
        let _place = &place;
        bytes
    });
    Ok(Format::Events.respond(events))
}

fn events(
    state: AppState,
    session: Arc<McpSession>,
    actor: Actor,
    after: Option<u64>,
    id: String,
) -> impl Stream<Item = Bytes> {
    let mut replaced = session.begin_stream();
    async_stream::stream! {
        yield Format::Events.opening();
        for (number, notification) in after.map(|after| session.sent_after(after)).unwrap_or_default() {
            yield event(number, &notification);
        }
        let mut following = Following::new(state, actor, session.watched.clone(), &id);
        loop {
            let stopped = async {
                tokio::select! {
                    () = session.ended.cancelled() => {}
                    _ = replaced.changed() => {}
                }
            };
            match following.next(stopped).await {
                Ok(Some(Step::Notice(notice))) => {
                    let notification = Bytes::from(notification(&notice));
                    let number = session.number(notification.clone());
                    yield event(number, &notification);
                }
                Ok(Some(Step::Heartbeat)) => {
                    session.touch();
                    yield Format::Events.heartbeat();
                }
                // After an error the client reconnects, if it still has access.
                Ok(None) | Err(_) => return,
            }
        }
    }
}

fn notification(notice: &Notice) -> String {
    match notice {
        Notice::Updated(uri) => {
            json!({ "jsonrpc": "2.0", "method": "notifications/resources/updated", "params": { "uri": uri } })
        }
        Notice::ListChanged => json!({ "jsonrpc": "2.0", "method": "notifications/resources/list_changed" }),
    }
    .to_string()
}

fn event(number: u64, notification: &[u8]) -> Bytes {
    let mut event = format!("id: {number}\nevent: message\ndata: ").into_bytes();
    event.extend_from_slice(notification);
    event.extend_from_slice(b"\n\n");
    event.into()
}
