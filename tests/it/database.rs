//! Given either database, when the migrations run up and down, then nothing is left behind; the entities match the
//! tables, and each of them can be read.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

use antiphon::storage::db::Db;
use clap::Parser;
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, Statement};
use sea_orm_cli::{Cli, Commands, run_generate_command};
use serde_json::json;
use tests::{
    database::{Database, Kind},
    project::{Project, settings},
    replay::Replay,
    server::{Server, run_with_database, user_id},
    workload,
};

/// The objects of a database's schema, by name and definition, without the migrations' own table.
const OBJECTS: [(Kind, &str); 2] = [
    (
        Kind::Sqlite,
        "SELECT type || ' ' || name AS name, coalesce(sql, '') AS definition FROM sqlite_schema
         WHERE tbl_name <> 'seaql_migrations' AND name NOT LIKE 'sqlite_%'",
    ),
    (
        Kind::Postgres,
        "WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname = 'public')
         SELECT 'relation ' || relname AS name,
                concat_ws(' ', relkind, relrowsecurity, relforcerowsecurity, reloptions::text,
                          nullif(relacl, acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::\"char\", relowner))::text,
                          CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) WHEN 'i' THEN pg_get_indexdef(oid) END) AS definition
         FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours)
         UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname,
                concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, attstorage, attcollation)
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid AND relkind IN ('r', 'v')
         WHERE relnamespace IN (SELECT oid FROM ours) AND attnum > 0 AND NOT attisdropped
         UNION ALL SELECT 'constraint ' || conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
         FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
         UNION ALL SELECT 'trigger ' || tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
         FROM pg_trigger WHERE NOT tgisinternal
         UNION ALL SELECT 'function ' || proname, pg_get_functiondef(oid)
         FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours) AND prokind IN ('f', 'p')
         UNION ALL SELECT 'type ' || typname, typtype::text
         FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours) AND typtype <> 'b'
         UNION ALL SELECT 'policy ' || tablename || '.' || policyname,
                concat_ws(' ', permissive, roles::text, cmd, qual, with_check)
         FROM pg_policies WHERE schemaname = 'public'",
    ),
];

pub(crate) type Objects = BTreeMap<String, String>;

async fn objects(db: &DatabaseConnection, kind: Kind) -> Objects {
    let (_, sql) = OBJECTS.into_iter().find(|(of, _)| *of == kind).expect("a query of either");
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    let rows = rows.iter().map(|row| (row.try_get("", "name").unwrap(), row.try_get("", "definition").unwrap()));
    rows.filter(|(name, _): &(String, String)| !name.contains("seaql_migrations")).collect()
}

/// The schema of a database, without white space and quotes: SQLite stores the text of statements, and changes it when something
/// is renamed.
pub(crate) async fn schema_of(database: &Database) -> Objects {
    let connection = connect(database).await;
    let plain = |definition: String| definition.replace([' ', '\n', '"'], "");
    let objects = objects(connection.migrations(), database.kind()).await;
    connection.close().await;
    objects.into_iter().map(|(name, definition)| (name, plain(definition))).collect()
}

/// The names of the tables and views that need an entity.
async fn tables(db: &DatabaseConnection, kind: Kind) -> Vec<String> {
    let relation = |(name, definition): (&String, &String)| match (kind, name.split_once(' ')?, definition.get(..1)) {
        (Kind::Sqlite, ("table" | "view", name), _) => Some(name.to_owned()),
        (Kind::Postgres, ("relation", name), Some("r" | "v")) => Some(name.to_owned()),
        _ => None,
    };
    objects(db, kind).await.iter().filter_map(relation).collect()
}

/// Selects every row of every table and view, and counts them.
async fn select_all(db: &DatabaseConnection) -> BTreeMap<String, usize> {
    let mut selected = BTreeMap::from([
        select(db, entity::access_tokens::Entity).await,
        select(db, entity::agent_configuration_versions::Entity).await,
        select(db, entity::agent_configurations::Entity).await,
        select(db, entity::blobs::Entity).await,
        select(db, entity::chat_messages::Entity).await,
        select(db, entity::chat_sessions::Entity).await,
        select(db, entity::file_snapshots::Entity).await,
        select(db, entity::hidden_messages::Entity).await,
        select(db, entity::project_activity::Entity).await,
        select(db, entity::project_collaborators::Entity).await,
        select(db, entity::project_events::Entity).await,
        select(db, entity::project_files::Entity).await,
        select(db, entity::project_former_collaborators::Entity).await,
        select(db, entity::project_invitations::Entity).await,
        select(db, entity::project_snapshot_changes::Entity).await,
        select(db, entity::project_snapshots::Entity).await,
        select(db, entity::project_undone_files::Entity).await,
        select(db, entity::project_undos::Entity).await,
        select(db, entity::project_versions::Entity).await,
        select(db, entity::projects::Entity).await,
        select(db, entity::streaming_chunks::Entity).await,
        select(db, entity::streaming_messages::Entity).await,
        select(db, entity::user_preferences::Entity).await,
        select(db, entity::user_profiles::Entity).await,
        select(db, entity::views::file_change_history::Entity).await,
        select(db, entity::views::file_version_history::Entity).await,
        select(db, entity::views::pending_invitations::Entity).await,
        select(db, entity::views::project_collaboration_overview::Entity).await,
        select(db, entity::views::project_overview::Entity).await,
        select(db, entity::views::recent_chat_activity::Entity).await,
        select(db, entity::views::user_activity_summary::Entity).await,
    ]);
    if db.get_database_backend() == DbBackend::Postgres {
        // SQLite has no row-level security, and its single server keeps presence without a table.
        selected
            .extend([select(db, entity::presences::Entity).await, select(db, entity::project_members::Entity).await]);
    }
    selected
}

async fn select<E: EntityTrait>(db: &DatabaseConnection, entity: E) -> (String, usize) {
    let name = entity.table_name();
    let rows = E::find().all(db).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    (name.to_owned(), rows.len())
}

async fn connect(database: &Database) -> Db {
    let settings = antiphon::config::Cli::parse_from(["antiphon", "--database-connections", "2"]).settings;
    Db::connect(&database.url(), &settings.database).await.unwrap_or_else(|error| panic!("{error:?}"))
}

tests::on_both! {
    async fn migrations_run_up_and_down_and_leave_nothing_behind(database: Database) {
        let kind = database.kind();
        let database = Database::blank(kind).await;
        let connection = connect(&database).await;
        let db = connection.migrations();
        Migrator::install(db).await.unwrap();

        // Given the schema before and after each migration …
        let mut schemas = vec![objects(db, kind).await];
        for _ in Migrator::migrations() {
            Migrator::up(db, Some(1)).await.unwrap();
            schemas.push(objects(db, kind).await);
        }
        assert_eq!(schemas[0], Objects::new());

        // … when the migrations are rolled back one by one, then each restores the schema from before it …
        for schema in schemas.iter().rev().skip(1) {
            Migrator::down(db, Some(1)).await.unwrap();
            assert_eq!(objects(db, kind).await, *schema);
        }

        // … and they can be applied again, and rolled back all at once.
        Migrator::up(db, None).await.unwrap();
        assert_eq!(objects(db, kind).await, schemas[schemas.len() - 1]);
        Migrator::down(db, None).await.unwrap();
        assert_eq!(objects(db, kind).await, Objects::new());
        connection.close().await;
        database.remove().await;
    }

    async fn every_table_and_view_has_an_entity_that_can_be_selected(database: Database) {
        let connection = connect(&database).await;
        let db = connection.migrations();
        Migrator::up(db, None).await.unwrap();
        let selected = select_all(db).await;
        assert_eq!(selected.keys().cloned().collect::<Vec<_>>(), {
            let mut tables = tables(db, database.kind()).await;
            tables.sort();
            tables
        });
        connection.close().await;
    }

    async fn every_entity_can_be_selected_with_rows_in_it(server: Server) {
        // Given the writes of a short session …
        let ada = server.user("ada@example.com");
        let mut replay = Replay::begin(&ada, "Read back").await.unwrap();
        for turn in workload::agent_session(3).turns.iter().take(3) {
            replay.turn(turn).await.unwrap();
        }
        let query = "mutation($input: UpdatePreferencesInput!) { updatePreferences(input: $input) { editorTheme } }";
        ada.gql(query, json!({ "input": { "editorTheme": "light" } })).await.ok();

        let project = Project { client: ada.clone(), id: replay.id.clone() };
        let session = project.ask("sessions { nodes { id } }").await["sessions"]["nodes"][0]["id"].take();
        let input = json!({ "revision": 3, "scope": "CONVERSATION", "sessionId": session });
        project.write("restoreRevision", input, "revision").await;
        ada.mutate("updateProject", json!({ "id": project.id, "name": "Read back whole" }), "revision").await.ok();
        project.write("undo", json!({}), "revision").await;
        project.create_file("taken_back.py", "1\n").await;
        project.write("undo", json!({}), "revision").await;
        let named = project.write("createSnapshot", json!({}), "snapshot { id }").await["snapshot"]["id"].take();
        ada.mutate("updateSnapshot", json!({ "snapshotId": named, "name": "Read back" }), "revision").await.ok();

        // … and of its team …
        project.write("saveAgentConfiguration", settings("Agent"), "revision").await;
        for email in ["bob@example.com", "eve@example.com"] {
            let other = server.user(email);
            other.gql("{ viewer { id } }", json!({})).await.ok();
            project.write("inviteCollaborator", json!({ "userId": user_id(email), "role": "VIEWER" }), "revision").await;
            other.mutate_with("acceptInvitation", json!({ "projectId": project.id }), "revision").await.ok();
        }
        let bob = json!({ "projectId": project.id, "userId": user_id("bob@example.com") });
        ada.mutate_with("removeCollaborator", bob, "revision").await.ok();
        project.write("inviteByEmail", json!({ "email": "carol@example.com", "role": "VIEWER" }), "revision").await;
        project.write("createAccessToken", json!({ "name": "Machine", "role": "VIEWER" }), "revision").await;

        // … while a message is streamed, and a subscription is open on a server …
        let session = project.start_session().await;
        let started = ada.mutate("startMessage", json!({ "sessionId": session, "role": "ASSISTANT" }), "messageId").await.ok();
        let chunk = json!({ "messageId": started["startMessage"]["messageId"], "offset": 0, "text": "So far" });
        ada.mutate("appendToMessage", chunk, "length").await.ok();
        if server.database().kind() == Kind::Postgres {
            let presence = "INSERT INTO presences SELECT id, user_id, id, created_at, created_at FROM projects";
            server.database().execute(presence).await;
        }

        // … and the activity of 256 revisions is stored …
        let bytes = if server.database().kind() == Kind::Postgres { "''::bytea" } else { "x''" };
        let activity = format!("INSERT INTO project_activity SELECT id, 1, created_at, created_at, {bytes} FROM projects");
        server.database().execute(&activity).await;

        // … then there are rows of every kind, and each can be read.
        let connection = connect(server.database()).await;
        let counts = select_all(connection.migrations()).await;
        let empty: Vec<_> = counts.into_iter().filter(|(_, rows)| *rows == 0).map(|(name, _)| name).collect();
        assert_eq!(empty, [""; 0]);
        connection.close().await;
    }
}

/// Runs the generator itself (on PostgreSQL, because from SQLite it would turn every integer into 64 bits).
/// `REGENERATE_ENTITIES` makes it write the entities to their place instead of comparing them.
#[test]
fn the_entities_are_those_of_the_migrated_database() {
    const REGENERATE: &str = "REGENERATE_ENTITIES";
    run_with_database(Kind::Postgres, async |database| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let kept = root.join("entity/src/generated");
        let made = match env::var_os(REGENERATE) {
            Some(_) => kept.clone(),
            None => Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated"),
        };
        // The generator calls rustfmt, which must find the same settings there. Files of dropped tables must not stay.
        let _ = fs::remove_dir_all(&made);
        fs::create_dir_all(&made).unwrap();
        if made != kept {
            fs::copy(root.join(".rustfmt.toml"), made.join(".rustfmt.toml")).unwrap();
        }

        // The generator logs to standard output, which libtest does not capture.
        let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
        let (url, out) = (database.url(), made.to_str().unwrap());
        let command = ["sea-orm-cli", "generate", "entity", "-u", &url, "--entity-format", "dense", "-o", out];
        let Commands::Generate { command } = Cli::try_parse_from(command).unwrap().command else { unreachable!() };
        run_generate_command(command, false).await.unwrap();

        let (kept, made) = (sources(&kept), sources(&made));
        let names = kept.keys().chain(made.keys());
        let differ: BTreeSet<_> = names.filter(|name| kept.get(*name) != made.get(*name)).collect();
        assert!(
            differ.is_empty(),
            "entity/src/generated is not what the migrations make ({differ:?}); this mends it:\n    \
             {REGENERATE}=1 cargo test --test it the_entities_are_those_of_the_migrated_database"
        );
    });
}

fn sources(folder: &Path) -> BTreeMap<String, String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources
        .map(|path| (path.file_name().unwrap().to_string_lossy().into(), fs::read_to_string(path).unwrap()))
        .collect()
}
