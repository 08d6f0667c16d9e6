//! Given an operation with an argument that the server can judge by itself, when it is wrong, then the operation is
//! refused before it runs: the payload of a mutation never hides what was written.

use serde_json::{Value, json};
use tests::{
    project::{Project, text},
    server::Server,
};

/// Refused arguments of the lists of a project, and the refused argument.
const OF_PROJECT: [(&str, &str); 33] = [
    ("files(first: 501) { totalCount }", "first"),
    ("files(first: -1) { totalCount }", "first"),
    ("files(last: 501) { totalCount }", "last"),
    ("files(first: 1, last: 1) { totalCount }", "last"),
    ("files(after: \"nonsense\") { totalCount }", "after"),
    ("files(before: \"\") { totalCount }", "before"),
    ("files(under: \"../x\") { totalCount }", "under"),
    ("files(at: -1) { totalCount }", "at"),
    ("children(of: \"a/../..\") { totalCount }", "of"),
    ("children(first: 501) { totalCount }", "first"),
    ("sessions(first: 101) { totalCount }", "first"),
    ("sessions { nodes { messages(first: 501) { totalCount } } }", "first"),
    ("sessions { nodes { checkpoints(first: 1000000) { id } } }", "first"),
    ("sessions { nodes { checkpoints(after: \"nonsense\") { id } } }", "after"),
    ("snapshots(last: -1) { totalCount }", "last"),
    ("snapshots(filter: { messageId: \"nonsense\" }) { totalCount }", "filter.messageId"),
    ("snapshots { nodes { files(first: 501) { totalCount } } }", "first"),
    ("changes(first: 101) { totalCount }", "first"),
    ("changes(filter: { fileId: \"nonsense\" }) { totalCount }", "filter.fileId"),
    ("changes(filter: { path: \"..\" }) { totalCount }", "filter.path"),
    ("events(first: 501) { revision }", "first"),
    ("events(afterRevision: -1) { revision }", "afterRevision"),
    ("diff(from: -1) { path }", "from"),
    ("diff(from: 0, after: \"..\") { path }", "after"),
    ("agentConfigurations(after: \"nonsense\") { id }", "after"),
    ("webhooks(after: \"nonsense\") { id }", "after"),
    ("collaborators(after: \"nonsense\") { id }", "after"),
    ("emailInvitations(after: \"\") { id }", "after"),
    ("accessTokens(after: \"nonsense\") { id }", "after"),
    // A cursor of `changes`.
    ("collaborators(after: \"WyJjaGFuZ2VzIixbeyJuIjoxfV1d\") { id }", "after"),
    ("emailInvitations(after: \"WyJjaGFuZ2VzIixbeyJuIjoxfV1d\") { id }", "after"),
    ("accessTokens(after: \"WyJjaGFuZ2VzIixbeyJuIjoxfV1d\") { id }", "after"),
    ("files { nodes { blame(first: -1) { startLine } versions(first: 501) { totalCount } } }", "first"),
];

tests::on_both! {
    async fn a_mutation_with_a_refused_argument_below_its_payload_writes_nothing(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Payloads").await;
        project.create_file("a.txt", "one\n").await;
        let before = project.state().await;
        for (list, field) in OF_PROJECT {
            let answer = ada.mutate("updateProject", json!({ "id": project.id, "name": "New" }), &format!("revision project {{ {list} }}")).await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{list}");
            let path = answer.error()["path"].as_array().unwrap();
            assert_eq!((&path[0], &path[1]), (&json!("updateProject"), &json!("project")), "{list}: {path:?}");
            assert!(answer.data.is_null(), "{list}: {}", answer.data);
        }
        for (file, path) in [
            ("file { versions(first: 501) { totalCount } }", json!(["updateFile", "file", "versions"])),
            ("file { v: versions(first: -1) { totalCount } }", json!(["updateFile", "file", "v"])),
            ("... on FilePayload { f: file { versions(last: 101) { totalCount } } }", json!(["updateFile", "f", "versions"])),
            ("change { file { versions(after: \"x\") { totalCount } } }", json!(["updateFile", "change", "file", "versions"])),
        ] {
            let input = json!({ "projectId": project.id, "path": "a.txt", "content": "two\n" });
            let answer = ada.mutate("updateFile", input, &format!("revision {file}")).await;
            assert_eq!((answer.error_code(), &answer.error()["path"]), ("BAD_USER_INPUT", &path), "{file}");
        }
        assert_eq!(project.state().await, before);
    }

    async fn variables_fragments_and_directives_are_judged_as_they_run(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Payloads").await;
        let query = "mutation($input: UpdateProjectInput!, $n: Int = 501, $on: Boolean!) {
            updateProject(input: $input) { revision project { id ...Files @include(if: $on) files(first: 0) @skip(if: $on) { totalCount } } }
        }
        fragment Files on Project { all: files(first: $n) { totalCount } }";
        let variables = |name: &str, more: Value| tests::project::with(json!({ "input": { "id": project.id, "name": name } }), more);
        let answer = ada.gql(query, variables("A", json!({ "on": true }))).await;
        assert_eq!((answer.field(), &answer.error()["path"]), ("first", &json!(["updateProject", "project", "all"])));
        assert_eq!(project.revision().await, 1);
        let written = ada.gql(query, variables("A", json!({ "on": false }))).await.ok();
        assert_eq!(written["updateProject"]["project"]["files"]["totalCount"], 0);
        let written = ada.gql(query, variables("B", json!({ "on": true, "n": 500 }))).await.ok();
        assert_eq!(written["updateProject"], json!({ "revision": 3, "project": { "id": project.id, "all": { "totalCount": 0 } } }));
        // A fragment that applies to no project is not judged, and one on an interface is.
        let select = "revision project { name ... on Node { ... on ChatSession { messages(first: 9999) { totalCount } } } }";
        ada.mutate("updateProject", json!({ "id": project.id, "name": "C" }), select).await.ok();
        let select = "revision project { name ... on Node { ... on Project { files(first: 9999) { totalCount } } } }";
        let answer = ada.mutate("updateProject", json!({ "id": project.id, "name": "D" }), select).await;
        assert_eq!((answer.field(), &answer.error()["path"]), ("first", &json!(["updateProject", "project", "files"])));
        assert_eq!(project.revision().await, 4);
    }

    async fn cursors_of_another_list_are_refused_and_own_ones_accepted_before_a_write(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Cursors").await;
        let session = project.start_session().await;
        project.create_file("a.txt", "one\n").await;
        project.add_message(&session, "one", true).await;
        ada.mutate("saveAgentConfiguration", tests::project::with(tests::project::settings("Agent"), json!({ "projectId": project.id })), "revision").await.ok();
        let end = "pageInfo { endCursor }";
        let query = format!("query($id: ID!) {{ project(id: $id) {{
            sessions {{ {end} nodes {{ messages {{ {end} }} }} }} files {{ {end} nodes {{ versions {{ {end} }} }} }} children {{ {end} }} changes {{ {end} }}
            snapshots {{ {end} nodes {{ files {{ {end} }} }} }} agentConfigurations {{ versions {{ {end} }} }} }} }}");
        let read = ada.gql(&query, json!({ "id": project.id })).await.ok();
        let read = &read["project"];
        let end_of = |list: &Value| text(&list["pageInfo"]["endCursor"]);
        let lists = [
            ("sessions", end_of(&read["sessions"])),
            ("sessions { nodes { messages", end_of(&read["sessions"]["nodes"][0]["messages"])),
            ("files", end_of(&read["files"])),
            ("files { nodes { versions", end_of(&read["files"]["nodes"][0]["versions"])),
            ("children", end_of(&read["children"])),
            ("changes", end_of(&read["changes"])),
            ("snapshots", end_of(&read["snapshots"])),
            ("snapshots { nodes { files", end_of(&read["snapshots"]["nodes"][0]["files"])),
            ("agentConfigurations { versions", end_of(&read["agentConfigurations"][0]["versions"])),
        ];
        let foreign = end_of(&read["children"]);
        for (list, cursor) in &lists {
            let ends = " }".repeat(list.matches('{').count());
            let select = |cursor: &str| format!("project {{ {list}(after: \"{cursor}\") {{ totalCount }} {ends} }}");
            let input = json!({ "id": project.id, "description": list });
            ada.mutate("updateProject", input.clone(), &select(cursor)).await.ok();
            let revision = project.revision().await;
            let foreign = if *list == "children" { &lists[0].1 } else { &foreign };
            let answer = ada.mutate("updateProject", json!({ "id": project.id, "description": "lost" }), &select(foreign)).await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "after"), "{list}");
            assert_eq!(project.revision().await, revision, "{list}");
        }
    }

    async fn a_payload_cannot_read_as_of_a_later_revision_than_the_one_it_writes(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Later").await;
        let read = |list: &str| format!("revision project {{ {list} }}");
        let write = async |name: &str, list: &str| {
            ada.mutate("updateProject", json!({ "id": project.id, "name": name }), &read(list)).await
        };
        for (list, field) in [
            ("files(at: 3) { totalCount }", "at"),
            ("children(at: 99999) { totalCount }", "at"),
            ("events(afterRevision: 3) { revision }", "afterRevision"),
            ("diff(from: 1, to: 3) { path }", "to"),
        ] {
            let answer = write("Lost", list).await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{list}");
            let name = list.split('(').next().unwrap();
            assert_eq!(answer.error()["path"], json!(["updateProject", "project", name]), "{list}");
            assert_eq!(project.revision().await, 1, "{list}");
        }
        let written = write("New", "files(at: 2) { totalCount } diff(from: 0, to: 2) { path }").await.ok();
        assert_eq!(written["updateProject"]["revision"], 2);
        // A mutation that writes no revision reads as of the present one at most.
        let same = json!({ "id": project.id, "name": "New" });
        let opened = project.ask("lastAccessedAt").await;
        for refused in [
            ada.mutate_id("touchProject", &project.id, &read("files(at: 3) { totalCount }")).await,
            ada.mutate("updateProject", same.clone(), &read("files(at: 3) { totalCount }")).await,
        ] {
            assert_eq!((refused.error_code(), refused.field()), ("BAD_USER_INPUT", "at"));
            assert_eq!(project.ask("lastAccessedAt").await, opened);
        }
        ada.mutate_id("touchProject", &project.id, &read("files(at: 2) { totalCount }")).await.ok();
        ada.mutate("updateProject", same, &read("files(at: 2) { totalCount }")).await.ok();
        // The same for a streaming message, whose text is no revision.
        let other = Project::create(&ada, "B").await;
        let session = other.start_session().await;
        let start = json!({ "sessionId": session, "role": "ASSISTANT" });
        let late = "streamingMessage { session { project { files(at: 99999) { totalCount } } } }";
        assert_eq!(ada.mutate("startMessage", start.clone(), late).await.error_code(), "BAD_USER_INPUT");
        let streaming = other.ask("sessions { nodes { streamingMessages { id } } }").await;
        assert_eq!(streaming["sessions"]["nodes"][0]["streamingMessages"], json!([]));
        let message = text(&ada.mutate("startMessage", start, "messageId").await.ok()["startMessage"]["messageId"]);
        let append = json!({ "messageId": message, "offset": 0, "text": "lost" });
        assert_eq!(ada.mutate("appendToMessage", append, late).await.error_code(), "BAD_USER_INPUT");
        let empty = json!({ "messageId": message, "offset": 0, "text": "kept" });
        ada.mutate("appendToMessage", empty, "length").await.ok();
        ada.mutate_with("discardMessage", json!({ "messageId": message }), "messageId").await.ok();
        // Every root field is judged by its own selection.
        let query = "mutation($id: ID!) {
            a: updateProject(input: { id: $id, name: \"A\" }) { revision }
            b: updateProject(input: { id: $id, name: \"B\" }) { revision project { files(at: 4) { totalCount } } }
            c: updateProject(input: { id: $id, name: \"C\" }) { revision project { files(at: 6) { totalCount } } }
        }";
        let answer = ada.gql(query, json!({ "id": project.id })).await;
        assert_eq!((&answer.data["a"]["revision"], &answer.data["b"]["revision"], &answer.data["c"]), (&json!(3), &json!(4), &json!(null)));
        assert_eq!((answer.error_code(), &answer.error()["path"]), ("BAD_USER_INPUT", &json!(["c", "project", "files"])));
        assert_eq!(answer.error()["locations"][0]["line"], 4);
        assert_eq!(project.revision().await, 4);
        // If null in the field would not null the mutation, the mutation is the field with the error.
        for list in ["activeSession { project { files(at: 99) { totalCount } } }", "files { nodes { project { files(at: 99) { totalCount } } } }"] {
            let answer = write("D", list).await;
            assert_eq!((answer.error_code(), &answer.error()["path"]), ("BAD_USER_INPUT", &json!(["updateProject"])), "{list}");
        }
        assert_eq!(project.revision().await, 4);
        let created = ada.mutate("createProject", json!({ "name": "Never", "initialPrompt": "", "config": {} }), &read("files(at: 2) { totalCount }")).await;
        assert_eq!(created.error_code(), "BAD_USER_INPUT");
        let projects = ada.gql("{ projects { nodes { name } } }", json!({})).await.ok();
        assert_eq!(projects["projects"]["nodes"], json!([{ "name": "B" }, { "name": "B" }]));
    }

    async fn a_list_that_fails_below_a_payload_is_empty_and_has_its_error(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Unknown").await;
        let nowhere = "0192f3a4-5b6c-7d8e-9f00-112233445566";
        for (revision, list) in (2..).zip(["agentConfigurations", "collaborators", "emailInvitations"]) {
            let select = format!("revision project {{ name {list}(after: \"{nowhere}\") {{ id }} }}");
            let name = format!("Name {revision}");
            let answer = ada.mutate("updateProject", json!({ "id": project.id, "name": name }), &select).await;
            assert_eq!(answer.data["updateProject"], json!({ "revision": revision, "project": { "name": name, list: [] } }), "{list}");
            assert_eq!((answer.field(), &answer.error()["path"]), ("after", &json!(["updateProject", "project", list])), "{list}");
        }
    }

    async fn a_query_whose_data_would_be_lost_is_refused_before_it_runs(server: Server) {
        let ada = server.user("ada@example.com");
        for (query, field) in [
            ("{ viewer { id } projects(first: 501) { totalCount } }", "first"),
            ("{ viewer { id } projects(after: \"nonsense\") { totalCount } }", "after"),
            ("{ viewer { id } projects(last: -1) { totalCount } }", "last"),
            ("{ viewer { id } ...F } fragment F on Query { projects(first: 1, last: 1) { totalCount } }", "last"),
        ] {
            let answer = ada.gql(query, json!({})).await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", field), "{query}");
            assert_eq!((answer.errors.len(), &answer.error()["path"]), (1, &json!(["projects"])), "{query}");
            let token = format!("Bearer {}", ada.token().unwrap());
            let headers = [("accept", "application/graphql-response+json"), ("content-type", "application/json"), ("authorization", &token)];
            let raw = ada.send("POST", "/graphql", &headers, json!({ "query": query }).to_string()).await.unwrap();
            assert_eq!(raw.status, 400, "{query}");
            let body: Value = serde_json::from_slice(&raw.body).unwrap();
            assert!(body.get("data").is_none(), "{body}");
        }
        // A cursor of another order.
        Project::create(&ada, "One").await;
        let cursor = |order: &str| format!("{{ projects(orderBy: {{ field: {order} }}) {{ edges {{ cursor }} }} }}");
        let of_names = ada.gql(&cursor("NAME"), json!({})).await.ok()["projects"]["edges"][0]["cursor"].take();
        let of_times = ada.gql(&cursor("CREATED_AT"), json!({})).await.ok()["projects"]["edges"][0]["cursor"].take();
        let of_activity = ada.gql(&cursor("LAST_ACTIVITY_AT"), json!({})).await.ok()["projects"]["edges"][0]["cursor"].take();
        let of_updates = ada.gql("{ projects { edges { cursor } } }", json!({})).await.ok()["projects"]["edges"][0]["cursor"].take();
        for (order, own, other) in [
            ("", &of_updates, &of_names),
            ("", &of_updates, &of_times),
            (", orderBy: { field: CREATED_AT }", &of_times, &of_names),
            (", orderBy: { field: LAST_ACTIVITY_AT }", &of_activity, &of_times),
            (", orderBy: { field: NAME, direction: DESC }", &of_names, &of_times),
        ] {
            let query = format!("query($after: String) {{ viewer {{ id }} projects(after: $after{order}) {{ totalCount }} }}");
            assert_eq!(ada.gql(&query, json!({ "after": own })).await.ok()["projects"]["totalCount"], 1, "{order}");
            let answer = ada.gql(&query, json!({ "after": other })).await;
            assert_eq!((answer.status, answer.error_code(), answer.field()), (400, "BAD_USER_INPUT", "after"), "{order}");
        }
        let by = "query($by: ProjectOrder, $after: String) { projects(orderBy: $by, after: $after) { totalCount } }";
        let found = ada.gql(by, json!({ "by": { "field": "NAME" }, "after": of_names })).await.ok();
        assert_eq!(found["projects"]["totalCount"], 1);
        // A nullable field keeps its siblings.
        let kept = ada.gql("{ viewer { email } recentActivity(first: 501) { totalCount } }", json!({})).await;
        assert_eq!(kept.data, json!({ "viewer": { "email": "ada@example.com" }, "recentActivity": null }));
    }

    async fn a_subscription_whose_every_event_would_fail_does_not_start(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Events").await;
        let mut events = project.listen(0, "revision project { files(first: 501) { totalCount } }").await;
        let errors = events.next().await.unwrap().unwrap_err();
        assert_eq!(errors[0]["extensions"]["code"], "BAD_USER_INPUT", "{errors:?}");
        assert_eq!(errors[0]["path"], json!(["projectEvents", "project", "files"]));
    }
}
