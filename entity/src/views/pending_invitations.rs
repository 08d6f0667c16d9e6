//! Pending invitations, of users and of e-mail addresses, with the data that invited users can see.

use sea_orm::entity::prelude::*;

/// A pending invitation of a user or of an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_invitations")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: Uuid,
    pub project_name: String,
    pub user_id: Option<Uuid>,
    pub email: Option<String>,
    pub role: String,
    pub invited_at: DateTimeWithTimeZone,
    pub inviter_id: Option<Uuid>,
    pub inviter_name: Option<String>,
    pub inviter_avatar_url: Option<String>,
    pub inviter_created_at: Option<DateTimeWithTimeZone>,
    pub inviter_updated_at: Option<DateTimeWithTimeZone>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
