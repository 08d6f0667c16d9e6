//! `/mcp`: the Model Context Protocol for AI agents, over streamable HTTP
//! (<https://modelcontextprotocol.io/specification>). The SDK `rmcp` parses the messages and negotiates the version. Each
//! request is served on its own: its token identifies the caller, and any server can answer it. Sessions only keep the
//! subscriptions of a client and the chat sessions that its writes belong to.
//!
//! To add a tool: write its function in `reads.rs` or `writes.rs`, and add it to the list in `tools.rs`.

use axum::{
    Router,
    routing::{any, get},
};

use super::state::AppState;

mod answer;
mod call;
mod cancellation;
mod chat_sessions;
mod endpoint;
mod following;
mod handler;
mod message;
mod metadata;
mod parameters;
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

/// The routes.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/mcp", any(endpoint::mcp))
        .route("/.well-known/oauth-protected-resource", get(metadata::protected_resource))
        .route("/.well-known/oauth-protected-resource/{*resource}", get(metadata::protected_resource))
}
