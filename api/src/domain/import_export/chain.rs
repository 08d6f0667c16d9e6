//! A project's history as a line of commits. A commit depends only on the revisions up to its own, so every server makes
//! the same objects, and new revisions only append commits.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::commit::Signature;
use super::export::{contents, groups, verb, writes_for_message};
use super::fsck;
use super::git::Objects;
use super::objects::{EMPTY_TREE, Id, Kind, Pack};
use super::place::is_import;
use super::record;
use super::tree::Folder;
use crate::domain::{Services, access, chat, events, file, heavy};
use crate::model::actor::Actor;
use crate::model::chat::Message;
use crate::model::enums::EventKind;
use crate::model::error::{Error, Result};
use crate::model::event::Event;
use crate::model::file::{FileSnapshot, Hash};
use crate::model::ids::{MessageId, ProjectId, SessionId, UserId};
use crate::storage::file::{ChangedAt, FileState, changed_at};

/// Entries of the log read at once.
const BATCH: usize = 200;

/// The end of a line of commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    /// The newest revision that it contains.
    pub(super) revision: i32,
    /// The time of this revision.
    pub(super) at: DateTime<Utc>,
    /// The newest commit, with its tree.
    pub(super) commit: Option<(Id, Id)>,
}

impl Tip {
    /// The tip of an empty history.
    pub(super) fn empty() -> Self {
        Self { revision: 0, at: DateTime::UNIX_EPOCH, commit: None }
    }
}

/// A line of commits that is being extended.
pub(super) struct Chain<'c> {
    services: &'c Services,
    actor: &'c Actor,
    project: ProjectId,
    repository: &'c Path,
    pub(super) tip: Tip,
    /// The tree of the newest commit, with the changes since.
    root: Folder,
    objects: Objects,
    /// The objects of contents.
    blobs: HashMap<Hash, Blob>,
}

/// The object of a content.
struct Blob {
    id: Id,
    can_be_attributes: bool,
}

impl<'c> Chain<'c> {
    pub(super) fn new(
        services: &'c Services,
        actor: &'c Actor,
        project: ProjectId,
        repository: &'c Path,
        tip: Tip,
    ) -> Result<Self> {
        let root = tip.commit.map_or_else(Folder::empty, |(_, tree)| Folder::stored(tree));
        let objects = Objects::start(repository)?;
        Ok(Self { services, actor, project, repository, tip, root, objects, blobs: HashMap::new() })
    }

    /// Stores the commits of the next revisions. Returns whether there were any revisions.
    pub(super) async fn extend(&mut self) -> Result<bool> {
        let batch = self.read().await?;
        let Some(last) = batch.log.last() else { return Ok(false) };
        let (revision, at) = (last.revision, last.created_at);
        let mut pack = self.add_contents(&batch).await?;
        for event in &batch.log {
            for change in batch.changes_of(event) {
                if let Some((path, _)) = change.before.as_ref().and_then(|state| served(state)) {
                    self.root.set(&mut self.objects, path, None).await?;
                }
            }
            for change in batch.changes_of(event) {
                if let Some((path, mode, hash)) =
                    served(&change.after).map(|(path, hash)| (path, change.after.file.mode, hash))
                {
                    let blob = self.blobs.get(&hash).ok_or_else(|| Error::internal("a file without an object"))?;
                    if blob.can_be_attributes || !fsck::is_attributes(path) {
                        self.root.set(&mut self.objects, path, Some((mode, blob.id))).await?;
                    }
                }
            }
            let tree = self.root.write(&mut pack)?;
            if tree != self.tip.commit.map_or(EMPTY_TREE, |(_, tree)| tree) || batch.is_empty_commit(event) {
                let object = batch.commit(event, &tree, self.tip.commit.as_ref().map(|(commit, _)| commit));
                self.tip.commit = Some((pack.add(Kind::Commit, &object)?, tree));
            }
        }
        (self.tip.revision, self.tip.at) = (revision, at);
        pack.store(self.repository).await?;
        Ok(true)
    }

    async fn read(&self) -> Result<Batch> {
        let tx = self.services.read(self.actor).await?;
        let member = access::required(&tx, self.project).await?;
        let log = events::after(&tx, &[member], self.tip.revision, &[], BATCH).await?;
        let revisions: Vec<i32> = log.iter().map(|event| event.revision).collect();
        let mut changes: HashMap<i32, Vec<ChangedAt>> = HashMap::new();
        for change in changed_at(&tx, member, &revisions).await? {
            changes.entry(change.revision).or_default().push(change);
        }
        let ids: BTreeSet<MessageId> =
            log.iter().filter(|event| writes_for_message(event)).filter_map(|event| event.message_id).collect();
        let ids: Vec<MessageId> = ids.into_iter().collect();
        let messages = if ids.is_empty() { Vec::new() } else { chat::messages_by_ids(&tx, &ids).await? };
        let messages: HashMap<MessageId, Message> = messages.into_iter().map(|message| (message.id, message)).collect();
        let of_session =
            |message: &Message| record::is_empty_commit(&message.metadata.value()).then_some(message.session_id);
        let sessions: BTreeSet<SessionId> = messages.values().filter_map(of_session).collect();
        let sessions: Vec<SessionId> = sessions.into_iter().collect();
        let sessions = if sessions.is_empty() { Vec::new() } else { chat::sessions_by_ids(&tx, &sessions).await? };
        let imports = sessions.iter().filter(|session| is_import(session)).map(|session| session.id).collect();
        let is_without = |event: &&Event| event.message_id.is_none() && changes.contains_key(&event.revision);
        let without: Vec<_> = log.iter().filter(is_without).map(|event| (member, event.revision)).collect();
        let mut described: HashMap<i32, Vec<FileSnapshot>> = HashMap::new();
        if !without.is_empty() {
            for version in file::changes_of_revisions(&tx, &without).await? {
                described.entry(version.revision).or_default().push(version);
            }
        }
        Ok(Batch { log, changes, messages, imports, described })
    }

    /// Adds the contents of the changed files to a new pack.
    async fn add_contents(&mut self, batch: &Batch) -> Result<Pack> {
        let mut pack = Pack::new(self.repository)?;
        let after = batch.changes.values().flatten().map(|change| &change.after);
        let new = after.filter_map(|state| Some((served(state)?.1, state.file.size_bytes)));
        let new: BTreeSet<(Hash, i32)> = new.filter(|(hash, _)| !self.blobs.contains_key(hash)).collect();
        let new: Vec<(Hash, i32)> = new.into_iter().collect();
        for group in groups(&new, |(_, size)| *size) {
            let tx = self.services.read(self.actor).await?;
            let contents = contents(&tx, self.project, group.iter().map(|(hash, _)| *hash)).await?;
            drop(tx);
            let bytes = contents.values().map(|content| content.len()).sum();
            let work = move || {
                let mut blobs = Vec::with_capacity(contents.len());
                for ((_, hash), content) in contents {
                    let can_be_attributes = fsck::can_be_attributes(&content);
                    blobs.push((hash, Blob { id: pack.add(Kind::Blob, &content)?, can_be_attributes }));
                }
                Ok((pack, blobs))
            };
            let blobs;
            (pack, blobs) = heavy::run(bytes, work).await??;
            self.blobs.extend(blobs);
        }
        Ok(pack)
    }
}

/// A part of the log with what its commits are made of.
struct Batch {
    log: Vec<Event>,
    changes: HashMap<i32, Vec<ChangedAt>>,
    messages: HashMap<MessageId, Message>,
    /// The sessions of imports and pushes.
    imports: HashSet<SessionId>,
    /// The changes of revisions without a message.
    described: HashMap<i32, Vec<FileSnapshot>>,
}

impl Batch {
    fn changes_of(&self, event: &Event) -> &[ChangedAt] {
        self.changes.get(&event.revision).map_or(&[], Vec::as_slice)
    }

    fn message_of(&self, event: &Event) -> Option<&Message> {
        self.messages.get(&event.message_id.filter(|_| writes_for_message(event))?)
    }

    /// Whether an entry is a commit that changes no files.
    fn is_empty_commit(&self, event: &Event) -> bool {
        let message = self.message_of(event).filter(|_| event.kind == EventKind::MessageAdded);
        message.is_some_and(|message| {
            self.imports.contains(&message.session_id) && record::is_empty_commit(&message.metadata.value())
        })
    }

    /// The commit object of an entry.
    fn commit(&self, event: &Event, tree: &Id, parent: Option<&Id>) -> Vec<u8> {
        let message = self.message_of(event);
        let recorded =
            message.and_then(|message| record::object(&message.metadata.value(), &message.content, tree, parent));
        recorded.unwrap_or_else(|| {
            let author = person(event.actor_id, event.created_at);
            let mut text = message.map_or_else(|| self.description(event), |message| message.content.to_string());
            if !text.ends_with('\n') {
                text.push('\n');
            }
            record::render(tree, parent, &author, &author, &text)
        })
    }

    fn description(&self, event: &Event) -> String {
        let changes = self.described.get(&event.revision).map_or(&[][..], Vec::as_slice);
        let given = changes.iter().find_map(|change| change.change_description.text().map(str::to_owned));
        given.unwrap_or_else(|| match (event.kind, changes) {
            (EventKind::ProjectRestored, _) => "Restore an earlier state".to_owned(),
            (_, [one]) => format!("{} {}", verb(one.change_type), one.path),
            (_, many) => format!("Change {} files", many.len()),
        })
    }
}

/// The path and the content of a file that a commit can contain, if its content can be at that path.
fn served(state: &FileState) -> Option<(&str, Hash)> {
    let hash = state.file.hash.filter(|_| !state.file.is_deleted)?;
    let path = state.file.path.as_str();
    fsck::refuse_path(path).is_none().then_some((path, hash))
}

/// A member of the project as the author of a commit. The name is not the one in the profile, which can change, and
/// members cannot see each other's addresses.
fn person(id: Option<UserId>, at: DateTime<Utc>) -> Signature {
    let (name, email) = match id {
        Some(id) => {
            let id = id.0.to_string();
            (format!("user-{}", id.get(..8).unwrap_or(&id)), format!("{id}@antiphon.invalid"))
        }
        None => ("unknown".to_owned(), "unknown@antiphon.invalid".to_owned()),
    };
    Signature::at(name, email, at.fixed_offset())
}
