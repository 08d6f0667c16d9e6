//! Any object by its id.

use std::collections::HashMap;

use async_graphql::parser::types::Selection;
use async_graphql::{Context, ID, Lookahead, Object};
use uuid::Uuid;

use crate::domain::node::{self, Kind};
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::or_null;
use crate::graphql::loader::{
    CollaboratorsOf, ConfigurationVersion, EmailInvitationsOf, EventAt, FileAt, InvitationInto, MomentOf, Past,
    Streaming,
};
use crate::graphql::long_columns::of_object;
use crate::graphql::needing::{selected, without};
use crate::graphql::page::rows;
use crate::graphql::types::Node;
use crate::graphql::types::access_token::AccessToken;
use crate::graphql::types::agent_configuration::{AgentConfiguration, AgentConfigurationVersion};
use crate::graphql::types::chat::{ChatActivity, ChatMessage, ChatSession};
use crate::graphql::types::code_change::CodeChange;
use crate::graphql::types::collaborator::{Collaborator, EmailInvitation, Invitation};
use crate::graphql::types::event::ProjectEvent;
use crate::graphql::types::file::{FileSnapshot, ProjectFile};
use crate::graphql::types::presence::Presence;
use crate::graphql::types::profile::{User, UserPreferences};
use crate::graphql::types::project::Project;
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::graphql::types::streaming_message::StreamingMessage;
use crate::graphql::types::webhook::{Webhook, WebhookDelivery};
use crate::model::error::Result;
use crate::model::event::Moment;
use crate::model::file::Entry;
use crate::model::ids::{
    AccessTokenId, AgentConfigurationId, CodeChangeId, FileId, FileSnapshotId, FolderId, MessageId, ProjectId,
    ProjectSnapshotId, ReadId, SessionId, UserId, WebhookDeliveryId, WebhookId,
};
use crate::model::long_columns::Needing;
use crate::model::node_id::NodeId;

#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Any object by its id. Null if it does not exist or the caller cannot see it.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "An id as returned by the API. `<uuid>@<revision>` reads the object as of that revision.")]
        id: ID,
    ) -> Option<Result<Node>> {
        or_null(async {
            let caller = caller(ctx)?;
            let id = NodeId::parse(&id, "id")?;
            if let (NodeId::Row(ReadId { id: row, at: None }), Some(kind)) = (&id, expected(ctx)) {
                let found = find(caller, &ctx.look_ahead(), *row, kind).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            let kinds = kinds(caller, [&id]).await?;
            load(caller, &ctx.look_ahead(), &id, &kinds).await
        })
        .await
    }

    /// Objects by their ids, in the order of the ids. An element is null if the caller cannot see the object or it does
    /// not exist, and null with an error if the text is not an id.
    #[graphql(complexity = "rows(ids.len(), child_complexity)")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The ids, at most 100.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Result<Node>>>> {
        let caller = caller(ctx)?;
        let parse = |(at, id): (usize, &ID)| NodeId::parse(id, &format!("ids[{at}]"));
        let ids: Vec<Result<NodeId>> = ids.iter().enumerate().map(parse).collect();
        let kinds = kinds(caller, ids.iter().flatten()).await?;
        let fields = ctx.look_ahead();
        let nodes = ids.into_iter().map(|id| or_null(async { load(caller, &fields, &id?, &kinds).await }));
        Ok(futures::future::join_all(nodes).await)
    }
}

/// The only type that the selection has a fragment for. Clients that refetch an object select its type. This type is
/// tried first, which saves a statement that finds the kind of the id.
fn expected(ctx: &Context<'_>) -> Option<Kind> {
    let mut names = ctx.item.node.selection_set.node.items.iter().filter_map(|selection| {
        let condition = match &selection.node {
            Selection::Field(_) => None,
            Selection::InlineFragment(fragment) => fragment.node.type_condition.as_ref(),
            Selection::FragmentSpread(spread) => {
                ctx.query_env.fragments.get(&spread.node.fragment_name.node).map(|it| &it.node.type_condition)
            }
        };
        condition.map(|condition| condition.node.on.node.as_str())
    });
    let name = names.next().filter(|name| names.all(|other| other == *name))?;
    Some(match name {
        "User" => Kind::User,
        "Project" => Kind::Project,
        "ChatSession" => Kind::Session,
        "ChatMessage" => Kind::Message,
        "ProjectFile" => Kind::File,
        "FileSnapshot" => Kind::FileSnapshot,
        "ProjectSnapshot" => Kind::ProjectSnapshot,
        "AgentConfiguration" => Kind::AgentConfiguration,
        "Webhook" => Kind::Webhook,
        "WebhookDelivery" => Kind::WebhookDelivery,
        "AccessToken" => Kind::AccessToken,
        _ => return None,
    })
}

/// An object of the expected kind, with the selected list.
async fn find(caller: &Caller, fields: &Lookahead<'_>, id: Uuid, kind: Kind) -> Result<Option<Node>> {
    Ok(match kind {
        Kind::Project => Project::find(caller, fields, ProjectId(id)).await?.map(|row| Project(row).into()),
        Kind::Session => ChatSession::find(caller, fields, SessionId(id)).await?.map(|row| ChatSession(row).into()),
        Kind::File => ProjectFile::find(caller, fields, FileId(id)).await?.map(|row| ProjectFile::from(row).into()),
        kind => of_kind(caller, fields, ReadId { id, at: None }, kind).await?,
    })
}

/// The kinds of the objects with these ids, unless the ids contain the kind.
async fn kinds<'i>(caller: &Caller, ids: impl IntoIterator<Item = &'i NodeId>) -> Result<HashMap<Uuid, Kind>> {
    let rows = |id: &NodeId| if let NodeId::Row(id) = id { Some(id.id) } else { None };
    let ids: Vec<Uuid> = ids.into_iter().filter_map(rows).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(node::kinds(&*caller.reader.tx().await?, &ids).await?.into_iter().collect())
}

async fn load(
    caller: &Caller,
    fields: &Lookahead<'_>,
    id: &NodeId,
    kinds: &HashMap<Uuid, Kind>,
) -> Result<Option<Node>> {
    Ok(match id {
        NodeId::Row(id) => match kinds.get(&id.id) {
            Some(kind) => of_kind(caller, fields, *id, *kind).await?,
            // User ids come from the issuer and can have any UUID version, so they are tried last.
            None if CodeChangeId::is_one(id.id) && id.at.is_none() => {
                let version: FileSnapshotId = CodeChangeId(id.id).into();
                caller.load(selected(fields, version)).await?.map(|row| CodeChange(row).into())
            }
            None => None,
        },
        NodeId::Folder(id) => folder(caller, id).await?,
        NodeId::Preferences(user) => {
            let profile = caller.load(without(*user)).await?;
            let preferences = match profile {
                Some(profile) => UserPreferences::of_profile(caller, &profile).await?,
                None => None,
            };
            preferences.map(Into::into)
        }
        NodeId::Activity(id) => activity(caller, fields, *id).await?,
        NodeId::Collaborator(project, user) => {
            let parts = caller.load(CollaboratorsOf(*project)).await?.unwrap_or_default();
            parts.into_iter().find(|part| part.user_id == *user).map(|part| Collaborator(part).into())
        }
        NodeId::Presence(project, user) => {
            let presences = Presence::of(caller, *project).await?;
            presences.into_iter().find(|presence| presence.person.user_id == *user).map(Into::into)
        }
        NodeId::Invitation(_, user) if *user != caller.actor.user_id => None,
        NodeId::Invitation(project, user) => {
            caller.load(InvitationInto(*project)).await?.map(|row| Invitation(row, *user).into())
        }
        NodeId::EmailInvitation(project, email) => {
            let sent = caller.load(EmailInvitationsOf(*project)).await?.unwrap_or_default();
            sent.into_iter().find(|sent| sent.email == *email).map(|sent| EmailInvitation(sent).into())
        }
        NodeId::Event(project, revision) => {
            caller.load(EventAt(*project, *revision)).await?.map(|event| ProjectEvent(event).into())
        }
        NodeId::StreamingMessage(id) => {
            caller.load(selected(fields, Streaming(*id))).await?.map(|row| StreamingMessage(row).into())
        }
        NodeId::AgentConfigurationVersion(id, version) => {
            let row = caller.load(selected(fields, ConfigurationVersion(*id, *version))).await?;
            row.map(|row| AgentConfigurationVersion::from(row).into())
        }
        NodeId::CoalescedVersion(id, count) => {
            let row = caller.load(selected(fields, *id)).await?.and_then(|row| row.of_saves(*count));
            row.map(|row| FileSnapshot(row).into())
        }
        NodeId::CoalescedChange(id, count) => {
            let row = caller.load(selected(fields, *id)).await?.and_then(|row| row.of_saves(*count));
            row.map(|row| CodeChange(row).into())
        }
    })
}

/// A folder without a row.
async fn folder(caller: &Caller, FolderId { project, path }: &FolderId) -> Result<Option<Node>> {
    if let Some(at) = project.at
        && caller.load(MomentOf(project.id, Moment::Revision(at))).await?.is_none()
    {
        return Ok(None);
    }
    let found = caller.load(FileAt(project.at, project.id, path.clone())).await?;
    // An entry with a row has another id.
    Ok(found.filter(|entry| entry.file().is_none()).map(|entry| ProjectFile(entry, project.at).into()))
}

/// A message in the list of recent ones.
async fn activity(
    caller: &Caller,
    fields: &Lookahead<'_>,
    ReadId { id, at }: ReadId<MessageId>,
) -> Result<Option<Node>> {
    let columns = of_object(fields, "ChatActivity");
    let row = match at {
        None => caller.load(Needing(id, columns)).await?,
        Some(at) => caller.load(Needing(Past(id, at), columns)).await?,
    };
    Ok(row.map(|row| ChatActivity(row, at).into()))
}

/// An object with a row, now or as of a revision. Immutable objects have no ids as of a revision.
async fn of_kind(
    caller: &Caller,
    fields: &Lookahead<'_>,
    ReadId { id, at }: ReadId<Uuid>,
    kind: Kind,
) -> Result<Option<Node>> {
    let Some(at) = at else {
        return Ok(match kind {
            Kind::User => caller.load(selected(fields, UserId(id))).await?.map(|row| User(row).into()),
            Kind::Project => caller.load(selected(fields, ProjectId(id))).await?.map(|row| Project(row).into()),
            Kind::Session => caller.load(selected(fields, SessionId(id))).await?.map(|row| ChatSession(row).into()),
            Kind::Message => {
                caller.load(selected(fields, MessageId(id))).await?.map(|row| ChatMessage::from(row).into())
            }
            Kind::File => caller.load(FileId(id)).await?.map(|row| ProjectFile::from(row).into()),
            Kind::FileSnapshot => {
                caller.load(selected(fields, FileSnapshotId(id))).await?.map(|row| FileSnapshot(row).into())
            }
            Kind::ProjectSnapshot => {
                caller.load(selected(fields, ProjectSnapshotId(id))).await?.map(|row| ProjectSnapshot(row).into())
            }
            Kind::AgentConfiguration => {
                let row = caller.load(selected(fields, AgentConfigurationId(id))).await?;
                row.map(|row| AgentConfiguration { row: Box::new(row), until: None }.into())
            }
            Kind::Webhook => caller.load(WebhookId(id)).await?.map(|row| Webhook(row).into()),
            Kind::WebhookDelivery => caller.load(WebhookDeliveryId(id)).await?.map(|row| WebhookDelivery(row).into()),
            Kind::AccessToken => caller.load(AccessTokenId(id)).await?.map(|row| AccessToken(row).into()),
        });
    };
    Ok(match kind {
        Kind::Project => caller.load(selected(fields, Past(ProjectId(id), at))).await?.map(|row| Project(row).into()),
        Kind::Session => {
            caller.load(selected(fields, Past(SessionId(id), at))).await?.map(|row| ChatSession(row).into())
        }
        Kind::Message => {
            caller.load(selected(fields, Past(MessageId(id), at))).await?.map(|row| ChatMessage(row, Some(at)).into())
        }
        Kind::File => {
            let row = caller.load(Past(FileId(id), at)).await?;
            row.map(|row| ProjectFile(Entry::File(row), Some(at)).into())
        }
        Kind::AgentConfiguration => {
            let row = caller.load(selected(fields, Past(AgentConfigurationId(id), at))).await?;
            row.map(|row| AgentConfiguration { row: Box::new(row), until: Some(at) }.into())
        }
        Kind::User
        | Kind::FileSnapshot
        | Kind::ProjectSnapshot
        | Kind::AccessToken
        | Kind::Webhook
        | Kind::WebhookDelivery => None,
    })
}
