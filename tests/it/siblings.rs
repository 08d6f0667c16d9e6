//! Given an operation with several fields, when one of them fails, then the others return what they wrote or read.

use serde_json::json;
use tests::{
    project::{Project, text},
    server::Server,
};

tests::on_both! {
    async fn writes_are_returned_although_siblings_fail(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Shared").await;
        let variables = json!({ "p": project.id });

        // Root fields run one after the other, also after a failure.
        let query = "mutation($p: ID!) {
            a: updateProject(input: { id: $p, name: \"Renamed\" }) { revision project { name } }
            b: updateFile(input: { projectId: $p, path: \"nope\", content: \"x\" }) { revision }
            c: createFile(input: { projectId: $p, path: \"made\", content: \"x\" }) { revision }
            d: createFile(input: { projectId: \"nonsense\", path: \"made\" }) { revision }
            e: endSession(id: \"nonsense\") { revision }
        }";
        let answer = ada.gql(query, variables).await;
        assert_eq!(answer.data, json!({ "a": { "revision": 2, "project": { "name": "Renamed" } }, "b": null, "c": { "revision": 3 },
            "d": null, "e": null }));
        let errors: Vec<_> = answer.errors.iter().map(|error| (&error["path"], &error["extensions"]["code"])).collect();
        assert_eq!(errors, [(&json!(["b"]), &json!("NOT_FOUND")), (&json!(["d"]), &json!("BAD_USER_INPUT")), (&json!(["e"]), &json!("BAD_USER_INPUT"))]);
        assert_eq!(project.revision().await, 3);
    }

    async fn a_write_is_returned_although_a_preview_beside_it_fails(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Previews").await;
        let input = json!({ "id": project.id, "name": "New" });
        let answer = project.client.mutate("updateProject", input, "revision project { name restorePreview(to: { revision: 999 }) { revision } }").await;
        assert_eq!(answer.data["updateProject"], json!({ "revision": 2, "project": { "name": "New", "restorePreview": null } }));
        assert_eq!(answer.error_code(), "BAD_USER_INPUT");
    }

    async fn reads_are_returned_although_siblings_fail(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Shared").await;
        for (field, path) in [
            ("recentActivity(first: 101) { totalCount }", "recentActivity"),
            ("recentActivity(projectId: \"nonsense\") { totalCount }", "recentActivity"),
            ("invitations(first: 101) { totalCount }", "invitations"),
            ("node(id: \"nonsense\") { id }", "node"),
            ("project(id: \"nonsense\") { id }", "project"),
        ] {
            let answer = ada.gql(&format!("{{ viewer {{ email }} {field} }}"), json!({})).await;
            assert_eq!(answer.data, json!({ "viewer": { "email": "ada@example.com" }, path: null }), "{field}");
            assert_eq!((answer.errors.len(), &answer.error()["path"]), (1, &json!([path])), "{field}");
        }

        // A malformed id makes only its own entry null.
        let file = project.create_file("a.py", "one\n").await;
        let query = "query($ids: [ID!]!) { viewer { email } nodes(ids: $ids) { id } }";
        let answer = ada.gql(query, json!({ "ids": [file, "nonsense", project.id, "", format!("{file}@01")] })).await;
        assert_eq!(answer.data["nodes"], json!([{ "id": file }, null, { "id": project.id }, null, null]));
        assert_eq!(answer.data["viewer"]["email"], "ada@example.com");
        let errors: Vec<_> = answer.errors.iter().map(|error| (error["path"].clone(), text(&error["extensions"]["field"]))).collect();
        let expected = [1, 3, 4].map(|at| (json!(["nodes", at]), format!("ids[{at}]")));
        assert_eq!(errors, expected);

        // So does the id of a missing object, which is no error.
        let nowhere = "0192f3a4-5b6c-7d8e-9f00-112233445566";
        let answer = ada.gql(query, json!({ "ids": [nowhere, file] })).await.ok();
        assert_eq!(answer["nodes"], json!([null, { "id": file }]));
    }

    async fn a_payload_links_to_the_changed_objects(server: Server) {
        let (ada, bob) = (server.user("ada@example.com"), server.user("bob@example.com"));
        let project = Project::create(&ada, "Shared").await;
        let bob_id = text(&bob.gql("{ viewer { id } }", json!({})).await.ok()["viewer"]["id"]);
        let part = json!({ "userId": bob_id, "role": "VIEWER" });
        let select = "project { id name } collaborator { role } revision";
        let seen = json!({ "id": project.id, "name": "Shared" });
        assert_eq!(project.write("inviteCollaborator", part.clone(), select).await["project"], seen);
        let accepted = bob.mutate_with("acceptInvitation", json!({ "projectId": project.id }), select).await.ok();
        assert_eq!(accepted["acceptInvitation"]["project"], seen);
        assert_eq!(project.write("changeCollaboratorRole", part, select).await["project"], seen);

        let input = json!({ "editorTheme": "dark" });
        let saved = ada.mutate("updatePreferences", input, "id editorTheme user { id email preferences { id editorTheme } }").await.ok();
        let saved = &saved["updatePreferences"];
        let user = &saved["user"];
        assert_eq!((&saved["editorTheme"], &user["email"]), (&json!("dark"), &json!("ada@example.com")));
        assert_eq!(user["preferences"], json!({ "id": saved["id"], "editorTheme": "dark" }));
        assert_ne!(saved["id"], user["id"]);
        let query = "query($id: ID!) { node(id: $id) { __typename id ... on UserPreferences { editorTheme } } }";
        let node = ada.gql(query, json!({ "id": saved["id"] })).await.ok();
        assert_eq!(node["node"], json!({ "__typename": "UserPreferences", "id": saved["id"], "editorTheme": "dark" }));
        assert_eq!(bob.gql(query, json!({ "id": saved["id"] })).await.ok(), json!({ "node": null }));
    }
}
