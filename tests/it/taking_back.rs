//! Given a database with data, when its migrations are to be rolled back, then the operator sees what will be lost, and
//! nothing is lost without their consent.

use antiphon::commands;
use migration::{Migrator, MigratorTrait};
use serde_json::json;
use tests::{
    database::Database,
    project::Project,
    server::{self, Server, settings},
};

tests::on_both! {
    async fn commands_that_read_refuse_an_older_database_and_leave_it(database: Database) {
        server::migrate(&database).await;
        let settings = settings(&database.url(), &[]);
        let taken = commands::take_back(&settings, 1, true, &mut |_| {}).await.unwrap();
        let count = async || database.execute("UPDATE seaql_migrations SET applied_at = applied_at").await;
        let before = count().await;
        let refused = [
            commands::verify(&settings, None, &mut |_, _| {}).await.map(drop),
            commands::purge(&settings, 30, false).await.map(drop),
            commands::purge(&settings, 30, true).await.map(drop),
        ];
        for refused in refused {
            let refused = format!("{:#}", refused.unwrap_err());
            assert!(refused.contains(&taken[0]) && refused.contains("run `antiphon migrate`"), "{refused}");
        }
        assert_eq!(count().await, before);
        assert_eq!(commands::migrate(&settings).await.unwrap(), taken);
        commands::verify(&settings, None, &mut |_, problem| panic!("{problem}")).await.unwrap();
    }

    async fn migrations_are_rolled_back_only_after_consent(database: Database) {
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Taken back").await;
        let session = project.start_session().await;
        for content in ["One", "Two", "Three"] {
            project.add_message(&session, content, false).await;
        }
        project.create_file("a.py", "a\n").await;
        let before = project.state().await;
        server.stop().await;
        let settings = settings(&database.url(), &[]);
        let all = u32::try_from(Migrator::migrations().len()).unwrap();
        let roll_back = async |steps, confirmed| {
            let mut lost = Vec::new();
            let names = commands::take_back(&settings, steps, confirmed, &mut |loss| lost.push(loss)).await;
            (names.map_err(|error| format!("{error:#}")), lost)
        };

        // The losses are reported, with the option that permits them, and nothing has changed …
        let (refused, lost) = roll_back(all, false).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains("nothing has changed") && refused.contains("--yes"), "{refused}");
        for loss in ["table chat_messages with 3 rows", "table projects with 1 row", "table blobs with 1 row"] {
            assert!(lost.iter().any(|lost| lost == loss), "{loss}: {lost:?}");
        }
        let server = Server::start(&database).await;
        let project = project.of(&server.user("ada@example.com"));
        assert_eq!(project.state().await, before);
        server.stop().await;

        // … a number of migrations that is too large is refused …
        let (refused, lost) = roll_back(all + 1, true).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains(&format!("--down {}", all + 1)) && refused.contains(&format!("{all} migrations")), "{refused}");
        assert_eq!(lost, [""; 0]);

        // … and with the option they are rolled back, and can be applied again.
        let (taken, lost) = roll_back(all, true).await;
        assert_eq!(taken.unwrap().len(), all as usize);
        assert!(lost.contains(&"table chat_messages with 3 rows".to_owned()), "{lost:?}");
        server::migrate(&database).await;
        let server = Server::start(&database).await;
        let ada = server.user("ada@example.com");
        assert_eq!(ada.gql("{ projects { nodes { name } } }", json!({})).await.ok()["projects"]["nodes"], json!([]));
        server.stop().await;
    }
}
