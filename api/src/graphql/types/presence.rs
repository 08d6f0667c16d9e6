//! Presence.

use async_graphql::{Context, ID, Object};
use futures::future::try_join_all;

use super::profile::User;
use crate::graphql::context::Caller;
use crate::graphql::loader::PresencesOf;
use crate::graphql::needing::without;
use crate::graphql::scalar::Time;
use crate::model::error::Result;
use crate::model::ids::ProjectId;
use crate::model::node_id::NodeId;
use crate::model::presence::Person;

/// A user who subscribes to a project now, on any server, in one or several windows.
pub struct Presence {
    pub project: ProjectId,
    pub person: Person,
}

/// A user who subscribes to a project now, on any server, in one or several windows.
#[Object]
impl Presence {
    /// The globally unique id of this presence, for `node` while it lasts.
    pub(super) async fn id(&self) -> ID {
        NodeId::Presence(self.project, self.person.user_id).to_string().into()
    }

    /// The user who is subscribed.
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.person.user_id).await
    }

    /// When the user's presence began. Overlapping connections count as one.
    async fn joined_at(&self) -> Time {
        Time(self.person.since)
    }
}

impl Presence {
    /// The users who subscribe to a project now, in order of arrival.
    pub async fn of(caller: &Caller, project: ProjectId) -> Result<Vec<Self>> {
        let presences = caller.load(PresencesOf(project)).await?.unwrap_or_default();
        let people = caller.live.present(project, &presences);
        // Leaves out a user who was removed in the meantime.
        let known = try_join_all(people.iter().map(|person| caller.load(without(person.user_id)))).await?;
        let found = people.into_iter().zip(known);
        Ok(found.filter_map(|(person, known)| known.map(|_| Self { project, person })).collect())
    }
}
