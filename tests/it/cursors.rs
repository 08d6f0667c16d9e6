//! Given a cursor of a list, when it is passed to a list of another kind, then it is refused, even if both lists sort
//! by keys of the same kinds.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tests::{
    client::Client,
    project::{Project, settings, text},
    server::{Server, user_id},
};

/// A list: its kind, the query with `ARGUMENTS`, and the pointer to the cursor of its first row.
struct List {
    kind: &'static str,
    query: String,
    pointer: String,
}

impl List {
    async fn read(&self, client: &Client, arguments: &str) -> tests::client::Response {
        client.gql(&self.query.replace("ARGUMENTS", arguments), json!({})).await
    }

    /// Whether the list has pages in both directions.
    fn is_connection(&self) -> bool {
        self.pointer.contains("/edges/")
    }
}

/// All lists with cursors, each with at least one row.
async fn lists(server: &Server, ada: &Client) -> Vec<List> {
    let project = Project::create(ada, "Listed").await;
    let session = project.start_session().await;
    let file = project.create_file("a.py", "1").await;
    project.add_message(&session, "Hello", true).await;
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

    let mut lists = Vec::new();
    for (kind, around, name) in [
        ("projects", "", "projects(ARGUMENTS)"),
        ("projects by name", "", "projects(orderBy: { field: NAME }, ARGUMENTS)"),
        ("recentActivity", "", "recentActivity(ARGUMENTS)"),
        ("invitations", "", "invitations(ARGUMENTS)"),
        ("files", "project", "files(ARGUMENTS)"),
        ("files", "ProjectSnapshot", "files(ARGUMENTS)"),
        ("children", "project", "children(ARGUMENTS)"),
        ("changes", "project", "changes(ARGUMENTS)"),
        ("snapshots", "project", "snapshots(ARGUMENTS)"),
        ("sessions", "project", "sessions(ARGUMENTS)"),
        ("messages", "ChatSession", "messages(ARGUMENTS)"),
        ("versions", "ProjectFile", "versions(ARGUMENTS)"),
        ("configuration versions", "AgentConfiguration", "versions(ARGUMENTS)"),
        ("collaborators", "project", "collaborators(ARGUMENTS)"),
        ("emailInvitations", "project", "emailInvitations(ARGUMENTS)"),
        ("accessTokens", "project", "accessTokens(ARGUMENTS)"),
        ("diff", "project", "diff(from: 1, ARGUMENTS)"),
    ] {
        let is_connection =
            !["collaborators", "emailInvitations", "accessTokens", "diff"].contains(&name.split('(').next().unwrap());
        let select = if is_connection { "edges { cursor }" } else { "cursor" };
        let list = format!("list: {name} {{ {select} }}");
        let end = if is_connection { "list/edges/0/cursor" } else { "list/0/cursor" };
        let node = |id: &str| format!("{{ around: node(id: \"{id}\") {{ ... on {around} {{ {list} }} }} }}");
        let query = match around {
            "" => format!("{{ {list} }}"),
            "project" => format!("{{ around: project(id: \"{}\") {{ {list} }} }}", project.id),
            "ProjectSnapshot" => node(&snapshot),
            "ChatSession" => node(&session),
            "ProjectFile" => node(&file),
            _ => node(&configuration),
        };
        let pointer = if around.is_empty() { format!("/{end}") } else { format!("/around/{end}") };
        lists.push(List { kind, query, pointer });
    }
    lists
}

fn refused(answer: &tests::client::Response, field: &str, what: &str) {
    assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{what}");
}

tests::on_both! {
    async fn a_list_refuses_the_cursors_of_all_others(server: Server) {
        let ada = server.user("ada@example.com");
        let lists = lists(&server, &ada).await;
        let mut cursors = Vec::new();
        for list in &lists {
            let data = list.read(&ada, "first: 1").await.ok();
            cursors.push(text(data.pointer(&list.pointer).unwrap_or_else(|| panic!("{}: {data}", list.kind))));
        }
        for list in &lists {
            for (other, cursor) in lists.iter().zip(&cursors) {
                let arguments = |name: &str| format!("{name}: {}", json!(cursor));
                let after = list.read(&ada, &arguments("after")).await;
                let what = format!("{} takes a cursor of {}", list.kind, other.kind);
                if other.kind == list.kind {
                    after.ok();
                    continue;
                }
                refused(&after, "after", &what);
                if list.is_connection() {
                    refused(&list.read(&ada, &arguments("last: 1, before")).await, "before", &what);
                }
            }
        }
    }

    async fn cursors_without_a_name_are_still_accepted(server: Server) {
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
                refused(&list.read(&ada, &nameless(&keys)).await, "after", list.kind);
            }
        }
    }
}
