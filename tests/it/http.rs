//! GraphQL over HTTP for clients, browsers and proxies: media types and statuses of the working draft
//! (<https://graphql.github.io/graphql-over-http/draft/>), limits, request ids, CORS, security headers and tokens.

use std::{
    future::pending,
    io::{Read, Write},
    time::Duration,
};

use antiphon::model::clock;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tests::{
    client::{Client, Raw},
    database::Database,
    project::Project,
    server::{ChildServer, JWT_SECRET, Server, memory, token, token_with, user_id},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const VIEWER: &str = "{ viewer { email fullName } }";
const GRAPHQL: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

/// A POST of that text, as from a client that reads both media types and prefers the newer one.
async fn post(client: &Client, body: &str, headers: &[(&str, &str)]) -> Raw {
    let mut all = vec![("content-type", JSON), ("accept", "application/graphql-response+json, application/json;q=0.9")];
    all.retain(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    client.send("POST", "/graphql", &all, body.to_owned()).await.unwrap()
}

/// The same for a query.
async fn ask(client: &Client, query: &str, headers: &[(&str, &str)]) -> Raw {
    post(client, &json!({ "query": query }).to_string(), headers).await
}

/// The first error's code; empty if there is no error.
fn code(answer: &Raw) -> String {
    let error = answer.graphql().unwrap().errors.into_iter().next().unwrap_or_default();
    error["extensions"]["code"].as_str().unwrap_or_default().to_owned()
}

/// The path of a GET with these parameters.
fn path(parameters: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("/graphql?{}", pairs.join("&"))
}

// ───────────────────────────── media types and statuses ─────────────────────────────

tests::on_sqlite! {
    async fn the_response_has_the_requested_media_type(server: Server) {
        let client = server.anonymous();
        for (accept, status, content_type) in [
            ("", 200, JSON),
            ("*/*", 200, JSON),
            (JSON, 200, JSON),
            (GRAPHQL, 200, GRAPHQL),
            ("application/graphql-response+json; charset=utf-8", 200, GRAPHQL),
            ("application/json, application/graphql-response+json", 200, GRAPHQL),
            ("application/graphql-response+json;q=0.1, application/json", 200, JSON),
            ("text/html", 406, JSON),
            ("application/json; charset=utf-16", 406, JSON),
        ] {
            let answer = ask(&client, "{ __typename }", &[("accept", accept)]).await;
            assert_eq!(answer.status, status, "{accept}");
            assert_eq!(answer.header("content-type"), format!("{content_type}; charset=utf-8"), "{accept}");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }

    async fn graphql_request_errors_have_their_own_status_in_the_new_media_type(server: Server) {
        let client = server.user("ada@example.com");
        let bearer = format!("Bearer {}", client.token().unwrap());
        let authorization = ("authorization", bearer.as_str());
        for (body, status, expected) in [
            (json!({ "query": VIEWER }), 200, ""),
            (json!({ "query": VIEWER, "operationName": null, "variables": null, "extensions": null, "x": 1 }), 200, ""),
            (json!({ "query": "{ project(id: \"no id\") { id } }" }), 200, "BAD_USER_INPUT"),
            (json!({ "query": "{" }), 400, "GRAPHQL_PARSE_FAILED"),
            (json!({ "query": "{ nothing }" }), 422, "GRAPHQL_VALIDATION_FAILED"),
            (json!({ "query": "query($id: ID!) { project(id: $id) { id } }" }), 400, "BAD_USER_INPUT"),
            (json!({ "query": "query A { viewer { id } } query B { viewer { id } }" }), 400, "BAD_USER_INPUT"),
            (json!({ "query": "subscription { projectEvents(projectId: \"1\") { revision } }" }), 400, "BAD_USER_INPUT"),
        ] {
            let body = body.to_string();
            let answer = post(&client, &body, &[authorization]).await;
            assert_eq!((answer.status, code(&answer).as_str()), (status, expected), "{body}");
            let has_data = serde_json::from_slice::<Value>(&answer.body).unwrap().get("data").is_some();
            assert_eq!(has_data, status == 200, "a request error has no data: {body}");
            // Clients that read only `application/json` could mistake another status for a proxy's.
            let answer = post(&client, &body, &[authorization, ("accept", JSON)]).await;
            assert_eq!((answer.status, code(&answer).as_str()), (200, expected), "{body}");
        }
    }

    async fn a_failed_field_is_null_and_its_siblings_are_kept(server: Server) {
        let client = server.user("ada@example.com");
        let create = "mutation { createProject(input: { name: \"A\", initialPrompt: \"B\", config: {} }) { project { id } } }";
        let id = client.gql(create, json!({})).await.ok()["createProject"]["project"]["id"].clone();
        let query = "query($id: ID!) {
            first: node(id: \"no id\") { id }
            project(id: $id) { name one: file(path: \"../up\") { id } status two: file(path: \"none\") { id } }
            last: viewer { email } }";
        let answer = client.gql(query, json!({ "id": id })).await;
        let data = json!({
            "first": null,
            "project": { "name": "A", "one": null, "status": "ACTIVE", "two": null },
            "last": { "email": "ada@example.com" },
        });
        assert_eq!((answer.status, &answer.data), (200, &data));
        let mut paths: Vec<_> = answer.errors.iter().map(|error| error["path"].to_string()).collect();
        paths.sort();
        assert_eq!(paths, [r#"["first"]"#, r#"["project","one"]"#]);
        let raw = post(&client, &json!({ "query": "{ b: __typename a: viewer { fullName email } }" }).to_string(),
            &[("authorization", &format!("Bearer {}", client.token().unwrap()))]).await;
        let text = String::from_utf8(raw.body.to_vec()).unwrap();
        assert!(text.contains(r#"{"b":"Query","a":{"fullName":"ada","email":"#), "the order of the query: {text}");
    }

    async fn an_invalid_graphql_request_is_refused_for_every_media_type(server: Server) {
        let client = server.anonymous();
        for body in ["", "text", "5", "null", "[]", "[1]", "{}", "{\"query\":", r#"{"query":5}"#,
            r#"{"query":"{a}","variables":[]}"#, r#"{"query":"{a}","operationName":1}"#, r#"{"query":"{a}","extensions":""}"#,
            r#"{"query":"{a}","query":"{b}"}"#, r#"["{a}"]"#]
        {
            for accept in [GRAPHQL, JSON] {
                let answer = post(&client, body, &[("accept", accept)]).await;
                assert_eq!((answer.status, code(&answer).as_str()), (400, "BAD_USER_INPUT"), "{body}");
                assert!(answer.header("content-type").starts_with(accept));
            }
        }
        let headers = [("content-type", JSON)];
        let answer = client.send("POST", "/graphql", &headers, &b"{\"query\":\"\xff\"}"[..]).await.unwrap();
        assert_eq!((answer.status, code(&answer).as_str()), (400, "BAD_USER_INPUT"));
    }

    async fn only_json_bodies_are_accepted(server: Server) {
        let client = server.anonymous();
        for content_type in
            ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", GRAPHQL,
            "application/json; charset=latin1"]
        {
            let answer = ask(&client, "{ __typename }", &[("content-type", content_type)]).await;
            assert_eq!((answer.status, code(&answer).as_str()), (415, "BAD_USER_INPUT"), "{content_type}");
        }
        for encodings in [&["deflate"][..], &["compress"], &["gzip, br"], &["gzip, gzip"], &["gzip", "zstd"], &["x"]] {
            let headers: Vec<_> = encodings.iter().map(|encoding| ("content-encoding", *encoding)).collect();
            let answer = ask(&client, "{ __typename }", &headers).await;
            assert_eq!((answer.status, answer.header("accept-encoding")), (415, "zstd, br, gzip"), "{encodings:?}");
            assert_eq!(answer.graphql().unwrap().field(), "content-encoding", "{encodings:?}");
        }
        assert_eq!(ask(&client, "{ __typename }", &[("content-encoding", "identity")]).await.status, 200);
        assert_eq!(ask(&client, "{ __typename }", &[("content-type", "APPLICATION/JSON;charset=UTF-8")]).await.status, 200);
    }

    async fn an_event_stream_is_sent_for_subscriptions_or_if_json_is_not_accepted(server: Server) {
        let client = server.user("ada@example.com");
        // The `Accept` headers of urql, Apollo, graphql-sse and a browser's `EventSource`.
        for (accept, content_type) in [
            ("application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed", GRAPHQL),
            ("multipart/mixed;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9", GRAPHQL),
            ("text/event-stream, application/json;q=0.5", JSON),
            ("text/event-stream;q=0, application/json", JSON),
            ("text/event-stream", "text/event-stream"),
        ] {
            let answer = ask(&client, "{ __typename }", &[("accept", accept)]).await;
            assert_eq!(answer.header("content-type"), format!("{content_type}; charset=utf-8"), "{accept}");
        }
        assert_eq!(ask(&client, "{ __typename }", &[("accept", "text/event-stream;q=0")]).await.status, 406);
    }

    async fn get_runs_queries_but_no_mutations(server: Server) {
        let client = server.user("ada@example.com");
        let bearer = format!("Bearer {}", client.token().unwrap());
        let headers = [("authorization", bearer.as_str()), ("accept", GRAPHQL)];
        let get = async |parameters: &[(&str, &str)]| client.send("GET", &path(parameters), &headers, "").await.unwrap();

        let query = "query A { viewer { id } } query B($at: [ID!]!) { viewer { email } nodes(ids: $at) { id } }";
        let answer = get(&[("query", query), ("operationName", "B"), ("variables", "{\"at\":[]}")]).await;
        assert_eq!(answer.graphql().unwrap().ok(), json!({ "viewer": { "email": "ada@example.com" }, "nodes": [] }));
        assert_eq!(get(&[("query", VIEWER), ("operationName", ""), ("variables", "")]).await.status, 200);

        let rename = "mutation { updateProfile(input: { fullName: \"By GET\" }) { fullName } }";
        for (method, parameters) in [
            ("GET", &[("query", rename)][..]),
            ("HEAD", &[("query", rename)]),
            ("GET", &[("query", "query A { viewer { id } } mutation B { updateProfile(input: {}) { id } }"), ("operationName", "B")]),
        ] {
            let answer = client.send(method, &path(parameters), &headers, "").await.unwrap();
            assert_eq!((answer.status, answer.header("allow")), (405, "POST"), "{method} {parameters:?}");
        }
        assert_eq!(client.gql(VIEWER, json!({})).await.ok()["viewer"]["fullName"], "ada");

        for parameters in [&[][..], &[("query", "")], &[("query", VIEWER), ("query", VIEWER)],
            &[("query", VIEWER), ("variables", "[]")], &[("query", VIEWER), ("extensions", "x")]]
        {
            assert_eq!(get(parameters).await.status, 400, "{parameters:?}");
        }
        let head = client.send("HEAD", &path(&[("query", VIEWER)]), &headers, "").await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0));
    }

    async fn a_query_string_with_a_wrong_encoding_is_refused(server: Server) {
        let client = server.user("ada@example.com");
        let send = async |method: &str, path: &str| client.send(method, path, &[("content-type", JSON)], "{}").await.unwrap();
        for (wrong, why) in [
            ("query=%zz", "%25"), ("query=%7B__typename%7D%", "%25"), ("query=%7B__typename%7D&variables=%7", "%25"),
            ("query=%7B__typename%7D&extensions=%g0", "%25"), ("query=%7B__typename%7D&operationName=%+1", "%25"),
            ("%zz=1&query=%7B__typename%7D", "%25"), ("token=%zz", "%25"), ("operationId=%", "%25"),
            ("query=%7B__typename%7D&operationName=%ff", "UTF-8"), ("query=%7B__typename%7D&variables=%7B%22a%22:%22%C3%22%7D", "UTF-8"),
            ("token=%ff", "UTF-8"),
        ] {
            for path in ["/graphql", "/projects/0198f3a0-0000-7000-8000-000000000001/insights.csv"] {
                for method in if path == "/graphql" { &["GET", "HEAD", "POST", "PUT", "DELETE"][..] } else { &["GET"] } {
                    let answer = send(method, &format!("{path}?{wrong}")).await;
                    assert_eq!(answer.status, 400, "{method} {path} {wrong}");
                    if *method != "HEAD" {
                        let response = answer.graphql().unwrap();
                        assert_eq!(response.error_code(), "BAD_USER_INPUT", "{method} {wrong}");
                        let message = response.error()["message"].as_str().unwrap();
                        assert!(message.contains(why), "{method} {path} {wrong}: {message}");
                    }
                }
            }
        }
        assert_eq!(send("GET", "/graphql?query=%7B__typename%7D&other=%25zz").await.graphql().unwrap().ok()["__typename"], "Query");
    }

    async fn other_methods_and_paths_are_refused(server: Server) {
        let client = server.anonymous();
        for method in ["PATCH", "TRACE"] {
            let answer = client.send(method, "/graphql", &[("content-type", JSON)], "{}").await.unwrap();
            assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, POST, PUT, DELETE"), "{method}");
        }
        assert_eq!(client.send("GET", "/nothing", &[], "").await.unwrap().status, 404);
        assert_eq!(client.send("GET", "/healthz", &[], "").await.unwrap().body, "ok\n");
        let no_socket = client.send("GET", "/graphql/ws", &[], "").await.unwrap();
        assert!((400..500).contains(&no_socket.status), "{}", no_socket.status);
    }
}

// ───────────────────────────── limits ─────────────────────────────

tests::on_sqlite! {
    async fn a_batch_runs_in_order_and_its_size_is_limited(database: Database) {
        let server = Server::start_with(&database, &["--max-batch", "3"]).await;
        let client = server.user("ada@example.com");
        let bearer = format!("Bearer {}", client.token().unwrap());
        let headers = [("authorization", bearer.as_str())];
        let rename = json!({ "query": "mutation { updateProfile(input: { fullName: \"Ada L.\" }) { id } }" });
        let batch = json!([rename, { "query": "{ nothing }" }, { "query": "{ viewer { fullName } }" }]);
        let answer = post(&client, &batch.to_string(), &headers).await;
        assert_eq!(answer.status, 200);
        let answers: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answers.as_array().unwrap().len(), 3);
        assert_eq!(answers[1]["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
        assert_eq!(answers[2]["data"]["viewer"]["fullName"], "Ada L.");

        let rename = json!({ "query": "mutation { updateProfile(input: { fullName: \"Too many\" }) { id } }" });
        let answer = post(&client, &json!([rename, rename, rename, rename]).to_string(), &headers).await;
        assert_eq!((answer.status, code(&answer).as_str()), (413, "PAYLOAD_TOO_LARGE"));
        assert!(answer.graphql().unwrap().error()["message"].as_str().unwrap().contains("--max-batch"));
        // If one entry is not a request, none of them runs.
        assert_eq!(post(&client, &json!([rename, 5]).to_string(), &headers).await.status, 400);
        assert_eq!(client.gql(VIEWER, json!({})).await.ok()["viewer"]["fullName"], "Ada L.");
        server.stop().await;
    }

    async fn a_body_over_the_limit_is_refused_and_the_error_names_the_setting(database: Database) {
        let server = Server::start_with(&database, &["--max-body-bytes", "1000"]).await;
        let client = server.anonymous();
        let of_size = |bytes: usize| {
            let body = json!({ "query": "{ __typename }" }).to_string();
            format!("{body}{}", " ".repeat(bytes - body.len()))
        };
        assert_eq!(post(&client, &of_size(1_000), &[]).await.status, 200);
        for bytes in [1_001, 100_000] {
            let answer = post(&client, &of_size(bytes), &[]).await;
            assert_eq!((answer.status, code(&answer).as_str()), (413, "PAYLOAD_TOO_LARGE"), "{bytes}");
            assert!(answer.graphql().unwrap().error()["message"].as_str().unwrap().contains("--max-body-bytes"));
        }

        // A client that sends `Expect: 100-continue` gets the refusal before it sends the body.
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let head = "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
                    content-length: 100000\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");

        // The same for a body without a declared length.
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let chunk = format!("1f4\r\n{}\r\n", " ".repeat(500));
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n{chunk}{chunk}{chunk}0\r\n\r\n"
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        server.stop().await;
    }
}

// ───────────────────────────── compression ─────────────────────────────

/// Compresses the bytes as a client does.
fn compress(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut compressed = Vec::new();
            brotli::BrotliCompress(&mut &*bytes, &mut compressed, &Default::default()).unwrap();
            compressed
        }
    }
}

fn decompress(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match encoding {
        "zstd" => plain = zstd::decode_all(bytes).unwrap(),
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap()),
        _ => drop(brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain).unwrap()),
    }
    plain
}

const ENCODINGS: [&str; 3] = ["zstd", "br", "gzip"];

tests::on_sqlite! {
    async fn requests_and_responses_are_compressed(server: Server) {
        let client = server.anonymous();
        let short = json!({ "query": "{ __typename }" }).to_string();
        let long = json!({ "query": "{ __schema { types { name description } } }" }).to_string();
        let plain = post(&client, &long, &[]).await;
        assert_eq!(plain.header("content-encoding"), "");
        for encoding in ENCODINGS {
            let headers = [("content-type", JSON), ("content-encoding", encoding), ("accept-encoding", encoding)];
            let answer = client.send("POST", "/graphql", &headers, compress(encoding, long.as_bytes())).await.unwrap();
            assert_eq!((answer.status, answer.header("content-encoding")), (200, encoding));
            assert!(answer.header("vary").to_lowercase().contains("accept-encoding"), "{}", answer.header("vary"));
            assert!(answer.body.len() * 3 < plain.body.len(), "{encoding}: {} of {}", answer.body.len(), plain.body.len());
            assert_eq!(decompress(encoding, &answer.body), plain.body);
            let shouted = encoding.to_uppercase();
            let headers = [("content-type", JSON), ("content-encoding", shouted.as_str()), ("accept-encoding", encoding)];
            // A response that fits into one packet is not compressed.
            let answer = client.send("POST", "/graphql", &headers, compress(encoding, short.as_bytes())).await.unwrap();
            assert_eq!((answer.status, answer.header("content-encoding")), (200, ""));

            for broken in [&b"no such thing"[..], &compress(encoding, long.as_bytes())[..20]] {
                let answer = client.send("POST", "/graphql", &headers, broken.to_owned()).await.unwrap();
                assert_eq!((answer.status, code(&answer).as_str()), (400, "BAD_USER_INPUT"), "{encoding}");
            }
        }
        let older = [("content-type", JSON), ("content-encoding", "X-GZip")];
        let answer = client.send("POST", "/graphql", &older, compress("gzip", short.as_bytes())).await.unwrap();
        assert_eq!(answer.status, 200);
        // Some clients accept zstd although they cannot read it.
        for (accepted, chosen) in [
            ("gzip, deflate, br, zstd", "br"),
            ("zstd, gzip;q=0.1", "gzip"),
            ("zstd;q=1.0, br;q=0.5", "br"),
            ("*", "br"),
            ("zstd, *;q=0.1", "br"),
            ("zstd, br;q=0", "zstd"),
            ("ZSTD", "zstd"),
            ("deflate, zstd", "zstd"),
            ("deflate", ""),
        ] {
            let headers = [("content-type", JSON), ("accept-encoding", accepted)];
            let answer = client.send("POST", "/graphql", &headers, long.clone()).await.unwrap();
            assert_eq!(answer.header("content-encoding"), chosen, "{accepted}");
        }
        // A refusal of uncompressed responses is ignored: it would be known only after a mutation has run.
        for (accepted, chosen) in [("identity;q=0", ""), ("*;q=0", ""), ("gzip, identity; q=0.0", "gzip"), ("br;q=0, *;q=0", "")] {
            let headers = [("content-type", JSON), ("accept-encoding", accepted)];
            for (body, chosen) in [(&long, chosen), (&short, "")] {
                let answer = client.send("POST", "/graphql", &headers, body.clone()).await.unwrap();
                assert_eq!((answer.status, answer.header("content-encoding")), (200, chosen), "{accepted}");
            }
        }
    }

    async fn a_compressed_body_is_read_to_its_end_or_refused_in_words(server: Server) {
        let client = server.anonymous();
        let query = json!({ "query": "{ __typename }" }).to_string();
        let (start, end) = query.split_at(7);
        for encoding in ENCODINGS {
            let headers = [("content-type", JSON), ("content-encoding", encoding)];
            let send = async |body: Vec<u8>| {
                let answer = client.send("POST", "/graphql", &headers, body).await.unwrap();
                let response = answer.graphql().unwrap();
                let error = response.errors.first().cloned().unwrap_or_default();
                let field = error["extensions"]["field"].as_str().unwrap_or_default().to_owned();
                (answer.status, field, error["message"].as_str().unwrap_or_default().to_owned())
            };
            let good = compress(encoding, query.as_bytes());
            if encoding != "br" {
                let members = [compress(encoding, start.as_bytes()), compress(encoding, end.as_bytes())].concat();
                assert_eq!(send(members).await.0, 200, "{encoding}");
            }
            for garbage in [&b"x"[..], b"garbage at the end", &[0; 20], &good[..good.len() - 1]] {
                let (status, field, message) = send([&good, garbage].concat()).await;
                assert_eq!((status, field.as_str()), (400, "content-encoding"), "{encoding}: {message}");
                assert!(message.contains(encoding), "{message}");
            }
            let (status, _, message) = send(query.clone().into_bytes()).await;
            assert!(status == 400 && message.contains(&format!("is not {encoding}")), "{message}");
        }
    }

    async fn a_large_body_is_decompressed_in_turn_beside_the_threads_that_serve(database: Database) {
        let server = Server::start_with(&database, &["--metrics-listen", "127.0.0.1:0", "--max-body-bytes=1000000"]).await;
        let ada = server.user("ada@example.com");
        let turns = async || {
            let answer = server.operator().send("GET", "/metrics", &[], "").await.unwrap();
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("antiphon_heavy_tasks_total "));
            line.unwrap().parse::<u64>().unwrap()
        };
        let bearer = format!("Bearer {}", ada.token().unwrap());
        for encoding in ENCODINGS {
            let before = turns().await;
            let headers = [("content-type", JSON), ("content-encoding", encoding), ("authorization", bearer.as_str())];
            for (bytes, status) in [(5_000_000, 413), (200_000, 200)] {
                let body = format!("{{\"query\":\"{{ __typename }}\"{}}}", " ".repeat(bytes));
                let body = compress(encoding, body.as_bytes());
                let answer = ada.send("POST", "/graphql", &headers, body).await.unwrap();
                assert_eq!(answer.status, status, "{encoding}");
            }
            assert!(turns().await >= before + 2, "{encoding}");
        }
        server.stop().await;
    }

    async fn the_body_limit_applies_to_decompressed_bytes(database: Database) {
        let server = Server::start_with(&database, &["--max-body-bytes=100000", "--max-anonymous-body-bytes=100000"]).await;
        let body = |bytes: usize| format!("{{\"query\":\"{{ __typename }}\"{}}}", " ".repeat(bytes - 26));
        for encoding in ENCODINGS {
            let headers = [("content-type", JSON), ("content-encoding", encoding)];
            for (bytes, status) in [(100_000, 200), (100_001, 413)] {
                let compressed = compress(encoding, body(bytes).as_bytes());
                let answer = server.anonymous().send("POST", "/graphql", &headers, compressed).await.unwrap();
                assert_eq!(answer.status, status, "{encoding} {bytes}");
                if status == 413 {
                    assert!(answer.graphql().unwrap().error()["message"].as_str().unwrap().contains("--max-body-bytes"));
                }
            }
        }
        server.stop().await;
    }

    async fn a_decompression_bomb_is_decompressed_only_up_to_the_limit(database: Database) {
        const LIMIT: usize = 1_000_000;
        let child = ChildServer::start_with_flags(&database, &["--max-body-bytes", "1000000"]);
        let mut connection = TcpStream::connect(child.base().strip_prefix("http://").unwrap()).await.unwrap();
        for encoding in ENCODINGS {
            // Concatenated gzip or zstd streams are one body.
            let bomb = compress(encoding, &vec![b' '; 5 * LIMIT]).repeat(40);
            assert!(bomb.len() < LIMIT, "{encoding}: {} bytes", bomb.len());
            let before = memory(child.id(), "VmHWM:");
            let head = format!(
                "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: {encoding}\r\n\
                 content-length: {}\r\n\r\n",
                bomb.len()
            );
            connection.write_all(&[head.as_bytes(), &bomb].concat()).await.unwrap();
            let answer = answer_on(&mut connection).await;
            assert!(answer.starts_with("HTTP/1.1 413 ") && !answer.contains("Connection: close"), "{encoding}: {answer}");
            let grown = before.zip(memory(child.id(), "VmHWM:")).map(|(before, after)| after - before);
            assert!(grown.is_none_or(|grown| grown < 20 * LIMIT as u64), "{encoding}: {grown:?}");

            // The whole request body was read, so the connection can be reused.
            let query = r#"{"query":"{ __typename }"}"#;
            let length = query.len();
            let request = format!("POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{query}");
            connection.write_all(request.as_bytes()).await.unwrap();
            assert!(answer_on(&mut connection).await.starts_with("HTTP/1.1 200 "), "{encoding}");
        }
    }

    async fn an_endless_body_is_answered_and_its_connection_closed(database: Database) {
        let server = Server::start_with(&database, &["--max-body-bytes", "1000"]).await;
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let (mut answer, mut request) = connection.split();
        let head = b"POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        request.write_all(head).await.unwrap();
        let chunk = format!("1f4\r\n{}\r\n", " ".repeat(500));
        let mut said = Vec::new();
        // Until the server closes the connection.
        let writes = async { while request.write_all(chunk.as_bytes()).await.is_ok() {} };
        let (_, _) = tokio::join!(writes, answer.read_to_end(&mut said));
        let said = String::from_utf8(said).unwrap();
        assert!(said.starts_with("HTTP/1.1 413 ") && said.contains("\r\nConnection: close\r\n"), "{said}");
        server.stop().await;
    }
}

tests::on_sqlite! {
    async fn idle_connections_are_closed_but_subscriptions_are_not(database: Database) {
        let server = Server::start_with(&database, &["--max-head-seconds=1"]).await;
        let project = Project::create(&server.user("ada@example.com"), "Heard").await;
        let mut listener = project.listen(1, "revision").await;
        // No bytes, half a head, a head that never ends, and one request that is answered.
        let request = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
        let closed = ["", &request[..9], &request[..request.len() - 2], request].map(async |said| {
            let mut connection = TcpStream::connect(server.address()).await.unwrap();
            connection.write_all(said.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let (mut answers, mut requests) = connection.split();
            let goes_on = async {
                while !said.is_empty() && !said.ends_with("\r\n\r\n") && requests.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_millis(100)).await;
                }
                pending::<()>().await
            };
            tokio::select! {
                // A client that keeps writing can find the connection reset.
                _ = answers.read_to_end(&mut answer) => {}
                () = goes_on => {}
            }
            String::from_utf8(answer).unwrap()
        });
        let closed = timeout(Duration::from_secs(20), futures::future::join_all(closed)).await.expect("all are closed");
        assert!(closed[..3].iter().all(|answer| !answer.contains(" 200 ")), "{closed:?}");
        assert!(closed[3].starts_with("HTTP/1.1 200 "), "{closed:?}");
        // The subscription's request is long complete, so its connection stays open.
        project.create_file("a.py", "").await;
        assert_eq!(listener.event().await["projectEvents"]["revision"], 2);
        drop(listener);
        server.stop().await;
    }
}

/// Reads one response with a body of declared length.
async fn answer_on(connection: &mut TcpStream) -> String {
    let mut answer = String::new();
    let mut length = None;
    while length.is_none_or(|length| answer.len() < length) {
        let mut bytes = [0; 4096];
        let count = connection.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the connection has ended after {answer:?}");
        answer.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        if let Some((head, _)) = answer.split_once("\r\n\r\n") {
            let declared = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            length = Some(head.len() + 4 + declared.parse::<usize>().unwrap());
        }
    }
    answer
}

// ───────────────────────────── request ids, CORS, security headers ─────────────────────────────

tests::on_sqlite! {
    async fn every_response_carries_a_request_id_and_keeps_a_safe_one_of_the_client(server: Server) {
        let client = server.anonymous();
        let one = ask(&client, "{ __typename }", &[]).await.header("x-request-id").to_owned();
        let other = client.send("GET", "/nothing", &[], "").await.unwrap().header("x-request-id").to_owned();
        assert!(one.len() == 36 && other.len() == 36 && one != other, "{one} and {other}");
        let named = ask(&client, "{ __typename }", &[("x-request-id", "Root=1-67891233-abcdef")]).await;
        assert_eq!(named.header("x-request-id"), "Root=1-67891233-abcdef");
        for unsafe_id in ["a b", "<script>", &"a".repeat(200)] {
            let answer = ask(&client, "{ __typename }", &[("x-request-id", unsafe_id)]).await;
            assert_eq!(answer.header("x-request-id").len(), 36, "{unsafe_id}");
        }
    }

    async fn pages_of_other_sites_have_no_cors_access(server: Server) {
        let client = server.anonymous();
        let origin = ("origin", "https://evil.example.com");
        let preflight = [origin, ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type")];
        let answer = client.send("OPTIONS", "/graphql", &preflight, "").await.unwrap();
        assert_eq!(answer.header("access-control-allow-origin"), "");
        let answer = ask(&client, "{ __typename }", &[origin]).await;
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }

    async fn pages_of_allowed_sites_have_cors_access(database: Database) {
        const HEADERS: &str = "authorization,content-type,x-request-id,last-event-id,traceparent,tracestate,baggage,cache-control,\
            apollographql-client-name,apollo-require-preflight,x-whatever-comes-next";
        let flags = ["--allow-origin=https://ide.example.com,https://*.example.app", "--allow-origin", "http://localhost:5173"];
        let server = Server::start_with(&database, &flags).await;
        let client = server.anonymous();
        for site in ["https://ide.example.com", "http://localhost:5173", "https://pr-12.example.app", "https://a.b.example.app"] {
            let origin = ("origin", site);
            let preflight = [origin, ("access-control-request-method", "POST"),
                ("access-control-request-headers", HEADERS)];
            let answer = client.send("OPTIONS", "/graphql", &preflight, "").await.unwrap();
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, site));
            assert!(answer.header("access-control-allow-methods").contains("POST"));
            let headers = answer.header("access-control-allow-headers").to_lowercase();
            for name in HEADERS.split(',') {
                assert!(headers.contains(name), "{headers}");
            }
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            assert!(answer.header("access-control-max-age").parse::<u32>().is_ok_and(|seconds| seconds >= 600));
            let answer = ask(&client, "{ __typename }", &[origin]).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, site));
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            assert_eq!(answer.header("access-control-expose-headers").to_lowercase(), "x-request-id,retry-after");
            // Pages must be able to read refusals too.
            let refused = ask(&client, "{ __typename }", &[origin, ("authorization", "Bearer x")]).await;
            assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, site));
        }
        for site in ["https://example.app", "http://pr-12.example.app", "https://pr-12.example.app.evil.com"] {
            let answer = ask(&client, "{ __typename }", &[("origin", site)]).await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{site}");
        }
        let answer = ask(&client, "{ __typename }", &[("origin", "https://evil.example.com")]).await;
        assert_eq!(answer.header("access-control-allow-origin"), "");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        // Caches must not serve one site's response to another.
        assert!(answer.header("vary").to_lowercase().contains("origin"), "{}", answer.header("vary"));
        server.stop().await;
    }

    async fn every_response_has_the_security_headers(server: Server) {
        let client = server.anonymous();
        for path in ["/", "/graphiql/page.js", "/graphql", "/graphql/ws", "/healthz", "/nothing"] {
            let answer = client.send("GET", path, &[], "").await.unwrap();
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        }
        let page = client.send("GET", "/", &[], "").await.unwrap();
        assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
        assert_eq!(page.header("x-frame-options"), "DENY");
    }
}

// ───────────────────────────── authentication ─────────────────────────────

/// A token with these claims changed, and signed with another algorithm or secret.
fn signed(claims: Value, algorithm: Algorithm, secret: &str) -> String {
    let good = token_with("ada@example.com", claims);
    let claims = BASE64_URL_SAFE_NO_PAD.decode(good.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

tests::on_sqlite! {
    async fn an_invalid_token_is_answered_with_401_and_the_reason(server: Server) {
        let client = server.anonymous();
        let ada = "ada@example.com";
        let now = clock::now().timestamp();
        let good = token(ada);
        let (head, rest) = good.split_once('.').unwrap();
        let unsigned = {
            let head = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
            format!("{head}.{}.", rest.split_once('.').unwrap().0)
        };
        let tampered = {
            let claims = BASE64_URL_SAFE_NO_PAD.decode(rest.split_once('.').unwrap().0).unwrap();
            let other = String::from_utf8(claims).unwrap().replace(&user_id(ada), &user_id("bob@example.com"));
            format!("{head}.{}.{}", BASE64_URL_SAFE_NO_PAD.encode(other), rest.split_once('.').unwrap().1)
        };
        for (token, word) in [
            (token_with(ada, json!({ "exp": now - 60 })), "expired"),
            (token_with(ada, json!({ "exp": null })), "`exp`"),
            (token_with(ada, json!({ "nbf": now + 60 })), "not valid yet"),
            (token_with(ada, json!({ "aud": "other" })), "`aud`"),
            (token_with(ada, json!({ "aud": null })), "`aud`"),
            (token_with(ada, json!({ "sub": "" })), "`sub`"),
            (token_with(ada, json!({ "sub": null })), "`sub`"),
            (token_with(ada, json!({ "role": "anon" })), "anonymous key"),
            (token_with(ada, json!({ "role": "service_role" })), "service key"),
            (token_with(ada, json!({ "role": "postgres" })), "role"),
            (signed(json!({}), Algorithm::HS256, "another secret, as long as the right one"), "another secret"),
            (signed(json!({}), Algorithm::HS512, JWT_SECRET), "HS256"),
            (tampered, "signature"),
            (unsigned, "token"),
            ("nonsense".to_owned(), "token"),
            ("a".repeat(20_000), "too long"),
        ] {
            for accept in [GRAPHQL, JSON] {
                let bearer = format!("Bearer {token}");
                let answer = ask(&client, "{ __typename }", &[("authorization", &bearer), ("accept", accept)]).await;
                assert_eq!((answer.status, code(&answer).as_str()), (401, "UNAUTHENTICATED"), "{word}");
                assert_eq!(answer.header("www-authenticate"), "Bearer error=\"invalid_token\"");
                let message = answer.graphql().unwrap().error()["message"].as_str().unwrap().to_owned();
                assert!(message.contains(word) && !message.contains(&token), "{word}: {message}");
            }
        }
        let bearer = format!("Bearer {good}");
        for headers in [
            &[("authorization", "Basic YTpi")][..],
            &[("authorization", good.as_str())],
            &[("authorization", bearer.as_str()), ("authorization", bearer.as_str())],
        ] {
            assert_eq!(ask(&client, "{ __typename }", headers).await.status, 401, "{headers:?}");
        }
        assert_eq!(ask(&client, VIEWER, &[("authorization", &bearer)]).await.status, 200);
        // The refused tokens have created no profile.
        let data = client.with_token(Some(good)).gql(VIEWER, json!({})).await.ok();
        assert_eq!(data["viewer"]["email"], ada);
    }

    async fn a_token_needs_a_trusted_issuer_and_audience(database: Database) {
        let flags = ["--jwt-issuer", "https://x.supabase.co/auth/v1", "--jwt-audience", "antiphon"];
        let server = Server::start_with(&database, &flags).await;
        let asked = async |claims: Value| {
            let client = server.anonymous().with_token(Some(token_with("ada@example.com", claims)));
            client.gql(VIEWER, json!({})).await
        };
        let good = json!({ "iss": "https://x.supabase.co/auth/v1", "aud": ["other", "antiphon"] });
        assert_eq!(asked(good).await.ok()["viewer"]["email"], "ada@example.com");
        for claims in [
            json!({ "aud": "antiphon" }),
            json!({ "iss": "https://y.supabase.co/auth/v1", "aud": "antiphon" }),
            json!({ "iss": "https://x.supabase.co/auth/v1" }),
        ] {
            let answer = asked(claims.clone()).await;
            assert_eq!((answer.status, answer.error_code()), (401, "UNAUTHENTICATED"), "{claims}");
        }
        server.stop().await;
    }

    async fn without_a_token_only_the_schema_can_be_read(server: Server) {
        let client = server.anonymous();
        let schema = client.gql("{ __schema { queryType { name } } }", json!({})).await.ok();
        assert_eq!(schema["__schema"]["queryType"]["name"], "Query");
        let answer = client.gql(VIEWER, json!({})).await;
        assert_eq!((answer.status, answer.error_code(), &answer.data), (200, "UNAUTHENTICATED", &Value::Null));
    }
}

tests::on_both! {
    async fn the_first_token_of_a_user_creates_their_profile(server: Server) {
        let asked = async |email: &str, claims: Value| {
            let client = server.anonymous().with_token(Some(token_with(email, claims)));
            let query = "{ viewer { id email fullName avatarUrl preferences { editorTheme } } }";
            client.gql(query, json!({})).await.ok()["viewer"].clone()
        };
        let metadata = json!({ "full_name": "Ada Lovelace", "avatar_url": "https://example.com/ada.png" });
        let ada = asked("ada@example.com", json!({ "user_metadata": metadata })).await;
        let expected = json!({
            "id": user_id("ada@example.com"),
            "email": "ada@example.com",
            "fullName": "Ada Lovelace",
            "avatarUrl": "https://example.com/ada.png",
            "preferences": { "editorTheme": "vs-dark" },
        });
        assert_eq!(ada, expected);
        // A later token updates only the claims that it contains.
        let later = asked("ada@example.com", json!({ "user_metadata": { "full_name": "Ada King" } })).await;
        assert_eq!((&later["fullName"], &later["avatarUrl"]), (&json!("Ada King"), &expected["avatarUrl"]));

        // Identity providers send `name`. Some tokens have no name, and the e-mail address replaces it.
        let bob = asked("bob@example.com", json!({ "user_metadata": { "name": "Bob" } })).await;
        assert_eq!(bob["fullName"], "Bob");
        let eve = asked("eve@example.com", json!({ "user_metadata": null })).await;
        assert_eq!((&eve["fullName"], &eve["avatarUrl"]), (&json!("eve@example.com"), &Value::Null));
        let nobody = asked("nobody@example.com", json!({ "user_metadata": null, "email": null })).await;
        assert_eq!((&nobody["email"], &nobody["fullName"]), (&Value::Null, &Value::Null));
    }

    async fn the_first_tokens_of_a_user_can_arrive_at_once(server: Server) {
        let asked = (0..20).map(|_| async {
            server.user("ada@example.com").gql(VIEWER, json!({})).await.ok()["viewer"]["email"].clone()
        });
        for email in futures::future::join_all(asked).await {
            assert_eq!(email, "ada@example.com");
        }
    }
}
