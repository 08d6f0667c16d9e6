//! The schema's migrations: the source of truth for the tables, from which the `entity` crate is generated.
//!
//! [`m20261130_000000_schema`] creates the whole schema of the first release. Later changes are migrations of their own
//! (CONTRIBUTING.md). [`unsquashed`] accepts databases of the last development version, which recorded many small
//! migrations instead.

pub use sea_orm_migration::SchemaManager;
pub use sea_orm_migration::migrator::Migration;
use sea_orm_migration::{MigrationTrait, async_trait::async_trait};
pub use sea_orm_migration::{MigratorTrait, MigratorTraitSelf};

mod dialect;
mod m20261130_000000_schema;
mod m20261130_000001_activity;
mod m20261130_000002_access_tokens;
mod m20261130_000003_webhooks;
mod m20261130_000004_times;
mod m20261130_000005_webhook_rules;
mod row_security;
pub mod unsquashed;

/// All migrations, oldest first.
pub struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261130_000000_schema::Migration),
            Box::new(m20261130_000001_activity::Migration),
            Box::new(m20261130_000002_access_tokens::Migration),
            Box::new(m20261130_000003_webhooks::Migration),
            Box::new(m20261130_000004_times::Migration),
            Box::new(m20261130_000005_webhook_rules::Migration),
        ]
    }
}
