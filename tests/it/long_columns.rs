//! Given rows with long texts, when an operation does not select the texts, then they are neither loaded nor counted
//! against its budget.

use serde_json::{Value, json};
use tests::{
    client::Client,
    database::Database,
    mcp::Agent,
    project::{Project, number, settings, text, with},
    server::Server,
};

/// Bytes of an operation. Every text of this test is longer.
const BUDGET: usize = 50_000;

fn long(start: &str) -> String {
    format!("{start} {}", "x".repeat(BUDGET))
}

async fn read(client: &Client, query: &str) -> Result<Value, Value> {
    let answer = client.gql(query, json!({})).await;
    match answer.errors.is_empty() {
        true => Ok(answer.data),
        false => Err(answer.errors[0]["extensions"]["code"].clone()),
    }
}

/// Ids of rows with long texts.
struct Rows {
    project: String,
    session: String,
    message: String,
    streaming: String,
    snapshot: String,
    file: String,
    version: String,
    change: String,
    configuration: String,
    revision: i64,
}

async fn write_rows(project: &Project) -> Rows {
    let (ada, json) = (&project.client, || json!({ "text": long("json") }));
    let session = project.write("startSession", json!({ "metadata": json() }), "session { id }").await;
    let session = text(&session["session"]["id"]);
    let message = json!({ "sessionId": session, "role": "USER", "content": long("Hello"), "contextData": json(), "metadata": json() });
    let message = ada.mutate("addMessage", message, "message { id }").await.ok();
    let streaming = json!({ "sessionId": session, "role": "ASSISTANT", "contextData": json(), "metadata": json() });
    let streaming = ada.mutate("startMessage", streaming, "messageId").await.ok();
    project.create_file("a", "1").await;
    let change = json!({ "path": "a", "content": "2", "changeDescription": long("change") });
    let change = project.write("updateFile", change, "file { id versions(first: 1) { nodes { id } } }").await;
    let changes = project.ask("changes(first: 1) { nodes { id } }").await;
    let named = json!({ "name": "named", "description": long("snapshot") });
    let snapshot = project.write("createSnapshot", named, "snapshot { id }").await;
    let lists = ["functionCalls", "toolIntegrations", "requiredEnvVars", "dependencies", "sourceFiles"];
    let objects = ["sttConfig", "ttsConfig", "llmConfig", "vadConfig", "turnDetectionConfig", "agentPersonality"];
    let mut saved =
        with(settings("long"), json!({ "description": long("agent"), "agentInstructions": long("Be kind.") }));
    for (names, value) in [(&lists[..], json!([long("list")])), (&objects, json())] {
        for name in names {
            saved[*name] = value.clone();
        }
    }
    let saved = project.write("saveAgentConfiguration", saved, "agentConfiguration { id }").await;
    let texts =
        json!({ "id": project.id, "description": long("project"), "initialPrompt": long("prompt"), "config": json() });
    ada.mutate("updateProject", texts, "revision").await.ok();
    ada.mutate("updateProject", json!({ "id": project.id, "name": "Renamed" }), "revision").await.ok();
    ada.mutate("updateProfile", json!({ "avatarUrl": long("data:") }), "id").await.ok();
    let preferences = json!({ "notificationPreferences": json(), "uiPreferences": json() });
    ada.mutate("updatePreferences", preferences, "id").await.ok();
    Rows {
        project: project.id.clone(),
        message: text(&message["addMessage"]["message"]["id"]),
        streaming: text(&streaming["startMessage"]["messageId"]),
        session,
        snapshot: text(&snapshot["snapshot"]["id"]),
        file: text(&change["file"]["id"]),
        version: text(&change["file"]["versions"]["nodes"][0]["id"]),
        change: text(&changes["changes"]["nodes"][0]["id"]),
        configuration: text(&saved["agentConfiguration"]["id"]),
        revision: project.revision().await,
    }
}

const AGENT: &[&str] = &[
    "description",
    "sttConfig",
    "ttsConfig",
    "llmConfig",
    "vadConfig",
    "turnDetectionConfig",
    "functionCalls",
    "toolIntegrations",
    "agentInstructions",
    "agentPersonality",
    "requiredEnvVars",
    "dependencies",
    "sourceFiles",
];
const MESSAGE: &[&str] = &["content", "contextData", "metadata"];
const PROJECT: &[&str] = &["description", "initialPrompt", "config"];
const CHANGE: &[&str] = &["changeDescription"];

/// The queries that read rows, with `FIELDS` for the fields of a row, and the long fields of the row.
fn queries(rows: &Rows) -> Vec<(String, &'static [&'static str])> {
    let Rows { project, session, message, streaming, snapshot, file, version, change, configuration, revision } = rows;
    let last = revision - 1;
    let mut queries: Vec<(String, &[&str])> = Vec::new();
    let mut add = |query: String, long: &'static [&'static str]| queries.push((query, long));
    for (id, r#type, long) in [
        (project, "Project", PROJECT),
        (session, "ChatSession", &["metadata"][..]),
        (message, "ChatMessage", MESSAGE),
        (configuration, "AgentConfiguration", AGENT),
        (snapshot, "ProjectSnapshot", &["description"]),
        (version, "FileSnapshot", CHANGE),
        (change, "CodeChange", CHANGE),
    ] {
        add(format!("{{ node(id: \"{id}\") {{ id ... on {type} {{ FIELDS }} }} }}"), long);
        add(format!("{{ nodes(ids: [\"{id}\"]) {{ ... on Node {{ ... on {type} {{ FIELDS }} }} }} }}"), long);
        if !["ProjectSnapshot", "FileSnapshot", "CodeChange"].contains(&r#type) {
            add(format!("{{ node(id: \"{id}@{last}\") {{ ...row }} }} fragment row on {type} {{ FIELDS }}"), long);
            add(format!("{{ node(id: \"{id}@{last}\") {{ ... on {type} {{ present {{ FIELDS }} }} }} }}"), long);
        }
    }
    let of_project = |select: &str| format!("{{ project(id: \"{project}\") {{ {select} }} }}");
    let in_past = |select: &str| format!("{{ project(id: \"{project}\", at: {{ revision: {last} }}) {{ {select} }} }}");
    for list in ["projects { nodes { FIELDS } }", "projects(last: 5) { edges { node { FIELDS } } }"] {
        add(format!("{{ {list} }}"), PROJECT);
    }
    add(in_past("FIELDS"), PROJECT);
    add(of_project("files { nodes { project { FIELDS } } }"), PROJECT);
    for of in [&of_project, &in_past] as [&dyn Fn(&str) -> String; 2] {
        add(of("sessions { nodes { FIELDS } }"), &["metadata"]);
        add(of("activeSession { FIELDS }"), &["metadata"]);
        add(of("sessions { nodes { messages { nodes { FIELDS } } } }"), MESSAGE);
        add(of("agentConfigurations { FIELDS }"), AGENT);
        add(of("activeAgentConfiguration { FIELDS }"), AGENT);
        add(of("agentConfigurations { versions { nodes { FIELDS } } }"), AGENT);
        add(of("changes(first: 1) { nodes { FIELDS } }"), CHANGE);
        add(of("snapshots { nodes { FIELDS } }"), &["description"]);
        add(of("events { message { FIELDS } }"), MESSAGE);
        add(of("events { session { FIELDS } }"), &["metadata"]);
        add(of("events { snapshot { FIELDS } }"), &["description"]);
        add(of("events { agentConfigurationVersions { FIELDS } }"), AGENT);
        add(of("events { changes { FIELDS } }"), CHANGE);
        add(of("owner { FIELDS }"), &["avatarUrl"]);
    }
    add(of_project("sessions { nodes { streamingMessages { FIELDS } } }"), &["contextData", "metadata"]);
    add(
        format!(
            "{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages(last: 1) {{ nodes {{ FIELDS }} }} }} }} }}"
        ),
        MESSAGE,
    );
    add(
        format!(
            "{{ node(id: \"{file}\") {{ ... on ProjectFile {{ versions(first: 1) {{ nodes {{ FIELDS }} }} }} }} }}"
        ),
        CHANGE,
    );
    add(
        format!("{{ node(id: \"streaming-message:{streaming}\") {{ ... on StreamingMessage {{ FIELDS }} }} }}"),
        &["contextData", "metadata"],
    );
    add("{ recentActivity { nodes { message { FIELDS } } } }".to_owned(), MESSAGE);
    add("{ recentActivity { nodes { project { FIELDS } } } }".to_owned(), PROJECT);
    add("{ viewer { FIELDS } }".to_owned(), &["avatarUrl"]);
    add("{ viewer { preferences { FIELDS } } }".to_owned(), &["notificationPreferences", "uiPreferences"]);
    queries
}

tests::on_both! {
    async fn texts_are_read_only_if_they_are_selected(database: Database) {
        let server = Server::start_with(&database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
        let ada = server.user("ada@example.com");
        let rows = write_rows(&Project::create(&ada, "Long").await).await;
        for (query, long) in queries(&rows) {
            let plain = query.replace("FIELDS", "id");
            assert!(read(&ada, &plain).await.is_ok(), "{plain}: {:?}", read(&ada, &plain).await);
            for field in long {
                let selected = query.replace("FIELDS", field);
                assert_eq!(read(&ada, &selected).await, Err(json!("QUERY_TOO_COMPLEX")), "{selected}");
                let skipped = query.replace("FIELDS", &format!("id {field} @skip(if: true)"));
                assert!(read(&ada, &skipped).await.is_ok(), "{skipped}");
            }
        }
        server.stop().await;
    }

    async fn a_selected_text_is_whole_beside_others_that_are_not(database: Database) {
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let rows = write_rows(&Project::create(&ada, "Long").await).await;
        for (query, long) in queries(&rows) {
            for field in long {
                let data = read(&ada, &query.replace("FIELDS", &format!("__typename {field}"))).await.unwrap();
                assert!(data.to_string().contains(&"x".repeat(BUDGET)), "{query}, {field}");
            }
        }
        server.stop().await;
    }

    async fn a_list_reads_only_what_its_own_rows_select(database: Database) {
        let server = Server::start_with(&database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
        let ada = server.user("ada@example.com");
        let short = Project::create(&ada, "Short").await;
        short.create_file("a", "1").await;
        let talk = short.start_session().await;
        short.add_message(&talk, "Hello", true).await;
        short.write("saveAgentConfiguration", settings("Agent"), "revision").await;
        let rows = write_rows(&Project::create(&ada, "Long").await).await;
        let long = |select: &str| format!("long: project(id: \"{}\") {{ {select} }}", rows.project);
        let short = |select: &str| format!("short: project(id: \"{}\") {{ {select} }}", short.id);
        let talk = |select: &str| format!("talk: node(id: \"{talk}\") {{ ... on ChatSession {{ {select} }} }}");
        let messages = format!("long: node(id: \"{}\") {{ ... on ChatSession {{ messages {{ nodes {{ id }} }} }} }}", rows.session);
        for query in [
            format!("{{ projects {{ nodes {{ id }} }} {} }}", short("description initialPrompt config")),
            format!("{{ {} projects {{ edges {{ node {{ id }} }} }} }}", short("description initialPrompt config")),
            format!("{{ recentActivity {{ nodes {{ excerpt message {{ id }} }} }} {} }}", talk("messages { nodes { content } }")),
            format!("{{ {messages} {} }}", talk("messages { nodes { ...M } }")) + " fragment M on ChatMessage { content contextData metadata }",
            format!("{{ {} {} }}", long("sessions { nodes { id } }"), short("sessions { edges { node { metadata } } }")),
            format!("{{ {} {} }}", long("sessions { nodes { checkpoints { id } } }"), short("sessions { nodes { checkpoints { content } } }")),
            format!("{{ {} {} }}", long("agentConfigurations { id versions { nodes { id } } }"), short("agentConfigurations { agentInstructions versions { nodes { sttConfig } } }")),
            format!("{{ {} {} }}", long("activeAgentConfiguration { id }"), short("activeAgentConfiguration { agentInstructions }")),
            format!("{{ {} {} }}", long("snapshots { nodes { name } }"), short("snapshots { nodes { description } }")),
            format!("{{ {} {} }}", long("changes { nodes { path } }"), short("changes { nodes { changeDescription } }")),
            format!("{{ {} {} }}", long("files { nodes { versions { nodes { id } } } }"), short("files { nodes { versions { nodes { changeDescription } } } }")),
        ] {
            let data = read(&ada, &query).await;
            assert!(data.is_ok(), "{query}: {data:?}");
        }
        server.stop().await;
    }

    async fn an_object_reads_only_what_its_own_field_selects(database: Database) {
        let server = Server::start_with(&database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
        let ada = server.user("ada@example.com");
        let short = Project::create(&ada, "Short").await;
        short.create_file("a", "1").await;
        let session = short.start_session().await;
        let message = short.add_message(&session, "Hello", true).await;
        let change = json!({ "path": "a", "content": "2", "changeDescription": "why" });
        let changed = short.write("updateFile", change, "file { versions(first: 1) { nodes { id } } }").await;
        let version = text(&changed["file"]["versions"]["nodes"][0]["id"]);
        let named = json!({ "name": "named", "description": "short" });
        let snapshot = text(&short.write("createSnapshot", named, "snapshot { id }").await["snapshot"]["id"]);
        let saved = short.write("saveAgentConfiguration", settings("Agent"), "agentConfiguration { id }").await;
        let agent = text(&saved["agentConfiguration"]["id"]);
        let now = short.revision().await;
        let rows = write_rows(&Project::create(&ada, "Long").await).await;
        for (kind, long, short, fields) in [
            ("Project", &rows.project, &short.id, PROJECT),
            ("ChatSession", &rows.session, &session, &["metadata"][..]),
            ("ChatMessage", &rows.message, &message, MESSAGE),
            ("AgentConfiguration", &rows.configuration, &agent, AGENT),
            ("ProjectSnapshot", &rows.snapshot, &snapshot, &["description"][..]),
            ("FileSnapshot", &rows.version, &version, CHANGE),
        ] {
            let fields = fields.join(" ");
            let node = |name: &str, id: &str, fields: &str| {
                format!("{name}: node(id: \"{id}\") {{ ... on {kind} {{ {fields} }} }}")
            };
            let alone = read(&ada, &format!("{{ {} }}", node("b", short, &fields))).await.unwrap();
            let mut counts = Vec::new();
            for (a, b) in [
                (node("a", short, "id"), node("b", short, "id")),
                (node("a", short, &fields), node("b", short, &fields)),
                (node("a", short, "id"), node("b", short, &fields)),
                (node("a", long, "id"), node("b", short, &fields)),
            ] {
                let before = server.statements();
                let data = read(&ada, &format!("{{ {a} {b} }}")).await.unwrap();
                counts.push(server.statements() - before);
                if b.contains(&fields) {
                    assert_eq!(data["b"], alone["b"], "{a} {b}");
                }
            }
            assert!(counts.iter().all(|count| *count == counts[0]), "{kind}: {counts:?}");
            if !["ProjectSnapshot", "FileSnapshot"].contains(&kind) {
                let (a, b) = (format!("{long}@{}", rows.revision - 1), format!("{short}@{now}"));
                let data = read(&ada, &format!("{{ {} {} }}", node("a", &a, "id"), node("b", &b, &fields))).await.unwrap();
                assert_eq!(data["b"], alone["b"], "{kind}");
            }
        }
        let files = |name: &str, id: &str, select: &str| {
            format!("{name}: project(id: \"{id}\") {{ files {{ nodes {{ project {{ {select} }} }} }} }}")
        };
        let parents = format!("{{ {} {} }}", files("a", &rows.project, "id"), files("b", &short.id, "initialPrompt"));
        assert!(read(&ada, &parents).await.is_ok());
        server.stop().await;
    }

    async fn agents_read_no_texts_that_their_tools_do_not_return(database: Database) {
        let server = Server::start_with(&database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Long").await;
        let texts = json!({ "id": project.id, "initialPrompt": long("prompt"), "config": { "text": long("json") } });
        ada.mutate("updateProject", texts, "revision").await.ok();
        project.create_file("a", "1").await;
        let agent = Agent::start(&ada).await;
        let listed = agent.ok("list_projects", json!({})).await;
        assert_eq!(listed["projects"][0]["id"], json!(project.id));
        let files = agent.ok("list_files", json!({ "projectId": project.id })).await;
        assert_eq!(files["files"][0]["path"], "a");
        server.stop().await;
    }

    async fn an_excerpt_is_the_start_of_a_message(database: Database) {
        let server = Server::start_with(&database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Long").await;
        let session = project.start_session().await;
        let (start, short) = ("Größe 😀 ".repeat(25), "short");
        for content in [format!("{start}{}", long("")), short.to_owned()] {
            project.add_message(&session, &content, false).await;
        }
        let found = read(&ada, "{ recentActivity { nodes { excerpt } } }").await.unwrap();
        assert_eq!(found["recentActivity"]["nodes"], json!([{ "excerpt": short }, { "excerpt": start }]));
        server.stop().await;
    }

    async fn events_of_subscriptions_read_what_they_select(database: Database) {
        let server = Server::start_with(&database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Long").await;
        let texts = json!({ "id": project.id, "initialPrompt": long("prompt") });
        let revision = number(&ada.mutate("updateProject", texts, "revision").await.ok()["updateProject"]["revision"]);
        let mut events = project.listen(revision, "revision project { name }").await;
        let mut prompts = project.listen(revision, "revision project { initialPrompt }").await;
        project.start_session().await;
        assert_eq!(events.event().await["projectEvents"]["project"]["name"], "Long");
        let refused = prompts.next().await.unwrap().unwrap_err();
        assert_eq!(refused[0]["extensions"]["code"], "QUERY_TOO_COMPLEX", "{refused:?}");
        drop((events, prompts));
        server.stop().await;
    }
}
