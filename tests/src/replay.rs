//! Replays a stream of [`workload`](crate::workload) through the API, and checks the server against the stream's own
//! hashes.
//!
//! A turn is a message and then its files. The files name the message, so the snapshot of a checkpoint includes them. A
//! rollback restores the snapshot of the turn that it returns to, and then adds a message. A subscriber on a connection
//! of its own receives all of it. Every mismatch is an error that names the turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    client::Client,
    workload::{Change, Content, Files, Stream, Turn, manifest, sha256},
};

/// The result of a replay.
#[derive(Debug)]
pub struct Report {
    /// The project's id.
    pub project: String,
    /// How many turns were replayed.
    pub turns: usize,
    /// How many of them are checkpoints, each with the right snapshot.
    pub checkpoints: usize,
    /// How many of them were rollbacks.
    pub rollbacks: usize,
    /// The number of writes; each made one revision.
    pub writes: u32,
    /// How many versions of files were read back.
    pub versions: usize,
    /// The time of the writes, including the checks after each turn.
    pub elapsed: Duration,
}

/// Replays a whole stream into a project of its own, and checks all of it.
///
/// # Errors
/// The first mismatch, with its turn.
pub async fn replay(client: &Client, stream: &Stream, mut progress: impl FnMut(&Turn)) -> anyhow::Result<Report> {
    let start = Instant::now();
    let mut project = Replay::begin(client, &stream.name).await?;
    let listener = Listener::attach(client, &project.id).await;
    for turn in &stream.turns {
        project.turn(turn).await.with_context(|| format!("turn {}", turn.seq))?;
        progress(turn);
    }
    project.check_turns(&stream.turns).await?;
    let last = project.finish().await?;
    let elapsed = start.elapsed();
    listener.check(last).await?;
    let versions = project.check_versions(&stream.versions()).await?;
    Ok(Report {
        project: project.id,
        turns: stream.turns.len(),
        checkpoints: stream.turns.iter().filter(|turn| turn.is_checkpoint).count(),
        rollbacks: stream.turns.iter().filter(|turn| turn.rollback_to.is_some()).count(),
        writes: last,
        versions,
        elapsed,
    })
}

/// A replay under way, turn by turn.
pub struct Replay {
    client: Client,
    /// The project's id.
    pub id: String,
    session: String,
    /// The revision of the last write that the server has acknowledged.
    pub revision: u32,
    files: Files,
    /// The turns that the server has acknowledged, by number.
    pub done: BTreeMap<u32, Done>,
}

/// A turn that the server has acknowledged.
pub struct Done {
    /// The turn's last revision.
    pub revision: u32,
    /// The message's id.
    pub message: String,
    /// The snapshot of its message, if that is a checkpoint.
    pub snapshot: Option<String>,
}

impl Replay {
    /// Creates a project and starts a session in it.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn begin(client: &Client, name: &str) -> anyhow::Result<Self> {
        let input = json!({ "name": name, "initialPrompt": "Replay", "config": {} });
        let query =
            "mutation($input: CreateProjectInput!) { createProject(input: $input) { revision project { id } } }";
        let made = client.request(query, json!({ "input": input })).await?.data()?["createProject"].take();
        let id = text(&made["project"]["id"])?;
        let mut replay = Self {
            client: client.clone(),
            id,
            session: String::new(),
            revision: 0,
            files: Files::new(),
            done: BTreeMap::new(),
        };
        replay.acknowledge(&made)?;
        let started = replay.write("startSession", "StartSessionInput", "session { id }", json!({})).await?;
        replay.session = text(&started["session"]["id"])?;
        Ok(replay)
    }

    /// The same replay through another client, for example of a restarted server.
    pub fn continue_as(self, client: &Client) -> Self {
        Self { client: client.clone(), ..self }
    }

    /// Replays a turn and checks the server's resulting state.
    ///
    /// # Errors
    /// If the server refuses, does not answer, or has another state.
    pub async fn turn(&mut self, turn: &Turn) -> anyhow::Result<()> {
        self.write_turn(turn).await?;
        self.check_turn(turn).await
    }

    /// Replays a turn and checks only the server's acknowledgements.
    ///
    /// # Errors
    /// If the server refuses or does not answer.
    pub async fn write_turn(&mut self, turn: &Turn) -> anyhow::Result<()> {
        turn.apply(&mut self.files)?;
        if let Some(earlier) = turn.rollback_to {
            let done = self.done.get(&earlier).with_context(|| format!("turn {earlier} has not been replayed"))?;
            let (mutation, kind, input) = match &done.snapshot {
                Some(snapshot) => ("restoreSnapshot", "RestoreSnapshotInput", json!({ "snapshotId": snapshot })),
                None => {
                    let input = json!({ "projectId": self.id, "revision": done.revision });
                    ("restoreRevision", "RestoreRevisionInput", input)
                }
            };
            self.write(mutation, kind, "", input).await?;
        }
        let (message, snapshot) = self.add_message(turn).await?;
        if turn.rollback_to.is_none() {
            self.change(turn, &message).await?;
        }
        self.done.insert(turn.seq, Done { revision: self.revision, message, snapshot });
        Ok(())
    }

    /// Checks the server's data of a past turn.
    ///
    /// # Errors
    /// If it differs from the stream.
    pub async fn check_turn(&self, turn: &Turn) -> anyhow::Result<()> {
        let done = self.done.get(&turn.seq).context("the turn has not been replayed")?;
        let files = match &done.snapshot {
            Some(snapshot) => {
                let query = "query($id: ID!) { node(id: $id) { ... on ChatMessage {
                    snapshot { id revision fileCount manifestSha256 } } } }";
                let data = self.client.request(query, json!({ "id": done.message })).await?.data()?;
                let found = &data["node"]["snapshot"];
                let expected = json!({
                    "id": snapshot, "revision": done.revision,
                    "fileCount": turn.files, "manifestSha256": turn.manifest,
                });
                ensure!(*found == expected, "the snapshot is {found}, not {expected}");
                self.files("ProjectSnapshot", snapshot, "").await?
            }
            None => self.files("Project", &self.id, &format!("at: {}, ", done.revision)).await?,
        };
        let found = manifest_of(&files);
        ensure!(found == turn.manifest, "the manifest of its {} files is {found}", files.len());
        Ok(())
    }

    /// Checks, after all writes, that every past turn is unchanged and that the present project is right.
    ///
    /// # Errors
    /// If the server's data differs.
    pub async fn check_turns(&self, turns: &[Turn]) -> anyhow::Result<()> {
        for turn in turns {
            self.check_turn(turn).await.with_context(|| format!("turn {}, afterwards", turn.seq))?;
            if turn.rollback_to.is_some() {
                let at = self.done.get(&turn.seq).context("the turn has not been replayed")?.revision;
                let files = self.files("Project", &self.id, &format!("at: {at}, ")).await?;
                ensure!(manifest_of(&files) == turn.manifest, "turn {}: other files as of revision {at}", turn.seq);
            }
        }
        let files = self.files("Project", &self.id, "").await?;
        let expected: Vec<_> =
            self.files.iter().map(|(path, content)| (path.clone(), content.hash.to_string())).collect();
        ensure!(files == expected, "the project has other files in the end");
        Ok(())
    }

    /// Reads every version of every file, including deleted ones, checks it against its hash, and checks that all of
    /// `expected` exist. Returns their number.
    ///
    /// # Errors
    /// If one is missing or has other bytes.
    pub async fn check_versions(&self, expected: &BTreeSet<(String, String)>) -> anyhow::Result<usize> {
        let query = "query($ids: [ID!]!, $after: String) { nodes(ids: $ids) { ... on ProjectFile {
            id versions(first: 100, after: $after) {
                nodes { version path hash isDeletion content sizeBytes }
                pageInfo { hasNextPage endCursor } } } } }";
        let ids = self.list("Project", &self.id, "includeDeleted: true, ", "id type").await?;
        let mut pages: Vec<(Vec<Value>, Value)> =
            ids.chunks(20).map(|chunk| (chunk.iter().map(|file| file["id"].clone()).collect(), Value::Null)).collect();
        let (mut seen, mut count) = (BTreeSet::new(), 0);
        while let Some((ids, after)) = pages.pop() {
            let mut data = self.client.request(query, json!({ "ids": ids, "after": after })).await?.data()?;
            for file in list(data["nodes"].take())? {
                for version in list(file["versions"]["nodes"].clone())? {
                    if version["isDeletion"] == true || version["hash"].is_null() {
                        continue;
                    }
                    let content = version["content"].as_str().with_context(|| format!("no content: {version}"))?;
                    let hash = sha256(content);
                    ensure!(version["hash"] == hash, "another content: {version}");
                    ensure!(version["sizeBytes"] == content.len(), "another size: {version}");
                    seen.insert((text(&version["path"])?, hash));
                    count += 1;
                }
                if file["versions"]["pageInfo"]["hasNextPage"] == true {
                    pages.push((vec![file["id"].clone()], file["versions"]["pageInfo"]["endCursor"].clone()));
                }
            }
        }
        let missing: Vec<_> = expected.difference(&seen).collect();
        ensure!(missing.is_empty(), "{} versions are not there, {:?} among them", missing.len(), missing.first());
        Ok(count)
    }

    /// Writes the event that a [`Listener`] takes for the last, and returns its revision.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn finish(&mut self) -> anyhow::Result<u32> {
        self.write("updateProject", "UpdateProjectInput", "", json!({ "id": self.id, "description": "The end" }))
            .await?;
        Ok(self.revision)
    }

    /// Adds the turn's message; returns its id and its snapshot.
    async fn add_message(&mut self, turn: &Turn) -> anyhow::Result<(String, Option<String>)> {
        let input = json!({
            "sessionId": self.session, "role": "ASSISTANT", "content": turn.content,
            "isCheckpoint": turn.is_checkpoint, "metadata": { "seq": turn.seq },
        });
        let said = self.write("addMessage", "AddMessageInput", "message { id } snapshot { id }", input).await?;
        let snapshot = said["snapshot"]["id"].as_str().map(str::to_owned);
        ensure!(snapshot.is_some() == turn.is_checkpoint, "exactly the checkpoints must have snapshots");
        Ok((text(&said["message"]["id"])?, snapshot))
    }

    /// Writes the turn's files, with one sync if that can express the changes. A rename is a write of its own, preceded
    /// by the deletes that make room for it and followed by a sync of the other changes.
    async fn change(&mut self, turn: &Turn, message: &str) -> anyhow::Result<()> {
        let named = |mut input: Value| {
            input["projectId"] = json!(self.id);
            input["sessionId"] = json!(self.session);
            input["messageId"] = json!(message);
            input
        };
        let file = |path: &String, content: &Content| json!({ "path": path, "content": &*content.text });
        let renames = turn.changes.iter().any(|change| matches!(change, Change::Rename { .. }));
        let deletes = turn.changes.iter().any(|change| matches!(change, Change::Delete { .. }));

        let (mut writes, mut files) = (Vec::new(), Vec::new());
        for change in &turn.changes {
            match change {
                Change::Delete { path } if renames => {
                    writes.push(("deleteFile", "DeleteFileInput", named(json!({ "path": path }))));
                }
                Change::Delete { .. } => {}
                Change::Rename { old_path, path, content } => {
                    writes.push(("renameFile", "RenameFileInput", named(json!({ "path": old_path, "newPath": path }))));
                    files.push(file(path, content));
                }
                Change::Update { path, content } | Change::Create { path, content } => files.push(file(path, content)),
            }
        }
        if deletes && !renames {
            let all: Vec<_> = self.files.iter().map(|(path, content)| file(path, content)).collect();
            writes.push(("syncFiles", "SyncFilesInput", named(json!({ "files": all, "mode": "MIRROR" }))));
        } else if !files.is_empty() {
            writes.push(("syncFiles", "SyncFilesInput", named(json!({ "files": files, "mode": "MERGE" }))));
        }
        for (mutation, kind, input) in writes {
            self.write(mutation, kind, "", input).await?;
        }
        Ok(())
    }

    /// Sends a mutation and checks that it made one revision, or none if a sync after a rename had nothing left to do.
    async fn write(&mut self, mutation: &str, kind: &str, fields: &str, mut input: Value) -> anyhow::Result<Value> {
        if mutation == "startSession" {
            input["projectId"] = json!(self.id);
        }
        let counts = if mutation == "syncFiles" { "created updated deleted renamed" } else { "" };
        let query =
            format!("mutation($input: {kind}!) {{ {mutation}(input: $input) {{ revision {counts} {fields} }} }}");
        let answer = self.client.request(&query, json!({ "input": input })).await?;
        let payload = answer.data().with_context(|| mutation.to_owned())?[mutation].take();
        let nothing = ["created", "updated", "deleted", "renamed"].iter().all(|name| payload[name] == 0);
        if nothing {
            ensure!(payload["revision"] == self.revision, "{mutation} changed nothing and made {payload}");
        } else {
            self.acknowledge(&payload).with_context(|| mutation.to_owned())?;
        }
        Ok(payload)
    }

    fn acknowledge(&mut self, payload: &Value) -> anyhow::Result<()> {
        let next = self.revision + 1;
        ensure!(payload["revision"] == next, "revision {} where {next} should come", payload["revision"]);
        self.revision = next;
        Ok(())
    }

    /// Path and hash of every file (not folder) of a project or a snapshot, read page by page.
    async fn files(&self, kind: &str, id: &str, arguments: &str) -> anyhow::Result<Vec<(String, String)>> {
        let files = self.list(kind, id, arguments, "path hash type").await?;
        let files = files.iter().filter(|file| file["type"] == "FILE");
        let files: Vec<_> =
            files.map(|file| Ok((text(&file["path"])?, text(&file["hash"])?))).collect::<anyhow::Result<_>>()?;
        ensure!(files.is_sorted_by(|a, b| a.0 < b.0), "the files are not sorted by the bytes of their paths");
        Ok(files)
    }

    async fn list(&self, kind: &str, id: &str, arguments: &str, fields: &str) -> anyhow::Result<Vec<Value>> {
        let query = format!(
            "query($id: ID!, $after: String) {{ node(id: $id) {{ ... on {kind} {{
                files({arguments}first: 500, after: $after) {{
                    nodes {{ {fields} }} pageInfo {{ hasNextPage endCursor }} }} }} }} }}"
        );
        let (mut all, mut after) = (Vec::new(), Value::Null);
        loop {
            let mut data = self.client.request(&query, json!({ "id": id, "after": after })).await?.data()?;
            let mut page = data["node"]["files"].take();
            all.extend(list(page["nodes"].take())?);
            if page["pageInfo"]["hasNextPage"] != true {
                return Ok(all);
            }
            after = page["pageInfo"]["endCursor"].take();
        }
    }
}

/// A subscriber to a project's events on a connection of its own.
pub struct Listener(JoinHandle<anyhow::Result<Vec<u32>>>);

impl Listener {
    /// Subscribes from the project's first revision on, until the event that [`Replay::finish`] writes.
    pub async fn attach(client: &Client, project: &str) -> Self {
        let query = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) {
            revision kind changes { path type } } }";
        let mut events = client.subscribe(query, json!({ "id": project })).await;
        Self(tokio::spawn(async move {
            let mut received = Vec::new();
            loop {
                let event = match events.next_within(Duration::from_secs(60)).await {
                    Some(Ok(mut data)) => data["projectEvents"].take(),
                    Some(Err(errors)) => bail!("after revision {:?}: {errors:?}", received.last()),
                    None => bail!("after revision {:?}: {:?}", received.last(), events.end()),
                };
                received.push(event["revision"].as_u64().context("no revision")? as u32);
                let changes = event["changes"].as_array().context("no changes")?;
                match event["kind"].as_str() {
                    Some("FILES_CHANGED") => ensure!(!changes.is_empty(), "{event} without what changed"),
                    Some("PROJECT_UPDATED") => return Ok(received),
                    _ => {}
                }
            }
        }))
    }

    /// Waits for the end, and checks that every revision up to `last` was received once and in order.
    ///
    /// # Errors
    /// If one was not.
    pub async fn check(self, last: u32) -> anyhow::Result<()> {
        let received = self.0.await?.context("the listener")?;
        let wrong = received.iter().copied().zip(1..).find(|(received, expected)| received != expected);
        ensure!(
            wrong.is_none(),
            "received revision {:?}",
            wrong.map(|(received, expected)| format!("{received} for {expected}"))
        );
        ensure!(received.len() == last as usize, "received {} revisions of {last}", received.len());
        Ok(())
    }
}

fn manifest_of(files: &[(String, String)]) -> String {
    manifest(files.iter().map(|(path, hash)| (path, hash)))
}

fn text(value: &Value) -> anyhow::Result<String> {
    value.as_str().map(str::to_owned).with_context(|| format!("{value} where a text should be"))
}

fn list(value: Value) -> anyhow::Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        other => bail!("{other} where a list should be"),
    }
}
