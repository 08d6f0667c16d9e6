-- Drops the policies, triggers and functions of the last development version, and renames constraints with an older name.

DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT tablename, policyname FROM pg_policies
        WHERE schemaname = current_schema()
          AND policyname IN ('add', 'change', 'end_others', 'join_by_address', 'read', 'remove')
          AND tablename IN ('agent_configuration_versions', 'agent_configurations', 'blobs', 'chat_folds', 'chat_messages',
              'chat_sessions', 'file_snapshots', 'growing_chunks', 'growing_messages', 'presences', 'project_collaborators',
              'project_events', 'project_files', 'project_former_collaborators', 'project_invitations', 'project_members',
              'project_snapshot_changes', 'project_snapshots', 'project_undone_files', 'project_undos', 'project_versions',
              'projects', 'seaql_migrations', 'user_preferences', 'user_profiles')
    LOOP
        EXECUTE format('DROP POLICY %I ON {schema}.%I', found.policyname, found.tablename);
    END LOOP;
    FOR found IN SELECT conrelid::regclass AS relation, conname AS name,
            replace(replace(conname, 'growing_', 'streaming_'), 'chat_folds_', 'hidden_messages_') AS new_name
        FROM pg_constraint
        WHERE conrelid IN ('growing_messages'::regclass, 'growing_chunks'::regclass, 'chat_folds'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', found.relation, found.name, found.new_name);
    END LOOP;
END $$;

DROP TRIGGER projects_guarded ON projects;
DROP TRIGGER projects_owned ON projects;
DROP TRIGGER project_collaborators_guarded ON project_collaborators;
DROP TRIGGER project_collaborators_kept ON project_collaborators;

DROP FUNCTION my_email, my_address, is_invited, follow_token, is_time, guard_projects, guard_project_collaborators, keep_member,
    keep_owner, keep_collaborator, lock_project, take_revision, check_writer, create_project, record_revision, add_message,
    write_files, touch_project, project_heads, keep_presences;
