//! `GET /mcp`: the notifications of a session, as server-sent events. A client that reconnects with `Last-Event-ID`
//! receives what it has missed.

use std::sync::Arc;

use async_graphql::parser::types::OperationType;
use axum::{body::Bytes, http::HeaderMap, response::Response};
use futures::Stream;
use serde_json::json;
use tokio::time::sleep;

use super::{
    sessions::Session,
    watch::{Notice, Watch},
};
use crate::{
    domain::access_token,
    model::{
        actor::Actor,
        error::{Error, Result},
    },
    transport::{
        auth,
        sse::{Format, LAST_EVENT_ID},
        state::AppState,
    },
};

/// Opens the stream of a session, which ends the previous one.
///
/// # Errors
/// `RateLimited` if the user has too many streams; `BadInput` for a `Last-Event-ID` of another stream.
pub fn open(state: &AppState, session: Arc<Session>, actor: Actor, headers: &HeaderMap, id: &str) -> Result<Response> {
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
    session: Arc<Session>,
    actor: Actor,
    after: Option<u64>,
    id: String,
) -> impl Stream<Item = Bytes> {
    let mut replaced = session.begin_stream();
    async_stream::stream! {
        let measured = state.measure(OperationType::Subscription, Some("mcp stream"), true, &id);
        yield Format::Events.opening();
        for (number, notification) in after.map(|after| session.sent_after(after)).unwrap_or_default() {
            yield event(number, &notification);
        }
        let live = state.executor.live.clone();
        let mut watch = Watch::new(live, state.services.clone(), actor.clone(), session.watched.clone());
        let mut heartbeat = state.heartbeat();
        let mut expired = std::pin::pin!(sleep(auth::time_left(Some(&actor))));
        loop {
            let notice = tokio::select! {
                biased;
                () = state.shutdown.cancelled() => return,
                () = session.ended.cancelled() => return,
                () = &mut expired => return,
                _ = replaced.changed() => return,
                notice = watch.next() => notice,
                _ = heartbeat.tick() => {
                    if is_revoked(&state, &actor).await {
                        return;
                    }
                    yield Format::Events.heartbeat();
                    continue;
                }
            };
            match notice {
                Ok(notice) => {
                    let notification = Bytes::from(notification(&notice));
                    let number = session.number(notification.clone());
                    measured.delivered();
                    yield event(number, &notification);
                }
                // The client reconnects, if it still has access.
                Err(error) => {
                    measured.ended(error.code());
                    return;
                }
            }
        }
    }
}

/// Whether the caller's access token was revoked.
pub async fn is_revoked(state: &AppState, actor: &Actor) -> bool {
    actor.is_machine && access_token::is_revoked(&state.services, actor).await.unwrap_or(false)
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
