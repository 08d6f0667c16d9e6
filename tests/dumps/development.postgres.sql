-- A PostgreSQL database of the last development version before 0.1.0, with a project of ada@example.com. See tests/it/unsquashed.rs.

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA auth;
COMMENT ON SCHEMA auth IS 'made by antiphon';
CREATE FUNCTION auth.uid() RETURNS uuid
    LANGUAGE sql STABLE
    AS $$SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid$$;
COMMENT ON FUNCTION auth.uid() IS 'made by antiphon';
CREATE FUNCTION public.add_message(project uuid, taken integer, at timestamp with time zone, new_id uuid, in_session uuid, role text, content text, is_checkpoint boolean, context_data text, metadata text, idempotency_key text, snapshot uuid, file_count integer, manifest bytea) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    UPDATE public.chat_sessions s SET message_count = s.message_count + 1
    WHERE s.id = in_session AND s.project_id = project AND s.user_id = me
      AND EXISTS (SELECT FROM public.project_members m
                  WHERE m.user_id = me AND m.project_id = project AND m.role <> 'viewer');
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its author writes in a session';
    END IF;
    INSERT INTO public.chat_messages (id, project_id, session_id, user_id, revision, role, content, timestamp, is_checkpoint,
        context_data, metadata, idempotency_key)
    VALUES (new_id, project, in_session, me, taken, role, content, at, is_checkpoint, context_data, metadata, idempotency_key);
    PERFORM public.take_revision(project, taken, at, 'MESSAGE_ADDED', in_session, new_id, NULL, 0, 1, 0, 0);
    IF snapshot IS NOT NULL THEN
        INSERT INTO public.project_snapshots (id, project_id, revision, created_revision, file_count, manifest_sha256)
        VALUES (snapshot, project, taken, taken, file_count, manifest);
    END IF;
END $$;
CREATE FUNCTION public.check_writer(project uuid, in_session uuid, for_message uuid, goes_on boolean) RETURNS void
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    IF NOT EXISTS (SELECT FROM public.project_members m
                   WHERE m.user_id = me AND m.project_id = project AND m.role <> 'viewer') THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner and editors write in a project';
    END IF;
    IF in_session IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.chat_sessions s
        WHERE s.id = in_session AND s.project_id = project AND s.user_id = me) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its author writes in a session';
    END IF;
    IF for_message IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.chat_messages m WHERE m.id = for_message AND m.session_id = in_session) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a message is of its session';
    END IF;
END $$;
CREATE FUNCTION public.create_project(new_id uuid, name text, description text, initial_prompt text, config text, at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF auth.uid() IS NULL OR at NOT BETWEEN '0001-01-01' AND clock_timestamp() + interval '1 minute' THEN
        RAISE insufficient_privilege USING MESSAGE = 'a project is its maker''s, and of its time';
    END IF;
    INSERT INTO public.projects (id, user_id, name, description, initial_prompt, config, status, revision, session_count,
        message_count, file_count, change_count, created_at, updated_at, last_accessed_at, last_activity_at)
    VALUES (new_id, auth.uid(), name, description, initial_prompt, config, 'active', 0, 0, 0, 0, 0, at, at, at, at);
    PERFORM public.take_revision(new_id, 1, at, 'PROJECT_CREATED', NULL, NULL, NULL, 0, 0, 0, 0);
END $$;
CREATE FUNCTION public.follow_token(said_email text, said_name text, said_avatar_url text, issued timestamp with time zone, at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    latest timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
    -- greatest and least ignore NULL: a token without a time has none here, as on SQLite.
    issued := CASE WHEN issued IS NOT NULL THEN greatest(least(issued, latest), '0001-01-01') END;
    UPDATE public.user_profiles u SET email = coalesce(said_email, u.email), claims_at = coalesce(issued, u.claims_at),
        full_name = CASE WHEN u.own_full_name THEN u.full_name WHEN said_name IS NOT NULL THEN said_name
            WHEN u.full_name IS NULL OR u.full_name = u.email THEN coalesce(said_email, u.full_name) ELSE u.full_name END,
        avatar_url = CASE WHEN u.own_avatar_url THEN u.avatar_url ELSE coalesce(said_avatar_url, u.avatar_url) END,
        updated_at = greatest(least(at, latest), '0001-01-01')
    WHERE u.id = auth.uid() AND (u.claims_at IS NULL OR issued IS NULL OR u.claims_at <= issued)
      AND (u.email IS DISTINCT FROM coalesce(said_email, u.email)
           OR NOT u.own_full_name AND u.full_name IS DISTINCT FROM coalesce(said_name, u.full_name, said_email)
           OR NOT u.own_avatar_url AND u.avatar_url IS DISTINCT FROM coalesce(said_avatar_url, u.avatar_url));
END $$;
CREATE FUNCTION public.guard_project_collaborators() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF NOT row_security_active(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.accepted_at IS DISTINCT FROM OLD.accepted_at AND OLD.user_id <> auth.uid() THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody accepts an invitation for somebody else';
    END IF;
    IF (NEW.role, NEW.invited_by, NEW.invited_at) IS DISTINCT FROM (OLD.role, OLD.invited_by, OLD.invited_at) AND (
        NOT OLD.project_id IN (SELECT m.project_id FROM public.project_members m WHERE m.role = 'owner')
        OR NEW.role = 'owner' AND OLD.role <> 'owner'
        OR NEW.invited_by IS DISTINCT FROM OLD.invited_by AND NEW.invited_by IS DISTINCT FROM auth.uid()) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner of a project says as what somebody is in it, and in no other''s name';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION public.guard_projects() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF row_security_active(TG_RELID) AND NOT OLD.id IN (SELECT m.project_id FROM public.project_members m WHERE m.role = 'owner') THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner deletes a project, brings it back or hands it over';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION public.is_invited(project uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    RETURN EXISTS (SELECT FROM public.projects p WHERE p.id = project AND p.status <> 'deleted') AND (
        EXISTS (SELECT FROM public.project_collaborators c
                WHERE c.project_id = project AND c.user_id = me AND c.accepted_at IS NULL)
        OR NOT EXISTS (SELECT FROM public.project_members m WHERE m.user_id = me AND m.project_id = project)
        AND EXISTS (SELECT FROM public.project_invitations i
                    WHERE i.project_id = project AND i.email = public.my_address()
                    AND NOT EXISTS (SELECT FROM public.project_former_collaborators f WHERE f.project_id = project
                                    AND f.user_id = me AND f.left_at >= i.invited_at)));
END $$;
CREATE FUNCTION public.is_time(at timestamp with time zone) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT coalesce(at BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59+00', true)
$$;
CREATE FUNCTION public.keep_collaborator() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    kept record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM public.keep_member(kept.project_id, kept.user_id);
    RETURN NULL;
END $$;
CREATE FUNCTION public.keep_member(project uuid, person uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    DELETE FROM public.project_members m WHERE m.user_id = person AND m.project_id = project;
    INSERT INTO public.project_members (user_id, project_id, role)
    SELECT person, p.id, CASE WHEN p.user_id = person THEN 'owner' ELSE c.role END
    FROM public.projects p
    LEFT JOIN public.project_collaborators c
        ON c.project_id = p.id AND c.user_id = person AND c.accepted_at IS NOT NULL
    WHERE p.id = project AND (p.user_id = person OR c.user_id IS NOT NULL);
$$;
CREATE FUNCTION public.keep_owner() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM public.keep_member(OLD.id, OLD.user_id);
    END IF;
    PERFORM public.keep_member(NEW.id, NEW.user_id);
    RETURN NULL;
END $$;
CREATE FUNCTION public.keep_presences(server uuid, wanted uuid[], people uuid[], begun timestamp with time zone[], at timestamp with time zone, stale timestamp with time zone) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'no caller says who is here';
    END IF;
    DELETE FROM public.presences p
    WHERE p.seen_at < stale OR p.server_id = server AND NOT EXISTS (
        SELECT FROM unnest(wanted, people) AS w (project, person) WHERE w.project = p.project_id AND w.person = p.user_id);
    INSERT INTO public.presences AS p (project_id, user_id, server_id, since, seen_at)
    SELECT w.project, w.person, server, w.since, at FROM unnest(wanted, people, begun) AS w (project, person, since)
    JOIN public.projects j ON j.id = w.project JOIN public.user_profiles u ON u.id = w.person
    ON CONFLICT (project_id, user_id, server_id) DO UPDATE SET since = excluded.since, seen_at = excluded.seen_at;
END $$;
CREATE FUNCTION public.lock_project(target text, target_id uuid, purpose text, in_session uuid, for_message uuid, now timestamp with time zone) RETURNS TABLE(id uuid, revision integer, status text, at timestamp with time zone, role text, session_id uuid, session_author uuid, session_is_active boolean, message_id uuid, snapshot_id uuid)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    id := CASE target
        WHEN 'project' THEN target_id
        WHEN 'session' THEN (SELECT s.project_id FROM public.chat_sessions s WHERE s.id = target_id)
        WHEN 'file' THEN (SELECT f.project_id FROM public.project_files f WHERE f.id = target_id)
        WHEN 'snapshot' THEN (SELECT n.project_id FROM public.project_snapshots n WHERE n.id = target_id)
        WHEN 'configuration' THEN (SELECT c.project_id FROM public.agent_configurations c WHERE c.id = target_id)
        WHEN 'growing_message' THEN (SELECT g.project_id FROM public.growing_messages g WHERE g.id = target_id)
    END;
    SELECT m.role INTO role FROM public.project_members m WHERE m.user_id = me AND m.project_id = lock_project.id;
    IF purpose = 'invited' AND NOT public.is_invited(id) OR purpose <> 'invited' AND role IS NULL THEN
        RETURN;
    END IF;
    IF purpose = 'write' AND role = 'viewer' THEN
        SELECT p.revision + 1, p.status, p.last_activity_at INTO revision, status, at
        FROM public.projects p WHERE p.id = lock_project.id;
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT p.revision + 1, p.status, greatest(p.last_activity_at, least(now, clock_timestamp() + interval '1 minute'))
    INTO revision, status, at FROM public.projects p WHERE p.id = lock_project.id FOR NO KEY UPDATE;
    -- Another write, for which this one has waited, may have ended the caller's part.
    SELECT m.role INTO role FROM public.project_members m WHERE m.user_id = me AND m.project_id = lock_project.id;
    IF purpose = 'invited' AND NOT public.is_invited(id) OR purpose <> 'invited' AND role IS NULL THEN
        RETURN;
    END IF;
    -- The invited have no role yet.
    role := coalesce(role, 'viewer');
    IF in_session IS NOT NULL OR for_message IS NOT NULL THEN
        SELECT s.id, s.user_id, s.is_active INTO session_id, session_author, session_is_active
        FROM public.chat_sessions s WHERE s.project_id = lock_project.id AND s.id = coalesce(
            in_session, (SELECT m.session_id FROM public.chat_messages m WHERE m.id = for_message));
    END IF;
    IF for_message IS NOT NULL THEN
        SELECT m.id, n.id INTO message_id, snapshot_id FROM public.chat_messages m
        LEFT JOIN public.project_snapshots n ON n.project_id = m.project_id AND n.created_revision = m.revision
        WHERE m.id = for_message AND m.session_id = lock_project.session_id;
    END IF;
    RETURN NEXT;
END $$;
CREATE FUNCTION public.my_address() RETURNS text
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT lower((c.claims ->> 'email') COLLATE "C")
    FROM (SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb AS claims) c
    WHERE c.claims -> 'email_verified' = 'true'
$$;
CREATE FUNCTION public.my_email() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$SELECT u.email FROM public.user_profiles u WHERE u.id = auth.uid()$$;
CREATE FUNCTION public.project_heads(wanted uuid[]) RETURNS TABLE(id uuid, revision integer, at timestamp with time zone, member uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'no caller may ask for the heads of projects';
    END IF;
    RETURN QUERY
        SELECT p.id, p.revision, p.last_activity_at, p.user_id FROM public.projects p WHERE p.id = ANY (wanted)
        UNION ALL
        SELECT p.id, p.revision, p.last_activity_at, c.user_id
        FROM public.projects p
        JOIN public.project_collaborators c ON c.project_id = p.id AND c.accepted_at IS NOT NULL
        WHERE p.id = ANY (wanted);
END $$;
CREATE FUNCTION public.record_revision(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF kind = 'COLLABORATORS_CHANGED' THEN
        IF NOT EXISTS (SELECT FROM public.project_members m WHERE m.user_id = auth.uid() AND m.project_id = project)
            AND NOT public.is_invited(project) THEN
            RAISE insufficient_privilege USING MESSAGE = 'only those who have a part in a project change it';
        END IF;
    ELSIF kind IN ('SESSION_STARTED', 'SESSION_ENDED', 'PROJECT_UPDATED', 'SNAPSHOT_CREATED', 'SNAPSHOT_UPDATED', 'SNAPSHOT_DELETED',
                    'AGENT_CONFIGURATION_CHANGED') THEN
        PERFORM public.check_writer(project, NULL, NULL, true);
    ELSE
        RAISE insufficient_privilege USING MESSAGE = 'a revision of another kind has a function of its own';
    END IF;
    IF in_session IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.chat_sessions s WHERE s.id = in_session AND s.project_id = project)
        OR for_message IS NOT NULL AND NOT EXISTS (
        SELECT FROM public.chat_messages m WHERE m.id = for_message AND m.project_id = project) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a session and a message are of their project';
    END IF;
    PERFORM public.take_revision(project, taken, at, kind, in_session, for_message, description,
                                   CASE kind WHEN 'SESSION_STARTED' THEN 1 ELSE 0 END, 0, 0, 0);
END $$;
CREATE FUNCTION public.take_revision(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text, sessions integer, messages integer, files integer, changes integer) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE public.projects p SET revision = taken, last_activity_at = at, session_count = session_count + sessions,
        message_count = message_count + messages, file_count = file_count + files, change_count = change_count + changes,
        last_session_at = CASE sessions WHEN 0 THEN last_session_at ELSE at END
    WHERE p.id = project AND p.revision = taken - 1
      AND at BETWEEN p.last_activity_at AND greatest(p.last_activity_at, clock_timestamp() + interval '1 minute');
    IF NOT FOUND THEN
        RAISE insufficient_privilege USING MESSAGE = 'a revision is the next one, and of its time';
    END IF;
    INSERT INTO public.project_events (project_id, revision, kind, actor_id, session_id, message_id, description, created_at)
    VALUES (project, taken, kind, auth.uid(), in_session, for_message, description, at);
END $$;
CREATE FUNCTION public.touch_project(project uuid, at timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    UPDATE public.projects p
    SET last_accessed_at = greatest(p.last_accessed_at, least(at, clock_timestamp() + interval '1 minute'))
    WHERE p.id = project
      AND EXISTS (SELECT FROM public.project_members m WHERE m.user_id = auth.uid() AND m.project_id = project);
    RETURN FOUND;
END $$;
CREATE FUNCTION public.write_files(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text, blob_hashes bytea[], sizes integer[], encodings smallint[], depths smallint[], bases bigint[], contents bytea[], files uuid[], paths text[], types text[], languages text[], versions integer[], hashes bytea[], changes uuid[], change_types text[], additions integer[], deletions integer[], snapshot uuid, file_count integer, manifest bytea, modes smallint[] DEFAULT '{}'::smallint[], restored integer[] DEFAULT '{}'::integer[], offsets integer[] DEFAULT '{}'::integer[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
DECLARE
    touched integer;
BEGIN
    PERFORM public.check_writer(project, in_session, for_message, kind <> 'PROJECT_RESTORED');
    IF kind NOT IN ('FILES_CHANGED', 'PROJECT_RESTORED') THEN
        RAISE insufficient_privilege USING MESSAGE = 'a revision of another kind has a function of its own';
    END IF;
    IF cardinality(blob_hashes) > 0 THEN
        INSERT INTO public.blobs (project_id, sha256, size, encoding, depth, base_id, data)
        SELECT project, n.sha256, n.size, n.encoding, n.depth, n.base_id, n.data
        FROM (SELECT *, (SELECT b.id FROM public.blobs b WHERE b.id = base AND b.project_id = project) AS base_id
              FROM unnest(blob_hashes, sizes, encodings, depths, bases, contents)
                  AS n (sha256, size, encoding, depth, base, data) OFFSET 0) AS n
        WHERE n.base = 0 OR n.base_id IS NOT NULL;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(blob_hashes) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a content is based on one of its own project';
        END IF;
    END IF;
    IF cardinality(files) > 0 THEN
        UPDATE public.file_snapshots v SET superseded_revision = taken
        FROM unnest(files, versions) AS n (file, version)
        WHERE v.file_id = n.file AND v.version = n.version - 1 AND v.superseded_revision IS NULL
          AND (v.project_id = project) IS TRUE;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (SELECT count(*) FROM unnest(versions) AS n WHERE n > 1) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a version follows the one before, which ends once';
        END IF;
        INSERT INTO public.project_files AS f (id, project_id, file_path, file_name, parent_path, file_type, language, size_bytes,
            version, hash, is_deleted, created_at, updated_at, mode, version_offset)
        SELECT n.file, project, n.path, split_part(n.path, '/', -1),
               nullif(left(n.path, -1 - length(split_part(n.path, '/', -1))), ''), n.type, nullif(n.language, ''),
               coalesce((SELECT b.size FROM public.blobs b WHERE b.project_id = project AND b.sha256 = n.hash), 0),
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
            RAISE insufficient_privilege USING MESSAGE = 'a file is of its own project';
        END IF;
        INSERT INTO public.file_snapshots (id, project_id, file_id, revision, version, additions, deletions, blob_id, change_type, path,
            mode, restored_version, version_offset)
        SELECT n.change, project, n.file, taken, n.version, n.additions, n.deletions, n.blob_id, n.change_type, n.path,
               coalesce(n.mode, 0), nullif(n.restored, 0), coalesce(n.added, 0)
        FROM (SELECT *, (SELECT b.id FROM public.blobs b WHERE b.project_id = project AND b.sha256 = hash) AS blob_id
              FROM unnest(changes, files, versions, additions, deletions, hashes, change_types, paths, modes, restored, offsets)
                  AS n (change, file, version, additions, deletions, hash, change_type, path, mode, restored, added) OFFSET 0) AS n
        WHERE n.hash = '' OR n.blob_id IS NOT NULL;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> cardinality(files) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a version has a content of its own project';
        END IF;
    END IF;
    IF snapshot IS NOT NULL THEN
        UPDATE public.project_snapshots n SET revision = taken, file_count = write_files.file_count, manifest_sha256 = manifest
        WHERE n.id = snapshot AND n.project_id = project
          AND n.created_revision = (SELECT m.revision FROM public.chat_messages m WHERE m.id = for_message);
        IF NOT FOUND THEN
            RAISE insufficient_privilege USING MESSAGE = 'a checkpoint follows its own message';
        END IF;
    END IF;
    PERFORM public.take_revision(project, taken, at, kind, in_session, for_message, description, 0, 0,
        (SELECT count(*) FILTER (WHERE n.change_type = 'create') - count(*) FILTER (WHERE n.change_type = 'delete')
         FROM unnest(types, change_types) AS n (type, change_type) WHERE n.type = 'file')::integer, cardinality(files));
END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.agent_configuration_versions (
    configuration_id uuid NOT NULL,
    version integer NOT NULL,
    project_id uuid NOT NULL,
    revision integer NOT NULL,
    superseded_revision integer,
    is_deletion boolean NOT NULL,
    is_active boolean NOT NULL,
    config_name text NOT NULL,
    description text,
    stt_provider text NOT NULL,
    stt_model text NOT NULL,
    stt_config text NOT NULL,
    tts_provider text NOT NULL,
    tts_model text NOT NULL,
    tts_config text NOT NULL,
    llm_provider text NOT NULL,
    llm_model text NOT NULL,
    llm_config text NOT NULL,
    vad_provider text NOT NULL,
    vad_config text NOT NULL,
    turn_detection_config text NOT NULL,
    function_calls text NOT NULL,
    tool_integrations text NOT NULL,
    agent_instructions text NOT NULL,
    agent_personality text NOT NULL,
    required_env_vars text NOT NULL,
    dependencies text NOT NULL,
    source_files text NOT NULL
);
CREATE TABLE public.agent_configurations (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    config_name text NOT NULL,
    description text,
    stt_provider text NOT NULL,
    stt_model text NOT NULL,
    stt_config text NOT NULL,
    tts_provider text NOT NULL,
    tts_model text NOT NULL,
    tts_config text NOT NULL,
    llm_provider text NOT NULL,
    llm_model text NOT NULL,
    llm_config text NOT NULL,
    vad_provider text NOT NULL,
    vad_config text NOT NULL,
    turn_detection_config text NOT NULL,
    function_calls text NOT NULL,
    tool_integrations text NOT NULL,
    agent_instructions text NOT NULL,
    agent_personality text NOT NULL,
    required_env_vars text NOT NULL,
    dependencies text NOT NULL,
    source_files text NOT NULL,
    is_active boolean NOT NULL,
    version integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE TABLE public.blobs (
    id bigint NOT NULL,
    project_id uuid NOT NULL,
    sha256 bytea NOT NULL,
    size integer NOT NULL,
    encoding smallint NOT NULL,
    depth smallint NOT NULL,
    base_id bigint,
    data bytea NOT NULL
);
ALTER TABLE ONLY public.blobs ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE public.blobs ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME public.blobs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE public.chat_folds (
    message_id uuid NOT NULL,
    revision integer NOT NULL,
    superseded_revision integer,
    project_id uuid NOT NULL
);
CREATE TABLE public.chat_messages (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    revision integer NOT NULL,
    role text NOT NULL,
    content text NOT NULL,
    "timestamp" timestamp with time zone NOT NULL,
    is_checkpoint boolean NOT NULL,
    context_data text NOT NULL,
    metadata text NOT NULL,
    idempotency_key text,
    folded_revision integer,
    CONSTRAINT chat_messages_role_check CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text, 'system'::text])))
);
CREATE TABLE public.chat_sessions (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    revision integer NOT NULL,
    title text,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    message_count integer NOT NULL,
    is_active boolean NOT NULL,
    metadata text NOT NULL
);
CREATE TABLE public.file_snapshots (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    file_id uuid NOT NULL,
    revision integer NOT NULL,
    superseded_revision integer,
    version integer NOT NULL,
    additions integer NOT NULL,
    deletions integer NOT NULL,
    blob_id bigint,
    change_type text NOT NULL,
    path text NOT NULL COLLATE pg_catalog."C",
    mode smallint DEFAULT 0 NOT NULL,
    restored_version integer,
    version_offset integer DEFAULT 0 NOT NULL,
    CONSTRAINT file_snapshots_change_type_check CHECK ((change_type = ANY (ARRAY['create'::text, 'update'::text, 'delete'::text, 'rename'::text])))
);
CREATE TABLE public.project_events (
    project_id uuid NOT NULL,
    revision integer NOT NULL,
    kind text NOT NULL,
    actor_id uuid,
    session_id uuid,
    message_id uuid,
    description text,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE public.project_files (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    file_path text NOT NULL COLLATE pg_catalog."C",
    file_name text NOT NULL,
    parent_path text,
    file_type text NOT NULL,
    language text,
    size_bytes integer NOT NULL,
    version integer NOT NULL,
    hash bytea,
    is_deleted boolean NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    mode smallint DEFAULT 0 NOT NULL,
    version_offset integer DEFAULT 0 NOT NULL,
    CONSTRAINT project_files_file_type_check CHECK ((file_type = ANY (ARRAY['file'::text, 'folder'::text])))
);
CREATE TABLE public.projects (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    description text,
    initial_prompt text NOT NULL,
    config text NOT NULL,
    status text NOT NULL,
    revision integer NOT NULL,
    session_count integer NOT NULL,
    message_count integer NOT NULL,
    file_count integer NOT NULL,
    change_count integer NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    last_accessed_at timestamp with time zone NOT NULL,
    last_session_at timestamp with time zone,
    last_activity_at timestamp with time zone NOT NULL,
    CONSTRAINT projects_status_check CHECK ((status = ANY (ARRAY['active'::text, 'archived'::text, 'deleted'::text])))
);
CREATE TABLE public.user_profiles (
    id uuid NOT NULL,
    email text,
    full_name text,
    avatar_url text,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    own_full_name boolean DEFAULT false NOT NULL,
    own_avatar_url boolean DEFAULT false NOT NULL,
    claims_at timestamp with time zone
);
CREATE VIEW public.file_change_history WITH (security_invoker='true') AS
 SELECT (OVERLAY((v.id)::text PLACING '8'::text FROM 15 FOR 1))::uuid AS id,
    v.project_id,
    e.session_id,
    e.message_id,
    v.file_id,
    v.change_type,
    v.id AS snapshot_id,
    v.version,
    v.revision,
    v.additions,
    v.deletions,
    e.created_at,
    v.path AS file_path,
    f.file_name,
    p.name AS project_name,
    m.content AS message_content,
    e.created_at AS change_timestamp,
    e.actor_id AS created_by_user_id,
    u.full_name AS created_by_user_name,
    e.description AS change_description
   FROM (((((public.file_snapshots v
     JOIN public.project_events e ON (((e.project_id = v.project_id) AND (e.revision = v.revision))))
     JOIN public.project_files f ON ((f.id = v.file_id)))
     JOIN public.projects p ON ((p.id = v.project_id)))
     LEFT JOIN public.chat_messages m ON ((m.id = e.message_id)))
     LEFT JOIN public.user_profiles u ON ((u.id = e.actor_id)));
CREATE VIEW public.file_version_history WITH (security_invoker='true') AS
 SELECT v.id AS snapshot_id,
    v.file_id,
    v.path AS file_path,
    f.file_name,
    v.project_id,
    p.name AS project_name,
    v.version,
    v.revision,
    e.description AS change_description,
    e.created_at,
    e.actor_id AS created_by_user_id,
    u.full_name AS created_by_user_name,
    s.title AS session_title,
    b.size AS content_size,
    (v.additions + v.deletions) AS diff_size
   FROM ((((((public.file_snapshots v
     JOIN public.project_events e ON (((e.project_id = v.project_id) AND (e.revision = v.revision))))
     JOIN public.project_files f ON ((f.id = v.file_id)))
     JOIN public.projects p ON ((p.id = v.project_id)))
     LEFT JOIN public.blobs b ON ((b.id = v.blob_id)))
     LEFT JOIN public.chat_sessions s ON ((s.id = e.session_id)))
     LEFT JOIN public.user_profiles u ON ((u.id = e.actor_id)));
CREATE TABLE public.growing_chunks (
    message_id uuid NOT NULL,
    start integer NOT NULL,
    project_id uuid NOT NULL,
    text text NOT NULL
);
CREATE TABLE public.growing_messages (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    length integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    last_append_at timestamp with time zone NOT NULL,
    context_data text NOT NULL,
    metadata text NOT NULL,
    idempotency_key text,
    CONSTRAINT growing_messages_role_check CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text, 'system'::text])))
);
CREATE TABLE public.project_collaborators (
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    invited_by uuid,
    invited_at timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone,
    CONSTRAINT project_collaborators_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'editor'::text, 'viewer'::text])))
);
CREATE TABLE public.project_former_collaborators (
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    left_at timestamp with time zone NOT NULL
);
CREATE TABLE public.project_invitations (
    project_id uuid NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    invited_by uuid,
    invited_at timestamp with time zone NOT NULL,
    CONSTRAINT project_invitations_role_check CHECK ((role = ANY (ARRAY['editor'::text, 'viewer'::text])))
);
CREATE VIEW public.pending_invitations WITH (security_barrier='true') AS
 SELECT c.project_id,
    p.name AS project_name,
    c.user_id,
    NULL::text AS email,
    c.role,
    c.invited_at,
    u.id AS inviter_id,
    u.full_name AS inviter_name,
    u.avatar_url AS inviter_avatar_url,
    u.created_at AS inviter_created_at,
    u.updated_at AS inviter_updated_at
   FROM ((( SELECT project_collaborators.project_id,
            project_collaborators.user_id,
            project_collaborators.role,
            project_collaborators.invited_by,
            project_collaborators.invited_at,
            project_collaborators.accepted_at
           FROM public.project_collaborators
          WHERE (project_collaborators.user_id = auth.uid())
        UNION ALL
         SELECT project_collaborators.project_id,
            project_collaborators.user_id,
            project_collaborators.role,
            project_collaborators.invited_by,
            project_collaborators.invited_at,
            project_collaborators.accepted_at
           FROM public.project_collaborators
          WHERE ((auth.uid() IS NULL) AND (NOT row_security_active(('public.project_collaborators'::regclass)::oid)))) c
     JOIN public.projects p ON ((p.id = c.project_id)))
     LEFT JOIN public.user_profiles u ON ((u.id = c.invited_by)))
  WHERE ((c.accepted_at IS NULL) AND (p.status <> 'deleted'::text))
UNION ALL
 SELECT i.project_id,
    p.name AS project_name,
    NULL::uuid AS user_id,
    i.email,
    i.role,
    i.invited_at,
    u.id AS inviter_id,
    u.full_name AS inviter_name,
    u.avatar_url AS inviter_avatar_url,
    u.created_at AS inviter_created_at,
    u.updated_at AS inviter_updated_at
   FROM ((( SELECT own.project_id,
            own.email,
            own.role,
            own.invited_by,
            own.invited_at
           FROM public.project_invitations own
          WHERE ((own.email = public.my_address()) AND (NOT (EXISTS ( SELECT
                   FROM public.project_former_collaborators f
                  WHERE ((f.project_id = own.project_id) AND (f.user_id = auth.uid()) AND (f.left_at >= own.invited_at))))))
        UNION ALL
         SELECT project_invitations.project_id,
            project_invitations.email,
            project_invitations.role,
            project_invitations.invited_by,
            project_invitations.invited_at
           FROM public.project_invitations
          WHERE ((auth.uid() IS NULL) AND (NOT row_security_active(('public.project_invitations'::regclass)::oid)))) i
     JOIN public.projects p ON ((p.id = i.project_id)))
     LEFT JOIN public.user_profiles u ON ((u.id = i.invited_by)))
  WHERE (p.status <> 'deleted'::text);
CREATE UNLOGGED TABLE public.presences (
    project_id uuid NOT NULL,
    user_id uuid NOT NULL,
    server_id uuid NOT NULL,
    since timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL
);
CREATE VIEW public.project_collaboration_overview WITH (security_invoker='true') AS
 SELECT p.id AS project_id,
    p.name AS project_name,
    p.user_id AS owner_id,
    u.full_name AS owner_name,
    ( SELECT count(*) AS count
           FROM public.project_collaborators c
          WHERE ((c.project_id = p.id) AND (c.accepted_at IS NOT NULL))) AS total_collaborators,
    p.session_count AS total_sessions,
    p.message_count AS total_messages,
    p.last_activity_at AS last_activity
   FROM (public.projects p
     JOIN public.user_profiles u ON ((u.id = p.user_id)))
  WHERE (p.status = 'active'::text);
CREATE TABLE public.project_members (
    user_id uuid NOT NULL,
    project_id uuid NOT NULL,
    role text NOT NULL
);
CREATE VIEW public.project_overview WITH (security_invoker='true') AS
 SELECT p.id,
    p.user_id,
    p.name,
    p.description,
    p.initial_prompt,
    p.config,
    p.status,
    p.revision,
    p.created_at,
    p.updated_at,
    p.last_accessed_at,
    p.session_count AS total_sessions,
    p.message_count AS total_messages,
    p.file_count AS total_files,
    p.change_count AS total_changes,
    p.last_session_at AS latest_session_date,
    p.last_activity_at AS last_activity
   FROM public.projects p
  WHERE (p.status <> 'deleted'::text);
CREATE TABLE public.project_snapshot_changes (
    project_id uuid NOT NULL,
    revision integer NOT NULL,
    snapshot_id uuid NOT NULL
);
CREATE TABLE public.project_snapshots (
    id uuid NOT NULL,
    project_id uuid NOT NULL,
    revision integer NOT NULL,
    created_revision integer NOT NULL,
    file_count integer NOT NULL,
    manifest_sha256 bytea NOT NULL,
    name text,
    description text,
    deleted_revision integer
);
CREATE TABLE public.project_undone_files (
    project_id uuid NOT NULL,
    revision integer NOT NULL,
    undone_revision integer NOT NULL,
    file_id uuid NOT NULL
);
CREATE TABLE public.project_undos (
    project_id uuid NOT NULL,
    revision integer NOT NULL,
    undone_revision integer NOT NULL
);
CREATE TABLE public.project_versions (
    project_id uuid NOT NULL,
    superseded_revision integer NOT NULL,
    name text NOT NULL,
    description text,
    initial_prompt text NOT NULL,
    config text NOT NULL,
    status text NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
CREATE VIEW public.recent_chat_activity WITH (security_invoker='true') AS
 SELECT m.id,
    m.user_id,
    u.full_name AS user_name,
    m.project_id,
    p.name AS project_name,
    m.session_id,
    m.role,
    substr(m.content, 1, 200) AS content,
    m."timestamp",
    m.is_checkpoint,
    m.context_data,
    m.metadata
   FROM ((public.chat_messages m
     JOIN public.projects p ON ((p.id = m.project_id)))
     JOIN public.user_profiles u ON ((u.id = m.user_id)))
  WHERE ((p.status = 'active'::text) AND (m.folded_revision IS NULL));
CREATE TABLE public.seaql_migrations (
    version character varying NOT NULL,
    applied_at bigint NOT NULL
);
CREATE VIEW public.user_activity_summary WITH (security_invoker='true') AS
 SELECT u.id AS user_id,
    u.full_name,
    COALESCE(t.total_projects, (0)::bigint) AS total_projects,
    COALESCE(t.total_sessions, (0)::bigint) AS total_sessions,
    COALESCE(t.total_messages, (0)::bigint) AS total_messages,
    COALESCE(t.total_files, (0)::bigint) AS total_files,
    COALESCE(t.total_changes, (0)::bigint) AS total_changes,
    t.last_activity
   FROM (public.user_profiles u
     LEFT JOIN ( SELECT p.user_id,
            count(*) AS total_projects,
            sum(p.session_count) AS total_sessions,
            sum(p.message_count) AS total_messages,
            sum(p.file_count) AS total_files,
            sum(p.change_count) AS total_changes,
            max(p.last_activity_at) AS last_activity
           FROM public.projects p
          WHERE (p.status <> 'deleted'::text)
          GROUP BY p.user_id) t ON ((t.user_id = u.id)));
CREATE TABLE public.user_preferences (
    user_id uuid NOT NULL,
    editor_theme text NOT NULL,
    auto_save_enabled boolean NOT NULL,
    notification_preferences text NOT NULL,
    ui_preferences text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL
);
INSERT INTO public.agent_configuration_versions VALUES ('01a22a4c-a7a2-7076-9142-74cd9ff3a98e', 1, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 22, NULL, false, true, 'Agent', NULL, 'deepgram', 'nova-2', '{}', 'elevenlabs', 'turbo', '{}', 'openai', 'gpt-4', '{}', 'silero', '{}', '{}', '[]', '[]', 'Be kind.', '{}', '[]', '[]', '{}');
INSERT INTO public.agent_configurations VALUES ('01a22a4c-a7a2-7076-9142-74cd9ff3a98e', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 'Agent', NULL, 'deepgram', 'nova-2', '{}', 'elevenlabs', 'turbo', '{}', 'openai', 'gpt-4', '{}', 'silero', '{}', '{}', '[]', '[]', 'Be kind.', '{}', '[]', '[]', '{}', true, 1, '2026-11-30 02:33:16.448249+00', '2026-11-30 02:33:16.448249+00');
INSERT INTO public.blobs VALUES (1, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '\x7f495c9a8fa28e14815aa9b39827ef611bea5815f0b9a4bfee7c016719fc5a29', 230, 1, 0, NULL, '\x28b52ffd20e6b50100e86c696e652030206f66207468652066696c650a313233343536373839310ca04078ff1eb023ebc3c8c2b4e7e9791e8fe7b5a7b55606');
INSERT INTO public.blobs VALUES (2, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '\xc9fb45a3fc7382099daad6f624400407b771a24e1f3775b6315eeb72c96fa3bf', 248, 2, 1, 1, '\x28b52ffd20f8cd0000907072696e7428226f6e65206d6f726522290a0100e3346580');
INSERT INTO public.blobs VALUES (3, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '\x87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7', 2, 0, 0, NULL, '\x610a');
INSERT INTO public.blobs VALUES (4, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '\x0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f', 2, 0, 0, NULL, '\x620a');
INSERT INTO public.blobs VALUES (5, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '\x4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865', 2, 0, 0, NULL, '\x310a');
INSERT INTO public.chat_folds VALUES ('01a22a4c-a625-72d6-98cc-c0c5b1bb4167', 12, NULL, '01a22a4c-a51f-7595-969f-9b9b9dcd056c');
INSERT INTO public.chat_folds VALUES ('01a22a4c-a62f-7282-bc09-f0180b6a03c6', 12, NULL, '01a22a4c-a51f-7595-969f-9b9b9dcd056c');
INSERT INTO public.chat_folds VALUES ('01a22a4c-a697-7222-a6ac-b3595c531dd1', 15, 16, '01a22a4c-a51f-7595-969f-9b9b9dcd056c');
INSERT INTO public.chat_messages VALUES ('01a22a4c-a56e-74ef-b0a0-66ca64989182', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 3, 'assistant', 'Hello, with a checkpoint 🎉', '2026-11-30 02:33:15.88481+00', true, '{}', '{"n":[1.5,2]}', NULL, NULL);
INSERT INTO public.chat_messages VALUES ('01a22a4c-a625-72d6-98cc-c0c5b1bb4167', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 10, 'assistant', 'A hidden message', '2026-11-30 02:33:16.061825+00', false, '{}', '{"n":[1.5,2]}', NULL, 12);
INSERT INTO public.chat_messages VALUES ('01a22a4c-a62f-7282-bc09-f0180b6a03c6', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 11, 'assistant', 'Another hidden message', '2026-11-30 02:33:16.078137+00', false, '{}', '{"n":[1.5,2]}', NULL, 12);
INSERT INTO public.chat_messages VALUES ('01a22a4c-a673-76b4-8a59-2d8cf0627c59', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 13, 'assistant', 'After the restore', '2026-11-30 02:33:16.146484+00', false, '{}', '{"n":[1.5,2]}', NULL, NULL);
INSERT INTO public.chat_messages VALUES ('01a22a4c-a697-7222-a6ac-b3595c531dd1', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 14, 'assistant', 'Hidden and shown again', '2026-11-30 02:33:16.182061+00', false, '{}', '{"n":[1.5,2]}', NULL, NULL);
INSERT INTO public.chat_sessions VALUES ('01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 2, NULL, '2026-11-30 02:33:15.838015+00', NULL, 5, true, '{}');
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a595-751c-9741-7e0a2cc866ba', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a595-751c-9741-7e090a50a8b8', 4, 5, 1, 12, 0, 1, 'create', 'src/main.py', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a5b2-7512-ae9c-b10fc0d51b78', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a595-751c-9741-7e090a50a8b8', 5, NULL, 2, 1, 0, 2, 'update', 'src/main.py', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a5c3-70cf-8d11-dce67c2dde94', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a5c3-70cf-8d11-dce5be876ac3', 6, NULL, 1, 0, 0, NULL, 'create', 'empty', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a5ed-7632-bf3a-90cf4f3e89e7', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a5ed-7632-bf3a-90ce1065009a', 7, 8, 1, 1, 0, 3, 'create', 'a.txt', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a5fa-76b1-9121-ea49fdd47fd3', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a5ed-7632-bf3a-90ce1065009a', 8, NULL, 2, 0, 0, 3, 'rename', 'c.txt', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a5ed-7632-bf3a-90d1de847086', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a5ed-7632-bf3a-90d0f8ced73d', 7, 9, 1, 1, 0, 4, 'create', 'b.txt', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a609-7081-9baa-6def27d208f3', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a5ed-7632-bf3a-90d0f8ced73d', 9, NULL, 2, 0, 1, NULL, 'delete', 'b.txt', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a729-74f6-810c-76b622e98b35', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a729-74f6-810c-76b5690a11b1', 18, 19, 1, 1, 0, 5, 'create', 'undone.py', 0, NULL, 0);
INSERT INTO public.file_snapshots VALUES ('01a22a4c-a747-7240-8442-bd9468d48712', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a729-74f6-810c-76b5690a11b1', 19, NULL, 2, 0, 1, NULL, 'delete', 'undone.py', 0, NULL, 0);
INSERT INTO public.growing_chunks VALUES ('01a22a4c-a891-72a4-9698-6640d83d254f', 0, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'So far');
INSERT INTO public.growing_chunks VALUES ('01a22a4c-a891-72a4-9698-6640d83d254f', 6, '01a22a4c-a51f-7595-969f-9b9b9dcd056c', ', so good');
INSERT INTO public.growing_messages VALUES ('01a22a4c-a891-72a4-9698-6640d83d254f', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 'assistant', 15, '2026-11-30 02:33:16.689492+00', '2026-11-30 02:33:16.805077+00', '{}', '{}', 'k1');
INSERT INTO public.project_collaborators VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'd0574c49-66d2-8c32-8619-3622feebc649', 'viewer', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '2026-11-30 02:33:16.554495+00', '2026-11-30 02:33:16.589799+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 1, 'PROJECT_CREATED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:15.807052+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 2, 'SESSION_STARTED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', NULL, NULL, '2026-11-30 02:33:15.838015+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 3, 'MESSAGE_ADDED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a56e-74ef-b0a0-66ca64989182', NULL, '2026-11-30 02:33:15.88481+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 4, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a56e-74ef-b0a0-66ca64989182', NULL, '2026-11-30 02:33:15.900498+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 5, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a56e-74ef-b0a0-66ca64989182', NULL, '2026-11-30 02:33:15.950054+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 6, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:15.964202+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 7, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', NULL, NULL, '2026-11-30 02:33:15.993024+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 8, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.019598+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 9, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.0332+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 10, 'MESSAGE_ADDED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a625-72d6-98cc-c0c5b1bb4167', NULL, '2026-11-30 02:33:16.061825+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 11, 'MESSAGE_ADDED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a62f-7282-bc09-f0180b6a03c6', NULL, '2026-11-30 02:33:16.078137+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 12, 'PROJECT_RESTORED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', NULL, NULL, '2026-11-30 02:33:16.087048+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 13, 'MESSAGE_ADDED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a673-76b4-8a59-2d8cf0627c59', NULL, '2026-11-30 02:33:16.146484+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 14, 'MESSAGE_ADDED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', '01a22a4c-a697-7222-a6ac-b3595c531dd1', NULL, '2026-11-30 02:33:16.182061+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 15, 'PROJECT_RESTORED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a546-729c-bb9f-ec3c85e15c9d', NULL, NULL, '2026-11-30 02:33:16.187779+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 16, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, 'Undo of revision 15', '2026-11-30 02:33:16.219541+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 17, 'PROJECT_UPDATED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.287326+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 18, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.318059+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 19, 'FILES_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, 'Undo of revision 18', '2026-11-30 02:33:16.341964+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 20, 'SNAPSHOT_CREATED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.381642+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 21, 'SNAPSHOT_UPDATED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.422195+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 22, 'AGENT_CONFIGURATION_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.448249+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 23, 'COLLABORATORS_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.465868+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 24, 'COLLABORATORS_CHANGED', '5ff860bf-1190-8596-8c71-88ab851db691', NULL, NULL, NULL, '2026-11-30 02:33:16.519848+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 25, 'COLLABORATORS_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.554495+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 26, 'COLLABORATORS_CHANGED', 'd0574c49-66d2-8c32-8619-3622feebc649', NULL, NULL, NULL, '2026-11-30 02:33:16.589799+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 27, 'COLLABORATORS_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.611437+00');
INSERT INTO public.project_events VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 28, 'COLLABORATORS_CHANGED', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', NULL, NULL, NULL, '2026-11-30 02:33:16.64215+00');
INSERT INTO public.project_files VALUES ('01a22a4c-a595-751c-9741-7e090a50a8b8', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'src/main.py', 'main.py', 'src', 'file', 'python', 248, 2, '\xc9fb45a3fc7382099daad6f624400407b771a24e1f3775b6315eeb72c96fa3bf', false, '2026-11-30 02:33:15.900498+00', '2026-11-30 02:33:15.950054+00', 0, 0);
INSERT INTO public.project_files VALUES ('01a22a4c-a5c3-70cf-8d11-dce5be876ac3', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'empty', 'empty', NULL, 'folder', NULL, 0, 1, NULL, false, '2026-11-30 02:33:15.964202+00', '2026-11-30 02:33:15.964202+00', 0, 0);
INSERT INTO public.project_files VALUES ('01a22a4c-a5ed-7632-bf3a-90ce1065009a', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'c.txt', 'c.txt', NULL, 'file', 'plaintext', 2, 2, '\x87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7', false, '2026-11-30 02:33:15.993024+00', '2026-11-30 02:33:16.019598+00', 0, 0);
INSERT INTO public.project_files VALUES ('01a22a4c-a5ed-7632-bf3a-90d0f8ced73d', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'b.txt', 'b.txt', NULL, 'file', 'plaintext', 0, 2, NULL, true, '2026-11-30 02:33:15.993024+00', '2026-11-30 02:33:16.0332+00', 0, 0);
INSERT INTO public.project_files VALUES ('01a22a4c-a729-74f6-810c-76b5690a11b1', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'undone.py', 'undone.py', NULL, 'file', 'python', 0, 2, NULL, true, '2026-11-30 02:33:16.318059+00', '2026-11-30 02:33:16.341964+00', 0, 0);
INSERT INTO public.project_former_collaborators VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', '5ff860bf-1190-8596-8c71-88ab851db691', '2026-11-30 02:33:16.611437+00');
INSERT INTO public.project_invitations VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'carol@example.com', 'viewer', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '2026-11-30 02:33:16.64215+00');
INSERT INTO public.project_members VALUES ('b5fc85e5-5755-8f9e-80d0-30a10ab4429b', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'owner');
INSERT INTO public.project_members VALUES ('d0574c49-66d2-8c32-8619-3622feebc649', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'viewer');
INSERT INTO public.project_snapshot_changes VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 21, '01a22a4c-a769-761d-844b-132b21902e44');
INSERT INTO public.project_snapshots VALUES ('01a22a4c-a56e-74ef-b0a0-66cb4e5c5333', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 5, 3, 1, '\x6f62444e77a94bcce3aea21dadc9470e3f31958e3bc5b991aae2f3ce6d2b3c5d', NULL, NULL, NULL);
INSERT INTO public.project_snapshots VALUES ('01a22a4c-a64e-73c5-a5ef-fed2a9e0f8fd', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 11, 12, 2, '\x7506295b6b553663e207a05595aaf04f23ea1a90e46f9a9fe3c4d3eda1cb42bb', 'Pre-restore backup', NULL, NULL);
INSERT INTO public.project_snapshots VALUES ('01a22a4c-a6a4-768f-9d30-91a95b4a0682', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 14, 15, 2, '\x7506295b6b553663e207a05595aaf04f23ea1a90e46f9a9fe3c4d3eda1cb42bb', 'Pre-restore backup', NULL, NULL);
INSERT INTO public.project_snapshots VALUES ('01a22a4c-a769-761d-844b-132b21902e44', '01a22a4c-a51f-7595-969f-9b9b9dcd056c', 20, 20, 2, '\x7506295b6b553663e207a05595aaf04f23ea1a90e46f9a9fe3c4d3eda1cb42bb', 'Named', NULL, NULL);
INSERT INTO public.project_undone_files VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 19, 18, '01a22a4c-a729-74f6-810c-76b5690a11b1');
INSERT INTO public.project_undos VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 16, 15);
INSERT INTO public.project_undos VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 19, 18);
INSERT INTO public.project_versions VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 17, 'From before', NULL, 'You are a helpful assistant.', '{"a":1.0}', 'active', '2026-11-30 02:33:15.807052+00');
INSERT INTO public.projects VALUES ('01a22a4c-a51f-7595-969f-9b9b9dcd056c', 'b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 'From before, renamed', NULL, 'You are a helpful assistant.', '{"a":1.0}', 'active', 28, 1, 5, 2, 9, '2026-11-30 02:33:15.807052+00', '2026-11-30 02:33:16.287326+00', '2026-11-30 02:33:15.807052+00', '2026-11-30 02:33:15.838015+00', '2026-11-30 02:33:16.64215+00');
INSERT INTO public.seaql_migrations VALUES ('m20261123_000001_tables', 1796005992);
INSERT INTO public.seaql_migrations VALUES ('m20261123_000002_views', 1796005992);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000003_row_security', 1796005992);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000004_pasts', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000005_heads', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000007_team', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000008_locks', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000009_streaming', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000011_histories', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000012_addresses', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261124_000013_presences', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261128_000014_clustered', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000015_second_lock', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000016_head_times', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000020_exact', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000030_exact_json', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000031_profile_sources', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000044_named_snapshots', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000045_undone_files', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000050_token_times', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000060_version_numbers', 1796005993);
INSERT INTO public.seaql_migrations VALUES ('m20261129_000061_ended_sessions', 1796005993);
INSERT INTO public.user_preferences VALUES ('5ff860bf-1190-8596-8c71-88ab851db691', 'vs-dark', true, '{}', '{}', '2026-11-30 02:33:15.561659+00', '2026-11-30 02:33:15.561659+00');
INSERT INTO public.user_preferences VALUES ('d0574c49-66d2-8c32-8619-3622feebc649', 'vs-dark', true, '{}', '{}', '2026-11-30 02:33:15.700803+00', '2026-11-30 02:33:15.700803+00');
INSERT INTO public.user_preferences VALUES ('b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 'light', true, '{}', '{}', '2026-11-30 02:33:15.194179+00', '2026-11-30 02:33:15.775234+00');
INSERT INTO public.user_profiles VALUES ('b5fc85e5-5755-8f9e-80d0-30a10ab4429b', 'ada@example.com', 'ada', NULL, '2026-11-30 02:33:15.194179+00', '2026-11-30 02:33:15.194179+00', false, false, NULL);
INSERT INTO public.user_profiles VALUES ('5ff860bf-1190-8596-8c71-88ab851db691', 'bob@example.com', 'bob', NULL, '2026-11-30 02:33:15.561659+00', '2026-11-30 02:33:15.561659+00', false, false, NULL);
INSERT INTO public.user_profiles VALUES ('d0574c49-66d2-8c32-8619-3622feebc649', 'eve@example.com', 'eve', NULL, '2026-11-30 02:33:15.700803+00', '2026-11-30 02:33:15.700803+00', false, false, NULL);
SELECT pg_catalog.setval('public.blobs_id_seq', 5, true);
ALTER TABLE ONLY public.agent_configuration_versions
    ADD CONSTRAINT agent_configuration_versions_pkey PRIMARY KEY (configuration_id, version);
ALTER TABLE ONLY public.agent_configurations
    ADD CONSTRAINT agent_configurations_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.chat_folds
    ADD CONSTRAINT chat_folds_pkey PRIMARY KEY (message_id, revision);
ALTER TABLE ONLY public.chat_messages
    ADD CONSTRAINT chat_messages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.chat_sessions
    ADD CONSTRAINT chat_sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.file_snapshots
    ADD CONSTRAINT file_snapshots_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.growing_chunks
    ADD CONSTRAINT growing_chunks_pkey PRIMARY KEY (message_id, start);
ALTER TABLE ONLY public.growing_messages
    ADD CONSTRAINT growing_messages_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.presences
    ADD CONSTRAINT presences_pkey PRIMARY KEY (project_id, user_id, server_id);
ALTER TABLE ONLY public.project_collaborators
    ADD CONSTRAINT project_collaborators_pkey PRIMARY KEY (project_id, user_id);
ALTER TABLE ONLY public.project_events
    ADD CONSTRAINT project_events_pkey PRIMARY KEY (project_id, revision);
ALTER TABLE ONLY public.project_files
    ADD CONSTRAINT project_files_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.project_former_collaborators
    ADD CONSTRAINT project_former_collaborators_pkey PRIMARY KEY (project_id, user_id);
ALTER TABLE ONLY public.project_invitations
    ADD CONSTRAINT project_invitations_pkey PRIMARY KEY (project_id, email);
ALTER TABLE ONLY public.project_members
    ADD CONSTRAINT project_members_pkey PRIMARY KEY (user_id, project_id);
ALTER TABLE ONLY public.project_snapshot_changes
    ADD CONSTRAINT project_snapshot_changes_pkey PRIMARY KEY (project_id, revision);
ALTER TABLE ONLY public.project_snapshots
    ADD CONSTRAINT project_snapshots_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.project_undone_files
    ADD CONSTRAINT project_undone_files_pkey PRIMARY KEY (project_id, revision, undone_revision, file_id);
ALTER TABLE ONLY public.project_undos
    ADD CONSTRAINT project_undos_pkey PRIMARY KEY (project_id, revision, undone_revision);
ALTER TABLE ONLY public.project_versions
    ADD CONSTRAINT project_versions_pkey PRIMARY KEY (project_id, superseded_revision);
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.seaql_migrations
    ADD CONSTRAINT seaql_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.user_preferences
    ADD CONSTRAINT user_preferences_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.user_profiles
    ADD CONSTRAINT user_profiles_pkey PRIMARY KEY (id);
CREATE INDEX agent_configuration_versions_revision ON public.agent_configuration_versions USING btree (project_id, revision);
CREATE UNIQUE INDEX agent_configurations_active ON public.agent_configurations USING btree (project_id) WHERE is_active;
CREATE INDEX agent_configurations_project ON public.agent_configurations USING btree (project_id);
CREATE UNIQUE INDEX blobs_sha256 ON public.blobs USING btree (project_id, sha256);
CREATE INDEX chat_folds_revision ON public.chat_folds USING btree (project_id, revision);
CREATE INDEX chat_folds_superseded ON public.chat_folds USING btree (project_id, superseded_revision) WHERE (superseded_revision IS NOT NULL);
CREATE INDEX chat_messages_folded ON public.chat_messages USING btree (project_id, folded_revision) WHERE (folded_revision IS NOT NULL);
CREATE UNIQUE INDEX chat_messages_idempotency ON public.chat_messages USING btree (session_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE UNIQUE INDEX chat_messages_session ON public.chat_messages USING btree (session_id, revision);
CREATE UNIQUE INDEX chat_sessions_active ON public.chat_sessions USING btree (project_id, user_id) WHERE is_active;
CREATE INDEX chat_sessions_project ON public.chat_sessions USING btree (project_id, revision);
CREATE INDEX file_snapshots_arrival ON public.file_snapshots USING btree (project_id, path) WHERE (change_type = ANY (ARRAY['create'::text, 'rename'::text]));
CREATE UNIQUE INDEX file_snapshots_open_path ON public.file_snapshots USING btree (project_id, path) WHERE ((superseded_revision IS NULL) AND (change_type <> 'delete'::text));
CREATE INDEX file_snapshots_revision ON public.file_snapshots USING btree (project_id, revision);
CREATE UNIQUE INDEX file_snapshots_version ON public.file_snapshots USING btree (file_id, version);
CREATE UNIQUE INDEX growing_messages_session ON public.growing_messages USING btree (session_id, idempotency_key);
CREATE INDEX project_collaborators_user ON public.project_collaborators USING btree (user_id);
CREATE INDEX project_events_message ON public.project_events USING btree (message_id) WHERE ((message_id IS NOT NULL) AND (kind = ANY (ARRAY['FILES_CHANGED'::text, 'PROJECT_RESTORED'::text])));
CREATE INDEX project_events_session ON public.project_events USING btree (session_id, revision) WHERE ((session_id IS NOT NULL) AND (kind = ANY (ARRAY['FILES_CHANGED'::text, 'PROJECT_RESTORED'::text])));
CREATE INDEX project_files_path ON public.project_files USING btree (project_id, file_path);
CREATE INDEX project_former_collaborators_user ON public.project_former_collaborators USING btree (user_id);
CREATE INDEX project_invitations_email ON public.project_invitations USING btree (email);
CREATE INDEX project_members_project ON public.project_members USING btree (project_id);
CREATE UNIQUE INDEX project_snapshots_created ON public.project_snapshots USING btree (project_id, created_revision);
CREATE INDEX projects_user ON public.projects USING btree (user_id, updated_at);
CREATE TRIGGER project_collaborators_guarded BEFORE UPDATE ON public.project_collaborators FOR EACH ROW EXECUTE FUNCTION public.guard_project_collaborators();
CREATE TRIGGER project_collaborators_kept AFTER INSERT OR DELETE OR UPDATE ON public.project_collaborators FOR EACH ROW EXECUTE FUNCTION public.keep_collaborator();
CREATE TRIGGER projects_guarded BEFORE UPDATE OF user_id, status ON public.projects FOR EACH ROW WHEN (((new.user_id <> old.user_id) OR ((new.status = 'deleted'::text) <> (old.status = 'deleted'::text)))) EXECUTE FUNCTION public.guard_projects();
CREATE TRIGGER projects_owned AFTER INSERT OR UPDATE OF user_id ON public.projects FOR EACH ROW EXECUTE FUNCTION public.keep_owner();
ALTER TABLE ONLY public.agent_configuration_versions
    ADD CONSTRAINT agent_configuration_versions_configuration_id_fkey FOREIGN KEY (configuration_id) REFERENCES public.agent_configurations(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.agent_configuration_versions
    ADD CONSTRAINT agent_configuration_versions_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.agent_configurations
    ADD CONSTRAINT agent_configurations_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.agent_configurations
    ADD CONSTRAINT agent_configurations_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_base_id_fkey FOREIGN KEY (base_id) REFERENCES public.blobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chat_folds
    ADD CONSTRAINT chat_folds_message_id_fkey FOREIGN KEY (message_id) REFERENCES public.chat_messages(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chat_folds
    ADD CONSTRAINT chat_folds_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chat_messages
    ADD CONSTRAINT chat_messages_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chat_messages
    ADD CONSTRAINT chat_messages_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.chat_sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chat_messages
    ADD CONSTRAINT chat_messages_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chat_sessions
    ADD CONSTRAINT chat_sessions_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.chat_sessions
    ADD CONSTRAINT chat_sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.file_snapshots
    ADD CONSTRAINT file_snapshots_blob_id_fkey FOREIGN KEY (blob_id) REFERENCES public.blobs(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.file_snapshots
    ADD CONSTRAINT file_snapshots_file_id_fkey FOREIGN KEY (file_id) REFERENCES public.project_files(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.file_snapshots
    ADD CONSTRAINT file_snapshots_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.growing_chunks
    ADD CONSTRAINT growing_chunks_message_id_fkey FOREIGN KEY (message_id) REFERENCES public.growing_messages(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.growing_chunks
    ADD CONSTRAINT growing_chunks_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.growing_messages
    ADD CONSTRAINT growing_messages_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.growing_messages
    ADD CONSTRAINT growing_messages_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.chat_sessions(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.growing_messages
    ADD CONSTRAINT growing_messages_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.presences
    ADD CONSTRAINT presences_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.presences
    ADD CONSTRAINT presences_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_collaborators
    ADD CONSTRAINT project_collaborators_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES public.user_profiles(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.project_collaborators
    ADD CONSTRAINT project_collaborators_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_collaborators
    ADD CONSTRAINT project_collaborators_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_events
    ADD CONSTRAINT project_events_actor_id_fkey FOREIGN KEY (actor_id) REFERENCES public.user_profiles(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.project_events
    ADD CONSTRAINT project_events_message_id_fkey FOREIGN KEY (message_id) REFERENCES public.chat_messages(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.project_events
    ADD CONSTRAINT project_events_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_events
    ADD CONSTRAINT project_events_session_id_fkey FOREIGN KEY (session_id) REFERENCES public.chat_sessions(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.project_files
    ADD CONSTRAINT project_files_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_former_collaborators
    ADD CONSTRAINT project_former_collaborators_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_former_collaborators
    ADD CONSTRAINT project_former_collaborators_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_invitations
    ADD CONSTRAINT project_invitations_invited_by_fkey FOREIGN KEY (invited_by) REFERENCES public.user_profiles(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.project_invitations
    ADD CONSTRAINT project_invitations_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_members
    ADD CONSTRAINT project_members_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_snapshot_changes
    ADD CONSTRAINT project_snapshot_changes_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_snapshot_changes
    ADD CONSTRAINT project_snapshot_changes_snapshot_id_fkey FOREIGN KEY (snapshot_id) REFERENCES public.project_snapshots(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_snapshots
    ADD CONSTRAINT project_snapshots_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_undone_files
    ADD CONSTRAINT project_undone_files_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_undos
    ADD CONSTRAINT project_undos_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.project_versions
    ADD CONSTRAINT project_versions_project_id_fkey FOREIGN KEY (project_id) REFERENCES public.projects(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.projects
    ADD CONSTRAINT projects_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.user_preferences
    ADD CONSTRAINT user_preferences_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.user_profiles(id) ON DELETE CASCADE;
CREATE POLICY add ON public.agent_configuration_versions FOR INSERT TO authenticated WITH CHECK (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND (EXISTS ( SELECT
   FROM public.agent_configurations c
  WHERE ((c.id = agent_configuration_versions.configuration_id) AND (c.project_id = agent_configuration_versions.project_id))))));
CREATE POLICY add ON public.agent_configurations FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND public.is_time(created_at) AND public.is_time(updated_at)));
CREATE POLICY add ON public.chat_folds FOR INSERT TO authenticated WITH CHECK (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND (EXISTS ( SELECT
   FROM public.chat_messages m
  WHERE ((m.id = chat_folds.message_id) AND (m.project_id = chat_folds.project_id) AND (m.user_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY add ON public.chat_sessions FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (message_count = 0) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND public.is_time(started_at) AND public.is_time(ended_at)));
CREATE POLICY add ON public.growing_chunks FOR INSERT TO authenticated WITH CHECK (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND (EXISTS ( SELECT
   FROM public.growing_messages g
  WHERE ((g.id = growing_chunks.message_id) AND (g.project_id = growing_chunks.project_id) AND (g.user_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY add ON public.growing_messages FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND public.is_time(started_at) AND public.is_time(last_append_at) AND (EXISTS ( SELECT
   FROM public.chat_sessions s
  WHERE ((s.id = growing_messages.session_id) AND (s.project_id = growing_messages.project_id) AND (s.user_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY add ON public.project_collaborators FOR INSERT TO authenticated WITH CHECK ((((accepted_at IS NULL) OR (user_id = ( SELECT auth.uid() AS uid))) AND (invited_by = ( SELECT auth.uid() AS uid)) AND (role <> 'owner'::text) AND public.is_time(invited_at) AND public.is_time(accepted_at) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))));
CREATE POLICY add ON public.project_former_collaborators FOR INSERT TO authenticated WITH CHECK ((((user_id = ( SELECT auth.uid() AS uid)) OR (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))) AND public.is_time(left_at) AND (EXISTS ( SELECT
   FROM public.project_collaborators c
  WHERE ((c.project_id = project_former_collaborators.project_id) AND (c.user_id = project_former_collaborators.user_id) AND (c.accepted_at IS NOT NULL))))));
CREATE POLICY add ON public.project_invitations FOR INSERT TO authenticated WITH CHECK (((invited_by = ( SELECT auth.uid() AS uid)) AND public.is_time(invited_at) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))));
CREATE POLICY add ON public.project_snapshot_changes FOR INSERT TO authenticated WITH CHECK (((EXISTS ( SELECT
   FROM public.project_snapshots s
  WHERE ((s.id = project_snapshot_changes.snapshot_id) AND (s.project_id = project_snapshot_changes.project_id)))) AND (EXISTS ( SELECT
   FROM (public.projects p
     JOIN public.project_events e ON (((e.project_id = p.id) AND (e.revision = p.revision))))
  WHERE ((p.id = project_snapshot_changes.project_id) AND (p.revision = project_snapshot_changes.revision) AND (e.kind = ANY (ARRAY['SNAPSHOT_UPDATED'::text, 'SNAPSHOT_DELETED'::text])) AND (e.actor_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY add ON public.project_snapshots FOR INSERT TO authenticated WITH CHECK ((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))));
CREATE POLICY add ON public.project_undone_files FOR INSERT TO authenticated WITH CHECK (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND ((undone_revision >= 1) AND (undone_revision <= (revision - 1))) AND (EXISTS ( SELECT
   FROM public.file_snapshots v
  WHERE ((v.project_id = project_undone_files.project_id) AND (v.revision = project_undone_files.undone_revision) AND (v.file_id = project_undone_files.file_id)))) AND (EXISTS ( SELECT
   FROM (public.projects p
     JOIN public.project_events e ON (((e.project_id = p.id) AND (e.revision = p.revision))))
  WHERE ((p.id = project_undone_files.project_id) AND (p.revision = project_undone_files.revision) AND (e.actor_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY add ON public.project_undos FOR INSERT TO authenticated WITH CHECK (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND ((undone_revision >= 1) AND (undone_revision <= (revision - 1))) AND (EXISTS ( SELECT
   FROM (public.projects p
     JOIN public.project_events e ON (((e.project_id = p.id) AND (e.revision = p.revision))))
  WHERE ((p.id = project_undos.project_id) AND (p.revision = project_undos.revision) AND (e.actor_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY add ON public.project_versions FOR INSERT TO authenticated WITH CHECK (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND public.is_time(updated_at)));
CREATE POLICY add ON public.user_preferences FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND public.is_time(created_at) AND public.is_time(updated_at)));
CREATE POLICY add ON public.user_profiles FOR INSERT TO authenticated WITH CHECK (((id = ( SELECT auth.uid() AS uid)) AND public.is_time(created_at) AND public.is_time(updated_at) AND public.is_time(claims_at)));
ALTER TABLE public.agent_configuration_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.agent_configurations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.blobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY change ON public.agent_configuration_versions FOR UPDATE TO authenticated USING (((superseded_revision IS NULL) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))))) WITH CHECK (true);
CREATE POLICY change ON public.agent_configurations FOR UPDATE TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text)))) WITH CHECK (public.is_time(updated_at));
CREATE POLICY change ON public.chat_folds FOR UPDATE TO authenticated USING (((superseded_revision IS NULL) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND (EXISTS ( SELECT
   FROM public.chat_messages m
  WHERE ((m.id = chat_folds.message_id) AND (m.user_id = ( SELECT auth.uid() AS uid))))))) WITH CHECK (true);
CREATE POLICY change ON public.chat_messages FOR UPDATE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text)))));
CREATE POLICY change ON public.chat_sessions FOR UPDATE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))))) WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))) AND public.is_time(ended_at)));
CREATE POLICY change ON public.growing_messages FOR UPDATE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))))) WITH CHECK (public.is_time(last_append_at));
CREATE POLICY change ON public.project_collaborators FOR UPDATE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text))))) WITH CHECK ((public.is_time(invited_at) AND public.is_time(accepted_at)));
CREATE POLICY change ON public.project_former_collaborators FOR UPDATE TO authenticated USING ((((user_id = ( SELECT auth.uid() AS uid)) OR (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))) AND (EXISTS ( SELECT
   FROM public.project_collaborators c
  WHERE ((c.project_id = project_former_collaborators.project_id) AND (c.user_id = project_former_collaborators.user_id) AND (c.accepted_at IS NOT NULL)))))) WITH CHECK (public.is_time(left_at));
CREATE POLICY change ON public.project_invitations FOR UPDATE TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))) WITH CHECK (((invited_by = ( SELECT auth.uid() AS uid)) AND public.is_time(invited_at) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))));
CREATE POLICY change ON public.project_snapshots FOR UPDATE TO authenticated USING (((deleted_revision IS NULL) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text))))) WITH CHECK (true);
CREATE POLICY change ON public.projects FOR UPDATE TO authenticated USING ((id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text)))) WITH CHECK (public.is_time(updated_at));
CREATE POLICY change ON public.user_preferences FOR UPDATE TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid))) WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND public.is_time(updated_at)));
CREATE POLICY change ON public.user_profiles FOR UPDATE TO authenticated USING ((id = ( SELECT auth.uid() AS uid))) WITH CHECK (((id = ( SELECT auth.uid() AS uid)) AND public.is_time(updated_at)));
ALTER TABLE public.chat_folds ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.chat_messages ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.chat_sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY end_others ON public.chat_sessions FOR UPDATE TO authenticated USING ((is_active AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text))))) WITH CHECK (((NOT is_active) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text))) AND public.is_time(ended_at)));
ALTER TABLE public.file_snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.growing_chunks ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.growing_messages ENABLE ROW LEVEL SECURITY;
CREATE POLICY join_by_address ON public.project_collaborators FOR INSERT TO authenticated WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND public.is_time(accepted_at) AND (EXISTS ( SELECT
   FROM public.project_invitations i
  WHERE ((i.project_id = project_collaborators.project_id) AND (i.email = ( SELECT public.my_address() AS my_address)) AND (i.role = project_collaborators.role) AND (NOT ((i.invited_by IS DISTINCT FROM project_collaborators.invited_by) OR (i.invited_at IS DISTINCT FROM project_collaborators.invited_at))))))));
ALTER TABLE public.presences ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_collaborators ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_files ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_former_collaborators ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_snapshot_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_undone_files ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_undos ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.project_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.projects ENABLE ROW LEVEL SECURITY;
CREATE POLICY read ON public.agent_configuration_versions FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.agent_configurations FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.blobs FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.chat_folds FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.chat_messages FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.chat_sessions FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.file_snapshots FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.growing_chunks FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.growing_messages FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.presences FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.project_collaborators FOR SELECT TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id IN ( SELECT m.project_id
   FROM public.project_members m))));
CREATE POLICY read ON public.project_events FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.project_files FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.project_former_collaborators FOR SELECT TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id IN ( SELECT m.project_id
   FROM public.project_members m))));
CREATE POLICY read ON public.project_invitations FOR SELECT TO authenticated USING (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text))) OR ((email = ( SELECT public.my_address() AS my_address)) AND (NOT (EXISTS ( SELECT
   FROM public.project_former_collaborators f
  WHERE ((f.project_id = project_invitations.project_id) AND (f.user_id = ( SELECT auth.uid() AS uid)) AND (f.left_at >= project_invitations.invited_at))))))));
CREATE POLICY read ON public.project_members FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));
CREATE POLICY read ON public.project_snapshot_changes FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.project_snapshots FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.project_undone_files FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.project_undos FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.project_versions FOR SELECT TO authenticated USING ((project_id IN ( SELECT m.project_id
   FROM public.project_members m)));
CREATE POLICY read ON public.projects FOR SELECT TO authenticated USING ((id = ANY (ARRAY( SELECT m.project_id
   FROM public.project_members m))));
CREATE POLICY read ON public.seaql_migrations FOR SELECT TO authenticated USING (true);
CREATE POLICY read ON public.user_preferences FOR SELECT TO authenticated USING ((user_id = ( SELECT auth.uid() AS uid)));
CREATE POLICY read ON public.user_profiles FOR SELECT TO authenticated USING (((id = ( SELECT auth.uid() AS uid)) OR (EXISTS ( SELECT
   FROM public.projects p
  WHERE (p.user_id = user_profiles.id))) OR (EXISTS ( SELECT
   FROM public.project_collaborators c
  WHERE (c.user_id = user_profiles.id))) OR (EXISTS ( SELECT
   FROM public.chat_sessions s
  WHERE (s.user_id = user_profiles.id))) OR (EXISTS ( SELECT
   FROM public.project_former_collaborators f
  WHERE (f.user_id = user_profiles.id)))));
CREATE POLICY remove ON public.growing_messages FOR DELETE TO authenticated USING ((((user_id = ( SELECT auth.uid() AS uid)) AND (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role <> 'viewer'::text)))) OR (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))));
CREATE POLICY remove ON public.project_collaborators FOR DELETE TO authenticated USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text)))));
CREATE POLICY remove ON public.project_invitations FOR DELETE TO authenticated USING (((project_id IN ( SELECT m.project_id
   FROM public.project_members m
  WHERE (m.role = 'owner'::text))) OR ((email = ( SELECT public.my_address() AS my_address)) AND (NOT (EXISTS ( SELECT
   FROM public.project_former_collaborators f
  WHERE ((f.project_id = project_invitations.project_id) AND (f.user_id = ( SELECT auth.uid() AS uid)) AND (f.left_at >= project_invitations.invited_at))))))));
ALTER TABLE public.seaql_migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_preferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_profiles ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA auth TO anon;
GRANT USAGE ON SCHEMA auth TO authenticated;
GRANT USAGE ON SCHEMA auth TO service_role;
GRANT USAGE ON SCHEMA public TO authenticated;
REVOKE ALL ON FUNCTION auth.uid() FROM PUBLIC;
GRANT ALL ON FUNCTION auth.uid() TO anon;
GRANT ALL ON FUNCTION auth.uid() TO authenticated;
GRANT ALL ON FUNCTION auth.uid() TO service_role;
REVOKE ALL ON FUNCTION public.add_message(project uuid, taken integer, at timestamp with time zone, new_id uuid, in_session uuid, role text, content text, is_checkpoint boolean, context_data text, metadata text, idempotency_key text, snapshot uuid, file_count integer, manifest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION public.add_message(project uuid, taken integer, at timestamp with time zone, new_id uuid, in_session uuid, role text, content text, is_checkpoint boolean, context_data text, metadata text, idempotency_key text, snapshot uuid, file_count integer, manifest bytea) TO authenticated;
REVOKE ALL ON FUNCTION public.check_writer(project uuid, in_session uuid, for_message uuid, goes_on boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.create_project(new_id uuid, name text, description text, initial_prompt text, config text, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.create_project(new_id uuid, name text, description text, initial_prompt text, config text, at timestamp with time zone) TO authenticated;
REVOKE ALL ON FUNCTION public.follow_token(said_email text, said_name text, said_avatar_url text, issued timestamp with time zone, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.follow_token(said_email text, said_name text, said_avatar_url text, issued timestamp with time zone, at timestamp with time zone) TO authenticated;
REVOKE ALL ON FUNCTION public.guard_project_collaborators() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.guard_projects() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.is_invited(project uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.is_time(at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.is_time(at timestamp with time zone) TO authenticated;
REVOKE ALL ON FUNCTION public.keep_collaborator() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.keep_member(project uuid, person uuid) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.keep_owner() FROM PUBLIC;
REVOKE ALL ON FUNCTION public.keep_presences(server uuid, wanted uuid[], people uuid[], begun timestamp with time zone[], at timestamp with time zone, stale timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.keep_presences(server uuid, wanted uuid[], people uuid[], begun timestamp with time zone[], at timestamp with time zone, stale timestamp with time zone) TO authenticated;
REVOKE ALL ON FUNCTION public.lock_project(target text, target_id uuid, purpose text, in_session uuid, for_message uuid, now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lock_project(target text, target_id uuid, purpose text, in_session uuid, for_message uuid, now timestamp with time zone) TO authenticated;
REVOKE ALL ON FUNCTION public.my_address() FROM PUBLIC;
GRANT ALL ON FUNCTION public.my_address() TO authenticated;
REVOKE ALL ON FUNCTION public.my_email() FROM PUBLIC;
GRANT ALL ON FUNCTION public.my_email() TO authenticated;
REVOKE ALL ON FUNCTION public.project_heads(wanted uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.project_heads(wanted uuid[]) TO authenticated;
REVOKE ALL ON FUNCTION public.record_revision(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.record_revision(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text) TO authenticated;
REVOKE ALL ON FUNCTION public.take_revision(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text, sessions integer, messages integer, files integer, changes integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION public.touch_project(project uuid, at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.touch_project(project uuid, at timestamp with time zone) TO authenticated;
REVOKE ALL ON FUNCTION public.write_files(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text, blob_hashes bytea[], sizes integer[], encodings smallint[], depths smallint[], bases bigint[], contents bytea[], files uuid[], paths text[], types text[], languages text[], versions integer[], hashes bytea[], changes uuid[], change_types text[], additions integer[], deletions integer[], snapshot uuid, file_count integer, manifest bytea, modes smallint[], restored integer[], offsets integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.write_files(project uuid, taken integer, at timestamp with time zone, kind text, in_session uuid, for_message uuid, description text, blob_hashes bytea[], sizes integer[], encodings smallint[], depths smallint[], bases bigint[], contents bytea[], files uuid[], paths text[], types text[], languages text[], versions integer[], hashes bytea[], changes uuid[], change_types text[], additions integer[], deletions integer[], snapshot uuid, file_count integer, manifest bytea, modes smallint[], restored integer[], offsets integer[]) TO authenticated;
GRANT SELECT,INSERT ON TABLE public.agent_configuration_versions TO authenticated;
GRANT UPDATE(superseded_revision) ON TABLE public.agent_configuration_versions TO authenticated;
GRANT SELECT,INSERT ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(config_name) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(description) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(stt_provider) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(stt_model) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(stt_config) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(tts_provider) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(tts_model) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(tts_config) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(llm_provider) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(llm_model) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(llm_config) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(vad_provider) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(vad_config) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(turn_detection_config) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(function_calls) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(tool_integrations) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(agent_instructions) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(agent_personality) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(required_env_vars) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(dependencies) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(source_files) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(is_active) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(version) ON TABLE public.agent_configurations TO authenticated;
GRANT UPDATE(updated_at) ON TABLE public.agent_configurations TO authenticated;
GRANT SELECT ON TABLE public.blobs TO authenticated;
GRANT SELECT,INSERT ON TABLE public.chat_folds TO authenticated;
GRANT UPDATE(superseded_revision) ON TABLE public.chat_folds TO authenticated;
GRANT SELECT ON TABLE public.chat_messages TO authenticated;
GRANT UPDATE(folded_revision) ON TABLE public.chat_messages TO authenticated;
GRANT SELECT,INSERT ON TABLE public.chat_sessions TO authenticated;
GRANT UPDATE(ended_at) ON TABLE public.chat_sessions TO authenticated;
GRANT UPDATE(is_active) ON TABLE public.chat_sessions TO authenticated;
GRANT SELECT ON TABLE public.file_snapshots TO authenticated;
GRANT SELECT ON TABLE public.project_events TO authenticated;
GRANT SELECT ON TABLE public.project_files TO authenticated;
GRANT SELECT ON TABLE public.projects TO authenticated;
GRANT UPDATE(user_id) ON TABLE public.projects TO authenticated;
GRANT UPDATE(name) ON TABLE public.projects TO authenticated;
GRANT UPDATE(description) ON TABLE public.projects TO authenticated;
GRANT UPDATE(initial_prompt) ON TABLE public.projects TO authenticated;
GRANT UPDATE(config) ON TABLE public.projects TO authenticated;
GRANT UPDATE(status) ON TABLE public.projects TO authenticated;
GRANT UPDATE(updated_at) ON TABLE public.projects TO authenticated;
GRANT INSERT ON TABLE public.user_profiles TO authenticated;
GRANT SELECT(id) ON TABLE public.user_profiles TO authenticated;
GRANT SELECT(full_name),UPDATE(full_name) ON TABLE public.user_profiles TO authenticated;
GRANT SELECT(avatar_url),UPDATE(avatar_url) ON TABLE public.user_profiles TO authenticated;
GRANT SELECT(created_at) ON TABLE public.user_profiles TO authenticated;
GRANT SELECT(updated_at),UPDATE(updated_at) ON TABLE public.user_profiles TO authenticated;
GRANT SELECT(own_full_name),UPDATE(own_full_name) ON TABLE public.user_profiles TO authenticated;
GRANT SELECT(own_avatar_url),UPDATE(own_avatar_url) ON TABLE public.user_profiles TO authenticated;
GRANT SELECT ON TABLE public.file_change_history TO authenticated;
GRANT SELECT ON TABLE public.file_version_history TO authenticated;
GRANT SELECT,INSERT ON TABLE public.growing_chunks TO authenticated;
GRANT SELECT,INSERT,DELETE ON TABLE public.growing_messages TO authenticated;
GRANT UPDATE(length) ON TABLE public.growing_messages TO authenticated;
GRANT UPDATE(last_append_at) ON TABLE public.growing_messages TO authenticated;
GRANT SELECT,INSERT,DELETE ON TABLE public.project_collaborators TO authenticated;
GRANT UPDATE(role) ON TABLE public.project_collaborators TO authenticated;
GRANT UPDATE(invited_by) ON TABLE public.project_collaborators TO authenticated;
GRANT UPDATE(invited_at) ON TABLE public.project_collaborators TO authenticated;
GRANT UPDATE(accepted_at) ON TABLE public.project_collaborators TO authenticated;
GRANT SELECT,INSERT ON TABLE public.project_former_collaborators TO authenticated;
GRANT UPDATE(left_at) ON TABLE public.project_former_collaborators TO authenticated;
GRANT SELECT,INSERT,DELETE ON TABLE public.project_invitations TO authenticated;
GRANT UPDATE(role) ON TABLE public.project_invitations TO authenticated;
GRANT UPDATE(invited_by) ON TABLE public.project_invitations TO authenticated;
GRANT UPDATE(invited_at) ON TABLE public.project_invitations TO authenticated;
GRANT SELECT ON TABLE public.pending_invitations TO authenticated;
GRANT SELECT ON TABLE public.presences TO authenticated;
GRANT SELECT ON TABLE public.project_collaboration_overview TO authenticated;
GRANT SELECT ON TABLE public.project_members TO authenticated;
GRANT SELECT ON TABLE public.project_overview TO authenticated;
GRANT SELECT,INSERT ON TABLE public.project_snapshot_changes TO authenticated;
GRANT SELECT,INSERT ON TABLE public.project_snapshots TO authenticated;
GRANT UPDATE(name) ON TABLE public.project_snapshots TO authenticated;
GRANT UPDATE(description) ON TABLE public.project_snapshots TO authenticated;
GRANT UPDATE(deleted_revision) ON TABLE public.project_snapshots TO authenticated;
GRANT SELECT,INSERT ON TABLE public.project_undone_files TO authenticated;
GRANT SELECT,INSERT ON TABLE public.project_undos TO authenticated;
GRANT SELECT,INSERT ON TABLE public.project_versions TO authenticated;
GRANT SELECT ON TABLE public.recent_chat_activity TO authenticated;
GRANT SELECT ON TABLE public.seaql_migrations TO authenticated;
GRANT SELECT ON TABLE public.user_activity_summary TO authenticated;
GRANT SELECT,INSERT ON TABLE public.user_preferences TO authenticated;
GRANT UPDATE(editor_theme) ON TABLE public.user_preferences TO authenticated;
GRANT UPDATE(auto_save_enabled) ON TABLE public.user_preferences TO authenticated;
GRANT UPDATE(notification_preferences) ON TABLE public.user_preferences TO authenticated;
GRANT UPDATE(ui_preferences) ON TABLE public.user_preferences TO authenticated;
GRANT UPDATE(updated_at) ON TABLE public.user_preferences TO authenticated;
