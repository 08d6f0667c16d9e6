//! Files as resources.

use std::collections::BTreeMap;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use rmcp::model::{ListResourcesResult, ReadResourceResult, Resource, ResourceContents};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{call::Call, reads, sessions::Watched, uri};
use crate::{
    domain::{access, file, project},
    model::{
        enums::FileType,
        error::{Error, Result},
        file::File,
        ids::ProjectId,
        limits::Limits,
        page::{List, Page, PageSize},
        path::FilePath,
        project::{Project, ProjectFilter, ProjectOrderField},
        text::decoded,
    },
};

/// The number of resources on a page, and of projects that are read to find one with files.
const RESOURCES: List = List { size: PageSize { default: 200, max: 200 }, ..List::FILES };
const PROJECTS: List = List { size: PageSize { default: 100, max: 100 }, ..List::PROJECTS_ASCENDING };

/// Where the list continues: after a project, or within the one that follows it.
#[derive(Default, Serialize, Deserialize)]
struct ListCursor {
    /// The cursor of the last project that is listed whole.
    project: Option<String>,
    /// The cursor of the last listed file of the next project.
    file: Option<String>,
}

impl ListCursor {
    fn parse(cursor: Option<String>) -> Result<Self> {
        let Some(cursor) = cursor else { return Ok(Self::default()) };
        let json = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok();
        let position = json.and_then(|json| serde_json::from_slice(&json).ok());
        position.ok_or_else(|| Error::bad_input("cursor", "This is not a cursor of this list."))
    }

    fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A page of the files of all projects, project by project. From now on a session is notified of files that are created,
/// deleted or renamed in these projects.
pub async fn list(call: &Call, cursor: Option<String>) -> Result<ListResourcesResult> {
    let position = ListCursor::parse(cursor)?;
    let tx = call.tx().await?;
    let page = Page::parse(None, position.project.clone(), None, None, PROJECTS)?;
    let projects = project::page(&tx, &ProjectFilter::default(), ProjectOrderField::CreatedAt, false, &page).await?;
    let (has_next, rows) = (projects.has_next, projects.rows);
    let cursor = |at: usize| rows.get(at).map(|(cursor, _)| cursor.encode(PROJECTS.name));
    // Empty projects have no page of their own.
    let is_listed = |at: usize, project: &Project| project.file_count > 0 || (position.file.is_some() && at == 0);
    let found = rows.iter().enumerate().find(|(at, (_, project))| is_listed(*at, project));
    let Some((at, (_, project))) = found else {
        let next = cursor(rows.len().saturating_sub(1)).filter(|_| has_next);
        let mut nothing = ListResourcesResult::with_all_items(Vec::new());
        nothing.next_cursor = next.map(|project| ListCursor { project: Some(project), file: None }.encode());
        return Ok(nothing);
    };
    let before = if at == 0 { position.project } else { cursor(at - 1) };
    let page = Page::parse(None, position.file, None, None, RESOURCES)?;
    let files = reads::files(call, project.id, None, None, &page).await?;
    let next = match reads::next_cursor(RESOURCES, &files) {
        Some(file) => Some(ListCursor { project: before, file: Some(file) }),
        None if at + 1 < rows.len() || has_next => Some(ListCursor { project: cursor(at), file: None }),
        None => None,
    };
    let of = |file: &File| resource(project, file);
    let resources = files.rows.iter().map(|(_, file)| file).filter(|file| file.hash.is_some()).map(of).collect();
    if let Some(session) = &call.session {
        watch_list(&call.services.limits, &session.watched, project);
    }
    let mut result = ListResourcesResult::with_all_items(resources);
    result.next_cursor = next.map(|position| position.encode());
    Ok(result)
}

fn resource(project: &Project, file: &File) -> Resource {
    Resource::new(uri::of(project.id, &file.path), file.path.as_str())
        .with_title(format!("{} ({})", file.path.as_str(), project.name))
        .with_mime_type(mime_type(file))
        .with_size(u64::try_from(file.size_bytes).unwrap_or_default())
}

/// The media type of a file. Without its content it is known only from its language.
fn mime_type(file: &File) -> &'static str {
    match file.language.as_deref() {
        Some("json") => "application/json",
        Some("html") => "text/html",
        Some("css") => "text/css",
        Some("markdown") => "text/markdown",
        Some("javascript") => "text/javascript",
        Some("xml") => "text/xml",
        Some(_) => "text/plain",
        None => "application/octet-stream",
    }
}

/// The content of a file.
pub async fn read(call: &Call, uri: &str) -> Result<ReadResourceResult> {
    let (project, path) = uri::parse(uri)?;
    let file = reads::file_at(call, project, &path, None).await.map_err(of_resource)?;
    let bytes = reads::content(call, &file).await?;
    let contents = match decoded(&bytes) {
        Some((text, _)) => {
            call.reader.answer(text.len())?;
            let mime_type = if file.language.is_some() { mime_type(&file) } else { "text/plain" };
            ResourceContents::text(text, uri).with_mime_type(mime_type)
        }
        None => {
            call.reader.answer(bytes.len().div_ceil(3).saturating_mul(4))?;
            ResourceContents::blob(BASE64_STANDARD.encode(&*bytes), uri).with_mime_type("application/octet-stream")
        }
    };
    Ok(ReadResourceResult::new(vec![contents]))
}

/// A resource that the caller cannot see does not exist, and a folder is none.
fn of_resource(error: Error) -> Error {
    match error {
        Error::NotFound { .. } | Error::BadInput { .. } => Error::not_found("resource", "uri"),
        error => error,
    }
}

/// Watches files, which must exist.
///
/// # Errors
/// `NotFound` if one does not exist; `RateLimited` if the client would watch too many.
pub async fn subscribe(call: &Call, watched: &watch::Sender<Watched>, uris: &[String]) -> Result<()> {
    let mut wanted: BTreeMap<ProjectId, BTreeMap<FilePath, &String>> = BTreeMap::new();
    for uri in uris {
        let (project, path) = uri::parse(uri)?;
        wanted.entry(project).or_default().insert(path, uri);
    }
    let max = call.services.limits.max_socket_operations;
    if wanted.values().map(BTreeMap::len).sum::<usize>() > max {
        return Err(too_many(max));
    }
    let tx = call.tx().await?;
    let ids: Vec<ProjectId> = wanted.keys().copied().collect();
    let projects = if ids.is_empty() { Vec::new() } else { project::by_ids(&tx, &ids).await? };
    let members = access::members(&tx, projects.iter().map(|project| project.id)).await?;
    let paths = wanted.iter().filter_map(|(id, files)| Some((members.get(id)?, files)));
    let keys: Vec<_> = paths.flat_map(|(member, files)| files.keys().map(|path| (*member, path.clone()))).collect();
    let files = if keys.is_empty() { Vec::new() } else { file::by_paths(&tx, None, &keys).await? };
    let exists = |id: ProjectId, path: &FilePath| {
        files.iter().any(|file| file.project_id == id && file.path == *path && file.file_type == FileType::File)
    };
    if wanted.iter().any(|(id, files)| files.keys().any(|path| !exists(*id, path))) {
        return Err(Error::not_found("resource", "uri"));
    }
    let mut is_full = false;
    watched.send_if_modified(|watched| {
        let is_known =
            |id: &ProjectId, path: &FilePath| watched.0.get(id).is_some_and(|project| project.files.contains_key(path));
        let new: usize = wanted.iter().map(|(id, files)| files.keys().filter(|path| !is_known(id, path)).count()).sum();
        is_full = watched.count() + new > max;
        if is_full {
            return false;
        }
        let mut is_new = false;
        for project in &projects {
            is_new |= !watched.0.contains_key(&project.id);
            let files = &mut watched.project(project.id, project.revision).files;
            let wanted = wanted.get(&project.id).into_iter().flatten();
            files.extend(wanted.map(|(path, uri)| (path.clone(), (*uri).clone())));
        }
        is_new
    });
    if is_full { Err(too_many(max)) } else { Ok(()) }
}

fn too_many(max: usize) -> Error {
    let message = format!("A session can have at most {max} subscriptions (--max-socket-operations).");
    Error::RateLimited { message, retry_after: None }
}

/// Watches a file no longer.
pub fn unsubscribe(watched: &watch::Sender<Watched>, uri: &str) -> Result<()> {
    let (id, path) = uri::parse(uri)?;
    watched.send_if_modified(|watched| {
        let Some(project) = watched.0.get_mut(&id) else { return false };
        let was_watched = project.files.remove(&path).is_some();
        if project.files.is_empty() && !project.lists {
            watched.0.remove(&id);
        }
        was_watched
    });
    Ok(())
}

/// Watches which files are created, deleted or renamed in the caller's projects, in the order of the list.
pub async fn watch_lists(call: &Call, watched: &watch::Sender<Watched>) -> Result<()> {
    let tx = call.tx().await?;
    let page = Page::parse(None, None, None, None, PROJECTS)?;
    let projects = project::page(&tx, &ProjectFilter::default(), ProjectOrderField::CreatedAt, false, &page).await?;
    for (_, project) in &projects.rows {
        watch_list(&call.services.limits, watched, project);
    }
    Ok(())
}

fn watch_list(limits: &Limits, watched: &watch::Sender<Watched>, project: &Project) {
    watched.send_if_modified(|watched| {
        let is_full = !watched.0.contains_key(&project.id) && watched.0.len() >= limits.max_socket_operations;
        let is_watched = watched.0.get(&project.id).is_some_and(|watched| watched.lists);
        if is_full || is_watched {
            return false;
        }
        watched.project(project.id, project.revision).lists = true;
        true
    });
}
