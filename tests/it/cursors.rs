//! Given a cursor of a list, when it is passed to a list of another kind or in another order, then it is refused, even if
//! both lists sort by keys of the same kinds.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::Database,
    project::{Project, settings, text},
    receiver::Receiver,
    server::{Server, user_id},
};

use crate::webhooks::{LOCAL, first_delivery, hook};

/// A list: its kind, its field, the query with `ARGUMENTS`, and the pointer to the cursor of its first row.
struct List {
    kind: String,
    field: String,
    query: String,
    pointer: String,
}

impl List {
    async fn read(&self, client: &Client, arguments: &str) -> tests::client::Response {
        client.gql(&self.query.replace("ARGUMENTS", arguments), json!({})).await
    }

    /// Reads the rows before or after a cursor, which is in a variable: the server parses one document for all cursors.
    async fn read_around(&self, client: &Client, arguments: &str, cursor: &str) -> tests::client::Response {
        let is_id = ["collaborators", "emailInvitations", "accessTokens"].contains(&self.kind.as_str());
        let of = if is_id { "ID" } else { "String" };
        let query = format!("query($cursor: {of}!) {}", self.query.replace("ARGUMENTS", arguments));
        client.gql(&query, json!({ "cursor": cursor })).await
    }

    /// Whether the list has pages in both directions.
    fn is_connection(&self) -> bool {
        self.pointer.contains("/edges/")
    }
}

/// Lists: their kind, the type of the object that has them, and the field.
const LISTS: [(&str, &str, &str); 17] = [
    ("recentActivity", "Query", "recentActivity(ARGUMENTS)"),
    ("invitations", "Query", "invitations(ARGUMENTS)"),
    ("files", "Project", "files(ARGUMENTS)"),
    ("files", "ProjectSnapshot", "files(ARGUMENTS)"),
    ("children", "Project", "children(ARGUMENTS)"),
    ("changes", "Project", "changes(ARGUMENTS)"),
    ("snapshots", "Project", "snapshots(ARGUMENTS)"),
    ("sessions", "Project", "sessions(ARGUMENTS)"),
    ("messages", "ChatSession", "messages(ARGUMENTS)"),
    ("versions", "ProjectFile", "versions(ARGUMENTS)"),
    ("configuration versions", "AgentConfiguration", "versions(ARGUMENTS)"),
    ("deliveries", "Webhook", "deliveries(ARGUMENTS)"),
    ("collaborators", "Project", "collaborators(ARGUMENTS)"),
    ("emailInvitations", "Project", "emailInvitations(ARGUMENTS)"),
    ("accessTokens", "Project", "accessTokens(ARGUMENTS)"),
    ("diff", "Project", "diff(from: 1, ARGUMENTS)"),
    ("diff", "ProjectSnapshot", "diff(ARGUMENTS)"),
];

/// Lists with the same rows and cursors as one of [`LISTS`], on an object without an id.
const SAME: [&str; 1] = ["RestorePreview.diff"];

/// The orders of `projects`, and the default one.
fn orders() -> Vec<(String, String)> {
    let fields = ["NAME", "CREATED_AT", "UPDATED_AT", "LAST_ACCESSED_AT", "LAST_ACTIVITY_AT"];
    let of = |field: &str, direction: &str| {
        (
            format!("projects by {field} {direction}"),
            format!("projects(orderBy: {{ field: {field}, direction: {direction} }}, ARGUMENTS)"),
        )
    };
    let mut orders: Vec<_> =
        fields.iter().flat_map(|field| ["ASC", "DESC"].map(|direction| of(field, direction))).collect();
    orders.push(("projects by UPDATED_AT DESC".to_owned(), "projects(ARGUMENTS)".to_owned()));
    orders.push(("projects by NAME DESC".to_owned(), "projects(orderBy: { field: NAME }, ARGUMENTS)".to_owned()));
    orders
}

/// All lists with cursors, each with at least one row.
async fn lists(server: &Server, ada: &Client) -> Vec<List> {
    let project = Project::create(ada, "Listed").await;
    let session = project.start_session().await;
    let file = project.create_file("a.py", "1").await;
    let receiver = Receiver::start().await;
    let webhook = hook(&project, &receiver.url()).await;
    project.add_message(&session, "Hello", true).await;
    first_delivery(ada, &webhook).await;
    let saved = project.write("saveAgentConfiguration", settings("Agent"), "agentConfiguration { id }").await;
    let configuration = text(&saved["agentConfiguration"]["id"]);
    let bob = server.user("bob@example.com");
    bob.gql("{ viewer { id } }", json!({})).await.ok();
    let invited = json!({ "userId": user_id("bob@example.com"), "role": "EDITOR" });
    project.write("inviteCollaborator", invited, "revision").await;
    project.write("inviteByEmail", json!({ "email": "eve@example.com", "role": "EDITOR" }), "revision").await;
    let machine = json!({ "name": "Machine", "role": "EDITOR" });
    project.write("createAccessToken", machine, "accessToken { id }").await;
    let other = Project::create(&bob, "Other").await;
    let invited = json!({ "userId": user_id("ada@example.com"), "role": "EDITOR" });
    other.write("inviteCollaborator", invited, "revision").await;
    let snapshot = text(&project.ask("snapshots { nodes { id } }").await["snapshots"]["nodes"][0]["id"]);
    project.create_file("b.py", "2").await;

    let mut lists = Vec::new();
    let orders = orders();
    let of_projects = orders.iter().map(|(kind, field)| (kind.as_str(), "Query", field.as_str()));
    for (kind, around, field) in of_projects.chain(LISTS) {
        let name = field.split('(').next().unwrap();
        let is_connection = !["collaborators", "emailInvitations", "accessTokens", "diff"].contains(&name);
        let select = if is_connection { "edges { cursor }" } else { "cursor" };
        let list = format!("list: {field} {{ {select} }}");
        let end = if is_connection { "list/edges/0/cursor" } else { "list/0/cursor" };
        let node = |id: &str| format!("{{ around: node(id: \"{id}\") {{ ... on {around} {{ {list} }} }} }}");
        let query = match around {
            "Query" => format!("{{ {list} }}"),
            "Project" => format!("{{ around: project(id: \"{}\") {{ {list} }} }}", project.id),
            "ProjectSnapshot" => node(&snapshot),
            "ChatSession" => node(&session),
            "ProjectFile" => node(&file),
            "Webhook" => node(&webhook),
            _ => node(&configuration),
        };
        let pointer = if around == "Query" { format!("/{end}") } else { format!("/around/{end}") };
        lists.push(List { kind: kind.to_owned(), field: format!("{around}.{name}"), query, pointer });
    }
    lists
}

/// The fields of the schema whose rows have cursors.
async fn lists_of_schema(client: &Client) -> BTreeSet<String> {
    let wrapped = "name kind ofType { name kind ofType { name kind ofType { name kind } } }";
    let query = format!("{{ __schema {{ types {{ name fields {{ name args {{ name }} type {{ {wrapped} }} }} }} }} }}");
    let types = client.gql(&query, json!({})).await.ok()["__schema"]["types"].take();
    let types = types.as_array().unwrap();
    let fields = |of: &Value| of["fields"].as_array().cloned().unwrap_or_default();
    let has_cursor = |name: &Value| {
        let found = types.iter().find(|of| of["name"] == *name).unwrap();
        fields(found).iter().any(|field| field["name"] == "cursor")
    };
    let mut lists = BTreeSet::new();
    for of in types {
        for field in fields(of) {
            let mut returned = &field["type"];
            while !returned["ofType"].is_null() {
                returned = &returned["ofType"];
            }
            let is_list = field["args"].as_array().unwrap().iter().any(|argument| argument["name"] == "after");
            if is_list && (text(&returned["name"]).ends_with("Connection") || has_cursor(&returned["name"])) {
                lists.insert(format!("{}.{}", text(&of["name"]), text(&field["name"])));
            }
        }
    }
    lists
}

fn refused(answer: &tests::client::Response, field: &str, what: &str) {
    assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{what}");
}

tests::on_both! {
    async fn a_list_refuses_the_cursors_of_all_others(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let ada = server.user("ada@example.com");
        let lists = lists(&server, &ada).await;
        let tried: BTreeSet<String> = lists.iter().map(|list| list.field.clone()).chain(SAME.map(str::to_owned)).collect();
        assert_eq!(tried, lists_of_schema(&ada).await);
        let mut cursors = Vec::new();
        for list in &lists {
            let data = list.read(&ada, "first: 1").await.ok();
            cursors.push(text(data.pointer(&list.pointer).unwrap_or_else(|| panic!("{}: {data}", list.kind))));
        }
        for list in &lists {
            for (other, cursor) in lists.iter().zip(&cursors) {
                let after = list.read_around(&ada, "after: $cursor", cursor).await;
                let what = format!("{} takes a cursor of {}", list.kind, other.kind);
                if other.kind == list.kind {
                    after.ok();
                    continue;
                }
                refused(&after, "after", &what);
                if list.is_connection() {
                    refused(&list.read_around(&ada, "last: 1, before: $cursor", cursor).await, "before", &what);
                }
            }
        }
        server.stop().await;
    }

    async fn cursors_without_a_name_are_still_accepted(database: Database) {
        let server = Server::start_with(&database, &LOCAL).await;
        let ada = server.user("ada@example.com");
        let lists = lists(&server, &ada).await;
        for list in lists.iter().filter(|list| list.kind != "diff") {
            let data = list.read(&ada, "first: 1").await.ok();
            let cursor = URL_SAFE_NO_PAD.decode(text(data.pointer(&list.pointer).unwrap())).unwrap();
            let [_, keys]: [Value; 2] = serde_json::from_slice(&cursor).unwrap();
            let nameless = |keys: &Value| format!("after: \"{}\"", URL_SAFE_NO_PAD.encode(keys.to_string()));
            list.read(&ada, &nameless(&keys)).await.ok();
            // Their keys must be of the kinds of the list.
            for keys in [json!([]), json!([{ "n": 1 }, { "n": 1 }]), json!([{ "s": "a" }, { "s": "a" }])] {
                refused(&list.read(&ada, &nameless(&keys)).await, "after", &list.kind);
            }
        }
        server.stop().await;
    }

    async fn a_cursor_continues_a_list_with_another_filter(server: Server) {
        let ada = server.user("ada@example.com");
        for name in ["a1", "b", "a2"] {
            Project::create(&ada, name).await;
        }
        let page = async |arguments: &str| {
            let query = format!("{{ projects(orderBy: {{ field: NAME, direction: ASC }}, {arguments}) {{ nodes {{ name }} edges {{ cursor }} }} }}");
            ada.gql(&query, json!({})).await.ok()["projects"].take()
        };
        let first = page("first: 1").await;
        let rest = page(&format!("filter: {{ search: \"a\" }}, after: {}", first["edges"][0]["cursor"])).await;
        assert_eq!(rest["nodes"], json!([{ "name": "a2" }]));
    }
}
