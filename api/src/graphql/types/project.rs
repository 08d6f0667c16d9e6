//! Projects.

use async_graphql::{Context, ID, InputObject, Lookahead, Object, OneofObject, SimpleObject};
use futures::future::try_join_all;
use serde_json::Value;

use super::agent_configuration::AgentConfiguration;
use super::chat::{ChatSession, ChatSessionFilter};
use super::collaborator::{Collaborator, EmailInvitation};
use super::event::ProjectEvent;
use super::file::{CodeChange, CodeChangeFilter, FileDiff, ProjectFile};
use super::presence::PersonHere;
use super::profile::User;
use super::snapshot::ProjectSnapshot;
use crate::domain::compare::Between;
use crate::domain::snapshot::{Limit, Preview};
use crate::domain::{access, presence, project};
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::or_null;
use crate::graphql::loader::{
    ActiveSession, AgentConfigurationsOf, ChildrenOf, CollaboratorsOf, Count, EmailInvitationsOf, EventsAfter, FileAt,
    MomentOf, Part, PresencesOf, SnapshotsUntil, With,
};
use crate::graphql::names::{OrderDirection, ProjectOrderField, ProjectRole, ProjectStatus};
use crate::graphql::page::{COMPARE, Page, Paging, Total, UNPAGED, arguments, connection, rows, weigh};
use crate::graphql::row::{Plain, Row};
use crate::graphql::scalar::Time;
use crate::model::agent_configuration::AgentConfigurationFilter;
use crate::model::chat::SessionFilter;
use crate::model::error::{Error, Result};
use crate::model::event::{AsOf, Moment};
use crate::model::file::{ChangeFilter, FileFilter, FilesOf};
use crate::model::ids::{MessageId, ProjectId, ProjectSnapshotId, SessionId};
use crate::model::page::{self, Page as PageArguments};
use crate::model::path::FilePath;
use crate::model::project as model;

/// A voice agent under construction: its configuration, its conversations and its files, in one history.
pub struct Project(pub model::Project);

impl Plain for Project {
    fn is_plain(field: &str) -> bool {
        matches!(
            field,
            "id" | "name"
                | "description"
                | "initialPrompt"
                | "config"
                | "status"
                | "createdAt"
                | "updatedAt"
                | "lastAccessedAt"
                | "revision"
                | "viewerRole"
                | "stats"
        )
    }
}

#[Object]
impl Project {
    /// Its id.
    pub(super) async fn id(&self) -> ID {
        self.0.id.0.into()
    }

    /// Who owns it.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.owner_id).await
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it is for.
    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// The prompt it began with.
    async fn initial_prompt(&self) -> &str {
        &self.0.initial_prompt
    }

    /// The voice agent's configuration, as the client writes it.
    async fn config(&self) -> &Value {
        &self.0.config
    }

    /// Whether it is in use.
    async fn status(&self) -> ProjectStatus {
        self.0.status.into()
    }

    /// When it was made.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// When its name, description, prompt, configuration or status last changed; `stats.lastActivityAt` follows everything.
    async fn updated_at(&self) -> Time {
        Time(self.0.updated_at)
    }

    /// When a member last opened it (`touchProject`).
    async fn last_accessed_at(&self) -> Time {
        Time(self.0.last_accessed_at)
    }

    /// The newest revision; of a project read as of a moment, that moment's.
    async fn revision(&self) -> i32 {
        self.newest()
    }

    /// What the caller may do in it.
    async fn viewer_role(&self) -> ProjectRole {
        self.0.viewer_role.into()
    }

    /// Its totals.
    async fn stats(&self, ctx: &Context<'_>) -> Result<Row<ProjectStats>> {
        let stats = match self.0.as_of {
            Some(as_of) => {
                let tx = caller(ctx)?.reader.tx().await?;
                let member = access::required(&tx, self.0.id).await?;
                project::stats(&tx, member, as_of).await?
            }
            None => model::Stats {
                sessions: self.0.session_count,
                messages: self.0.message_count,
                files: self.0.file_count,
                changes: self.0.change_count,
                last_session_at: self.0.last_session_at,
                last_activity_at: self.0.last_activity_at,
            },
        };
        Ok(Row(ProjectStats {
            total_sessions: stats.sessions,
            total_messages: stats.messages,
            total_files: stats.files,
            total_changes: stats.changes,
            latest_session_at: stats.last_session_at.map(Time),
            last_activity_at: Time(stats.last_activity_at),
        }))
    }

    /// The caller's own active session; null where there is none.
    async fn active_session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(async { Ok(caller(ctx)?.load(ActiveSession(self.0.id)).await?.map(ChatSession)) }).await
    }

    /// Its sessions, newest first.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        filter: Option<ChatSessionFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<ChatSession>> {
        let selected = Sessions { filter, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read(self.until())?;
        let count = Count { parent: self.0.id, keep: keep.clone() };
        let total = if keep == SessionFilter::default() {
            Total::Known(self.0.session_count.into())
        } else {
            Total::Sessions(count)
        };
        let slice = caller(ctx)?.load(Part { parent: self.0.id, keep, page }).await?.unwrap_or_default();
        let as_of = self.0.as_of;
        Ok(connection(slice, total, |row| ChatSession(crate::model::chat::Session { as_of, ..row })))
    }

    /// One file or folder by its path, now or as of a revision; null where there was none. A folder is there as long as
    /// something is below it, whether or not anybody made it.
    async fn file(
        &self,
        ctx: &Context<'_>,
        path: String,
        #[graphql(desc = "The revision to read at; now without one.")] at: Option<i32>,
    ) -> Option<Result<ProjectFile>> {
        or_null(async {
            let at = self.at(at, "at")?;
            let path = FilePath::parse(&path, "path")?;
            Ok(caller(ctx)?.load(FileAt(at, self.0.id, path)).await?.map(ProjectFile))
        })
        .await
    }

    /// Its files and the folders that were made, at any depth, by path, ascending. (`children` lists those folders too that
    /// are there only because something is below them.)
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    #[graphql(complexity = "weigh(first, last, page::FILES, child_complexity)")]
    async fn files(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The revision to read at; now without one.")] at: Option<i32>,
        #[graphql(desc = "Keeps one folder and what is below it.")] under: Option<String>,
        #[graphql(default_with = "Some(false)", desc = "Lists deleted files as well.")] include_deleted: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<ProjectFile>> {
        let selected = Files { at, under, include_deleted, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read()?;
        let parent = FilesOf { project: self.0.id, at: self.at(at, "at")? };
        let total = Total::Files(Count { parent, keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent, keep, page }).await?.unwrap_or_default();
        Ok(connection(slice, total, ProjectFile::from))
    }

    /// What is directly in a folder, by path, ascending: files and folders, those folders too that nobody made and that are
    /// there because something is below them. Nothing for a path that is no folder. A file tree asks for the top first, and
    /// for a folder when it is opened.
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn children(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The folder; the top of the project without one.")] of: Option<String>,
        #[graphql(desc = "The revision to read at; now without one.")] at: Option<i32>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<ProjectFile>> {
        let page = PageArguments::parse(first, after, last, before, page::FILES)?;
        let keep = ChildrenOf(of.map(|path| FilePath::parse(&path, "of")).transpose()?);
        let parent = FilesOf { project: self.0.id, at: self.at(at, "at")? };
        let total = Total::Children(Count { parent, keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent, keep, page }).await?.unwrap_or_default();
        Ok(connection(slice, total, ProjectFile))
    }

    /// Every change of a file, newest first (`file_change_history`). A server may be set to show saves of a file by one person in
    /// quick succession as one, the last: see `CodeChange.saves`.
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        filter: Option<CodeChangeFilter>,
        #[graphql(default_with = "Some(false)", desc = "Lists every save, whatever the server is set to.")]
        every_save: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<CodeChange>> {
        let selected = Changes { filter, every_save, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read(caller(ctx)?, self.until())?;
        let total = if keep == ChangeFilter::default() {
            Total::Known(self.0.change_count.into())
        } else {
            Total::Changes(Count { parent: self.0.id, keep: keep.clone() })
        };
        let slice = caller(ctx)?.load(Part { parent: self.0.id, keep, page }).await?.unwrap_or_default();
        Ok(connection(slice, total, CodeChange))
    }

    /// Its snapshots, newest first: what checkpoints, people and restores have named.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn snapshots(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<Page<ProjectSnapshot>> {
        let page = PageArguments::parse(first, after, last, before, page::LIST)?;
        let slice = caller(ctx)?
            .load(Part { parent: self.0.id, keep: SnapshotsUntil(self.until()), page })
            .await?
            .unwrap_or_default();
        let total = Total::Snapshots(Count { parent: self.0.id, keep: SnapshotsUntil(self.until()) });
        Ok(connection(slice, total, ProjectSnapshot))
    }

    /// What differs between any two revisions, by path.
    #[graphql(complexity = "rows(UNPAGED, child_complexity.saturating_add(COMPARE))")]
    async fn diff(
        &self,
        ctx: &Context<'_>,
        from: i32,
        #[graphql(desc = "Defaults to now.")] to: Option<i32>,
    ) -> Result<Vec<FileDiff>> {
        let from = self.at(Some(from), "from")?.unwrap_or_default();
        let to = self.at(to, "to")?.unwrap_or(self.newest());
        let with_contents = FileDiff::wants_contents(ctx.look_ahead());
        FileDiff::between(ctx, Between { project: self.0.id, from, to, with_contents }).await
    }

    /// What going back to a moment would change, without changing it: a dry run of `restoreSnapshot` and `restoreRevision` with the
    /// scope FILES, which carry out the same plan, and fail as they would.
    #[graphql(complexity = "rows(UNPAGED, child_complexity.saturating_add(COMPARE))")]
    async fn restore_preview(
        &self,
        ctx: &Context<'_>,
        to: MomentInput,
        #[graphql(desc = "Only what is written at these paths and below them.")] paths: Option<Vec<String>>,
        #[graphql(desc = "Only what this session wrote.")] session_id: Option<ID>,
    ) -> Result<RestorePreview> {
        let to = to.resolve(caller(ctx)?, self.0.id).await?.revision;
        let session = session_id.map(|id| SessionId::parse(&id, "sessionId")).transpose()?;
        let limit = Limit { paths: parse_paths(paths)?, session };
        let with_contents = FileDiff::wants_contents(ctx.look_ahead().field("diff"));
        let preview = Preview { project: self.0.id, from: self.newest(), to, limit, with_contents };
        Ok(RestorePreview { revision: to, diff: FileDiff::of_restore(ctx, preview).await? })
    }

    /// The project's own log: one event a revision, oldest first.
    #[graphql(complexity = "weigh(first, None, page::EVENTS, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 0)] after_revision: Option<i32>,
        #[graphql(default = 100, desc = "At most 500.")] first: Option<i32>,
    ) -> Result<Vec<ProjectEvent>> {
        let after = self.at(after_revision.or(Some(0)), "afterRevision")?.unwrap_or(0);
        let limit = PageArguments::parse(first, None, None, None, page::EVENTS)?.limit;
        let events = caller(ctx)?.load(EventsAfter(self.0.id, after, limit)).await?.unwrap_or_default();
        let events = events.into_iter().filter(|event| event.revision <= self.newest());
        Ok(events.map(ProjectEvent).collect())
    }

    /// Who else is in it, and who was asked.
    async fn collaborators(&self, ctx: &Context<'_>) -> Result<Vec<Collaborator>> {
        let rows = caller(ctx)?.load(CollaboratorsOf(self.0.id)).await?.unwrap_or_default();
        Ok(rows.into_iter().map(Collaborator).collect())
    }

    /// Who listens to it now (by any subscription, `whoIsHere` too), at whichever server; who came first comes first. Whoever goes
    /// is gone at once, unless their connection was cut without a word (then the server finds out by its pings) or their server
    /// was killed. Servers on one SQLite file do not tell each other: each shows those who listen at itself. Of a project read as of
    /// a moment nobody is here.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn who_is_here(&self, ctx: &Context<'_>) -> Result<Vec<PersonHere>> {
        if self.0.as_of.is_some() {
            return Ok(Vec::new());
        }
        let caller = caller(ctx)?;
        let presences = caller.load(PresencesOf(self.0.id)).await?.unwrap_or_default();
        let people = presence::who(&caller.services, self.0.id, &presences);
        // Whoever was removed just now is nobody here.
        let known = try_join_all(people.iter().map(|person| caller.load(person.user_id))).await?;
        Ok(people.into_iter().zip(known).filter_map(|(person, known)| known.map(|_| PersonHere(person))).collect())
    }

    /// The invitations to e-mail addresses that nobody has answered yet. Only the owner sees them: for others there are none.
    async fn email_invitations(&self, ctx: &Context<'_>) -> Result<Vec<EmailInvitation>> {
        let rows = caller(ctx)?.load(EmailInvitationsOf(self.0.id)).await?.unwrap_or_default();
        Ok(rows.into_iter().map(EmailInvitation).collect())
    }

    /// The configurations of its voice agent, oldest first; of a project read as of a moment, that moment's.
    async fn agent_configurations(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(false)", desc = "Keeps the active one, of which there is at most one.")]
        active_only: Option<bool>,
        #[graphql(default_with = "Some(false)", desc = "Lists deleted ones as well.")] include_deleted: Option<bool>,
    ) -> Result<Vec<AgentConfiguration>> {
        let keep = AgentConfigurationFilter {
            active_only: active_only.unwrap_or(false),
            include_deleted: include_deleted.unwrap_or(false),
            at: self.until(),
        };
        let rows = caller(ctx)?.load(AgentConfigurationsOf(self.0.id, keep)).await?.unwrap_or_default();
        Ok(rows.into_iter().map(|row| AgentConfiguration { row: Box::new(row), until: keep.at }).collect())
    }
}

/// The arguments of `sessions`.
#[derive(InputObject)]
struct Sessions {
    filter: Option<ChatSessionFilter>,
    #[graphql(flatten)]
    page: Paging,
}

impl Sessions {
    fn read(self, until: Option<i32>) -> Result<(SessionFilter, PageArguments)> {
        let keep: SessionFilter = self.filter.map(Into::into).unwrap_or_default();
        Ok((SessionFilter { until, ..keep }, self.page.parse(page::LIST)?))
    }
}

/// The arguments of `files`.
#[derive(InputObject)]
struct Files {
    at: Option<i32>,
    under: Option<String>,
    include_deleted: Option<bool>,
    #[graphql(flatten)]
    page: Paging,
}

impl Files {
    fn read(self) -> Result<(FileFilter, PageArguments)> {
        let page = self.page.parse(page::FILES)?;
        let under = self.under.map(|path| FilePath::parse(&path, "under")).transpose()?;
        Ok((FileFilter { under, include_deleted: self.include_deleted.unwrap_or(false) }, page))
    }
}

/// The arguments of `changes`.
#[derive(InputObject)]
struct Changes {
    filter: Option<CodeChangeFilter>,
    every_save: Option<bool>,
    #[graphql(flatten)]
    page: Paging,
}

impl Changes {
    fn read(self, caller: &Caller, until: Option<i32>) -> Result<(ChangeFilter, PageArguments)> {
        let page = self.page.parse(page::LIST)?;
        let keep = self.filter.map(ChangeFilter::try_from).transpose()?.unwrap_or_default();
        let join_saves_seconds = caller.join_saves_seconds(self.every_save);
        Ok((ChangeFilter { until, join_saves_seconds, ..keep }, page))
    }
}

impl Project {
    /// A project by its id, and with it the first of these lists that is selected of it.
    pub async fn find(caller: &Caller, selected: &Lookahead<'_>, id: ProjectId) -> Result<Option<model::Project>> {
        // With a list, these would be read with each of its rows.
        if ["config", "initialPrompt"].iter().any(|field| selected.field(field).exists()) {
            return caller.load(id).await;
        }
        let files = arguments::<Files>(selected, "files").filter(|files| files.at.is_none());
        if let Some(Ok((keep, page))) = files.map(Files::read) {
            return caller.load_with(With { id, keep, page }, |row| FilesOf { project: row.id, at: None }).await;
        }
        if let Some(Ok((keep, page))) =
            arguments(selected, "changes").map(|changes: Changes| changes.read(caller, None))
            && keep.join_saves_seconds == 0
        {
            return caller.load_with(With { id, keep, page }, |row| row.id).await;
        }
        if let Some(Ok((keep, page))) = arguments(selected, "sessions").map(|sessions: Sessions| sessions.read(None)) {
            return caller.load_with(With { id, keep, page }, |row| row.id).await;
        }
        if let Some(Ok(page)) = arguments(selected, "snapshots").map(|page: Paging| page.parse(page::LIST)) {
            return caller.load_with(With { id, keep: SnapshotsUntil(None), page }, |row| row.id).await;
        }
        caller.load(id).await
    }

    /// Checks a revision to read at; without one it is the moment as of which the project is read, or now.
    fn at(&self, at: Option<i32>, field: &str) -> Result<Option<i32>> {
        match at {
            Some(at) if !(0..=self.newest()).contains(&at) => {
                Err(Error::bad_input(field, format!("The project has revisions 0 to {}.", self.newest())))
            }
            None => Ok(self.until()),
            at => Ok(at),
        }
    }

    fn until(&self) -> Option<i32> {
        self.0.as_of.map(|as_of| as_of.revision)
    }

    fn newest(&self) -> i32 {
        self.until().unwrap_or(self.0.revision)
    }
}

/// Names a moment in a project's history, one way or another.
#[derive(OneofObject)]
#[graphql(name = "Moment")]
pub enum MomentInput {
    /// A revision.
    Revision(i32),
    /// The last revision at or before a time.
    Time(Time),
    /// The state that belongs to a message: with what was written for it, where it is a checkpoint.
    MessageId(ID),
    /// A snapshot's.
    SnapshotId(ID),
}

impl MomentInput {
    /// Finds the revision.
    ///
    /// # Errors
    /// `BadInput` for a malformed id, `NotFound` where the project has no such moment.
    pub async fn resolve(self, caller: &Caller, project: ProjectId) -> Result<AsOf> {
        let (moment, noun, field) = match self {
            Self::Revision(revision) => (Moment::Revision(revision), "revision", "revision"),
            Self::Time(time) => (Moment::Time(time.0), "moment: the project is younger", "time"),
            Self::MessageId(id) => (Moment::Message(MessageId::parse(&id, "messageId")?), "message", "messageId"),
            Self::SnapshotId(id) => {
                (Moment::Snapshot(ProjectSnapshotId::parse(&id, "snapshotId")?), "snapshot", "snapshotId")
            }
        };
        caller.load(MomentOf(project, moment)).await?.ok_or_else(|| Error::not_found(noun, field))
    }
}

/// Reads the paths that a caller chose.
///
/// # Errors
/// `BadInput` naming the one that is no path.
pub fn parse_paths(paths: Option<Vec<String>>) -> Result<Option<Vec<FilePath>>> {
    let parse = |(at, path): (usize, &String)| FilePath::parse(path, &format!("paths[{at}]"));
    paths.map(|paths| paths.iter().enumerate().map(parse).collect()).transpose()
}

/// What going back would change.
#[derive(SimpleObject)]
pub struct RestorePreview {
    /// The revision to which it would go back.
    revision: i32,
    /// What would change, by path; empty where the files are as they were.
    diff: Vec<FileDiff>,
}

/// A project's totals; those of the present are kept, not counted.
#[derive(SimpleObject)]
pub struct ProjectStats {
    /// Sessions ever started.
    total_sessions: i32,
    /// Messages in all sessions.
    total_messages: i32,
    /// Live files, folders not counted.
    total_files: i32,
    /// Changes of files ever made.
    total_changes: i32,
    /// When its newest session began.
    latest_session_at: Option<Time>,
    /// When anything in it last changed.
    last_activity_at: Time,
}

impl Plain for ProjectStats {
    fn is_plain(_: &str) -> bool {
        true
    }
}

/// The sums over the caller's own projects that are not deleted (`user_activity_summary`).
#[derive(SimpleObject)]
pub struct ActivitySummary {
    /// Projects.
    pub total_projects: i32,
    /// Sessions ever started.
    pub total_sessions: i32,
    /// Messages in all sessions.
    pub total_messages: i32,
    /// Live files.
    pub total_files: i32,
    /// Changes of files ever made.
    pub total_changes: i32,
    /// When anything last changed in any of them.
    pub last_activity_at: Option<Time>,
}

/// How projects are sorted.
#[derive(InputObject)]
pub struct ProjectOrder {
    /// By what.
    pub field: ProjectOrderField,
    /// Which end comes first.
    #[graphql(default_with = "OrderDirection::Desc")]
    pub direction: OrderDirection,
}

/// Which projects a list keeps.
#[derive(InputObject)]
pub struct ProjectFilter {
    /// Of this status; without one, all but the deleted.
    status: Option<ProjectStatus>,
    /// With this text in name or description, any case.
    search: Option<String>,
    /// Made at or after this time.
    created_after: Option<Time>,
    /// Made at or before this time.
    created_before: Option<Time>,
    /// True: only projects that the caller owns. False: only projects that others share with the caller.
    is_owned: Option<bool>,
}

impl TryFrom<ProjectFilter> for model::ProjectFilter {
    type Error = Error;

    fn try_from(filter: ProjectFilter) -> Result<Self> {
        Ok(Self {
            status: filter.status.map(Into::into),
            search: page::search(filter.search, "filter.search")?,
            created_after: filter.created_after.map(|time| time.0),
            created_before: filter.created_before.map(|time| time.0),
            is_owned: filter.is_owned,
        })
    }
}
