//! Given subscribers whose database fails or loses the end of its log, then they receive complete events, in order and
//! once, and a subscriber whose position is gone gets an error for it.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{
    client::{Client, Stream},
    database::{Database, Kind},
    mcp::{Agent, updated},
    project::{Project, number, text},
    server::Server,
    socket::Subscription,
};
use tokio::time::sleep;

/// How often all of the server's connections are cut.
const CUTS: usize = 130;
/// The longest time without an event.
const PATIENCE: Duration = Duration::from_secs(40);

/// Repeats the request until it succeeds: a response can have been lost.
async fn persist(client: &Client, query: &str, variables: Value) -> Value {
    for _ in 0..2_000 {
        let answer = client.gql(query, variables.clone()).await;
        match answer.errors.is_empty() {
            true => return answer.ok(),
            false => assert!(matches!(answer.error_code(), "INTERNAL" | "UNAVAILABLE" | "CONFLICT"), "{answer:?}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("no success with {query}");
}

/// Cuts the connections that are executing a statement, but not those that receive notifications.
pub(super) async fn cut(admin: &mut PgConnection) -> usize {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
        AND usename = 'antiphon_server' AND query NOT ILIKE 'listen%' AND state <> 'idle'";
    sqlx::raw_sql(sql).fetch_all(admin).await.unwrap().len()
}

/// Whether an event of the log is complete.
fn is_whole(event: &Value) -> bool {
    match event["kind"].as_str() {
        Some("MESSAGE_ADDED") => event["message"]["content"].is_string(),
        Some("FILES_CHANGED") => event["changes"].as_array().is_some_and(|changes| {
            !changes.is_empty() && changes.iter().all(|change| change["newContent"].is_string())
        }),
        Some(_) => true,
        None => false,
    }
}

const WHOLE: &str =
    "revision kind actor { fullName } message { content session { id } } changes { path diff newContent }";

async fn receive_all(mut subscription: Subscription, from: i64, last: i64) {
    for revision in from + 1..=last {
        let event =
            subscription.next_within(PATIENCE).await.unwrap_or_else(|| panic!("ended: {:?}", subscription.end()));
        let event = event.unwrap_or_else(|errors| panic!("{errors:?}"))["projectEvents"].take();
        assert_eq!(event["revision"], revision);
        assert!(is_whole(&event) && event["actor"]["fullName"] == "ada", "{event}");
    }
}

async fn receive_some(mut subscription: Subscription, field: &str, whole: fn(&Value) -> bool, mut revisions: Vec<i64>) {
    revisions.reverse();
    while let Some(revision) = revisions.pop() {
        let event =
            subscription.next_within(PATIENCE).await.unwrap_or_else(|| panic!("ended: {:?}", subscription.end()));
        let event = event.unwrap_or_else(|errors| panic!("{errors:?}"))[field].take();
        assert_eq!(event["revision"], revision, "{event}");
        assert!(whole(&event), "{event}");
    }
}

/// Receives everything as server-sent events, and reconnects when the stream ends.
async fn receive_by_events(mut stream: Stream, last: i64) {
    let mut revision = 1;
    while revision < last {
        let block = stream.until("\n\n").await.expect("the stream continues");
        let Some(data) = block.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
        let event: Value = serde_json::from_str(data).unwrap();
        assert!(event["errors"].is_null(), "{event}");
        revision += 1;
        assert_eq!(event["data"]["projectEvents"]["revision"], revision, "{event}");
        assert!(is_whole(&event["data"]["projectEvents"]), "{event}");
    }
}

/// Receives everything as multipart responses.
async fn receive_by_parts(mut stream: Stream, last: i64) {
    let mut revision = 1;
    while revision < last {
        let part = stream.until("\r\n--graphql").await.expect("the stream continues");
        let Some((_, data)) = part.split_once("\r\n\r\n") else { continue };
        let event: Value = serde_json::from_str(data).unwrap();
        if event == json!({}) {
            continue;
        }
        revision += 1;
        assert!(event["payload"]["errors"].is_null(), "{event}");
        assert_eq!(event["payload"]["data"]["projectEvents"]["revision"], revision, "{event}");
        assert!(is_whole(&event["payload"]["data"]["projectEvents"]), "{event}");
    }
}

/// Receives a message's text to its end.
async fn receive_text(mut subscription: Subscription) -> String {
    let mut text = String::new();
    loop {
        let chunk =
            subscription.next_within(PATIENCE).await.unwrap_or_else(|| panic!("ended: {:?}", subscription.end()));
        let chunk = chunk.unwrap_or_else(|errors| panic!("{errors:?}"))["messageStream"].take();
        assert_eq!(chunk["offset"], text.len(), "{chunk}");
        text.push_str(chunk["text"].as_str().unwrap());
        if chunk["state"] == "FINISHED" {
            assert_eq!(chunk["message"]["content"], text);
            return text;
        }
    }
}

/// Deletes the end of a log, as after a failover to a standby that lacks it.
async fn lose_after(database: &Database, project: &str, revision: i64) {
    let id = database.uuid(project);
    let sql = format!(
        "DELETE FROM project_events WHERE project_id = {id} AND revision > {revision};
         DELETE FROM project_versions WHERE project_id = {id} AND superseded_revision > {revision};
         UPDATE projects SET revision = {revision}, last_activity_at = (SELECT e.created_at FROM project_events e
             WHERE e.project_id = {id} AND e.revision = {revision}) WHERE id = {id};"
    );
    tamper(database, &sql).await;
}

/// Replaces the newest entry of a log, as after a loss that is followed by as many writes as were lost.
async fn fork_at(database: &Database, project: &str, revision: i64) {
    let id = database.uuid(project);
    let at = format!(
        "(SELECT e.created_at FROM project_events e WHERE e.project_id = {id} AND e.revision = {revision} - 1)"
    );
    let sql = format!(
        "UPDATE project_events SET created_at = {at} WHERE project_id = {id} AND revision = {revision};
         UPDATE projects SET last_activity_at = {at} WHERE id = {id};"
    );
    tamper(database, &sql).await;
}

/// Makes a change that triggers would refuse, as only a failure can.
async fn tamper(database: &Database, sql: &str) {
    match database.kind() {
        Kind::Sqlite => drop(database.execute(&format!("BEGIN; {sql} COMMIT")).await),
        Kind::Postgres => {
            let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
            let sql = format!("SET session_replication_role = replica; BEGIN; {sql} COMMIT");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        }
    }
}

async fn write(project: &Project, text: &str) -> i64 {
    let input = json!({ "id": project.id, "description": text });
    number(&project.client.mutate("updateProject", input, "revision").await.ok()["updateProject"]["revision"])
}

/// Expects the subscription to end because its position is lost; returns the project's present revision.
async fn lost(subscription: &mut Subscription) -> i64 {
    let errors = subscription.next_within(PATIENCE).await.expect("an error").expect_err("a lost position");
    assert_eq!(errors[0]["extensions"]["code"], "POSITION_LOST", "{errors:?}");
    assert_eq!(subscription.next().await, None);
    number(&errors[0]["extensions"]["revision"])
}

tests::on_both! {
    async fn events_stay_complete_while_connections_are_cut(database: Database) {
        // SQLite has no connections to cut.
        if database.kind() == Kind::Sqlite {
            return;
        }
        let server = Server::start_with(&database, &["--content-cache-bytes", "0", "--sweep-seconds", "1"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Cut").await;
        let session = project.start_session().await;
        let streaming = ada.mutate("startMessage", json!({ "sessionId": session, "role": "ASSISTANT" }), "messageId").await.ok();
        let streaming = text(&streaming["startMessage"]["messageId"]);
        // Two subscribers share an execution, one reads private fields, and one uses each other transport and each
        // other kind of subscription.
        let shared = [project.listen(1, WHOLE).await, project.listen(1, WHOLE).await];
        let own = project.listen(1, &format!("{WHOLE} session {{ project {{ viewerRole }} }}")).await;
        let query = format!("subscription($id: ID!) {{ projectEvents(projectId: $id, afterRevision: 1) {{ {WHOLE} }} }}");
        let body = json!({ "query": query, "variables": { "id": project.id } });
        let events = ada.stream("text/event-stream", &[], &body).await;
        let parts = ada.stream(r#"multipart/mixed;boundary="graphql";subscriptionSpec="1.0""#, &[], &body).await;
        let query = "subscription($id: ID!) { messageAdded(sessionId: $id, afterRevision: 1) { revision content author { fullName } } }";
        let messages = ada.subscribe(query, json!({ "id": session })).await;
        let query = "subscription($id: ID!) { codeChanged(projectId: $id, afterRevision: 1) { revision changes { path newContent } } }";
        let code = ada.subscribe(query, json!({ "id": project.id })).await;
        let query = "subscription($id: ID!) { messageStream(messageId: $id) { offset text state message { content } } }";
        let stream = tokio::spawn(receive_text(ada.subscribe(query, json!({ "id": streaming })).await));
        let query = "subscription($id: ID!) { presence(projectId: $id) { user { fullName } } }";
        let mut present = ada.subscribe(query, json!({ "id": project.id })).await;
        project.create_file("b.py", "").await;
        let (agent, uri) = (Agent::start(&ada).await, format!("antiphon://{}/b.py", project.id));
        let mut notifications = agent.listen(&[]).await;
        agent.get("resources/subscribe", json!({ "uri": uri })).await;

        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        let (mut cuts, mut n, mut offset) = (0, 0, 0);
        while cuts < CUTS {
            n += 1;
            assert!(n < 300, "{cuts} connections were cut");
            let add = "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision } }";
            let key = format!("{n}");
            let input = json!({ "sessionId": session, "role": "USER", "content": "Hello", "idempotencyKey": key });
            persist(&ada, add, json!({ "input": input })).await;
            let sync = "mutation($input: SyncFilesInput!) { syncFiles(input: $input) { revision } }";
            let files = json!([{ "path": "a.py", "content": format!("a{n}\n") }, { "path": "b.py", "content": format!("b{n}\n") }]);
            persist(&ada, sync, json!({ "input": { "projectId": project.id, "files": files } })).await;
            let append = "mutation($input: AppendToMessageInput!) { appendToMessage(input: $input) { length } }";
            let input = json!({ "messageId": streaming, "offset": offset, "text": "chunk " });
            offset = number(&persist(&ada, append, json!({ "input": input })).await["appendToMessage"]["length"]);
            // While subscribers are being served.
            for _ in 0..10 {
                cuts += cut(&mut admin).await;
                sleep(Duration::from_millis(2)).await;
            }
        }
        let finish = "mutation($input: FinishMessageInput!) { finishMessage(input: $input) { revision } }";
        persist(&ada, finish, json!({ "input": { "messageId": streaming } })).await;

        let query = "query($id: ID!, $after: Int!) { project(id: $id) { events(afterRevision: $after, first: 500) { revision kind } } }";
        let mut log = Vec::new();
        while let Some(last) = Some(log.len() as i64) {
            let page = persist(&ada, query, json!({ "id": project.id, "after": last })).await["project"]["events"].take();
            let page = page.as_array().unwrap().clone();
            if page.is_empty() {
                break;
            }
            log.extend(page);
        }
        let last = log.len() as i64;
        let of = |kind: &str| log.iter().filter(|event| event["kind"] == kind).map(|event| number(&event["revision"])).collect::<Vec<_>>();
        for subscription in shared {
            receive_all(subscription, 1, last).await;
        }
        receive_all(own, 1, last).await;
        receive_by_events(events, last).await;
        receive_by_parts(parts, last).await;
        receive_some(messages, "messageAdded", |message| message["content"].is_string() && message["author"]["fullName"] == "ada", of("MESSAGE_ADDED")).await;
        receive_some(code, "codeChanged", |change| change["changes"][0]["newContent"].is_string(), of("FILES_CHANGED")).await;
        for _ in of("FILES_CHANGED").into_iter().skip(1) {
            assert_eq!(updated(&mut notifications).await, uri);
        }
        assert_eq!(stream.await.unwrap(), "chunk ".repeat(offset as usize / 6));
        let people = present.event().await;
        assert_eq!(people["presence"], json!([{ "user": { "fullName": "ada" } }]));
        drop((present, notifications));
        server.stop().await;
    }

    async fn a_position_that_the_log_does_not_reach_is_lost(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Ahead").await;
        let session = project.start_session().await;
        let query = "subscription($id: ID!) { messageAdded(sessionId: $id, afterRevision: 3) { revision } }";
        let mut messages = ada.subscribe(query, json!({ "id": session })).await;
        for subscription in [&mut project.listen(3, "revision").await, &mut messages] {
            assert_eq!(lost(subscription).await, 2);
        }
        let mut subscription = project.listen(2, "revision").await;
        write(&project, "next").await;
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 3);
    }

    async fn subscribers_of_a_log_that_lost_its_end_get_an_error(database: Database) {
        let server = Server::start_with(&database, &["--sweep-seconds", "1"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Forked").await;
        project.create_file("a.py", "").await;
        for n in 3..=8 {
            write(&project, &n.to_string()).await;
        }
        let own = "revision session { project { viewerRole } }";
        let listen = async |select: &str| {
            let mut subscription = project.listen(5, select).await;
            for revision in 6..=8 {
                assert_eq!(subscription.event().await["projectEvents"]["revision"], revision);
            }
            subscription
        };

        // Given subscribers at revision 8, when the log ends at 5, then they get an error …
        let (mut one, mut other) = (listen("revision").await, listen(own).await);
        lose_after(&database, &project.id, 5).await;
        assert_eq!((lost(&mut one).await, lost(&mut other).await), (5, 5));

        // … also if the log is as long as before, with other entries …
        for n in 6..=8 {
            write(&project, &format!("another {n}")).await;
        }
        let mut again = [listen("revision").await, listen(own).await];
        fork_at(&database, &project.id, 8).await;
        for subscription in &mut again {
            assert_eq!(lost(subscription).await, 8);
        }

        // … and a subscription from there receives new events.
        let mut subscription = project.listen(8, "revision").await;
        write(&project, "next").await;
        assert_eq!(subscription.event().await["projectEvents"]["revision"], 9);

        // A client of MCP is notified of each file that it watches, but not of the list of files, which it does not.
        let (agent, uri) = (Agent::start(&ada).await, format!("antiphon://{}/a.py", project.id));
        let mut notifications = agent.listen(&[]).await;
        agent.get("resources/subscribe", json!({ "uri": uri })).await;
        lose_after(&database, &project.id, 8).await;
        assert_eq!(updated(&mut notifications).await, uri);
        project.update_file("a.py", "again").await;
        assert_eq!(updated(&mut notifications).await, uri);
        drop((one, other, again, subscription, notifications));
        server.stop().await;
    }
}
