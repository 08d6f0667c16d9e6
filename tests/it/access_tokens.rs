//! Given a project whose owner has created an access token, when a machine uses it in any way in which a user's token is
//! accepted, then it acts in this project only, with its role, under its own name, until the token expires or is revoked,
//! on every server.

use std::fs;
use std::time::Duration;

use antiphon::model::clock;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::{Database, Kind},
    project::{Project, each, settings, text, with},
    server::{Server, run_with_database, run_with_server, token_with, user_id},
    socket::{End, Frame, Socket, Subscription},
};
use tokio::time::timeout;

use crate::login_connection::{DENIED, LoginConnection, rows};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// An access token as its creator sees it once.
struct Token {
    text: String,
    id: String,
    /// The machine.
    user: String,
}

fn in_seconds(seconds: i64) -> String {
    (clock::now() + TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

async fn create(project: &Project, input: Value) -> Response {
    project.mutate("createAccessToken", input, "token accessToken { id user { id } } revision").await
}

/// A new access token of the project.
async fn token(project: &Project, name: &str, role: &str) -> Token {
    let made = create(project, json!({ "name": name, "role": role })).await.ok();
    let made = &made["createAccessToken"];
    let (token, user) = (&made["accessToken"], &made["accessToken"]["user"]);
    Token { text: text(&made["token"]), id: text(&token["id"]), user: text(&user["id"]) }
}

/// The project, as the machine sees it.
fn by(project: &Project, token: &Token) -> Project {
    project.of(&project.client.with_token(Some(token.text.clone())))
}

async fn revoke(project: &Project, token: &Token) -> Response {
    project
        .client
        .mutate_with("revokeAccessToken", json!({ "accessTokenId": token.id }), "accessTokenId revision")
        .await
}

/// Adds a member who has signed in.
async fn join(server: &Server, project: &Project, email: &str, role: &str) -> Client {
    let member = server.user(email);
    member.gql("{ viewer { id } }", json!({})).await.ok();
    server.database().add_collaborator(&project.id, email, role, true).await;
    member
}

/// Checks that a response is a refusal of its token.
#[track_caller]
fn assert_unauthenticated(answer: &Response) {
    assert_eq!((answer.status, answer.error_code()), (401, "UNAUTHENTICATED"), "{answer:?}");
}

/// A socket on which the client subscribes to the events of a project after a revision.
async fn watch(project: &Project, after: i64) -> Socket {
    let mut socket = project.client.greeted().await;
    let query =
        "subscription($id: ID!, $after: Int) { projectEvents(projectId: $id, afterRevision: $after) { revision } }";
    socket.start("1", query, json!({ "id": project.id, "after": after })).await;
    socket
}

/// Checks that the next message is the event of this revision.
async fn assert_event(socket: &mut Socket, revision: i64) {
    let message = socket.message().await;
    assert_eq!(message["payload"]["data"]["projectEvents"]["revision"], revision, "{message}");
}

/// Checks that a subscription and its socket end because the token was revoked.
async fn assert_revoked(mut socket: Socket) {
    let error = loop {
        let message = socket.message().await;
        if message["type"] != "next" {
            break message;
        }
    };
    assert_eq!(
        (&error["type"], &error["payload"][0]["extensions"]["code"]),
        (&json!("error"), &json!("NOT_FOUND")),
        "{error}"
    );
    assert_eq!(socket.next().await, Frame::Close(4403, "The access token was revoked".to_owned()));
}

async fn may_write(project: &Project) -> String {
    let answer = project.mutate("createFile", json!({ "path": format!("{}.py", clock::new_id()) }), "revision").await;
    if answer.errors.is_empty() { "yes".to_owned() } else { answer.error_code().to_owned() }
}

const LIST: &str =
    "accessTokens { id name role user { id fullName isMachine } createdBy { id } createdAt expiresAt lastUsedAt }";

tests::on_both! {
    async fn a_token_is_shown_once_and_stored_as_a_hash(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let end = in_seconds(3_600);
        let input = json!({ "name": "Voice agent", "role": "EDITOR", "expiresAt": end });
        let select = "token revision project { revision }
            accessToken { id name role user { id fullName isMachine } createdBy { id } createdAt expiresAt lastUsedAt }";
        let made = project.write("createAccessToken", input, select).await;
        assert_eq!((&made["revision"], &made["project"]["revision"]), (&json!(2), &json!(2)));
        let token = text(&made["token"]);
        let random = token.strip_prefix("anp_").expect("the prefix");
        assert!(random.len() == 43 && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");
        let created = &made["accessToken"];
        let id = text(&created["id"]);
        assert_eq!(id.as_bytes()[14], b'7', "{id}");
        let user = text(&created["user"]["id"]);
        let expected = json!({ "id": id, "name": "Voice agent", "role": "EDITOR",
            "user": { "id": user, "fullName": "Voice agent", "isMachine": true }, "createdBy": { "id": user_id(ADA) },
            "createdAt": created["createdAt"], "expiresAt": end, "lastUsedAt": null });
        assert_eq!(*created, expected);

        // It is listed and found by its id, but not shown again.
        assert_eq!(project.ask(LIST).await["accessTokens"], json!([expected]));
        let node = ada.gql("query($id: ID!) { node(id: $id) { __typename id } }", json!({ "id": id })).await.ok();
        assert_eq!(node["node"], json!({ "__typename": "AccessToken", "id": id }));
        let fields = ada.gql("{ __type(name: \"AccessToken\") { fields { name } } }", json!({})).await.ok();
        assert!(!each(&fields["__type"]["fields"], "name").contains(&json!("token")));
        let event = project.ask("events(afterRevision: 1) { kind actor { id } }").await;
        assert_eq!(event["events"], json!([{ "kind": "COLLABORATORS_CHANGED", "actor": { "id": user_id(ADA) } }]));

        // The database contains its hash only.
        let hash = tests::workload::sha256(token.as_bytes());
        let database = server.database();
        let hash = if database.kind() == Kind::Sqlite { format!("x'{hash}'") } else { format!("'\\x{hash}'") };
        let sql = format!("UPDATE access_tokens SET created_by = created_by WHERE sha256 = {hash}");
        assert_eq!(database.execute(&sql).await, 1);
        match database.file() {
            Some(file) => {
                let log = format!("{}-wal", file.display());
                for path in [file.display().to_string(), log] {
                    let bytes = fs::read(path).unwrap_or_default();
                    assert!(!bytes.windows(random.len()).any(|window| window == random.as_bytes()));
                }
            }
            None => {
                let sql = format!("UPDATE access_tokens t SET created_by = created_by WHERE t::text LIKE '%{random}%'");
                assert_eq!(database.execute(&sql).await, 0);
            }
        }
    }

    async fn tokens_are_listed_in_pages(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        for name in ["One", "Two", "Three"] {
            token(&project, name, "VIEWER").await;
        }
        let page = async |arguments: &str| {
            let found = project.ask(&format!("accessTokens{arguments} {{ id name cursor }}")).await["accessTokens"].take();
            (each(&found, "name").iter().map(text).collect::<Vec<_>>(), text(&found[0]["cursor"]), text(&found[0]["id"]))
        };
        let (names, cursor, id) = page("").await;
        assert_eq!(names, ["One", "Two", "Three"]);
        for after in [cursor, id] {
            assert_eq!(page(&format!("(after: \"{after}\")")).await.0, ["Two", "Three"]);
            assert_eq!(page(&format!("(first: 1, after: \"{after}\")")).await.0, ["Two"]);
        }
        let refused = project.client.gql(&format!("{{ project(id: \"{}\") {{ accessTokens(first: -1) {{ id }} }} }}", project.id), json!({})).await;
        assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "first"));
    }

    async fn only_the_owner_manages_tokens(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        let made = token(&project, "Agent", "EDITOR").await;
        let stranger = server.user("sue@example.com");
        let editor = join(&server, &project, BOB, "editor").await;
        let viewer = join(&server, &project, "vic@example.com", "viewer").await;
        let before = project.state().await;
        for (client, code) in [(&stranger, "NOT_FOUND"), (&editor, "FORBIDDEN"), (&viewer, "FORBIDDEN"), (&by(&project, &made).client, "FORBIDDEN")] {
            let theirs = project.of(client);
            let refused = create(&theirs, json!({ "name": "Mine", "role": "EDITOR" })).await;
            assert_eq!((refused.error_code(), &refused.data["createAccessToken"]), (code, &Value::Null));
            let refused = revoke(&theirs, &made).await;
            assert_eq!((refused.error_code(), refused.field()), ("NOT_FOUND", "accessTokenId"));
            let node = client.gql("query($id: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id } }", json!({ "id": made.id })).await.ok();
            assert_eq!(node, json!({ "node": null, "nodes": [null] }));
            if code == "FORBIDDEN" {
                assert_eq!(theirs.ask(LIST).await["accessTokens"], json!([]));
            }
        }
        assert_eq!(project.state().await, before);
    }

    async fn every_limit_has_its_error(database: Database) {
        let server = Server::start_with(&database, &["--max-access-tokens=2"]).await;
        let project = Project::create(&server.user(ADA), "Ours").await;
        let long = "x".repeat(101);
        let good = json!({ "name": "x".repeat(100), "role": "VIEWER" });
        for (change, code, field) in [
            (json!({ "role": "OWNER" }), "BAD_USER_INPUT", "role"),
            (json!({ "name": "" }), "BAD_USER_INPUT", "name"),
            (json!({ "name": " \t" }), "BAD_USER_INPUT", "name"),
            (json!({ "name": "a\nb" }), "BAD_USER_INPUT", "name"),
            (json!({ "name": "a\u{0}b" }), "BAD_USER_INPUT", "name"),
            (json!({ "name": long }), "PAYLOAD_TOO_LARGE", "name"),
            (json!({ "name": "é".repeat(101) }), "PAYLOAD_TOO_LARGE", "name"),
            (json!({ "expiresAt": in_seconds(-1) }), "BAD_USER_INPUT", "expiresAt"),
            (json!({ "expiresAt": "1970-01-01T00:00:00Z" }), "BAD_USER_INPUT", "expiresAt"),
            (json!({ "projectId": "nothing" }), "BAD_USER_INPUT", "projectId"),
            (json!({ "projectId": clock::new_id() }), "NOT_FOUND", "projectId"),
        ] {
            let refused = create(&project, with(good.clone(), change.clone())).await;
            assert_eq!((refused.error_code(), refused.field()), (code, field), "{change}: {refused:?}");
        }
        for id in ["nothing", &project.id, &clock::new_id().to_string()] {
            let refused = project.client.mutate_with("revokeAccessToken", json!({ "accessTokenId": id }), "revision").await;
            let code = if id == "nothing" { "BAD_USER_INPUT" } else { "NOT_FOUND" };
            assert_eq!((refused.error_code(), refused.field()), (code, "accessTokenId"));
        }
        create(&project, with(good.clone(), json!({ "name": "é".repeat(100), "expiresAt": "9999-12-31T23:59:59Z" }))).await.ok();
        let second = token(&project, "Second", "VIEWER").await;
        let full = create(&project, good.clone()).await;
        assert_eq!((full.error_code(), full.field()), ("CONFLICT", "projectId"));
        assert!(text(&full.error()["message"]).contains("--max-access-tokens"), "{full:?}");
        revoke(&project, &second).await.ok();
        create(&project, good).await.ok();
        assert_eq!(project.revision().await, 5);
        server.stop().await;
    }

    async fn an_editor_token_acts_in_its_project_only(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let other = Project::create(&ada, "Another").await;
        let other_session = other.start_session().await;
        let made = token(&project, "Agent", "EDITOR").await;
        let machine = by(&project, &made);
        assert_eq!(may_write(&machine).await, "yes");

        // It sees its own project, and itself instead of its creator.
        let query = "{ viewer { id email fullName isMachine preferences { editorTheme } } invitations { totalCount }
            projects { totalCount nodes { id viewerRole } } activitySummary { totalProjects } }";
        let seen = machine.client.gql(query, json!({})).await.ok();
        assert_eq!(seen["viewer"]["id"], json!(made.user));
        assert_eq!((&seen["viewer"]["email"], &seen["viewer"]["isMachine"]), (&Value::Null, &json!(true)));
        assert_eq!(seen["projects"], json!({ "totalCount": 1, "nodes": [{ "id": project.id, "viewerRole": "EDITOR" }] }));
        assert_eq!((&seen["invitations"]["totalCount"], &seen["activitySummary"]["totalProjects"]), (&json!(0), &json!(0)));
        let found = machine.client.gql("query($ids: [ID!]!) { nodes(ids: $ids) { __typename } }",
            json!({ "ids": [other.id, other_session, format!("event:{}:1", other.id), format!("preferences:{}", user_id(ADA)), made.id] })).await.ok();
        assert_eq!(found["nodes"], json!([null, null, null, null, null]));
        assert_eq!(other.of(&machine.client).ask("id").await, Value::Null);
        assert_eq!(may_write(&other.of(&machine.client)).await, "NOT_FOUND");
        let input = json!({ "sessionId": other_session, "role": "USER", "content": "Hello" });
        assert_eq!(machine.client.mutate("addMessage", input, "revision").await.error_code(), "NOT_FOUND");
        // The refusal of a subscription leaves the socket open.
        let mut socket = watch(&other.of(&machine.client), 0).await;
        assert_eq!(socket.message().await["payload"][0]["extensions"]["code"], "NOT_FOUND");
        socket.start("2", "{ viewer { id } }", json!({})).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["id"], json!(made.user));

        // It has nothing outside of it, and does not manage it, also with a token of the issuer that names the machine.
        let posing = server.anonymous().with_token(Some(token_with("eve@example.com", json!({ "sub": made.user }))));
        assert_eq!(posing.gql("{ viewer { id } }", json!({})).await.ok()["viewer"]["id"], json!(made.user));
        let (before, others) = (project.state().await, other.state().await);
        for (name, input) in [
            ("createProject", json!({ "name": "New", "initialPrompt": "", "config": {} })),
            ("updateProfile", json!({ "fullName": "Ada" })),
            ("updatePreferences", json!({ "editorTheme": "new" })),
            ("createAccessToken", json!({ "projectId": project.id, "name": "Another", "role": "EDITOR" })),
            ("inviteCollaborator", json!({ "projectId": project.id, "userId": user_id(BOB), "role": "EDITOR" })),
            ("inviteByEmail", json!({ "projectId": project.id, "email": BOB, "role": "EDITOR" })),
            ("changeCollaboratorRole", json!({ "projectId": project.id, "userId": made.user, "role": "VIEWER" })),
            ("updateProject", json!({ "id": project.id, "status": "DELETED" })),
        ] {
            for client in [&machine.client, &posing] {
                let refused = client.mutate(name, input.clone(), "__typename").await;
                assert_eq!(refused.error_code(), "FORBIDDEN", "{name}: {refused:?}");
            }
        }
        let itself = json!({ "projectId": project.id, "userId": made.user });
        for (name, input) in [("transferOwnership", &itself), ("removeCollaborator", &itself), ("leaveProject", &json!({ "projectId": project.id }))] {
            for client in [&machine.client, &posing] {
                let refused = client.mutate_with(name, input.clone(), "__typename").await;
                assert_eq!(refused.error_code(), "FORBIDDEN", "{name}: {refused:?}");
            }
        }
        assert_eq!(project.ask("accessTokens { user { fullName } }").await["accessTokens"][0]["user"]["fullName"], "Agent");
        assert_eq!((project.state().await, other.state().await), (before, others));
        assert_eq!(server.database().execute("UPDATE user_preferences SET editor_theme = editor_theme").await, 1);
    }

    async fn a_viewer_token_reads_and_does_not_write(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        project.create_file("a.py", "one\n").await;
        let made = token(&project, "Reader", "VIEWER").await;
        let machine = by(&project, &made);
        assert_eq!(machine.contents().await, project.contents().await);
        assert_eq!(machine.ask("viewerRole").await["viewerRole"], "VIEWER");
        let before = project.state().await;
        assert_eq!(may_write(&machine).await, "FORBIDDEN");
        for (name, input) in [
            ("startSession", json!({})),
            ("syncFiles", json!({ "files": [{ "path": "b.py", "content": "" }] })),
            ("saveAgentConfiguration", settings("New")),
            ("createSnapshot", json!({})),
            ("undo", json!({})),
        ] {
            assert_eq!(machine.mutate(name, input, "revision").await.error_code(), "FORBIDDEN", "{name}");
        }
        assert_eq!(project.state().await, before);
    }

    async fn a_token_can_last_until_the_last_moment(server: Server) {
        let project = Project::create(&server.user(ADA), "Long").await;
        for end in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.500Z", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999999Z"] {
            let input = json!({ "name": "Eternal", "role": "VIEWER", "expiresAt": end });
            let made = project.write("createAccessToken", input, "accessToken { expiresAt }").await;
            assert_eq!(made["accessToken"]["expiresAt"], end);
        }
        let machine = token(&project, "Agent", "VIEWER").await;
        let listed = by(&project, &machine).ask("accessTokens { expiresAt }").await;
        assert_eq!(listed, json!({ "accessTokens": [] }));
    }

    async fn invalid_tokens_are_refused_like_invalid_jwts(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        let made = token(&project, "Agent", "EDITOR").await;
        let valid = made.text.as_str();
        let other = if valid.ends_with('A') { "B" } else { "A" };
        let garbled = [
            "anp_".to_owned(),
            valid[..46].to_owned(),
            format!("{valid}A"),
            format!("{}{other}", &valid[..46]),
            format!("anp_{}", &valid[4..].chars().rev().collect::<String>()),
            valid.to_uppercase(),
            valid.replace("anp_", ""),
            format!("anp_{}", "A".repeat(43)),
            format!("anp_{}", "%".repeat(43)),
            format!("anp_{}", "A".repeat(8_000)),
            format!("{valid} {valid}"),
            format!("anp_' OR '1' = '1{}", "A".repeat(27)),
        ];
        for token in garbled {
            let client = project.client.with_token(Some(token.clone()));
            let answer = client.gql("{ viewer { id } }", json!({})).await;
            assert_unauthenticated(&answer);
            assert!(!answer.error()["message"].to_string().contains(&valid[..20]), "{answer:?}");
            let mut socket = client.socket().await;
            socket.send(json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })).await;
            match socket.next().await {
                Frame::Close(code, _) => assert_eq!(code, 4403),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(may_write(&by(&project, &made)).await, "yes");
    }

    async fn a_token_is_accepted_wherever_a_jwt_is(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        let made = token(&project, "Agent", "VIEWER").await;
        let machine = by(&project, &made);
        // HTTP, with any case of the scheme, and a download.
        let path = format!("/projects/{}/insights.csv?from={}&to={}", project.id, in_seconds(-60), in_seconds(60));
        let bearer = format!("bearer {}", made.text);
        let csv = machine.client.send("GET", &path, &[("authorization", &bearer)], Vec::new()).await.unwrap();
        assert_eq!(csv.status, 200);
        // WebSockets, in each place for the token.
        for payload in [
            json!({ "Authorization": format!("Bearer {}", made.text) }),
            json!({ "headers": { "authorization": format!("Bearer {}", made.text) } }),
            json!({ "token": made.text }),
        ] {
            let mut socket = server.anonymous().socket().await;
            socket.greet(payload).await;
            let query = "subscription($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }";
            let mut subscription = Subscription::start(socket, query, json!({ "id": project.id })).await;
            assert_eq!(subscription.event().await["projectEvents"]["revision"], 1);
        }
        // A ping with the same token keeps the socket.
        let mut socket = machine.client.greeted().await;
        socket.send(json!({ "type": "ping", "payload": { "token": made.text } })).await;
        assert_eq!(socket.message().await["payload"], json!({ "tokenExpiresAt": null }));
        // Server-sent events.
        let query = format!("subscription {{ projectEvents(projectId: \"{}\", afterRevision: 0) {{ revision }} }}", project.id);
        let mut events = machine.client.stream("text/event-stream", &[], &json!({ "query": query })).await;
        assert_eq!(events.status, 200);
        while !events.until("\n\n").await.expect("an event").contains("\"revision\":1") {}
    }

    async fn a_revoked_token_ends_at_once(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let made = token(&project, "Agent", "EDITOR").await;
        let other = token(&project, "Other", "EDITOR").await;
        let machine = by(&project, &made);
        let session = machine.start_session().await;
        machine.add_message(&session, "Hello", false).await;
        let mut subscription = watch(&machine, 4).await;
        assert_event(&mut subscription, 5).await;
        let mut idle = machine.client.greeted().await;
        let query = format!("subscription {{ projectEvents(projectId: \"{}\", afterRevision: 4) {{ revision }} }}", project.id);
        let mut events = machine.client.stream("text/event-stream", &[], &json!({ "query": query })).await;
        while !events.until("\n\n").await.expect("an event").contains("\"revision\":5") {}

        let revoked = revoke(&project, &made).await.ok();
        assert_eq!(revoked["revokeAccessToken"], json!({ "accessTokenId": made.id, "revision": 6 }));
        assert_revoked(subscription).await;
        let mut last = String::new();
        while let Some(event) = events.until("\n\n").await {
            last += &event;
        }
        assert!(last.contains("NOT_FOUND") && last.contains("event: complete"), "{last}");
        assert_unauthenticated(&machine.client.gql("{ viewer { id } }", json!({})).await);
        // A socket that was open ends with its next operation.
        idle.start("1", "{ viewer { id } }", json!({})).await;
        assert_eq!(idle.next().await, Frame::Close(4403, "The access token was revoked".to_owned()));
        let refused = revoke(&project, &made).await;
        assert_eq!((refused.error_code(), refused.field()), ("NOT_FOUND", "accessTokenId"));

        // Its session has ended, and its work keeps its name.
        let seen = project.ask("accessTokens { id } collaborators { user { id } } sessions { nodes { isActive author { fullName isMachine } } }
            events(afterRevision: 4) { kind session { id } actor { fullName } }").await;
        assert_eq!(seen["accessTokens"], json!([{ "id": other.id }]));
        assert_eq!(seen["collaborators"], json!([{ "user": { "id": other.user } }]));
        assert_eq!(seen["sessions"]["nodes"], json!([{ "isActive": false, "author": { "fullName": "Agent", "isMachine": true } }]));
        assert_eq!(seen["events"], json!([{ "kind": "MESSAGE_ADDED", "session": { "id": session }, "actor": { "fullName": "Agent" } },
            { "kind": "COLLABORATORS_CHANGED", "session": { "id": session }, "actor": { "fullName": "ada" } }]));
        assert_eq!(may_write(&by(&project, &other)).await, "yes");

        // Removing the collaborator revokes the token, too. A deleted project does not prevent it.
        let mut subscription = watch(&by(&project, &other), 6).await;
        assert_event(&mut subscription, 7).await;
        ada.mutate_with("removeCollaborator", json!({ "projectId": project.id, "userId": other.user }), "revision").await.ok();
        assert_revoked(subscription).await;
        assert_unauthenticated(&by(&project, &other).client.gql("{ viewer { id } }", json!({})).await);
        assert_eq!(project.ask("accessTokens { id }").await["accessTokens"], json!([]));
        let last = token(&project, "Last", "VIEWER").await;
        ada.mutate_id("deleteProject", &project.id, "revision").await.ok();
        revoke(&project, &last).await.ok();
        assert_unauthenticated(&by(&project, &last).client.gql("{ viewer { id } }", json!({})).await);
    }

    async fn an_expired_token_ends_by_the_clock(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        let made = create(&project, json!({ "name": "Brief", "role": "EDITOR", "expiresAt": in_seconds(3) })).await.ok();
        let machine = project.of(&project.client.with_token(Some(text(&made["createAccessToken"]["token"]))));
        let mut subscription = machine.listen(1, "revision").await;
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 2);
        assert_eq!(subscription.next().await, None);
        assert_eq!(subscription.end(), Some(&End::Close(4403, "The token has expired".to_owned())));
        let refused = timeout(Duration::from_secs(10), async {
            loop {
                let answer = machine.client.gql("{ viewer { id } }", json!({})).await;
                if !answer.errors.is_empty() {
                    return answer;
                }
            }
        });
        let refused = refused.await.expect("an end");
        assert_unauthenticated(&refused);
        assert!(text(&refused.error()["message"]).contains("expired"), "{refused:?}");
        // The owner still sees it, and can remove it.
        let listed = project.ask("accessTokens { id expiresAt }").await;
        let id = text(&listed["accessTokens"][0]["id"]);
        assert!(text(&listed["accessTokens"][0]["expiresAt"]).parse::<DateTime<Utc>>().unwrap() < clock::now());
        project.client.mutate_with("revokeAccessToken", json!({ "accessTokenId": id }), "revision").await.ok();
    }

    async fn a_token_has_no_more_rights_than_its_creator(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let bob = join(&server, &project, BOB, "editor").await;
        let made = token(&project, "Agent", "EDITOR").await;
        let machine = by(&project, &made);
        let session = machine.start_session().await;
        let role = async || {
            let listed = project.of(&bob).ask("accessTokens { role createdBy { id } }").await;
            text(&listed["accessTokens"][0]["role"])
        };

        // Ada is an editor now: her token stays one, and the new owner manages it.
        let to = |user: &str| json!({ "projectId": project.id, "userId": user });
        ada.mutate_with("transferOwnership", to(&user_id(BOB)), "revision").await.ok();
        assert_eq!((may_write(&machine).await.as_str(), role().await.as_str()), ("yes", "EDITOR"));
        let others = token(&project.of(&bob), "Bob's", "EDITOR").await;

        // Back and forth: no token is lost.
        bob.mutate_with("transferOwnership", to(&user_id(ADA)), "revision").await.ok();
        assert_eq!((may_write(&machine).await, may_write(&by(&project, &others)).await), ("yes".to_owned(), "yes".to_owned()));
        ada.mutate_with("transferOwnership", to(&user_id(BOB)), "revision").await.ok();

        // Ada is a viewer: so is her token, whose session ends.
        let lowered = json!({ "projectId": project.id, "userId": user_id(ADA), "role": "VIEWER" });
        bob.mutate("changeCollaboratorRole", lowered, "revision").await.ok();
        assert_eq!((may_write(&machine).await.as_str(), role().await.as_str()), ("FORBIDDEN", "VIEWER"));
        assert_eq!(may_write(&by(&project, &others)).await, "yes");
        let sessions = project.of(&bob).ask("sessions { nodes { id isActive } }").await;
        assert_eq!(sessions["sessions"]["nodes"], json!([{ "id": session, "isActive": false }]));
        let revision = project.of(&bob).revision().await;
        let mut subscription = watch(&machine, revision - 1).await;
        assert_event(&mut subscription, revision).await;

        // Ada leaves: her token ends.
        ada.mutate_with("leaveProject", json!({ "projectId": project.id }), "revision").await.ok();
        assert_revoked(subscription).await;
        assert_unauthenticated(&machine.client.gql("{ viewer { id } }", json!({})).await);
        assert_eq!(may_write(&by(&project, &others)).await, "yes");
        assert_eq!(project.of(&bob).ask("accessTokens { name }").await["accessTokens"], json!([{ "name": "Bob's" }]));

        // Ada is deleted while she has a token: it ends, too.
        server.database().add_collaborator(&project.id, ADA, "editor", true).await;
        bob.mutate_with("transferOwnership", to(&user_id(ADA)), "revision").await.ok();
        let last = token(&project, "Last", "EDITOR").await;
        ada.mutate_with("transferOwnership", to(&user_id(BOB)), "revision").await.ok();
        let revision = project.of(&bob).revision().await;
        let mut subscription = watch(&by(&project, &last), revision - 1).await;
        assert_event(&mut subscription, revision).await;
        let ada = server.database().uuid(&user_id(ADA));
        server.database().execute(&format!("DELETE FROM user_profiles WHERE id = {ada}")).await;
        assert_unauthenticated(&by(&project, &last).client.gql("{ viewer { id } }", json!({})).await);
        assert_revoked(subscription).await;
    }

    async fn a_machine_is_no_person(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let made = token(&project, "Agent", "VIEWER").await;
        let theirs = Project::create(&server.user(BOB), "Theirs").await;
        let input = json!({ "userId": made.user, "role": "EDITOR" });
        for (project, name, input, code) in [
            (&theirs, "inviteCollaborator", input.clone(), "NOT_FOUND"),
            (&project, "inviteCollaborator", input.clone(), "CONFLICT"),
            (&project, "changeCollaboratorRole", input.clone(), "CONFLICT"),
            (&project, "transferOwnership", json!({ "userId": made.user }), "CONFLICT"),
        ] {
            let before = project.state().await;
            let input = with(input, json!({ "projectId": project.id }));
            let input = if name == "transferOwnership" { input } else { json!({ "input": input }) };
            let refused = project.client.mutate_with(name, input, "revision").await;
            assert_eq!((refused.error_code(), refused.field()), (code, "userId"), "{name}: {refused:?}");
            assert_eq!(project.state().await, before);
        }
        let machine = by(&project, &made).client;
        assert_eq!(machine.gql("{ invitations { totalCount } }", json!({})).await.ok()["invitations"]["totalCount"], 0);
        let listed = project.ask("collaborators { user { id fullName isMachine } role }").await;
        assert_eq!(listed["collaborators"], json!([{ "user": { "id": made.user, "fullName": "Agent", "isMachine": true }, "role": "VIEWER" }]));
        assert_eq!(ada.gql("{ viewer { isMachine } }", json!({})).await.ok()["viewer"]["isMachine"], false);
    }

    async fn the_last_use_is_recorded_once_per_minute(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        let made = token(&project, "Agent", "VIEWER").await;
        let last = async || project.ask("accessTokens { lastUsedAt }").await["accessTokens"][0]["lastUsedAt"].take();
        assert_eq!(last().await, Value::Null);
        let start = clock::now();
        let machine = by(&project, &made).client;
        machine.gql("{ viewer { id } }", json!({})).await.ok();
        let recorded = timeout(Duration::from_secs(10), async {
            loop {
                let last = last().await;
                if !last.is_null() {
                    return last;
                }
            }
        });
        let recorded = recorded.await.expect("the use is recorded");
        let time: DateTime<Utc> = text(&recorded).parse().unwrap();
        assert!((start..=clock::now()).contains(&time));
        // Further uses cost what they read, and the lookup of the token, which PostgreSQL gets together with the opening of its
        // transaction.
        let before = server.statements();
        for _ in 0..10 {
            machine.gql("{ viewer { id } }", json!({})).await.ok();
        }
        assert_eq!(server.statements() - before, if server.database().kind() == Kind::Sqlite { 20 } else { 10 });
        assert_eq!(last().await, recorded);
    }

    async fn a_deployed_voice_agent_reads_its_configuration_and_writes_transcripts(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Assistant").await;
        let own = project.start_session().await;
        assert_eq!(project.ask("activeAgentConfiguration { id }").await["activeAgentConfiguration"], Value::Null);
        project.write("saveAgentConfiguration", settings("Draft"), "revision").await;
        let saved = project.write("saveAgentConfiguration", settings("Live"), "agentConfiguration { id }").await;
        let active = json!({ "id": saved["agentConfiguration"]["id"], "isActive": true });
        ada.mutate("setAgentConfigurationActive", active, "revision").await.ok();
        let made = token(&project, "Phone line 1", "EDITOR").await;
        let agent = by(&project, &made);

        let active = agent.ask("activeAgentConfiguration { id configName sttProvider agentInstructions }").await;
        assert_eq!(active["activeAgentConfiguration"], json!({ "id": saved["agentConfiguration"]["id"], "configName": "Live",
            "sttProvider": "deepgram", "agentInstructions": "Be kind." }));

        // A call is a session of the agent, next to Ada's. What was said is added whole, or while it is said.
        let heard = project.listen(project.revision().await, "kind actor { fullName isMachine } message { role content }").await;
        let call = agent.write("startSession", json!({ "title": "Call 1" }), "session { id author { id } }").await;
        assert_eq!(call["session"]["author"]["id"], json!(made.user));
        let call = text(&call["session"]["id"]);
        let said = json!({ "sessionId": call, "role": "USER", "content": "Is it raining?" });
        agent.client.mutate("addMessage", said, "revision").await.ok();
        let started = agent.client.mutate("startMessage", json!({ "sessionId": call, "role": "ASSISTANT" }), "messageId").await.ok();
        let message = text(&started["startMessage"]["messageId"]);
        let mut length = 0;
        for chunk in ["It is ", "sunny."] {
            let input = json!({ "messageId": message, "offset": length, "text": chunk });
            agent.client.mutate("appendToMessage", input, "length").await.ok();
            length += chunk.len();
        }
        agent.client.mutate("finishMessage", json!({ "messageId": message }), "revision").await.ok();
        agent.client.mutate_id("endSession", &call, "revision").await.ok();

        let by_agent = json!({ "fullName": "Phone line 1", "isMachine": true });
        let mut heard = heard;
        for (kind, message) in [
            ("SESSION_STARTED", Value::Null),
            ("MESSAGE_ADDED", json!({ "role": "USER", "content": "Is it raining?" })),
            ("MESSAGE_ADDED", json!({ "role": "ASSISTANT", "content": "It is sunny." })),
            ("SESSION_ENDED", Value::Null),
        ] {
            let expected = json!({ "kind": kind, "actor": by_agent, "message": message });
            assert_eq!(heard.event().await["projectEvents"], expected);
        }
        assert_eq!(project.ask("activeSession { id }").await["activeSession"]["id"], json!(own));
    }
}

#[test]
fn a_token_that_one_server_revokes_ends_on_the_other() {
    run_with_database(Kind::Postgres, async |database: Database| {
        // Only the notification, no sweep.
        let flags = ["--sweep-seconds", "3600"];
        let (one, other) = (Server::start_with(&database, &flags).await, Server::start_with(&database, &flags).await);
        let project = Project::create(&one.user(ADA), "Ours").await;
        let made = token(&project, "Agent", "EDITOR").await;
        let elsewhere = project.of(&other.user(ADA).with_token(Some(made.text.clone())));
        assert_eq!(may_write(&elsewhere).await, "yes");
        let mut subscriptions = Vec::new();
        for select in [
            "projectEvents(projectId: $id, afterRevision: 2) { revision }",
            "codeChanged(projectId: $id, afterRevision: 2) { revision }",
            "presence(projectId: $id) { user { isMachine } }",
        ] {
            let mut socket = elsewhere.client.greeted().await;
            socket.start("1", &format!("subscription($id: ID!) {{ {select} }}"), json!({ "id": project.id })).await;
            assert_eq!(socket.message().await["type"], "next");
            subscriptions.push(socket);
        }
        revoke(&project, &made).await.ok();
        assert_unauthenticated(&elsewhere.client.gql("{ viewer { id } }", json!({})).await);
        for subscription in subscriptions {
            assert_revoked(subscription).await;
        }
        one.stop().await;
        other.stop().await;
    });
}

/// Without the service's own conditions: SQL with the server's login and the claims of a machine.
#[test]
fn row_security_alone_keeps_a_token_in_its_project() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let other = Project::create(&ada, "Another").await;
        let (file, session) = (other.create_file("secret.py", "secret\n").await, other.start_session().await);
        let (editor, viewer) = (token(&project, "Editor", "EDITOR").await, token(&project, "Viewer", "VIEWER").await);
        let mut connection = LoginConnection::open(server.database()).await;
        let (ours, theirs) = (&project.id, &other.id);
        for token in [&editor, &viewer] {
            let me = &token.user;
            for (sql, count) in [
                ("SELECT count(*) FROM projects".to_owned(), 1),
                (format!("SELECT count(*) FROM projects WHERE id = '{ours}'"), 1),
                ("SELECT count(*) FROM project_members".to_owned(), 1),
                ("SELECT count(*) FROM project_files".to_owned(), 0),
                ("SELECT count(*) FROM chat_sessions".to_owned(), 0),
                ("SELECT count(*) FROM user_preferences".to_owned(), 0),
                ("SELECT count(id) FROM access_tokens".to_owned(), 0),
                ("SELECT count(*) FROM pending_invitations".to_owned(), 0),
                (format!("SELECT count(*) FROM project_events WHERE project_id = '{theirs}'"), 0),
                (format!("SELECT count(*) FROM lock_project('project', '{theirs}', 'team', NULL, NULL, now())"), 0),
                (format!("SELECT count(*) FROM lock_project('file', '{file}', 'write', NULL, NULL, now())"), 0),
                (format!("SELECT count(*) FROM lock_project('session', '{session}', 'write', NULL, NULL, now())"), 0),
                (format!("UPDATE project_collaborators SET accepted_at = NULL WHERE user_id = '{me}'"), 0),
                (format!("DELETE FROM project_collaborators WHERE user_id = '{me}'"), 0),
                (format!("UPDATE projects SET name = 'Taken' WHERE id = '{theirs}'"), 0),
            ] {
                assert_eq!(connection.run_as(me, &sql).await, Ok(count), "{sql}");
            }
            let hash = "sha256('new')";
            for sql in [
                "SELECT count(sha256) FROM access_tokens".to_owned(),
                format!("UPDATE user_profiles SET full_name = 'Ada' WHERE id = '{me}'"),
                "SELECT 1 FROM update_profile_from_token(NULL, 'Ada', NULL, now(), now())".to_owned(),
                format!("INSERT INTO user_preferences VALUES ('{me}', '', true, '{{}}', '{{}}', now(), now())"),
                format!("INSERT INTO project_former_collaborators VALUES ('{ours}', '{me}', now())"),
                "SELECT 1 FROM create_project(gen_random_uuid(), 'New', NULL, '', '{}', now())".to_owned(),
                format!("SELECT 1 FROM record_revision('{ours}', 4, now(), 'COLLABORATORS_CHANGED', NULL, NULL, NULL)"),
                format!(
                    "SELECT 1 FROM create_access_token(gen_random_uuid(), '{ours}', 'New', 'viewer', {hash}, NULL, now())"
                ),
                format!("SELECT 1 FROM find_access_token({hash})"),
                format!(
                    "INSERT INTO project_collaborators VALUES ('{ours}', '{}', 'editor', '{me}', now(), NULL)",
                    user_id(ADA)
                ),
            ] {
                assert_eq!(connection.run_as(me, &sql).await, Err(DENIED.to_owned()), "{sql}");
            }
        }
        let named = format!("UPDATE projects SET name = 'Taken' WHERE id = '{ours}'");
        assert_eq!(connection.run_as(&editor.user, &named).await, Ok(1));
        assert_eq!(connection.run_as(&viewer.user, &named).await, Ok(0));

        // The owner invites no machine, and does not make it the owner or a person.
        let owner = user_id(ADA);
        for sql in [
            format!(
                "INSERT INTO project_collaborators VALUES ('{theirs}', '{}', 'editor', '{owner}', now(), NULL)",
                editor.user
            ),
            format!("UPDATE projects SET user_id = '{}' WHERE id = '{ours}'", editor.user),
            format!(
                "INSERT INTO user_profiles (id, created_at, updated_at, is_machine) VALUES ('{owner}', now(), now(), true)"
            ),
        ] {
            assert_eq!(connection.run_as(&owner, &sql).await, Err(DENIED.to_owned()), "{sql}");
        }
        assert_eq!(
            connection.run_as(&owner, "UPDATE user_profiles SET is_machine = true").await,
            Err(DENIED.to_owned())
        );

        // A token that is gone has no rights, whatever the claims are.
        revoke(&project, &editor).await.ok();
        assert_eq!(connection.run_as(&editor.user, "SELECT count(*) FROM projects").await, Ok(0));
        let left = rows(server.database(), "SELECT count(*)::text FROM access_tokens").await;
        assert_eq!(left, [["1"]]);
    });
}
