//! Given small and large projects, when the same operation runs on them, then it takes the same number of SQL
//! statements: the number depends on the request's shape, and not on the history or the number of rows.

use serde_json::{Value, json};
use tests::{
    database::Database,
    project::{Project, settings, text, with},
    server::{Server, user_id},
};

/// For requests above the default cost limits.
const WIDE: [&str; 1] = ["--max-query-complexity=10000000"];

/// How many statements an operation takes.
async fn count(server: &Server, of: impl Future) -> u64 {
    let before = server.statements();
    of.await;
    server.statements() - before
}

async fn message(project: &Project, session: &str, is_checkpoint: bool) {
    project.add_message(session, "A message", is_checkpoint).await;
}

async fn sync(project: &Project, conversation: &Value, round: usize) {
    let files: Vec<Value> =
        (0..20).map(|n| json!({ "path": format!("src/{n}.py"), "content": format!("{n} {round}\n") })).collect();
    let mut input = json!({ "files": files });
    for (name, value) in conversation.as_object().unwrap() {
        input[name] = value.clone();
    }
    project.write("syncFiles", input, "revision created updated").await;
}

/// A project with this many sessions, messages, files, versions of a file and snapshots.
async fn filled(server: &Server, rows: usize) -> Project {
    let project = Project::create(&server.user("ada@example.com"), &format!("Of {rows}")).await;
    let mut session = String::new();
    for n in 0..rows {
        session = project.start_session().await;
        let message = project.add_message(&session, &format!("{n}"), true).await;
        let files = json!([{ "path": format!("{n}.py"), "content": format!("{n}\n") }, { "path": "all.py", "content": format!("all {n}\n") }]);
        project
            .write("syncFiles", json!({ "files": files, "sessionId": session, "messageId": message }), "revision")
            .await;
    }
    for n in 0..rows {
        project.add_message(&session, &format!("last {n}"), true).await;
    }
    project
}

/// A project with this many members, invitations by id and by address, and versions of this many agent configurations.
async fn teamed(server: &Server, rows: usize) -> Project {
    let project = Project::create(&server.user("ada@example.com"), &format!("Team of {rows}")).await;
    for n in 0..rows {
        for (who, joins) in [("member", true), ("asked", false)] {
            let email = format!("{who}{n}@example.com");
            let user = server.user(&email);
            user.gql("{ viewer { id } }", json!({})).await.ok();
            project
                .write("inviteCollaborator", json!({ "userId": user_id(&email), "role": "EDITOR" }), "revision")
                .await;
            if joins {
                user.mutate_with("acceptInvitation", json!({ "projectId": project.id }), "revision").await.ok();
            }
        }
        let by_address = json!({ "email": format!("unknown{n}@example.com"), "role": "VIEWER" });
        project.write("inviteByEmail", by_address, "revision").await;
        let saved =
            project.write("saveAgentConfiguration", settings(&format!("{n}")), "agentConfiguration { id }").await;
        let again = with(settings(&format!("{n}, again")), json!({ "id": saved["agentConfiguration"]["id"] }));
        project.write("saveAgentConfiguration", again, "revision").await;
    }
    project
}

tests::on_both! {
    async fn a_team_of_thirty_takes_as_many_statements_as_a_team_of_one(database: Database) {
        let flags = [WIDE[0], "--max-collaborators=100", "--max-agent-configurations=100"];
        let server = Server::start_with(&database, &flags).await;
        let (small, large) = (teamed(&server, 1).await, teamed(&server, 30).await);
        for (what, select) in [
            ("collaborators", "collaborators { role acceptedAt invitedAt user { id fullName } invitedBy { id fullName } }"),
            ("addresses", "emailInvitations { email role invitedBy { fullName } }"),
            ("configurations", "agentConfigurations(includeDeleted: true) { id configName llmConfig project { name } updatedBy { fullName }
                versions(first: 100) { totalCount nodes { version configName revision } } }"),
            ("events", "events(first: 500) { revision actor { fullName } agentConfigurationVersions { configName version } }"),
        ] {
            let counts = [count(&server, small.ask(select)).await, count(&server, large.ask(select)).await];
            assert_eq!(counts[0], counts[1], "{what}");
            assert!(counts[0] <= 8, "{what} take {counts:?}");
            // A member sees no addresses, so their inviters are not read either.
            let member = large.of(&server.user("member7@example.com"));
            assert!(count(&server, member.ask(select)).await <= counts[0], "{what} for a member");
        }

        // What invited users see: `asked0` is invited to two projects, and `asked29` to the larger one.
        let query = "{ invitations(first: 50) { totalCount nodes { projectName role invitedBy { fullName } } } }";
        let mut seen = Vec::new();
        for (email, total) in [("asked29@example.com", 1), ("asked0@example.com", 2)] {
            let client = server.user(email);
            assert_eq!(client.gql(query, json!({})).await.ok()["invitations"]["totalCount"], total);
            seen.push(count(&server, client.gql(query, json!({}))).await);
        }
        assert_eq!(seen[0], seen[1]);
        assert!(seen[0] <= 2, "{seen:?}");

        // Writes to a team and to a configuration. The user's profile is already stored, and not only queued.
        let query = "mutation { updateProfile(input: { fullName: \"Late\" }) { id } }";
        server.user("late@example.com").gql(query, json!({})).await.ok();
        let mut written = Vec::new();
        for project in [&small, &large] {
            let (late, address) = (json!({ "userId": user_id("late@example.com"), "role": "EDITOR" }), json!({ "email": "a@b.c", "role": "EDITOR" }));
            let mut counts = vec![
                count(&server, project.write("inviteCollaborator", late, "revision")).await,
                count(&server, project.write("inviteByEmail", address, "revision")).await,
                count(&server, project.write("saveAgentConfiguration", settings("One more"), "revision")).await,
            ];
            let ids = json!({ "projectId": project.id });
            let member = with(ids.clone(), json!({ "userId": user_id("member0@example.com") }));
            for (email, name, variables) in [
                ("late@example.com", "acceptInvitation", ids.clone()),
                ("late@example.com", "leaveProject", ids),
                ("ada@example.com", "removeCollaborator", member),
            ] {
                let client = server.user(email);
                counts.push(count(&server, async { client.mutate_with(name, variables, "revision").await.ok() }).await);
            }
            written.push(counts);
        }
        assert_eq!(written[0], written[1]);
        assert!(written[0].iter().all(|count| *count <= 12), "{written:?}");
        server.stop().await;
    }

    async fn a_message_takes_at_most_four_statements_and_a_checkpoint_six(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Messages").await;
        sync(&project, &json!({}), 0).await;
        let session = project.start_session().await;
        // The first write in a session looks up its project for the queue.
        message(&project, &session, false).await;
        let first = [count(&server, message(&project, &session, false)).await, count(&server, message(&project, &session, true)).await];
        // A checkpoint reads the files and adds its snapshot; on PostgreSQL one function adds all rows.
        let most = if server.database().file().is_some() { [4, 6] } else { [2, 3] };
        assert!(first[0] <= most[0] && first[1] <= most[1], "{first:?}");
        for n in 0..300 {
            message(&project, &session, n % 2 == 0).await;
        }
        let last = [count(&server, message(&project, &session, false)).await, count(&server, message(&project, &session, true)).await];
        assert_eq!(last, first);
    }

    async fn a_row_with_everything_and_one_of_its_lists_take_one_statement(server: Server) {
        let project = filled(&server, 3).await;
        let session = project.start_session().await;
        project.add_message(&session, "Hello", false).await;
        let of_session = format!("{{ node(id: \"{session}\") {{ ... on ChatSession {{ id title metadata startedAt messages {{ nodes {{ content metadata }} }} }} }} }}");
        for list in ["files", "changes", "sessions", "snapshots"] {
            let query = format!("{{ project(id: \"{}\") {{ name description initialPrompt config {list} {{ nodes {{ id }} }} }} }}", project.id);
            assert_eq!(count(&server, async { project.client.gql(&query, json!({})).await.ok() }).await, 1, "{list}");
        }
        assert_eq!(count(&server, async { project.client.gql(&of_session, json!({})).await.ok() }).await, 1);
    }

    async fn a_chunk_takes_two_statements_whatever_the_length_of_its_message(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Chunks").await;
        let session = project.start_session().await;
        let started = ada.mutate("startMessage", json!({ "sessionId": session, "role": "ASSISTANT" }), "messageId").await.ok();
        let id = started["startMessage"]["messageId"].clone();
        let append = async |offset: usize| {
            let chunk = json!({ "messageId": id, "offset": 4 * offset, "text": "word" });
            ada.mutate("appendToMessage", chunk, "length").await
        };
        let mut costs = Vec::new();
        for n in 0..300 {
            costs.push(count(&server, async { append(n).await.ok() }).await);
        }
        assert!(costs.iter().all(|cost| *cost == 2), "{costs:?}");
        // Repeated chunks from the beginning or the end, and a chunk that does not fit.
        for n in [0, 299, 400] {
            let cost = count(&server, append(n)).await;
            assert!(cost <= 3, "again at {n} takes {cost}");
        }
        let finish = count(&server, async { ada.mutate("finishMessage", json!({ "messageId": id }), "revision").await.ok() }).await;
        assert!(finish <= 8, "finishing takes {finish}");
    }

    async fn a_sync_of_twenty_files_takes_few_statements(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Files").await;
        let session = project.start_session().await;
        let checkpoint = json!({ "sessionId": session, "messageId": project.add_message(&session, "Go", true).await });
        let plain = json!({ "sessionId": session });
        let nobody = json!({});
        let new = count(&server, sync(&project, &checkpoint, 0)).await;
        let most = if server.database().file().is_some() { 11 } else { 4 };
        assert!(new <= most, "20 new files for a checkpoint take {new}");
        let mut changed = Vec::new();
        for (at, conversation) in [&nobody, &plain, &checkpoint].into_iter().enumerate() {
            changed.push(count(&server, sync(&project, conversation, 1 + at)).await);
        }
        assert!(changed.iter().all(|count| *count <= most), "20 changed files take {changed:?}");

        // Whatever the length of the files' history, and whatever else exists.
        for round in 10..80 {
            sync(&project, &nobody, round).await;
        }
        let files: Vec<Value> = (0..300).map(|n| json!({ "path": format!("other/{n}"), "content": "" })).collect();
        project.write("syncFiles", json!({ "files": files }), "revision").await;
        let mut later = Vec::new();
        for (at, conversation) in [&nobody, &plain, &checkpoint].into_iter().enumerate() {
            later.push(count(&server, sync(&project, conversation, 100 + at)).await);
        }
        assert_eq!(later, changed);
        let same = count(&server, sync(&project, &checkpoint, 102)).await;
        assert!(same <= 3, "a sync without changes takes {same}");
    }

    async fn a_changed_file_takes_two_statements_and_an_earlier_content_one_more(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Contents").await;
        let is_file = server.database().file().is_some();
        project.create_file("other.py", "other\n").await;
        project.create_file("one.py", "0\n").await;
        // New contents, then one that the file had, one that another file has, and new ones again.
        for (content, is_new) in [("1\n", true), ("2\n", true), ("0\n", false), ("other\n", false), ("3\n", true), ("1\n", false), ("4\n", true)] {
            let input = json!({ "path": "one.py", "content": content });
            let cost = count(&server, project.write("updateFile", input, "revision")).await;
            let most = if is_file { 9 } else { 3 };
            assert!(cost <= most - u64::from(is_new), "{content:?} takes {cost}");
            assert_eq!(project.ask("file(path: \"one.py\") { content }").await["file"]["content"], content);
        }
        // The same in a sync, where one new content is that of two files.
        for (round, is_new) in [("a", true), ("b", true), ("a", false), ("c", true)] {
            let files = json!([{ "path": "one.py", "content": round }, { "path": "other.py", "content": round }]);
            let cost = count(&server, project.write("syncFiles", json!({ "files": files }), "revision")).await;
            let most = if is_file { 9 } else { 3 };
            assert!(cost <= most - u64::from(is_new), "{round:?} takes {cost}");
            let read = project.ask("one: file(path: \"one.py\") { content } other: file(path: \"other.py\") { content }").await;
            assert_eq!([&read["one"]["content"], &read["other"]["content"]], [round, round]);
        }
    }

    async fn a_restore_takes_the_same_statements_from_near_and_far(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Back").await;
        let session = project.start_session().await;
        let mut revisions = Vec::new();
        for round in 0..40 {
            let message = project.add_message(&session, "Go", true).await;
            sync(&project, &json!({ "messageId": message }), round).await;
            revisions.push(project.revision().await);
        }
        let back = async |revision: i64| drop(project.write("restoreRevision", json!({ "revision": revision }), "revision").await);
        let near = count(&server, back(revisions[38])).await;
        let far = count(&server, back(revisions[0])).await;
        assert_eq!(near, far);
        assert!(near <= 16, "a rollback takes {near}");
    }

    async fn a_list_of_thirty_takes_as_many_statements_as_a_list_of_one(database: Database) {
        let server = Server::start_with(&database, &WIDE).await;
        let (small, large) = (filled(&server, 2).await, filled(&server, 30).await);
        for (what, select) in [
            ("sessions", "sessions(first: 100) { totalCount nodes { id author { fullName } project { name }
                messages(last: 100) { totalCount nodes { content author { id } session { id } changes { id diff } snapshot { id fileCount } } }
                checkpoints { id } } }"),
            ("files", "files(first: 100) { totalCount nodes { path content versions(first: 100) { totalCount nodes { content diff
                createdBy { fullName } session { id } message { content } file { path } } } } }"),
            ("blame", "files(first: 100) { nodes { path blame { startLine endLine version { content } change { type } author { fullName } message { content } } } }"),
            ("a tree", "children(first: 100) { totalCount nodes { path type content updatedAt versions { totalCount } } }
                file(path: \"all.py\") { id } folder: file(path: \"nowhere\") { id } then: children(at: 4) { nodes { path } }"),
            ("files then", "files(first: 100, at: 4) { totalCount nodes { path content } }"),
            ("changes", "changes(first: 100) { totalCount nodes { id type path oldPath oldContent newContent diff lineChanges
                createdBy { id } session { title } message { id } file { id content } } }"),
            ("snapshots", "snapshots(first: 100) { totalCount nodes { name createdBy { id } message { id content } session { id } project { id }
                files(first: 100) { totalCount nodes { path content } } diff { path diff additions } } }"),
            ("events", "events(first: 500) { revision kind actor { id } session { id } message { id } snapshot { id } changes { id diff } }"),
            ("diff", "diff(from: 1) { path diff }"),
            ("the overview", "name stats { totalFiles } owner { email } activeSession { id } collaborators { role } viewerRole"),
        ] {
            let counts = [count(&server, small.ask(select)).await, count(&server, large.ask(select)).await];
            assert_eq!(counts[0], counts[1], "{what}");
            assert!(counts[0] <= 16, "{what} takes {counts:?}");
        }
        server.stop().await;
    }

    async fn a_row_and_its_list_take_one_statement(database: Database) {
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let (projects, messages, files, changes) = (
            "{ projects(first: 20) { nodes { id name description status createdAt updatedAt stats { totalSessions totalMessages
                totalFiles totalChanges latestSessionAt lastActivityAt } } } }",
            "query($id: ID!) { node(id: $id) { ... on ChatSession { messages(last: 50) { nodes { id role content timestamp isCheckpoint } } } } }",
            "query($id: ID!) { project(id: $id) { id name files(first: 20) { nodes { id path name type language sizeBytes updatedAt
                versions(first: 5) { nodes { version changeDescription createdAt } } } } } }",
            "query($id: ID!) { project(id: $id) { changes(first: 20) { nodes { id revision type path additions deletions
                changeDescription createdAt diff } } } }",
        );
        for rows in [0, 1, 30] {
            let project = filled(&server, rows).await;
            let session = project.start_session().await;
            for n in 0..rows {
                project.add_message(&session, &format!("{n}"), false).await;
            }
            // Computed diffs are cached.
            ada.gql(changes, json!({ "id": project.id })).await.ok();
            for (query, id, most) in [(projects, &project.id, 1), (messages, &session, 1), (files, &project.id, 2), (changes, &project.id, 1)] {
                let cost = count(&server, async { ada.gql(query, json!({ "id": id })).await.ok() }).await;
                assert!(cost <= most, "{cost} with {rows} rows: {query}");
            }
            // The same rows as if the parent is read before its list.
            for (list, below) in [
                ("files(first: 7)", "id path version"), ("changes(first: 7)", "id path revision"),
                ("sessions(first: 7)", "id messageCount"), ("snapshots(first: 7)", "id revision"),
                ("files(last: 7)", "id path version"), ("changes(last: 7)", "id path revision"),
                ("sessions(last: 7)", "id messageCount"), ("snapshots(last: 7)", "id revision"),
            ] {
                let list = format!("{list} {{ pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} nodes {{ {below} }} }}");
                let together = ada.gql(&format!("query($id: ID!) {{ node(id: $id) {{ ... on Project {{ name {list} }} }} }}"), json!({ "id": project.id })).await.ok();
                let apart = ada.gql(&format!("query($id: ID!) {{ project(id: $id) {{ name config {list} }} }}"), json!({ "id": project.id })).await.ok();
                let mut apart = apart["project"].clone();
                apart.as_object_mut().unwrap().remove("config");
                assert_eq!(together["node"], apart, "{list}");
            }
        }
        server.stop().await;
    }

    async fn a_recent_diff_takes_no_more_statements_than_its_row(server: Server) {
        let project = filled(&server, 5).await;
        let (rows, diffs) = ("changes(first: 100) { nodes { path } }", "changes(first: 100) { nodes { diff } }");
        let first = project.ask(diffs).await;
        assert!(first["changes"]["nodes"].as_array().unwrap().iter().all(|change| change["diff"].is_string()), "{first}");
        let costs = [count(&server, project.ask(rows)).await, count(&server, project.ask(diffs)).await];
        assert_eq!(costs[0], costs[1]);
        assert_eq!(project.ask(diffs).await, first);
    }

    async fn fifteen_projects_take_as_many_statements_as_one(database: Database) {
        let server = Server::start_with(&database, &WIDE).await;
        let ada = server.user("ada@example.com");
        let queries = [
            "{ projects(first: 100) { totalCount nodes { name owner { email preferences { editorTheme } } stats { totalMessages }
                activeSession { id } sessions(first: 10) { totalCount nodes { id messages(last: 10) { nodes { content author { id }
                snapshot { id } changes { diff } } } } } files(first: 10) { totalCount nodes { path content versions(first: 10) {
                nodes { content } } } } changes(first: 10) { nodes { diff } } snapshots(first: 10) { nodes { fileCount } }
                collaborators { role } events(first: 10) { revision message { id } } diff(from: 1) { path diff }
                restorePreview(to: { revision: 2 }) { revision diff { path additions } } } } }",
            "{ recentActivity(first: 50) { totalCount nodes { excerpt project { name } session { id } author { id } message { id } } } }",
            "{ activitySummary { totalProjects } }",
        ];
        filled(&server, 2).await;
        let mut one = Vec::new();
        for query in queries {
            one.push(count(&server, async { ada.gql(query, json!({})).await.ok() }).await);
        }
        assert!(one[0] <= 32 && one[1] <= 6 && one[2] <= 1, "{one:?}");
        for _ in 0..14 {
            filled(&server, 2).await;
        }
        for (query, one) in queries.iter().zip(one) {
            assert_eq!(count(&server, ada.gql(query, json!({}))).await, one, "{query}");
        }

        let data = ada.gql("{ projects(first: 100) { nodes { sessions { nodes { id } } } } }", json!({})).await.ok();
        let ids: Vec<Value> = data["projects"]["nodes"].as_array().unwrap().iter().flat_map(|project| {
            project["sessions"]["nodes"].as_array().unwrap().iter().map(|session| session["id"].clone())
        }).collect();
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on ChatSession { project { name } author { id } } } }";
        let few = count(&server, ada.gql(query, json!({ "ids": ids[..1] }))).await;
        assert_eq!(count(&server, ada.gql(query, json!({ "ids": ids }))).await, few);
        assert_eq!(text(&ids[0]).len(), 36);
        server.stop().await;
    }
}
