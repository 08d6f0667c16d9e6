//! The caller.

use async_graphql::{Context, Object};

use crate::graphql::context::caller;
use crate::graphql::types::profile::User;
use crate::model::error::{Error, Result};

#[derive(Default)]
pub struct ProfileQuery;

#[Object]
impl ProfileQuery {
    /// The caller.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<User> {
        let caller = caller(ctx)?;
        let profile = caller.load(caller.actor.user_id).await?;
        profile.map(User).ok_or_else(|| Error::Internal("a signed-in user has no profile".to_owned()))
    }
}
