-- Row-level security: the privileges of the role `authenticated` and the policies, by table. The service runs every
-- transaction as this role with the caller's claims in `request.jwt.claims`, as Supabase's own services do. Whatever the
-- service requests, the role cannot do what is not allowed here. {schema} is the quoted schema of the tables; {member},
-- {writer} and {owner} are the caller's projects by role (row_security.rs).
--
-- It is not FORCEd on the tables' owner, who runs the functions and the migrations, and reads everything for `export` and
-- `verify`.

GRANT USAGE ON SCHEMA {schema} TO authenticated;

-- ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────

-- The caller, and users who own, work on or have written in a project that the caller can see. The tables used here are
-- restricted by their own policies.
GRANT SELECT (id, full_name, avatar_url, created_at, updated_at, own_full_name, own_avatar_url), INSERT,
    UPDATE (full_name, avatar_url, updated_at, own_full_name, own_avatar_url) ON user_profiles TO authenticated;
CREATE POLICY read ON user_profiles FOR SELECT TO authenticated USING (
    id = (SELECT auth.uid())
    OR EXISTS (SELECT FROM projects p WHERE p.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM project_collaborators c WHERE c.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM chat_sessions s WHERE s.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM project_former_collaborators f WHERE f.user_id = user_profiles.id));
CREATE POLICY add ON user_profiles FOR INSERT TO authenticated
    WITH CHECK (id = (SELECT auth.uid()) AND is_time(created_at) AND is_time(updated_at) AND is_time(claims_at));
CREATE POLICY change ON user_profiles FOR UPDATE TO authenticated
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()) AND is_time(updated_at));

GRANT SELECT, INSERT, UPDATE (editor_theme, auto_save_enabled, notification_preferences, ui_preferences, updated_at)
    ON user_preferences TO authenticated;
CREATE POLICY read ON user_preferences FOR SELECT TO authenticated USING (user_id = (SELECT auth.uid()));
CREATE POLICY add ON user_preferences FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()) AND is_time(created_at) AND is_time(updated_at));
CREATE POLICY change ON user_preferences FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()) AND is_time(updated_at));

-- ── projects and members ─────────────────────────────────────────────────────────────────────────────────────────────

-- A project's own fields. A trigger restricts owner and deletion to the owner. The projects are an array, so that
-- PostgreSQL reads these few rows by their key. For a history it would read and sort everything for a page.
GRANT SELECT, UPDATE (user_id, name, description, initial_prompt, config, status, updated_at) ON projects TO authenticated;
CREATE POLICY read ON projects FOR SELECT TO authenticated
    USING (id = ANY (ARRAY(SELECT m.project_id FROM project_members m)));
CREATE POLICY change ON projects FOR UPDATE TO authenticated USING (id {writer}) WITH CHECK (is_time(updated_at));

-- The definition of membership, which the other policies use.
GRANT SELECT ON project_members TO authenticated;
CREATE POLICY read ON project_members FOR SELECT TO authenticated USING (user_id = (SELECT auth.uid()));

-- Past states of a project cannot change.
GRANT SELECT, INSERT ON project_versions TO authenticated;
CREATE POLICY read ON project_versions FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON project_versions FOR INSERT TO authenticated
    WITH CHECK (project_id {writer} AND is_time(updated_at));

-- Owners invite; no one becomes a member without accepting. Invited users can accept, decline and leave. An owner who
-- transfers a project adds themselves. A trigger compares the new row with the old one.
GRANT SELECT, INSERT, UPDATE (role, invited_by, invited_at, accepted_at), DELETE ON project_collaborators TO authenticated;
CREATE POLICY read ON project_collaborators FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()) OR project_id {member});
CREATE POLICY add ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    (accepted_at IS NULL OR user_id = (SELECT auth.uid())) AND invited_by = (SELECT auth.uid()) AND role <> 'owner'
    AND is_time(invited_at) AND is_time(accepted_at) AND project_id {owner});
-- Addressees join with an invitation of their address and with its values.
CREATE POLICY join_by_address ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND is_time(accepted_at)
    AND EXISTS (SELECT FROM project_invitations i WHERE i.project_id = project_collaborators.project_id
                AND i.email = (SELECT my_address()) AND i.role = project_collaborators.role
                AND (i.invited_by, i.invited_at)
                    IS NOT DISTINCT FROM (project_collaborators.invited_by, project_collaborators.invited_at)));
CREATE POLICY change ON project_collaborators FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid()) OR project_id {owner})
    WITH CHECK (is_time(invited_at) AND is_time(accepted_at));
CREATE POLICY remove ON project_collaborators FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()) OR project_id {owner});

-- Owners write the invitations of addresses; the addressees answer them, unless they have left the project since.
GRANT SELECT, INSERT, UPDATE (role, invited_by, invited_at), DELETE ON project_invitations TO authenticated;
CREATE POLICY read ON project_invitations FOR SELECT TO authenticated USING (
    project_id {owner}
    OR email = (SELECT my_address())
    AND NOT EXISTS (SELECT FROM project_former_collaborators f WHERE f.project_id = project_invitations.project_id
                    AND f.user_id = (SELECT auth.uid()) AND f.left_at >= project_invitations.invited_at));
CREATE POLICY add ON project_invitations FOR INSERT TO authenticated
    WITH CHECK (invited_by = (SELECT auth.uid()) AND is_time(invited_at) AND project_id {owner});
CREATE POLICY change ON project_invitations FOR UPDATE TO authenticated USING (project_id {owner})
    WITH CHECK (invited_by = (SELECT auth.uid()) AND is_time(invited_at) AND project_id {owner});
CREATE POLICY remove ON project_invitations FOR DELETE TO authenticated USING (
    project_id {owner}
    OR email = (SELECT my_address())
    AND NOT EXISTS (SELECT FROM project_former_collaborators f WHERE f.project_id = project_invitations.project_id
                    AND f.user_id = (SELECT auth.uid()) AND f.left_at >= project_invitations.invited_at));

-- Users who leave record their names; former collaborators must have been members.
GRANT SELECT, INSERT, UPDATE (left_at) ON project_former_collaborators TO authenticated;
CREATE POLICY read ON project_former_collaborators FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()) OR project_id {member});
CREATE POLICY add ON project_former_collaborators FOR INSERT TO authenticated WITH CHECK (
    (user_id = (SELECT auth.uid()) OR project_id {owner}) AND is_time(left_at)
    AND EXISTS (SELECT FROM project_collaborators c WHERE c.project_id = project_former_collaborators.project_id
                AND c.user_id = project_former_collaborators.user_id AND c.accepted_at IS NOT NULL));
CREATE POLICY change ON project_former_collaborators FOR UPDATE TO authenticated USING (
    (user_id = (SELECT auth.uid()) OR project_id {owner})
    AND EXISTS (SELECT FROM project_collaborators c WHERE c.project_id = project_former_collaborators.project_id
                AND c.user_id = project_former_collaborators.user_id AND c.accepted_at IS NOT NULL))
    WITH CHECK (is_time(left_at));

-- Members see who is present; only servers write entries.
GRANT SELECT ON presences TO authenticated;
CREATE POLICY read ON presences FOR SELECT TO authenticated USING (project_id {member});

-- ── agent configurations: a version ends once ────────────────────────────────────────────────────────────────────────

GRANT SELECT, INSERT, UPDATE (config_name, description, stt_provider, stt_model, stt_config, tts_provider, tts_model, tts_config,
    llm_provider, llm_model, llm_config, vad_provider, vad_config, turn_detection_config, function_calls, tool_integrations,
    agent_instructions, agent_personality, required_env_vars, dependencies, source_files, is_active, version, updated_at)
    ON agent_configurations TO authenticated;
CREATE POLICY read ON agent_configurations FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON agent_configurations FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id {writer} AND is_time(created_at) AND is_time(updated_at));
CREATE POLICY change ON agent_configurations FOR UPDATE TO authenticated
    USING (project_id {writer}) WITH CHECK (is_time(updated_at));

GRANT SELECT, INSERT, UPDATE (superseded_revision) ON agent_configuration_versions TO authenticated;
CREATE POLICY read ON agent_configuration_versions FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON agent_configuration_versions FOR INSERT TO authenticated WITH CHECK (
    project_id {writer}
    AND EXISTS (SELECT FROM agent_configurations c
                WHERE c.id = configuration_id AND c.project_id = agent_configuration_versions.project_id));
CREATE POLICY change ON agent_configuration_versions FOR UPDATE TO authenticated
    USING (superseded_revision IS NULL AND project_id {writer}) WITH CHECK (true);

-- ── sessions: only their author writes in them ───────────────────────────────────────────────────────────────────────

GRANT SELECT, INSERT, UPDATE (ended_at, is_active) ON chat_sessions TO authenticated;
CREATE POLICY read ON chat_sessions FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON chat_sessions FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND message_count = 0 AND project_id {writer}
    AND is_time(started_at) AND is_time(ended_at));
CREATE POLICY change ON chat_sessions FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id {writer})
    WITH CHECK (user_id = (SELECT auth.uid()) AND project_id {writer} AND is_time(ended_at));
-- Owners can only end the sessions of the users whom they remove.
CREATE POLICY end_others ON chat_sessions FOR UPDATE TO authenticated USING (is_active AND project_id {owner})
    WITH CHECK (NOT is_active AND project_id {owner} AND is_time(ended_at));

GRANT SELECT, UPDATE (hidden_revision) ON chat_messages TO authenticated;
CREATE POLICY read ON chat_messages FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY change ON chat_messages FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id {writer});

-- Only the author of a session hides its messages, and an entry ends once.
GRANT SELECT, INSERT, UPDATE (superseded_revision) ON hidden_messages TO authenticated;
CREATE POLICY read ON hidden_messages FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON hidden_messages FOR INSERT TO authenticated WITH CHECK (
    project_id {writer}
    AND EXISTS (SELECT FROM chat_messages m WHERE m.id = message_id AND m.project_id = hidden_messages.project_id
                AND m.user_id = (SELECT auth.uid())));
CREATE POLICY change ON hidden_messages FOR UPDATE TO authenticated USING (
    superseded_revision IS NULL AND project_id {writer}
    AND EXISTS (SELECT FROM chat_messages m WHERE m.id = message_id AND m.user_id = (SELECT auth.uid())))
    WITH CHECK (true);

-- Only its author appends to a streaming message; text that was appended does not change. Owners can remove messages that
-- others have abandoned, together with their chunks.
GRANT SELECT, INSERT, UPDATE (length, last_append_at), DELETE ON streaming_messages TO authenticated;
CREATE POLICY read ON streaming_messages FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON streaming_messages FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id {writer} AND is_time(started_at) AND is_time(last_append_at)
    AND EXISTS (SELECT FROM chat_sessions s WHERE s.id = session_id AND s.project_id = streaming_messages.project_id
                AND s.user_id = (SELECT auth.uid())));
CREATE POLICY change ON streaming_messages FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id {writer}) WITH CHECK (is_time(last_append_at));
CREATE POLICY remove ON streaming_messages FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id {writer} OR project_id {owner});

GRANT SELECT, INSERT ON streaming_chunks TO authenticated;
CREATE POLICY read ON streaming_chunks FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON streaming_chunks FOR INSERT TO authenticated WITH CHECK (
    project_id {writer}
    AND EXISTS (SELECT FROM streaming_messages g WHERE g.id = message_id AND g.project_id = streaming_chunks.project_id
                AND g.user_id = (SELECT auth.uid())));

-- ── files and history: only the functions write them ─────────────────────────────────────────────────────────────────

GRANT SELECT ON project_files, blobs, file_snapshots, project_events TO authenticated;
CREATE POLICY read ON project_files FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY read ON blobs FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY read ON file_snapshots FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY read ON project_events FOR SELECT TO authenticated USING (project_id {member});

-- Members who can write can name a revision, and rename and delete snapshots. Deleted snapshots cannot change.
GRANT SELECT, INSERT, UPDATE (name, description, deleted_revision) ON project_snapshots TO authenticated;
CREATE POLICY read ON project_snapshots FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON project_snapshots FOR INSERT TO authenticated WITH CHECK (project_id {writer});
CREATE POLICY change ON project_snapshots FOR UPDATE TO authenticated
    USING (deleted_revision IS NULL AND project_id {writer})
    WITH CHECK (true);

-- Only the newest revision can be recorded as a change of a snapshot, and only by its author.
GRANT SELECT, INSERT ON project_snapshot_changes TO authenticated;
CREATE POLICY read ON project_snapshot_changes FOR SELECT TO authenticated
    USING (project_id {member});
CREATE POLICY add ON project_snapshot_changes FOR INSERT TO authenticated WITH CHECK (
    EXISTS (SELECT FROM project_snapshots s WHERE s.id = snapshot_id AND s.project_id = project_snapshot_changes.project_id)
    AND EXISTS (SELECT FROM projects p JOIN project_events e ON e.project_id = p.id AND e.revision = p.revision
                WHERE p.id = project_snapshot_changes.project_id AND p.revision = project_snapshot_changes.revision
                  AND e.kind IN ('SNAPSHOT_UPDATED', 'SNAPSHOT_DELETED') AND e.actor_id = (SELECT auth.uid())));

-- Only the newest revision can be recorded as an undo, and only by its author.
GRANT SELECT, INSERT ON project_undos TO authenticated;
CREATE POLICY read ON project_undos FOR SELECT TO authenticated
    USING (project_id {member});
CREATE POLICY add ON project_undos FOR INSERT TO authenticated WITH CHECK (
    project_id {writer} AND undone_revision BETWEEN 1 AND revision - 1
    AND EXISTS (SELECT FROM projects p JOIN project_events e ON e.project_id = p.id AND e.revision = p.revision
                WHERE p.id = project_undos.project_id AND p.revision = project_undos.revision
                AND e.actor_id = (SELECT auth.uid())));

-- Also only for files that the undone revision changed.
GRANT SELECT, INSERT ON project_undone_files TO authenticated;
CREATE POLICY read ON project_undone_files FOR SELECT TO authenticated
    USING (project_id {member});
CREATE POLICY add ON project_undone_files FOR INSERT TO authenticated WITH CHECK (
    project_id {writer}
    AND undone_revision BETWEEN 1 AND revision - 1
    AND EXISTS (SELECT FROM file_snapshots v WHERE v.project_id = project_undone_files.project_id
                AND v.revision = undone_revision AND v.file_id = project_undone_files.file_id)
    AND EXISTS (SELECT FROM projects p JOIN project_events e ON e.project_id = p.id AND e.revision = p.revision
                WHERE p.id = project_undone_files.project_id AND p.revision = project_undone_files.revision
                AND e.actor_id = (SELECT auth.uid())));

-- ── views, which run as their reader, and the migrations' own table, which servers check ─────────────────────────────

GRANT SELECT ON project_overview, recent_chat_activity, file_change_history, user_activity_summary,
    project_collaboration_overview, file_version_history, pending_invitations TO authenticated;
GRANT SELECT ON seaql_migrations TO authenticated;
CREATE POLICY read ON seaql_migrations FOR SELECT TO authenticated USING (true);
