//! The doors: HTTP, server-sent events and WebSocket, who is calling, and nothing of what the service does.
//!
//! To add a door, write a file that reads its requests into [`operation::read`] or the like, runs them through
//! [`operation::prepare`] and the schema as a [`measure::Measured`], gives every answer to [`operation::settle`], and mount it
//! in [`router`].

pub mod auth;
pub mod connections;
pub mod executor;
pub mod graphiql;
pub mod health;
pub mod http;
pub mod jwks;
pub mod listening;
mod measure;
mod operation;
mod origin;
pub mod read_limit;
pub mod router;
pub mod single;
pub mod sse;
pub mod throttle;
pub mod values;
pub mod websocket;
