//! `/mcp`: the Model Context Protocol for AI agents, over streamable HTTP
//! (<https://modelcontextprotocol.io/specification>). The SDK `rmcp` parses the messages and negotiates the version. Each
//! request is served on its own: its token identifies the caller, and any server can answer it. Sessions only keep the
//! subscriptions of a client, the chat sessions that its writes belong to, and the running requests that it can cancel.
//!
//! To add a tool: write its function in `reads.rs` or `writes.rs`, and add it to the list in `tools.rs`.

use axum::{
    Router,
    http::HeaderName,
    routing::{any, get},
};

use super::state::AppState;

mod answer;
mod call;
mod conversation;
mod door;
mod handler;
mod metadata;
mod params;
mod reads;
mod resources;
mod schemas;
pub mod sessions;
mod stream;
mod tools;
mod uri;
mod versions;
mod watch;
mod writes;

/// The protocol version of a request.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The routes.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/mcp", any(door::mcp))
        .route("/.well-known/oauth-protected-resource", get(metadata::protected_resource))
        .route("/.well-known/oauth-protected-resource/{*resource}", get(metadata::protected_resource))
}
