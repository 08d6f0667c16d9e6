-- The functions, triggers and policies of access tokens. {schema} is the quoted schema of the tables.
--
-- A token's user is an ordinary collaborator under row-level security: the claims contain its user id as `sub`, and
-- project_members has one row of it, with one project and one role. What users can do outside of their projects is closed
-- to machines here.

-- Whether a user is the user of an access token.
CREATE FUNCTION is_machine(member uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    'SELECT EXISTS (SELECT FROM {schema}.user_profiles u WHERE u.id = member AND u.is_machine)';

CREATE FUNCTION refuse_machine() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'an access token acts only in its project, with its role';
END $$;

CREATE TRIGGER projects_owned_by_people BEFORE INSERT OR UPDATE OF user_id ON projects
FOR EACH ROW WHEN ({schema}.is_machine(NEW.user_id)) EXECUTE FUNCTION refuse_machine();
CREATE TRIGGER project_events_of_machines BEFORE INSERT ON project_events
FOR EACH ROW WHEN (NEW.kind = 'COLLABORATORS_CHANGED' AND {schema}.is_machine(NEW.actor_id)) EXECUTE FUNCTION refuse_machine();
CREATE TRIGGER user_profiles_of_machines BEFORE UPDATE ON user_profiles
FOR EACH ROW WHEN (OLD.is_machine OR NEW.is_machine) EXECUTE FUNCTION refuse_machine();

GRANT SELECT (is_machine) ON user_profiles TO authenticated;
CREATE POLICY of_people ON user_profiles AS RESTRICTIVE FOR INSERT TO authenticated WITH CHECK (NOT is_machine);
CREATE POLICY of_people ON user_preferences AS RESTRICTIVE FOR INSERT TO authenticated WITH CHECK (NOT is_machine(user_id));
CREATE POLICY of_people ON project_collaborators AS RESTRICTIVE FOR INSERT TO authenticated WITH CHECK (NOT is_machine(user_id));
CREATE POLICY by_people ON project_collaborators AS RESTRICTIVE FOR UPDATE TO authenticated
    USING (NOT (SELECT is_machine(auth.uid())));
CREATE POLICY without_machines ON project_collaborators AS RESTRICTIVE FOR DELETE TO authenticated
    USING (NOT (SELECT is_machine(auth.uid())));
CREATE POLICY by_people ON project_former_collaborators AS RESTRICTIVE FOR INSERT TO authenticated
    WITH CHECK (NOT (SELECT is_machine(auth.uid())));
CREATE POLICY changed_by_people ON project_former_collaborators AS RESTRICTIVE FOR UPDATE TO authenticated
    USING (NOT (SELECT is_machine(auth.uid())));

-- Only the owner sees the tokens, and no one their hashes. They change only by the functions and triggers below.
GRANT SELECT (id, project_id, user_id, created_by, created_at, expires_at, last_used_at) ON access_tokens TO authenticated;
CREATE POLICY read ON access_tokens FOR SELECT TO authenticated USING (project_id {owner});

-- Creates a token of the caller's project, with its user and its membership. The user's id is the hash of the token's hash,
-- so that nobody can choose the id of a person.
CREATE FUNCTION create_access_token(new_id uuid, project uuid, name text, role text, sha256 bytea,
                                    expires_at timestamptz, at timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me uuid := auth.uid();
    hash text := encode(substring(pg_catalog.sha256(sha256) FROM 1 FOR 16), 'hex');
    -- With the version and the variant of RFC 9562, section 5.8.
    member uuid := overlay(overlay(hash PLACING '8' FROM 13 FOR 1) PLACING 'a' FROM 17 FOR 1);
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.project_members m WHERE m.user_id = me AND m.project_id = project AND m.role = 'owner') THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner of a project can create access tokens';
    END IF;
    IF role NOT IN ('editor', 'viewer') OR octet_length(sha256) <> 32 OR char_length(name) NOT BETWEEN 1 AND 100 OR NOT {schema}.is_time(expires_at)
        OR at NOT BETWEEN '0001-01-01' AND clock_timestamp() + interval '1 minute' THEN
        RAISE insufficient_privilege USING MESSAGE = 'the name, the role, the hash or a time of the access token is invalid';
    END IF;
    INSERT INTO {schema}.user_profiles (id, full_name, created_at, updated_at, is_machine) VALUES (member, name, at, at, true);
    INSERT INTO {schema}.project_collaborators (project_id, user_id, role, invited_by, invited_at, accepted_at)
    VALUES (project, member, role, me, at, at);
    INSERT INTO {schema}.access_tokens (id, project_id, user_id, created_by, sha256, created_at, expires_at)
    VALUES (new_id, project, member, me, sha256, at, expires_at);
END $$;

-- Records a use of the caller's token.
CREATE FUNCTION touch_access_token(at timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE {schema}.access_tokens t SET last_used_at = least(at, clock_timestamp() + interval '1 minute')
    WHERE t.user_id = auth.uid() AND at > '0001-01-01'
      AND (t.last_used_at IS NULL OR t.last_used_at < at - interval '1 minute');
$$;

-- Returns the user of a token. Callers, whose claims have a `sub`, cannot use it.
CREATE FUNCTION find_access_token(hash bytea) RETURNS TABLE (user_id uuid, name text, expires_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'callers cannot look up access tokens';
    END IF;
    RETURN QUERY
        SELECT t.user_id, u.full_name, t.expires_at
        FROM {schema}.access_tokens t JOIN {schema}.user_profiles u ON u.id = t.user_id WHERE t.sha256 = hash;
END $$;

-- A new owner is no longer a collaborator.
CREATE FUNCTION remove_owner_from_collaborators() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM {schema}.project_collaborators c WHERE c.project_id = NEW.id AND c.user_id = NEW.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER projects_owner_changed AFTER UPDATE OF user_id ON projects
FOR EACH ROW EXECUTE FUNCTION remove_owner_from_collaborators();

-- The tokens of a collaborator end when they leave the project, unless they own it now.
CREATE FUNCTION remove_tokens_of_collaborator() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM {schema}.access_tokens t USING {schema}.projects p
    WHERE t.project_id = OLD.project_id AND t.created_by = OLD.user_id AND p.id = t.project_id AND p.user_id <> OLD.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER project_collaborators_removed AFTER DELETE ON project_collaborators
FOR EACH ROW EXECUTE FUNCTION remove_tokens_of_collaborator();

-- The tokens of a viewer are viewers.
CREATE FUNCTION lower_tokens_of_viewer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {schema}.chat_sessions s
    SET is_active = false, ended_at = (SELECT p.last_activity_at FROM {schema}.projects p WHERE p.id = NEW.project_id)
    FROM {schema}.access_tokens t
    WHERE t.project_id = NEW.project_id AND t.created_by = NEW.user_id
      AND s.project_id = t.project_id AND s.user_id = t.user_id AND s.is_active;
    UPDATE {schema}.project_collaborators c SET role = 'viewer' FROM {schema}.access_tokens t
    WHERE t.project_id = NEW.project_id AND t.created_by = NEW.user_id
      AND c.project_id = t.project_id AND c.user_id = t.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER project_collaborators_lowered AFTER UPDATE OF role ON project_collaborators
FOR EACH ROW WHEN (NEW.role = 'viewer') EXECUTE FUNCTION lower_tokens_of_viewer();

-- A token ends with its membership, its session ends, and its work keeps its name.
CREATE FUNCTION remove_access_token() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM {schema}.project_collaborators c WHERE c.project_id = OLD.project_id AND c.user_id = OLD.user_id;
    UPDATE {schema}.chat_sessions s
    SET is_active = false, ended_at = (SELECT p.last_activity_at FROM {schema}.projects p WHERE p.id = OLD.project_id)
    WHERE s.is_active AND s.project_id = OLD.project_id AND s.user_id = OLD.user_id;
    INSERT INTO {schema}.project_former_collaborators (project_id, user_id, left_at)
    SELECT p.id, u.id, p.last_activity_at
    FROM {schema}.projects p JOIN {schema}.user_profiles u ON u.id = OLD.user_id WHERE p.id = OLD.project_id
    ON CONFLICT (project_id, user_id) DO UPDATE SET left_at = excluded.left_at;
    RETURN NULL;
END $$;
CREATE TRIGGER access_tokens_removed AFTER DELETE ON access_tokens FOR EACH ROW EXECUTE FUNCTION remove_access_token();

REVOKE ALL ON FUNCTION is_machine, refuse_machine, create_access_token, touch_access_token, find_access_token,
    remove_owner_from_collaborators, remove_tokens_of_collaborator, lower_tokens_of_viewer, remove_access_token
    FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION is_machine, create_access_token, touch_access_token, find_access_token TO authenticated;
