//! Given a project and a team in PostgreSQL, when SQL with the server's own login attempts operations that the service
//! does not do, then the database's authorization layer refuses them by itself: fake inviters, fake departures, other
//! users' sessions, and fake log entries.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tests::{
    database::Kind,
    project::Project,
    server::{Server, run_with_server, user_id},
};

use crate::login_connection::{DENIED, LoginConnection, rows};
use crate::row_security::{History, fill};

/// A project for forbidden attempts, with a connection to its database.
struct Trial {
    connection: LoginConnection,
    id: String,
}

impl Trial {
    /// Runs statements as a user, as [`LoginConnection::run`] does; `$name` stands for that user's id, and `$project` for the
    /// project's.
    async fn check(&mut self, name: &str, sql: &str, expected: Result<i64, &str>) {
        let mut filled = sql.replace("$project", &format!("'{}'", self.id));
        for name in ["ada", "amy", "eve", "fay", "ivy", "sue", "vic"] {
            filled = filled.replace(&format!("${name}"), &format!("'{}'", user_id(&format!("{name}@example.com"))));
        }
        let done = self.connection.run(Some(&format!("{name}@example.com")), &filled).await;
        assert_eq!(done, expected.map_err(str::to_owned), "{name}: {sql}");
    }
}

#[test]
fn inviters_and_former_members_cannot_be_faked() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let mut trial = Trial { connection: LoginConnection::open(server.database()).await, id: project.id.clone() };

        // The inviter is the caller (the owner), or stays unchanged.
        let vic = "UPDATE project_collaborators SET $ WHERE user_id = $vic";
        for (name, change, expected) in [
            ("ada", "invited_by = $ada, invited_at = now()", Ok(1)),
            ("ada", "invited_by = $sue", Err(DENIED)),
            ("ada", "invited_by = NULL", Err(DENIED)),
            ("ada", "role = 'owner'", Err(DENIED)),
            ("vic", "invited_by = $vic", Err(DENIED)),
            ("vic", "invited_at = now()", Err(DENIED)),
            ("eve", "invited_by = $eve", Ok(0)),
        ] {
            trial.check(name, &vic.replacen('$', change, 1), expected).await;
        }
        let invite = "INSERT INTO project_collaborators VALUES ($project, $sue, 'owner', $ada, now(), NULL)";
        trial.check("ada", invite, Err(DENIED)).await;
        for (name, change, expected) in [
            ("ada", "role = 'editor', invited_by = $ada, invited_at = now()", Ok(1)),
            ("ada", "invited_by = $sue", Err(DENIED)),
            ("ada", "invited_by = NULL", Err(DENIED)),
            ("amy", "role = 'editor'", Ok(0)),
        ] {
            trial.check(name, &format!("UPDATE project_invitations SET {change}"), expected).await;
        }

        // Accepting an invitation to an address copies all of the invitation.
        let join = |role: &str, by: &str, at: &str| {
            format!(
                "INSERT INTO project_collaborators SELECT project_id, $amy, {role}, {by}, {at}, now() FROM project_invitations"
            )
        };
        trial.check("amy", &join("role", "invited_by", "invited_at"), Ok(1)).await;
        trial.check("amy", &join("'editor'", "invited_by", "invited_at"), Err(DENIED)).await;
        trial.check("amy", &join("role", "$fay", "invited_at"), Err(DENIED)).await;
        trial.check("amy", &join("role", "NULL", "invited_at"), Err(DENIED)).await;
        trial.check("amy", &join("role", "invited_by", "now()"), Err(DENIED)).await;

        // Only members become former members.
        for (name, of, expected) in [
            ("ada", "$vic", Ok(1)),
            ("vic", "$vic", Ok(1)),
            ("vic", "$eve", Err(DENIED)),
            ("ada", "$sue", Err(DENIED)),
            ("ada", "$ivy", Err(DENIED)),
            ("ada", "$amy", Err(DENIED)),
            ("ivy", "$ivy", Err(DENIED)),
        ] {
            let leave = format!("INSERT INTO project_former_collaborators VALUES ($project, {of}, now())");
            trial.check(name, &leave, expected).await;
        }
        trial.check("ada", "UPDATE project_former_collaborators SET left_at = now()", Ok(0)).await;
        trial.check("fay", "UPDATE project_former_collaborators SET left_at = '-infinity'", Ok(0)).await;
    });
}

#[test]
fn an_old_invitation_by_address_admits_no_former_member_and_its_deletion_is_restricted() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let database = server.database();
        let mut trial = Trial { connection: LoginConnection::open(database).await, id: project.id.clone() };
        let ways = [
            "SELECT count(*) FROM pending_invitations",
            "SELECT count(*) FROM project_invitations",
            "SELECT count(*) FROM lock_project('project', $project, 'invited', NULL, NULL, now())",
            "DELETE FROM project_invitations",
        ];
        let join = "INSERT INTO project_collaborators VALUES ($project, $fay, 'viewer', $ada, $at, now())";
        // Given an invitation to her address from before she left, and then one from after it.
        for (at, expected_rows, joined) in [("left_at", 0, Err(DENIED)), ("left_at + interval '1 second'", 1, Ok(1))] {
            let invited = format!(
                "INSERT INTO project_invitations SELECT f.project_id, 'fay@example.com', 'viewer', p.user_id, {at}
                 FROM project_former_collaborators f JOIN projects p ON p.id = f.project_id
                 ON CONFLICT (project_id, email) DO UPDATE SET invited_at = excluded.invited_at"
            );
            assert_eq!(database.execute(&invited).await, 1);
            for way in ways {
                trial.check("fay", way, Ok(expected_rows)).await;
            }
            let at = "SELECT invited_at::text FROM project_invitations WHERE email = 'fay@example.com'";
            let join = join.replace("$at", &format!("'{}'", rows(database, at).await[0][0]));
            trial.check("fay", &join, joined).await;
        }
        // A profile's address never allows its user to delete an invitation.
        let profile =
            format!("UPDATE user_profiles SET email = 'amy@example.com' WHERE id = '{}'", user_id("vic@example.com"));
        assert_eq!(database.execute(&profile).await, 1);
        trial.check("vic", "DELETE FROM project_invitations", Ok(0)).await;
        trial.check("vic", "UPDATE user_profiles SET email = 'amy@example.com'", Err(DENIED)).await;
    });
}

#[test]
fn an_owner_can_only_end_the_sessions_of_others() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        project.of(&server.user("eve@example.com")).start_session().await;
        let mut trial = Trial { connection: LoginConnection::open(server.database()).await, id: project.id.clone() };
        let end = "UPDATE chat_sessions SET is_active = false, ended_at = now() WHERE user_id = $eve";
        let revive = "UPDATE chat_sessions SET is_active = true, ended_at = NULL WHERE user_id = $eve";
        trial.check("ada", end, Ok(1)).await;
        trial.check("ada", &format!("{end}; {revive}"), Ok(0)).await;
        trial.check("ada", &format!("{end}; {end}"), Ok(0)).await;
        trial.check("ada", "UPDATE chat_sessions SET ended_at = now() WHERE user_id = $eve", Err(DENIED)).await;
        trial.check("vic", end, Ok(0)).await;
        trial.check("eve", end, Ok(1)).await;
        // The author can end the session and start it again.
        trial.check("eve", &format!("{end}; {revive}"), Ok(1)).await;
    });
}

#[test]
fn a_revision_is_the_next_one_and_has_one_event() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let mut trial = Trial { connection: LoginConnection::open(server.database()).await, id: project.id.clone() };
        let present = project.revision().await;
        let record = |kind: &str, revision: i64, at: &str| {
            format!("SELECT count(*) FROM record_revision($project, {revision}, {at}, '{kind}', NULL, NULL, NULL)")
        };
        const TEAM: &str = "COLLABORATORS_CHANGED";
        for (name, kind) in [("ada", "PROJECT_UPDATED"), ("eve", "PROJECT_UPDATED"), ("vic", TEAM), ("ivy", TEAM)] {
            let next = record(kind, present + 1, "now()");
            trial.check(name, &next, Ok(1)).await;
            let after = record(kind, present + 2, "now()");
            trial.check(name, &format!("{next}; {after}"), Ok(1)).await;
            for (revision, at) in [
                (present, "now()"),
                (present + 2, "now()"),
                (present + 1, "'3000-01-01'"),
                (present + 1, "'2000-01-01'"),
                (present + 1, "'infinity'"),
                (present + 1, "NULL"),
            ] {
                trial.check(name, &record(kind, revision, at), Err(DENIED)).await;
            }
            trial.check(name, &format!("{next}; {next}"), Err(DENIED)).await;
            // Direct statements are refused.
            trial.check(name, "UPDATE projects SET revision = revision + 1", Err(DENIED)).await;
            trial.check(name, "UPDATE projects SET last_activity_at = now()", Err(DENIED)).await;
            let note = format!(
                "INSERT INTO project_events (project_id, revision, kind, actor_id, created_at)
                 VALUES ($project, {}, '{kind}', ${name}, now())",
                present + 1
            );
            trial.check(name, &note, Err(DENIED)).await;
        }
        trial.check("vic", &record("PROJECT_UPDATED", present + 1, "now()"), Err(DENIED)).await;
        for stranger in ["sue", "fay"] {
            trial.check(stranger, &record(TEAM, present + 1, "now()"), Err(DENIED)).await;
            for purpose in ["write", "team", "invited"] {
                let lock =
                    format!("SELECT count(*) FROM lock_project('project', $project, '{purpose}', NULL, NULL, now())");
                trial.check(stranger, &lock, Ok(0)).await;
            }
        }
    });
}

#[test]
fn a_write_of_a_file_reads_no_other_contents_and_versions_of_its_project() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = Project::create(&server.user("ada@example.com"), "Large").await;
        let files: Vec<_> = (0..300).map(|n| json!({ "path": format!("{n}.py"), "content": format!("{n}") })).collect();
        project.mutate("syncFiles", json!({ "files": files }), "revision").await.ok();
        let write = format!(
            "BEGIN; SELECT set_config('request.jwt.claims', '{{\"sub\":\"{}\"}}', true);
             SELECT write_files(p.id, p.revision + 1, p.last_activity_at, 'FILES_CHANGED', NULL, NULL, NULL, '{{\\xaa}}', '{{1}}', '{{0}}',
                 '{{0}}', '{{0}}', '{{a}}', ARRAY[f.id], ARRAY[f.file_path], '{{file}}', '{{python}}', '{{2}}', '{{\\xaa}}',
                 ARRAY[gen_random_uuid()], '{{update}}', '{{1}}', '{{1}}', NULL, NULL, NULL)
             FROM projects p JOIN project_files f ON f.project_id = p.id AND f.file_path = '7.py' WHERE p.id = '{}';
             SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint AS read FROM pg_stat_xact_user_tables
             WHERE relname IN ('blobs', 'file_snapshots')",
            user_id("ada@example.com"),
            project.id
        );
        let mut connection = PgConnection::connect(&server.database().url()).await.expect("a connection");
        let answers = sqlx::raw_sql(AssertSqlSafe(write)).fetch_all(&mut connection).await.expect("a write");
        let read: i64 = answers.last().unwrap().get("read");
        assert!((1..20).contains(&read), "{read} rows of 300");
    });
}

/// A call of `write_files` that writes one version of one file. `{}` are the file, the path, the version, the content's
/// hash, and the arrays of new contents: hashes, sizes, encodings, depths, bases and data.
fn write_one(next: i64, file: &str, version: i64, hash: &str, new: [&str; 6]) -> String {
    let [hashes, sizes, encodings, depths, bases, contents] = new;
    format!(
        "SELECT count(*) FROM write_files($project, {next}, now(), 'FILES_CHANGED', NULL, NULL, NULL, {hashes}, {sizes}, {encodings}, \
         {depths}, {bases}, {contents}, ARRAY[{file}]::uuid[], ARRAY['x.py'], ARRAY['file'], ARRAY[''], ARRAY[{version}], \
         ARRAY[{hash}]::bytea[], ARRAY[gen_random_uuid()], ARRAY['update'], ARRAY[1], ARRAY[1], NULL, NULL, NULL)"
    )
}

#[test]
fn a_write_of_files_stays_in_its_project_and_follows_the_newest_versions() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let others = Project::create(&server.user("sue@example.com"), "Another's").await;
        others.create_file("a.py", "theirs\n").await;
        let database = server.database();
        let mut trial = Trial { connection: LoginConnection::open(database).await, id: project.id.clone() };
        let next = project.revision().await + 1;
        let of = async |project: &str| {
            let sql = format!(
                "SELECT max(b.id)::text, quote_literal(max(f.id::text)), quote_literal(max(f.hash::text)), max(f.version)::text
                 FROM blobs b JOIN project_files f ON f.project_id = b.project_id AND f.file_type = 'file'
                 WHERE b.project_id = '{project}'"
            );
            rows(database, &sql).await.remove(0)
        };
        let (own, theirs) = (of(&project.id).await, of(&others.id).await);
        let version: i64 = own[3].parse().unwrap();
        const NOTHING: [&str; 6] = ["'{}'"; 6];
        for (what, sql, expected) in [
            ("correct", write_one(next, &own[1], version + 1, &own[2], NOTHING), Ok(1)),
            ("a folder", write_one(next, &own[1], version + 1, "''", NOTHING), Ok(1)),
            ("a new file", write_one(next, "gen_random_uuid()", 1, &own[2], NOTHING), Ok(1)),
            ("another's file", write_one(next, &theirs[1], version + 1, &own[2], NOTHING), Err(DENIED)),
            ("another's content", write_one(next, &own[1], version + 1, &theirs[2], NOTHING), Err(DENIED)),
            ("a repeated version", write_one(next, &own[1], version, &own[2], NOTHING), Err(DENIED)),
            ("a skipped version", write_one(next, &own[1], version + 2, &own[2], NOTHING), Err(DENIED)),
            ("another revision", write_one(next + 1, &own[1], version + 1, &own[2], NOTHING), Err(DENIED)),
        ] {
            for name in ["ada", "eve"] {
                trial.check(name, &sql, expected).await;
            }
            trial.check("vic", &sql, Err(DENIED)).await;
            trial.check("sue", &sql, Err(DENIED)).await;
            eprintln!("{what}");
        }
        for (base, expected) in [(&own[0], Ok(1)), (&theirs[0], Err(DENIED)), (&"999999".to_owned(), Err(DENIED))] {
            let base = format!("ARRAY[{base}]");
            let new = [
                "ARRAY[sha256('x')]",
                "ARRAY[1]",
                "ARRAY[2]::smallint[]",
                "ARRAY[1]::smallint[]",
                &base,
                "ARRAY['x']::bytea[]",
            ];
            trial.check("eve", &write_one(next, &own[1], version + 1, "sha256('x')", new), expected).await;
        }
    });
}

#[test]
fn only_the_author_writes_in_a_session_also_once_it_has_ended() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let mut trial = Trial { connection: LoginConnection::open(server.database()).await, id: project.id.clone() };
        let history = History::of(server.database(), &project).await;
        let add = history.fill(
            "SELECT count(*) FROM add_message($project, $next, now(), gen_random_uuid(), $session, 'user', 'Hi', false, '{}', '{}',
             NULL, NULL, NULL, NULL)",
        );
        let follow = |snapshot: &str| {
            history.fill(&format!(
                "SELECT count(*) FROM write_files($project, $next, now(), 'FILES_CHANGED', $session, $message, NULL, '{{}}', '{{}}',
                 '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}',
                 (SELECT max(id::text)::uuid FROM project_snapshots WHERE {snapshot}), 1, '')"
            ))
        };
        trial.check("ada", &add, Ok(1)).await;
        trial.check("eve", &add, Err(DENIED)).await;
        // The checkpoint's snapshot follows its message; a named snapshot never changes.
        trial.check("ada", &follow("name IS NULL"), Ok(1)).await;
        trial.check("ada", &follow("name IS NOT NULL"), Err(DENIED)).await;
        const END: &str = "UPDATE chat_sessions SET is_active = false, ended_at = now() WHERE user_id = $ada";
        trial.check("ada", &format!("{END}; {add}"), Ok(1)).await;
        trial.check("ada", &format!("{END}; {}", follow("name IS NULL")), Ok(1)).await;
        trial.check("eve", &format!("{END}; {add}"), Err(DENIED)).await;
        trial.check("ada", "UPDATE chat_sessions SET message_count = 7", Err(DENIED)).await;
    });
}
