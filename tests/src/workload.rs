//! The work of an AI IDE on a project as a stream of turns: read from a file, or generated from a seed.
//!
//! The file format is JSON lines in UTF-8, split only at `\n` (contents contain U+2028 and CR): a `header`; then for
//! every turn a `message`, its `change`s in the order in which they apply (deletes, renames, updates, creates; no path
//! twice), and the `state` that results; then an `end`. `rollback_to: n` in a message states that its changes equal a
//! rollback to the state after turn n. A state's `manifest_sha256` is the SHA-256 over `path NUL hex-sha256 LF` of all
//! files, sorted by the bytes of the path.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// All files of a project: path → content. The map's order is that of the manifest.
pub type Files = BTreeMap<String, Content>;

/// A file's content, hashed once. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The text.
    pub text: Arc<str>,
    /// Its SHA-256, lower-case hex.
    pub hash: Arc<str>,
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self { hash: sha256(&text).into(), text: text.into() }
    }
}

/// A whole stream.
#[derive(Debug)]
pub struct Stream {
    /// The name in the stream's header.
    pub name: String,
    /// The turns, oldest first.
    pub turns: Vec<Turn>,
}

/// One message of the AI with the changes that it made.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    /// From 1.
    pub seq: u32,
    /// The message's text.
    pub content: String,
    /// Whether the message is a checkpoint; false if nothing changed.
    pub is_checkpoint: bool,
    /// The turn to whose state this one returns.
    pub rollback_to: Option<u32>,
    /// The changes, in the order in which they apply.
    pub changes: Vec<Change>,
    /// How many files exist afterwards.
    pub files: usize,
    /// The manifest of the files afterwards, lower-case hex.
    pub manifest: String,
}

/// One change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file is deleted.
    Delete {
        /// Its path.
        path: String,
    },
    /// The file moves, possibly with a new content.
    Rename {
        /// The old path.
        old_path: String,
        /// The new path.
        path: String,
        /// The new content.
        content: Content,
    },
    /// The file's content changes.
    Update {
        /// Its path.
        path: String,
        /// The new content.
        content: Content,
    },
    /// A file is created.
    Create {
        /// Its path.
        path: String,
        /// Its content.
        content: Content,
    },
}

/// Lower-case hex SHA-256.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The manifest over (path, hex SHA-256), which must be sorted by the bytes of the path.
pub fn manifest<P: AsRef<str>, H: AsRef<str>>(files: impl IntoIterator<Item = (P, H)>) -> String {
    let mut hasher = Sha256::new();
    for (path, hash) in files {
        hasher.update(path.as_ref());
        hasher.update([0]);
        hasher.update(hash.as_ref());
        hasher.update("\n");
    }
    hex::encode(hasher.finalize())
}

impl Turn {
    /// Applies the turn's changes, and checks them against the turn's own manifest.
    ///
    /// # Errors
    /// If a change does not apply to the files, or the result differs from the stream's manifest.
    pub fn apply(&self, files: &mut Files) -> anyhow::Result<()> {
        for change in &self.changes {
            match change.clone() {
                Change::Delete { path } => {
                    files.remove(&path).with_context(|| format!("turn {}: no {path:?} to delete", self.seq))?;
                }
                Change::Rename { old_path, path, content } => {
                    files.remove(&old_path).with_context(|| format!("turn {}: no {old_path:?} to rename", self.seq))?;
                    ensure!(files.insert(path, content).is_none(), "turn {}: renames over a file", self.seq);
                }
                Change::Update { path, content } => {
                    ensure!(files.insert(path, content).is_some(), "turn {}: updates a missing file", self.seq);
                }
                Change::Create { path, content } => {
                    ensure!(files.insert(path, content).is_none(), "turn {}: creates an existing file", self.seq);
                }
            }
        }
        ensure!(files.len() == self.files, "turn {}: {} files, not {}", self.seq, files.len(), self.files);
        let found = manifest(files.iter().map(|(path, content)| (path, &content.hash)));
        ensure!(found == self.manifest, "turn {}: the manifest is {found}, not {}", self.seq, self.manifest);
        Ok(())
    }
}

impl Stream {
    /// Reads a stream and checks every hash in it.
    ///
    /// # Errors
    /// If the text is not a stream, or contradicts itself; the message names the line or the turn.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (mut name, mut ended) = (String::new(), false);
        let (mut turns, mut open) = (Vec::<Turn>::new(), None::<(Turn, usize)>);
        for (number, line) in text.split('\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let number = number + 1;
            ensure!(!ended, "line {number}: something follows the end");
            match (serde_json::from_str(line).with_context(|| format!("line {number}"))?, &mut open) {
                (Line::Header { name: given }, None) if turns.is_empty() => name = given,
                (Line::Message { seq, content, is_checkpoint, changes, rollback_to }, None) => {
                    let turn = Turn {
                        seq,
                        content,
                        is_checkpoint,
                        rollback_to,
                        changes: Vec::with_capacity(changes),
                        files: 0,
                        manifest: String::new(),
                    };
                    open = Some((turn, changes));
                }
                (Line::Change { seq, op, path, old_path, content, sha256 }, Some((turn, _))) if turn.seq == seq => {
                    let change = change(&op, path, old_path, content, sha256.as_deref());
                    turn.changes.push(change.with_context(|| format!("line {number}"))?);
                }
                (Line::State { seq, files, manifest_sha256 }, Some((turn, changes))) if turn.seq == seq => {
                    ensure!(turn.changes.len() == *changes, "turn {seq} lacks changes");
                    (turn.files, turn.manifest) = (files, manifest_sha256);
                    turns.extend(open.take().map(|(turn, _)| turn));
                }
                (Line::End {}, None) => ended = true,
                _ => bail!("line {number} is out of place"),
            }
        }
        ensure!(ended, "the stream is cut off");
        let stream = Self { name, turns };
        stream.states()?;
        Ok(stream)
    }

    /// The files after each turn, by the turn's number.
    ///
    /// # Errors
    /// If the stream contradicts itself.
    pub fn states(&self) -> anyhow::Result<BTreeMap<u32, Files>> {
        let (mut files, mut states) = (Files::new(), BTreeMap::new());
        for turn in &self.turns {
            turn.apply(&mut files)?;
            if let Some(earlier) = turn.rollback_to {
                let there = states.get(&earlier).with_context(|| format!("turn {}: no turn {earlier}", turn.seq))?;
                ensure!(files == *there, "turn {} is not a rollback to turn {earlier}", turn.seq);
            }
            states.insert(turn.seq, files.clone());
        }
        Ok(states)
    }

    /// The versions that the turns write: every (path, SHA-256), without those that a rollback restores.
    pub fn versions(&self) -> BTreeSet<(String, String)> {
        let turns = self.turns.iter().filter(|turn| turn.rollback_to.is_none());
        let written = turns.flat_map(|turn| &turn.changes).filter_map(|change| match change {
            Change::Delete { .. } => None,
            Change::Rename { path, content, .. }
            | Change::Update { path, content }
            | Change::Create { path, content } => Some((path.clone(), content.hash.to_string())),
        });
        written.collect()
    }
}

#[derive(Deserialize)]
#[serde(tag = "t", rename_all = "lowercase")]
enum Line {
    Header {
        name: String,
    },
    Message {
        seq: u32,
        content: String,
        is_checkpoint: bool,
        changes: usize,
        rollback_to: Option<u32>,
    },
    Change {
        seq: u32,
        op: String,
        path: String,
        old_path: Option<String>,
        content: Option<String>,
        sha256: Option<String>,
    },
    State {
        seq: u32,
        files: usize,
        manifest_sha256: String,
    },
    End {},
}

fn change(
    op: &str,
    path: String,
    old_path: Option<String>,
    content: Option<String>,
    hash: Option<&str>,
) -> anyhow::Result<Change> {
    if op == "delete" {
        return Ok(Change::Delete { path });
    }
    let content = Content::from(content.context("the content is missing")?);
    ensure!(hash == Some(&content.hash), "the content has another hash");
    Ok(match (op, old_path) {
        ("rename", Some(old_path)) => Change::Rename { old_path, path, content },
        ("update", None) => Change::Update { path, content },
        ("create", None) => Change::Create { path, content },
        _ => bail!("unknown change {op:?}"),
    })
}

/// A typical stream: 300 turns over 40 files, small edits of one to five files each, some deletions, and eight
/// rollbacks to an earlier turn. The same seed gives the same stream.
pub fn agent_session(seed: u64) -> Stream {
    let mut random = Random(seed);
    let fixed = ["agent.py", "tools.py", "prompts/greeting.md", "prompts/handover.md", "README.md", "settings.json"];
    let mut paths: Vec<String> = fixed.map(str::to_owned).into();
    paths.extend((0..34).map(|n| match n % 3 {
        0 => format!("web/pages/{}_{n}.ts", random.pick(NOUNS)),
        1 => format!("agent/skills/{}_{n}.py", random.pick(NOUNS)),
        _ => format!("web/parts/{}_{n}.ts", random.pick(NOUNS)),
    }));

    let mut stream = Maker::new(format!("agent-session {seed}"));
    let mut files: Files = paths.iter().take(8).map(|path| (path.clone(), random.document().into())).collect();
    stream.turn("Set up the project", &files, &[]);
    while stream.seq() < 300 {
        if stream.seq().is_multiple_of(35) {
            files = stream.roll_back(stream.seq() - 2 - random.below(25) as u32);
            continue;
        }
        for _ in 0..1 + random.below(5) {
            let missing: Vec<_> = paths.iter().filter(|path| !files.contains_key(*path)).collect();
            if !missing.is_empty() && random.below(3) == 0 {
                files.insert(missing[random.below(missing.len())].clone(), random.document().into());
            } else if let Some(path) = files.keys().nth(random.below(files.len())).cloned() {
                let content = random.edit(&files[&path].text);
                files.insert(path, content.into());
            }
        }
        if files.len() > 20 && random.below(50) == 0 {
            files.pop_last();
        }
        stream.turn(&random.sentence(), &files, &[]);
    }
    stream.stream
}

/// A stream of edge cases. The same seed gives the same stream.
pub fn edges(seed: u64) -> Stream {
    let mut random = Random(seed);
    let mut stream = Maker::new(format!("edges {seed}"));
    let (one, two) = (random.document(), random.document());
    let put = |files: &mut Files, path: &str, content: &str| {
        files.insert(path.to_owned(), content.to_owned().into());
    };

    let mut files = Files::new();
    put(&mut files, "a.py", &one);
    put(&mut files, "src/b.ts", &two);
    stream.turn("Two files", &files, &[]);
    files.remove("a.py");
    stream.turn("Delete", &files, &[]);
    put(&mut files, "a.py", &one);
    stream.turn("Create again with the same content", &files, &[]);
    files.remove("a.py");
    stream.turn("Delete again", &files, &[]);
    put(&mut files, "a.py", &two);
    stream.turn("Create again with the content of another path", &files, &[]);
    let both = stream.seq();

    files.remove("src/b.ts");
    put(&mut files, "src/c.ts", &two);
    stream.turn("Rename", &files, &[("src/b.ts", "src/c.ts")]);
    files.remove("src/c.ts");
    put(&mut files, "lib/c.ts", &format!("{two}// moved\n"));
    stream.turn("Rename with an edit", &files, &[("src/c.ts", "lib/c.ts")]);
    files.remove("lib/c.ts");
    files.remove("a.py");
    put(&mut files, "main/a.py", &two);
    put(&mut files, "new.md", "# new\n");
    stream.turn("Rename together with a deletion and a creation", &files, &[("a.py", "main/a.py")]);
    put(&mut files, "lib", "now a file\n");
    stream.turn("A file where there was a folder", &files, &[]);
    files.remove("lib");
    put(&mut files, "lib/deep/er/y.ts", &one);
    stream.turn("A folder where there was a file", &files, &[]);

    for content in ["", "\n", "\n\n\n", "", "no end", "no end\n", "a\r\nb\r\n", "a\nb\n", "a\rb"] {
        put(&mut files, "ends.txt", content);
        stream.turn(&format!("Line ends: {content:?}"), &files, &[]);
    }
    let odd = "emoji 👩\u{200d}💻 \u{2028} \u{feff} \u{b} \u{1b}[31m \u{fffd} \u{10ffff}\n";
    put(&mut files, "odd.txt", odd);
    put(&mut files, "twin.txt", odd);
    stream.turn("Unusual characters, the same at two paths", &files, &[]);

    let mut line: String = (0..9_000).map(|_| format!("{:09},", random.below(1_000_000_000))).collect();
    put(&mut files, "line.js", &line);
    stream.turn("A line of 90 KB", &files, &[]);
    line.replace_range(45_000..45_001, "x");
    put(&mut files, "line.js", &line);
    stream.turn("One character in it", &files, &[]);

    for pair in [
        ["docs/e\u{301}.md", "docs/\u{e9}.md"],
        ["README.md", "readme.md"],
        ["docs/Überblick – 概要.md", "docs/it's \"quoted\" & spaced.md"],
        ["like%_.txt", "back\\slash.txt"],
        [".hidden", "...dots"],
        ["a/b", "a-b"],
    ] {
        pair.iter().for_each(|path| put(&mut files, path, path));
        stream.turn(&format!("Paths {pair:?}"), &files, &[]);
    }
    stream.turn("Nothing changes", &files, &[]);

    for n in 0..510 {
        put(&mut files, &format!("many/{n:03}.json"), &format!("{{\"n\": {}}}\n", random.below(400)));
    }
    stream.turn("More files than a page holds", &files, &[]);
    let many = stream.seq();
    files.retain(|path, _| !path.starts_with("many/"));
    stream.turn("Delete them", &files, &[]);
    stream.roll_back(many);
    stream.turn("Delete them again", &files, &[]);
    for _ in 0..70 {
        let content = random.edit(&files["lib/deep/er/y.ts"].text);
        put(&mut files, "lib/deep/er/y.ts", &content);
        stream.turn(&random.sentence(), &files, &[]);
    }
    stream.turn("Delete everything", &Files::new(), &[]);
    stream.roll_back(both);
    stream.roll_back(many);
    stream.stream
}

/// Derives turns from the states that they lead to.
struct Maker {
    stream: Stream,
    /// The files after each turn; the first entry is the state before any turn.
    states: Vec<Files>,
}

impl Maker {
    fn new(name: String) -> Self {
        Self { stream: Stream { name, turns: Vec::new() }, states: vec![Files::new()] }
    }

    fn seq(&self) -> u32 {
        self.stream.turns.len() as u32
    }

    fn turn(&mut self, message: &str, files: &Files, renames: &[(&str, &str)]) {
        self.add(message, files, renames, None);
    }

    fn roll_back(&mut self, seq: u32) -> Files {
        let files = self.states[seq as usize].clone();
        self.add(&format!("Back to turn {seq}"), &files, &[], Some(seq));
        files
    }

    fn add(&mut self, message: &str, files: &Files, renames: &[(&str, &str)], rollback_to: Option<u32>) {
        let before = &self.states[self.stream.turns.len()];
        let [mut deletes, mut moves, mut updates, mut creates] = [const { Vec::new() }; 4];
        for path in before.keys().filter(|path| !files.contains_key(*path)) {
            if !renames.iter().any(|(old, _)| old == path) {
                deletes.push(Change::Delete { path: path.clone() });
            }
        }
        for (path, content) in files {
            let (path, content) = (path.clone(), content.clone());
            match (before.get(&path), renames.iter().find(|(_, new)| *new == path)) {
                (Some(old), _) if *old == content => {}
                (Some(_), _) => updates.push(Change::Update { path, content }),
                (None, Some((old, _))) => moves.push(Change::Rename { old_path: (*old).to_owned(), path, content }),
                (None, None) => creates.push(Change::Create { path, content }),
            }
        }
        let changes = [deletes, moves, updates, creates].concat();
        self.stream.turns.push(Turn {
            seq: self.seq() + 1,
            content: message.to_owned(),
            is_checkpoint: !changes.is_empty(),
            rollback_to,
            changes,
            files: files.len(),
            manifest: manifest(files.iter().map(|(path, content)| (path, &content.hash))),
        });
        self.states.push(files.clone());
    }
}

const NOUNS: &[&str] =
    &["caller", "slot", "greeting", "transcript", "tool", "voice", "booking", "number", "clinic", "silence"];
const VERBS: &[&str] = &["confirm", "hear", "repeat", "book", "forward", "summarise", "ask", "await", "hold", "check"];

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): the same seed gives the
/// same numbers on every machine and in every version. The generators of the `rand` crate do not promise this.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    fn sentence(&mut self) -> String {
        format!("{} the {}, then {} the {}.", self.pick(VERBS), self.pick(NOUNS), self.pick(VERBS), self.pick(NOUNS))
    }

    fn line(&mut self) -> String {
        let (verb, noun, other, number) = (self.pick(VERBS), self.pick(NOUNS), self.pick(NOUNS), self.below(1_000));
        match self.below(6) {
            0 => String::new(),
            1 => format!("# {}", self.sentence()),
            2 => format!("def {verb}_{noun}({other}, limit={number}):"),
            3 => format!("    {noun} = await {verb}({other}, timeout={number})"),
            4 => format!("    log.debug(\"{verb} {noun}: %s\", {other})"),
            _ => format!("    return {noun}.{verb}({number})"),
        }
    }

    /// A text of 20 to 139 lines.
    pub fn document(&mut self) -> String {
        (0..20 + self.below(120)).map(|_| self.line() + "\n").collect()
    }

    /// The text with a few lines replaced, inserted, removed or moved; never the same text.
    pub fn edit(&mut self, text: &str) -> String {
        loop {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            for _ in 0..1 + self.below(3) {
                let at = self.below(lines.len().max(1));
                match self.below(10) {
                    0..4 if at < lines.len() => lines[at] = self.line(),
                    4 if lines.len() > 20 => drop(lines.drain(at..(at + 4).min(lines.len()))),
                    5 if lines.len() > 20 => lines.rotate_left(at),
                    _ => lines.insert(at, self.line()),
                }
            }
            let edited = lines.join("\n") + "\n";
            if edited != text {
                return edited;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(stream: &Stream, of: impl Fn(&Change) -> bool) -> usize {
        stream.turns.iter().flat_map(|turn| &turn.changes).filter(|change| of(change)).count()
    }

    #[test]
    fn a_session_has_its_documented_shape() {
        let stream = agent_session(1);
        let states = stream.states().unwrap();
        assert_eq!(stream.turns.len(), 300);
        assert_eq!(stream.turns.iter().filter(|turn| turn.rollback_to.is_some()).count(), 8);
        assert!(stream.turns.iter().all(|turn| turn.is_checkpoint));
        assert!(count(&stream, |change| matches!(change, Change::Delete { .. })) > 0);
        let paths: BTreeSet<_> = states.values().flat_map(|files| files.keys()).collect();
        assert_eq!(paths.len(), 40);
        assert_eq!(stream.turns, agent_session(1).turns);
        assert_ne!(stream.turns, agent_session(2).turns);
    }

    #[test]
    fn the_edge_cases_are_complete() {
        let stream = edges(1);
        let states = stream.states().unwrap();
        assert_eq!(count(&stream, |change| matches!(change, Change::Rename { .. })), 3);
        assert_eq!(stream.turns.iter().filter(|turn| turn.changes.is_empty() && !turn.is_checkpoint).count(), 1);
        assert!(states.values().any(|files| files.len() > 500));
        assert!(states.values().flatten().any(|(path, content)| path == "line.js" && content.text.len() == 90_000));
        assert!(states.values().flatten().any(|(path, content)| path == "lib" && !content.text.is_empty()));
    }

    #[test]
    fn a_stream_is_read_line_by_line() {
        let content = "a\r\nb\u{2028}c";
        let (hash, state) = (sha256(content), manifest([("a\u{85}.txt", sha256(content))]));
        let text = [
            r#"{"t":"header","name":"one","head":""}"#,
            r#"{"t":"message","seq":1,"ts":5,"role":"assistant","content":"x<LS>y","is_checkpoint":true,"changes":1}"#,
            r#"{"t":"change","seq":1,"op":"create","path":"a<NEL>.txt","sha256":"<HASH>","size":8,"content":"a\r\nb<LS>c"}"#,
            r#"{"t":"state","seq":1,"files":1,"manifest_sha256":"<STATE>"}"#,
            r#"{"t":"end","counts":{"messages":1}}"#,
            "",
        ]
        .join("\n")
        .replace("<LS>", "\u{2028}")
        .replace("<NEL>", "\u{85}")
        .replace("<HASH>", &hash)
        .replace("<STATE>", &state);
        let stream = Stream::parse(&text).unwrap();
        assert_eq!(stream.name, "one");
        assert_eq!(stream.turns[0].content, "x\u{2028}y");
        assert_eq!(stream.versions(), BTreeSet::from([("a\u{85}.txt".to_owned(), hash.clone())]));

        let refused = |text: &str| Stream::parse(text).unwrap_err().to_string();
        assert!(refused(&text.replace(&hash, &sha256("other"))).contains("line 3"));
        assert!(refused(&text.replace(&state, &sha256("other"))).contains("the manifest is"));
        assert!(refused(text.split_once("{\"t\":\"end\"").unwrap().0).contains("cut off"));
    }

    #[test]
    fn the_manifest_of_no_files_is_the_hash_of_no_bytes() {
        assert_eq!(manifest::<&str, &str>([]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
