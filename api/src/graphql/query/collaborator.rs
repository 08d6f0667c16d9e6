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
    /// The invitations that the caller has not answered, newest first: those to them, and those to the e-mail address that
    /// their token says is verified (`email_verified`).
    async fn invitations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Attempt<Page<Invitation>> {
        attempt(async {
            let page = PageArguments::parse(first, after, last, before, page::LIST)?;
            let slice = collaborator::invitations(&*caller(ctx)?.reader.tx().await?, &page).await?;
            Ok(connection(slice, Total::Invitations, Invitation))
        })
        .await
    }
}
