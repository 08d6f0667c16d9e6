//! Tools that read projects and files.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};

use super::{
    answer::Answer,
    call::{Call, check_at, entry},
};
use crate::{
    domain::{access, file, heavy, project},
    model::{
        clock,
        enums::FileType,
        error::{Error, Result},
        file::{Entry, File, FileFilter, Hash},
        ids::ProjectId,
        page::{Cursor, List, Page, PageSize, Slice},
        path::FilePath,
        project::{ProjectFilter, ProjectOrderField},
        search::Search,
        text::decoded,
    },
};

/// The line that follows a list which has another page.
pub fn next_page(text: &mut String, cursor: Option<&String>) {
    if let Some(cursor) = cursor {
        text.push_str(&format!("\nThere are more: pass `after`: {cursor}"));
    }
}

/// The cursor of the page of a list after this one, if there is one.
pub fn next_cursor<T>(list: List, slice: &Slice<T>) -> Option<String> {
    slice.rows.last().filter(|_| slice.has_next).map(|(cursor, _)| cursor.encode(list.name))
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListProjects {
    /// Only projects whose name or description contains this text, in any case.
    search: Option<String>,
    /// Number of projects: at most 100, by default 20.
    first: Option<i32>,
    /// `nextCursor` of the previous page.
    after: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Projects {
    projects: Vec<ProjectRow>,
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ProjectRow {
    /// The `projectId` for other tools.
    id: String,
    name: String,
    description: Option<String>,
    /// `OWNER`, `EDITOR` or `VIEWER`. Viewers only read.
    role: String,
    /// `ACTIVE` or `ARCHIVED`.
    status: String,
    /// The newest revision.
    revision: i32,
    file_count: i32,
    last_activity_at: String,
}

/// `list_projects`.
pub async fn list_projects(call: Call, arguments: ListProjects) -> Result<Answer> {
    let page = Page::parse(arguments.first, arguments.after, None, None, List::PROJECTS)?;
    let search = Search::parse(arguments.search.as_deref(), "search")?;
    let keep = ProjectFilter { search, ..ProjectFilter::default() };
    let tx = call.tx().await?;
    let slice = project::page(&tx, &keep, ProjectOrderField::LastActivityAt, true, &page).await?;
    let next_cursor = next_cursor(List::PROJECTS, &slice);
    let row = |project: crate::model::project::Project| ProjectRow {
        id: project.id.0.to_string(),
        name: project.name,
        description: project.description.as_deref().map(str::to_owned),
        role: project.viewer_role.as_str().to_uppercase(),
        status: project.status.as_str().to_uppercase(),
        revision: project.revision,
        file_count: project.file_count,
        last_activity_at: clock::rfc3339(project.last_activity_at),
    };
    let projects: Vec<ProjectRow> = slice.rows.into_iter().map(|(_, project)| row(project)).collect();
    let lines = projects.iter().map(|row| {
        let (id, name, role, files, revision) = (&row.id, &row.name, &row.role, row.file_count, row.revision);
        format!("{id}  {name}  ({role}, {files} files, revision {revision})")
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        text.push_str("There are no projects.");
    }
    next_page(&mut text, next_cursor.as_ref());
    Answer::new(text, &Projects { projects, next_cursor })
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListFiles {
    /// The id of the project.
    project_id: String,
    /// Only this path and everything below it; by default all files.
    path: Option<String>,
    /// The revision to read as of; by default now.
    at: Option<i32>,
    /// Number of files: at most 500, by default 200.
    first: Option<i32>,
    /// `nextCursor` of the previous page.
    after: Option<String>,
}

/// The page size of `list_files`.
const LISTED: List = List { size: PageSize { default: 200, max: 500 }, ..List::FILES };

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    files: Vec<FileRow>,
    /// The revision that was read.
    revision: i32,
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FileRow {
    path: String,
    /// `FILE` or `FOLDER`.
    r#type: String,
    size_bytes: i32,
    /// Pass it as `expectedVersion`.
    version: i32,
    /// SHA-256 of the content, in hex.
    hash: Option<String>,
    language: Option<String>,
    updated_at: String,
}

impl From<&File> for FileRow {
    fn from(file: &File) -> Self {
        Self {
            path: file.path.as_str().to_owned(),
            r#type: file.file_type.as_str().to_uppercase(),
            size_bytes: file.size_bytes,
            version: file.number(),
            hash: file.hash.map(hex::encode),
            language: file.language.clone(),
            updated_at: clock::rfc3339(file.updated_at),
        }
    }
}

/// `list_files`.
pub async fn list_files(call: Call, arguments: ListFiles) -> Result<Answer> {
    let page = Page::parse(arguments.first, arguments.after, None, None, LISTED)?;
    let under = arguments.path.map(|path| FilePath::parse(&path, "path")).transpose()?;
    let project = call.project(&arguments.project_id).await?;
    check_at(&project, arguments.at, "at")?;
    let slice = files(&call, project.id, arguments.at, under, &page).await?;
    let next_cursor = next_cursor(LISTED, &slice);
    let files: Vec<FileRow> = slice.rows.iter().map(|(_, file)| file.into()).collect();
    let lines = files.iter().map(|file| match file.r#type.as_str() {
        "FOLDER" => format!("{}/", file.path),
        _ => format!("{}  ({} bytes, version {})", file.path, file.size_bytes, file.version),
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        text.push_str("There are no files.");
    }
    next_page(&mut text, next_cursor.as_ref());
    Answer::new(text, &Files { files, revision: arguments.at.unwrap_or(project.revision), next_cursor })
}

/// A page of the files of a project, or below a path.
pub async fn files(
    call: &Call,
    project: ProjectId,
    at: Option<i32>,
    under: Option<FilePath>,
    page: &Page,
) -> Result<Slice<File>> {
    let keep = FileFilter { under, include_deleted: false };
    let tx = call.tx().await?;
    let found = file::page(&tx, &[(access::required(&tx, project).await?, at)], &keep, page).await?;
    Ok(found.into_iter().next().map(|(_, slice)| slice).unwrap_or_default())
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadFile {
    /// The id of the project.
    project_id: String,
    /// The path of the file.
    path: String,
    /// The revision to read as of; by default now.
    at: Option<i32>,
    /// The first line to read, from 1.
    start_line: Option<u32>,
    /// The last line to read.
    end_line: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    path: String,
    /// Pass it as `expectedVersion` to tools that write.
    version: i32,
    /// SHA-256 of the whole content, in hex.
    hash: Option<String>,
    size_bytes: i32,
    language: Option<String>,
    /// The encoding of a text. Texts are written in UTF-8.
    encoding: Option<String>,
    /// The number of lines of the whole text.
    total_lines: Option<usize>,
    /// The first line in `content`.
    start_line: Option<usize>,
    /// The last line in `content`.
    end_line: Option<usize>,
    /// The text; null if the file is not text.
    content: Option<String>,
    /// The bytes of a file that is not text.
    content_base64: Option<String>,
}

/// `read_file`.
pub async fn read_file(call: Call, arguments: ReadFile) -> Result<Answer> {
    let path = FilePath::parse(&arguments.path, "path")?;
    if arguments.start_line == Some(0) {
        return Err(Error::bad_input("startLine", "Lines are numbered from 1."));
    }
    let project = call.project(&arguments.project_id).await?;
    check_at(&project, arguments.at, "at")?;
    let file = file_at(&call, project.id, &path, arguments.at).await?;
    let bytes = content(&call, &file).await?;
    let mut read = Content {
        path: path.as_str().to_owned(),
        version: file.number(),
        hash: file.hash.map(hex::encode),
        size_bytes: file.size_bytes,
        language: file.language.clone(),
        encoding: None,
        total_lines: None,
        start_line: None,
        end_line: None,
        content: None,
        content_base64: None,
    };
    let header = format!("{} (version {}, {} bytes)", read.path, read.version, read.size_bytes);
    let Some((text, coding)) = decoded(&bytes) else {
        if arguments.start_line.or(arguments.end_line).is_some() {
            return Err(Error::bad_input("startLine", "The file is not text, so it has no lines."));
        }
        read.content_base64 = Some(BASE64_STANDARD.encode(&*bytes));
        return Answer::new(format!("{header}: not text; `contentBase64` has its bytes."), &read);
    };
    let total = text.split_inclusive('\n').count();
    let (start, end) = line_range(arguments.start_line, arguments.end_line, total)?;
    let lines: String = text.split_inclusive('\n').take(end).skip(start - 1).collect();
    (read.encoding, read.total_lines) = (Some(coding.name().to_owned()), Some(total));
    (read.start_line, read.end_line) = (Some(start), Some(end));
    read.content = Some(lines.clone());
    Ok(Answer::new(format!("{header}: lines {start} to {end} of {total}"), &read)?.and(lines))
}

/// The first and the last line to read of a file with `total` lines.
fn line_range(start: Option<u32>, end: Option<u32>, total: usize) -> Result<(usize, usize)> {
    let line = |line: u32| usize::try_from(line).unwrap_or(usize::MAX);
    let first = start.map_or(1, line);
    if first > total.max(1) {
        return Err(Error::bad_input("startLine", format!("The file has {total} lines.")));
    }
    if end.is_some_and(|end| line(end) < first) {
        return Err(Error::bad_input("endLine", "This line is before the first line to read."));
    }
    Ok((first, end.map_or(total, line).min(total)))
}

/// The file at a path, now or as of a revision.
///
/// # Errors
/// `NotFound` if there is none; `BadInput` for a folder.
pub async fn file_at(call: &Call, project: ProjectId, path: &FilePath, at: Option<i32>) -> Result<File> {
    let tx = call.tx().await?;
    match entry(&tx, project, path, at).await? {
        Some(Entry::File(file)) if file.file_type == FileType::File => Ok(file),
        Some(_) => Err(Error::bad_input("path", "This is a folder: list_files lists what is in it.")),
        None => Err(Error::not_found("file", "path")),
    }
}

/// The content of a file.
pub async fn content(call: &Call, file: &File) -> Result<std::sync::Arc<Vec<u8>>> {
    let Some(hash) = file.hash else { return Ok(std::sync::Arc::default()) };
    // Count the size before reading: contents are compressed in the database.
    call.reader.load(usize::try_from(file.size_bytes).unwrap_or_default())?;
    let tx = call.tx().await?;
    let member = access::required(&tx, file.project_id).await?;
    let mut contents = file::contents(&tx, &[(member, hash)]).await?;
    let missing = || Err(Error::internal(format!("the contents {} are missing", hex::encode(hash))));
    contents.remove(&(file.project_id, hash)).unwrap_or_else(missing)
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SearchFiles {
    /// The id of the project.
    project_id: String,
    /// The text to find within a line.
    query: String,
    /// Only this path and everything below it; by default all files.
    path: Option<String>,
    /// Whether upper and lower case differ; by default they do not.
    case_sensitive: Option<bool>,
    /// Number of lines: at most 500, by default 100.
    first: Option<i32>,
    /// `nextCursor` of the previous page.
    after: Option<String>,
}

/// The number of files and bytes that one call of `search` reads.
const SEARCHED_FILES: usize = 500;
const SEARCHED_BYTES: usize = 16 * 1024 * 1024;

/// Longest part of a line in the result, in characters.
const MAX_SHOWN: usize = 300;

/// The page size of `search`, in lines.
const FOUND: PageSize = PageSize { default: 100, max: 500 };

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Matches {
    matches: Vec<Match>,
    /// The number of files that were searched, also in part.
    searched_files: usize,
    /// Continues the search.
    next_cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Match {
    path: String,
    line: usize,
    /// The line, cut if it is long.
    text: String,
}

/// The position at which a search continues.
#[derive(Default, Serialize, Deserialize)]
struct SearchCursor {
    /// The cursor of the last file that is searched whole.
    file: Option<String>,
    /// The next file and the number of its lines that are searched.
    part: Option<(String, usize)>,
}

impl SearchCursor {
    fn parse(text: Option<String>) -> Result<Self> {
        let Some(text) = text else { return Ok(Self::default()) };
        let json = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = json.and_then(|json| serde_json::from_slice(&json).ok());
        cursor.ok_or_else(|| Error::bad_input("after", "This is not a cursor of this search."))
    }

    fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A text to find in lines.
enum Query {
    Exact(String),
    AnyCase(Search),
}

impl Query {
    fn parse(text: String, is_exact: bool) -> Result<Self> {
        if text.contains('\n') {
            return Err(Error::bad_input("query", "Give a text of one line."));
        }
        let search = Search::parse(Some(&text), "query")?;
        let search = search.ok_or_else(|| Error::bad_input("query", "Give a text to find."))?;
        Ok(if is_exact { Self::Exact(text) } else { Self::AnyCase(search) })
    }

    fn is_in(&self, line: &str) -> bool {
        match self {
            Self::Exact(text) => line.contains(text),
            Self::AnyCase(search) => search.is_in(line),
        }
    }
}

/// `search`.
pub async fn search(call: Call, arguments: SearchFiles) -> Result<Answer> {
    let query = Query::parse(arguments.query, arguments.case_sensitive.unwrap_or(false))?;
    let limit = FOUND.limit("first", arguments.first)?;
    if limit == 0 {
        return Err(Error::bad_input("first", "Give at least 1."));
    }
    let begin = SearchCursor::parse(arguments.after)?;
    let all = List { size: PageSize { default: SEARCHED_FILES, max: SEARCHED_FILES }, ..List::FILES };
    let page = Page::parse(None, begin.file.clone(), None, None, all)?;
    let under = arguments.path.map(|path| FilePath::parse(&path, "path")).transpose()?;
    let project = call.project(&arguments.project_id).await?;
    let slice = files(&call, project.id, None, under, &page).await?;
    let (rows, is_cut) = bounded(slice.rows);
    let hashes: Vec<Hash> = rows.iter().filter_map(|(_, file)| file.hash).collect();
    let bytes = rows.iter().map(|(_, file)| usize::try_from(file.size_bytes).unwrap_or_default()).sum();
    call.reader.load(bytes)?;
    let tx = call.tx().await?;
    let member = access::required(&tx, project.id).await?;
    let keys: Vec<_> = hashes.into_iter().map(|hash| (member, hash)).collect();
    let contents = if keys.is_empty() { file::Contents::new() } else { file::contents(&tx, &keys).await? };
    let has_next = slice.has_next || is_cut;
    let found = heavy::run(bytes, move || find(rows, &contents, &query, begin, limit)).await?;
    let Found { matches, searched, end, is_full } = found;
    let next_cursor = (has_next || is_full).then(|| end.encode());
    let lines = matches.iter().map(|found| format!("{}:{}: {}", found.path, found.line, found.text));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        text = format!("No line of {searched} files contains this text.");
    }
    next_page(&mut text, next_cursor.as_ref());
    Answer::new(text, &Matches { matches, searched_files: searched, next_cursor })
}

/// The first files whose contents do not exceed the limit, and whether there are more. The first file is always
/// searched.
fn bounded(rows: Vec<(Cursor, File)>) -> (Vec<(Cursor, File)>, bool) {
    let (count, mut bytes) = (rows.len(), 0);
    let mut kept = Vec::with_capacity(count);
    for (cursor, file) in rows {
        bytes += usize::try_from(file.size_bytes).unwrap_or_default();
        if bytes > SEARCHED_BYTES && !kept.is_empty() {
            break;
        }
        kept.push((cursor, file));
    }
    let is_cut = kept.len() < count;
    (kept, is_cut)
}

/// The result of a search.
struct Found {
    matches: Vec<Match>,
    searched: usize,
    /// Where it continues.
    end: SearchCursor,
    /// Whether there are more matches in these files.
    is_full: bool,
}

/// Searches files until there are more matches than the limit. Damaged contents are left out.
fn find(
    rows: Vec<(Cursor, File)>,
    contents: &file::Contents,
    query: &Query,
    begin: SearchCursor,
    limit: usize,
) -> Found {
    let mut part = begin.part;
    let end = SearchCursor { file: begin.file, part: None };
    let mut found = Found { matches: Vec::new(), searched: 0, end, is_full: false };
    for (cursor, file) in rows {
        // A file that is searched in part comes first, unless it is gone.
        let skipped = part.take().filter(|(path, _)| path == file.path.as_str()).map_or(0, |(_, lines)| lines);
        let bytes = file.hash.and_then(|hash| contents.get(&(file.project_id, hash))?.as_ref().ok());
        if let Some((text, _)) = bytes.and_then(|bytes| decoded(bytes)) {
            let lines = text.lines().enumerate().skip(skipped);
            for (at, line) in lines.filter(|(_, line)| query.is_in(line)) {
                if found.matches.len() == limit {
                    found.end.part = Some((file.path.as_str().to_owned(), at));
                    found.is_full = true;
                    return found;
                }
                found.matches.push(Match {
                    path: file.path.as_str().to_owned(),
                    line: at + 1,
                    text: line.trim_end().chars().take(MAX_SHOWN).collect(),
                });
            }
            found.searched += 1;
        }
        found.end.file = Some(cursor.encode(List::FILES.name));
    }
    found
}
