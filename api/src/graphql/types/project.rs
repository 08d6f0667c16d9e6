//! Projects.

use async_graphql::{Context, ID, Object};

use super::access_token::AccessToken;
use super::agent_configuration::AgentConfiguration;
use super::chat::{ChatSession, ChatSessionFilter};
use super::code_change::{CodeChange, CodeChangeFilter};
use super::collaborator::{Collaborator, EmailInvitation};
use super::event::ProjectEvent;
use super::file::{FileDiff, ProjectFile};
use super::insights::{self, Insights};
use super::presence::Presence;
use super::profile::User;
use super::project_input::{Changes, Files, MomentInput, Sessions, Snapshots, parse_paths, read_session};
use super::project_stats::ProjectStats;
use super::snapshot::{ProjectSnapshot, ProjectSnapshotFilter, RestorePreview};
use super::webhook::Webhook;
use crate::domain::compare::Between;
use crate::domain::snapshot::{Limit, Preview};
use crate::domain::{access, project};
use crate::graphql::context::caller;
use crate::graphql::enums::{InsightBucket, ProjectRole, ProjectStatus};
use crate::graphql::error::{or_empty, or_null};
use crate::graphql::loader::{
    AccessTokensOf, ActiveSession, AgentConfigurationsOf, ChildrenOf, CollaboratorsOf, Count, EmailInvitationsOf,
    EventsAfter, FileAt, InsightsOf, Part,
};
use crate::graphql::needing::needing;
use crate::graphql::page::{COMPARE, Page, Paging, Total, UNPAGED, connection, cut_by_place, rows, weigh, weigh_part};
use crate::graphql::row::{Plain, Row};
use crate::graphql::scalar::{Json, Text, Time};
use crate::model::access_token;
use crate::model::chat::SessionFilter;
use crate::model::collaborator;
use crate::model::error::{Error, Result};
use crate::model::file::{ChangeFilter, Entry, FilesOf};
use crate::model::ids::ReadId;
use crate::model::node_id::NodeId;
use crate::model::page::{self, List, Page as PageArguments};
use crate::model::path::FilePath;
use crate::model::project as model;

/// A project, now or as of a revision.
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

/// A voice agent in development: its configuration, its sessions and its files, with one history.
#[Object]
impl Project {
    /// The id: a UUID, or `<uuid>@<revision>` for a project as of a revision.
    pub(super) async fn id(&self) -> ID {
        ReadId { id: self.0.id, at: self.until() }.to_string().into()
    }

    /// The project as it is now; null if the caller is no longer a member of it.
    async fn present(&self, ctx: &Context<'_>) -> Option<Result<Project>> {
        or_null(async { Ok(caller(ctx)?.load(needing(ctx, self.0.id)).await?.map(Project)) }).await
    }

    /// The user who owns it; a project has exactly one owner.
    async fn owner(&self, ctx: &Context<'_>) -> Result<User> {
        super::user(ctx, self.0.owner_id).await
    }

    /// The displayed name; never empty.
    async fn name(&self) -> Text<'_> {
        Text(&self.0.name)
    }

    /// The purpose of the project.
    async fn description(&self) -> Option<Text<'_>> {
        self.0.description.as_deref().map(Text)
    }

    /// The prompt that the project started with.
    async fn initial_prompt(&self) -> Text<'_> {
        Text(&self.0.initial_prompt)
    }

    /// The voice agent's configuration. The client decides its structure.
    async fn config(&self) -> Json {
        Json(self.0.config.clone())
    }

    /// Whether it is in use, archived or deleted.
    async fn status(&self) -> ProjectStatus {
        self.0.status.into()
    }

    /// When `createProject` created it.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// When its name, description, prompt, configuration or status last changed; `stats.lastActivityAt` includes all
    /// changes.
    async fn updated_at(&self) -> Time {
        Time(self.0.updated_at)
    }

    /// When a member last opened it (`touchProject`).
    async fn last_accessed_at(&self) -> Time {
        Time(self.0.last_accessed_at)
    }

    /// The newest revision; for a project as of a moment, the revision of that moment.
    async fn revision(&self) -> i32 {
        self.newest()
    }

    /// What the caller can do in it.
    async fn viewer_role(&self) -> ProjectRole {
        self.0.viewer_role.into()
    }

    /// Its totals. The present ones are stored, so that reading them requires no counting.
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
            project_id: self.0.id,
            total_sessions: stats.sessions,
            total_messages: stats.messages,
            total_files: stats.files,
            total_changes: stats.changes,
            latest_session_at: stats.last_session_at.map(Time),
            last_activity_at: Time(stats.last_activity_at),
        }))
    }

    /// The caller's own active session in it; null if there is none.
    async fn active_session(&self, ctx: &Context<'_>) -> Option<Result<ChatSession>> {
        or_null(async {
            let caller = caller(ctx)?;
            let Some(as_of) = self.0.as_of else {
                return Ok(caller.load(ActiveSession(self.0.id)).await?.map(ChatSession));
            };
            let keep = SessionFilter {
                author: Some(caller.actor.user_id),
                is_active: Some(true),
                until: Some(as_of),
                ..SessionFilter::default()
            };
            let part = Part { parent: self.0.id, keep, page: PageArguments::first(1) };
            let rows = caller.load(part).await?.unwrap_or_default().rows;
            let session = |(_, row)| ChatSession(crate::model::chat::Session { as_of: Some(as_of), ..row });
            Ok(rows.into_iter().next().map(session))
        })
        .await
    }

    /// Its sessions, newest first.
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn sessions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which sessions to list; by default all.")] filter: Option<ChatSessionFilter>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<ChatSession>> {
        let selected = Sessions { filter, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read(self.0.as_of, &ctx.look_ahead())?;
        let count = Count { parent: self.0.id, keep: keep.clone() };
        let total = if keep == SessionFilter::default() {
            Total::Known(self.0.session_count.into())
        } else {
            Total::Sessions(count)
        };
        let slice = caller(ctx)?.load(Part { parent: self.0.id, keep, page }).await?.unwrap_or_default();
        let as_of = self.0.as_of;
        Ok(connection(List::SESSIONS, slice, total, |row| ChatSession(crate::model::chat::Session { as_of, ..row })))
    }

    /// The file or folder at a path, now or as of a revision; null if there is none. A folder exists while it contains
    /// files, even if it was never created.
    async fn file(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The path from the root of the project. A leading slash, `.` and empty parts are dropped; `..` is refused. At most 1,024 bytes."
        )]
        path: String,
        #[graphql(
            desc = "The revision to read as of, from 0 to the project's newest; by default the revision of the project itself, or now."
        )]
        at: Option<i32>,
    ) -> Option<Result<ProjectFile>> {
        or_null(async {
            let at = self.at(at, "at")?;
            let path = FilePath::parse(&path, "path")?;
            Ok(caller(ctx)?.load(FileAt(at, self.0.id, path)).await?.map(|entry| ProjectFile(entry, at)))
        })
        .await
    }

    /// Its files and created folders, at any depth, by path, ascending. Folders that exist only because they contain
    /// files are listed by `children`.
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    #[graphql(complexity = "weigh(first, last, page::FILES, child_complexity)")]
    async fn files(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The revision to read as of, from 0 to the project's newest; by default the revision of the project itself, or now."
        )]
        at: Option<i32>,
        #[graphql(desc = "Keeps entries at this path or below it.")] under: Option<String>,
        #[graphql(default_with = "Some(false)", desc = "Lists deleted files as well.")] include_deleted: Option<bool>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 500, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 500.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<ProjectFile>> {
        let selected = Files { at, under, include_deleted, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read()?;
        let parent = FilesOf { project: self.0.id, at: self.at(at, "at")? };
        let total = Total::Files(Count { parent, keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent, keep, page }).await?.unwrap_or_default();
        Ok(connection(List::FILES, slice, total, |file| ProjectFile(Entry::File(file), parent.at)))
    }

    /// The entries of a folder, by path, ascending: files and folders, including folders that were never created. Empty
    /// for a path that is not a folder. A page has 20 entries unless `first` or `last` is given; continue while
    /// `pageInfo.hasNextPage` is true.
    #[graphql(complexity = "weigh(first, last, page::FILES, child_complexity)")]
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    async fn children(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The path of the folder; by default the root of the project.")] of: Option<String>,
        #[graphql(
            desc = "The revision to read as of, from 0 to the project's newest; by default the revision of the project itself, or now."
        )]
        at: Option<i32>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 500, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 500.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<ProjectFile>> {
        let page = PageArguments::parse(first, after, last, before, List::CHILDREN)?;
        let keep = ChildrenOf(of.map(|path| FilePath::parse(&path, "of")).transpose()?);
        let parent = FilesOf { project: self.0.id, at: self.at(at, "at")? };
        let total = Total::Children(Count { parent, keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent, keep, page }).await?.unwrap_or_default();
        Ok(connection(List::CHILDREN, slice, total, |entry| ProjectFile(entry, parent.at)))
    }

    /// All changes of files, newest first. The server can show consecutive autosaves as one entry: see
    /// `CodeChange.coalescedCount`.
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which changes to list; by default all.")] filter: Option<CodeChangeFilter>,
        #[graphql(default_with = "Some(false)", desc = "Lists every autosave, whatever the server's setting is.")]
        include_coalesced: Option<bool>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<CodeChange>> {
        let selected = Changes { filter, include_coalesced, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read(caller(ctx)?, self.until(), &ctx.look_ahead())?;
        self.at(keep.until, "filter")?;
        let total = if keep == ChangeFilter::default() {
            Total::Known(self.0.change_count.into())
        } else {
            Total::Changes(Count { parent: self.0.id, keep: keep.clone() })
        };
        let slice = caller(ctx)?.load(Part { parent: self.0.id, keep, page }).await?.unwrap_or_default();
        Ok(connection(List::CHANGES, slice, total, CodeChange))
    }

    /// Its snapshots, newest first: states named by checkpoints, users and restores. A project as of a revision lists
    /// the snapshots created until then, with their present names. Deleted ones are never listed.
    #[allow(clippy::too_many_arguments, reason = "the arguments of a connection")]
    #[graphql(complexity = "weigh(first, last, page::LIST, child_complexity)")]
    async fn snapshots(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which snapshots to list; by default all.")] filter: Option<ProjectSnapshotFilter>,
        #[graphql(
            desc = "Number of rows from the start of the list: at most 100, and 20 if neither `first` nor `last` is given."
        )]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "Number of rows from the end of the list, instead of `first`: at most 100.")] last: Option<
            i32,
        >,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<Page<ProjectSnapshot>> {
        let selected = Snapshots { filter, page: Paging { first, after, last, before } };
        let (keep, page) = selected.read(self.until(), &ctx.look_ahead())?;
        self.at(keep.until, "filter")?;
        let total = Total::Snapshots(Count { parent: self.0.id, keep: keep.clone() });
        let slice = caller(ctx)?.load(Part { parent: self.0.id, keep, page }).await?.unwrap_or_default();
        Ok(connection(List::SNAPSHOTS, slice, total, ProjectSnapshot))
    }

    /// The differences between two revisions, one entry per file, by path, ascending. A change that frees a path comes
    /// before the change that takes it, so that the diffs can be applied one after the other.
    #[graphql(complexity = "weigh_part(first, child_complexity.saturating_add(COMPARE))")]
    async fn diff(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The earlier revision: 0 to the project's newest.")] from: i32,
        #[graphql(desc = "The later revision; by default the newest.")] to: Option<i32>,
        #[graphql(desc = "Maximum number of files; by default all; an error if there are more than `MAX_LIST_ROWS`.")]
        first: Option<i32>,
        #[graphql(desc = "Only entries after the one with this `cursor`; or after those of this path.")] after: Option<
            String,
        >,
    ) -> Result<Vec<FileDiff>> {
        or_empty(ctx, async {
            let from = self.at(Some(from), "from")?.unwrap_or_default();
            let to = self.at(to, "to")?.unwrap_or(self.newest());
            let with_contents = FileDiff::wants_contents(ctx.look_ahead());
            let diffs = FileDiff::between(ctx, Between { project: self.0.id, from, to, with_contents }).await?;
            FileDiff::part(caller(ctx)?, diffs, first, after)
        })
        .await
    }

    /// A preview of `restoreSnapshot` and `restoreRevision` with the scope FILES. It uses the same plan, and fails in
    /// the same cases.
    #[graphql(complexity = "child_complexity.saturating_add(COMPARE)")]
    async fn restore_preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The moment to restore.")] to: MomentInput,
        #[graphql(desc = "Only writes at these paths and below them; by default all.")] paths: Option<Vec<String>>,
        #[graphql(desc = "Only the writes of this session; its id can be of the past.")] session_id: Option<ID>,
    ) -> Option<Result<RestorePreview>> {
        or_null(async {
            // The same error as that of a restore.
            if let MomentInput::Revision(revision) = &to
                && !(1..=self.newest()).contains(revision)
            {
                return Err(Error::bad_input("revision", format!("The project has revisions 1 to {}.", self.newest())));
            }
            let to = to.resolve(caller(ctx)?, self.0.id).await?.revision;
            let mut limit = Limit { paths: parse_paths(paths)?, session: None };
            if let Some(id) = session_id {
                limit.session = Some(read_session(caller(ctx)?, self.0.id, &id).await?);
            }
            let with_contents = FileDiff::wants_contents(ctx.look_ahead().field("diff"));
            let preview = Preview { project: self.0.id, from: self.newest(), to, limit, with_contents };
            Ok(Some(RestorePreview { revision: to, diff: FileDiff::of_restore(ctx, preview).await? }))
        })
        .await
    }

    /// What was done in the project in a range of time. It is summed up from sums that are kept while the project is
    /// written, and does not read the history.
    async fn insights(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The start of the range, in 2023 or later.")] from: Time,
        #[graphql(desc = "The end of the range, which is not part of it; later than `from`.")] to: Time,
        #[graphql(
            default_with = "InsightBucket::Day",
            desc = "The length of `buckets`. A range has at most 1,000 of them."
        )]
        bucket: InsightBucket,
        #[graphql(
            default_with = "Some(\"UTC\".to_owned())",
            desc = "The time zone, by its name in the IANA database, such as `Europe/Berlin`."
        )]
        time_zone: Option<String>,
    ) -> Option<Result<Insights>> {
        or_null(async {
            let range = insights::range(from, to, bucket, time_zone)?;
            let caller = caller(ctx)?;
            let at = self.until();
            if at.is_none() {
                caller.services.roll_up(&caller.actor, self.0.id, self.0.revision);
            }
            let insights = caller.load(InsightsOf(self.0.id, at, range)).await?;
            Ok(insights.map(|insights| Insights::new(insights, at)))
        })
        .await
    }

    /// The project's log: one entry per revision, oldest first.
    #[graphql(complexity = "weigh(first, None, page::EVENTS, child_complexity)")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 0, desc = "Only entries after this revision.")] after_revision: Option<i32>,
        #[graphql(default = 100, desc = "Number of entries, at most 500.")] first: Option<i32>,
    ) -> Result<Vec<ProjectEvent>> {
        or_empty(ctx, async {
            let after = self.at(after_revision.or(Some(0)), "afterRevision")?.unwrap_or(0);
            let limit = page::EVENTS.limit("first", first)?;
            let events = caller(ctx)?.load(EventsAfter(self.0.id, after, limit)).await?.unwrap_or_default();
            let events = events.into_iter().filter(|event| event.revision <= self.newest());
            Ok(events.map(ProjectEvent).collect())
        })
        .await
    }

    /// The users who are in the project or invited to it, without the owner, in the order of their invitations.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn collaborators(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number; by default all, which the setting `MAX_COLLABORATORS` limits.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after the collaborator with this `cursor` or id.")] after: Option<ID>,
    ) -> Result<Vec<Collaborator>> {
        or_empty(ctx, async {
            let caller = caller(ctx)?;
            let rows = caller.load(CollaboratorsOf(self.0.id)).await?.unwrap_or_default();
            let id = |row: &collaborator::Collaborator| NodeId::Collaborator(row.project_id, row.user_id).to_string();
            let rows = cut_by_place(
                caller,
                rows,
                first,
                after.as_ref(),
                (collaborator::Collaborator::LIST, id, collaborator::Collaborator::place),
            )?;
            Ok(rows.into_iter().map(Collaborator).collect())
        })
        .await
    }

    /// The users who are present now, by any subscription on any server, in order of arrival. A user who unsubscribes
    /// is removed at once; after a lost connection or a killed server it takes some seconds. Servers on one SQLite file
    /// show only their own users. A project as of a revision has none.
    #[graphql(complexity = "rows(UNPAGED, child_complexity)")]
    async fn presence(&self, ctx: &Context<'_>) -> Result<Vec<Presence>> {
        if self.0.as_of.is_some() {
            return Ok(Vec::new());
        }
        Presence::of(caller(ctx)?, self.0.id).await
    }

    /// The open invitations of e-mail addresses, oldest first. Only the owner sees them; for other members the list is
    /// empty.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn email_invitations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number; by default all, which the setting `MAX_COLLABORATORS` limits.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after the invitation with this `cursor` or id.")] after: Option<ID>,
    ) -> Result<Vec<EmailInvitation>> {
        or_empty(ctx, async {
            let caller = caller(ctx)?;
            let rows = caller.load(EmailInvitationsOf(self.0.id)).await?.unwrap_or_default();
            let id = |row: &collaborator::EmailInvitation| {
                NodeId::EmailInvitation(row.project_id, row.email.clone()).to_string()
            };
            let rows = cut_by_place(
                caller,
                rows,
                first,
                after.as_ref(),
                (collaborator::EmailInvitation::LIST, id, collaborator::EmailInvitation::place),
            )?;
            Ok(rows.into_iter().map(EmailInvitation).collect())
        })
        .await
    }

    /// The URLs that receive its events, oldest first. Only the owner sees them; for other members the list is empty. The
    /// setting `MAX_WEBHOOKS` limits their number (20 by default). A project as of a revision has none.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn webhooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number; by default all, which the setting `MAX_WEBHOOKS` limits.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only those after the webhook with this id.")] after: Option<ID>,
    ) -> Result<Vec<Webhook>> {
        or_empty(ctx, async { Webhook::of_project(caller(ctx)?, &self.0, first, after.as_ref()).await }).await
    }

    /// The access tokens of machines, oldest first, also expired ones. Only the owner sees them; for other members the
    /// list is empty.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn access_tokens(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Maximum number; by default all, which the setting `MAX_ACCESS_TOKENS` limits.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after the access token with this `cursor` or id.")] after: Option<ID>,
    ) -> Result<Vec<AccessToken>> {
        or_empty(ctx, async {
            let caller = caller(ctx)?;
            let rows = caller.load(AccessTokensOf(self.0.id)).await?.unwrap_or_default();
            let id = |row: &access_token::AccessToken| row.id.0.to_string();
            let rows = cut_by_place(
                caller,
                rows,
                first,
                after.as_ref(),
                (access_token::AccessToken::LIST, id, access_token::AccessToken::place),
            )?;
            Ok(rows.into_iter().map(AccessToken).collect())
        })
        .await
    }

    /// The configuration that its voice agent uses; null if none is active.
    async fn active_agent_configuration(&self, ctx: &Context<'_>) -> Option<Result<AgentConfiguration>> {
        or_null(async {
            let keep = self.configurations(ctx, true, false);
            let rows = caller(ctx)?.load(AgentConfigurationsOf(self.0.id, keep)).await?.unwrap_or_default();
            Ok(rows.into_iter().next().map(|row| AgentConfiguration { row: Box::new(row), until: keep.at }))
        })
        .await
    }

    /// The configurations of its voice agent, oldest first. The setting `MAX_AGENT_CONFIGURATIONS` limits their number
    /// (100 by default), without deleted ones.
    #[graphql(complexity = "weigh_part(first, child_complexity)")]
    async fn agent_configurations(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(false)", desc = "True keeps the active configuration; there is at most one.")]
        active_only: Option<bool>,
        #[graphql(default_with = "Some(false)", desc = "Lists deleted configurations as well.")]
        include_deleted: Option<bool>,
        #[graphql(desc = "Maximum number; by default all; an error if there are more than `MAX_LIST_ROWS`.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after the configuration with this id.")] after: Option<ID>,
    ) -> Result<Vec<AgentConfiguration>> {
        or_empty(ctx, async {
            let keep = self.configurations(ctx, active_only.unwrap_or(false), include_deleted.unwrap_or(false));
            AgentConfiguration::of_project(caller(ctx)?, self.0.id, keep, first, after).await
        })
        .await
    }
}
