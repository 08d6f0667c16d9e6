//! Who is here.

use async_graphql::{Context, Object};

use super::profile::User;
use crate::graphql::scalar::Time;
use crate::model::error::Result;
use crate::model::presence::Person;

/// Somebody who listens to a project now, at whichever server, in one window or several.
pub struct PersonHere(pub Person);

#[Object]
impl PersonHere {
    /// Who.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.user_id).await
    }

    /// Since when, without a break.
    async fn since(&self) -> Time {
        Time(self.0.since)
    }
}
