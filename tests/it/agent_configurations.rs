//! Given configurations of a project's agent, when they are saved, activated, deleted and restored, then every state
//! stays readable, at most one is active, and the log states what changed.

use serde_json::{Value, json};
use tests::{
    client::Response,
    database::Database,
    project::{Project, each, settings, text, with},
    server::Server,
};

const ADA: &str = "ada@example.com";
const NOWHERE: &str = "0192f3a4-5b6c-7d8e-9f00-112233445566";

async fn save(project: &Project, input: Value) -> Value {
    project
        .write("saveAgentConfiguration", input, "revision agentConfiguration { id version isActive configName }")
        .await
}

/// Creates a configuration; returns its id.
async fn make(project: &Project, name: &str) -> String {
    text(&save(project, settings(name)).await["agentConfiguration"]["id"])
}

/// A mutation of one configuration.
async fn of_one(project: &Project, name: &str, id: &str, more: Value) -> Response {
    project
        .client
        .mutate(
            name,
            with(json!({ "id": id }), more),
            "revision agentConfiguration { version isActive isDeleted configName }",
        )
        .await
}

/// Name, version and activity of each.
async fn listed(project: &Project, arguments: &str) -> Value {
    project.ask(&format!("agentConfigurations{arguments} {{ configName version isActive }}")).await["agentConfigurations"].take()
}

fn refused(answer: &Response, code: &str, field: &str) {
    assert_eq!((answer.error_code(), answer.field()), (code, field), "{answer:?}");
}

tests::on_both! {
    async fn a_new_configuration_has_the_given_values_and_the_defaults(server: Server) {
        let project = Project::create(&server.user(ADA), "Agent").await;
        let select = "id configName description sttProvider sttModel sttConfig ttsProvider ttsModel ttsConfig llmProvider llmModel llmConfig
            vadProvider vadConfig turnDetectionConfig functionCalls toolIntegrations agentInstructions agentPersonality
            requiredEnvVars dependencies sourceFiles isActive isDeleted version createdAt updatedAt updatedBy { fullName } project { id }
            versions { totalCount nodes { configurationId version revision isActive isDeletion configName llmConfig createdBy { fullName } } }";
        let made = project.write("saveAgentConfiguration", settings("First"), &format!("revision agentConfiguration {{ {select} }}")).await;
        let (configuration, id) = (&made["agentConfiguration"], &made["agentConfiguration"]["id"]);
        let expected = with(settings("First"), json!({
            "id": id, "description": null, "sttConfig": {}, "ttsConfig": {}, "llmConfig": {}, "vadProvider": "silero", "vadConfig": {},
            "turnDetectionConfig": {}, "functionCalls": [], "toolIntegrations": [], "agentPersonality": {}, "requiredEnvVars": [],
            "dependencies": [], "sourceFiles": {}, "isActive": true, "isDeleted": false, "version": 1,
            "createdAt": configuration["createdAt"], "updatedAt": configuration["createdAt"], "updatedBy": { "fullName": "ada" },
            "project": { "id": project.id }, "versions": { "totalCount": 1, "nodes": [{ "configurationId": id, "version": 1,
                "revision": 2, "isActive": true, "isDeletion": false, "configName": "First", "llmConfig": {}, "createdBy": { "fullName": "ada" } }] },
        }));
        assert_eq!((configuration, &made["revision"]), (&expected, &json!(2)));
        let query = format!("query($id: ID!) {{ node(id: $id) {{ ... on AgentConfiguration {{ {select} }} }} }}");
        assert_eq!(project.client.gql(&query, json!({ "id": id })).await.ok()["node"], expected);
        assert_eq!(project.ask(&format!("agentConfigurations {{ {select} }}")).await["agentConfigurations"], json!([expected]));

        // Fields that a save omits stay, `null` restores the default, and saving the same again changes nothing.
        let id = text(id);
        let change = json!({ "id": id, "llmConfig": { "temperature": 0.5 }, "description": "Greets", "functionCalls": [{ "name": "f" }] });
        save(&project, with(settings("First"), change)).await;
        let again = save(&project, with(settings("Renamed"), json!({ "id": id, "functionCalls": null }))).await;
        assert_eq!(again, json!({ "revision": 4, "agentConfiguration": { "id": id, "version": 3, "isActive": true, "configName": "Renamed" } }));
        let now = project.ask("agentConfigurations { description llmConfig functionCalls }").await;
        assert_eq!(now["agentConfigurations"][0], json!({ "description": "Greets", "llmConfig": { "temperature": 0.5 }, "functionCalls": [] }));
        assert_eq!(save(&project, with(settings("Renamed"), json!({ "id": id }))).await, again);
        assert_eq!(project.revision().await, 4);
    }

    async fn at_most_one_configuration_is_active(server: Server) {
        let project = Project::create(&server.user(ADA), "Agent").await;
        let (one, two) = (make(&project, "One").await, make(&project, "Two").await);
        let both = json!([{ "configName": "One", "version": 2, "isActive": false }, { "configName": "Two", "version": 1, "isActive": true }]);
        assert_eq!(listed(&project, "").await, both);
        assert_eq!(listed(&project, "(activeOnly: true)").await, json!([both[1]]));
        // The log shows the effect of that revision on both.
        let event = project.ask("events(afterRevision: 2) { kind actor { fullName } agentConfigurationVersions { configName version isActive } changes { id } }").await;
        assert_eq!(event["events"], json!([{ "kind": "AGENT_CONFIGURATION_CHANGED", "actor": { "fullName": "ada" },
            "agentConfigurationVersions": both, "changes": [] }]));

        of_one(&project, "setAgentConfigurationActive", &one, json!({ "isActive": true })).await.ok();
        assert_eq!(each(&listed(&project, "").await, "isActive"), [json!(true), json!(false)]);
        of_one(&project, "setAgentConfigurationActive", &one, json!({ "isActive": true })).await.ok();
        assert_eq!(project.revision().await, 4);
        of_one(&project, "setAgentConfigurationActive", &one, json!({ "isActive": false })).await.ok();
        assert_eq!(listed(&project, "(activeOnly: true)").await, json!([]));
        save(&project, with(settings("Three"), json!({ "isActive": false }))).await;
        assert_eq!(listed(&project, "(activeOnly: true)").await, json!([]));

        // Many concurrent writers, each activating a configuration.
        let writers = (0..6).map(|n| {
            let (project, id) = (project.clone(), [&one, &two][n % 2].clone());
            async move { save(&project, with(settings(&format!("Of {n}")), json!({ "id": id, "isActive": true }))).await }
        });
        futures::future::join_all(writers).await;
        assert_eq!(listed(&project, "(activeOnly: true)").await.as_array().unwrap().len(), 1);
        assert_eq!(project.revision().await, 12);
    }

    async fn every_state_stays_readable_and_can_be_restored(server: Server) {
        let project = Project::create(&server.user(ADA), "Agent").await;
        let id = make(&project, "First").await;
        save(&project, with(settings("Second"), json!({ "id": id, "description": "Two" }))).await;
        project.create_file("a.py", "one\n").await;
        let deleted = of_one(&project, "deleteAgentConfiguration", &id, json!({ "expectedVersion": 2 })).await.ok();
        let expected = json!({ "revision": 5, "agentConfiguration": { "version": 3, "isActive": false, "isDeleted": true, "configName": "Second" } });
        assert_eq!(deleted["deleteAgentConfiguration"], expected);
        assert_eq!(of_one(&project, "deleteAgentConfiguration", &id, json!({})).await.ok()["deleteAgentConfiguration"], expected);
        assert_eq!(listed(&project, "").await, json!([]));
        assert_eq!(each(&listed(&project, "(includeDeleted: true)").await, "version"), [json!(3)]);
        refused(&project.mutate("saveAgentConfiguration", with(settings("New"), json!({ "id": id })), "revision").await, "NOT_FOUND", "id");
        refused(&of_one(&project, "setAgentConfigurationActive", &id, json!({ "isActive": true })).await, "NOT_FOUND", "id");

        // Restored in its first state it is inactive, since another one can be active by now.
        refused(&of_one(&project, "restoreAgentConfiguration", &id, json!({ "version": 7 })).await, "NOT_FOUND", "version");
        let back = of_one(&project, "restoreAgentConfiguration", &id, json!({ "version": 1 })).await.ok();
        assert_eq!(back["restoreAgentConfiguration"]["agentConfiguration"], json!({ "version": 4, "isActive": false, "isDeleted": false, "configName": "First" }));
        let query = "query($id: ID!) { node(id: $id) { ... on AgentConfiguration { versions(first: 3) { totalCount pageInfo { hasNextPage endCursor }
            nodes { version configName description isActive isDeletion revision } } } } }";
        let versions = project.client.gql(query, json!({ "id": id })).await.ok()["node"]["versions"].take();
        assert_eq!(versions["totalCount"], 4);
        assert_eq!(each(&versions["nodes"], "revision"), [json!(6), json!(5), json!(3)]);
        assert_eq!(versions["nodes"][1], json!({ "version": 3, "configName": "Second", "description": "Two", "isActive": false, "isDeletion": true, "revision": 5 }));
        assert_eq!(versions["pageInfo"]["hasNextPage"], true);

        // Each revision has its own configurations, and none of a later one; a restore of files leaves them alone.
        for (at, expected) in [
            (1, json!([])),
            (2, json!([{ "configName": "First", "version": 1, "isActive": true, "versions": { "totalCount": 1, "nodes": [{ "version": 1 }] } }])),
            (4, json!([{ "configName": "Second", "version": 2, "isActive": true, "versions": { "totalCount": 2, "nodes": [{ "version": 2 }, { "version": 1 }] } }])),
            (5, json!([])),
        ] {
            let query = "query($id: ID!, $at: Int!) { project(id: $id, at: { revision: $at }) {
                agentConfigurations { configName version isActive versions { totalCount nodes { version } } } } }";
            let then = project.client.gql(query, json!({ "id": project.id, "at": at })).await.ok();
            assert_eq!(then["project"]["agentConfigurations"], expected, "at {at}");
        }
        project.write("restoreRevision", json!({ "revision": 2 }), "revision").await;
        assert_eq!(listed(&project, "").await, json!([{ "configName": "First", "version": 4, "isActive": false }]));
        let undone = project.mutate("undo", json!({ "revision": 6 }), "revision").await;
        assert!(!undone.errors.is_empty(), "{undone:?}");
    }

    async fn invalid_configurations_are_refused(database: Database) {
        let server = Server::start_with(&database, &["--max-text-bytes=1000"]).await;
        let project = Project::create(&server.user(ADA), "Agent").await;
        let other = Project::create(&server.user(ADA), "Other").await;
        let (id, theirs) = (make(&project, "Mine").await, make(&other, "Theirs").await);
        let before = project.state().await;
        let save = |patch: Value| {
            let (project, input) = (project.clone(), with(settings("New"), patch));
            async move { project.mutate("saveAgentConfiguration", input, "revision").await }
        };
        for (patch, code, field) in [
            (json!({ "projectId": NOWHERE }), "NOT_FOUND", "projectId"),
            (json!({ "projectId": "nonsense" }), "BAD_USER_INPUT", "projectId"),
            (json!({ "id": NOWHERE }), "NOT_FOUND", "id"),
            (json!({ "id": "nonsense" }), "BAD_USER_INPUT", "id"),
            (json!({ "id": theirs }), "NOT_FOUND", "id"),
            (json!({ "id": project.id }), "NOT_FOUND", "id"),
            (json!({ "configName": " " }), "BAD_USER_INPUT", "configName"),
            (json!({ "vadProvider": "" }), "BAD_USER_INPUT", "vadProvider"),
            (json!({ "llmModel": "a\u{0}b" }), "BAD_USER_INPUT", "llmModel"),
            (json!({ "agentInstructions": "x".repeat(1001) }), "PAYLOAD_TOO_LARGE", "agentInstructions"),
            (json!({ "sourceFiles": { "a": "x".repeat(1000) } }), "PAYLOAD_TOO_LARGE", "sourceFiles"),
            (json!({ "expectedVersion": 1 }), "BAD_USER_INPUT", "expectedVersion"),
            (json!({ "id": id, "expectedVersion": 2 }), "CONFLICT", "expectedVersion"),
        ] {
            refused(&save(patch).await, code, field);
        }
        let conflict = save(json!({ "id": id, "expectedVersion": 0 })).await;
        assert_eq!(conflict.error()["extensions"]["currentVersion"], 1);
        // Each part fits, but all of it does not.
        let large = save(json!({ "agentInstructions": "x".repeat(900), "sourceFiles": { "a": "x".repeat(900) } })).await;
        assert_eq!(large.error_code(), "PAYLOAD_TOO_LARGE");
        assert!(large.error()["message"].as_str().unwrap().contains("--max-text-bytes"));
        for (name, more) in [("setAgentConfigurationActive", json!({ "isActive": false })), ("deleteAgentConfiguration", json!({})),
            ("restoreAgentConfiguration", json!({ "version": 1 }))] {
            refused(&of_one(&project, name, NOWHERE, more.clone()).await, "NOT_FOUND", "id");
            refused(&of_one(&project, name, "nonsense", more.clone()).await, "BAD_USER_INPUT", "id");
            refused(&of_one(&project, name, &id, with(more, json!({ "expectedVersion": 9 }))).await, "CONFLICT", "expectedVersion");
        }
        assert_eq!(project.state().await, before);
        server.stop().await;
    }
}
