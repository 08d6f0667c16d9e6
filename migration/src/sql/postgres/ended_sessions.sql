-- Its author writes in a session that has ended, too; `goes_on` no longer matters.
CREATE OR REPLACE FUNCTION check_writer(project uuid, in_session uuid, for_message uuid, goes_on boolean) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
    me uuid := auth.uid();
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.project_members m
                   WHERE m.user_id = me AND m.project_id = project AND m.role <> 'viewer') THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner and editors write in a project';
    END IF;
    IF in_session IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_sessions s
        WHERE s.id = in_session AND s.project_id = project AND s.user_id = me) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its author writes in a session';
    END IF;
    IF for_message IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.chat_messages m WHERE m.id = for_message AND m.session_id = in_session) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a message is of its session';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION add_message(project uuid, taken integer, at timestamptz, new_id uuid, in_session uuid, role text, content text,
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
        RAISE insufficient_privilege USING MESSAGE = 'only its author writes in a session';
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

ALTER POLICY add ON growing_messages WITH CHECK (
    user_id = (SELECT auth.uid())
    AND project_id IN (SELECT m.project_id FROM {schema}.project_members m WHERE m.role <> 'viewer')
    AND is_time(started_at) AND is_time(last_append_at)
    AND EXISTS (SELECT FROM chat_sessions s WHERE s.id = session_id AND s.project_id = growing_messages.project_id
                AND s.user_id = (SELECT auth.uid())));
