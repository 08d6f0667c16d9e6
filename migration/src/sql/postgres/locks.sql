-- Closes gaps of earlier policies for sessions that run SQL as `authenticated`. {schema} is the tables' own schema,
-- quoted.

-- ── invitations: invited_by is the caller ────────────────────────────────────────────────────────────────────────

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
        OLD.project_id NOT IN (SELECT {schema}.my_projects('{owner}'))
        OR NEW.role = 'owner' AND OLD.role <> 'owner'
        OR NEW.invited_by IS DISTINCT FROM OLD.invited_by AND NEW.invited_by IS DISTINCT FROM auth.uid()) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner of a project says as what somebody is in it, and in no other''s name';
    END IF;
    RETURN NEW;
END $$;

DROP POLICY add ON project_collaborators;
CREATE POLICY add ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    (accepted_at IS NULL OR user_id = (SELECT auth.uid())) AND invited_by = (SELECT auth.uid()) AND role <> 'owner'
    AND project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));

DROP POLICY change ON project_invitations;
CREATE POLICY change ON project_invitations FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner}'))))
    WITH CHECK (invited_by = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));

-- ── former members cannot use older invitations ──────────────────────────────────────────────────────────────────

-- An invitation of an address is not valid for a user who has left the project since. This depends on the time of
-- leaving and on the address in the user's token, not on the address in the profile, which may not be the user's.
-- Nothing has to be deleted.
DROP FUNCTION forget_address_of(uuid, uuid);

DROP POLICY read ON project_former_collaborators;
CREATE POLICY read ON project_former_collaborators FOR SELECT TO authenticated USING (
    user_id = (SELECT auth.uid()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));

DROP POLICY read ON project_invitations;
CREATE POLICY read ON project_invitations FOR SELECT TO authenticated USING (
    project_id = ANY (ARRAY(SELECT my_projects('{owner}')))
    OR email = (SELECT my_address())
    AND NOT EXISTS (SELECT FROM project_former_collaborators f WHERE f.project_id = project_invitations.project_id
                    AND f.user_id = (SELECT auth.uid()) AND f.left_at >= project_invitations.invited_at));

DROP POLICY remove ON project_invitations;
CREATE POLICY remove ON project_invitations FOR DELETE TO authenticated USING (
    project_id = ANY (ARRAY(SELECT my_projects('{owner}')))
    OR email = (SELECT my_address())
    AND NOT EXISTS (SELECT FROM project_former_collaborators f WHERE f.project_id = project_invitations.project_id
                    AND f.user_id = (SELECT auth.uid()) AND f.left_at >= project_invitations.invited_at));

-- Addressees can read exactly the invitations that they can accept.
DROP POLICY join_by_address ON project_collaborators;
CREATE POLICY join_by_address ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid())
    AND EXISTS (SELECT FROM project_invitations i WHERE i.project_id = project_collaborators.project_id
                AND i.email = (SELECT my_address()) AND i.role = project_collaborators.role
                AND (i.invited_by, i.invited_at)
                    IS NOT DISTINCT FROM (project_collaborators.invited_by, project_collaborators.invited_at)));

-- The caller's own rows are found by two indexes; all rows only for the owner's commands, which have no caller.
CREATE OR REPLACE VIEW pending_invitations WITH (security_barrier = true) AS
SELECT c.project_id, p.name AS project_name, c.user_id, CAST(NULL AS text) AS email, c.role, c.invited_at,
       u.id AS inviter_id, u.full_name AS inviter_name, u.avatar_url AS inviter_avatar_url,
       u.created_at AS inviter_created_at, u.updated_at AS inviter_updated_at
FROM (SELECT * FROM project_collaborators WHERE user_id = auth.uid()
      UNION ALL
      SELECT * FROM project_collaborators
      WHERE auth.uid() IS NULL AND NOT row_security_active('project_collaborators'::regclass)) c
JOIN projects p ON p.id = c.project_id
LEFT JOIN user_profiles u ON u.id = c.invited_by
WHERE c.accepted_at IS NULL AND p.status <> 'deleted'
UNION ALL
SELECT i.project_id, p.name, NULL::uuid, i.email, i.role, i.invited_at,
       u.id, u.full_name, u.avatar_url, u.created_at, u.updated_at
FROM (SELECT * FROM project_invitations own WHERE email = my_address()
        AND NOT EXISTS (SELECT FROM project_former_collaborators f WHERE f.project_id = own.project_id
                        AND f.user_id = auth.uid() AND f.left_at >= own.invited_at)
      UNION ALL
      SELECT * FROM project_invitations
      WHERE auth.uid() IS NULL AND NOT row_security_active('project_invitations'::regclass)) i
JOIN projects p ON p.id = i.project_id
LEFT JOIN user_profiles u ON u.id = i.invited_by
WHERE p.status <> 'deleted';

-- A former collaborator must have been a member.
DROP POLICY add ON project_former_collaborators;
CREATE POLICY add ON project_former_collaborators FOR INSERT TO authenticated WITH CHECK (
    (user_id = (SELECT auth.uid()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))))
    AND EXISTS (SELECT FROM project_collaborators c WHERE c.project_id = project_former_collaborators.project_id
                AND c.user_id = project_former_collaborators.user_id AND c.accepted_at IS NOT NULL));
DROP POLICY change ON project_former_collaborators;
CREATE POLICY change ON project_former_collaborators FOR UPDATE TO authenticated USING (
    (user_id = (SELECT auth.uid()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))))
    AND EXISTS (SELECT FROM project_collaborators c WHERE c.project_id = project_former_collaborators.project_id
                AND c.user_id = project_former_collaborators.user_id AND c.accepted_at IS NOT NULL));

-- ── sessions: owners can only end those of others ────────────────────────────────────────────────────────────────

DROP POLICY end_others ON chat_sessions;
CREATE POLICY end_others ON chat_sessions FOR UPDATE TO authenticated
    USING (is_active AND project_id = ANY (ARRAY(SELECT my_projects('{owner}'))))
    WITH CHECK (NOT is_active AND project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));

-- ── blobs: a delta's base is in the same project ─────────────────────────────────────────────────────────────────

CREATE FUNCTION guard_blobs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.blobs b WHERE b.id = NEW.base_id AND b.project_id = NEW.project_id) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a blob is based on one of its own project';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER blobs_guarded AFTER INSERT ON blobs FOR EACH ROW WHEN (NEW.base_id IS NOT NULL AND auth.uid() IS NOT NULL)
EXECUTE FUNCTION guard_blobs();

-- ── the log: one event per revision, at its time ─────────────────────────────────────────────────────────────────

-- The columns of a project's or a configuration's row that can change.
REVOKE UPDATE ON projects, agent_configurations FROM authenticated;
GRANT UPDATE (user_id, name, description, initial_prompt, config, status, revision, session_count, message_count, file_count,
    change_count, updated_at, last_accessed_at, last_session_at, last_activity_at) ON projects TO authenticated;
GRANT UPDATE (config_name, description, stt_provider, stt_model, stt_config, tts_provider, tts_model, tts_config, llm_provider,
    llm_model, llm_config, vad_provider, vad_config, turn_detection_config, function_calls, tool_integrations,
    agent_instructions, agent_personality, required_env_vars, dependencies, source_files, is_active, version, updated_at)
    ON agent_configurations TO authenticated;

CREATE OR REPLACE FUNCTION guard_projects() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT row_security_active(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.revision NOT IN (OLD.revision, OLD.revision + 1) THEN
        RAISE insufficient_privilege USING MESSAGE = 'revisions have no gaps';
    END IF;
    IF (NEW.user_id <> OLD.user_id OR (NEW.status = 'deleted') <> (OLD.status = 'deleted'))
        AND OLD.id NOT IN (SELECT {schema}.my_projects('{owner}')) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner deletes a project, brings it back or hands it over';
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER projects_guarded ON projects;
CREATE TRIGGER projects_guarded BEFORE UPDATE ON projects FOR EACH ROW
WHEN (NEW.user_id <> OLD.user_id OR (NEW.status = 'deleted') <> (OLD.status = 'deleted')
      OR NEW.revision NOT IN (OLD.revision, OLD.revision + 1))
EXECUTE FUNCTION guard_projects();

-- Runs after the policies, so that it reveals nothing to callers whom they refuse.
CREATE FUNCTION guard_project_events() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.projects p WHERE p.id = NEW.project_id AND p.revision = NEW.revision
                   AND p.last_activity_at = NEW.created_at) THEN
        RAISE insufficient_privilege USING MESSAGE = 'an event is of its project''s present revision, and of its time';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER project_events_guarded AFTER INSERT ON project_events FOR EACH ROW WHEN (auth.uid() IS NOT NULL)
EXECUTE FUNCTION guard_project_events();

CREATE FUNCTION guard_revisions() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.project_events e WHERE e.project_id = NEW.id AND e.revision = NEW.revision) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a revision has an event';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER revisions_guarded AFTER UPDATE OF revision ON projects DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.revision <> OLD.revision AND auth.uid() IS NOT NULL)
EXECUTE FUNCTION guard_revisions();

REVOKE ALL ON FUNCTION guard_blobs(), guard_project_events(), guard_revisions()
    FROM PUBLIC, anon, authenticated, service_role;

-- As before; in addition, an older invitation is not valid for a user who has left, and the time must be close to the
-- present, because the times of later revisions must not be before it.
CREATE OR REPLACE FUNCTION take_team_revision(project uuid, as_invited boolean, at timestamptz)
RETURNS TABLE (id uuid, revision integer, status text, last_activity_at timestamptz, role text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    me uuid := auth.uid();
    mine text := {schema}.my_address();
BEGIN
    RETURN QUERY
        UPDATE {schema}.projects p SET revision = p.revision + 1,
            last_activity_at = greatest(p.last_activity_at, least(at, clock_timestamp() + interval '1 minute'))
        WHERE p.id = project AND CASE WHEN as_invited
            THEN p.status <> 'deleted' AND (
                EXISTS (SELECT FROM {schema}.project_collaborators c
                        WHERE c.project_id = p.id AND c.user_id = me AND c.accepted_at IS NULL)
                OR p.id NOT IN (SELECT {schema}.my_projects('{owner,editor,viewer}'))
                AND EXISTS (SELECT FROM {schema}.project_invitations i WHERE i.project_id = p.id AND i.email = mine
                            AND NOT EXISTS (SELECT FROM {schema}.project_former_collaborators f
                                            WHERE f.project_id = p.id AND f.user_id = me AND f.left_at >= i.invited_at)))
            ELSE p.id IN (SELECT {schema}.my_projects('{owner,editor,viewer}')) END
        RETURNING p.id, p.revision, p.status, p.last_activity_at, CASE WHEN p.user_id = me THEN 'owner' ELSE coalesce(
            (SELECT c.role FROM {schema}.project_collaborators c WHERE c.project_id = p.id AND c.user_id = me), 'viewer') END;
END $$;
