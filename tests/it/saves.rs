//! Given a server that coalesces autosaves, when versions and changes are listed, then the lists are those that a naive
//! model computes from every save, for every page size; everything else is as without coalescing.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::{Project, each, number, text},
    server::Server,
    workload::Random,
};

const SECONDS: i64 = 5;
const JOIN: [&str; 1] = ["--autosave-coalesce-seconds=5"];
const STEPS: usize = 40;

/// The fields of a row in either list.
const ROW: &str = "id revision path additions deletions diff changeDescription createdAt createdBy { id } session { id } message { id } coalescedCount";

/// A save: the row that lists it, and what only the model needs.
struct Save {
    row: Value,
    file: String,
    version: i64,
    is_update: bool,
    kind: String,
    at: DateTime<Utc>,
}

impl Save {
    fn is_silent(&self) -> bool {
        let row = &self.row;
        self.kind == "FILES_CHANGED"
            && self.is_update
            && row["session"].is_null()
            && row["message"].is_null()
            && row["changeDescription"].is_null()
    }

    /// Whether the next version of the file absorbs this one.
    fn goes_into(&self, next: &Self) -> bool {
        self.is_silent()
            && next.is_silent()
            && self.row["createdBy"] == next.row["createdBy"]
            && next.at - self.at <= TimeDelta::seconds(SECONDS)
    }
}

/// Every save of a project, oldest first.
async fn saves(project: &Project) -> Vec<Save> {
    let mut kinds = vec![String::new()];
    let events = project.ask("events(first: 500) { kind }").await;
    kinds.extend(each(&events["events"], "kind").iter().map(text));
    let mut saves = Vec::new();
    let mut before = String::new();
    loop {
        let select = format!(
            "changes(includeCoalesced: true, last: 100{before}) {{ nodes {{ {ROW} type file {{ id versions(includeCoalesced: true, first: 100) {{ nodes {{ version revision }} }} }} }}
             pageInfo {{ hasPreviousPage startCursor }} }}"
        );
        let page = project.ask(&select).await["changes"].take();
        for row in page["nodes"].as_array().unwrap().iter().rev() {
            assert_eq!(row["coalescedCount"], 1);
            let versions = row["file"]["versions"]["nodes"].as_array().unwrap();
            let version = versions.iter().find(|version| version["revision"] == row["revision"]).unwrap();
            saves.push(Save {
                file: text(&row["file"]["id"]),
                version: number(&version["version"]),
                is_update: row["type"] == "UPDATE",
                kind: kinds[number(&row["revision"]) as usize].clone(),
                at: text(&row["createdAt"]).parse().unwrap(),
                row: row.clone(),
            });
        }
        if page["pageInfo"]["hasPreviousPage"] == false {
            return saves;
        }
        before = format!(", before: {}", page["pageInfo"]["startCursor"]);
    }
}

/// Of these saves, oldest first, the rows that remain, newest first, each with the number of saves it stands for.
fn joined(saves: &[&Save]) -> Vec<(Value, i64)> {
    let mut rows = Vec::new();
    for (at, save) in saves.iter().enumerate() {
        let next = saves[at..].iter().find(|next| next.file == save.file && next.version == save.version + 1);
        if next.is_some_and(|next| save.goes_into(next)) {
            continue;
        }
        let mut count = 1;
        let mut first = *save;
        while let Some(before) =
            saves.iter().find(|other| other.file == save.file && other.version == first.version - 1)
            && before.goes_into(first)
        {
            (first, count) = (before, count + 1);
        }
        rows.push((save.row["revision"].clone(), save.row["path"].clone(), count, first.row["revision"].clone()));
    }
    rows.reverse();
    rows.into_iter().map(|(revision, path, count, first)| (json!([revision, path, count, first]), count)).collect()
}

/// A list that is walked: the field around it, its name, its arguments.
struct List<'l> {
    client: &'l Client,
    around: String,
    list: String,
}

impl List<'_> {
    /// Reads a page. All pages have the same document, which the server parses once.
    async fn page(&self, arguments: Value) -> Value {
        let Self { around, list, .. } = self;
        let list = list.replace('…', "first: $first, after: $after, last: $last, before: $before");
        let query = format!(
            "query($first: Int, $after: String, $last: Int, $before: String) {{ around: {around} {{
             list: {list} {{ totalCount nodes {{ {ROW} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} }} }}"
        );
        let query = if around.starts_with("node") { format!("{query} }}") } else { query };
        self.client.gql(&query, arguments).await.ok()["around"]["list"].take()
    }

    /// Walks the list in pages of a size, forwards and backwards, and checks that both give the same rows and correct
    /// page information.
    async fn walk(&self, size: usize) -> Vec<Value> {
        let mut walks = Vec::new();
        for (take, cursor, from, more, less) in [
            ("first", "after", "endCursor", "hasNextPage", "hasPreviousPage"),
            ("last", "before", "startCursor", "hasPreviousPage", "hasNextPage"),
        ] {
            let mut rows = Vec::new();
            let mut arguments = json!({});
            arguments[take] = json!(size);
            loop {
                let page = self.page(arguments.clone()).await;
                let mut nodes = page["nodes"].as_array().unwrap().clone();
                assert_eq!(page["pageInfo"][less], !rows.is_empty());
                if take == "last" {
                    nodes.reverse();
                }
                rows.extend(nodes);
                if page["pageInfo"][more] == false {
                    assert_eq!(page["totalCount"], rows.len());
                    break;
                }
                assert_eq!(rows.len() % size, 0);
                arguments[cursor] = page["pageInfo"][from].clone();
            }
            walks.push(rows);
        }
        walks[1].reverse();
        assert_eq!(walks[0], walks[1]);
        walks.swap_remove(0)
    }
}

/// Compares the rows of a list with the model's, and each diff with the two states of the file that it compares.
async fn check(project: &Project, rows: &[Value], expected: &[(Value, i64)], what: &str) {
    let found: Vec<Value> =
        rows.iter().map(|row| json!([row["revision"], row["path"], row["coalescedCount"]])).collect();
    let wanted: Vec<Value> = expected.iter().map(|(row, _)| json!([row[0], row[1], row[2]])).collect();
    assert_eq!(found, wanted, "{what}");
    for (row, (model, count)) in rows.iter().zip(expected).filter(|(_, (_, count))| *count > 1) {
        let before = number(&model[3]) - 1;
        let diffs = project
            .ask(&format!("diff(from: {before}, to: {}) {{ path diff additions deletions }}", row["revision"]))
            .await;
        let nothing = json!({ "path": row["path"], "diff": "", "additions": 0, "deletions": 0 });
        let diff =
            diffs["diff"].as_array().unwrap().iter().find(|diff| diff["path"] == row["path"]).unwrap_or(&nothing);
        let of_row = json!({ "path": row["path"], "diff": row["diff"], "additions": row["additions"], "deletions": row["deletions"] });
        assert_eq!(of_row, *diff, "{what}: {count} coalesced saves");
    }
}

/// A stream of writes by two users, most of which are autosaves.
async fn write(ada: &Project, bob: &Project, random: &mut Random) {
    let session = ada.start_session().await;
    let mut files = Vec::new();
    let mut contents = Vec::new();
    for path in ["a.py", "b.py", "c.bin"] {
        contents.push(random.document());
        files.push(ada.create_file(path, contents.last().unwrap()).await);
    }
    let (mut paths, mut deleted) = (["a.py", "b.py", "c.bin"].map(str::to_owned), [false; 3]);
    let mut at = 0;
    for step in 0..STEPS {
        // A user mostly stays with one file.
        if random.below(5) == 0 {
            at = random.below(3);
        }
        let writer = if random.below(10) == 0 { bob } else { ada };
        if deleted[at] {
            writer.client.mutate("revertFile", json!({ "fileId": files[at], "version": 1 }), "revision").await.ok();
            deleted[at] = false;
            continue;
        }
        let edited = random.edit(&contents[at]);
        let input = json!({ "path": paths[at], "content": edited });
        match random.below(32) {
            0 => {
                let new = format!("d{step}/{}", paths[at]);
                writer.write("renameFile", json!({ "path": paths[at], "newPath": new }), "revision").await;
                paths[at] = new;
            }
            1 => {
                writer.write("deleteFile", json!({ "path": paths[at] }), "revision").await;
                deleted[at] = true;
            }
            2 => drop(
                ada.write("updateFile", tests::project::with(input, json!({ "sessionId": session })), "revision").await,
            ),
            3 => drop(
                writer
                    .write("updateFile", tests::project::with(input, json!({ "changeDescription": "Why" })), "revision")
                    .await,
            ),
            4 => {
                let back = ada.revision().await - 2;
                ada.write("restoreRevision", json!({ "revision": back, "paths": [paths[at]] }), "revision").await;
            }
            5 => drop(
                writer.write("updateFile", json!({ "path": paths[at], "contentBase64": "AP8=" }), "revision").await,
            ),
            6 => {
                let both = (0..3).filter(|other| !deleted[*other]);
                let files: Vec<Value> = both
                    .map(|at| json!({ "path": paths[at], "content": format!("{step}\n{}", contents[at]) }))
                    .collect();
                writer.write("syncFiles", json!({ "files": files }), "revision").await;
            }
            7 => {
                drop(writer.client.mutate("revertFile", json!({ "fileId": files[at], "version": 1 }), "revision").await)
            }
            _ => {
                writer.write("updateFile", input, "revision").await;
                contents[at] = edited;
            }
        }
        // A restore of a path can have moved it.
        let now = ada
            .client
            .gql(
                "query($ids: [ID!]!) { nodes(ids: $ids) { ... on ProjectFile { path isDeleted } } }",
                json!({ "ids": files }),
            )
            .await
            .ok();
        for (at, file) in now["nodes"].as_array().unwrap().iter().enumerate() {
            (paths[at], deleted[at]) = (text(&file["path"]), file["isDeleted"] == true);
        }
    }
}

/// Gives the revisions times that are close together, just inside the window, just outside, or far apart.
async fn spread(database: &Database, project: &Project, random: &mut Random) {
    let mut at: DateTime<Utc> = "2026-03-01T23:59:40.999999Z".parse().unwrap();
    let id = database.uuid(&project.id);
    let mut sql = String::new();
    for revision in 1..=project.revision().await {
        let limit = TimeDelta::seconds(SECONDS);
        at += match random.below(12) {
            0 => limit,
            1 => limit + TimeDelta::microseconds(1),
            2 => limit - TimeDelta::microseconds(1),
            3 => limit * 2,
            // To whole seconds and whole milliseconds, which SQLite stores without trailing zeros.
            4 => TimeDelta::seconds(1) - TimeDelta::microseconds(i64::from(at.timestamp_subsec_micros())),
            5 => TimeDelta::milliseconds(1) - TimeDelta::microseconds(i64::from(at.timestamp_subsec_micros() % 1_000)),
            _ => TimeDelta::microseconds(1 + random.below(900_000) as i64),
        };
        let text = at.to_rfc3339_opts(SecondsFormat::AutoSi, false);
        sql += &format!(
            "UPDATE project_events SET created_at = '{text}' WHERE project_id = {id} AND revision = {revision};"
        );
    }
    database.execute(&sql).await;
}

tests::on_both! {
    async fn lists_are_those_of_a_naive_model(database: Database) {
        let flags = ["--max-query-complexity=10000000", JOIN[0]];
        let server = Server::start_with(&database, &flags).await;
        let mut sizes = 0;
        // Another history on each database: the model is the same.
        let seed = if database.kind() == Kind::Sqlite { 0 } else { 1 };
        let random = &mut Random(seed);
        let ada = Project::create(&server.user("ada@example.com"), "Saves").await;
        let bob = ada.of(&server.user("bob@example.com"));
        bob.client.gql("{ viewer { id } }", json!({})).await.ok();
        database.add_collaborator(&ada.id, "bob@example.com", "editor", true).await;
        write(&ada, &bob, random).await;
        spread(&database, &ada, random).await;
        let saves = saves(&ada).await;
        let all: Vec<&Save> = saves.iter().collect();
        let around = format!("project(id: \"{}\")", ada.id);
        let client = &ada.client;

        // The changes of the project, in pages of every size.
        let expected = joined(&all);
        assert!(expected.len() < all.len() * 4 / 5, "hardly any saves are coalesced: {} of {}", expected.len(), all.len());
        assert!(expected.iter().any(|(_, count)| *count > 2));
        let changes = List { client, around: around.clone(), list: "changes(…)".to_owned() };
        let rows = changes.walk(100).await;
        check(&ada, &rows, &expected, "changes").await;
        for size in [1, 2, 5, rows.len() - 1, rows.len()] {
            assert_eq!(changes.walk(size.min(100)).await, rows);
            sizes += 1;
        }

        // Filtered lists coalesce the same rows.
        let is_of = |row: &Value, save: &Save| save.row["revision"] == row["revision"] && save.row["path"] == row["path"];
        for (filter, keep) in [
            ("type: UPDATE".to_owned(), Box::new(|row: &Value| !row["path"].is_null()) as Box<dyn Fn(&Value) -> bool>),
            ("path: \"a.py\"".to_owned(), Box::new(|row| row["path"] == "a.py")),
            (format!("fileId: \"{}\"", saves[0].file), Box::new(|row| all.iter().any(|save| is_of(row, save) && save.file == saves[0].file))),
        ] {
            let updates = |row: &&Value| filter != "type: UPDATE" || all.iter().any(|save| save.is_update && is_of(row, save));
            let kept: Vec<Value> = rows.iter().filter(|row| keep(row)).filter(updates).cloned().collect();
            let list = List { client, around: around.clone(), list: format!("changes(filter: {{ {filter} }}, …)") };
            assert_eq!(list.walk(5).await, kept, "{filter}");
        }

        // The versions of each file.
        let files: BTreeSet<&String> = saves.iter().map(|save| &save.file).collect();
        for file in files {
            let of_file: Vec<&Save> = saves.iter().filter(|save| save.file == *file).collect();
            let expected = joined(&of_file);
            let versions = List { client, around: format!("node(id: \"{file}\") {{ ... on ProjectFile"), list: "versions(…)".to_owned() };
            let rows = versions.walk(100).await;
            check(&ada, &rows, &expected, "versions").await;
            for size in 1..=rows.len().min(6) {
                assert_eq!(versions.walk(size).await, rows);
                sizes += 1;
            }
        }

        // At a past revision: later saves do not exist yet.
        for revision in (1..=ada.revision().await).step_by(9) {
            let then: Vec<&Save> = saves.iter().filter(|save| number(&save.row["revision"]) <= revision).collect();
            let changes = List { client, around: format!("project(id: \"{}\", at: {{ revision: {revision} }})", ada.id), list: "changes(…)".to_owned() };
            check(&ada, &changes.walk(4).await, &joined(&then), &format!("changes at {revision}")).await;
        }
        assert!(sizes > 10);
        server.stop().await;
    }

    async fn only_the_two_lists_coalesce(database: Database) {
        let server = Server::start(&database).await;
        let project = Project::create(&server.user("ada@example.com"), "Plain").await;
        let file = project.create_file("a.py", "0\n").await;
        for n in 1..5 {
            project.update_file("a.py", &format!("{n}\n")).await;
        }
        let of_file = format!("query($every: Boolean) {{ node(id: \"{file}\") {{ ... on ProjectFile {{ versions(includeCoalesced: $every) {{ totalCount nodes {{ version coalescedCount additions }} }} }} }} }}");
        let lists = async |project: &Project, every: Value| {
            let versions = project.client.gql(&of_file, json!({ "every": every })).await.ok()["node"]["versions"].take();
            let every = if every == true { "(includeCoalesced: true)" } else { "" };
            let changes = project.ask(&format!("changes{every} {{ totalCount nodes {{ revision coalescedCount }} }}")).await["changes"].take();
            (versions["totalCount"].clone(), each(&versions["nodes"], "version"), changes["totalCount"].clone(), each(&changes["nodes"], "revision"))
        };
        let all = (json!(5), [5, 4, 3, 2, 1].map(Value::from).to_vec(), json!(5), [6, 5, 4, 3, 2].map(Value::from).to_vec());
        assert_eq!(lists(&project, Value::Null).await, all);
        server.stop().await;

        let server = Server::start_with(&database, &JOIN).await;
        let project = project.of(&server.user("ada@example.com"));
        assert_eq!(lists(&project, json!(true)).await, all);
        let few = (json!(2), [5, 1].map(Value::from).to_vec(), json!(2), [6, 2].map(Value::from).to_vec());
        assert_eq!(lists(&project, json!(false)).await, few);
        assert_eq!(lists(&project, Value::Null).await, few);

        // Everything else is as without coalescing: the log, subscriptions, the version itself, blame, revert.
        assert_eq!(project.ask("stats { totalChanges } events { revision changes { coalescedCount } }").await, json!({
            "stats": { "totalChanges": 5 },
            "events": (1..=6).map(|n| json!({ "revision": n, "changes": if n == 1 { json!([]) } else { json!([{ "coalescedCount": 1 }]) } })).collect::<Vec<_>>(),
        }));
        let mut subscription = project.listen(4, "revision changes { diff coalescedCount }").await;
        for (revision, old, new) in [(5, 2, 3), (6, 3, 4)] {
            let event = subscription.event().await["projectEvents"].take();
            assert_eq!(event["revision"], revision);
            assert_eq!(event["changes"], json!([{ "coalescedCount": 1, "diff": format!("diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-{old}\n+{new}\n") }]));
        }
        let blame = project.ask("file(path: \"a.py\") { version blame { version { version coalescedCount } } }").await;
        assert_eq!(blame["file"], json!({ "version": 5, "blame": [{ "version": { "version": 5, "coalescedCount": 1 } }] }));
        let back = project.client.mutate("revertFile", json!({ "fileId": file, "version": 3 }), "file { content } change { coalescedCount }").await.ok();
        assert_eq!(back["revertFile"], json!({ "file": { "content": "2\n" }, "change": { "coalescedCount": 1 } }));
        drop(subscription);
        server.stop().await;
    }

    async fn an_id_is_one_value_in_every_place(database: Database) {
        let server = Server::start_with(&database, &JOIN).await;
        let project = Project::create(&server.user("ada@example.com"), "Ids").await;
        let file = project.create_file("a.py", "0\n").await;
        for n in 1..6 {
            project.update_file("a.py", &format!("{n}\n")).await;
        }
        const CHANGE: &str = "id revision coalescedCount diff additions deletions oldContent newContent";
        const VERSION: &str = "id revision coalescedCount diff additions deletions content hash";
        let mut seen: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
        let mut note = |rows: &Value| {
            for row in rows.as_array().unwrap() {
                let id = text(&row["id"]);
                assert_eq!(seen.entry(id).or_insert_with(|| row.clone()), row);
            }
            seen.clone()
        };
        for revision in 2..=7 {
            let at = format!("project(id: \"{}\", at: {{ revision: {revision} }})", project.id);
            for every in ["", "(includeCoalesced: true)"] {
                let lists = format!("{{ {at} {{ changes{every} {{ nodes {{ {CHANGE} }} }} file(path: \"a.py\") {{ versions{every} {{ nodes {{ {VERSION} }} }}
                    blame {{ version {{ {VERSION} }} change {{ {CHANGE} }} }} }} events {{ changes {{ {CHANGE} }} }} }} }}");
                let found = project.client.gql(&lists, json!({})).await.ok()["project"].take();
                note(&found["changes"]["nodes"]);
                note(&found["file"]["versions"]["nodes"]);
                for line in found["file"]["blame"].as_array().unwrap() {
                    note(&json!([line["version"], line["change"]]));
                }
                for event in found["events"].as_array().unwrap() {
                    note(&event["changes"]);
                }
            }
        }
        // One value of each of six versions and changes, and of the runs that end at revisions 4 to 7.
        let seen = note(&json!([]));
        assert_eq!(seen.len(), 2 * (6 + 4), "{:?}", seen.keys());
        // `node` and `nodes` return the same.
        let ids: Vec<&String> = seen.keys().collect();
        let nodes = format!("query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on CodeChange {{ {CHANGE} }} ... on FileSnapshot {{ {VERSION} }} }} }}");
        let nodes = project.client.gql(&nodes, json!({ "ids": ids })).await.ok()["nodes"].take();
        assert_eq!(nodes, Value::from(seen.values().cloned().collect::<Vec<_>>()));
        for nothing in ["coalesced-change:{id}:100", "coalesced-version:{id}:100"] {
            let id = nothing.replace("{id}", ids.iter().find(|id| !id.contains(':')).unwrap());
            assert_eq!(project.client.gql("query($id: ID!) { node(id: $id) { id } }", json!({ "id": id })).await.ok()["node"], Value::Null);
        }
        // A file can be reverted to the last version of a run by the id in the list.
        let run = seen.values().find(|row| text(&row["id"]).starts_with("coalesced-version:") && row["revision"] == 5).unwrap();
        let back = json!({ "fileId": file, "snapshotId": run["id"] });
        let back = project.client.mutate("revertFile", back, "file { content }").await.ok();
        assert_eq!(back["revertFile"]["file"]["content"], run["content"]);
        // Others do not see a run.
        let eve = server.user("eve@example.com");
        assert_eq!(eve.gql("query($id: ID!) { node(id: $id) { id } }", json!({ "id": run["id"] })).await.ok()["node"], Value::Null);
        server.stop().await;
    }

    async fn a_list_takes_the_same_statements_with_coalescing(database: Database) {
        let server = Server::start_with(&database, &JOIN).await;
        let mut counts = BTreeSet::new();
        for rows in [2, 12] {
            let project = Project::create(&server.user("ada@example.com"), "Counted").await;
            for file in 0..rows / 2 {
                project.create_file(&format!("{file}.py"), "0\n").await;
                for n in 0..rows {
                    project.update_file(&format!("{file}.py"), &format!("{n}\n{file}\n")).await;
                }
            }
            let before = server.statements();
            project.ask("changes(first: 50) { totalCount nodes { coalescedCount diff additions oldContent newContent } }
                files(first: 50) { nodes { versions(first: 10) { totalCount nodes { coalescedCount diff deletions } } } }").await;
            counts.insert(server.statements() - before);
        }
        assert!(counts.len() == 1 && counts.first().is_some_and(|count| *count <= 11), "{counts:?}");
        server.stop().await;
    }
}

/// An invalid value is refused, and the error names the setting.
#[test]
fn the_window_is_at_most_a_day() {
    use antiphon::config::Cli;

    for bad in ["-1", "86401", "soon"] {
        let error =
            Cli::try_parse_from(["antiphon", &format!("--autosave-coalesce-seconds={bad}")]).unwrap_err().to_string();
        assert!(error.contains("--autosave-coalesce-seconds"), "{error}");
    }
    let cli = Cli::try_parse_from(["antiphon"]).unwrap();
    assert_eq!(cli.settings.limits.autosave_coalesce_seconds, 0);
}
