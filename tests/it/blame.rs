//! Given a file that many have written, when somebody requests its blame, then each line names its version, change,
//! message and author.

use serde_json::{Value, json};
use tests::{
    database::Kind,
    project::{Project, each, number, text},
    server::{Server, user_id},
};

/// First line, last line and version of each range.
async fn blame(project: &Project, path: &str) -> Vec<(i64, i64, i64)> {
    let select = format!("file(path: \"{path}\") {{ blame {{ startLine endLine version {{ version }} }} }}");
    let file = project.ask(&select).await["file"].take();
    let ranges = file["blame"].as_array().unwrap_or_else(|| panic!("no list, but {file}"));
    ranges
        .iter()
        .map(|range| (number(&range["startLine"]), number(&range["endLine"]), number(&range["version"]["version"])))
        .collect()
}

tests::on_sqlite! {
    async fn lines_that_can_be_older_than_the_examined_versions_are_marked(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Old").await;
        let text = |n: usize| format!("first\n{n}\nlast\n");
        project.create_file("a", &text(1)).await;
        let mut expected = Vec::new();
        // The first version is among the last 1,000, and then it is not.
        for versions in [2..=1_000, 1_001..=1_001] {
            let write = |n: usize| {
                let input = json!({ "projectId": project.id, "path": "a", "content": text(n) });
                (format!("$v{n}: UpdateFileInput!"), format!("v{n}: updateFile(input: $v{n}) {{ revision }}"), input)
            };
            for part in versions.collect::<Vec<_>>().chunks(30) {
                let writes: Vec<_> = part.iter().map(|n| write(*n)).collect();
                let [variables, fields] = [0, 1].map(|at| {
                    let of = |(variable, field, _): &(String, String, _)| [variable, field][at].clone();
                    writes.iter().map(of).collect::<Vec<_>>().join(" ")
                });
                let inputs: Value = part.iter().zip(&writes).map(|(n, write)| (format!("v{n}"), write.2.clone())).collect();
                project.client.gql(&format!("mutation({variables}) {{ {fields} }}"), inputs).await.ok();
            }
            let select = "file(path: \"a\") { blame { startLine endLine isBoundary version { version } } }";
            let ranges = project.ask(select).await["file"]["blame"].take();
            expected.push(each(&ranges, "isBoundary"));
        }
        assert_eq!(expected, [[false, false, false], [true, false, true]].map(|marks| marks.map(Value::from).to_vec()));
    }
}

tests::on_both! {
    async fn every_line_names_its_author_and_message(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Blamed").await;
        let session = project.start_session().await;
        let (first, second) = (project.add_message(&session, "First", true).await, project.add_message(&session, "Second", true).await);
        let write = |message: &str, content: &str, why: &str| {
            json!({ "path": "a", "content": content, "messageId": message, "changeDescription": why })
        };
        project.write("createFile", write(&first, "1\n2\n3\n4\n", "Begun"), "revision").await;
        project.write("updateFile", write(&second, "1\ntwo\n3\n4\n", "In words"), "revision").await;
        project.update_file("a", "0\n1\ntwo\n3\n").await;

        let select = "file(path: \"a\") { blame { startLine endLine version { version content }
            change { revision type changeDescription diff } message { id content } author { id } } }";
        let ranges = project.ask(select).await["file"]["blame"].take();
        let ada = user_id("ada@example.com");
        let shown: Vec<Value> = ranges
            .as_array()
            .unwrap()
            .iter()
            .map(|range| {
                assert_eq!(range["author"]["id"], ada);
                json!([range["startLine"], range["endLine"], range["version"]["version"],
                    range["change"]["type"], range["change"]["changeDescription"], range["message"]["content"]])
            })
            .collect();
        assert_eq!(shown, [
            json!([1, 1, 3, "UPDATE", null, null]),
            json!([2, 2, 1, "CREATE", "Begun", "First"]),
            json!([3, 3, 2, "UPDATE", "In words", "Second"]),
            json!([4, 4, 1, "CREATE", "Begun", "First"]),
        ]);
        assert_eq!(text(&ranges[2]["version"]["content"]), "1\ntwo\n3\n4\n");
    }

    async fn blame_follows_a_file_through_renames_and_reverts(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Followed").await;
        let file = project.create_file("a", "1\n2\n3\n").await;
        project.write("renameFile", json!({ "path": "a", "newPath": "lib/b" }), "revision").await;
        assert_eq!(blame(&project, "lib/b").await, [(1, 3, 1)]);
        project.update_file("lib/b", "1\nB\n3\n").await;
        assert_eq!(blame(&project, "lib/b").await, [(1, 1, 1), (2, 2, 3), (3, 3, 1)]);
        // Lines that a revert restores keep their author.
        let query = "mutation($id: ID!) { revertFile(input: { fileId: $id, version: 1 }) { revision } }";
        project.client.gql(query, json!({ "id": file })).await.ok();
        assert_eq!(blame(&project, "lib/b").await, [(1, 3, 1)]);
        // So do lines that are restored after a deletion.
        project.write("deleteFile", json!({ "path": "lib/b" }), "revision").await;
        project.client.gql(query, json!({ "id": file })).await.ok();
        assert_eq!(blame(&project, "lib/b").await, [(1, 3, 1)]);
        project.update_file("lib/b", "1\n2\n3\n4").await;
        assert_eq!(blame(&project, "lib/b").await, [(1, 3, 1), (4, 4, 7)]);
    }

    async fn blame_at_a_past_revision_covers_that_revision(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Then").await;
        project.create_file("a", "1\n2\n").await;
        project.update_file("a", "1\ntwo\n").await;
        project.update_file("a", "new\n").await;
        for (revision, expected) in [(2, vec![(1, 2, 1)]), (3, vec![(1, 1, 1), (2, 2, 2)]), (4, vec![(1, 1, 3)])] {
            let select = format!("file(path: \"a\", at: {revision}) {{ blame {{ startLine endLine version {{ version }} }} }}");
            let ranges = project.ask(&select).await["file"]["blame"].take();
            let shown: Vec<_> = ranges.as_array().unwrap().iter()
                .map(|range| (number(&range["startLine"]), number(&range["endLine"]), number(&range["version"]["version"])))
                .collect();
            assert_eq!(shown, expected, "as of {revision}");
        }
    }

    async fn files_without_lines_have_no_blame(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Lines").await;
        project.write("createFile", json!({ "path": "folder", "type": "FOLDER" }), "revision").await;
        project.create_file("empty", "").await;
        project.write("createFile", json!({ "path": "bytes", "contentBase64": "/wA=" }), "revision").await;
        for path in ["folder", "empty", "bytes"] {
            assert_eq!(blame(&project, path).await, [], "{path}");
        }
        // Binary contents that become text are entirely new, an emptied file starts anew, and line ends belong to their
        // lines.
        project.update_file("bytes", "1\n2\n").await;
        assert_eq!(blame(&project, "bytes").await, [(1, 2, 2)]);
        project.update_file("bytes", "").await;
        project.update_file("bytes", "1\r\n2").await;
        assert_eq!(blame(&project, "bytes").await, [(1, 2, 4)]);
        project.update_file("bytes", "1\r\n2\n").await;
        assert_eq!(blame(&project, "bytes").await, [(1, 1, 4), (2, 2, 5)]);
        let deleted = project.create_file("deleted", "1\n").await;
        project.write("deleteFile", json!({ "path": "deleted" }), "revision").await;
        let query = "query($id: ID!) { node(id: $id) { ... on ProjectFile { blame { startLine } } } }";
        let deleted = project.client.gql(query, json!({ "id": deleted })).await.ok();
        assert_eq!(deleted["node"]["blame"], json!([]));
    }

    async fn several_files_together_have_the_same_blame_as_alone(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Together").await;
        // On one database, three of the four versions fit into the 16 MiB that are held at once.
        let long = "x".repeat(if server.database().kind() == Kind::Sqlite { 4_300_000 } else { 100_000 });
        for path in ["a", "b"] {
            project.create_file(path, &format!("{path}{long}\n")).await;
            project.update_file(path, &format!("{path}{long}\nlast\n")).await;
        }
        project.create_file("d", "1\n2\n").await;
        project.update_file("d", "1\ntwo\n").await;
        let files = project.ask("files { nodes { path blame { startLine endLine version { version path } } } }").await;
        for file in files["files"]["nodes"].as_array().unwrap() {
            let range = |n: i64| json!({ "startLine": n, "endLine": n, "version": { "version": n, "path": file["path"] } });
            assert_eq!(file["blame"], json!([range(1), range(2)]), "{}", file["path"]);
        }
    }

    async fn unchanged_lines_keep_their_author_whatever_happens_around_them(server: Server) {
        let project = Project::create(&server.user("ada@example.com"), "Long").await;
        let lines: Vec<String> = (0..60).map(|n| format!("line {n}")).collect();
        project.create_file("a", &(lines.join("\n") + "\n")).await;
        let mut edited = lines.clone();
        edited[10] = "changed".to_owned();
        edited.remove(30);
        edited.insert(45, "put in".to_owned());
        project.update_file("a", &(edited.join("\n") + "\n")).await;
        edited.push("last".to_owned());
        project.update_file("a", &(edited.join("\n") + "\n")).await;
        let expected = [(1, 10, 1), (11, 11, 2), (12, 45, 1), (46, 46, 2), (47, 60, 1), (61, 61, 3)];
        assert_eq!(blame(&project, "a").await, expected);
    }
}
