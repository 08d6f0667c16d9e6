//! Checks the arguments of lists before an operation runs. A list that fails in a mutation would hide what was written,
//! after the commit. So a mutation with a wrong argument is refused before it writes. A query is refused in the same
//! way if the failure of a root field would null all of its data.

use async_graphql::{Name, PathSegment, Value, indexmap::IndexMap, parser::types::OperationType};

use uuid::Uuid;

use super::document::Given;
use super::horizon::{Horizon, Latest};
use super::page::part;
use super::types::{
    file::{FileDiff, line},
    insights,
};
use crate::model::{
    access_token::AccessToken,
    collaborator::{Collaborator, EmailInvitation},
    error::{Error, Result},
    ids::{FolderId, MessageId, ReadId},
    limits::Limits,
    node_id::{MAX_NODES, NodeId},
    page::{self, Cursor, KeyKind, List, Page, PageSize},
    path::FilePath,
    search::Search,
};

/// How a list is read in parts.
#[derive(Clone, Copy)]
enum Parts {
    /// A connection, with the sort keys in its cursors; `None` if they depend on other arguments.
    Pages(List, Option<&'static [KeyKind]>),
    /// The projects, which are ordered by the argument `orderBy`.
    Projects,
    /// The log: pages without cursors.
    Log(PageSize),
    /// The first rows only.
    Most(PageSize),
    /// Rows after a row, by its cursor in the list of this name or by its id.
    Placed(&'static str),
    /// Lines after a line.
    AfterLine,
    /// Differences after the entry with a cursor or after a path.
    AfterPath,
    /// Rows after a message.
    AfterMessage,
    /// Rows after an object, by its id.
    AfterNode,
}

const BY_NUMBER: Option<&[KeyKind]> = Some(&[KeyKind::Number]);
const BY_NUMBER_AND_ID: Option<&[KeyKind]> = Some(&[KeyKind::Number, KeyKind::Id]);
const BY_PATH: Option<&[KeyKind]> = Some(&[KeyKind::Text]);
const BY_PATH_AND_ID: Option<&[KeyKind]> = Some(&[KeyKind::Text, KeyKind::Id]);
const BY_TIME_AND_ID: Option<&[KeyKind]> = Some(&[KeyKind::Time, KeyKind::Id]);

/// All fields with an argument `first`.
const LISTS: &[(&str, &str, Parts)] = &[
    ("AgentConfiguration", "versions", Parts::Pages(List::AGENT_CONFIGURATION_VERSIONS, BY_NUMBER)),
    ("ChatMessage", "changes", Parts::AfterNode),
    ("ChatSession", "checkpoints", Parts::AfterMessage),
    ("ChatSession", "messages", Parts::Pages(List::MESSAGES, BY_NUMBER)),
    ("Insights", "busiestHours", Parts::Most(insights::HOURS)),
    ("Insights", "contributors", Parts::Most(insights::USERS)),
    ("Insights", "mostChangedFiles", Parts::Most(insights::FILES)),
    ("Project", "accessTokens", Parts::Placed(AccessToken::LIST)),
    ("Project", "agentConfigurations", Parts::AfterNode),
    ("Project", "changes", Parts::Pages(List::CHANGES, BY_NUMBER_AND_ID)),
    ("Project", "children", Parts::Pages(List::CHILDREN, BY_PATH)),
    ("Project", "collaborators", Parts::Placed(Collaborator::LIST)),
    ("Project", "diff", Parts::AfterPath),
    ("Project", "emailInvitations", Parts::Placed(EmailInvitation::LIST)),
    ("Project", "events", Parts::Log(page::EVENTS)),
    ("Project", "files", Parts::Pages(List::FILES, BY_PATH_AND_ID)),
    ("Project", "sessions", Parts::Pages(List::SESSIONS, BY_NUMBER)),
    ("Project", "snapshots", Parts::Pages(List::SNAPSHOTS, BY_NUMBER)),
    ("Project", "webhooks", Parts::AfterNode),
    ("ProjectEvent", "changes", Parts::AfterNode),
    ("ProjectFile", "blame", Parts::AfterLine),
    ("ProjectFile", "versions", Parts::Pages(List::VERSIONS, BY_NUMBER)),
    ("ProjectSnapshot", "diff", Parts::AfterPath),
    ("ProjectSnapshot", "files", Parts::Pages(List::FILES, BY_PATH_AND_ID)),
    ("Query", "invitations", Parts::Pages(List::INVITATIONS, BY_TIME_AND_ID)),
    ("Query", "projects", Parts::Projects),
    ("Query", "recentActivity", Parts::Pages(List::RECENT_ACTIVITY, None)),
    ("RestorePreview", "diff", Parts::AfterPath),
    ("Webhook", "deliveries", Parts::Pages(List::DELIVERIES, BY_NUMBER)),
];

/// The names of arguments that are revisions of the project.
const REVISIONS: [&str; 4] = ["at", "from", "to", "afterRevision"];

/// Checks the arguments, as far as that is possible without the database.
///
/// # Errors
/// The refused fields.
pub fn check(
    limits: &Limits,
    operation: OperationType,
    fields: Vec<Given>,
) -> std::result::Result<Horizon, Vec<(Given, Error)>> {
    let mut horizon = Horizon::default();
    let mut refused = Vec::new();
    horizon.names_a_state =
        fields.iter().flat_map(|field| &field.arguments).any(|(name, value)| names_a_state(name, value));
    for field in fields {
        let is_root = field.path.len() == 1;
        let is_checked = match operation {
            OperationType::Query => is_root && !field.is_nullable,
            OperationType::Mutation | OperationType::Subscription => !is_root,
        };
        if !is_checked {
            continue;
        }
        match self::field(limits, &field) {
            Err(error) => refused.push((field, error)),
            Ok(None) => {}
            Ok(Some((revision, argument))) => {
                let Some(PathSegment::Field(root)) = field.path.first().cloned() else { continue };
                let place = field.nulls_root.then_some((field.path, field.pos));
                horizon.extend(&root, Latest { revision, argument, field: place });
            }
        }
    }
    if refused.is_empty() { Ok(horizon) } else { Err(refused) }
}

/// Whether an argument may name a state: a moment, any number except the size of a page, or an id as of a revision.
fn names_a_state(name: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        _ if REVISIONS.contains(&name) => true,
        Value::Number(_) => !matches!(name, "first" | "last"),
        Value::String(text) => text.contains('@'),
        Value::List(values) => values.iter().any(|value| names_a_state(name, value)),
        Value::Object(fields) => fields.iter().any(|(name, value)| names_a_state(name, value)),
        _ => false,
    }
}

/// Checks the arguments of one field, and returns the greatest revision among them.
fn field(limits: &Limits, field: &Given) -> Result<Option<(i32, String)>> {
    let arguments = Arguments(&field.arguments);
    if (&*field.parent, &*field.name) == ("Query", "nodes") {
        return arguments.check_ids().map(|()| None);
    }
    let list = LISTS.iter().find(|(parent, name, _)| (*parent, *name) == (&*field.parent, &*field.name));
    let Some((_, _, parts)) = list else { return Ok(None) };
    let (first, after) = (arguments.int("first"), arguments.text("after"));
    match parts {
        Parts::Pages(list, keys) => {
            let page = Page::parse(first, after, arguments.int("last"), arguments.text("before"), *list)?;
            if let Some(keys) = keys {
                page.check_keys(keys.iter().copied())?;
            }
        }
        Parts::Projects => {
            let (keys, descending) = arguments.order();
            let list = List::projects(descending);
            let page = Page::parse(first, after, arguments.int("last"), arguments.text("before"), list)?;
            page.check_keys(keys)?;
        }
        Parts::Most(size) => drop(insights::limit(first, *size)?),
        Parts::Log(size) => drop(size.limit("first", first)?),
        Parts::AfterLine => {
            part(limits, first)?;
            line(arguments.int("after"))?;
        }
        Parts::Placed(_) | Parts::AfterPath | Parts::AfterMessage | Parts::AfterNode => {
            part(limits, first)?;
            match (parts, after) {
                (Parts::AfterPath, Some(after)) => drop(FileDiff::path_of(&after)?),
                (Parts::AfterMessage, Some(after)) => drop(ReadId::<MessageId>::parse(&after, "after")?),
                (Parts::Placed(list), Some(after)) if Cursor::is_cursor(&after) => {
                    drop(Cursor::parse(&after, list, "after")?);
                }
                (Parts::Placed(_) | Parts::AfterNode, Some(after)) => drop(NodeId::parse(&after, "after")?),
                _ => {}
            }
        }
    }
    for name in ["under", "of"] {
        arguments.text(name).map(|path| FilePath::parse(&path, name)).transpose()?;
    }
    let mut revisions = arguments.revisions()?;
    if let Some(Value::Object(filter)) = field.arguments.get("filter") {
        revisions.extend(Arguments(filter).check_filter()?.into_iter().map(|at| (at, "filter")));
    }
    Ok(revisions.into_iter().max().map(|(revision, name)| (revision, name.to_owned())))
}

struct Arguments<'a>(&'a IndexMap<Name, Value>);

impl Arguments<'_> {
    fn int(&self, name: &str) -> Option<i32> {
        match self.0.get(name)? {
            Value::Number(number) => number.as_i64().and_then(|number| i32::try_from(number).ok()),
            _ => None,
        }
    }

    fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The sort keys of `orderBy` for projects, and whether the order is descending.
    fn order(&self) -> ([KeyKind; 2], bool) {
        let given = |name: &str| match self.0.get("orderBy") {
            Some(Value::Object(order)) => match order.get(name) {
                Some(Value::Enum(value)) => value.as_str(),
                Some(Value::String(value)) => value,
                _ => "",
            },
            _ => "",
        };
        let kind = match given("field") {
            "NAME" => KeyKind::Text,
            "CREATED_AT" => KeyKind::TimeOf("CREATED_AT"),
            "LAST_ACCESSED_AT" => KeyKind::TimeOf("LAST_ACCESSED_AT"),
            "LAST_ACTIVITY_AT" => KeyKind::TimeOf("LAST_ACTIVITY_AT"),
            // The default.
            _ => KeyKind::TimeOf("UPDATED_AT"),
        };
        ([kind, KeyKind::Id], given("direction") != "ASC")
    }

    fn check_ids(&self) -> Result<()> {
        match self.0.get("ids") {
            Some(Value::List(ids)) if ids.len() > MAX_NODES => {
                Err(Error::bad_input("ids", format!("At most {MAX_NODES} ids at once.")))
            }
            _ => Ok(()),
        }
    }

    /// Returns the revisions of the ids.
    fn check_filter(&self) -> Result<Vec<i32>> {
        Search::parse(self.text("search").as_deref(), "filter.search")?;
        self.text("path").map(|path| FilePath::parse(&path, "filter.path")).transpose()?;
        let mut revisions = Vec::new();
        for name in ["sessionId", "messageId", "fileId"] {
            let Some(id) = self.text(name) else { continue };
            let folder = FolderId::parse(&id).filter(|_| name == "fileId");
            revisions.extend(match folder {
                Some(folder) => folder.project.at,
                None => ReadId::<Uuid>::parse(&id, &format!("filter.{name}"))?.at,
            });
        }
        Ok(revisions)
    }

    fn revisions(&self) -> Result<Vec<(i32, &'static str)>> {
        let given = REVISIONS.into_iter().filter_map(|name| Some((self.int(name)?, name)));
        let given: Vec<_> = given.collect();
        match given.iter().find(|(revision, _)| *revision < 0) {
            Some((_, name)) => Err(Error::bad_input(*name, "Give a revision from 0, before the first, to the newest.")),
            None => Ok(given),
        }
    }
}

#[cfg(test)]
mod tests {
    use apollo_compiler::{Schema, schema::ExtendedType};
    use clap::Parser;

    use super::*;
    use crate::graphql::schema;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        limits: Limits,
    }

    #[test]
    fn every_list_is_known() {
        let sdl = schema::sdl(&schema::build(&Flags::parse_from(["test"]).limits));
        let schema = Schema::parse(sdl, "schema.graphql").unwrap();
        let mut lists = Vec::new();
        for (name, ty) in &schema.types {
            let ExtendedType::Object(object) = ty else { continue };
            let fields = object.fields.iter().filter(|(_, field)| field.argument_by_name("first").is_some());
            lists.extend(fields.map(|(field, _)| (name.as_str(), field.as_str())));
        }
        lists.sort_unstable();
        let known: Vec<_> = LISTS.iter().map(|(parent, field, _)| (*parent, *field)).collect();
        assert_eq!(known, lists);
    }
}
