//! Projects.

use std::sync::Arc;

use super::{Services, Tx, check_json, check_name, check_optional_text, check_text, policy, write};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::ids::ProjectId;
use crate::model::names::{EventKind, ProjectRole, ProjectStatus};
use crate::model::project::{NewProject, Project, ProjectChanges};
use crate::storage::event;
use crate::storage::project::{self, Counts};
pub use crate::storage::project::{Locked, Target, activity_summary, as_of, by_ids, count, page, stats};

/// Begins a write to a project: takes its next revision, and checks that the actor may write there. `field` is the
/// argument that names the project, `noun` what it names.
pub(super) async fn lock(
    tx: &Tx,
    target: Target,
    counts: Counts,
    (noun, field): (&'static str, &'static str),
) -> Result<Locked> {
    lock_for(tx, target, counts, (noun, field), policy::may_write).await
}

/// The same, of a write that `may` be made by others than those who write.
pub(super) async fn lock_for(
    tx: &Tx,
    target: Target,
    counts: Counts,
    (noun, field): (&'static str, &'static str),
    may: impl FnOnce(ProjectRole) -> Result<()>,
) -> Result<Locked> {
    let locked = lock_any(tx, target, counts, (noun, field), may).await?;
    if locked.status == ProjectStatus::Deleted {
        return Err(deleted(field));
    }
    Ok(locked)
}

/// The same, also of a deleted project.
async fn lock_any(
    tx: &Tx,
    target: Target,
    counts: Counts,
    (noun, field): (&'static str, &'static str),
    may: impl FnOnce(ProjectRole) -> Result<()>,
) -> Result<Locked> {
    let Some(locked) = project::lock(tx, target, counts, clock::now()).await? else {
        if let Some(role) = project::role_in(tx, target).await? {
            may(role)?;
        }
        return Err(Error::not_found(noun, field));
    };
    may(locked.role)?;
    Ok(locked)
}

pub(super) fn deleted(field: &'static str) -> Error {
    Error::conflict(field, "The project is deleted; `updateProject` with status ACTIVE brings it back.")
}

/// The event of a locked revision.
pub(super) fn event_of(actor: &Actor, locked: &Locked, kind: EventKind) -> Event {
    Event {
        project_id: locked.id,
        revision: locked.revision,
        kind,
        created_at: locked.at,
        actor_id: Some(actor.user_id),
        session_id: None,
        message_id: None,
    }
}

/// Checks a guard on the project's revision.
pub(super) fn check_expected(locked: &Locked, expected: Option<i32>) -> Result<()> {
    let current = locked.revision - 1;
    match expected {
        Some(expected) if expected != current => Err(Error::Conflict(Box::new(crate::model::error::Conflict {
            message: format!("The project is at revision {current}, not {expected}."),
            field: Some("expectedRevision"),
            current_revision: Some(current),
            ..Default::default()
        }))),
        _ => Ok(()),
    }
}

/// Reads back a project that the transaction has locked.
pub(super) async fn read_back(tx: &Tx, id: ProjectId) -> Result<Project> {
    by_ids(tx, &[id]).await?.into_iter().next().ok_or_else(|| Error::internal("a locked project cannot be read"))
}

/// Makes a project.
///
/// # Errors
/// `BadInput` for an empty name, `PayloadTooLarge` for a value over the limit.
pub async fn create(services: &Arc<Services>, actor: &Actor, new: NewProject) -> Result<Project> {
    let limits = &services.limits;
    check_name(limits, "name", &new.name)?;
    check_optional_text(limits, "description", new.description.as_ref())?;
    check_text(limits, "initialPrompt", &new.initial_prompt)?;
    check_json(limits, "config", Some(&new.config))?;
    let owner = actor.clone();
    write(services, actor, move |tx| {
        Box::pin(async move {
            let now = clock::now();
            let project = project::insert(tx, ProjectId(clock::new_id()), new, now).await?;
            let created = Event {
                project_id: project.id,
                revision: project.revision,
                kind: EventKind::ProjectCreated,
                created_at: now,
                actor_id: Some(owner.user_id),
                session_id: None,
                message_id: None,
            };
            event::append(tx, &created, None).await?;
            Ok(project)
        })
    })
    .await
}

/// Changes a project's own fields. Where nothing differs, nothing is written.
///
/// # Errors
/// `NotFound`; `Forbidden` for viewers, and for anyone but the owner where the status changes from or to deleted;
/// `BadInput` for an empty name; `Conflict` for a deleted project that stays so.
pub async fn update(
    services: &Arc<Services>,
    actor: &Actor,
    id: ProjectId,
    changes: ProjectChanges,
) -> Result<Project> {
    let limits = &services.limits;
    if let Some(name) = &changes.name {
        check_name(limits, "name", name)?;
    }
    check_optional_text(limits, "description", changes.description.as_ref().and_then(Option::as_ref))?;
    check_optional_text(limits, "initialPrompt", changes.initial_prompt.as_ref())?;
    check_json(limits, "config", changes.config.as_ref())?;
    change(services, actor, id, changes, "id").await
}

/// Marks a project as deleted. A project that is deleted already stays as it is.
///
/// # Errors
/// `NotFound`; `Forbidden` for anyone but the owner.
pub async fn delete(services: &Arc<Services>, actor: &Actor, id: ProjectId) -> Result<Project> {
    let changes = ProjectChanges { status: Some(ProjectStatus::Deleted), ..ProjectChanges::default() };
    change(services, actor, id, changes, "id").await
}

async fn change(
    services: &Arc<Services>,
    actor: &Actor,
    id: ProjectId,
    changes: ProjectChanges,
    field: &'static str,
) -> Result<Project> {
    let writer = actor.clone();
    let changed = write(services, actor, move |tx| {
        Box::pin(async move {
            let locked =
                lock_any(tx, Target::Project(id), Counts::default(), ("project", field), policy::may_write).await?;
            let status = changes.status.unwrap_or(locked.status);
            if locked.status == ProjectStatus::Deleted || status == ProjectStatus::Deleted {
                policy::may_delete_project(locked.role)?;
            }
            let present = read_back(tx, id).await?;
            let same = changes.name.as_ref().is_none_or(|name| *name == present.name)
                && changes.description.as_ref().is_none_or(|description| *description == present.description)
                && changes.initial_prompt.as_ref().is_none_or(|prompt| *prompt == present.initial_prompt)
                && changes.config.as_ref().is_none_or(|config| *config == present.config)
                && status == present.status;
            if same {
                tx.abandon();
                return Ok(None);
            }
            if locked.status == ProjectStatus::Deleted && status == ProjectStatus::Deleted {
                return Err(deleted(field));
            }
            project::supersede(tx, id, locked.revision).await?;
            project::update(tx, id, changes, locked.at).await?;
            event::append(tx, &event_of(&writer, &locked, EventKind::ProjectUpdated), None).await?;
            read_back(tx, id).await.map(Some)
        })
    })
    .await?;
    match changed {
        Some(project) => Ok(project),
        None => read_back(&services.read(actor).await?, id).await,
    }
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
pub async fn touch(services: &Arc<Services>, actor: &Actor, id: ProjectId) -> Result<Project> {
    write(services, actor, move |tx| {
        Box::pin(async move {
            project::touch(tx, id, clock::now()).await?;
            let project = read_back(tx, id).await?;
            if project.status == ProjectStatus::Deleted { Err(deleted("id")) } else { Ok(project) }
        })
    })
    .await
}
