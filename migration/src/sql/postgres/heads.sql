-- Returns the newest revisions and the members of projects with subscribers, so that a server can compare them in one
-- read. Callers, whose claims have a `sub`, get nothing. Sessions without a `sub` belong to the service's own login,
-- which could claim to be any user.
CREATE FUNCTION project_heads(wanted uuid[]) RETURNS TABLE (id uuid, revision integer, member uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'no caller may ask for the heads of projects';
    END IF;
    RETURN QUERY
        SELECT p.id, p.revision, p.user_id FROM {schema}.projects p WHERE p.id = ANY (wanted)
        UNION ALL
        SELECT p.id, p.revision, c.user_id
        FROM {schema}.projects p
        JOIN {schema}.project_collaborators c ON c.project_id = p.id AND c.accepted_at IS NOT NULL
        WHERE p.id = ANY (wanted);
END $$;

REVOKE ALL ON FUNCTION project_heads(uuid[]) FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION project_heads(uuid[]) TO authenticated;
