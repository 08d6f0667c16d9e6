//! Given no database at the path of the settings, when a command needs one, then it says so and how to name it, and creates nothing.

use std::{fs, process::Output};

use tests::database::Database;

use super::stopped_commands::child;

/// The id of no project.
const PROJECT: &str = "0198f3a0-0000-7000-8000-000000000001";

/// Runs a command in the folder of the database.
async fn run(database: &Database, arguments: &[&str]) -> Output {
    let folder = database.file().unwrap().parent().unwrap().to_owned();
    let mut child = child(database, &folder, arguments);
    child.current_dir(&folder);
    tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap()
}

/// The names of the files in the folder of the database.
fn files(database: &Database) -> Vec<String> {
    let folder = database.file().unwrap().parent().unwrap().to_owned();
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

tests::on_sqlite! {
    async fn only_a_start_and_a_migration_create_a_database(database: Database) {
        let commands: [&[&str]; 10] = [
            &["import", "project.antiphon"],
            &["import", "--git", "."],
            &["export", PROJECT, "--to", "project.zip"],
            &["export", PROJECT, "--to", "whole.antiphon"],
            &["export", PROJECT, "--git", "history"],
            &["verify"],
            &["backup", "backup.db"],
            &["purge", "--days", "0"],
            &["migrate", "--down", "1"],
            &["token", "--email", "ada@example.com"],
        ];
        for arguments in commands {
            let ended = run(&database, arguments).await;
            let said = String::from_utf8(ended.stderr).unwrap();
            assert!(!ended.status.success(), "{arguments:?}");
            for words in ["antiphon: there is no database at ", "antiphon.db: ", "DATABASE_URL=sqlite:///", "`antiphon migrate`"] {
                assert!(said.contains(words), "{arguments:?}: {said}");
            }
            assert_eq!(files(&database), [""; 0], "{arguments:?}");
        }
        for arguments in [&["doctor"][..], &["top", "--once", "--metrics-listen", "127.0.0.1:1"]] {
            run(&database, arguments).await;
            assert_eq!(files(&database), [""; 0], "{arguments:?}");
        }

        // An interrupted first start can leave an empty file.
        let file = database.file().unwrap();
        fs::write(&file, "").unwrap();
        let ended = run(&database, &["verify"]).await;
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!ended.status.success() && said.contains("antiphon.db is empty, and not a database of antiphon"), "{said}");
        assert_eq!((files(&database), fs::metadata(&file).unwrap().len()), (vec!["antiphon.db".to_owned()], 0));

        assert!(run(&database, &["migrate"]).await.status.success());
        assert!(run(&database, &["verify"]).await.status.success());
    }
}
