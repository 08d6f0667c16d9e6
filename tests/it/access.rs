//! Given a user's project, when others use any field of the API, then a stranger sees nothing of it, not even its
//! existence; a viewer reads all of it and changes nothing; an editor changes everything except the project's
//! existence.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    project::{Project, each, settings, text},
    server::{Server, user_id},
};

pub(crate) const NOWHERE: &str = "0192f3a4-5b6c-7d8e-9f00-112233445566";

/// The ids of a project's objects.
pub(crate) struct Ids {
    pub(crate) project: String,
    pub(crate) session: String,
    pub(crate) message: String,
    pub(crate) file: String,
    pub(crate) version: String,
    pub(crate) change: String,
    pub(crate) snapshot: String,
    pub(crate) configuration: String,
    pub(crate) streaming: String,
    pub(crate) webhook: String,
    pub(crate) delivery: String,
    pub(crate) token: String,
    pub(crate) user: String,
}

impl Ids {
    /// The ids of a new project with one object of every kind.
    pub(crate) async fn of(client: &Client, email: &str) -> Self {
        let project = Project::create(client, "A secret name").await;
        let session = project.start_session().await;
        // In few requests, since tests need many such projects.
        let query = "mutation($message: AddMessageInput!, $file: CreateFileInput!) {
            addMessage(input: $message) { message { id } }
            createFile(input: $file) { file { id } } }";
        let variables = json!({
            "message": { "sessionId": session, "role": "ASSISTANT", "content": "A secret message", "isCheckpoint": true },
            "file": { "projectId": project.id, "path": "secret.py", "content": "secret = 1\n" },
        });
        let first = client.gql(query, variables).await.ok();
        let (message, file) = (text(&first["addMessage"]["message"]["id"]), text(&first["createFile"]["file"]["id"]));
        let query = "mutation($file: UpdateFileInput!, $snapshot: CreateSnapshotInput!, $streaming: StartMessageInput!,
                $agent: SaveAgentConfigurationInput!, $project: UpdateProjectInput!, $webhook: CreateWebhookInput!) {
            updateFile(input: $file) { change { id } file { versions { nodes { id } } } }
            createSnapshot(input: $snapshot) { snapshot { id } }
            startMessage(input: $streaming) { messageId }
            saveAgentConfiguration(input: $agent) { agentConfiguration { id } }
            updateProject(input: $project) { revision }
            createWebhook(input: $webhook) { webhook { id } } }";
        let variables = json!({
            "file": { "projectId": project.id, "path": "secret.py", "content": "secret = 2\n", "sessionId": session, "messageId": message },
            "snapshot": { "projectId": project.id, "name": "A secret snapshot" },
            "streaming": { "sessionId": session, "role": "ASSISTANT" },
            "agent": tests::project::with(settings("A secret agent"), json!({ "projectId": project.id })),
            "project": { "id": project.id, "description": "A secret description" },
            "webhook": { "projectId": project.id, "url": HOOK },
        });
        let made = client.gql(query, variables).await.ok();
        let streaming = text(&made["startMessage"]["messageId"]);
        let webhook = text(&made["createWebhook"]["webhook"]["id"]);
        let query = "mutation($chunk: AppendToMessageInput!, $undo: UndoInput!) {
            appendToMessage(input: $chunk) { length }
            undo(input: $undo) { revision } }";
        let chunk = json!({ "messageId": streaming, "offset": 0, "text": "A secret message" });
        client.gql(query, json!({ "chunk": chunk, "undo": { "projectId": project.id } })).await.ok();
        let delivery = crate::webhooks::first_delivery(client, &webhook).await;
        let machine = json!({ "name": "A secret machine", "role": "VIEWER" });
        let machine = project.write("createAccessToken", machine, "accessToken { id }").await;
        Self {
            webhook,
            delivery,
            version: text(&made["updateFile"]["file"]["versions"]["nodes"][1]["id"]),
            change: text(&made["updateFile"]["change"]["id"]),
            snapshot: text(&made["createSnapshot"]["snapshot"]["id"]),
            configuration: text(&made["saveAgentConfiguration"]["agentConfiguration"]["id"]),
            streaming,
            token: text(&machine["accessToken"]["id"]),
            user: user_id(email),
            project: project.id,
            session,
            message,
            file,
        }
    }

    /// Ids of no objects.
    fn nowhere() -> Self {
        let id = || NOWHERE.to_owned();
        Self {
            project: id(),
            session: id(),
            message: id(),
            file: id(),
            version: id(),
            change: id(),
            snapshot: id(),
            configuration: id(),
            streaming: id(),
            webhook: id(),
            delivery: id(),
            token: id(),
            user: id(),
        }
    }

    /// For every root field of the schema, a query that would read the project: the arguments and the selection.
    fn queries(&self) -> BTreeMap<&'static str, (String, &'static str)> {
        let Self { project, .. } = self;
        let every = [
            project,
            &self.session,
            &self.message,
            &self.file,
            &self.version,
            &self.change,
            &self.snapshot,
            &self.configuration,
            &self.webhook,
            &self.delivery,
            &self.token,
            &self.user,
        ];
        BTreeMap::from([
            ("viewer", (String::new(), "{ id }")),
            ("node", (format!("(id: \"{project}\")"), "{ id }")),
            ("nodes", (format!("(ids: {})", json!(every)), "{ id }")),
            ("project", (format!("(id: \"{project}\")"), "{ id }")),
            ("projects", (String::new(), "{ totalCount nodes { id } }")),
            ("invitations", (String::new(), "{ totalCount nodes { projectName } }")),
            ("recentActivity", (format!("(projectId: \"{project}\")"), "{ totalCount nodes { excerpt } }")),
            (
                "activitySummary",
                (String::new(), "{ totalProjects totalSessions totalMessages totalFiles totalChanges lastActivityAt }"),
            ),
        ])
    }

    /// For every mutation of the schema, an input that would change the project, and the selection.
    pub(crate) fn changes(&self) -> BTreeMap<&'static str, (Value, &'static str)> {
        let Self { project, session, file, snapshot, configuration, streaming, token, webhook, delivery, user, .. } =
            self;
        let saved = settings("Taken");
        let input = |input: Value| (json!({ "input": input }), "{ revision }");
        BTreeMap::from([
            ("updateProject", input(json!({ "id": project, "name": "Taken" }))),
            ("touchProject", (json!({ "id": project }), "{ revision }")),
            ("deleteProject", (json!({ "id": project }), "{ revision }")),
            ("startSession", input(json!({ "projectId": project }))),
            ("endSession", (json!({ "id": session }), "{ revision }")),
            ("addMessage", input(json!({ "sessionId": session, "role": "USER", "content": "Taken" }))),
            ("startMessage", (json!({ "input": { "sessionId": session, "role": "USER" } }), "{ length }")),
            (
                "appendToMessage",
                (json!({ "input": { "messageId": streaming, "offset": 16, "text": "Taken" } }), "{ length }"),
            ),
            ("finishMessage", input(json!({ "messageId": streaming }))),
            ("discardMessage", (json!({ "input": { "messageId": streaming } }), "{ messageId }")),
            ("createFile", input(json!({ "projectId": project, "path": "new.py" }))),
            ("updateFile", input(json!({ "projectId": project, "path": "secret.py", "content": "taken" }))),
            ("renameFile", input(json!({ "projectId": project, "path": "secret.py", "newPath": "taken.py" }))),
            ("deleteFile", input(json!({ "projectId": project, "path": "secret.py" }))),
            ("revertFile", input(json!({ "fileId": file, "version": 1 }))),
            ("syncFiles", input(json!({ "projectId": project, "files": [{ "path": "a.py", "content": "" }] }))),
            ("createSnapshot", input(json!({ "projectId": project }))),
            ("restoreSnapshot", input(json!({ "snapshotId": snapshot }))),
            ("updateSnapshot", input(json!({ "snapshotId": snapshot, "name": "Taken" }))),
            ("deleteSnapshot", input(json!({ "snapshotId": snapshot }))),
            ("restoreRevision", input(json!({ "projectId": project, "revision": 2 }))),
            ("undo", input(json!({ "projectId": project, "revision": 5 }))),
            ("redo", input(json!({ "projectId": project }))),
            ("inviteCollaborator", input(json!({ "projectId": project, "userId": user, "role": "EDITOR" }))),
            ("inviteByEmail", input(json!({ "projectId": project, "email": "mallory@example.com", "role": "EDITOR" }))),
            ("withdrawEmailInvitation", input(json!({ "projectId": project, "email": "mallory@example.com" }))),
            ("acceptInvitation", (json!({ "projectId": project }), "{ revision }")),
            ("declineInvitation", (json!({ "input": { "projectId": project } }), "{ projectId }")),
            ("changeCollaboratorRole", input(json!({ "projectId": project, "userId": user, "role": "VIEWER" }))),
            ("removeCollaborator", (json!({ "projectId": project, "userId": user }), "{ revision }")),
            ("leaveProject", input(json!({ "projectId": project }))),
            ("transferOwnership", input(json!({ "projectId": project, "userId": user }))),
            ("saveAgentConfiguration", input(tests::project::with(saved, json!({ "projectId": project })))),
            ("setAgentConfigurationActive", input(json!({ "id": configuration, "isActive": false }))),
            ("deleteAgentConfiguration", input(json!({ "id": configuration }))),
            ("restoreAgentConfiguration", input(json!({ "id": configuration, "version": 1 }))),
            ("createWebhook", (json!({ "input": { "projectId": project, "url": HOOK } }), "{ secret }")),
            ("updateWebhook", (json!({ "input": { "webhookId": webhook, "kinds": [] } }), "{ webhook { id } }")),
            ("rotateWebhookSecret", (json!({ "input": { "webhookId": webhook } }), "{ secret }")),
            ("deleteWebhook", (json!({ "input": { "webhookId": webhook } }), "{ deletedWebhookId }")),
            ("redeliver", (json!({ "input": { "deliveryId": delivery } }), "{ delivery { id } }")),
            ("createAccessToken", input(json!({ "projectId": project, "name": "Taken", "role": "EDITOR" }))),
            ("revokeAccessToken", input(json!({ "accessTokenId": token }))),
        ])
    }

    /// For every subscription of the schema, its arguments for the project.
    pub(crate) fn subscriptions(&self) -> BTreeMap<&'static str, String> {
        let Self { project, session, streaming, .. } = self;
        BTreeMap::from([
            ("messageStream", format!("(messageId: \"{streaming}\") {{ text }}")),
            ("streamingMessages", format!("(projectId: \"{project}\") {{ length }}")),
            ("presence", format!("(projectId: \"{project}\") {{ joinedAt }}")),
            ("messageAdded", format!("(sessionId: \"{session}\", afterRevision: 0) {{ id }}")),
            ("codeChanged", format!("(projectId: \"{project}\", afterRevision: 0) {{ revision }}")),
            ("projectEvents", format!("(projectId: \"{project}\", afterRevision: 0) {{ revision }}")),
        ])
    }

    /// An id of every node type.
    pub(crate) fn nodes(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("User", self.user.clone()),
            ("UserPreferences", format!("preferences:{}", self.user)),
            ("Project", self.project.clone()),
            ("ChatSession", self.session.clone()),
            ("ChatMessage", self.message.clone()),
            ("ChatActivity", format!("activity:{}", self.message)),
            ("ProjectFile", self.file.clone()),
            ("FileSnapshot", self.version.clone()),
            ("CodeChange", self.change.clone()),
            ("ProjectSnapshot", self.snapshot.clone()),
            ("AgentConfiguration", self.configuration.clone()),
            ("AgentConfigurationVersion", format!("agent-configuration-version:{}:1", self.configuration)),
            ("ProjectEvent", format!("event:{}:1", self.project)),
            ("StreamingMessage", format!("streaming-message:{}", self.streaming)),
            ("Webhook", self.webhook.clone()),
            ("WebhookDelivery", self.delivery.clone()),
            ("AccessToken", self.token.clone()),
        ])
    }
}

/// Mutations that concern the caller and no project.
const OF_THE_CALLER: [(&str, &str, &str); 3] = [
    ("createProject", "{ \"name\": \"New\", \"initialPrompt\": \"\", \"config\": {} }", "{ revision }"),
    ("updateProfile", "{ \"fullName\": \"New\" }", "{ id }"),
    ("updatePreferences", "{ \"editorTheme\": \"new\" }", "{ updatedAt }"),
];

/// The URL of a webhook that a server refuses to connect to.
const HOOK: &str = "http://localhost:1/";

/// The callers, named after their roles in the project. The machine has an access token as an editor.
const PEOPLE: [&str; 7] = ["anonymous", "stranger", "invited", "viewer", "editor", "owner", "machine"];

/// Mutations of a project that need more, or less, than write access.
const OF_OWNERS: [&str; 9] = [
    "deleteProject",
    "inviteCollaborator",
    "inviteByEmail",
    "withdrawEmailInvitation",
    "changeCollaboratorRole",
    "removeCollaborator",
    "transferOwnership",
    "createWebhook",
    "createAccessToken",
];
/// Mutations of objects that only owners see.
const OF_WEBHOOKS: [&str; 4] = ["updateWebhook", "rotateWebhookSecret", "deleteWebhook", "redeliver"];
/// Nodes that other members do not see.
const NODES_OF_OWNERS: [&str; 4] = ["UserPreferences", "AccessToken", "Webhook", "WebhookDelivery"];
const OF_AUTHORS: [&str; 6] =
    ["addMessage", "endSession", "startMessage", "appendToMessage", "finishMessage", "discardMessage"];
const OF_VIEWERS: [&str; 2] = ["touchProject", "leaveProject"];
/// Mutations after which the others have the same answers in the same project.
const ADDITIONS: [&str; 15] = [
    "appendToMessage",
    "createAccessToken",
    "createFile",
    "createSnapshot",
    "createWebhook",
    "redeliver",
    "restoreAgentConfiguration",
    "rotateWebhookSecret",
    "saveAgentConfiguration",
    "setAgentConfigurationActive",
    "startMessage",
    "touchProject",
    "updateProject",
    "updateSnapshot",
    "updateWebhook",
];

/// The error code that a mutation of a project returns to this caller; empty if it succeeds.
fn expected_code(person: &str, mutation: &str) -> &'static str {
    match person {
        "anonymous" => "UNAUTHENTICATED",
        "invited" if OF_THE_INVITED.contains(&mutation) => "",
        "viewer" | "editor" | "machine" if mutation == "acceptInvitation" => "",
        "viewer" | "editor" | "owner" | "machine" if OF_THE_INVITED.contains(&mutation) => "NOT_FOUND",
        // The tests' inputs name the owner, who is a member already and stays one.
        "owner" if mutation == "withdrawEmailInvitation" => "NOT_FOUND",
        "owner" if mutation == "inviteCollaborator" => "BAD_USER_INPUT",
        "owner" if ["changeCollaboratorRole", "removeCollaborator", "leaveProject"].contains(&mutation) => "CONFLICT",
        "stranger" | "invited" => "NOT_FOUND",
        "viewer" | "editor" | "machine" if OF_WEBHOOKS.contains(&mutation) => "NOT_FOUND",
        // Only the owner sees tokens.
        "viewer" | "editor" | "machine" if mutation == "revokeAccessToken" => "NOT_FOUND",
        "machine" if mutation == "leaveProject" => "FORBIDDEN",
        "viewer" if !OF_VIEWERS.contains(&mutation) => "FORBIDDEN",
        // The session in the tests is the owner's.
        "editor" | "machine" if OF_OWNERS.contains(&mutation) || OF_AUTHORS.contains(&mutation) => "FORBIDDEN",
        _ => "",
    }
}

/// The code of the first error; empty if there is none.
pub(crate) fn code(answer: &Response) -> &str {
    if answer.errors.is_empty() { "" } else { answer.error_code() }
}

/// A project of Ada's with one object of every kind, and a user with this role in it.
async fn project_with(server: &Server, person: &str) -> (Client, Ids) {
    let ada = server.user("ada@example.com");
    let ids = Ids::of(&ada, "ada@example.com").await;
    let email = format!("{person}@example.com");
    let client = match person {
        "anonymous" => server.anonymous(),
        "machine" => {
            let input = json!({ "projectId": ids.project, "name": "A machine", "role": "EDITOR" });
            let made = ada.mutate("createAccessToken", input, "token").await.ok();
            server.anonymous().with_token(Some(text(&made["createAccessToken"]["token"])))
        }
        "owner" => ada,
        _ => server.user(&email),
    };
    if let Some((role, is_accepted)) =
        [("invited", ("editor", false)), ("viewer", ("viewer", true)), ("editor", ("editor", true))]
            .into_iter()
            .find_map(|(name, part)| (name == person).then_some(part))
    {
        client.gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&ids.project, &email, role, is_accepted).await;
    }
    (client, ids)
}

/// Mutations for invited users: they find their invitation in a project that is otherwise not found.
const OF_THE_INVITED: [&str; 2] = ["acceptInvitation", "declineInvitation"];

pub(crate) async fn change(client: &Client, name: &str, variables: &Value, select: &str) -> Response {
    client.gql(&tests::project::mutation(name, variables, select), variables.clone()).await
}

/// The names of the root fields of each kind and of the node types, from the server.
async fn introspect(client: &Client) -> Value {
    let query = "{ __schema { queryType { fields { name } } mutationType { fields { name } } subscriptionType { fields { name } } }
        __type(name: \"Node\") { possibleTypes { name } } }";
    client.gql(query, json!({})).await.ok()
}

fn names(list: &Value) -> BTreeSet<String> {
    each(list, "name").iter().map(text).collect()
}

fn keys<T>(map: &BTreeMap<&'static str, T>) -> BTreeSet<String> {
    map.keys().map(|name| (*name).to_owned()).collect()
}

/// Errors without their locations in the document.
pub(crate) fn errors(answer: &Response) -> Vec<Value> {
    let bare = |error: &Value| json!([error["message"], error["path"], error["extensions"]]);
    answer.errors.iter().map(bare).collect()
}

tests::behind_each_lock! {
    async fn these_tests_cover_every_field_of_the_schema(server: Server) {
        let schema = introspect(&server.user("ada@example.com")).await;
        let ids = Ids::nowhere();
        let mut changes = keys(&ids.changes());
        changes.extend(OF_THE_CALLER.map(|(name, ..)| name.to_owned()));
        assert_eq!(names(&schema["__schema"]["queryType"]["fields"]), keys(&ids.queries()));
        assert_eq!(names(&schema["__schema"]["mutationType"]["fields"]), changes);
        assert_eq!(names(&schema["__schema"]["subscriptionType"]["fields"]), keys(&ids.subscriptions()));
        let mut nodes = keys(&ids.nodes());
        // `nodes.rs` tests the nodes about people other than the owner.
        nodes.extend(["Collaborator", "EmailInvitation", "Invitation", "Presence"].map(str::to_owned));
        assert_eq!(names(&schema["__type"]["possibleTypes"]), nodes);
    }

    async fn every_field_gives_each_role_the_expected_answer(server: Server) {
        let (mut ran, mut wrong) = (0, Vec::new());
        let mut cell = |person: &str, field: &str, found: &str, expected: &str| {
            ran += 1;
            if found != expected {
                wrong.push(format!("{field} as {person}: {found:?} instead of {expected:?}"));
            }
        };
        let mut fields = 0;
        for person in PEOPLE {
            let (client, ids) = project_with(&server, person).await;
            let is_member = ["viewer", "editor", "owner", "machine"].contains(&person);
            let seen = if person == "anonymous" { "UNAUTHENTICATED" } else if is_member { "it" } else { "nothing" };
            fields = 0;

            // Queries, by root field and by id …
            for (name, (arguments, select)) in ids.queries() {
                let answer = client.gql(&format!("{{ {name}{arguments} {select} }}"), json!({})).await;
                let shown = answer.data[name].to_string();
                let found = match code(&answer) {
                    "" if [&ids.project, "A secret message", "A secret name"].iter().any(|told| shown.contains(told)) => "it",
                    // Fields that members and the owner share are not compared further.
                    "" if ["viewer", "activitySummary"].contains(&name) => seen,
                    "" => "nothing",
                    code => code,
                };
                let expected = match (name, person) {
                    ("invitations", "invited") => "it",
                    ("invitations", "viewer" | "editor" | "owner" | "machine") => "nothing",
                    _ => seen,
                };
                cell(person, name, found, expected);
                fields += 1;
            }
            for (name, id) in ids.nodes() {
                let answer = client.gql("query($id: ID!) { node(id: $id) { __typename id } }", json!({ "id": id })).await;
                let found = match code(&answer) {
                    "" if answer.data["node"] == json!({ "__typename": name, "id": id }) => "it",
                    "" if answer.data["node"].is_null() => "nothing",
                    "" => "something else",
                    code => code,
                };
                let is_anothers = NODES_OF_OWNERS.contains(&name) && is_member && person != "owner";
                cell(person, name, found, if is_anothers { "nothing" } else { seen });
                fields += 1;
            }

            // … subscriptions …
            for (name, arguments) in ids.subscriptions() {
                let mut subscription = client.subscribe(&format!("subscription {{ {name}{arguments} }}"), json!({})).await;
                let found = match subscription.next().await {
                    Some(Ok(_)) => "it".to_owned(),
                    Some(Err(errors)) => text(&errors[0]["extensions"]["code"]),
                    None => "an end".to_owned(),
                };
                cell(person, name, &found, if is_member { "it" } else { expected_code(person, name) });
                fields += 1;
            }

            // … and mutations. After one that can change the answers to others, these have a project of their own.
            for (name, input, select) in OF_THE_CALLER {
                let input: Value = serde_json::from_str(input).unwrap();
                let answer = change(&client, name, &json!({ "input": input }), select).await;
                let expected = match person {
                    "anonymous" => "UNAUTHENTICATED",
                    "machine" => "FORBIDDEN",
                    _ => "",
                };
                cell(person, name, code(&answer), expected);
                fields += 1;
            }
            let mut fresh = (client, ids);
            for name in keys(&fresh.1.changes()) {
                let (variables, select) = fresh.1.changes().remove(name.as_str()).unwrap();
                let answer = change(&fresh.0, &name, &variables, select).await;
                let expected = expected_code(person, &name);
                cell(person, &name, code(&answer), expected);
                if expected.is_empty() && !ADDITIONS.contains(&name.as_str()) {
                    fresh = project_with(&server, person).await;
                }
                fields += 1;
            }
        }
        eprintln!("{fields} fields, {} callers: {ran} combinations ran", PEOPLE.len());
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(ran, fields * PEOPLE.len());
    }

    async fn two_projects_with_equal_contents_stay_separate(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let (theirs, own) = (Ids::of(&ada, "ada@example.com").await, Ids::of(&bob, "bob@example.com").await);
        let (project, own_project) = (Project { client: ada.clone(), id: theirs.project.clone() }, Project { client: bob.clone(), id: own.project.clone() });
        let before = project.state().await;

        // Each project stores the same bytes for itself, and the same paths and keys are new to each.
        let blobs = server.database().execute("UPDATE blobs SET depth = depth").await;
        assert_eq!(blobs, 4, "two versions for each of two projects");
        for (session, client) in [(&theirs.session, &ada), (&own.session, &bob)] {
            let input = json!({ "sessionId": session, "role": "USER", "content": format!("By {}", client.base()), "idempotencyKey": "one" });
            let added = client.mutate("addMessage", input, "revision message { session { id } }").await.ok();
            assert_eq!(added["addMessage"]["message"]["session"]["id"], json!(session));
            assert_eq!(added["addMessage"]["revision"], 11);
        }
        let made = own_project.write("createFile", json!({ "path": "new.py", "content": "secret = 1\n" }), "revision").await;
        assert_eq!(made["revision"], 12);

        // Searches, cursors and totals do not reach the other project.
        let found = bob.gql("{ projects(filter: { search: \"secret\" }) { totalCount nodes { id } edges { cursor } } }", json!({})).await.ok();
        assert_eq!(found["projects"]["nodes"], json!([{ "id": own.project }]));
        assert_eq!(found["projects"]["totalCount"], 1);
        let lists = "messages: sessions { edges { cursor } } files { edges { cursor } } changes { edges { cursor } } snapshots { edges { cursor } }";
        let cursors = project.ask(lists).await;
        for (name, list) in [("sessions", "messages"), ("files", "files"), ("changes", "changes"), ("snapshots", "snapshots")] {
            let cursor = &cursors[list]["edges"][0]["cursor"];
            let theirs = own_project.ask(&format!("{name}(after: {cursor}) {{ totalCount nodes {{ project: __typename id }} }}")).await;
            let shown = theirs.to_string();
            for id in [&project.id, &before.to_string()] {
                assert!(!shown.contains(id.as_str()), "{name}: {shown}");
            }
        }
        let mut after = project.state().await;
        assert_eq!(after["revision"], 11);
        for field in ["revision", "updatedAt", "stats", "events", "sessions"] {
            after[field] = before[field].clone();
        }
        assert_eq!(after, before);
    }

    async fn every_field_refuses_callers_without_a_token(server: Server) {
        let ids = Ids::of(&server.user("ada@example.com"), "ada@example.com").await;
        let project = Project { client: server.user("ada@example.com"), id: ids.project.clone() };
        let before = project.state().await;
        let nobody = server.anonymous();
        for (name, (arguments, select)) in ids.queries() {
            let answer = nobody.gql(&format!("{{ {name}{arguments} {select} }}"), json!({})).await;
            assert_eq!((answer.error_code(), answer.errors.len()), ("UNAUTHENTICATED", 1), "{name}: {answer:?}");
            assert!(answer.data.is_null() || answer.data[name].is_null(), "{name}: {answer:?}");
        }
        for (name, input, select) in OF_THE_CALLER {
            let input: Value = serde_json::from_str(input).unwrap();
            let answer = change(&nobody, name, &json!({ "input": input }), select).await;
            assert_eq!(answer.error_code(), "UNAUTHENTICATED", "{name}: {answer:?}");
        }
        for (name, (variables, select)) in ids.changes() {
            let answer = change(&nobody, name, &variables, select).await;
            assert_eq!(answer.error_code(), "UNAUTHENTICATED", "{name}: {answer:?}");
        }
        for (name, arguments) in ids.subscriptions() {
            let mut subscription = nobody.subscribe(&format!("subscription {{ {name}{arguments} }}"), json!({})).await;
            let errors = subscription.next().await.expect("an answer").expect_err("a refusal");
            assert_eq!(errors[0]["extensions"]["code"], "UNAUTHENTICATED", "{name}: {errors:?}");
            assert_eq!(subscription.next().await, None);
        }
        assert_eq!(project.state().await, before);
    }

    async fn a_stranger_cannot_tell_a_project_from_a_missing_one(server: Server) {
        let ada = server.user("ada@example.com");
        let bob = server.user("bob@example.com");
        let theirs = Ids::of(&ada, "ada@example.com").await;
        let nothing = Ids::nowhere();
        let project = Project { client: ada.clone(), id: theirs.project.clone() };
        let before = project.state().await;

        // By query …
        let asked = theirs.queries();
        for (name, (arguments, select)) in nothing.queries() {
            let of_nothing = bob.gql(&format!("{{ {name}{arguments} {select} }}"), json!({})).await;
            let (arguments, select) = &asked[name];
            let of_theirs = bob.gql(&format!("{{ {name}{arguments} {select} }}"), json!({})).await;
            assert_eq!((&of_theirs.data, errors(&of_theirs)), (&of_nothing.data, errors(&of_nothing)), "{name}");
        }
        for (name, id) in theirs.nodes() {
            let node = bob.gql("query($id: ID!) { node(id: $id) { id } }", json!({ "id": id })).await.ok();
            assert_eq!(node, json!({ "node": null }), "{name}");
            let seen = ada.gql("query($id: ID!) { node(id: $id) { __typename id } }", json!({ "id": id })).await.ok();
            assert_eq!(seen["node"], json!({ "__typename": name, "id": id }));
        }

        // … by mutation …
        let sent = nothing.changes();
        for (name, (variables, select)) in theirs.changes() {
            let of_theirs = change(&bob, name, &variables, select).await;
            let of_nothing = change(&bob, name, &sent[name].0, select).await;
            assert_eq!(of_theirs.error_code(), "NOT_FOUND", "{name}");
            assert_eq!((&of_theirs.data, errors(&of_theirs)), (&of_nothing.data, errors(&of_nothing)), "{name}");
        }

        // … by naming its ids in their own project …
        let own = Ids::of(&bob, "bob@example.com").await;
        let own_project = Project { client: bob.clone(), id: own.project.clone() };
        for (field, id) in [("sessionId", &theirs.session), ("messageId", &theirs.message)] {
            for (name, (mut variables, select)) in own.changes() {
                if !["createFile", "updateFile", "renameFile", "deleteFile", "revertFile", "syncFiles", "createSnapshot"].contains(&name) {
                    continue;
                }
                variables["input"][field] = json!(id);
                let of_theirs = change(&bob, name, &variables, select).await;
                variables["input"][field] = json!(NOWHERE);
                let of_nothing = change(&bob, name, &variables, select).await;
                assert_eq!(of_theirs.error_code(), "NOT_FOUND", "{name}");
                assert_eq!(errors(&of_theirs), errors(&of_nothing), "{name}");
            }
        }
        for id in [&theirs.version, &theirs.snapshot, &nothing.version] {
            let answer = bob.mutate("revertFile", json!({ "fileId": own.file, "snapshotId": id }), "revision").await;
            assert_eq!((answer.error_code(), answer.field()), ("NOT_FOUND", "snapshotId"));
        }
        let filters = [("sessionId", &theirs.session), ("messageId", &theirs.message), ("fileId", &theirs.file)];
        for (field, id) in filters {
            let found = own_project.ask(&format!("changes(filter: {{ {field}: \"{id}\" }}) {{ totalCount nodes {{ id }} }}")).await;
            assert_eq!(found["changes"], json!({ "totalCount": 0, "nodes": [] }));
        }

        // … and by subscription.
        let silence = nothing.subscriptions();
        for (name, arguments) in theirs.subscriptions() {
            let mut received = Vec::new();
            for arguments in [&arguments, &silence[name]] {
                let mut subscription = bob.subscribe(&format!("subscription {{ {name}{arguments} }}"), json!({})).await;
                let errors = subscription.next().await.expect("an answer").expect_err("a refusal");
                assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
                assert_eq!(subscription.next().await, None);
                received.push(json!([errors[0]["message"], errors[0]["extensions"]]));
            }
            assert_eq!(received[0], received[1], "{name}");
        }

        // Their lists and totals cover only their own projects.
        let query = "{ projects { totalCount nodes { id } } recentActivity { totalCount nodes { project { id } } }
            activitySummary { totalProjects totalMessages totalFiles } }";
        let seen = bob.gql(query, json!({})).await.ok();
        assert_eq!(seen["projects"], json!({ "totalCount": 1, "nodes": [{ "id": own.project }] }));
        assert_eq!(seen["recentActivity"], json!({ "totalCount": 1, "nodes": [{ "project": { "id": own.project } }] }));
        assert_eq!(seen["activitySummary"], json!({ "totalProjects": 1, "totalMessages": 1, "totalFiles": 1 }));
        assert_eq!(project.state().await, before);
    }

    async fn an_invited_user_is_a_stranger_until_they_accept(server: Server) {
        let ada = server.user("ada@example.com");
        let bob = server.user("bob@example.com");
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let theirs = Ids::of(&ada, "ada@example.com").await;
        server.database().add_collaborator(&theirs.project, "bob@example.com", "editor", false).await;
        for (name, (variables, select)) in theirs.changes() {
            if !OF_THE_INVITED.contains(&name) {
                assert_eq!(change(&bob, name, &variables, select).await.error_code(), "NOT_FOUND", "{name}");
            }
        }
        for (name, id) in theirs.nodes() {
            let node = bob.gql("query($id: ID!) { node(id: $id) { id } }", json!({ "id": id })).await.ok();
            assert_eq!(node, json!({ "node": null }), "{name}");
        }
        let project = Project { client: ada, id: theirs.project };
        let asked = project.ask("collaborators { user { id fullName email } role invitedBy { id } acceptedAt }").await;
        let expected = json!([{ "user": { "id": user_id("bob@example.com"), "fullName": "bob", "email": null }, "role": "EDITOR",
            "invitedBy": { "id": user_id("ada@example.com") }, "acceptedAt": null }]);
        let people: Vec<&Value> =
            asked["collaborators"].as_array().unwrap().iter().filter(|one| one["user"]["fullName"] != "A secret machine").collect();
        assert_eq!(json!(people), expected);
    }

    async fn a_viewer_reads_everything_and_changes_nothing(server: Server) {
        let ada = server.user("ada@example.com");
        let eve = server.user("eve@example.com");
        eve.gql("{ viewer { id } }", json!({})).await.ok();
        let ids = Ids::of(&ada, "ada@example.com").await;
        let project = Project { client: ada.clone(), id: ids.project.clone() };
        server.database().add_collaborator(&ids.project, "eve@example.com", "viewer", true).await;

        // They read …
        let everything = "id name revision status initialPrompt config owner { id fullName }
            stats { totalSessions totalMessages totalFiles totalChanges }
            sessions { totalCount nodes { id author { id } messages { nodes { id content author { id } changes { id } snapshot { id } } } } }
            files(includeDeleted: true) { totalCount nodes { id content versions { nodes { id content diff createdBy { id } } } } }
            changes { totalCount nodes { id diff lineChanges createdBy { id } } }
            snapshots { totalCount nodes { id files { nodes { path } } } }
            events { revision kind actor { id } agentConfigurationVersions { configName } }
            agentConfigurations { id configName llmConfig project { id } updatedBy { id } versions { totalCount nodes { version configName } } }
            emailInvitations { email } collaborators { user { id fullName } role acceptedAt invitedBy { id } } diff(from: 1) { path }";
        let seen = project.of(&eve).ask(everything).await;
        assert_eq!(seen, project.ask(everything).await);
        assert_eq!(seen["events"].as_array().unwrap().len(), 10);
        assert_eq!(project.of(&eve).ask("viewerRole activeSession { id }").await, json!({ "viewerRole": "VIEWER", "activeSession": null }));
        for (name, id) in ids.nodes().into_iter().filter(|(name, _)| !NODES_OF_OWNERS.contains(name)) {
            let node = eve.gql("query($id: ID!) { node(id: $id) { __typename id } }", json!({ "id": id })).await.ok();
            assert_eq!(node["node"], json!({ "__typename": name, "id": id }));
        }
        let query = "{ projects { totalCount } recentActivity { totalCount } activitySummary { totalProjects } }";
        let lists = eve.gql(query, json!({})).await.ok();
        assert_eq!(lists, json!({ "projects": { "totalCount": 1 }, "recentActivity": { "totalCount": 1 }, "activitySummary": { "totalProjects": 0 } }));

        // … and subscribe, and change nothing except that they have opened the project.
        let mut subscription = project.of(&eve).listen(0, "revision").await;
        for revision in 1..=10 {
            assert_eq!(subscription.event().await["projectEvents"]["revision"], revision);
        }
        let before = project.state().await;
        for (name, (variables, select)) in ids.changes() {
            if !["touchProject", "leaveProject", "revokeAccessToken"].contains(&name) && !OF_THE_INVITED.contains(&name) {
                let answer = change(&eve, name, &variables, select).await;
                assert_eq!(answer.error_code(), expected_code("viewer", name), "{name}: {answer:?}");
            }
        }
        assert_eq!(project.state().await, before);
        change(&eve, "touchProject", &ids.changes()["touchProject"].0, "{ revision }").await.ok();

        // Personal data stays private, in both directions.
        let own = "email preferences { editorTheme }";
        for (client, id) in [(&ada, user_id("eve@example.com")), (&eve, user_id("ada@example.com"))] {
            let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on User {{ id {own} }} }} }}");
            let other = client.gql(&query, json!({ "id": id })).await.ok();
            assert_eq!(other["node"], json!({ "id": id, "email": null, "preferences": null }));
        }
        assert_eq!(project.of(&eve).ask(&format!("owner {{ {own} }}")).await["owner"], json!({ "email": null, "preferences": null }));

        // Once removed, they are a stranger, and their subscription ends.
        let id = server.database().uuid(&ids.project);
        server.database().execute(&format!("DELETE FROM project_collaborators WHERE project_id = {id}")).await;
        assert_eq!(project.of(&eve).ask("id").await, Value::Null);
        let errors = subscription.next().await.expect("an end").expect_err("a refusal");
        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
        assert_eq!(subscription.next().await, None);
    }

    async fn an_editor_changes_everything_except_what_is_the_owners(server: Server) {
        let ada = server.user("ada@example.com");
        let bob = server.user("bob@example.com");
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let mut ids = Ids::of(&ada, "ada@example.com").await;
        server.database().add_collaborator(&ids.project, "bob@example.com", "editor", true).await;
        let project = Project { client: ada.clone(), id: ids.project.clone() };

        // Operations of the owner or of an author are refused …
        let before = project.state().await;
        let others = ids.changes();
        for name in ["deleteProject", "addMessage", "endSession", "inviteCollaborator", "inviteByEmail", "withdrawEmailInvitation",
            "changeCollaboratorRole", "removeCollaborator", "transferOwnership", "createAccessToken"] {
            assert_eq!(change(&bob, name, &others[name].0, "{ revision }").await.error_code(), "FORBIDDEN", "{name}");
        }
        let deleted = json!({ "id": ids.project, "status": "DELETED" });
        assert_eq!(bob.mutate("updateProject", deleted, "revision").await.error_code(), "FORBIDDEN");
        for field in [("sessionId", &ids.session), ("messageId", &ids.message)] {
            let input = json!({ "path": "new.py", field.0: field.1 });
            assert_eq!(project.of(&bob).mutate("createFile", input, "revision").await.error_code(), "FORBIDDEN");
        }
        assert_eq!(project.state().await, before);

        // … and all others succeed, in an order in which each finds the objects it needs.
        ids.session = project.of(&bob).start_session().await;
        let changes = ids.changes();
        for name in ["updateProject", "touchProject", "startSession", "createFile", "updateFile", "revertFile", "renameFile",
            "restoreRevision", "createSnapshot", "restoreSnapshot", "updateSnapshot", "deleteSnapshot", "deleteFile", "syncFiles", "saveAgentConfiguration",
            "setAgentConfigurationActive", "restoreAgentConfiguration", "deleteAgentConfiguration"] {
            let (variables, select) = &changes[name];
            change(&bob, name, variables, select).await.data().unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
        ids.session = project.of(&bob).start_session().await;
        for name in ["addMessage", "endSession"] {
            change(&bob, name, &ids.changes()[name].0, "{ revision }").await.ok();
        }

        // Each user has a session of their own, with their name on it.
        assert_eq!(project.ask("activeSession { author { id } } ").await["activeSession"]["author"]["id"], user_id("ada@example.com"));
        let newest = project.ask("events(afterRevision: 11, first: 1) { actor { id fullName email } }").await;
        assert_eq!(newest["events"][0]["actor"], json!({ "id": user_id("bob@example.com"), "fullName": "bob", "email": null }));

        // Only the owner can restore a deleted project.
        ada.mutate_id("deleteProject", &ids.project, "revision").await.ok();
        let back = json!({ "id": ids.project, "status": "ACTIVE" });
        assert_eq!(bob.mutate("updateProject", back.clone(), "revision").await.error_code(), "FORBIDDEN");
        ada.mutate("updateProject", back, "revision").await.ok();
    }
}
