//! Projects.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, SimpleObject};

use crate::domain::project;
use crate::graphql::context::caller;
use crate::graphql::enums::ProjectStatus;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::scalar::Json;
use crate::graphql::types::project::Project;
use crate::model::ids::ProjectId;
use crate::model::project::{self as model, NewProject, ProjectChanges};

#[derive(Default)]
pub struct ProjectMutation;

/// What a new project is made of.
#[derive(InputObject)]
struct CreateProjectInput {
    /// What people call the project; not empty.
    name: String,
    /// What the project is for.
    description: Option<String>,
    /// The prompt that the project begins with.
    initial_prompt: String,
    /// The voice agent's configuration. The client decides its shape.
    config: Json,
}

/// What changes of a project; what is left out stays.
#[derive(InputObject)]
struct UpdateProjectInput {
    /// The project to change.
    id: ID,
    /// What people call the project; not empty.
    name: Option<String>,
    /// What the project is for. Null removes it.
    description: MaybeUndefined<String>,
    /// The prompt that the project began with.
    initial_prompt: Option<String>,
    /// The voice agent's configuration, whole.
    config: Option<Json>,
    /// Whether it is in use. Only its owner sets it to DELETED, or from DELETED to another status.
    status: Option<ProjectStatus>,
}

/// What a write to a project answers.
#[derive(SimpleObject)]
pub(super) struct ProjectPayload {
    /// The project after the write.
    project: Project,
    /// The revision that was made, or the present one if nothing changed.
    revision: i32,
}

impl From<model::Project> for ProjectPayload {
    fn from(project: model::Project) -> Self {
        Self { revision: project.revision, project: Project(project) }
    }
}

#[Object]
impl ProjectMutation {
    /// Makes a project that the caller owns.
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
            let done = caller.write(|writer| project::create(writer, new));
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
            let done = caller.write(|writer| project::update(writer, id, changes));
            Ok(done.await?.into())
        })
        .await
    }

    /// Sets lastAccessedAt; makes no revision.
    async fn touch_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project that was opened.")] id: ID,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let id = ProjectId::parse(&id, "id")?;
            let caller = caller(ctx)?;
            let done = caller.write(|writer| project::touch(writer, id));
            Ok(done.await?.into())
        })
        .await
    }

    /// Sets status DELETED; updateProject brings it back.
    async fn delete_project(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The project to delete.")] id: ID,
    ) -> Attempt<ProjectPayload> {
        attempt(async {
            let id = ProjectId::parse(&id, "id")?;
            let caller = caller(ctx)?;
            let done = caller.write(|writer| project::delete(writer, id));
            Ok(done.await?.into())
        })
        .await
    }
}
