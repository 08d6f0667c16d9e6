//! Insights, and the stored segments of activity that they are summed up from.
//!
//! Every 256th revision of a project completes a segment, which a background task stores ([`Services::roll_up`]). A query adds
//! up the segments in its range. It reads the log only for the segments that are partly in the range, for the revisions after
//! the last segment, and for segments that are not stored yet.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Member, Services, Tx, Writer, access, heavy};
use crate::model::activity::{Cell, SEGMENT, unpack};
use crate::model::actor::Actor;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};
use crate::model::insights::{Insights, Range};
use crate::storage::activity::{self, Segment, Stretch};
use crate::storage::db::Needs;
use crate::storage::operator::Operator;
use crate::storage::project;

/// Number of segments that are read from the log at once.
const SEGMENTS_AT_ONCE: i32 = 16;
/// Number of stretches of logs in a statement.
const STRETCHES_AT_ONCE: usize = 100;
/// Pause after segments could not be stored.
const PAUSE: Duration = Duration::from_secs(60);

/// A project, and the last revision to include if it is not the newest.
type Until<'t> = (Member<'t>, Option<i32>);

/// The activity of projects in a range, in the order of `wanted`.
pub async fn of_projects(tx: &Tx, wanted: &[Until<'_>], range: Range) -> Result<Vec<Arc<Insights>>> {
    let (parts, _) = read(tx, wanted, range).await?;
    let mut insights = Vec::with_capacity(parts.len());
    for parts in parts {
        insights.push(Arc::new(sum_up(range, parts, None).await?));
    }
    Ok(insights)
}

/// What a user did in the projects of the actor that are not deleted. Also returns the projects with segments to store, and
/// their revisions.
pub async fn of_user(tx: &Tx, user: UserId, range: Range) -> Result<(Arc<Insights>, Vec<(ProjectId, i32)>)> {
    let projects = project::joined(tx).await?;
    let members = access::members(tx, projects).await?;
    let untils: Vec<Until<'_>> = members.into_values().map(|member| (member, None)).collect();
    let (parts, behind) = read(tx, &untils, range).await?;
    let parts = parts.into_iter().flatten().collect();
    Ok((Arc::new(sum_up(range, parts, Some(user)).await?), behind))
}

/// A part of the activity in a range.
enum Part {
    /// A stored segment.
    Packed(Vec<u8>),
    /// Read from the log.
    Cells(Vec<Cell>),
}

/// The parts of each project's activity, and the projects with segments to store.
async fn read(tx: &Tx, wanted: &[Until<'_>], range: Range) -> Result<(Vec<Vec<Part>>, Vec<(ProjectId, i32)>)> {
    let mut parts: Vec<Vec<Part>> = wanted.iter().map(|_| Vec::new()).collect();
    if wanted.is_empty() {
        return Ok((parts, Vec::new()));
    }
    let members: Vec<Member<'_>> = wanted.iter().map(|(member, _)| *member).collect();
    let progress = activity::progress(tx, &members).await?;
    let progress: HashMap<ProjectId, _> = progress.into_iter().map(|at| (at.project.project(), at)).collect();
    let mut segments: HashMap<ProjectId, Vec<Segment>> = HashMap::new();
    for segment in activity::segments(tx, &members, range.from, range.to).await? {
        segments.entry(segment.project).or_default().push(segment);
    }
    let mut stretches = Vec::new();
    for (index, ((member, until), parts)) in wanted.iter().zip(&mut parts).enumerate() {
        let Some(stored) = progress.get(&member.project()) else { continue };
        let last = until.unwrap_or(i32::MAX).min(stored.revision);
        let mut add = |after: i32, until: i32| {
            if after < until {
                stretches.push((index, Stretch { project: *member, after, until }));
            }
        };
        for segment in segments.get(&member.project()).into_iter().flatten() {
            let (after, until) = Segment::revisions(segment.number);
            match &segment.cells {
                Some(cells) if until <= last => parts.push(Part::Packed(cells.clone())),
                _ => add(after, until.min(last)),
            }
        }
        let mut after = stored.segments.saturating_mul(SEGMENT);
        while after < last {
            let until = last.min(after.saturating_add(SEGMENTS_AT_ONCE * SEGMENT));
            add(after, until);
            after = until;
        }
    }
    for stretches in together(&stretches) {
        let read = activity::read(tx, &stretches.iter().map(|(_, stretch)| *stretch).collect::<Vec<_>>()).await?;
        for ((index, _), activity) in stretches.iter().zip(read) {
            if let Some(parts) = parts.get_mut(*index) {
                parts.push(Part::Cells(activity::within(&activity, range.from, range.to)));
            }
        }
    }
    let behind = progress.values().filter(|at| at.revision / SEGMENT > at.segments);
    let behind = behind.map(|at| (at.project.project(), at.revision)).collect();
    Ok((parts, behind))
}

/// Groups stretches so that a statement reads a limited number of revisions.
fn together<T>(stretches: &[(usize, Stretch<T>)]) -> Vec<&[(usize, Stretch<T>)]> {
    let (mut groups, mut start, mut revisions) = (Vec::new(), 0, 0);
    for (at, (_, stretch)) in stretches.iter().enumerate() {
        revisions += stretch.until - stretch.after;
        if at - start >= STRETCHES_AT_ONCE || at > start && revisions > SEGMENTS_AT_ONCE * SEGMENT {
            groups.extend(stretches.get(start..at));
            (start, revisions) = (at, stretch.until - stretch.after);
        }
    }
    groups.extend(stretches.get(start..).filter(|rest| !rest.is_empty()));
    groups
}

/// Adds up parts, of one user if one is given.
async fn sum_up(range: Range, parts: Vec<Part>, user: Option<UserId>) -> Result<Insights> {
    let bytes = parts.iter().map(|part| match part {
        Part::Packed(bytes) => bytes.len(),
        Part::Cells(cells) => size_of_val(cells.as_slice()),
    });
    heavy::run(bytes.sum(), move || {
        let mut cells = Vec::new();
        for part in parts {
            cells.extend(match part {
                Part::Packed(bytes) => unpack(&bytes)?,
                Part::Cells(cells) => cells,
            });
        }
        let cells = cells.iter().filter(|cell| user.is_none() || cell.user == user);
        Ok(Insights::of(range, cells))
    })
    .await?
}

/// Compares the stored segments of a project with its log, for `verify`.
pub async fn verify(operator: &Operator, project: ProjectId, wrong: &mut (dyn FnMut(String) + Send)) -> Result<()> {
    let mut before = 0;
    loop {
        let stored = activity::stored(operator, project, before, SEGMENTS_AT_ONCE).await?;
        if stored.is_empty() {
            return Ok(());
        }
        for segment in stored {
            let (after, until) = Segment::revisions(segment.number);
            if segment.number != before + 1 {
                let last = Segment::revisions(segment.number - 1).1;
                wrong(format!("the stored activity of revisions {} to {last} is missing", before * SEGMENT + 1));
            }
            let activity = activity::read_any(operator, Stretch { project, after, until }).await?;
            if Segment::of(project, segment.number, &activity)?.as_ref() != Some(&segment) {
                wrong(format!("the stored activity of revisions {} to {until} differs from the log", after + 1));
            }
            before = segment.number;
        }
    }
}

impl Services {
    /// Stores the complete segments of a project up to a revision, in the background, if this server has not done so. If it
    /// fails, a later call repeats it; until then, queries read the log.
    pub fn roll_up(self: &Arc<Self>, actor: &Actor, project: ProjectId, revision: i32) {
        let segments = revision / SEGMENT;
        if segments <= self.rolled_up.get(&project).unwrap_or_default() {
            return;
        }
        self.rolled_up.insert(project, segments);
        let (services, actor) = (self.clone(), actor.clone());
        tokio::spawn(async move {
            let stored = services.store_segments(&actor, project).await;
            if let Err(error) = &stored {
                tracing::warn!(project = %project.0, error = error.message(), cause = error.cause(), "activity is not stored yet");
                sleep(PAUSE).await;
            }
            // The actor can have left the project since.
            if stored.unwrap_or_default() < segments {
                services.rolled_up.remove(&project);
            }
        });
    }

    /// Returns the number of stored segments.
    async fn store_segments(self: &Arc<Self>, actor: &Actor, project: ProjectId) -> Result<i32> {
        // A replica can lack what was just stored, and a damaged log can lack all events of a segment.
        let mut done = 0;
        loop {
            let tx = self.read_for_all(actor, Needs::Present).await?;
            let Some(member) = access::member(&tx, project).await? else { return Ok(0) };
            let Some(progress) = activity::progress(&tx, &[member]).await?.pop() else { return Ok(0) };
            done = done.max(progress.segments);
            let until = (progress.revision / SEGMENT).min(done + SEGMENTS_AT_ONCE);
            if until <= done {
                return Ok(done);
            }
            let segments = segments_of(&tx, member, done, until).await?;
            drop(tx);
            if !segments.is_empty() {
                self.store(actor, segments).await?;
            }
            done = until;
        }
    }

    async fn store(self: &Arc<Self>, actor: &Actor, segments: Vec<Segment>) -> Result<()> {
        if !self.db.is_sqlite() {
            return activity::store_as_server(&self.db, &segments).await;
        }
        let write = |writer: Writer| async move {
            let tx = writer.open().await?;
            activity::store(&tx, &segments).await?;
            tx.commit().await
        };
        self.write(actor, write).await
    }
}

/// The segments after one, up to another.
async fn segments_of(tx: &Tx, member: Member<'_>, after: i32, until: i32) -> Result<Vec<Segment>> {
    let numbers: Vec<i32> = (after..until).map(|number| number + 1).collect();
    let stretch = |number: &i32| {
        let (after, until) = Segment::revisions(*number);
        Stretch { project: member, after, until }
    };
    let read = activity::read(tx, &numbers.iter().map(stretch).collect::<Vec<_>>()).await?;
    let segments = numbers.iter().zip(&read).map(|(number, activity)| Segment::of(member.project(), *number, activity));
    Ok(segments.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}
