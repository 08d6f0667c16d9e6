//! The chat sessions to which the writes of a client belong. Each write has a message that describes it, so that the
//! history, blame and undo work for it as for the writes of other assistants.

use chrono::TimeDelta;
use serde_json::json;

use super::call::Call;
use crate::{
    domain::{
        access,
        chat::{self, Added},
        check_text,
        file::Context,
    },
    model::{
        chat::{NewMessage, NewSession, Session, SessionFilter},
        clock,
        enums::MessageRole,
        error::{Error, Result},
        ids::{ProjectId, SessionId},
        json::Json,
        page::{LIST, Page},
    },
};

/// The key of the metadata of these chat sessions and messages.
const KEY: &str = "mcp";

/// The time for which a client without an MCP session continues its last chat session.
const CONTINUED: TimeDelta = TimeDelta::hours(24);

/// Adds the message of a write. The files are another revision, since a revision is one event of one kind. From here on
/// the client cannot cancel the call.
///
/// # Errors
/// As [`chat::start_session`] and [`chat::add_message`].
pub async fn add_message(
    call: &Call,
    project: ProjectId,
    tool: &str,
    content: String,
    is_checkpoint: bool,
) -> Result<Added> {
    check_text(&call.services.limits, "message", &content)?;
    let cancelled = || Error::internal("the client has cancelled the request");
    if call.cancellation.is_cancelled() {
        return Err(cancelled());
    }
    let session = session(call, project).await?;
    if !call.cancellation.begin_to_write() {
        return Err(cancelled());
    }
    let new = NewMessage {
        session_id: session,
        role: MessageRole::Assistant,
        content,
        is_checkpoint,
        context_data: None,
        metadata: Some(Json::of(&json!({ KEY: { "tool": tool } }))),
        idempotency_key: None,
    };
    call.write(|writer| chat::add_message(writer, new)).await
}

/// The context of a write that belongs to a message.
pub fn context(added: &Added) -> Context {
    Context { session_id: Some(added.message.session_id), message_id: Some(added.message.id), change_description: None }
}

/// The chat session in which the client writes to a project. The first write starts it.
async fn session(call: &Call, project: ProjectId) -> Result<SessionId> {
    let Some(session) = &call.session else {
        return match last_session(call, project).await? {
            Some(last) => Ok(last),
            None => start(call, project).await,
        };
    };
    let mut conversations = session.conversations.lock().await;
    if let Some(known) = conversations.get(&project) {
        return Ok(*known);
    }
    let started = start(call, project).await?;
    conversations.insert(project, started);
    Ok(started)
}

async fn start(call: &Call, project: ProjectId) -> Result<SessionId> {
    let new = NewSession {
        project_id: project,
        title: Some(call.client.title()),
        metadata: Some(Json::of(&json!({ KEY: client(call) }))),
    };
    let (session, _) = call.write(|writer| chat::start_session(writer, new)).await?;
    Ok(session.id)
}

fn client(call: &Call) -> serde_json::Value {
    json!({ "client": { "name": call.client.name, "version": call.client.version } })
}

/// The newest chat session that the user has started with this client.
async fn last_session(call: &Call, project: ProjectId) -> Result<Option<SessionId>> {
    let tx = call.tx().await?;
    let keep = SessionFilter {
        author: Some(call.actor.user_id),
        started_after: Some(clock::now() - CONTINUED),
        ..SessionFilter::default()
    };
    let page = Page::first(LIST.default);
    let sessions = chat::sessions_page(&tx, &[access::required(&tx, project).await?], &keep, &page).await?;
    let client = client(call);
    let is_ours = |session: &Session| session.metadata.value().get(KEY) == Some(&client);
    let mut sessions = sessions.into_iter().flat_map(|(_, slice)| slice.rows).map(|(_, session)| session);
    Ok(sessions.find(is_ours).map(|session| session.id))
}
