//! The messages that webhooks receive: events of the log, with the names of the API.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{Member, Tx, access};
use crate::model::clock;
use crate::model::enums::EventKind;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::file::FileSnapshot;
use crate::model::ids::UserId;
use crate::model::node_id::NodeId;
use crate::model::webhook::Webhook;
use crate::storage::file_snapshot::{self, ChangeSummary};
use crate::storage::{event, profile, webhook_delivery};

/// Number of changes of files that a message lists.
const MAX_CHANGES: i32 = 100;

/// A message for a webhook.
#[derive(Clone, Debug)]
pub struct Message {
    /// The revision of the event.
    pub revision: i32,
    /// The kind of the event.
    pub kind: EventKind,
    /// The id of the event, which is the same for every attempt and every webhook.
    pub id: String,
    /// The body, as JSON.
    pub body: String,
}

/// The next messages of a webhook.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// The revision up to which there are no others.
    pub until: i32,
    /// Messages to be sent again, with the times of the requests.
    pub redeliveries: Vec<(Option<DateTime<Utc>>, Message)>,
}

/// The next messages of a webhook, at most so many; those of the log only if `is_ready`.
pub async fn next(tx: &Tx, webhook: &Webhook, is_ready: bool, limit: i32) -> Result<Batch> {
    let project = access::required(tx, webhook.project_id).await?;
    let mut batch = Batch { messages: Vec::new(), until: webhook.revision, redeliveries: Vec::new() };
    let requested = webhook_delivery::requested(tx, webhook.id, webhook.revision, limit).await?;
    if !requested.is_empty() {
        let revisions: Vec<_> = requested.iter().map(|delivery| (project, delivery.revision)).collect();
        let events = event::by_revisions(tx, &revisions).await?;
        let requested: HashMap<i32, Option<DateTime<Utc>>> =
            requested.into_iter().map(|delivery| (delivery.revision, delivery.next_attempt_at)).collect();
        let with_request = |message: Message| Some((*requested.get(&message.revision)?, message));
        batch.redeliveries = messages(tx, project, events).await?.into_iter().filter_map(with_request).collect();
    }
    if is_ready {
        let newest = event::newest(tx, webhook.project_id).await?.ok_or_else(Error::no_project)?;
        let most = usize::try_from(limit).unwrap_or_default();
        let events = event::after(tx, &[project], webhook.revision, &webhook.kinds, most).await?;
        let last = events.last().map(|event| event.revision).filter(|_| events.len() == most);
        batch.until = last.unwrap_or(newest);
        batch.messages = messages(tx, project, events).await?;
    }
    Ok(batch)
}

async fn messages(tx: &Tx, project: Member<'_>, events: Vec<Event>) -> Result<Vec<Message>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let actors: Vec<UserId> = events.iter().filter_map(|event| event.actor_id).collect();
    let names = profile::by_ids(tx, &actors).await?;
    let names: HashMap<UserId, Option<String>> =
        names.into_iter().map(|profile| (profile.id, profile.full_name)).collect();
    let changing =
        events.iter().filter(|event| matches!(event.kind, EventKind::FilesChanged | EventKind::ProjectRestored));
    let changing: Vec<i32> = changing.map(|event| event.revision).collect();
    let mut changes = match changing.is_empty() {
        true => HashMap::new(),
        false => file_snapshot::summaries(tx, project, &changing, MAX_CHANGES).await?,
    };
    let message = |event: Event| {
        let actor = event.actor_id.map(|id| json!({ "id": id.0, "fullName": names.get(&id) }));
        let id = NodeId::Event(event.project_id, event.revision).to_string();
        let body = body(&event, &id, actor, changes.remove(&event.revision).unwrap_or_default());
        Message { revision: event.revision, kind: event.kind, id, body }
    };
    Ok(events.into_iter().map(message).collect())
}

fn body(event: &Event, id: &str, actor: Option<Value>, changes: ChangeSummary) -> String {
    let change = |change: &FileSnapshot| {
        json!({
            "id": change.change_id().0,
            "type": change.change_type.as_str().to_uppercase(),
            "path": change.path.as_str(),
            "additions": change.additions,
            "deletions": change.deletions,
        })
    };
    let body = json!({
        "type": event.kind.as_str(),
        "timestamp": clock::rfc3339(event.created_at),
        "data": {
            "id": id,
            "project": { "id": event.project_id.0 },
            "revision": event.revision,
            "kind": event.kind.as_str(),
            "createdAt": clock::rfc3339(event.created_at),
            "actor": actor,
            "session": event.session_id.map(|id| json!({ "id": id.0 })),
            "message": event.message_id.map(|id| json!({ "id": id.0 })),
            "changes": {
                "totalCount": changes.count,
                "additions": changes.additions,
                "deletions": changes.deletions,
                "nodes": changes.first.iter().map(change).collect::<Vec<_>>(),
            },
        },
    });
    body.to_string()
}
