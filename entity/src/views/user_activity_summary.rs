//! The sums over a user's own projects that are not deleted.

use sea_orm::entity::prelude::*;

/// The sums over a user's own projects that are not deleted.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_activity_summary")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: Uuid,
    pub full_name: Option<String>,
    pub total_projects: i64,
    pub total_sessions: i64,
    pub total_messages: i64,
    pub total_files: i64,
    pub total_changes: i64,
    pub last_activity: Option<DateTimeWithTimeZone>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
