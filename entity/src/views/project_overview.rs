//! A project that is not deleted, with its totals.

use sea_orm::entity::prelude::*;

/// A project that is not deleted, with its totals.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "project_overview")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: String,
    pub description: Option<String>,
    pub initial_prompt: String,
    pub config: String,
    pub status: String,
    pub revision: i32,
    pub created_at: DateTimeWithTimeZone,
    pub updated_at: DateTimeWithTimeZone,
    pub last_accessed_at: DateTimeWithTimeZone,
    pub total_sessions: i32,
    pub total_messages: i32,
    pub total_files: i32,
    pub total_changes: i32,
    pub latest_session_date: Option<DateTimeWithTimeZone>,
    pub last_activity: DateTimeWithTimeZone,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
