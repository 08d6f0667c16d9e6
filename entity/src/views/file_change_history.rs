//! A code change with its context.

use sea_orm::entity::prelude::*;

/// A code change with its context.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "file_change_history")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub project_id: Uuid,
    pub session_id: Option<Uuid>,
    pub message_id: Option<Uuid>,
    pub file_id: Uuid,
    pub change_type: String,
    pub snapshot_id: Uuid,
    pub version: i32,
    pub revision: i32,
    pub additions: i32,
    pub deletions: i32,
    pub created_at: DateTimeWithTimeZone,
    pub file_path: String,
    pub file_name: String,
    pub project_name: String,
    pub message_content: Option<String>,
    pub change_timestamp: DateTimeWithTimeZone,
    pub created_by_user_id: Option<Uuid>,
    pub created_by_user_name: Option<String>,
    pub change_description: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
