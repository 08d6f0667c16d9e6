//! Projects and what goes on in them.

use async_graphql::{Context, ID, Object};

use crate::domain::{access, chat, project};
use crate::graphql::context::caller;
use crate::graphql::error::or_null;
use crate::graphql::names::{OrderDirection, ProjectOrderField};
use crate::graphql::page::{Page, Total, connection, int, weigh};
use crate::graphql::scalar::Time;
use crate::graphql::types::chat::ChatActivity;
use crate::graphql::types::project::{ActivitySummary, MomentInput, Project, ProjectFilter, ProjectOrder};
use crate::model::error::Result;
use crate::model::ids::ProjectId;
use crate::model::page::{self, Page as PageArguments};
use crate::model::project as model;

#[derive(Default)]
pub struct ProjectQuery;

fn newest_first() -> ProjectOrder {
    ProjectOrder { field: ProjectOrderField::UpdatedAt, direction: OrderDirection::Desc }
}

#[Object]
impl ProjectQuery {
    /// A project that the caller owns or shares; null for any other. With `at`, everything in it is as it was at that
    /// moment: sessions, messages, files, changes, snapshots, log, totals, and its own fields (name, configuration …). Who is in
    /// it, and when it was last opened, are always the present ones.
    async fn project(&self, ctx: &Context<'_>, id: ID, at: Option<MomentInput>) -> Option<Result<Project>> {
        or_null(async {
            let caller = caller(ctx)?;
            let id = ProjectId::parse(&id, "id")?;
            let Some(at) = at else { return Ok(Project::find(caller, &ctx.look_ahead(), id).await?.map(Project)) };
            let Some(row) = caller.load(id).await? else { return Ok(None) };
            let as_of = at.resolve(caller, id).await?;
            let tx = caller.reader.tx().await?;
            let Some(member) = access::member(&tx, id).await? else { return Ok(None) };
            Ok(Some(Project(project::as_of(&tx, member, row, as_of).await?)))
        })
        .await
    }

    /// The caller's own projects and those shared with them (`project_overview`); never the deleted ones unless asked for.
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn projects(
        &self,
        ctx: &Context<'_>,
        filter: Option<ProjectFilter>,
        #[graphql(default_with = "Some(newest_first())")] order_by: Option<ProjectOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<Project>> {
        let page = PageArguments::parse(first, after, last, before, page::LIST)?;
        let keep = filter.map(model::ProjectFilter::try_from).transpose()?.unwrap_or_default();
        let order = order_by.unwrap_or_else(newest_first);
        let descending = order.direction == OrderDirection::Desc;
        let tx = caller(ctx)?.reader.tx().await?;
        let slice = project::page(&tx, &keep, order.field.into(), descending, &page).await?;
        Ok(connection(slice, Total::Projects(keep), Project))
    }

    /// The newest messages of the caller's active projects (`recent_chat_activity`), or of one of them.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn recent_activity(
        &self,
        ctx: &Context<'_>,
        project_id: Option<ID>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<ChatActivity>> {
        let page = PageArguments::parse(first, after, last, before, page::LIST)?;
        let project = project_id.map(|id| ProjectId::parse(&id, "projectId")).transpose()?;
        let slice = chat::recent(&*caller(ctx)?.reader.tx().await?, project, &page).await?;
        Ok(connection(slice, Total::Recent(project), ChatActivity))
    }

    /// The sums over the caller's own projects (`user_activity_summary`).
    async fn activity_summary(&self, ctx: &Context<'_>) -> Result<ActivitySummary> {
        let summary = project::activity_summary(&*caller(ctx)?.reader.tx().await?).await?;
        Ok(ActivitySummary {
            total_projects: int(summary.projects),
            total_sessions: int(summary.sessions),
            total_messages: int(summary.messages),
            total_files: int(summary.files),
            total_changes: int(summary.changes),
            last_activity_at: summary.last_activity_at.map(Time),
        })
    }
}
