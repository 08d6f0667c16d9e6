//! Given PostgreSQL behind a pooler, when the service uses it, then it works, or reports why it does not, and no table
//! is created in the wrong schema.

use antiphon::{
    app::App,
    commands,
    config::{Cli, Serve},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tests::{
    client::Client,
    database::{Database, Kind},
    pgbouncer::PgBouncer,
    project::Project,
    server::{run_with_database, settings, token},
};

use super::database_faults::use_at_once;

async fn tables(database: &Database) -> Vec<String> {
    let mut connection = PgConnection::connect(&database.admin_url()).await.unwrap();
    let count = "SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'projects' ORDER BY 1";
    sqlx::raw_sql(AssertSqlSafe(count)).fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Some reads and writes on a running server, with a subscription.
async fn work(app: App) {
    let ada = Client::new(&format!("http://{}", app.address().unwrap()), Some(token("ada@example.com")));
    let project = Project::create(&ada, "Pooled").await;
    let mut subscription = project.listen(0, "revision").await;
    project.create_file("a.py", "a\n").await;
    assert_eq!(subscription.event().await["projectEvents"]["revision"], 1);
    assert_eq!(subscription.event().await["projectEvents"]["revision"], 2);
    for _ in 0..20 {
        assert_eq!(project.contents().await, [("a.py".to_owned(), "a\n".to_owned())]);
    }
    drop(subscription);
    app.stop().await;
}

async fn examined(url: &str, flags: &[&str]) -> String {
    commands::examine(&settings(url, flags)).await.iter().map(ToString::to_string).collect()
}

#[test]
fn pgbouncer_with_fewer_connections_than_the_pool_serves_everybody() {
    run_with_database(Kind::Postgres, async |database| {
        let settings_of_pooler = ["pool_mode = session", "default_pool_size = 3"];
        let Some(pooler) = PgBouncer::start(&database.url(), &settings_of_pooler) else { return };
        let url = pooler.url(&database.url());
        let flags = ["--notify=false", "--database-acquire-seconds=60"];
        let app = App::start(settings(&url, &flags), Serve::default()).await.unwrap();
        let base = format!("http://{}", app.address().unwrap());
        let clients = (0..16).map(|n| Client::new(&base, Some(token(&format!("user{n}@example.com")))));
        assert_eq!(use_at_once(clients.collect()).await, [""; 0]);
        app.stop().await;
    });
}

#[test]
fn pgbouncer_with_its_default_settings_serves() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::blank(Kind::Postgres).await;
        let Some(pooler) = PgBouncer::start(&database.url(), &[]) else { return };
        let url = pooler.url(&database.url());
        commands::migrate(&settings(&url, &[])).await.unwrap();
        assert_eq!(tables(&database).await, ["public"]);
        let report = examined(&url, &[]).await;
        assert!(!report.contains("BROKEN") && report.contains("ok       pooler"), "{report}");
        work(App::start(settings(&url, &[]), Serve::default()).await.unwrap()).await;

        // The schema setting needs no start-up option, which this pooler refuses.
        database.execute("CREATE SCHEMA \"Anti Phon\"").await;
        let flags = ["--database-schema", "Anti Phon"];
        commands::migrate(&settings(&url, &flags)).await.unwrap();
        assert_eq!(tables(&database).await, ["Anti Phon", "public"]);
        work(App::start(settings(&url, &flags), Serve::default()).await.unwrap()).await;
        let refused =
            commands::migrate(&settings(&format!("{url}?options=-csearch_path%3Dpublic"), &[])).await.unwrap_err();
        assert!(format!("{refused:#}").contains("unsupported startup parameter: options"), "{refused:#}");
        database.remove().await;
    });
}

#[test]
fn a_pooler_in_transaction_mode_is_refused_with_the_reason() {
    run_with_database(Kind::Postgres, async |database| {
        for more in [
            &[][..],
            &["server_round_robin = 1", "default_pool_size = 4"],
            &["default_pool_size = 1", "pool_mode = transaction"],
        ] {
            let Some(pooler) = PgBouncer::start(&database.url(), &[&["pool_mode = transaction"], more].concat()) else {
                return;
            };
            let url = pooler.url(&database.server_url());
            let refused = App::start(settings(&url, &[]), Serve::default()).await.err().expect("refused");
            assert!(format!("{refused:#}").contains("a pooler in transaction mode"), "{more:?}: {refused:#}");
            let refused = commands::migrate(&settings(&pooler.url(&database.url()), &[])).await.unwrap_err();
            assert!(format!("{refused:#}").contains("a pooler in transaction mode"), "{more:?}: {refused:#}");
            let report = examined(&url, &[]).await;
            assert!(report.contains("BROKEN") && report.contains("transaction mode"), "{report}");
        }
    });
}

#[test]
fn no_table_is_created_in_the_wrong_schema() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::blank(Kind::Postgres).await;
        database.execute("CREATE SCHEMA agents").await;
        let Some(pooler) = PgBouncer::start(&database.url(), &["ignore_startup_parameters = options"]) else { return };
        let dropped = format!("{}?options=-csearch_path%3Dagents", pooler.url(&database.url()));
        let refused = format!("{:#}", commands::migrate(&settings(&dropped, &[])).await.unwrap_err());
        assert!(refused.contains("\"agents\"") && refused.contains("DATABASE_SCHEMA=agents"), "{refused}");
        assert!(!refused.contains("antiphon-test"), "{refused}");
        assert!(tables(&database).await.is_empty());
        let refused = App::start(settings(&dropped, &[]), Serve { migrate: true, ..Serve::default() })
            .await
            .err()
            .expect("refused");
        assert!(format!("{refused:#}").contains("DATABASE_SCHEMA=agents"), "{refused:#}");
        let report = examined(&dropped, &[]).await;
        assert!(report.contains("DATABASE_SCHEMA=agents") && report.contains("BROKEN"), "{report}");
        assert!(tables(&database).await.is_empty());

        // The setting selects the schema, and a missing schema prevents the start.
        let flags = ["--database-schema", "agents"];
        commands::migrate(&settings(&dropped, &flags)).await.unwrap();
        assert_eq!(tables(&database).await, ["agents"]);
        work(App::start(settings(&dropped, &flags), Serve::default()).await.unwrap()).await;
        let refused =
            commands::migrate(&settings(&database.url(), &["--database-schema", "missing"])).await.unwrap_err();
        assert!(format!("{refused:#}").contains("there is no schema \"missing\""), "{refused:#}");
        assert_eq!(tables(&database).await, ["agents"]);
        database.remove().await;
    });
}

#[test]
fn a_schema_with_an_odd_name_works_or_is_refused_in_words() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::blank(Kind::Postgres).await;
        for name in ["o'x", "a''b", "$user", "$$", "pg_temp", "a{uuid}b"] {
            let refused =
                Cli::try_parse_from(["antiphon", "migrate", "--database-schema", name]).unwrap_err().to_string();
            assert!(refused.contains("CREATE SCHEMA antiphon"), "{name}: {refused}");
        }
        // However it is asked for.
        database.execute("CREATE SCHEMA \"o'x\"; CREATE SCHEMA \"a\"\"b, c\"").await;
        let url = format!("{}?options=-csearch_path%3D%22o'x%22", database.url());
        let refused = format!("{:#}", commands::migrate(&settings(&url, &[])).await.unwrap_err());
        assert!(refused.contains("\"o'x\"") && refused.contains("apostrophe"), "{refused}");
        let examined = examined(&url, &[]).await;
        assert!(examined.contains("BROKEN") && examined.contains("apostrophe"), "{examined}");
        assert!(tables(&database).await.is_empty());

        let flags = ["--database-schema", "a\"b, c"];
        commands::migrate(&settings(&database.url(), &flags)).await.unwrap();
        assert_eq!(tables(&database).await, ["a\"b, c"]);
        // The server's login has no rights in it by itself.
        work(App::start(settings(&database.server_url(), &flags), Serve::default()).await.unwrap()).await;
        database.remove().await;
    });
}

#[test]
fn a_schema_in_the_url_works_without_a_pooler() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::blank(Kind::Postgres).await;
        database.execute("CREATE SCHEMA agents").await;
        let url = format!("{}?options=-csearch_path%3Dagents", database.url());
        commands::migrate(&settings(&url, &[])).await.unwrap();
        assert_eq!(tables(&database).await, ["agents"]);
        work(App::start(settings(&url, &[]), Serve::default()).await.unwrap()).await;
        database.remove().await;
    });
}
