//! Given JSON in any place, when it is written, then it comes back with the same numbers and keys; invalid JSON is
//! refused with the argument's name, and JSON that was damaged in the database affects nothing else.

use antiphon::commands;
use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::Database,
    project::{Project, number, settings, text, with},
    server::{Server, settings as flags},
};

const VALUES: [&str; 14] = [
    r#"{"limit":1.7976931348623157e308}"#,
    r#"{"v":0.9424502837770503,"w":0.1,"x":5e-324,"y":2.2250738585072014e-308}"#,
    r#"[18446744073709551616,-9223372036854775809,123456789012345678901234567890,9007199254740993]"#,
    r#"[1E5,1e5,1e+5,1E-05,-0,-0.0,0.0,1.0,1.10,100,1e400,-1e-400]"#,
    r#"{"z":1,"a":2,"10":3,"2":4,"":5,"Z":{"b":[],"a":{}}}"#,
    r#"{"a":null,"b":[null,true,false],"c":"null"}"#,
    r#"["\u0000","a\u0000b","\u0001\t\n\r\"\\/","é😹"]"#,
    r#"{"\u0000":"\u0000"}"#,
    r#"{"$serde_json::private::Number":"1"}"#,
    r#"{"$serde_json::private::RawValue":"{]"}"#,
    r#"{"$var":"input"}"#,
    r#"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1.50]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"#,
    r#""' -- '' \\' $1 $$""#,
    "-1.50",
];

/// Sends an operation with variables as raw text, and returns the raw response.
async fn send(client: &Client, query: &str, variables: &str) -> String {
    let body = format!("{{\"query\":{},\"variables\":{variables}}}", json!(query));
    let bearer = format!("Bearer {}", client.token().unwrap());
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    String::from_utf8(client.send("POST", "/graphql", &headers, body).await.unwrap().body.to_vec()).unwrap()
}

/// The same, as a parsed response.
async fn ask(client: &Client, query: &str, variables: &str) -> Response {
    let mut body: Value = serde_json::from_str(&send(client, query, variables).await).unwrap();
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    Response { status: 200, data: body["data"].take(), errors }
}

/// A text as a literal of SQLite's and PostgreSQL's SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Invalid JSON texts that only SQL can write.
fn broken() -> [String; 7] {
    let texts = ["{", "{\"a\":1,}", "", "NaN", "\"\\ud83d\"", "[1] 2"].map(str::to_owned);
    let [a, b, c, d, e, f] = texts;
    [a, b, c, d, e, f, "[".repeat(200) + &"]".repeat(200)]
}

/// A small random generator, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    fn digits(&mut self, most: u64) -> String {
        let count = 1 + self.below(most);
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap())).collect()
    }

    fn number(&mut self) -> String {
        let mut number = if self.below(3) == 0 { "-".to_owned() } else { String::new() };
        let whole = self.digits(30);
        number.push_str(if whole.starts_with('0') { "0" } else { &whole });
        if self.below(2) == 0 {
            number.push_str(&format!(".{}", self.digits(20)));
        }
        if self.below(3) == 0 {
            let sign = ["e", "E", "e+", "e-", "E+", "E-"][usize::try_from(self.below(6)).unwrap()];
            number.push_str(&format!("{sign}{}", self.digits(3)));
        }
        number
    }

    fn string(&mut self) -> String {
        let characters = ['a', '"', '\\', '\0', '\n', '\u{1f}', 'é', '\u{2028}', '😹', '\u{ffff}', '/', '\'', '$'];
        let count = self.below(6);
        let string: String =
            (0..count).map(|_| characters[usize::try_from(self.below(characters.len() as u64)).unwrap()]).collect();
        // As serde_json escapes it, except for two characters.
        json!(string).to_string().replace("\\b", "\\u0008").replace("\\f", "\\u000c")
    }

    fn json(&mut self, depth: u64) -> String {
        match self.below(if depth == 0 { 4 } else { 7 }) {
            0 => "null".to_owned(),
            1 => ["true", "false"][usize::try_from(self.below(2)).unwrap()].to_owned(),
            2 => self.number(),
            3 => self.string(),
            4 => {
                let count = self.below(5);
                let values: Vec<_> = (0..count).map(|_| self.json(depth - 1)).collect();
                format!("[{}]", values.join(","))
            }
            _ => {
                let (count, mut fields) = (self.below(5), Vec::<(String, String)>::new());
                for _ in 0..count {
                    let key = self.string();
                    if fields.iter().all(|(other, _)| *other != key) {
                        fields.push((key, self.json(depth - 1)));
                    }
                }
                let fields: Vec<_> = fields.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }
        }
    }
}

tests::on_both! {
    async fn json_comes_back_as_it_was_written_in_every_place(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Exact").await;
        let session = project.start_session().await;
        for value in VALUES {
            let all = |names: &[&str]| names.iter().map(|name| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",");
            let made = send(&ada, "mutation($c: JSON!) { createProject(input: {name: \"a\", initialPrompt: \"\", config: $c}) { project { id config } } }",
                &format!("{{\"c\":{value}}}")).await;
            assert!(made.contains(&all(&["config"])), "{value}: {made}");
            let changed = send(&ada, "mutation($i: UpdateProjectInput!) { updateProject(input: $i) { project { config } } }",
                &format!("{{\"i\":{{\"id\":\"{}\",{}}}}}", project.id, all(&["config"]))).await;
            assert!(changed.contains(&all(&["config"])), "{value}: {changed}");
            let read = send(&ada, "query($id: ID!) { project(id: $id) { config } }", &format!("{{\"id\":\"{}\"}}", project.id)).await;
            assert_eq!(read, format!("{{\"data\":{{\"project\":{{{}}}}}}}", all(&["config"])));

            let both = all(&["contextData", "metadata"]);
            let added = send(&ada, "mutation($i: AddMessageInput!) { addMessage(input: $i) { message { contextData metadata session { messages(last: 1) { nodes { contextData metadata } } } } } }",
                &format!("{{\"i\":{{\"sessionId\":\"{session}\",\"role\":\"USER\",\"content\":\"a\",{both}}}}}")).await;
            assert_eq!(added.matches(&both).count(), 2, "{value}: {added}");
            let started = ask(&ada, "mutation($i: StartMessageInput!) { startMessage(input: $i) { messageId } }",
                &format!("{{\"i\":{{\"sessionId\":\"{session}\",\"role\":\"USER\",{both}}}}}")).await.ok();
            let streaming = send(&ada, "query($id: ID!) { node(id: $id) { ... on ChatSession { streamingMessages { contextData metadata } } } }", &json!({ "id": session }).to_string()).await;
            assert!(streaming.contains(&both), "{value}: {streaming}");
            let finished = send(&ada, "mutation($i: FinishMessageInput!) { finishMessage(input: $i) { message { contextData metadata } } }",
                &format!("{{\"i\":{{\"messageId\":{}}}}}", started["startMessage"]["messageId"])).await;
            assert!(finished.contains(&both), "{value}: {finished}");

            let begun = send(&ada, "mutation($p: ID!, $m: JSON) { startSession(input: {projectId: $p, metadata: $m}) { session { id metadata } } }",
                &format!("{{\"p\":\"{}\",\"m\":{value}}}", Project::create(&ada, "Other").await.id)).await;
            assert!(begun.contains(&all(&["metadata"])), "{value}: {begun}");

            let both = all(&["notificationPreferences", "uiPreferences"]);
            let kept = send(&ada, "mutation($i: UpdatePreferencesInput!) { updatePreferences(input: $i) { notificationPreferences uiPreferences } }",
                &format!("{{\"i\":{{{both}}}}}")).await;
            assert!(kept.contains(&both), "{value}: {kept}");
            let read = send(&ada, "{ viewer { preferences { notificationPreferences uiPreferences } } }", "{}").await;
            assert!(read.contains(&both), "{value}: {read}");

            let names = ["sttConfig", "ttsConfig", "llmConfig", "vadConfig", "turnDetectionConfig", "functionCalls", "toolIntegrations",
                "agentPersonality", "requiredEnvVars", "dependencies", "sourceFiles"];
            let select = names.join(" ");
            let more = settings("Exact").to_string();
            let input = format!("{},\"projectId\":\"{}\",{}}}", more.trim_end_matches('}'), project.id, all(&names));
            let query = format!("mutation($i: SaveAgentConfigurationInput!) {{ saveAgentConfiguration(input: $i) {{ agentConfiguration {{ {select} }} }} }}");
            let saved = send(&ada, &query, &format!("{{\"i\":{input}}}")).await;
            assert!(saved.contains(&all(&names)), "{value}: {saved}");
            let read = format!("query($id: ID!) {{ project(id: $id) {{ agentConfigurations {{ {select} }} }} }}");
            let read = send(&ada, &read, &json!({ "id": project.id }).to_string()).await;
            assert!(read.contains(&all(&names)), "{value}: {read}");
        }
    }

    async fn random_json_comes_back_and_rewriting_it_changes_nothing(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Random").await;
        let update = "mutation($id: ID!, $c: JSON) { updateProject(input: {id: $id, config: $c}) { revision project { config } } }";
        let mut chance = Chance(20261129);
        let mut before = "{}".to_owned();
        for round in 0..150 {
            let value = format!("[{},{round}]", chance.json(4));
            let mut revisions = Vec::new();
            for _ in 0..2 {
                let answer = send(&ada, update, &format!("{{\"id\":\"{}\",\"c\":{value}}}", project.id)).await;
                assert!(answer.contains(&format!("\"config\":{value}}}")), "{value}: {answer}");
                revisions.push(serde_json::from_str::<Value>(&answer).unwrap()["data"]["updateProject"]["revision"].clone());
            }
            assert_eq!((revisions[0].clone(), revisions[1].clone()), (json!(round + 2), json!(round + 2)), "{value}");
            // The previous state is kept unchanged, too.
            let past = format!("query($id: ID!) {{ project(id: $id, at: {{ revision: {} }}) {{ config }} }}", round + 1);
            let past = send(&ada, &past, &json!({ "id": project.id }).to_string()).await;
            assert!(past.contains(&format!("\"config\":{before}}}")), "{before}: {past}");
            before = value;
        }
    }

    async fn json_in_a_document_keeps_its_numbers_and_its_order(server: Server) {
        let ada = server.user("ada@example.com");
        let query = "mutation { createProject(input: {name: \"a\", initialPrompt: \"\",
            config: {z: 0.9424502837770503, a: [18446744073709551616, -0, 1E5, 1.5e3, 1.0, 1.10, 1.7976931348623157e+308], m: RED, b: \"x\\u0000\"}}) { project { config } } }";
        let made = send(&ada, query, "{}").await;
        let config = r#""config":{"z":0.9424502837770503,"a":[18446744073709551616,-0,1E5,1.5e3,1.0,1.10,1.7976931348623157e+308],"m":"RED","b":"x\u0000"}"#;
        assert!(made.contains(config), "{made}");
    }

    async fn subscribers_receive_json_as_it_was_written(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Heard").await;
        let session = project.start_session().await;
        let mut subscription = project.listen(project.revision().await, "message { metadata }").await;
        // Values that this client itself would interpret are left out.
        for value in VALUES.into_iter().filter(|value| !value.contains("serde_json")) {
            ask(&ada, "mutation($s: ID!, $m: JSON) { addMessage(input: {sessionId: $s, role: USER, content: \"a\", metadata: $m}) { revision } }",
                &format!("{{\"s\":\"{session}\",\"m\":{value}}}")).await.ok();
            let event = subscription.event().await;
            assert_eq!(event["projectEvents"]["message"]["metadata"], serde_json::from_str::<Value>(value).unwrap());
        }
    }

    async fn json_that_cannot_be_stored_is_refused_with_the_argument_named(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Refused").await;
        let session = project.start_session().await;
        let deep = "[".repeat(200) + &"]".repeat(200);
        let before = project.state().await;
        for (value, why) in [
            (r#"{"a":1,"a":2}"#, "The key \"a\" is duplicated."),
            (r#"{"a":1,"\u0061":1}"#, "The key \"a\" is duplicated."),
            (r#"[{"x":{"y":1,"z":2,"y":1}}]"#, "The key \"y\" is duplicated."),
            (r#""\ud83d""#, "A string has a lone surrogate."),
            (r#"{"a":["\ude00\ud83d"]}"#, "A string has a lone surrogate."),
            (r#"{"\ud83d":1}"#, "A string has a lone surrogate."),
            (&deep, "Arrays and objects nest deeper than 128 levels."),
        ] {
            let mut more = settings("a").to_string();
            more.pop();
            for (query, variables, field) in [
                ("mutation($config: JSON!) { createProject(input: {name: \"a\", initialPrompt: \"\", config: $config}) { revision } }", format!("{{\"config\":{value}}}"), "config"),
                ("mutation($i: UpdateProjectInput!) { updateProject(input: $i) { revision } }", format!("{{\"i\":{{\"id\":\"{}\",\"config\":{value}}}}}", project.id), "config"),
                ("mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }",
                    format!("{{\"input\":{{\"sessionId\":\"{session}\",\"role\":\"USER\",\"content\":\"a\",\"contextData\":{value}}}}}"), "contextData"),
                ("mutation($i: StartMessageInput!) { startMessage(input: $i) { length } }", format!("{{\"i\":{{\"sessionId\":\"{session}\",\"role\":\"USER\",\"metadata\":{value}}}}}"), "metadata"),
                ("mutation($i: StartSessionInput!) { startSession(input: $i) { revision } }", format!("{{\"i\":{{\"projectId\":\"{}\",\"metadata\":{value}}}}}", project.id), "metadata"),
                ("mutation($i: UpdatePreferencesInput!) { updatePreferences(input: $i) { editorTheme } }", format!("{{\"i\":{{\"uiPreferences\":{value}}}}}"), "uiPreferences"),
                ("mutation($i: SaveAgentConfigurationInput!) { saveAgentConfiguration(input: $i) { revision } }",
                    format!("{{\"i\":{more},\"projectId\":\"{}\",\"requiredEnvVars\":{value}}}}}", project.id), "requiredEnvVars"),
            ] {
                let refused = ask(&ada, query, &variables).await;
                assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", field), "{value} {query}");
                assert_eq!(refused.error()["message"], why, "{value} {query}");
            }
        }
        for (query, variables, field) in [
            ("mutation($id: ID!, $n: String) { updateProject(input: {id: $id, name: $n}) { revision } }", format!("{{\"id\":\"{}\",\"n\":\"a\\ud83d\"}}", project.id), "n"),
            ("mutation($i: UpdateProjectInput!) { updateProject(input: $i) { revision } }", format!("{{\"i\":{{\"id\":\"{}\",\"name\":\"a\",\"name\":\"b\"}}}}", project.id), "input"),
            ("query($id: ID!) { project(id: $id) { id } }", format!("{{\"id\":\"{0}\",\"id\":\"{0}\"}}", project.id), "variables"),
        ] {
            let refused = ask(&ada, query, &variables).await;
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", field), "{query}: {:?}", refused.errors);
        }
        assert_eq!(project.state().await, before);
    }

    async fn damaged_json_is_null_alone_and_is_reported_and_can_be_overwritten(database: Database) {
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Broken").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Hello", false).await;
        project.add_message(&session, "World", false).await;
        let saved = project.write("saveAgentConfiguration", with(settings("a"), json!({ "llmConfig": { "a": 1 } })), "agentConfiguration { id }").await;
        let configuration = text(&saved["agentConfiguration"]["id"]);
        ada.mutate("updatePreferences", json!({ "uiPreferences": {} }), "editorTheme").await.ok();
        let all = "query($id: ID!) { viewer { preferences { uiPreferences notificationPreferences } } project(id: $id) { name config
            agentConfigurations { llmConfig sttConfig versions { nodes { llmConfig } } }
            sessions { nodes { metadata messages { nodes { content metadata contextData } } } } } projects { nodes { config } } }";
        for text in broken() {
            for (table, column, of) in [
                ("projects", "config", format!("id = {}", database.uuid(&project.id))),
                ("chat_sessions", "metadata", format!("id = {}", database.uuid(&session))),
                ("chat_messages", "metadata", format!("id = {}", database.uuid(&message))),
                ("agent_configurations", "llm_config", format!("id = {}", database.uuid(&configuration))),
                ("agent_configuration_versions", "llm_config", format!("configuration_id = {}", database.uuid(&configuration))),
                ("user_preferences", "ui_preferences", "TRUE".to_owned()),
            ] {
                assert_eq!(database.execute(&format!("UPDATE {table} SET {column} = {} WHERE {of}", quoted(&text))).await, 1);
            }
            let answer = ada.gql(all, json!({ "id": project.id })).await;
            let data = &answer.data;
            assert_eq!((&data["project"]["name"], &data["project"]["config"]), (&json!("Broken"), &Value::Null), "{text:.20}: {answer:?}");
            assert_eq!(data["projects"]["nodes"], json!([{ "config": null }]));
            assert_eq!(data["viewer"]["preferences"], json!({ "uiPreferences": null, "notificationPreferences": {} }));
            assert_eq!(data["project"]["agentConfigurations"], json!([{ "llmConfig": null, "sttConfig": {}, "versions": { "nodes": [{ "llmConfig": null }] } }]));
            let messages = json!([{ "content": "Hello", "metadata": null, "contextData": {} }, { "content": "World", "metadata": {}, "contextData": {} }]);
            assert_eq!(data["project"]["sessions"]["nodes"], json!([{ "metadata": null, "messages": { "nodes": messages } }]));
            let mut paths: Vec<String> = answer.errors.iter().map(|error| error["path"].to_string()).collect();
            paths.sort_unstable();
            assert_eq!(paths, [
                r#"["project","agentConfigurations",0,"llmConfig"]"#,
                r#"["project","agentConfigurations",0,"versions","nodes",0,"llmConfig"]"#,
                r#"["project","config"]"#,
                r#"["project","sessions","nodes",0,"messages","nodes",0,"metadata"]"#,
                r#"["project","sessions","nodes",0,"metadata"]"#,
                r#"["projects","nodes",0,"config"]"#,
                r#"["viewer","preferences","uiPreferences"]"#,
            ]);
            assert!(answer.errors.iter().all(|error| error["extensions"]["code"] == "INTERNAL"), "{:?}", answer.errors);

            let mut problems = Vec::new();
            let verified = commands::verify(&flags(&database.url(), &[]), None, &mut |_, problem| problems.push(problem)).await.unwrap();
            let of = |what: &str, id: &str| problems.iter().any(|problem| problem.starts_with(&format!("{what} {id} is no JSON: ")));
            assert!(of("config of project", &project.id) && of("metadata of session", &session), "{problems:?}");
            assert!(of("metadata of message", &message) && of("llm_config of agent configuration", &configuration), "{problems:?}");
            assert!(of("llm_config of version of agent configuration", &configuration), "{problems:?}");
            assert_eq!((problems.len(), verified.problems), (6, 6), "{problems:?}");

            ada.mutate("updateProject", json!({ "id": project.id, "config": {} }), "project { config }").await.ok();
            ada.mutate("updatePreferences", json!({ "uiPreferences": {} }), "uiPreferences").await.ok();
            let again = with(settings("a"), json!({ "id": configuration, "llmConfig": {} }));
            project.write("saveAgentConfiguration", again, "agentConfiguration { llmConfig }").await;
            database.execute("DELETE FROM agent_configuration_versions WHERE superseded_revision IS NOT NULL").await;
            database.execute("UPDATE agent_configuration_versions SET version = 1").await;
            database.execute("UPDATE agent_configurations SET version = 1").await;
            database.execute("DELETE FROM project_versions").await;
        }
        server.stop().await;
    }

    async fn white_space_in_stored_json_is_no_change(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Spaced").await;
        server.database().execute("UPDATE projects SET config = '{\"b\": 1.0,\n  \"a\": [ 1, 2 ]}'").await;
        let read = send(&ada, "{ projects { nodes { config } } }", "{}").await;
        assert!(read.contains(r#"{"config":{"b":1.0,"a":[1,2]}}"#), "{read}");
        let update = "mutation($id: ID!) { updateProject(input: {id: $id, config: {b: 1.0, a: [1, 2]}}) { revision } }";
        assert_eq!(number(&ada.gql(update, json!({ "id": project.id })).await.ok()["updateProject"]["revision"]), 1);
    }
}
