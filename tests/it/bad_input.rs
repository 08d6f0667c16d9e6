//! Given invalid requests, when they arrive, then each gets its typed error with the argument named, and nothing is
//! written.

use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::Database,
    project::{Project, each, settings, text, with},
    server::{Server, user_id},
};

const NOWHERE: &str = "0192f3a4-5b6c-7d8e-9f00-112233445566";
/// `MEMBER` is a member of the project. `OTHER` is a known user without access to it.
const MEMBER: &str = "member@example.com";
const OTHER: &str = "other@example.com";
const FLAGS: &[&str] =
    &["--max-file-bytes=1000", "--max-text-bytes=3000", "--max-sync-files=3", "--max-body-bytes=60000"];
const BAD_PATHS: &[&str] = &["", "/", ".", "..", "../a.py", "a/../../b.py", "a\0b", "a\nb", "a\u{7f}b"];

/// JSON that nests deeper than the limit.
fn too_deep() -> Value {
    (0..200).fold(json!([]), |inner, _| json!([inner]))
}

/// A user's projects, with one object of every kind in them.
struct World {
    ada: Client,
    project: Project,
    file: String,
    session: String,
    message: String,
    earlier_message: String,
    streaming: String,
    snapshot: String,
    /// At version 2.
    configuration: String,
    deleted_configuration: String,
    other: Project,
    other_configuration: String,
    other_file: String,
    other_session: String,
    other_message: String,
    deleted: Project,
}

impl World {
    async fn new(server: &Server) -> Self {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "One").await;
        let file = project.create_file("a.py", "one\n").await;
        project.update_file("a.py", "two\n").await;
        project.create_file("docs/b.md", "text\n").await;
        project.write("createFile", json!({ "path": "empty", "type": "FOLDER" }), "revision").await;
        let ended = project.start_session().await;
        let earlier_message = project.add_message(&ended, "Earlier", false).await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Checkpoint", true).await;
        let streaming = json!({ "sessionId": session, "role": "ASSISTANT" });
        let streaming = ada.mutate("startMessage", streaming, "messageId").await.ok();
        let streaming = text(&streaming["startMessage"]["messageId"]);
        let made = project.write("createSnapshot", json!({ "name": "Named" }), "snapshot { id }").await;
        let saved = async |project: &Project, name: &str| {
            text(
                &project.write("saveAgentConfiguration", settings(name), "agentConfiguration { id }").await["agentConfiguration"]
                    ["id"],
            )
        };
        let deleted_configuration = saved(&project, "Deleted").await;
        ada.mutate("deleteAgentConfiguration", json!({ "id": deleted_configuration }), "revision").await.ok();
        let configuration = saved(&project, "Agent").await;
        let more = with(settings("Agent, again"), json!({ "id": configuration }));
        project.write("saveAgentConfiguration", more, "revision").await;
        for email in [MEMBER, OTHER] {
            server.user(email).gql("{ viewer { id } }", json!({})).await.ok();
        }
        project.write("inviteCollaborator", json!({ "userId": user_id(MEMBER), "role": "EDITOR" }), "revision").await;
        let accepted = json!({ "projectId": project.id });
        server.user(MEMBER).mutate_with("acceptInvitation", accepted, "revision").await.ok();
        let other = Project::create(&ada, "Other").await;
        let other_configuration = saved(&other, "Other").await;
        let other_file = other.create_file("a.py", "other\n").await;
        let other_session = other.start_session().await;
        let other_message = other.add_message(&other_session, "There", true).await;
        let deleted = Project::create(&ada, "Deleted").await;
        deleted.create_file("a.py", "one\n").await;
        let snapshot = text(&made["snapshot"]["id"]);
        Self {
            ada,
            project,
            file,
            session,
            message,
            earlier_message,
            streaming,
            snapshot,
            configuration,
            deleted_configuration,
            other,
            other_configuration,
            other_file,
            other_session,
            other_message,
            deleted,
        }
    }

    /// An input with which the mutation would write something. `patch` sets other values; null removes a value.
    fn input(&self, mutation: &str, patch: Value) -> Value {
        let project = &self.project.id;
        let mut input = match mutation {
            "createProject" => json!({ "name": "New", "initialPrompt": "Be kind.", "config": {} }),
            "updateProject" => json!({ "id": project, "name": "New" }),
            "updateProfile" => json!({ "fullName": "New" }),
            "updatePreferences" => json!({ "editorTheme": "new" }),
            "startSession" => json!({ "projectId": project, "title": "New" }),
            "addMessage" => json!({ "sessionId": self.session, "role": "USER", "content": "New" }),
            "startMessage" => json!({ "sessionId": self.session, "role": "ASSISTANT" }),
            "appendToMessage" => json!({ "messageId": self.streaming, "offset": 0, "text": "New" }),
            "finishMessage" => json!({ "messageId": self.streaming }),
            "createFile" => json!({ "projectId": project, "path": "new.py", "content": "new" }),
            "updateFile" => json!({ "projectId": project, "path": "a.py", "content": "new" }),
            "renameFile" => json!({ "projectId": project, "path": "a.py", "newPath": "new.py" }),
            "deleteFile" => json!({ "projectId": project, "path": "a.py" }),
            "revertFile" => json!({ "fileId": self.file, "version": 1 }),
            "syncFiles" => json!({ "projectId": project, "files": [{ "path": "a.py", "content": "new" }] }),
            "createSnapshot" => json!({ "projectId": project, "name": "New" }),
            "restoreSnapshot" => json!({ "snapshotId": self.snapshot }),
            "updateSnapshot" => json!({ "snapshotId": self.snapshot, "name": "New" }),
            "deleteSnapshot" => json!({ "snapshotId": self.snapshot }),
            "restoreRevision" => json!({ "projectId": project, "revision": 2 }),
            "undo" => json!({ "projectId": project, "revision": 3 }),
            "redo" => json!({ "projectId": project }),
            "inviteCollaborator" => json!({ "projectId": project, "userId": user_id(OTHER), "role": "VIEWER" }),
            "inviteByEmail" => json!({ "projectId": project, "email": "new@example.com", "role": "VIEWER" }),
            "changeCollaboratorRole" => json!({ "projectId": project, "userId": user_id(MEMBER), "role": "VIEWER" }),
            "createWebhook" => json!({ "projectId": project, "url": "https://example.com/hook" }),
            "createAccessToken" => json!({ "projectId": project, "name": "New", "role": "VIEWER" }),
            "saveAgentConfiguration" => with(settings("New"), json!({ "projectId": project })),
            "setAgentConfigurationActive" => json!({ "id": self.configuration, "isActive": false }),
            "restoreAgentConfiguration" => json!({ "id": self.configuration, "version": 1 }),
            "deleteAgentConfiguration" => json!({ "id": self.configuration }),
            _ => panic!("no input for {mutation}"),
        };
        for (name, value) in patch.as_object().expect("an object") {
            input[name] = value.clone();
        }
        input.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        input
    }

    /// Everything that a write could change.
    async fn state(&self) -> Value {
        let query = "{ projects { totalCount } activitySummary { totalMessages totalChanges }
            viewer { updatedAt fullName preferences { updatedAt editorTheme } } }";
        let mine = self.ada.gql(query, json!({})).await.ok();
        json!([mine, self.project.state().await, self.other.state().await, self.deleted.state().await])
    }

    /// The values that a write most likely changes.
    async fn revisions(&self) -> Value {
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on Project { revision stats { lastActivityAt } } } }";
        let ids = [&self.project, &self.other, &self.deleted].map(|project| &project.id);
        self.ada.gql(query, json!({ "ids": ids })).await.ok()
    }

    async fn refuse(&self, mutation: &str, patch: Value, code: &str, field: &str) -> Response {
        let input = self.input(mutation, patch.clone());
        let before = self.revisions().await;
        let select = match mutation {
            "updateProfile" => "id",
            "createWebhook" => "__typename",
            "startMessage" | "appendToMessage" => "length",
            "updatePreferences" => "updatedAt",
            _ => "revision",
        };
        let answer = self.ada.mutate(mutation, input, select).await;
        let shown = patch.to_string().chars().take(200).collect::<String>();
        refused(&answer, code, field, &format!("{mutation} {shown}"));
        assert_eq!(self.revisions().await, before, "{mutation} {shown} was refused but wrote something");
        answer
    }

    async fn refuse_all(&self, cases: Vec<(&str, Value, &str, &str)>) {
        let before = self.state().await;
        for (mutation, patch, code, field) in cases {
            self.refuse(mutation, patch, code, field).await;
        }
        assert_eq!(self.state().await, before);
    }

    async fn refuse_query(&self, select: &str, code: &str, field: &str) {
        let query = format!("{{ project(id: \"{}\") {{ {select} }} }}", self.project.id);
        refused(&self.ada.gql(&query, json!({})).await, code, field, select);
    }
}

fn refused(answer: &Response, code: &str, field: &str, what: &str) {
    assert!(!answer.errors.is_empty(), "{what} succeeded: {}", answer.data);
    let extensions = &answer.errors[0]["extensions"];
    assert_eq!((&extensions["code"], &extensions["field"]), (&json!(code), &json!(field)), "{what}: {answer:?}");
    assert!(answer.status < 500, "{what}: {answer:?}");
    let message = answer.errors[0]["message"].as_str().unwrap();
    assert!(message.len() < 400 && !message.contains("SELECT"), "{what}: {message}");
}

tests::on_both! {
    async fn unknown_ids_are_refused_and_change_nothing(server: Server) {
        let world = World::new(&server).await;
        let inputs = [
            ("updateProject", "id", ""),
            ("startSession", "projectId", ""),
            ("addMessage", "sessionId", ""),
            ("startMessage", "sessionId", ""),
            ("appendToMessage", "messageId", ""),
            ("finishMessage", "messageId", ""),
            ("createFile", "projectId", ""),
            ("createFile", "sessionId", ""),
            ("createFile", "messageId", ""),
            ("updateFile", "projectId", ""),
            ("updateFile", "sessionId", ""),
            ("updateFile", "messageId", ""),
            ("renameFile", "projectId", ""),
            ("renameFile", "sessionId", ""),
            ("renameFile", "messageId", ""),
            ("deleteFile", "projectId", ""),
            ("deleteFile", "sessionId", ""),
            ("deleteFile", "messageId", ""),
            ("revertFile", "fileId", ""),
            ("revertFile", "snapshotId", "version"),
            ("revertFile", "sessionId", ""),
            ("revertFile", "messageId", ""),
            ("syncFiles", "projectId", ""),
            ("syncFiles", "sessionId", ""),
            ("syncFiles", "messageId", ""),
            ("createSnapshot", "projectId", ""), ("createSnapshot", "sessionId", ""), ("createSnapshot", "messageId", ""),
            ("restoreSnapshot", "snapshotId", ""),
            ("updateSnapshot", "snapshotId", ""), ("deleteSnapshot", "snapshotId", ""),
            ("restoreRevision", "projectId", ""),
            ("undo", "projectId", ""), ("undo", "messageId", ""), ("redo", "projectId", ""),
            ("inviteCollaborator", "projectId", ""),
            ("inviteCollaborator", "userId", ""),
            ("inviteByEmail", "projectId", ""),
            ("createAccessToken", "projectId", ""), ("createWebhook", "projectId", ""),
            ("changeCollaboratorRole", "projectId", ""), ("changeCollaboratorRole", "userId", ""),
            ("saveAgentConfiguration", "projectId", ""), ("saveAgentConfiguration", "id", ""),
            ("setAgentConfigurationActive", "id", ""),
            ("restoreAgentConfiguration", "id", ""),
            ("deleteAgentConfiguration", "id", ""),
        ];
        for (mutation, field, without) in inputs {
            for (id, code) in [(NOWHERE, "NOT_FOUND"), ("nonsense", "BAD_USER_INPUT"), ("", "BAD_USER_INPUT")] {
                let mut patch = json!({ field: id });
                if !without.is_empty() {
                    patch[without] = Value::Null;
                }
                world.refuse(mutation, patch, code, field).await;
            }
        }
        let (project, member) = (json!({ "projectId": world.project.id }), json!({ "userId": user_id(MEMBER) }));
        let arguments = [
            ("touchProject", "id", json!({})),
            ("deleteProject", "id", json!({})),
            ("endSession", "id", json!({})),
            ("discardMessage", "messageId", json!({})),
            ("revokeAccessToken", "accessTokenId", json!({})),
            ("updateWebhook", "webhookId", json!({ "isEnabled": true })), ("deleteWebhook", "webhookId", json!({})),
            ("rotateWebhookSecret", "webhookId", json!({})), ("redeliver", "deliveryId", json!({})),
            ("withdrawEmailInvitation", "projectId", json!({ "email": "new@example.com" })),
            ("acceptInvitation", "projectId", json!({})),
            ("declineInvitation", "projectId", json!({})),
            ("removeCollaborator", "projectId", member.clone()),
            ("removeCollaborator", "userId", project.clone()),
            ("leaveProject", "projectId", json!({})),
            ("transferOwnership", "projectId", member),
            ("transferOwnership", "userId", project),
        ];
        for (mutation, field, rest) in &arguments {
            let before = world.state().await;
            for (id, code) in [(NOWHERE, "NOT_FOUND"), ("nonsense", "BAD_USER_INPUT"), (NOWHERE.replace('-', "").as_str(), "BAD_USER_INPUT")] {
                let variables = with(rest.clone(), json!({ *field: id }));
                let is_wrapped = matches!(*field, "webhookId" | "deliveryId");
                let variables = if is_wrapped { json!({ "input": variables }) } else { variables };
                refused(&world.ada.mutate_with(mutation, variables, "__typename").await, code, field, mutation);
            }
            assert_eq!(world.state().await, before, "{mutation}");
        }
        // Every mutation that takes an id is tried here.
        let schema = world.ada.gql("{ __schema { mutationType { fields { name } } } }", json!({})).await.ok();
        for name in each(&schema["__schema"]["mutationType"]["fields"], "name") {
            let is_tried = inputs.iter().map(|(mutation, ..)| *mutation).chain(arguments.iter().map(|(mutation, ..)| *mutation)).any(|mutation| name == mutation);
            assert!(is_tried || ["createProject", "updateProfile", "updatePreferences"].iter().any(|mutation| name == *mutation), "{name}");
        }
        for (query, field) in [
            ("{ project(id: \"nonsense\") { id } }", "id"),
            ("{ node(id: \"nonsense\") { id } }", "id"),
            ("{ nodes(ids: [\"0192f3a4-5b6c-7d8e-9f00-112233445566\", \"nonsense\"]) { id } }", "ids[1]"),
            ("{ recentActivity(projectId: \"nonsense\") { totalCount } }", "projectId"),
        ] {
            refused(&world.ada.gql(query, json!({})).await, "BAD_USER_INPUT", field, query);
        }
        for field in ["sessionId", "messageId", "fileId"] {
            let select = format!("changes(filter: {{ {field}: \"nonsense\" }}) {{ totalCount }}");
            world.refuse_query(&select, "BAD_USER_INPUT", &format!("filter.{field}")).await;
        }
        let query = "query($id: ID!) { project(id: $id) { id } node(id: $id) { id } nodes(ids: [$id, $id]) { id } }";
        let nothing = json!({ "project": null, "node": null, "nodes": [null, null] });
        assert_eq!(world.ada.gql(query, json!({ "id": NOWHERE })).await.ok(), nothing);
    }

    async fn objects_of_another_project_are_not_found(server: Server) {
        let world = World::new(&server).await;
        let their_version = world.other.ask("file(path: \"a.py\") { versions { nodes { id } } }").await;
        let their_version = their_version["file"]["versions"]["nodes"][0]["id"].clone();
        let mut cases = vec![
            ("revertFile", json!({ "snapshotId": their_version, "version": null }), "NOT_FOUND", "snapshotId"),
            ("revertFile", json!({ "snapshotId": world.snapshot, "version": null }), "NOT_FOUND", "snapshotId"),
            ("revertFile", json!({ "version": 3 }), "NOT_FOUND", "version"),
            ("revertFile", json!({ "version": -1 }), "NOT_FOUND", "version"),
            ("restoreSnapshot", json!({ "snapshotId": their_version }), "NOT_FOUND", "snapshotId"),
            ("updateSnapshot", json!({ "snapshotId": their_version }), "NOT_FOUND", "snapshotId"),
            ("deleteSnapshot", json!({ "snapshotId": their_version }), "NOT_FOUND", "snapshotId"),
            ("restoreSnapshot", json!({ "snapshotId": world.project.id }), "NOT_FOUND", "snapshotId"),
            ("startSession", json!({ "projectId": world.session }), "NOT_FOUND", "projectId"),
            ("addMessage", json!({ "sessionId": world.project.id }), "NOT_FOUND", "sessionId"),
            ("startMessage", json!({ "sessionId": world.project.id }), "NOT_FOUND", "sessionId"),
            ("startMessage", json!({ "idempotencyKey": " " }), "BAD_USER_INPUT", "idempotencyKey"),
            ("appendToMessage", json!({ "messageId": world.session }), "NOT_FOUND", "messageId"),
            // A message that was not streamed is already finished.
            ("appendToMessage", json!({ "messageId": world.message }), "CONFLICT", "messageId"),
            ("finishMessage", json!({ "length": 7 }), "CONFLICT", "length"),
            ("updateFile", json!({ "path": "nowhere.py" }), "NOT_FOUND", "path"),
            ("renameFile", json!({ "path": "nowhere.py" }), "NOT_FOUND", "path"),
            ("deleteFile", json!({ "path": "nowhere.py" }), "NOT_FOUND", "path"),
            ("restoreRevision", json!({ "revision": 0 }), "BAD_USER_INPUT", "revision"),
            ("restoreRevision", json!({ "revision": -1 }), "BAD_USER_INPUT", "revision"),
            ("restoreRevision", json!({ "revision": 1000 }), "BAD_USER_INPUT", "revision"),
            ("undo", json!({ "revision": 1000 }), "BAD_USER_INPUT", "revision"),
            ("undo", json!({ "revision": 0 }), "BAD_USER_INPUT", "revision"),
            ("undo", json!({ "revision": -1 }), "BAD_USER_INPUT", "revision"),
            ("saveAgentConfiguration", json!({ "id": world.other_configuration }), "NOT_FOUND", "id"),
            ("saveAgentConfiguration", json!({ "id": world.deleted_configuration }), "NOT_FOUND", "id"),
            ("saveAgentConfiguration", json!({ "id": world.project.id }), "NOT_FOUND", "id"),
            ("setAgentConfigurationActive", json!({ "id": world.deleted_configuration }), "NOT_FOUND", "id"),
            ("setAgentConfigurationActive", json!({ "id": world.snapshot }), "NOT_FOUND", "id"),
            ("restoreAgentConfiguration", json!({ "version": 3 }), "NOT_FOUND", "version"),
            ("restoreAgentConfiguration", json!({ "version": 0 }), "NOT_FOUND", "version"),
            ("restoreAgentConfiguration", json!({ "version": -1 }), "NOT_FOUND", "version"),
            ("changeCollaboratorRole", json!({ "userId": user_id(OTHER) }), "NOT_FOUND", "userId"),
            ("changeCollaboratorRole", json!({ "userId": world.project.id }), "NOT_FOUND", "userId"),
            ("inviteCollaborator", json!({ "userId": world.project.id }), "NOT_FOUND", "userId"),
        ];
        for mutation in ["createFile", "updateFile", "renameFile", "deleteFile", "revertFile", "syncFiles", "createSnapshot"] {
            let (session, message) = (&world.session, &world.message);
            cases.extend([
                (mutation, json!({ "sessionId": world.other_session }), "NOT_FOUND", "sessionId"),
                (mutation, json!({ "messageId": world.other_message }), "NOT_FOUND", "messageId"),
                (mutation, json!({ "sessionId": session, "messageId": world.other_message }), "NOT_FOUND", "messageId"),
                (mutation, json!({ "sessionId": session, "messageId": world.earlier_message }), "NOT_FOUND", "messageId"),
                (mutation, json!({ "sessionId": world.other_session, "messageId": message }), "NOT_FOUND", "sessionId"),
            ]);
        }
        world.refuse_all(cases).await;
        let before = world.state().await;
        for (mutation, more, field) in [
            ("removeCollaborator", json!({ "userId": user_id(OTHER) }), "userId"),
            ("transferOwnership", json!({ "userId": user_id(OTHER) }), "userId"),
            ("withdrawEmailInvitation", json!({ "email": MEMBER }), "email"),
            ("acceptInvitation", json!({}), "projectId"),
        ] {
            let variables = with(more, json!({ "projectId": world.project.id }));
            refused(&world.ada.mutate_with(mutation, variables, "revision").await, "NOT_FOUND", field, mutation);
        }
        assert_eq!(world.state().await, before);
        let select = format!("changes(filter: {{ fileId: \"{}\" }}) {{ totalCount nodes {{ id }} }}", world.other_file);
        assert_eq!(world.project.ask(&select).await["changes"], json!({ "totalCount": 0, "nodes": [] }));
    }

    async fn a_deleted_project_refuses_writes(server: Server) {
        let world = World::new(&server).await;
        let (project, id) = (&world.deleted, &world.deleted.id);
        let session = project.start_session().await;
        let snapshot = project.write("createSnapshot", json!({}), "snapshot { id }").await["snapshot"]["id"].take();
        let file = project.ask("file(path: \"a.py\") { id }").await["file"]["id"].take();
        let saved = project.write("saveAgentConfiguration", settings("Agent"), "agentConfiguration { id }").await;
        let configuration = &saved["agentConfiguration"]["id"];
        world.ada.mutate_id("deleteProject", id, "revision").await.ok();
        world.refuse_all(vec![
            ("startSession", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("addMessage", json!({ "sessionId": session }), "CONFLICT", "sessionId"),
            ("createFile", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("updateFile", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("renameFile", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("deleteFile", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("revertFile", json!({ "fileId": file }), "CONFLICT", "fileId"),
            ("syncFiles", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("createSnapshot", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("restoreSnapshot", json!({ "snapshotId": snapshot }), "CONFLICT", "snapshotId"),
            ("updateSnapshot", json!({ "snapshotId": snapshot, "name": "New" }), "CONFLICT", "snapshotId"),
            ("deleteSnapshot", json!({ "snapshotId": snapshot }), "CONFLICT", "snapshotId"),
            ("restoreRevision", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("undo", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("updateProject", json!({ "id": id }), "CONFLICT", "id"),
            ("inviteCollaborator", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("inviteByEmail", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("changeCollaboratorRole", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("createAccessToken", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("saveAgentConfiguration", json!({ "projectId": id }), "CONFLICT", "projectId"),
            ("setAgentConfigurationActive", json!({ "id": configuration }), "CONFLICT", "id"),
            ("restoreAgentConfiguration", json!({ "id": configuration }), "CONFLICT", "id"),
            ("deleteAgentConfiguration", json!({ "id": configuration }), "CONFLICT", "id"),
        ]).await;
        let before = world.state().await;
        for (mutation, more) in [
            ("removeCollaborator", json!({ "userId": user_id(MEMBER) })),
            ("transferOwnership", json!({ "userId": user_id(MEMBER) })),
            ("withdrawEmailInvitation", json!({ "email": "new@example.com" })),
            ("leaveProject", json!({})),
        ] {
            let answer = world.ada.mutate_with(mutation, with(more, json!({ "projectId": id })), "revision").await;
            refused(&answer, "CONFLICT", "projectId", mutation);
        }
        for (mutation, id) in [("endSession", &session), ("touchProject", id)] {
            refused(&world.ada.mutate_id(mutation, id, "revision").await, "CONFLICT", "id", mutation);
        }
        assert_eq!(world.state().await, before);
    }

    async fn paths_stay_within_the_project(server: Server) {
        let world = World::new(&server).await;
        let long = "x".repeat(10_000);
        let deep = "x/".repeat(5_000);
        for path in BAD_PATHS.iter().copied().chain([long.as_str(), &deep]) {
            let file = json!([{ "path": "fine.py", "content": "" }, { "path": path, "content": "" }]);
            world.refuse_all(vec![
                ("createFile", json!({ "path": path }), "BAD_USER_INPUT", "path"),
                ("updateFile", json!({ "path": path }), "BAD_USER_INPUT", "path"),
                ("renameFile", json!({ "path": path }), "BAD_USER_INPUT", "path"),
                ("renameFile", json!({ "newPath": path }), "BAD_USER_INPUT", "newPath"),
                ("deleteFile", json!({ "path": path }), "BAD_USER_INPUT", "path"),
                ("syncFiles", json!({ "files": file }), "BAD_USER_INPUT", "files[1].path"),
            ]).await;
            for (select, field) in [
                ("file(path: $path) { id }", "path"),
                ("files(under: $path) { totalCount }", "under"),
                ("changes(filter: { path: $path }) { totalCount }", "filter.path"),
            ] {
                let query = format!("query($id: ID!, $path: String!) {{ project(id: $id) {{ {select} }} }}");
                let variables = json!({ "id": world.project.id, "path": path });
                refused(&world.ada.gql(&query, variables).await, "BAD_USER_INPUT", field, select);
            }
        }
    }

    async fn files_and_folders_always_form_a_tree(server: Server) {
        let world = World::new(&server).await;
        let sync = |files: Value| json!({ "files": files });
        let file = |path: &str| json!({ "path": path, "content": "new" });
        world.refuse_all(vec![
            ("createFile", json!({ "path": "a.py" }), "CONFLICT", "path"),
            ("createFile", json!({ "path": "./a.py" }), "CONFLICT", "path"),
            ("createFile", json!({ "path": "a.py/below.py" }), "CONFLICT", "path"),
            ("createFile", json!({ "path": "docs" }), "CONFLICT", "path"),
            ("createFile", json!({ "type": "FOLDER" }), "BAD_USER_INPUT", "content"),
            ("updateFile", json!({ "path": "empty" }), "BAD_USER_INPUT", "path"),
            ("renameFile", json!({ "newPath": "docs/b.md" }), "CONFLICT", "newPath"),
            ("renameFile", json!({ "newPath": "docs/b.md/a.py" }), "CONFLICT", "newPath"),
            ("renameFile", json!({ "newPath": "docs" }), "CONFLICT", "newPath"),
            ("renameFile", json!({ "newPath": "a.py/below.py" }), "BAD_USER_INPUT", "newPath"),
            ("renameFile", json!({ "path": "empty", "newPath": "empty/below" }), "BAD_USER_INPUT", "newPath"),
            ("syncFiles", sync(json!([file("b.py"), file("/b.py")])), "BAD_USER_INPUT", "files[1].path"),
            ("syncFiles", sync(json!([file("b.py"), file("b.py/c.py")])), "CONFLICT", "files"),
            ("syncFiles", sync(json!([file("a.py/c.py")])), "CONFLICT", "files"),
            ("syncFiles", sync(json!([file("empty")])), "CONFLICT", "files"),
            ("syncFiles", sync(json!([{ "path": "a.py", "type": "FOLDER" }])), "CONFLICT", "files"),
            ("syncFiles", sync(json!([{ "path": "b", "type": "FOLDER", "content": "" }])), "BAD_USER_INPUT", "files[0].content"),
        ]).await;
    }

    async fn failed_preconditions_return_the_current_state(server: Server) {
        let world = World::new(&server).await;
        let current = world.project.revision().await;
        for mutation in ["updateFile", "renameFile", "deleteFile", "revertFile"] {
            for stale in [1, 3, 0, -1] {
                let answer = world.refuse(mutation, json!({ "expectedVersion": stale }), "CONFLICT", "expectedVersion").await;
                assert_eq!(answer.error()["extensions"]["currentVersion"], 2);
            }
        }
        for mutation in ["saveAgentConfiguration", "setAgentConfigurationActive", "restoreAgentConfiguration", "deleteAgentConfiguration"] {
            for stale in [1, 3, 0, -1] {
                let patch = json!({ "id": world.configuration, "expectedVersion": stale });
                let answer = world.refuse(mutation, patch, "CONFLICT", "expectedVersion").await;
                assert_eq!(answer.error()["extensions"]["currentVersion"], 2);
            }
        }
        world.refuse("saveAgentConfiguration", json!({ "expectedVersion": 1 }), "BAD_USER_INPUT", "expectedVersion").await;
        for mutation in ["syncFiles", "restoreSnapshot", "restoreRevision", "undo"] {
            for stale in [current - 1, current + 1, 0].into_iter().skip(1) {
                let answer = world.refuse(mutation, json!({ "expectedRevision": stale }), "CONFLICT", "expectedRevision").await;
                assert_eq!(answer.error()["extensions"]["currentRevision"], current);
            }
        }
        for mutation in ["updateFile", "renameFile"] {
            let input = world.input(mutation, json!({ "expectedVersion": if mutation == "updateFile" { 2 } else { 3 } }));
            world.ada.mutate(mutation, input, "revision").await.ok();
        }
        let input = world.input("syncFiles", json!({ "expectedRevision": current + 2 }));
        world.ada.mutate("syncFiles", input, "revision").await.ok();
    }

    async fn invalid_values_are_refused(server: Server) {
        let world = World::new(&server).await;
        let bad = "BAD_USER_INPUT";
        let deep = too_deep();
        world.refuse_all(vec![
            ("createProject", json!({ "name": "" }), bad, "name"),
            ("createProject", json!({ "name": " \t\n" }), bad, "name"),
            ("createProject", json!({ "name": null }), bad, "name"),
            ("createProject", json!({ "name": "a\0b" }), bad, "name"),
            ("createProject", json!({ "name": 5 }), bad, "name"),
            ("createProject", json!({ "description": "a\0b" }), bad, "description"),
            ("createProject", json!({ "initialPrompt": "a\0b" }), bad, "initialPrompt"),
            ("createProject", json!({ "config": deep }), bad, "config"),
            ("createProject", json!({ "nothing": 1 }), bad, "nothing"),
            ("updateProject", json!({ "name": "" }), bad, "name"),
            ("updateProject", json!({ "status": "GONE" }), bad, "status"),
            ("updateProject", json!({ "config": deep }), bad, "config"),
            ("updateProfile", json!({ "fullName": "" }), bad, "fullName"),
            ("updateProfile", json!({ "avatarUrl": "a\0b" }), bad, "avatarUrl"),
            ("updatePreferences", json!({ "editorTheme": "" }), bad, "editorTheme"),
            ("updatePreferences", json!({ "uiPreferences": deep }), bad, "uiPreferences"),
            ("updatePreferences", json!({ "autoSaveEnabled": "yes" }), bad, "autoSaveEnabled"),
            ("startSession", json!({ "title": "a\0b" }), bad, "title"),
            ("startSession", json!({ "metadata": deep }), bad, "metadata"),
            ("addMessage", json!({ "role": "ROBOT" }), bad, "role"),
            ("addMessage", json!({ "role": null }), bad, "role"),
            ("addMessage", json!({ "content": "a\0b" }), bad, "content"),
            ("addMessage", json!({ "contextData": deep }), bad, "contextData"),
            ("addMessage", json!({ "metadata": deep }), bad, "metadata"),
            ("addMessage", json!({ "idempotencyKey": "" }), bad, "idempotencyKey"),
            ("createFile", json!({ "type": "LINK" }), bad, "type"),
            ("createFile", json!({ "content": "a", "contentBase64": "YQ==" }), bad, "contentBase64"),
            ("createFile", json!({ "content": null, "contentBase64": "%%%" }), bad, "contentBase64"),
            ("createFile", json!({ "content": null, "contentBase64": "YQ" }), bad, "contentBase64"),
            ("createFile", json!({ "language": "" }), bad, "language"),
            ("createFile", json!({ "language": "a\0b" }), bad, "language"),
            ("createFile", json!({ "changeDescription": "a\0b" }), bad, "changeDescription"),
            ("updateFile", json!({ "content": null }), bad, "content"),
            ("updateFile", json!({ "contentBase64": "YQ==" }), bad, "contentBase64"),
            ("updateFile", json!({ "expectedVersion": "one" }), bad, "expectedVersion"),
            ("revertFile", json!({ "version": null }), bad, "snapshotId"),
            ("revertFile", json!({ "snapshotId": world.snapshot }), bad, "snapshotId"),
            ("syncFiles", json!({ "mode": "REPLACE" }), bad, "mode"),
            ("syncFiles", json!({ "files": [{ "path": "b", "content": "", "contentBase64": "" }] }), bad, "files[0].contentBase64"),
            ("syncFiles", json!({ "files": [{ "path": "b", "contentBase64": "%" }] }), bad, "files[0].contentBase64"),
            ("syncFiles", json!({ "files": [{ "content": "" }] }), bad, "files[0].path"),
            ("syncFiles", json!({ "files": [{ "path": "b", "language": "" }] }), bad, "files[0].language"),
            ("createSnapshot", json!({ "name": "" }), bad, "name"),
            ("createSnapshot", json!({ "name": " " }), bad, "name"),
            ("createSnapshot", json!({ "description": "a\0b" }), bad, "description"),
            ("updateSnapshot", json!({ "name": "" }), bad, "name"),
            ("updateSnapshot", json!({ "name": " " }), bad, "name"),
            ("updateSnapshot", json!({ "name": "a\0b" }), bad, "name"),
            ("updateSnapshot", json!({ "description": "a\0b" }), bad, "description"),
            ("undo", json!({ "revision": "three" }), bad, "revision"),
            ("undo", json!({ "expectedRevision": 1.5 }), bad, "expectedRevision"),
            ("undo", json!({ "nothing": 1 }), bad, "nothing"),
            ("inviteCollaborator", json!({ "role": "OWNER" }), bad, "role"),
            ("inviteCollaborator", json!({ "role": "ADMIN" }), bad, "role"),
            ("inviteCollaborator", json!({ "role": null }), bad, "role"),
            ("inviteCollaborator", json!({ "userId": user_id("ada@example.com") }), bad, "userId"),
            ("changeCollaboratorRole", json!({ "role": "OWNER" }), bad, "role"),
            ("inviteByEmail", json!({ "role": "OWNER" }), bad, "role"),
            ("createAccessToken", json!({ "expiresAt": "tomorrow" }), bad, "expiresAt"),
            ("inviteByEmail", json!({ "email": "" }), bad, "email"),
            ("inviteByEmail", json!({ "email": "nobody" }), bad, "email"),
            ("inviteByEmail", json!({ "email": "a@b\0c" }), bad, "email"),
            ("inviteByEmail", json!({ "email": format!("{}@example.com", "a".repeat(300)) }), bad, "email"),
            ("inviteByEmail", json!({ "email": ["a@example.com"] }), bad, "email"),
            ("saveAgentConfiguration", json!({ "configName": " " }), bad, "configName"),
            ("saveAgentConfiguration", json!({ "configName": null }), bad, "configName"),
            ("saveAgentConfiguration", json!({ "sttProvider": "" }), bad, "sttProvider"),
            ("saveAgentConfiguration", json!({ "ttsModel": "" }), bad, "ttsModel"),
            ("saveAgentConfiguration", json!({ "llmModel": "a\0b" }), bad, "llmModel"),
            ("saveAgentConfiguration", json!({ "vadProvider": "" }), bad, "vadProvider"),
            ("saveAgentConfiguration", json!({ "description": "a\0b" }), bad, "description"),
            ("saveAgentConfiguration", json!({ "agentInstructions": "a\0b" }), bad, "agentInstructions"),
            ("saveAgentConfiguration", json!({ "llmConfig": deep }), bad, "llmConfig"),
            ("saveAgentConfiguration", json!({ "isActive": "yes" }), bad, "isActive"),
            ("setAgentConfigurationActive", json!({ "isActive": null }), bad, "isActive"),
            ("restoreAgentConfiguration", json!({ "version": null }), bad, "version"),
            ("restoreAgentConfiguration", json!({ "version": "one" }), bad, "version"),
        ]).await;
        for email in ["", "nobody", "a b@example.com"] {
            let variables = json!({ "projectId": world.project.id, "email": email });
            let answer = world.ada.mutate_with("withdrawEmailInvitation", variables, "revision").await;
            refused(&answer, bad, "email", email);
        }
    }

    async fn lists_accept_only_their_own_cursors_and_bounded_pages(server: Server) {
        let world = World::new(&server).await;
        let session = format!("node(id: \"{}\") {{ ... on ChatSession", world.session);
        let snapshot = format!("node(id: \"{}\") {{ ... on ProjectSnapshot", world.snapshot);
        let file = format!("node(id: \"{}\") {{ ... on ProjectFile", world.file);
        let project = format!("project(id: \"{}\")", world.project.id);
        let lists = [
            ("projects", String::new()),
            ("recentActivity", String::new()),
            ("sessions", project.clone()),
            ("files", project.clone()),
            ("changes", project.clone()),
            ("snapshots", project.clone()),
            ("messages", session),
            ("files", snapshot),
            ("versions", file),
        ];
        let ask = async |list: &str, parent: &str, arguments: &str| {
            let ends = if parent.starts_with("node") { " } }" } else if parent.is_empty() { "" } else { " }" };
            let opens = if parent.is_empty() { "" } else { "{" };
            let query = format!("{{ {parent} {opens} list: {list}{arguments} {{ edges {{ cursor }} }} {ends} }}");
            world.ada.gql(&query, json!({})).await
        };
        let mut cursors = Vec::new();
        for (list, parent) in &lists {
            let mut data = ask(list, parent, "(first: 1)").await.ok();
            let list = if parent.is_empty() { data["list"].take() } else { data[&parent[..parent.find('(').unwrap()]]["list"].take() };
            cursors.push(text(&list["edges"][0]["cursor"]));
        }
        // Cursors that this service never writes.
        let forged = |keys: Value| {
            use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
            URL_SAFE_NO_PAD.encode(keys.to_string())
        };
        let nul = forged(json!([{ "s": "a\0b" }, { "i": NOWHERE }]));
        let old = forged(json!([{ "t": "-200000-01-01T00:00:00Z" }, { "i": NOWHERE }]));
        for (at, (list, parent)) in lists.iter().enumerate() {
            let foreign = &cursors[(at + 1) % lists.len()];
            for (arguments, field) in [
                ("first: -1".to_owned(), "first"),
                ("last: -1".to_owned(), "last"),
                ("first: 100000".to_owned(), "first"),
                ("last: 100000".to_owned(), "last"),
                ("first: 1, last: 1".to_owned(), "last"),
                ("after: \"nonsense\"".to_owned(), "after"),
                ("before: \"\"".to_owned(), "before"),
                (format!("after: \"{foreign}\""), "after"),
                (format!("last: 1, before: \"{foreign}\""), "before"),
                (format!("after: \"{nul}\""), "after"),
                (format!("before: \"{old}\""), "before"),
            ] {
                let what = format!("{parent} {list}({arguments})");
                refused(&ask(list, parent, &format!("({arguments})")).await, "BAD_USER_INPUT", field, &what);
            }
        }
    }

    async fn queries_with_invalid_arguments_are_refused(server: Server) {
        let world = World::new(&server).await;
        let bad = "BAD_USER_INPUT";
        for (select, field) in [
            ("events(first: -1) { revision }", "first"),
            ("events(first: 501) { revision }", "first"),
            ("events(afterRevision: -1) { revision }", "afterRevision"),
            ("file(path: \"a.py\", at: -1) { id }", "at"),
            ("file(path: \"a.py\", at: 1000) { id }", "at"),
            ("files(at: 1000) { totalCount }", "at"),
            ("diff(from: -1) { path }", "from"),
            ("diff(from: 1, to: 1000) { path }", "to"),
            ("sessions(filter: { startedAfter: \"yesterday\" }) { totalCount }", "filter.startedAfter"),
            ("sessions(filter: { startedBefore: \"2026-02-30T00:00:00Z\" }) { totalCount }", "filter.startedBefore"),
        ] {
            world.refuse_query(select, bad, field).await;
        }
        // A document with a literal of the wrong type is invalid as a whole.
        let unknown = "changes(filter: { type: MOVE }) { totalCount }";
        world.refuse_query(unknown, "GRAPHQL_VALIDATION_FAILED", "filter.type").await;
        for (query, value, field) in [
            ("query($value: DateTime) { projects(filter: { createdAfter: $value }) { totalCount } }", json!("yesterday"), "filter.createdAfter"),
            ("query($value: DateTime) { projects(filter: { createdBefore: $value }) { totalCount } }", json!("2026-01-31"), "filter.createdBefore"),
            ("query($value: String) { projects(filter: { search: $value }) { totalCount } }", json!("a\0b"), "filter.search"),
            ("query($value: String) { projects(filter: { search: $value }) { totalCount } }", json!("%".repeat(30_000)), "filter.search"),
            ("query($value: ProjectOrder) { projects(orderBy: $value) { totalCount } }", json!({ "field": "SIZE" }), "orderBy.field"),
            ("query($value: ProjectOrder) { projects(orderBy: $value) { totalCount } }", json!({ "field": "NAME", "direction": "UP" }), "orderBy.direction"),
            ("query($value: ProjectFilter) { projects(filter: $value) { totalCount } }", json!({ "status": "GONE" }), "filter.status"),
            ("query($value: ProjectFilter) { projects(filter: $value) { totalCount } }", json!({ "nothing": 1 }), "filter.nothing"),
            ("query($value: [ID!]!) { nodes(ids: $value) { id } }", json!(vec![NOWHERE; 101]), "ids"),
        ] {
            refused(&world.ada.gql(query, json!({ "value": value })).await, bad, field, query);
        }
        for search in ["a\0b".to_owned(), "%".repeat(30_000)] {
            let query = "query($id: ID!, $search: String) { node(id: $id) { ... on ChatSession {
                messages(filter: { search: $search }) { totalCount } } } }";
            let answer = world.ada.gql(query, json!({ "id": world.session, "search": search })).await;
            refused(&answer, bad, "filter.search", "messages");
        }
    }

    async fn invalid_subscriptions_are_refused_at_once(server: Server) {
        let world = World::new(&server).await;
        let now = world.project.revision().await;
        for (query, id, after, code, field) in [
            ("projectEvents(projectId: $id, afterRevision: $after) { revision }", NOWHERE, json!(0), "NOT_FOUND", "projectId"),
            ("projectEvents(projectId: $id, afterRevision: $after) { revision }", "nonsense", json!(0), "BAD_USER_INPUT", "projectId"),
            ("projectEvents(projectId: $id, afterRevision: $after) { revision }", &world.project.id, json!(-1), "BAD_USER_INPUT", "afterRevision"),
            ("projectEvents(projectId: $id, afterRevision: $after) { revision }", &world.project.id, json!(now + 1), "POSITION_LOST", ""),
            ("codeChanged(projectId: $id, afterRevision: $after) { revision }", NOWHERE, json!(null), "NOT_FOUND", "projectId"),
            ("codeChanged(projectId: $id, afterRevision: $after) { revision }", &world.project.id, json!(-1), "BAD_USER_INPUT", "afterRevision"),
            ("messageAdded(sessionId: $id, afterRevision: $after) { revision }", NOWHERE, json!(null), "NOT_FOUND", "sessionId"),
            ("messageAdded(sessionId: $id, afterRevision: $after) { revision }", &world.project.id, json!(null), "NOT_FOUND", "sessionId"),
            ("messageAdded(sessionId: $id, afterRevision: $after) { revision }", &world.session, json!(1000), "POSITION_LOST", ""),
        ] {
            let query = format!("subscription($id: ID!, $after: Int) {{ {query} }}");
            let mut subscription = world.ada.subscribe(&query, json!({ "id": id, "after": after })).await;
            let errors = subscription.next().await.expect("an answer").expect_err("a refusal");
            let extensions = &errors[0]["extensions"];
            let said = extensions["field"].as_str().unwrap_or_default();
            assert_eq!((&extensions["code"], said), (&json!(code), field), "{query} {id}: {errors:?}");
            assert_eq!(subscription.next().await, None);
        }
    }

    async fn oversized_values_are_refused_with_their_argument_named(database: Database) {
        let server = Server::start_with(&database, FLAGS).await;
        let world = World::new(&server).await;
        let large = "PAYLOAD_TOO_LARGE";
        let (file, text) = ("x".repeat(1_001), "x".repeat(3_001));
        let json = json!({ "text": "x".repeat(3_000) });
        let base64 = {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            STANDARD.encode(&file)
        };
        let four: Vec<Value> = (0..4).map(|n| json!({ "path": format!("{n}.py"), "content": "" })).collect();
        world.refuse_all(vec![
            ("createFile", json!({ "content": file }), large, "content"),
            ("createFile", json!({ "content": null, "contentBase64": base64 }), large, "content"),
            ("updateFile", json!({ "content": file }), large, "content"),
            ("syncFiles", json!({ "files": [{ "path": "a", "content": "" }, { "path": "b", "content": file }] }), large, "files[1].content"),
            ("syncFiles", json!({ "files": four }), large, "files"),
            ("createProject", json!({ "name": text }), large, "name"),
            ("createProject", json!({ "description": text }), large, "description"),
            ("createProject", json!({ "initialPrompt": text }), large, "initialPrompt"),
            ("createProject", json!({ "config": json }), large, "config"),
            ("updateProject", json!({ "config": json }), large, "config"),
            ("startSession", json!({ "title": text }), large, "title"),
            ("startSession", json!({ "metadata": json }), large, "metadata"),
            ("addMessage", json!({ "content": text }), large, "content"),
            ("addMessage", json!({ "contextData": json }), large, "contextData"),
            ("addMessage", json!({ "idempotencyKey": text }), large, "idempotencyKey"),
            ("updateFile", json!({ "changeDescription": text }), large, "changeDescription"),
            ("createSnapshot", json!({ "name": text }), large, "name"),
            ("createSnapshot", json!({ "description": text }), large, "description"),
            ("updateSnapshot", json!({ "name": text }), large, "name"),
            ("updateSnapshot", json!({ "description": text }), large, "description"),
            ("updateProfile", json!({ "fullName": text }), large, "fullName"),
            ("updatePreferences", json!({ "uiPreferences": json }), large, "uiPreferences"),
            ("saveAgentConfiguration", json!({ "configName": text }), large, "configName"),
            ("saveAgentConfiguration", json!({ "agentInstructions": text }), large, "agentInstructions"),
            ("saveAgentConfiguration", json!({ "toolIntegrations": json }), large, "toolIntegrations"),
        ]).await;
        // Each part fits, but together they do not.
        let parts = json!({ "agentInstructions": &text[1_000..], "llmConfig": { "text": &text[1_500..] } });
        let answer = world.ada.mutate("saveAgentConfiguration", world.input("saveAgentConfiguration", parts), "revision").await;
        assert_eq!((answer.error_code(), &answer.error()["extensions"]["field"]), (large, &Value::Null));
        // The limit is exact to the byte.
        world.project.update_file("a.py", &file[1..]).await;
        world.ada.mutate("addMessage", world.input("addMessage", json!({ "content": &text[1..] })), "revision").await.ok();
        server.stop().await;
    }

    async fn an_invalid_body_writes_nothing(database: Database) {
        let server = Server::start_with(&database, FLAGS).await;
        let world = World::new(&server).await;
        let bearer = format!("Bearer {}", world.ada.token().unwrap());
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let query = "mutation($input: CreateFileInput!) { createFile(input: $input) { revision } }";
        let body = |content: &str| {
            json!({ "query": query, "variables": { "input": world.input("createFile", json!({ "content": content })) } }).to_string()
        };
        let before = world.state().await;
        let mut broken = body("<here>").into_bytes();
        let at = broken.windows(6).position(|part| part == b"<here>").unwrap();
        broken[at] = 0xff;
        let lone = body("<here>").replace("<here>", "\\ud800").into_bytes();
        let half = body("new").as_bytes()[..100].to_vec();
        for (body, status, code) in [
            (broken, 400, "BAD_USER_INPUT"),
            (lone, 400, "BAD_USER_INPUT"),
            (half, 400, "BAD_USER_INPUT"),
            (Vec::new(), 400, "BAD_USER_INPUT"),
            (body(&"x".repeat(60_000)).into_bytes(), 413, "PAYLOAD_TOO_LARGE"),
        ] {
            let raw = world.ada.send("POST", "/graphql", &headers, body).await.unwrap();
            let answer = raw.graphql().unwrap();
            assert_eq!((raw.status, answer.error_code()), (status, code), "{answer:?}");
        }
        assert_eq!(world.state().await, before);
        server.stop().await;
    }
}
