//! Agent configurations. Every save is a revision and a version. At most one configuration of a project is active.

use super::project::{Locked, Target};
use super::write::Write;
use super::{Tx, Writer, check_json, check_name, check_optional_text, check_text};
use crate::model::agent_configuration::{AgentConfiguration, AgentSettings};
use crate::model::clock;
use crate::model::enums::EventKind;
use crate::model::error::{Conflict, Error, Result};
use crate::model::ids::{AgentConfigurationId, ProjectId};
use crate::model::limits::Limits;
use crate::storage::agent_configuration;
pub use crate::storage::agent_configuration::{by_ids, by_revisions, of_projects, versions_by_numbers, versions_page};

/// The next state of a configuration.
struct Next {
    settings: AgentSettings,
    is_active: bool,
    is_deleted: bool,
}

/// Checks the settings of a configuration: each part, and the total size.
fn check(limits: &Limits, settings: &AgentSettings) -> Result<()> {
    let mut bytes = 0;
    for (field, name) in settings.names() {
        check_name(limits, field, name)?;
        bytes += name.len();
    }
    check_optional_text(limits, "description", settings.description.as_ref())?;
    check_text(limits, "agentInstructions", &settings.agent_instructions)?;
    bytes +=
        settings.description.as_ref().map_or(0, |description| description.len()) + settings.agent_instructions.len();
    for (field, value) in settings.values() {
        check_json(limits, field, Some(value))?;
        bytes += value.as_str().len();
    }
    let max = limits.max_text_bytes;
    if bytes > max {
        let message = format!("The configuration has {bytes} bytes in total; --max-text-bytes allows {max}.");
        return Err(Error::PayloadTooLarge { field: None, message });
    }
    Ok(())
}

async fn check_room(tx: &Tx, limits: &Limits, project: ProjectId, field: &'static str) -> Result<()> {
    let count = agent_configuration::count(tx, project).await?;
    super::check_room(count, limits.max_agent_configurations, field, "configurations", "--max-agent-configurations")
}

fn missing() -> Error {
    Error::not_found("agent configuration", "id")
}

fn check_expected(present: &AgentConfiguration, expected: Option<i32>) -> Result<()> {
    match expected {
        Some(expected) if expected != present.version => Err(Error::Conflict(Box::new(Conflict {
            message: format!("The configuration is at version {}, not {expected}.", present.version),
            field: Some("expectedVersion"),
            current_version: Some(present.version),
            ..Conflict::default()
        }))),
        _ => Ok(()),
    }
}

/// Writes the next version of a configuration (the first if `present` is `None`), unless nothing changes.
async fn put(write: Write, present: Option<AgentConfiguration>, next: Next) -> Result<(AgentConfiguration, i32)> {
    let Locked { id: project_id, revision, at, .. } = write.locked;
    if let Some(present) = &present
        && (&present.settings, present.is_active, present.is_deleted)
            == (&next.settings, next.is_active, next.is_deleted)
    {
        let present_revision = write.present_revision();
        return write.unchanged((present.clone(), present_revision)).await;
    }
    check(write.writer.limits(), &next.settings)?;
    let saved = AgentConfiguration {
        id: present.as_ref().map_or_else(|| AgentConfigurationId(clock::new_id()), |present| present.id),
        project_id,
        settings: next.settings,
        is_active: next.is_active,
        is_deleted: next.is_deleted,
        version: present.as_ref().map_or(1, |present| present.version + 1),
        revision,
        created_at: present.as_ref().map_or(at, |present| present.created_at),
        updated_at: at,
        updated_by: Some(write.writer.actor.user_id),
    };
    if saved.is_active {
        agent_configuration::deactivate_others(&write.tx, project_id, saved.id, at).await?;
    }
    agent_configuration::save(&write.tx, &saved).await?;
    let closed = write.close(EventKind::AgentConfigurationChanged).await?;
    agent_configuration::record(&closed.tx, project_id, revision, saved.is_deleted.then_some(saved.id)).await?;
    closed.commit((saved, revision)).await
}

/// The configuration to save.
#[derive(Clone, Copy, Debug)]
pub struct Save {
    /// The project.
    pub project_id: ProjectId,
    /// The configuration; `None` creates one.
    pub id: Option<AgentConfigurationId>,
    /// Whether it is to be active. By default a new configuration is, and an existing one keeps its state.
    pub is_active: Option<bool>,
    /// The version that the caller has seen, as a precondition.
    pub expected_version: Option<i32>,
}

/// Creates a configuration, or changes it from its present settings. Returns it with the revision.
///
/// # Errors
/// `NotFound` for one that is not in the project, or deleted; `Forbidden` for viewers; `Conflict` if the precondition
/// fails or there are too many configurations; `BadInput` for an empty name; `PayloadTooLarge`.
pub async fn save(
    writer: Writer,
    save: Save,
    settings: impl FnOnce(Option<&AgentSettings>) -> AgentSettings,
) -> Result<(AgentConfiguration, i32)> {
    if save.id.is_none() && save.expected_version.is_some() {
        return Err(Error::bad_input("expectedVersion", "A new configuration has no version yet."));
    }
    let write = writer.begin(Target::Project(save.project_id), ("project", "projectId")).await?;
    let project = write.locked.id;
    let present = match save.id {
        Some(id) => {
            let found = by_ids(&write.tx, &[id]).await?.into_iter().next();
            let found = found.filter(|found| found.project_id == project && !found.is_deleted);
            Some(found.ok_or_else(missing)?)
        }
        None => {
            check_room(&write.tx, writer.limits(), project, "projectId").await?;
            None
        }
    };
    if let Some(present) = &present {
        check_expected(present, save.expected_version)?;
    }
    let next = Next {
        settings: settings(present.as_ref().map(|present| &present.settings)),
        is_active: save.is_active.or(present.as_ref().map(|present| present.is_active)).unwrap_or(true),
        is_deleted: false,
    };
    put(write, present, next).await
}

/// Begins a write to the project of a configuration.
async fn begin(
    writer: &Writer,
    id: AgentConfigurationId,
    expected_version: Option<i32>,
) -> Result<(Write, AgentConfiguration)> {
    let write = writer.begin(Target::AgentConfiguration(id), ("agent configuration", "id")).await?;
    let present = by_ids(&write.tx, &[id]).await?.into_iter().next().ok_or_else(missing)?;
    check_expected(&present, expected_version)?;
    Ok((write, present))
}

/// Activates or deactivates a configuration. Returns it with the revision.
///
/// # Errors
/// `NotFound` for one that does not exist or is deleted; `Forbidden` for viewers; `Conflict` if the precondition fails.
pub async fn set_active(
    writer: Writer,
    id: AgentConfigurationId,
    is_active: bool,
    expected_version: Option<i32>,
) -> Result<(AgentConfiguration, i32)> {
    let (write, present) = begin(&writer, id, expected_version).await?;
    if present.is_deleted {
        return Err(missing());
    }
    let next = Next { settings: present.settings.clone(), is_active, is_deleted: false };
    put(write, Some(present), next).await
}

/// Deletes a configuration; does nothing if it is deleted. Its versions are kept. Returns it with the revision.
///
/// # Errors
/// `NotFound`; `Forbidden` for viewers; `Conflict` if the precondition fails.
pub async fn delete(
    writer: Writer,
    id: AgentConfigurationId,
    expected_version: Option<i32>,
) -> Result<(AgentConfiguration, i32)> {
    let (write, present) = begin(&writer, id, expected_version).await?;
    let next = Next { settings: present.settings.clone(), is_active: false, is_deleted: true };
    put(write, Some(present), next).await
}

/// Restores a version of a configuration as a new version. A deleted configuration is restored as inactive. Returns it
/// with the revision.
///
/// # Errors
/// `NotFound` if the configuration or version does not exist; `Forbidden` for viewers; `Conflict` if the precondition
/// fails.
pub async fn restore(
    writer: Writer,
    id: AgentConfigurationId,
    version: i32,
    expected_version: Option<i32>,
) -> Result<(AgentConfiguration, i32)> {
    let (write, present) = begin(&writer, id, expected_version).await?;
    let past = agent_configuration::by_version(&write.tx, id, version).await?;
    let past = past.ok_or_else(|| Error::not_found("version", "version"))?;
    if present.is_deleted {
        check_room(&write.tx, writer.limits(), write.locked.id, "id").await?;
    }
    let next = Next { settings: past.settings, is_active: present.is_active, is_deleted: false };
    put(write, Some(present), next).await
}
