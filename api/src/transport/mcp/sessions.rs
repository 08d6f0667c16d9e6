//! MCP sessions: what a client of the protocol versions before 2026-07-28 keeps on this server between its requests.
//! Later versions have no sessions.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderName;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cancellation::RunningCalls;
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, SessionId, UserId};
use crate::model::limits::Limits;
use crate::model::path::FilePath;

/// The header with the id of a session.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// Number of the newest notifications that a session keeps for a client that reconnects.
const KEPT: usize = 256;

/// The seconds after which a client tries again if the streams of all sessions are open.
const RETRY_SECONDS: u64 = 60;

/// Longest name and version of a client, in characters. Longer texts are cut.
const MAX_NAME_CHARS: usize = 100;

/// The program that acts for the user, as it names itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientName {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl ClientName {
    /// The name that a client has sent.
    pub fn new(name: &str, version: &str) -> Self {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect::<String>();
        Self { name: clean(name), version: clean(version) }
    }

    /// The title of its sessions.
    pub fn title(&self) -> String {
        let title = format!("{} {}", self.name, self.version);
        let title = title.trim();
        if title.is_empty() { "MCP client".to_owned() } else { title.to_owned() }
    }
}

/// What a client watches, by project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched(pub BTreeMap<ProjectId, WatchedProject>);

/// What a client watches in a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedProject {
    /// The revision up to which the client was notified.
    pub after: i32,
    /// The URIs of the watched files, by path.
    pub files: BTreeMap<FilePath, String>,
    /// Whether the client is notified of files that are created, deleted or renamed.
    pub lists: bool,
}

impl Watched {
    /// The number of watched files.
    pub fn count(&self) -> usize {
        self.0.values().map(|project| project.files.len()).sum()
    }

    /// What is watched in a project, which begins at this revision if nothing was watched before.
    pub fn project(&mut self, id: ProjectId, revision: i32) -> &mut WatchedProject {
        let nothing = || WatchedProject { after: revision, files: BTreeMap::new(), lists: false };
        self.0.entry(id).or_insert_with(nothing)
    }
}

/// A session.
pub struct McpSession {
    /// Its id, which cannot be guessed.
    pub id: String,
    user: UserId,
    /// The client.
    pub client: ClientName,
    used: Mutex<Instant>,
    /// Its running calls.
    pub running: Arc<RunningCalls>,
    /// The chat sessions that its writes belong to, by project.
    pub conversations: tokio::sync::Mutex<HashMap<ProjectId, SessionId>>,
    /// What the client watches.
    pub watched: watch::Sender<Watched>,
    /// The newest notifications with their numbers, from 1.
    sent: Mutex<VecDeque<(u64, Bytes)>>,
    /// Notified by each stream that opens, which ends the previous one.
    streams: watch::Sender<()>,
    /// Cancelled when the session ends.
    pub ended: CancellationToken,
}

impl McpSession {
    fn new(user: UserId, client: ClientName) -> Self {
        Self {
            id: hex::encode(rand::random::<[u8; 16]>()),
            user,
            client,
            used: Mutex::new(Instant::now()),
            running: Arc::default(),
            conversations: tokio::sync::Mutex::default(),
            watched: watch::Sender::default(),
            sent: Mutex::default(),
            streams: watch::Sender::default(),
            ended: CancellationToken::new(),
        }
    }

    /// Records that the session is in use.
    pub fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// Numbers a notification, and keeps it for a client that reconnects.
    pub fn number(&self, notification: Bytes) -> u64 {
        let mut kept = self.sent.lock();
        let number = kept.back().map_or(1, |(last, _)| last + 1);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((number, notification));
        number
    }

    /// The kept notifications after a number.
    pub fn sent_after(&self, number: u64) -> Vec<(u64, Bytes)> {
        self.sent.lock().iter().filter(|(sent, _)| *sent > number).cloned().collect()
    }

    /// Begins a stream. The receiver notifies when another one begins.
    pub fn begin_stream(&self) -> watch::Receiver<()> {
        self.streams.send_replace(());
        self.streams.subscribe()
    }

    fn is_streaming(&self) -> bool {
        self.streams.receiver_count() > 0
    }
}

/// The sessions of a server. Clones share them.
#[derive(Clone)]
pub struct Sessions {
    open: Arc<Mutex<HashMap<String, Arc<McpSession>>>>,
    max_per_user: usize,
    idle: Duration,
}

impl Sessions {
    /// No sessions.
    pub fn new(limits: &Limits) -> Self {
        let idle = Duration::from_secs(limits.mcp_session_seconds);
        Self { open: Arc::default(), max_per_user: limits.max_mcp_sessions, idle }
    }

    /// Starts a session. If the user has too many, the one that was unused for the longest time ends: a client that does
    /// not end its sessions cannot lock its user out, and a client whose session has ended starts another one.
    ///
    /// # Errors
    /// `RateLimited` if the streams of all sessions are open.
    pub fn start(&self, user: UserId, client: ClientName) -> Result<Arc<McpSession>> {
        let mut open = self.open.lock();
        open.retain(|_, session| {
            let has_expired = self.has_expired(session);
            if has_expired {
                session.ended.cancel();
            }
            !has_expired
        });
        let own = || open.values().filter(|session| session.user == user);
        if own().count() >= self.max_per_user {
            let unused = own().filter(|session| !session.is_streaming()).min_by_key(|session| *session.used.lock());
            let Some(unused) = unused.cloned() else {
                let max = self.max_per_user;
                let message = format!(
                    "A user can have at most {max} MCP sessions (--max-mcp-sessions), and the streams of all are open: \
                     end one with DELETE."
                );
                return Err(Error::RateLimited { message, retry_after: Some(RETRY_SECONDS) });
            };
            unused.ended.cancel();
            open.remove(&unused.id);
        }
        let session = Arc::new(McpSession::new(user, client));
        open.insert(session.id.clone(), session.clone());
        Ok(session)
    }

    /// The session with this id, if it belongs to this user and has not ended.
    pub fn find(&self, id: &str, user: UserId) -> Option<Arc<McpSession>> {
        let session = self.open.lock().get(id).filter(|session| session.user == user).cloned()?;
        if self.has_expired(&session) {
            self.end(&session);
            return None;
        }
        session.touch();
        Some(session)
    }

    /// Ends a session.
    pub fn end(&self, session: &McpSession) {
        session.ended.cancel();
        self.open.lock().remove(&session.id);
    }

    fn has_expired(&self, session: &McpSession) -> bool {
        !session.is_streaming() && session.used.lock().elapsed() >= self.idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u128) -> UserId {
        UserId(uuid::Uuid::from_u128(id))
    }

    /// Makes a session look unused for a time.
    fn rest(session: &McpSession, seconds: u64) {
        let mut used = session.used.lock();
        *used = used.checked_sub(Duration::from_secs(seconds)).unwrap();
    }

    #[test]
    fn a_session_belongs_to_its_user_and_ends_without_use() {
        let settings = crate::config::Cli::try_parse_from(["antiphon"]).unwrap().settings;
        let limits = Limits { max_mcp_sessions: 2, mcp_session_seconds: 60, ..settings.limits };
        let sessions = Sessions::new(&limits);
        let client = ClientName::new("agent", "1.0");
        let [first, second] = [(); 2].map(|()| sessions.start(user(1), client.clone()).unwrap());
        assert!(sessions.start(user(2), client.clone()).is_ok());
        assert!(sessions.find(&first.id, user(2)).is_none());
        rest(&first, 59);
        assert!(sessions.find(&first.id, user(1)).is_some());
        rest(&first, 59);
        rest(&second, 60);
        let third = sessions.start(user(1), client).unwrap();
        assert!(second.ended.is_cancelled() && !first.ended.is_cancelled());
        sessions.end(&third);
        assert!(sessions.find(&third.id, user(1)).is_none() && third.ended.is_cancelled());
        // A session with an open stream does not end.
        let stream = first.begin_stream();
        rest(&first, 60);
        assert!(!sessions.has_expired(&first));
        drop(stream);
        assert!(sessions.find(&first.id, user(1)).is_none() && first.ended.is_cancelled());
    }

    #[test]
    fn the_session_that_was_unused_for_the_longest_time_makes_room() {
        let settings = crate::config::Cli::try_parse_from(["antiphon"]).unwrap().settings;
        let limits = Limits { max_mcp_sessions: 2, ..settings.limits };
        let sessions = Sessions::new(&limits);
        let [first, second] = [(); 2].map(|()| sessions.start(user(1), ClientName::default()).unwrap());
        rest(&first, 2);
        rest(&second, 1);
        let of_first = first.begin_stream();
        let third = sessions.start(user(1), ClientName::default()).unwrap();
        assert!(second.ended.is_cancelled() && !first.ended.is_cancelled());
        let _of_third = third.begin_stream();
        assert!(matches!(sessions.start(user(1), ClientName::default()), Err(Error::RateLimited { .. })));
        drop(of_first);
        sessions.start(user(1), ClientName::default()).unwrap();
        assert!(first.ended.is_cancelled());
    }

    #[test]
    fn the_newest_notifications_are_kept() {
        let session = McpSession::new(user(1), ClientName::new("", "\n"));
        for _ in 0..=KEPT {
            session.number(Bytes::new());
        }
        let numbers = |after| session.sent_after(after).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!((numbers(0).len(), numbers(0).first(), numbers(256)), (KEPT, Some(&2), vec![257]));
        assert_eq!(session.client.title(), "MCP client");
    }
}
