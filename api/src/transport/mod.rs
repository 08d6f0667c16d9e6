//! The endpoints: HTTP, server-sent events and WebSocket, with authentication and rate limits. No business logic.
//!
//! To add an endpoint: read requests with [`operation::read`] or [`operation::request`], run them through
//! [`operation::prepare`] and the schema as a [`measure::Measured`], pass every response to [`operation::settle`], and
//! mount the endpoint in [`router`].

mod accept;
pub mod auth;
mod coding;
pub mod connections;
pub mod executor;
pub mod git;
pub mod graphiql;
pub mod health;
pub mod http;
pub mod jwks;
pub mod listening;
pub mod mcp;
mod measure;
pub mod operation;
mod origin;
mod pieces;
pub mod public_url;
pub mod read_limit;
pub mod router;
pub mod single;
pub mod slots;
pub mod sse;
pub mod state;
pub mod step;
pub mod streams;
pub mod throttle;
pub mod values;
pub mod websocket;
