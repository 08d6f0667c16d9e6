//! The caller.

use async_graphql::{Context, Object};

use crate::domain::profile;
use crate::graphql::context::caller;
use crate::graphql::needing::needing;
use crate::graphql::types::profile::User;
use crate::model::error::Result;

#[derive(Default)]
pub struct ProfileQuery;

#[Object]
impl ProfileQuery {
    /// The caller.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<User> {
        let caller = caller(ctx)?;
        let profile = caller.load(needing(ctx, caller.actor.user_id)).await?;
        Ok(User(profile.unwrap_or_else(|| profile::of_claims(&caller.services, &caller.actor))))
    }
}
