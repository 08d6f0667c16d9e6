-- Who can invite whom to a project, and who sees an invitation. {schema} is the tables' own schema, quoted.

-- The caller's e-mail address if their token shows it as verified; the service leaves other addresses out of the
-- claims.
CREATE FUNCTION my_address() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT lower(c.claims ->> 'email')
    FROM (SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb AS claims) c
    WHERE c.claims -> 'email_verified' = 'true'
$$;

-- Invited users read this view with its owner's rights, so the view itself restricts the rows to their own invitations;
-- the owner's commands see all rows.
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

-- The next revision of a project for users who do not write in it: invited users, who are not members yet, and viewers,
-- who can leave. Other users get none.
CREATE FUNCTION take_team_revision(project uuid, as_invited boolean, at timestamptz)
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

-- An address does not let a removed user return to a project. The address is not revealed.
CREATE FUNCTION forget_address_of(project uuid, who uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM {schema}.project_invitations i
    WHERE i.project_id = project AND i.email = (SELECT lower(u.email) FROM {schema}.user_profiles u WHERE u.id = who)
      AND (who = auth.uid() OR i.project_id IN (
          SELECT p.id FROM {schema}.projects p WHERE p.user_id = auth.uid()))
$$;

REVOKE ALL ON FUNCTION my_address(), take_team_revision(uuid, boolean, timestamptz), forget_address_of(uuid, uuid)
    FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION my_address(), take_team_revision(uuid, boolean, timestamptz), forget_address_of(uuid, uuid)
    TO authenticated;

GRANT SELECT ON pending_invitations TO authenticated;

-- Owners write the invitations of addresses; the addressees answer them.
GRANT SELECT, INSERT, UPDATE (role, invited_by, invited_at), DELETE ON project_invitations TO authenticated;
CREATE POLICY read ON project_invitations FOR SELECT TO authenticated USING (
    email = (SELECT my_address()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
CREATE POLICY add ON project_invitations FOR INSERT TO authenticated WITH CHECK (
    invited_by = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
CREATE POLICY change ON project_invitations FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
CREATE POLICY remove ON project_invitations FOR DELETE TO authenticated USING (
    email = (SELECT my_address()) OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));

-- Addressees join with such an invitation and with its values.
GRANT UPDATE (invited_by, invited_at) ON project_collaborators TO authenticated;
CREATE POLICY join_by_address ON project_collaborators FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid())
    AND EXISTS (SELECT FROM project_invitations i WHERE i.project_id = project_collaborators.project_id
                AND i.email = (SELECT my_address()) AND i.role = project_collaborators.role));

-- Users who leave record their names.
GRANT SELECT, INSERT, UPDATE (left_at) ON project_former_collaborators TO authenticated;
CREATE POLICY read ON project_former_collaborators FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON project_former_collaborators FOR INSERT TO authenticated WITH CHECK (
    (user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))))
    OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
CREATE POLICY change ON project_former_collaborators FOR UPDATE TO authenticated USING (
    (user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))))
    OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));
CREATE POLICY read_former ON user_profiles FOR SELECT TO authenticated
    USING (EXISTS (SELECT FROM project_former_collaborators f WHERE f.user_id = user_profiles.id));

-- Owners can end the sessions of the users whom they remove.
CREATE POLICY end_others ON chat_sessions FOR UPDATE TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));

-- Members who can only read, and invited users, also record what they did: join, decline or leave.
CREATE POLICY note_team ON project_events FOR INSERT TO authenticated WITH CHECK (
    kind = 'COLLABORATORS_CHANGED' AND actor_id = (SELECT auth.uid())
    AND (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}')))
         OR EXISTS (SELECT FROM pending_invitations i WHERE i.project_id = project_events.project_id)));

-- A version of a configuration ends once, and does not change afterwards.
GRANT SELECT, INSERT, UPDATE (superseded_revision) ON agent_configuration_versions TO authenticated;
CREATE POLICY read ON agent_configuration_versions FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON agent_configuration_versions FOR INSERT TO authenticated WITH CHECK (
    project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}')))
    AND EXISTS (SELECT FROM agent_configurations c
                WHERE c.id = configuration_id AND c.project_id = agent_configuration_versions.project_id));
CREATE POLICY change ON agent_configuration_versions FOR UPDATE TO authenticated
    USING (superseded_revision IS NULL AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))))
    WITH CHECK (true);
