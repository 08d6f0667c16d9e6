//! Projects and their activity.

use async_graphql::{Context, ID, Object};

use crate::domain::{chat, project};
use crate::graphql::context::caller;
use crate::graphql::enums::{OrderDirection, ProjectOrderField};
use crate::graphql::error::{Attempt, attempt, or_null};
use crate::graphql::loader::{MomentOf, Past};
use crate::graphql::long_columns::of_rows;
use crate::graphql::needing::{needing, without};
use crate::graphql::page::{Page, Total, connection, int, weigh};
use crate::graphql::scalar::Time;
use crate::graphql::types::chat::ChatActivity;
use crate::graphql::types::project::Project;
use crate::graphql::types::project_input::{MomentInput, ProjectFilter, ProjectOrder};
use crate::graphql::types::project_stats::ActivitySummary;
use crate::model::error::{Error, Result};
use crate::model::event::Moment;
use crate::model::ids::{ProjectId, ReadId};
use crate::model::page::{self, List, Page as PageArguments, Slice};
use crate::model::project as model;

#[derive(Default)]
pub struct ProjectQuery;

fn newest_first() -> ProjectOrder {
    ProjectOrder { field: ProjectOrderField::UpdatedAt, direction: OrderDirection::Desc }
}

#[Object]
impl ProjectQuery {
    /// A project that the caller owns or shares; null for any other. With `at`, everything in it is as of that moment:
    /// sessions, messages, files, changes, snapshots, log, totals, and its own fields. Its members, and when it was
    /// last opened, are always the present ones. Objects as of a moment have ids of their own, `<uuid>@<revision>`.
    /// Arguments for reading accept such ids, arguments for writing refuse them. `present` returns the object as it is
    /// now.
    async fn project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project's id. `<uuid>@<revision>` reads it as of that revision, instead of `at`.")]
        id: ID,
        #[graphql(desc = "The moment to read as of; by default the present.")] at: Option<MomentInput>,
    ) -> Option<Result<Project>> {
        or_null(async {
            let caller = caller(ctx)?;
            let at = match (ReadId::parse(&id, "id")?, at) {
                (ReadId { id, at: None }, None) => {
                    return Ok(Project::find(caller, &ctx.look_ahead(), id).await?.map(Project));
                }
                (ReadId { id, at: Some(at) }, None) => Past(id, at),
                (ReadId { id, at: None }, Some(at)) => {
                    if caller.load(without(id)).await?.is_none() {
                        return Ok(None);
                    }
                    Past(id, at.resolve(caller, id).await?.revision)
                }
                (ReadId { at: Some(_), .. }, Some(_)) => {
                    return Err(Error::bad_input(
                        "at",
                        "The id already contains a revision: leave out one of the two.",
                    ));
                }
            };
            Ok(caller.load(needing(ctx, at)).await?.map(Project))
        })
        .await
    }

    /// The caller's own projects and those shared with the caller. Deleted projects are listed only if `filter.status`
    /// includes them.
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn projects(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which projects to list.")] filter: Option<ProjectFilter>,
        #[graphql(
            default_with = "Some(newest_first())",
            desc = "How to sort: by default, projects whose own fields changed last come first."
        )]
        order_by: Option<ProjectOrder>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<Project>> {
        let order = order_by.unwrap_or_else(newest_first);
        let descending = order.direction == OrderDirection::Desc;
        let list = List::projects(descending);
        let page =
            PageArguments::parse(first, after, last, before, list)?.needing(of_rows(&ctx.look_ahead(), "Project"));
        let keep = filter.map(model::ProjectFilter::try_from).transpose()?.unwrap_or_default();
        let tx = caller(ctx)?.reader.tx().await?;
        let slice = project::page(&tx, &keep, order.field.into(), descending, &page).await?;
        Ok(connection(list, slice, Total::Projects(keep), Project))
    }

    /// The newest messages of the caller's active projects, newest first. Hidden messages are left out.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn recent_activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only messages of this project.")] project_id: Option<ID>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Attempt<Page<ChatActivity>> {
        attempt(async {
            let page = PageArguments::parse(first, after, last, before, List::RECENT_ACTIVITY)?;
            let page = page.needing(of_rows(&ctx.look_ahead(), "ChatActivity"));
            let caller = caller(ctx)?;
            let project = project_id.map(|id| ReadId::<ProjectId>::parse(&id, "projectId")).transpose()?;
            if let Some(ReadId { id, at: Some(at) }) = project
                && caller.load(MomentOf(id, Moment::Revision(at))).await?.is_none()
            {
                let (list, none) = (List::RECENT_ACTIVITY, Slice::empty(&page));
                return Ok(connection(list, none, Total::Known(0), |row| ChatActivity(row, Some(at))));
            }
            let slice = chat::recent(&*caller.reader.tx().await?, project, &page).await?;
            let at = project.and_then(|project| project.at);
            Ok(connection(List::RECENT_ACTIVITY, slice, Total::Recent(project), |row| ChatActivity(row, at)))
        })
        .await
    }

    /// The totals of the caller's own projects that are not deleted.
    async fn activity_summary(&self, ctx: &Context<'_>) -> Attempt<ActivitySummary> {
        attempt(async {
            let summary = project::activity_summary(&*caller(ctx)?.reader.tx().await?).await?;
            Ok(ActivitySummary {
                total_projects: int(summary.projects),
                total_sessions: int(summary.sessions),
                total_messages: int(summary.messages),
                total_files: int(summary.files),
                total_changes: int(summary.changes),
                last_activity_at: summary.last_activity_at.map(Time),
            })
        })
        .await
    }
}
