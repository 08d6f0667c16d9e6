//! Given a user who builds a voice agent as in the README's "Usage", with subscriptions, when they take it step by
//! step, then every step returns what the documentation promises and is published.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{
    database::Kind,
    project::{Project, each, number, text},
    server::{Server, run_with_server, user_id},
};

const EVENT: &str = "revision kind actor { id } session { id } message { id } snapshot { name }
    changes { type path newContent changeDescription }";

tests::on_both! {
    async fn every_step_of_the_usage_works_and_is_published(server: Server) {
        let ada = server.user("ada@example.com");

        // A project …
        let input = json!({
            "name": "My Voice Agent",
            "description": "A helpful voice assistant",
            "initialPrompt": "You are a helpful assistant...",
            "config": { "voice": "alloy", "model": "gpt-4" },
        });
        let select = "revision project { id name description initialPrompt config status viewerRole owner { id email } }";
        let made = ada.mutate("createProject", input.clone(), select).await.ok()["createProject"].take();
        assert_eq!(made["revision"], 1);
        for field in ["name", "description", "initialPrompt", "config"] {
            assert_eq!(made["project"][field], input[field]);
        }
        assert_eq!(made["project"]["status"], "ACTIVE");
        assert_eq!(made["project"]["viewerRole"], "OWNER");
        let owner = json!({ "id": user_id("ada@example.com"), "email": "ada@example.com" });
        assert_eq!(made["project"]["owner"], owner);

        // … with a subscription, which receives its creation …
        let project = Project { client: ada.clone(), id: text(&made["project"]["id"]) };
        let mut events = project.listen(0, EVENT).await;
        let event = events.event().await["projectEvents"].take();
        assert_eq!((&event["revision"], &event["kind"]), (&json!(1), &json!("PROJECT_CREATED")));
        assert_eq!(event["actor"]["id"], user_id("ada@example.com"));
        let query = "subscription($id: ID!) { codeChanged(projectId: $id, afterRevision: 0) {
            revision actor { id } session { id } message { id } changes { type path diff } } }";
        let mut code = ada.subscribe(query, json!({ "id": project.id })).await;

        // … a session …
        let select = "revision session { id title isActive messageCount endedAt project { id } }";
        let started = project.write("startSession", json!({ "title": "Initial Setup" }), select).await;
        let session = text(&started["session"]["id"]);
        assert_eq!(started["session"]["title"], "Initial Setup");
        assert_eq!(started["session"]["isActive"], true);
        assert_eq!(started["session"]["messageCount"], 0);
        assert_eq!(started["session"]["endedAt"], Value::Null);
        assert_eq!(started["session"]["project"]["id"], project.id);
        let event = events.event().await["projectEvents"].take();
        assert_eq!((&event["revision"], &event["kind"]), (&json!(2), &json!("SESSION_STARTED")));
        assert_eq!(event["session"]["id"], session);

        // … and its messages, the second a checkpoint.
        let query = "subscription($id: ID!) { messageAdded(sessionId: $id, afterRevision: 0) {
            id revision role content isCheckpoint session { messageCount } } }";
        let mut messages = ada.subscribe(query, json!({ "id": session })).await;
        let select = "revision snapshot { name fileCount revision } message { id role content isCheckpoint revision contextData }";
        let mut assistant = String::new();
        for (revision, role, content, is_checkpoint) in [
            (3, "USER", "Create a simple voice agent", false),
            (4, "ASSISTANT", "I'll create a voice agent for you...", true),
        ] {
            let input = json!({ "sessionId": session, "role": role, "content": content, "isCheckpoint": is_checkpoint });
            let added = ada.mutate("addMessage", input, select).await.ok()["addMessage"].take();
            assistant = text(&added["message"]["id"]);
            let expected = json!({ "id": assistant, "role": role, "content": content, "isCheckpoint": is_checkpoint,
                "revision": revision, "contextData": {} });
            assert_eq!((&added["message"], &added["revision"]), (&expected, &json!(revision)));
            assert_eq!(added["snapshot"].is_object(), is_checkpoint);
            let event = messages.event().await["messageAdded"].take();
            for field in ["id", "revision", "role", "content", "isCheckpoint"] {
                assert_eq!(event[field], expected[field]);
            }
            let event = events.event().await["projectEvents"].take();
            assert_eq!((&event["kind"], &event["message"]["id"]), (&json!("MESSAGE_ADDED"), &json!(assistant)));
            assert_eq!(event["snapshot"].is_object(), is_checkpoint);
        }

        // A file is created …
        let hello = "print(\"Hello, World!\")";
        let input = json!({ "path": "main.py", "type": "FILE", "content": hello, "language": "python" });
        let select = "revision file { id path name type language content version parentPath sizeBytes isDeleted }
            change { id type oldContent newContent }";
        let made = project.write("createFile", input, select).await;
        let file = text(&made["file"]["id"]);
        let expected = json!({ "id": file, "path": "main.py", "name": "main.py", "type": "FILE", "language": "python",
            "content": hello, "version": 1, "parentPath": null, "sizeBytes": 22, "isDeleted": false });
        assert_eq!(made["file"], expected);
        assert_eq!(made["change"]["type"], "CREATE");
        assert_eq!((&made["change"]["oldContent"], &made["change"]["newContent"]), (&Value::Null, &json!(hello)));
        let event = events.event().await["projectEvents"].take();
        assert_eq!((&event["revision"], &event["kind"]), (&json!(5), &json!("FILES_CHANGED")));
        assert_eq!(each(&event["changes"], "newContent"), [hello]);
        let event = code.event().await["codeChanged"].take();
        assert_eq!((&event["revision"], &event["message"]), (&json!(5), &Value::Null));

        // … and changed for the message; the old version is kept …
        let greeting = "print(\"Hello, Voice Assistant!\")";
        let input = json!({ "path": "main.py", "content": greeting, "changeDescription": "Updated greeting message",
            "sessionId": session, "messageId": assistant });
        let select = "revision file { id version content } change { changeDescription message { id } session { id } diff }";
        let updated = project.write("updateFile", input, select).await;
        assert_eq!(updated["file"], json!({ "id": file, "version": 2, "content": greeting }));
        assert_eq!(updated["change"]["message"]["id"], assistant);
        assert_eq!(updated["change"]["session"]["id"], session);
        let diff = format!("diff --git a/main.py b/main.py\n--- a/main.py\n+++ b/main.py\n@@ -1 +1 @@\n-{hello}\n\\ No newline at end of file\n\
            +{greeting}\n\\ No newline at end of file\n");
        assert_eq!(updated["change"]["diff"], diff);
        let event = events.event().await["projectEvents"].take();
        assert_eq!(each(&event["changes"], "changeDescription"), ["Updated greeting message"]);
        let event = code.event().await["codeChanged"].take();
        assert_eq!((&event["message"]["id"], &event["session"]["id"]), (&json!(assistant), &json!(session)));
        assert_eq!(each(&event["changes"], "diff"), [diff]);

        // … so that it can be reverted.
        let query = "query($id: ID!) { node(id: $id) { ... on ProjectFile { versions {
            totalCount nodes { id version content changeDescription } } } } }";
        let versions = ada.gql(query, json!({ "id": file })).await.ok()["node"]["versions"].take();
        assert_eq!(each(&versions["nodes"], "version"), [2, 1]);
        assert_eq!(each(&versions["nodes"], "content"), [greeting, hello]);
        let input = json!({ "fileId": file, "snapshotId": versions["nodes"][1]["id"] });
        let reverted = ada.mutate("revertFile", input, "revision file { version content }").await.ok()["revertFile"].take();
        assert_eq!(reverted, json!({ "revision": 7, "file": { "version": 3, "content": hello } }));
        assert_eq!(each(&events.event().await["projectEvents"]["changes"], "newContent"), [hello]);
        assert_eq!(each(&code.event().await["codeChanged"]["changes"], "type"), ["UPDATE"]);

        // A whole tree of files is synchronised in one revision, and the checkpoint's snapshot follows.
        let input = json!({
            "sessionId": session,
            "messageId": assistant,
            "files": [
                { "path": "main.py", "content": "import utils\n", "type": "FILE" },
                { "path": "utils.py", "content": "x = 1\n", "type": "FILE" },
            ],
            "changeDescription": "Updated voice agent implementation",
        });
        let select = "created updated deleted renamed unchanged revision changes { path }";
        let synced = project.write("syncFiles", input.clone(), select).await;
        let expected = json!({ "created": 1, "updated": 1, "deleted": 0, "renamed": 0, "unchanged": 0, "revision": 8,
            "changes": [{ "path": "main.py" }, { "path": "utils.py" }] });
        assert_eq!(synced, expected);
        assert_eq!(each(&events.event().await["projectEvents"]["changes"], "path"), ["main.py", "utils.py"]);
        assert_eq!(each(&code.event().await["codeChanged"]["changes"], "path"), ["main.py", "utils.py"]);
        let again = project.write("syncFiles", input, "created updated unchanged revision").await;
        assert_eq!(again, json!({ "created": 0, "updated": 0, "unchanged": 2, "revision": 8 }));
        let query = "query($id: ID!) { node(id: $id) { ... on ChatMessage { snapshot { revision fileCount }
            changes { revision path } } } }";
        let message = ada.gql(query, json!({ "id": assistant })).await.ok()["node"].take();
        assert_eq!(message["snapshot"], json!({ "revision": 8, "fileCount": 2 }));
        assert_eq!(each(&message["changes"], "revision"), [6, 8, 8]);

        // The state gets a name …
        let input = json!({ "sessionId": session, "messageId": assistant, "name": "Working Voice Agent v1.0",
            "description": "First working version with basic functionality" });
        let select = "revision snapshot { id name description fileCount revision createdBy { id } session { id } message { id } }";
        let snapshot = project.write("createSnapshot", input, select).await;
        assert_eq!(snapshot["snapshot"]["name"], "Working Voice Agent v1.0");
        assert_eq!(snapshot["snapshot"]["description"], "First working version with basic functionality");
        assert_eq!((&snapshot["snapshot"]["revision"], &snapshot["snapshot"]["fileCount"]), (&json!(9), &json!(2)));
        assert_eq!(snapshot["snapshot"]["message"]["id"], assistant);
        let event = events.event().await["projectEvents"].take();
        assert_eq!((&event["revision"], &event["kind"]), (&json!(9), &json!("SNAPSHOT_CREATED")));
        assert_eq!(event["snapshot"]["name"], "Working Voice Agent v1.0");

        // … is changed …
        project.update_file("utils.py", "broken").await;
        assert_eq!(each(&events.event().await["projectEvents"]["changes"], "newContent"), ["broken"]);
        assert_eq!(each(&code.event().await["codeChanged"]["changes"], "path"), ["utils.py"]);

        // … and restored.
        let input = json!({ "snapshotId": snapshot["snapshot"]["id"] });
        let select = "revision backup { name revision } changes { path newContent } project { revision }";
        let restored = ada.mutate("restoreSnapshot", input, select).await.ok()["restoreSnapshot"].take();
        assert_eq!(restored["backup"], json!({ "name": "Pre-restore backup", "revision": 10 }));
        assert_eq!(restored["changes"], json!([{ "path": "utils.py", "newContent": "x = 1\n" }]));
        assert_eq!((&restored["revision"], &restored["project"]["revision"]), (&json!(11), &json!(11)));
        let event = events.event().await["projectEvents"].take();
        assert_eq!((&event["revision"], &event["kind"]), (&json!(11), &json!("PROJECT_RESTORED")));
        assert_eq!(event["snapshot"]["name"], "Pre-restore backup");
        assert_eq!(each(&event["changes"], "newContent"), ["x = 1\n"]);
        assert_eq!(code.event().await["codeChanged"]["revision"], 11);

        // The totals cover all of this …
        let stats = project.ask("stats { totalSessions totalMessages totalFiles totalChanges latestSessionAt lastActivityAt }
            activeSession { id messageCount checkpoints { id } } events(first: 500) { createdAt }").await;
        let totals = ["totalSessions", "totalMessages", "totalFiles", "totalChanges"].map(|field| number(&stats["stats"][field]));
        assert_eq!(totals, [1, 2, 2, 7]);
        assert_eq!(stats["stats"]["lastActivityAt"], stats["events"][10]["createdAt"]);
        assert_eq!(stats["stats"]["latestSessionAt"], stats["events"][1]["createdAt"]);
        let active = json!({ "id": session, "messageCount": 2, "checkpoints": [{ "id": assistant }] });
        assert_eq!(stats["activeSession"], active);
        let query = "{ activitySummary { totalProjects totalSessions totalMessages totalFiles totalChanges lastActivityAt } }";
        let summary = ada.gql(query, json!({})).await.ok()["activitySummary"].take();
        let expected = json!({ "totalProjects": 1, "totalSessions": 1, "totalMessages": 2, "totalFiles": 2,
            "totalChanges": 7, "lastActivityAt": stats["stats"]["lastActivityAt"] });
        assert_eq!(summary, expected);

        // … the newest activity comes first …
        let query = "{ recentActivity(first: 10) { totalCount nodes { excerpt project { name } session { title }
            author { fullName } message { id role } } } }";
        let activity = ada.gql(query, json!({})).await.ok()["recentActivity"].take();
        assert_eq!(activity["totalCount"], 2);
        let expected = json!({ "excerpt": "I'll create a voice agent for you...", "project": { "name": "My Voice Agent" },
            "session": { "title": "Initial Setup" }, "author": { "fullName": "ada" },
            "message": { "id": assistant, "role": "ASSISTANT" } });
        assert_eq!(activity["nodes"][0], expected);

        // … and a search finds the project.
        let query = "{ projects(filter: { status: ACTIVE, search: \"voice\" }, first: 20,
            orderBy: { field: UPDATED_AT, direction: DESC }) { totalCount nodes { id stats { totalFiles } }
            pageInfo { hasNextPage hasPreviousPage } } }";
        let found = ada.gql(query, json!({})).await.ok()["projects"].take();
        let expected = json!({ "totalCount": 1, "nodes": [{ "id": project.id, "stats": { "totalFiles": 2 } }],
            "pageInfo": { "hasNextPage": false, "hasPreviousPage": false } });
        assert_eq!(found, expected);
    }

    async fn knowledge_of_eight_mebibytes_is_accepted_by_default(server: Server) {
        let ada = server.user("ada@example.com");
        let knowledge = "k".repeat(8 << 20);
        let input = json!({ "name": "Large", "initialPrompt": knowledge, "config": { "knowledge": knowledge } });
        ada.mutate("createProject", input, "revision").await.ok();
        let project = Project::create(&ada, "Knowledge").await;
        let session = project.start_session().await;
        project.add_message(&session, &knowledge, false).await;
        // Most of the largest body, which is read before the database is used.
        let count = if server.database().kind() == Kind::Sqlite { 5 } else { 2 };
        let files: Vec<_> = (0..count).map(|n| json!({ "path": format!("{n}.md"), "content": format!("{n}{knowledge}") })).collect();
        let synced = project.mutate("syncFiles", json!({ "files": files }), "created").await.ok();
        assert_eq!(synced["syncFiles"]["created"], count);

        // What is larger is refused by the name of the setting.
        let larger = "k".repeat((10 << 20) + 1);
        let input = json!({ "sessionId": session, "role": "USER", "content": larger });
        let refused = ada.mutate("addMessage", input, "revision").await;
        assert_eq!(refused.error_code(), "PAYLOAD_TOO_LARGE");
        let message = text(&refused.error()["message"]);
        assert!(message.contains("--max-text-bytes allows 10485760"), "{message}");
    }

    async fn a_project_is_changed_opened_deleted_and_restored(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Mine").await;
        let mut events = project.listen(1, "revision kind").await;
        let mut next_event = async || events.event().await["projectEvents"].take();

        let input = json!({ "id": project.id, "name": "Ours", "description": "For two", "config": { "voice": "echo" } });
        let updated = ada.mutate("updateProject", input, "revision project { name description config initialPrompt }").await.ok();
        let expected = json!({ "name": "Ours", "description": "For two", "config": { "voice": "echo" },
            "initialPrompt": "You are a helpful assistant." });
        assert_eq!(updated["updateProject"], json!({ "revision": 2, "project": expected }));
        assert_eq!(next_event().await, json!({ "revision": 2, "kind": "PROJECT_UPDATED" }));

        let before = project.ask("lastAccessedAt updatedAt").await;
        let touched = ada.mutate_id("touchProject", &project.id, "revision project { lastAccessedAt updatedAt }").await.ok();
        assert_eq!(touched["touchProject"]["revision"], 2);
        assert_eq!(touched["touchProject"]["project"]["updatedAt"], before["updatedAt"]);
        assert!(text(&touched["touchProject"]["project"]["lastAccessedAt"]) > text(&before["lastAccessedAt"]));

        let deleted = ada.mutate_id("deleteProject", &project.id, "revision project { status }").await.ok();
        assert_eq!(deleted["deleteProject"], json!({ "revision": 3, "project": { "status": "DELETED" } }));
        assert_eq!(next_event().await, json!({ "revision": 3, "kind": "PROJECT_UPDATED" }));
        let again = ada.mutate_id("deleteProject", &project.id, "revision").await.ok();
        assert_eq!(again["deleteProject"]["revision"], 3);
        let listed = async |filter: Value| {
            let query = "query($filter: ProjectFilter) { projects(filter: $filter) { totalCount nodes { name } } }";
            ada.gql(query, json!({ "filter": filter })).await.ok()["projects"].take()
        };
        assert_eq!(listed(Value::Null).await, json!({ "totalCount": 0, "nodes": [] }));
        let there = json!({ "totalCount": 1, "nodes": [{ "name": "Ours" }] });
        assert_eq!(listed(json!({ "status": "DELETED" })).await, there);

        let input = json!({ "id": project.id, "status": "ACTIVE" });
        assert_eq!(ada.mutate("updateProject", input, "revision").await.ok()["updateProject"]["revision"], 4);
        assert_eq!(next_event().await, json!({ "revision": 4, "kind": "PROJECT_UPDATED" }));
        assert_eq!(listed(Value::Null).await, there);
    }

    async fn callers_change_only_their_own_profile_and_preferences(server: Server) {
        let ada = server.user("ada@example.com");
        let select = "id email fullName avatarUrl preferences { editorTheme autoSaveEnabled notificationPreferences uiPreferences }";
        let viewer = async || ada.gql(&format!("{{ viewer {{ {select} }} }}"), json!({})).await.ok()["viewer"].take();
        let first = json!({ "id": user_id("ada@example.com"), "email": "ada@example.com", "fullName": "ada", "avatarUrl": null,
            "preferences": { "editorTheme": "vs-dark", "autoSaveEnabled": true, "notificationPreferences": {}, "uiPreferences": {} } });
        assert_eq!(viewer().await, first);

        let input = json!({ "fullName": "Ada Lovelace", "avatarUrl": "https://example.com/ada.png" });
        let updated = ada.mutate("updateProfile", input, "fullName avatarUrl").await.ok();
        assert_eq!(updated["updateProfile"], json!({ "fullName": "Ada Lovelace", "avatarUrl": "https://example.com/ada.png" }));
        let input = json!({ "autoSaveEnabled": false, "uiPreferences": { "zoom": 1.5, "panels": ["chat", "code"] } });
        let updated = ada.mutate("updatePreferences", input, "editorTheme autoSaveEnabled uiPreferences").await.ok();
        let expected = json!({ "editorTheme": "vs-dark", "autoSaveEnabled": false,
            "uiPreferences": { "zoom": 1.5, "panels": ["chat", "code"] } });
        assert_eq!(updated["updatePreferences"], expected);
        let now = viewer().await;
        assert_eq!(now["fullName"], "Ada Lovelace");
        assert_eq!(now["preferences"]["uiPreferences"], expected["uiPreferences"]);
    }

    async fn mutations_of_one_operation_succeed_or_fail_independently(server: Server) {
        // Mutations of one operation run one after the other, and each is independent.
        let project = Project::create(&server.user("ada@example.com"), "Mutations").await;
        let query = "mutation($id: ID!) {
            one: createFile(input: { projectId: $id, path: \"one\" }) { revision }
            two: createFile(input: { projectId: $id, path: \"one\" }) { revision }
            three: createFile(input: { projectId: $id, path: \"three\" }) { revision } }";
        let before = project.revision().await;
        let answer = project.client.gql(query, json!({ "id": project.id })).await;
        assert_eq!(answer.error_code(), "CONFLICT");
        let events = project.ask(&format!("events(afterRevision: {before}) {{ revision }} files {{ nodes {{ path }} }}")).await;
        let written = events["events"].as_array().unwrap().len();
        assert_eq!(project.revision().await, before + written as i64);
        let paths = each(&events["files"]["nodes"], "path");
        assert_eq!(paths.iter().filter(|path| **path == "one").count(), 1);
    }
}

#[test]
fn a_member_who_is_removed_meanwhile_cannot_touch_the_project() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let (ada, eve) = (server.user("ada@example.com"), server.user("eve@example.com"));
        eve.gql("{ viewer { id } }", json!({})).await.ok();
        let project = Project::create(&ada, "Shared").await;
        server.database().add_collaborator(&project.id, "eve@example.com", "editor", true).await;
        // Given a removal that holds the project, and a touch that waits for it …
        let mut holder = PgConnection::connect(&server.database().admin_url()).await.unwrap();
        let remove = format!(
            "BEGIN; UPDATE projects SET name = name WHERE id = '{0}'; DELETE FROM project_collaborators WHERE project_id = '{0}'",
            project.id
        );
        sqlx::raw_sql(AssertSqlSafe(remove)).execute(&mut holder).await.unwrap();
        let id = project.id.clone();
        let touch = tokio::spawn(async move { eve.mutate_id("touchProject", &id, "revision").await });
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let mut watcher = PgConnection::connect(&server.database().admin_url()).await.unwrap();
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watcher).await.unwrap() == 0 {}
        // … when the removal is committed, then there is no project for the removed member.
        sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
        let answer = touch.await.unwrap();
        assert_eq!(answer.error_code(), "NOT_FOUND", "{answer:?}");
    });
}
