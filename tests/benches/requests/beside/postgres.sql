-- Tables with the same rows as the service's, for the writes of the hand-written server, PostGraphile and the limit. Their
-- cost is that of such an application, and independent of the service's policies, triggers and grants. The bench fills
-- them. Reads go to the service's tables, under its policies.

CREATE TABLE bench_projects (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES user_profiles (id),
    revision integer NOT NULL,
    message_count integer NOT NULL,
    updated_at timestamptz NOT NULL,
    last_activity_at timestamptz NOT NULL
);
CREATE INDEX bench_projects_user ON bench_projects (user_id, updated_at);

CREATE TABLE bench_collaborators (
    project_id uuid NOT NULL REFERENCES bench_projects (id),
    user_id uuid NOT NULL REFERENCES user_profiles (id),
    role text NOT NULL,
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX bench_collaborators_user ON bench_collaborators (user_id);

CREATE TABLE bench_sessions (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES bench_projects (id),
    user_id uuid NOT NULL REFERENCES user_profiles (id),
    message_count integer NOT NULL,
    is_active boolean NOT NULL
);

CREATE TABLE bench_messages (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES bench_projects (id),
    session_id uuid NOT NULL REFERENCES bench_sessions (id),
    user_id uuid NOT NULL REFERENCES user_profiles (id),
    revision integer NOT NULL,
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content text NOT NULL,
    timestamp timestamptz NOT NULL,
    is_checkpoint boolean NOT NULL,
    context_data text NOT NULL,
    metadata text NOT NULL
);
CREATE UNIQUE INDEX bench_messages_session ON bench_messages (session_id, revision);

CREATE TABLE bench_events (
    project_id uuid NOT NULL REFERENCES bench_projects (id),
    revision integer NOT NULL,
    kind text NOT NULL,
    actor_id uuid REFERENCES user_profiles (id),
    session_id uuid REFERENCES bench_sessions (id),
    message_id uuid REFERENCES bench_messages (id),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (project_id, revision)
);

CREATE TABLE bench_files (
    id uuid PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES bench_projects (id),
    content text NOT NULL,
    version integer NOT NULL
);

CREATE TABLE bench_versions (
    file_id uuid NOT NULL REFERENCES bench_files (id),
    version integer NOT NULL,
    content text NOT NULL,
    diff text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (file_id, version)
);

-- The diffs of the service's versions, precomputed. The service computes them on demand.
CREATE TABLE bench_diffs (version_id uuid PRIMARY KEY, diff text NOT NULL);

CREATE FUNCTION bench_editable() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 20 SET search_path FROM CURRENT AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    RETURN QUERY
        SELECT p.id FROM bench_projects p WHERE p.user_id = me
        UNION ALL
        SELECT c.project_id FROM bench_collaborators c WHERE c.user_id = me AND c.role IN ('owner', 'editor');
END $$;

ALTER TABLE bench_projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE bench_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE bench_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE bench_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE bench_files ENABLE ROW LEVEL SECURITY;
ALTER TABLE bench_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY member ON bench_projects TO authenticated USING (id = ANY (ARRAY(SELECT bench_editable())));
CREATE POLICY member ON bench_sessions TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT bench_editable())));
CREATE POLICY member ON bench_messages TO authenticated
    USING (user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT bench_editable())));
CREATE POLICY member ON bench_events TO authenticated
    USING (actor_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT bench_editable())));
CREATE POLICY member ON bench_files TO authenticated USING (project_id = ANY (ARRAY(SELECT bench_editable())));
CREATE POLICY member ON bench_versions TO authenticated USING (EXISTS (SELECT FROM bench_files f WHERE f.id = file_id));
GRANT SELECT, INSERT, UPDATE ON bench_projects, bench_sessions, bench_messages, bench_events, bench_files, bench_versions
    TO authenticated;
GRANT SELECT ON bench_diffs TO authenticated;

-- M1: the message, the counts of its session and project, and the event of the new revision.
CREATE FUNCTION bench_add_message(session uuid, content text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    me uuid := auth.uid();
    message uuid := gen_random_uuid();
    at timestamptz := clock_timestamp();
    project uuid;
    taken integer;
BEGIN
    UPDATE bench_sessions s SET message_count = s.message_count + 1
        WHERE s.id = session AND s.user_id = me AND s.is_active RETURNING s.project_id INTO project;
    IF NOT FOUND THEN RAISE EXCEPTION 'no such session'; END IF;
    UPDATE bench_projects p SET revision = p.revision + 1, message_count = p.message_count + 1, last_activity_at = at
        WHERE p.id = project RETURNING p.revision INTO taken;
    INSERT INTO bench_messages VALUES (message, project, session, me, taken, 'user', content, at, false, '{}', '{}');
    INSERT INTO bench_events VALUES (project, taken, 'MESSAGE_ADDED', me, session, message, at);
    RETURN json_build_object('revision', taken, 'message', json_build_object('id', message, 'timestamp', at));
END $$;

-- M2: the file's content if it is at that version, and the previous version with its diff (a text of that size; the
-- service computes the diff).
CREATE FUNCTION bench_update_file(file uuid, expected integer, content text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    old bench_files;
BEGIN
    SELECT * INTO old FROM bench_files f WHERE f.id = file AND f.version = expected FOR UPDATE;
    IF NOT FOUND THEN RAISE EXCEPTION 'conflict'; END IF;
    UPDATE bench_files f SET content = bench_update_file.content, version = f.version + 1 WHERE f.id = file;
    INSERT INTO bench_versions VALUES (file, expected, old.content, left(old.content, 500), now());
    RETURN expected + 1;
END $$;
