-- Reverts locks.sql: restores what it replaced. {schema} is the tables' own schema, quoted.

DROP TRIGGER revisions_guarded ON projects;
DROP TRIGGER project_events_guarded ON project_events;
DROP TRIGGER blobs_guarded ON blobs;
DROP FUNCTION guard_revisions(), guard_project_events(), guard_blobs();

DROP TRIGGER projects_guarded ON projects;
CREATE TRIGGER projects_guarded BEFORE UPDATE ON projects FOR EACH ROW
WHEN (NEW.user_id <> OLD.user_id OR (NEW.status = 'deleted') <> (OLD.status = 'deleted'))
EXECUTE FUNCTION guard_projects();
CREATE OR REPLACE FUNCTION guard_projects() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF row_security_active(TG_RELID) AND OLD.id NOT IN (SELECT {schema}.my_projects('{owner}')) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner deletes a project, brings it back or hands it over';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION guard_project_collaborators() RETURNS trigger
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
CREATE OR REPLACE FUNCTION take_team_revision(project uuid, as_invited boolean, at timestamptz)
RETURNS TABLE (id uuid, revision integer, status text, last_activity_at timestamptz, role text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    me uuid := auth.uid();
    mine text := {schema}.my_address();
BEGIN
    RETURN QUERY
        UPDATE {schema}.projects p SET revision = p.revision + 1, last_activity_at = greatest(p.last_activity_at, at)
        WHERE p.id = project AND CASE WHEN as_invited
            THEN p.status <> 'deleted' AND (
                EXISTS (SELECT FROM {schema}.project_collaborators c
                        WHERE c.project_id = p.id AND c.user_id = me AND c.accepted_at IS NULL)
                OR p.id NOT IN (SELECT {schema}.my_projects('{owner,editor,viewer}'))
                AND EXISTS (SELECT FROM {schema}.project_invitations i WHERE i.project_id = p.id AND i.email = mine))
            ELSE p.id IN (SELECT {schema}.my_projects('{owner,editor,viewer}')) END
        RETURNING p.id, p.revision, p.status, p.last_activity_at, CASE WHEN p.user_id = me THEN 'owner' ELSE coalesce(
            (SELECT c.role FROM {schema}.project_collaborators c WHERE c.project_id = p.id AND c.user_id = me), 'viewer') END;
END $$;

CREATE FUNCTION forget_address_of(project uuid, who uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM {schema}.project_invitations i
    WHERE i.project_id = project AND i.email = (SELECT lower(u.email) FROM {schema}.user_profiles u WHERE u.id = who)
      AND (who = auth.uid() OR i.project_id IN (
          SELECT p.id FROM {schema}.projects p WHERE p.user_id = auth.uid()))
$$;
REVOKE ALL ON FUNCTION forget_address_of(uuid, uuid) FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION forget_address_of(uuid, uuid) TO authenticated;

CREATE OR REPLACE VIEW pending_invitations WITH (security_barrier = true) AS
SELECT c.project_id, p.name AS project_name, c.user_id, CAST(NULL AS text) AS email, c.role, c.invited_at,
       u.id AS inviter_id, u.full_name AS inviter_name, u.avatar_url AS inviter_avatar_url,
       u.created_at AS inviter_created_at, u.updated_at AS inviter_updated_at
FROM project_collaborators c
JOIN projects p ON p.id = c.project_id
LEFT JOIN user_profiles u ON u.id = c.invited_by
WHERE c.accepted_at IS NULL AND p.status <> 'deleted'
  AND (c.user_id = auth.uid() OR NOT row_security_active(c.tableoid))
UNION ALL
SELECT i.project_id, p.name, NULL::uuid, i.email, i.role, i.invited_at,
       u.id, u.full_name, u.avatar_url, u.created_at, u.updated_at
FROM project_invitations i
JOIN projects p ON p.id = i.project_id
LEFT JOIN user_profiles u ON u.id = i.invited_by
WHERE p.status <> 'deleted'
  AND (i.email = my_address() OR NOT row_security_active(i.tableoid));

REVOKE UPDATE ON projects, agent_configurations FROM authenticated;
GRANT UPDATE ON projects, agent_configurations TO authenticated;

DROP POLICY add ON project_collaborators;
CREATE POLICY add ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    (accepted_at IS NULL OR user_id = (SELECT auth.uid())) AND invited_by = (SELECT auth.uid())
    AND project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
DROP POLICY change ON project_invitations;
CREATE POLICY change ON project_invitations FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
DROP POLICY read ON project_former_collaborators;
CREATE POLICY read ON project_former_collaborators FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
DROP POLICY read ON project_invitations;
CREATE POLICY read ON project_invitations FOR SELECT TO authenticated USING (
    email = (SELECT my_address()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
DROP POLICY remove ON project_invitations;
CREATE POLICY remove ON project_invitations FOR DELETE TO authenticated USING (
    email = (SELECT my_address()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
DROP POLICY join_by_address ON project_collaborators;
CREATE POLICY join_by_address ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid())
    AND EXISTS (SELECT FROM project_invitations i WHERE i.project_id = project_collaborators.project_id
                AND i.email = (SELECT my_address()) AND i.role = project_collaborators.role));
DROP POLICY add ON project_former_collaborators;
CREATE POLICY add ON project_former_collaborators FOR INSERT TO authenticated WITH CHECK (
    (user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))))
    OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
DROP POLICY change ON project_former_collaborators;
CREATE POLICY change ON project_former_collaborators FOR UPDATE TO authenticated USING (
    (user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))))
    OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
DROP POLICY end_others ON chat_sessions;
CREATE POLICY end_others ON chat_sessions FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
