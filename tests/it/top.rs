//! Given a running server, when the operator looks at it with `antiphon top`, then the page shows what it does now.

use antiphon::commands::Top;
use serde_json::json;
use tests::{
    database::{Database, Kind},
    project::Project,
    server::{Server, settings},
};

tests::on_both! {
    async fn a_page_shows_operations_subscriptions_and_projects(database: Database) {
        let server = Server::start_with(&database, &["--metrics-listen", "127.0.0.1:0"]).await;
        let ada = server.user("ada@example.com");
        let project = Project::create(&ada, "Live \u{1b}[31m").await;
        let mut subscription = project.listen(0, "revision").await;
        let metrics = server.operator().base().trim_start_matches("http://").to_owned();
        let flags = ["--metrics-listen", metrics.as_str()];
        let mut top = Top::begin(&settings(&database.url(), &flags)).await.unwrap();
        for _ in 0..3 {
            ada.gql("query Names { projects { nodes { name } } }", json!({})).await.ok();
        }
        subscription.event().await;
        // Users are written to the database shortly after they arrive.
        let mut page = top.page().await.unwrap();
        for _ in 0..200 {
            if page.contains("Live [31m") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            page = top.page().await.unwrap();
        }
        assert!(page.contains("subscriptions 1 ") && page.contains("query Names "), "{page}");
        assert!(!page.contains(" -0"), "{page}");
        assert!(page.contains("Live [31m") && !page.contains('\u{1b}'), "{page}");
        let row = page.lines().find(|line| line.starts_with("Live")).unwrap();
        // Nobody is present in this project.
        Project::create(&ada, "Quiet").await;
        assert!(top.page().await.unwrap().lines().any(|line| line.starts_with("Quiet")));
        let users = if database.kind() == Kind::Postgres { " 1 " } else { " - " };
        assert!(row.contains(users), "{page}");
        if database.kind() == Kind::Postgres {
            let mut top = Top::begin(&settings(&database.server_url(), &flags)).await.unwrap();
            assert!(top.page().await.unwrap().contains("owner's login"));
        }
        drop(subscription);
        server.stop().await;
        let gone = top.page().await.unwrap_err();
        assert!(format!("{gone:#}").contains("METRICS_LISTEN"), "{gone:#}");
        let refused = Top::begin(&settings(&database.url(), &[])).await.err().expect("refused");
        assert!(format!("{refused:#}").contains("METRICS_LISTEN"), "{refused:#}");
    }
}
