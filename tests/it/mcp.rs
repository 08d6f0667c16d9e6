//! Given a project and an agent that speaks MCP, when it lists, reads, searches and writes files, then everything that
//! holds for the API holds for it: access, preconditions, limits and the history, in which each of its writes belongs to
//! a message.

use antiphon::model::clock;
use serde_json::{Value, json};
use tests::{
    database::Database,
    mcp::{Agent, parsed},
    project::{Project, each, number, text, with},
    server::Server,
    workload::sha256,
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

tests::on_both! {
    async fn a_session_of_work_with_every_tool(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let agent = Agent::start(&ada).await;
        let id = json!({ "projectId": project.id });
        let of = |more: Value| with(id.clone(), more);

        let listed = agent.ok("list_projects", json!({ "search": "our" })).await;
        assert_eq!((&listed["projects"][0]["id"], &listed["projects"][0]["role"]), (&json!(project.id), &json!("OWNER")));
        assert_eq!(listed["projects"][0]["lastActivityAt"], project.ask("stats { lastActivityAt }").await["stats"]["lastActivityAt"]);
        // A write makes a chat session with a message, and a revision of files that belongs to the message.
        let first = agent.ok("write_file", of(json!({ "path": "/src//a.ts", "content": "one\ntwo\nthree\n" }))).await;
        assert_eq!((&first["path"], &first["version"], &first["hasChanged"]), (&json!("src/a.ts"), &json!(1), &json!(true)));
        let second = json!({ "path": "src/a.ts", "content": "one\nTWO\nthree\n", "expectedVersion": 1, "message": "Shout" });
        let second = agent.ok("write_file", of(second)).await;
        assert_eq!((number(&second["version"]), number(&second["revision"])), (2, number(&first["revision"]) + 2));
        let session = project.ask("sessions { edges { node { title metadata messageCount isActive
            messages { edges { node { id role content changes { path type } } } } } } }").await;
        let session = &session["sessions"]["edges"][0]["node"];
        assert_eq!((&session["title"], &session["isActive"]), (&json!("agent 1.2"), &json!(true)), "{session}");
        assert_eq!(session["metadata"]["mcp"]["client"], json!({ "name": "agent", "version": "1.2" }), "{session}");
        let messages: Vec<&Value> = session["messages"]["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]).collect();
        let said: Vec<String> = messages.iter().map(|message| text(&message["content"])).collect();
        assert_eq!(said, ["Create src/a.ts", "Shout"]);
        assert_eq!((&messages[1]["id"], &messages[1]["role"]), (&second["messageId"], &json!("ASSISTANT")));
        assert_eq!(messages[1]["changes"], json!([{ "path": "src/a.ts", "type": "UPDATE" }]));
        // The same content again writes nothing, not even a message.
        let again = agent.ok("write_file", of(json!({ "path": "src/a.ts", "content": "one\nTWO\nthree\n", "expectedVersion": 2 }))).await;
        assert_eq!((&again["hasChanged"], &again["messageId"], &again["revision"]), (&json!(false), &Value::Null, &second["revision"]));
        assert_eq!(project.revision().await, number(&second["revision"]));

        let read = agent.tool("read_file", of(json!({ "path": "src/a.ts", "startLine": 2, "endLine": 2 }))).await;
        let data = &read["structuredContent"];
        assert_eq!((&data["content"], &data["totalLines"], &data["version"]), (&json!("TWO\n"), &json!(3), &json!(2)));
        assert_eq!((&data["hash"], &data["encoding"]), (&json!(sha256("one\nTWO\nthree\n")), &json!("UTF-8")));
        assert_eq!(read["content"][1], json!({ "type": "text", "text": "TWO\n" }));
        let then = agent.ok("read_file", of(json!({ "path": "src/a.ts", "at": first["revision"] }))).await;
        assert_eq!((&then["content"], &then["version"]), (&json!("one\ntwo\nthree\n"), &json!(1)));
        agent.ok("write_file", of(json!({ "path": "bin", "contentBase64": "AP8=", "executable": true }))).await;
        let bytes = agent.ok("read_file", of(json!({ "path": "bin" }))).await;
        assert_eq!((&bytes["content"], &bytes["contentBase64"]), (&Value::Null, &json!("AP8=")));
        let files = agent.ok("list_files", of(json!({}))).await;
        assert_eq!(each(&files["files"], "path"), ["bin", "src/a.ts"]);
        let page = agent.ok("list_files", of(json!({ "first": 1 }))).await;
        let page = agent.ok("list_files", of(json!({ "first": 1, "after": page["nextCursor"] }))).await;
        assert_eq!((each(&page["files"], "path"), &page["nextCursor"]), (vec![json!("src/a.ts")], &Value::Null));
        let found = agent.ok("search", of(json!({ "query": "two" }))).await;
        assert_eq!(found["matches"], json!([{ "path": "src/a.ts", "line": 2, "text": "TWO" }]));
        let found = agent.ok("search", of(json!({ "query": "two", "caseSensitive": true }))).await;
        assert_eq!((&found["matches"], &found["searchedFiles"], &found["nextCursor"]), (&json!([]), &json!(1), &Value::Null));

        let mark = agent.ok("checkpoint", of(json!({ "message": "Works" }))).await;
        assert_eq!(mark["fileCount"], 2, "{mark}");
        let moved = agent.ok("rename", of(json!({ "path": "src", "newPath": "lib", "message": "Tidy" }))).await;
        assert_eq!((&moved["path"], &moved["changedFiles"]), (&json!("lib"), &json!(1)), "{moved}");
        agent.ok("delete", of(json!({ "path": "bin", "expectedVersion": 1 }))).await;
        assert_eq!(project.contents().await, [("lib/a.ts".to_owned(), "one\nTWO\nthree\n".to_owned())]);

        let diff = agent.ok("diff", of(json!({ "from": first["revision"], "to": second["revision"] }))).await;
        assert_eq!((&diff["files"][0]["additions"], &diff["files"][0]["type"]), (&json!(1), &json!("UPDATE")));
        assert!(text(&diff["files"][0]["diff"]).contains("-two\n+TWO\n"), "{diff}");
        let history = agent.ok("history", of(json!({ "path": "lib/a.ts" }))).await;
        assert_eq!(each(&history["changes"], "type"), ["RENAME", "UPDATE", "CREATE"]);
        assert_eq!(each(&history["changes"], "message"), ["Tidy", "Shout", "Create src/a.ts"]);
        let deleted = agent.ok("history", of(json!({ "path": "bin", "first": 1 }))).await;
        assert_eq!((each(&deleted["changes"], "type"), deleted["nextCursor"].is_string()), (vec![json!("DELETE")], true));
        let blame = agent.ok("blame", of(json!({ "path": "lib/a.ts", "startLine": 2 }))).await;
        assert_eq!(each(&blame["ranges"], "startLine"), [2, 3]);
        assert_eq!(each(&blame["ranges"], "message"), ["Shout", "Create src/a.ts"]);
        assert_eq!(blame["ranges"][0]["author"], "ada", "{blame}");

        let preview = agent.ok("restore_preview", of(json!({ "messageId": mark["messageId"] }))).await;
        assert_eq!(each(&preview["files"], "path"), ["src/a.ts", "bin"], "{preview}");
        let restored = agent.ok("restore", of(json!({ "snapshotId": mark["snapshotId"] }))).await;
        assert_eq!((&restored["manifestSha256"], &restored["fileCount"]), (&mark["manifestSha256"], &json!(2)));
        let again = agent.ok("restore", of(json!({ "messageId": mark["messageId"] }))).await;
        assert_eq!((&again["changedPaths"], &again["messageId"]), (&json!([]), &Value::Null));
        // The restore belongs to its message, by which it can be undone.
        let undone = agent.ok("undo", of(json!({ "messageId": restored["messageId"] }))).await;
        assert_eq!(undone["changedPaths"].as_array().unwrap().len(), 2, "{undone}");
        assert_eq!(project.contents().await, [("lib/a.ts".to_owned(), "one\nTWO\nthree\n".to_owned())]);
        agent.ok("undo", of(json!({ "revision": moved["revision"], "message": "Back" }))).await;
        assert_eq!(project.contents().await, [("src/a.ts".to_owned(), "one\nTWO\nthree\n".to_owned())]);
        let messages = agent.ok("list_messages", of(json!({ "first": 3 }))).await;
        assert_eq!(each(&messages["messages"], "content")[0], "Back");
        let only = of(json!({ "sessionId": messages["messages"][0]["sessionId"], "first": 2 }));
        let page = agent.ok("list_messages", only.clone()).await;
        assert_eq!((each(&page["messages"], "content"), &page["messages"][0]["author"]), (each(&messages["messages"], "content")[..2].to_vec(), &json!("ada")));
        let page = agent.ok("list_messages", with(only, json!({ "after": page["nextCursor"], "first": 1 }))).await;
        assert_eq!(page["messages"][0]["id"], messages["messages"][2]["id"]);
        // All of it is one chat session of the API.
        let count = project.ask("sessions { totalCount } ").await;
        assert_eq!(count["sessions"]["totalCount"], 1);
    }

    async fn a_stale_write_is_a_conflict_that_helps(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        project.create_file("a.py", "one\n").await;
        project.update_file("a.py", "two\n").await;
        let agent = Agent::start(&ada).await;
        let write = |more: Value| with(json!({ "projectId": project.id, "path": "a.py", "content": "three\n" }), more);
        let before = project.revision().await;
        for (more, field) in [
            (json!({}), "expectedVersion"),
            (json!({ "expectedVersion": 1 }), "expectedVersion"),
            (json!({ "expectedVersion": 0 }), "expectedVersion"),
            (json!({ "expectedHash": sha256("one\n") }), "expectedHash"),
        ] {
            let error = agent.fails("write_file", write(more.clone()), "CONFLICT").await;
            assert_eq!((&error["field"], &error["currentVersion"]), (&json!(field), &json!(2)), "{more}");
            assert_eq!(error["currentHash"], sha256("two\n"), "{more}");
        }
        let shown = |result: &Value| text(&result["content"][0]["text"]);
        let result = agent.tool("write_file", write(json!({ "expectedVersion": 1 }))).await;
        assert!(shown(&result).contains("pass `expectedVersion`: 2") && shown(&result).contains(&sha256("two\n")), "{result}");
        for (name, arguments) in [
            ("rename", json!({ "path": "a.py", "newPath": "b.py", "expectedVersion": 1 })),
            ("delete", json!({ "path": "a.py", "expectedVersion": 1 })),
        ] {
            let error = agent.fails(name, with(json!({ "projectId": project.id }), arguments), "CONFLICT").await;
            assert_eq!(error["currentVersion"], 2, "{error}");
        }
        let gone = json!({ "projectId": project.id, "path": "c.py", "content": "", "expectedVersion": 3 });
        agent.fails("write_file", gone, "CONFLICT").await;
        project.create_file("b.py", "").await;
        for (name, more) in [
            ("write_file", json!({ "path": "a.py/x", "content": "" })),
            ("rename", json!({ "path": "b.py", "newPath": "a.py/b/c" })),
        ] {
            agent.fails(name, with(json!({ "projectId": project.id }), more), "CONFLICT").await;
        }
        let taken = json!({ "projectId": project.id, "path": "a.py", "newPath": "b.py" });
        assert_eq!(agent.fails("rename", taken.clone(), "CONFLICT").await["paths"], json!(["b.py"]));
        // The version of the other file is no precondition of this one.
        let result = agent.tool("rename", taken).await;
        assert!(shown(&result).contains("version is 1") && !shown(&result).contains("expectedVersion"), "{result}");
        let late = json!({ "projectId": project.id, "revision": 2, "expectedRevision": 2 });
        let error = agent.fails("restore", late, "CONFLICT").await;
        assert_eq!(error["currentRevision"], before + 1, "{error}");
        agent.fails("undo", json!({ "projectId": project.id, "revision": 1 }), "BAD_USER_INPUT").await;
        // Nothing was written, not even a message or a session.
        assert_eq!(project.revision().await, before + 1);
        // Nor if the move of a folder is refused.
        for path in ["dir/b", "dir/c", &format!("long/{}", "x".repeat(1_000))] {
            project.create_file(path, "").await;
        }
        let before = project.revision().await;
        for (path, new_path, code) in [
            ("dir/b", "dir", "CONFLICT"),
            ("long", &"y".repeat(100), "BAD_USER_INPUT"),
            ("dir", "dir/d", "BAD_USER_INPUT"),
            ("dir", "dir", "BAD_USER_INPUT"),
            ("none", "other", "NOT_FOUND"),
        ] {
            let arguments = json!({ "projectId": project.id, "path": path, "newPath": new_path });
            let error = agent.fails("rename", arguments, code).await;
            assert_eq!(error["field"], if code == "NOT_FOUND" { "path" } else { "newPath" }, "{path}: {error}");
        }
        assert_eq!(project.revision().await, before);
        agent.ok("delete", json!({ "projectId": project.id, "path": "dir/c" })).await;
        let moved = agent.ok("rename", json!({ "projectId": project.id, "path": "dir/b", "newPath": "dir" })).await;
        assert_eq!((&moved["path"], &moved["changedFiles"]), (&json!("dir"), &json!(1)), "{moved}");
        let done = agent.ok("write_file", write(json!({ "expectedHash": sha256("two\n") }))).await;
        assert_eq!(done["version"], 3);
    }

    async fn a_search_finds_every_line_once(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let lines = |count: usize| (1..=count).map(|at| format!("{}hit {at}\n", if at % 3 == 0 { "x\n" } else { "" })).collect::<String>();
        for (path, content) in [("a", lines(5)), ("b", "nothing".to_owned()), ("c", lines(25)), ("d", lines(10)), ("e", "Η ΟΔΟΣ\n".to_owned())] {
            project.create_file(path, &content).await;
        }
        let agent = Agent::start(&ada).await;
        let search = |more: Value| {
            let (agent, arguments) = (agent.clone(), with(json!({ "projectId": project.id }), more));
            async move { agent.ok("search", arguments).await }
        };
        for first in [1, 7, 10, 40] {
            let (mut found, mut after) = (Vec::new(), Value::Null);
            loop {
                let page = search(json!({ "query": "HIT", "first": first, "after": after })).await;
                found.extend(page["matches"].as_array().unwrap().iter().map(|found| format!("{}: {}", text(&found["path"]), text(&found["text"]))));
                after = page["nextCursor"].clone();
                if after.is_null() {
                    break;
                }
                assert_eq!(page["matches"].as_array().unwrap().len(), first, "{page}");
            }
            let all = [("a", 5), ("c", 25), ("d", 10)].into_iter();
            let all: Vec<String> = all.flat_map(|(path, count)| (1..=count).map(move |at| format!("{path}: hit {at}"))).collect();
            assert_eq!(found, all, "{first}");
        }
        // A file that is searched in part can be deleted.
        let page = search(json!({ "query": "hit", "first": 7 })).await;
        project.write("deleteFile", json!({ "path": "c" }), "revision").await;
        let page = search(json!({ "query": "hit", "first": 7, "after": page["nextCursor"] })).await;
        assert_eq!((&page["matches"][0]["path"], &page["matches"][0]["line"]), (&json!("d"), &json!(1)), "{page}");
        // Case is ignored in every script.
        for (query, is_exact, count) in [("οδοσ", false, 1), ("οδος", false, 1), ("ΟΔΟΣ", true, 1), ("οδοσ", true, 0)] {
            let page = search(json!({ "query": query, "caseSensitive": is_exact })).await;
            assert_eq!(page["matches"].as_array().unwrap().len(), count, "{query}: {page}");
        }
    }

    async fn access_is_that_of_the_caller(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        project.create_file("a.py", "secret").await;
        let bob = server.user(BOB);
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        let agent = Agent::start(&bob).await;
        let uri = format!("antiphon://{}/a.py", project.id);
        let calls = [
            ("list_files", json!({})),
            ("read_file", json!({ "path": "a.py" })),
            ("search", json!({ "query": "s" })),
            ("write_file", json!({ "path": "a.py", "content": "" })),
            ("rename", json!({ "path": "a.py", "newPath": "b" })),
            ("delete", json!({ "path": "a.py" })),
            ("diff", json!({ "from": 0 })),
            ("history", json!({})),
            ("blame", json!({ "path": "a.py" })),
            ("checkpoint", json!({ "message": "m" })),
            ("restore_preview", json!({ "revision": 1 })),
            ("restore", json!({ "revision": 1 })),
            ("undo", json!({})),
            ("list_messages", json!({})),
        ];
        let answer = |name: &'static str, more: &Value| {
            let arguments = with(json!({ "projectId": project.id }), more.clone());
            let agent = agent.clone();
            async move { agent.tool(name, arguments).await }
        };
        // To somebody else the project does not exist.
        for (name, more) in &calls {
            let result = answer(name, more).await;
            assert_eq!(result["structuredContent"]["code"], "NOT_FOUND", "{name}: {result}");
            assert!(!result.to_string().contains("secret"), "{result}");
        }
        assert_eq!(agent.ok("list_projects", json!({})).await["projects"], json!([]));
        assert_eq!(agent.get("resources/list", json!({})).await["resources"], json!([]));
        for method in ["resources/read", "resources/subscribe"] {
            let message = agent.ask(method, json!({ "uri": uri })).await;
            assert_eq!(message["error"]["code"], -32002, "{message}");
        }
        // A viewer reads.
        server.database().add_collaborator(&project.id, BOB, "viewer", true).await;
        for (name, more) in &calls {
            let result = answer(name, more).await;
            let writes = ["write_file", "rename", "delete", "checkpoint", "restore", "undo"].contains(name);
            let code = if writes { json!("FORBIDDEN") } else { Value::Null };
            assert_eq!((&result["isError"], &result["structuredContent"]["code"]), (&json!(writes), &code), "{name}: {result}");
        }
        let read = agent.get("resources/read", json!({ "uri": uri })).await;
        assert_eq!(read["contents"][0]["text"], "secret", "{read}");
        assert_eq!(project.revision().await, 2);
    }

    async fn files_are_resources(server: Server) {
        let ada = server.user(ADA);
        let [empty, first, second] = ["Empty", "First", "Second"].map(|name| Project::create(&ada, name));
        let (_, first, second) = (empty.await, first.await, second.await);
        first.create_file("a b/100%.md", "# Hi").await;
        first.write("createFile", json!({ "path": "bin", "contentBase64": "AP8=" }), "revision").await;
        first.write("createFile", json!({ "path": "folder", "type": "FOLDER" }), "revision").await;
        let files: Vec<Value> = (0..201).map(|at| json!({ "path": format!("{at:03}.json"), "content": "{}" })).collect();
        second.write("syncFiles", json!({ "files": files }), "revision").await;
        let agent = Agent::start(&ada).await;
        let (mut cursor, mut pages) = (json!({}), Vec::new());
        loop {
            let page = agent.get("resources/list", cursor).await;
            pages.push(page["resources"].as_array().unwrap().clone());
            if page["nextCursor"].is_null() {
                break;
            }
            cursor = json!({ "cursor": page["nextCursor"] });
        }
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 200, 1]);
        let uri = format!("antiphon://{}/a%20b/100%25.md", first.id);
        let resource = &pages[0][0];
        assert_eq!((&resource["uri"], &resource["name"]), (&json!(uri), &json!("a b/100%.md")));
        assert_eq!((&resource["mimeType"], &resource["size"]), (&json!("text/markdown"), &json!(4)));
        let read = agent.get("resources/read", json!({ "uri": uri })).await;
        assert_eq!(read["contents"], json!([{ "uri": uri, "mimeType": "text/markdown", "text": "# Hi" }]));
        let read = agent.get("resources/read", json!({ "uri": pages[0][1]["uri"] })).await;
        assert_eq!(read["contents"][0]["blob"], "AP8=", "{read}");
        let templates = agent.get("resources/templates/list", json!({})).await;
        assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "antiphon://{projectId}/{+path}");
        for (uri, code) in [
            (format!("antiphon://{}/none", first.id), -32002),
            (format!("antiphon://{}/folder", first.id), -32002),
            (format!("antiphon://{}/a.py", clock::new_id()), -32002),
            ("file:///etc/passwd".to_owned(), -32602),
            (format!("antiphon://{}/../a", first.id), -32602),
        ] {
            let message = agent.ask("resources/read", json!({ "uri": uri })).await;
            assert_eq!(message["error"]["code"], code, "{uri}: {message}");
        }
        let message = agent.ask("resources/list", json!({ "cursor": "x" })).await;
        assert_eq!(message["error"]["code"], -32602, "{message}");
    }

    async fn an_internal_error_shows_nothing(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        project.create_file("a.py", "x").await;
        let agent = Agent::start(&ada).await;
        server.database().execute("ALTER TABLE project_files RENAME TO gone").await;
        let error = agent.fails("list_files", json!({ "projectId": project.id }), "INTERNAL").await;
        assert!(error["requestId"].is_string() && !error.to_string().contains("project_files"), "{error}");
        let message = agent.ask("resources/read", json!({ "uri": format!("antiphon://{}/a.py", project.id) })).await;
        assert_eq!((&message["error"]["code"], &message["error"]["data"]["code"]), (&json!(-32603), &json!("INTERNAL")));
        assert!(!message.to_string().contains("project_files"), "{message}");
    }

    async fn the_cost_of_a_tool_does_not_depend_on_the_rows(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let agent = Agent::start(&ada).await;
        let write = |from: usize, count: usize| {
            let files = (from..from + count).map(|at| json!({ "path": format!("{at:03}.py"), "content": format!("find {at}\n") }));
            json!({ "files": files.collect::<Vec<_>>() })
        };
        project.write("syncFiles", write(0, 2), "revision").await;
        let tools = [
            ("list_projects", json!({})),
            ("list_files", json!({ "projectId": project.id })),
            ("search", json!({ "projectId": project.id, "query": "find" })),
            ("diff", json!({ "projectId": project.id, "from": 0 })),
            ("history", json!({ "projectId": project.id })),
            ("restore_preview", json!({ "projectId": project.id, "revision": 1 })),
            ("list_messages", json!({ "projectId": project.id })),
            ("blame", json!({ "projectId": project.id, "path": "blamed.py" })),
            ("resources/list", json!({})),
        ];
        let ask = |name: &'static str, arguments: Value| {
            let agent = agent.clone();
            async move {
                match name.contains('/') {
                    true => drop(agent.get(name, arguments).await),
                    false => drop(agent.ok(name, arguments).await),
                }
            }
        };
        project.create_file("blamed.py", "one\n").await;
        let mut few = Vec::new();
        for (name, arguments) in &tools {
            ask(name, arguments.clone()).await;
            let before = server.statements();
            ask(name, arguments.clone()).await;
            few.push(server.statements() - before);
        }
        project.write("syncFiles", write(2, 90), "revision").await;
        for lines in 2..12 {
            let content: String = (0..lines).map(|line| format!("{line}\n")).collect();
            project.update_file("blamed.py", &content).await;
        }
        for ((name, arguments), few) in tools.iter().zip(few) {
            let before = server.statements();
            ask(name, arguments.clone()).await;
            assert_eq!(server.statements() - before, few, "{name}");
        }
    }
}

tests::on_sqlite! {
    async fn a_diff_reads_only_the_chosen_paths(database: Database) {
        let server = Server::start(&database).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        for (path, content) in [("src/a.py", "1\n".to_owned()), ("b.py", "2".repeat(4_321)), ("c.py", "3\n".to_owned())] {
            project.create_file(path, &content).await;
        }
        project.write("renameFile", json!({ "path": "c.py", "newPath": "d.py" }), "revision").await;
        server.stop().await;
        // The content of the file that is not chosen is damaged.
        database.execute("UPDATE blobs SET data = x'00' WHERE size = 4321").await;
        let server = Server::start(&database).await;
        let agent = Agent::new(&server.user(ADA));
        let diff = |more: Value| with(json!({ "projectId": project.id, "from": 1 }), more);
        agent.fails("diff", diff(json!({})), "INTERNAL").await;
        let found = agent.ok("diff", diff(json!({ "paths": ["src"] }))).await;
        assert_eq!(each(&found["files"], "path"), ["src/a.py"]);
        // A renamed file is chosen by either path.
        for path in ["c.py", "d.py"] {
            let found = agent.ok("diff", diff(json!({ "from": 4, "paths": [path] }))).await;
            assert_eq!(each(&found["files"], "path"), ["d.py"], "{path}");
        }
        server.stop().await;
    }

    async fn bad_arguments_name_the_argument(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        project.create_file("src/a.py", "x").await;
        let agent = Agent::start(&ada).await;
        let message = agent.ask("tools/call", json!({ "name": "format_disk", "arguments": {} })).await;
        let data = json!({ "code": "BAD_USER_INPUT", "field": "name" });
        assert_eq!(message["error"], json!({ "code": -32602, "message": "Unknown tool: format_disk. tools/list has all tools.", "data": data }));
        let of = |more: Value| with(json!({ "projectId": project.id }), more);
        for (name, arguments, field) in [
            ("list_files", json!({}), "projectId"),
            ("list_files", json!({ "projectId": "x" }), "projectId"),
            ("list_files", of(json!({ "pathh": "a" })), "pathh"),
            ("list_files", of(json!({ "first": 501 })), "first"),
            ("list_files", of(json!({ "first": -1 })), "first"),
            ("list_files", of(json!({ "after": "x" })), "after"),
            ("list_files", of(json!({ "at": 9 })), "at"),
            ("list_projects", json!({ "search": "\u{0}" }), "search"),
            ("read_file", of(json!({ "path": "../a" })), "path"),
            ("read_file", of(json!({ "path": "src" })), "path"),
            ("read_file", of(json!({ "path": "src/a.py", "startLine": 0 })), "startLine"),
            ("read_file", of(json!({ "path": "src/a.py", "startLine": 2 })), "startLine"),
            ("read_file", of(json!({ "path": "src/a.py", "startLine": 1, "endLine": 0 })), "endLine"),
            ("search", of(json!({ "query": "a", "first": 0 })), "first"),
            ("search", of(json!({ "query": "a", "after": "x" })), "after"),
            ("search", of(json!({ "query": "a\u{0}" })), "query"),
            ("write_file", of(json!({ "path": "b", "content": "", "message": "\u{0}" })), "message"),
            ("search", of(json!({ "query": "" })), "query"),
            ("search", of(json!({ "query": "a\nb" })), "query"),
            ("write_file", of(json!({ "path": "b" })), "content"),
            ("write_file", of(json!({ "path": "b", "content": "", "contentBase64": "" })), "content"),
            ("write_file", of(json!({ "path": "b", "contentBase64": "*" })), "contentBase64"),
            ("write_file", of(json!({ "path": "b", "content": "", "expectedHash": "x" })), "expectedHash"),
            ("write_file", of(json!({ "path": "src", "content": "" })), "path"),
            ("rename", of(json!({ "path": "src", "newPath": "src/b" })), "newPath"),
            ("diff", of(json!({ "from": 99 })), "from"),
            ("diff", of(json!({ "from": 1, "paths": ["a", ""] })), "paths[1]"),
            ("restore", of(json!({})), "revision"),
            ("restore", of(json!({ "revision": 0 })), "revision"),
            ("restore", of(json!({ "revision": 1, "snapshotId": clock::new_id() })), "revision"),
            ("restore_preview", of(json!({ "messageId": "x" })), "messageId"),
            ("checkpoint", of(json!({ "message": " " })), "message"),
            ("list_messages", of(json!({ "search": "x" })), "search"),
        ] {
            let error = agent.fails(name, arguments.clone(), "BAD_USER_INPUT").await;
            assert_eq!(error["field"], field, "{name} {arguments}: {error}");
        }
        for (name, arguments, field) in [
            ("list_files", of(json!({ "first": "1" })), "first"),
            ("list_files", of(json!({ "at": 1.5 })), "at"),
            ("list_files", of(json!({ "at": 3_000_000_000_u64 })), "at"),
            ("write_file", of(json!({ "path": 5, "content": "" })), "path"),
            ("diff", of(json!({ "from": 1, "paths": ["a", 5] })), "paths[1]"),
            ("search", of(json!({ "query": "a", "caseSensitive": "yes" })), "caseSensitive"),
        ] {
            let error = agent.fails(name, arguments.clone(), "BAD_USER_INPUT").await;
            assert_eq!(error["field"], field, "{name} {arguments}: {error}");
        }
        // JSON has no integers of its own.
        for (name, arguments) in [
            ("list_files", r#"{ "first": 2.0, "at": 2e0 }"#),
            ("read_file", r#"{ "path": "src/a.py", "startLine": 1.0, "endLine": 10e-1 }"#),
        ] {
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            agent.ok(name, of(arguments)).await;
        }
        // A link stays a link.
        let link = json!({ "path": "link", "content": "src/a.py", "mode": "SYMLINK" });
        project.write("createFile", link, "revision").await;
        let empty = of(json!({ "path": "link", "content": "", "expectedVersion": 1 }));
        assert_eq!(agent.fails("write_file", empty, "BAD_USER_INPUT").await["field"], "content");
        for (name, arguments) in [
            ("read_file", of(json!({ "path": "none" }))),
            ("delete", of(json!({ "path": "none" }))),
            ("restore", of(json!({ "snapshotId": clock::new_id() }))),
            ("undo", of(json!({ "messageId": clock::new_id() }))),
            ("list_messages", of(json!({ "sessionId": clock::new_id() }))),
        ] {
            agent.fails(name, arguments, "NOT_FOUND").await;
        }
        assert_eq!(project.revision().await, 3);
    }

    async fn whole_numbers_are_integers_in_every_spelling(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        project.create_file("a.py", "1\n2\n3\n").await;
        let agent = Agent::start(&ada).await;
        let call = async |name: &str, arguments: &str| {
            let id = &project.id;
            let text = format!(
                r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{name}","arguments":{{"projectId":"{id}",{arguments}}}}}}}"#
            );
            parsed(&agent.post_text(text).await)["result"].clone()
        };
        for first in ["2.0", "2", "2e0", "20e-1", "2.000"] {
            let read = call("read_file", &format!(r#""path":"a.py","startLine":{first},"endLine":3.0,"at":1e0"#)).await;
            assert_eq!(read["isError"], true, "{first}: {read}");
            let read = call("read_file", &format!(r#""path":"a.py","startLine":{first},"endLine":3.0,"at":2.0"#)).await;
            assert_eq!((&read["isError"], &read["structuredContent"]["content"]), (&json!(false), &json!("2\n3\n")), "{first}: {read}");
        }
        let written = call("write_file", r#""path":"a.py","content":"4\n","expectedVersion":1.0"#).await;
        assert_eq!(written["structuredContent"]["version"], 2, "{written}");
        for first in ["2.5", "1e30", "-1e300", "\"2.0\""] {
            let refused = call("list_files", &format!(r#""first":{first}"#)).await;
            assert_eq!(refused["structuredContent"]["code"], "BAD_USER_INPUT", "{first}: {refused}");
        }
    }
}
