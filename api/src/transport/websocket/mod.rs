//! `GET /graphql/ws`, and also `GET /graphql`: GraphQL over WebSocket by the protocol `graphql-transport-ws`
//! (<https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md>), with its close codes. The library's own
//! implementation uses close codes that clients treat as final, and deviates in several other rules.
//!
//! A client can extend its session beyond the lifetime of its token: it sends a new token in the payload of a `ping`,
//! in any form that `connection_init` accepts, and the `pong` contains the time at which it expires. The protocol does
//! not define these payloads, and forbids a second `connection_init`.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{
        ConnectInfo, State,
        ws::{WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{
        HeaderMap, StatusCode, Uri,
        header::{RETRY_AFTER, UPGRADE},
    },
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use super::{
    auth, origin,
    read_limit::ReadLimit,
    state::{AppState, RequestId},
};
use crate::metrics::Counted;

mod protocol;
mod sending;
mod socket;

use self::{
    protocol::PROTOCOL,
    socket::{BUFFER_BYTES, INIT_TIME, Socket},
};

/// How much longer than its text a message can be, including pings in between, in bytes.
const FRAMING_BYTES: usize = 1024;

/// Whether a request asks for a WebSocket.
pub fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|upgrade| upgrade.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Upgrades the request to a WebSocket, if its origin is allowed.
pub async fn upgrade(
    State(state): State<AppState>,
    Extension(RequestId(id)): Extension<RequestId>,
    Extension(read_limit): Extension<ReadLimit>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    if !origin::may_connect(&headers, &uri, &state.allow_origins) {
        return (StatusCode::FORBIDDEN, "This origin is not allowed to connect (--allow-origin).\n").into_response();
    }
    let address = state.throttle.address(peer.ip(), &headers);
    let place = match state.throttle.open_unknown_socket(address) {
        Ok(place) => place,
        // A client that only opens sockets causes no further work.
        Err(often) => {
            let retry_after = [(RETRY_AFTER, INIT_TIME.as_secs().to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, retry_after, format!("{}\n", often.message())).into_response();
        }
    };
    let limit = state.limits.max_body_bytes;
    let mut upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(limit)
        .max_frame_size(limit)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    let is_ours = upgrade.selected_protocol().is_some();
    // A client that offers only other protocols fails the handshake unless it gets one of them; it would not see the
    // reason.
    let other = upgrade.requested_protocols().next().cloned();
    if let (false, Some(other)) = (is_ours, other) {
        upgrade.set_selected_protocol(other);
    }
    // Verify the handshake's token at `connection_init`: browsers cannot read the status of a handshake.
    let token = auth::bearer(&headers).map(|token| token.map(str::to_owned));
    read_limit.set(state.limits.max_anonymous_body_bytes.saturating_add(FRAMING_BYTES));
    let task = state.tasks.token();
    let open = Counted::new(&state.services.metrics().sockets);
    let serve = move |socket: WebSocket| async move {
        let _held = (task, open);
        let socket = Socket::new(state, id, token, address, place, read_limit, socket);
        socket.serve(is_ours).await;
    };
    let span = tracing::Span::current();
    upgrade.on_upgrade(|socket| serve(socket).instrument(span))
}
