//! Given any sequence of writes to files in a session, with undo and restore, when it runs on the service and on a
//! model that stores every state as a whole, then both agree after every step and on every past revision.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::{
    client::Response,
    database::Kind,
    project::{Project, number, text, without_moment},
    server::Server,
    workload::{Random, manifest, sha256},
};

const SEQUENCES: u64 = 3;
const STEPS: usize = 60;
/// Few, so that the sequences often collide.
const PLACES: &[&str] = &["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "f/a", "f"];

/// A live file, or a folder if it has no text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: String,
    text: Option<String>,
}

/// One version of a file: the revision that made it, its path and its text; `None` for a deletion.
#[derive(Clone, Debug)]
struct Version {
    revision: usize,
    number: usize,
    path: String,
    file: Option<File>,
}

type State = BTreeMap<String, File>;
type Hidden = BTreeSet<usize>;

/// Every state as a whole, keyed by file id.
#[derive(Default)]
struct Model {
    /// The state at each revision, from 0.
    states: Vec<State>,
    /// Whether the revision can be undone.
    undoable: Vec<bool>,
    /// The session, and the revisions of its messages.
    session: String,
    messages: Vec<usize>,
    /// The messages that are hidden at each revision, from 0.
    hidden: Vec<Hidden>,
    versions: BTreeMap<String, Vec<Version>>,
    /// The project's name and description at each revision, from 0.
    fields: Vec<[Value; 2]>,
}

/// The model's prediction for a step.
#[derive(Debug)]
enum Expected {
    /// One more revision, with this state.
    State(State),
    /// New files, whose ids are not known yet, in addition to this state.
    New(State, Vec<File>),
    /// One more revision, with these files and these hidden messages.
    Hidden(State, Hidden),
    /// One more message.
    Message,
    /// One more revision, with these values of the project's own fields.
    Fields([Value; 2]),
    /// No change.
    Unchanged,
    /// The model does not predict this step.
    Skipped,
    Refused(&'static str),
}

fn is_under(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Paths are unique, and nothing is below a file.
fn is_tree<'f>(files: impl Iterator<Item = &'f File> + Clone) -> bool {
    let mut paths = BTreeSet::new();
    files.clone().all(|file| paths.insert(&file.path))
        && files
            .clone()
            .filter(|file| file.text.is_some())
            .all(|file| files.clone().all(|other| !is_under(&other.path, &file.path)))
}

impl Model {
    fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    fn revision(&self) -> usize {
        self.states.len() - 1
    }

    fn at(&self, path: &str) -> Option<(&String, &File)> {
        self.now().iter().find(|(_, file)| file.path == path)
    }

    /// Appends a state. Unchanged files get no new version.
    fn append(&mut self, state: State, hidden: Hidden, undoable: bool) {
        self.hidden.push(hidden);
        let revision = self.states.len();
        let before = self.states.last().cloned().unwrap_or_default();
        let ids: BTreeSet<&String> = before.keys().chain(state.keys()).collect();
        let (kept, deleted): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| state.contains_key(*id));
        let (mut made, mut last) = (Vec::new(), BTreeMap::new());
        for id in deleted.into_iter().chain(kept) {
            let (old, new) = (before.get(id), state.get(id));
            if old != new {
                let path = new.or(old).unwrap().path.clone();
                let above = last.get(&path).copied().unwrap_or_default();
                let number = self.next_number(id, &path, new.is_some()).max(above + 1);
                if new.is_none() {
                    last.insert(path.clone(), number);
                }
                made.push((id.clone(), Version { revision, number, path, file: new.cloned() }));
            }
        }
        for (id, version) in made {
            self.versions.entry(id).or_default().push(version);
        }
        self.states.push(state);
        self.undoable.push(undoable);
        self.fields.push(self.fields.last().cloned().unwrap_or_default());
    }

    fn valid(state: State) -> Expected {
        if is_tree(state.values()) { Expected::State(state) } else { Expected::Refused("CONFLICT") }
    }

    /// The file of this kind that was last deleted at this path: creating one there restores its id.
    fn deleted_at(&self, path: &str, is_file: bool) -> Option<&String> {
        let was_file = |versions: &[Version]| {
            versions.iter().any(|version| version.file.as_ref().is_some_and(|file| file.text.is_some()))
        };
        let deleted = self.versions.iter().filter(|(_, versions)| {
            let last = versions.last().unwrap();
            last.file.is_none() && last.path == path && was_file(versions) == is_file
        });
        deleted.max_by_key(|(id, versions)| (versions.last().unwrap().revision, *id)).map(|(id, _)| id)
    }

    fn sync(&self, files: &[File]) -> Expected {
        let (mut state, mut new) = (self.now().clone(), Vec::new());
        for file in files {
            match self.at(&file.path) {
                Some((_, old)) if old.text.is_some() != file.text.is_some() => return Expected::Refused("CONFLICT"),
                Some((id, _)) => {
                    state.insert(id.clone(), file.clone());
                }
                None => new.push(file.clone()),
            }
        }
        if !is_tree(state.values().chain(&new)) {
            Expected::Refused("CONFLICT")
        } else if new.is_empty() && state == *self.now() {
            Expected::Unchanged
        } else {
            Expected::New(state, new)
        }
    }

    fn create(&self, file: &File) -> Expected {
        match self.at(&file.path) {
            Some(_) => Expected::Refused("CONFLICT"),
            None => self.sync(std::slice::from_ref(file)),
        }
    }

    /// Whether a file or folder exists at the path. A folder exists if something is below it.
    fn is_there(&self, path: &str) -> bool {
        self.now().values().any(|file| file.path == path || is_under(&file.path, path))
    }

    fn update(&self, path: &str, new: &str) -> Expected {
        match self.at(path) {
            None if self.is_there(path) => Expected::Refused("BAD_USER_INPUT"),
            None => Expected::Refused("NOT_FOUND"),
            Some((_, File { text: None, .. })) => Expected::Refused("BAD_USER_INPUT"),
            Some(_) => self.sync(&[File { path: path.to_owned(), text: Some(new.to_owned()) }]),
        }
    }

    fn rename(&self, path: &str, new: &str) -> Expected {
        if is_under(new, path) {
            return Expected::Refused("BAD_USER_INPUT");
        }
        if !self.is_there(path) {
            return Expected::Refused("NOT_FOUND");
        }
        if path == new {
            return Expected::Unchanged;
        }
        let moves = |file: &File| file.path == path || is_under(&file.path, path);
        if self.now().values().any(|file| !moves(file) && is_under(&file.path, new)) {
            return Expected::Refused("CONFLICT");
        }
        let mut state = self.now().clone();
        for file in state.values_mut().filter(|file| file.path == path || is_under(&file.path, path)) {
            file.path = format!("{new}{}", &file.path[path.len()..]);
        }
        Self::valid(state)
    }

    fn delete(&self, path: &str) -> Expected {
        if !self.is_there(path) {
            return Expected::Refused("NOT_FOUND");
        }
        let mut state = self.now().clone();
        state.retain(|_, file| file.path != path && !is_under(&file.path, path));
        Expected::State(state)
    }

    /// The number of the next version of a file: above its own, and where it comes to a path, above those of others that were there.
    fn next_number(&self, id: &str, path: &str, is_there: bool) -> usize {
        let own = self.versions.get(id).and_then(|versions| versions.last());
        let stays = own.is_some_and(|own| own.file.is_some() && own.path == path);
        let others = self.versions.iter().filter(|(other, versions)| {
            *other != id && versions.iter().any(|version| version.file.is_some() && version.path == path)
        });
        let others = others.map(|(_, versions)| versions.last().unwrap().number).max().unwrap_or_default();
        own.map_or(0, |own| own.number).max(if is_there && !stays { others } else { 0 }) + 1
    }

    fn revert(&self, id: &str, version: usize) -> Expected {
        let versions = &self.versions[id];
        let Some(earlier) = versions.iter().find(|earlier| earlier.number == version) else {
            return Expected::Refused("NOT_FOUND");
        };
        let Some(earlier) = &earlier.file else { return Expected::Refused("BAD_USER_INPUT") };
        let mut state = self.now().clone();
        let path = versions.last().unwrap().path.clone();
        state.insert(id.to_owned(), File { path, text: earlier.text.clone() });
        if state == *self.now() { Expected::Unchanged } else { Self::valid(state) }
    }

    fn now_hidden(&self) -> Hidden {
        self.hidden.last().cloned().unwrap_or_default()
    }

    /// The session goes back to a revision, optionally with the files.
    fn hide(&self, to: usize, with_files: bool) -> Expected {
        match self.states.get(to) {
            Some(state) if to > 0 => {
                let mut hidden = self.now_hidden();
                hidden.extend(self.messages.iter().filter(|message| **message > to));
                let state = if with_files { state.clone() } else { self.now().clone() };
                if state == *self.now() && hidden == self.now_hidden() {
                    return Expected::Unchanged;
                }
                Expected::Hidden(state, hidden)
            }
            _ => Expected::Refused("BAD_USER_INPUT"),
        }
    }

    /// The messages that a revision hid or showed again.
    fn changed_hidden(&self, revision: usize) -> Hidden {
        self.hidden[revision - 1].symmetric_difference(&self.hidden[revision]).copied().collect()
    }

    /// The result of going back to a state.
    fn restore(&self, to: usize) -> Expected {
        match self.states.get(to) {
            Some(state) if to > 0 && state == self.now() => Expected::Unchanged,
            Some(state) if to > 0 => Expected::State(state.clone()),
            _ => Expected::Refused("BAD_USER_INPUT"),
        }
    }

    /// One file after a change of it is undone. `Err(true)` if texts would have to be merged, which this model does not
    /// do.
    fn undone_file(before: Option<&File>, after: Option<&File>, now: Option<&File>) -> Result<Option<File>, bool> {
        if now == after {
            return Ok(before.cloned());
        }
        if now == before {
            return Ok(now.cloned());
        }
        let (Some(before), Some(after), Some(now)) = (before, after, now) else { return Err(false) };
        let path = match (after.path == now.path, after.path == before.path) {
            (true, _) => &before.path,
            (_, true) => &now.path,
            _ if now.path == before.path => &now.path,
            _ => return Err(false),
        };
        let text = match (after.text == now.text, after.text == before.text) {
            (true, _) => &before.text,
            (_, true) => &now.text,
            _ if now.text == before.text => &now.text,
            _ => return Err(true),
        };
        Ok(Some(File { path: path.clone(), text: text.clone() }))
    }

    fn undo(&self, revision: usize) -> Expected {
        if !self.undoable.get(revision).is_some_and(|undoable| *undoable) {
            return Expected::Refused("BAD_USER_INPUT");
        }
        let (before, after, now) = (&self.fields[revision - 1], &self.fields[revision], &self.fields[self.revision()]);
        if before != after {
            let mut fields = now.clone();
            for at in (0..2).filter(|at| before[*at] != after[*at]) {
                if after[at] != now[at] && before[at] != now[at] {
                    return Expected::Refused("CONFLICT");
                }
                fields[at].clone_from(&before[at]);
            }
            return if fields == *now { Expected::Refused("CONFLICT") } else { Expected::Fields(fields) };
        }
        let mut state = self.now().clone();
        let (mut refused, mut skipped) = (false, false);
        for (id, versions) in &self.versions {
            if versions.iter().all(|version| version.revision != revision) {
                continue;
            }
            match Self::undone_file(
                self.states[revision - 1].get(id),
                self.states[revision].get(id),
                self.now().get(id),
            ) {
                Ok(Some(file)) => state.insert(id.clone(), file),
                Ok(None) => state.remove(id),
                Err(needs_merge) => {
                    refused |= !needs_merge;
                    skipped |= needs_merge;
                    None
                }
            };
        }
        if skipped || refused {
            return if skipped { Expected::Skipped } else { Expected::Refused("CONFLICT") };
        }
        let (left, now) = (&self.hidden[revision], self.now_hidden());
        let hidden: Hidden = now
            .symmetric_difference(
                &self.changed_hidden(revision).into_iter().filter(|m| left.contains(m) == now.contains(m)).collect(),
            )
            .copied()
            .collect();
        if state == *self.now() && hidden == now {
            return Expected::Refused("CONFLICT");
        }
        match Self::valid(state) {
            Expected::State(state) => Expected::Hidden(state, hidden),
            refused => refused,
        }
    }

    /// Revision and hidden state of every message at a revision, as the service lists them.
    fn conversation(&self, at: usize) -> Value {
        let messages = self.messages.iter().filter(|message| **message <= at);
        let all: Vec<Value> = messages
            .map(|message| json!({ "revision": message, "isHidden": self.hidden[at].contains(message) }))
            .collect();
        let listed: Vec<&Value> = all.iter().filter(|message| message["isHidden"] == false).collect();
        json!({ "all": { "nodes": all }, "messages": { "totalCount": listed.len(), "nodes": listed } })
    }

    fn manifest(state: &State) -> (String, usize) {
        let mut files: Vec<_> =
            state.values().filter_map(|file| Some((&file.path, sha256(file.text.as_ref()?)))).collect();
        files.sort();
        let count = files.len();
        (manifest(files), count)
    }

    /// Path and type of the direct children of a folder.
    fn children(state: &State, folder: &str) -> Vec<Value> {
        let mut children = BTreeMap::new();
        for file in state.values() {
            let rest = if folder.is_empty() {
                Some(file.path.as_str())
            } else {
                file.path.strip_prefix(&format!("{folder}/"))
            };
            let Some(rest) = rest else { continue };
            let is_file = file.text.is_some() && !rest.contains('/');
            let name = rest.split('/').next().unwrap();
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            children.insert(path, if is_file { "FILE" } else { "FOLDER" });
        }
        children.into_iter().map(|(path, kind)| json!({ "path": path, "type": kind })).collect()
    }

    /// Path, id, type and content, as the service lists them.
    fn listing(state: &State) -> Vec<Value> {
        let mut files: Vec<_> = state.iter().map(|(id, file)| (&file.path, id, &file.text)).collect();
        files.sort();
        let shown = files.into_iter().map(|(path, id, text)| {
            let kind = if text.is_some() { "FILE" } else { "FOLDER" };
            json!({ "id": id, "path": path, "type": kind, "content": text, "hash": text.as_ref().map(sha256) })
        });
        shown.collect()
    }
}

const CONVERSATION: &str = "all: messages(first: 500, filter: { includeHidden: true }) { nodes { revision isHidden } }
    messages(first: 500) { totalCount nodes { revision isHidden } }";
const FILE: &str = "id path type content hash";

/// Runs one random step on both sides, and returns its description.
async fn step(random: &mut Random, project: &Project, model: &mut Model) -> String {
    let place = |random: &mut Random| PLACES[random.below(PLACES.len())].to_owned();
    // In three of four cases an existing path.
    let taken = |random: &mut Random, model: &Model| {
        let live: Vec<&File> = model.now().values().collect();
        if live.is_empty() || random.below(4) == 0 {
            place(random)
        } else {
            live[random.below(live.len())].path.clone()
        }
    };
    let content = |random: &mut Random| -> String {
        (0..random.below(4)).map(|_| format!("line {}\n", random.below(5))).collect()
    };
    let moment = |random: &mut Random, model: &Model| {
        // Mostly one of the last revisions: older changes have usually been overwritten.
        if random.below(3) == 0 {
            random.below(model.revision() + 2)
        } else {
            model.revision() - random.below(4.min(model.revision()))
        }
    };
    let (name, input, expected) = match random.below(23) {
        0..=2 => {
            let is_file = random.below(4) > 0;
            let file = File { path: place(random), text: is_file.then(|| content(random)) };
            let kind = if is_file { "FILE" } else { "FOLDER" };
            let input = json!({ "path": file.path, "content": file.text, "type": kind });
            ("createFile", input, model.create(&file))
        }
        3..=4 => {
            let (path, text) = (taken(random, model), content(random));
            ("updateFile", json!({ "path": path, "content": text }), model.update(&path, &text))
        }
        5..=6 => {
            let (path, new) = (taken(random, model), place(random));
            ("renameFile", json!({ "path": path, "newPath": new }), model.rename(&path, &new))
        }
        7 => {
            let path = taken(random, model);
            ("deleteFile", json!({ "path": path }), model.delete(&path))
        }
        8..=9 if !model.versions.is_empty() => {
            let ids: Vec<&String> = model.versions.keys().collect();
            let id = ids[random.below(ids.len())].clone();
            let version = random.below(model.versions[&id].len() + 2);
            ("revertFile", json!({ "fileId": id, "version": version }), model.revert(&id, version))
        }
        8..=11 => {
            let mut files = BTreeMap::new();
            for _ in 0..=random.below(3) {
                let text = (random.below(6) > 0).then(|| content(random));
                files.insert(place(random), text);
            }
            let files: Vec<File> = files.into_iter().map(|(path, text)| File { path, text }).collect();
            let given = files.iter().map(|file| {
                json!({ "path": file.path, "content": file.text, "type": if file.text.is_some() { "FILE" } else { "FOLDER" } })
            });
            ("syncFiles", json!({ "files": given.collect::<Vec<_>>() }), model.sync(&files))
        }
        12..=13 => {
            let to = moment(random, model);
            ("restoreRevision", json!({ "revision": to }), model.restore(to))
        }
        14..=15 => {
            let input = json!({ "sessionId": model.session, "role": "USER", "content": "Go on" });
            ("addMessage", input, Expected::Message)
        }
        16..=17 => {
            let (to, with_files) = (moment(random, model), random.below(2) == 0);
            let scope = if with_files { "BOTH" } else { "CONVERSATION" };
            let input = json!({ "revision": to, "scope": scope, "sessionId": model.session });
            ("restoreRevision", input, model.hide(to, with_files))
        }
        18..=19 => {
            let mut fields = model.fields[model.revision()].clone();
            fields[random.below(2)] = json!(format!("Text {}", random.below(2)));
            let same = fields == model.fields[model.revision()];
            let input = json!({ "name": fields[0], "description": fields[1] });
            ("updateProject", input, if same { Expected::Unchanged } else { Expected::Fields(fields) })
        }
        _ => {
            let revision = moment(random, model);
            ("undo", json!({ "revision": revision }), model.undo(revision))
        }
    };
    let said = format!("{name} {input}");
    if matches!(expected, Expected::Skipped) {
        return format!("not {said}");
    }
    if let ("restoreRevision", Expected::State(to)) = (name, &expected) {
        let select = format!("restorePreview(to: {{ revision: {} }}) {{ diff {{ path }} }}", input["revision"]);
        let differ = |one: &State, other: &State| one.iter().filter(|(id, file)| other.get(*id) != Some(*file)).count();
        let gone = model.now().keys().filter(|id| !to.contains_key(*id)).count();
        let diff = project.ask(&select).await["restorePreview"]["diff"].take();
        assert_eq!(diff.as_array().unwrap().len(), differ(to, model.now()) + gone, "preview of {said}: {diff}");
    }
    let select = match name {
        "restoreRevision" => "revision manifestSha256 fileCount hiddenMessages",
        "undo" => "revision manifestSha256 fileCount hiddenMessages shownMessages",
        _ => "revision",
    };
    let input = if name == "revertFile" {
        json!({ "projectId": null, "fileId": input["fileId"], "version": input["version"] })
    } else {
        input
    };
    let answer = send(project, name, input, select).await;
    let before = model.revision();
    match &expected {
        Expected::Refused(code) => assert_eq!(answer.error_code(), *code, "{said}: {answer:?}"),
        _ => assert!(answer.errors.is_empty(), "{said}: {:?}, expected {expected:?}", answer.errors),
    }
    match expected {
        Expected::Refused(_) | Expected::Skipped => {}
        Expected::Unchanged => assert_eq!(number(&answer.data[name]["revision"]), before as i64, "{said}"),
        Expected::State(state) => model.append(state, model.now_hidden(), true),
        Expected::Fields(fields) => {
            model.append(model.now().clone(), model.now_hidden(), true);
            *model.fields.last_mut().unwrap() = fields;
        }
        Expected::Message => {
            model.append(model.now().clone(), model.now_hidden(), false);
            model.messages.push(model.revision());
        }
        Expected::Hidden(state, hidden) => {
            let count = |new: &Hidden, old: &Hidden| json!(new.difference(old).count());
            let (answer, before) = (&answer.data[name], model.now_hidden());
            assert_eq!(answer["hiddenMessages"], count(&hidden, &before), "{said}");
            if name == "undo" {
                assert_eq!(answer["shownMessages"], count(&before, &hidden), "{said}");
            }
            model.append(state, hidden, true);
        }
        Expected::New(mut state, new) => {
            for file in new {
                let query = "query($id: ID!, $path: String!) { project(id: $id) { file(path: $path) { id version } } }";
                let made = project.client.gql(query, json!({ "id": project.id, "path": file.path })).await.ok();
                let made = &made["project"]["file"];
                assert!(made["id"].is_string(), "{said}: {} is not there", file.path);
                let again = model.deleted_at(&file.path, file.text.is_some());
                assert_eq!(
                    again.is_some(),
                    model.versions.contains_key(made["id"].as_str().unwrap()),
                    "{said}: {}",
                    file.path
                );
                if let Some(again) = again {
                    assert_eq!(made["id"], **again, "{said}: {} gets a new id instead of its old one", file.path);
                }
                assert_eq!(
                    made["version"],
                    model.next_number(made["id"].as_str().unwrap(), &file.path, true),
                    "{said}: {}",
                    file.path
                );
                state.insert(text(&made["id"]), file);
            }
            model.append(state, model.now_hidden(), true);
        }
    }
    if model.revision() > before {
        assert_eq!(number(&answer.data[name]["revision"]), model.revision() as i64, "{said}");
        if select != "revision" {
            let (manifest, count) = Model::manifest(model.now());
            let answer = &answer.data[name];
            assert_eq!((&answer["manifestSha256"], &answer["fileCount"]), (&json!(manifest), &json!(count)), "{said}");
        }
    }
    said
}

async fn send(project: &Project, name: &str, mut input: Value, select: &str) -> Response {
    if name == "updateProject" {
        input["id"] = json!(project.id);
    }
    if ["revertFile", "addMessage", "updateProject"].contains(&name) {
        input.as_object_mut().unwrap().remove("projectId");
        return project.client.mutate(name, input, select).await;
    }
    project.mutate(name, input, select).await
}

/// The listing equals the model's, and every file has as many versions as in the model.
async fn compare(project: &Project, model: &Model, said: &str) {
    let shown = project
        .ask(&format!(
            "revision name description stats {{ totalFiles totalChanges }} sessions {{ nodes {{ {CONVERSATION} }} }} files(first: 500) {{ nodes {{ {FILE} version }} }}
            top: children {{ totalCount nodes {{ path type }} }} d: children(of: \"d\") {{ nodes {{ path type }} }}"
        ))
        .await;
    assert_eq!(number(&shown["revision"]), model.revision() as i64, "{said}");
    assert_eq!(json!([shown["name"], shown["description"]]), json!(model.fields[model.revision()]), "{said}");
    assert_eq!(shown["sessions"]["nodes"], json!([model.conversation(model.revision())]), "{said}");
    let mut files = Model::listing(model.now());
    for file in &mut files {
        file["version"] = json!(model.versions[file["id"].as_str().unwrap()].last().unwrap().number);
    }
    assert_eq!(shown["files"]["nodes"], json!(files), "{said}");
    let top = Model::children(model.now(), "");
    assert_eq!(shown["top"], json!({ "totalCount": top.len(), "nodes": top }), "{said}");
    assert_eq!(shown["d"]["nodes"], json!(Model::children(model.now(), "d")), "{said}");
    let changes: usize = model.versions.values().map(Vec::len).sum();
    let stats = json!({ "totalFiles": Model::manifest(model.now()).1, "totalChanges": changes });
    assert_eq!(shown["stats"], stats, "{said}");
}

/// Every revision reads back unchanged.
async fn compare_history(project: &Project, model: &Model) {
    for (revision, state) in model.states.iter().enumerate().skip(1) {
        let query = format!(
            "query($id: ID!, $at: Int!) {{
            project(id: $id) {{ files(at: $at, first: 500) {{ nodes {{ {FILE} }} totalCount }}
                top: children(at: $at) {{ totalCount nodes {{ path type }} }}
                d: children(of: \"d\", at: $at) {{ nodes {{ path type }} }} }}
            then: project(id: $id, at: {{ revision: $at }}) {{
                sessions {{ nodes {{ {CONVERSATION} }} }}
                revision name description stats {{ totalFiles totalChanges }} files(first: 500) {{ nodes {{ id }} }} }} }}"
        );
        let shown = project.client.gql(&query, json!({ "id": project.id, "at": revision })).await.ok();
        let shown = without_moment(&shown, revision as i64);
        assert_eq!(
            json!([shown["then"]["name"], shown["then"]["description"]]),
            json!(model.fields[revision]),
            "as of {revision}"
        );
        let files = Model::listing(state);
        assert_eq!(shown["project"]["files"]["nodes"], json!(files), "as of {revision}");
        assert_eq!(shown["project"]["files"]["totalCount"], files.len(), "as of {revision}");
        if revision > 1 {
            let then = &shown["then"]["sessions"]["nodes"];
            assert_eq!(then, &json!([model.conversation(revision)]), "as of {revision}");
        }
        let top = Model::children(state, "");
        assert_eq!(shown["project"]["top"], json!({ "totalCount": top.len(), "nodes": top }), "as of {revision}");
        assert_eq!(shown["project"]["d"]["nodes"], json!(Model::children(state, "d")), "as of {revision}");
        assert_eq!(shown["then"]["files"]["nodes"].as_array().unwrap().len(), files.len(), "as of {revision}");
        let changes = model.versions.values().flatten().filter(|version| version.revision <= revision).count();
        let stats = json!({ "totalFiles": Model::manifest(state).1, "totalChanges": changes });
        assert_eq!(
            (&shown["then"]["stats"], &shown["then"]["revision"]),
            (&stats, &json!(revision)),
            "as of {revision}"
        );
    }
    let shown = project
        .ask("events(first: 500) { revision } snapshots(first: 100) { nodes { revision manifestSha256 fileCount } }")
        .await;
    let revisions: Vec<Value> = (1..=model.revision()).map(|revision| json!({ "revision": revision })).collect();
    assert_eq!(shown["events"], json!(revisions));
    for snapshot in shown["snapshots"]["nodes"].as_array().unwrap() {
        let (manifest, count) = Model::manifest(&model.states[number(&snapshot["revision"]) as usize]);
        assert_eq!(
            (&snapshot["manifestSha256"], &snapshot["fileCount"]),
            (&json!(manifest), &json!(count)),
            "{snapshot}"
        );
    }
}

tests::on_both! {
    async fn any_sequence_of_writes_agrees_with_a_model_that_stores_every_state(server: Server) {
        let ada = server.user("ada@example.com");
        // Other sequences on each database: the model is the same.
        let first = if server.database().kind() == Kind::Sqlite { 1 } else { 1 + SEQUENCES };
        for seed in first..first + SEQUENCES {
            let mut random = Random(seed);
            let project = Project::create(&ada, "Model").await;
            let shown = project.ask("name description").await;
            let fields = [&shown["name"], &shown["description"]].map(Value::clone);
            let mut model = Model {
                states: vec![State::new(); 3],
                undoable: vec![false; 3],
                hidden: vec![Hidden::new(); 3],
                fields: vec![fields; 3],
                session: project.start_session().await,
                ..Model::default()
            };
            let mut said = Vec::new();
            for _ in 0..STEPS {
                said.push(step(&mut random, &project, &mut model).await);
                compare(&project, &model, &format!("seed {seed}: {said:#?}")).await;
            }
            compare_history(&project, &model).await;
        }
    }
}
