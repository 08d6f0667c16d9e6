//! What a server with webhooks has, and the projects whose webhooks may have something to deliver. A write in a project
//! without webhooks costs one look-up in memory.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::model::ids::ProjectId;
use crate::model::limits::WebhookLimits;
use crate::model::webhook_secret::WebhookKey;

/// What a server with webhooks has.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Webhooks {
    pub key: WebhookKey,
    pub limits: WebhookLimits,
    pub queue: WebhookQueue,
}

/// Projects with something to deliver. What is lost here is found by the sweep.
#[derive(Debug, Default)]
pub struct WebhookQueue {
    projects: Mutex<Projects>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Projects {
    /// Those that have webhooks, as far as this server knows.
    with_webhooks: HashSet<ProjectId>,
    waiting: HashSet<ProjectId>,
}

/// Number of projects that are taken at once, in one statement.
const AT_ONCE: usize = 10_000;

impl WebhookQueue {
    /// Adds a project that was written, if it has webhooks.
    pub fn written(&self, project: ProjectId) {
        let mut projects = self.projects.lock();
        if projects.with_webhooks.contains(&project) && projects.waiting.insert(project) {
            self.filled.notify_one();
        }
    }

    /// Adds a project whose webhooks have changed, or of which one is to be tried again.
    pub fn changed(&self, project: ProjectId) {
        let mut projects = self.projects.lock();
        projects.with_webhooks.insert(project);
        projects.waiting.insert(project);
        self.filled.notify_one();
    }

    /// Records projects that have webhooks.
    pub fn know(&self, found: impl IntoIterator<Item = ProjectId>) {
        self.projects.lock().with_webhooks.extend(found);
    }

    /// Records projects that have no webhooks, unless these have changed since they were taken.
    pub fn forget(&self, without: impl IntoIterator<Item = ProjectId>) {
        let mut projects = self.projects.lock();
        for project in without {
            if !projects.waiting.contains(&project) {
                projects.with_webhooks.remove(&project);
            }
        }
    }

    /// Waits until there are projects, and takes them.
    pub async fn take(&self) -> Vec<ProjectId> {
        loop {
            let taken: Vec<ProjectId> = {
                let mut projects = self.projects.lock();
                let taken: Vec<ProjectId> = projects.waiting.iter().take(AT_ONCE).copied().collect();
                for project in &taken {
                    projects.waiting.remove(project);
                }
                taken
            };
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use uuid::Uuid;

    use super::*;

    fn project(id: u128) -> ProjectId {
        ProjectId(Uuid::from_u128(id))
    }

    #[tokio::test]
    async fn only_projects_with_webhooks_are_taken_and_each_once() {
        let queue = WebhookQueue::default();
        queue.written(project(1));
        assert_eq!(queue.take().now_or_never(), None);
        queue.know([project(1)]);
        queue.written(project(1));
        queue.written(project(1));
        queue.written(project(2));
        assert_eq!(queue.take().await, [project(1)]);
        assert_eq!(queue.take().now_or_never(), None);
        queue.forget([project(1)]);
        queue.written(project(1));
        assert_eq!(queue.take().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_webhook_that_is_new_while_others_are_read_is_not_forgotten() {
        let queue = WebhookQueue::default();
        queue.changed(project(1));
        assert_eq!(queue.take().await, [project(1)]);
        // The statement has found no webhook; then one was created.
        queue.changed(project(1));
        queue.forget([project(1)]);
        assert_eq!(queue.take().await, [project(1)]);
        queue.know([project(1)]);
        queue.written(project(1));
        assert_eq!(queue.take().await, [project(1)]);
    }
}
