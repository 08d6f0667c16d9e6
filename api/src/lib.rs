//! Antiphon: the backend of a web IDE in which people build voice agents by talking to an AI. ARCHITECTURE.md is the map.

pub mod app;
pub mod commands;
pub mod config;
mod connection_check;
mod database_url;
pub mod domain;
pub mod graphql;
pub mod live;
pub mod metrics;
mod migrations;
pub mod model;
mod secret;
pub mod storage;
pub mod telemetry;
pub mod transport;
