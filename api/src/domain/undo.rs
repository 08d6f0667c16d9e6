//! Undo and redo.

use std::collections::BTreeSet;

use super::edit::{Context, FileWrite};
use super::file::PROJECT;
use super::plan::{self, Inverse};
use super::project::Target;
use super::snapshot::{Files, Restored};
use super::write::Write;
use super::{Member, Tx, Writer, access, policy};
use crate::model::enums::EventKind;
use crate::model::error::{Error, Result};
use crate::model::event::{UndoneFiles, Undos};
use crate::model::ids::{MessageId, ProjectId};
use crate::model::project::ProjectChanges;
pub use crate::storage::undo::of_projects;
use crate::storage::undo::{self, Made};
use crate::storage::{chat, event};

/// The writes that a caller undoes.
#[derive(Clone, Copy, Debug)]
pub enum UndoTarget {
    /// A revision.
    Revision(i32),
    /// Everything that was written for a message and is not undone yet. The second value is the argument `revision`,
    /// which must not be given too.
    Message(MessageId, Option<i32>),
    /// The newest change that is not undone. A redo is a change.
    Newest,
    /// The newest undo that is not undone itself, so that its change is effective again.
    NewestUndo,
}

/// Appends the inverse of revisions: removes what they created, restores what they deleted, shows messages that they
/// hid, and the reverse; restores the project's own fields that they changed. Keeps later changes elsewhere, including
/// those in other lines of the same files.
///
/// # Errors
/// `NotFound`; `Forbidden` for viewers, if a revision hid another user's messages, and unless the actor is the owner if
/// the project would be deleted; `BadInput` if a revision changed neither files nor the project's own fields, or if
/// there is nothing to undo; `Conflict`, with the files and a merge, if later changes are in the way, and if nothing of
/// the revision is left.
pub async fn undo(
    writer: Writer,
    project: ProjectId,
    target: UndoTarget,
    expected_revision: Option<i32>,
    context: Context,
) -> Result<Restored> {
    let (mut write, taking) = find(&writer, project, target, expected_revision, context).await?;
    write.write.about.description = Some(taking.description());
    let states = write.states(&[], &[], true).await?;
    let (mut shown, mut hidden) = (0, 0);
    let kind = taking.kind();
    let Taking { revisions, inverse, fields, is_hiding, .. } = taking;
    if let Some(fields) = fields {
        super::project::take_back(&write.write.tx, &write.write.locked, fields).await?;
    }
    let mut changes = Vec::new();
    if kind == EventKind::FilesChanged {
        changes = write.bring_back(&states, inverse.edits, "revision").await?;
    }
    if is_hiding {
        let Write { tx, locked, .. } = &write.write;
        for revision in &revisions {
            let numbers = chat::revert_hiding(tx, project, *revision, locked.revision).await?;
            (shown, hidden) = (shown + numbers.0, hidden + numbers.1);
        }
    }
    let after = Files::of(&states, &changes);
    let closed = write.write.close(kind).await?;
    undo::note(&closed.tx, project, closed.locked.revision, &revisions, &inverse.changes).await?;
    let restored = Restored {
        project: super::project::read_back(&closed.tx, project).await?,
        backup: None,
        changes,
        file_count: after.count,
        manifest: after.manifest,
        hidden,
        shown,
        revision: closed.locked.revision,
    };
    closed.commit(restored).await
}

/// Returns the revisions that an undo would undo, newest first. Writes nothing.
///
/// # Errors
/// As [`undo`].
pub async fn check(
    writer: Writer,
    project: ProjectId,
    target: UndoTarget,
    expected_revision: Option<i32>,
) -> Result<Vec<i32>> {
    let (write, taking) = find(&writer, project, target, expected_revision, Context::default()).await?;
    write.write.unchanged(taking.revisions).await
}

/// Locks the project, and finds what to undo.
async fn find(
    writer: &Writer,
    project: ProjectId,
    target: UndoTarget,
    expected_revision: Option<i32>,
    context: Context,
) -> Result<(FileWrite, Taking)> {
    let write = FileWrite::begin(writer, Target::Project(project), PROJECT, context).await?;
    let taking = Taking::find(&write.write, target).await?;
    if let Some(expected) = expected_revision {
        check_seen(&write.write, taking.kind(), expected).await?;
    }
    Ok((write, taking))
}

/// Checks the precondition: nothing of what the undo writes has changed since the expected revision: files or the
/// project's own fields.
async fn check_seen(write: &Write, written: EventKind, expected: i32) -> Result<()> {
    const OF_FILES: &[EventKind] = &[EventKind::FilesChanged, EventKind::ProjectRestored];
    let (tx, project) = (&write.tx, write.locked.id);
    let kinds = if written == EventKind::ProjectUpdated { &[EventKind::ProjectUpdated] } else { OF_FILES };
    let member = access::required(tx, project).await?;
    let is_past = (0..write.present_revision()).contains(&expected);
    if is_past && !event::has_after(tx, member, expected, kinds, None).await? {
        return Ok(());
    }
    write.check_expected(Some(expected))
}

/// The work of an undo.
struct Taking {
    /// The revisions to undo, newest first.
    revisions: Vec<i32>,
    inverse: Inverse,
    /// The project's own fields, if the revision changed these.
    fields: Option<ProjectChanges>,
    is_hiding: bool,
    /// The change that is effective again, if an undo is undone.
    redone: Vec<i32>,
}

/// Number of changes that one statement reads to find one that is not undone.
const LOOKED_AT: i32 = 200;

impl Taking {
    /// Finds what to undo.
    async fn find(write: &Write, target: UndoTarget) -> Result<Self> {
        let (tx, project) = (&write.tx, write.locked.id);
        let member = access::required(tx, project).await?;
        let undos = undo::of_projects(tx, &[member]).await?.remove(&project).unwrap_or_default();
        match target {
            UndoTarget::Revision(revision) => {
                let gone = || {
                    let why = match undos.undone_by(revision) {
                        Some(_) => format!("Revision {revision} is already undone."),
                        None => format!("Nothing of revision {revision} is left: later changes have reverted it."),
                    };
                    Error::conflict("revision", why)
                };
                Self::of_revision(write, member, revision, None).await?.ok_or_else(gone)
            }
            UndoTarget::Message(message, revision) => {
                let found = chat::conversation(tx, project, None, Some(message)).await?;
                if found.and_then(|found| found.message_id).is_none() {
                    return Err(Error::not_found("message in this project", "messageId"));
                }
                if revision.is_some() {
                    return Err(Error::bad_input("messageId", "Give `revision` or `messageId`, not both."));
                }
                let gone = || Error::conflict("messageId", "Nothing is left of what was written for this message.");
                let undone = undo::files(tx, member).await?;
                Self::of_message(write, member, &undone, message).await?.ok_or_else(gone)
            }
            UndoTarget::NewestUndo => {
                let undone = undo::files(tx, member).await?;
                let candidates = Self::standing(tx, member, &undos, &undone, undos.of_changes().collect()).await?;
                let mut in_the_way = None;
                let found = Self::first_possible(write, member, &undone, candidates, &mut in_the_way).await?;
                let nothing = || Error::bad_input("projectId", "There is nothing to redo.");
                let taking = found.ok_or_else(|| in_the_way.unwrap_or_else(nothing))?;
                let redone = taking.revisions.iter().flat_map(|revision| undos.undoes(*revision)).copied().collect();
                Ok(Self { redone, ..taking })
            }
            UndoTarget::Newest => {
                let undone = undo::files(tx, member).await?;
                let (mut before, mut in_the_way) = (i32::MAX, None);
                loop {
                    let candidates = undo::candidates(tx, member, before, LOOKED_AT).await?;
                    let Some(oldest) = candidates.last() else {
                        let nothing = || Error::bad_input("projectId", "There is nothing to undo.");
                        return Err(in_the_way.unwrap_or_else(nothing));
                    };
                    before = *oldest;
                    // A redo is a change, newer than those before it.
                    let is_change = |revision: &i32| undos.is_undo_of_change(*revision) != Some(true);
                    let candidates = candidates.into_iter().filter(is_change).collect();
                    let candidates = Self::standing(tx, member, &undos, &undone, candidates).await?;
                    if let Some(taking) =
                        Self::first_possible(write, member, &undone, candidates, &mut in_the_way).await?
                    {
                        return Ok(taking);
                    }
                }
            }
        }
    }

    /// The first of these revisions that can be undone. Skips those that later changes have reverted already. A step
    /// that is impossible now must not hide the steps before it: an undo of an older change can be in the way, and only
    /// its author can show a session's messages again. `in_the_way` gets the first such error.
    async fn first_possible(
        write: &Write,
        member: Member<'_>,
        undone: &UndoneFiles,
        revisions: Vec<i32>,
        in_the_way: &mut Option<Error>,
    ) -> Result<Option<Self>> {
        for revision in revisions {
            match Self::of_revision(write, member, revision, Some(undone)).await {
                Ok(Some(taking)) => return Ok(Some(taking)),
                Ok(None) => {}
                Err(error @ (Error::Conflict(_) | Error::Forbidden(_))) => drop(in_the_way.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// The kind of the new revision.
    fn kind(&self) -> EventKind {
        if self.fields.is_some() { EventKind::ProjectUpdated } else { EventKind::FilesChanged }
    }

    /// The given revisions that have a part which is not undone. Later changes can restore parts that did not exist
    /// when the rest was undone.
    async fn standing(
        tx: &Tx,
        member: Member<'_>,
        undos: &Undos,
        undone: &UndoneFiles,
        mut revisions: Vec<i32>,
    ) -> Result<Vec<i32>> {
        let partly: Vec<i32> =
            revisions.iter().copied().filter(|revision| undos.undone_by(*revision).is_some()).collect();
        let changed = undo::changed_files(tx, member, &partly).await?;
        revisions.retain(|revision| {
            let changed = changed.get(revision).copied().unwrap_or_default();
            undos.undone_by(*revision).is_none() || undone.count(*revision) < changed
        });
        Ok(revisions)
    }

    /// `None` if nothing of the revision is left. Changes in `undone` are not part of it.
    async fn of_revision(
        write: &Write,
        member: Member<'_>,
        revision: i32,
        undone: Option<&UndoneFiles>,
    ) -> Result<Option<Self>> {
        let tx: &Tx = &write.tx;
        let (project, present) = (write.locked.id, write.present_revision());
        let event = event::one(tx, project, revision).await?.filter(|event| event.revision <= present);
        let missing = || Error::bad_input("revision", format!("The project has revisions 1 to {present}."));
        let kind = match event.ok_or_else(missing)?.kind {
            EventKind::FilesChanged | EventKind::ProjectRestored => EventKind::FilesChanged,
            EventKind::ProjectUpdated => EventKind::ProjectUpdated,
            _ => {
                let message = format!("Revision {revision} changed neither files nor the project's own fields.");
                return Err(Error::bad_input("revision", message));
            }
        };
        let mut taking = Self {
            revisions: vec![revision],
            inverse: Inverse::default(),
            fields: None,
            is_hiding: false,
            redone: Vec::new(),
        };
        if kind == EventKind::ProjectUpdated {
            taking.fields = super::project::taking_back(tx, &write.locked, revision, undone.is_some()).await?;
            return Ok(taking.fields.is_some().then_some(taking));
        }
        let hiding = chat::hiding(tx, project, revision).await?;
        if let Some(hiding) = hiding {
            policy::may_write_in_session(hiding.author_id, write.writer.actor.user_id)?;
            taking.is_hiding = hiding.stands;
        }
        taking.inverse = plan::taking_back(tx, member, &taking.revisions, undone, present, "revision").await?;
        if taking.inverse.only_languages && undone.is_none() && !taking.is_hiding {
            let message = format!("Revision {revision} changed only languages of files, which have no history.");
            return Err(Error::bad_input("revision", message));
        }
        Ok((taking.is_hiding || !taking.inverse.edits.is_empty()).then_some(taking))
    }

    async fn of_message(
        write: &Write,
        member: Member<'_>,
        undone: &UndoneFiles,
        message: MessageId,
    ) -> Result<Option<Self>> {
        let (tx, present) = (&write.tx, write.present_revision());
        let made = undo::made_in(tx, member, Made::For(message), (0, present)).await?;
        if made.is_empty() {
            return Err(Error::bad_input("messageId", "No files were written for this message."));
        }
        let inverse = plan::taking_back(tx, member, &made, Some(undone), present, "messageId").await?;
        if inverse.only_languages {
            let message =
                "Only languages of files are left of what was written for this message; they have no history.";
            return Err(Error::bad_input("messageId", message));
        }
        let revisions: BTreeSet<i32> = inverse.changes.iter().map(|(revision, _)| *revision).collect();
        let revisions = revisions.into_iter().rev().collect();
        let (fields, redone) = (None, Vec::new());
        Ok((!inverse.edits.is_empty()).then_some(Self { revisions, inverse, fields, is_hiding: false, redone }))
    }

    /// The description of the event.
    fn description(&self) -> String {
        let (word, of) = if self.redone.is_empty() { ("Undo", &self.revisions) } else { ("Redo", &self.redone) };
        let mut of: Vec<i32> = of.clone();
        of.sort_unstable();
        let of: Vec<String> = of.iter().map(ToString::to_string).collect();
        match of.split_last() {
            Some((last, [])) => format!("{word} of revision {last}"),
            Some((last, others)) => format!("{word} of revisions {} and {last}", others.join(", ")),
            None => word.to_owned(),
        }
    }
}
