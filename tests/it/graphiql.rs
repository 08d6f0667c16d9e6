//! The example tabs of the page at `/`, run in order as a user would click through them.

use std::collections::HashMap;

use antiphon::transport::graphiql::EXAMPLES;
use serde_json::{Map, Value, json};
use tests::server::Server;

/// The operations of a document, in order: their kind and their name.
fn operations(document: &str) -> Vec<(&str, &str)> {
    let starts = document.lines().filter_map(|line| line.split_once(' '));
    let starts = starts.filter(|(kind, _)| ["query", "mutation", "subscription"].contains(kind));
    starts.map(|(kind, rest)| (kind, rest.split(['(', ' ', '{']).next().unwrap_or_default())).collect()
}

/// The variables, with each `PASTE-<NOUN>-ID` replaced by the last id of that noun, if there is one, as the page does.
fn filled(value: &Value, ids: &HashMap<String, String>) -> Value {
    match value {
        Value::String(text) => json!(ids.get(text).unwrap_or(text)),
        Value::Array(items) => items.iter().map(|item| filled(item, ids)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), filled(field, ids))).collect(),
        other => other.clone(),
    }
}

tests::on_both! {
    async fn every_example_works_in_order(server: Server) {
        let ada = server.user("ada@example.com");
        let mut ids = HashMap::new();
        let mut answers = Map::new();
        let mut listeners = HashMap::new();
        for example in EXAMPLES {
            let variables: Value = serde_json::from_str(example.variables).unwrap();
            let operations = operations(example.document);
            assert!(!operations.is_empty(), "{} has no operation", example.name);
            for (kind, name) in operations {
                let variables = filled(&variables, &ids);
                if kind == "subscription" {
                    let mut listener = ada.subscribe_named(example.document, name, variables).await;
                    answers.insert(name.to_owned(), listener.event().await);
                    listeners.insert(name, listener);
                    continue;
                }
                let answer = ada.named(example.document, name, variables).await;
                assert!(answer.errors.is_empty(), "{} {name}: {:?}", example.name, answer.errors);
                let fields = answer.data.as_object().unwrap();
                for payload in fields.values().filter(|_| kind == "mutation") {
                    for (name, value) in payload.as_object().unwrap() {
                        let noun = name.strip_suffix("Id").unwrap_or(name);
                        if let Some(id) = value["id"].as_str().or(value.as_str().filter(|_| noun != name)) {
                            ids.insert(format!("PASTE-{}-ID", noun.to_uppercase()), id.to_owned());
                        }
                    }
                }
                answers.insert(name.to_owned(), answer.data);
            }
        }

        // The results that the tabs' comments promise.
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
        assert_eq!(answers["MessageStream"]["messageStream"], json!({ "text": "", "nextOffset": 0, "state": "STREAMING", "message": null }));
        let here = &answers["Presence"]["project"]["presence"];
        assert_eq!((here.as_array().map(Vec::len), &here[0]["user"]["fullName"]), (Some(1), &json!("ada")));
        let finished = &answers["FinishMessage"]["finishMessage"];
        assert_eq!(finished["message"]["content"], "The agent says hello now.");
        // The subscription of the third tab has received everything, in order.
        assert_eq!(answers["Listen"]["projectEvents"]["revision"], 1);
        let listener = listeners.get_mut("Listen").expect("a tab with a subscription");
        let last = finished["revision"].as_u64().unwrap();
        for revision in 2..=last {
            assert_eq!(listener.event().await["projectEvents"]["revision"], revision);
        }
        // So has the subscription of the last tab, in chunks of any size.
        let listener = listeners.get_mut("MessageStream").expect("a tab with a subscription");
        let (mut text, mut state) = (String::new(), json!("STREAMING"));
        while state == "STREAMING" {
            let piece = listener.event().await["messageStream"].take();
            text.push_str(piece["text"].as_str().unwrap());
            state = piece["state"].clone();
        }
        assert_eq!((text.as_str(), state), ("The agent says hello now.", json!("FINISHED")));
    }
}
