//! Given a project and a team in PostgreSQL, when somebody with the server's own login asks in SQL for what the service would not
//! do, then the second lock refuses it by itself: who has asked, who has left, whose session ends, and what stands in the log.

use tests::{
    database::Kind,
    project::Project,
    server::{Server, run_with_server, user_id},
};

use crate::row_security::{DENIED, Door, fill, rows};

/// A project for those who try what they should not, with a door to its database.
struct Trial {
    door: Door,
    id: String,
}

impl Trial {
    /// Tries statements as somebody, as [`Door::run`] does; `$name` is that person's id, and `$project` the project's.
    async fn check(&mut self, name: &str, sql: &str, expected: Result<i64, &str>) {
        let mut filled = sql.replace("$project", &format!("'{}'", self.id));
        for name in ["ada", "amy", "eve", "fay", "ivy", "sue", "vic"] {
            filled = filled.replace(&format!("${name}"), &format!("'{}'", user_id(&format!("{name}@example.com"))));
        }
        let done = self.door.run(Some(&format!("{name}@example.com")), &filled).await;
        assert_eq!(done, expected.map_err(str::to_owned), "{name}: {sql}");
    }
}

#[test]
fn nobody_is_named_who_has_not_asked_or_has_not_been_there() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let mut trial = Trial { door: Door::open(server.database()).await, id: project.id.clone() };

        // Who has asked is the owner, or stays as it was.
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

        // Who joins by their address joins as the invitation says, all of it.
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

        // Whoever has left has been there.
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
fn an_address_is_no_way_back_and_nobody_deletes_for_it_what_is_anothers() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let database = server.database();
        let mut trial = Trial { door: Door::open(database).await, id: project.id.clone() };
        let ways = [
            "SELECT count(*) FROM pending_invitations",
            "SELECT count(*) FROM project_invitations",
            "SELECT count(*) FROM take_team_revision($project, true, now())",
            "DELETE FROM project_invitations",
        ];
        let join = "INSERT INTO project_collaborators VALUES ($project, $fay, 'viewer', $ada, $at, now())";
        // Given an invitation to her address from before she left, and then one from after it.
        for (at, told, joined) in [("left_at", 0, Err(DENIED)), ("left_at + interval '1 second'", 1, Ok(1))] {
            let invited = format!(
                "INSERT INTO project_invitations SELECT f.project_id, 'fay@example.com', 'viewer', p.user_id, {at}
                 FROM project_former_collaborators f JOIN projects p ON p.id = f.project_id
                 ON CONFLICT (project_id, email) DO UPDATE SET invited_at = excluded.invited_at"
            );
            assert_eq!(database.execute(&invited).await, 1);
            for way in ways {
                trial.check("fay", way, Ok(told)).await;
            }
            let at = "SELECT invited_at::text FROM project_invitations WHERE email = 'fay@example.com'";
            let join = join.replace("$at", &format!("'{}'", rows(database, at).await[0][0]));
            trial.check("fay", &join, joined).await;
        }
        // Whoever they are, there is nothing that deletes an invitation by the address of a profile.
        let profile =
            format!("UPDATE user_profiles SET email = 'amy@example.com' WHERE id = '{}'", user_id("vic@example.com"));
        assert_eq!(database.execute(&profile).await, 1);
        trial.check("vic", "DELETE FROM project_invitations", Ok(0)).await;
        trial.check("vic", "UPDATE user_profiles SET email = 'amy@example.com'", Err(DENIED)).await;
    });
}

#[test]
fn an_owner_ends_a_session_and_does_nothing_else_to_it() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        project.of(&server.user("eve@example.com")).start_session().await;
        let mut trial = Trial { door: Door::open(server.database()).await, id: project.id.clone() };
        let end = "UPDATE chat_sessions SET is_active = false, ended_at = now() WHERE user_id = $eve";
        let revive = "UPDATE chat_sessions SET is_active = true, ended_at = NULL WHERE user_id = $eve";
        trial.check("ada", end, Ok(1)).await;
        trial.check("ada", &format!("{end}; {revive}"), Ok(0)).await;
        trial.check("ada", &format!("{end}; {end}"), Ok(0)).await;
        trial.check("ada", "UPDATE chat_sessions SET ended_at = now() WHERE user_id = $eve", Err(DENIED)).await;
        trial.check("vic", end, Ok(0)).await;
        trial.check("eve", end, Ok(1)).await;
        // Ended or not, it is its author's.
        trial.check("eve", &format!("{end}; {revive}"), Ok(1)).await;
    });
}

#[test]
fn a_revision_is_the_next_one_and_has_one_event() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let mut trial = Trial { door: Door::open(server.database()).await, id: project.id.clone() };
        let note = |kind: &str, revision: &str, actor: &str, at: &str| {
            format!(
                "INSERT INTO project_events (project_id, revision, kind, actor_id, created_at)
                 SELECT id, {revision}, '{kind}', ${actor}, {at} FROM projects"
            )
        };
        const TEAM: &str = "COLLABORATORS_CHANGED";
        const WRITE: &str = "UPDATE projects SET revision = revision + 1, last_activity_at = now()";
        const LEAVE: &str = "SELECT take_team_revision($project, false, now())";
        const ACCEPT: &str = "SELECT take_team_revision($project, true, now())";
        const DONE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

        for (name, take) in [("ada", WRITE), ("eve", WRITE), ("vic", LEAVE)] {
            // A revision that is not there yet would stand in the way of the next write, and one that is there has its event.
            let later = note(TEAM, "revision + 1", name, "last_activity_at");
            trial.check(name, &later, Err(DENIED)).await;
            trial.check(name, &note(TEAM, "revision - 1", name, "last_activity_at"), Err("23505")).await;
            trial.check(name, &note(TEAM, "revision", name, "last_activity_at"), Err("23505")).await;
            trial.check(name, &format!("{take}; {later}"), Err(DENIED)).await;
            // Who takes one says what it is, in their own name and of its time.
            let now = note(TEAM, "revision", name, "last_activity_at");
            trial.check(name, &format!("{take}; {now}; {DONE}"), Ok(0)).await;
            trial.check(name, &format!("{take}; {DONE}"), Err(DENIED)).await;
            trial.check(name, &format!("{take}; {now}; {now}"), Err("23505")).await;
            trial.check(name, &format!("{take}; {}", note(TEAM, "revision", name, "'3000-01-01'")), Err(DENIED)).await;
            trial
                .check(name, &format!("{take}; {}", note(TEAM, "revision", "sue", "last_activity_at")), Err(DENIED))
                .await;
        }
        let files = note("FILES_CHANGED", "revision", "vic", "last_activity_at");
        trial.check("vic", &format!("{LEAVE}; {files}"), Err(DENIED)).await;
        // The invited do not see the project.
        trial.check("ivy", &format!("{ACCEPT}; {DONE}"), Err(DENIED)).await;
        let present = project.revision().await;
        let mine = |revision: i64| {
            format!("INSERT INTO project_events VALUES ($project, {revision}, '{TEAM}', $ivy, NULL, NULL, NULL, now())")
        };
        trial.check("ivy", &format!("{ACCEPT}; {}; {DONE}", mine(present + 1)), Ok(0)).await;
        trial.check("ivy", &mine(present + 1), Err(DENIED)).await;
        trial.check("ivy", &format!("{ACCEPT}; {}", mine(present + 2)), Err(DENIED)).await;
        trial.check("sue", &mine(present + 1).replace("ivy", "sue"), Err(DENIED)).await;

        // No revision is left out or taken back, and no time is taken that is not yet.
        for (set, expected) in [
            ("revision = revision + 2", Err(DENIED)),
            ("revision = revision - 1", Err(DENIED)),
            ("revision = revision", Ok(1)),
        ] {
            trial.check("eve", &format!("UPDATE projects SET {set}"), expected).await;
        }
        let future = "SELECT count(*) FROM take_team_revision($project, false, '3000-01-01')
            WHERE last_activity_at < now() + interval '2 minutes'";
        trial.check("vic", future, Ok(1)).await;
        for stranger in ["sue", "amy", "fay"] {
            trial.check(stranger, "SELECT count(*) FROM take_team_revision($project, false, now())", Ok(0)).await;
        }
    });
}

#[test]
fn a_blob_is_based_on_one_of_its_own_project() {
    run_with_server(Kind::Postgres, async |server: Server| {
        let project = fill(&server).await;
        let others = Project::create(&server.user("sue@example.com"), "Another's").await;
        others.create_file("a.py", "theirs\n").await;
        let database = server.database();
        let mut trial = Trial { door: Door::open(database).await, id: project.id.clone() };
        for (of, expected) in [(&project.id, Ok(1)), (&others.id, Err(DENIED))] {
            let base =
                &rows(database, &format!("SELECT max(id)::text FROM blobs WHERE project_id = '{of}'")).await[0][0];
            let add = format!(
                "INSERT INTO blobs (project_id, sha256, size, encoding, depth, base_id, data)
                 VALUES ($project, sha256('x'), 1, 2, 1, {base}, 'x')"
            );
            trial.check("eve", &add, expected).await;
        }
    });
}
