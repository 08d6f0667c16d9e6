//! The example tabs of the page at `/`, run as a person who clicks through them would, from the first to the last.

use std::collections::HashMap;

use antiphon::transport::graphiql::EXAMPLES;
use serde_json::{Map, Value, json};
use tests::server::Server;

/// The operations of a document, in their order: their kind and their name.
fn operations(document: &str) -> Vec<(&str, &str)> {
    let starts = document.lines().filter_map(|line| line.split_once(' '));
    let starts = starts.filter(|(kind, _)| ["query", "mutation", "subscription"].contains(kind));
    starts.map(|(kind, rest)| (kind, rest.split(['(', ' ', '{']).next().unwrap_or_default())).collect()
}

/// The one operation of a document: a socket's test client chooses none by name.
fn alone<'d>(document: &'d str, name: &str) -> &'d str {
    assert_eq!(operations(document).len(), 1, "{name} shares its tab");
    document
}

/// The variables, each `PASTE-<NOUN>-ID` replaced by the last id of that noun where there is one, as the page does.
fn filled(value: &Value, ids: &HashMap<String, String>) -> Value {
    match value {
        Value::String(text) => json!(ids.get(text).unwrap_or(text)),
        Value::Array(items) => items.iter().map(|item| filled(item, ids)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), filled(field, ids))).collect(),
        other => other.clone(),
    }
}

tests::on_both! {
    async fn every_example_works_in_its_turn(server: Server) {
        let ada = server.user("ada@example.com");
        let mut ids = HashMap::new();
        let mut answers = Map::new();
        let mut listener = None;
        for example in EXAMPLES {
            let variables: Value = serde_json::from_str(example.variables).unwrap();
            let operations = operations(example.document);
            assert!(!operations.is_empty(), "{} has no operation", example.name);
            for (kind, name) in operations {
                let variables = filled(&variables, &ids);
                if kind == "subscription" {
                    listener = Some(ada.subscribe(alone(example.document, name), variables).await);
                    continue;
                }
                let answer = ada.named(example.document, name, variables).await;
                assert!(answer.errors.is_empty(), "{} {name}: {:?}", example.name, answer.errors);
                let fields = answer.data.as_object().unwrap();
                for payload in fields.values().filter(|_| kind == "mutation") {
                    for (noun, value) in payload.as_object().unwrap() {
                        if let Some(id) = value["id"].as_str() {
                            ids.insert(format!("PASTE-{}-ID", noun.to_uppercase()), id.to_owned());
                        }
                    }
                }
                answers.insert(name.to_owned(), answer.data);
            }
        }

        // The story that the tabs' comments tell.
        assert_eq!(answers["CreateProject"]["createProject"]["revision"], 1);
        assert_eq!(answers["RevertFile"]["revertFile"]["file"]["version"], 3);
        assert_eq!(answers["RevertFile"]["revertFile"]["file"]["content"], "print(\"Hello, World!\")\n");
        let synced = &answers["SyncFiles"]["syncFiles"];
        assert_eq!((&synced["created"], &synced["updated"]), (&json!(1), &json!(1)));
        assert_eq!(answers["RestoreSnapshot"]["restoreSnapshot"]["backup"]["name"], "Pre-restore backup");
        assert_eq!(answers["Statistics"]["project"]["stats"]["totalMessages"], 2);
        assert_eq!(answers["Projects"]["projects"]["totalCount"], 1);
        assert_eq!(answers["TimeTravel"]["project"]["files"]["nodes"][0]["content"], "print(\"Hello, Voice Assistant!\")\n");
        assert_eq!(answers["Team"]["project"]["emailInvitations"], json!([{ "email": "grace@example.com", "role": "EDITOR" }]));
        assert_eq!(answers["WithdrawEmailInvitation"]["withdrawEmailInvitation"]["project"]["emailInvitations"], json!([]));
        let changed = &answers["ChangeAgentConfiguration"]["saveAgentConfiguration"]["agentConfiguration"];
        assert_eq!(changed, &json!({ "version": 2, "llmModel": "gpt-4o", "llmConfig": { "temperature": 0.7 } }));
        let restored = &answers["RestoreAgentConfiguration"]["restoreAgentConfiguration"];
        assert_eq!(restored["agentConfiguration"], json!({ "version": 3, "llmModel": "gpt-4" }));
        // And the listener of the third tab has heard all of it, in order.
        let mut listener = listener.expect("a tab that listens");
        let last = restored["revision"].as_u64().unwrap();
        for revision in 1..=last {
            assert_eq!(listener.event().await["projectEvents"]["revision"], revision);
        }
    }
}
