-- Reverts row_security.sql. The roles are kept, since they belong to the cluster. Privileges that others had before are
-- not restored.

DO $$
DECLARE
    policy record;
BEGIN
    FOR policy IN SELECT tablename, policyname FROM pg_policies WHERE schemaname = current_schema() AND tablename IN (
        'user_profiles', 'user_preferences', 'projects', 'project_collaborators', 'agent_configurations', 'chat_sessions',
        'chat_messages', 'project_files', 'blobs', 'file_snapshots', 'project_snapshots', 'project_events',
        'seaql_migrations')
    LOOP
        EXECUTE format('DROP POLICY %I ON {schema}.%I', policy.policyname, policy.tablename);
        EXECUTE format('ALTER TABLE {schema}.%I DISABLE ROW LEVEL SECURITY', policy.tablename);
        EXECUTE format('REVOKE ALL ON {schema}.%I FROM authenticated', policy.tablename);
    END LOOP;
END $$;

REVOKE ALL ON project_overview, recent_chat_activity, file_change_history, user_activity_summary,
    project_collaboration_overview, file_version_history FROM authenticated;

DROP TRIGGER projects_guarded ON projects;
DROP TRIGGER project_collaborators_guarded ON project_collaborators;
DROP FUNCTION guard_projects(), guard_project_collaborators(), touch_project(uuid, timestamptz), my_email(),
    my_projects(text[]);
ALTER FUNCTION count_chat_messages() SECURITY INVOKER RESET ALL;

DO $$
BEGIN
    IF obj_description(to_regprocedure('auth.uid()'), 'pg_proc') = 'made by antiphon' THEN
        DROP FUNCTION auth.uid();
    END IF;
    IF obj_description(to_regnamespace('auth'), 'pg_namespace') = 'made by antiphon' THEN
        DROP SCHEMA auth;
    END IF;
EXCEPTION
    -- By now something else uses them.
    WHEN dependent_objects_still_exist THEN NULL;
END $$;
