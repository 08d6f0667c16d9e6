//! Given a project with one object of every kind in PostgreSQL, when SQL runs with the server's login, as the role that
//! the server takes and with any claims, then it reads and changes only what those claims allow. The tables, views,
//! columns and functions come from the catalog, so a new one without rules fails here.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tests::{
    database::{Database, Kind},
    project::{Project, number, text},
    server::{Server, run_with_server, user_id},
};

use crate::login_connection::{DENIED, LoginConnection, rows};

/// The callers, and their roles in the project.
const PEOPLE: [(&str, Option<&str>); 8] = [
    ("nobody", None),
    ("stranger", Some("sue@example.com")),
    ("former", Some("fay@example.com")),
    ("addressed", Some("amy@example.com")),
    ("invited", Some("ivy@example.com")),
    ("viewer", Some("vic@example.com")),
    ("editor", Some("eve@example.com")),
    ("owner", Some("ada@example.com")),
];

const MEMBERS: [&str; 3] = ["viewer", "editor", "owner"];

/// How many rows of these tables each caller sees. "outsiders" stands for every signed-in caller who is not a member;
/// members see only their own of these rows.
const OWN_ROWS: [(&str, &str, i64); 18] = [
    ("outsiders", "user_profiles", 1),
    ("outsiders", "user_preferences", 1),
    ("outsiders", "user_activity_summary", 1),
    ("former", "project_former_collaborators", 1),
    ("invited", "project_collaborators", 1),
    ("invited", "pending_invitations", 1),
    ("addressed", "project_invitations", 1),
    ("addressed", "pending_invitations", 1),
    ("members", "user_preferences", 1),
    ("members", "pending_invitations", 0),
    // Only the owner sees addresses, tokens and webhooks.
    ("viewer", "project_invitations", 0),
    ("editor", "project_invitations", 0),
    ("viewer", "webhooks", 0),
    ("editor", "webhooks", 0),
    ("viewer", "webhook_deliveries", 0),
    ("editor", "webhook_deliveries", 0),
    ("viewer", "access_tokens", 0),
    ("editor", "access_tokens", 0),
];

/// Every caller except `nobody`.
const EVERYBODY: &[&str] = &["stranger", "former", "addressed", "invited", "viewer", "editor", "owner"];

/// The callers who can change these columns of existing rows. Nobody can change other columns.
const CHANGES: &[(&str, &str, &[&str])] = &[
    ("user_profiles", "avatar_url full_name own_avatar_url own_full_name updated_at", EVERYBODY),
    (
        "user_preferences",
        "auto_save_enabled editor_theme notification_preferences ui_preferences updated_at",
        EVERYBODY,
    ),
    ("projects", "config description initial_prompt name status updated_at user_id", &["editor", "owner"]),
    ("project_snapshots", "deleted_revision description name", &["editor", "owner"]),
    // Each caller's own membership; the owner changes all of them. A trigger stops callers from changing what the owner
    // decided.
    ("project_collaborators", "accepted_at invited_at invited_by role", &["invited", "viewer", "editor", "owner"]),
    ("project_invitations", "invited_at invited_by role", &["owner"]),
    (
        "agent_configurations",
        "agent_instructions agent_personality config_name dependencies description function_calls is_active llm_config \
         llm_model llm_provider required_env_vars source_files stt_config stt_model stt_provider tool_integrations tts_config \
         tts_model tts_provider turn_detection_config updated_at vad_config vad_provider version",
        &["editor", "owner"],
    ),
    ("agent_configuration_versions", "superseded_revision", &["editor", "owner"]),
    // The owner is the author; the editor has no sessions.
    ("chat_sessions", "ended_at is_active", &["owner"]),
    ("chat_messages", "hidden_revision", &["owner"]),
    ("hidden_messages", "superseded_revision", &["owner"]),
    ("streaming_messages", "last_append_at length", &["owner"]),
    (
        "webhooks",
        "disabled_at disabled_reason failed_attempts failing_since is_enabled kinds lease_holder lease_until \
         next_attempt_at previous_secret_until revision secret_number updated_at url",
        &["owner"],
    ),
    (
        "webhook_deliveries",
        "attempts delivered_at error last_attempt_at next_attempt_at response_status status",
        &["owner"],
    ),
];

/// The callers who can insert a copy of an existing row. If rows have an owner, the copied row is the owner's.
const ADDITIONS: &[(&str, &[&str])] = &[
    ("agent_configuration_versions", &["editor", "owner"]),
    ("agent_configurations", &["owner"]),
    ("chat_sessions", &["owner"]),
    ("hidden_messages", &["owner"]),
    ("project_collaborators", &["owner"]),
    // Of the editor, who leaves.
    ("project_former_collaborators", &["editor", "owner"]),
    ("project_invitations", &["owner"]),
    ("project_snapshots", &["editor", "owner"]),
    ("project_versions", &["editor", "owner"]),
    ("streaming_chunks", &["owner"]),
    ("streaming_messages", &["owner"]),
    // A second row of the caller's own, which the key forbids.
    ("user_preferences", &["owner"]),
    ("user_profiles", &["owner"]),
    ("webhook_deliveries", &["owner"]),
    ("webhooks", &["owner"]),
];

/// The callers who can delete rows. No other table allows deletion.
const DELETIONS: &[(&str, &[&str])] = &[
    ("project_collaborators", &["invited", "viewer", "editor", "owner"]),
    ("project_invitations", &["addressed", "owner"]),
    ("streaming_messages", &["owner"]),
    ("webhook_deliveries", &["owner"]),
    ("webhooks", &["owner"]),
];

/// The functions that the role can call and that write no project history, each with a query of what it reveals about
/// the owner's project ($1), and the result for the owner. For callers who are not members the result is 0.
const FUNCTIONS: [(&str, &str, i64); 8] = [
    (
        "update_profile_from_token(text,text,text,timestamp with time zone,timestamp with time zone)",
        "SELECT count(*) FROM (SELECT update_profile_from_token(NULL, NULL, NULL, NULL, now())::text AS said) AS f WHERE said <> ''",
        0,
    ),
    (
        "is_time(timestamp with time zone)",
        "SELECT count(*) FROM (VALUES ('infinity'::timestamptz), ('-infinity'), ('10000-01-01')) AS t (at) WHERE is_time(at)",
        0,
    ),
    ("is_machine(uuid)", "SELECT count(*) FROM projects p WHERE p.id = $1 AND is_machine(p.user_id)", 0),
    (
        "touch_access_token(timestamp with time zone)",
        "SELECT count(*) FROM (SELECT touch_access_token(now())::text AS said) AS f WHERE said <> ''",
        0,
    ),
    (
        "lock_project(text,uuid,text,uuid,uuid,timestamp with time zone)",
        "SELECT count(*) FROM lock_project('project', $1, 'team', NULL, NULL, now())",
        1,
    ),
    ("my_address()", "SELECT count(*) FROM (SELECT my_address() AS email) AS e WHERE email LIKE 'ada@%'", 1),
    ("my_email()", "SELECT count(*) FROM (SELECT my_email() AS email) AS e WHERE email LIKE 'ada@%'", 1),
    (
        "touch_project(uuid,timestamp with time zone)",
        "SELECT count(*) FROM touch_project($1, now()) AS touched WHERE touched",
        1,
    ),
];

/// The functions that write history, each with calls and the callers allowed to make them. `$project`, `$session` and
/// `$message` are the owner's; `$next` is the project's next revision.
const WRITES: &[(&str, &str, &[&str])] = &[
    ("create_project", "create_project(gen_random_uuid(), 'New', NULL, '', '{}', now())", EVERYBODY),
    (
        "create_access_token",
        "create_access_token(gen_random_uuid(), $project, 'New', 'editor', sha256('new'), NULL, now())",
        &["owner"],
    ),
    (
        "create_access_token",
        "create_access_token(gen_random_uuid(), $project, 'New', 'owner', sha256('new'), NULL, now())",
        &[],
    ),
    (
        "create_access_token",
        "create_access_token(gen_random_uuid(), $project, repeat('n', 101), 'editor', sha256('new'), NULL, now())",
        &[],
    ),
    (
        "add_message",
        "add_message($project, $next, now(), gen_random_uuid(), $session, 'user', 'Hello', false, '{}', '{}', NULL, NULL, NULL, NULL)",
        &["owner"],
    ),
    (
        "write_files",
        "write_files($project, $next, now(), 'FILES_CHANGED', NULL, NULL, NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', \
         '{}', '{}', '{}', '{}', '{}', '{}', '{}', NULL, NULL, NULL)",
        &["editor", "owner"],
    ),
    (
        "write_files",
        "write_files($project, $next, now(), 'FILES_CHANGED', $session, $message, NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', \
         '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', NULL, NULL, NULL)",
        &["owner"],
    ),
    (
        "record_revision",
        "record_revision($project, $next, now(), 'PROJECT_UPDATED', NULL, NULL, NULL)",
        &["editor", "owner"],
    ),
    (
        "record_revision",
        "record_revision($project, $next, now(), 'COLLABORATORS_CHANGED', NULL, NULL, NULL)",
        &["invited", "addressed", "viewer", "editor", "owner"],
    ),
    ("record_revision", "record_revision($project, $next, now(), 'MESSAGE_ADDED', $session, $message, NULL)", &[]),
    ("record_revision", "record_revision($project, $next, now(), 'nonsense', NULL, NULL, NULL)", &[]),
];

/// The names of the relations of these kinds (`pg_class.relkind`).
async fn relations(database: &Database, kinds: &str) -> Vec<String> {
    let sql = format!(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
         AND relkind::text = ANY (string_to_array('{kinds}', NULL)) ORDER BY relname"
    );
    rows(database, &sql).await.into_iter().map(|mut row| row.remove(0)).collect()
}

/// Ada's project with one object of every kind, and with all the callers in their roles.
pub(crate) async fn fill(server: &Server) -> Project {
    let ada = server.user("ada@example.com");
    for (_, email) in PEOPLE {
        if let Some(email) = email {
            server.user(email).gql("{ viewer { id } }", serde_json::json!({})).await.ok();
        }
    }
    let project = Project::create(&ada, "A secret name").await;
    let session = project.start_session().await;
    let message = project.add_message(&session, "A secret message", true).await;
    project.add_message(&session, "A hidden message", false).await;
    let streaming = serde_json::json!({ "sessionId": session, "role": "ASSISTANT" });
    let streaming = ada.mutate("startMessage", streaming, "messageId").await.ok()["startMessage"]["messageId"].take();
    let chunk = serde_json::json!({ "messageId": streaming, "offset": 0, "text": "A secret message" });
    ada.mutate("appendToMessage", chunk, "length").await.ok();
    let back = serde_json::json!({ "revision": 3, "scope": "CONVERSATION", "sessionId": session });
    project.write("restoreRevision", back, "revision").await;
    let named = serde_json::json!({ "id": project.id, "name": "A secret name, again" });
    ada.mutate("updateProject", named, "revision").await.ok();
    project.create_file("secret.py", "secret = 1\n").await;
    let input = serde_json::json!({ "path": "secret.py", "content": "secret = 2\n", "messageId": message });
    project.write("updateFile", input, "revision").await;
    let named = serde_json::json!({ "name": "A secret snapshot" });
    let named = project.write("createSnapshot", named, "snapshot { id }").await["snapshot"]["id"].take();
    let renamed = serde_json::json!({ "snapshotId": named, "description": "A secret state" });
    ada.mutate("updateSnapshot", renamed, "revision").await.ok();
    let described = serde_json::json!({ "id": project.id, "description": "A secret description" });
    ada.mutate("updateProject", described, "revision").await.ok();
    for step in ["undo", "undo", "redo"] {
        project.write(step, serde_json::json!({}), "revision").await;
    }
    let token = serde_json::json!({ "name": "A secret machine", "role": "VIEWER" });
    project.write("createAccessToken", token, "revision").await;
    let database = server.database();
    for (email, role, accepted) in
        [("ivy@example.com", "editor", false), ("vic@example.com", "viewer", true), ("eve@example.com", "editor", true)]
    {
        database.add_collaborator(&project.id, email, role, accepted).await;
    }
    let sql = format!(
        "INSERT INTO agent_configurations SELECT gen_random_uuid(), id, user_id, 'A secret agent', NULL, '', '', '{{}}', '', '', '{{}}',
         '', '', '{{}}', '', '{{}}', '{{}}', '{{}}', '{{}}', '', '{{}}', '{{}}', '{{}}', '{{}}', true, 1, created_at, created_at
         FROM projects WHERE id = '{}'",
        project.id
    );
    assert_eq!(database.execute(&sql).await, 1);
    for sql in [
        "INSERT INTO agent_configuration_versions SELECT id, version, project_id, 1, NULL, false, is_active, config_name,
         description, stt_provider, stt_model, stt_config, tts_provider, tts_model, tts_config, llm_provider, llm_model,
         llm_config, vad_provider, vad_config, turn_detection_config, function_calls, tool_integrations, agent_instructions,
         agent_personality, required_env_vars, dependencies, source_files FROM agent_configurations WHERE project_id = $1",
        "INSERT INTO presences SELECT id, user_id, gen_random_uuid(), created_at, now() FROM projects WHERE id = $1",
        "INSERT INTO project_invitations SELECT id, 'amy@example.com', 'viewer', user_id, created_at FROM projects WHERE id = $1",
        "INSERT INTO project_former_collaborators SELECT id, $2, created_at FROM projects WHERE id = $1",
        "INSERT INTO project_activity SELECT id, 1, created_at, created_at, '' FROM projects WHERE id = $1",
        "INSERT INTO webhooks SELECT gen_random_uuid(), id, 'https://example.com/', '', false, 1, NULL, revision, 0, NULL, NULL, created_at,
         'A secret reason', NULL, NULL, created_at, created_at FROM projects WHERE id = $1",
        "INSERT INTO webhook_deliveries SELECT gen_random_uuid(), id, 1, project_id, 'PROJECT_CREATED', 'failed', 1, 500, 'A secret error',
         created_at, created_at, NULL, NULL FROM webhooks WHERE project_id = $1",
    ] {
        let sql = sql.replace("$1", &format!("'{}'", project.id));
        assert_eq!(database.execute(&sql.replace("$2", &format!("'{}'", user_id("fay@example.com")))).await, 1);
    }
    project
}

/// An insert of a copy of an existing row with new keys, and with a given time in one column if one is named.
async fn copy_of(database: &Database, table: &str, time: Option<(&str, &str)>) -> String {
    let copied = rows(
        database,
        &format!(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(CASE
               WHEN attname = 'id' AND atttypid = 'uuid'::regtype AND attrelid::regclass::text <> 'user_profiles' THEN 'gen_random_uuid()'
               WHEN attname = 'revision' AND '{table}' = 'webhook_deliveries' THEN 'revision + 1'
               WHEN attname IN ('revision', 'created_revision') AND '{table}' NOT IN ('projects', 'webhooks') THEN attname || ' + 1000'
               WHEN attname = 'version' AND '{table}' IN ('file_snapshots', 'agent_configuration_versions') THEN 'version + 1000'
               WHEN attname = 'superseded_revision' THEN '999' WHEN attname = 'sha256' THEN 'sha256(sha256)'
               WHEN attname = 'start' THEN 'start + 1000'
               WHEN attname = 'is_active' THEN 'false'
               WHEN attname = 'message_count' THEN '0'
               WHEN attname IN ('accepted_at', 'idempotency_key') OR (attname = 'message_id' AND '{table}' = 'project_events') THEN 'NULL'
               WHEN '{table}' IN ('project_collaborators', 'project_members') AND attname = 'user_id' THEN quote_literal('{}') || '::uuid'
               WHEN '{table}' = 'project_invitations' AND attname = 'email' THEN quote_literal('sue@example.com')
               WHEN '{table}' = 'project_former_collaborators' AND attname = 'user_id' THEN quote_literal('{}') || '::uuid'
               ELSE quote_ident(attname) END, ', ' ORDER BY attnum)
             FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''",
            user_id("sue@example.com"),
            user_id("eve@example.com"),
        ),
    )
    .await;
    // Reads as the owner of the table, who sees all rows: the copy does not depend on what its writer sees.
    let time = time.map_or(String::new(), |(column, at)| format!(" || jsonb_build_object('{column}', '{at}')"));
    let values = rows(
        database,
        &format!(
            "SELECT (to_jsonb(t){time})::text FROM (SELECT {} FROM {table} {} LIMIT 1) AS t({})",
            copied[0][1],
            match table {
                "user_profiles" => format!("WHERE id = '{}'", user_id("ada@example.com")),
                "user_preferences" => format!("WHERE user_id = '{}'", user_id("ada@example.com")),
                "project_files" => "WHERE file_type = 'file'".to_owned(),
                _ => String::new(),
            },
            copied[0][0],
        ),
    )
    .await;
    let (row, columns) = (values[0][0].replace('\'', "''"), &copied[0][0]);
    format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM jsonb_populate_record(NULL::{table}, '{row}')")
}

/// The ids that calls of functions that write history refer to.
pub(crate) struct History {
    project: String,
    session: String,
    message: String,
    pub(crate) next: i64,
}

impl History {
    /// The ids of the owner's project.
    pub(crate) async fn of(database: &Database, project: &Project) -> Self {
        let sql = format!(
            "SELECT s.id::text, m.id::text, p.revision + 1 || '' FROM projects p JOIN chat_sessions s ON s.project_id = p.id
             JOIN chat_messages m ON m.session_id = s.id WHERE p.id = '{}' AND s.is_active AND m.is_checkpoint",
            project.id
        );
        let row = rows(database, &sql).await.remove(0);
        let [session, message, next] = row.try_into().expect("three columns");
        Self { project: project.id.clone(), session, message, next: next.parse().expect("a number") }
    }

    /// Replaces the placeholders with the ids.
    pub(crate) fn fill(&self, sql: &str) -> String {
        let quoted = |id: &str| format!("'{id}'::uuid");
        sql.replace("$project", &quoted(&self.project))
            .replace("$session", &quoted(&self.session))
            .replace("$message", &quoted(&self.message))
            .replace("$next", &self.next.to_string())
    }
}

fn callers_of(list: &[(&'static str, &'static [&'static str])], table: &str) -> BTreeSet<&'static str> {
    list.iter().filter(|(name, _)| *name == table).flat_map(|(_, people)| people.iter().copied()).collect()
}

#[test]
fn every_relation_and_function_is_closed_unless_listed() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let database = server.database();
        // Invited users are not members, so their view reads as its owner and filters the invitations itself.
        let open = rows(
            database,
            "SELECT 'row-level security is off on the table ' || relname FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity
             UNION ALL SELECT 'runs as its owner: the view ' || relname FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' AND NOT coalesce(
               CASE relname WHEN 'pending_invitations' THEN 'security_barrier=true' ELSE 'security_invoker=true' END
               = ANY (reloptions), false)
             UNION ALL SELECT 'a materialized view has no policies: ' || relname FROM pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'm'
             UNION ALL SELECT format('%s may %s on %s', grantee, privilege_type, table_name) FROM information_schema.role_table_grants
             WHERE table_schema = 'public' AND (grantee IN ('PUBLIC', 'anon', 'service_role', 'antiphon_server')
               OR (grantee = 'authenticated' AND privilege_type NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')))
             UNION ALL SELECT format('authenticated may %s on %s and has no policy for it', privilege_type, table_name)
             FROM information_schema.role_column_grants g JOIN pg_class c ON c.relname = g.table_name AND c.relkind IN ('r', 'p')
               AND c.relnamespace = 'public'::regnamespace
             WHERE table_schema = 'public' AND grantee = 'authenticated' AND NOT EXISTS (SELECT FROM pg_policies p
               WHERE p.schemaname = 'public' AND p.tablename = table_name AND p.roles = '{authenticated}'
               AND p.cmd IN (privilege_type, 'ALL'))
             UNION ALL SELECT 'a policy is for others than authenticated: ' || policyname || ' on ' || tablename FROM pg_policies
             WHERE schemaname = 'public' AND roles <> '{authenticated}'
             UNION ALL SELECT format('%s may use the sequence %s', r, relname) FROM pg_class,
               unnest(ARRAY['anon', 'authenticated', 'service_role']) r
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' AND has_sequence_privilege(r, oid, 'USAGE, SELECT, UPDATE')
             UNION ALL SELECT format('%s may call %s', r, oid::regprocedure) FROM pg_proc, unnest(ARRAY['anon', 'service_role']) r
             WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(r, oid, 'EXECUTE')
             UNION ALL SELECT 'takes names from its caller''s search path: ' || oid::regprocedure FROM pg_proc
             WHERE pronamespace = 'public'::regnamespace AND prosecdef
               AND NOT coalesce((SELECT bool_or(c LIKE 'search_path=%pg_temp') FROM unnest(proconfig) c), false)",
        )
        .await;
        assert_eq!(open, Vec::<Vec<String>>::new());

        let callable = rows(
            database,
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
             AND has_function_privilege('authenticated', oid, 'EXECUTE') AND proname NOT IN ('latest_revisions', 'renew_presences', 'store_activity', 'waiting_webhooks', 'find_access_token') ORDER BY 1",
        )
        .await;
        let callable = callable.iter().map(|row| row[0].as_str());
        let (writing, telling): (BTreeSet<&str>, BTreeSet<&str>) =
            callable.partition(|name| WRITES.iter().any(|(write, ..)| name.starts_with(&format!("{write}("))));
        assert_eq!(
            telling,
            BTreeSet::from(FUNCTIONS.map(|(name, ..)| name)),
            "list what a new function reveals to strangers"
        );
        assert_eq!(writing.len(), WRITES.iter().map(|(name, ..)| name).collect::<BTreeSet<_>>().len());

        // The server's login owns nothing and has no privileges of its own.
        let server = rows(
            database,
            "SELECT concat_ws(' ', rolsuper, rolbypassrls, rolinherit, rolcreaterole, rolcreatedb,
               (SELECT count(*) FROM pg_class WHERE relowner = r.oid), (SELECT count(*) FROM pg_auth_members WHERE member = r.oid))
             FROM pg_roles r WHERE rolname = 'antiphon_server'",
        )
        .await;
        assert_eq!(server, [["f f f f f 0 1"]]);
        let mut alone = PgConnection::connect(&database.server_url()).await.unwrap();
        for relation in relations(database, "rv").await {
            let asked = sqlx::query(AssertSqlSafe(format!("SELECT 1 FROM {relation}"))).fetch_all(&mut alone).await;
            let error = asked.expect_err("a refusal").into_database_error().unwrap();
            assert_eq!(error.code().as_deref(), Some(DENIED), "{relation}");
        }
    });
}

#[test]
fn callers_read_their_own_rows_and_members_read_the_project() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let database = server.database();
        let mut connection = LoginConnection::open(database).await;
        let mut asked = 0;
        for relation in relations(database, "rvmp").await {
            let count = format!("SELECT count(*) FROM {relation}");
            for (person, email) in PEOPLE {
                let is_member = MEMBERS.contains(&person);
                let group = if is_member { "members" } else { "outsiders" };
                let own = OWN_ROWS
                    .iter()
                    .find(|(of, table, _)| *table == relation && email.is_some() && (*of == person || *of == group));
                let expected = match own {
                    _ if relation == "seaql_migrations" => None,
                    Some((.., rows)) => Some(*rows),
                    None if is_member => None,
                    None => Some(0),
                };
                let seen = connection.run(email, &count).await;
                match expected {
                    Some(expected) => assert_eq!(seen, Ok(expected), "{relation} as {person}"),
                    None => assert!(seen.clone().is_ok_and(|rows| rows > 0), "{relation} as {person}: {seen:?}"),
                }
                asked += 1;
            }
        }
        assert!(asked >= 25 * PEOPLE.len(), "tables and views");

        // The e-mail addresses of people who share a project are not visible; a caller's own is.
        for (person, email) in PEOPLE {
            let denied = connection.run(email, "SELECT count(email) FROM user_profiles").await;
            assert_eq!(denied, Err(DENIED.to_owned()), "{person}");
            let own =
                connection.run(email, "SELECT count(*) FROM (SELECT my_email() AS e) AS x WHERE e IS NOT NULL").await;
            assert_eq!(own, Ok(i64::from(email.is_some())), "{person}");
        }
        assert_eq!(connection.run(Some("vic@example.com"), "SELECT count(full_name) FROM user_profiles").await, Ok(6));

        // Functions that only the service itself can call.
        let revisions = format!("SELECT count(*) FROM latest_revisions(ARRAY['{}']::uuid[])", project.id);
        let presences = format!(
            "SELECT count(*) FROM renew_presences(gen_random_uuid(), ARRAY['{}']::uuid[], ARRAY['{}']::uuid[], ARRAY[now()], now(), now())",
            project.id,
            user_id("sue@example.com"),
        );
        let activity = format!("SELECT count(*) FROM store_activity('{}', 1, now(), now(), '')", project.id);
        let webhooks = format!("SELECT count(*) FROM waiting_webhooks(ARRAY['{}'::uuid], NULL, 1)", project.id);
        for (person, email) in PEOPLE.into_iter().filter(|(_, email)| email.is_some()) {
            let token = "SELECT count(*) FROM find_access_token('')".to_owned();
            for sql in [&revisions, &presences, &activity, &token, &webhooks] {
                assert_eq!(connection.run(email, sql).await, Err(DENIED.to_owned()), "{person}: {sql}");
            }
        }
        for (function, sql, expected_rows) in FUNCTIONS {
            let sql = sql.replace("$1", &format!("'{}'", project.id));
            for (person, email) in PEOPLE {
                if !MEMBERS.contains(&person) {
                    assert_eq!(connection.run(email, &sql).await, Ok(0), "{function} as {person}");
                }
            }
            assert_eq!(connection.run(Some("ada@example.com"), &sql).await, Ok(expected_rows), "{function}");
        }

        // Missing claims, a missing user, and claims left from the previous transaction give no access.
        for claims in ["", "{}", "{\"sub\":null}"] {
            let mut tx = connection.0.begin().await.unwrap();
            let sql = format!("SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = '{claims}'");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
            let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM projects").fetch_one(&mut *tx).await.unwrap();
            assert_eq!(seen, 0, "{claims}");
        }
    });
}

#[test]
fn only_permitted_callers_write() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let database = server.database();
        let before = project.state().await;
        let mut connection = LoginConnection::open(database).await;
        let tables = relations(database, "rp").await;

        // Update: each column of each table by itself.
        let mut changed: BTreeMap<(String, &str), BTreeSet<String>> = BTreeMap::new();
        let columns = rows(
            database,
            "SELECT attrelid::regclass::text, attname::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND attnum > 0 AND NOT attisdropped",
        )
        .await;
        for row in &columns {
            let [table, column] = row.as_slice() else { panic!("{row:?}") };
            for (person, email) in PEOPLE {
                match connection.run(email, &format!("UPDATE {table} SET {column} = {column}")).await {
                    Ok(0) => {}
                    Ok(_) => drop(changed.entry((table.clone(), person)).or_default().insert(column.clone())),
                    Err(code) => assert!(
                        code == DENIED || code == "55000" || code == "0A000" || code == "428C9",
                        "{table}.{column} as {person}: {code}"
                    ),
                }
            }
        }
        let mut expected = BTreeMap::new();
        for (table, columns, people) in CHANGES {
            for person in *people {
                let columns: BTreeSet<String> = columns.split_whitespace().map(str::to_owned).collect();
                expected.insert(((*table).to_owned(), *person), columns);
            }
        }
        assert_eq!(changed, expected);

        // Insert: a copy of an existing row with new keys.
        for table in &tables {
            let insert = copy_of(database, table, None).await;
            for (person, email) in PEOPLE {
                let added = connection.run(email, &insert).await;
                if callers_of(ADDITIONS, table).contains(person) {
                    assert!(
                        added == Ok(1) || (table.starts_with("user_") && added == Err("23505".to_owned())),
                        "{table} as {person}: {added:?}"
                    );
                } else {
                    // A duplicate key must not fail differently, since that would reveal that the row exists.
                    assert_eq!(added, Err(DENIED.to_owned()), "{table} as {person}");
                }
            }
        }

        // Call functions.
        let history = History::of(database, &project).await;
        for (_, call, people) in WRITES {
            for (person, email) in PEOPLE {
                let expected = if people.contains(&person) { Ok(1) } else { Err(DENIED.to_owned()) };
                let called = connection.run(email, &history.fill(&format!("SELECT count(*) FROM {call}"))).await;
                assert_eq!(called, expected, "{call} as {person}");
            }
        }

        // Delete.
        for table in relations(database, "rpv").await {
            for (person, email) in PEOPLE {
                match connection.run(email, &format!("DELETE FROM {table}")).await {
                    Ok(0) => {}
                    Ok(_) => assert!(callers_of(DELETIONS, &table).contains(person), "{table} as {person}"),
                    Err(code) => assert!(code == DENIED || code == "55000", "{table} as {person}: {code}"),
                }
                let truncated = connection.run(email, &format!("TRUNCATE {table} CASCADE")).await;
                assert!(
                    truncated == Err(DENIED.to_owned()) || truncated == Err("42809".to_owned()),
                    "{table} as {person}: {truncated:?}"
                );
            }
        }
        assert_eq!(project.state().await, before);
    });
}

#[test]
fn times_that_the_service_cannot_read_are_refused() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let database = server.database();
        let mut connection = LoginConnection::open(database).await;
        let columns = rows(
            database,
            "SELECT c.relname::text, attname::text FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
             AND atttypid = 'timestamptz'::regtype",
        )
        .await;
        assert!(columns.len() > 20, "{columns:?}");
        for row in &columns {
            let [table, column] = row.as_slice() else { panic!("{row:?}") };
            for at in ["infinity", "-infinity", "290000-01-01"] {
                let insert = copy_of(database, table, Some((column, at))).await;
                for (person, email) in PEOPLE {
                    for sql in [format!("UPDATE {table} SET {column} = '{at}'"), insert.clone()] {
                        let done = connection.run(email, &sql).await;
                        assert!(done == Ok(0) || done == Err(DENIED.to_owned()), "{sql} as {person}: {done:?}");
                    }
                }
            }
        }
        // Functions clamp the times that they receive.
        for at in ["infinity", "-infinity", "290000-01-01"] {
            for sql in [
                format!("SELECT touch_project('{}', '{at}')::int::bigint", project.id),
                format!(
                    "SELECT count(*) FROM lock_project('project', '{}', 'write', NULL, NULL, '{at}')
                         WHERE at BETWEEN now() - interval '1 day' AND now() + interval '2 minutes'",
                    project.id
                ),
            ] {
                assert_eq!(connection.run(Some("ada@example.com"), &sql).await, Ok(1), "{sql}");
            }
            let touched = format!(
                "SELECT touch_project('{}', '{at}'); SELECT count(*) FROM projects
                WHERE last_accessed_at BETWEEN now() - interval '1 day' AND now() + interval '2 minutes'",
                project.id
            );
            assert_eq!(connection.run(Some("vic@example.com"), &touched).await, Ok(1), "{touched}");
        }
    });
}

#[test]
fn only_permitted_callers_change_memberships() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let mut connection = LoginConnection::open(server.database()).await;
        let id = &project.id;
        let user = |name: &str| format!("'{}'", user_id(&format!("{name}@example.com")));
        let mut check = async |name: &str, sql: String, expected: Result<i64, &str>| {
            let done = connection.run(Some(&format!("{name}@example.com")), &sql).await;
            assert_eq!(done, expected.map_err(str::to_owned), "{name}: {sql}");
        };
        let role = |of: &str, role: &str| {
            format!("UPDATE project_collaborators SET role = '{role}' WHERE user_id = {}", user(of))
        };
        let accept =
            |of: &str| format!("UPDATE project_collaborators SET accepted_at = now() WHERE user_id = {}", user(of));
        let remove = |of: &str| format!("DELETE FROM project_collaborators WHERE user_id = {}", user(of));
        let invite = |of: &str, by: &str, accepted: &str| {
            format!(
                "INSERT INTO project_collaborators VALUES ('{id}', {}, 'editor', {}, now(), {accepted})",
                user(of),
                user(by)
            )
        };

        // The owner decides who is a member, but cannot accept an invitation for somebody else.
        check("ada", role("vic", "editor"), Ok(1)).await;
        check("ada", remove("vic"), Ok(1)).await;
        check("ada", invite("sue", "ada", "NULL"), Ok(1)).await;
        check("ada", invite("sue", "ada", "now()"), Err(DENIED)).await;
        check("ada", invite("sue", "eve", "NULL"), Err(DENIED)).await;
        check("ada", accept("ivy"), Err(DENIED)).await;
        // Members can leave, and cannot raise anyone's role, including their own.
        for name in ["vic", "eve"] {
            check(name, role(name, "owner"), Err(DENIED)).await;
            check(name, remove(name), Ok(1)).await;
            check(name, remove("ivy"), Ok(0)).await;
            check(name, role("ivy", "owner"), Ok(0)).await;
            check(name, invite("sue", name, "NULL"), Err(DENIED)).await;
        }
        // Invited users accept or decline with the role of the invitation.
        check("ivy", accept("ivy"), Ok(1)).await;
        check("ivy", remove("ivy"), Ok(1)).await;
        check("ivy", role("ivy", "owner"), Err(DENIED)).await;
        check("sue", invite("sue", "sue", "now()"), Err(DENIED)).await;

        // Only the owner can delete a project or transfer its ownership.
        for (name, answer) in [("ada", Ok(1)), ("eve", Err(DENIED)), ("vic", Ok(0)), ("ivy", Ok(0)), ("sue", Ok(0))] {
            check(name, format!("UPDATE projects SET status = 'deleted' WHERE id = '{id}'"), answer).await;
            check(name, format!("UPDATE projects SET user_id = {} WHERE id = '{id}'", user("eve")), answer).await;
        }
        check("sue", format!("UPDATE projects SET name = 'Taken' WHERE id = '{id}'"), Ok(0)).await;
    });
}

/// The most frequent reads. Each runs first with a custom plan, and then until PostgreSQL can switch to a generic plan.
const READS: [&str; 7] = [
    "{ invitations(first: 5) { totalCount nodes { projectName } } }",
    "{ projects(first: 20) { nodes { name stats { totalMessages lastActivityAt } } } }",
    "{ recentActivity(first: 20) { nodes { excerpt author { fullName } } } }",
    "query($session: ID!) { node(id: $session) { ... on ChatSession {
       messages(last: 50) { totalCount nodes { content timestamp author { fullName } } } } } }",
    "query($project: ID!) { project(id: $project) { name files(first: 20) { nodes { path content versions(first: 5) { nodes {
       version changeDescription createdAt } } } } } }",
    "query($project: ID!) { project(id: $project) { changes(first: 20) { nodes { path diff message { content } } } } }",
    "query($project: ID!) { project(id: $project) { events(afterRevision: 1, first: 50) { revision message { id } changes { path } } } }",
];

#[test]
fn no_read_or_write_scans_a_large_table() {
    run_with_server(Kind::Postgres, async |server: Server| {
        const LARGE: [&str; 6] = [
            "chat_messages",
            "file_snapshots",
            "project_events",
            "blobs",
            "project_collaborators",
            "project_invitations",
        ];
        // Given 100,000 messages, 50,000 versions and 40,000 invitations of other users …
        let ada = server.user("ada@example.com");
        let project = fill(&server).await;
        let database = server.database();
        let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
        sqlx::raw_sql(
            "SET session_replication_role = replica;
             INSERT INTO user_profiles SELECT md5('u' || n)::uuid, NULL, 'User ' || n, NULL, now(), now() FROM generate_series(1, 200) n;
             INSERT INTO projects SELECT md5('p' || n)::uuid, md5('u' || n % 200 + 1)::uuid, 'Project ' || n, NULL, '', '{}', 'active', 200, 5, 200,
               20, 100, now(), now(), now(), now(), now() FROM generate_series(1, 2000) n;
             INSERT INTO chat_sessions SELECT md5('s' || n)::uuid, md5('p' || n % 2000 + 1)::uuid, md5('u' || (n % 2000 + 1) % 200 + 1)::uuid, n / 2000,
               NULL, now(), now(), 40, false, '{}' FROM generate_series(1, 10000) n;
             INSERT INTO chat_messages SELECT md5('m' || n)::uuid, md5('p' || (n % 10000) % 2000 + 1)::uuid, md5('s' || n % 10000 + 1)::uuid,
               md5('u' || n % 200 + 1)::uuid, n / 10000, 'user', 'A message of somebody else', now(), false, '{}', '{}', NULL, NULL
               FROM generate_series(1, 100000) n;
             INSERT INTO project_events SELECT md5('p' || n % 2000 + 1)::uuid, n / 2000 + 1, 'FILES_CHANGED', md5('u' || n % 200 + 1)::uuid, NULL, NULL,
               NULL, now() FROM generate_series(0, 99999) n;
             INSERT INTO project_files SELECT md5('f' || n)::uuid, md5('p' || n % 2000 + 1)::uuid, 'f' || n, 'f' || n, NULL, 'file', NULL, 1, 5,
               sha256(n::text::bytea), false, now(), now() FROM generate_series(1, 10000) n;
             INSERT INTO blobs (id, project_id, sha256, size, encoding, depth, base_id, data) SELECT n + 1000, md5('p' || n % 2000 + 1)::uuid,
               sha256(n::text::bytea), 1, 0, 0, NULL, '\\x61' FROM generate_series(1, 50000) n;
             INSERT INTO file_snapshots SELECT md5('v' || n)::uuid, md5('p' || (n % 10000) % 2000 + 1)::uuid, md5('f' || n % 10000 + 1)::uuid, n / 2000 + 1,
               n / 2000 + 2, n / 10000 + 1, 1, 1, n + 1000, 'update', 'f' || n % 10000 FROM generate_series(1, 50000) n;
             INSERT INTO project_collaborators SELECT md5('p' || n % 2000 + 1)::uuid, md5('u' || n / 2000 + 1)::uuid, 'viewer', NULL, now(), NULL
               FROM generate_series(0, 19999) n;
             INSERT INTO project_invitations SELECT md5('p' || n % 2000 + 1)::uuid, n || '@example.com', 'viewer', NULL, now()
               FROM generate_series(0, 19999) n;
             ANALYZE",
        )
        .execute(&mut admin)
        .await
        .unwrap();
        let session = text(&project.ask("sessions { nodes { id } }").await["sessions"]["nodes"][0]["id"]);
        // PostgreSQL publishes the counts when a connection ends, so the earlier ones are complete once the server has
        // stopped.
        let scans = async |database: &Database| -> BTreeMap<String, i64> {
            let names = LARGE.map(|name| format!("'{name}'")).join(", ");
            let sql =
                format!("SELECT relname::text, seq_scan::text FROM pg_stat_user_tables WHERE relname IN ({names})");
            rows(database, &sql).await.into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
        };
        server.stop().await;
        drop(ada);
        let before = scans(database).await;

        // … when a server answers these reads often enough …
        let server = Server::start(database).await;
        let project = project.of(&server.user("ada@example.com"));
        let variables = serde_json::json!({ "project": project.id, "session": session });
        for _ in 0..7 {
            for query in READS {
                let mut variables = variables.clone();
                variables.as_object_mut().unwrap().retain(|name, _| query.contains(&format!("${name}")));
                project.client.gql(query, variables).await.ok();
            }
            project.add_message(&session, "One more", true).await;
            let content = format!("secret = {}\n", project.revision().await);
            project.update_file("secret.py", &content).await;
        }
        let mut subscription = project.listen(0, "revision").await;
        assert_eq!(number(&subscription.event().await["projectEvents"]["revision"]), 1);
        drop(subscription);
        server.stop().await;

        // … then it has scanned none of these tables sequentially.
        assert_eq!(scans(database).await, before);
        let scan = "SELECT count(*) FROM chat_messages WHERE content = 'x'";
        for sql in [scan, "SELECT pg_stat_force_next_flush()", "SELECT 1"] {
            sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
        }
        assert_ne!(scans(database).await, before, "the counter does not work");
    });
}
