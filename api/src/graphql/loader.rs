//! Keys for batched reads: one statement per key type, however many rows need it. To add a read, add a key type here
//! and its entry in `loaders!`. A key contains the project in which its row was found; the transaction checks whether
//! the caller is a member of it (`storage/access.rs`).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::batch::Key;
use super::context::Caller;
use super::parent::{Parent, member_pairs, members, objects, parents, projects, revisions};
use crate::domain::blame::{self, BlameRange};
use crate::domain::compare::{self, Between, FileDiff};
use crate::domain::snapshot::Preview;
use crate::domain::{
    Member, Tx, access, access_token, agent_configuration, chat, collaborator, events, file, insights, past, profile,
    project, snapshot, streaming_message, undo, webhook,
};
use crate::live::presence;
use crate::model::access_token::AccessToken;
use crate::model::agent_configuration::{AgentConfiguration, AgentConfigurationFilter};
use crate::model::chat::{Message, MessageFilter, Session, SessionFilter};
use crate::model::collaborator::{Collaborator, EmailInvitation, Invitation};
use crate::model::error::Result;
use crate::model::event::{AsOf, Event, Moment, Undos};
use crate::model::file::{ChangeFilter, Entry, File, FileFilter, FileSnapshot, FilesOf, Hash as Sha256};
use crate::model::ids::{
    AccessTokenId, AgentConfigurationId, FileId, FileSnapshotId, MessageId, ProjectId, ProjectSnapshotId, SessionId,
    UserId, WebhookDeliveryId, WebhookId, Within,
};
use crate::model::insights::{Insights, Range};
use crate::model::long_columns::Needing;
use crate::model::page::{Page, Slice};
use crate::model::path::FilePath;
use crate::model::presence::Presence;
use crate::model::profile::{Preferences, Profile};
use crate::model::project::Project;
use crate::model::snapshot::{ProjectSnapshot, SnapshotFilter};
use crate::model::streaming_message::StreamingMessage;
use crate::model::webhook::{Delivery, Webhook};

/// A page of a list of `parent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part<P, F> {
    /// The owner of the list.
    pub parent: P,
    /// Filter of the list.
    pub keep: F,
    /// The page.
    pub page: Page,
}

/// The length of a list of `parent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Count<P, F> {
    /// The owner of the list.
    pub parent: P,
    /// Filter of the list.
    pub keep: F,
}

/// A row by its id, together with a page of one of its lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct With<I, F> {
    /// The id of the row.
    pub id: I,
    /// Filter of the list.
    pub keep: F,
    /// The page.
    pub page: Page,
}

/// Filter of a list of versions of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionFilter {
    /// Coalesces autosaves that are at most this many seconds apart; 0 for none.
    pub autosave_coalesce_seconds: u32,
    /// Only the versions up to this revision.
    pub until: Option<i32>,
    /// Whether the hashes and sizes of the contents are needed.
    pub has_contents: bool,
}

/// An object as of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Past<I>(pub I, pub i32);
/// The content with a hash, in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Contents(pub ProjectId, pub Sha256);
/// A version of a file by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionNumber(pub Within<FileId>, pub i32);
/// The authors of the lines of a file in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlameOf(pub Within<FileId>, pub i32);
/// The entries directly in a folder, or in the root without a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChildrenOf(pub Option<FilePath>);
/// The entry at a path, now or as of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileAt(pub Option<i32>, pub ProjectId, pub FilePath);
/// The snapshot that a revision created, renamed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotOfEvent(pub ProjectId, pub i32);
/// The changes made by a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChangesMadeAt(pub ProjectId, pub i32);
/// The event of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventAt(pub ProjectId, pub i32);
/// Events of a project after a revision, with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventsAfter(pub ProjectId, pub i32, pub usize);
/// The revision that a moment of a project refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MomentOf(pub ProjectId, pub Moment);
/// The undos of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UndosOf(pub ProjectId);
/// The preferences of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OwnPreferences;
/// The changes made for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChangesFor(pub Within<MessageId>);
/// The caller's active session in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActiveSession(pub ProjectId);
/// The streaming messages of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamingIn(pub Within<SessionId>);
/// A streaming message by the id that it will have when finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Streaming(pub MessageId);
/// The caller's pending invitation to a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvitationInto(pub ProjectId);
/// A version of an agent configuration by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfigurationVersion(pub AgentConfigurationId, pub i32);
/// The current text of a streaming message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamingText(pub Within<MessageId>);
/// The users present in a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PresencesOf(pub ProjectId);
/// The collaborators of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CollaboratorsOf(pub ProjectId);
/// The pending e-mail invitations of a project that the caller owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EmailInvitationsOf(pub ProjectId);
/// The access tokens of a project that the caller owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessTokensOf(pub ProjectId);
/// The agent configurations of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AgentConfigurationsOf(pub ProjectId, pub AgentConfigurationFilter);
/// The versions of agent configurations created by a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConfiguredAt(pub ProjectId, pub i32);
/// The versions of an agent configuration, up to a revision if one is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VersionsUntil(pub Option<i32>);
/// The webhooks of a project that the caller owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WebhooksOf(pub ProjectId);
/// All deliveries of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deliveries;
/// The insights of a project in a range, up to a revision if one is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InsightsOf(pub ProjectId, pub Option<i32>, pub Range);
/// The insights of what a user did in the caller's projects, with the projects that have activity to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InsightsOfUser(pub UserId, pub Range);

impl Caller {
    /// The value for a key; `None` if it does not exist or the caller has no access to it.
    pub async fn load<K: Key>(&self, key: K) -> Result<Option<K::Value>> {
        self.wanted.load(key).await
    }

    /// Reads a row together with a page of one of its lists. A later read of that page by its own key then needs no
    /// statement.
    pub async fn load_with<I, F, R, P: Parent, T>(&self, key: With<I, F>, parent: impl Fn(&R) -> P) -> Result<Option<R>>
    where
        With<I, F>: Key<Value = (R, Slice<T>)>,
        Part<P, F>: Key<Value = Slice<T>>,
        F: Clone,
    {
        let (keep, page) = (key.keep.clone(), key.page.clone());
        let Some((row, slice)) = self.load(key).await? else { return Ok(None) };
        self.wanted.prepare(Part { parent: parent(&row), keep, page }, slice);
        Ok(Some(row))
    }
}

macro_rules! loaders {
    ($($key:ty => $value:ty, |$tx:ident, $keys:ident| $read:expr;)+) => {$(
        impl Key for $key {
            type Value = $value;

            async fn read($tx: &Tx, $keys: &[Self]) -> Result<HashMap<Self, $value>> {
                $read
            }
        }
    )+};
}

loaders! {
    Needing<UserId> => Profile, |tx, keys| Ok(each_of(keys, profile::by_ids(tx, keys).await?, |row| row.id));
    Needing<ProjectId> => Project, |tx, keys| Ok(each_of(keys, project::by_ids(tx, keys).await?, |row| row.id));
    Needing<SessionId> => Session, |tx, keys| Ok(each_of(keys, chat::sessions_by_ids(tx, keys).await?, |row| row.id));
    Needing<MessageId> => Message, |tx, keys| Ok(each_of(keys, chat::messages_by_ids(tx, keys).await?, |row| row.id));
    FileId => File, |tx, keys| Ok(index(file::by_ids(tx, keys).await?, |row| row.id));
    Needing<FileSnapshotId> => FileSnapshot, |tx, keys| {
        Ok(each_of(keys, file::versions_by_ids(tx, keys).await?, |row| row.id))
    };
    Needing<ProjectSnapshotId> => ProjectSnapshot, |tx, keys| {
        Ok(each_of(keys, snapshot::by_ids(tx, keys).await?, |row| row.id))
    };
    Needing<Past<ProjectId>> => Project, |tx, keys| past(tx, keys, past::projects, |row| row.id).await;
    Needing<Past<SessionId>> => Session, |tx, keys| past(tx, keys, past::sessions, |row| row.id).await;
    Needing<Past<MessageId>> => Message, |tx, keys| past(tx, keys, past::messages, |row| row.id).await;
    Past<FileId> => File, |tx, keys| {
        let mut found = HashMap::new();
        for keys in keys.chunks(PARENTS) {
            let wanted: Vec<(FileId, i32)> = keys.iter().map(|key| (key.0, key.1)).collect();
            found.extend(past::files(tx, &wanted).await?.into_iter().map(|(at, row)| (Past(row.id, at), row)));
        }
        Ok(found)
    };
    Needing<Past<AgentConfigurationId>> => AgentConfiguration, |tx, keys| {
        past(tx, keys, past::agent_configurations, |row| row.id).await
    };
    ActiveSession => Session, |tx, keys| {
        let projects = projects(tx, keys, |key| key.0).await?;
        Ok(index(chat::active_sessions(tx, &projects).await?, |row| ActiveSession(row.project_id)))
    };
    StreamingIn => Vec<StreamingMessage>, |tx, keys| {
        let sessions = objects(tx, keys, |key| key.0).await?;
        let rows = streaming_message::of_sessions(tx, &sessions).await?;
        Ok(gather(rows, |row| StreamingIn(Within { project: row.project_id, id: row.session_id })))
    };
    Needing<Streaming> => StreamingMessage, |tx, keys| {
        let ids: Vec<Needing<MessageId>> = keys.iter().map(|key| Needing(key.0.0, key.1)).collect();
        Ok(each_of(keys, streaming_message::by_ids(tx, &ids).await?, |row| Streaming(row.id)))
    };
    InvitationInto => Invitation, |tx, keys| {
        let projects: Vec<ProjectId> = keys.iter().map(|key| key.0).collect();
        Ok(index(collaborator::invitations_into(tx, &projects).await?, |row| InvitationInto(row.project_id)))
    };
    Needing<ConfigurationVersion> => AgentConfiguration, |tx, keys| {
        let wanted: Vec<_> = keys.iter().map(|Needing(key, columns)| Needing((key.0, key.1), *columns)).collect();
        let rows = agent_configuration::versions_by_numbers(tx, &wanted).await?;
        Ok(each_of(keys, rows, |row| ConfigurationVersion(row.id, row.version)))
    };
    StreamingText => String, |tx, keys| {
        let messages = objects(tx, keys, |key| key.0).await?;
        let mut texts: HashMap<MessageId, String> = streaming_message::texts(tx, &messages).await?.into_iter().collect();
        Ok(keys.iter().filter_map(|key| Some((*key, texts.remove(&key.0.id)?))).collect())
    };
    PresencesOf => Vec<Presence>, |tx, keys| {
        let projects = projects(tx, keys, |key| key.0).await?;
        Ok(gather(presence::of_projects(tx, &projects).await?, |row| PresencesOf(row.project_id)))
    };
    CollaboratorsOf => Vec<Collaborator>, |tx, keys| {
        let projects = projects(tx, keys, |key| key.0).await?;
        Ok(gather(collaborator::of_projects(tx, &projects).await?, |row| CollaboratorsOf(row.project_id)))
    };
    EmailInvitationsOf => Vec<EmailInvitation>, |tx, keys| {
        let projects: Vec<ProjectId> = keys.iter().map(|key| key.0).collect();
        Ok(gather(collaborator::email_invitations(tx, &projects).await?, |row| EmailInvitationsOf(row.project_id)))
    };
    AccessTokenId => AccessToken, |tx, keys| Ok(index(access_token::by_ids(tx, keys).await?, |row| row.id));
    AccessTokensOf => Vec<AccessToken>, |tx, keys| {
        let projects: Vec<ProjectId> = keys.iter().map(|key| key.0).collect();
        Ok(gather(access_token::of_projects(tx, &projects).await?, |row| AccessTokensOf(row.project_id)))
    };
    Needing<AgentConfigurationId> => AgentConfiguration, |tx, keys| {
        Ok(each_of(keys, agent_configuration::by_ids(tx, keys).await?, |row| row.id))
    };
    AgentConfigurationsOf => Vec<AgentConfiguration>, |tx, keys| {
        let mut found = HashMap::new();
        for (keep, keys) in gather(keys.to_vec(), |key| key.1) {
            let projects = projects(tx, &keys, |key| key.0).await?;
            let rows = agent_configuration::of_projects(tx, &projects, keep).await?;
            found.extend(gather(rows, |row| AgentConfigurationsOf(row.project_id, keep)));
        }
        Ok(found)
    };
    ConfiguredAt => Vec<AgentConfiguration>, |tx, keys| {
        let revisions = revisions(tx, keys, |key| (key.0, key.1)).await?;
        let rows = agent_configuration::by_revisions(tx, &revisions).await?;
        Ok(gather(rows, |row| ConfiguredAt(row.project_id, row.revision)))
    };
    Part<Within<AgentConfigurationId>, VersionsUntil> => Slice<AgentConfiguration>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep: &VersionsUntil, page| {
            agent_configuration::versions_page(tx, parents, keep.0, page).await
        }).await
    };
    Contents => Result<Arc<Vec<u8>>>, |tx, keys| {
        let keys = member_pairs(access::within(tx, keys, |key| key.0).await?, |key| key.1);
        Ok(file::contents(tx, &keys).await?.into_iter().map(|((project, hash), bytes)| (Contents(project, hash), bytes)).collect())
    };
    VersionNumber => FileSnapshot, |tx, keys| {
        let keys = member_pairs(access::within(tx, keys, |key| key.0.project).await?, |key| (key.0.id, key.1));
        Ok(index(file::versions_by_numbers(tx, &keys).await?, |row| {
            VersionNumber(Within { project: row.project_id, id: row.file_id }, row.version)
        }))
    };
    FileAt => Entry, |tx, keys| {
        let mut found = HashMap::new();
        for (at, keys) in gather(keys.to_vec(), |key| key.0) {
            let paths = member_pairs(access::within(tx, &keys, |key| key.1).await?, |key| key.2);
            let rows = file::entries(tx, at, &paths).await?;
            found.extend(rows.into_iter().map(|row| (FileAt(at, row.project_id(), row.path().clone()), row)));
        }
        Ok(found)
    };
    SnapshotOfEvent => ProjectSnapshot, |tx, keys| {
        let revisions = revisions(tx, keys, |key| (key.0, key.1)).await?;
        let rows = snapshot::by_revisions(tx, &revisions).await?;
        Ok(rows.into_iter().map(|(revision, row)| (SnapshotOfEvent(row.project_id, revision), row)).collect())
    };
    ChangesMadeAt => Vec<FileSnapshot>, |tx, keys| {
        let revisions = revisions(tx, keys, |key| (key.0, key.1)).await?;
        Ok(gather(file::changes_of_revisions(tx, &revisions).await?, |row| ChangesMadeAt(row.project_id, row.revision)))
    };
    EventAt => Event, |tx, keys| {
        let revisions = revisions(tx, keys, |key| (key.0, key.1)).await?;
        Ok(index(events::by_revisions(tx, &revisions).await?, |row| EventAt(row.project_id, row.revision)))
    };
    EventsAfter => Vec<Event>, |tx, keys| {
        let mut found: HashMap<EventsAfter, Vec<Event>> = HashMap::new();
        for ((after, limit), keys) in gather(keys.to_vec(), |key| (key.1, key.2)) {
            for keys in keys.chunks(PARENTS) {
                let projects = projects(tx, keys, |key| key.0).await?;
                let rows = events::after(tx, &projects, after, &[], limit).await?;
                found.extend(gather(rows, |row| EventsAfter(row.project_id, after, limit)));
            }
        }
        Ok(found)
    };
    Between => Result<Vec<FileDiff>>, |tx, keys| {
        let mut found = HashMap::new();
        for keys in keys.chunks(PARENTS) {
            let wanted = access::within(tx, keys, |key| key.project).await?;
            let diffs = compare::diffs(tx, &wanted, None).await?;
            found.extend(wanted.into_iter().map(|(_, key)| key).zip(diffs));
        }
        Ok(found)
    };
    Preview => Result<Vec<FileDiff>>, |tx, keys| {
        let mut found = HashMap::new();
        for keys in keys.chunks(PARENTS) {
            let wanted = access::within(tx, keys, |key| key.project).await?;
            let diffs = snapshot::previews(tx, &wanted).await?;
            found.extend(wanted.into_iter().map(|(_, key)| key).zip(diffs));
        }
        Ok(found)
    };
    UndosOf => Arc<Undos>, |tx, keys| {
        let projects = projects(tx, keys, |key| key.0).await?;
        let undos = undo::of_projects(tx, &projects).await?;
        Ok(undos.into_iter().map(|(project, undos)| (UndosOf(project), Arc::new(undos))).collect())
    };
    BlameOf => Result<Vec<BlameRange>>, |tx, keys| {
        let mut found = HashMap::new();
        for keys in keys.chunks(PARENTS) {
            let wanted = access::within(tx, keys, |key| key.0.project).await?;
            let files = member_pairs(wanted.clone(), |key| (key.0.id, key.1));
            let blamed = blame::blame(tx, &files).await?;
            found.extend(wanted.into_iter().map(|(_, key)| key).zip(blamed));
        }
        Ok(found)
    };
    MomentOf => AsOf, |tx, keys| {
        let mut found = HashMap::new();
        for keys in keys.chunks(PARENTS) {
            let moments = member_pairs(access::within(tx, keys, |key| key.0).await?, |key| key.1);
            let rows = events::at(tx, &moments).await?;
            found.extend(rows.into_iter().map(|((project, moment), as_of)| (MomentOf(project, moment), as_of)));
        }
        Ok(found)
    };
    OwnPreferences => Preferences, |tx, _keys| {
        let preferences = profile::preferences(tx).await?;
        Ok(preferences.map(|preferences| (OwnPreferences, preferences)).into_iter().collect())
    };
    InsightsOf => Arc<Insights>, |tx, keys| {
        let mut found = HashMap::new();
        for (range, keys) in gather(keys.to_vec(), |key| key.2) {
            let wanted = member_pairs(access::within(tx, &keys, |key| key.0).await?, |key| key.1);
            let insights = insights::of_projects(tx, &wanted, range).await?;
            let key = |(member, until): (Member<'_>, Option<i32>)| InsightsOf(member.project(), until, range);
            found.extend(wanted.into_iter().map(key).zip(insights));
        }
        Ok(found)
    };
    InsightsOfUser => (Arc<Insights>, Vec<(ProjectId, i32)>), |tx, keys| {
        each(tx, keys, async |tx, key| Ok(Some(insights::of_user(tx, key.0, key.1).await?))).await
    };
    WebhookId => Webhook, |tx, keys| Ok(index(webhook::by_ids(tx, keys).await?, |row| row.id));
    WebhooksOf => Vec<Webhook>, |tx, keys| {
        let projects: Vec<ProjectId> = keys.iter().map(|key| key.0).collect();
        Ok(gather(webhook::of_projects(tx, &projects).await?, |row| WebhooksOf(row.project_id)))
    };
    WebhookDeliveryId => Delivery, |tx, keys| Ok(index(webhook::deliveries_by_ids(tx, keys).await?, |row| row.id));
    Part<Within<WebhookId>, Deliveries> => Slice<Delivery>, |tx, keys| {
        parts(tx, keys, async |tx, parents, _, page| webhook::deliveries_page(tx, parents, page).await).await
    };
    Count<Within<WebhookId>, Deliveries> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, _| webhook::deliveries_count(tx, parents).await).await
    };
    ChangesFor => Vec<FileSnapshot>, |tx, keys| {
        let messages = objects(tx, keys, |key| key.0).await?;
        let rows = file::changes_of_messages(tx, &messages).await?;
        let mut found: HashMap<ChangesFor, Vec<FileSnapshot>> = HashMap::new();
        for row in rows {
            if let Some(id) = row.message_id {
                found.entry(ChangesFor(Within { project: row.project_id, id })).or_default().push(row);
            }
        }
        Ok(found)
    };
    With<Needing<ProjectId>, SessionFilter> => (Project, Slice<Session>), |tx, keys| {
        each(tx, keys, async |tx, key| chat::project_with_sessions(tx, key.id, &key.keep, &key.page).await).await
    };
    With<Needing<ProjectId>, FileFilter> => (Project, Slice<File>), |tx, keys| {
        each(tx, keys, async |tx, key| file::project_with_page(tx, key.id, &key.keep, &key.page).await).await
    };
    With<Needing<ProjectId>, ChangeFilter> => (Project, Slice<FileSnapshot>), |tx, keys| {
        each(tx, keys, async |tx, key| file::project_with_changes(tx, key.id, &key.keep, &key.page).await).await
    };
    With<Needing<ProjectId>, SnapshotFilter> => (Project, Slice<ProjectSnapshot>), |tx, keys| {
        each(tx, keys, async |tx, key| snapshot::project_with_page(tx, key.id, &key.keep, &key.page).await).await
    };
    With<Needing<SessionId>, MessageFilter> => (Session, Slice<Message>), |tx, keys| {
        each(tx, keys, async |tx, key| chat::session_with_messages(tx, key.id, &key.keep, &key.page).await).await
    };
    With<FileId, VersionFilter> => (File, Slice<FileSnapshot>), |tx, keys| {
        each(tx, keys, async |tx, key| file::file_with_versions(tx, key.id, key.keep.has_contents, &key.page).await).await
    };
    Part<ProjectId, SessionFilter> => Slice<Session>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep, page| chat::sessions_page(tx, &members(parents), keep, page).await).await
    };
    Count<ProjectId, SessionFilter> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, keep| chat::sessions_count(tx, &members(parents), keep).await).await
    };
    Part<Within<SessionId>, MessageFilter> => Slice<Message>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep, page| chat::messages_page(tx, parents, keep, page).await).await
    };
    Count<Within<SessionId>, MessageFilter> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, keep| chat::messages_count(tx, parents, keep).await).await
    };
    Part<FilesOf, FileFilter> => Slice<File>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep, page| file::page(tx, parents, keep, page).await).await
    };
    Count<FilesOf, FileFilter> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, keep| file::count(tx, parents, keep).await).await
    };
    Part<FilesOf, ChildrenOf> => Slice<Entry>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep: &ChildrenOf, page| file::children_page(tx, parents, keep.0.as_ref(), page).await).await
    };
    Count<FilesOf, ChildrenOf> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, keep: &ChildrenOf| file::children_count(tx, parents, keep.0.as_ref()).await).await
    };
    Part<ProjectId, ChangeFilter> => Slice<FileSnapshot>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep, page| file::changes_page(tx, &members(parents), keep, page).await).await
    };
    Count<ProjectId, ChangeFilter> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, keep| file::changes_count(tx, &members(parents), keep).await).await
    };
    Part<Within<FileId>, VersionFilter> => Slice<FileSnapshot>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep: &VersionFilter, page| match (keep.autosave_coalesce_seconds, keep.until) {
            (0, None) => file::versions_page(tx, parents, keep.has_contents, page).await,
            (seconds, until) => file::coalesced_versions_page(tx, parents, (seconds, until), page).await,
        }).await
    };
    Count<Within<FileId>, VersionFilter> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, keep: &VersionFilter| file::coalesced_versions_count(tx, parents, (keep.autosave_coalesce_seconds, keep.until)).await).await
    };
    Part<ProjectId, SnapshotFilter> => Slice<ProjectSnapshot>, |tx, keys| {
        parts(tx, keys, async |tx, parents, keep, page| snapshot::page(tx, &members(parents), keep, page).await).await
    };
    Count<ProjectId, SnapshotFilter> => i64, |tx, keys| {
        counts(tx, keys, async |tx, parents, keep| snapshot::count(tx, &members(parents), keep).await).await
    };
}

/// Reads objects as of revisions, with one statement per [`PARENTS`] keys.
async fn past<I: Copy + Eq + Hash, T: Clone>(
    tx: &Tx,
    keys: &[Needing<Past<I>>],
    read: impl AsyncFn(&Tx, &[Needing<(I, i32)>]) -> Result<Vec<(i32, T)>>,
    id: impl Fn(&T) -> I,
) -> Result<HashMap<Needing<Past<I>>, T>> {
    let wanted = Needing::merged(keys.iter().map(|Needing(key, columns)| Needing((key.0, key.1), *columns)));
    let mut found = Vec::with_capacity(wanted.len());
    for wanted in wanted.chunks(PARENTS) {
        found.extend(read(tx, wanted).await?);
    }
    let found = each_of(keys, found, |(at, row)| Past(id(row), *at));
    Ok(found.into_iter().map(|(key, (_, row))| (key, row)).collect())
}

/// The rows of keys that may need different columns of the same row.
fn each_of<K: Copy + Eq + Hash, T: Clone>(
    keys: &[Needing<K>],
    rows: Vec<T>,
    key: impl Fn(&T) -> K,
) -> HashMap<Needing<K>, T> {
    let rows = index(rows, key);
    keys.iter().filter_map(|key| Some((*key, rows.get(&key.0)?.clone()))).collect()
}

fn index<K: Eq + Hash, T>(rows: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, T> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

fn gather<K: Eq + Hash, T>(rows: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, Vec<T>> {
    let mut gathered: HashMap<K, Vec<T>> = HashMap::new();
    for row in rows {
        gathered.entry(key(&row)).or_default().push(row);
    }
    gathered
}

/// Maximum number of parents per statement: SQLite limits compound selects to 500 terms.
const PARENTS: usize = 200;

/// Reads keys one after the other. The number of such keys is limited by the document, not by its rows.
async fn each<K: Clone + Eq + Hash, V>(
    tx: &Tx,
    keys: &[K],
    read: impl AsyncFn(&Tx, &K) -> Result<Option<V>>,
) -> Result<HashMap<K, V>> {
    let mut found = HashMap::new();
    for key in keys {
        if let Some(value) = read(tx, key).await? {
            found.insert(key.clone(), value);
        }
    }
    Ok(found)
}

/// Reads the same page of each parent's list, with one statement per distinct filter and page. The number of these is
/// limited by the document, not by the number of parents.
async fn parts<P, F, T>(
    tx: &Tx,
    keys: &[Part<P, F>],
    read: impl AsyncFn(&Tx, &[(Member<'_>, P::Inner)], &F, &Page) -> Result<Vec<(P, Slice<T>)>>,
) -> Result<HashMap<Part<P, F>, Slice<T>>>
where
    P: Parent,
    F: Clone + Eq + Hash,
{
    let mut found = HashMap::new();
    for ((keep, page), keys) in gather(keys.to_vec(), |key| (key.keep.clone(), key.page.clone())) {
        for keys in keys.chunks(PARENTS) {
            let parents = parents(tx, &keys.iter().map(|key| key.parent).collect::<Vec<P>>()).await?;
            if parents.is_empty() {
                continue;
            }
            for (parent, slice) in read(tx, &parents, &keep, &page).await? {
                found.insert(Part { parent, keep: keep.clone(), page: page.clone() }, slice);
            }
            // Parents without rows have an empty page.
            for key in keys {
                found.entry(key.clone()).or_insert_with(|| Slice::empty(&page));
            }
        }
    }
    Ok(found)
}

async fn counts<P, F>(
    tx: &Tx,
    keys: &[Count<P, F>],
    read: impl AsyncFn(&Tx, &[(Member<'_>, P::Inner)], &F) -> Result<Vec<(P, i64)>>,
) -> Result<HashMap<Count<P, F>, i64>>
where
    P: Parent,
    F: Clone + Eq + Hash,
{
    let mut found = HashMap::new();
    for (keep, keys) in gather(keys.to_vec(), |key| key.keep.clone()) {
        for keys in keys.chunks(PARENTS) {
            let parents = parents(tx, &keys.iter().map(|key| key.parent).collect::<Vec<P>>()).await?;
            if parents.is_empty() {
                continue;
            }
            let counted = read(tx, &parents, &keep).await?;
            found.extend(counted.into_iter().map(|(parent, n)| (Count { parent, keep: keep.clone() }, n)));
        }
    }
    Ok(found)
}
