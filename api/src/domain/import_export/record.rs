//! What a message's metadata records of a commit, and the commit object that it stands for.

use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::commit::{Commit, Signature};
use super::fsck::is_sound_commit;
use super::objects::{Id, parse_id};

/// The key of a message's metadata with its commit.
pub(super) const COMMIT: &str = "commit";
/// The key that marks a commit with the tree of its parent.
const EMPTY: &str = "empty";
/// The key with the whole commit object in base64. Set only if the rest of the message does not determine it.
const OBJECT: &str = "object";

/// The key with the paths to which the commit moves files that are edited here, each with its path before. The file here can
/// be at neither of them.
pub(super) const MOVED: &str = "moved";

/// The largest commit object that is recorded, in bytes.
const MAX_OBJECT_BYTES: usize = 1024 * 1024;

/// The keys of a message's metadata with an author or committer and the time.
struct SignatureKeys {
    name: &'static str,
    email: &'static str,
    at: &'static str,
    /// The time as in the commit; set only if `at` cannot express it.
    raw: &'static str,
}

const AUTHOR: SignatureKeys =
    SignatureKeys { name: "author", email: "authorEmail", at: "authoredAt", raw: "authorDate" };
/// Set only if the committer is not the author.
const COMMITTER: SignatureKeys =
    SignatureKeys { name: "committer", email: "committerEmail", at: "committedAt", raw: "committerDate" };

fn write_signature(metadata: &mut Map<String, Value>, keys: &SignatureKeys, signature: &Signature) {
    metadata.insert(keys.name.to_owned(), json!(signature.name));
    metadata.insert(keys.email.to_owned(), json!(signature.email));
    match signature.time() {
        Some(at) => metadata.insert(keys.at.to_owned(), json!(at.to_rfc3339_opts(SecondsFormat::Secs, true))),
        None => metadata.insert(keys.raw.to_owned(), json!(signature.raw_date())),
    };
}

/// Reads what [`write_signature`] wrote.
fn read_signature(metadata: &Value, keys: &SignatureKeys) -> Option<Signature> {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    let (name, email) = (text(keys.name)?.to_owned(), text(keys.email)?.to_owned());
    if let Some(date) = text(keys.raw) {
        return Signature::with_raw_date(name, email, date);
    }
    let at = chrono::DateTime::parse_from_rfc3339(text(keys.at)?).ok()?;
    Some(Signature::at(name, email, at))
}

/// The metadata of a message for a commit without the commit's message.
pub(super) fn metadata(id: &str, object: &[u8], commit: &Commit, is_empty: bool) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert(COMMIT.to_owned(), json!(id));
    write_signature(&mut metadata, &AUTHOR, &commit.author);
    if commit.committer != commit.author {
        write_signature(&mut metadata, &COMMITTER, &commit.committer);
    }
    if commit.parents.len() > 1 {
        metadata.insert("parents".to_owned(), json!(commit.parents));
    }
    if is_empty {
        metadata.insert(EMPTY.to_owned(), json!(true));
    }
    // A history here is a line, so it cannot contain a merge.
    let parent = commit.parents.first().and_then(|id| parse_id(id));
    if let (Some(tree), true) = (tree_of(object), commit.parents.len() <= 1) {
        let recorded = self::object(&Value::Object(metadata.clone()), &commit.message, &tree, parent.as_ref());
        if recorded.as_deref() != Some(object) && object.len() <= MAX_OBJECT_BYTES {
            metadata.insert(OBJECT.to_owned(), json!(BASE64_STANDARD.encode(object)));
        }
    }
    metadata
}

/// Whether a message stands for a commit that changes no files.
pub(super) fn is_empty_commit(metadata: &Value) -> bool {
    metadata.get(COMMIT).is_some() && metadata.get(EMPTY) == Some(&Value::Bool(true))
}

/// The commit object of a message: the recorded one, byte for byte, if it has this tree and this parent and git accepts
/// it, and otherwise one with the recorded author and committer. `None` if no author is recorded.
pub(super) fn object(metadata: &Value, message: &str, tree: &Id, parent: Option<&Id>) -> Option<Vec<u8>> {
    let recorded = metadata.get(OBJECT).and_then(Value::as_str).and_then(|text| BASE64_STANDARD.decode(text).ok());
    if let Some(object) = recorded.filter(|object| is_child(object, tree, parent) && is_sound_commit(object)) {
        return Some(object);
    }
    let (author, committer) = signatures(metadata)?;
    Some(render(tree, parent, &author, &committer, message))
}

/// A commit object without unusual headers.
pub(super) fn render(
    tree: &Id,
    parent: Option<&Id>,
    author: &Signature,
    committer: &Signature,
    message: &str,
) -> Vec<u8> {
    let (head, author, committer) = (links(tree, parent), author.line(), committer.line());
    format!("{head}author {author}\ncommitter {committer}\n\n{message}").into_bytes()
}

/// The first lines of a commit object.
fn links(tree: &Id, parent: Option<&Id>) -> String {
    let parent = parent.map(|parent| format!("parent {}\n", hex::encode(parent))).unwrap_or_default();
    format!("tree {}\n{parent}", hex::encode(tree))
}

/// Whether an object is a commit with this tree, this parent and no other links.
fn is_child(object: &[u8], tree: &Id, parent: Option<&Id>) -> bool {
    let Some(rest) = object.strip_prefix(links(tree, parent).as_bytes()) else { return false };
    let head = rest.windows(2).position(|pair| pair == b"\n\n").and_then(|end| rest.get(..end)).unwrap_or(rest);
    let links = |line: &[u8]| line.starts_with(b"parent ") || line.starts_with(b"tree ");
    rest.starts_with(b"author ") && !head.split(|byte| *byte == b'\n').any(links)
}

/// The tree of a commit object.
pub(super) fn tree_of(object: &[u8]) -> Option<Id> {
    let line = object.strip_prefix(b"tree ")?.split(|byte| *byte == b'\n').next()?;
    parse_id(std::str::from_utf8(line).ok()?)
}

/// The author and the committer that a message's metadata records.
pub(super) fn signatures(metadata: &Value) -> Option<(Signature, Signature)> {
    let author = read_signature(metadata, &AUTHOR)?;
    let committer = read_signature(metadata, &COMMITTER).unwrap_or_else(|| author.clone());
    Some((author, committer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::objects::EMPTY_TREE;
    use super::*;

    proptest! {
        #[test]
        fn a_recorded_commit_has_the_same_bytes(
            parent in proptest::option::of(any::<Id>()),
            author in "[^\n]{0,12}",
            email in "[^\n]{0,8}",
            seconds in any::<u64>(),
            zone in "[+-][0-9]{4,5}",
            more in "([a-z]{1,8} [^\n]{0,8}\n( [^\n]{0,4}\n){0,2}){0,2}",
            message in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            prop_assume!(!more.starts_with("tree ") && !more.contains("\ntree ") && !more.contains("parent "));
            let who = format!("{author} <{email}> {seconds} {zone}");
            let head = format!("{}author {who}\ncommitter {who}\n{more}\n", links(&EMPTY_TREE, parent.as_ref()));
            let written = [head.as_bytes(), &message].concat();
            let commit = Commit::parse(&written);
            let metadata = Value::Object(metadata("1", &written, &commit, false));
            let again = object(&metadata, &commit.message, &EMPTY_TREE, parent.as_ref()).unwrap();
            // git does not accept every commit, but each that is made.
            prop_assert_eq!(again == written, is_sound_commit(&written));
            prop_assert!(is_sound_commit(&again));
            // With another parent it is another commit, of the same author.
            let other = object(&metadata, &commit.message, &EMPTY_TREE, Some(&[7; 20])).unwrap();
            prop_assert!(is_child(&other, &EMPTY_TREE, Some(&[7; 20])));
        }
    }

    #[test]
    fn an_object_with_other_links_is_not_used() {
        let parent = [1; 20];
        let object = |more: &str| format!("{}author A <a@x> 1 +0000\n{more}\nm", links(&EMPTY_TREE, Some(&parent)));
        assert!(is_child(object("committer A <a@x> 1 +0000\n").as_bytes(), &EMPTY_TREE, Some(&parent)));
        for more in [format!("parent {}\n", "2".repeat(40)), format!("tree {}\n", "2".repeat(40))] {
            assert!(!is_child(object(&more).as_bytes(), &EMPTY_TREE, Some(&parent)), "{more}");
        }
        assert!(!is_child(object("").as_bytes(), &EMPTY_TREE, None));
    }
}
