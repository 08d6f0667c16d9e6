//! Turns: the order in which users get access to the database, so that the work of one user does not delay everyone
//! else.
//!
//! Reads and writes have separate lanes. A lane has permits for as many transactions as it has connections. A user has
//! a share of them, and free permits go to the waiting users in rotation, one transaction each (round robin). Large
//! transactions are a separate flow of their user: large writes one at a time, large reads (which keep their connection
//! while they compute) so many that the user's other reads have a permit. All large reads together leave a quarter. On PostgreSQL, where a write holds its connection
//! while it waits for its project's row, the writers of one project first queue here, in order of arrival. All waits of
//! a transaction share one deadline; after it the error is `RateLimited`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::metrics::{self, Metrics};
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, UserId};
use crate::model::limits::DatabaseLimits;
use crate::storage::db::Size;

/// Turns that are counted together: those of a user, by size. Without a user, the server's own.
pub type Flow = (Option<UserId>, Size);

/// All turns of a server.
pub struct Turns {
    reads: Arc<Lane>,
    /// For each replica, which has connections of its own.
    replicas: Vec<Arc<Lane>>,
    writes: Arc<Lane>,
    work: Arc<Lane>,
    /// `None` on SQLite, where all writes wait for the one connection that writes.
    projects: Option<Arc<Projects>>,
    longest: Duration,
    metrics: Arc<Metrics>,
}

impl Turns {
    /// No turns are taken. `readers` is the number of connections that read.
    pub fn new(
        limits: &DatabaseLimits,
        readers: usize,
        replicas: usize,
        is_sqlite: bool,
        metrics: Arc<Metrics>,
    ) -> Self {
        let connections = usize::try_from(limits.database_connections).unwrap_or(usize::MAX).max(1);
        let share = usize::try_from(limits.database_user_connections).unwrap_or(usize::MAX).max(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // On PostgreSQL a quarter of the connections, and at least one of several, is reserved for reads. On SQLite, with
        // one write at a time, this is the number of writes that can wait for the writer.
        let quarter = (connections / 4).max(1);
        let writes = if is_sqlite { connections } else { (connections - quarter).max(1) };
        let large = if is_sqlite { 1 } else { quarter };
        Self {
            reads: Lane::of_reads("read", readers, share),
            replicas: (0..replicas).map(|_| Lane::of_reads("replica", connections, share)).collect(),
            writes: Lane::new("write", writes, share, large),
            work: Lane::new("work", (cores / 2).max(1), 1, cores),
            projects: (!is_sqlite).then(Arc::default),
            longest: Duration::from_secs(limits.database_acquire_seconds),
            metrics,
        }
    }

    /// A user's turn to read.
    ///
    /// # Errors
    /// `RateLimited` if it does not come in time.
    pub async fn read(&self, user: UserId, size: Size, deadline: Instant) -> Result<Turn> {
        self.wait(&self.reads, (Some(user), size), deadline).await
    }

    /// The server's turn for a read that several users share; it is not charged to a user.
    ///
    /// # Errors
    /// As [`Turns::read`].
    pub async fn read_for_all(&self, deadline: Instant) -> Result<Turn> {
        self.wait(&self.reads, (None, Size::Small), deadline).await
    }

    /// A turn to read from a replica: a user's, or the server's.
    ///
    /// # Errors
    /// As [`Turns::read`].
    pub async fn replica(&self, index: usize, flow: Flow, deadline: Instant) -> Result<Turn> {
        let lane = self.replicas.get(index).unwrap_or(&self.reads);
        self.wait(lane, flow, deadline).await
    }

    /// A user's turn to write.
    ///
    /// # Errors
    /// As [`Turns::read`].
    pub async fn write(&self, user: UserId, size: Size, deadline: Instant) -> Result<Turn> {
        self.wait(&self.writes, (Some(user), size), deadline).await
    }

    /// A user's turn to prepare a large write, which takes processor time.
    ///
    /// # Errors
    /// As [`Turns::read`].
    pub async fn work(&self, user: UserId) -> Result<Turn> {
        self.wait(&self.work, (Some(user), Size::Large), Instant::now() + self.longest).await
    }

    /// Whether the writers of a project queue before they take a connection.
    pub fn are_by_project(&self) -> bool {
        self.projects.is_some()
    }

    /// The turn to write to a project, in order of arrival; does not wait on SQLite.
    ///
    /// # Errors
    /// As [`Turns::read`].
    pub async fn project(&self, project: ProjectId, deadline: Instant) -> Result<Option<ProjectTurn>> {
        let Some(projects) = &self.projects else { return Ok(None) };
        match projects.take(project) {
            Ok(turn) => Ok(Some(turn)),
            Err(next) => self.bounded("project", next, deadline).await.map(Some),
        }
    }

    async fn wait(&self, lane: &Arc<Lane>, flow: Flow, deadline: Instant) -> Result<Turn> {
        match lane.take(flow) {
            Ok(turn) => Ok(turn),
            Err(next) => self.bounded(lane.name, next, deadline).await,
        }
    }

    async fn bounded<T>(&self, lane: &'static str, next: oneshot::Receiver<T>, deadline: Instant) -> Result<T> {
        match self.metrics.waiting_turn(lane, metrics::paused(timeout_at(deadline, next))).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::busy("The request waited for other requests", self.longest)),
        }
    }
}

/// The turns for one resource: those that are taken, and those that tasks wait for.
struct Lane {
    name: &'static str,
    /// Maximum number of turns.
    room: usize,
    /// Maximum number of turns of a user.
    share: usize,
    /// Maximum number of large turns.
    large: usize,
    /// Maximum number of large turns of a user.
    own_large: usize,
    state: Mutex<State>,
}

/// Number of turns, and of large ones among them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct InUse {
    turns: usize,
    large: usize,
}

impl InUse {
    fn add(&mut self, size: Size) {
        self.turns += 1;
        self.large += usize::from(size == Size::Large);
    }

    fn remove(&mut self, size: Size) {
        self.turns -= 1;
        self.large -= usize::from(size == Size::Large);
    }
}

#[derive(Default)]
struct State {
    all: InUse,
    of_users: HashMap<UserId, InUse>,
    /// Waiting tasks by flow, in the order of their next turns. None of them fits now.
    waiting: VecDeque<(Flow, VecDeque<oneshot::Sender<Turn>>)>,
}

impl Lane {
    fn new(name: &'static str, room: usize, share: usize, large: usize) -> Arc<Self> {
        // With few permits, leave at least one for other users.
        let share = share.min(room.saturating_sub(1).max(1));
        Arc::new(Self { name, room, share, large, own_large: 1, state: Mutex::default() })
    }

    fn of_reads(name: &'static str, room: usize, share: usize) -> Arc<Self> {
        let share = share.min(room.saturating_sub(1).max(1));
        let large = room.saturating_sub((room / 4).max(1)).max(1);
        let own_large = share.saturating_sub(1).max(1);
        Arc::new(Self { name, room, share, large, own_large, state: Mutex::default() })
    }

    fn fits(&self, state: &State, (user, size): Flow) -> bool {
        let own = user.and_then(|user| state.of_users.get(&user)).copied().unwrap_or_default();
        let has_room = state.all.turns < self.room && own.turns < self.share;
        // The user's other turns, and other users' large turns, can go first.
        has_room && (size == Size::Small || own.large < self.own_large && state.all.large < self.large)
    }

    /// Takes a turn, or a place in the queue.
    fn take(self: &Arc<Self>, flow: Flow) -> std::result::Result<Turn, oneshot::Receiver<Turn>> {
        let mut state = self.state.lock();
        if self.fits(&state, flow) {
            return Ok(self.turn(&mut state, flow));
        }
        let (sender, receiver) = oneshot::channel();
        match state.waiting.iter_mut().find(|(other, _)| *other == flow) {
            Some((_, queue)) => queue.push_back(sender),
            None => state.waiting.push_back((flow, VecDeque::from([sender]))),
        }
        Err(receiver)
    }

    fn turn(self: &Arc<Self>, state: &mut State, flow: Flow) -> Turn {
        state.all.add(flow.1);
        if let Some(user) = flow.0 {
            state.of_users.entry(user).or_default().add(flow.1);
        }
        Turn { lane: self.clone(), flow }
    }

    /// Takes a turn back, and gives free permits to waiting tasks.
    fn release(self: &Arc<Self>, flow: Flow) {
        let mut given = Vec::new();
        {
            let mut state = self.state.lock();
            state.all.remove(flow.1);
            if let Some(user) = flow.0
                && let Some(own) = state.of_users.get_mut(&user)
            {
                own.remove(flow.1);
                if own.turns == 0 {
                    state.of_users.remove(&user);
                }
            }
            let mut at = 0;
            while let Some((flow, _)) = state.waiting.get(at) {
                let flow = *flow;
                if !self.fits(&state, flow) {
                    at += 1;
                    continue;
                }
                let Some((_, mut queue)) = state.waiting.remove(at) else { break };
                // Skip tasks that have given up.
                while let Some(next) = queue.pop_front() {
                    if !next.is_closed() {
                        given.push((next, self.turn(&mut state, flow)));
                        break;
                    }
                }
                if !queue.is_empty() {
                    state.waiting.push_back((flow, queue));
                }
            }
        }
        for (next, turn) in given {
            // A task that has just gone returns the turn by dropping it.
            drop(next.send(turn));
        }
    }
}

/// A turn, until it is dropped.
pub struct Turn {
    lane: Arc<Lane>,
    flow: Flow,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.lane.release(self.flow);
    }
}

/// The projects that are being written to, with the waiting writers of each.
#[derive(Default)]
struct Projects(Mutex<HashMap<ProjectId, VecDeque<oneshot::Sender<ProjectTurn>>>>);

impl Projects {
    fn take(self: &Arc<Self>, project: ProjectId) -> std::result::Result<ProjectTurn, oneshot::Receiver<ProjectTurn>> {
        let mut all = self.0.lock();
        if let Some(queue) = all.get_mut(&project) {
            let (sender, receiver) = oneshot::channel();
            queue.push_back(sender);
            return Err(receiver);
        }
        all.insert(project, VecDeque::new());
        Ok(ProjectTurn { projects: self.clone(), project })
    }

    fn release(self: &Arc<Self>, project: ProjectId) {
        let next = {
            let mut all = self.0.lock();
            let Some(queue) = all.get_mut(&project) else { return };
            let next = std::iter::from_fn(|| queue.pop_front()).find(|next| !next.is_closed());
            if next.is_none() {
                all.remove(&project);
            }
            next
        };
        if let Some(next) = next {
            // A task that has just gone returns the turn by dropping it.
            drop(next.send(ProjectTurn { projects: self.clone(), project }));
        }
    }
}

/// The turn to write to a project, until it is dropped.
pub struct ProjectTurn {
    projects: Arc<Projects>,
    project: ProjectId,
}

impl Drop for ProjectTurn {
    fn drop(&mut self) {
        self.projects.release(self.project);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(id: u128) -> Option<UserId> {
        Some(UserId(Uuid::from_u128(id)))
    }

    /// Takes a turn, which must be free.
    fn taken(lane: &Arc<Lane>, flow: Flow) -> Turn {
        lane.take(flow).ok().unwrap()
    }

    /// Waits for a turn, which must not be free.
    fn waits(lane: &Arc<Lane>, flow: Flow) -> oneshot::Receiver<Turn> {
        lane.take(flow).err().unwrap()
    }

    #[test]
    fn users_have_turns_in_rotation_however_many_each_waits_for() {
        let lane = Lane::new("test", 1, 1, 1);
        let (ada, bob) = ((user(1), Size::Small), (user(2), Size::Small));
        let first = taken(&lane, ada);
        let mut many: Vec<_> = (0..3).map(|_| waits(&lane, ada)).collect();
        let mut one = waits(&lane, bob);
        drop(first);
        let second = many[0].try_recv().unwrap();
        assert!(one.try_recv().is_err());
        drop(second);
        let third = one.try_recv().unwrap();
        assert!(many[1].try_recv().is_err());
        drop(third);
        let _fourth = many[1].try_recv().unwrap();
        assert!(many[2].try_recv().is_err());
    }

    #[test]
    fn a_user_leaves_a_reader_to_others() {
        let limits = DatabaseLimits {
            database_connections: 16,
            sqlite_readers: None,
            database_user_connections: 4,
            database_acquire_seconds: 10,
            database_idle_seconds: 600,
            database_lifetime_seconds: 1_800,
            database_statement_seconds: 30,
            content_cache_bytes: 0,
        };
        let turns = Turns::new(&limits, 3, 0, true, Arc::default());
        let (ada, bob) = ((user(1), Size::Small), (user(2), Size::Small));
        let _own = [taken(&turns.reads, ada), taken(&turns.reads, ada)];
        let _next = waits(&turns.reads, ada);
        let _others = taken(&turns.reads, bob);
    }

    #[test]
    fn a_user_has_a_share_and_leaves_the_rest_to_others() {
        let lane = Lane::new("test", 4, 2, 4);
        let (ada, bob) = ((user(1), Size::Small), (user(2), Size::Small));
        let first = taken(&lane, ada);
        let _second = taken(&lane, ada);
        let mut third = waits(&lane, ada);
        let _others = [taken(&lane, bob), taken(&lane, (None, Size::Small))];
        drop(first);
        assert!(third.try_recv().is_ok());
        assert_eq!(Lane::new("test", 2, 9, 2).share, 1);
    }

    #[test]
    fn large_turns_are_one_at_a_time_and_small_ones_pass() {
        let lane = Lane::new("test", 8, 4, 1);
        let large = taken(&lane, (user(1), Size::Large));
        let mut own = waits(&lane, (user(1), Size::Large));
        let mut others = waits(&lane, (user(2), Size::Large));
        let small = [taken(&lane, (user(1), Size::Small)), taken(&lane, (user(2), Size::Small))];
        drop(small);
        drop(large);
        let second = own.try_recv().unwrap();
        assert!(others.try_recv().is_err());
        drop(second);
        assert!(others.try_recv().is_ok());
    }

    #[test]
    fn large_reads_leave_permits_to_their_user_and_to_all() {
        let lane = Lane::of_reads("test", 8, 3);
        let large = |id| (user(id), Size::Large);
        let _first = [taken(&lane, large(1)), taken(&lane, large(1))];
        let _waiting = waits(&lane, large(1));
        let own = taken(&lane, (user(1), Size::Small));
        let _others = [taken(&lane, large(2)), taken(&lane, large(2)), taken(&lane, large(3)), taken(&lane, large(3))];
        let _more = waits(&lane, large(4));
        drop(own);
        let _small = [taken(&lane, (user(4), Size::Small)), taken(&lane, (user(5), Size::Small))];
        let few = Lane::of_reads("test", 1, 4);
        let _only = taken(&few, large(1));
    }

    #[test]
    fn who_has_gone_holds_up_nobody_and_nothing_is_left_behind() {
        let lane = Lane::new("test", 1, 1, 1);
        let first = taken(&lane, (user(1), Size::Small));
        drop(waits(&lane, (user(2), Size::Small)));
        let mut third = waits(&lane, (user(3), Size::Small));
        drop(first);
        assert!(third.try_recv().is_ok());
        let state = lane.state.lock();
        assert!(state.all == InUse::default() && state.of_users.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn writers_of_a_project_go_in_the_order_in_which_they_came() {
        let projects = Arc::<Projects>::default();
        let [here, there] = [1, 2].map(|id| ProjectId(Uuid::from_u128(id)));
        let first = projects.take(here).ok().unwrap();
        let mut second = projects.take(here).err().unwrap();
        drop(projects.take(here).err().unwrap());
        let mut fourth = projects.take(here).err().unwrap();
        drop(projects.take(there).ok().unwrap());
        drop(first);
        let turn = second.try_recv().unwrap();
        assert!(fourth.try_recv().is_err());
        drop(turn);
        drop(fourth.try_recv().unwrap());
        assert!(projects.0.lock().is_empty());
    }
}
