//! Given an input that changes an object, when a field is explicitly null, then it is removed or unchanged, as the field's
//! description states.

use serde_json::{Value, json};
use tests::{
    project::{Project, with},
    server::Server,
};

/// The description of each optional field of an input, without line breaks.
async fn descriptions(server: &Server, input: &str) -> Vec<(String, String)> {
    let query = "query($name: String!) { __type(name: $name) { inputFields { name description type { kind } } } }";
    let data = server.user("ada@example.com").gql(query, json!({ "name": input })).await.ok();
    let fields = data["__type"]["inputFields"].as_array().unwrap().clone();
    let optional = fields.iter().filter(|field| field["type"]["kind"] != "NON_NULL");
    let text = |field: &Value, key: &str| field[key].as_str().unwrap().replace('\n', " ");
    optional.map(|field| (text(field, "name"), text(field, "description"))).collect()
}

tests::on_both! {
    async fn null_leaves_unchanged_or_removes(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Nulls").await;
        let filled = json!({ "id": project.id, "name": "Full", "description": "Text", "initialPrompt": "Talk", "config": { "a": 1 }, "status": "ARCHIVED" });
        let select = "project { name description initialPrompt config status } revision";
        let before = ada.mutate("updateProject", filled, select).await.ok()["updateProject"].take();
        let nulls = json!({ "id": project.id, "name": null, "initialPrompt": null, "config": null, "status": null });
        let after = ada.mutate("updateProject", nulls.clone(), select).await.ok();
        assert_eq!(after["updateProject"], before);
        let after = ada.mutate("updateProject", with(nulls, json!({ "description": null })), select).await.ok()["updateProject"].take();
        assert_eq!(after["project"], with(before["project"].clone(), json!({ "description": null })));

        let filled = json!({ "editorTheme": "dark", "autoSaveEnabled": false, "notificationPreferences": { "a": 1 }, "uiPreferences": { "b": 2 } });
        let select = "editorTheme autoSaveEnabled notificationPreferences uiPreferences";
        let before = ada.mutate("updatePreferences", filled.clone(), select).await.ok();
        assert_eq!(before["updatePreferences"], filled);
        let nulls = json!({ "editorTheme": null, "autoSaveEnabled": null, "notificationPreferences": null, "uiPreferences": null });
        assert_eq!(ada.mutate("updatePreferences", nulls, select).await.ok(), before);

        let session = project.start_session().await;
        let started = json!({ "sessionId": session, "role": "ASSISTANT", "metadata": { "a": 1 } });
        let started = ada.mutate("startMessage", started, "messageId").await.ok()["startMessage"]["messageId"].take();
        let finished = json!({ "messageId": started, "length": null, "metadata": null });
        let finished = ada.mutate("finishMessage", finished, "message { metadata }").await.ok();
        assert_eq!(finished["finishMessage"]["message"]["metadata"], json!({ "a": 1 }));
    }

    async fn descriptions_state_what_null_means(server: Server) {
        for input in ["UpdateProjectInput", "UpdatePreferencesInput", "UpdateProfileInput", "UpdateSnapshotInput"] {
            for (name, description) in descriptions(&server, input).await {
                let is_stated = description.ends_with("Null or absent: unchanged.")
                    || description.contains("Null removes it") && description.ends_with("Absent: unchanged.");
                assert!(is_stated, "{input}.{name}: {description}");
            }
        }
    }
}
