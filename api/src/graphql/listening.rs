//! Analyses the documents of subscriptions: the topic of their field, and whether two subscriptions can share
//! executions.

use std::collections::HashSet;
use std::convert::Infallible;

use async_graphql::parser::types::{ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet};
use async_graphql::{Name, Value, Variables};

use super::subscription::topic;
use crate::live::source::Topic;
use crate::model::error::{Error, Result};

/// Fields that have the same value for all members of a project, on any type. A subscription that selects only these is
/// executed once for all its subscribers; a subscription that selects any other field, such as `User.email`, is
/// executed once per user. A new field is therefore not shared until it is listed here.
pub const SAME_FOR_ALL: &[&str] = &[
    "__typename",
    "actor",
    "additions",
    "author",
    "avatarUrl",
    "changeDescription",
    "changes",
    "codeChanged",
    "content",
    "contentBase64",
    "contextData",
    "createdAt",
    "createdBy",
    "deletions",
    "description",
    "diff",
    "endedAt",
    "file",
    "fileCount",
    "fullName",
    "hash",
    "id",
    "isActive",
    "isCheckpoint",
    "isDeleted",
    "isDeletion",
    "isHidden",
    "isMachine",
    "kind",
    "language",
    "lineChanges",
    "manifestSha256",
    "message",
    "messageAdded",
    "messageCount",
    "metadata",
    "mode",
    "name",
    "newContent",
    "oldContent",
    "oldPath",
    "parentPath",
    "path",
    "project",
    "projectEvents",
    "revision",
    "role",
    "session",
    "sizeBytes",
    "snapshot",
    "startedAt",
    "timestamp",
    "title",
    "type",
    "undoes",
    "undoneBy",
    "updatedAt",
    "version",
];

/// The argument with the start position.
const POSITION: &str = "afterRevision";

/// Properties of a subscription that are known before it is executed.
#[derive(Debug)]
pub struct Plan {
    field: String,
    arguments: Vec<(Name, async_graphql_value::Value)>,
    /// The variable that is used only for the start position.
    position: Option<Name>,
    /// Whether all members of the project receive the same results.
    pub is_same_for_all: bool,
}

impl Plan {
    /// Analyses a subscription of this document.
    ///
    /// # Errors
    /// `BadInput` if it does not have exactly one field (GraphQL specification, section 5.2.3.1), or has a condition on
    /// it.
    pub fn new(document: &ExecutableDocument, operation: &OperationDefinition) -> Result<Self> {
        let fields = &operation.selection_set.node.items;
        let [selection] = fields.as_slice() else { return Err(not_one()) };
        let Selection::Field(root) = &selection.node else { return Err(not_one()) };
        let root = &root.node;
        if !root.directives.is_empty() {
            return Err(not_one());
        }
        let mut walk = Walk { document, fragments: HashSet::new(), variables: HashSet::new(), is_same_for_all: true };
        let mut position = None;
        for (name, value) in &root.arguments {
            // Every variable is read as null: a null argument is then a variable, or an explicit null.
            let mut used = Vec::new();
            let constant = value.node.clone().into_const_with(|variable| {
                used.push(variable);
                Ok::<_, Infallible>(Value::Null)
            });
            match (used.as_slice(), constant) {
                ([variable], Ok(Value::Null)) if name.node == POSITION => position = Some(variable.clone()),
                _ => walk.variables.extend(used),
            }
        }
        walk.field(root);
        let Walk { variables, is_same_for_all, .. } = walk;
        let arguments = root.arguments.iter().map(|(name, value)| (name.node.clone(), value.node.clone())).collect();
        let position = position.filter(|position| !variables.contains(position));
        Ok(Self { field: root.name.node.to_string(), arguments, position, is_same_for_all })
    }

    /// The topic with these variables; `None` for `__typename`.
    ///
    /// # Errors
    /// `BadInput` for an invalid id.
    pub fn topic(&self, variables: &Variables) -> Option<Result<Topic>> {
        let argument = |wanted: &str| {
            let (_, value) = self.arguments.iter().find(|(name, _)| name == wanted)?;
            let variable = |name: Name| Ok::<_, Infallible>(variables.get(&name).cloned().unwrap_or_default());
            value.clone().into_const_with(variable).ok()
        };
        (self.field != "__typename").then(|| topic(&self.field, argument))
    }

    /// The variables that distinguish shared subscriptions: all except the one for the start position.
    pub fn shared_variables(&self, variables: &Variables) -> Variables {
        let mut variables = variables.clone();
        if let Some(position) = &self.position {
            variables.remove(position);
        }
        variables
    }
}

fn not_one() -> Error {
    Error::bad_input("query", "A subscription must select exactly one field, without a condition.")
}

struct Walk<'d> {
    document: &'d ExecutableDocument,
    fragments: HashSet<&'d Name>,
    variables: HashSet<Name>,
    is_same_for_all: bool,
}

impl<'d> Walk<'d> {
    fn field(&mut self, field: &'d Field) {
        self.is_same_for_all &= SAME_FOR_ALL.contains(&field.name.node.as_str());
        self.selections(&field.selection_set.node);
    }

    fn selections(&mut self, selections: &'d SelectionSet) {
        for selection in &selections.items {
            let (arguments, directives) = match &selection.node {
                Selection::Field(field) => (field.node.arguments.as_slice(), &field.node.directives),
                Selection::InlineFragment(fragment) => (&[][..], &fragment.node.directives),
                Selection::FragmentSpread(spread) => (&[][..], &spread.node.directives),
            };
            let of_directives = directives.iter().flat_map(|directive| &directive.node.arguments);
            for (_, value) in arguments.iter().chain(of_directives) {
                let noted = value.node.clone().into_const_with(|variable| {
                    self.variables.insert(variable);
                    Ok::<_, Infallible>(Value::Null)
                });
                drop(noted);
            }
            match &selection.node {
                Selection::Field(field) => self.field(&field.node),
                Selection::InlineFragment(fragment) => self.selections(&fragment.node.selection_set.node),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && self.fragments.insert(name)
                    {
                        self.selections(&fragment.node.selection_set.node);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn plan(query: &str) -> Result<Plan> {
        let document = parse_query(query).unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        Plan::new(&document, &operation.node)
    }

    #[test]
    fn a_subscription_has_one_field() {
        for query in [
            "subscription { a b }",
            "subscription { ...F } fragment F on Subscription { projectEvents { revision } }",
            "subscription { ... { projectEvents { revision } } }",
            "subscription($x: Boolean!) { projectEvents @include(if: $x) { revision } }",
        ] {
            assert!(plan(query).is_err(), "{query}");
        }
        assert!(plan("subscription { projectEvents { revision } }").is_ok());
    }

    #[test]
    fn subscriptions_that_differ_in_their_position_alone_are_shared() {
        for (query, position) in [
            ("subscription($a: Int) { projectEvents(afterRevision: $a) { revision } }", Some("a")),
            ("subscription($a: Int) { projectEvents(afterRevision: null) { revision } }", None),
            ("subscription($a: Int) { projectEvents(afterRevision: 5, projectId: $a) { revision } }", None),
            ("subscription($a: Int) { projectEvents(afterRevision: $a, projectId: $a) { revision } }", None),
            (
                "subscription($a: Int) { projectEvents(afterRevision: $a) { session { project { file(at: $a) { id } } } } }",
                None,
            ),
            (
                "subscription($a: Int) { projectEvents(afterRevision: $a) { ...F } } fragment F on ProjectEvent { kind @skip(if: $a) }",
                None,
            ),
            ("subscription($a: Int) { projectEvents(afterRevision: $a) { ... @include(if: [$a]) { kind } } }", None),
        ] {
            assert_eq!(plan(query).unwrap().position.as_deref(), position, "{query}");
        }
        let plan =
            plan("subscription($a: Int, $b: ID!) { projectEvents(projectId: $b, afterRevision: $a) { revision } }")
                .unwrap();
        let variables = Variables::from_json(serde_json::json!({ "a": 5, "b": "x" }));
        assert_eq!(plan.shared_variables(&variables), Variables::from_json(serde_json::json!({ "b": "x" })));
    }

    #[test]
    fn a_field_that_depends_on_the_caller_is_found_anywhere() {
        for (query, is_same_for_all) in [
            (
                "subscription { projectEvents { revision actor { name: fullName } changes { ...F } } } fragment F on CodeChange { diff }",
                true,
            ),
            ("subscription { projectEvents { actor { fullName: email } } }", false),
            ("subscription { projectEvents { actor { ... on User { email } } } }", false),
            (
                "subscription { projectEvents { ...F } } fragment F on ProjectEvent { ...G ...F } fragment G on ProjectEvent { actor { preferences { editorTheme } } }",
                false,
            ),
            ("subscription { projectEvents { session { project { viewerRole } } } }", false),
            ("subscription { unheardOf }", false),
        ] {
            assert_eq!(plan(query).unwrap().is_same_for_all, is_same_for_all, "{query}");
        }
    }
}
