-- `write_files` also stores the offset of each version's number (0 by default). It is planned once per connection instead of
-- at each call: planning took longer than execution. The plan must fit every project and tables that have grown since.
-- Therefore each row is looked up by its key: no condition lets the planner choose to read all contents or all versions of
-- a project.
DROP FUNCTION write_files(uuid, integer, timestamptz, text, uuid, uuid, text, bytea[], integer[], smallint[], smallint[], bigint[],
    bytea[], uuid[], text[], text[], text[], integer[], bytea[], uuid[], text[], integer[], integer[], uuid, integer, bytea, smallint[],
    integer[]);
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
    PERFORM {schema}.check_writer(project, in_session, for_message, kind <> 'PROJECT_RESTORED');
    IF kind NOT IN ('FILES_CHANGED', 'PROJECT_RESTORED') THEN
        RAISE insufficient_privilege USING MESSAGE = 'a revision of another kind has a function of its own';
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
            RAISE insufficient_privilege USING MESSAGE = 'a content is based on one of its own project';
        END IF;
    END IF;
    IF cardinality(files) > 0 THEN
        UPDATE {schema}.file_snapshots v SET superseded_revision = taken
        FROM unnest(files, versions) AS n (file, version)
        WHERE v.file_id = n.file AND v.version = n.version - 1 AND v.superseded_revision IS NULL
          AND (v.project_id = project) IS TRUE;
        GET DIAGNOSTICS touched = ROW_COUNT;
        IF touched <> (SELECT count(*) FROM unnest(versions) AS n WHERE n > 1) THEN
            RAISE insufficient_privilege USING MESSAGE = 'a version follows the one before, which ends once';
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
            RAISE insufficient_privilege USING MESSAGE = 'a file is of its own project';
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

REVOKE ALL ON FUNCTION write_files FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION write_files TO authenticated;

-- Functions that only other functions call run as their callers, which run as the tables' owner with a pinned search
-- path. Setting and resetting another search path took nearly half of the time of a call. No role has a privilege to
-- call these functions.
ALTER FUNCTION {schema}.check_writer SECURITY INVOKER RESET ALL;
ALTER FUNCTION {schema}.take_revision SECURITY INVOKER RESET ALL;
