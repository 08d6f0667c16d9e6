-- Drops what the tables and views leave behind. The roles are kept, since they belong to the cluster. Privileges that others
-- had before are not restored.

DROP FUNCTION my_email, my_address, is_invited, update_profile_from_token, is_time, check_project_change, check_collaborator_change, update_membership,
    update_owner_membership, update_collaborator_membership, lock_project, take_revision, check_writer, create_project, record_revision, add_message,
    write_files, touch_project, latest_revisions, renew_presences;

DROP POLICY read ON seaql_migrations;
ALTER TABLE seaql_migrations DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON seaql_migrations FROM authenticated;

DO $$
BEGIN
    IF obj_description(to_regprocedure('auth.uid()'), 'pg_proc') = 'made by antiphon' THEN
        DROP FUNCTION auth.uid();
    END IF;
    IF obj_description(to_regnamespace('auth'), 'pg_namespace') = 'made by antiphon' THEN
        DROP SCHEMA auth;
    END IF;
EXCEPTION
    -- Something else uses them.
    WHEN dependent_objects_still_exist THEN NULL;
END $$;
