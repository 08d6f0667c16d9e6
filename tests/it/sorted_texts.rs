//! Given rows with long texts, when a list sorts or joins them, then each text is read once, and only for the rows of the
//! page.

use std::fs;

use serde_json::{Value, json};
use tests::{
    database::{Database, Kind},
    project::{Project, each, settings, with},
    server::{ChildServer, Server, run_with_database},
};

/// Bytes of an operation.
const BUDGET: usize = 1_000_000;

tests::on_both! {
    async fn a_description_of_several_changes_is_read_once(database: Database) {
        let server = Server::start_with(&database, &[&format!("--max-operation-bytes={BUDGET}")]).await;
        let project = Project::create(&server.user("ada@example.com"), "Described").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Go", false).await;
        let descriptions = ["a", "b"].map(|letter| letter.repeat(BUDGET / 10));
        for description in &descriptions {
            let files: Vec<Value> = (0..20).map(|n| json!({ "path": format!("{n}"), "content": description[..1] })).collect();
            let sync = json!({ "files": files, "sessionId": session, "messageId": message, "changeDescription": description });
            project.write("syncFiles", sync, "revision").await;
        }
        project.create_file("plain", "").await;
        let [first, second] = &descriptions;

        // Nine texts are returned. Each list reads at least one row more.
        let changes = project.ask("changes(first: 10) { nodes { changeDescription } }").await;
        let mut expected = vec![Value::Null];
        expected.extend(std::iter::repeat_n(json!(second), 9));
        assert_eq!(each(&changes["changes"]["nodes"], "changeDescription"), expected);
        let oldest = project.ask("name config changes(last: 9) { nodes { changeDescription } }").await;
        assert_eq!(each(&oldest["changes"]["nodes"], "changeDescription"), vec![json!(first); 9]);
        // Whole lists, of which a part is returned.
        let both = "changes(first: 1) { changeDescription }";
        let events = project.ask(&format!("events(first: 500) {{ {both} }}")).await;
        let seen: Vec<Value> = events["events"].as_array().unwrap().iter().flat_map(|event| each(&event["changes"], "changeDescription")).collect();
        assert_eq!(seen, [json!(first), json!(second), Value::Null]);
        let query = format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ messages {{ nodes {{ {both} }} }} }} }} }}");
        let messages = project.client.gql(&query, json!({})).await.ok();
        assert_eq!(messages["node"]["messages"]["nodes"][0]["changes"], json!([{ "changeDescription": first }]));
        let files = project.ask("files(first: 5) { nodes { versions(first: 1) { nodes { changeDescription } } } }").await;
        let newest = files["files"]["nodes"].as_array().unwrap().iter().map(|file| file["versions"]["nodes"][0]["changeDescription"].clone());
        assert_eq!(newest.collect::<Vec<_>>(), vec![json!(second); 5]);
        server.stop().await;
    }
}

/// Number of bytes that a process has written to files and pipes (`wchar` in `/proc/ID/io`, proc(5)).
fn written(process: u32) -> usize {
    let counts = fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    counts.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

#[test]
fn lists_are_sorted_and_joined_without_their_texts() {
    run_with_database(Kind::Sqlite, async |database| {
        // All of them are more than SQLite sorts in memory.
        const TEXT: usize = 1 << 19;
        const ROWS: usize = 10;
        let child = ChildServer::start(&database);
        let ada = child.user("ada@example.com");
        let project = Project::create(&ada, "Sorted").await;
        let session = project.start_session().await;
        for n in 0..ROWS {
            let long = format!("{n}{}", "x".repeat(TEXT));
            let prompt = json!({ "name": format!("{n}"), "initialPrompt": long, "config": {} });
            ada.mutate("createProject", prompt, "revision").await.ok();
            let agent = with(settings(&format!("{n}")), json!({ "agentInstructions": long }));
            project.write("saveAgentConfiguration", agent, "revision").await;
            let streaming = json!({ "sessionId": session, "role": "ASSISTANT", "metadata": { "text": long } });
            ada.mutate("startMessage", streaming, "messageId").await.ok();
            project.add_message(&session, &long, false).await;
        }
        let files: Vec<Value> = (0..50).map(|n| json!({ "path": format!("{n}"), "content": "" })).collect();
        let sync = json!({ "files": files, "changeDescription": "x".repeat(TEXT) });
        project.write("syncFiles", sync, "revision").await;
        let of_project = |select: &str| format!("{{ project(id: \"{}\") {{ {select} }} }}", project.id);
        let messages = format!("messages(first: {}) {{ nodes {{ content }} }}", ROWS - 1);
        for (query, rows) in [
            ("{ projects(first: 5) { nodes { initialPrompt } } }".to_owned(), 5),
            ("{ projects(last: 5, orderBy: { field: NAME }) { nodes { initialPrompt } } }".to_owned(), 5),
            (of_project("agentConfigurations { agentInstructions }"), ROWS),
            (of_project("events(first: 500) { agentConfigurationVersions { agentInstructions } }"), ROWS),
            (of_project("sessions { nodes { streamingMessages { metadata } } }"), ROWS),
            (of_project("changes(first: 1) { nodes { changeDescription } }"), 1),
            (of_project("name config changes(first: 1) { nodes { changeDescription } }"), 1),
            (format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ {messages} }} }} }}"), ROWS - 1),
            (of_project(&format!("sessions {{ nodes {{ {messages} }} }}")), ROWS - 1),
        ] {
            let before = written(child.id());
            let answer = ada.gql(&query, json!({})).await.ok().to_string().len();
            let written = written(child.id()) - before;
            assert!(answer > rows * TEXT, "{query}: {answer}");
            // A response can be written to the socket as to a file.
            assert!(written < answer + 2 * TEXT, "{query} writes {written} bytes for a response of {answer}");
        }
        child.stop();
    });
}
