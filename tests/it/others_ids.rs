//! Given projects of two users, when one user puts the other's ids and cursors into every place that the schema allows,
//! then each is answered like an unknown one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::{
    client::Client,
    project::{Project, text},
    server::{Server, user_id},
};

use crate::access::{Ids, NOWHERE, code, errors};

/// The type of a mutation's `input`.
fn input_type(mutation: &str) -> String {
    match mutation {
        "changeCollaboratorRole" => "InviteCollaboratorInput".to_owned(),
        _ => format!("{}{}Input", mutation[..1].to_uppercase(), &mutation[1..]),
    }
}

/// Every place in the schema for an id: an input field or an argument.
async fn places(client: &Client) -> BTreeSet<String> {
    let value = "name type { name ofType { name ofType { name ofType { name } } } }";
    let query =
        format!("{{ __schema {{ types {{ name inputFields {{ {value} }} fields {{ name args {{ {value} }} }} }} }} }}");
    let schema = client.gql(&query, json!({})).await.ok();
    let is_id = |value: &Value| {
        let mut kind = &value["type"];
        while !kind["ofType"].is_null() {
            kind = &kind["ofType"];
        }
        kind["name"] == "ID"
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut places = BTreeSet::new();
    for kind in list(&schema["__schema"]["types"]) {
        let mut add = |of: String, values: &Value| {
            let values = list(values).into_iter().filter(is_id);
            places.extend(values.map(|value| format!("{of}.{}", text(&value["name"]))));
        };
        add(text(&kind["name"]), &kind["inputFields"]);
        for field in list(&kind["fields"]) {
            add(format!("{}.{}", text(&kind["name"]), text(&field["name"])), &field["args"]);
        }
    }
    places
}

/// What a mutation returns for each of these ids in a field of its input or an argument, in one request: the data, and the
/// errors without the alias and their locations in the document.
async fn answers(
    client: &Client,
    name: &str,
    (variables, select): (&Value, &str),
    field: &str,
    ids: &[&str],
) -> Vec<(Value, Vec<Value>)> {
    let (mut declared, mut fields, mut given) = (String::new(), String::new(), json!({}));
    for (n, id) in ids.iter().enumerate() {
        let mut variables = variables.clone();
        let arguments = if variables.get("input").is_some() { &mut variables["input"] } else { &mut variables };
        arguments[field] = json!(id);
        let mut passed = Vec::new();
        for (argument, value) in variables.as_object().unwrap() {
            let kind = if argument == "input" { input_type(name) } else { "ID".to_owned() };
            declared.push_str(&format!("${argument}{n}: {kind}! "));
            passed.push(format!("{argument}: ${argument}{n}"));
            given[format!("{argument}{n}").as_str()] = value.clone();
        }
        fields.push_str(&format!("m{n}: {name}({}) {select} ", passed.join(", ")));
    }
    let answer = client.gql(&format!("mutation({declared}) {{ {fields} }}"), given).await;
    let of = |n: usize| {
        let alias = format!("m{n}");
        let errors = answer.errors.iter().filter(|error| error["path"][0] == alias.as_str());
        let errors = errors.map(|error| {
            let path = &error["path"].as_array().unwrap()[1..];
            json!([error["message"], path, error["extensions"]])
        });
        (answer.data[alias.as_str()].clone(), errors.collect())
    };
    (0..ids.len()).map(of).collect()
}

tests::behind_each_lock! {
    async fn another_users_ids_are_treated_as_unknown_everywhere(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let (theirs, own) = (Ids::of(&ada, "ada@example.com").await, Ids::of(&bob, "bob@example.com").await);
        let project = Project { client: ada.clone(), id: theirs.project.clone() };
        let own_project = Project { client: bob.clone(), id: own.project.clone() };
        let before = [project.state().await, own_project.state().await];
        // Except in `node`, an id with a type prefix is invalid.
        let nodes: BTreeMap<_, _> = theirs.nodes().into_iter().filter(|(_, id)| !id.contains(':')).collect();

        // Given every place in the schema for an id …
        let places = places(&bob).await;
        let (mut covered, mut tried) = (BTreeSet::new(), 0);

        // … in Bob's mutations of his own project, each of Ada's ids is refused like an unknown one …
        for (name, (variables, select)) in own.changes() {
            let is_input = variables.get("input").is_some();
            let holder = if is_input { input_type(name) } else { format!("Mutation.{name}") };
            let mine: Vec<String> = places.iter().filter(|place| place.rsplit_once('.').unwrap().0 == holder).cloned().collect();
            assert!(!mine.is_empty(), "{name} takes no id");
            for place in mine {
                let field = place.rsplit_once('.').unwrap().1;
                let mut variables = variables.clone();
                let arguments = if is_input { &mut variables["input"] } else { &mut variables };
                match (name, field) {
                    ("revertFile", "snapshotId") => drop(arguments.as_object_mut().unwrap().remove("version")),
                    ("restoreRevision" | "restoreSnapshot", "sessionId") => arguments["scope"] = json!("BOTH"),
                    _ => {}
                }
                // Knowing a user's id is enough to invite them.
                let put: Vec<_> = nodes.iter().filter(|(kind, _)| (name, **kind) != ("inviteCollaborator", "User")).collect();
                let ids: Vec<&str> = std::iter::once(NOWHERE).chain(put.iter().map(|(_, id)| id.as_str())).collect();
                let answers = answers(&bob, name, (&variables, select), field, &ids).await;
                let (nothing, others) = answers.split_first().unwrap();
                assert_eq!(nothing.1[0][2]["code"], "NOT_FOUND", "{place} of {name}");
                for ((kind, _), answer) in put.iter().zip(others) {
                    assert_eq!(answer, nothing, "{kind} as {place} of {name}");
                }
                tried += put.len();
                covered.insert(place);
            }
        }

        // … and in his queries: a moment that is named by another user's message is unknown.
        for (place, query) in [
            ("Moment.messageId", "project(id: $own, at: { messageId: $id }) { id revision }"),
            ("Moment.messageId", "project(id: $own) { restorePreview(to: { messageId: $id }) { revision } }"),
            ("Moment.snapshotId", "project(id: $own, at: { snapshotId: $id }) { id revision }"),
            ("Moment.snapshotId", "project(id: $own) { restorePreview(to: { snapshotId: $id }) { revision } }"),
            ("Project.restorePreview.sessionId", "project(id: $own) { restorePreview(to: { revision: 1 }, sessionId: $id) { revision } }"),
            ("CodeChangeFilter.sessionId", "project(id: $own) { changes(filter: { sessionId: $id }) { totalCount edges { cursor } } }"),
            ("CodeChangeFilter.messageId", "project(id: $own) { changes(filter: { messageId: $id }) { totalCount edges { cursor } } }"),
            ("CodeChangeFilter.fileId", "project(id: $own) { changes(filter: { fileId: $id }) { totalCount edges { cursor } } }"),
            ("ProjectSnapshotFilter.messageId", "project(id: $own) { snapshots(filter: { messageId: $id }) { totalCount edges { cursor } } }"),
            ("ChatSession.checkpoints.after", "project(id: $own) { sessions(first: 1) { nodes { checkpoints(first: 1, after: $id) { content } } } }"),
            ("ChatMessage.changes.after", "project(id: $own) { sessions(first: 1) { nodes { messages(first: 1) { nodes { changes(first: 1, after: $id) { path } } } } } }"),
            ("ProjectEvent.changes.after", "project(id: $own) { events { changes(first: 1, after: $id) { path } } }"),
            ("Project.agentConfigurations.after", "project(id: $own) { agentConfigurations(first: 1, after: $id) { configName } }"),
            ("Project.webhooks.after", "project(id: $own) { webhooks(first: 1, after: $id) { url } }"),
            ("Project.collaborators.after", "project(id: $own) { collaborators(first: 1, after: $id) { role } }"),
            ("Project.accessTokens.after", "project(id: $own) { accessTokens(first: 1, after: $id) { name } }"),
            ("Project.emailInvitations.after", "project(id: $own) { emailInvitations(first: 1, after: $id) { role } }"),
            ("Query.recentActivity.projectId", "recentActivity(projectId: $id) { totalCount edges { cursor } }"),
            ("Query.project.id", "project(id: $id) { id }"),
            ("Query.node.id", "node(id: $id) { id }"),
            ("Query.nodes.ids", "nodes(ids: [$id, $id]) { id }"),
        ] {
            let own_id = if query.contains("$own") { "$own: ID!, " } else { "" };
            let query = format!("query({own_id}$id: ID!) {{ {query} }}");
            let ask = async |id: &str| {
                let mut variables = json!({ "id": id, "own": own.project });
                if own_id.is_empty() {
                    variables.as_object_mut().unwrap().remove("own");
                }
                bob.gql(&query, variables).await
            };
            let nothing = ask(NOWHERE).await;
            for (kind, id) in &nodes {
                let answer = ask(id).await;
                assert_eq!((&answer.data, errors(&answer)), (&nothing.data, errors(&nothing)), "{kind} as {place}: {query}");
                tried += 1;
            }
            covered.insert(place.to_owned());
        }

        // … and in his subscriptions.
        for (name, _) in own.subscriptions() {
            for place in places.iter().filter(|place| place.starts_with(&format!("Subscription.{name}."))) {
                let field = place.rsplit_once('.').unwrap().1;
                let mut said = Vec::new();
                for id in nodes.values().map(String::as_str).chain([NOWHERE]) {
                    let query = format!("subscription {{ {name}({field}: \"{id}\", afterRevision: 0) {{ __typename }} }}");
                    let refusal = bob.subscribe(&query, json!({})).await.next().await.expect("an answer").expect_err("a refusal");
                    said.push(json!([refusal[0]["message"], refusal[0]["extensions"]]));
                }
                assert!(said.iter().all(|one| *one == said[0]), "{place}: {said:?}");
                tried += said.len();
                covered.insert(place.clone());
            }
        }
        assert_eq!(covered, places, "every place for an id is tried");
        eprintln!("{tried} ids of another's put where an id may be");
        assert_eq!([project.state().await, own_project.state().await], before);
    }

    async fn another_users_cursors_reveal_nothing(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let mut all = Vec::new();
        for (client, email) in [(&ada, "ada@example.com"), (&bob, "bob@example.com")] {
            let ids = Ids::of(client, email).await;
            let project = Project { client: client.clone(), id: ids.project.clone() };
            project.add_message(&ids.session, "Another secret message", false).await;
            // Each is invited to a project of Carol's.
            let carol = Project::create(&server.user("carol@example.com"), "Carol's").await;
            carol.mutate("inviteCollaborator", json!({ "userId": user_id(email), "role": "VIEWER" }), "revision").await.ok();
            all.push((ids, carol.id));
        }
        let lists = |ids: &Ids, arguments: &str| {
            let page = |name: &str, node: &str| format!("{name}({arguments}) {{ totalCount edges {{ cursor node {{ {node} }} }} }}");
            let project = |select: String| format!("{{ project(id: \"{}\") {{ {select} }} }}", ids.project);
            let mut all: Vec<String> = [("projects", "id"), ("recentActivity", "message { id }"), ("invitations", "projectId")]
                .map(|(name, node)| format!("{{ {} }}", page(name, node)))
                .into();
            all.extend(["sessions", "files", "children", "changes", "snapshots"].map(|name| project(page(name, "id"))));
            all.push(project(format!("file(path: \"secret.py\") {{ {} }}", page("versions", "id"))));
            all.push(project(format!("agentConfigurations {{ {} }}", page("versions", "version"))));
            all.push(format!("{{ node(id: \"{}\") {{ ... on ChatSession {{ {} }} }} }}", ids.session, page("messages", "id")));
            all
        };
        // Every list of Ada's, and its cursors.
        let mut cursors = BTreeSet::new();
        for list in lists(&all[0].0, "first: 50") {
            let seen = ada.gql(&list, json!({})).await.ok().to_string();
            assert!(seen.contains("cursor"), "{list}: {seen}");
            cursors.extend(seen.split("\"cursor\":\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
        let mut theirs: Vec<String> = all[0].0.nodes().into_values().filter(|id| *id != all[0].0.user).collect();
        theirs.push(all[0].1.clone());
        let (mut answered, mut refused) = (0, 0);
        for cursor in &cursors {
            for arguments in ["first: 50, after: $cursor", "last: 50, before: $cursor"] {
                for list in lists(&all[1].0, arguments) {
                    let list = format!("query($cursor: String!) {list}");
                    let answer = bob.gql(&list, json!({ "cursor": cursor })).await;
                    match code(&answer) {
                        "" => answered += 1,
                        // A cursor of another list.
                        code => {
                            assert_eq!(code, "BAD_USER_INPUT", "{list}");
                            refused += 1;
                        }
                    }
                    let shown = format!("{} {:?}", answer.data, answer.errors);
                    for id in &theirs {
                        assert!(!shown.contains(id), "{list}: {shown}");
                    }
                }
            }
        }
        assert!(answered > 20 && refused > 50, "{answered} answered, {refused} refused");
    }
}
