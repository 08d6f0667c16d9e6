//! The harness: a real server on port 0, a fresh database for each test, real HTTP and real WebSockets. Tests, examples
//! and benches share it, and use only the public API.
//!
//! A test is written once and runs on both databases:
//!
//! ```ignore
//! use tests::server::Server;
//!
//! tests::on_both! {
//!     async fn a_project_starts_at_revision_one(server: Server) {
//!         let ada = server.user("ada@example.com");
//!         let data = ada.gql("mutation { … }", json!({})).await.ok();
//!     }
//! }
//! ```
//!
//! `cargo test` turns this into `a_project_starts_at_revision_one::sqlite` and `…::postgres`. A test that sets up its
//! own servers takes `database: Database` instead of `server: Server`. To add a file of tests, put it into `it/` and
//! name it in `it/main.rs`.

pub mod authority;
pub mod client;
pub mod database;
pub mod disk;
pub mod hostile;
pub mod issuer;
pub mod ledger;
pub mod mcp;
pub mod nats;
pub mod nginx;
pub mod pgbouncer;
pub mod project;
pub mod receiver;
pub mod replay;
pub mod server;
pub mod siege;
pub mod size;
pub mod socket;
pub mod workload;

/// Makes two tests of each body: one on SQLite and one on PostgreSQL.
#[macro_export]
macro_rules! on_both {
    ($($(#[$attribute:meta])* async fn $name:ident($argument:ident: $kind:ident) $body:block)+) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn body($argument: $kind) $body

            #[test]
            fn sqlite() {
                $crate::on_both!(@run $kind, $crate::database::Kind::Sqlite, body);
            }

            #[test]
            fn postgres() {
                $crate::on_both!(@run $kind, $crate::database::Kind::Postgres, body);
            }
        }
    )+};
    (@run Server, $database:expr, $body:ident) => { $crate::server::run_with_server($database, $body) };
    (@run Database, $database:expr, $body:ident) => { $crate::server::run_with_database($database, $body) };
}

/// Makes one test of each body for every authorization layer that must suffice alone: the application's conditions on
/// SQLite and on PostgreSQL, row-level security on PostgreSQL, and both together on PostgreSQL.
#[macro_export]
macro_rules! behind_each_lock {
    ($(async fn $name:ident($argument:ident: Server) $body:block)+) => {$(
        mod $name {
            use super::*;

            async fn body($argument: Server) $body

            #[test]
            fn sqlite() {
                $crate::on_both!(@run Server, $crate::database::Kind::Sqlite, body);
            }

            #[test]
            fn postgres() {
                $crate::on_both!(@run Server, $crate::database::Kind::Postgres, body);
            }

            #[test]
            fn postgres_by_the_application_alone() {
                $crate::server::run_behind($crate::server::Locks::Application, body);
            }

            #[test]
            fn postgres_by_row_security_alone() {
                $crate::server::run_behind($crate::server::Locks::Database, body);
            }
        }
    )+};
}

/// Makes one test on SQLite of each body, for tests of transports, which do not depend on the database.
#[macro_export]
macro_rules! on_sqlite {
    ($($(#[$attribute:meta])* async fn $name:ident($argument:ident: $kind:ident) $body:block)+) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            async fn body($argument: $kind) $body
            $crate::on_both!(@run $kind, $crate::database::Kind::Sqlite, body);
        }
    )+};
}
