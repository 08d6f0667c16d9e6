//! A project in tests: the most frequent requests, without the parts that they have in common.

use serde_json::{Value, json};

use crate::{
    client::{Client, Response},
    socket::Subscription,
};

/// A project, and the client that works in it.
#[derive(Clone)]
pub struct Project {
    /// The client.
    pub client: Client,
    /// The project's id.
    pub id: String,
}

/// All fields of a project that a write can change.
const STATE: &str = "revision name description initialPrompt config status updatedAt lastAccessedAt
    stats { totalSessions totalMessages totalFiles totalChanges latestSessionAt lastActivityAt }
    events(first: 500) { revision kind }
    sessions(first: 100) { nodes { id isActive messageCount } }
    files(includeDeleted: true, first: 500) { nodes { id path version hash isDeleted language updatedAt } }
    snapshots(first: 100) { nodes { id revision name fileCount } }
    collaborators { user { id } role acceptedAt } emailInvitations { email role }
    agentConfigurations(includeDeleted: true) { id version configName isActive isDeleted }";

/// The required fields of an agent configuration, with that name.
pub fn settings(name: &str) -> Value {
    json!({ "configName": name, "sttProvider": "deepgram", "sttModel": "nova-2", "ttsProvider": "elevenlabs", "ttsModel": "turbo",
        "llmProvider": "openai", "llmModel": "gpt-4", "agentInstructions": "Be kind." })
}

/// An object with more members, or other values.
pub fn with(mut object: Value, more: Value) -> Value {
    for (name, value) in more.as_object().expect("an object") {
        object[name] = value.clone();
    }
    object
}

/// How many mutations a server accepts in one operation by default.
const MAX_ROOT_FIELDS: usize = 30;

/// Mutations of a few ids that take them in an `input`, as all do except those that the contract defines otherwise.
const OF_INPUTS: [&str; 6] = [
    "withdrawEmailInvitation",
    "declineInvitation",
    "leaveProject",
    "transferOwnership",
    "discardMessage",
    "revokeAccessToken",
];

/// A mutation with one `input`, whose type is named after the mutation (two mutations share one type), or with ids and
/// an address.
pub fn mutation(name: &str, variables: &Value, select: &str) -> String {
    let argument = |argument: &String| match (argument.as_str(), name) {
        ("input", "changeCollaboratorRole") => "InviteCollaboratorInput!".to_owned(),
        ("input", _) => format!("{}{}Input!", name[..1].to_uppercase(), &name[1..]),
        ("email", _) => "String!".to_owned(),
        _ => "ID!".to_owned(),
    };
    let names: Vec<&String> = variables.as_object().expect("an object").keys().collect();
    let declared: Vec<_> = names.iter().map(|name| format!("${name}: {}", argument(name))).collect();
    let passed: Vec<_> = names.iter().map(|name| format!("{name}: ${name}")).collect();
    format!("mutation({}) {{ {name}({}) {select} }}", declared.join(", "), passed.join(", "))
}

impl Client {
    /// A mutation that takes one `input`, whose type is named after the mutation.
    pub async fn mutate(&self, name: &str, input: Value, select: &str) -> Response {
        self.mutate_with(name, json!({ "input": input }), select).await
    }

    /// A mutation with these arguments, or these fields of its `input`.
    pub async fn mutate_with(&self, name: &str, variables: Value, select: &str) -> Response {
        let variables = if OF_INPUTS.contains(&name) { json!({ "input": variables }) } else { variables };
        self.gql(&mutation(name, &variables, &format!("{{ {select} }}")), variables).await
    }

    /// Mutations of one kind that must succeed, in order, and each with an `input`: in few requests, since a request takes
    /// much longer than a small write. Returns their payloads.
    pub async fn mutate_all(&self, name: &str, inputs: &[Value], select: &str) -> Vec<Value> {
        let kind = format!("{}{}Input!", name[..1].to_uppercase(), &name[1..]);
        let mut payloads = Vec::new();
        for part in inputs.chunks(MAX_ROOT_FIELDS) {
            let (mut declared, mut fields) = (String::new(), String::new());
            for n in 0..part.len() {
                declared.push_str(&format!("$v{n}: {kind} "));
                fields.push_str(&format!("v{n}: {name}(input: $v{n}) {{ {select} }} "));
            }
            let variables: Value = part.iter().enumerate().map(|(n, input)| (format!("v{n}"), input.clone())).collect();
            let mut data = self.gql(&format!("mutation({declared}) {{ {fields} }}"), variables).await.ok();
            payloads.extend((0..part.len()).map(|n| data[format!("v{n}").as_str()].take()));
        }
        payloads
    }

    /// A mutation that takes one `id`.
    pub async fn mutate_id(&self, name: &str, id: &str, select: &str) -> Response {
        let query = format!("mutation($id: ID!) {{ {name}(id: $id) {{ {select} }} }}");
        self.gql(&query, json!({ "id": id })).await
    }
}

impl Project {
    /// Creates a project of the client.
    pub async fn create(client: &Client, name: &str) -> Self {
        let input = json!({ "name": name, "initialPrompt": "You are a helpful assistant.", "config": {} });
        let data = client.mutate("createProject", input, "project { id }").await.ok();
        Self { client: client.clone(), id: text(&data["createProject"]["project"]["id"]) }
    }

    /// The same project with another client.
    pub fn of(&self, client: &Client) -> Self {
        Self { client: client.clone(), id: self.id.clone() }
    }

    /// A mutation whose input names the project; `input` contains the other fields.
    pub async fn mutate(&self, name: &str, mut input: Value, select: &str) -> Response {
        if input.get("projectId").is_none() {
            input["projectId"] = json!(self.id);
        }
        self.client.mutate(name, input, select).await
    }

    /// The payload of a mutation that must succeed.
    #[track_caller]
    pub fn write(&self, name: &str, input: Value, select: &str) -> impl Future<Output = Value> + Send {
        let (project, name, select) = (self.clone(), name.to_owned(), select.to_owned());
        let caller = std::panic::Location::caller();
        async move {
            let answer = project.mutate(&name, input.clone(), &select).await;
            let mut data = answer.data().unwrap_or_else(|error| panic!("{caller}: {name} {input}: {error:#}"));
            data[name.as_str()].take()
        }
    }

    /// Creates a file with that text; returns its id.
    pub async fn create_file(&self, path: &str, content: &str) -> String {
        let made = self.write("createFile", json!({ "path": path, "content": content }), "file { id }").await;
        text(&made["file"]["id"])
    }

    /// Changes a file's text; returns the revision.
    pub async fn update_file(&self, path: &str, content: &str) -> i64 {
        number(&self.write("updateFile", json!({ "path": path, "content": content }), "revision").await["revision"])
    }

    /// Starts a session; returns its id.
    pub async fn start_session(&self) -> String {
        text(&self.write("startSession", json!({}), "session { id }").await["session"]["id"])
    }

    /// Adds a message of the assistant; returns its id.
    pub async fn add_message(&self, session: &str, content: &str, is_checkpoint: bool) -> String {
        let input =
            json!({ "sessionId": session, "role": "ASSISTANT", "content": content, "isCheckpoint": is_checkpoint });
        let added = self.client.mutate("addMessage", input, "message { id }").await.ok();
        text(&added["addMessage"]["message"]["id"])
    }

    /// Creates files with that text, in few requests.
    pub async fn create_files(&self, paths: impl IntoIterator<Item = String>, content: &str) {
        let input = |path: String| json!({ "projectId": self.id, "path": path, "content": content });
        let inputs: Vec<Value> = paths.into_iter().map(input).collect();
        self.client.mutate_all("createFile", &inputs, "revision").await;
    }

    /// Adds messages of the assistant, in few requests. `is_checkpoint` decides by their place.
    pub async fn add_messages(&self, session: &str, count: usize, is_checkpoint: impl Fn(usize) -> bool) {
        let input = |n: usize| {
            let (content, is_checkpoint) = (n.to_string(), is_checkpoint(n));
            json!({ "sessionId": session, "role": "ASSISTANT", "content": content, "isCheckpoint": is_checkpoint })
        };
        let inputs: Vec<Value> = (0..count).map(input).collect();
        self.client.mutate_all("addMessage", &inputs, "revision").await;
    }

    /// Reads fields of the project; null if the client has no access.
    pub async fn ask(&self, select: &str) -> Value {
        let query = format!("query($id: ID!) {{ project(id: $id) {{ {select} }} }}");
        self.client.gql(&query, json!({ "id": self.id })).await.ok()["project"].take()
    }

    /// The newest revision.
    pub async fn revision(&self) -> i64 {
        number(&self.ask("revision").await["revision"])
    }

    /// Everything that a write can change: if it is equal before and after, nothing was written.
    pub async fn state(&self) -> Value {
        self.ask(STATE).await
    }

    /// Path and text of every live file.
    pub async fn contents(&self) -> Vec<(String, String)> {
        let files = self.ask("files(first: 500) { nodes { path content } }").await;
        let files = files["files"]["nodes"].as_array().cloned().unwrap_or_default();
        files.iter().map(|file| (text(&file["path"]), file["content"].as_str().unwrap_or("-").to_owned())).collect()
    }

    /// Subscribes to everything in the project.
    pub async fn listen(&self, after: i64, select: &str) -> Subscription {
        let query = format!(
            "subscription($id: ID!, $after: Int) {{ projectEvents(projectId: $id, afterRevision: $after) {{ {select} }} }}"
        );
        self.client.subscribe(&query, json!({ "id": self.id, "after": after })).await
    }
}

/// A JSON string's text.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text, but {value}")).to_owned()
}

/// The response to a read at a past revision, with the ids of the present. Ids of the past contain their revision, and
/// for a file or folder possibly its path.
#[track_caller]
pub fn without_moment(read: &Value, revision: i64) -> Value {
    let text = read.to_string();
    let plain = ["\"", "/"].iter().fold(text, |text, end| text.replace(&format!("@{revision}{end}"), end));
    serde_json::from_str(&plain).expect("JSON")
}

/// A JSON number.
#[track_caller]
pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no number, but {value}"))
}

/// The values at a key of every object in a JSON list.
#[track_caller]
pub fn each(list: &Value, key: &str) -> Vec<Value> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list, but {list}"));
    list.iter().map(|item| item[key].clone()).collect()
}
