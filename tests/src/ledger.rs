//! A ledger of writes: the outcome that the client saw, compared with the stored data.

use std::{
    collections::HashMap,
    fmt,
    ops::AddAssign,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tokio::sync::watch;

use crate::{
    client::{Client, Response},
    project::{Project, text},
};

/// The outcome of a write for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server acknowledged it.
    Acknowledged,
    /// The server refused it, with this code.
    Refused(String),
    /// The connection was cut before a response, or the server does not know the outcome.
    Unknown,
}

/// The outcomes of many writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rounds of faults.
    pub rounds: usize,
    /// Acknowledged writes.
    pub acknowledged: usize,
    /// Refused writes.
    pub refused: usize,
    /// Writes without a response.
    pub unknown: usize,
    /// Acknowledged, but missing.
    pub lost: usize,
    /// Refused, but stored.
    pub there: usize,
    /// Stored more than once.
    pub doubled: usize,
}

impl Tally {
    /// Whether the stored data agrees with every acknowledgement and refusal.
    pub fn is_honest(&self) -> bool {
        (self.lost, self.there, self.doubled) == (0, 0, 0)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.lost += other.lost;
        self.there += other.there;
        self.doubled += other.doubled;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rounds: {} acknowledged, {} refused, {} unknown; lost {}, refused but there {}, there twice {}",
            self.rounds, self.acknowledged, self.refused, self.unknown, self.lost, self.there, self.doubled
        )
    }
}

/// Writes to a project, each different, and their outcomes. Clones are the same ledger.
#[derive(Clone)]
pub struct Ledger(Arc<Book>);

struct Book {
    project: String,
    session: String,
    next: AtomicUsize,
    fates: Mutex<HashMap<usize, Fate>>,
    answered: watch::Sender<usize>,
}

impl Ledger {
    /// Starts a ledger on a new project of the client.
    pub async fn begin(client: &Client) -> Self {
        let project = Project::create(client, "Ledger").await;
        let session = project.start_session().await;
        Self(Arc::new(Book {
            project: project.id,
            session,
            next: AtomicUsize::new(0),
            fates: Mutex::default(),
            answered: watch::Sender::new(0),
        }))
    }

    /// The id of the project.
    pub fn project(&self) -> &str {
        &self.0.project
    }

    /// Writes the next message or file.
    pub async fn write(&self, client: &Client) -> Fate {
        let n = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (mutation, input) = if n.is_multiple_of(2) {
            let (session, content) = (&self.0.session, name(n));
            ("addMessage", json!({ "input": { "sessionId": session, "role": "USER", "content": content } }))
        } else {
            let project = &self.0.project;
            ("createFile", json!({ "input": { "projectId": project, "path": name(n), "content": name(n) } }))
        };
        let query = crate::project::mutation(mutation, &input, "{ revision }");
        let fate = match client.request(&query, input).await {
            Err(_) => Fate::Unknown,
            Ok(Response { errors, .. }) => match errors.first() {
                None => Fate::Acknowledged,
                Some(error) if error["extensions"]["mayBeStored"] == true => Fate::Unknown,
                Some(error) => Fate::Refused(text(&error["extensions"]["code"])),
            },
        };
        self.0.fates.lock().unwrap_or_else(PoisonError::into_inner).insert(n, fate.clone());
        self.0.answered.send_modify(|answered| *answered += 1);
        fate
    }

    /// Runs `writers` concurrent writers, with `writes` writes each.
    pub async fn write_at_once(&self, client: &Client, writers: usize, writes: usize) {
        let writer = || {
            let (ledger, client) = (self.clone(), client.clone());
            tokio::spawn(async move {
                for _ in 0..writes {
                    ledger.write(&client).await;
                }
            })
        };
        for writer in (0..writers).map(|_| writer()).collect::<Vec<_>>() {
            writer.await.expect("no panic");
        }
    }

    /// Waits until this many writes have ended.
    pub async fn answered(&self, count: usize) {
        let mut answered = self.0.answered.subscribe();
        answered.wait_for(|answered| *answered >= count).await.expect("the ledger exists");
    }

    /// How many writes have ended.
    pub fn count(&self) -> usize {
        *self.0.answered.borrow()
    }

    /// The codes of refused writes.
    pub fn codes(&self) -> Vec<String> {
        let fates = self.0.fates.lock().unwrap_or_else(PoisonError::into_inner);
        let code = |fate: &Fate| match fate {
            Fate::Refused(code) => Some(code.clone()),
            _ => None,
        };
        fates.values().filter_map(code).collect()
    }

    /// Compares the outcomes with the API's data, and describes each difference.
    pub async fn check(&self, client: &Client) -> (Tally, Vec<String>) {
        let query = "query($project: ID!, $session: ID!) {
            session: node(id: $session) { ... on ChatSession { messages(first: 500) { nodes { content } } } }
            project(id: $project) { files(first: 500) { nodes { content } } } }";
        let variables = json!({ "project": self.0.project, "session": self.0.session });
        let data = client.gql(query, variables).await.ok();
        let mut found: HashMap<String, usize> = HashMap::new();
        for list in [&data["session"]["messages"], &data["project"]["files"]] {
            for node in list["nodes"].as_array().expect("a list") {
                *found.entry(text(&node["content"])).or_default() += 1;
            }
        }
        let mut tally = Tally::default();
        let mut differences = Vec::new();
        for (n, fate) in self.0.fates.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let name = name(*n);
            let times = found.get(&name).copied().unwrap_or_default();
            let (counter, wrong) = match fate {
                Fate::Acknowledged => (&mut tally.acknowledged, (times == 0).then_some(&mut tally.lost)),
                Fate::Refused(_) => (&mut tally.refused, (times > 0).then_some(&mut tally.there)),
                Fate::Unknown => (&mut tally.unknown, None),
            };
            *counter += 1;
            if let Some(wrong) = wrong {
                *wrong += 1;
                differences.push(format!("{name}: {fate:?}, and there {times} times"));
            }
            if times > 1 {
                tally.doubled += 1;
                differences.push(format!("{name}: {fate:?}, and there {times} times"));
            }
        }
        (tally, differences)
    }
}

fn name(n: usize) -> String {
    format!("write {n}")
}
