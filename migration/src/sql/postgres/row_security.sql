-- Row-level security. The service runs every transaction as the role `authenticated` with the caller's claims in
-- `request.jwt.claims`, as Supabase's own services do. Whatever the service requests, the role cannot do what is not
-- allowed here. {schema} is the tables' own schema, quoted.
--
-- It is not FORCEd on the tables' owner, who migrates, and reads everything for `export` and `verify`. `my_projects`
-- reads as the owner, so that no policy depends on a table whose own policy depends on it.

GRANT USAGE ON SCHEMA {schema} TO authenticated;

-- ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────

-- The caller's projects: their own, and those where they have accepted one of these roles. The only definition of
-- membership; every policy uses it, once per statement.
CREATE FUNCTION my_projects(roles text[]) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    RETURN QUERY
        SELECT p.id FROM {schema}.projects p WHERE p.user_id = me
        UNION ALL
        SELECT c.project_id FROM {schema}.project_collaborators c
        WHERE c.user_id = me AND c.accepted_at IS NOT NULL AND c.role = ANY (roles);
END $$;

-- The e-mail is the only column that members of a project do not see of each other.
CREATE FUNCTION my_email() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    'SELECT u.email FROM {schema}.user_profiles u WHERE u.id = auth.uid()';

-- Viewers cannot write, but it is recorded that they opened a project.
CREATE FUNCTION touch_project(project uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {schema}.projects SET last_accessed_at = at
    WHERE id = project AND id IN (SELECT {schema}.my_projects('{owner,editor,viewer}'));
    RETURN FOUND;
END $$;

-- Rules that a policy cannot express, since it does not see the old and the new values of a row together. Not enforced
-- where row-level security is not either (the owner's commands).
CREATE FUNCTION guard_projects() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF row_security_active(TG_RELID) AND OLD.id NOT IN (SELECT {schema}.my_projects('{owner}')) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner deletes a project, brings it back or hands it over';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION guard_project_collaborators() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT row_security_active(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.accepted_at IS DISTINCT FROM OLD.accepted_at AND OLD.user_id <> auth.uid() THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody accepts an invitation for somebody else';
    END IF;
    IF NEW.role <> OLD.role AND OLD.project_id NOT IN (SELECT {schema}.my_projects('{owner}')) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner of a project changes a role';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER projects_guarded BEFORE UPDATE ON projects FOR EACH ROW
WHEN (NEW.user_id <> OLD.user_id OR (NEW.status = 'deleted') <> (OLD.status = 'deleted'))
EXECUTE FUNCTION guard_projects();

CREATE TRIGGER project_collaborators_guarded BEFORE UPDATE ON project_collaborators FOR EACH ROW
EXECUTE FUNCTION guard_project_collaborators();

-- Only the trigger writes the count.
ALTER FUNCTION count_chat_messages() SECURITY DEFINER SET search_path = {schema}, pg_temp;

REVOKE ALL ON FUNCTION my_projects(text[]), my_email(), touch_project(uuid, timestamptz), guard_projects(),
    guard_project_collaborators(), count_chat_messages() FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION my_projects(text[]), my_email(), touch_project(uuid, timestamptz) TO authenticated;

-- ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- The caller, and users who own, work on or have written in a project that the caller can see. The tables used here are
-- restricted by their own policies.
GRANT SELECT (id, full_name, avatar_url, created_at, updated_at), INSERT, UPDATE (full_name, avatar_url, updated_at)
    ON user_profiles TO authenticated;
CREATE POLICY read ON user_profiles FOR SELECT TO authenticated USING (
    id = (SELECT auth.uid())
    OR EXISTS (SELECT FROM projects p WHERE p.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM project_collaborators c WHERE c.user_id = user_profiles.id)
    OR EXISTS (SELECT FROM chat_sessions s WHERE s.user_id = user_profiles.id));
CREATE POLICY add ON user_profiles FOR INSERT TO authenticated WITH CHECK (id = (SELECT auth.uid()));
CREATE POLICY change ON user_profiles FOR UPDATE TO authenticated
    USING (id = (SELECT auth.uid())) WITH CHECK (id = (SELECT auth.uid()));

GRANT SELECT, INSERT ON user_preferences TO authenticated;
GRANT UPDATE (editor_theme, auto_save_enabled, notification_preferences, ui_preferences, updated_at)
    ON user_preferences TO authenticated;
CREATE POLICY read ON user_preferences FOR SELECT TO authenticated USING (user_id = (SELECT auth.uid()));
CREATE POLICY add ON user_preferences FOR INSERT TO authenticated WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY change ON user_preferences FOR UPDATE TO authenticated
    USING (user_id = (SELECT auth.uid())) WITH CHECK (user_id = (SELECT auth.uid()));

-- ── projects and members ─────────────────────────────────────────────────────────────────────────────────────────

GRANT SELECT, INSERT, UPDATE ON projects TO authenticated;
CREATE POLICY read ON projects FOR SELECT TO authenticated
    USING (id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON projects FOR INSERT TO authenticated WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY change ON projects FOR UPDATE TO authenticated
    USING (id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

-- Owners invite; no one becomes a member without accepting. Invited users can accept, decline and leave. An owner who
-- transfers a project adds themselves.
GRANT SELECT, INSERT, UPDATE (role, accepted_at), DELETE ON project_collaborators TO authenticated;
CREATE POLICY read ON project_collaborators FOR SELECT TO authenticated USING (
    user_id = (SELECT auth.uid()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    (accepted_at IS NULL OR user_id = (SELECT auth.uid())) AND invited_by = (SELECT auth.uid())
    AND project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
CREATE POLICY change ON project_collaborators FOR UPDATE TO authenticated USING (
    user_id = (SELECT auth.uid()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
CREATE POLICY remove ON project_collaborators FOR DELETE TO authenticated USING (
    user_id = (SELECT auth.uid()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));

GRANT SELECT, INSERT, UPDATE ON agent_configurations TO authenticated;
CREATE POLICY read ON agent_configurations FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON agent_configurations FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));
CREATE POLICY change ON agent_configurations FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

-- ── sessions: only their author writes in them ───────────────────────────────────────────────────────────────────

GRANT SELECT, INSERT, UPDATE (ended_at, is_active) ON chat_sessions TO authenticated;
CREATE POLICY read ON chat_sessions FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON chat_sessions FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));
CREATE POLICY change ON chat_sessions FOR UPDATE TO authenticated USING (
    user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

GRANT SELECT, INSERT, UPDATE (folded_revision) ON chat_messages TO authenticated;
CREATE POLICY read ON chat_messages FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON chat_messages FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}')))
    AND EXISTS (SELECT FROM chat_sessions s WHERE s.id = session_id AND s.project_id = chat_messages.project_id
                AND s.user_id = (SELECT auth.uid()) AND s.is_active));
CREATE POLICY change ON chat_messages FOR UPDATE TO authenticated USING (
    user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

-- ── files and history: editors add rows; existing rows do not change ─────────────────────────────────────────────

GRANT SELECT, INSERT ON project_files TO authenticated;
GRANT UPDATE (file_path, file_name, parent_path, language, size_bytes, version, hash, is_deleted, updated_at)
    ON project_files TO authenticated;
CREATE POLICY read ON project_files FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON project_files FOR INSERT TO authenticated
    WITH CHECK (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));
CREATE POLICY change ON project_files FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

-- Without the id, which the sequence assigns.
GRANT SELECT, INSERT (project_id, sha256, size, encoding, depth, base_id, data) ON blobs TO authenticated;
CREATE POLICY read ON blobs FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON blobs FOR INSERT TO authenticated
    WITH CHECK (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

-- A version ends once, and does not change afterwards.
GRANT SELECT, INSERT, UPDATE (superseded_revision) ON file_snapshots TO authenticated;
CREATE POLICY read ON file_snapshots FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON file_snapshots FOR INSERT TO authenticated WITH CHECK (
    project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}')))
    AND EXISTS (SELECT FROM project_files f WHERE f.id = file_id AND f.project_id = file_snapshots.project_id)
    AND (blob_id IS NULL
         OR EXISTS (SELECT FROM blobs b WHERE b.id = blob_id AND b.project_id = file_snapshots.project_id)));
CREATE POLICY change ON file_snapshots FOR UPDATE TO authenticated
    USING (superseded_revision IS NULL AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))))
    WITH CHECK (true);

-- A checkpoint's snapshot follows its message.
GRANT SELECT, INSERT, UPDATE (revision, file_count, manifest_sha256) ON project_snapshots TO authenticated;
CREATE POLICY read ON project_snapshots FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON project_snapshots FOR INSERT TO authenticated
    WITH CHECK (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));
CREATE POLICY change ON project_snapshots FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

GRANT SELECT, INSERT ON project_events TO authenticated;
CREATE POLICY read ON project_events FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON project_events FOR INSERT TO authenticated WITH CHECK (
    actor_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));

-- ── views, which run as their reader, and the migrations' own table, which servers check ─────────────────────────

GRANT SELECT ON project_overview, recent_chat_activity, file_change_history, user_activity_summary,
    project_collaboration_overview, file_version_history TO authenticated;
GRANT SELECT ON seaql_migrations TO authenticated;
CREATE POLICY read ON seaql_migrations FOR SELECT TO authenticated USING (true);
