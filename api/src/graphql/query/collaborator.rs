//! The caller's invitations.

use async_graphql::{Context, Object};

use crate::domain::collaborator;
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::page::{Page, Total, connection};
use crate::graphql::types::collaborator::Invitation;
use crate::model::page::{List, Page as PageArguments};

#[derive(Default)]
pub struct CollaboratorQuery;

#[Object]
impl CollaboratorQuery {
    /// The caller's open invitations, newest first: invitations of the user, and of the e-mail address that the
    /// caller's token shows as verified (`email_verified`).
    async fn invitations(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Attempt<Page<Invitation>> {
        attempt(async {
            let page = PageArguments::parse(first, after, last, before, List::INVITATIONS)?;
            let caller = caller(ctx)?;
            let slice = collaborator::invitations(&*caller.reader.tx().await?, &page).await?;
            let invitation = |row| Invitation(row, caller.actor.user_id);
            Ok(connection(List::INVITATIONS, slice, Total::Invitations, invitation))
        })
        .await
    }
}
