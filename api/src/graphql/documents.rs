//! Documents that requests refer to instead of sending them: registered documents from the operator's file or folder
//! (GraphQL over HTTP, appendix "Persisted Documents"), and documents stored by clients, identified by their hash
//! (Apollo's automatic persisted queries: <https://github.com/apollographql/apollo-link-persisted-queries#protocol>).

use std::{
    any::TypeId,
    collections::{HashMap, HashSet, hash_map::Entry},
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, bail, ensure};
use async_graphql::{
    Request,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};
use quick_cache::{Weighter, sync::Cache};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::document::{FrontEnd, select_kinds};
use crate::{
    domain::Size,
    model::{error::Error, limits::Limits},
};

/// Prefix of a document id that is the SHA-256 of its text, in lower-case hex.
const SHA256: &str = "sha256:";

/// Memory for a stored document besides its text, in bytes: its key, and the cache's overhead.
const KEPT_BYTES: usize = 256;

/// Approximate memory for a token of a parsed document, in bytes.
const TOKEN_BYTES: usize = 100;

/// A request's reference to a document. Attached to a request by [`Name::attach`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `documentId`.
    Id(String),
    /// `extensions.persistedQuery.sha256Hash`. If the request also contains the text, and this is its hash, the text is
    /// stored. Clients also send the id of a registered document here, in any format.
    Hash(String),
}

impl Name {
    /// Attaches the reference to a request. A `documentId` takes precedence over a hash.
    pub fn attach(self, request: &mut Request) {
        request.data.insert(self);
    }

    fn of(request: &Request) -> Option<&Self> {
        request.data.get(&TypeId::of::<Self>())?.downcast_ref()
    }
}

/// Why a document was not found.
#[derive(Debug)]
pub enum Missing {
    /// No document has this id or hash (yet).
    NotFound,
    /// This server stores no documents of clients.
    NotSupported,
    /// The request is invalid or not allowed.
    Refused(Error),
}

/// Registered and stored documents, and the cache of parsed ones.
pub struct Documents {
    /// The parser and validator.
    pub front_end: Arc<FrontEnd>,
    registered: HashMap<String, Arc<str>>,
    registered_only: bool,
    kept: Option<Arc<Kept>>,
    parsed: Cache<String, Arc<Parsed>, Bytes>,
}

/// A parsed and valid document within the cost limits.
pub struct Parsed {
    /// The document.
    pub document: ExecutableDocument,
    /// Number of tokens of its text.
    pub tokens: usize,
    /// Whether it can take much processor time to resolve.
    pub size: Size,
    /// Whether it selects the interfaces of types.
    pub selects_interfaces: bool,
    /// Whether no selection set, with its fragments, has two fields of the same name in the response, so that results
    /// are never merged.
    pub merges_nothing: bool,
    /// Whether the library's validator must check the values of variables.
    has_checked_variables: bool,
    /// Whether the library's validator has accepted the document, which has one operation.
    is_accepted: AtomicBool,
}

/// Fields that compare the contents of files.
const COMPARING: [&str; 4] = ["blame", "diff", "lineChanges", "restorePreview"];

impl Parsed {
    /// A document that was parsed and checked.
    pub fn new(front_end: &FrontEnd, mut document: ExecutableDocument, tokens: usize) -> Self {
        let selects_interfaces = select_kinds(&mut document);
        let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
        let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
        let size = if operations.chain(fragments).any(compares) { Size::Large } else { Size::Small };
        let merges_nothing = merges_nothing(&document);
        let has_checked_variables = front_end.has_checked_variables(&document);
        let is_accepted = AtomicBool::default();
        Self { document, tokens, size, selects_interfaces, merges_nothing, has_checked_variables, is_accepted }
    }

    /// Records that the library's validator has accepted the operation of a request. It sees no other one.
    pub fn accept(&self) {
        if self.document.operations.iter().count() == 1 {
            self.is_accepted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the library's validator would accept the document again, whatever the variables are: they also decide which
    /// of several root fields are merged before.
    pub fn is_accepted(&self) -> bool {
        self.merges_nothing && !self.has_checked_variables && self.is_accepted.load(Ordering::Relaxed)
    }

    /// The document of a request.
    pub fn of(request: &Request) -> Option<&Arc<Self>> {
        request.data.get(&TypeId::of::<Arc<Self>>())?.downcast_ref()
    }
}

fn merges_nothing(document: &ExecutableDocument) -> bool {
    let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
    let fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
    let mut sets: Vec<&SelectionSet> = operations.chain(fragments).collect();
    while let Some(set) = sets.pop() {
        // Each part is the set itself, or a fragment in it.
        let (mut names, mut parts) = (HashSet::new(), vec![(set, true)]);
        while let Some((part, is_own)) = parts.pop() {
            for item in &part.items {
                match &item.node {
                    Selection::Field(field) => {
                        if !names.insert(field.node.response_key().node.as_str()) {
                            return false;
                        }
                        // The sets in fragments with names are examined once, with the fragments.
                        sets.extend(is_own.then_some(&field.node.selection_set.node));
                    }
                    Selection::InlineFragment(fragment) => parts.push((&fragment.node.selection_set.node, is_own)),
                    Selection::FragmentSpread(spread) => {
                        let fragment = document.fragments.get(&spread.node.fragment_name.node);
                        parts.extend(fragment.map(|fragment| (&fragment.node.selection_set.node, false)));
                    }
                }
            }
        }
    }
    true
}

fn compares(selected: &SelectionSet) -> bool {
    selected.items.iter().any(|item| match &item.node {
        Selection::Field(field) => {
            COMPARING.contains(&field.node.name.node.as_str()) || compares(&field.node.selection_set.node)
        }
        Selection::InlineFragment(fragment) => compares(&fragment.node.selection_set.node),
        Selection::FragmentSpread(_) => false,
    })
}

impl Weighter<String, Arc<Parsed>> for Bytes {
    fn weight(&self, text: &String, parsed: &Arc<Parsed>) -> u64 {
        parsed.tokens.saturating_mul(TOKEN_BYTES).saturating_add(text.len()).saturating_add(KEPT_BYTES) as u64
    }
}

type Kept = Cache<String, Arc<str>, Bytes>;

/// Weighs cache entries by their memory.
#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<str>> for Bytes {
    fn weight(&self, _hash: &String, text: &Arc<str>) -> u64 {
        text.len().saturating_add(KEPT_BYTES) as u64
    }
}

/// A document to store if it turns out to be valid.
#[derive(Clone)]
pub struct Keep {
    kept: Arc<Kept>,
    hash: String,
    text: Arc<str>,
}

impl Keep {
    /// The document to store with a request, if any.
    pub fn of(request: &Request) -> Option<&Self> {
        request.data.get(&TypeId::of::<Self>())?.downcast_ref()
    }

    /// Stores the document.
    pub fn keep(&self) {
        if self.kept.peek(&self.hash).is_none() {
            self.kept.insert(self.hash.clone(), self.text.clone());
        }
    }
}

impl Documents {
    /// Loads the registered documents from a JSON file or a folder, if given, and creates the caches for stored and
    /// parsed documents. With `registered_only`, all other documents are refused.
    ///
    /// # Errors
    /// For the operator: a file is unreadable, or a document is invalid.
    pub fn load(
        front_end: Arc<FrontEnd>,
        source: Option<&Path>,
        registered_only: bool,
        limits: &Limits,
    ) -> anyhow::Result<Self> {
        let mut registered = HashMap::new();
        let found = source.map(read).transpose()?.unwrap_or_default();
        for (id, text) in found {
            if let Err(faults) = front_end.parse(&text) {
                let reason =
                    faults.first().map(|fault| format!("{} ({})", fault.message, fault.pos)).unwrap_or_default();
                bail!("the document {id:?} is not valid GraphQL: {reason}");
            }
            let text = Arc::<str>::from(text);
            for id in [id, format!("{SHA256}{}", hash(&text))] {
                match registered.entry(id) {
                    Entry::Vacant(entry) => drop(entry.insert(text.clone())),
                    Entry::Occupied(entry) if *entry.get() == text => {}
                    Entry::Occupied(entry) => bail!("two documents have the id {:?}", entry.key()),
                }
            }
        }
        ensure!(!registered_only || !registered.is_empty(), "there are no registered documents (--documents)");
        let (max_kept_bytes, max_parsed_bytes) = (limits.max_kept_document_bytes, limits.max_parsed_document_bytes);
        // Most documents have some hundred bytes; the number only sizes the cache's table.
        let kept = (max_kept_bytes > 0 && !registered_only)
            .then(|| Arc::new(Cache::with_weighter(max_kept_bytes / 1024, max_kept_bytes as u64, Bytes)));
        let parsed = Cache::with_weighter(max_parsed_bytes / 4096, max_parsed_bytes as u64, Bytes);
        Ok(Self { front_end, registered, registered_only, kept, parsed })
    }

    /// Number of registered documents.
    pub fn registered(&self) -> usize {
        self.registered.keys().filter(|id| id.starts_with(SHA256)).count()
    }

    /// The cached parsed document of a text.
    pub fn parsed(&self, text: &str) -> Option<Arc<Parsed>> {
        self.parsed.get(text)
    }

    /// Caches a parsed document.
    pub fn remember(&self, text: &str, parsed: &Arc<Parsed>) {
        self.parsed.insert(text.to_owned(), parsed.clone());
    }

    /// Sets `query` to the text of the document that the request refers to. If the request contains both, they must
    /// match.
    ///
    /// # Errors
    /// Why there is no such document; does not depend on the caller.
    pub fn find(&self, request: &mut Request) -> Result<(), Missing> {
        let wrong = |field: &str, message: &str| Err(Missing::Refused(Error::bad_input(field, message)));
        match Name::of(request) {
            None if self.registered_only => {
                wrong("query", "This server accepts only registered documents (--documents-only): send a `documentId`.")
            }
            None => Ok(()),
            Some(Name::Id(id)) => match self.registered.get(id) {
                Some(text) if request.query.is_empty() || *request.query == **text => {
                    request.query = text.to_string();
                    Ok(())
                }
                Some(_) => wrong("query", "`query` differs from the document with this `documentId`."),
                None => Err(Missing::NotFound),
            },
            Some(Name::Hash(given)) => {
                let hash = given.to_ascii_lowercase();
                let registered = [given.as_str(), &format!("{SHA256}{hash}")]
                    .into_iter()
                    .find_map(|id| self.registered.get(id))
                    .cloned();
                let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
                match registered {
                    Some(text) if request.query.is_empty() || *request.query == *text => {
                        request.query = text.to_string();
                        Ok(())
                    }
                    _ if !is_hash && self.registered_only && request.query.is_empty() => Err(Missing::NotFound),
                    _ if !is_hash => wrong(
                        "extensions.persistedQuery.sha256Hash",
                        "This must be a SHA-256 in hex (64 hexadecimal digits) or the id of a registered document.",
                    ),
                    _ => self.find_kept(request, hash),
                }
            }
        }
    }

    /// Finds a stored document by its hash, or prepares to store the one in the request.
    fn find_kept(&self, request: &mut Request, given: String) -> Result<(), Missing> {
        let wrong = |field: &str, message: &str| Err(Missing::Refused(Error::bad_input(field, message)));
        if request.query.is_empty() {
            match self.kept.as_ref().and_then(|kept| kept.get(&given)) {
                Some(text) => request.query = text.to_string(),
                None if self.kept.is_none() && !self.registered_only => return Err(Missing::NotSupported),
                None => return Err(Missing::NotFound),
            }
            return Ok(());
        }
        if given != hash(&request.query) {
            return wrong("extensions.persistedQuery.sha256Hash", "This is not the hash of `query`.");
        }
        match &self.kept {
            None if self.registered_only => {
                return wrong(
                    "query",
                    "This server accepts only registered documents (--documents-only), and this is not one.",
                );
            }
            Some(kept) if kept.peek(&given).is_none() => {
                let keep = Keep { kept: kept.clone(), hash: given, text: request.query.as_str().into() };
                request.data.insert(keep);
            }
            Some(_) | None => {}
        }
        Ok(())
    }
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Ids and texts. In a folder each `.graphql` file is a document, with its name as the id. A JSON file is an object as
/// written by relay-compiler and graphql-codegen, or Apollo's manifest
/// (<https://www.apollographql.com/docs/graphos/platform/security/persisted-queries#manifest-format>).
fn read(source: &Path) -> anyhow::Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum File {
        Manifest { operations: Vec<Operation> },
        Object(HashMap<String, String>),
    }

    #[derive(Deserialize)]
    struct Operation {
        id: String,
        body: String,
    }

    let cannot = || format!("cannot read the documents in {} (--documents)", source.display());
    if !source.is_dir() {
        let text = fs::read_to_string(source).with_context(cannot)?;
        let file = serde_json::from_str(&text)
            .map_err(|_| anyhow::anyhow!("it must be an object of ids and documents, or a manifest with `operations`"));
        return Ok(match file.with_context(cannot)? {
            File::Manifest { operations } => operations.into_iter().map(|each| (each.id, each.body)).collect(),
            File::Object(documents) => documents.into_iter().collect(),
        });
    }
    let mut documents = Vec::new();
    for entry in fs::read_dir(source).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.extension().is_some_and(|extension| extension == "graphql") {
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            documents.push((id, fs::read_to_string(&path).with_context(cannot)?));
        }
    }
    Ok(documents)
}
