//! Given PostgreSQL behind a pooler, when the service is told to use it, then it works, or says why it does not, and no table is
//! made where it was not asked for.

use antiphon::{
    app::{self, App},
    config::{Cli, Serve},
    doctor,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tests::{
    client::Client,
    database::{Database, Kind},
    pgbouncer::PgBouncer,
    project::Project,
    server::{run_with_database, settings, token},
};

async fn tables(database: &Database) -> Vec<String> {
    let mut connection = PgConnection::connect(&database.admin_url()).await.unwrap();
    let count = "SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'projects' ORDER BY 1";
    sqlx::raw_sql(AssertSqlSafe(count)).fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Works a little by way of a running server, with a listener.
async fn work(app: App) {
    let ada = Client::new(&format!("http://{}", app.address().unwrap()), Some(token("ada@example.com")));
    let project = Project::create(&ada, "Pooled").await;
    let mut heard = project.listen(0, "revision").await;
    project.create_file("a.py", "a\n").await;
    assert_eq!(heard.event().await["projectEvents"]["revision"], 1);
    assert_eq!(heard.event().await["projectEvents"]["revision"], 2);
    for _ in 0..20 {
        assert_eq!(project.contents().await, [("a.py".to_owned(), "a\n".to_owned())]);
    }
    drop(heard);
    app.stop().await;
}

async fn examined(url: &str, flags: &[&str]) -> String {
    doctor::examine(&settings(url, flags)).await.iter().map(ToString::to_string).collect()
}

#[test]
fn pgbouncer_as_it_is_installed_serves() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::blank(Kind::Postgres).await;
        let Some(pooler) = PgBouncer::start(&database.url(), &[]) else { return };
        let url = pooler.url(&database.url());
        app::migrate(&settings(&url, &[])).await.unwrap();
        assert_eq!(tables(&database).await, ["public"]);
        let told = examined(&url, &[]).await;
        assert!(!told.contains("BROKEN") && told.contains("ok       pooler"), "{told}");
        work(App::start(settings(&url, &[]), Serve::default()).await.unwrap()).await;

        // The schema needs no start-up option, which this one does not take.
        database.execute("CREATE SCHEMA \"Anti Phon\"").await;
        let flags = ["--database-schema", "Anti Phon"];
        app::migrate(&settings(&url, &flags)).await.unwrap();
        assert_eq!(tables(&database).await, ["Anti Phon", "public"]);
        work(App::start(settings(&url, &flags), Serve::default()).await.unwrap()).await;
        let refused = app::migrate(&settings(&format!("{url}?options=-csearch_path%3Dpublic"), &[])).await.unwrap_err();
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
            let refused = app::migrate(&settings(&pooler.url(&database.url()), &[])).await.unwrap_err();
            assert!(format!("{refused:#}").contains("a pooler in transaction mode"), "{more:?}: {refused:#}");
            let told = examined(&url, &[]).await;
            assert!(told.contains("BROKEN") && told.contains("transaction mode"), "{told}");
        }
    });
}

#[test]
fn no_table_is_made_in_a_schema_that_was_not_asked_for() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::blank(Kind::Postgres).await;
        database.execute("CREATE SCHEMA agents").await;
        let Some(pooler) = PgBouncer::start(&database.url(), &["ignore_startup_parameters = options"]) else { return };
        let dropped = format!("{}?options=-csearch_path%3Dagents", pooler.url(&database.url()));
        let refused = format!("{:#}", app::migrate(&settings(&dropped, &[])).await.unwrap_err());
        assert!(refused.contains("\"agents\"") && refused.contains("DATABASE_SCHEMA=agents"), "{refused}");
        assert!(!refused.contains("antiphon-test"), "{refused}");
        assert!(tables(&database).await.is_empty());
        let refused = App::start(settings(&dropped, &[]), Serve { migrate: true, ..Serve::default() })
            .await
            .err()
            .expect("refused");
        assert!(format!("{refused:#}").contains("DATABASE_SCHEMA=agents"), "{refused:#}");
        let told = examined(&dropped, &[]).await;
        assert!(told.contains("DATABASE_SCHEMA=agents") && told.contains("BROKEN"), "{told}");
        assert!(tables(&database).await.is_empty());

        // The setting makes it so, and one for a schema that is not there stops, too.
        let flags = ["--database-schema", "agents"];
        app::migrate(&settings(&dropped, &flags)).await.unwrap();
        assert_eq!(tables(&database).await, ["agents"]);
        work(App::start(settings(&dropped, &flags), Serve::default()).await.unwrap()).await;
        let refused = app::migrate(&settings(&database.url(), &["--database-schema", "missing"])).await.unwrap_err();
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
        let refused = format!("{:#}", app::migrate(&settings(&url, &[])).await.unwrap_err());
        assert!(refused.contains("\"o'x\"") && refused.contains("apostrophe"), "{refused}");
        let examined = examined(&url, &[]).await;
        assert!(examined.contains("BROKEN") && examined.contains("apostrophe"), "{examined}");
        assert!(tables(&database).await.is_empty());

        let flags = ["--database-schema", "a\"b, c"];
        app::migrate(&settings(&database.url(), &flags)).await.unwrap();
        assert_eq!(tables(&database).await, ["a\"b, c"]);
        // The server's login has no rights in it by itself.
        work(App::start(settings(&database.server_url(), &flags), Serve::default()).await.unwrap()).await;
        database.remove().await;
    });
}

#[test]
fn a_schema_by_the_url_works_where_nothing_drops_it() {
    run_with_database(Kind::Postgres, async |_| {
        let database = Database::blank(Kind::Postgres).await;
        database.execute("CREATE SCHEMA agents").await;
        let url = format!("{}?options=-csearch_path%3Dagents", database.url());
        app::migrate(&settings(&url, &[])).await.unwrap();
        assert_eq!(tables(&database).await, ["agents"]);
        work(App::start(settings(&url, &[]), Serve::default()).await.unwrap()).await;
        database.remove().await;
    });
}
