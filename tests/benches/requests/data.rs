//! The loaded data, and the requests for it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use serde_json::{Value, json};
use tests::workload::Random;

use crate::{contender::Who, work::Work};

/// Sessions of a project.
pub(crate) const SESSIONS: usize = 5;
/// Projects that a user owns, and that others share with them: together they fill a page.
pub(crate) const OWN: usize = 10;
pub(crate) const SHARED: usize = 12;

pub(crate) struct Data {
    pub(crate) users: Vec<User>,
    pub(crate) projects: Vec<Project>,
    /// Each run has another seed, so no two runs send the same requests.
    pub(crate) next_seed: AtomicI64,
}

pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) projects: Vec<usize>,
}

pub(crate) struct Project {
    pub(crate) id: String,
    pub(crate) owner: usize,
    pub(crate) sessions: Vec<String>,
    pub(crate) files: Vec<File>,
    /// The revisions before and after the last sync: a restore goes to the first one, and they swap. `None` while a
    /// restore is under way.
    pub(crate) restore: Mutex<Option<(i64, i64)>>,
}

pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) path: String,
    /// In the service's tables.
    pub(crate) ours: State,
    /// In the bench's own tables, which all other contenders write.
    pub(crate) copy: State,
}

/// Version and content of a file; `None` while a request changes it.
pub(crate) type State = Mutex<Option<(i64, String)>>;

impl File {
    fn state(&self, who: Who) -> MutexGuard<'_, Option<(i64, String)>> {
        lock(if who.is_service() { &self.ours } else { &self.copy })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request.
pub(crate) struct Request {
    pub(crate) user: usize,
    pub(crate) target: String,
    pub(crate) text: String,
    pub(crate) number: i64,
    /// The body of the POST; empty if there is none.
    pub(crate) body: Vec<u8>,
    after: After,
}

/// The effect of a request on the data.
enum After {
    Nothing,
    /// The file has one version more, and the request's text as content.
    Changed {
        project: usize,
        file: usize,
    },
    /// The next restore goes in the other direction.
    Restored {
        project: usize,
        revisions: (i64, i64),
    },
}

impl Data {
    pub(crate) fn request(&self, work: Work, who: Who, random: &mut Random) -> Request {
        let user = random.below(self.users.len());
        let caller = &self.users[user];
        let at = caller.projects[random.below(caller.projects.len())];
        let project = &self.projects[at];
        let mut request = Request {
            user,
            target: project.id.clone(),
            text: String::new(),
            number: 0,
            body: Vec::new(),
            after: After::Nothing,
        };
        let mut input = Value::Null;
        match work {
            Work::Q1 | Work::Q3 | Work::Q4 => {}
            Work::Q2 => request.target = project.sessions[random.below(SESSIONS)].clone(),
            Work::M1 => {
                // Only the author writes to a session, and only to the last one, which is active.
                request.user = project.owner;
                request.target = project.sessions[SESSIONS - 1].clone();
                request.text = message(random);
                input = json!({ "sessionId": request.target, "role": "USER", "content": request.text });
            }
            Work::M2 => input = self.change(who, random, &mut request),
            Work::Restore => input = self.restore(random, &mut request),
        }
        request.body = request.body_for(work, who, input).unwrap_or_default();
        request
    }

    /// Picks a file that no other request changes, and changes it.
    fn change(&self, who: Who, random: &mut Random, request: &mut Request) -> Value {
        loop {
            let at = random.below(self.projects.len());
            let project = &self.projects[at];
            let file = random.below(project.files.len());
            let found = &project.files[file];
            let Some((version, content)) = found.state(who).take() else { continue };
            request.user = project.owner;
            request.target.clone_from(&found.id);
            request.text = random.edit(&content);
            request.number = version;
            request.after = After::Changed { project: at, file };
            return json!({
                "projectId": project.id, "path": found.path, "content": request.text, "expectedVersion": version });
        }
    }

    fn restore(&self, random: &mut Random, request: &mut Request) -> Value {
        loop {
            let at = random.below(self.projects.len());
            let project = &self.projects[at];
            let Some(revisions) = lock(&project.restore).take() else { continue };
            request.user = project.owner;
            request.after = After::Restored { project: at, revisions };
            return json!({ "projectId": project.id, "revision": revisions.0 });
        }
    }

    /// Must be called once the request has been answered.
    pub(crate) fn settle(&self, request: Request, who: Who) {
        match request.after {
            After::Nothing => {}
            After::Changed { project, file } => {
                *self.projects[project].files[file].state(who) = Some((request.number + 1, request.text));
            }
            After::Restored { project, revisions: (before, after) } => {
                *lock(&self.projects[project].restore) = Some((after, before));
            }
        }
    }

    pub(crate) fn summary(&self) -> String {
        let files: usize = self.projects.iter().map(|project| project.files.len()).sum();
        let (users, projects) = (self.users.len(), self.projects.len());
        format!("{users} users, {projects} projects, {} sessions, {files} files", projects * SESSIONS)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.next_seed.fetch_add(1, Ordering::Relaxed) as u64 * 977
    }
}

impl Request {
    fn body_for(&self, work: Work, who: Who, input: Value) -> Option<Vec<u8>> {
        let body = match who {
            Who::Limit => return None,
            Who::Node => json!({ "target": self.target, "content": self.text, "number": self.number }),
            Who::PostGraphile => {
                let variables = match work {
                    Work::M1 => json!({ "input": { "session": self.target, "content": self.text } }),
                    Work::M2 => {
                        json!({ "input": { "file": self.target, "expected": self.number, "content": self.text } })
                    }
                    _ => json!({ "id": self.target }),
                };
                json!({ "query": work.postgraphile(), "variables": variables })
            }
            Who::Ours | Who::OursWithoutPolicies => {
                let variables = match work {
                    Work::Q1 => json!({}),
                    Work::Q2 | Work::Q3 | Work::Q4 => json!({ "id": self.target }),
                    Work::M1 | Work::M2 | Work::Restore => json!({ "input": input }),
                };
                json!({ "query": work.document(), "variables": variables })
            }
        };
        Some(body.to_string().into_bytes())
    }
}

/// About 300 bytes.
pub(crate) fn message(random: &mut Random) -> String {
    let mut text = random.document();
    text.truncate(200 + random.below(200));
    text
}
