//! Given a project and people who are invited to it, leave it, are removed from it or take it over, then each of them
//! has exactly the permissions of the table in ARCHITECTURE.md, receives events while permitted, and learns nothing
//! else.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::{Database, Kind},
    project::{Project, each, number, settings, text, with},
    server::{Server, token_with, user_id},
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const EVE: &str = "eve@example.com";

/// A user with a profile: the server has seen a token of theirs.
async fn known_user(server: &Server, email: &str) -> Client {
    let client = server.user(email);
    client.gql("{ viewer { id } }", json!({})).await.ok();
    client
}

/// Invites a user.
async fn invite(project: &Project, email: &str, role: &str) -> Response {
    project
        .mutate(
            "inviteCollaborator",
            json!({ "userId": user_id(email), "role": role }),
            "revision collaborator { role acceptedAt }",
        )
        .await
}

async fn invite_email(project: &Project, email: &str, role: &str) -> Response {
    project
        .mutate("inviteByEmail", json!({ "email": email, "role": role }), "revision emailInvitation { email role }")
        .await
}

/// Starts a message and returns its id.
async fn start_message(client: &Client, session: &str) -> String {
    let input = json!({ "sessionId": session, "role": "ASSISTANT" });
    text(&client.mutate("startMessage", input, "messageId").await.ok()["startMessage"]["messageId"])
}

/// Runs a mutation that takes only ids.
async fn of_ids(project: &Project, client: &Client, name: &str, email: Option<&str>, select: &str) -> Response {
    let mut variables = json!({ "projectId": project.id });
    if let Some(email) = email {
        variables["userId"] = json!(user_id(email));
    }
    client.mutate_with(name, variables, select).await
}

async fn accept(project: &Project, client: &Client) -> Response {
    of_ids(project, client, "acceptInvitation", None, "revision collaborator { role acceptedAt user { id } }").await
}

async fn remove(project: &Project, client: &Client, email: &str) -> Response {
    of_ids(project, client, "removeCollaborator", Some(email), "revision project { id name }").await
}

/// Makes a user a member.
async fn join(project: &Project, server: &Server, email: &str, role: &str) -> Client {
    let client = known_user(server, email).await;
    invite(project, email, role).await.ok();
    accept(project, &client).await.ok();
    client
}

async fn invitations(client: &Client) -> Value {
    let query = "{ invitations { totalCount nodes { projectId projectName role invitedBy { id fullName email preferences { editorTheme } } } } }";
    client.gql(query, json!({})).await.ok()["invitations"].take()
}

fn refused(answer: &Response, code: &str, field: &str) {
    assert_eq!((answer.error_code(), answer.field()), (code, field), "{answer:?}");
}

/// A project of Ada's with an object for every action, and the user who acts.
struct Scene {
    server: Server,
    project: Project,
    actor: Client,
    /// The actor's own session, if they have had one.
    own: String,
    ada_session: String,
    actor_session: Option<String>,
    file: String,
    snapshot: String,
    configuration: String,
    webhook: String,
    delivery: String,
    token: String,
    /// In the actor's own session if there is one, in Ada's otherwise.
    streaming: String,
    /// In another user's session.
    streaming_elsewhere: String,
}

const ROLES: [&str; 5] = ["stranger", "invited", "viewer", "editor", "owner"];

/// Mutations after which every other action of the table has the same outcome in the same project.
const ADDITIONS: [&str; 17] = [
    "createProject",
    "updateProfile",
    "updatePreferences",
    "touchProject",
    "addMessage",
    "startMessage",
    "appendToMessage",
    "createSnapshot",
    "updateSnapshot",
    "saveAgentConfiguration",
    "setAgentConfigurationActive",
    "restoreAgentConfiguration",
    "createAccessToken",
    "createWebhook",
    "updateWebhook",
    "rotateWebhookSecret",
    "redeliver",
];

/// Whether another action of the table can follow in the same project.
fn leaves_the_rest(action: &str) -> bool {
    let is_read = action.starts_with("read ") || action.starts_with("subscribe to ");
    is_read || ADDITIONS.iter().any(|name| action.starts_with(&format!("`{name}`")))
}

impl Scene {
    async fn new(server: &Server, role: &str) -> Self {
        let ada = known_user(server, ADA).await;
        known_user(server, EVE).await;
        let project = Project::create(&ada, "Ours").await;
        let webhook = crate::webhooks::hook(&project, "http://localhost:1/").await;
        let file = project.create_file("a.py", "one\n").await;
        project.update_file("a.py", "two\n").await;
        let made = project.write("createSnapshot", json!({ "name": "Named" }), "snapshot { id }").await;
        let saved = project.write("saveAgentConfiguration", settings("Agent"), "agentConfiguration { id }").await;
        let machine = json!({ "name": "Machine", "role": "VIEWER" });
        let machine = project.write("createAccessToken", machine, "accessToken { id }").await;
        join(&project, server, "carol@example.com", "EDITOR").await;
        invite_email(&project, "waiting@example.com", "VIEWER").await.ok();
        let ada_session = project.start_session().await;
        let mut own = ada_session.clone();
        let actor = match role {
            "owner" => {
                // The session of another user is Carol's.
                own = project.of(&server.user("carol@example.com")).start_session().await;
                ada
            }
            "stranger" => known_user(server, "actor@example.com").await,
            "invited" => {
                let actor = known_user(server, "actor@example.com").await;
                invite(&project, "actor@example.com", "EDITOR").await.ok();
                actor
            }
            _ => join(&project, server, "actor@example.com", "EDITOR").await,
        };
        let mut actor_session = None;
        match role {
            "editor" | "viewer" => actor_session = Some(project.of(&actor).start_session().await),
            "owner" => actor_session = Some(ada_session.clone()),
            _ => {}
        }
        let own_session = actor_session.as_ref().unwrap_or(&ada_session);
        let (mine, others) = match role {
            "owner" => (project.client.clone(), server.user("carol@example.com")),
            "viewer" | "editor" => (actor.clone(), project.client.clone()),
            _ => (project.client.clone(), project.client.clone()),
        };
        let streaming = start_message(&mine, own_session).await;
        let streaming_elsewhere = start_message(&others, &own).await;
        if role == "viewer" {
            let input = json!({ "userId": user_id("actor@example.com"), "role": "VIEWER" });
            project.mutate("changeCollaboratorRole", input, "revision").await.ok();
        }
        let delivery = crate::webhooks::first_delivery(&project.client, &webhook).await;
        let (file, snapshot) = (file, text(&made["snapshot"]["id"]));
        let configuration = text(&saved["agentConfiguration"]["id"]);
        let token = text(&machine["accessToken"]["id"]);
        let server = server.clone();
        Self {
            server,
            project,
            actor,
            own,
            ada_session,
            actor_session,
            file,
            snapshot,
            configuration,
            webhook,
            delivery,
            token,
            streaming,
            streaming_elsewhere,
        }
    }

    /// An action of the table, as a mutation with its arguments.
    async fn mutation(&self, action: &str) -> (String, Value) {
        let name = action.split('`').nth(1).expect("a mutation in backticks").to_owned();
        let project = &self.project.id;
        let session = if action.contains("another's") {
            &self.own
        } else {
            self.actor_session.as_ref().unwrap_or(&self.ada_session)
        };
        let streaming = if action.contains("another's") { &self.streaming_elsewhere } else { &self.streaming };
        let carol = user_id("carol@example.com");
        let me =
            if self.actor.token() == self.project.client.token() { user_id(ADA) } else { user_id("actor@example.com") };
        let input = |input: Value| json!({ "input": input });
        let here = |more: Value| input(with(json!({ "projectId": project }), more));
        let variables = match action {
            "`createProject`" => input(json!({ "name": "New", "initialPrompt": "", "config": {} })),
            "`updateProfile`" => input(json!({ "fullName": "New" })),
            "`updatePreferences`" => input(json!({ "editorTheme": "new" })),
            "`updateProject`" => input(json!({ "id": project, "name": "New" })),
            "`updateProject` to DELETED" => input(json!({ "id": project, "status": "DELETED" })),
            "`updateProject` from DELETED" => {
                self.project.client.mutate_id("deleteProject", project, "revision").await.ok();
                input(json!({ "id": project, "status": "ACTIVE" }))
            }
            "`touchProject`" | "`deleteProject`" => json!({ "id": project }),
            "`startSession`" | "`createSnapshot`" => here(json!({})),
            "`undo`" => here(json!({ "revision": 3 })),
            "`redo`" => {
                self.project.write("undo", json!({}), "revision").await;
                here(json!({}))
            }
            "`addMessage` in one's own session" | "`addMessage` in another's session" => {
                input(json!({ "sessionId": session, "role": "USER", "content": "New" }))
            }
            "`startMessage` in one's own session" | "`startMessage` in another's session" => {
                input(json!({ "sessionId": session, "role": "USER" }))
            }
            "`appendToMessage` to one's own" | "`appendToMessage` to another's" => {
                input(json!({ "messageId": streaming, "offset": 0, "text": "New" }))
            }
            "`finishMessage` of one's own" | "`finishMessage` of another's" => input(json!({ "messageId": streaming })),
            "`discardMessage` of one's own" | "`discardMessage` of another's" => json!({ "messageId": streaming }),
            "`endSession` of one's own" | "`endSession` of another's" => json!({ "id": session }),
            "`createFile`" => here(json!({ "path": "new.py" })),
            "`updateFile`" => here(json!({ "path": "a.py", "content": "new" })),
            "`renameFile`" => here(json!({ "path": "a.py", "newPath": "new.py" })),
            "`deleteFile`" => here(json!({ "path": "a.py" })),
            "`revertFile`" => input(json!({ "fileId": self.file, "version": 1 })),
            "`syncFiles`" => here(json!({ "files": [{ "path": "new.py", "content": "" }] })),
            "`restoreSnapshot`" | "`deleteSnapshot`" => input(json!({ "snapshotId": self.snapshot })),
            "`updateSnapshot`" => input(json!({ "snapshotId": self.snapshot, "name": "New" })),
            "`restoreRevision`" => here(json!({ "revision": 2 })),
            "`saveAgentConfiguration`" => here(settings("New")),
            "`setAgentConfigurationActive`" => input(json!({ "id": self.configuration, "isActive": false })),
            "`restoreAgentConfiguration`" => input(json!({ "id": self.configuration, "version": 1 })),
            "`createWebhook`" => here(json!({ "url": "http://localhost:1/" })),
            "`updateWebhook`" | "`rotateWebhookSecret`" | "`deleteWebhook`" => {
                input(json!({ "webhookId": self.webhook }))
            }
            "`redeliver`" => input(json!({ "deliveryId": self.delivery })),
            "`deleteAgentConfiguration`" => input(json!({ "id": self.configuration })),
            "`createAccessToken`" => here(json!({ "name": "New", "role": "EDITOR" })),
            "`revokeAccessToken`" => json!({ "accessTokenId": self.token }),
            "`inviteCollaborator`" => here(json!({ "userId": user_id(EVE), "role": "VIEWER" })),
            "`inviteByEmail`" => here(json!({ "email": EVE, "role": "VIEWER" })),
            "`withdrawEmailInvitation`" => json!({ "projectId": project, "email": "waiting@example.com" }),
            "`changeCollaboratorRole`" => here(json!({ "userId": carol, "role": "VIEWER" })),
            "`removeCollaborator` of another" | "`transferOwnership`" => {
                json!({ "projectId": project, "userId": carol })
            }
            "`removeCollaborator` of oneself" => json!({ "projectId": project, "userId": me }),
            "`leaveProject`" | "`acceptInvitation`" | "`declineInvitation`" => json!({ "projectId": project }),
            _ => panic!("this test does not support the action {action} of the table in ARCHITECTURE.md"),
        };
        (name, variables)
    }

    /// The outcome of an action, in the words of the table.
    async fn attempt(&self, action: &str) -> &'static str {
        let answer = if action.contains("`project`") {
            let query = "query($id: ID!) { project(id: $id) { id } }";
            let data = self.actor.gql(query, json!({ "id": self.project.id })).await.ok();
            return if data["project"].is_null() { "nothing there" } else { "yes" };
        } else if let Some(name) =
            ["messageAdded", "messageStream", "streamingMessages", "codeChanged", "projectEvents", "presence"]
                .iter()
                .find(|name| action.contains(*name))
        {
            let (argument, id, after) = match *name {
                "messageAdded" => ("sessionId", &self.ada_session, ", afterRevision: 0"),
                "messageStream" => ("messageId", &self.streaming, ""),
                "streamingMessages" | "presence" => ("projectId", &self.project.id, ""),
                _ => ("projectId", &self.project.id, ", afterRevision: 0"),
            };
            self.project.add_message(&self.ada_session, "Hear", false).await;
            let query = format!("subscription {{ {name}({argument}: \"{id}\"{after}) {{ __typename }} }}");
            match self.actor.subscribe(&query, json!({})).await.next().await.expect("an answer") {
                Ok(_) => return "yes",
                Err(errors) => Response { status: 200, data: Value::Null, errors },
            }
        } else {
            let (name, variables) = self.mutation(action).await;
            self.actor.mutate_with(&name, variables, "__typename").await
        };
        match answer.errors.first() {
            None => "yes",
            Some(error) => match error["extensions"]["code"].as_str().expect("a code") {
                "FORBIDDEN" => "no",
                "NOT_FOUND" => "nothing there",
                "CONFLICT" => "hand over first",
                _ => panic!("{action}: {error}"),
            },
        }
    }
}

/// The permission table of ARCHITECTURE.md: each action with the cell of each role.
fn table() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md")).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let head = format!("| action | {} |", ROLES.join(" | "));
    let (_, rest) = page.split_once(&head).unwrap_or_else(|| panic!("ARCHITECTURE.md has no table with {head}"));
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    // A line can hold several similar actions.
    let rows = rows.flat_map(|line| {
        let mut cells = cells(line);
        let actions = cells.remove(0);
        actions.split(", ").map(|action| (action.to_owned(), cells.clone())).collect::<Vec<_>>()
    });
    rows.collect()
}

tests::on_both! {
    async fn every_role_has_the_permissions_of_the_table(server: Server) {
        let table = table();

        // Given the table, then every mutation and subscription of the schema is in it …
        let query = "{ __schema { mutationType { fields { name } } subscriptionType { fields { name } } } }";
        let schema = server.user(ADA).gql(query, json!({})).await.ok();
        let fields = ["mutationType", "subscriptionType"].map(|kind| each(&schema["__schema"][kind]["fields"], "name"));
        let named: BTreeSet<String> = table.iter().filter_map(|(action, _)| Some(action.split('`').nth(1)?.to_owned())).collect();
        for field in fields.iter().flatten() {
            assert!(named.contains(field.as_str().unwrap()), "the table in ARCHITECTURE.md does not list {field}");
        }

        // … and each cell of it holds.
        for (column, role) in ROLES.into_iter().enumerate() {
            let mut scene = Scene::new(&server, role).await;
            let mut before = None;
            for (action, cells) in &table {
                let said = &cells[column];
                // Attempts of these change the project themselves.
                let is_changed = ["from DELETED", "redo", "subscribe to"].iter().any(|part| action.contains(*part));
                let leaves_all = said != "yes" && !is_changed;
                if leaves_all && before.is_none() {
                    before = Some(scene.project.state().await);
                }
                assert_eq!(scene.attempt(action).await, said, "{action} as {role}");
                if leaves_all {
                    assert_eq!(Some(scene.project.state().await), before, "{action} as {role}");
                    continue;
                }
                before = None;
                if !leaves_the_rest(action) {
                    scene = Scene::new(&scene.server, role).await;
                }
            }
        }
    }

    async fn an_invitation_shows_the_inviter_and_the_project_name_only(server: Server) {
        let ada = server.user(ADA);
        let bob = known_user(&server, BOB).await;
        let project = Project::create(&ada, "Together").await;
        project.create_file("secret.py", "secret\n").await;
        assert_eq!(invitations(&bob).await["totalCount"], 0);

        let invited = invite(&project, BOB, "EDITOR").await.ok();
        assert_eq!(invited["inviteCollaborator"], json!({ "revision": 3, "collaborator": { "role": "EDITOR", "acceptedAt": null } }));
        let event = project.ask("events(afterRevision: 2) { revision kind actor { id } }").await;
        assert_eq!(event["events"], json!([{ "revision": 3, "kind": "COLLABORATORS_CHANGED", "actor": { "id": user_id(ADA) } }]));
        let node = json!({ "projectId": project.id, "projectName": "Together", "role": "EDITOR",
            "invitedBy": { "id": user_id(ADA), "fullName": "ada", "email": null, "preferences": null } });
        assert_eq!(invitations(&bob).await, json!({ "totalCount": 1, "nodes": [node] }));
        assert_eq!(invitations(&known_user(&server, EVE).await).await["totalCount"], 0);
        assert_eq!(project.of(&bob).ask("id").await, Value::Null);
        let inviter = bob.gql("query($id: ID!) { node(id: $id) { id } }", json!({ "id": user_id(ADA) })).await.ok();
        assert_eq!(inviter, json!({ "node": null }));

        // A repeated invitation changes nothing; one with another role replaces the first.
        assert_eq!(invite(&project, BOB, "EDITOR").await.ok()["inviteCollaborator"]["revision"], 3);
        assert_eq!(invite(&project, BOB, "VIEWER").await.ok()["inviteCollaborator"]["revision"], 4);
        let joined = accept(&project, &bob).await.ok();
        assert_eq!((&joined["acceptInvitation"]["revision"], &joined["acceptInvitation"]["collaborator"]["role"]), (&json!(5), &json!("VIEWER")));
        assert_eq!(project.of(&bob).ask("viewerRole owner { fullName }").await, json!({ "viewerRole": "VIEWER", "owner": { "fullName": "ada" } }));
        assert_eq!(invitations(&bob).await["totalCount"], 0);

        // Accepting twice, declining too late and a new invitation leave the membership as it is.
        assert_eq!(accept(&project, &bob).await.ok(), joined);
        refused(&of_ids(&project, &bob, "declineInvitation", None, "projectId").await, "NOT_FOUND", "projectId");
        assert_eq!(invite(&project, BOB, "VIEWER").await.ok()["inviteCollaborator"]["revision"], 5);
        refused(&invite(&project, BOB, "EDITOR").await, "CONFLICT", "userId");
        assert_eq!(project.revision().await, 5);
    }

    async fn a_user_who_declined_can_be_invited_again(server: Server) {
        let ada = server.user(ADA);
        let bob = known_user(&server, BOB).await;
        let project = Project::create(&ada, "Together").await;
        invite(&project, BOB, "EDITOR").await.ok();
        let declined = of_ids(&project, &bob, "declineInvitation", None, "projectId").await.ok();
        assert_eq!(declined["declineInvitation"]["projectId"], json!(project.id));
        refused(&of_ids(&project, &bob, "declineInvitation", None, "projectId").await, "NOT_FOUND", "projectId");
        refused(&accept(&project, &bob).await, "NOT_FOUND", "projectId");
        assert_eq!(project.ask("revision collaborators { role }").await, json!({ "revision": 3, "collaborators": [] }));
        assert_eq!(invitations(&bob).await["totalCount"], 0);

        // An invitation can be withdrawn before it is answered, and ends with its project.
        invite(&project, BOB, "EDITOR").await.ok();
        remove(&project, &ada, BOB).await.ok();
        refused(&accept(&project, &bob).await, "NOT_FOUND", "projectId");
        invite(&project, BOB, "EDITOR").await.ok();
        ada.mutate_id("deleteProject", &project.id, "revision").await.ok();
        assert_eq!(invitations(&bob).await["totalCount"], 0);
        refused(&accept(&project, &bob).await, "NOT_FOUND", "projectId");
        refused(&invite(&project, BOB, "VIEWER").await, "CONFLICT", "projectId");
        refused(&invite_email(&project, BOB, "VIEWER").await, "CONFLICT", "projectId");
    }

    async fn a_project_has_one_owner(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let bob = join(&project, &server, BOB, "VIEWER").await;
        known_user(&server, EVE).await;
        let before = project.state().await;
        for (name, email) in [("inviteCollaborator", EVE), ("changeCollaboratorRole", BOB)] {
            let answer = project.mutate(name, json!({ "userId": user_id(email), "role": "OWNER" }), "revision").await;
            refused(&answer, "BAD_USER_INPUT", "role");
            assert!(answer.error()["message"].as_str().unwrap().contains("transferOwnership"));
        }
        refused(&invite_email(&project, EVE, "OWNER").await, "BAD_USER_INPUT", "role");
        refused(&invite(&project, ADA, "EDITOR").await, "BAD_USER_INPUT", "userId");
        refused(&invite_email(&project, " ADA@example.com", "EDITOR").await, "BAD_USER_INPUT", "email");
        refused(&invite(&project, "nobody@example.com", "EDITOR").await, "NOT_FOUND", "userId");
        let role = |client: &Client, email: &str| {
            let (project, input) = (project.of(client), json!({ "userId": user_id(email), "role": "EDITOR" }));
            async move { project.mutate("changeCollaboratorRole", input, "revision").await }
        };
        refused(&role(&ada, ADA).await, "CONFLICT", "userId");
        refused(&role(&ada, EVE).await, "NOT_FOUND", "userId");
        assert_eq!(role(&bob, BOB).await.error_code(), "FORBIDDEN");
        refused(&remove(&project, &ada, EVE).await, "NOT_FOUND", "userId");
        refused(&remove(&project, &ada, ADA).await, "CONFLICT", "userId");
        refused(&of_ids(&project, &ada, "leaveProject", None, "revision").await, "CONFLICT", "userId");
        let hand_over = async |email: &str| of_ids(&project, &ada, "transferOwnership", Some(email), "revision").await;
        refused(&hand_over(EVE).await, "NOT_FOUND", "userId");
        assert_eq!(hand_over(ADA).await.ok()["transferOwnership"]["revision"], before["revision"]);
        assert_eq!(project.state().await, before);
        invite(&project, EVE, "EDITOR").await.ok();
        refused(&hand_over(EVE).await, "CONFLICT", "userId");

        // After the transfer Bob is the owner, and the former owner is an editor who can leave.
        let given = of_ids(&project, &ada, "transferOwnership", Some(BOB), "revision project { viewerRole owner { id } }").await.ok();
        assert_eq!(given["transferOwnership"]["project"], json!({ "viewerRole": "EDITOR", "owner": { "id": user_id(BOB) } }));
        assert_eq!(project.of(&bob).ask("viewerRole").await["viewerRole"], "OWNER");
        let members = project.ask("collaborators { user { id } role }").await;
        assert_eq!(each(&members["collaborators"], "role").len(), 2);
        assert_eq!(hand_over(BOB).await.error_code(), "FORBIDDEN");
        let totals = "{ activitySummary { totalProjects } projects { totalCount } }";
        assert_eq!(ada.gql(totals, json!({})).await.ok(), json!({ "activitySummary": { "totalProjects": 0 }, "projects": { "totalCount": 1 } }));
        of_ids(&project, &ada, "leaveProject", None, "revision projectId").await.ok();
        assert_eq!(project.ask("id").await, Value::Null);
        // Her work stays, under her name.
        let first = project.of(&bob).ask("events(first: 1) { actor { id fullName } }").await;
        assert_eq!(first["events"][0]["actor"], json!({ "id": user_id(ADA), "fullName": "ada" }));
    }

    async fn an_address_can_be_invited_before_its_owner_is_known(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Together").await;
        let bob = known_user(&server, BOB).await;

        // The answer does not reveal whether the address has an account.
        let mut answers = Vec::new();
        for email in [BOB, "nobody@example.com"] {
            let mut answer = invite_email(&project, &format!(" {} ", email.to_uppercase()), "EDITOR").await.ok();
            assert_eq!(answer["inviteByEmail"]["emailInvitation"]["email"].take(), json!(email));
            answer["inviteByEmail"]["revision"].take();
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
        assert_eq!(project.ask("collaborators { role } emailInvitations { email role invitedBy { id } }").await, json!({
            "collaborators": [], "emailInvitations": [
                { "email": BOB, "role": "EDITOR", "invitedBy": { "id": user_id(ADA) } },
                { "email": "nobody@example.com", "role": "EDITOR", "invitedBy": { "id": user_id(ADA) } },
            ] }));
        assert_eq!(invite_email(&project, BOB, "EDITOR").await.ok()["inviteByEmail"]["revision"], 3);

        // Only a token that states the address as its user's, and as verified, can answer the invitation.
        for claims in [
            json!({ "email_verified": false }),
            json!({ "user_metadata": { "email_verified": false } }),
            json!({ "user_metadata": {} }),
            json!({ "email": null, "user_metadata": { "email": BOB, "email_verified": true } }),
            json!({ "email": EVE }),
        ] {
            let other = bob.with_token(Some(token_with(BOB, claims.clone())));
            assert_eq!(invitations(&other).await["totalCount"], 0, "{claims}");
            refused(&accept(&project, &other).await, "NOT_FOUND", "projectId");
            refused(&of_ids(&project, &other, "declineInvitation", None, "projectId").await, "NOT_FOUND", "projectId");
        }
        let node = json!({ "projectId": project.id, "projectName": "Together", "role": "EDITOR",
            "invitedBy": { "id": user_id(ADA), "fullName": "ada", "email": null, "preferences": null } });
        assert_eq!(invitations(&bob).await, json!({ "totalCount": 1, "nodes": [node] }));

        // If both are invited, the invitation to the user counts, and accepting it answers both.
        invite(&project, BOB, "VIEWER").await.ok();
        assert_eq!(each(&invitations(&bob).await["nodes"], "role"), [json!("VIEWER")]);
        assert_eq!(accept(&project, &bob).await.ok()["acceptInvitation"]["collaborator"]["role"], "VIEWER");
        assert_eq!(each(&project.ask("emailInvitations { email }").await["emailInvitations"], "email"), [json!("nobody@example.com")]);
        // Members see each other, but no addresses.
        assert_eq!(project.of(&bob).ask("emailInvitations { email }").await, json!({ "emailInvitations": [] }));

        // An old invitation to a member's address does not let them back in after a removal, but a new one does.
        invite_email(&project, BOB, "EDITOR").await.ok();
        assert_eq!(invitations(&bob).await["totalCount"], 0);
        remove(&project, &ada, BOB).await.ok();
        assert_eq!(invitations(&bob).await["totalCount"], 0);
        refused(&accept(&project, &bob).await, "NOT_FOUND", "projectId");
        refused(&of_ids(&project, &bob, "declineInvitation", None, "projectId").await, "NOT_FOUND", "projectId");
        let at = project.revision().await;
        for _ in 0..2 {
            // The first new invitation counts; a repeated one changes nothing.
            assert_eq!(number(&invite_email(&project, BOB, "EDITOR").await.ok()["inviteByEmail"]["revision"]), at + 1);
            assert_eq!(each(&invitations(&bob).await["nodes"], "role"), [json!("EDITOR")]);
        }
        of_ids(&project, &bob, "declineInvitation", None, "projectId").await.ok();

        // A user who signs up later finds their invitation and can accept it; a withdrawn invitation is gone.
        let late = server.user("nobody@example.com");
        assert_eq!(invitations(&late).await["totalCount"], 1);
        assert_eq!(accept(&project, &late).await.ok()["acceptInvitation"]["collaborator"], json!({
            "role": "EDITOR", "acceptedAt": project.ask("collaborators { acceptedAt }").await["collaborators"][0]["acceptedAt"],
            "user": { "id": user_id("nobody@example.com") } }));
        invite_email(&project, EVE, "EDITOR").await.ok();
        let variables = json!({ "projectId": project.id, "email": "Eve@Example.com" });
        ada.mutate_with("withdrawEmailInvitation", variables.clone(), "revision").await.ok();
        refused(&ada.mutate_with("withdrawEmailInvitation", variables, "revision").await, "NOT_FOUND", "email");
        assert_eq!(invitations(&server.user(EVE)).await["totalCount"], 0);

        // Declining an invitation does not affect one to another address.
        invite_email(&project, EVE, "EDITOR").await.ok();
        of_ids(&project, &server.user(EVE), "declineInvitation", None, "projectId").await.ok();
        assert_eq!(project.ask("emailInvitations { email }").await, json!({ "emailInvitations": [] }));
        for email in ["", "eve", "eve@", "e ve@example.com", "eve@exa\u{0}mple.com"] {
            refused(&invite_email(&project, email, "EDITOR").await, "BAD_USER_INPUT", "email");
        }
    }

    async fn only_the_owner_of_an_address_answers_its_invitation(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        // Given Bob, who is invited by address, and two members whose profiles show that address because their issuer
        // let them set it …
        invite_email(&project, BOB, "EDITOR").await.ok();
        let mut impostors = Vec::new();
        for email in ["mallory@example.com", "trudy@example.com"] {
            let claims = json!({ "email": BOB, "user_metadata": { "email": BOB, "email_verified": false, "full_name": "Bob" } });
            let client = server.anonymous().with_token(Some(token_with(email, claims)));
            let viewer = client.gql("{ viewer { email } }", json!({})).await.ok();
            assert_eq!(viewer, json!({ "viewer": { "email": BOB } }));
            invite(&project, email, "EDITOR").await.ok();
            accept(&project, &client).await.ok();
            impostors.push(client);
        }
        // … when one leaves and the other is removed, then Bob is still invited.
        of_ids(&project, &impostors[0], "leaveProject", None, "revision").await.ok();
        remove(&project, &ada, "trudy@example.com").await.ok();
        for client in &impostors {
            assert_eq!(invitations(client).await["totalCount"], 0);
            refused(&accept(&project, client).await, "NOT_FOUND", "projectId");
        }
        let bob = server.user(BOB);
        assert_eq!(invitations(&bob).await["totalCount"], 1);
        accept(&project, &bob).await.ok();

        // Addresses that only look alike, or that case mapping of other alphabets would make equal, do not match.
        invite_email(&project, "kate@example.com", "EDITOR").await.ok();
        for alike in ["\u{212a}ate@example.com", "kate@example.com.", "k\u{0430}te@example.com", "kate+@example.com", "\"kate\"@example.com"] {
            let claims = json!({ "email": alike, "email_verified": true });
            let client = server.anonymous().with_token(Some(token_with(alike, claims)));
            assert_eq!(invitations(&client).await["totalCount"], 0, "{alike}");
            refused(&accept(&project, &client).await, "NOT_FOUND", "projectId");
        }
        let kate = server.anonymous().with_token(Some(token_with("kate", json!({ "email": " KATE@Example.com ", "email_verified": true }))));
        assert_eq!(invitations(&kate).await["totalCount"], 1);
    }

    async fn a_removed_member_leaves_their_work_and_receives_nothing_more(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let bob = join(&project, &server, BOB, "EDITOR").await;
        let eve = join(&project, &server, EVE, "VIEWER").await;
        let theirs = project.of(&bob);
        let session = theirs.start_session().await;
        theirs.add_message(&session, "Bob was here", false).await;
        theirs.create_file("bob.py", "print('bob')\n").await;
        let at = project.revision().await;

        // Given subscriptions of every kind on a project that is written to all the time …
        let mut listeners = Vec::new();
        for client in [&bob, &eve] {
            let project_id = &project.id;
            for arguments in [
                format!("projectEvents(projectId: \"{project_id}\", afterRevision: {at}) {{ revision }}"),
                format!("projectEvents(projectId: \"{project_id}\", kinds: [SNAPSHOT_CREATED], afterRevision: {at}) {{ revision }}"),
                format!("codeChanged(projectId: \"{project_id}\", afterRevision: {at}) {{ revision }}"),
                format!("messageAdded(sessionId: \"{session}\", afterRevision: {at}) {{ revision }}"),
            ] {
                listeners.push(client.subscribe(&format!("subscription {{ {arguments} }}"), json!({})).await);
            }
        }
        let busy = tokio::spawn({
            let project = project.clone();
            async move {
                for n in 0.. {
                    let input = json!({ "id": project.id, "description": format!("{n}") });
                    project.client.mutate("updateProject", input, "revision").await.ok();
                }
            }
        });
        while project.revision().await < at + 5 {
            assert!(!busy.is_finished());
        }

        // … when one member is removed and the other leaves, then all of their subscriptions end within a second with
        // the reason.
        remove(&project, &ada, BOB).await.ok();
        let left = number(&of_ids(&project, &eve, "leaveProject", None, "revision").await.ok()["leaveProject"]["revision"]);
        let all = futures::future::join_all(listeners.into_iter().map(|mut listener| async move {
            loop {
                match listener.next().await {
                    Some(Ok(data)) => {
                        let revision = data.as_object().unwrap().values().next().map(|event| number(&event["revision"]));
                        assert!(revision < Some(left), "{data}");
                    }
                    Some(Err(errors)) => {
                        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
                        assert_eq!(listener.next().await, None);
                        return;
                    }
                    None => panic!("the subscription ended without an error"),
                }
            }
        }));
        tokio::time::timeout(Duration::from_secs(1), all).await.expect("they end within a second");
        busy.abort();

        // Their work is still there, and their sessions have ended.
        let seen = project.ask("sessions { nodes { isActive author { fullName } messages { nodes { content author { fullName } } } } }
            file(path: \"bob.py\") { content versions { nodes { createdBy { id fullName email } } } }").await;
        assert_eq!(seen, json!({
            "sessions": { "nodes": [{ "isActive": false, "author": { "fullName": "bob" },
                "messages": { "nodes": [{ "content": "Bob was here", "author": { "fullName": "bob" } }] } }] },
            "file": { "content": "print('bob')\n", "versions": { "nodes": [{ "createdBy": { "id": user_id(BOB), "fullName": "bob", "email": null } }] } },
        }));
        refused(&bob.mutate("addMessage", json!({ "sessionId": session, "role": "USER", "content": "still" }), "revision").await, "NOT_FOUND", "sessionId");
        assert_eq!(bob.gql("query($id: ID!) { node(id: $id) { id } }", json!({ "id": session })).await.ok(), json!({ "node": null }));

        // They can come back.
        invite(&project, BOB, "VIEWER").await.ok();
        accept(&project, &bob).await.ok();
        assert_eq!(theirs.ask("activeSession { id } viewerRole").await, json!({ "activeSession": null, "viewerRole": "VIEWER" }));
    }

    async fn an_editor_who_becomes_a_viewer_cannot_write_but_keeps_receiving(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let bob = join(&project, &server, BOB, "EDITOR").await;
        let theirs = project.of(&bob);
        let session = theirs.start_session().await;
        let mut subscription = theirs.listen(project.revision().await, "kind session { id }").await;
        let input = json!({ "userId": user_id(BOB), "role": "VIEWER" });
        project.mutate("changeCollaboratorRole", input.clone(), "revision").await.ok();
        assert_eq!(subscription.event().await["projectEvents"], json!({ "kind": "COLLABORATORS_CHANGED", "session": { "id": session } }));
        assert_eq!(theirs.mutate("createFile", json!({ "path": "a.py" }), "revision").await.error_code(), "FORBIDDEN");
        assert_eq!(theirs.ask("sessions { nodes { isActive } }").await["sessions"]["nodes"], json!([{ "isActive": false }]));
        let at = project.revision().await;
        assert_eq!(project.mutate("changeCollaboratorRole", input, "revision").await.ok()["changeCollaboratorRole"]["revision"], at);
        project.create_file("a.py", "").await;
        assert_eq!(subscription.event().await["projectEvents"]["kind"], "FILES_CHANGED");
    }

    async fn concurrent_invitations_and_answers_count_once(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Busy").await;
        let bob = known_user(&server, BOB).await;
        let together = |n: usize| futures::future::join_all((0..n).map(|_| invite(&project, BOB, "EDITOR")));
        let revisions = together(8).await;
        assert!(revisions.iter().all(|answer| answer.errors.is_empty() && answer.data["inviteCollaborator"]["revision"] == 2));
        let accepted = futures::future::join_all((0..8).map(|_| accept(&project, &bob))).await;
        assert!(accepted.iter().all(|answer| answer.errors.is_empty()), "{accepted:?}");
        assert_eq!(project.ask("revision collaborators { role }").await, json!({ "revision": 3, "collaborators": [{ "role": "EDITOR" }] }));

        // Removal during writes: acknowledged writes come before the removal, and no write comes after it.
        let writing = (0..20).map(|n| {
            let theirs = project.of(&bob);
            async move { theirs.mutate("createFile", json!({ "path": format!("{n}.py") }), "revision").await }
        });
        let (written, removed) = futures::join!(futures::future::join_all(writing), remove(&project, &ada, BOB));
        let removed = number(&removed.ok()["removeCollaborator"]["revision"]);
        for answer in &written {
            match answer.errors.is_empty() {
                true => assert!(number(&answer.data["createFile"]["revision"]) < removed, "{answer:?}"),
                false => assert_eq!(answer.error_code(), "NOT_FOUND"),
            }
        }
        assert_eq!(project.revision().await, removed);
        let revisions = project.ask("events(first: 500) { revision }").await;
        let revisions: Vec<i64> = each(&revisions["events"], "revision").iter().map(number).collect();
        assert_eq!(revisions, (1..=removed).collect::<Vec<_>>());
    }

    async fn the_number_of_members_is_limited(database: Database) {
        let server = Server::start_with(&database, &["--max-collaborators=2", "--max-agent-configurations=2"]).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Small").await;
        for email in [BOB, EVE, "carol@example.com"] {
            known_user(&server, email).await;
        }
        invite(&project, BOB, "EDITOR").await.ok();
        invite_email(&project, EVE, "EDITOR").await.ok();
        for answer in [invite(&project, "carol@example.com", "EDITOR").await, invite_email(&project, "carol@example.com", "EDITOR").await] {
            assert_eq!(answer.error_code(), "CONFLICT");
            assert!(answer.error()["message"].as_str().unwrap().contains("--max-collaborators"));
        }
        // Existing members can still be invited again, and a departure makes room.
        invite(&project, BOB, "VIEWER").await.ok();
        invite_email(&project, EVE, "VIEWER").await.ok();
        remove(&project, &ada, BOB).await.ok();
        invite(&project, "carol@example.com", "EDITOR").await.ok();

        for name in ["One", "Two"] {
            project.write("saveAgentConfiguration", settings(name), "revision").await;
        }
        let answer = project.mutate("saveAgentConfiguration", settings("Three"), "revision").await;
        refused(&answer, "CONFLICT", "projectId");
        assert!(answer.error()["message"].as_str().unwrap().contains("--max-agent-configurations"));
        server.stop().await;
    }
}

/// PostgreSQL shows a statement that waited for a row the new version of that row, and everything else as of the
/// statement's start.
#[test]
fn a_write_that_waited_for_the_removal_of_its_writer_is_refused() {
    tests::server::run_with_server(Kind::Postgres, async |server| {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let bob = join(&project, &server, BOB, "EDITOR").await;
        let before = project.state().await;
        let (id, user) = (&project.id, user_id(BOB));
        let database = server.database().clone();

        // Given a removal that holds the project's lock until a write waits for it …
        let waiting = "SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
        let removal = format!(
            "BEGIN; UPDATE projects SET revision = revision + 1 WHERE id = '{id}';
            DELETE FROM project_collaborators WHERE project_id = '{id}' AND user_id = '{user}';
            DO $$ BEGIN FOR n IN 1..1000 LOOP
                IF EXISTS ({waiting}) THEN RETURN; END IF;
                PERFORM pg_sleep(0.01);
            END LOOP; RAISE 'nobody waits'; END $$;
            INSERT INTO project_events (project_id, revision, kind, created_at)
                SELECT id, revision, 'COLLABORATORS_CHANGED', now() FROM projects WHERE id = '{id}';
            COMMIT"
        );
        let removing = tokio::spawn(async move { database.execute(&removal).await });
        // … when the write comes, then it behaves as if it came after the removal.
        let theirs = project.of(&bob);
        for n in 0.. {
            let answer = theirs.mutate("createFile", json!({ "path": format!("{n}.py") }), "revision").await;
            if !answer.errors.is_empty() {
                refused(&answer, "NOT_FOUND", "projectId");
                break;
            }
            assert!(!removing.is_finished(), "a write is accepted after the removal of its writer");
        }
        removing.await.unwrap();
        assert_ne!(project.state().await, before);
        assert_eq!(project.ask("collaborators { role }").await, json!({ "collaborators": [] }));
    });
}
