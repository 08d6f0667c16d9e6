-- All functions. {schema} is the quoted schema of the tables; {member}, {writer} and {owner} are the caller's projects by
-- role (row_security.rs).
--
-- The functions that write history run as the tables' owner and enforce the rules themselves: each checks the caller's
-- permission once, and writes all rows of its kind. They identify the caller only by the claims; without claims they do
-- nothing. No role has a privilege to write messages, files, versions, contents, events or a revision directly. A write
-- locks the project (`lock_project`), reads what it needs, and ends with one of the functions that record a revision.
--
-- Functions that only other functions call run as their callers, which have a pinned search path: setting and resetting
-- another one took nearly half of the time of a call. No role has a privilege to call them.

-- ── the caller ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- The e-mail is the only column that members of a project do not see of each other.
CREATE FUNCTION my_email() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    'SELECT u.email FROM {schema}.user_profiles u WHERE u.id = auth.uid()';

-- The caller's e-mail address if their token shows it as verified; the service leaves other addresses out of the claims.
-- Only ASCII letters are changed to lower case, as in the service, whatever the database's locale: some other letters
-- become ASCII letters in lower case, so that a user with such an address could accept another user's invitation.
CREATE FUNCTION my_address() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT lower((c.claims ->> 'email') COLLATE "C")
    FROM (SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb AS claims) c
    WHERE c.claims -> 'email_verified' = 'true'
$$;

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

-- Updates the caller's profile from a token that is not older than the last one. A token without a time is never older, and the
-- time of the last one stays.
CREATE FUNCTION update_profile_from_token(token_email text, token_name text, token_avatar_url text, issued timestamptz, at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    latest timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
    -- greatest and least ignore NULL: a token without a time has none here, as on SQLite.
    issued := CASE WHEN issued IS NOT NULL THEN greatest(least(issued, latest), '0001-01-01') END;
    UPDATE {schema}.user_profiles u SET email = coalesce(token_email, u.email), claims_at = coalesce(issued, u.claims_at),
        full_name = CASE WHEN u.own_full_name THEN u.full_name WHEN token_name IS NOT NULL THEN token_name
            WHEN u.full_name IS NULL OR u.full_name = u.email THEN coalesce(token_email, u.full_name) ELSE u.full_name END,
        avatar_url = CASE WHEN u.own_avatar_url THEN u.avatar_url ELSE coalesce(token_avatar_url, u.avatar_url) END,
        updated_at = greatest(least(at, latest), '0001-01-01')
    WHERE u.id = auth.uid() AND (u.claims_at IS NULL OR issued IS NULL OR u.claims_at <= issued)
      AND (u.email IS DISTINCT FROM coalesce(token_email, u.email)
           OR NOT u.own_full_name AND u.full_name IS DISTINCT FROM coalesce(token_name, u.full_name, token_email)
           OR NOT u.own_avatar_url AND u.avatar_url IS DISTINCT FROM coalesce(token_avatar_url, u.avatar_url));
END $$;

-- ── rules for rows ───────────────────────────────────────────────────────────────────────────────────────────────────

-- Whether all clients can read a time: the service cannot read `infinity`.
CREATE FUNCTION is_time(at timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59+00', true)
$$;

-- Rules that a policy cannot express, since it does not see the old and the new values of a row together. They do not
-- apply to the owner's commands.
CREATE FUNCTION check_project_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF row_security_active(TG_RELID) AND NOT OLD.id {owner} THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner can delete, restore or transfer a project';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION check_collaborator_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT row_security_active(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.accepted_at IS DISTINCT FROM OLD.accepted_at AND OLD.user_id <> auth.uid() THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the invited user can accept an invitation';
    END IF;
    IF (NEW.role, NEW.invited_by, NEW.invited_at) IS DISTINCT FROM (OLD.role, OLD.invited_by, OLD.invited_at) AND (
        NOT OLD.project_id {owner}
        OR NEW.role = 'owner' AND OLD.role <> 'owner'
        OR NEW.invited_by IS DISTINCT FROM OLD.invited_by AND NEW.invited_by IS DISTINCT FROM auth.uid()) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner of a project can change roles and invitations, in their own name';
    END IF;
    RETURN NEW;
END $$;

-- ── membership ───────────────────────────────────────────────────────────────────────────────────────────────────────

-- Replaces a user's row of project_members by what projects and project_collaborators contain.
CREATE FUNCTION update_membership(project uuid, member uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM {schema}.project_members m WHERE m.user_id = member AND m.project_id = project;
    INSERT INTO {schema}.project_members (user_id, project_id, role)
    SELECT member, p.id, CASE WHEN p.user_id = member THEN 'owner' ELSE c.role END
    FROM {schema}.projects p
    LEFT JOIN {schema}.project_collaborators c
        ON c.project_id = p.id AND c.user_id = member AND c.accepted_at IS NOT NULL
    WHERE p.id = project AND (p.user_id = member OR c.user_id IS NOT NULL);
$$;

CREATE FUNCTION update_owner_membership() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM {schema}.update_membership(OLD.id, OLD.user_id);
    END IF;
    PERFORM {schema}.update_membership(NEW.id, NEW.user_id);
    RETURN NULL;
END $$;

CREATE FUNCTION update_collaborator_membership() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM {schema}.update_membership(changed.project_id, changed.user_id);
    RETURN NULL;
END $$;

-- ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

-- Locks the project of `target` and `target_id` until the transaction ends. Returns its next revision with its time,
-- the caller's role, and the session and message that the write names, if they are in the project. No row: the caller
-- has no access. `purpose` is `write`, `team` (also viewers) or `invited`. For an unsuitable role, the role is returned
-- without a lock: the error is then FORBIDDEN.
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
        WHEN 'streaming_message' THEN (SELECT g.project_id FROM {schema}.streaming_messages g WHERE g.id = target_id)
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
    -- The write that this one has waited for can have removed the caller.
    SELECT m.role INTO role FROM {schema}.project_members m WHERE m.user_id = me AND m.project_id = lock_project.id;
    IF purpose = 'invited' AND NOT {schema}.is_invited(id) OR purpose <> 'invited' AND role IS NULL THEN
        RETURN;
    END IF;
    -- Invited users have no role yet.
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
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.projects p SET revision = taken, last_activity_at = at, session_count = session_count + sessions,
        message_count = message_count + messages, file_count = file_count + files, change_count = change_count + changes,
        last_session_at = CASE sessions WHEN 0 THEN last_session_at ELSE at END
    WHERE p.id = project AND p.revision = taken - 1
      AND at BETWEEN p.last_activity_at AND greatest(p.last_activity_at, clock_timestamp() + interval '1 minute');
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'the revision is not the next one, or its time is out of range';
    END IF;
    INSERT INTO {schema}.project_events (project_id, revision, kind, actor_id, session_id, message_id, description, created_at)
    VALUES (project, taken, kind, auth.uid(), in_session, for_message, description, at);
END $$;

-- Checks that the caller can write in a project, and that the session, if one is named, is theirs and has the message.
CREATE FUNCTION check_writer(project uuid, in_session uuid, for_message uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.project_members m
                   WHERE m.user_id = me AND m.project_id = project AND m.role <> 'viewer') THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner and editors can write in a project';
    END IF;
    IF in_session IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_sessions s
        WHERE s.id = in_session AND s.project_id = project AND s.user_id = me) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its author can write in a session';
    END IF;
    IF for_message IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_messages m WHERE m.id = for_message AND m.session_id = in_session) THEN
        RAISE insufficient_privilege USING MESSAGE = 'the message is not in the session';
    END IF;
END $$;

-- Creates a project of the caller with its first revision.
CREATE FUNCTION create_project(new_id uuid, name text, description text, initial_prompt text, config text, at timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NULL OR at NOT BETWEEN '0001-01-01' AND clock_timestamp() + interval '1 minute' THEN
        RAISE insufficient_privilege USING MESSAGE = 'the project has no owner, or its time is out of range';
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
            RAISE insufficient_privilege USING MESSAGE = 'only members and invited users can change the team';
        END IF;
    ELSIF kind IN ('SESSION_STARTED', 'SESSION_ENDED', 'PROJECT_UPDATED', 'SNAPSHOT_CREATED', 'SNAPSHOT_UPDATED', 'SNAPSHOT_DELETED',
                    'AGENT_CONFIGURATION_CHANGED') THEN
        PERFORM {schema}.check_writer(project, NULL, NULL);
    ELSE
        RAISE insufficient_privilege USING MESSAGE = 'this function does not record revisions of this kind';
    END IF;
    IF in_session IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_sessions s WHERE s.id = in_session AND s.project_id = project)
        OR for_message IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_messages m WHERE m.id = for_message AND m.project_id = project) THEN
        RAISE insufficient_privilege USING MESSAGE = 'the session or the message is not in the project';
    END IF;
    PERFORM {schema}.take_revision(project, taken, at, kind, in_session, for_message, description,
                                   CASE kind WHEN 'SESSION_STARTED' THEN 1 ELSE 0 END, 0, 0, 0);
END $$;

-- Adds a message of the caller, with the snapshot of a checkpoint.
CREATE FUNCTION add_message(project uuid, taken integer, at timestamptz, new_id uuid, in_session uuid, role text, content text,
                            is_checkpoint boolean, context_data text, metadata text, idempotency_key text,
                            snapshot uuid, file_count integer, manifest bytea)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    UPDATE {schema}.chat_sessions s SET message_count = s.message_count + 1
    WHERE s.id = in_session AND s.project_id = project AND s.user_id = me
      AND EXISTS (SELECT FROM {schema}.project_members m
                  WHERE m.user_id = me AND m.project_id = project AND m.role <> 'viewer');
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its author can write in a session';
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
-- project. `modes`, `restored` and `offsets` can be left out: files are then plain, no version restores another (0), and
-- the numbers of versions have no offset.
--
-- The function is planned once per connection instead of at each call: planning took longer than execution. The plan must
-- fit every project and tables that have grown since. Therefore each row is looked up by its key: no condition lets the
-- planner choose to read all contents or all versions of a project.
CREATE FUNCTION write_files(project uuid, taken integer, at timestamptz, kind text, in_session uuid, for_message uuid, description text,
                            blob_hashes bytea[], sizes integer[], encodings smallint[], depths smallint[], bases bigint[], contents bytea[],
                            files uuid[], paths text[], types text[], languages text[], versions integer[], hashes bytea[],
                            changes uuid[], change_types text[], additions integer[], deletions integer[],
                            snapshot uuid, file_count integer, manifest bytea,
                            modes smallint[] DEFAULT '{}', restored integer[] DEFAULT '{}', offsets integer[] DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
    touched integer;
BEGIN
    PERFORM {schema}.check_writer(project, in_session, for_message);
    IF kind NOT IN ('FILES_CHANGED', 'PROJECT_RESTORED') THEN
        RAISE insufficient_privilege USING MESSAGE = 'this function does not record revisions of this kind';
    END IF;
    IF cardinality(blob_hashes) > 0 THEN
        INSERT INTO {schema}.blobs (project_id, sha256, size, encoding, depth, base_id, data)
        SELECT project, n.sha256, n.size, n.encoding, n.depth, n.base_id, n.data
        FROM (SELECT *, (SELECT b.id FROM {schema}.blobs b WHERE b.id = base AND b.project_id = project) AS base_id
              FROM unnest(blob_hashes, sizes, encodings, depths, bases, contents)
                  AS n (sha256, size, encoding, depth, base, data) OFFSET 0) AS n
        WHERE n.base = 0 OR n.base_id IS NOT NULL;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(blob_hashes) THEN
            RAISE insufficient_privilege USING MESSAGE = 'the base of a content is not in the project';
        END IF;
    END IF;
    IF cardinality(files) > 0 THEN
        UPDATE {schema}.file_snapshots v SET superseded_revision = taken
        FROM unnest(files, versions) AS n (file, version)
        WHERE v.file_id = n.file AND v.version = n.version - 1 AND v.superseded_revision IS NULL
          AND (v.project_id = project) IS TRUE;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (SELECT count(*) FROM unnest(versions) AS n WHERE n > 1) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a version does not follow the newest one of its file';
        END IF;

        INSERT INTO {schema}.project_files AS f (id, project_id, file_path, file_name, parent_path, file_type, language, size_bytes,
            version, hash, is_deleted, created_at, updated_at, mode, version_offset)
        SELECT n.file, project, n.path, split_part(n.path, '/', -1),
               nullif(left(n.path, -1 - length(split_part(n.path, '/', -1))), ''), n.type, nullif(n.language, ''),
               coalesce((SELECT b.size FROM {schema}.blobs b WHERE b.project_id = project AND b.sha256 = n.hash), 0),
               n.version, nullif(n.hash, ''), n.change_type = 'delete', at, at, coalesce(n.mode, 0),
               coalesce(n.added, 0)
        FROM unnest(files, paths, types, languages, versions, hashes, change_types, modes, offsets)
            AS n (file, path, type, language, version, hash, change_type, mode, added)
        WHERE n.file IS NOT NULL
        ON CONFLICT (id) DO UPDATE SET file_path = excluded.file_path, file_name = excluded.file_name,
            parent_path = excluded.parent_path, language = excluded.language, size_bytes = excluded.size_bytes,
            version = excluded.version, hash = excluded.hash, is_deleted = excluded.is_deleted, updated_at = excluded.updated_at,
            mode = excluded.mode, version_offset = excluded.version_offset
        WHERE f.project_id = excluded.project_id AND f.version = excluded.version - 1;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(files) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a file is not in the project, or its version is not the next one';
        END IF;

        INSERT INTO {schema}.file_snapshots (id, project_id, file_id, revision, version, additions, deletions, blob_id, change_type, path,
            mode, restored_version, version_offset)
        SELECT n.change, project, n.file, taken, n.version, n.additions, n.deletions, n.blob_id, n.change_type, n.path,
               coalesce(n.mode, 0), nullif(n.restored, 0), coalesce(n.added, 0)
        FROM (SELECT *, (SELECT b.id FROM {schema}.blobs b WHERE b.project_id = project AND b.sha256 = hash) AS blob_id
              FROM unnest(changes, files, versions, additions, deletions, hashes, change_types, paths, modes, restored, offsets)
                  AS n (change, file, version, additions, deletions, hash, change_type, path, mode, restored, added) OFFSET 0) AS n
        WHERE n.hash = '' OR n.blob_id IS NOT NULL;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(files) THEN
            RAISE insufficient_privilege USING MESSAGE = 'the content of a version is not in the project';
        END IF;
    END IF;
    IF snapshot IS NOT NULL THEN
        UPDATE {schema}.project_snapshots n SET revision = taken, file_count = write_files.file_count, manifest_sha256 = manifest
        WHERE n.id = snapshot AND n.project_id = project
          AND n.created_revision = (SELECT m.revision FROM {schema}.chat_messages m WHERE m.id = for_message);
        IF NOT FOUND THEN
            RAISE insufficient_privilege USING MESSAGE = 'the snapshot is not the checkpoint of the message';
        END IF;
    END IF;
    PERFORM {schema}.take_revision(project, taken, at, kind, in_session, for_message, description, 0, 0,
        (SELECT count(*) FILTER (WHERE n.change_type = 'create') - count(*) FILTER (WHERE n.change_type = 'delete')
         FROM unnest(types, change_types) AS n (type, change_type) WHERE n.type = 'file')::integer, cardinality(files));
END $$;

-- Records that a member has opened the project; not a revision, since it changes only the member's own view.
CREATE FUNCTION touch_project(project uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE {schema}.projects p
    SET last_accessed_at = greatest(p.last_accessed_at, least(at, clock_timestamp() + interval '1 minute'))
    WHERE p.id = project
      AND EXISTS (SELECT FROM {schema}.project_members m WHERE m.user_id = auth.uid() AND m.project_id = project);
    RETURN FOUND;
END $$;

-- ── the service itself ───────────────────────────────────────────────────────────────────────────────────────────────

-- Returns the newest revisions, their times and the members of projects with subscribers, so that a server can compare them
-- in one read; the time distinguishes two logs of the same length. Callers, whose claims have a `sub`, get nothing. Sessions
-- without a `sub` belong to the service's own login, which could claim to be any user.
CREATE FUNCTION latest_revisions(wanted uuid[]) RETURNS TABLE (id uuid, revision integer, at timestamptz, member uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'callers cannot read the revisions of projects';
    END IF;
    RETURN QUERY
        SELECT p.id, p.revision, p.last_activity_at, p.user_id FROM {schema}.projects p WHERE p.id = ANY (wanted)
        UNION ALL
        SELECT p.id, p.revision, p.last_activity_at, c.user_id
        FROM {schema}.projects p
        JOIN {schema}.project_collaborators c ON c.project_id = p.id AND c.accepted_at IS NOT NULL
        WHERE p.id = ANY (wanted);
END $$;

-- Replaces the entries of a server: users, and the project that each subscribes to. Removes all entries, of any server, that
-- were not renewed since `stale`. Callers, whose claims have a `sub`, cannot use it.
CREATE FUNCTION renew_presences(server uuid, project_ids uuid[], user_ids uuid[], starts timestamptz[], at timestamptz, stale timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'callers cannot write presence';
    END IF;
    DELETE FROM {schema}.presences p
    WHERE p.seen_at < stale OR p.server_id = server AND NOT EXISTS (
        SELECT FROM unnest(project_ids, user_ids) AS n (project, member) WHERE n.project = p.project_id AND n.member = p.user_id);
    INSERT INTO {schema}.presences AS p (project_id, user_id, server_id, since, seen_at)
    SELECT n.project, n.member, server, n.since, at FROM unnest(project_ids, user_ids, starts) AS n (project, member, since)
    JOIN {schema}.projects j ON j.id = n.project JOIN {schema}.user_profiles u ON u.id = n.member
    ON CONFLICT (project_id, user_id, server_id) DO UPDATE SET since = excluded.since, seen_at = excluded.seen_at;
END $$;

-- ── privileges ───────────────────────────────────────────────────────────────────────────────────────────────────────

REVOKE ALL ON FUNCTION my_email, my_address, is_invited, update_profile_from_token, is_time, check_project_change, check_collaborator_change,
    update_membership, update_owner_membership, update_collaborator_membership, lock_project, take_revision, check_writer, create_project, record_revision,
    add_message, write_files, touch_project, latest_revisions, renew_presences FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION my_email, my_address, update_profile_from_token, is_time, lock_project, create_project, record_revision, add_message,
    write_files, touch_project, latest_revisions, renew_presences TO authenticated;
