-- What a server compares the projects with that are listened to: one read for all of them, whoever listens. It tells no more
-- than how far each is and who its members are, and it tells that to nobody's caller: a caller has a `sub`. Who can be the role
-- without one has the service's own login, and could claim to be anybody.
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
