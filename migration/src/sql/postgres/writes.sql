-- The functions that change a project's revision. They run as the tables' owner and enforce the rules themselves: each
-- checks the caller's permission once, and writes all rows of its kind. They identify the caller only by the claims;
-- without claims they do nothing. {schema} is the tables' own schema, quoted.
--
-- A write locks the project (`lock_project`), reads what it needs, and ends with one of the functions that record a
-- revision.

-- Whether the caller has an open invitation to a project.
CREATE FUNCTION is_invited(project uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    RETURN EXISTS (SELECT FROM {schema}.projects p WHERE p.id = project AND p.status <> 'deleted') AND (
        EXISTS (SELECT FROM {schema}.project_collaborators c
                WHERE c.project_id = project AND c.user_id = me AND c.accepted_at IS NULL)
        OR NOT EXISTS (SELECT FROM {schema}.project_members m WHERE m.user_id = me AND m.project_id = project)
        AND EXISTS (SELECT FROM {schema}.project_invitations i
                    WHERE i.project_id = project AND i.email = {schema}.my_address()
                    AND NOT EXISTS (SELECT FROM {schema}.project_former_collaborators f WHERE f.project_id = project
                                    AND f.user_id = me AND f.left_at >= i.invited_at)));
END $$;

-- Locks the project of `target` and `target_id` until the transaction ends. Returns its next revision with its time,
-- the caller's role, and the session and message that the write names, if they are in the project. No row: the caller
-- has no access. `purpose` is `write`, `team` (also viewers) or `invited`. For an unsuitable role, the role is returned
-- without a lock.
CREATE FUNCTION lock_project(target text, target_id uuid, purpose text, in_session uuid, for_message uuid, now timestamptz)
RETURNS TABLE (id uuid, revision integer, status text, at timestamptz, role text,
               session_id uuid, session_author uuid, session_is_active boolean, message_id uuid, snapshot_id uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    id := CASE target
        WHEN 'project' THEN target_id
        WHEN 'session' THEN (SELECT s.project_id FROM {schema}.chat_sessions s WHERE s.id = target_id)
        WHEN 'file' THEN (SELECT f.project_id FROM {schema}.project_files f WHERE f.id = target_id)
        WHEN 'snapshot' THEN (SELECT n.project_id FROM {schema}.project_snapshots n WHERE n.id = target_id)
        WHEN 'configuration' THEN (SELECT c.project_id FROM {schema}.agent_configurations c WHERE c.id = target_id)
        WHEN 'growing_message' THEN (SELECT g.project_id FROM {schema}.growing_messages g WHERE g.id = target_id)
    END;
    SELECT m.role INTO role FROM {schema}.project_members m WHERE m.user_id = me AND m.project_id = lock_project.id;
    IF purpose = 'invited' AND NOT {schema}.is_invited(id) OR purpose <> 'invited' AND role IS NULL THEN
        RETURN;
    END IF;
    IF purpose = 'write' AND role = 'viewer' THEN
        SELECT p.revision + 1, p.status, p.last_activity_at INTO revision, status, at
        FROM {schema}.projects p WHERE p.id = lock_project.id;
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT p.revision + 1, p.status, greatest(p.last_activity_at, least(now, clock_timestamp() + interval '1 minute'))
    INTO revision, status, at FROM {schema}.projects p WHERE p.id = lock_project.id FOR NO KEY UPDATE;
    -- Another write, for which this one has waited, may have ended the caller's part.
    SELECT m.role INTO role FROM {schema}.project_members m WHERE m.user_id = me AND m.project_id = lock_project.id;
    IF purpose = 'invited' AND NOT {schema}.is_invited(id) OR purpose <> 'invited' AND role IS NULL THEN
        RETURN;
    END IF;
    -- The invited have no role yet.
    role := coalesce(role, 'viewer');
    IF in_session IS NOT NULL OR for_message IS NOT NULL THEN
        SELECT s.id, s.user_id, s.is_active INTO session_id, session_author, session_is_active
        FROM {schema}.chat_sessions s WHERE s.project_id = lock_project.id AND s.id = coalesce(
            in_session, (SELECT m.session_id FROM {schema}.chat_messages m WHERE m.id = for_message));
    END IF;
    IF for_message IS NOT NULL THEN
        SELECT m.id, n.id INTO message_id, snapshot_id FROM {schema}.chat_messages m
        LEFT JOIN {schema}.project_snapshots n ON n.project_id = m.project_id AND n.created_revision = m.revision
        WHERE m.id = for_message AND m.session_id = lock_project.session_id;
    END IF;
    RETURN NEXT;
END $$;

-- Makes `taken` the project's revision and appends its event. The calling functions have checked the caller's
-- permission.
CREATE FUNCTION take_revision(project uuid, taken integer, at timestamptz, kind text, in_session uuid, for_message uuid,
                              description text, sessions integer, messages integer, files integer, changes integer)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {schema}.projects p SET revision = taken, last_activity_at = at, session_count = session_count + sessions,
        message_count = message_count + messages, file_count = file_count + files, change_count = change_count + changes,
        last_session_at = CASE sessions WHEN 0 THEN last_session_at ELSE at END
    WHERE p.id = project AND p.revision = taken - 1
      AND at BETWEEN p.last_activity_at AND greatest(p.last_activity_at, clock_timestamp() + interval '1 minute');
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'a revision is the next one, and of its time';
    END IF;
    INSERT INTO {schema}.project_events (project_id, revision, kind, actor_id, session_id, message_id, description, created_at)
    VALUES (project, taken, kind, auth.uid(), in_session, for_message, description, at);
END $$;

-- Checks that the caller can write in a project, and that the session, if one is named, is theirs and has the message.
-- Hiding messages is possible in an ended session; everything else requires an active session.
CREATE FUNCTION check_writer(project uuid, in_session uuid, for_message uuid, goes_on boolean) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.project_members m
                   WHERE m.user_id = me AND m.project_id = project AND m.role <> 'viewer') THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner and editors write in a project';
    END IF;
    IF in_session IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_sessions s
        WHERE s.id = in_session AND s.project_id = project AND s.user_id = me AND (s.is_active OR NOT goes_on)) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its author writes in a session, and while it goes on';
    END IF;
    IF for_message IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_messages m WHERE m.id = for_message AND m.session_id = in_session) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a message is of its session';
    END IF;
END $$;

-- Creates a project of the caller with its first revision.
CREATE FUNCTION create_project(new_id uuid, name text, description text, initial_prompt text, config jsonb, at timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NULL OR at NOT BETWEEN '0001-01-01' AND clock_timestamp() + interval '1 minute' THEN
        RAISE insufficient_privilege USING MESSAGE = 'a project is its maker''s, and of its time';
    END IF;
    INSERT INTO {schema}.projects (id, user_id, name, description, initial_prompt, config, status, revision, session_count,
        message_count, file_count, change_count, created_at, updated_at, last_accessed_at, last_activity_at)
    VALUES (new_id, auth.uid(), name, description, initial_prompt, config, 'active', 0, 0, 0, 0, 0, at, at, at, at);
    PERFORM {schema}.take_revision(new_id, 1, at, 'PROJECT_CREATED', NULL, NULL, NULL, 0, 0, 0, 0);
END $$;

-- Records the revision of a write whose rows are restricted by policies: of a session, a configuration, a project's own
-- fields, its team. Members who can only read, and invited users, can record a change of the team: they join, decline
-- or leave.
CREATE FUNCTION record_revision(project uuid, taken integer, at timestamptz, kind text, in_session uuid, for_message uuid,
                                description text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF kind = 'COLLABORATORS_CHANGED' THEN
        IF NOT EXISTS (SELECT FROM {schema}.project_members m WHERE m.user_id = auth.uid() AND m.project_id = project)
            AND NOT {schema}.is_invited(project) THEN
            RAISE insufficient_privilege USING MESSAGE = 'only those who have a part in a project change it';
        END IF;
    ELSIF kind IN ('SESSION_STARTED', 'SESSION_ENDED', 'PROJECT_UPDATED', 'SNAPSHOT_CREATED',
                    'AGENT_CONFIGURATION_CHANGED') THEN
        PERFORM {schema}.check_writer(project, NULL, NULL, true);
    ELSE
        RAISE insufficient_privilege USING MESSAGE = 'a revision of another kind has a function of its own';
    END IF;
    IF in_session IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_sessions s WHERE s.id = in_session AND s.project_id = project)
        OR for_message IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_messages m WHERE m.id = for_message AND m.project_id = project) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a session and a message are of their project';
    END IF;
    PERFORM {schema}.take_revision(project, taken, at, kind, in_session, for_message, description,
                                   CASE kind WHEN 'SESSION_STARTED' THEN 1 ELSE 0 END, 0, 0, 0);
END $$;

-- Adds a message of the caller, with the snapshot of a checkpoint.
CREATE FUNCTION add_message(project uuid, taken integer, at timestamptz, new_id uuid, in_session uuid, role text, content text,
                            is_checkpoint boolean, context_data jsonb, metadata jsonb, idempotency_key text,
                            snapshot uuid, file_count integer, manifest bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    UPDATE {schema}.chat_sessions s SET message_count = s.message_count + 1
    WHERE s.id = in_session AND s.project_id = project AND s.user_id = me AND s.is_active
      AND EXISTS (SELECT FROM {schema}.project_members m
                  WHERE m.user_id = me AND m.project_id = project AND m.role <> 'viewer');
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its author writes in a session, and while it goes on';
    END IF;
    INSERT INTO {schema}.chat_messages (id, project_id, session_id, user_id, revision, role, content, timestamp, is_checkpoint,
        context_data, metadata, idempotency_key)
    VALUES (new_id, project, in_session, me, taken, role, content, at, is_checkpoint, context_data, metadata, idempotency_key);
    PERFORM {schema}.take_revision(project, taken, at, 'MESSAGE_ADDED', in_session, new_id, NULL, 0, 1, 0, 0);
    IF snapshot IS NOT NULL THEN
        INSERT INTO {schema}.project_snapshots (id, project_id, revision, created_revision, file_count, manifest_sha256)
        VALUES (snapshot, project, taken, taken, file_count, manifest);
    END IF;
END $$;

-- Stores changes of files: new contents, the ends of the previous versions, the files, their versions, and the snapshot
-- of the message's checkpoint, which follows it. Arrays of one group have the same length. An empty text or hash, and
-- base 0, stand for none. Contents are named by their hashes, so that no version can use the content of another
-- project.
CREATE FUNCTION write_files(project uuid, taken integer, at timestamptz, kind text, in_session uuid, for_message uuid, description text,
                            blob_hashes bytea[], sizes integer[], encodings smallint[], depths smallint[], bases bigint[], contents bytea[],
                            files uuid[], paths text[], types text[], languages text[], versions integer[], hashes bytea[],
                            changes uuid[], change_types text[], additions integer[], deletions integer[],
                            snapshot uuid, file_count integer, manifest bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    touched integer;
BEGIN
    PERFORM {schema}.check_writer(project, in_session, for_message, kind <> 'PROJECT_RESTORED');
    IF kind NOT IN ('FILES_CHANGED', 'PROJECT_RESTORED') THEN
        RAISE insufficient_privilege USING MESSAGE = 'a revision of another kind has a function of its own';
    END IF;
    IF cardinality(blob_hashes) > 0 THEN
        INSERT INTO {schema}.blobs (project_id, sha256, size, encoding, depth, base_id, data)
        SELECT project, n.sha256, n.size, n.encoding, n.depth,
               (SELECT b.id FROM {schema}.blobs b WHERE b.id = n.base AND b.project_id = project), n.data
        FROM unnest(blob_hashes, sizes, encodings, depths, bases, contents) AS n (sha256, size, encoding, depth, base, data)
        WHERE n.base = 0 OR EXISTS (SELECT FROM {schema}.blobs b WHERE b.id = n.base AND b.project_id = project);
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(blob_hashes) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a content is based on one of its own project';
        END IF;
    END IF;
    IF cardinality(files) > 0 THEN
        UPDATE {schema}.file_snapshots v SET superseded_revision = taken
        FROM unnest(files, versions) AS n (file, version)
        WHERE v.file_id = n.file AND v.version = n.version - 1 AND v.superseded_revision IS NULL AND v.project_id = project;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (SELECT count(*) FROM unnest(versions) AS n WHERE n > 1) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a version follows the one before, which ends once';
        END IF;

        INSERT INTO {schema}.project_files AS f (id, project_id, file_path, file_name, parent_path, file_type, language, size_bytes,
            version, hash, is_deleted, created_at, updated_at)
        SELECT n.file, project, n.path, split_part(n.path, '/', -1),
               nullif(left(n.path, -1 - length(split_part(n.path, '/', -1))), ''), n.type, nullif(n.language, ''),
               coalesce((SELECT b.size FROM {schema}.blobs b WHERE b.project_id = project AND b.sha256 = n.hash), 0),
               n.version, nullif(n.hash, ''), n.change_type = 'delete', at, at
        FROM unnest(files, paths, types, languages, versions, hashes, change_types)
            AS n (file, path, type, language, version, hash, change_type)
        ON CONFLICT (id) DO UPDATE SET file_path = excluded.file_path, file_name = excluded.file_name,
            parent_path = excluded.parent_path, language = excluded.language, size_bytes = excluded.size_bytes,
            version = excluded.version, hash = excluded.hash, is_deleted = excluded.is_deleted, updated_at = excluded.updated_at
        WHERE f.project_id = excluded.project_id AND f.version = excluded.version - 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(files) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a file is of its own project';
        END IF;

        INSERT INTO {schema}.file_snapshots (id, project_id, file_id, revision, version, additions, deletions, blob_id, change_type, path)
        SELECT n.change, project, n.file, taken, n.version, n.additions, n.deletions,
               (SELECT b.id FROM {schema}.blobs b WHERE b.project_id = project AND b.sha256 = n.hash), n.change_type, n.path
        FROM unnest(changes, files, versions, additions, deletions, hashes, change_types, paths)
            AS n (change, file, version, additions, deletions, hash, change_type, path)
        WHERE n.hash = '' OR EXISTS (SELECT FROM {schema}.blobs b WHERE b.project_id = project AND b.sha256 = n.hash);
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(files) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a version has a content of its own project';
        END IF;
    END IF;
    IF snapshot IS NOT NULL THEN
        UPDATE {schema}.project_snapshots n SET revision = taken, file_count = write_files.file_count, manifest_sha256 = manifest
        WHERE n.id = snapshot AND n.project_id = project
          AND n.created_revision = (SELECT m.revision FROM {schema}.chat_messages m WHERE m.id = for_message);
        IF NOT FOUND THEN
            RAISE insufficient_privilege USING MESSAGE = 'a checkpoint follows its own message';
        END IF;
    END IF;
    PERFORM {schema}.take_revision(project, taken, at, kind, in_session, for_message, description, 0, 0,
        (SELECT count(*) FILTER (WHERE n.change_type = 'create') - count(*) FILTER (WHERE n.change_type = 'delete')
         FROM unnest(types, change_types) AS n (type, change_type) WHERE n.type = 'file')::integer, cardinality(files));
END $$;

-- Records that a member has opened the project; not a revision, since it changes only the member's own view.
CREATE OR REPLACE FUNCTION touch_project(project uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {schema}.projects p
    SET last_accessed_at = greatest(p.last_accessed_at, least(at, clock_timestamp() + interval '1 minute'))
    WHERE p.id = project
      AND EXISTS (SELECT FROM {schema}.project_members m WHERE m.user_id = auth.uid() AND m.project_id = project);
    RETURN FOUND;
END $$;

REVOKE ALL ON FUNCTION is_invited, lock_project, take_revision, check_writer, create_project, record_revision, add_message,
    write_files FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION lock_project, create_project, record_revision, add_message, write_files TO authenticated;
