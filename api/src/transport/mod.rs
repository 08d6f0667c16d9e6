//! The doors: HTTP, WebSocket and the page for people.

pub mod graphiql;
