//! Notifications of changed files, from the logs of the watched projects.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::sessions::Watched;
use crate::{
    domain::{Needs, Services, Size, access, file},
    live::{
        Live,
        source::{Item, Next, Source, Topic},
    },
    metrics,
    model::{
        actor::Actor,
        enums::{ChangeType, EventKind},
        error::{Error, Result},
        file::FileSnapshot,
        ids::ProjectId,
    },
};

/// Number of notifications that wait for a slow client before the logs are no longer read.
const WAITING: usize = 64;

/// What a client is notified of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The file with this URI has changed, is new, or is gone.
    Updated(String),
    /// Files have come or gone.
    ListChanged,
}

/// Follows the logs of the watched projects on behalf of a user.
pub struct Watch {
    live: Arc<Live>,
    services: Arc<Services>,
    actor: Actor,
    watched: watch::Sender<Watched>,
    changes: watch::Receiver<Watched>,
    followed: HashMap<ProjectId, AbortOnDropHandle<()>>,
    sender: mpsc::Sender<Result<Notice>>,
    notices: mpsc::Receiver<Result<Notice>>,
}

impl Watch {
    /// Begins to follow. What is watched can change later.
    pub fn new(live: Arc<Live>, services: Arc<Services>, actor: Actor, watched: watch::Sender<Watched>) -> Self {
        let (sender, notices) = mpsc::channel(WAITING);
        let mut changes = watched.subscribe();
        changes.mark_changed();
        Self { live, services, actor, watched, changes, followed: HashMap::new(), sender, notices }
    }

    /// The next notice.
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
                Some(notice) = self.notices.recv() => return notice,
            }
        }
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
                notices: self.sender.clone(),
            };
            let task = metrics::spawn(async move {
                if let Err(error) = follower.run().await {
                    if matches!(error, Error::NotFound { .. }) {
                        follower.watched.send_modify(|watched| drop(watched.0.remove(&project)));
                    }
                    // The watch has ended if nobody receives this.
                    let _ = follower.notices.send(Err(error)).await;
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
    notices: mpsc::Sender<Result<Notice>>,
}

impl Follower {
    async fn run(&self) -> Result<()> {
        let Some(after) = self.watched.borrow().0.get(&self.project).map(|watched| watched.after) else {
            return Ok(());
        };
        let kinds = vec![EventKind::FilesChanged, EventKind::ProjectRestored];
        let topic = |after| Topic::ProjectLog { project: self.project, kinds: kinds.clone(), after, ready: false };
        let open = async |after| Source::open(self.live.clone(), self.actor.clone(), &topic(after), None).await;
        let mut source = match open(Some(after)).await {
            // The log has lost its end, so every file may have changed.
            Err(Error::PositionLost(_)) => {
                self.notify_of_all().await;
                open(None).await?
            }
            opened => opened?,
        };
        let mut changes = source.channel().tail.subscribe();
        loop {
            changes.mark_unchanged();
            match source.next().await {
                Ok(Next::Item((item, _))) => {
                    if let Item::Event(event) = &*item {
                        self.notify(event.revision).await?;
                    }
                }
                // The sender lives as long as the source.
                Ok(Next::CaughtUp(_)) => drop(changes.changed().await),
                Ok(Next::End) => return Ok(()),
                Err(Error::PositionLost(_)) => {
                    self.notify_of_all().await;
                    source = open(None).await?;
                    changes = source.channel().tail.subscribe();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Notifies the client of the changes of a revision.
    async fn notify(&self, revision: i32) -> Result<()> {
        let tx = self.services.read_with(&self.actor, Needs::Known, Size::Small).await?;
        let member = access::required(&tx, self.project).await?;
        let changes = file::changes_of_revisions(&tx, &[(member, revision)]).await?;
        let has_before = |change: &&FileSnapshot| {
            [ChangeType::Rename, ChangeType::Delete].contains(&change.change_type) && change.version > 1
        };
        let before: Vec<_> =
            changes.iter().filter(has_before).map(|change| (member, (change.file_id, change.version - 1))).collect();
        let before = if before.is_empty() { Vec::new() } else { file::versions_by_numbers(&tx, &before).await? };
        drop(tx);
        let mut notices = Vec::new();
        if let Some(watched) = self.watched.borrow().0.get(&self.project) {
            // Folders are not in the list. A deletion has no hash.
            let is_file = |change: &FileSnapshot| match change.change_type {
                ChangeType::Update => false,
                ChangeType::Create | ChangeType::Rename => change.hash.is_some(),
                ChangeType::Delete => {
                    before.iter().any(|version| version.file_id == change.file_id && version.hash.is_some())
                }
            };
            if watched.lists && changes.iter().any(is_file) {
                notices.push(Notice::ListChanged);
            }
            let paths: BTreeSet<_> = changes.iter().chain(&before).map(|change| &change.path).collect();
            let uris = paths.into_iter().filter_map(|path| watched.files.get(path));
            notices.extend(uris.cloned().map(Notice::Updated));
        }
        self.send(notices).await;
        // Not a change of what is watched.
        self.watched.send_if_modified(|watched| {
            if let Some(project) = watched.0.get_mut(&self.project) {
                project.after = revision;
            }
            false
        });
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
            // The watch has ended if nobody receives this.
            let _ = self.notices.send(Ok(notice)).await;
        }
    }
}
