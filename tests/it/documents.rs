//! Documents that requests refer to by name: Apollo's automatic persisted queries, and registered documents as in the
//! appendix of GraphQL over HTTP.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::Database,
    project::Project,
    server::Server,
    socket::Frame,
    workload::sha256,
};

const QUERY: &str = "{ viewer { email } }";
const NOT_FOUND: &str = "PERSISTED_QUERY_NOT_FOUND";

async fn post(client: &Client, body: Value) -> Response {
    let bearer = format!("Bearer {}", client.token().unwrap());
    let headers = [("content-type", "application/json"), ("accept", "application/json"), ("authorization", &bearer)];
    client.send("POST", "/graphql", &headers, body.to_string()).await.unwrap().graphql().unwrap()
}

fn named(hash: &str) -> Value {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

/// The error code of a refused request, `ok` otherwise.
fn outcome(answer: &Response) -> &str {
    if answer.errors.is_empty() { "ok" } else { answer.error_code() }
}

/// A folder next to the test's database.
fn folder(database: &Database, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("antiphon-documents-{}-{name}", sha256(database.url())));
    fs::create_dir_all(&folder).unwrap();
    for (file, text) in files {
        fs::write(folder.join(file), text).unwrap();
    }
    folder
}

tests::on_sqlite! {
    async fn a_document_that_was_sent_once_can_be_sent_by_hash(server: Server) {
        let ada = server.user("ada@example.com");
        let hash = sha256(QUERY);
        let answer = post(&ada, json!({ "extensions": named(&hash) })).await;
        // The message and status that clients check: Apollo's clients use either, urql the message.
        assert_eq!((answer.status, outcome(&answer), &answer.error()["message"]), (200, NOT_FOUND, &json!("PersistedQueryNotFound")));
        assert_eq!(outcome(&post(&ada, json!({ "query": QUERY, "extensions": named(&hash) })).await), "ok");
        let answer = post(&ada, json!({ "extensions": named(&hash) })).await;
        assert_eq!(answer.ok()["viewer"]["email"], "ada@example.com");

        // By GET, on a socket and in a batch, and for every user.
        let eve = server.user("eve@example.com");
        let bearer = format!("Bearer {}", eve.token().unwrap());
        let extensions = format!("%7B%22persistedQuery%22:%7B%22version%22:1,%22sha256Hash%22:%22{}%22%7D%7D", hash.to_uppercase());
        let path = format!("/graphql?extensions={extensions}");
        let answer = eve.send("GET", &path, &[("authorization", &bearer)], "").await.unwrap();
        assert_eq!(answer.graphql().unwrap().ok()["viewer"]["email"], "eve@example.com");
        let mut socket = eve.greeted().await;
        socket.send(json!({ "type": "subscribe", "id": "1", "payload": { "extensions": named(&hash) } })).await;
        assert_eq!(socket.message().await["payload"]["data"]["viewer"]["email"], "eve@example.com");
        assert_eq!(socket.message().await["type"], "complete");
        socket.send(json!({ "type": "subscribe", "id": "2", "payload": { "extensions": named(&sha256("other")) } })).await;
        assert_eq!(socket.message().await["payload"][0]["extensions"]["code"], NOT_FOUND);
        // A mutation can be named by GET, but does not run.
        let rename = "mutation { updateProfile(input: { fullName: \"By GET\" }) { id } }";
        assert_eq!(outcome(&post(&ada, json!({ "query": rename, "extensions": named(&sha256(rename)) })).await), "ok");
        let answer = eve.send("GET", &path.replace(&hash.to_uppercase(), &sha256(rename)), &[("authorization", &bearer)], "").await;
        assert_eq!(answer.unwrap().status, 405);
    }

    async fn a_document_can_be_sent_by_hash_over_every_transport(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Listened").await;
        let known = async |query: &str| outcome(&post(&ada, json!({ "extensions": named(&sha256(query)) })).await) != NOT_FOUND;
        let whole = |query: &str| json!({ "query": query, "variables": { "id": project.id }, "extensions": named(&sha256(query)) });

        for (accept, query, end) in [
            ("text/event-stream", "query Events { viewer { id } }", "event: complete"),
            ("text/event-stream", "subscription Events($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }", "data: {\"data"),
            ("multipart/mixed;subscriptionSpec=1.0", "subscription Parts($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }", "payload"),
        ] {
            assert!(!known(query).await, "{query}");
            ada.stream(accept, &[], &whole(query)).await.until(end).await.unwrap();
            assert!(known(query).await, "{accept}: {query}");
        }
        let mut socket = ada.greeted().await;
        for query in ["query Socket { viewer { id } }", "subscription Socket($id: ID!) { projectEvents(projectId: $id, afterRevision: 0) { revision } }"] {
            assert!(!known(query).await, "{query}");
            socket.send(json!({ "type": "subscribe", "id": query, "payload": whole(query) })).await;
            while socket.message().await["type"] != "next" {}
            assert!(known(query).await, "{query}");
        }
    }

    async fn only_valid_documents_with_the_right_hash_are_stored(server: Server) {
        let ada = server.user("ada@example.com");
        for (query, code) in [
            ("{", "GRAPHQL_PARSE_FAILED"),
            ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
            ("query A { viewer { id } } query B { viewer { id } }", "BAD_USER_INPUT"),
        ] {
            let extensions = named(&sha256(query));
            assert_eq!(outcome(&post(&ada, json!({ "query": query, "extensions": extensions })).await), code, "{query}");
            assert_eq!(outcome(&post(&ada, json!({ "extensions": extensions })).await), NOT_FOUND, "{query}");
        }
        let hash = sha256("{ viewer { id } }");
        let answer = post(&ada, json!({ "query": QUERY, "extensions": named(&hash) })).await;
        assert_eq!((outcome(&answer), answer.field()), ("BAD_USER_INPUT", "extensions.persistedQuery.sha256Hash"));
        assert_eq!(outcome(&post(&ada, json!({ "extensions": named(&hash) })).await), NOT_FOUND);
        for wrong in [
            json!({ "persistedQuery": "a" }),
            json!({ "persistedQuery": { "version": 2, "sha256Hash": hash } }),
            json!({ "persistedQuery": { "sha256Hash": hash } }),
            json!({ "persistedQuery": { "version": 1 } }),
            json!({ "persistedQuery": { "version": 1, "sha256Hash": 5 } }),
        ] {
            let answer = post(&ada, json!({ "query": QUERY, "extensions": wrong })).await;
            assert_eq!((answer.status, outcome(&answer)), (400, "BAD_USER_INPUT"), "{wrong}");
        }
        // A malformed hash could be the id of a registered document, but none has this id.
        for wrong in [named("abc"), named(&format!("{}g", &hash[1..]))] {
            let answer = post(&ada, json!({ "query": QUERY, "extensions": wrong })).await;
            assert_eq!((outcome(&answer), answer.field()), ("BAD_USER_INPUT", "extensions.persistedQuery.sha256Hash"), "{wrong}");
        }
        assert_eq!(outcome(&post(&ada, json!({ "extensions": { "persistedQuery": null } })).await), "BAD_USER_INPUT");
        assert_eq!(outcome(&post(&ada, json!({ "documentId": 5 })).await), "BAD_USER_INPUT");
    }

    async fn the_storage_of_documents_is_limited(database: Database) {
        let server = Server::start_with(&database, &["--max-kept-document-bytes=100000"]).await;
        let ada = server.user("ada@example.com");
        let query = |n: usize| format!("{{ viewer {{ email }} }} # {n} {}", "x".repeat(2_000));
        for n in 0..200 {
            let query = query(n);
            assert_eq!(outcome(&post(&ada, json!({ "query": query, "extensions": named(&sha256(&query)) })).await), "ok");
        }
        let mut kept = 0;
        for n in 0..200 {
            kept += usize::from(outcome(&post(&ada, json!({ "extensions": named(&sha256(query(n))) })).await) == "ok");
        }
        assert!((1..=50).contains(&kept), "{kept} of 2 KB in 100 KB");
        server.stop().await;

        let server = Server::start_with(&database, &["--max-kept-document-bytes=0"]).await;
        let ada = server.user("ada@example.com");
        let extensions = named(&sha256(QUERY));
        let answer = post(&ada, json!({ "extensions": extensions })).await;
        assert_eq!(outcome(&answer), "PERSISTED_QUERY_NOT_SUPPORTED");
        assert_eq!(answer.error()["message"], "PersistedQueryNotSupported");
        assert_eq!(outcome(&post(&ada, json!({ "query": QUERY, "extensions": extensions })).await), "ok");
        assert_eq!(outcome(&post(&ada, json!({ "extensions": extensions })).await), "PERSISTED_QUERY_NOT_SUPPORTED");
        server.stop().await;
    }

    async fn only_registered_documents_are_answered_if_so_configured(database: Database) {
        let name = "query Name { viewer { email } }\n";
        let as_folder = folder(&database, "folder", &[("Name.graphql", name), ("README.md", "not one")]);
        let object = json!({ "Name": name }).to_string();
        let manifest = json!({ "format": "apollo-persisted-query-manifest", "version": 1,
            "operations": [{ "id": "Name", "name": "Name", "type": "query", "body": name }] });
        let files = folder(&database, "files", &[("relay.json", &object), ("apollo.json", &manifest.to_string())]);
        for source in [as_folder.clone(), files.join("relay.json"), files.join("apollo.json")] {
            let server = Server::start_with(&database, &["--documents", source.to_str().unwrap(), "--documents-only"]).await;
            let ada = server.user("ada@example.com");
            for (request, expected) in [
                (json!({ "documentId": "Name" }), "ok"),
                (json!({ "documentId": format!("sha256:{}", sha256(name)) }), "ok"),
                (json!({ "documentId": "Name", "query": name }), "ok"),
                (json!({ "extensions": named(&sha256(name)) }), "ok"),
                (json!({ "query": name, "extensions": named(&sha256(name)) }), "ok"),
                (json!({ "documentId": "Other" }), NOT_FOUND),
                (json!({ "documentId": "Name", "query": QUERY }), "BAD_USER_INPUT"),
                (json!({ "query": QUERY }), "BAD_USER_INPUT"),
                (json!({ "query": name }), "BAD_USER_INPUT"),
                (json!({ "query": "{ __schema { queryType { name } } }" }), "BAD_USER_INPUT"),
                (json!({ "extensions": named(&sha256(QUERY)) }), NOT_FOUND),
                (json!({ "query": QUERY, "extensions": named(&sha256(QUERY)) }), "BAD_USER_INPUT"),
                (json!({ "extensions": named(&sha256(QUERY)) }), NOT_FOUND),
            ] {
                assert_eq!(outcome(&post(&ada, request.clone()).await), expected, "{request}");
            }
            let bearer = format!("Bearer {}", ada.token().unwrap());
            let answer = ada.send("GET", "/graphql?documentId=Name", &[("authorization", &bearer)], "").await.unwrap();
            assert_eq!(answer.graphql().unwrap().ok()["viewer"]["email"], "ada@example.com");
            let mut socket = ada.greeted().await;
            socket.start("1", QUERY, Value::Null).await;
            assert!(matches!(socket.next().await, Frame::Message(refused) if refused["type"] == "error"));
            drop(socket);
            server.stop().await;
        }

        // Ids of any form, sent in every way that clients use (the client preset of graphql-codegen, and Apollo's
        // link).
        let by_codegen = json!({ format!("sha256:{}", sha256("other")): name, "An id": QUERY }).to_string();
        let files_too = folder(&database, "codegen", &[("documents.json", &by_codegen)]);
        let source = files_too.join("documents.json");
        for only in [true, false] {
            let flags = ["--documents", source.to_str().unwrap(), "--documents-only"];
            let server = Server::start_with(&database, if only { &flags } else { &flags[..2] }).await;
            let ada = server.user("ada@example.com");
            let other = format!("sha256:{}", sha256("other"));
            for (request, expected) in [
                (json!({ "extensions": named(&other) }), "ok"),
                (json!({ "query": name, "extensions": named(&other) }), "ok"),
                (json!({ "extensions": named("An id") }), "ok"),
                (json!({ "documentId": "An id" }), "ok"),
                (json!({ "documentId": other }), "ok"),
                (json!({ "extensions": named(&sha256(name)) }), "ok"),
                (json!({ "extensions": named(&sha256(name).to_uppercase()) }), "ok"),
                (json!({ "extensions": named("An unknown id") }), if only { NOT_FOUND } else { "BAD_USER_INPUT" }),
                (json!({ "query": "{ __typename }", "extensions": named("An id") }), "BAD_USER_INPUT"),
            ] {
                assert_eq!(outcome(&post(&ada, request.clone()).await), expected, "{request}");
            }
            server.stop().await;
        }
        fs::remove_dir_all(files_too).unwrap();

        // Without the restriction, registered documents are additional.
        let server = Server::start_with(&database, &["--documents", as_folder.to_str().unwrap()]).await;
        let ada = server.user("ada@example.com");
        assert_eq!(outcome(&post(&ada, json!({ "documentId": "Name" })).await), "ok");
        assert_eq!(outcome(&post(&ada, json!({ "query": QUERY })).await), "ok");
        server.stop().await;
        fs::remove_dir_all(as_folder).unwrap();
        fs::remove_dir_all(files).unwrap();
    }
}
