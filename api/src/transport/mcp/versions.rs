//! Tools that read the history and the conversation.

use std::collections::{HashMap, HashSet};

use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::{
    answer::Answer,
    call::{Call, check_at, entry},
    reads::{file_at, next_cursor, next_page},
};
use crate::{
    domain::{
        Tx, access, blame, chat,
        compare::{self, Between},
        events, file, profile,
        snapshot::{self, Limit, Preview},
    },
    model::{
        chat::{Message, MessageFilter},
        clock,
        enums::FileType,
        error::{Error, Result},
        event::Moment,
        file::{ChangeFilter, Entry, FileSnapshot},
        ids::{MessageId, ProjectId, ProjectSnapshotId, ReadId, SessionId, UserId},
        page::{self, List, Page, Slice},
        path::FilePath,
        project::Project,
        search::Search,
    },
};

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Diff {
    /// The id of the project.
    project_id: String,
    /// The earlier revision: 0 is before the first.
    from: i32,
    /// The later revision; by default the newest.
    to: Option<i32>,
    /// Only these paths and everything below them; by default all files.
    paths: Option<Vec<String>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Differences {
    /// The revision to which the differences lead.
    revision: i32,
    files: Vec<FileDifference>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FileDifference {
    path: String,
    /// The path of a renamed file before.
    old_path: Option<String>,
    /// `CREATE`, `UPDATE`, `DELETE` or `RENAME`.
    r#type: String,
    additions: i32,
    deletions: i32,
    /// The unified diff in git's format; null if the file is not text.
    diff: Option<String>,
}

/// `diff`.
pub async fn diff(call: Call, arguments: Diff) -> Result<Answer> {
    let paths = parse_paths(arguments.paths)?;
    let project = call.project(&arguments.project_id).await?;
    check_at(&project, Some(arguments.from), "from")?;
    check_at(&project, arguments.to, "to")?;
    let to = arguments.to.unwrap_or(project.revision);
    let between = Between { project: project.id, from: arguments.from, to, with_contents: true };
    let tx = call.tx().await?;
    let wanted = [(access::required(&tx, project.id).await?, between)];
    let diffs = compare::diffs(&tx, &wanted, paths.as_deref()).await?.pop();
    differences(&call, to, diffs.transpose()?.unwrap_or_default())
}

fn differences(call: &Call, revision: i32, diffs: Vec<compare::FileDiff>) -> Result<Answer> {
    let max = usize::try_from(call.services.limits.max_list_rows).unwrap_or(usize::MAX);
    if diffs.len() > max {
        let message = format!("More than {max} files differ (--max-list-rows): choose some of them with `paths`.");
        return Err(Error::QueryTooComplex(message));
    }
    let file = |diff: compare::FileDiff| FileDifference {
        path: diff.path.as_str().to_owned(),
        old_path: diff.old_path.map(|path| path.as_str().to_owned()),
        r#type: diff.change_type.as_str().to_uppercase(),
        additions: diff.additions,
        deletions: diff.deletions,
        diff: diff.diff,
    };
    let files: Vec<FileDifference> = diffs.into_iter().map(file).collect();
    let texts = files.iter().map(|file| match &file.diff {
        Some(diff) if !diff.is_empty() => diff.clone(),
        Some(_) => format!("{} {}\n", file.r#type, file.path),
        None => format!("{} {} (not text)\n", file.r#type, file.path),
    });
    let mut text: String = texts.collect();
    if text.is_empty() {
        text.push_str("No file differs.");
    }
    Answer::new(text, &Differences { revision, files })
}

/// Parses the paths in an argument.
///
/// # Errors
/// `BadInput` with the position of an invalid path.
pub fn parse_paths(paths: Option<Vec<String>>) -> Result<Option<Vec<FilePath>>> {
    let parse = |(at, path): (usize, &String)| FilePath::parse(path, &format!("paths[{at}]"));
    paths.map(|paths| paths.iter().enumerate().map(parse).collect()).transpose()
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestorePreview {
    /// The id of the project.
    project_id: String,
    /// The revision to restore. Give this, `snapshotId` or `messageId`.
    revision: Option<i32>,
    /// The snapshot to restore.
    snapshot_id: Option<String>,
    /// The message whose state is restored.
    message_id: Option<String>,
    /// Only these paths and everything below them; by default all files.
    paths: Option<Vec<String>>,
}

/// `restore_preview`.
pub async fn restore_preview(call: Call, arguments: RestorePreview) -> Result<Answer> {
    let paths = parse_paths(arguments.paths)?;
    let project = call.project(&arguments.project_id).await?;
    let (revision, snapshot, message) = (arguments.revision, arguments.snapshot_id, arguments.message_id);
    let to = moment(&call, &project, revision, snapshot, message).await?;
    let limit = Limit { paths, session: None };
    let preview = Preview { project: project.id, from: project.revision, to, limit, with_contents: true };
    let tx = call.tx().await?;
    let diffs = snapshot::previews(&tx, &[(access::required(&tx, project.id).await?, preview)]).await?.pop();
    differences(&call, to, diffs.transpose()?.unwrap_or_default())
}

/// The revision of a moment, of which exactly one is given.
pub async fn moment(
    call: &Call,
    project: &Project,
    revision: Option<i32>,
    snapshot: Option<String>,
    message: Option<String>,
) -> Result<i32> {
    let (moment, noun, field) = match (revision, snapshot, message) {
        (Some(revision), None, None) if (1..=project.revision).contains(&revision) => return Ok(revision),
        (Some(_), None, None) => {
            let message = format!("The project has revisions 1 to {}.", project.revision);
            return Err(Error::bad_input("revision", message));
        }
        (None, Some(id), None) => {
            (Moment::Snapshot(ProjectSnapshotId::parse(&id, "snapshotId")?), "snapshot", "snapshotId")
        }
        (None, None, Some(id)) => (Moment::Message(MessageId::parse(&id, "messageId")?), "message", "messageId"),
        _ => return Err(Error::bad_input("revision", "Give one of `revision`, `snapshotId` and `messageId`.")),
    };
    let tx = call.tx().await?;
    let found = events::at(&tx, &[(access::required(&tx, project.id).await?, moment)]).await?.into_iter().next();
    Ok(found.ok_or_else(|| Error::not_found(noun, field))?.1.revision)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct History {
    /// The id of the project.
    project_id: String,
    /// The path of a file, also of a deleted one, or of a folder; by default the whole project.
    path: Option<String>,
    /// Number of changes: at most 100, by default 20.
    first: Option<i32>,
    /// `nextCursor` of the previous page.
    after: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    changes: Vec<ChangeRow>,
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ChangeRow {
    revision: i32,
    path: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `RENAME`.
    r#type: String,
    /// The version of the file that the change made.
    version: i32,
    additions: i32,
    deletions: i32,
    description: Option<String>,
    author: Option<String>,
    created_at: String,
    message_id: Option<String>,
    /// The beginning of the message for which the change was made.
    message: Option<String>,
}

/// `history`.
pub async fn history(call: Call, arguments: History) -> Result<Answer> {
    let page = Page::parse(arguments.first, arguments.after, None, None, List::CHANGES)?;
    let path = arguments.path.map(|path| FilePath::parse(&path, "path")).transpose()?;
    let project = call.project(&arguments.project_id).await?;
    let tx = call.tx().await?;
    let mut keep = ChangeFilter {
        autosave_coalesce_seconds: call.services.limits.autosave_coalesce_seconds,
        ..ChangeFilter::default()
    };
    if let Some(path) = path {
        match entry(&tx, project.id, &path, None).await? {
            Some(Entry::File(file)) if file.file_type == FileType::File => keep.file_id = Some(file.id),
            Some(_) => keep.folder = Some((project.id, path)),
            // A deleted file, by the path that it had.
            None => keep.path = Some(path),
        }
    }
    let found = file::changes_page(&tx, &[access::required(&tx, project.id).await?], &keep, &page).await?;
    let slice = found.into_iter().next().map(|(_, slice)| slice).unwrap_or_default();
    let next_cursor = next_cursor(List::CHANGES, &slice);
    let rows: Vec<FileSnapshot> = slice.rows.into_iter().map(|(_, row)| row).collect();
    let names = Names::of(&tx, rows.iter()).await?;
    let changes: Vec<ChangeRow> = rows.iter().map(|row| names.change(row)).collect();
    let lines = changes.iter().map(|row| {
        let (author, why) = (row.author.as_deref().unwrap_or("?"), row.message.as_ref().or(row.description.as_ref()));
        format!(
            "r{} {} {} v{} +{} -{} {} {}: {}",
            row.revision,
            row.r#type,
            row.path,
            row.version,
            row.additions,
            row.deletions,
            row.created_at,
            author,
            why.map(String::as_str).unwrap_or_default()
        )
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        text.push_str("There are no changes.");
    }
    next_page(&mut text, next_cursor.as_ref());
    Answer::new(text, &Changes { changes, next_cursor })
}

/// The longest part of a message in a list, in characters.
const MAX_EXCERPT: usize = 200;

/// The authors and messages of changes.
struct Names {
    authors: HashMap<UserId, Option<String>>,
    messages: HashMap<MessageId, String>,
}

impl Names {
    async fn of<'r>(tx: &Tx, rows: impl Iterator<Item = &'r FileSnapshot> + Clone) -> Result<Self> {
        let messages: HashSet<MessageId> = rows.clone().filter_map(|row| row.message_id).collect();
        let messages: Vec<MessageId> = messages.into_iter().collect();
        let authors = authors(tx, rows.filter_map(|row| row.created_by)).await?;
        let messages = if messages.is_empty() { Vec::new() } else { chat::messages_by_ids(tx, &messages).await? };
        let excerpt = |message: Message| (message.id, message.content.chars().take(MAX_EXCERPT).collect());
        Ok(Self { authors, messages: messages.into_iter().map(excerpt).collect() })
    }

    fn author(&self, row: &FileSnapshot) -> Option<String> {
        self.authors.get(&row.created_by?)?.clone()
    }

    fn message(&self, row: &FileSnapshot) -> Option<String> {
        self.messages.get(&row.message_id?).cloned()
    }

    fn change(&self, row: &FileSnapshot) -> ChangeRow {
        ChangeRow {
            revision: row.revision,
            path: row.path.as_str().to_owned(),
            r#type: row.change_type.as_str().to_uppercase(),
            version: row.number(),
            additions: row.additions,
            deletions: row.deletions,
            description: row.change_description.text().map(str::to_owned),
            author: self.author(row),
            created_at: clock::rfc3339(row.created_at),
            message_id: row.message_id.map(|id| id.0.to_string()),
            message: self.message(row),
        }
    }
}

/// The names of users.
async fn authors(tx: &Tx, users: impl Iterator<Item = UserId>) -> Result<HashMap<UserId, Option<String>>> {
    let users: HashSet<UserId> = users.collect();
    let users: Vec<UserId> = users.into_iter().collect();
    let found = if users.is_empty() { Vec::new() } else { profile::by_ids(tx, &users).await? };
    Ok(found.into_iter().map(|profile| (profile.id, profile.full_name.or(profile.email))).collect())
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlameFile {
    /// The id of the project.
    project_id: String,
    /// The path of the file.
    path: String,
    /// The first line, from 1.
    start_line: Option<u32>,
    /// The last line.
    end_line: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blame {
    path: String,
    version: i32,
    ranges: Vec<BlameRow>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BlameRow {
    start_line: usize,
    end_line: usize,
    revision: i32,
    /// The version of the file that wrote the lines.
    version: i32,
    /// Whether an older version can have written them: only the last 1,000 are examined.
    is_boundary: bool,
    author: Option<String>,
    created_at: String,
    message_id: Option<String>,
    /// The beginning of the message for which the lines were written.
    message: Option<String>,
}

/// `blame`.
pub async fn blame(call: Call, arguments: BlameFile) -> Result<Answer> {
    let path = FilePath::parse(&arguments.path, "path")?;
    let project = call.project(&arguments.project_id).await?;
    let file = file_at(&call, project.id, &path, None).await?;
    let tx = call.tx().await?;
    let blamed = blame::blame(&tx, &[(access::required(&tx, project.id).await?, (file.id, file.version))]).await?.pop();
    let line = |line: Option<u32>, or: usize| line.map_or(or, |line| usize::try_from(line).unwrap_or(usize::MAX));
    let (start, end) = (line(arguments.start_line, 1), line(arguments.end_line, usize::MAX));
    let mut ranges = blamed.transpose()?.unwrap_or_default();
    ranges.retain(|range| range.start_line <= end && range.end_line >= start);
    let max = usize::try_from(call.services.limits.max_list_rows).unwrap_or(usize::MAX);
    if ranges.len() > max {
        let message =
            format!("There are more than {max} ranges (--max-list-rows): choose lines with `startLine` and `endLine`.");
        return Err(Error::QueryTooComplex(message));
    }
    let names = Names::of(&tx, ranges.iter().map(|range| &range.version)).await?;
    let row = |range: &blame::BlameRange| BlameRow {
        start_line: range.start_line.max(start),
        end_line: range.end_line.min(end),
        revision: range.version.revision,
        version: range.version.number(),
        is_boundary: range.is_boundary,
        author: names.author(&range.version),
        created_at: clock::rfc3339(range.version.created_at),
        message_id: range.version.message_id.map(|id| id.0.to_string()),
        message: names.message(&range.version),
    };
    let ranges: Vec<BlameRow> = ranges.iter().map(row).collect();
    let lines = ranges.iter().map(|row| {
        let (author, message) = (row.author.as_deref().unwrap_or("?"), row.message.as_deref().unwrap_or_default());
        format!("{}-{}: r{} v{} {author}: {message}", row.start_line, row.end_line, row.revision, row.version)
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = if text.is_empty() {
        "No lines: the range is empty, or the file is empty or not text.".to_owned()
    } else {
        text
    };
    Answer::new(text, &Blame { path: path.as_str().to_owned(), version: file.number(), ranges })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListMessages {
    /// The id of the project.
    project_id: String,
    /// Only messages of this chat session; by default of all sessions.
    session_id: Option<String>,
    /// Only messages that contain this text, in any case. It needs `sessionId`.
    search: Option<String>,
    /// Number of messages: at most 100, by default 20.
    first: Option<i32>,
    /// `nextCursor` of the previous page.
    after: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Messages {
    messages: Vec<MessageRow>,
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessageRow {
    id: String,
    session_id: String,
    /// `USER`, `ASSISTANT` or `SYSTEM`.
    role: String,
    content: String,
    author: Option<String>,
    created_at: String,
    revision: i32,
    /// Whether `restore` can go back to it as a checkpoint.
    is_checkpoint: bool,
}

/// `list_messages`.
pub async fn list_messages(call: Call, arguments: ListMessages) -> Result<Answer> {
    let search = Search::parse(arguments.search.as_deref(), "search")?;
    let session = arguments.session_id.map(|id| SessionId::parse(&id, "sessionId")).transpose()?;
    let list = match session {
        Some(_) => List { size: page::LIST, ..List::MESSAGES },
        None => List::RECENT_ACTIVITY,
    };
    let newest = Page::parse(arguments.first, arguments.after, None, None, list)?;
    let project = call.project(&arguments.project_id).await?;
    let tx = call.tx().await?;
    let slice = match session {
        Some(session) => of_session(&tx, project.id, session, search, newest).await?,
        None if search.is_some() => {
            return Err(Error::bad_input("search", "Only one session can be searched: give `sessionId`."));
        }
        None => chat::recent(&tx, Some(ReadId { id: project.id, at: None }), &newest).await?,
    };
    let next_cursor = next_cursor(list, &slice);
    let authors = authors(&tx, slice.rows.iter().map(|(_, message)| message.author_id)).await?;
    let row = |message: Message| MessageRow {
        id: message.id.0.to_string(),
        session_id: message.session_id.0.to_string(),
        role: message.role.as_str().to_uppercase(),
        content: message.content.as_ref().to_owned(),
        author: authors.get(&message.author_id).cloned().flatten(),
        created_at: clock::rfc3339(message.timestamp),
        revision: message.revision,
        is_checkpoint: message.is_checkpoint,
    };
    let messages: Vec<MessageRow> = slice.rows.into_iter().map(|(_, message)| row(message)).collect();
    let lines = messages.iter().map(|row| {
        let (author, mark) =
            (row.author.as_deref().unwrap_or("?"), if row.is_checkpoint { ", checkpoint" } else { "" });
        format!("[r{} {} {author}, {}{mark}, id {}]\n{}", row.revision, row.role, row.created_at, row.id, row.content)
    });
    let mut text = lines.collect::<Vec<_>>().join("\n\n");
    if text.is_empty() {
        text.push_str("There are no messages.");
    }
    next_page(&mut text, next_cursor.as_ref());
    Answer::new(text, &Messages { messages, next_cursor })
}

/// A page of the messages of a session, which are stored oldest first, newest first.
async fn of_session(
    tx: &Tx,
    project: ProjectId,
    session: SessionId,
    search: Option<Search>,
    newest: Page,
) -> Result<Slice<Message>> {
    let found = chat::sessions_by_ids(tx, &[session]).await?.into_iter().next();
    found.filter(|found| found.project_id == project).ok_or_else(|| Error::not_found("session", "sessionId"))?;
    let page = Page { from_end: true, before: newest.after, after: None, ..newest };
    let keep = MessageFilter { search, ..MessageFilter::default() };
    let found = chat::messages_page(tx, &[(access::required(tx, project).await?, session)], &keep, &page).await?;
    let mut slice = found.into_iter().next().map(|(_, slice)| slice).unwrap_or_default();
    slice.rows.reverse();
    Ok(Slice { rows: slice.rows, has_next: slice.has_previous, has_previous: slice.has_next })
}
