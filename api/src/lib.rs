//! Antiphon: the backend of a web IDE in which people build voice agents by talking to an AI. ARCHITECTURE.md is the map.

pub mod app;
pub mod config;
pub mod doctor;
pub mod domain;
pub mod graphql;
pub mod live;
pub mod metrics;
pub mod model;
pub mod storage;
pub mod telemetry;
pub mod transport;
