//! Documents that requests name in place of sending them: registered ones, from a file or a folder of the operator's
//! (GraphQL over HTTP, appendix "Persisted Documents"), and those that clients had kept, named by their hash (Apollo's automatic
//! persisted queries: <https://github.com/apollographql/apollo-link-persisted-queries#protocol>).

use std::{
    any::TypeId,
    collections::{HashMap, hash_map::Entry},
    fs,
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use async_graphql::{Request, parser::types::ExecutableDocument};
use quick_cache::{Weighter, sync::Cache};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::document::FrontEnd;
use crate::model::{error::Error, limits::Limits};

/// The prefix of a document's id that is the SHA-256 of its text, in lower-case hex.
const SHA256: &str = "sha256:";

/// What a kept document costs besides its text, in bytes: its key, and the cache's own bookkeeping.
const KEPT_BYTES: usize = 256;

/// What a token of a document costs once it is parsed, about, in bytes.
const TOKEN_BYTES: usize = 100;

/// How a request names its document. Attach it to a request by [`Name::attach`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// By `documentId`.
    Id(String),
    /// By `extensions.persistedQuery.sha256Hash`: if the text comes along and this is its hash, it is kept. Clients also send the
    /// id of a registered document in it, of any shape.
    Hash(String),
}

impl Name {
    /// Gives the name to a request; one `documentId` is worth more than a hash.
    pub fn attach(self, request: &mut Request) {
        request.data.insert(self);
    }

    fn of(request: &Request) -> Option<&Self> {
        request.data.get(&TypeId::of::<Self>())?.downcast_ref()
    }
}

/// Why a request has no document.
#[derive(Debug)]
pub enum Missing {
    /// Nothing of that name is here (yet).
    NotFound,
    /// This server keeps no documents for clients.
    NotSupported,
    /// The request is not one that this server takes.
    Refused(Error),
}

/// The documents that requests may name, and those that were read before.
pub struct Documents {
    /// Reads documents.
    pub front_end: FrontEnd,
    registered: HashMap<String, Arc<str>>,
    registered_only: bool,
    kept: Option<Arc<Kept>>,
    parsed: Cache<String, Arc<Parsed>, Bytes>,
}

/// A document that was parsed, that the schema can answer, and that may run.
pub struct Parsed {
    /// The document.
    pub document: ExecutableDocument,
    /// How many tokens its text has.
    pub tokens: usize,
}

impl Weighter<String, Arc<Parsed>> for Bytes {
    fn weight(&self, text: &String, parsed: &Arc<Parsed>) -> u64 {
        parsed.tokens.saturating_mul(TOKEN_BYTES).saturating_add(text.len()).saturating_add(KEPT_BYTES) as u64
    }
}

type Kept = Cache<String, Arc<str>, Bytes>;

/// Weighs a kept document.
#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<str>> for Bytes {
    fn weight(&self, _hash: &String, text: &Arc<str>) -> u64 {
        text.len().saturating_add(KEPT_BYTES) as u64
    }
}

/// A document to be kept, once it is known to be valid.
#[derive(Clone)]
pub struct Keep {
    kept: Arc<Kept>,
    hash: String,
    text: Arc<str>,
}

impl Keep {
    /// What is to be kept of a request, for who makes another of it.
    pub fn of(request: &Request) -> Option<&Self> {
        request.data.get(&TypeId::of::<Self>())?.downcast_ref()
    }

    /// Keeps it.
    pub fn keep(&self) {
        if self.kept.peek(&self.hash).is_none() {
            self.kept.insert(self.hash.clone(), self.text.clone());
        }
    }
}

impl Documents {
    /// The documents of a JSON file or of a folder where one is given, and room for clients' and for parsed ones, all for the
    /// schema that is printed so. With `registered_only` nothing but the registered ones is answered.
    ///
    /// # Errors
    /// For the operator: what cannot be read, or is no document.
    pub fn load(sdl: &str, source: Option<&Path>, registered_only: bool, limits: &Limits) -> anyhow::Result<Self> {
        let front_end = FrontEnd::new(sdl)?;
        let mut registered = HashMap::new();
        let found = source.map(read).transpose()?.unwrap_or_default();
        for (id, text) in found {
            if let Err(faults) = front_end.parse(&text) {
                let reason =
                    faults.first().map(|fault| format!("{} ({})", fault.message, fault.pos)).unwrap_or_default();
                bail!("the document {id:?} is no GraphQL: {reason}");
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
        ensure!(!registered_only || !registered.is_empty(), "there are no documents to answer (--documents)");
        let (max_kept_bytes, max_parsed_bytes) = (limits.max_kept_document_bytes, limits.max_parsed_document_bytes);
        // Most documents are some hundred bytes long; the number only sizes the cache's table.
        let kept = (max_kept_bytes > 0 && !registered_only)
            .then(|| Arc::new(Cache::with_weighter(max_kept_bytes / 1024, max_kept_bytes as u64, Bytes)));
        let parsed = Cache::with_weighter(max_parsed_bytes / 4096, max_parsed_bytes as u64, Bytes);
        Ok(Self { front_end, registered, registered_only, kept, parsed })
    }

    /// How many documents are registered.
    pub fn registered(&self) -> usize {
        self.registered.keys().filter(|id| id.starts_with(SHA256)).count()
    }

    /// The document with this text, where it was parsed before.
    pub fn parsed(&self, text: &str) -> Option<Arc<Parsed>> {
        self.parsed.get(text)
    }

    /// Remembers a document that may run.
    pub fn remember(&self, text: &str, parsed: &Arc<Parsed>) {
        self.parsed.insert(text.to_owned(), parsed.clone());
    }

    /// Puts the text that the request names in its `query`. A text that comes with its name must be what is named.
    ///
    /// # Errors
    /// Why there is none; nothing of it depends on who asks.
    pub fn find(&self, request: &mut Request) -> Result<(), Missing> {
        let wrong = |field: &str, message: &str| Err(Missing::Refused(Error::bad_input(field, message)));
        match Name::of(request) {
            None if self.registered_only => wrong(
                "query",
                "This server answers registered documents alone (--documents-only): send the `documentId` of one.",
            ),
            None => Ok(()),
            Some(Name::Id(id)) => match self.registered.get(id) {
                Some(text) if request.query.is_empty() || *request.query == **text => {
                    request.query = text.to_string();
                    Ok(())
                }
                Some(_) => wrong("query", "`query` is another document than the one that `documentId` names."),
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

    /// The document that a client has kept by its hash, or is to be kept by it.
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
                    "This server answers registered documents alone (--documents-only), and this is none.",
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

/// Ids and texts: of a folder its `.graphql` files by their names; of a JSON file the object that relay-compiler and
/// graphql-codegen write, or Apollo's manifest
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

    let cannot = || format!("cannot read the documents of {} (--documents)", source.display());
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
