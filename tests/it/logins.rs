//! Given usual PostgreSQL set-ups (one login for everything, a login that owns nothing, Supabase with its roles and
//! users), when the service migrates and serves the database, then it uses the existing objects, reports what is
//! missing, and takes few round trips.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use antiphon::{
    app::App,
    commands,
    config::{Cli, Serve, Settings},
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tests::{
    client::Client,
    database::{Database, Kind},
    project::Project,
    server::{self, JWT_SECRET, Locks, Server, run_with_database, token, user_id},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn settings(url: &str, flags: &[&str]) -> Settings {
    let given = ["antiphon", "--database-url", url, "--listen", "127.0.0.1:0", "--jwt-secret", JWT_SECRET];
    Cli::try_parse_from(given.iter().chain(flags)).unwrap().settings
}

async fn sql(url: &str, sql: &str) -> Vec<String> {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    rows.iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
}

/// The URL with another login in it.
fn with_login(url: &str, login: &str) -> String {
    let (_, place) = url.rsplit_once('@').unwrap();
    format!("postgres://{login}:antiphon-test@{place}")
}

/// One user works, and another sees nothing of it.
async fn work(client: impl Fn(&str) -> Client) {
    let (ada, bob) = (client("ada@example.com"), client("bob@example.com"));
    let project = Project::create(&ada, "Mine").await;
    let session = project.start_session().await;
    project.add_message(&session, "Hello", true).await;
    project.create_file("main.py", "print(1)\n").await;
    project.update_file("main.py", "print(2)\n").await;
    assert_eq!(project.contents().await, [("main.py".to_owned(), "print(2)\n".to_owned())]);
    assert_eq!(project.of(&bob).ask("id").await, serde_json::Value::Null);
    let own = ada.gql("{ viewer { email } }", json!({})).await.ok();
    assert_eq!(own["viewer"]["email"], "ada@example.com");
}

#[test]
fn one_login_migrates_and_serves() {
    run_with_database(Kind::Postgres, async |database| {
        let blank = Database::blank(database.kind()).await;
        for url in [blank.url(), blank.admin_url()] {
            let app = App::start(settings(&url, &[]), Serve { migrate: true, ..Serve::default() }).await.unwrap();
            let base = format!("http://{}", app.address().unwrap());
            work(|email| Client::new(&base, Some(token(email)))).await;
            app.stop().await;
        }
        blank.remove().await;
    });
}

#[test]
fn a_login_without_rights_gets_an_error_that_names_them() {
    run_with_database(Kind::Postgres, async |database| {
        let refused = async |url: &str| {
            let started = App::start(settings(url, &[]), Serve::default()).await;
            format!("{:#}", started.err().expect("a refusal"))
        };
        // It does not migrate, and reports that …
        let blank = Database::blank(database.kind()).await;
        let missing = refused(&blank.server_url()).await;
        assert!(missing.contains("schema") && missing.contains("antiphon migrate"), "{missing}");
        blank.remove().await;

        // … does not verify, which reads all rows …
        let server = settings(&database.server_url(), &[]);
        let refusal = commands::verify(&server, None, &mut |_, _| {}).await.expect_err("a refusal");
        assert!(
            refusal.to_string().contains("owns no tables") && refusal.to_string().contains("DATABASE_URL"),
            "{refusal:#}"
        );
        let owner = settings(&database.url(), &[]);
        assert_eq!(commands::verify(&owner, None, &mut |_, wrong| panic!("{wrong}")).await.unwrap().problems, 0);

        // … and a login that cannot take the callers' role does not serve.
        sql(&database.admin_url(), "CREATE ROLE antiphon_mute LOGIN PASSWORD 'antiphon-test'").await;
        let mute = refused(&with_login(&database.url(), "antiphon_mute")).await;
        assert!(mute.contains("GRANT authenticated TO \"antiphon_mute\""), "{mute}");
        sql(&database.admin_url(), "DROP ROLE antiphon_mute").await;
    });
}

/// A new Supabase project: the schema of its users with its function, default privileges that open every new table to
/// everyone, a login that can only become one of three roles, and often a trigger that creates profiles.
const SUPABASE: &str = "
    CREATE SCHEMA auth;
    CREATE TABLE auth.users (id uuid PRIMARY KEY, email text, raw_user_meta_data jsonb);
    CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
      SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid $$;
    CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$
      SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $$;
    GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, antiphon;
    CREATE SCHEMA agents AUTHORIZATION antiphon;
    ALTER DEFAULT PRIVILEGES FOR ROLE antiphon GRANT ALL ON TABLES TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES FOR ROLE antiphon GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
    ALTER DEFAULT PRIVILEGES FOR ROLE antiphon GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
    DO $$ BEGIN CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'antiphon-test';
    EXCEPTION WHEN duplicate_object THEN NULL; END $$;
    GRANT anon, authenticated, service_role TO authenticator;";

const SIGN_UP: &str = "
    CREATE FUNCTION auth.handle_new_user() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$ BEGIN
      INSERT INTO {schema}.user_profiles (id, email, full_name, created_at, updated_at)
      VALUES (NEW.id, NEW.email, NEW.raw_user_meta_data ->> 'full_name', now(), now());
      RETURN NEW;
    END $$;
    CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION auth.handle_new_user();";

#[test]
fn a_supabase_project_works_as_it_is() {
    run_with_database(Kind::Postgres, async |database| {
        for schema in ["agents", "public"] {
            let blank = Database::blank(database.kind()).await;
            let admin = blank.admin_url();
            sql(&admin, SUPABASE).await;
            let described = "SELECT pg_get_functiondef('auth.uid()'::regprocedure) || array_to_string(nspacl, ' ') FROM pg_namespace WHERE nspname = 'auth'";
            let before = sql(&admin, described).await;
            let path = if schema == "public" { String::new() } else { format!("?options=-csearch_path%3D{schema}") };
            let owner = settings(&format!("{}{path}", blank.url()), &[]);
            commands::migrate(&owner).await.unwrap();
            sql(&admin, &SIGN_UP.replace("{schema}", schema)).await;
            sql(
                &admin,
                &format!(
                    "INSERT INTO auth.users VALUES ('{}', 'ada@example.com', '{{\"full_name\":\"Ada Lovelace\"}}')",
                    user_id("ada@example.com")
                ),
            )
            .await;

            // Its roles, function and login are used …
            let url = format!("{}{path}", with_login(&blank.url(), "authenticator"));
            let app = App::start(settings(&url, &[]), Serve::default()).await.unwrap();
            let client = Client::new(&format!("http://{}", app.address().unwrap()), None);
            work(|email| client.with_token(Some(token(email)))).await;
            let named =
                client.with_token(Some(token("ada@example.com"))).gql("{ viewer { fullName } }", json!({})).await.ok();
            // The profile follows the token, even if a trigger has created it.
            assert_eq!(named["viewer"]["fullName"], "ada");
            app.stop().await;

            // … the default privileges have opened nothing …
            let open = "SELECT format('%s: %s', r, c.oid::regclass) FROM pg_class c, unnest(ARRAY['anon', 'service_role']) r
                WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'v', 'S')
                  AND CASE relkind WHEN 'S' THEN has_sequence_privilege(r, c.oid, 'USAGE, SELECT, UPDATE')
                    ELSE has_table_privilege(r, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') END
                UNION ALL SELECT format('%s: %s', r, p.oid::regprocedure) FROM pg_proc p, unnest(ARRAY['anon', 'service_role']) r
                WHERE pronamespace = '{schema}'::regnamespace AND has_function_privilege(r, p.oid, 'EXECUTE')
                UNION ALL SELECT 'authenticated: ' || c.oid::regclass FROM pg_class c WHERE relnamespace = '{schema}'::regnamespace
                  AND CASE relkind WHEN 'S' THEN has_sequence_privilege('authenticated', c.oid, 'USAGE, SELECT, UPDATE')
                    WHEN 'r' THEN has_table_privilege('authenticated', c.oid, 'TRUNCATE, REFERENCES, TRIGGER') ELSE false END";
            assert_eq!(sql(&admin, &open.replace("{schema}", schema)).await, Vec::<String>::new(), "{schema}");

            // … and existing objects stay, also when the migrations are rolled back.
            server::roll_back_all(&owner).await.unwrap();
            assert_eq!(sql(&admin, described).await, before);
            assert_eq!(sql(&admin, "SELECT email FROM auth.users").await, ["ada@example.com"]);
            blank.remove().await;
        }
        sql(&database.admin_url(), "DROP ROLE authenticator").await;
    });
}

/// A proxy between a server and its database that counts how often the server waits for an answer.
async fn count_round_trips(database: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut server, _)) = listener.accept().await {
            let (mut database, count) = (TcpStream::connect(database).await.unwrap(), counted.clone());
            tokio::spawn(async move {
                let (mut question, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
                let mut asked = false;
                loop {
                    tokio::select! {
                        read = server.read(&mut question) => {
                            let Ok(1..) = read else { break };
                            if !asked {
                                asked = true;
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            if database.write_all(&question[..read.unwrap_or(0)]).await.is_err() { break }
                        }
                        read = database.read(&mut answer) => {
                            let Ok(1..) = read else { break };
                            asked = false;
                            if server.write_all(&answer[..read.unwrap_or(0)]).await.is_err() { break }
                        }
                    }
                }
            });
        }
    });
    (address, count)
}

/// The fewest round trips in several runs: a message that is sent in two parts can count twice, and a returned
/// connection can be checked.
async fn least_trips(count: &AtomicU64, mut of: impl AsyncFnMut(usize)) -> u64 {
    let mut least = u64::MAX;
    for n in 0..15 {
        let before = count.load(Ordering::Relaxed);
        of(n).await;
        least = least.min(count.load(Ordering::Relaxed) - before);
    }
    least
}

#[test]
fn a_message_takes_two_round_trips_and_a_sync_three() {
    run_with_database(Kind::Postgres, async |database| {
        let address: SocketAddr =
            database.url().rsplit_once('@').unwrap().1.split_once('/').unwrap().0.parse().unwrap();
        for locks in [Locks::Application, Locks::Both] {
            let (proxy, count) = count_round_trips(address).await;
            let url = if locks == Locks::Both { database.server_url() } else { database.url() };
            let url = url.replace(&address.to_string(), &proxy.to_string());
            // Notifications of other servers, which could coincide with a message, are off.
            let flags = ["--database-connections", "1", "--notify", "false"];
            let server = Server::start_behind(&database, &url, &flags, locks).await;
            let project = Project::create(&server.user("ada@example.com"), "Counted").await;
            let session = project.start_session().await;
            project.create_file("one.py", "0\n").await;
            let message = least_trips(&count, async |_| drop(project.add_message(&session, "Counted", false).await));
            let message = message.await;
            let update = least_trips(&count, async |n| {
                let input = json!({ "path": "one.py", "content": format!("{n}, changed\n"), "sessionId": session });
                project.write("updateFile", input, "revision").await;
            });
            let update = update.await;
            let sync = least_trips(&count, async |n| {
                let files: Vec<_> = (0..20)
                    .map(|f| json!({ "path": format!("src/{f}.py"), "content": format!("{n} {f}\n") }))
                    .collect();
                project.write("syncFiles", json!({ "files": files, "sessionId": session }), "revision").await;
            });
            let sync = sync.await;
            let project_id = project.id.clone();
            let read = least_trips(&count, async |_| {
                let query = "query($id: ID!) { project(id: $id) { name revision } }";
                project.client.gql(query, json!({ "id": project_id })).await.ok();
            });
            assert_eq!(read.await, 2, "{locks:?}");
            // Begin and lock; write and commit. A write of files also reads the files. Their contents are cached.
            assert_eq!([message, update, sync], [2, 3, 3], "{locks:?}");
            server.stop().await;
        }
    });
}

#[test]
fn an_outdated_database_is_reported_to_both_kinds_of_login() {
    run_with_database(Kind::Postgres, async |database| {
        // Given a database whose migrations were rolled back …
        let owner = settings(&database.url(), &[]);
        server::roll_back_all(&owner).await.unwrap();
        for url in [database.url(), database.server_url()] {
            let started = App::start(settings(&url, &[]), Serve::default()).await;
            let refusal = format!("{:#}", started.err().expect("a refusal"));
            assert!(refusal.contains("antiphon migrate"), "{refusal}");
        }
        // … when it is migrated again, then both logins can serve.
        server::migrate(&database).await;
        for url in [database.url(), database.server_url()] {
            App::start(settings(&url, &[]), Serve::default()).await.unwrap().stop().await;
        }
    });
}
