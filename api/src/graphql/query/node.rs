//! Anything by its id.

use std::collections::HashMap;

use async_graphql::parser::types::Selection;
use async_graphql::{Context, ID, Lookahead, Object};
use uuid::Uuid;

use crate::domain::node::{self, Kind};
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::or_null;
use crate::graphql::loader::FileAt;
use crate::graphql::page::rows;
use crate::graphql::types::Node;
use crate::graphql::types::agent_configuration::AgentConfiguration;
use crate::graphql::types::chat::{ChatMessage, ChatSession};
use crate::graphql::types::file::{CodeChange, FileSnapshot, ProjectFile};
use crate::graphql::types::profile::User;
use crate::graphql::types::project::Project;
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::model::error::{Error, Result};
use crate::model::ids::{
    AgentConfigurationId, CodeChangeId, FileId, FileSnapshotId, FolderId, MessageId, ProjectId, ProjectSnapshotId,
    SessionId, UserId, parse_uuid,
};

/// Ids that one `nodes` takes.
const MAX_NODES: usize = 100;

#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Anything by its id; null for what is not there or not for the caller to see.
    async fn node(&self, ctx: &Context<'_>, id: ID) -> Option<Result<Node>> {
        or_null(async {
            let caller = caller(ctx)?;
            let id = NodeId::parse(&id, "id")?;
            if let (NodeId::Row(row), Some(kind)) = (&id, expected(ctx)) {
                let found = find(caller, &ctx.look_ahead(), *row, kind).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            let kinds = kinds(caller, std::slice::from_ref(&id)).await?;
            load(caller, &id, &kinds).await
        })
        .await
    }

    /// Anything by its id, in the order of the ids; at most 100.
    #[graphql(complexity = "rows(ids.len(), child_complexity)")]
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> Result<Vec<Option<Node>>> {
        let caller = caller(ctx)?;
        if ids.len() > MAX_NODES {
            return Err(Error::bad_input("ids", format!("At most {MAX_NODES} ids at once.")));
        }
        let parse = |(at, id): (usize, &ID)| NodeId::parse(id, &format!("ids[{at}]"));
        let ids = ids.iter().enumerate().map(parse).collect::<Result<Vec<NodeId>>>()?;
        let kinds = kinds(caller, &ids).await?;
        let nodes = ids.iter().map(|id| load(caller, id, &kinds));
        futures::future::try_join_all(nodes).await
    }
}

/// An id as clients send it.
enum NodeId {
    /// Of what has a row.
    Row(Uuid),
    /// Of a folder that has none.
    Folder(FolderId),
}

impl NodeId {
    fn parse(text: &str, field: &str) -> Result<Self> {
        match FolderId::parse(text) {
            Some(id) => Ok(Self::Folder(id)),
            None => parse_uuid(text, field).map(Self::Row),
        }
    }
}

/// The one type that the selection has a fragment for. What is fetched again by its id is of that type, so it is looked for
/// first, which saves the question of what the id names.
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
        _ => return None,
    })
}

/// What is expected to be of a kind, with the list that is selected of it.
async fn find(caller: &Caller, selected: &Lookahead<'_>, id: Uuid, kind: Kind) -> Result<Option<Node>> {
    Ok(match kind {
        Kind::Project => Project::find(caller, selected, ProjectId(id)).await?.map(|row| Project(row).into()),
        Kind::Session => ChatSession::find(caller, selected, SessionId(id)).await?.map(|row| ChatSession(row).into()),
        Kind::File => ProjectFile::find(caller, selected, FileId(id)).await?.map(|row| ProjectFile::from(row).into()),
        kind => load(caller, &NodeId::Row(id), &HashMap::from([(id, kind)])).await?,
    })
}

async fn kinds(caller: &Caller, ids: &[NodeId]) -> Result<HashMap<Uuid, Kind>> {
    let rows = |id: &NodeId| if let NodeId::Row(id) = id { Some(*id) } else { None };
    let ids: Vec<Uuid> = ids.iter().filter_map(rows).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(node::kinds(&*caller.reader.tx().await?, &ids).await?.into_iter().collect())
}

async fn load(caller: &Caller, id: &NodeId, kinds: &HashMap<Uuid, Kind>) -> Result<Option<Node>> {
    let id = match id {
        NodeId::Row(id) => *id,
        NodeId::Folder(id) => {
            let found = caller.load(FileAt(None, id.project, id.path.clone())).await?;
            // What has a row at this path has another id.
            return Ok(found.filter(|entry| entry.file().is_none()).map(|entry| ProjectFile(entry).into()));
        }
    };
    Ok(match kinds.get(&id) {
        // Ids of users are their issuer's, of any version, so this comes after what has an id of its own.
        None if CodeChangeId::is_one(id) => {
            let version: FileSnapshotId = CodeChangeId(id).into();
            caller.load(version).await?.map(|row| CodeChange(row).into())
        }
        None => None,
        Some(Kind::User) => caller.load(UserId(id)).await?.map(|row| User(row).into()),
        Some(Kind::Project) => caller.load(ProjectId(id)).await?.map(|row| Project(row).into()),
        Some(Kind::Session) => caller.load(SessionId(id)).await?.map(|row| ChatSession(row).into()),
        Some(Kind::Message) => caller.load(MessageId(id)).await?.map(|row| ChatMessage(row).into()),
        Some(Kind::File) => caller.load(FileId(id)).await?.map(|row| ProjectFile::from(row).into()),
        Some(Kind::FileSnapshot) => caller.load(FileSnapshotId(id)).await?.map(|row| FileSnapshot(row).into()),
        Some(Kind::AgentConfiguration) => {
            let row = caller.load(AgentConfigurationId(id)).await?;
            row.map(|row| AgentConfiguration { row: Box::new(row), until: None }.into())
        }
        Some(Kind::ProjectSnapshot) => caller.load(ProjectSnapshotId(id)).await?.map(|row| ProjectSnapshot(row).into()),
    })
}
