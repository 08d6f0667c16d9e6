-- All policies of row-level security, and the direct write privileges of `authenticated`. Only the functions of
-- writes.sql change a project's revision. Times are bounded, since the service cannot read `infinity`.

-- Whether all clients can read a time.
CREATE FUNCTION is_time(at timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59+00', true)
$$;
REVOKE ALL ON FUNCTION is_time(timestamptz) FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION is_time(timestamptz) TO authenticated;

-- ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- The caller, and users who own, work on or have written in a project that the caller can see. The tables used here are
-- restricted by their own policies.
CREATE POLICY read ON user_profiles FOR SELECT TO authenticated USING (
    id = (SELECT auth.uid())
    OR EXISTS (SELECT FROM projects p WHERE p.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM project_collaborators c WHERE c.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM chat_sessions s WHERE s.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM project_former_collaborators f WHERE f.user_id = user_profiles.id));
CREATE POLICY add ON user_profiles FOR INSERT TO authenticated
    WITH CHECK (id = (SELECT auth.uid()) AND is_time(created_at) AND is_time(updated_at));
CREATE POLICY change ON user_profiles FOR UPDATE TO authenticated
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()) AND is_time(updated_at));

CREATE POLICY read ON user_preferences FOR SELECT TO authenticated USING (user_id = (SELECT auth.uid()));
CREATE POLICY add ON user_preferences FOR INSERT TO authenticated
    WITH CHECK (user_id = (SELECT auth.uid()) AND is_time(created_at) AND is_time(updated_at));
CREATE POLICY change ON user_preferences FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()) AND is_time(updated_at));

-- ── projects and members ─────────────────────────────────────────────────────────────────────────────────────────

-- A project's own fields. A trigger restricts owner and deletion to the owner.
REVOKE INSERT ON projects FROM authenticated;
REVOKE UPDATE (user_id, name, description, initial_prompt, config, status, revision, session_count, message_count, file_count,
    change_count, updated_at, last_accessed_at, last_session_at, last_activity_at) ON projects FROM authenticated;
GRANT UPDATE (user_id, name, description, initial_prompt, config, status, updated_at) ON projects TO authenticated;
-- As an array, so that PostgreSQL reads these few rows by their key. For a history it would read and sort everything
-- for a page.
CREATE POLICY read ON projects FOR SELECT TO authenticated
    USING (id = ANY (ARRAY(SELECT m.project_id FROM project_members m)));
CREATE POLICY change ON projects FOR UPDATE TO authenticated USING (id {writer}) WITH CHECK (is_time(updated_at));

CREATE OR REPLACE FUNCTION guard_projects() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF row_security_active(TG_RELID) AND NOT OLD.id {owner} THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner deletes a project, brings it back or hands it over';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER projects_guarded ON projects;
CREATE TRIGGER projects_guarded BEFORE UPDATE OF user_id, status ON projects FOR EACH ROW
WHEN (NEW.user_id <> OLD.user_id OR (NEW.status = 'deleted') <> (OLD.status = 'deleted'))
EXECUTE FUNCTION guard_projects();

CREATE POLICY read ON project_members FOR SELECT TO authenticated USING (user_id = (SELECT auth.uid()));

-- Past states of a project cannot change.
CREATE POLICY read ON project_versions FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON project_versions FOR INSERT TO authenticated
    WITH CHECK (project_id {writer} AND is_time(updated_at));

-- Owners invite; no one becomes a member without accepting. Invited users can accept, decline and leave. An owner who
-- transfers a project adds themselves. A trigger compares the new row with the old one.
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

CREATE OR REPLACE FUNCTION guard_project_collaborators() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT row_security_active(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.accepted_at IS DISTINCT FROM OLD.accepted_at AND OLD.user_id <> auth.uid() THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody accepts an invitation for somebody else';
    END IF;
    IF (NEW.role, NEW.invited_by, NEW.invited_at) IS DISTINCT FROM (OLD.role, OLD.invited_by, OLD.invited_at) AND (
        NOT OLD.project_id {owner}
        OR NEW.role = 'owner' AND OLD.role <> 'owner'
        OR NEW.invited_by IS DISTINCT FROM OLD.invited_by AND NEW.invited_by IS DISTINCT FROM auth.uid()) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner of a project says as what somebody is in it, and in no other''s name';
    END IF;
    RETURN NEW;
END $$;

-- Owners write the invitations of addresses; the addressees answer them, unless they have left the project since.
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

CREATE POLICY read ON presences FOR SELECT TO authenticated USING (project_id {member});

-- ── agent configurations: a version ends once ────────────────────────────────────────────────────────────────────

CREATE POLICY read ON agent_configurations FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON agent_configurations FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id {writer} AND is_time(created_at) AND is_time(updated_at));
CREATE POLICY change ON agent_configurations FOR UPDATE TO authenticated
    USING (project_id {writer}) WITH CHECK (is_time(updated_at));

CREATE POLICY read ON agent_configuration_versions FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON agent_configuration_versions FOR INSERT TO authenticated WITH CHECK (
    project_id {writer}
    AND EXISTS (SELECT FROM agent_configurations c
                WHERE c.id = configuration_id AND c.project_id = agent_configuration_versions.project_id));
CREATE POLICY change ON agent_configuration_versions FOR UPDATE TO authenticated
    USING (superseded_revision IS NULL AND project_id {writer}) WITH CHECK (true);

-- ── sessions: only their author writes in them ───────────────────────────────────────────────────────────────────

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

REVOKE INSERT ON chat_messages FROM authenticated;
CREATE POLICY read ON chat_messages FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY change ON chat_messages FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id {writer});

-- Only the author of a session hides its messages, and an entry ends once.
CREATE POLICY read ON chat_folds FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON chat_folds FOR INSERT TO authenticated WITH CHECK (
    project_id {writer}
    AND EXISTS (SELECT FROM chat_messages m WHERE m.id = message_id AND m.project_id = chat_folds.project_id
                AND m.user_id = (SELECT auth.uid())));
CREATE POLICY change ON chat_folds FOR UPDATE TO authenticated USING (
    superseded_revision IS NULL AND project_id {writer}
    AND EXISTS (SELECT FROM chat_messages m WHERE m.id = message_id AND m.user_id = (SELECT auth.uid())))
    WITH CHECK (true);

-- Only its author appends to a streaming message, in an active session; text that was appended does not change. Owners
-- can remove messages that others have abandoned, together with their chunks.
CREATE POLICY read ON growing_messages FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON growing_messages FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id {writer} AND is_time(started_at) AND is_time(last_append_at)
    AND EXISTS (SELECT FROM chat_sessions s WHERE s.id = session_id AND s.project_id = growing_messages.project_id
                AND s.user_id = (SELECT auth.uid()) AND s.is_active));
CREATE POLICY change ON growing_messages FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id {writer}) WITH CHECK (is_time(last_append_at));
CREATE POLICY remove ON growing_messages FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id {writer} OR project_id {owner});

CREATE POLICY read ON growing_chunks FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON growing_chunks FOR INSERT TO authenticated WITH CHECK (
    project_id {writer}
    AND EXISTS (SELECT FROM growing_messages g WHERE g.id = message_id AND g.project_id = growing_chunks.project_id
                AND g.user_id = (SELECT auth.uid())));

-- ── files and history: only the functions write them ─────────────────────────────────────────────────────────────

REVOKE INSERT ON project_files, file_snapshots, project_events FROM authenticated;
REVOKE UPDATE (file_path, file_name, parent_path, language, size_bytes, version, hash, is_deleted, updated_at)
    ON project_files FROM authenticated;
REVOKE INSERT (project_id, sha256, size, encoding, depth, base_id, data) ON blobs FROM authenticated;
REVOKE UPDATE (superseded_revision) ON file_snapshots FROM authenticated;
REVOKE UPDATE (revision, file_count, manifest_sha256) ON project_snapshots FROM authenticated;
CREATE POLICY read ON project_files FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY read ON blobs FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY read ON file_snapshots FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY read ON project_snapshots FOR SELECT TO authenticated USING (project_id {member});
CREATE POLICY add ON project_snapshots FOR INSERT TO authenticated WITH CHECK (project_id {writer});
CREATE POLICY read ON project_events FOR SELECT TO authenticated USING (project_id {member});

