//! Given the history of a project, when its members ask what was done in a range of time, then the service's sums are those of
//! a plain count of the log, in every time zone, whether they are stored or not.

use std::collections::{BTreeMap, BTreeSet};

use antiphon::{commands, model::clock};
use chrono::{DateTime, Datelike, SecondsFormat, SubsecRound, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use tests::{
    client::{Client, Response},
    database::{Database, Kind},
    project::{Project, number, text},
    server::{Server, settings, user_id},
    workload::Random,
};

const TOTALS: &str =
    "revisions messages userMessages assistantMessages systemMessages checkpoints sessionsStarted sessionsEnded
    sessionSeconds averageSessionSeconds changes linesAdded linesRemoved activeFiles restores undos redos undoRate";

/// All of the insights.
fn selection() -> String {
    format!(
        "{{ from to bucket timeZone totals {{ {TOTALS} }} buckets {{ start end totals {{ {TOTALS} }} }}
        busiestHours {{ hour revisions messages changes }}
        mostChangedFiles(first: 100) {{ file {{ id }} changes linesAdded linesRemoved }}
        contributors(first: 100) {{ user {{ id }} totals {{ {TOTALS} }} }} }}"
    )
}

const ARGUMENTS: &str = "(from: $from, to: $to, bucket: $bucket, timeZone: $zone)";
const VARIABLES: &str = "$from: DateTime!, $to: DateTime!, $bucket: InsightBucket!, $zone: String";

/// A range of time, and how it is divided.
#[derive(Clone, Debug)]
struct Range {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    bucket: &'static str,
    zone: Tz,
}

impl Range {
    fn variables(&self) -> Value {
        json!({ "from": rfc3339(self.from), "to": rfc3339(self.to), "bucket": self.bucket, "zone": self.zone.name() })
    }
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn time(value: &Value) -> DateTime<Utc> {
    text(value).parse().unwrap()
}

/// The insights of a project.
async fn of_project(project: &Project, range: &Range) -> Value {
    let query =
        format!("query($id: ID!, {VARIABLES}) {{ project(id: $id) {{ insights{ARGUMENTS} {} }} }}", selection());
    let mut variables = range.variables();
    variables["id"] = json!(project.id);
    project.client.gql(&query, variables).await.ok()["project"]["insights"].take()
}

/// The insights of the caller.
async fn of_viewer(client: &Client, range: &Range) -> Value {
    let query = format!("query({VARIABLES}) {{ viewer {{ insights{ARGUMENTS} {} }} }}", selection());
    client.gql(&query, range.variables()).await.ok()["viewer"]["insights"].take()
}

/// What a plain count needs to know of a revision.
#[derive(Debug)]
struct Entry {
    at: DateTime<Utc>,
    kind: String,
    user: String,
    role: Option<String>,
    is_checkpoint: bool,
    undoes: Vec<i64>,
    /// The file, added and removed lines.
    changes: Vec<(String, i64, i64)>,
    /// The user whose session the revision ended, and its length.
    ended: Option<(String, TimeDelta)>,
}

/// Reads the whole log and all sessions. `ends` are the revisions that ended sessions, by their ids.
async fn log(project: &Project, ends: &BTreeMap<String, i64>) -> Vec<Entry> {
    let (mut log, mut after) = (Vec::new(), 0);
    loop {
        let select = format!(
            "events(afterRevision: {after}, first: 500) {{ revision kind createdAt actor {{ id }} message {{ role isCheckpoint }}
             undoes changes {{ file {{ id }} additions deletions }} }}"
        );
        let read = project.ask(&select).await["events"].take();
        let events = read.as_array().unwrap();
        let Some(last) = events.last() else { break };
        after = number(&last["revision"]);
        for event in events {
            let is_message = event["kind"] == "MESSAGE_ADDED";
            let change = |change: &Value| {
                (text(&change["file"]["id"]), number(&change["additions"]), number(&change["deletions"]))
            };
            log.push(Entry {
                at: time(&event["createdAt"]),
                kind: text(&event["kind"]),
                user: text(&event["actor"]["id"]),
                role: is_message.then(|| text(&event["message"]["role"])),
                is_checkpoint: is_message && event["message"]["isCheckpoint"] == true,
                undoes: event["undoes"].as_array().unwrap().iter().map(number).collect(),
                changes: event["changes"].as_array().unwrap().iter().map(change).collect(),
                ended: None,
            });
        }
    }
    let sessions =
        project.ask("sessions(first: 100) { nodes { id author { id } startedAt endedAt } totalCount }").await;
    assert!(number(&sessions["sessions"]["totalCount"]) <= 100);
    for session in sessions["sessions"]["nodes"].as_array().unwrap() {
        if let Some(revision) = ends.get(&text(&session["id"])) {
            let entry = &mut log[usize::try_from(revision - 1).unwrap()];
            let length = time(&session["endedAt"]) - time(&session["startedAt"]);
            assert!(entry.ended.replace((text(&session["author"]["id"]), length)).is_none());
        }
    }
    log
}

/// Sums of a plain count.
#[derive(Default)]
struct Sums {
    counts: BTreeMap<&'static str, i64>,
    length: TimeDelta,
    files: BTreeSet<String>,
    undoable: i64,
}

impl Sums {
    fn add(&mut self, field: &'static str, count: i64) {
        *self.counts.entry(field).or_default() += count;
    }

    fn count(&mut self, entry: &Entry, log: &[Entry]) {
        self.add("revisions", 1);
        if let Some(role) = &entry.role {
            self.add("messages", 1);
            self.add(
                match role.as_str() {
                    "USER" => "userMessages",
                    "ASSISTANT" => "assistantMessages",
                    _ => "systemMessages",
                },
                1,
            );
        }
        self.add("checkpoints", entry.is_checkpoint.into());
        self.add("sessionsStarted", (entry.kind == "SESSION_STARTED").into());
        self.add("restores", (entry.kind == "PROJECT_RESTORED").into());
        if entry.undoes.is_empty() {
            let can_be_undone = ["FILES_CHANGED", "PROJECT_RESTORED", "PROJECT_UPDATED"].contains(&entry.kind.as_str());
            self.undoable += i64::from(can_be_undone);
        } else {
            self.add(if is_redo(entry, log) { "redos" } else { "undos" }, 1);
        }
        for (file, added, removed) in &entry.changes {
            self.add("changes", 1);
            self.add("linesAdded", *added);
            self.add("linesRemoved", *removed);
            self.files.insert(file.clone());
        }
    }

    fn end(&mut self, length: TimeDelta) {
        self.add("sessionsEnded", 1);
        self.length += length;
    }

    fn json(&self) -> Value {
        let count = |field: &str| self.counts.get(field).copied().unwrap_or_default();
        let seconds = self.length.num_microseconds().unwrap() as f64 / 1e6;
        let share = |of: f64, all: i64| if all == 0 { Value::Null } else { json!(of / all as f64) };
        let mut totals = json!({
            "sessionSeconds": seconds,
            "averageSessionSeconds": share(seconds, count("sessionsEnded")),
            "activeFiles": self.files.len(),
            "undoRate": share(count("undos") as f64, self.undoable),
        });
        for field in TOTALS.split_whitespace() {
            if totals[field].is_null() && !["averageSessionSeconds", "undoRate"].contains(&field) {
                totals[field] = json!(count(field));
            }
        }
        totals
    }
}

/// Whether an undo undoes an undo of a change.
fn is_redo(entry: &Entry, log: &[Entry]) -> bool {
    entry.undoes.iter().any(|undone| {
        let undone = &log[usize::try_from(undone - 1).unwrap()];
        !undone.undoes.is_empty() && !is_redo(undone, log)
    })
}

/// The bucket of a time: its label is unique in the zone.
fn label(at: DateTime<Utc>, range: &Range) -> String {
    let local = at.with_timezone(&range.zone);
    match range.bucket {
        "HOUR" => local.format("%F %H %z").to_string(),
        "DAY" => local.format("%F").to_string(),
        _ => format!("{:?}", local.iso_week()),
    }
}

/// Compares the answer with a plain count of the log; only of one user's, if one is given.
#[track_caller]
fn compare(answer: &Value, log: &[Entry], range: &Range, user: Option<&str>) {
    let in_range = |entry: &&Entry| range.from <= entry.at && entry.at < range.to;
    let of_user = |id: &str| user.is_none_or(|user| user == id);
    let mut all = Sums::default();
    let mut buckets: BTreeMap<String, Sums> = BTreeMap::new();
    let mut users: BTreeMap<String, Sums> = BTreeMap::new();
    let mut hours: BTreeMap<u32, [i64; 3]> = BTreeMap::new();
    let mut files: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for entry in log.iter().filter(in_range) {
        let label = label(entry.at, range);
        if of_user(&entry.user) {
            all.count(entry, log);
            buckets.entry(label.clone()).or_default().count(entry, log);
            users.entry(entry.user.clone()).or_default().count(entry, log);
            let hour = hours.entry(entry.at.with_timezone(&range.zone).hour()).or_default();
            let more = [1, entry.role.is_some().into(), i64::try_from(entry.changes.len()).unwrap()];
            hour.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            for (file, added, removed) in &entry.changes {
                let file = files.entry(file.clone()).or_default();
                file.iter_mut().zip([1, *added, *removed]).for_each(|(sum, more)| *sum += more);
            }
        }
        if let Some((user, length)) = entry.ended.as_ref().filter(|(user, _)| of_user(user)) {
            all.end(*length);
            buckets.entry(label).or_default().end(*length);
            users.entry(user.clone()).or_default().end(*length);
        }
    }
    let context = format!("{range:?}");
    assert_eq!(answer["totals"], all.json(), "{context}");
    let answered = answer["buckets"].as_array().unwrap();
    let mut end = range.from;
    for bucket in answered {
        assert_eq!(time(&bucket["start"]), end, "{context}");
        end = time(&bucket["end"]);
        let sums = buckets.remove(&label(time(&bucket["start"]), range)).unwrap_or_default();
        assert_eq!(bucket["totals"], sums.json(), "{context} {bucket}");
    }
    assert_eq!((end, buckets.len()), (range.to, 0), "{context}");

    let mut hours: Vec<_> = hours.into_iter().collect();
    hours.sort_by_key(|(hour, [revisions, ..])| (-revisions, *hour));
    let hours: Vec<Value> = hours
        .into_iter()
        .map(|(hour, [revisions, messages, changes])| {
            json!({ "hour": hour, "revisions": revisions, "messages": messages, "changes": changes })
        })
        .collect();
    assert_eq!(answer["busiestHours"], json!(hours), "{context}");
    let mut files: Vec<_> = files.into_iter().collect();
    files.sort_by_key(|(id, [changes, added, removed])| (-changes, -(added + removed), id.clone()));
    let files: Vec<Value> = files
        .into_iter()
        .map(|(id, [changes, added, removed])| {
            json!({ "file": { "id": id }, "changes": changes, "linesAdded": added, "linesRemoved": removed })
        })
        .collect();
    assert_eq!(answer["mostChangedFiles"], json!(files), "{context}");
    let mut users: Vec<_> = users.into_iter().map(|(id, sums)| (id, sums.json())).collect();
    users.sort_by_key(|(id, totals)| (-number(&totals["revisions"]), id.clone()));
    let users: Vec<Value> =
        users.into_iter().map(|(id, totals)| json!({ "user": { "id": id }, "totals": totals })).collect();
    assert_eq!(answer["contributors"], json!(users), "{context}");
}

/// The revision in the payload of a mutation; `None` if it was refused.
fn written(answer: &Response) -> Option<i64> {
    answer.data.as_object()?.values().next()?["revision"].as_i64()
}

/// A random history of two members. Returns the number of revisions, and those that ended sessions, by their ids.
async fn write(projects: &[Project; 2], random: &mut Random, revisions: i64) -> (i64, BTreeMap<String, i64>) {
    let mut sessions: [Option<String>; 2] = [None, None];
    let mut ends = BTreeMap::new();
    let mut revision = projects[0].revision().await;
    while revision < revisions {
        let who = random.below(2);
        let project = &projects[who];
        let path = format!("{}.py", random.below(12));
        let lines = "line\n".repeat(random.below(6)) + &format!("{}\n", random.below(1_000));
        let step = random.below(100);
        let session = sessions[who].clone();
        let answer = match (step, session) {
            (0..4, before) => {
                sessions[who] = Some(project.start_session().await);
                ends.extend(before.map(|before| (before, revision + 1)));
                revision += 1;
                continue;
            }
            (4..7, Some(session)) => {
                let ended = project.client.mutate_id("endSession", &session, "revision").await;
                ends.insert(session, revision + 1);
                sessions[who] = None;
                ended
            }
            (7..45, Some(session)) => {
                let role = ["USER", "ASSISTANT", "SYSTEM"][random.below(3)];
                let input =
                    json!({ "sessionId": session, "role": role, "content": "Hello", "isCheckpoint": step == 7 });
                project.client.mutate("addMessage", input, "revision").await
            }
            (45..75, _) => {
                let files = json!([{ "path": path, "content": lines }, { "path": "main.py", "content": lines }]);
                project.mutate("syncFiles", json!({ "files": files }), "revision").await
            }
            (75..85, _) => project.mutate("undo", json!({}), "revision").await,
            (85..92, _) => project.mutate("redo", json!({}), "revision").await,
            (92..94, _) => {
                let back = json!({ "revision": 1 + random.below(usize::try_from(revision).unwrap()) });
                project.mutate("restoreRevision", back, "revision").await
            }
            _ => {
                let input = json!({ "id": project.id, "description": lines });
                project.client.mutate("updateProject", input, "revision").await
            }
        };
        // Only an undo, a redo or a restore can find nothing to do, and is refused.
        match written(&answer) {
            Some(new) => revision = new,
            None => assert!((75..94).contains(&step), "{answer:?}"),
        }
    }
    assert_eq!(projects[0].revision().await, revision);
    (revision, ends)
}

/// Gives all revisions random times, which never decrease, around the days on which clocks change.
async fn spread(
    database: &Database,
    project: &Project,
    (revisions, ends): &(i64, BTreeMap<String, i64>),
    random: &mut Random,
) {
    let mut at: DateTime<Utc> = "2026-03-07T00:00:00Z".parse().unwrap();
    let mut times = Vec::new();
    for _ in 0..*revisions {
        let pause = random.below(1_000_000);
        let seconds =
            [0, 0, pause % 5, pause % 60, pause % 3_600, pause % 30_000, 900 - at.timestamp().rem_euclid(900) as usize];
        at += TimeDelta::seconds(seconds[random.below(7)] as i64);
        if random.below(4) == 0 {
            at += TimeDelta::microseconds(random.below(1_000_000) as i64);
        }
        times.push(at);
    }
    let id = database.uuid(&project.id);
    let stored = |time: &DateTime<Utc>| match database.kind() {
        Kind::Sqlite => format!("'{}'", time.format("%Y-%m-%d %H:%M:%S%.6f+00:00")),
        Kind::Postgres => format!("'{}'::timestamptz", rfc3339(*time)),
    };
    let rows: Vec<String> =
        (1..).zip(&times).map(|(revision, time)| format!("({revision}, {})", stored(time))).collect();
    let ended: Vec<String> = ends
        .iter()
        .map(|(session, revision)| {
            let time = stored(&times[usize::try_from(*revision).unwrap() - 1]);
            format!("UPDATE chat_sessions SET ended_at = {time} WHERE id = {};", database.uuid(session))
        })
        .collect();
    let sql = format!(
        "CREATE TABLE times (r integer PRIMARY KEY, t {}); INSERT INTO times VALUES {};
         UPDATE project_events SET created_at = (SELECT t FROM times WHERE r = revision) WHERE project_id = {id};
         UPDATE chat_sessions SET started_at = (SELECT t FROM times WHERE r = revision) WHERE project_id = {id};
         {} DROP TABLE times; DELETE FROM project_activity",
        if database.kind() == Kind::Sqlite { "text" } else { "timestamptz" },
        rows.join(", "),
        ended.join(" "),
    );
    database.execute(&sql).await;
}

/// The number of stored segments of all projects.
async fn segments(database: &Database) -> u64 {
    // An update reports how many rows there are.
    database.execute("UPDATE project_activity SET segment = segment").await
}

/// Waits until so many segments are stored.
async fn stored(database: &Database, expected: u64) {
    while segments(database).await < expected {
        tokio::task::yield_now().await;
    }
    assert_eq!(segments(database).await, expected);
}

/// A range around random times of the log.
fn range(log: &[Entry], random: &mut Random) -> Range {
    const ZONES: [Tz; 9] = [
        Tz::UTC,
        Tz::Europe__Berlin,
        Tz::America__New_York,
        Tz::Asia__Kolkata,
        Tz::Asia__Kathmandu,
        Tz::America__St_Johns,
        Tz::Pacific__Chatham,
        Tz::Africa__Cairo,
        Tz::America__Havana,
    ];
    loop {
        let mut near = || {
            let at = log[random.below(log.len())].at;
            match random.below(4) {
                0 => at,
                1 => at + TimeDelta::microseconds(1),
                2 => DateTime::from_timestamp(at.timestamp().div_euclid(900) * 900, 0).unwrap(),
                _ => at - TimeDelta::seconds(random.below(100_000) as i64),
            }
        };
        let (from, to) = (near(), near());
        let bucket = ["HOUR", "DAY", "WEEK"][random.below(3)];
        if from < to && (bucket != "HOUR" || to - from < TimeDelta::days(40)) {
            return Range { from, to, bucket, zone: ZONES[random.below(ZONES.len())] };
        }
    }
}

tests::on_both! {
    async fn insights_are_those_of_a_plain_count(database: Database) {
        let random = &mut Random(26);
        let server = Server::start(&database).await;
        let [ada, eve] = ["ada@example.com", "eve@example.com"].map(|email| server.user(email));
        eve.gql("{ viewer { id } }", json!({})).await.ok();
        let project = Project::create(&ada, "Counted").await;
        database.add_collaborator(&project.id, "eve@example.com", "editor", true).await;
        // Twice the revisions of a stored sum, and a few more.
        let history = write(&[project.clone(), project.of(&eve)], random, 540).await;
        server.stop().await;
        spread(&database, &project, &history, random).await;

        // Given a server that finds no stored sums, the first answers are read from the log …
        let server = Server::start(&database).await;
        let [ada, eve] = ["ada@example.com", "eve@example.com"].map(|email| server.user(email));
        let project = project.of(&ada);
        let log = log(&project, &history.1).await;
        assert!(log.iter().any(|entry| entry.ended.is_some()) && log.iter().any(|entry| is_redo(entry, &log)));
        let whole = Range { from: log[0].at, to: log[log.len() - 1].at + TimeDelta::days(1), bucket: "DAY", zone: Tz::Asia__Kathmandu };
        compare(&of_project(&project, &whole).await, &log, &whole, None);
        // … and later ones from the sums.
        stored(&database, log.len() as u64 / 256).await;
        compare(&of_project(&project, &whole).await, &log, &whole, None);
        for _ in 0..30 {
            let range = range(&log, random);
            compare(&of_project(&project, &range).await, &log, &range, None);
            compare(&of_viewer(&eve, &range).await, &log, &range, Some(&user_id("eve@example.com")));
        }
        // A project as of a revision has only the revisions until then.
        for _ in 0..6 {
            let (range, at) = (range(&log, random), 1 + random.below(log.len()));
            let past = Project { id: format!("{}@{at}", project.id), ..project.clone() };
            let answer = of_project(&past, &range).await.to_string().replace(&format!("@{at}\""), "\"");
            compare(&serde_json::from_str(&answer).unwrap(), &log[..at], &range, None);
        }
        server.stop().await;
    }
}

const DAY: &str = "from: \"2026-01-01T00:00:00Z\", to: \"2026-01-02T00:00:00Z\"";

/// A range that contains the present.
fn now() -> Range {
    let now = clock::now().trunc_subsecs(6);
    Range { from: now - TimeDelta::days(1), to: now + TimeDelta::days(1), bucket: "HOUR", zone: Tz::UTC }
}

async fn problems(database: &Database) -> Vec<String> {
    let mut problems = Vec::new();
    commands::verify(&settings(&database.url(), &[]), None, &mut |_, problem| problems.push(problem)).await.unwrap();
    problems
}

tests::on_both! {
    async fn arguments_are_checked(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Checked").await;
        for (arguments, field) in [
            ("from: \"2026-01-01T00:00:00Z\", to: \"2026-01-01T00:00:00Z\"", "to"),
            ("from: \"2026-01-02T00:00:00Z\", to: \"2026-01-01T00:00:00Z\"", "to"),
            ("from: \"2026-01-01T01:00:00+01:00\", to: \"2025-12-31T19:00:00-05:00\"", "to"),
            ("from: \"2022-12-31T23:59:59.999999Z\", to: \"2026-01-01T00:00:00Z\", bucket: WEEK", "from"),
            ("from: \"2023-01-01T00:00:00Z\", to: \"2026-01-01T00:00:00Z\"", "bucket"),
            ("from: \"2023-01-01T00:00:00Z\", to: \"9999-12-31T23:59:59Z\", bucket: HOUR", "bucket"),
            (&format!("{DAY}, timeZone: \"\""), "timeZone"),
            (&format!("{DAY}, timeZone: \"Mars/Olympus\""), "timeZone"),
            (&format!("{DAY}, timeZone: \"europe/berlin\""), "timeZone"),
            (&format!("{DAY}, timeZone: \"+01:00\""), "timeZone"),
        ] {
            // A refused field is null, and its siblings are kept.
            let query = format!("{{ project(id: \"{}\") {{ name insights({arguments}) {{ bucket }} }} viewer {{ id insights({arguments}) {{ bucket }} }} }}", project.id);
            let answer = ada.gql(&query, json!({})).await;
            assert_eq!(answer.data["project"], json!({ "name": "Checked", "insights": null }), "{arguments}");
            assert_eq!(answer.data["viewer"], json!({ "id": user_id("ada@example.com"), "insights": null }), "{arguments}");
            assert_eq!(answer.errors.len(), 2, "{arguments}");
            for error in &answer.errors {
                assert_eq!((&error["extensions"]["code"], &error["extensions"]["field"]), (&json!("BAD_USER_INPUT"), &json!(field)), "{arguments}");
            }
        }
        for list in ["busiestHours(first: 25) { hour }", "mostChangedFiles(first: 101) { changes }", "contributors(first: -1) { user { id } }"] {
            let query = format!("{{ viewer {{ insights({DAY}) {{ {list} }} }} }}");
            let answer = ada.gql(&query, json!({})).await;
            assert_eq!((answer.error_code(), answer.field()), ("BAD_USER_INPUT", "first"), "{list}");
        }
        // Defaults, and null as the default.
        for arguments in [DAY.to_owned(), format!("{DAY}, timeZone: null")] {
            let read = project.ask(&format!("insights({arguments}) {{ bucket timeZone buckets {{ start }} contributors {{ user {{ id }} }} }}")).await;
            let expected = json!({ "bucket": "DAY", "timeZone": "UTC", "buckets": [{ "start": "2026-01-01T00:00:00Z" }], "contributors": [] });
            assert_eq!(read["insights"], expected);
        }
    }

    async fn two_servers_store_each_sum_once(database: Database) {
        let servers = [Server::start(&database).await, Server::start(&database).await];
        let projects = servers.each_ref().map(|server| server.user("ada@example.com"));
        let project = Project::create(&projects[0], "Shared").await;
        let [one, other] = projects.map(|client| project.of(&client));
        let write = async |project: &Project, name: &str| {
            for n in 0..260 {
                let files = json!([{ "path": format!("{name}/{}.py", n % 7), "content": format!("{n}\n") }]);
                project.write("syncFiles", json!({ "files": files }), "revision").await;
            }
        };
        tokio::join!(write(&one, "a"), write(&other, "b"));
        stored(&database, 2).await;
        assert_eq!(problems(&database).await, [""; 0]);
        let range = now();
        let log = log(&one, &BTreeMap::new()).await;
        for project in [&one, &other] {
            compare(&of_project(project, &range).await, &log, &range, None);
        }
        for server in servers {
            server.stop().await;
        }
    }

    async fn verify_compares_the_sums_with_the_log(database: Database) {
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Verified").await;
        let session = project.start_session().await;
        project.add_messages(&session, 766, |n| n % 100 == 0).await;
        stored(&database, 3).await;
        assert_eq!(problems(&database).await, [""; 0]);
        // Given another sum, a gap, and a time that is not in the log …
        database.execute("UPDATE project_activity SET cells = (SELECT a.cells FROM project_activity a WHERE a.segment = 2) WHERE segment = 1").await;
        assert_eq!(problems(&database).await, ["the stored activity of revisions 1 to 256 differs from the log"]);
        database.execute("DELETE FROM project_activity WHERE segment = 1").await;
        assert_eq!(problems(&database).await, ["the stored activity of revisions 1 to 256 is missing"]);
        database.execute("UPDATE project_activity SET first_at = last_at WHERE segment = 3").await;
        let wrong = problems(&database).await;
        assert_eq!(wrong[1..], ["the stored activity of revisions 513 to 768 differs from the log"]);
        server.stop().await;
        // … when the sums are removed, then they are stored again.
        database.execute("DELETE FROM project_activity").await;
        let server = Server::start(&database).await;
        let (project, range) = (project.of(&server.user("ada@example.com")), now());
        let log = log(&project, &BTreeMap::new()).await;
        compare(&of_project(&project, &range).await, &log, &range, None);
        stored(&database, 3).await;
        assert_eq!(problems(&database).await, [""; 0]);
        server.stop().await;
        // They are removed with their project.
        database.execute("DELETE FROM projects").await;
        assert_eq!(segments(&database).await, 0);
    }
}

tests::behind_each_lock! {
    async fn only_members_see_insights(server: Server) {
        let [ada, eve, sue] = ["ada@example.com", "eve@example.com", "sue@example.com"].map(|email| server.user(email));
        for user in [&eve, &sue] {
            user.gql("{ viewer { id } }", json!({})).await.ok();
        }
        let project = Project::create(&ada, "Secret").await;
        let of_eve = Project::create(&eve, "Eve's own").await;
        server.database().add_collaborator(&project.id, "eve@example.com", "editor", true).await;
        server.database().add_collaborator(&project.id, "sue@example.com", "viewer", false).await;
        let session = project.start_session().await;
        project.add_messages(&session, 300, |_| false).await;
        stored(server.database(), 1).await;
        project.of(&eve).create_file("eve.py", "1\n2\n").await;
        of_eve.create_file("own.py", "1\n").await;
        let range = now();
        let (log, own) = (log(&project, &BTreeMap::new()).await, log(&of_eve, &BTreeMap::new()).await);
        let eves = user_id("eve@example.com");

        // Given a project with sums in the table and in the log, its members see them, an invited user does not …
        compare(&of_project(&project, &range).await, &log, &range, None);
        compare(&of_project(&project.of(&eve), &range).await, &log, &range, None);
        assert_eq!(of_project(&project.of(&sue), &range).await, Value::Null);
        compare(&of_viewer(&sue, &range).await, &[], &range, None);

        // … users see what they did themselves in all of their projects, and others what they did in shared ones …
        let all: Vec<Entry> = log.into_iter().chain(own).collect();
        let mine = of_viewer(&eve, &range).await;
        assert_eq!(mine["totals"]["revisions"], 3);
        assert_eq!(mine["totals"]["linesAdded"], 3);
        let query = format!("query($id: ID!, {VARIABLES}) {{ node(id: $id) {{ ... on User {{ insights{ARGUMENTS} {} }} }} }}", selection());
        let mut variables = range.variables();
        variables["id"] = json!(eves);
        let shared = ada.gql(&query, variables.clone()).await.ok()["node"]["insights"].take();
        compare(&shared, &all[..all.len() - 2], &range, Some(&eves));

        // … and nothing of a project that they have left.
        eve.mutate_with("leaveProject", json!({ "projectId": project.id }), "revision").await.ok();
        assert_eq!(of_project(&project.of(&eve), &range).await, Value::Null);
        assert_eq!(of_viewer(&eve, &range).await["totals"]["revisions"], 2);
        let after = of_project(&project, &range).await;
        let contributors: Vec<&Value> = after["contributors"].as_array().unwrap().iter().map(|row| &row["user"]["id"]).collect();
        assert_eq!(contributors, [&json!(user_id("ada@example.com")), &json!(eves)]);
        // Deleted projects do not count.
        let deleted = json!({ "id": of_eve.id });
        eve.gql("mutation($id: ID!) { deleteProject(id: $id) { revision } }", deleted).await.ok();
        assert_eq!(of_viewer(&eve, &range).await["totals"]["revisions"], 0);
    }
}

tests::on_both! {
    async fn insights_are_downloaded_as_csv(server: Server) {
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "=cmd|' /C calc'!A0").await;
        project.create_file("@SUM(1+9).py", "1\n").await;
        let range = Range { bucket: "DAY", zone: Tz::Asia__Kathmandu, ..now() };
        let path = |id: &str, parameters: &str| format!("/projects/{id}/insights.csv?{parameters}");
        let times = format!("from={}&to={}", rfc3339(range.from), rfc3339(range.to));
        let parameters = format!("{times}&bucket=DAY&timeZone=Asia/Kathmandu");
        let send = async |client: &Client, method: &str, path: &str| {
            let token = client.token().map(|token| format!("Bearer {token}"));
            let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
            client.send(method, path, &headers, Vec::new()).await.unwrap()
        };
        let get = async |client: &Client, path: &str| send(client, "GET", path).await;

        // The lines are the buckets of the API.
        let found = get(&ada, &path(&project.id, &parameters)).await;
        assert_eq!((found.status, found.header("content-type")), (200, "text/csv; charset=utf-8; header=present"));
        assert_eq!(found.header("content-disposition"), "attachment; filename=\"insights.csv\"");
        let body = String::from_utf8(found.body.to_vec()).unwrap();
        let lines: Vec<Vec<&str>> = body.strip_suffix("\r\n").unwrap().split("\r\n").map(|line| line.split(',').collect()).collect();
        let columns: Vec<&str> = ["start", "end"].into_iter().chain(TOTALS.split_whitespace()).collect();
        assert_eq!(lines[0], columns);
        let buckets = of_project(&project, &range).await["buckets"].take();
        assert_eq!(buckets.as_array().unwrap().len(), lines.len() - 1);
        for (bucket, line) in buckets.as_array().unwrap().iter().zip(&lines[1..]) {
            for (column, cell) in columns.iter().zip(line) {
                let value = if bucket[column].is_null() { &bucket["totals"][column] } else { &bucket[column] };
                let shown = value.as_str().map_or_else(|| value.to_string().replace("null", ""), str::to_owned);
                assert_eq!(*cell, shown, "{column}");
                assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
            }
        }
        assert_eq!(lines[1..].iter().map(|line| line[2].parse::<i64>().unwrap()).sum::<i64>(), 2);
        // Parameters that are left out have the defaults of the API; a project as of a revision has its id.
        let found = get(&ada, &path(&format!("{}%401", project.id), &times)).await;
        let body = String::from_utf8(found.body.to_vec()).unwrap();
        assert_eq!(body.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse::<i64>().unwrap()).sum::<i64>(), 1);

        // Errors are those of the API.
        let sue = server.user("sue@example.com");
        let unknown = "0198f3a0-0000-7000-8000-000000000001";
        for (client, id, parameters, status, code, field) in [
            (&server.anonymous(), project.id.as_str(), parameters.as_str(), 401, "UNAUTHENTICATED", None),
            (&ada.with_token(Some("nonsense".to_owned())), &project.id, &parameters, 401, "UNAUTHENTICATED", None),
            (&sue, &project.id, &parameters, 404, "NOT_FOUND", None),
            (&ada, unknown, &parameters, 404, "NOT_FOUND", None),
            (&ada, "nonsense", &parameters, 400, "BAD_USER_INPUT", Some("id")),
            (&ada, &project.id, "", 400, "BAD_USER_INPUT", None),
            (&ada, &project.id, "from=2026-01-01T00:00:00Z", 400, "BAD_USER_INPUT", None),
            (&ada, &project.id, "from=yesterday&to=today", 400, "BAD_USER_INPUT", Some("from")),
            (&ada, &project.id, &format!("{times}&bucket=day"), 400, "BAD_USER_INPUT", Some("bucket")),
            (&ada, &project.id, &format!("{times}&timeZone=Mars"), 400, "BAD_USER_INPUT", Some("timeZone")),
            (&ada, &project.id, &format!("{times}&timezone=UTC"), 400, "BAD_USER_INPUT", None),
            (&ada, &project.id, &format!("{times}&{times}"), 400, "BAD_USER_INPUT", None),
            (&ada, &project.id, "from=2023-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", 400, "BAD_USER_INPUT", Some("bucket")),
        ] {
            let refused = get(client, &path(id, parameters)).await;
            let errors = refused.graphql().unwrap().errors;
            let extensions = &errors[0]["extensions"];
            assert_eq!((refused.status, &extensions["code"]), (status, &json!(code)), "{id} {parameters} {errors:?}");
            if let Some(field) = field {
                assert_eq!(extensions["field"], field, "{id} {parameters} {errors:?}");
            }
        }
        let refused = send(&ada, "POST", &path(&project.id, &parameters)).await;
        assert_eq!(refused.status, 405);
    }
}

/// Days of a year.
const YEAR: i64 = 365;
/// Revisions of a history that is written by SQL.
const EVENTS: i64 = 10_000;

/// Adds revisions to a project of revision 2, spread over a year, by SQL: messages and changes of 200 files in turn.
async fn fill(database: &Database, project: &str, session: &str) {
    let (id, session) = (database.uuid(project), database.uuid(session));
    let (series, time, new_id, nth_file) = match database.kind() {
        Kind::Sqlite => (
            format!("WITH RECURSIVE n (n) AS (SELECT 3 UNION ALL SELECT n + 1 FROM n WHERE n < {EVENTS})"),
            format!(
                "strftime('%Y-%m-%d %H:%M:%S', 1735689600 + n * {YEAR} * 86400 / {EVENTS}, 'unixepoch') || '.000000+00:00'"
            ),
            "randomblob(16)",
            "unhex(printf('%032x', 1000 + n % 200))",
        ),
        Kind::Postgres => (
            format!("WITH n AS (SELECT n FROM generate_series(3, {EVENTS}) AS n)"),
            format!("to_timestamp(1735689600 + n::bigint * {YEAR} * 86400 / {EVENTS})"),
            "gen_random_uuid()",
            "lpad(to_hex(1000 + n % 200), 32, '0')::uuid",
        ),
    };
    let sql = format!(
        "CREATE TABLE plan AS {series} SELECT n, {time} AS at, {new_id} AS message, {nth_file} AS file FROM n;
         INSERT INTO chat_messages (id, project_id, session_id, user_id, revision, role, content, timestamp, is_checkpoint, context_data, metadata)
         SELECT message, {id}, {session}, (SELECT user_id FROM projects WHERE id = {id}), n,
         CASE n % 4 WHEN 0 THEN 'user' ELSE 'assistant' END, 'Hello', at, false, '{{}}', '{{}}' FROM plan WHERE n % 2 = 0;
         INSERT INTO project_files (id, project_id, file_path, file_name, file_type, size_bytes, version, is_deleted, created_at, updated_at)
         SELECT file, {id}, 'f' || min(n), 'f', 'file', 0, count(*), false, min(at), max(at) FROM plan WHERE n % 2 = 1 GROUP BY file;
         INSERT INTO file_snapshots (id, project_id, file_id, revision, superseded_revision, version, additions, deletions, change_type, path)
         SELECT message, {id}, file, n, n + 1, n, 3, 1, 'update', 'f' FROM plan WHERE n % 2 = 1;
         INSERT INTO project_events (project_id, revision, kind, actor_id, session_id, message_id, created_at)
         SELECT {id}, n, CASE n % 2 WHEN 0 THEN 'MESSAGE_ADDED' ELSE 'FILES_CHANGED' END, (SELECT user_id FROM projects WHERE id = {id}),
         {session}, CASE n % 2 WHEN 0 THEN message END, at FROM plan;
         UPDATE projects SET revision = {EVENTS}, last_activity_at = (SELECT max(at) FROM plan) WHERE id = {id};
         DROP TABLE plan"
    );
    database.execute(&sql).await;
}

tests::on_both! {
    async fn insights_do_not_read_the_history(server: Server) {
        let ada = server.user("ada@example.com");
        let small = Project::create(&ada, "Small").await;
        let large = Project::create(&ada, "Large").await;
        let session = large.start_session().await;
        fill(server.database(), &large.id, &session).await;
        let from: DateTime<Utc> = "2025-01-01T00:00:00Z".parse().unwrap();
        let range = Range { from, to: from + TimeDelta::days(YEAR), bucket: "DAY", zone: Tz::Asia__Kathmandu };
        let read = of_project(&large, &range).await;
        assert_eq!(read["totals"]["revisions"], EVENTS - 3);
        assert_eq!((&read["totals"]["activeFiles"], &read["totals"]["linesAdded"]), (&json!(100), &json!(3 * (EVENTS / 2 - 1))));
        stored(server.database(), u64::try_from(EVENTS / 256).unwrap()).await;

        // The answers need the same number of statements, …
        let mut statements = Vec::new();
        for project in [&small, &large] {
            of_project(project, &range).await;
            let before = server.statements();
            of_project(project, &range).await;
            statements.push(server.statements() - before);
        }
        assert!(statements[1] <= statements[0] + 3 && statements[1] <= 9, "{statements:?}");
        // … and are the same without the log of the time in between.
        let id = server.database().uuid(&large.id);
        let removed = format!("DELETE FROM project_events WHERE project_id = {id} AND revision BETWEEN 257 AND {}", EVENTS - 512);
        assert_eq!(server.database().execute(&removed).await, u64::try_from(EVENTS - 512 - 256).unwrap());
        assert_eq!(of_project(&large, &range).await, read);
    }
}
