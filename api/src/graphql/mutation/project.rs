//! Projects.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use crate::domain::project;
use crate::graphql::context::caller;
use crate::graphql::enums::ProjectStatus;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::needing::selected;
use crate::graphql::scalar::Json;
use crate::graphql::types::project::Project;
use crate::model::error::Result;
use crate::model::ids::ProjectId;
use crate::model::project::{self as model, NewProject, ProjectChanges};

#[derive(Default)]
pub struct ProjectMutation;

/// Properties of a new project.
#[derive(InputObject)]
struct CreateProjectInput {
    /// The displayed name; not empty.
    name: String,
    /// The purpose of the project.
    description: Option<String>,
    /// The prompt that the project starts with.
    initial_prompt: String,
    /// The voice agent's configuration. The client decides its structure.
    config: Json,
}

/// Changes of a project.
#[derive(InputObject)]
struct UpdateProjectInput {
    /// The project to change.
    id: ID,
    /// The displayed name; not empty. Null or absent: unchanged.
    name: Option<String>,
    /// The purpose of the project. Null removes it. Absent: unchanged.
    description: MaybeUndefined<String>,
    /// The prompt that the project started with. Null or absent: unchanged.
    initial_prompt: Option<String>,
    /// The complete configuration of the voice agent. Null or absent: unchanged.
    config: Option<Json>,
    /// Whether it is in use. Only the owner can set it to DELETED, or from DELETED to another status. Null or
    /// absent: unchanged.
    status: Option<ProjectStatus>,
}

/// Result of a write to a project.
#[derive(SimpleObject)]
pub(super) struct ProjectPayload {
    /// The project after the write.
    project: Project,
    /// The new revision, or the present one if nothing changed.
    revision: i32,
}

impl From<model::Project> for ProjectPayload {
    fn from(project: model::Project) -> Self {
        Self { revision: project.revision, project: Project(project) }
    }
}

#[Object]
impl ProjectMutation {
    /// Creates a project that the caller owns.
    async fn create_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new project.")] input: CreateProjectInput,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let new = NewProject {
                name: input.name,
                description: input.description,
                initial_prompt: input.initial_prompt,
                config: input.config.0,
            };
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| project::create(writer, new));
            Ok(done.await?.into())
        })
        .await
    }

    /// Changes a project's own fields.
    async fn update_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project and the fields to change.")] input: UpdateProjectInput,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let id = ProjectId::parse(&input.id, "id")?;
            let changes = ProjectChanges {
                name: input.name,
                description: match input.description {
                    MaybeUndefined::Undefined => None,
                    MaybeUndefined::Null => Some(None),
                    MaybeUndefined::Value(description) => Some(Some(description)),
                },
                initial_prompt: input.initial_prompt,
                config: input.config.map(|json| json.0),
                status: input.status.map(Into::into),
            };
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| project::update(writer, id, changes));
            Ok(done.await?.into())
        })
        .await
    }

    /// Sets lastAccessedAt, without a revision.
    async fn touch_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project that was opened.")] id: ID,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let id = ProjectId::parse(&id, "id")?;
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| project::touch(writer, id));
            Ok(done.await?.into())
        })
        .await
    }

    /// Sets status DELETED; updateProject can restore the project.
    async fn delete_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to delete.")] id: ID,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let id = ProjectId::parse(&id, "id")?;
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| project::delete(writer, id));
            Ok(done.await?.into())
        })
        .await
    }
}

/// The project of a payload, read back only if the operation selects it.
pub(super) async fn project_of(ctx: &Context<'_>, id: ProjectId) -> Result<Option<Project>> {
    let project = ctx.look_ahead().field("project");
    if !project.exists() {
        return Ok(None);
    }
    Ok(caller(ctx)?.load(selected(&project, id)).await?.map(Project))
}
