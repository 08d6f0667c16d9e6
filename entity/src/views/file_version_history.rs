//! A version of a file with its context.

use sea_orm::entity::prelude::*;

/// A version of a file with its context.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "file_version_history")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub snapshot_id: Uuid,
    pub file_id: Uuid,
    pub file_path: String,
    pub file_name: String,
    pub project_id: Uuid,
    pub project_name: String,
    pub version: i32,
    pub revision: i32,
    pub change_description: Option<String>,
    pub created_at: DateTimeWithTimeZone,
    pub created_by_user_id: Option<Uuid>,
    pub created_by_user_name: Option<String>,
    pub session_title: Option<String>,
    pub content_size: Option<i32>,
    pub diff_size: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
