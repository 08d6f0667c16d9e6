//! Sends messages over HTTP. A user chooses the URL, so the address of each connection is checked when it is made, after
//! the name was resolved, and redirects are not followed.

use std::fmt::Debug;
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, Error};

use crate::model::limits::WebhookLimits;
use crate::model::network::{Network, is_allowed};
use crate::model::webhook::Attempt;
use crate::model::webhook_url::check_host;

/// How long an idle connection is kept, for messages in quick succession. Shorter than receivers keep theirs.
const IDLE_TIME: Duration = Duration::from_secs(1);

/// A signed message.
pub(super) struct Outgoing {
    pub(super) url: String,
    pub(super) id: String,
    /// Seconds since the epoch.
    pub(super) timestamp: i64,
    /// Separated by spaces.
    pub(super) signatures: String,
    pub(super) body: String,
}

/// Sends messages.
pub(super) struct Sender {
    agent: Agent,
    response_bytes: u64,
}

impl Sender {
    pub(super) fn new(limits: &WebhookLimits) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(limits.webhook_timeout_seconds)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A proxy from the environment would resolve the names itself.
            .proxy(None)
            .max_idle_connections(limits.webhook_concurrency)
            .max_idle_age(IDLE_TIME)
            .user_agent(concat!("antiphon/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver =
            CheckedResolver { allowed: limits.webhook_allow_networks.clone(), names: DefaultResolver::default() };
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Self { agent, response_bytes: limits.webhook_response_bytes }
    }

    /// Sends a message once. A status from 200 to 299 is a success, whatever the body is.
    pub(super) async fn send(self: &Arc<Self>, message: Outgoing) -> Attempt {
        let (this, (done, attempt)) = (self.clone(), oneshot::channel());
        // A thread of its own: receivers that do not respond would take those for short blocking work.
        let thread = thread::Builder::new().name("webhook".to_owned());
        let thread = thread.spawn(move || done.send(this.attempt(&message)));
        let failed = |error: &str| Attempt { status: None, error: Some(format!("The attempt has failed: {error}.")) };
        match thread {
            Ok(_) => attempt.await.unwrap_or_else(|_| failed("its thread has panicked")),
            Err(error) => failed(&error.to_string()),
        }
    }

    fn attempt(&self, message: &Outgoing) -> Attempt {
        let request = self
            .agent
            .post(&message.url)
            .header("content-type", "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", message.timestamp.to_string())
            .header("webhook-signature", &message.signatures);
        match request.send(&message.body) {
            Ok(response) if response.status().is_success() => {
                Attempt { status: Some(response.status().as_u16()), error: None }
            }
            Ok(response) => Attempt { status: Some(response.status().as_u16()), error: Some(self.refusal(response)) },
            Err(error) => Attempt { status: None, error: Some(reason(&error)) },
        }
    }

    /// Describes a response that is not a success, with the start of its body.
    fn refusal(&self, mut response: Response<Body>) -> String {
        let status = response.status();
        let mut body = Vec::new();
        // A body that ends too early or too late is shown as far as it was read.
        let _ = response.body_mut().as_reader().take(self.response_bytes).read_to_end(&mut body);
        let body: String =
            String::from_utf8_lossy(&body).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let hint = if status.is_redirection() { " (redirects are not followed)" } else { "" };
        match body.trim() {
            "" => format!("The receiver has responded with {status}{hint}."),
            body => format!("The receiver has responded with {status}{hint}: {body}"),
        }
    }
}

/// Why no response came, in words for the owner of the webhook. A name without a public address and one that does not exist
/// have the same error, so that nobody finds out the names of a private network.
fn reason(error: &Error) -> String {
    match error {
        Error::HostNotFound => no_address(),
        Error::Io(error) if error.raw_os_error().is_none() && error.to_string().contains("lookup") => no_address(),
        Error::Timeout(_) => "The receiver has not responded in time.".to_owned(),
        error => format!("The receiver cannot be reached: {error}."),
    }
}

fn no_address() -> String {
    "The host was not found, or has no public address; the setting WEBHOOK_ALLOW_NETWORKS allows others.".to_owned()
}

/// Resolves names, and leaves out the addresses that are not allowed. The connection is made to one of the others.
#[derive(Debug)]
struct CheckedResolver {
    allowed: Vec<Network>,
    names: DefaultResolver,
}

impl Resolver for CheckedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        check_host(uri.host().unwrap_or_default(), &self.allowed).map_err(|_| Error::HostNotFound)?;
        let found = self.names.resolve(uri, config, timeout)?;
        let mut addresses = self.empty();
        for address in found.iter().filter(|address| is_allowed(address.ip(), &self.allowed)) {
            addresses.push(*address);
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}
