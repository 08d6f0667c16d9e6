//! Given a client of MCP, when it signs in, opens sessions and streams, or sends what is no message, then the endpoint
//! keeps the rules of the protocol and the limits of the server, and notifies the client of the changes that it watches.

use antiphon::model::clock;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection, SqliteConnection};
use tests::{
    database::{Database, Kind},
    mcp::{ACCEPT, Agent, assert_refused, initialize, list_changed, next, parsed, updated},
    project::{Project, each, text, with},
    server::{Server, token_with, user_id},
};

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

tests::on_both! {
    async fn the_handshake_negotiates_the_version_and_starts_a_session(server: Server) {
        let agent = Agent::new(&server.user(ADA));
        let answer = parsed(&agent.post(&initialize("agent", "1")).await);
        let result = &answer["result"];
        assert_eq!(result["protocolVersion"], "2025-06-18", "{answer}");
        assert_eq!(result["serverInfo"]["name"], "antiphon", "{answer}");
        assert_eq!(result["capabilities"], json!({ "tools": {}, "resources": { "subscribe": true, "listChanged": true } }));
        assert!(text(&result["instructions"]).contains("expectedVersion"));
        // A version that the server does not serve is answered with the newest that it serves with sessions. 2025-03-26
        // requires batches.
        for (version, negotiated) in [
            ("1999-01-01", "2025-11-25"),
            ("2025-03-26", "2024-11-05"),
            ("2026-07-28", "2025-11-25"),
            ("2025-11-25", "2025-11-25"),
            ("2024-11-05", "2024-11-05"),
        ] {
            let mut wanted = initialize("agent", "1");
            wanted["params"]["protocolVersion"] = json!(version);
            let answer = parsed(&agent.post(&wanted).await);
            assert_eq!(answer["result"]["protocolVersion"], negotiated, "{version}: {answer}");
        }

        let agent = Agent::start(&server.user(ADA)).await;
        assert_eq!(agent.get("ping", json!({})).await, json!({}));
        let tools = agent.get("tools/list", json!({})).await;
        let names: Vec<String> = each(&tools["tools"], "name").iter().map(text).collect();
        assert_eq!(names, ["list_projects", "list_files", "read_file", "search", "write_file", "rename", "delete", "diff",
            "history", "blame", "checkpoint", "restore_preview", "restore", "undo", "list_messages"]);
        for tool in tools["tools"].as_array().unwrap() {
            let (hints, name) = (&tool["annotations"], text(&tool["name"]));
            let writes = ["write_file", "rename", "delete", "checkpoint", "restore", "undo"].contains(&name.as_str());
            assert_eq!((&hints["readOnlyHint"], &hints["openWorldHint"]), (&json!(!writes), &json!(false)), "{name}");
            assert_eq!(hints["destructiveHint"], writes && name != "checkpoint", "{name}");
            let is_repeatable = !writes || ["write_file", "restore"].contains(&name.as_str());
            assert_eq!(hints["idempotentHint"], is_repeatable, "{name}");
            assert_eq!((&tool["inputSchema"]["type"], &tool["outputSchema"]["type"]), (&json!("object"), &json!("object")));
        }
        let write = tools["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "write_file").unwrap();
        assert_eq!(write["inputSchema"]["required"], json!(["projectId", "path"]), "{write}");
    }

    async fn requests_without_a_session_are_answered_by_every_server(database: Database) {
        let servers = [Server::start(&database).await, Server::start(&database).await];
        let project = Project::create(&servers[0].user(ADA), "Ours").await;
        for (at, server) in servers.iter().chain(&servers).enumerate() {
            let agent = Agent::new(&server.user(ADA));
            let arguments = json!({ "projectId": project.id, "path": format!("{at}.py"), "content": "" });
            assert_eq!(agent.ok("write_file", arguments).await["version"], 1);
        }
        // The client continues its chat session.
        let sessions = project.ask("sessions { totalCount edges { node { messageCount title } } }").await;
        assert_eq!(sessions["sessions"]["totalCount"], 1, "{sessions}");
        assert_eq!(sessions["sessions"]["edges"][0]["node"], json!({ "messageCount": 4, "title": "MCP client" }));
        // A session is known to one server only, and the client starts again on the other.
        let agent = Agent::start(&servers[0].user(ADA)).await;
        let elsewhere = Agent { client: servers[1].user(ADA), ..agent };
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
        assert_refused(&elsewhere.post(&message).await, 404, -32600, "NOT_FOUND");
        for server in servers {
            server.stop().await;
        }
    }

    async fn a_version_without_sessions_is_served(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        project.create_file("a.py", "").await;
        let agent = Agent::new(&ada);
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "modern", "version": "3" },
            "io.modelcontextprotocol/clientCapabilities": {} });
        let ask = |method: &'static str, name: &'static str, params: Value| {
            let (agent, params) = (agent.clone(), with(params, json!({ "_meta": meta })));
            let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string();
            async move {
                let mut headers = vec![("content-type", "application/json"), ACCEPT, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
                if !name.is_empty() {
                    headers.push(("mcp-name", name));
                }
                agent.send("POST", &headers, message).await
            }
        };
        let discovered = parsed(&ask("server/discover", "", json!({})).await);
        let versions = discovered["result"]["supportedVersions"].as_array().cloned().unwrap_or_default();
        assert!(versions.contains(&json!("2026-07-28")), "{discovered}");
        let capabilities = json!({ "tools": {}, "resources": { "subscribe": true, "listChanged": true } });
        assert_eq!(discovered["result"]["capabilities"], capabilities, "{discovered}");
        for (method, why) in [
            ("prompts/list", "Unknown method: prompts/list."),
            ("ping", "The protocol version of the request has no method ping."),
        ] {
            let unknown = ask(method, "", json!({})).await;
            let error = parsed(&unknown)["error"].clone();
            assert_eq!((unknown.status, &error["code"], &error["message"]), (404, &json!(-32601), &json!(why)), "{error}");
        }
        let arguments = json!({ "projectId": project.id, "path": "b.py", "content": "" });
        let written = parsed(&ask("tools/call", "write_file", json!({ "name": "write_file", "arguments": arguments })).await);
        assert_eq!(written["result"]["structuredContent"]["version"], 1, "{written}");
        let sessions = project.ask("sessions { edges { node { title } } }").await;
        assert_eq!(sessions["sessions"]["edges"][0]["node"]["title"], "modern 3");

        let uri = format!("antiphon://{}/a.py", project.id);
        let params = json!({ "_meta": meta, "notifications": { "resourceSubscriptions": [uri], "resourcesListChanged": true } });
        let message = json!({ "jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen", "params": params });
        let headers = [("content-type", "application/json"), ACCEPT, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "subscriptions/listen")];
        let mut stream = agent.client.post_stream("/mcp", &headers, &message).await;
        let (_, begun) = next(&mut stream).await.expect("an acknowledgment");
        assert_eq!(begun["method"], "notifications/subscriptions/acknowledged", "{begun}");
        project.update_file("a.py", "1").await;
        assert_eq!(updated(&mut stream).await, uri);
        project.create_file("c.py", "").await;
        let (_, message) = next(&mut stream).await.expect("a notification");
        assert_eq!(message["method"], "notifications/resources/list_changed", "{message}");
    }

    async fn a_client_is_notified_of_what_it_watches(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        for path in ["a.py", "b.py", "dir/c.py"] {
            project.create_file(path, "1").await;
        }
        let uri = |path: &str| format!("antiphon://{}/{path}", project.id);
        let agent = Agent::start(&ada).await;
        let mut stream = agent.listen(&[]).await;
        assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream; charset=utf-8"));
        for path in ["a.py", "b.py", "dir/c.py"] {
            assert_eq!(agent.get("resources/subscribe", json!({ "uri": uri(path) })).await, json!({}));
        }
        agent.get("resources/unsubscribe", json!({ "uri": uri("b.py") })).await;
        let long = agent.ask("resources/subscribe", json!({ "uri": uri(&format!("{}a.py", "./".repeat(5_000))) })).await;
        assert_eq!((&long["error"]["code"], &long["error"]["data"]["field"]), (&json!(-32602), &json!("uri")), "{long}");
        // Changes of others, by any way, in order; and of nothing else.
        project.update_file("b.py", "2").await;
        project.create_file("d.py", "").await;
        project.update_file("a.py", "2").await;
        assert_eq!(updated(&mut stream).await, uri("a.py"));
        project.write("renameFile", json!({ "path": "dir", "newPath": "e" }), "revision").await;
        assert_eq!(updated(&mut stream).await, uri("dir/c.py"));
        // A client that has listed the files is notified if files are created, deleted or renamed, but not of folders.
        agent.get("resources/list", json!({})).await;
        project.update_file("b.py", "3").await;
        project.write("createFile", json!({ "path": "empty", "type": "FOLDER" }), "revision").await;
        project.write("renameFile", json!({ "path": "empty", "newPath": "void" }), "revision").await;
        project.write("deleteFile", json!({ "path": "void" }), "revision").await;
        project.update_file("a.py", "3").await;
        assert_eq!(updated(&mut stream).await, uri("a.py"));
        project.create_file("f.py", "").await;
        list_changed(&mut stream).await;
        project.write("renameFile", json!({ "path": "f.py", "newPath": "g.py" }), "revision").await;
        list_changed(&mut stream).await;
        project.write("deleteFile", json!({ "path": "a.py" }), "revision").await;
        list_changed(&mut stream).await;
        let (last, message) = next(&mut stream).await.unwrap();
        assert_eq!(message["params"]["uri"], uri("a.py"));
        // After a lost connection it receives what it has missed, and the old stream ends.
        let mut again = agent.listen(&[("last-event-id", &(last.parse::<u64>().unwrap() - 1).to_string())]).await;
        assert_eq!(updated(&mut again).await, uri("a.py"));
        assert!(next(&mut stream).await.is_none());
        drop(again);
        project.create_file("a.py", "4").await;
        let mut again = agent.listen(&[]).await;
        list_changed(&mut again).await;
        assert_eq!(updated(&mut again).await, uri("a.py"));
        // The end of the session ends its stream.
        assert_eq!(agent.send("DELETE", &[], String::new()).await.status, 204);
        assert!(next(&mut again).await.is_none());
        assert_refused(&agent.send("DELETE", &[], String::new()).await, 404, -32600, "NOT_FOUND");
    }

    async fn many_watching_clients_cost_the_statements_of_one(database: Database) {
        let server = Server::start_with(&database, &["--sweep-seconds", "3600", "--notify", "false"]).await;
        let (ada, bob) = (server.user(ADA), server.user(BOB));
        let project = Project::create(&ada, "Shared").await;
        project.create_file("a.py", "").await;
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        database.add_collaborator(&project.id, BOB, "viewer", true).await;
        let uri = format!("antiphon://{}/a.py", project.id);
        let (mut streams, mut costs) = (Vec::new(), Vec::new());
        for wanted in [1, 10] {
            while streams.len() < wanted {
                let agent = Agent::start([&ada, &bob][streams.len() % 2]).await;
                streams.push(agent.listen(&[]).await);
                agent.get("resources/subscribe", json!({ "uri": uri })).await;
            }
            // A client that has just begun can still read the past when the first of these is written.
            let mut fewest = u64::MAX;
            for n in 0..5 {
                let before = server.statements();
                project.update_file("a.py", &format!("{wanted} {n}")).await;
                for stream in &mut streams {
                    assert_eq!(updated(stream).await, uri);
                }
                fewest = fewest.min(server.statements() - before);
            }
            costs.push(fewest);
        }
        assert_eq!(costs[0], costs[1]);
        drop(streams);
        server.stop().await;
    }

    async fn a_cancelled_call_stops_and_writes_nothing(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        project.create_file("a.py", "").await;
        let agent = Agent::start(&server.user(ADA)).await;
        let before = project.revision().await;
        // Another connection holds the lock of all writes.
        let (mut file, mut backend) = (None, None);
        match server.database().kind() {
            Kind::Sqlite => {
                let mut connection = SqliteConnection::connect(&server.database().url()).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                file = Some(connection);
            }
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&server.database().url()).await.unwrap();
                connection.execute("BEGIN; LOCK TABLE projects IN EXCLUSIVE MODE").await.unwrap();
                backend = Some(connection);
            }
        }
        for id in [json!(11), json!("a")] {
            let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "undo", "arguments": { "projectId": project.id } } });
            assert_cancelled(&agent, &call).await;
        }
        if let Some(connection) = file {
            connection.close().await.unwrap();
        }
        if let Some(connection) = backend {
            connection.close().await.unwrap();
        }
        assert_eq!(project.revision().await, before);
        agent.ok("undo", json!({ "projectId": project.id })).await;
    }

    async fn the_end_of_an_access_ends_the_stream(server: Server) {
        let project = Project::create(&server.user(ADA), "Ours").await;
        project.create_file("a.py", "").await;
        let bob = server.user(BOB);
        bob.gql("{ viewer { id } }", json!({})).await.ok();
        server.database().add_collaborator(&project.id, BOB, "editor", true).await;
        let made = project.write("createAccessToken", json!({ "name": "Agent", "role": "EDITOR" }), "token accessToken { id }").await;
        let machine = server.anonymous().with_token(Some(text(&made["token"])));
        let uri = json!({ "uri": format!("antiphon://{}/a.py", project.id) });
        let [member, machine] = [Agent::start(&bob).await, Agent::start(&machine).await];
        let [mut of_member, mut of_machine] = [member.listen(&[]).await, machine.listen(&[]).await];
        for (agent, stream) in [(&member, &mut of_member), (&machine, &mut of_machine)] {
            agent.get("resources/subscribe", uri.clone()).await;
            project.update_file("a.py", &clock::new_id().to_string()).await;
            assert_eq!(updated(stream).await, text(&uri["uri"]));
        }
        updated(&mut of_member).await;
        // An access token writes under its own name, in its own session.
        let write = json!({ "projectId": project.id, "path": "b.py", "content": "" });
        machine.ok("write_file", write.clone()).await;
        let author = project.ask("changes(first: 1) { edges { node { path createdBy { fullName } } } }").await;
        assert_eq!(author["changes"]["edges"][0]["node"], json!({ "path": "b.py", "createdBy": { "fullName": "Agent" } }));

        let whom = json!({ "projectId": project.id, "userId": user_id(BOB) });
        server.user(ADA).mutate_with("removeCollaborator", whom, "revision").await.ok();
        assert!(next(&mut of_member).await.is_none());
        member.fails("write_file", write, "NOT_FOUND").await;
        let id = &made["accessToken"]["id"];
        server.user(ADA).mutate_with("revokeAccessToken", json!({ "accessTokenId": id }), "revision").await.ok();
        assert!(next(&mut of_machine).await.is_none());
        let refused = machine.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
        assert_refused(&refused, 401, -32600, "UNAUTHENTICATED");
    }

    async fn a_cancelled_read_ends(server: Server) {
        if server.database().kind() == Kind::Sqlite {
            // Its readers wait for nobody.
            return;
        }
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let agent = Agent::start(&ada).await;
        let mut holder = PgConnection::connect(&server.database().url()).await.unwrap();
        sqlx::raw_sql("BEGIN; LOCK TABLE project_files IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
        for (id, method, params) in [
            (json!(7), "tools/call", json!({ "name": "list_files", "arguments": { "projectId": project.id } })),
            (json!("7"), "resources/read", json!({ "uri": format!("antiphon://{}/a.py", project.id) })),
        ] {
            assert_cancelled(&agent, &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        }
        // A request of another session with the same id goes on.
        let other = Agent::start(&ada).await;
        assert_eq!(other.get("ping", json!({})).await, json!({}));
        sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
        assert_eq!(agent.ok("list_files", json!({ "projectId": project.id })).await["files"], json!([]));
    }
}

/// Sends a request that waits for something, and cancels it until its response ends without a message.
async fn assert_cancelled(agent: &Agent, request: &Value) {
    let cancel =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": request["id"] } });
    let mut asked = std::pin::pin!(agent.post(request));
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut asked => break answer,
            // It can arrive before the request.
            cancelled = agent.post(&cancel) => assert_eq!(cancelled.status, 202),
        }
    };
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    assert!(answer.header("content-type").starts_with("text/event-stream"), "{answer:?}");
}

tests::on_sqlite! {
    async fn a_caller_without_a_token_learns_where_to_sign_in(database: Database) {
        let issuer = "https://login.example.com";
        let server = Server::start_with(&database, &[]).await;
        let agent = Agent::new(&server.anonymous());
        let answer = agent.post(&initialize("agent", "1")).await;
        assert_refused(&answer, 401, -32600, "UNAUTHENTICATED");
        let url = format!("{}/.well-known/oauth-protected-resource/mcp", agent.client.base());
        assert_eq!(answer.header("www-authenticate"), format!("Bearer resource_metadata=\"{url}\""));
        let answer = Agent::new(&server.anonymous().with_token(Some("anp_x".to_owned()))).post(&initialize("agent", "1")).await;
        assert_refused(&answer, 401, -32600, "UNAUTHENTICATED");
        assert_eq!(answer.header("www-authenticate"), format!("Bearer error=\"invalid_token\", resource_metadata=\"{url}\""));
        for path in ["", "/mcp"] {
            let path = format!("/.well-known/oauth-protected-resource{path}");
            let answer = agent.client.send("GET", &path, &[], "").await.unwrap();
            let metadata = parsed(&answer);
            assert_eq!((answer.status, &metadata["resource"]), (200, &json!(format!("{}/mcp", agent.client.base()))));
            assert_eq!((&metadata["bearer_methods_supported"], &metadata["authorization_servers"]), (&json!(["header"]), &Value::Null));
        }
        let other = agent.client.send("GET", "/.well-known/oauth-protected-resource/graphql", &[], "").await.unwrap();
        assert_eq!(other.status, 404);
        server.stop().await;

        // Behind a proxy that removes a path, with an issuer.
        let flags = ["--public-url=https://api.example.com/antiphon/", "--jwt-issuer=https://login.example.com,antiphon"];
        let server = Server::start_with(&database, &flags).await;
        let client = server.anonymous();
        let answer = Agent::new(&client).post(&initialize("agent", "1")).await;
        let url = "https://api.example.com/antiphon/.well-known/oauth-protected-resource/mcp";
        assert_eq!(answer.header("www-authenticate"), format!("Bearer resource_metadata=\"{url}\""));
        for path in ["mcp", "antiphon/mcp"] {
            let path = format!("/.well-known/oauth-protected-resource/{path}");
            let metadata = parsed(&client.send("GET", &path, &[], "").await.unwrap());
            assert_eq!(metadata["resource"], "https://api.example.com/antiphon/mcp", "{metadata}");
            assert_eq!(metadata["authorization_servers"], json!([issuer]), "{metadata}");
        }
        server.stop().await;
    }

    async fn invalid_messages_are_refused(server: Server) {
        let agent = Agent::start(&server.user(ADA)).await;
        for (text, json_rpc) in [
            ("", -32700),
            ("{", -32700),
            ("{} x", -32700),
            ("\u{0}", -32700),
            ("[]", -32600),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
            ("5 x", -32700),
            ("5", -32600),
            ("null", -32600),
            ("true", -32600),
            (" \"x\"", -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":5}"#, -32600),
            (r#"{"id":1,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud83d"}}"#, -32600),
        ] {
            let answer = agent.post_text(text.to_owned()).await;
            assert_eq!(answer.status, 400, "{text}: {answer:?}");
            let error = parsed(&answer)["error"].clone();
            assert_eq!((&error["code"], &error["data"]["code"]), (&json!(json_rpc), &json!("BAD_USER_INPUT")), "{text}: {answer:?}");
        }
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned();
        let answer = agent.send("POST", &[("content-type", "text/plain"), ACCEPT], ping.clone()).await;
        assert_refused(&answer, 415, -32600, "BAD_USER_INPUT");
        let answer = agent.send("POST", &[("content-type", "application/json"), ("accept", "text/html")], ping.clone()).await;
        let error = parsed(&answer);
        assert_eq!((answer.status, &error["id"], &error["error"]["data"]["field"]), (406, &json!(1), &json!("accept")), "{error}");
        let json = ("content-type", "application/json");
        let answer = agent.send("POST", &[json, ACCEPT, ("mcp-protocol-version", "1999-01-01")], ping.clone()).await;
        let error = parsed(&answer);
        assert_eq!((answer.status, &error["id"], &error["error"]["code"]), (400, &json!(1), &json!(-32600)), "{error}");
        let versions = "The MCP-Protocol-Version must be one of 2024-11-05, 2025-06-18, 2025-11-25, 2026-07-28.";
        assert_eq!(error["error"]["message"], versions, "{error}");
        let answer = agent.send("POST", &[json, ACCEPT, ("origin", "https://evil.example")], ping).await;
        assert_refused(&answer, 403, -32600, "FORBIDDEN");
        for method in ["PUT", "HEAD", "PATCH"] {
            let answer = agent.send(method, &[], String::new()).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "POST, GET, DELETE"), "{method}");
        }
        let bare = Agent { session: None, ..agent.clone() };
        let answer = bare.send("GET", &[("accept", "text/event-stream")], String::new()).await;
        assert_refused(&answer, 405, -32600, "BAD_USER_INPUT");
        let answer = bare.send("DELETE", &[], String::new()).await;
        assert_refused(&answer, 400, -32600, "BAD_USER_INPUT");
        assert_eq!(parsed(&answer)["error"]["data"]["field"], "mcp-session-id", "{answer:?}");
        let unknown = Agent { session: Some("0".repeat(32)), ..agent.clone() };
        assert_refused(&unknown.send("GET", &[], String::new()).await, 404, -32600, "NOT_FOUND");
        let others = Agent { client: server.user(BOB), ..agent.clone() };
        for method in ["GET", "POST", "DELETE"] {
            assert_refused(&others.send(method, &[json, ACCEPT], String::new()).await, 404, -32600, "NOT_FOUND");
        }
        // A byte order mark is not part of the message.
        let marked = format!("\u{feff}{}", json!({ "jsonrpc": "2.0", "id": 5, "method": "ping" }));
        assert_eq!(parsed(&agent.post_text(marked).await), json!({ "jsonrpc": "2.0", "id": 5, "result": {} }));
        // The session goes on, with ids of both types.
        let answer = agent.post(&json!({ "jsonrpc": "2.0", "id": "a", "method": "ping" })).await;
        assert_eq!(parsed(&answer), json!({ "jsonrpc": "2.0", "id": "a", "result": {} }));
        assert_eq!(agent.post(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } })).await.status, 202);
    }

    async fn invalid_params_are_named(server: Server) {
        let agent = Agent::start(&server.user(ADA)).await;
        for (message, field) in [
            (json!({ "method": "tools/call" }), "name"),
            (json!({ "method": "tools/call", "params": {} }), "name"),
            (json!({ "method": "tools/call", "params": null }), "name"),
            (json!({ "method": "tools/call", "params": [] }), ""),
            (json!({ "method": "tools/call", "params": { "name": "list_projects", "arguments": [] } }), "arguments"),
            (json!({ "method": "tools/call", "params": { "name": "list_projects", "arguments": "x" } }), "arguments"),
            (json!({ "method": "tools/call", "params": { "name": 5 } }), "name"),
            (json!({ "method": "tools/call", "params": { "name": "list_projects", "_meta": 5 } }), "_meta"),
            (json!({ "method": "initialize", "params": { "capabilities": {}, "clientInfo": { "name": "a", "version": "1" } } }), "protocolVersion"),
            (json!({ "method": "initialize", "params": { "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "a" } } }), "clientInfo.version"),
            (json!({ "method": "initialize" }), "protocolVersion"),
            (json!({ "method": "resources/read", "params": { "uri": 5 } }), "uri"),
            (json!({ "method": "resources/read" }), "uri"),
            (json!({ "method": "resources/subscribe", "params": {} }), "uri"),
            (json!({ "method": "resources/unsubscribe", "params": { "uri": null } }), "uri"),
            (json!({ "method": "resources/list", "params": { "cursor": 5 } }), "cursor"),
            (json!({ "method": "tools/list", "params": { "cursor": {} } }), "cursor"),
        ] {
            let answer = agent.post(&with(json!({ "jsonrpc": "2.0", "id": 3 }), message.clone())).await;
            let answer = parsed(&answer);
            let error = &answer["error"];
            assert_eq!((&answer["id"], &error["code"], &error["data"]["code"]), (&json!(3), &json!(-32602), &json!("BAD_USER_INPUT")), "{message}: {answer}");
            assert_eq!(text(&error["data"]["field"]), field, "{message}: {answer}");
            let method = text(&message["method"]);
            assert!(text(&error["message"]).starts_with(&format!("The parameters of {method} do not have its form: ")), "{answer}");
        }
        for (method, why) in [
            ("none/such", "Unknown method: none/such."),
            ("prompts/list", "Unknown method: prompts/list."),
            ("prompts/get", "Unknown method: prompts/get."),
            ("logging/setLevel", "Unknown method: logging/setLevel."),
            ("notifications/initialized", "notifications/initialized is a notification: send it without an `id`."),
            ("subscriptions/listen", "The protocol version of the request has no method subscriptions/listen."),
        ] {
            let error = agent.ask(method, json!({ "name": "x", "level": "info", "notifications": {} })).await["error"].clone();
            assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32601), &json!("BAD_USER_INPUT")), "{error}");
            assert_eq!(error["message"], why);
        }
    }

    async fn the_mistake_in_a_message_is_named(server: Server) {
        let agent = Agent::start(&server.user(ADA)).await;
        let no_responses = "This server sends no requests, so it accepts no responses.";
        let no_id = "`id` must be a string, or an integer of at most 64 bits.";
        for (message, id, why) in [
            (json!([{ "id": 1, "method": "ping" }]), Value::Null, "Send one message: the protocol versions of this server have no batches."),
            (json!({ "id": 1, "result": {} }), Value::Null, no_responses),
            (json!({ "id": null, "error": { "code": 1, "message": "x" } }), Value::Null, no_responses),
            (json!({ "id": 1, "method": "ping", "result": {} }), json!(1), "A message has either a `method`, or a `result` or `error`."),
            (json!({ "id": 1 }), json!(1), "`method` is missing."),
            (json!({ "id": "a", "method": 5 }), json!("a"), "`method` must be a string."),
            (json!({ "id": 1, "method": "ping", "jsonrpc": "1.0" }), Value::Null, "`jsonrpc` must be \"2.0\"."),
            (json!({ "id": null, "method": "ping" }), Value::Null, no_id),
            (json!({ "id": 1.5, "method": "ping" }), Value::Null, no_id),
            (json!({ "method": "tools/list" }), Value::Null, "tools/list is a request: send it with an `id`."),
        ] {
            let message = if message.is_object() { with(json!({ "jsonrpc": "2.0" }), message) } else { message };
            let answer = agent.post(&message).await;
            let error = parsed(&answer);
            assert_eq!((answer.status, &error["error"]["code"]), (400, &json!(-32600)), "{message}: {error}");
            assert_eq!((&error["id"], &error["error"]["message"]), (&id, &json!(why)), "{message}");
        }
        // A notification gets no message: it is refused as a whole, or accepted.
        let progress = json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": 5 });
        assert_refused(&agent.post(&progress).await, 400, -32602, "BAD_USER_INPUT");
        let unknown = agent.post(&json!({ "jsonrpc": "2.0", "method": "notifications/none" })).await;
        assert_eq!((unknown.status, unknown.body.len()), (202, 0), "{unknown:?}");
    }

    async fn parameters_of_another_form_are_named(server: Server) {
        let agent = Agent::start(&server.user(ADA)).await;
        for (method, params, part) in [
            ("tools/call", "", "missing field `name`"),
            ("tools/call", "{}", "missing field `name`"),
            ("tools/call", r#"{"name":5}"#, "expected a string"),
            ("tools/call", r#"{"name":"search","arguments":[]}"#, "expected a map"),
            ("tools/call", r#"{"name":"search","arguments":"{}"}"#, "expected a map"),
            ("tools/call", r#"["search"]"#, "must be an object"),
            ("tools/list", r#"{"cursor":5}"#, "expected a string"),
            ("tools/list", "[]", "must be an object"),
            ("resources/list", r#"{"cursor":{}}"#, "expected a string"),
            ("resources/templates/list", r#"{"cursor":1}"#, "expected a string"),
            ("resources/read", "", "missing field `uri`"),
            ("resources/read", r#"{"uri":5}"#, "expected a string"),
            ("resources/subscribe", "{}", "missing field `uri`"),
            ("resources/unsubscribe", r#"{"uri":null}"#, "expected a string"),
            ("initialize", "", "missing field `protocolVersion`"),
            ("initialize", "{}", "missing field `protocolVersion`"),
            ("initialize", r#"{"capabilities":{},"clientInfo":{"name":"a","version":"1"}}"#, "missing field `protocolVersion`"),
            ("initialize", r#"{"protocolVersion":"2025-06-18","capabilities":{}}"#, "missing field `clientInfo`"),
            ("initialize", r#"{"protocolVersion":5,"capabilities":{},"clientInfo":{"name":"a","version":"1"}}"#, "expected a string"),
            ("ping", "[]", "must be an object"),
        ] {
            let params = if params.is_empty() { String::new() } else { format!(r#","params":{params}"#) };
            let message = agent.post_text(format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}"{params}}}"#)).await;
            let error = parsed(&message)["error"].clone();
            assert_eq!((&error["code"], &error["data"]["code"]), (&json!(-32602), &json!("BAD_USER_INPUT")), "{method} {params}: {message:?}");
            let said = text(&error["message"]);
            assert!(said.starts_with(&format!("The parameters of {method} do not have its form")) && said.contains(part), "{params}: {said}");
            if let Some(field) = part.strip_prefix("missing field ") {
                assert_eq!(error["data"]["field"], field.trim_matches('`'), "{error}");
            }
        }
    }

    async fn a_cancelled_write_is_not_made(server: Server) {
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        let agent = Agent::start(&ada).await;
        // Given a call that waits for another writer …
        let mut writer = SqliteConnection::connect(&server.database().url()).await.unwrap();
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
        let arguments = json!({ "projectId": project.id, "path": "a.py", "content": "" });
        let params = json!({ "name": "write_file", "arguments": arguments });
        let call = json!({ "jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": params });
        // … when its client cancels it, then the response ends without a message, and others go on …
        let other = agent.post(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "other" } })).await;
        assert_eq!(other.status, 202);
        assert_cancelled(&agent, &call).await;
        // … and nothing is written for it later.
        sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
        let arguments = json!({ "projectId": project.id, "path": "b.py", "content": "" });
        agent.ok("write_file", arguments).await;
        let seen = project.ask("files { nodes { path } } sessions { nodes { messages { nodes { content } } } }").await;
        assert_eq!(seen["files"]["nodes"], json!([{ "path": "b.py" }]), "{seen}");
        assert_eq!(seen["sessions"]["nodes"], json!([{ "messages": { "nodes": [{ "content": "Create b.py" }] } }]), "{seen}");
        // What has ended cannot be cancelled, and its id can be used again.
        let ended = agent.post(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "slow" } })).await;
        assert_eq!(ended.status, 202);
        assert_eq!(parsed(&agent.post(&json!({ "jsonrpc": "2.0", "id": "slow", "method": "ping" })).await)["result"], json!({}));
    }

    async fn the_limits_are_those_of_the_server(database: Database) {
        let flags = ["--max-body-bytes=2000", "--max-file-bytes=100", "--max-mcp-sessions=2", "--max-json-values=50",
            "--max-user-sockets=2", "--max-socket-operations=1", "--max-user-rate", "5"];
        let server = Server::start_with(&database, &flags).await;
        let ada = server.user(ADA);
        let project = Project::create(&ada, "Ours").await;
        for path in ["a", "b"] {
            project.create_file(path, "x").await;
        }
        let agent = Agent::start(&ada).await;
        let large = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "x": "y".repeat(2_000) } });
        let answer = agent.post(&large).await;
        assert_refused(&answer, 413, -32600, "PAYLOAD_TOO_LARGE");
        assert!(text(&parsed(&answer)["error"]["message"]).contains("--max-body-bytes"), "{answer:?}");
        let many = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "x": vec![0; 50] } });
        assert_refused(&agent.post(&many).await, 413, -32600, "PAYLOAD_TOO_LARGE");
        let write = json!({ "projectId": project.id, "path": "c", "content": "x".repeat(101) });
        let error = agent.fails("write_file", write, "PAYLOAD_TOO_LARGE").await;
        assert_eq!(error["field"], "content", "{error}");
        let subscribe = |path: &str| json!({ "uri": format!("antiphon://{}/{path}", project.id) });
        agent.get("resources/subscribe", subscribe("a")).await;
        agent.get("resources/subscribe", subscribe("a")).await;
        let message = agent.ask("resources/subscribe", subscribe("b")).await;
        assert_eq!(message["error"]["data"]["code"], "RATE_LIMITED", "{message}");
        // A URI that is watched twice counts once.
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "modern", "version": "3" } });
        let mut modern = Vec::new();
        for (paths, is_refused) in [(["a", "b"], true), (["a", "a"], false)] {
            let uris = paths.map(|path| subscribe(path)["uri"].clone());
            let params = json!({ "_meta": meta, "notifications": { "resourceSubscriptions": uris } });
            let message = json!({ "jsonrpc": "2.0", "id": 9, "method": "subscriptions/listen", "params": params });
            let headers = [("content-type", "application/json"), ACCEPT, ("mcp-protocol-version", "2026-07-28"), ("mcp-method", "subscriptions/listen")];
            let mut stream = agent.client.post_stream("/mcp", &headers, &message).await;
            next(&mut stream).await.expect("an acknowledgment");
            if is_refused {
                let (_, message) = next(&mut stream).await.expect("an error");
                assert_eq!(message["error"]["data"]["code"], "RATE_LIMITED", "{message}");
                assert!(text(&message["error"]["message"]).contains("--max-socket-operations"), "{message}");
            } else {
                project.update_file("a", "y").await;
                assert_eq!(json!(updated(&mut stream).await), uris[0]);
                modern.push(stream);
            }
        }
        let _stream = agent.listen(&[]).await;
        let other = Agent::start(&ada).await;
        let full = other.listen(&[]).await;
        assert_eq!((full.status, full.header("retry-after")), (429, "10"));
        // A third session ends the one without a stream.
        let third = Agent::start(&ada).await;
        assert_refused(&other.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })).await, 404, -32600, "NOT_FOUND");
        third.get("ping", json!({})).await;
        agent.get("ping", json!({})).await;
        // Five in a second, fifty at once.
        let mut refused = None;
        for _ in 0..60 {
            let answer = agent.post(&json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" })).await;
            refused = Some(answer).filter(|answer| answer.status != 200);
            if refused.is_some() {
                break;
            }
        }
        let refused = refused.expect("a refusal");
        assert_refused(&refused, 429, -32600, "RATE_LIMITED");
        assert!(!refused.header("retry-after").is_empty());
        server.stop().await;
    }

    async fn a_user_whose_streams_are_all_open_waits(database: Database) {
        let server = Server::start_with(&database, &["--max-mcp-sessions=1"]).await;
        let first = Agent::start(&server.user(ADA)).await;
        let stream = first.listen(&[]).await;
        let refused = Agent::new(&server.user(ADA)).post(&initialize("agent", "1")).await;
        let message = parsed(&refused);
        assert_eq!((refused.status, &message["id"], &message["error"]["data"]["code"]), (429, &json!(1), &json!("RATE_LIMITED")));
        assert!(text(&message["error"]["message"]).contains("--max-mcp-sessions"), "{message}");
        assert_eq!((refused.header("retry-after"), refused.header("mcp-session-id")), ("60", ""));
        Agent::start(&server.user(BOB)).await;
        first.get("ping", json!({})).await;
        assert_eq!(first.send("DELETE", &[], String::new()).await.status, 204);
        Agent::start(&server.user(ADA)).await;
        drop(stream);
        server.stop().await;
    }

    async fn a_session_is_in_use_while_its_stream_is_open(database: Database) {
        let server = Server::start_with(&database, &["--mcp-session-seconds=3", "--socket-ping-seconds=1"]).await;
        let agent = Agent::start(&server.user(ADA)).await;
        let mut stream = agent.listen(&[]).await;
        for _ in 0..5 {
            stream.until("\n\n").await.expect("a heartbeat");
        }
        drop(stream);
        // A client that has lost its connection opens it again.
        assert_eq!(agent.listen(&[]).await.status, 200);
        server.stop().await;
    }

    async fn a_result_has_at_most_the_bytes_of_an_operation(database: Database) {
        let server = Server::start_with(&database, &["--max-operation-bytes=1000000"]).await;
        let project = Project::create(&server.user(ADA), "Ours").await;
        for (path, bytes) in [("small", 600_000), ("large", 900_000)] {
            let content = json!({ "path": path, "contentBase64": "/".repeat(bytes / 3 * 4) });
            project.write("createFile", content, "revision").await;
        }
        project.create_file("text", &"x".repeat(450_000)).await;
        let agent = Agent::new(&server.user(ADA));
        let of = |path: &str| json!({ "projectId": project.id, "path": path });
        let uri = |path: &str| json!({ "uri": format!("antiphon://{}/{path}", project.id) });
        assert_eq!(agent.ok("read_file", of("small")).await["sizeBytes"], 600_000);
        assert_eq!(agent.ok("read_file", of("text")).await["sizeBytes"], 450_000);
        agent.fails("read_file", of("large"), "QUERY_TOO_COMPLEX").await;
        agent.get("resources/read", uri("small")).await;
        let refused = agent.ask("resources/read", uri("large")).await;
        assert_eq!((&refused["error"]["code"], &refused["error"]["data"]["code"]), (&json!(-32602), &json!("QUERY_TOO_COMPLEX")));
        server.stop().await;
    }

    async fn a_stream_ends_with_its_token_and_with_its_server(database: Database) {
        let server = Server::start_with(&database, &[]).await;
        let soon = clock::now().timestamp() + 2;
        let brief = server.anonymous().with_token(Some(token_with(ADA, json!({ "exp": soon }))));
        let agent = Agent::start(&brief).await;
        let mut stream = agent.listen(&[]).await;
        assert!(next(&mut stream).await.is_none());
        let agent = Agent::start(&server.user(ADA)).await;
        let mut stream = agent.listen(&[]).await;
        server.stop().await;
        assert!(next(&mut stream).await.is_none());
    }

    async fn pages_of_allowed_sites_can_connect(database: Database) {
        let server = Server::start_with(&database, &["--allow-origin=https://ide.example.com"]).await;
        let agent = Agent::new(&server.user(ADA));
        let origin = ("origin", "https://ide.example.com");
        let answer = agent.send("POST", &[("content-type", "application/json"), ACCEPT, origin], initialize("web", "1").to_string()).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "https://ide.example.com"));
        assert!(answer.header("access-control-expose-headers").contains("mcp-session-id"), "{answer:?}");
        let preflight = [origin, ("access-control-request-method", "DELETE"), ("access-control-request-headers", "authorization,mcp-session-id,mcp-protocol-version")];
        let answer = agent.client.send("OPTIONS", "/mcp", &preflight, "").await.unwrap();
        assert!(answer.header("access-control-allow-headers").contains("mcp-session-id"), "{answer:?}");
        server.stop().await;
    }
}
