//! Given lists longer than a page, when they are walked from either end, then every row comes once and in order,
//! whatever is added meanwhile.

use serde_json::{Value, json};
use tests::{
    client::Client,
    project::{Project, each, text},
    server::Server,
};

/// A list of the API: the field around it, its name, its arguments, and the selection of a row.
struct List {
    client: Client,
    around: String,
    name: &'static str,
    arguments: String,
    row: &'static str,
}

impl List {
    fn of(client: &Client, around: &str, name: &'static str, arguments: &str, row: &'static str) -> Self {
        Self { client: client.clone(), around: around.to_owned(), name, arguments: arguments.to_owned(), row }
    }

    /// A list of a project.
    fn of_project(project: &Project, name: &'static str, arguments: &str, row: &'static str) -> Self {
        Self::of(&project.client, &format!("project(id: \"{}\")", project.id), name, arguments, row)
    }

    /// A list of a node.
    fn of_node(client: &Client, kind: &str, id: &str, name: &'static str, arguments: &str, row: &'static str) -> Self {
        Self::of(client, &format!("node(id: \"{id}\") {{ ... on {kind}"), name, arguments, row)
    }

    /// Reads one page.
    async fn page(&self, arguments: &str) -> Value {
        self.read("", arguments, json!({})).await
    }

    /// Reads one page with its arguments in variables: all pages have one document, which the server parses once.
    async fn page_with(&self, arguments: &Value) -> Value {
        let variables = "query($first: Int, $after: String, $last: Int, $before: String) ";
        let named = "first: $first, after: $after, last: $last, before: $before";
        self.read(variables, named, arguments.clone()).await
    }

    async fn read(&self, start: &str, arguments: &str, variables: Value) -> Value {
        let Self { around, name, arguments: own, row, .. } = self;
        let list = format!("list: {name}({own}, {arguments}) {{ totalCount edges {{ cursor node {{ row: {row} }} }} nodes {{ row: {row} }}
            pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }}").replace("(, ", "(");
        let query = match around.as_str() {
            "" => format!("{start}{{ {list} }}"),
            node if node.starts_with("node") => format!("{start}{{ around: {node} {{ {list} }} }} }}"),
            _ => format!("{start}{{ around: {around} {{ {list} }} }}"),
        };
        let mut data = self.client.gql(&query, variables).await.ok();
        let page = if around.is_empty() { data["list"].take() } else { data["around"]["list"].take() };
        let (edges, nodes) = (page["edges"].as_array().unwrap(), page["nodes"].as_array().unwrap());
        assert_eq!(edges.iter().map(|edge| edge["node"].clone()).collect::<Vec<_>>(), *nodes);
        let cursor = |edge: Option<&Value>| edge.map_or(Value::Null, |edge| edge["cursor"].clone());
        assert_eq!(page["pageInfo"]["startCursor"], cursor(edges.first()));
        assert_eq!(page["pageInfo"]["endCursor"], cursor(edges.last()));
        page
    }

    /// The rows of a page.
    async fn rows(&self, arguments: &str) -> Vec<Value> {
        each(&self.page(arguments).await["nodes"], "row")
    }

    /// Walks the list forwards and backwards in pages of two; returns its rows.
    async fn walk(&self) -> Vec<Value> {
        let total = self.page("first: 0").await["totalCount"].as_u64().unwrap() as usize;
        let (mut forwards, mut arguments) = (Vec::new(), json!({ "first": 2 }));
        loop {
            let page = self.page_with(&arguments).await;
            let rows = each(&page["nodes"], "row");
            assert_eq!(page["totalCount"], total);
            assert_eq!(page["pageInfo"]["hasPreviousPage"], !forwards.is_empty());
            assert_eq!(rows.len(), 2.min(total - forwards.len()));
            forwards.extend(rows);
            assert_eq!(page["pageInfo"]["hasNextPage"], forwards.len() < total);
            if forwards.len() == total {
                break;
            }
            arguments["after"] = page["pageInfo"]["endCursor"].clone();
        }
        let (mut backwards, mut arguments) = (Vec::new(), json!({ "last": 2 }));
        while backwards.len() < total {
            let page = self.page_with(&arguments).await;
            let rows = each(&page["nodes"], "row");
            assert_eq!(page["pageInfo"]["hasNextPage"], !backwards.is_empty());
            backwards.splice(..0, rows);
            assert_eq!(page["pageInfo"]["hasPreviousPage"], backwards.len() < total);
            arguments["before"] = page["pageInfo"]["startCursor"].clone();
        }
        assert_eq!(forwards, backwards);

        // Between two of its rows, from either end.
        if total >= 5 {
            let all = self.page("first: 5").await;
            let ends = format!("after: {}, before: {}", all["edges"][0]["cursor"], all["edges"][4]["cursor"]);
            assert_eq!(self.rows(&ends).await, forwards[1..4]);
            assert_eq!(self.rows(&format!("first: 1, {ends}")).await, forwards[1..2]);
            assert_eq!(self.rows(&format!("last: 1, {ends}")).await, forwards[3..4]);
        }
        forwards
    }
}

async fn projects(client: &Client, names: &[&str]) -> Vec<Project> {
    let mut projects = Vec::new();
    for name in names {
        projects.push(Project::create(client, name).await);
    }
    projects
}

fn find(filter: &str) -> String {
    format!("filter: {{ {filter} }}, orderBy: {{ field: NAME, direction: ASC }}")
}

tests::on_both! {
    async fn projects_come_in_every_order(server: Server) {
        let ada = server.user("ada@example.com");
        let made = projects(&ada, &["b", "a", "C", "b", "Ä", "a b", "ab"]).await;
        let listed = async |order: &str| List::of(&ada, "", "projects", &format!("orderBy: {{ {order} }}"), "id").walk().await;
        let ids = |order: [usize; 7]| order.map(|at| json!(made[at].id)).to_vec();
        let mut oldest = ids([0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(listed("field: CREATED_AT, direction: ASC").await, oldest);
        oldest.reverse();
        assert_eq!(listed("field: CREATED_AT, direction: DESC").await, oldest);
        assert_eq!(listed("field: CREATED_AT").await, oldest);

        // Equal names have a stable order.
        let names = async |direction: &str| {
            let arguments = format!("orderBy: {{ field: NAME, direction: {direction} }}");
            List::of(&ada, "", "projects", &arguments, "name").walk().await
        };
        let mut sorted = vec!["C", "a", "a b", "ab", "b", "b", "Ä"];
        assert_eq!(names("ASC").await, sorted);
        sorted.reverse();
        assert_eq!(names("DESC").await, sorted);

        // Each order uses only its own kind of last change.
        ada.mutate("updateProject", json!({ "id": made[0].id, "description": "x" }), "revision").await.ok();
        ada.mutate_id("touchProject", &made[1].id, "revision").await.ok();
        made[2].create_file("a.py", "").await;
        assert_eq!(listed("field: UPDATED_AT").await, ids([0, 6, 5, 4, 3, 2, 1]));
        assert_eq!(listed("field: LAST_ACCESSED_AT").await, ids([1, 6, 5, 4, 3, 2, 0]));
        assert_eq!(listed("field: LAST_ACTIVITY_AT").await, ids([2, 0, 6, 5, 4, 3, 1]));
        assert_eq!(listed("field: LAST_ACTIVITY_AT, direction: ASC").await, ids([1, 3, 4, 5, 6, 0, 2]));
        assert_eq!(List::of(&ada, "", "projects", "", "id").walk().await, ids([0, 6, 5, 4, 3, 2, 1]));
    }

    async fn projects_are_found_by_filter(server: Server) {
        let ada = server.user("ada@example.com");
        let made = projects(&ada, &["100% Sure", "100 percent", "snake_case", "snakeXcase", "back\\slash", "It's \"quoted\""]).await;
        let input = json!({ "id": made[1].id, "description": "About VOICES" });
        ada.mutate("updateProject", input, "revision").await.ok();
        let found = async |filter: &str| List::of(&ada, "", "projects", &find(filter), "name").walk().await;
        for (search, names) in [
            ("%", vec!["100% Sure"]),
            ("0%", vec!["100% Sure"]),
            ("_", vec!["snake_case"]),
            ("E_c", vec!["snake_case"]),
            ("\\\\", vec!["back\\slash"]),
            ("\\\\%", vec![]),
            ("SNAKE", vec!["snakeXcase", "snake_case"]),
            ("voices", vec!["100 percent"]),
            ("'s \\\"Q", vec!["It's \"quoted\""]),
            ("'; DROP TABLE projects; --", vec![]),
            ("", vec!["100 percent", "100% Sure", "It's \"quoted\"", "back\\slash", "snakeXcase", "snake_case"]),
        ] {
            assert_eq!(found(&format!("search: \"{search}\"")).await, names, "{search}");
        }

        // Case is ignored in every script, and no character is a pattern.
        let others = projects(&server.user("eve@example.com"), &["Éclair", "ПРИВЕТ [a-z]*", "Straße?", "Σοφός", "30 \u{212a} \u{b5}"]).await;
        let found_by_eve = async |search: &str| {
            let filter = find(&format!("search: \"{search}\""));
            List::of(&others[0].client, "", "projects", &filter, "name").walk().await
        };
        for (search, names) in [
            ("éCLAIR", vec!["Éclair"]),
            ("ECLAIR", vec![]),
            ("привет", vec!["ПРИВЕТ [a-z]*"]),
            ("Z]*", vec!["ПРИВЕТ [a-z]*"]),
            ("b]", vec![]),
            ("[", vec!["ПРИВЕТ [a-z]*"]),
            ("STRAßE?", vec!["Straße?"]),
            ("stra*", vec![]),
            ("?", vec!["Straße?"]),
            ("STRA\u{1e9e}E", vec!["Straße?"]),
            ("ſtr", vec!["Straße?"]),
            ("ΣΟΦΌΣ", vec!["Σοφός"]),
            ("φόσ", vec!["Σοφός"]),
            ("σΟΦΌς", vec!["Σοφός"]),
            ("30 k \u{3bc}", vec!["30 \u{212a} \u{b5}"]),
            ("\u{212a} \u{39c}", vec!["30 \u{212a} \u{b5}"]),
            ("éclaır", vec![]),
            ("^", vec![]),
        ] {
            assert_eq!(found_by_eve(search).await, names, "{search}");
        }

        ada.mutate("updateProject", json!({ "id": made[0].id, "status": "ARCHIVED" }), "revision").await.ok();
        ada.mutate_id("deleteProject", &made[2].id, "revision").await.ok();
        assert_eq!(found("status: ARCHIVED").await, ["100% Sure"]);
        assert_eq!(found("status: DELETED").await, ["snake_case"]);
        assert_eq!(found("status: ACTIVE, search: \"snake\"").await, ["snakeXcase"]);
        assert_eq!(found("search: \"1\"").await, ["100 percent", "100% Sure"]);

        // Time bounds are inclusive, in any time zone offset.
        let at = text(&made[2].ask("createdAt").await["createdAt"]);
        assert_eq!(found(&format!("createdAfter: \"{at}\"")).await.len(), 3);
        assert_eq!(found(&format!("createdBefore: \"{at}\"")).await.len(), 2);
        assert_eq!(found(&format!("createdAfter: \"{at}\", createdBefore: \"{at}\", status: DELETED")).await, ["snake_case"]);
        assert_eq!(found("createdBefore: \"2020-01-01T00:00:00+14:00\"").await, [""; 0]);
        assert_eq!(found("createdAfter: \"2020-01-01T00:00:00-12:00\"").await.len(), 5);
        assert_eq!(found("createdAfter: \"9999-12-31T23:59:59Z\"").await, [""; 0]);
        for time in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00+01:00", "2026-11-30T05:00:00\u{2212}01:00", "2026-06-30T12:30:60Z"] {
            let query = format!("{{ projects(filter: {{ createdAfter: \"{time}\" }}) {{ totalCount }} }}");
            assert_eq!(ada.gql(&query, json!({})).await.error_code(), "BAD_USER_INPUT", "{time}");
        }
    }

    async fn lists_of_a_new_user_are_empty(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Empty").await;
        let session = Project::create(&ada, "With a session").await.start_session().await;
        let lists = [
            List::of(&server.user("bob@example.com"), "", "projects", "", "id"),
            List::of(&ada, "", "recentActivity", "", "excerpt"),
            List::of_project(&project, "sessions", "", "id"),
            List::of_project(&project, "files", "", "id"),
            List::of_project(&project, "changes", "", "id"),
            List::of_project(&project, "snapshots", "", "id"),
            List::of_node(&ada, "ChatSession", &session, "messages", "", "id"),
        ];
        for list in lists {
            assert_eq!(list.walk().await, [""; 0], "{}", list.name);
        }
    }

    async fn sessions_come_newest_first(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Talk").await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.insert(0, json!(project.start_session().await));
        }
        let listed = async |arguments: &str| List::of_project(&project, "sessions", arguments, "id").walk().await;
        assert_eq!(listed("").await, ids);
        assert_eq!(listed("filter: { isActive: true }").await, ids[..1]);
        assert_eq!(listed("filter: { isActive: false }").await, ids[1..]);
        let at = project.ask("sessions { nodes { startedAt } }").await["sessions"]["nodes"][2]["startedAt"].take();
        assert_eq!(listed(&format!("filter: {{ startedAfter: {at} }}")).await, ids[..3]);
        assert_eq!(listed(&format!("filter: {{ startedBefore: {at} }}")).await, ids[2..]);
        assert_eq!(listed(&format!("filter: {{ startedAfter: {at}, startedBefore: {at} }}")).await, ids[2..3]);
    }

    async fn messages_come_oldest_first_and_are_found(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Talk").await;
        let session = project.start_session().await;
        let said = [
            ("USER", "Make it 100% sure", false),
            ("ASSISTANT", "Done: 100 Percent", true),
            ("SYSTEM", "snake_case", false),
            ("USER", "SNAKE-CASE", true),
            ("ASSISTANT", "back\\slash", true),
            ("ASSISTANT", "", false),
            ("USER", "last", false),
        ];
        for (role, content, is_checkpoint) in said {
            let input = json!({ "sessionId": session, "role": role, "content": content, "isCheckpoint": is_checkpoint });
            ada.mutate("addMessage", input, "revision").await.ok();
        }
        let other = project.start_session().await;
        project.add_message(&other, "Elsewhere, 100%", true).await;
        let listed = async |arguments: &str| List::of_node(&ada, "ChatSession", &session, "messages", arguments, "content").walk().await;
        assert_eq!(listed("").await, said.map(|(_, content, _)| content));
        assert_eq!(listed("filter: { role: USER }").await, ["Make it 100% sure", "SNAKE-CASE", "last"]);
        assert_eq!(listed("filter: { isCheckpoint: true }").await, ["Done: 100 Percent", "SNAKE-CASE", "back\\slash"]);
        assert_eq!(listed("filter: { isCheckpoint: false, role: ASSISTANT }").await, [""]);
        assert_eq!(listed("filter: { search: \"100%\" }").await, ["Make it 100% sure"]);
        assert_eq!(listed("filter: { search: \"100\" }").await, ["Make it 100% sure", "Done: 100 Percent"]);
        assert_eq!(listed("filter: { search: \"e_C\" }").await, ["snake_case"]);
        assert_eq!(listed("filter: { search: \"case\", role: USER }").await, ["SNAKE-CASE"]);
        assert_eq!(listed("filter: { search: \"\\\\\" }").await, ["back\\slash"]);
        let query = "query($id: ID!) { node(id: $id) { ... on ChatSession { messages { nodes { timestamp } } checkpoints { content } } } }";
        let asked = ada.gql(query, json!({ "id": session })).await.ok()["node"].take();
        let at = &asked["messages"]["nodes"][3]["timestamp"];
        assert_eq!(listed(&format!("filter: {{ after: {at} }}")).await.len(), 4);
        assert_eq!(listed(&format!("filter: {{ before: {at} }}")).await.len(), 4);
        assert_eq!(each(&asked["checkpoints"], "content"), ["Done: 100 Percent", "SNAKE-CASE", "back\\slash"]);
    }

    async fn files_come_by_path_now_and_in_the_past(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Files").await;
        let paths = ["B.md", "a", "a-b/x", "docs", "docs-old/x", "docs/a.md", "docs/sub/b.md", "docs0", "doks", "é"];
        for path in paths.iter().rev() {
            let kind = if *path == "docs" { "FOLDER" } else { "FILE" };
            project.write("createFile", json!({ "path": path, "type": kind }), "revision").await;
        }
        let then = project.revision().await;
        let listed = async |arguments: &str| List::of_project(&project, "files", arguments, "path").walk().await;
        assert_eq!(listed("").await, paths);
        assert_eq!(listed("under: \"docs\"").await, ["docs", "docs/a.md", "docs/sub/b.md"]);
        assert_eq!(listed("under: \"/docs/sub/\"").await, ["docs/sub/b.md"]);
        assert_eq!(listed("under: \"doc\"").await, [""; 0]);
        assert_eq!(listed("under: \"docs/a.md\"").await, ["docs/a.md"]);

        project.write("deleteFile", json!({ "path": "a" }), "revision").await;
        project.write("renameFile", json!({ "path": "docs", "newPath": "pages" }), "revision").await;
        project.create_file("docs/new.md", "").await;
        assert_eq!(listed(&format!("at: {then}")).await, paths);
        assert_eq!(listed(&format!("at: {then}, under: \"docs\"")).await, ["docs", "docs/a.md", "docs/sub/b.md"]);
        assert_eq!(listed("under: \"docs\"").await, ["docs/new.md"]);
        assert_eq!(listed("under: \"pages\"").await, ["pages", "pages/a.md", "pages/sub/b.md"]);
        assert_eq!(listed("at: 0").await, [""; 0]);
        assert_eq!(listed("at: 2").await, ["é"]);
        assert_eq!(listed("").await.len(), 10);
        assert_eq!(listed("includeDeleted: true").await.len(), 11);
        assert_eq!(listed("includeDeleted: true, under: \"a\"").await, ["a"]);
        assert_eq!(listed(&format!("at: {}", then + 1)).await.len(), 9);
        assert_eq!(listed(&format!("at: {}, includeDeleted: true", then + 1)).await, paths);
    }

    async fn changes_come_newest_first_and_are_found(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Changes").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Go", true).await;
        let file = project.create_file("a.py", "1").await;
        let files = json!([{ "path": "b.py", "content": "" }, { "path": "a.py", "content": "2" }]);
        project.write("syncFiles", json!({ "files": files, "sessionId": session, "messageId": message }), "revision").await;
        project.write("updateFile", json!({ "path": "a.py", "content": "3", "sessionId": session }), "revision").await;
        project.write("renameFile", json!({ "path": "a.py", "newPath": "c.py" }), "revision").await;
        project.write("deleteFile", json!({ "path": "b.py" }), "revision").await;
        let listed = async |arguments: &str| List::of_project(&project, "changes", arguments, "type").walk().await;
        assert_eq!(listed("").await, ["DELETE", "RENAME", "UPDATE", "CREATE", "UPDATE", "CREATE"]);
        assert_eq!(listed(&format!("filter: {{ sessionId: \"{session}\" }}")).await, ["UPDATE", "CREATE", "UPDATE"]);
        assert_eq!(listed(&format!("filter: {{ messageId: \"{message}\" }}")).await, ["CREATE", "UPDATE"]);
        assert_eq!(listed(&format!("filter: {{ fileId: \"{file}\" }}")).await, ["RENAME", "UPDATE", "UPDATE", "CREATE"]);
        assert_eq!(listed("filter: { path: \"/b.py\" }").await, ["DELETE", "CREATE"]);
        assert_eq!(listed("filter: { path: \"c.py\" }").await, ["RENAME"]);
        assert_eq!(listed("filter: { type: UPDATE }").await, ["UPDATE", "UPDATE"]);
        assert_eq!(listed(&format!("filter: {{ type: UPDATE, messageId: \"{message}\", path: \"a.py\" }}")).await, ["UPDATE"]);
    }

    async fn snapshots_their_files_and_versions_are_walked_too(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Snapshots").await;
        let mut names = Vec::new();
        let mut snapshot = String::new();
        for n in 1..=6 {
            project.write("syncFiles", json!({ "files": [{ "path": format!("{n}.py"), "content": "" }, { "path": "a.py", "content": format!("{n}") }] }), "revision").await;
            let made = project.write("createSnapshot", json!({ "name": format!("{n}") }), "snapshot { id }").await;
            names.insert(0, json!(format!("{n}")));
            if n == 5 {
                snapshot = text(&made["snapshot"]["id"]);
            }
        }
        assert_eq!(List::of_project(&project, "snapshots", "", "name").walk().await, names);
        let files = List::of_node(&ada, "ProjectSnapshot", &snapshot, "files", "", "path");
        assert_eq!(files.walk().await, ["1.py", "2.py", "3.py", "4.py", "5.py", "a.py"]);
        let under = List::of_node(&ada, "ProjectSnapshot", &snapshot, "files", "under: \"a.py\"", "content");
        assert_eq!(under.walk().await, ["5"]);
        let file = text(&project.ask("file(path: \"a.py\") { id }").await["file"]["id"]);
        let versions = List::of_node(&ada, "ProjectFile", &file, "versions", "", "version");
        assert_eq!(versions.walk().await, [6, 5, 4, 3, 2, 1]);

        // A file that is read at a past revision has the versions up to then.
        let past = project.ask("file(path: \"a.py\", at: 2) { version versions(last: 1) { totalCount nodes { version } } }").await;
        assert_eq!(past["file"], json!({ "version": 1, "versions": { "totalCount": 1, "nodes": [{ "version": 1 }] } }));
    }

    async fn recent_activity_covers_all_active_projects(server: Server) {
        let ada = server.user("ada@example.com");
        let made = projects(&ada, &["One", "Two", "Three"]).await;
        let mut sessions = Vec::new();
        for project in &made {
            sessions.push(project.start_session().await);
        }
        let mut all = Vec::new();
        for n in 0..7 {
            let at = [0, 1, 0, 2, 1, 1, 0][n];
            made[at].add_message(&sessions[at], &format!("{n}"), false).await;
            all.insert(0, json!(format!("{n}")));
        }
        let listed = async |arguments: &str| List::of(&ada, "", "recentActivity", arguments, "excerpt").walk().await;
        assert_eq!(listed("").await, all);
        assert_eq!(listed(&format!("projectId: \"{}\"", made[1].id)).await, ["5", "4", "1"]);
        ada.mutate("updateProject", json!({ "id": made[0].id, "status": "ARCHIVED" }), "revision").await.ok();
        assert_eq!(listed("").await, ["5", "4", "3", "1"]);
        assert_eq!(listed(&format!("projectId: \"{}\"", made[0].id)).await, [""; 0]);

        let long = "é".repeat(300);
        made[1].add_message(&sessions[1], &long, false).await;
        assert_eq!(listed("").await[0], "é".repeat(200));
    }

    async fn pages_stay_in_place_while_rows_are_added(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Growing").await;
        let session = project.start_session().await;
        for path in ["b", "d", "f", "h"] {
            project.create_file(path, "").await;
            project.add_message(&session, path, true).await;
        }
        let lists = [
            (List::of_project(&project, "files", "", "path"), "first: 2, after"),
            (List::of_project(&project, "changes", "", "path"), "first: 2, after"),
            (List::of_project(&project, "snapshots", "", "revision"), "first: 2, after"),
            (List::of_node(&ada, "ChatSession", &session, "messages", "", "content"), "last: 2, before"),
            (List::of(&ada, "", "recentActivity", "", "excerpt"), "first: 2, after"),
        ];
        let mut expected = Vec::new();
        for (list, way) in &lists {
            let [here, end] = if way.starts_with("first") { ["first: 2", "endCursor"] } else { ["last: 2", "startCursor"] };
            let cursor = list.page(here).await["pageInfo"][end].take();
            let rest = format!("{way}: {cursor}");
            expected.push((list.rows(&rest).await, rest));
        }
        // Before, between and after the rows already read.
        for path in ["a", "c", "z"] {
            project.create_file(path, "").await;
            project.add_message(&session, path, true).await;
        }
        for ((list, _), (rows, rest)) in lists.iter().zip(&expected) {
            assert_eq!(rows.len(), 2);
            assert_eq!(list.rows(rest).await, *rows, "{}", list.name);
            list.walk().await;
        }

        // A deleted row does not shift the others either.
        let (files, rest) = (&lists[0].0, &expected[0].1);
        project.write("deleteFile", json!({ "path": "d" }), "revision").await;
        assert_eq!(files.rows(rest).await, ["f", "h"]);
    }

    async fn every_combination_of_arguments_gives_the_page_of_the_specification(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Paged").await;
        let session = project.start_session().await;
        for path in ["a", "b", "c"] {
            project.create_file(path, "1").await;
            project.update_file("a", path).await;
            project.add_message(&session, path, true).await;
        }
        // A project that is empty: lists without any row.
        let bare = Project::create(&ada, "Bare").await;
        let file = text(&project.ask("file(path: \"b\") { id }").await["file"]["id"]);
        let lists = [
            List::of(&ada, "", "projects", "", "id"),
            List::of(&ada, "", "recentActivity", "", "excerpt"),
            List::of(&ada, "", "invitations", "", "projectId"),
            List::of_project(&project, "files", "", "path"),
            List::of_project(&project, "files", "at: 4", "path"),
            List::of_project(&project, "children", "", "path"),
            List::of_project(&project, "changes", "filter: { path: \"a\" }", "revision"),
            List::of_project(&project, "snapshots", "", "revision"),
            List::of_project(&project, "sessions", "", "id"),
            List::of_project(&bare, "files", "", "path"),
            List::of_project(&bare, "children", "of: \"nowhere\"", "path"),
            List::of_project(&bare, "sessions", "", "id"),
            List::of_node(&ada, "ChatSession", &session, "messages", "", "content"),
            List::of_node(&ada, "ProjectFile", &file, "versions", "", "version"),
        ];
        let mut checked = 0;
        for list in lists {
            let all = list.page("first: 100").await;
            let rows = each(&all["nodes"], "row");
            let cursors: Vec<String> = each(&all["edges"], "cursor").iter().map(text).collect();
            let places: Vec<Option<usize>> = std::iter::once(None).chain((0..cursors.len()).map(Some)).collect();
            let counts = [None, Some(("first", 0)), Some(("first", 1)), Some(("first", 2)), Some(("first", 9)), Some(("last", 0)),
                Some(("last", 1)), Some(("last", 2)), Some(("last", 9))];
            for (count, after, before) in counts.iter().flat_map(|count| places.iter().flat_map(|after| places.iter().map(|before| (*count, *after, *before)))) {
                let mut arguments = json!({});
                if let Some(at) = after {
                    arguments["after"] = json!(cursors[at]);
                }
                if let Some(at) = before {
                    arguments["before"] = json!(cursors[at]);
                }
                if let Some((name, count)) = count {
                    arguments[name] = json!(count);
                }

                // `ApplyCursorsToEdges`, `EdgesToReturn`, `HasPreviousPage` and `HasNextPage` of the Relay
                // specification.
                let (start, end) = (after.map_or(0, |at| at + 1), before.unwrap_or(rows.len()));
                let between = rows.get(start..end).unwrap_or_default();
                let (first, last) = match count {
                    Some(("first", count)) => (Some(count), None),
                    Some((_, count)) => (None, Some(count)),
                    None => (None, None),
                };
                let returned = match (first, last) {
                    (Some(first), _) => &between[..first.min(between.len())],
                    (_, Some(last)) => &between[between.len().saturating_sub(last)..],
                    _ => between,
                };
                let has_previous = last.map_or(after.is_some(), |last| between.len() > last);
                let has_next = first.map_or(before.is_some(), |first| between.len() > first);

                let page = if arguments == json!({}) { list.page("first: null").await } else { list.page_with(&arguments).await };
                let what = format!("{}({arguments})", list.name);
                assert_eq!(each(&page["nodes"], "row"), returned, "{what}");
                let found = (&page["pageInfo"]["hasPreviousPage"], &page["pageInfo"]["hasNextPage"]);
                assert_eq!(found, (&json!(has_previous), &json!(has_next)), "{what}");
                checked += 1;
            }
        }
        assert!(checked > 1_000, "{checked}");
    }

    async fn a_row_that_goes_away_between_pages_keeps_its_place(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Gone").await;
        for name in ["One", "Two", "Three"] {
            project.write("saveAgentConfiguration", tests::project::settings(name), "revision").await;
        }
        let first = project.ask("agentConfigurations(first: 1) { id configName }").await["agentConfigurations"][0].take();
        ada.mutate("deleteAgentConfiguration", json!({ "id": first["id"] }), "revision").await.ok();
        let next = project.ask(&format!("agentConfigurations(first: 1, after: {}) {{ configName }}", first["id"])).await;
        assert_eq!(next["agentConfigurations"], json!([{ "configName": "Two" }]));
        let nobody = format!("{{ project(id: \"{}\") {{ agentConfigurations(first: 1, after: \"{}\") {{ id }} }} }}", project.id, project.id);
        assert_eq!(ada.gql(&nobody, json!({})).await.error_code(), "BAD_USER_INPUT");

        for email in ["bob@example.com", "eve@example.com", "ivy@example.com"] {
            server.user(email).gql("{ viewer { id } }", json!({})).await.ok();
            let user = tests::server::user_id(email);
            project.write("inviteCollaborator", json!({ "userId": user, "role": "EDITOR" }), "revision").await;
            project.write("inviteByEmail", json!({ "email": format!("x-{email}"), "role": "EDITOR" }), "revision").await;
        }
        let all = project.ask("collaborators { user { id } } emailInvitations { email }").await;
        let list = "collaborators(first: 1) { cursor user { id } } emailInvitations(first: 1) { cursor email }";
        let first = project.ask(list).await;
        let (user, email) = (first["collaborators"][0]["user"]["id"].clone(), first["emailInvitations"][0]["email"].clone());
        project.client.mutate_with("removeCollaborator", json!({ "projectId": project.id, "userId": user }), "revision").await.ok();
        let withdrawn = json!({ "projectId": project.id, "email": email });
        ada.mutate_with("withdrawEmailInvitation", withdrawn, "revision").await.ok();
        let rest = project.ask(&format!("collaborators(first: 1, after: {}) {{ user {{ id }} }} emailInvitations(first: 1, after: {}) {{ email }}",
            first["collaborators"][0]["cursor"], first["emailInvitations"][0]["cursor"])).await;
        assert_eq!(rest["collaborators"][0], all["collaborators"][1]);
        assert_eq!(rest["emailInvitations"][0], all["emailInvitations"][1]);
    }

    async fn page_sizes_are_as_the_schema_states(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Sizes").await;
        let session = project.start_session().await;
        let message = project.add_message(&session, "Hello", true).await;
        let file = project.create_file("a.py", "1").await;
        let saved = project.write("saveAgentConfiguration", tests::project::settings("Agent"), "agentConfiguration { id }").await;
        let configuration = text(&saved["agentConfiguration"]["id"]);
        let snapshot = text(&project.ask("snapshots { nodes { id } }").await["snapshots"]["nodes"][0]["id"]);
        let input = json!({ "url": "https://example.com/hook" });
        let webhook = text(&project.write("createWebhook", input, "webhook { id }").await["webhook"]["id"]);
        let of = |kind: &str| match kind {
            "Query" => String::new(),
            "Project" => project.id.clone(),
            "ChatSession" => session.clone(),
            "ChatMessage" => message.clone(),
            "ProjectFile" => file.clone(),
            "ProjectSnapshot" => snapshot.clone(),
            "AgentConfiguration" => configuration.clone(),
            "Webhook" => webhook.clone(),
            _ => panic!("a list of {kind}"),
        };
        // Every connection of the schema, with the descriptions of its arguments.
        let query = "{ __schema { types { name kind fields { name args { name description } type { name ofType { name } } } } } }";
        let types = ada.gql(query, json!({})).await.ok()["__schema"]["types"].take();
        let mut tried = Vec::new();
        for kind in types.as_array().unwrap().iter().filter(|kind| kind["kind"] == "OBJECT") {
            for field in kind["fields"].as_array().unwrap() {
                let returns = field["type"]["name"].as_str().or(field["type"]["ofType"]["name"].as_str()).unwrap_or_default();
                if !returns.ends_with("Connection") {
                    continue;
                }
                let (kind, name) = (text(&kind["name"]), text(&field["name"]));
                let described = |argument: &str| {
                    let argument = field["args"].as_array().unwrap().iter().find(|each| each["name"] == argument).unwrap();
                    text(&argument["description"])
                };
                let numbers = |text: String| text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect::<Vec<i64>>();
                let mut of_first = numbers(described("first"));
                of_first.sort_unstable();
                let ([default, max], [of_last]): ([i64; 2], [i64; 1]) = (of_first[..].try_into().unwrap(), numbers(described("last"))[..].try_into().unwrap());
                assert!(default < max && max == of_last, "{kind}.{name}");
                let list = |arguments: String| match of(&kind).as_str() {
                    "" => format!("{{ {name}({arguments}) {{ pageInfo {{ hasNextPage }} }} }}"),
                    id => format!("{{ node(id: \"{id}\") {{ ... on {kind} {{ {name}({arguments}) {{ pageInfo {{ hasNextPage }} }} }} }} }}"),
                };
                for argument in ["first", "last"] {
                    ada.gql(&list(format!("{argument}: {max}")), json!({})).await.ok();
                    let answer = ada.gql(&list(format!("{argument}: {}", max + 1)), json!({})).await;
                    assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", argument), "{kind}.{name}");
                }
                tried.push(format!("{kind}.{name}"));
            }
        }
        assert!(tried.len() >= 12, "{tried:?}");

        // A folder with more than one page has a next page.
        let files: Vec<Value> = (0..25).map(|n| json!({ "path": format!("many/{n:02}"), "content": "" })).collect();
        project.write("syncFiles", json!({ "files": files }), "revision").await;
        let list = List::of_project(&project, "children", "of: \"many\"", "path");
        let page = list.page("first: null").await;
        assert_eq!((page["nodes"].as_array().unwrap().len(), &page["totalCount"], &page["pageInfo"]["hasNextPage"]), (20, &json!(25), &json!(true)));
        assert_eq!(list.walk().await.len(), 25);
    }
}
