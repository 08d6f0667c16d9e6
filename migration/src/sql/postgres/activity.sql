-- The rights on project_activity, and the function that writes it.

-- The service packs the sums itself.
ALTER TABLE project_activity ALTER COLUMN cells SET STORAGE EXTERNAL;

GRANT SELECT ON project_activity TO authenticated;
CREATE POLICY read ON project_activity FOR SELECT TO authenticated USING (project_id {member});

-- Stores the next segment of a project; does nothing if it is stored already. Callers, whose claims have a `sub`, cannot
-- use it.
CREATE FUNCTION store_activity(project uuid, number integer, first_at timestamptz, last_at timestamptz, cells bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'callers cannot write the activity of projects';
    END IF;
    INSERT INTO {schema}.project_activity (project_id, segment, first_at, last_at, cells)
    SELECT p.id, number, store_activity.first_at, store_activity.last_at, store_activity.cells
    FROM {schema}.projects p
    WHERE p.id = project AND number::bigint * 256 <= p.revision
      AND number <= 1 + (SELECT coalesce(max(a.segment), 0) FROM {schema}.project_activity a WHERE a.project_id = project)
    ON CONFLICT DO NOTHING;
END $$;

REVOKE ALL ON FUNCTION store_activity FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION store_activity TO authenticated;
