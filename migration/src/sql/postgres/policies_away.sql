-- Drops the policies, triggers and functions that policies.sql and writes.sql replace, or that are not needed any more.

DO $$
DECLARE
    policy record;
BEGIN
    FOR policy IN SELECT tablename, policyname FROM pg_policies WHERE schemaname = current_schema() AND policyname IN (
        'add', 'change', 'end_others', 'join_by_address', 'note_team', 'read', 'read_former', 'remove') AND tablename IN (
        'agent_configuration_versions', 'agent_configurations', 'blobs', 'chat_folds', 'chat_messages',
        'chat_sessions', 'file_snapshots', 'growing_chunks', 'growing_messages', 'presences', 'project_collaborators',
        'project_events', 'project_files', 'project_former_collaborators', 'project_invitations', 'project_snapshots',
        'project_versions', 'projects', 'user_preferences', 'user_profiles')
    LOOP
        EXECUTE format('DROP POLICY %I ON {schema}.%I', policy.policyname, policy.tablename);
    END LOOP;
END $$;

DROP TRIGGER revisions_guarded ON projects;
DROP TRIGGER project_events_guarded ON project_events;
DROP TRIGGER blobs_guarded ON blobs;
DROP TRIGGER chat_messages_counted ON chat_messages;
DROP FUNCTION guard_revisions(), guard_project_events(), guard_blobs(), count_chat_messages(), my_projects(text[]),
    take_team_revision(uuid, boolean, timestamptz);
