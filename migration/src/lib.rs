//! The schema's migrations: the source of truth for the tables, from which the `entity` crate is generated.

pub use sea_orm_migration::migrator::Migration;
use sea_orm_migration::{MigrationTrait, async_trait::async_trait};
pub use sea_orm_migration::{MigratorTrait, MigratorTraitSelf};

mod dialect;
mod m20261123_000001_tables;
mod m20261123_000002_views;
mod m20261124_000003_row_security;
mod m20261124_000004_pasts;
mod m20261124_000005_heads;
mod m20261124_000007_team;
mod m20261124_000008_locks;
mod m20261124_000009_streaming;
mod m20261124_000011_histories;
mod m20261124_000012_addresses;
mod m20261124_000013_presences;
mod m20261128_000014_clustered;
mod m20261129_000015_second_lock;
mod m20261129_000016_head_times;
mod m20261129_000020_exact;
mod m20261129_000030_exact_json;
mod m20261129_000031_profile_sources;
mod m20261129_000044_named_snapshots;
mod m20261129_000045_undone_files;
mod m20261129_000050_token_times;
mod m20261129_000060_version_numbers;
mod m20261129_000061_ended_sessions;
mod row_security;

/// All migrations, oldest first.
pub struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_tables::Migration),
            Box::new(m20261123_000002_views::Migration),
            Box::new(m20261124_000003_row_security::Migration),
            Box::new(m20261124_000004_pasts::Migration),
            Box::new(m20261124_000005_heads::Migration),
            Box::new(m20261124_000007_team::Migration),
            Box::new(m20261124_000008_locks::Migration),
            Box::new(m20261124_000009_streaming::Migration),
            Box::new(m20261124_000011_histories::Migration),
            Box::new(m20261124_000012_addresses::Migration),
            Box::new(m20261124_000013_presences::Migration),
            Box::new(m20261128_000014_clustered::Migration),
            Box::new(m20261129_000015_second_lock::Migration),
            Box::new(m20261129_000016_head_times::Migration),
            Box::new(m20261129_000020_exact::Migration),
            Box::new(m20261129_000030_exact_json::Migration),
            Box::new(m20261129_000031_profile_sources::Migration),
            Box::new(m20261129_000044_named_snapshots::Migration),
            Box::new(m20261129_000045_undone_files::Migration),
            Box::new(m20261129_000050_token_times::Migration),
            Box::new(m20261129_000060_version_numbers::Migration),
            Box::new(m20261129_000061_ended_sessions::Migration),
        ]
    }
}
