//! A message of an active project.

use sea_orm::entity::prelude::*;

/// A message of an active project.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recent_chat_activity")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub user_id: Uuid,
    pub user_name: Option<String>,
    pub project_id: Uuid,
    pub project_name: String,
    pub session_id: Uuid,
    pub role: String,
    pub content: String,
    pub timestamp: DateTimeWithTimeZone,
    pub is_checkpoint: bool,
    pub context_data: String,
    pub metadata: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
