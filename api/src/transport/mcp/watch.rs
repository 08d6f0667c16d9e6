//! Notifications of changed files, from the logs of the watched projects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::sessions::Watched;
use crate::{
    domain::Services,
    live::{
        Live,
        channel::Channel,
        fan_out::Failures,
        source::{Item, Next, Source, Topic},
    },
    metrics,
    model::{
        actor::Actor,
        enums::EventKind,
        error::{Error, Result},
        ids::ProjectId,
    },
};

/// Capacity of the queue; a full queue stops the reading of logs.
const WAITING: usize = 64;

/// What a client is notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The file with this URI has changed, is new, or is gone.
    Updated(String),
    /// Files were created, deleted or renamed.
    ListChanged,
}

/// What a follower reports.
enum Report {
    Notice(Notice),
    /// The client has everything of the project up to this revision.
    Reached(ProjectId, i32),
}

/// Follows the logs of the watched projects on behalf of a user.
pub struct Watch {
    live: Arc<Live>,
    services: Arc<Services>,
    actor: Actor,
    watched: watch::Sender<Watched>,
    changes: watch::Receiver<Watched>,
    followed: HashMap<ProjectId, AbortOnDropHandle<()>>,
    sender: mpsc::Sender<Result<Report>>,
    reports: mpsc::Receiver<Result<Report>>,
}

impl Watch {
    /// Begins to follow. What is watched can change later.
    pub fn new(live: Arc<Live>, services: Arc<Services>, actor: Actor, watched: watch::Sender<Watched>) -> Self {
        let (sender, reports) = mpsc::channel(WAITING);
        let mut changes = watched.subscribe();
        changes.mark_changed();
        Self { live, services, actor, watched, changes, followed: HashMap::new(), sender, reports }
    }

    /// The next notice. The client has the previous one.
    ///
    /// # Errors
    /// `NotFound` if the user is no longer a member of a project; it is no longer watched. Other errors are temporary,
    /// and a new watch continues after the last notice.
    pub async fn next(&mut self) -> Result<Notice> {
        loop {
            tokio::select! {
                biased;
                // The sender is kept here, so it exists.
                _ = self.changes.changed() => self.follow(),
                Some(report) = self.reports.recv() => match report? {
                    Report::Notice(notice) => return Ok(notice),
                    Report::Reached(project, revision) => self.reached(project, revision),
                },
            }
        }
    }

    fn reached(&self, project: ProjectId, revision: i32) {
        // Not a change of what is watched.
        self.watched.send_if_modified(|watched| {
            if let Some(project) = watched.0.get_mut(&project) {
                project.after = revision;
            }
            false
        });
    }

    /// Follows the projects that are watched now, and no others.
    fn follow(&mut self) {
        let projects: BTreeSet<ProjectId> = self.changes.borrow_and_update().0.keys().copied().collect();
        self.followed.retain(|project, _| projects.contains(project));
        for project in projects {
            if self.followed.contains_key(&project) {
                continue;
            }
            let follower = Follower {
                live: self.live.clone(),
                services: self.services.clone(),
                actor: self.actor.clone(),
                project,
                watched: self.watched.clone(),
                reports: self.sender.clone(),
            };
            let task = metrics::spawn(async move {
                if let Err(error) = follower.run_patiently().await {
                    if matches!(error, Error::NotFound { .. }) {
                        follower.watched.send_modify(|watched| drop(watched.0.remove(&project)));
                    }
                    // The watch has ended if nobody receives this.
                    let _ = follower.reports.send(Err(error)).await;
                }
            });
            self.followed.insert(project, AbortOnDropHandle::new(task));
        }
    }
}

/// Follows the log of one project.
struct Follower {
    live: Arc<Live>,
    services: Arc<Services>,
    actor: Actor,
    project: ProjectId,
    watched: watch::Sender<Watched>,
    reports: mpsc::Sender<Result<Report>>,
}

impl Follower {
    /// Follows the log. An outage of the database interrupts it, as a subscription of the API.
    async fn run_patiently(&self) -> Result<()> {
        let Some(mut after) = self.watched.borrow().0.get(&self.project).map(|watched| watched.after) else {
            return Ok(());
        };
        let mut failures = Failures::default();
        loop {
            match self.run(&mut after, &mut failures).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let is_outage = matches!(error, Error::Unavailable(_) | Error::RateLimited { .. });
                    if !failures.may_go_on(is_outage).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Follows the log after a revision, which rises with the events that the client has been notified of.
    async fn run(&self, after: &mut i32, failures: &mut Failures) -> Result<()> {
        let kinds = vec![EventKind::FilesChanged, EventKind::ProjectRestored];
        let topic = |after| Topic::ProjectLog { project: self.project, kinds: kinds.clone(), after, ready: false };
        let open = async |after| Source::open(self.live.clone(), self.actor.clone(), &topic(after), None).await;
        let mut source = match open(Some(*after)).await {
            // The log has lost its end, so every file may have changed.
            Err(Error::PositionLost(_)) => {
                let source = open(None).await?;
                self.notify_of_all().await;
                source
            }
            opened => opened?,
        };
        let mut changes = source.channel().tail.subscribe();
        loop {
            changes.mark_unchanged();
            match source.next().await {
                Ok(Next::Item((item, _))) => {
                    if let Item::Event(event) = &*item {
                        self.notify(source.channel(), event.revision).await?;
                        *after = event.revision;
                    }
                }
                Ok(Next::CaughtUp(revision)) => {
                    failures.are_over();
                    *after = revision;
                    self.report(Report::Reached(self.project, revision)).await;
                    // The sender lives as long as the source.
                    let _ = changes.changed().await;
                }
                Ok(Next::End) => return Ok(()),
                Err(Error::PositionLost(_)) => {
                    source = open(None).await?;
                    self.notify_of_all().await;
                    changes = source.channel().tail.subscribe();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Notifies the client of the changes of a revision.
    async fn notify(&self, channel: &Channel, revision: i32) -> Result<()> {
        let changed = channel.changed_files.at(&self.services, &channel.tail, &self.actor, revision).await?;
        let mut notices = Vec::new();
        if let Some(watched) = self.watched.borrow().0.get(&self.project) {
            notices.extend((watched.lists && changed.changes_list).then_some(Notice::ListChanged));
            let uris = changed.paths.iter().filter_map(|path| watched.files.get(path));
            notices.extend(uris.cloned().map(Notice::Updated));
        }
        self.send(notices).await;
        self.report(Report::Reached(self.project, revision)).await;
        Ok(())
    }

    async fn notify_of_all(&self) {
        let mut notices = Vec::new();
        if let Some(watched) = self.watched.borrow().0.get(&self.project) {
            notices.extend(watched.lists.then_some(Notice::ListChanged));
            notices.extend(watched.files.values().cloned().map(Notice::Updated));
        }
        self.send(notices).await;
    }

    async fn send(&self, notices: Vec<Notice>) {
        for notice in notices {
            self.report(Report::Notice(notice)).await;
        }
    }

    async fn report(&self, report: Report) {
        // The watch has ended if nobody receives this.
        let _ = self.reports.send(Ok(report)).await;
    }
}
