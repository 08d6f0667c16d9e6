//! Projects.

use super::write::{Noun, project_is_deleted};
use super::{Tx, Writer, check_json, check_name, check_optional_text, check_text, policy};
use crate::model::clock;
use crate::model::enums::{EventKind, ProjectStatus};
use crate::model::error::{Error, Result};
use crate::model::ids::ProjectId;
use crate::model::project::{NewProject, Project, ProjectChanges};
use crate::storage::project;
pub use crate::storage::project::{activity_summary, by_ids, count, page, stats};
use crate::storage::revision::Named;
pub use crate::storage::revision::{Locked, Target};

/// Reads back a project that the transaction has locked.
pub(super) async fn read_back(tx: &Tx, id: ProjectId) -> Result<Project> {
    by_ids(tx, &[id]).await?.into_iter().next().ok_or_else(|| Error::internal("a locked project cannot be read"))
}

/// Reads a project that nothing locks: the actor can have lost the membership after an earlier statement.
pub(super) async fn read_unlocked(tx: &Tx, id: ProjectId, (noun, field): Noun) -> Result<Project> {
    by_ids(tx, &[id]).await?.into_iter().next().ok_or_else(|| Error::not_found(noun, field))
}

/// Creates a project.
///
/// # Errors
/// `Forbidden` for machines, `BadInput` for an empty name, `PayloadTooLarge` for a value over the limit.
pub async fn create(writer: Writer, new: NewProject) -> Result<Project> {
    check_new(&writer, &new)?;
    writer.create(new).await
}

/// Creates a project; `None` if the actor owns one of this name. Of several calls at once, one creates it.
///
/// # Errors
/// As for [`create`].
pub async fn create_if_missing(writer: Writer, new: NewProject) -> Result<Option<Project>> {
    check_new(&writer, &new)?;
    writer.create_if_missing(new).await
}

fn check_new(writer: &Writer, new: &NewProject) -> Result<()> {
    policy::may_act_outside_projects(&writer.actor)?;
    let limits = writer.limits();
    check_name(limits, "name", &new.name)?;
    check_optional_text(limits, "description", new.description.as_ref())?;
    check_text(limits, "initialPrompt", &new.initial_prompt)?;
    check_json(limits, "config", Some(&new.config))
}

/// Changes a project's fields. Writes nothing if nothing differs.
///
/// # Errors
/// `NotFound`; `Forbidden` for viewers, and unless the actor is the owner if the status changes from or to deleted;
/// `BadInput` for an empty name; `Conflict` for a deleted project that stays deleted.
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

/// Marks a project as deleted. Does nothing if it is.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the owner.
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
        && changes
            .description
            .as_ref()
            .is_none_or(|description| description.as_deref() == present.description.as_deref())
        && changes.initial_prompt.as_ref().is_none_or(|prompt| **prompt == *present.initial_prompt)
        && changes.config.as_ref().is_none_or(|config| *config == present.config)
        && status == present.status;
    if same {
        write.unchanged(()).await?;
        return read_unlocked(&writer.read().await?, id, noun).await;
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

/// The changes that undo what a revision changed in a project's fields; `None` if none of these fields differs from its
/// value before. A step back neither deletes a project that was restored, nor restores it again.
///
/// # Errors
/// `Conflict` if fields have changed since, `Forbidden` if the actor must not delete the project.
pub(super) async fn taking_back(
    tx: &Tx,
    locked: &Locked,
    revision: i32,
    is_step: bool,
) -> Result<Option<ProjectChanges>> {
    let present = read_back(tx, locked.id).await?;
    let Some((before, after)) = project::changed_at(tx, &present, revision).await? else {
        let message = format!("The fields before revision {revision} are not stored.");
        return if is_step { Ok(None) } else { Err(Error::bad_input("revision", message)) };
    };
    if is_step && before.status == ProjectStatus::Deleted && after.status != ProjectStatus::Deleted {
        return Ok(None);
    }
    /// The value to restore; `None` if the field already has it.
    fn back<T: PartialEq>(before: T, after: &T, present: &T) -> Option<T> {
        (before != *after && before != *present).then_some(before)
    }
    let was_restored = after.status == ProjectStatus::Deleted && present.status != ProjectStatus::Deleted;
    let changes = ProjectChanges {
        name: back(before.name, &after.name, &present.name),
        description: back(before.description, &after.description, &present.description)
            .map(|description| description.as_deref().map(str::to_owned)),
        initial_prompt: back(before.initial_prompt, &after.initial_prompt, &present.initial_prompt)
            .as_deref()
            .map(str::to_owned),
        config: back(before.config, &after.config, &present.config),
        status: back(before.status, &after.status, &present.status).filter(|_| !is_step || !was_restored),
    };
    if changes == ProjectChanges::default() {
        return Ok(None);
    }
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
        let message = format!("Fields of revision {revision} have been changed since: {}.", overlaps.join(", "));
        return Err(Error::conflict("revision", message));
    }
    if changes.status == Some(ProjectStatus::Deleted) {
        policy::may_delete_project(locked.role)?;
    }
    Ok(Some(changes))
}

/// Changes, within an undo, a project's fields.
pub(super) async fn take_back(tx: &Tx, locked: &Locked, changes: ProjectChanges) -> Result<()> {
    project::supersede(tx, locked.id, locked.revision).await?;
    project::update(tx, locked.id, changes, locked.at).await
}

/// Records that the actor opened a project; not a revision.
///
/// # Errors
/// `NotFound`; `Conflict` for a deleted project.
pub async fn touch(writer: Writer, id: ProjectId) -> Result<Project> {
    let tx = writer.open().await?;
    project::touch(&tx, id, clock::now()).await?;
    let project = read_unlocked(&tx, id, ("project", "id")).await?;
    if project.status == ProjectStatus::Deleted {
        return Err(project_is_deleted("id"));
    }
    writer.check_horizon(project.revision)?;
    tx.commit().await?;
    Ok(project)
}
