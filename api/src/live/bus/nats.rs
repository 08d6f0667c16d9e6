//! Notifications by core NATS, without persistence. Each project has a subject, `antiphon.project.ID`. A server
//! publishes its changes there, and subscribes to the subject while the project has subscribers on it.
//!
//! A message is lost if it is published before NATS has processed a subscription. Therefore each server also has a
//! subject of its own, `antiphon.server.ID`. A message that it publishes there comes back after its earlier
//! subscriptions are in force; the server then reads again what it may have missed. NATS can be unavailable at any
//! time, including at the start: the sweep finds the changes, and the server reads everything again when NATS is back.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Message, ServerAddr, Subscriber};
use futures::StreamExt;
use futures::stream::{self, AbortHandle, BoxStream, SelectAll};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::notification::{
    Notification, PAUSE, PendingNotifications, Received, Waiting, change_of, project_of, text_of, written_of,
    written_text,
};
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::event::Change;
use crate::model::ids::ProjectId;
use crate::model::setting::parts;

/// Interval between pings. The client reconnects after three pings without an answer.
const PING_PERIOD: Duration = Duration::from_secs(10);

/// Longest pause between attempts to connect. The pause grows with each attempt.
const MAX_PAUSE: Duration = Duration::from_secs(4);

/// Longest queue of notifications of one project. If it is full, the client drops messages and reports it.
const MAX_UNREAD: usize = 256;

/// The subject of users' commits, for reads from replicas.
const WRITTEN_SUBJECT: &str = "antiphon.written";

/// The addresses and the credentials of NATS.
#[derive(Clone)]
pub struct Servers {
    /// Without credentials, because the client logs the addresses.
    addresses: Vec<ServerAddr>,
    login: Login,
}

#[derive(Clone, Default, PartialEq, Eq)]
enum Login {
    #[default]
    Nobody,
    Token(String),
    User(String, String),
}

impl Servers {
    /// Parses `nats://HOST:PORT` or `tls://HOST:PORT`, with `USER:PASSWORD@` or `TOKEN@` before the host if NATS
    /// requires it. Commas separate several servers of one cluster.
    ///
    /// # Errors
    /// What is wrong, for the operator. The text does not contain any part of the value.
    pub fn parse(urls: &str) -> Result<Self> {
        let wrong = |what: &str| Error::bad_input("nats_url", format!("--nats-url (NATS_URL) is not usable: {what}"));
        let no_url = || wrong("it must be nats://HOST:PORT or tls://HOST:PORT");
        let mut servers = Self { addresses: Vec::new(), login: Login::Nobody };
        for url in parts(urls) {
            let address: ServerAddr = url.parse().map_err(|_| no_url())?;
            if address.host().is_empty() || !matches!(address.scheme(), "nats" | "tls") {
                return Err(no_url());
            }
            let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
            let login = match (address.username(), address.password()) {
                (None, None) => Ok(Login::Nobody),
                (Some(token), None) => decode(token).map(Login::Token),
                (user, Some(password)) => {
                    decode(user.unwrap_or_default()).and_then(|user| Ok(Login::User(user, decode(password)?)))
                }
            };
            let login = login.map_err(|_| wrong("user and password must be UTF-8"))?;
            if servers.login == Login::Nobody {
                servers.login = login;
            } else if login != Login::Nobody && login != servers.login {
                return Err(wrong("all servers of a cluster take the same user and password"));
            }
            let mut url = address.into_inner();
            let bare = url.set_username("").and_then(|()| url.set_password(None)).is_ok();
            let address = ServerAddr::from_url(url).ok().filter(|_| bare);
            servers.addresses.push(address.ok_or_else(no_url)?);
        }
        if servers.addresses.is_empty() { Err(no_url()) } else { Ok(servers) }
    }

    fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new()
            .name("antiphon")
            .ping_interval(PING_PERIOD)
            .subscription_capacity(MAX_UNREAD)
            .reconnect_delay_callback(|attempts| {
                PAUSE.saturating_mul(u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX)).min(MAX_PAUSE)
            });
        match &self.login {
            Login::Nobody => options,
            Login::Token(token) => options.token(token.clone()),
            Login::User(user, password) => options.user_and_password(user.clone(), password.clone()),
        }
    }

    /// Connects, and sends a message to itself.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub async fn probe(&self, time: Duration) -> std::result::Result<(), String> {
        let reported = Arc::new(watch::Sender::new(None));
        let options = self.options().max_reconnects(self.addresses.len()).event_callback({
            let reported = reported.clone();
            move |event| {
                if let Event::ServerError(error) = event {
                    reported.send_replace(Some(error.to_string()));
                }
                std::future::ready(())
            }
        });
        let asked = async {
            let client = options.connect(&self.addresses).await.map_err(|error| error.to_string())?;
            let own = own_subject();
            let mut returned = client.subscribe(own.clone()).await.map_err(|error| error.to_string())?;
            client.publish(own, "".into()).await.map_err(|error| error.to_string())?;
            returned.next().await.map(|_| ()).ok_or_else(|| "the connection has ended".to_owned())
        };
        let answer = timeout(time, asked).await;
        answer.unwrap_or_else(|_| Err(reported.borrow().clone().unwrap_or_else(|| "no answer".to_owned())))
    }
}

fn own_subject() -> String {
    format!("antiphon.server.{}", clock::new_id())
}

fn subject_of(project: ProjectId) -> String {
    format!("antiphon.project.{}", project.0)
}

pub(super) async fn run(servers: &Servers, pending: &PendingNotifications, receive: impl Fn(Received)) {
    // Incremented whenever a notification may have been missed.
    let missed = Arc::new(watch::Sender::new(0_u64));
    let mut may_have_missed = missed.subscribe();
    let client = connect(servers, missed, pending.works.clone()).await;
    let own = own_subject();
    let mut subscriptions =
        Subscriptions { client: client.clone(), streams: SelectAll::new(), projects: HashMap::new() };
    let written = client.subscribe(WRITTEN_SUBJECT).await;
    // Commands to the client wait while NATS is unavailable. They fail only if it can never come back.
    let ended = async {
        let from_us = client.subscribe(own.clone()).await?;
        subscriptions.streams.push(from_us.map(|message| (None, message)).boxed());
        let mut written = written?;
        loop {
            tokio::select! {
                waiting = pending.take() => subscriptions.send(waiting, &own).await?,
                Ok(()) = may_have_missed.changed() => client.publish(own.clone(), "".into()).await?,
                Some(message) = written.next() => {
                    if let Some(received) = std::str::from_utf8(&message.payload).ok().and_then(written_of) {
                        receive(received);
                    }
                }
                Some((project, message)) = subscriptions.streams.next() => {
                    if let Some(received) = read(project, &message.payload) {
                        receive(received);
                    }
                }
            }
        }
    };
    let ended: std::result::Result<(), async_nats::Error> = ended.await;
    if let Err(error) = ended {
        tracing::error!(%error, "the NATS client has ended: no more notifications of other servers");
    }
}

async fn connect(servers: &Servers, missed: Arc<watch::Sender<u64>>, works: Arc<AtomicBool>) -> Client {
    let has_warned = Arc::new(AtomicBool::new(false));
    let warned = has_warned.clone();
    let mut options = servers.options().event_callback(move |event| {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                works.store(true, Ordering::Relaxed);
                warned.store(false, Ordering::Relaxed);
                missed.send_modify(|missed| *missed += 1);
            }
            Event::SlowConsumer(_) => missed.send_modify(|missed| *missed += 1),
            Event::Disconnected | Event::ServerError(_) | Event::ClientError(_) => {
                if event == Event::Disconnected {
                    works.store(false, Ordering::Relaxed);
                }
                // Warn once, not for every attempt.
                if !warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%event, "NATS is unavailable: the sweep finds the writes of other servers");
                }
            }
            event => tracing::debug!(%event, "NATS"),
        }
        std::future::ready(())
    });
    loop {
        match options.clone().connect(&servers.addresses).await {
            Ok(client) => return client,
            Err(error) => tracing::warn!(%error, "NATS is unavailable: the sweep finds the writes of other servers"),
        }
        // From now on the client reconnects on its own and reports less about a failure.
        has_warned.store(true, Ordering::Relaxed);
        options = options.retry_on_initial_connect();
        sleep(PAUSE).await;
    }
}

/// The subscriptions of a server.
struct Subscriptions {
    client: Client,
    /// With the project, or `None` for the server's own subject.
    streams: SelectAll<BoxStream<'static, (Option<ProjectId>, Message)>>,
    projects: HashMap<ProjectId, AbortHandle>,
}

impl Subscriptions {
    async fn send(&mut self, waiting: Waiting, own: &str) -> std::result::Result<(), async_nats::Error> {
        for (project, is_wanted) in waiting.subscriptions {
            if !is_wanted {
                if let Some(subscription) = self.projects.remove(&project) {
                    subscription.abort();
                }
                continue;
            }
            if !self.projects.contains_key(&project) {
                let subscriber: Subscriber = self.client.subscribe(subject_of(project)).await?;
                let (messages, handle) = stream::abortable(subscriber);
                self.streams.push(messages.map(move |message| (Some(project), message)).boxed());
                self.projects.insert(project, handle);
            }
            self.client.publish(own.to_owned(), project.0.to_string().into()).await?;
        }
        for (user, position) in waiting.writers {
            self.client.publish(WRITTEN_SUBJECT, written_text(user, position).into()).await?;
        }
        for (project, change) in waiting.changes {
            self.client.publish(subject_of(project), text_of(change).into()).await?;
        }
        // Changes that arrive during the flush are sent together afterwards.
        self.client.flush().await?;
        Ok(())
    }
}

fn read(project: Option<ProjectId>, payload: &[u8]) -> Option<Received> {
    let payload = std::str::from_utf8(payload).ok()?;
    let notification = match project {
        Some(project) => Notification { project, change: change_of(payload)? },
        None if payload.is_empty() => return Some(Received::ResyncAll),
        None => Notification { project: project_of(payload)?, change: Change::Resync },
    };
    Some(Received::One(notification))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn credentials_are_taken_out_of_the_addresses() {
        let user = |user: &str, password: &str| Login::User(user.to_owned(), password.to_owned());
        for (urls, addresses, login) in [
            ("nats://localhost", &["nats://localhost"][..], Login::Nobody),
            ("localhost:4333", &["nats://localhost:4333"], Login::Nobody),
            (" tls://nats.example.com:4222 ", &["tls://nats.example.com:4222"], Login::Nobody),
            ("nats://s3cr%2Ft@a", &["nats://a"], Login::Token("s3cr/t".to_owned())),
            ("nats://me:p%40ss@a:1,nats://b:2", &["nats://a:1", "nats://b:2"], user("me", "p@ss")),
            ("nats://a,nats://me:pass@b", &["nats://a", "nats://b"], user("me", "pass")),
            ("nats://[::1]:4222", &["nats://[::1]:4222"], Login::Nobody),
            ("nats://a, nats://b,", &["nats://a", "nats://b"], Login::Nobody),
        ] {
            let servers = Servers::parse(urls).unwrap_or_else(|error| panic!("{urls}: {error:?}"));
            let shown: Vec<_> = servers.addresses.iter().map(ServerAddr::as_url_str).collect();
            assert_eq!(shown, addresses, "{urls}");
            assert!(servers.login == login, "{urls}");
        }
        for urls in ["", ",", "nats://", "http://a", "ws://a", "nats://me:one@a,nats://me:two@b", "nats://%ff:p@a"] {
            assert!(Servers::parse(urls).is_err(), "{urls}");
        }
    }

    #[test]
    fn other_payloads_are_ignored() {
        let project = ProjectId(Uuid::from_u128(1));
        let one = |change| Some(Received::One(Notification { project, change }));
        assert_eq!(read(Some(project), b"@7"), one(Change::Advanced(7)));
        assert_eq!(read(Some(project), b"side"), one(Change::SideChange));
        assert_eq!(read(None, b""), Some(Received::ResyncAll));
        assert_eq!(read(None, project.0.to_string().as_bytes()), one(Change::Resync));
        for payload in [&b""[..], b"x", b"7", b"@9999999999", b"\xff", b"@7 "] {
            assert_eq!(read(Some(project), payload), None, "{payload:?}");
        }
        for payload in [&b"x"[..], b"7", b"\xff"] {
            assert_eq!(read(None, payload), None, "{payload:?}");
        }
    }
}
