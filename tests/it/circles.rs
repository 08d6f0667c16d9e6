//! Given three files that change places in a circle while one of them becomes a link or a plain file, in one write or
//! several, then every past state, restore, undo and export is equal to a plain list of what was written.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::{
    database::Kind,
    project::{Project, number, text},
    server::Server,
};

use super::import_export::{Folder, Repository, export};

/// Mode and content by path.
type Model = BTreeMap<String, (String, String)>;

const PATHS: [&str; 3] = ["a", "b", "c"];

async fn files_at(project: &Project, at: Option<i64>) -> Model {
    let at = at.map(|at| format!("(at: {at})")).unwrap_or_default();
    let files = project.ask(&format!("files{at} {{ nodes {{ path mode content }} }}")).await["files"]["nodes"].take();
    let file = |file: &Value| (text(&file["path"]), (text(&file["mode"]), text(&file["content"])));
    files.as_array().unwrap().iter().map(file).collect()
}

fn input(model: &Model) -> Vec<Value> {
    model.iter().map(|(path, (mode, content))| json!({ "path": path, "mode": mode, "content": content })).collect()
}

/// Each file at the place of the one before it; the file that was at `turned` changes between a plain file and a link.
fn turn(model: &Model, turned: &str) -> Model {
    let places = PATHS.iter().zip(PATHS.iter().cycle().skip(1));
    let moved = places.map(|(from, to)| {
        let (mode, content) = &model[*from];
        let other = if mode == "SYMLINK" { "FILE" } else { "SYMLINK" };
        let mode = if *from == turned { other } else { mode };
        ((*to).to_owned(), (mode.to_owned(), content.clone()))
    });
    moved.collect()
}

async fn sync(project: &Project, model: &Model) -> i64 {
    number(
        &project.write("syncFiles", json!({ "mode": "MIRROR", "files": input(model) }), "revision").await["revision"],
    )
}

/// The same by renames and changes of the mode.
async fn move_in_steps(project: &Project, model: &Model, turned: &str) -> i64 {
    for (path, new_path) in [("c", "t"), ("b", "c"), ("a", "b"), ("t", "a")] {
        project.write("renameFile", json!({ "path": path, "newPath": new_path }), "revision").await;
    }
    let moved = PATHS[(PATHS.iter().position(|path| *path == turned).unwrap() + 1) % 3];
    let change = json!({ "path": moved, "mode": model[moved].0 });
    number(&project.write("updateFile", change, "revision").await["revision"])
}

/// The tree of a commit.
fn committed(repository: &Repository, commit: &str) -> Model {
    let listed = repository.git(&["ls-tree", "-r", commit]);
    let file = |line: &str| {
        let (head, path) = line.split_once('\t').unwrap();
        let mut head = head.split(' ');
        let mode = match head.next().unwrap() {
            "120000" => "SYMLINK",
            "100755" => "EXECUTABLE",
            _ => "FILE",
        };
        let content = repository.git_bytes(&["cat-file", "blob", head.nth(1).unwrap()]);
        (path.to_owned(), (mode.to_owned(), String::from_utf8(content).unwrap()))
    };
    listed.lines().filter(|line| !line.is_empty()).map(file).collect()
}

/// Contents that are also possible targets of links.
fn start(modes: [&str; 3], is_long: bool) -> Model {
    let content = |path: &str| {
        if is_long {
            (0..20).map(|n| format!("{path}{n}")).collect::<Vec<_>>().join("\n")
        } else {
            format!("to-{path}")
        }
    };
    PATHS.iter().zip(modes).map(|(path, mode)| ((*path).to_owned(), (mode.to_owned(), content(path)))).collect()
}

async fn check(server: &Server, first: Model, turned: &str, in_steps: bool) {
    let said =
        format!("{:?}, {turned} turns, in steps: {in_steps}", first.values().map(|file| &file.0).collect::<Vec<_>>());
    let project = Project::create(&server.user("ada@example.com"), "Circle").await;
    let mut history = vec![(sync(&project, &first).await, first)];
    for _ in 0..3 {
        let next = turn(&history.last().unwrap().1, turned);
        let revision =
            if in_steps { move_in_steps(&project, &next, turned).await } else { sync(&project, &next).await };
        assert_eq!(files_at(&project, None).await, next, "{said}");
        history.push((revision, next));
    }
    for (from, before) in &history {
        assert_eq!(&files_at(&project, Some(*from)).await, before, "{said}");
    }
    if !in_steps {
        // Undone newest first, and done again.
        for (_, earlier) in history.iter().rev().skip(1) {
            project.write("undo", json!({}), "revision").await;
            assert_eq!(&files_at(&project, None).await, earlier, "undo: {said}");
        }
        for (_, later) in history.iter().skip(1) {
            project.write("redo", json!({}), "revision").await;
            assert_eq!(&files_at(&project, None).await, later, "redo: {said}");
        }
    }
    for (revision, model) in [&history[1], &history[0], &history[2]] {
        let query = "query($id: ID!, $to: Int!) { project(id: $id) { restorePreview(to: { revision: $to }) { diff { type path oldPath } } } }";
        let preview = project.client.gql(query, json!({ "id": project.id, "to": revision })).await.ok();
        let restored = project
            .write("restoreRevision", json!({ "revision": revision }), "changes { type path oldPath } revision")
            .await;
        assert_eq!(&files_at(&project, None).await, model, "restore: {said}");
        let sorted = |changes: &Value| {
            let mut changes: Vec<String> = changes.as_array().unwrap().iter().map(Value::to_string).collect();
            changes.sort();
            changes
        };
        assert_eq!(sorted(&preview["project"]["restorePreview"]["diff"]), sorted(&restored["changes"]), "{said}");
        let last = number(&restored["revision"]);
        project.write("undo", json!({ "revision": last }), "revision").await;
        project.write("restoreRevision", json!({ "revision": last }), "revision").await;
        assert_eq!(&files_at(&project, None).await, model, "undo of a restore: {said}");
    }
    for path in PATHS {
        let file =
            project.ask(&format!("file(path: \"{path}\") {{ versions {{ nodes {{ path mode content }} }} }}")).await;
        let newest = &file["file"]["versions"]["nodes"][0];
        let (mode, content) = &history[2].1[path];
        assert_eq!(newest, &json!({ "path": path, "mode": mode, "content": content }), "{said}");
    }
    let folder = Folder::new();
    let target = folder.path("exported");
    export(server.database(), &project.id, &["--git", target.to_str().unwrap()]).await.unwrap();
    let repository = Repository(target);
    assert_eq!(committed(&repository, "HEAD"), history[2].1, "{said}");
}

tests::on_both! {
    async fn a_circle_of_links_and_files_is_as_it_was_written(server: Server) {
        for (way, modes) in [["FILE"; 3], ["SYMLINK"; 3], ["FILE", "SYMLINK", "FILE"]].into_iter().enumerate() {
            for (at, turned) in PATHS.iter().enumerate() {
                // A sample on the second database, with each way, each place, and both lengths and kinds of writes.
                if server.database().kind() == Kind::Postgres && at != (way + 1) % 3 {
                    continue;
                }
                let is_long = (way + at) % 2 == 0;
                check(&server, start(modes, is_long), turned, at % 2 == 0).await;
            }
        }
    }
}
