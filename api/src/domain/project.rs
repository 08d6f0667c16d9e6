//! Projects.

use super::write::project_is_deleted;
use super::{Tx, Writer, check_json, check_name, check_optional_text, check_text, policy};
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::ids::ProjectId;
use crate::model::names::{EventKind, ProjectStatus};
use crate::model::project::{NewProject, Project, ProjectChanges};
use crate::storage::project;
pub use crate::storage::project::{activity_summary, by_ids, count, page, stats};
use crate::storage::revision::Named;
pub use crate::storage::revision::{Locked, Target};

/// Reads back a project that the transaction has locked.
pub(super) async fn read_back(tx: &Tx, id: ProjectId) -> Result<Project> {
    by_ids(tx, &[id]).await?.into_iter().next().ok_or_else(|| Error::internal("a locked project cannot be read"))
}

/// Makes a project.
///
/// # Errors
/// `BadInput` for an empty name, `PayloadTooLarge` for a value over the limit.
pub async fn create(writer: Writer, new: NewProject) -> Result<Project> {
    let limits = writer.limits();
    check_name(limits, "name", &new.name)?;
    check_optional_text(limits, "description", new.description.as_ref())?;
    check_text(limits, "initialPrompt", &new.initial_prompt)?;
    check_json(limits, "config", Some(&new.config))?;
    writer.create(new).await
}

/// Changes a project's own fields. Where nothing differs, nothing is written.
///
/// # Errors
/// `NotFound`; `Forbidden` for viewers, and for anyone but the owner where the status changes from or to deleted;
/// `BadInput` for an empty name; `Conflict` for a deleted project that stays so.
pub async fn update(writer: Writer, id: ProjectId, changes: ProjectChanges) -> Result<Project> {
    let limits = writer.limits();
    if let Some(name) = &changes.name {
        check_name(limits, "name", name)?;
    }
    check_optional_text(limits, "description", changes.description.as_ref().and_then(Option::as_ref))?;
    check_optional_text(limits, "initialPrompt", changes.initial_prompt.as_ref())?;
    check_json(limits, "config", changes.config.as_ref())?;
    change(writer, id, changes).await
}

/// Marks a project as deleted. A project that is deleted already stays as it is.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner.
pub async fn delete(writer: Writer, id: ProjectId) -> Result<Project> {
    let changes = ProjectChanges { status: Some(ProjectStatus::Deleted), ..ProjectChanges::default() };
    change(writer, id, changes).await
}

async fn change(writer: Writer, id: ProjectId, changes: ProjectChanges) -> Result<Project> {
    let noun = ("project", "id");
    let write = writer.begin_also_deleted(Target::Project(id), Named::default(), noun, policy::may_write).await?;
    let Locked { revision, status: present_status, at, role, .. } = write.locked;
    let status = changes.status.unwrap_or(present_status);
    if present_status == ProjectStatus::Deleted || status == ProjectStatus::Deleted {
        policy::may_delete_project(role)?;
    }
    let present = read_back(&write.tx, id).await?;
    let same = changes.name.as_ref().is_none_or(|name| *name == present.name)
        && changes.description.as_ref().is_none_or(|description| *description == present.description)
        && changes.initial_prompt.as_ref().is_none_or(|prompt| *prompt == present.initial_prompt)
        && changes.config.as_ref().is_none_or(|config| *config == present.config)
        && status == present.status;
    if same {
        write.unchanged(()).await?;
        return read_back(&writer.read().await?, id).await;
    }
    if present_status == ProjectStatus::Deleted && status == ProjectStatus::Deleted {
        return Err(project_is_deleted(noun.1));
    }
    project::supersede(&write.tx, id, revision).await?;
    project::update(&write.tx, id, changes, at).await?;
    let closed = write.close(EventKind::ProjectUpdated).await?;
    let project = read_back(&closed.tx, id).await?;
    closed.commit(project).await
}

/// Takes back, in a write under way, what a revision changed of a project's own fields, where nobody has changed them since.
pub(super) async fn undo(tx: &Tx, locked: &Locked, revision: i32) -> Result<()> {
    let present = read_back(tx, locked.id).await?;
    let Some((before, after)) = project::changed_at(tx, &present, revision).await? else {
        return Err(Error::bad_input("revision", format!("What revision {revision} changed was not kept.")));
    };
    let changes = ProjectChanges {
        name: (before.name != after.name).then_some(before.name),
        description: (before.description != after.description).then_some(before.description),
        initial_prompt: (before.initial_prompt != after.initial_prompt).then_some(before.initial_prompt),
        config: (before.config != after.config).then_some(before.config),
        status: (before.status != after.status).then_some(before.status),
    };
    let overlaps: Vec<&str> = [
        ("name", changes.name.is_some() && after.name != present.name),
        ("description", changes.description.is_some() && after.description != present.description),
        ("initialPrompt", changes.initial_prompt.is_some() && after.initial_prompt != present.initial_prompt),
        ("config", changes.config.is_some() && after.config != present.config),
        ("status", changes.status.is_some() && after.status != present.status),
    ]
    .into_iter()
    .filter_map(|(field, is_changed)| is_changed.then_some(field))
    .collect();
    if !overlaps.is_empty() {
        let message = format!("What revision {revision} changed has been changed since: {}.", overlaps.join(", "));
        return Err(Error::conflict("revision", message));
    }
    if changes.status == Some(ProjectStatus::Deleted) {
        policy::may_delete_project(locked.role)?;
    }
    project::supersede(tx, locked.id, locked.revision).await?;
    project::update(tx, locked.id, changes, locked.at).await
}

/// Notes that the actor opened a project; no revision.
///
/// # Errors
/// `NotFound`; `Conflict` for a deleted project.
pub async fn touch(writer: Writer, id: ProjectId) -> Result<Project> {
    let tx = writer.open().await?;
    project::touch(&tx, id, clock::now()).await?;
    let project = read_back(&tx, id).await?;
    if project.status == ProjectStatus::Deleted {
        return Err(project_is_deleted("id"));
    }
    tx.commit().await?;
    Ok(project)
}
