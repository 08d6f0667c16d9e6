//! An active project with the number of its collaborators.

use sea_orm::entity::prelude::*;

/// An active project with the number of its collaborators.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "project_collaboration_overview")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: Uuid,
    pub project_name: String,
    pub owner_id: Uuid,
    pub owner_name: Option<String>,
    pub total_collaborators: i64,
    pub total_sessions: i32,
    pub total_messages: i32,
    pub last_activity: DateTimeWithTimeZone,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
