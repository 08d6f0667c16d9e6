//! The git program for import and export: its plumbing commands, whose output is meant for programs. Formats:
//! git-rev-list(1), git-diff-tree(1) ("RAW OUTPUT FORMAT"), git-cat-file(1) ("BATCH OUTPUT"), git-fast-import(1).

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};

use super::commit::Signature;
use crate::model::error::{Error, Result};
use crate::model::limits::Limits;
use crate::model::memory::{Memory, Taken};

/// Overrides for settings of the repository that run programs or protect file systems of other machines. Settings on
/// the command line take precedence over the repository's.
const SETTINGS: [&str; 13] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.sshCommand=false",
    "core.protectHFS=false",
    "core.protectNTFS=false",
    "core.autocrlf=false",
    "diff.external=",
    "protocol.allow=never",
    "gc.auto=0",
    "pack.threads=1",
    "pack.windowMemory=64m",
    // The owner of the repository does not matter: nothing in it is run.
    "safe.directory=*",
];

/// A git command in a folder. It gets no environment of the server (which contains secrets) and no settings of the
/// system or the user; it cannot fetch missing objects or run programs named by the repository.
pub(super) fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.env("HOME", "/nonexistent").env("LC_ALL", "C");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_ATTR_NOSYSTEM", "1");
    command.env("GIT_NO_LAZY_FETCH", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
    command.arg("--no-pager");
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command.arg("-C").arg(folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Memory of a git process. A repository of a few kilobytes can have trees with billions of paths, which git would list.
const MAX_MEMORY: u64 = 512 * 1024 * 1024;

/// Maximum number of files that a commit can change.
const MAX_DIFFERENCES: usize = 500_000;

/// Limits the memory of a process and its children. Call it right after the start.
pub(super) fn limit_memory(process: &Child) {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let process = process.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let limit = Rlimit { current: Some(MAX_MEMORY), maximum: Some(MAX_MEMORY) };
        if let Some(process) = process
            && let Err(error) = prlimit(Some(process), Resource::Data, limit)
        {
            tracing::warn!(%error, "the memory of git cannot be limited");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = process;
}

fn failed(what: &str, cause: impl std::fmt::Display) -> Error {
    Error::internal(format!("git {what}: {cause}"))
}

/// Runs a git command and returns its output.
///
/// # Errors
/// `Internal` with git's own message.
pub(super) async fn run(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let what = arguments.join(" ");
    let mut command = command(folder);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = command.spawn().map_err(|error| failed(&what, error))?;
    limit_memory(&process);
    let output = process.wait_with_output().await.map_err(|error| failed(&what, error))?;
    if !output.status.success() {
        return Err(failed(&what, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(output.stdout)
}

/// A commit and its first parent.
pub(super) struct Step {
    pub(super) commit: String,
    pub(super) parent: Option<String>,
}

/// The first-parent commits of a branch, or of `HEAD`, oldest first.
///
/// # Errors
/// `NotFound` for a missing branch, `BadInput` for a folder without a repository, and for a repository without commits or
/// without the newest one.
pub(super) async fn first_parents(repository: &Path, branch: Option<&str>) -> Result<Vec<Step>> {
    let tip = branch.map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
    if let Err(error) = run(repository, &["rev-parse", "--git-dir"]).await {
        let (folder, why) = (repository.display(), error.cause().unwrap_or_default());
        return Err(Error::bad_input("git", format!("Git cannot read a repository in {folder}: {why}")));
    }
    let resolve =
        async |name: &str| run(repository, &["rev-parse", "--verify", "--quiet", "--end-of-options", name]).await.ok();
    if resolve(&format!("{tip}^{{commit}}")).await.is_none() {
        // The id is in the reference, so git finds it without the object.
        let missing = resolve(&tip).await;
        return Err(match (missing, branch) {
            (Some(id), _) => {
                let id = String::from_utf8_lossy(&id).trim_end().to_owned();
                Error::bad_input("git", format!("The newest commit of the branch, {id}, is missing or damaged."))
            }
            (None, Some(_)) => Error::not_found("branch in this repository", "branch"),
            (None, None) => Error::bad_input("git", "The repository has no commits on its current branch."),
        });
    }
    let printed = run(repository, &["rev-list", "--first-parent", "--reverse", "--parents", &tip, "--"]).await?;
    let steps = String::from_utf8_lossy(&printed);
    let steps = steps.lines().map(|line| {
        let mut ids = line.split(' ').map(str::to_owned);
        Step { commit: ids.next().unwrap_or_default(), parent: ids.next() }
    });
    Ok(steps.collect())
}

/// A file that differs between a commit and its first parent.
#[derive(Debug)]
pub(super) struct Difference {
    /// `000000` for a new file.
    pub(super) old_mode: String,
    /// `000000` for a deleted file.
    pub(super) new_mode: String,
    /// The object in the parent.
    pub(super) old_object: String,
    /// The object in the commit.
    pub(super) object: String,
    /// The path in the parent.
    pub(super) old_path: Vec<u8>,
    /// The path in the commit.
    pub(super) path: Vec<u8>,
}

/// `git diff-tree` for a list of commits, with results in the same order.
pub(super) struct Differences {
    process: Child,
    output: BufReader<ChildStdout>,
    /// Reads the error output while the process runs; `None` after it has ended.
    errors: Option<JoinHandle<String>>,
    seconds: u64,
}

impl Differences {
    /// Starts the process. `renames` is its option about renames, which it only finds by comparing contents.
    pub(super) fn start(repository: &Path, steps: &[Step], renames: &'static str, limits: &Limits) -> Result<Self> {
        let mut command = command(repository);
        command.args(["diff-tree", "--stdin", "-r", "-z", "--root", "--always", renames, "--no-abbrev"]);
        let (mut process, mut input, output) = spawn(command, "diff-tree", Stdio::piped())?;
        let errors = process.stderr.take().map(|errors| tokio::spawn(end_of(errors)));
        let asked: String = steps
            .iter()
            .map(|step| match &step.parent {
                Some(parent) => format!("{} {parent}\n", step.commit),
                None => format!("{}\n", step.commit),
            })
            .collect();
        // Writes as fast as git reads. If git ends early, the reader of its output reports it.
        tokio::spawn(async move {
            let _ = input.write_all(asked.as_bytes()).await;
        });
        Ok(Self { process, output, errors, seconds: limits.max_operation_seconds })
    }

    /// The differences of the next commit, which must be this one.
    ///
    /// # Errors
    /// `BadInput` for a commit that changes too many files, or that git does not compare in time.
    pub(super) async fn next(&mut self, commit: &str) -> Result<Vec<Difference>> {
        // A repository of a few kilobytes can have billions of folders without files, which git visits without a word.
        match timeout(Duration::from_secs(self.seconds), differences(&mut self.output, commit)).await {
            Err(_) => {
                let _ = self.process.kill().await;
                let message = format!(
                    "Git needs more than {} seconds (MAX_OPERATION_SECONDS) to compare commit {commit} with its parent.",
                    self.seconds
                );
                Err(Error::bad_input("git", message))
            }
            Ok(Err(error @ Error::Internal(_))) => Err(self.cause(commit).await.unwrap_or(error)),
            Ok(read) => read,
        }
    }

    /// Stops the process, and returns its own error.
    async fn cause(&mut self, commit: &str) -> Option<Error> {
        let _ = self.process.kill().await;
        let said = self.errors.take()?.await.ok().filter(|said| !said.is_empty())?;
        if !said.to_ascii_lowercase().contains("out of memory") {
            return Some(failed("diff-tree", said));
        }
        let message = format!(
            "Git needs more than {} MiB of memory, its limit here, to compare commit {commit} with its parent: the \
             commit changes too many files, or too large ones.",
            MAX_MEMORY / (1024 * 1024)
        );
        Some(Error::bad_input("git", message))
    }

    /// Stops the process and ignores the rest of its output.
    pub(super) async fn stop(mut self) {
        let _ = self.process.kill().await;
    }
}

/// Reads the differences of a commit.
///
/// # Errors
/// `BadInput` for more than [`MAX_DIFFERENCES`].
pub(super) async fn differences(output: &mut (impl AsyncBufRead + Unpin), commit: &str) -> Result<Vec<Difference>> {
    let id = token(output).await?;
    if id.as_deref() != Some(commit.as_bytes()) {
        return Err(failed("diff-tree", format!("no answer for commit {commit}")));
    }
    let mut differences = Vec::new();
    while output.fill_buf().await.map_err(|error| failed("diff-tree", error))?.first() == Some(&b':') {
        if differences.len() >= MAX_DIFFERENCES {
            let message = format!("Commit {commit} changes more than {MAX_DIFFERENCES} files, the limit for a commit.");
            return Err(Error::bad_input("git", message));
        }
        let head = token(output).await?.unwrap_or_default();
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.trim_start_matches(':').split(' ').map(str::to_owned);
        let words = [words.next(), words.next(), words.next(), words.next(), words.next()];
        let path = token(output).await?;
        let ([Some(old_mode), Some(new_mode), Some(old_object), Some(object), Some(status)], Some(old_path)) =
            (words, path)
        else {
            return Err(failed("diff-tree", format!("cannot read {head:?}")));
        };
        let path = if status.starts_with('R') { token(output).await? } else { Some(old_path.clone()) };
        let path = path.ok_or_else(|| failed("diff-tree", format!("no path after {head:?}")))?;
        differences.push(Difference { old_mode, new_mode, old_object, object, old_path, path });
    }
    Ok(differences)
}

async fn token(output: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>> {
    let mut token = Vec::new();
    output.read_until(0, &mut token).await.map_err(|error| failed("diff-tree", error))?;
    Ok((token.pop() == Some(0)).then_some(token))
}

/// The trees that new commits have and an old one does not, each once, by `git rev-list --objects`.
pub(super) struct NewTrees {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl NewTrees {
    /// Starts the process.
    pub(super) fn start(repository: &Path, old: Option<&str>, new: &str) -> Result<Self> {
        let mut command = command(repository);
        command.args(["rev-list", "--objects", "--filter=blob:none", new]);
        command.args(old.map(|old| format!("^{old}"))).arg("--");
        let (process, _, output) = spawn(command, "rev-list", Stdio::inherit())?;
        Ok(Self { process, output })
    }

    /// The id of the next tree, and a path at which it is.
    pub(super) async fn next(&mut self) -> Result<Option<(String, String)>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if self.output.read_until(b'\n', &mut line).await.map_err(|error| failed("rev-list", error))? == 0 {
                let status = self.process.wait().await.map_err(|error| failed("rev-list", error))?;
                return if status.success() { Ok(None) } else { Err(failed("rev-list", status)) };
            }
            // Commits have no path, not even an empty one.
            if let Some((id, path)) = String::from_utf8_lossy(&line).trim_end_matches('\n').split_once(' ') {
                return Ok(Some((id.to_owned(), path.to_owned())));
            }
        }
    }
}

/// `git cat-file --batch`.
pub(super) struct Objects {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    held: Option<Held>,
}

/// Memory is reserved in steps of this size.
const STEP: usize = 64 * 1024;

/// The memory of the objects that are held at once.
struct Held {
    memory: Memory,
    taken: Taken,
    reserved: usize,
    bytes: usize,
}

impl Held {
    fn add(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.reserved {
            let more = (self.bytes - self.reserved).max(STEP);
            self.memory.take(&mut self.taken, more)?;
            self.reserved += more;
        }
        Ok(())
    }
}

/// An object of the repository.
pub(super) enum Object {
    Bytes(Vec<u8>),
    /// Larger than the limit, with its size.
    TooLarge(u64),
    /// Missing: the repository is incomplete.
    Missing,
}

impl Objects {
    /// Starts the process.
    pub(super) fn start(repository: &Path) -> Result<Self> {
        let mut command = command(repository);
        command.args(["cat-file", "--batch"]);
        let (process, input, output) = spawn(command, "cat-file", Stdio::inherit())?;
        Ok(Self { _process: process, input, output, held: None })
    }

    /// Counts the objects in the memory of all requests before they are read.
    pub(super) fn counted_in(self, memory: Memory) -> Self {
        Self { held: Some(Held { memory, taken: Taken::default(), reserved: 0, bytes: 0 }), ..self }
    }

    /// No object is held any more. The memory of the next ones remains reserved.
    pub(super) fn release(&mut self) {
        if let Some(held) = &mut self.held {
            held.bytes = 0;
        }
    }

    /// An object's bytes, up to `max`.
    ///
    /// # Errors
    /// Those of [`Memory::take`] if the objects are counted.
    pub(super) async fn read(&mut self, id: &str, max: usize) -> Result<Object> {
        self.ask(id, max).await.map_err(|error| failed("cat-file", format!("cannot read the object {id}: {error}")))?
    }

    async fn ask(&mut self, id: &str, max: usize) -> std::io::Result<Result<Object>> {
        self.input.write_all(format!("{id}\n").as_bytes()).await?;
        self.input.flush().await?;
        let mut head = String::new();
        self.output.read_line(&mut head).await?;
        let Some(size) = head.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok()) else {
            if head.trim_end().ends_with(" missing") {
                return Ok(Ok(Object::Missing));
            }
            return Err(std::io::Error::other(format!("cannot read {head:?}")));
        };
        // The object is followed by a line feed.
        if size > max as u64 {
            tokio::io::copy(&mut (&mut self.output).take(size + 1), &mut tokio::io::sink()).await?;
            return Ok(Ok(Object::TooLarge(size)));
        }
        let length = usize::try_from(size).map_err(std::io::Error::other)?;
        if let Some(Err(error)) = self.held.as_mut().map(|held| held.add(length)) {
            tokio::io::copy(&mut (&mut self.output).take(size + 1), &mut tokio::io::sink()).await?;
            return Ok(Err(error));
        }
        let mut bytes = vec![0; length];
        self.output.read_exact(&mut bytes).await?;
        self.output.read_u8().await?;
        Ok(Ok(Object::Bytes(bytes)))
    }
}

/// A command that reads its input to the end. Dropping it stops it.
pub(super) struct Process {
    process: Child,
    input: Option<ChildStdin>,
    /// Reads the error output while the process runs, which would wait for a reader.
    errors: JoinHandle<String>,
    what: &'static str,
}

/// The bytes that are kept of the end of a process's error output.
const MAX_ERROR_BYTES: usize = 1_000;

/// Reads an error output, and returns its end.
async fn end_of(mut errors: ChildStderr) -> String {
    let mut end = Vec::new();
    while matches!(errors.read_buf(&mut end).await, Ok(1..)) {
        end.drain(..end.len().saturating_sub(MAX_ERROR_BYTES));
    }
    String::from_utf8_lossy(&end).trim().to_owned()
}

/// What a process has left when it has ended.
pub(super) struct Ended {
    pub(super) is_success: bool,
    pub(super) output: Vec<u8>,
    /// The end of the error output.
    pub(super) errors: String,
}

impl Process {
    pub(super) fn start(command: &mut Command, what: &'static str) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| failed(what, error))?;
        limit_memory(&process);
        let input = process.stdin.take();
        let errors = process.stderr.take().ok_or_else(|| failed(what, "no pipe"))?;
        Ok(Self { process, input, errors: tokio::spawn(end_of(errors)), what })
    }

    /// Writes input. Returns whether the process still reads; if not, [`Process::finish`] returns its error.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> bool {
        match &mut self.input {
            Some(input) => input.write_all(bytes).await.is_ok(),
            None => false,
        }
    }

    /// Ends the input, and returns the output.
    ///
    /// # Errors
    /// `Internal` with git's own message.
    pub(super) async fn finish(self) -> Result<Vec<u8>> {
        let what = self.what;
        let ended = self.end().await?;
        if ended.is_success { Ok(ended.output) } else { Err(failed(what, ended.errors)) }
    }

    /// Ends the input, and waits for the end of the process.
    pub(super) async fn end(mut self) -> Result<Ended> {
        drop(self.input.take());
        let output = self.process.wait_with_output().await.map_err(|error| failed(self.what, error))?;
        let errors = self.errors.await.map_err(|error| failed(self.what, error))?;
        Ok(Ended { is_success: output.status.success(), output: output.stdout, errors })
    }
}

fn spawn(mut command: Command, what: &str, errors: Stdio) -> Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
    let mut process = command.spawn().map_err(|error| failed(what, error))?;
    limit_memory(&process);
    match (process.stdin.take(), process.stdout.take()) {
        (Some(input), Some(output)) => Ok((process, input, BufReader::new(output))),
        _ => Err(failed(what, "no pipes")),
    }
}

/// `git fast-import` into a new repository.
pub(super) struct FastImport {
    folder: PathBuf,
    process: Child,
    input: BufWriter<ChildStdin>,
}

/// The branch that an export writes.
pub(super) const BRANCH: &str = "main";

impl FastImport {
    /// Creates a repository in an empty or new folder.
    pub(super) async fn start(folder: &Path) -> Result<Self> {
        let cannot = |error| Error::internal(format!("{}: {error}", folder.display()));
        std::fs::create_dir_all(folder).map_err(cannot)?;
        if std::fs::read_dir(folder).map_err(cannot)?.next().is_some() {
            return Err(Error::bad_input("git", format!("{} is not empty.", folder.display())));
        }
        run(folder, &["init", "--quiet", "--template=", "--initial-branch", BRANCH]).await?;
        let mut command = command(folder);
        command.args(["fast-import", "--quiet", "--done", "--date-format=raw-permissive"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| failed("fast-import", error))?;
        let input = process.stdin.take().ok_or_else(|| failed("fast-import", "no pipe"))?;
        Ok(Self { folder: folder.to_owned(), process, input: BufWriter::new(input) })
    }

    /// Begins a commit on top of the last one.
    pub(super) async fn commit(&mut self, author: &Signature, committer: &Signature, message: &str) -> Result<()> {
        let head = format!("commit refs/heads/{BRANCH}\nauthor {}\ncommitter {}\n", author.line(), committer.line());
        self.write(head.as_bytes()).await?;
        self.data(message.as_bytes()).await
    }

    /// Deletes a file in the current commit.
    pub(super) async fn delete(&mut self, path: &str) -> Result<()> {
        self.write(format!("D {}\n", quoted(path)).as_bytes()).await
    }

    /// Writes a file in the current commit.
    pub(super) async fn modify(&mut self, path: &str, mode: &str, content: &[u8]) -> Result<()> {
        self.write(format!("M {mode} inline {}\n", quoted(path)).as_bytes()).await?;
        self.data(content).await
    }

    async fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(format!("data {}\n", bytes.len()).as_bytes()).await?;
        self.write(bytes).await?;
        self.write(b"\n").await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self.input.write_all(bytes).await {
            Ok(()) => Ok(()),
            // The process has ended; return its error.
            Err(_) => Err(self.end().await.err().unwrap_or_else(|| failed("fast-import", "it ended early"))),
        }
    }

    async fn end(&mut self) -> Result<()> {
        let _ = self.input.shutdown().await;
        let mut said = String::new();
        if let Some(mut errors) = self.process.stderr.take() {
            let _ = errors.read_to_string(&mut said).await;
        }
        let status = self.process.wait().await.map_err(|error| failed("fast-import", error))?;
        if status.success() { Ok(()) } else { Err(failed("fast-import", said.trim())) }
    }

    /// Ends the history and checks out its files. Returns the paths that this file system does not accept; they are in
    /// the history.
    pub(super) async fn finish(mut self, commits: usize) -> Result<Vec<String>> {
        self.write(b"done\n").await?;
        self.end().await?;
        if commits == 0 {
            return Ok(Vec::new());
        }
        run(&self.folder, &["read-tree", "HEAD"]).await?;
        // git continues after a file that it cannot write, and fails at the end.
        let checkout = ["checkout-index", "--all", "--index", "--quiet"];
        if run(&self.folder, &checkout).await.is_ok() {
            return Ok(Vec::new());
        }
        let missing = run(&self.folder, &["ls-files", "-z", "--deleted"]).await?;
        let missing = missing.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Ok(missing.map(|path| String::from_utf8_lossy(path).into_owned()).collect())
    }
}

/// A quoted path for fast-import, without control characters.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_commit_with_too_many_files_is_refused_by_the_limit() {
        let file = b":000000 100644 0 1 A\0a\0";
        let printed = [b"c\0".as_slice(), &file.repeat(MAX_DIFFERENCES + 1)].concat();
        let refused = differences(&mut printed.as_slice(), "c").await.unwrap_err();
        assert_eq!(refused.message(), "Commit c changes more than 500000 files, the limit for a commit.");
    }
}
