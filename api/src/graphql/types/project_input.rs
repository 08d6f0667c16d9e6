//! Arguments of projects' fields, and of lists of projects.

use async_graphql::{Context, ID, InputObject, Lookahead, OneofObject};

use super::chat::ChatSessionFilter;
use super::code_change::CodeChangeFilter;
use super::project::Project;
use super::snapshot::ProjectSnapshotFilter;
use crate::graphql::context::Caller;
use crate::graphql::enums::{OrderDirection, ProjectOrderField, ProjectStatus};
use crate::graphql::loader::{MomentOf, Past, With};
use crate::graphql::long_columns::{of_object, of_rows};
use crate::graphql::needing::{selected, without};
use crate::graphql::page::{Paging, arguments};
use crate::graphql::scalar::Time;
use crate::model::agent_configuration::AgentConfigurationFilter;
use crate::model::chat::SessionFilter;
use crate::model::error::{Error, Result};
use crate::model::event::{AsOf, Moment};
use crate::model::file::{ChangeFilter, FileFilter, FilesOf};
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, ReadId, SessionId};
use crate::model::page::{List, Page as PageArguments};
use crate::model::path::FilePath;
use crate::model::project as model;
use crate::model::search::Search;
use crate::model::snapshot::SnapshotFilter;

/// The arguments of `sessions`.
#[derive(InputObject)]
pub(super) struct Sessions {
    pub(super) filter: Option<ChatSessionFilter>,
    #[graphql(flatten)]
    pub(super) page: Paging,
}

impl Sessions {
    pub(super) fn read(self, until: Option<AsOf>, list: &Lookahead<'_>) -> Result<(SessionFilter, PageArguments)> {
        let keep: SessionFilter = self.filter.map(Into::into).unwrap_or_default();
        let page = self.page.parse(List::SESSIONS)?.needing(of_rows(list, "ChatSession"));
        Ok((SessionFilter { until, ..keep }, page))
    }
}

/// The arguments of `files`.
#[derive(InputObject)]
pub(super) struct Files {
    pub(super) at: Option<i32>,
    pub(super) under: Option<String>,
    pub(super) include_deleted: Option<bool>,
    #[graphql(flatten)]
    pub(super) page: Paging,
}

impl Files {
    pub(super) fn read(self) -> Result<(FileFilter, PageArguments)> {
        let page = self.page.parse(List::FILES)?;
        let under = self.under.map(|path| FilePath::parse(&path, "under")).transpose()?;
        Ok((FileFilter { under, include_deleted: self.include_deleted.unwrap_or(false) }, page))
    }
}

/// The arguments of `changes`.
#[derive(InputObject)]
pub(super) struct Changes {
    pub(super) filter: Option<CodeChangeFilter>,
    pub(super) include_coalesced: Option<bool>,
    #[graphql(flatten)]
    pub(super) page: Paging,
}

impl Changes {
    pub(super) fn read(
        self,
        caller: &Caller,
        until: Option<i32>,
        list: &Lookahead<'_>,
    ) -> Result<(ChangeFilter, PageArguments)> {
        let page = self.page.parse(List::CHANGES)?.needing(of_rows(list, "CodeChange"));
        let keep = self.filter.map(ChangeFilter::try_from).transpose()?.unwrap_or_default();
        let autosave_coalesce_seconds = caller.autosave_coalesce_seconds(self.include_coalesced);
        let until = keep.until.into_iter().chain(until).min();
        Ok((ChangeFilter { until, autosave_coalesce_seconds, ..keep }, page))
    }
}

/// The arguments of `snapshots`.
#[derive(InputObject)]
pub(super) struct Snapshots {
    pub(super) filter: Option<ProjectSnapshotFilter>,
    #[graphql(flatten)]
    pub(super) page: Paging,
}

impl Snapshots {
    pub(super) fn read(self, until: Option<i32>, list: &Lookahead<'_>) -> Result<(SnapshotFilter, PageArguments)> {
        let page = self.page.parse(List::SNAPSHOTS)?.needing(of_rows(list, "ProjectSnapshot"));
        let keep = self.filter.map(SnapshotFilter::try_from).transpose()?.unwrap_or_default();
        let until = keep.until.into_iter().chain(until).min();
        Ok((SnapshotFilter { until, ..keep }, page))
    }
}

/// A moment in a project's history. Give exactly one of the fields.
#[derive(OneofObject)]
#[graphql(name = "Moment")]
pub enum MomentInput {
    /// A revision, from 1 to the project's newest.
    Revision(i32),
    /// The last revision at this time or earlier.
    Time(Time),
    /// The state at this message. For a checkpoint, it includes later changes that name the message.
    MessageId(ID),
    /// The state of this snapshot.
    SnapshotId(ID),
}

impl MomentInput {
    /// Finds the revision.
    ///
    /// # Errors
    /// `BadInput` for a malformed id, `NotFound` if the project has no such moment.
    pub async fn resolve(self, caller: &Caller, project: ProjectId) -> Result<AsOf> {
        let mut until = None;
        let (moment, noun, field) = match self {
            Self::Revision(revision) => (Moment::Revision(revision), "revision", "revision"),
            Self::Time(time) => (Moment::Time(time.0), "moment: the project is younger", "time"),
            Self::MessageId(id) => {
                let ReadId { id, at } = ReadId::<MessageId>::parse(&id, "messageId")?;
                if let Some(at) = at {
                    let then =
                        caller.load(without(Past(id, at))).await?.filter(|message| message.project_id == project);
                    then.ok_or_else(|| Error::not_found("message", "messageId"))?;
                    until = Some(Moment::Revision(at));
                }
                (Moment::Message(id), "message", "messageId")
            }
            Self::SnapshotId(id) => {
                let ReadId { id, at } = ReadId::<ProjectSnapshotId>::parse(&id, "snapshotId")?;
                if let Some(at) = at {
                    let then = caller
                        .load(without(id))
                        .await?
                        .filter(|snapshot| snapshot.project_id == project && snapshot.created_revision <= at);
                    then.ok_or_else(|| Error::not_found("snapshot", "snapshotId"))?;
                    until = Some(Moment::Revision(at));
                }
                (Moment::Snapshot(id), "snapshot", "snapshotId")
            }
        };
        let found = caller.load(MomentOf(project, moment)).await?.ok_or_else(|| Error::not_found(noun, field))?;
        let Some(until) = until else { return Ok(found) };
        let until = caller.load(MomentOf(project, until)).await?.ok_or_else(|| Error::not_found(noun, field))?;
        Ok(if until.revision < found.revision { until } else { found })
    }
}

/// The session with this id, which can be one as of a revision.
///
/// # Errors
/// `BadInput` for a malformed id, `NotFound` if the project had no such session then.
pub async fn read_session(caller: &Caller, project: ProjectId, id: &ID) -> Result<SessionId> {
    let ReadId { id, at } = ReadId::<SessionId>::parse(id, "sessionId")?;
    if let Some(at) = at {
        let then = caller.load(without(Past(id, at))).await?.filter(|session| session.project_id == project);
        then.ok_or_else(|| Error::not_found("session in this project", "sessionId"))?;
    }
    Ok(id)
}

/// Parses the paths in an argument.
///
/// # Errors
/// `BadInput` with the position of an invalid path.
pub fn parse_paths(paths: Option<Vec<String>>) -> Result<Option<Vec<FilePath>>> {
    let parse = |(at, path): (usize, &String)| FilePath::parse(path, &format!("paths[{at}]"));
    paths.map(|paths| paths.iter().enumerate().map(parse).collect()).transpose()
}

/// How projects are sorted.
#[derive(InputObject)]
pub struct ProjectOrder {
    /// The field to sort by.
    pub field: ProjectOrderField,
    /// Ascending or descending.
    #[graphql(default_with = "OrderDirection::Desc")]
    pub direction: OrderDirection,
}

/// Which projects a list keeps.
#[derive(InputObject)]
pub struct ProjectFilter {
    /// Keeps projects with this status; by default all except deleted ones.
    status: Option<ProjectStatus>,
    /// Keeps projects whose name or description contains this text, in any case; at most 1,000 bytes.
    search: Option<String>,
    /// Keeps projects that were created at this time or later.
    created_after: Option<Time>,
    /// Keeps projects that were created at this time or earlier.
    created_before: Option<Time>,
    /// True keeps projects that the caller owns, false those that others share.
    is_owned: Option<bool>,
}

impl TryFrom<ProjectFilter> for model::ProjectFilter {
    type Error = Error;

    fn try_from(filter: ProjectFilter) -> Result<Self> {
        Ok(Self {
            status: filter.status.map(Into::into),
            search: Search::parse(filter.search.as_deref(), "filter.search")?,
            created_after: filter.created_after.map(|time| time.0),
            created_before: filter.created_before.map(|time| time.0),
            is_owned: filter.is_owned,
        })
    }
}

impl Project {
    /// A project by its id, together with the first of these lists that the operation selects.
    pub async fn find(caller: &Caller, fields: &Lookahead<'_>, id: ProjectId) -> Result<Option<model::Project>> {
        let id = selected(fields, id);
        let files = arguments::<Files>(fields, "files").filter(|(files, _)| files.at.is_none());
        if let Some(Ok((keep, page))) = files.map(|(files, _)| files.read()) {
            return caller.load_with(With { id, keep, page }, |row| FilesOf { project: row.id, at: None }).await;
        }
        if let Some(Ok((keep, page))) =
            arguments(fields, "changes").map(|(changes, list): (Changes, _)| changes.read(caller, None, &list))
            && keep.autosave_coalesce_seconds == 0
            && keep.until.is_none()
        {
            return caller.load_with(With { id, keep, page }, |row| row.id).await;
        }
        if let Some(Ok((keep, page))) =
            arguments(fields, "sessions").map(|(sessions, list): (Sessions, _)| sessions.read(None, &list))
        {
            return caller.load_with(With { id, keep, page }, |row| row.id).await;
        }
        if let Some(Ok((keep, page))) =
            arguments(fields, "snapshots").map(|(snapshots, list): (Snapshots, _)| snapshots.read(None, &list))
            && keep.until.is_none()
        {
            return caller.load_with(With { id, keep, page }, |row| row.id).await;
        }
        caller.load(id).await
    }

    /// Which agent configurations a list keeps.
    pub(super) fn configurations(
        &self,
        ctx: &Context<'_>,
        active_only: bool,
        include_deleted: bool,
    ) -> AgentConfigurationFilter {
        let long_columns = of_object(&ctx.look_ahead(), "AgentConfiguration");
        AgentConfigurationFilter { active_only, include_deleted, at: self.until(), long_columns }
    }

    /// Checks a revision to read at. The default is the revision as of which the project is read, or now.
    pub(super) fn at(&self, at: Option<i32>, field: &str) -> Result<Option<i32>> {
        match at {
            Some(at) if !(0..=self.newest()).contains(&at) => {
                Err(Error::bad_input(field, format!("Give a revision from 0, before the first, to {}.", self.newest())))
            }
            None => Ok(self.until()),
            at => Ok(at),
        }
    }

    pub(super) fn until(&self) -> Option<i32> {
        self.0.as_of.map(|as_of| as_of.revision)
    }

    pub(super) fn newest(&self) -> i32 {
        self.until().unwrap_or(self.0.revision)
    }
}
