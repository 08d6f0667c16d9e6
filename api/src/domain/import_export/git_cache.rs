//! The repositories that git clients read. Each is a copy of a project's history, which is brought up to date before it
//! is used and can be deleted at any time. It grants nothing: access is checked in the database.
//!
//! A repository has the file `tip`, which is written after the objects and the branch. So a killed process leaves at
//! most objects that the next update makes again.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use parking_lot::Mutex;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::chain::{Chain, Tip};
use super::git::{self, BRANCH, Object, Objects};
use super::objects::parse_id;
use crate::domain::{Services, project};
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::ids::ProjectId;
use crate::model::project::Project;
use crate::storage::event;

/// How long a request waits for another one that updates the same repository.
const LOCK_TIME: Duration = Duration::from_secs(120);
/// How often the lock of a repository is tried. It is a lock between processes, which cannot be awaited.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Longest time for which a repository is read by one request. Younger repositories are not removed.
pub const MAX_SERVE_TIME: Duration = Duration::from_secs(900);

/// A repository with more packs is repacked.
const MAX_PACKS: usize = 8;

/// The extension of repositories, and those of entries that only a killed process leaves.
const REPOSITORY: &str = "git";
const PARTIAL: [&str; 2] = ["new", "old"];

/// The files of a repository for this module: its state, the time of its last use, and a mark that it may be damaged.
const TIP: &str = "tip";
const USED: &str = "used";
const SUSPECT: &str = "suspect";

/// The version of the commits. Repositories of other versions are made again.
const FORMAT: &str = "2";

/// The repositories of a server.
pub struct GitCache {
    folder: PathBuf,
    max_bytes: u64,
    /// Locked while copies are removed.
    evicting: Arc<Mutex<()>>,
}

/// A repository that contains all revisions of a project up to one.
pub struct Repository {
    /// Its folder.
    pub(super) path: PathBuf,
    /// The project, as the caller sees it.
    pub project: Project,
    pub(super) tip: Tip,
}

impl GitCache {
    /// A cache in a folder, or by default in one of this user below the system's folder for temporary files.
    pub fn new(folder: Option<&Path>, max_bytes: u64) -> Self {
        Self { folder: folder.map_or_else(default_folder, Path::to_owned), max_bytes, evicting: Arc::default() }
    }

    /// Whether the git program is installed.
    pub fn has_git() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join("git").is_file() || folder.join("git.exe").is_file())
    }

    /// A folder for one request, which is removed when the value is dropped.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir> {
        self.prepare()?;
        tempfile::Builder::new()
            .prefix("push-")
            .suffix(".new")
            .tempdir_in(&self.folder)
            .map_err(|error| self.cannot(&error))
    }

    /// The repository of a project, up to date.
    ///
    /// # Errors
    /// `NotFound` if the caller is not a member; `RateLimited` if another request updates it for too long.
    pub async fn open(&self, services: &Arc<Services>, actor: &Actor, project: ProjectId) -> Result<Repository> {
        let (project, at) = present(services, actor, project).await?;
        self.prepare()?;
        let path = self.folder.join(format!("{}.{REPOSITORY}", project.id.0));
        // Before it is read, so that nobody removes it meanwhile.
        let _ = fs::write(path.join(USED), "");
        if let Some(tip) = read_tip(&path).filter(|tip| (tip.revision, tip.at) == (project.revision, at))
            && !path.join(SUSPECT).exists()
            && has_objects(&path, &tip).await
        {
            return Ok(Repository { path, project, tip });
        }
        let lock = self.folder.join(format!("{}.lock", project.id.0));
        let lock = acquire(&lock).await?;
        let mut tip = update(services, actor, project.id, &path).await;
        // Otherwise the cause is in the database, and another copy would not help.
        if let Err(Error::Internal(cause)) = &tip
            && !is_intact(&path).await
        {
            tracing::warn!(cause, project = %project.id.0, "a repository for git clients is made again");
            self.remove(&path)?;
            tip = update(services, actor, project.id, &path).await;
        }
        let tip = tip?;
        let _ = fs::write(path.join(USED), "");
        drop(lock);
        let (folder, max_bytes, evicting) = (self.folder.clone(), self.max_bytes, self.evicting.clone());
        tokio::task::spawn_blocking(move || {
            if let Some(_alone) = evicting.try_lock() {
                evict(&folder, max_bytes);
            }
        });
        Ok(Repository { path, project, tip })
    }

    /// Creates the folder. Nobody else may be able to write in it.
    fn prepare(&self) -> Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.folder).map_err(|error| self.cannot(&error))?;
        let found = fs::symlink_metadata(&self.folder).map_err(|error| self.cannot(&error))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let is_own = found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0;
            if !is_own && !found.is_symlink() {
                return Err(self.cannot(&"it must belong to the server's user, and nobody else may write in it"));
            }
        }
        if found.is_symlink() { Err(self.cannot(&"it is a symbolic link")) } else { Ok(()) }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        remove(path).map_err(|error| self.cannot(&error))
    }

    fn cannot(&self, error: &dyn std::fmt::Display) -> Error {
        Error::internal(format!("the folder {} for git clients (GIT_CACHE): {error}", self.folder.display()))
    }
}

impl Repository {
    /// Starts `git upload-pack` for a request, or for the list of references. `protocol` is the client's Git-Protocol.
    ///
    /// # Errors
    /// `Internal` if it does not start.
    pub fn upload_pack(&self, lists_references: bool, protocol: Option<&str>) -> Result<Child> {
        let mut command = git::command(&self.path);
        command.args(["-c", "uploadpack.allowFilter=true", "upload-pack", "--strict", "--stateless-rpc"]);
        if lists_references {
            command.arg("--advertise-refs");
        }
        command.arg(".");
        if let Some(protocol) = protocol {
            command.env("GIT_PROTOCOL", protocol);
        }
        start(&mut command)
    }

    /// Lets the next request check the objects: git could not read the repository.
    pub fn distrust(&self) {
        let _ = fs::write(self.path.join(SUSPECT), "");
    }

    /// Whether a commit is in the history.
    ///
    /// # Errors
    /// `Internal` if git cannot be run.
    pub async fn contains(&self, commit: &str) -> Result<bool> {
        let Some(tip) = self.commit() else { return Ok(false) };
        Ok(tip == commit || git::run(&self.path, &["merge-base", "--is-ancestor", commit, &tip]).await.is_ok())
    }

    /// The newest commit, in hex.
    pub fn commit(&self) -> Option<String> {
        self.tip.commit.map(|(commit, _)| hex::encode(commit))
    }
}

fn start(command: &mut Command) -> Result<Child> {
    use std::process::Stdio;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = command.spawn().map_err(|error| Error::internal(format!("git upload-pack: {error}")))?;
    git::limit_memory(&process);
    Ok(process)
}

fn default_folder() -> PathBuf {
    #[cfg(unix)]
    let name = format!("antiphon-git-{}", rustix::process::geteuid().as_raw());
    #[cfg(not(unix))]
    let name = "antiphon-git";
    std::env::temp_dir().join(name)
}

/// A project, and the time of its newest revision.
async fn present(services: &Services, actor: &Actor, project: ProjectId) -> Result<(Project, DateTime<chrono::Utc>)> {
    let tx = services.read(actor).await?;
    let found = project::by_ids(&tx, &[project]).await?.into_iter().next();
    let found = found.ok_or_else(|| Error::not_found("project", "id"))?;
    let event = event::one(&tx, project, found.revision).await?;
    let event = event.ok_or_else(|| Error::internal("a revision without an event"))?;
    Ok((found, event.created_at))
}

/// Brings a locked repository up to date.
async fn update(services: &Services, actor: &Actor, project: ProjectId, path: &Path) -> Result<Tip> {
    let cannot = |error: io::Error| Error::internal(format!("{}: {error}", path.display()));
    let tip = match read_tip(path) {
        Some(tip) if is_sound(services, actor, project, path, &tip).await? => tip,
        _ => {
            remove(path).map_err(cannot)?;
            create(path).await?;
            Tip::empty()
        }
    };
    remove_partial_packs(path).map_err(cannot)?;
    let is_new = tip.commit.is_none();
    let mut chain = Chain::new(services, actor, project, path, tip)?;
    while chain.extend().await? {
        publish(path, &chain.tip).map_err(cannot)?;
    }
    let tip = chain.tip;
    repack(path, is_new).await;
    Ok(tip)
}

/// Whether a repository has the history of the project up to its tip. A database that was restored from a backup can
/// have another history.
async fn is_sound(services: &Services, actor: &Actor, project: ProjectId, path: &Path, tip: &Tip) -> Result<bool> {
    if tip.revision > 0 {
        let tx = services.read(actor).await?;
        if event::one(&tx, project, tip.revision).await?.map(|event| event.created_at) != Some(tip.at) {
            return Ok(false);
        }
    }
    if path.join(SUSPECT).exists() {
        if !is_intact(path).await {
            return Ok(false);
        }
        let _ = fs::remove_file(path.join(SUSPECT));
    }
    Ok(has_objects(path, tip).await)
}

/// Whether the newest commit and its tree are there. Without them git would show an empty repository.
async fn has_objects(path: &Path, tip: &Tip) -> bool {
    let Some((commit, tree)) = tip.commit else { return true };
    let Ok(mut objects) = Objects::start(path) else { return false };
    for id in [commit, tree] {
        if !matches!(objects.read(&hex::encode(id), usize::MAX).await, Ok(Object::Bytes(_))) {
            return false;
        }
    }
    true
}

/// Whether git can read everything in a repository.
async fn is_intact(path: &Path) -> bool {
    git::run(path, &["fsck", "--full", "--no-dangling", "--no-progress"]).await.is_ok()
}

async fn create(path: &Path) -> Result<()> {
    let cannot = |error: io::Error| Error::internal(format!("{}: {error}", path.display()));
    let partial = path.with_extension(PARTIAL[0]);
    remove(&partial).map_err(cannot)?;
    fs::create_dir(&partial).map_err(cannot)?;
    git::run(&partial, &["init", "--quiet", "--bare", "--template=", "--initial-branch", BRANCH]).await?;
    fs::rename(&partial, path).map_err(cannot)
}

/// Removes a repository. A process that reads it at this time fails.
fn remove(path: &Path) -> io::Result<()> {
    let old = path.with_extension(PARTIAL[1]);
    for path in [&old, path] {
        match if path == old { fs::remove_dir_all(path) } else { fs::rename(path, &old) } {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::remove_dir_all(&old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The state of a repository; `None` if there is none, or one of another version.
fn read_tip(path: &Path) -> Option<Tip> {
    let text = fs::read_to_string(path.join(TIP)).ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let ([format, revision, at], commit) = words.split_first_chunk()?;
    let tip = Tip {
        revision: revision.parse().ok()?,
        at: DateTime::from_timestamp_micros(at.parse().ok()?)?,
        commit: match commit {
            [] => None,
            [commit, tree] => Some((parse_id(commit)?, parse_id(tree)?)),
            _ => return None,
        },
    };
    (*format == FORMAT).then_some(tip)
}

/// Moves the branch, then writes the state.
fn publish(path: &Path, tip: &Tip) -> io::Result<()> {
    let replace = |name: &str, text: String| {
        let partial = path.join(format!("{}.{}", clock::new_id(), PARTIAL[0]));
        fs::write(&partial, text)?;
        fs::rename(partial, path.join(name))
    };
    let mut words = format!("{FORMAT} {} {}", tip.revision, tip.at.timestamp_micros());
    if let Some((commit, tree)) = tip.commit {
        let commit = hex::encode(commit);
        replace(&format!("refs/heads/{BRANCH}"), format!("{commit}\n"))?;
        words.push_str(&format!(" {commit} {}", hex::encode(tree)));
    }
    replace(TIP, words)
}

fn remove_partial_packs(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path.join("objects/pack"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("tmp_") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Joins packs, so that git finds objects fast and compresses similar ones together.
async fn repack(path: &Path, is_new: bool) {
    let packs = fs::read_dir(path.join("objects/pack")).into_iter().flatten().flatten();
    let packs = packs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "pack")).count();
    let how = match is_new {
        true if packs > 0 => "-a",
        _ if packs > MAX_PACKS => "--geometric=2",
        _ => return,
    };
    if let Err(error) = git::run(path, &["repack", "-d", "-q", how]).await {
        tracing::warn!(cause = error.cause(), "a repository for git clients is not repacked");
    }
}

/// Locks a file. The system releases the lock when the process ends.
async fn acquire(path: &Path) -> Result<File> {
    let cannot = |error: io::Error| Error::internal(format!("{}: {error}", path.display()));
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(cannot)?;
    let deadline = Instant::now() + LOCK_TIME;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_POLL).await,
            Err(TryLockError::WouldBlock) => {
                let seconds = LOCK_TIME.as_secs();
                let message = format!("Other requests have updated this repository for {seconds} seconds: try again.");
                return Err(Error::RateLimited { message, retry_after: Some(seconds) });
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
    }
}

/// Removes the repositories that were used least recently until the others take at most `max_bytes`, and what killed
/// processes have left.
fn evict(folder: &Path, max_bytes: u64) {
    let (mut repositories, mut total) = (Vec::new(), 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if PARTIAL.contains(&extension) && age(&path) > 4 * MAX_SERVE_TIME {
            let _ = fs::remove_dir_all(&path);
        } else if extension == REPOSITORY {
            let bytes = size(&path);
            total += bytes;
            repositories.push((age(&path.join(USED)), bytes, path));
        }
    }
    repositories.sort();
    while total > max_bytes
        && let Some((age, bytes, path)) = repositories.pop()
        && age > MAX_SERVE_TIME
    {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.with_extension("lock"));
        let is_idle = || self::age(&path.join(USED)) > MAX_SERVE_TIME;
        if lock.is_ok_and(|lock| lock.try_lock().is_ok() && is_idle() && remove(&path).is_ok()) {
            total -= bytes;
        }
    }
}

/// The time since a file or folder has changed.
fn age(path: &Path) -> Duration {
    let modified = fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    SystemTime::now().duration_since(modified).unwrap_or_default()
}

/// The bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => size(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    sizes.sum()
}
