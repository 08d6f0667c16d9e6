-- Membership in one table, so that the rule of row-level security is one look-up. {schema} is the tables' own schema,
-- quoted; {member}, {writer} and {owner} are the caller's projects by role (second_lock.rs).

-- Follows projects and project_collaborators. Users with an open invitation are not in this table.
CREATE TABLE project_members (
    user_id uuid NOT NULL,
    project_id uuid NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    role text NOT NULL,
    PRIMARY KEY (user_id, project_id)
);
CREATE INDEX project_members_project ON project_members (project_id);

INSERT INTO project_members (user_id, project_id, role)
SELECT p.user_id, p.id, 'owner' FROM projects p
UNION ALL
SELECT c.user_id, c.project_id, c.role FROM project_collaborators c JOIN projects p ON p.id = c.project_id
WHERE c.accepted_at IS NOT NULL AND c.user_id <> p.user_id;

CREATE FUNCTION keep_member(project uuid, person uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM {schema}.project_members m WHERE m.user_id = person AND m.project_id = project;
    INSERT INTO {schema}.project_members (user_id, project_id, role)
    SELECT person, p.id, CASE WHEN p.user_id = person THEN 'owner' ELSE c.role END
    FROM {schema}.projects p
    LEFT JOIN {schema}.project_collaborators c
        ON c.project_id = p.id AND c.user_id = person AND c.accepted_at IS NOT NULL
    WHERE p.id = project AND (p.user_id = person OR c.user_id IS NOT NULL);
$$;

CREATE FUNCTION keep_owner() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM {schema}.keep_member(OLD.id, OLD.user_id);
    END IF;
    PERFORM {schema}.keep_member(NEW.id, NEW.user_id);
    RETURN NULL;
END $$;

CREATE FUNCTION keep_collaborator() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM {schema}.keep_member(kept.project_id, kept.user_id);
    RETURN NULL;
END $$;

CREATE TRIGGER projects_owned AFTER INSERT OR UPDATE OF user_id ON projects
FOR EACH ROW EXECUTE FUNCTION keep_owner();
CREATE TRIGGER project_collaborators_kept AFTER INSERT OR DELETE OR UPDATE ON project_collaborators
FOR EACH ROW EXECUTE FUNCTION keep_collaborator();

REVOKE ALL ON FUNCTION keep_member(uuid, uuid), keep_owner(), keep_collaborator()
    FROM PUBLIC, anon, authenticated, service_role;
