//! Given a repository and a project, when several imports run at once, next to other writers, or for other users, then
//! each commit is imported once, in order, into one project.

use std::sync::atomic::{AtomicBool, Ordering};

use antiphon::domain::import_export::{import::Progress, place::Created};
use serde_json::{Value, json};
use tests::{
    client::Client,
    database::Database,
    project::{Project, text},
    server::Server,
};

use crate::import_export::{
    Folder, Repository, assert_sound, checkpoints, create, import_reporting, import_with, operator_user, owner,
};

const ADA: [&str; 2] = ["--email", "ada@example.com"];
const BOB: [&str; 2] = ["--email", "bob@example.com"];
const COMMITS: usize = 12;

/// A repository whose commits each change one file and create another.
fn repository(folder: &Folder) -> Repository {
    let repository = Repository::init(folder.path("original"));
    for n in 1..=COMMITS {
        commit(&repository, n);
    }
    repository
}

fn commit(repository: &Repository, n: usize) {
    repository.write("a", format!("{n}\n")).write(&format!("b/{n}"), format!("{n}\n")).commit(&format!("Number {n}\n"));
}

/// Asserts that a project has each commit once, in order, and the files of the last one.
async fn assert_imported(client: &Client, project: &str, repository: &Repository) {
    let all = checkpoints(client, project).await;
    let commits: Vec<Value> = all.iter().map(|checkpoint| checkpoint["metadata"]["commit"].clone()).collect();
    assert_eq!(commits, repository.commits());
    let project = Project { client: client.clone(), id: project.to_owned() };
    let files = project.contents().await.into_iter().map(|(path, content)| (path, content.into_bytes()));
    let files: Vec<_> = files.filter(|(path, _)| !path.starts_with("notes")).collect();
    assert_eq!(files, repository.files("HEAD").into_iter().collect::<Vec<_>>());
    let versions = project.ask("file(path: \"a\") { versions { totalCount } }").await;
    assert_eq!(versions["file"]["versions"]["totalCount"], json!(commits.len()));
}

async fn projects(client: &Client) -> usize {
    client.gql("{ projects { totalCount } }", json!({})).await.ok()["projects"]["totalCount"].as_u64().unwrap() as usize
}

async fn user(client: &Client) -> Value {
    client.gql("{ viewer { id } }", json!({})).await.ok()["viewer"]["id"].take()
}

/// Makes another user a member of a project.
async fn invite(project: &Project, user_id: &Value, other: &Client, role: &str) {
    project.write("inviteCollaborator", json!({ "userId": user_id, "role": role }), "revision").await;
    let query = "mutation($id: ID!) { acceptInvitation(projectId: $id) { revision } }";
    other.gql(query, json!({ "id": project.id })).await.ok();
}

tests::on_both! {
    async fn imports_at_once_write_each_commit_once(database: Database) {
        let folder = Folder::new();
        let repository = repository(&folder);
        create(&database).await;
        // Into a new project …
        let new = [&ADA[..], &["--name", "new"]].concat();
        let (one, other, third) = tokio::join!(
            import_with(&database, &repository.0, &new),
            import_with(&database, &repository.0, &new),
            import_with(&database, &repository.0, &new),
        );
        let project = one.unwrap().0.project;
        assert_eq!([other.unwrap().0.project, third.unwrap().0.project], [project; 2]);
        let server = Server::start(&database).await;
        let ada = owner(&server).await;
        assert_eq!(projects(&ada).await, 1);
        let id = project.0.to_string();
        assert_imported(&ada, &id, &repository).await;
        // … and into one that has a part of the commits.
        for n in COMMITS + 1..=2 * COMMITS {
            commit(&repository, n);
        }
        let (one, other) = tokio::join!(
            import_with(&database, &repository.0, &new),
            import_with(&database, &repository.0, &new),
        );
        assert_eq!([one.unwrap().0.project, other.unwrap().0.project], [project; 2]);
        assert_imported(&ada, &id, &repository).await;
        let again = import_with(&database, &repository.0, &new).await.unwrap().0;
        assert_eq!((again.project, again.commits, projects(&ada).await), (project, 0, 1));
        assert_sound(&database).await;
        server.stop().await;
    }

    async fn writes_to_other_files_do_not_stop_an_import(database: Database) {
        let folder = Folder::new();
        let repository = Repository::init(folder.path("original"));
        commit(&repository, 1);
        let imported = import_with(&database, &repository.0, &[&ADA[..], &["--name", "n"]].concat()).await.unwrap().0;
        for n in 2..=COMMITS {
            commit(&repository, n);
        }
        let server = Server::start(&database).await;
        let project = Project { client: owner(&server).await, id: imported.project.0.to_string() };
        let is_done = AtomicBool::new(false);
        let write = async |name: &str| {
            let mut n = 0;
            while !is_done.load(Ordering::Relaxed) {
                n += 1;
                let files = json!([{ "path": format!("notes/{name}"), "content": n.to_string() }]);
                project.write("syncFiles", json!({ "files": files }), "revision").await;
            }
            assert!(n > 1);
        };
        let import = async {
            let imported = import_with(&database, &repository.0, &[&ADA[..], &["--name", "n"]].concat()).await;
            is_done.store(true, Ordering::Relaxed);
            imported
        };
        let (imported, ..) = tokio::join!(import, write("one"), write("two"), write("three"));
        assert_eq!(imported.unwrap().0.commits, COMMITS - 1);
        assert_imported(&project.client, &project.id, &repository).await;
        assert_sound(&database).await;
        server.stop().await;
    }

    async fn an_import_continues_for_another_user(database: Database) {
        // Given a project that was imported for a user and handed over to another one …
        let folder = Folder::new();
        let repository = Repository::init(folder.path("original"));
        commit(&repository, 1);
        let named = |user: [&'static str; 2]| [&user[..], &["--name", "n"]].concat();
        let first = import_with(&database, &repository.0, &named(ADA)).await.unwrap().0.project;
        let id = first.0.to_string();
        let server = Server::start(&database).await;
        let (ada, bob) = (owner(&server).await, operator_user(&server, BOB[1]).await);
        let of_ada = Project { client: ada.clone(), id: id.clone() };
        let bobs_id = user(&bob).await;
        invite(&of_ada, &bobs_id, &bob, "EDITOR").await;
        of_ada.client.mutate_with("transferOwnership", json!({ "projectId": id, "userId": bobs_id }), "revision").await.ok();

        // … when it is imported again for each of them, then the import goes on in this project, in own sessions.
        for (n, user) in [(2, BOB), (3, ADA), (4, BOB)] {
            commit(&repository, n);
            let imported = import_with(&database, &repository.0, &named(user)).await.unwrap().0;
            assert_eq!((imported.project, imported.commits), (first, 1), "{n}");
        }
        assert_imported(&ada, &id, &repository).await;
        let sessions = of_ada.ask("sessions { nodes { author { id } isActive } }").await;
        let authors: Vec<&Value> = sessions["sessions"]["nodes"].as_array().unwrap().iter().map(|session| &session["author"]["id"]).collect();
        let adas_id = user(&ada).await;
        assert_eq!(authors, [&bobs_id, &adas_id, &bobs_id, &adas_id]);

        // A renamed project is found by its id, and by its history if no name is given.
        let of_bob = of_ada.of(&bob);
        let renamed = json!({ "id": id, "name": "Renamed" });
        bob.mutate("updateProject", renamed, "project { id }").await.ok();
        for (n, more) in [(5, &[&ADA[..], &["--project", &id]].concat()), (6, &BOB.to_vec()), (7, &ADA.to_vec())] {
            commit(&repository, n);
            let imported = import_with(&database, &repository.0, more).await.unwrap().0;
            assert_eq!((imported.project, imported.commits), (first, 1), "{n}");
        }
        assert_imported(&ada, &id, &repository).await;

        // Another name creates a project, and the report names the other one.
        let mut reported: Vec<Created> = Vec::new();
        let mut report = |progress| if let Progress::Created(created) = progress { reported.push(created) };
        let other = import_reporting(&database, &repository.0, &named(ADA), &mut report).await.unwrap();
        assert_eq!((other.commits, reported.len()), (7, 1));
        assert_eq!((reported[0].project, reported[0].name.as_str()), (other.project, "n"));
        assert_eq!(reported[0].others, [(first, "Renamed".to_owned())]);
        assert_eq!(import_with(&database, &repository.0, &named(ADA)).await.unwrap().0.project, other.project);
        let several = import_with(&database, &repository.0, &ADA).await.unwrap_err().to_string();
        assert!(several.contains("--project") && several.contains(&id), "{several}");

        // Those who cannot write cannot import.
        let carol = operator_user(&server, "carol@example.com").await;
        let with_id = ["--email", "carol@example.com", "--project", &id];
        let stranger = import_with(&database, &repository.0, &with_id).await.unwrap_err().to_string();
        assert!(stranger.contains("There is no such project"), "{stranger}");
        invite(&of_bob, &user(&carol).await, &carol, "VIEWER").await;
        let viewer = import_with(&database, &repository.0, &with_id).await.unwrap_err().to_string();
        assert!(viewer.contains("Viewers"), "{viewer}");
        assert_sound(&database).await;
        server.stop().await;
    }

    async fn messages_of_the_user_in_the_session_of_an_import_do_not_stop_it(database: Database) {
        let folder = Folder::new();
        let repository = repository(&folder);
        let start = import_with(&database, &repository.0, &[&ADA[..], &["--name", "n", "--max", "2"]].concat()).await.unwrap().0;
        let server = Server::start(&database).await;
        let project = Project { client: owner(&server).await, id: start.project.0.to_string() };
        let session = project.ask("activeSession { id }").await["activeSession"]["id"].take();
        project.add_message(&text(&session), "Hello", false).await;
        let next = import_with(&database, &repository.0, &[&ADA[..], &["--name", "n", "--max", "3"]].concat()).await.unwrap().0;
        assert_eq!((next.project, next.commits), (start.project, 3));
        // The session ends if the user starts another one.
        project.start_session().await;
        let last = import_with(&database, &repository.0, &[&ADA[..], &["--name", "n"]].concat()).await.unwrap().0;
        assert_eq!((last.project, last.commits), (start.project, COMMITS - 5));
        assert_imported(&project.client, &project.id, &repository).await;
        server.stop().await;
    }
}
