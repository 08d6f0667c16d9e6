//! What the caller was asked.

use async_graphql::{Context, Object};

use crate::domain::collaborator;
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::page::{Page, Total, connection};
use crate::graphql::types::collaborator::Invitation;
use crate::model::page::{self, Page as PageArguments};

#[derive(Default)]
pub struct CollaboratorQuery;

#[Object]
impl CollaboratorQuery {
    /// The invitations that the caller has not answered, newest first: those to the caller, and those to the e-mail
    /// address that the caller's token says is verified (`email_verified`).
    async fn invitations(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "So many rows from the start of the list: 20 if neither `first` nor `last` is given, at most 100."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "So many rows from the end of the list, in place of `first`: at most 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Attempt<Page<Invitation>> {
        attempt(async {
            let page = PageArguments::parse(first, after, last, before, page::LIST)?;
            let caller = caller(ctx)?;
            let slice = collaborator::invitations(&*caller.reader.tx().await?, &page).await?;
            Ok(connection(slice, Total::Invitations, |row| Invitation(row, caller.actor.user_id)))
        })
        .await
    }
}
