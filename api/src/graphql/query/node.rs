//! Anything by its id.

use std::collections::HashMap;

use async_graphql::{Context, ID, Object};
use uuid::Uuid;

use crate::domain::node::{self, Kind};
use crate::graphql::context::{Caller, caller};
use crate::graphql::error::or_null;
use crate::graphql::types::Node;
use crate::graphql::types::chat::{ChatMessage, ChatSession};
use crate::graphql::types::file::{CodeChange, FileSnapshot, ProjectFile};
use crate::graphql::types::profile::User;
use crate::graphql::types::project::Project;
use crate::graphql::types::snapshot::ProjectSnapshot;
use crate::model::error::{Error, Result};
use crate::model::ids::{
    CodeChangeId, FileId, FileSnapshotId, MessageId, ProjectId, ProjectSnapshotId, SessionId, UserId, parse_uuid,
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
            let id = parse_uuid(&id, "id")?;
            let kinds = kinds(caller, &[id]).await?;
            load(caller, id, kinds.get(&id).copied()).await
        })
        .await
    }

    /// Anything by its id, in the order of the ids; at most 100.
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> Result<Vec<Option<Node>>> {
        let caller = caller(ctx)?;
        if ids.len() > MAX_NODES {
            return Err(Error::bad_input("ids", format!("At most {MAX_NODES} ids at once.")));
        }
        let parse = |(at, id): (usize, &ID)| parse_uuid(id, &format!("ids[{at}]"));
        let ids = ids.iter().enumerate().map(parse).collect::<Result<Vec<Uuid>>>()?;
        let kinds = kinds(caller, &ids).await?;
        let nodes = ids.iter().map(|id| load(caller, *id, kinds.get(id).copied()));
        futures::future::try_join_all(nodes).await
    }
}

async fn kinds(caller: &Caller, ids: &[Uuid]) -> Result<HashMap<Uuid, Kind>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(node::kinds(&*caller.reader.tx().await?, ids).await?.into_iter().collect())
}

async fn load(caller: &Caller, id: Uuid, kind: Option<Kind>) -> Result<Option<Node>> {
    Ok(match kind {
        // Ids of users are their issuer's, of any version, so this comes after what has an id of its own.
        None if CodeChangeId::is_one(id) => {
            let version: FileSnapshotId = CodeChangeId(id).into();
            caller.load(version).await?.map(|row| CodeChange(row).into())
        }
        None | Some(Kind::AgentConfiguration) => None,
        Some(Kind::User) => caller.load(UserId(id)).await?.map(|row| User(row).into()),
        Some(Kind::Project) => caller.load(ProjectId(id)).await?.map(|row| Project(row).into()),
        Some(Kind::Session) => caller.load(SessionId(id)).await?.map(|row| ChatSession(row).into()),
        Some(Kind::Message) => caller.load(MessageId(id)).await?.map(|row| ChatMessage(row).into()),
        Some(Kind::File) => caller.load(FileId(id)).await?.map(|row| ProjectFile(row).into()),
        Some(Kind::FileSnapshot) => caller.load(FileSnapshotId(id)).await?.map(|row| FileSnapshot(row).into()),
        Some(Kind::ProjectSnapshot) => caller.load(ProjectSnapshotId(id)).await?.map(|row| ProjectSnapshot(row).into()),
    })
}
