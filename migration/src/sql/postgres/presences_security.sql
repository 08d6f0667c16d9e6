-- Members see who is present; only servers write entries.
GRANT SELECT ON presences TO authenticated;
CREATE POLICY read ON presences FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));

-- Replaces the entries of a server: the users, and their projects. Removes all entries, of any server, that were not
-- renewed since `stale`. Callers, whose claims have a `sub`, cannot use it.
CREATE FUNCTION keep_presences(server uuid, wanted uuid[], people uuid[], begun timestamptz[], at timestamptz, stale timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'no caller says who is here';
    END IF;
    DELETE FROM {schema}.presences p
    WHERE p.seen_at < stale OR p.server_id = server AND NOT EXISTS (
        SELECT FROM unnest(wanted, people) AS w (project, person) WHERE w.project = p.project_id AND w.person = p.user_id);
    INSERT INTO {schema}.presences AS p (project_id, user_id, server_id, since, seen_at)
    SELECT w.project, w.person, server, w.since, at FROM unnest(wanted, people, begun) AS w (project, person, since)
    JOIN {schema}.projects j ON j.id = w.project JOIN {schema}.user_profiles u ON u.id = w.person
    ON CONFLICT (project_id, user_id, server_id) DO UPDATE SET since = excluded.since, seen_at = excluded.seen_at;
END $$;

REVOKE ALL ON FUNCTION keep_presences(uuid, uuid[], uuid[], timestamptz[], timestamptz, timestamptz)
    FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION keep_presences(uuid, uuid[], uuid[], timestamptz[], timestamptz, timestamptz) TO authenticated;
