-- Reverts second_lock: restores the former policies, triggers, functions and grants. {schema} is the tables' own
-- schema, quoted.

DROP FUNCTION lock_project, create_project, record_revision, add_message, write_files, check_writer,
    take_revision, is_invited;

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

DROP TRIGGER projects_owned ON projects;
DROP TRIGGER project_collaborators_kept ON project_collaborators;
DROP TABLE project_members;
DROP FUNCTION keep_owner(), keep_collaborator(), keep_member(uuid, uuid), is_time(timestamptz);
DROP TRIGGER projects_guarded ON projects;

CREATE OR REPLACE FUNCTION my_projects(roles text[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 20
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    me uuid := auth.uid();
BEGIN
    RETURN QUERY
        SELECT p.id FROM {schema}.projects p WHERE p.user_id = me
        UNION ALL
        SELECT c.project_id FROM {schema}.project_collaborators c
        WHERE c.user_id = me AND c.accepted_at IS NOT NULL AND c.role = ANY (roles);
END $function$;

CREATE OR REPLACE FUNCTION guard_revisions()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.project_events e WHERE e.project_id = NEW.id AND e.revision = NEW.revision) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a revision has an event';
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION guard_project_events()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.projects p WHERE p.id = NEW.project_id AND p.revision = NEW.revision
                   AND p.last_activity_at = NEW.created_at) THEN
        RAISE insufficient_privilege USING MESSAGE = 'an event is of its project''s present revision, and of its time';
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION guard_blobs()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    IF NOT EXISTS (SELECT FROM {schema}.blobs b WHERE b.id = NEW.base_id AND b.project_id = NEW.project_id) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a blob is based on one of its own project';
    END IF;
    RETURN NULL;
END $function$;

CREATE OR REPLACE FUNCTION count_chat_messages()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO {schema}, 'pg_temp'
AS $function$ BEGIN
             IF TG_OP = 'INSERT' THEN
                 UPDATE chat_sessions SET message_count = message_count + 1 WHERE id = NEW.session_id;
             ELSE
                 UPDATE chat_sessions SET message_count = message_count - 1 WHERE id = OLD.session_id;
             END IF;
             RETURN NULL;
         END $function$;

CREATE OR REPLACE FUNCTION take_team_revision(project uuid, as_invited boolean, at timestamp with time zone)
 RETURNS TABLE(id uuid, revision integer, status text, last_activity_at timestamp with time zone, role text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
    me uuid := auth.uid();
    mine text := {schema}.my_address();
BEGIN
    RETURN QUERY
        UPDATE {schema}.projects p SET revision = p.revision + 1,
            last_activity_at = greatest(p.last_activity_at, least(at, clock_timestamp() + interval '1 minute'))
        WHERE p.id = project AND CASE WHEN as_invited
            THEN p.status <> 'deleted' AND (
                EXISTS (SELECT FROM {schema}.project_collaborators c
                        WHERE c.project_id = p.id AND c.user_id = me AND c.accepted_at IS NULL)
                OR p.id NOT IN (SELECT {schema}.my_projects('{owner,editor,viewer}'))
                AND EXISTS (SELECT FROM {schema}.project_invitations i WHERE i.project_id = p.id AND i.email = mine
                            AND NOT EXISTS (SELECT FROM {schema}.project_former_collaborators f
                                            WHERE f.project_id = p.id AND f.user_id = me AND f.left_at >= i.invited_at)))
            ELSE p.id IN (SELECT {schema}.my_projects('{owner,editor,viewer}')) END
        RETURNING p.id, p.revision, p.status, p.last_activity_at, CASE WHEN p.user_id = me THEN 'owner' ELSE coalesce(
            (SELECT c.role FROM {schema}.project_collaborators c WHERE c.project_id = p.id AND c.user_id = me), 'viewer') END;
END $function$;

CREATE OR REPLACE FUNCTION guard_projects()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    IF NOT row_security_active(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.revision NOT IN (OLD.revision, OLD.revision + 1) THEN
        RAISE insufficient_privilege USING MESSAGE = 'revisions have no gaps';
    END IF;
    IF (NEW.user_id <> OLD.user_id OR (NEW.status = 'deleted') <> (OLD.status = 'deleted'))
        AND OLD.id NOT IN (SELECT {schema}.my_projects('{owner}')) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only its owner deletes a project, brings it back or hands it over';
    END IF;
    RETURN NEW;
END $function$;

CREATE OR REPLACE FUNCTION guard_project_collaborators()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    IF NOT row_security_active(TG_RELID) THEN
        RETURN NEW;
    END IF;
    IF NEW.accepted_at IS DISTINCT FROM OLD.accepted_at AND OLD.user_id <> auth.uid() THEN
        RAISE insufficient_privilege USING MESSAGE = 'nobody accepts an invitation for somebody else';
    END IF;
    IF (NEW.role, NEW.invited_by, NEW.invited_at) IS DISTINCT FROM (OLD.role, OLD.invited_by, OLD.invited_at) AND (
        OLD.project_id NOT IN (SELECT {schema}.my_projects('{owner}'))
        OR NEW.role = 'owner' AND OLD.role <> 'owner'
        OR NEW.invited_by IS DISTINCT FROM OLD.invited_by AND NEW.invited_by IS DISTINCT FROM auth.uid()) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only the owner of a project says as what somebody is in it, and in no other''s name';
    END IF;
    RETURN NEW;
END $function$;

CREATE OR REPLACE FUNCTION touch_project(project uuid, at timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    UPDATE {schema}.projects SET last_accessed_at = at
    WHERE id = project AND id IN (SELECT {schema}.my_projects('{owner,editor,viewer}'));
    RETURN FOUND;
END $function$;

CREATE TRIGGER chat_messages_counted AFTER INSERT OR DELETE ON chat_messages FOR EACH ROW EXECUTE FUNCTION count_chat_messages();
CREATE TRIGGER blobs_guarded AFTER INSERT ON blobs FOR EACH ROW WHEN (((new.base_id IS NOT NULL) AND (auth.uid() IS NOT NULL))) EXECUTE FUNCTION guard_blobs();
CREATE TRIGGER projects_guarded BEFORE UPDATE ON projects FOR EACH ROW WHEN (((new.user_id <> old.user_id) OR ((new.status = 'deleted'::text) <> (old.status = 'deleted'::text)) OR ((new.revision <> old.revision) AND (new.revision <> (old.revision + 1))))) EXECUTE FUNCTION guard_projects();
CREATE TRIGGER project_events_guarded AFTER INSERT ON project_events FOR EACH ROW WHEN ((auth.uid() IS NOT NULL)) EXECUTE FUNCTION guard_project_events();
CREATE CONSTRAINT TRIGGER revisions_guarded AFTER UPDATE OF revision ON projects DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (((new.revision <> old.revision) AND (auth.uid() IS NOT NULL))) EXECUTE FUNCTION guard_revisions();

REVOKE ALL ON FUNCTION my_projects(text[]), take_team_revision(uuid, boolean, timestamptz), count_chat_messages(), guard_blobs(),
    guard_project_events(), guard_revisions() FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION my_projects(text[]), take_team_revision(uuid, boolean, timestamptz) TO authenticated;

GRANT INSERT ON projects TO authenticated;
GRANT UPDATE (user_id, name, description, initial_prompt, config, status, revision, session_count, message_count, file_count,
    change_count, updated_at, last_accessed_at, last_session_at, last_activity_at) ON projects TO authenticated;
GRANT INSERT ON chat_messages, project_files, file_snapshots, project_events TO authenticated;
GRANT UPDATE (file_path, file_name, parent_path, language, size_bytes, version, hash, is_deleted, updated_at)
    ON project_files TO authenticated;
GRANT INSERT (project_id, sha256, size, encoding, depth, base_id, data) ON blobs TO authenticated;
GRANT UPDATE (superseded_revision) ON file_snapshots TO authenticated;
GRANT UPDATE (revision, file_count, manifest_sha256) ON project_snapshots TO authenticated;

CREATE POLICY add ON agent_configuration_versions FOR INSERT TO authenticated
    WITH CHECK (((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))) AND (EXISTS ( SELECT FROM agent_configurations c WHERE ((c.id = agent_configuration_versions.configuration_id) AND (c.project_id = agent_configuration_versions.project_id))))));
CREATE POLICY change ON agent_configuration_versions FOR UPDATE TO authenticated
    USING (((superseded_revision IS NULL) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))))
    WITH CHECK (true);
CREATE POLICY read ON agent_configuration_versions FOR SELECT TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY add ON agent_configurations FOR INSERT TO authenticated
    WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))));
CREATE POLICY change ON agent_configurations FOR UPDATE TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY read ON agent_configurations FOR SELECT TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY add ON blobs FOR INSERT TO authenticated
    WITH CHECK ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY read ON blobs FOR SELECT TO authenticated
    USING ((project_id IN ( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)));
CREATE POLICY add ON chat_folds FOR INSERT TO authenticated
    WITH CHECK (((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))) AND (EXISTS ( SELECT FROM chat_messages m WHERE ((m.id = chat_folds.message_id) AND (m.project_id = chat_folds.project_id) AND (m.user_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY change ON chat_folds FOR UPDATE TO authenticated
    USING (((superseded_revision IS NULL) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))) AND (EXISTS ( SELECT FROM chat_messages m WHERE ((m.id = chat_folds.message_id) AND (m.user_id = ( SELECT auth.uid() AS uid)))))))
    WITH CHECK (true);
CREATE POLICY read ON chat_folds FOR SELECT TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY add ON chat_messages FOR INSERT TO authenticated
    WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))) AND (EXISTS ( SELECT FROM chat_sessions s WHERE ((s.id = chat_messages.session_id) AND (s.project_id = chat_messages.project_id) AND (s.user_id = ( SELECT auth.uid() AS uid)) AND s.is_active)))));
CREATE POLICY change ON chat_messages FOR UPDATE TO authenticated
    USING (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))));
CREATE POLICY read ON chat_messages FOR SELECT TO authenticated
    USING ((project_id IN ( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)));
CREATE POLICY add ON chat_sessions FOR INSERT TO authenticated
    WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))));
CREATE POLICY change ON chat_sessions FOR UPDATE TO authenticated
    USING (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))));
CREATE POLICY end_others ON chat_sessions FOR UPDATE TO authenticated
    USING ((is_active AND (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))))
    WITH CHECK (((NOT is_active) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))));
CREATE POLICY read ON chat_sessions FOR SELECT TO authenticated
    USING ((project_id IN ( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)));
CREATE POLICY add ON file_snapshots FOR INSERT TO authenticated
    WITH CHECK (((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))) AND (EXISTS ( SELECT FROM project_files f WHERE ((f.id = file_snapshots.file_id) AND (f.project_id = file_snapshots.project_id)))) AND ((blob_id IS NULL) OR (EXISTS ( SELECT FROM blobs b WHERE ((b.id = file_snapshots.blob_id) AND (b.project_id = file_snapshots.project_id)))))));
CREATE POLICY change ON file_snapshots FOR UPDATE TO authenticated
    USING (((superseded_revision IS NULL) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))))
    WITH CHECK (true);
CREATE POLICY read ON file_snapshots FOR SELECT TO authenticated
    USING ((project_id IN ( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)));
CREATE POLICY add ON growing_chunks FOR INSERT TO authenticated
    WITH CHECK (((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))) AND (EXISTS ( SELECT FROM growing_messages g WHERE ((g.id = growing_chunks.message_id) AND (g.project_id = growing_chunks.project_id) AND (g.user_id = ( SELECT auth.uid() AS uid)))))));
CREATE POLICY read ON growing_chunks FOR SELECT TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY add ON growing_messages FOR INSERT TO authenticated
    WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))) AND (EXISTS ( SELECT FROM chat_sessions s WHERE ((s.id = growing_messages.session_id) AND (s.project_id = growing_messages.project_id) AND (s.user_id = ( SELECT auth.uid() AS uid)) AND s.is_active)))));
CREATE POLICY change ON growing_messages FOR UPDATE TO authenticated
    USING (((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))));
CREATE POLICY read ON growing_messages FOR SELECT TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY remove ON growing_messages FOR DELETE TO authenticated
    USING ((((user_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))) OR (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))));
CREATE POLICY read ON presences FOR SELECT TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY add ON project_collaborators FOR INSERT TO authenticated
    WITH CHECK ((((accepted_at IS NULL) OR (user_id = ( SELECT auth.uid() AS uid))) AND (invited_by = ( SELECT auth.uid() AS uid)) AND (role <> 'owner'::text) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))));
CREATE POLICY change ON project_collaborators FOR UPDATE TO authenticated
    USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))));
CREATE POLICY join_by_address ON project_collaborators FOR INSERT TO authenticated
    WITH CHECK (((user_id = ( SELECT auth.uid() AS uid)) AND (EXISTS ( SELECT FROM project_invitations i WHERE ((i.project_id = project_collaborators.project_id) AND (i.email = ( SELECT my_address() AS my_address)) AND (i.role = project_collaborators.role) AND (NOT ((i.invited_by IS DISTINCT FROM project_collaborators.invited_by) OR (i.invited_at IS DISTINCT FROM project_collaborators.invited_at))))))));
CREATE POLICY read ON project_collaborators FOR SELECT TO authenticated
    USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)))));
CREATE POLICY remove ON project_collaborators FOR DELETE TO authenticated
    USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))));
CREATE POLICY add ON project_events FOR INSERT TO authenticated
    WITH CHECK (((actor_id = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects)))));
CREATE POLICY note_team ON project_events FOR INSERT TO authenticated
    WITH CHECK (((kind = 'COLLABORATORS_CHANGED'::text) AND (actor_id = ( SELECT auth.uid() AS uid)) AND ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))) OR (EXISTS ( SELECT FROM pending_invitations i WHERE (i.project_id = project_events.project_id))))));
CREATE POLICY read ON project_events FOR SELECT TO authenticated
    USING ((project_id IN ( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)));
CREATE POLICY add ON project_files FOR INSERT TO authenticated
    WITH CHECK ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY change ON project_files FOR UPDATE TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY read ON project_files FOR SELECT TO authenticated
    USING ((project_id IN ( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)));
CREATE POLICY add ON project_former_collaborators FOR INSERT TO authenticated
    WITH CHECK ((((user_id = ( SELECT auth.uid() AS uid)) OR (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))) AND (EXISTS ( SELECT FROM project_collaborators c WHERE ((c.project_id = project_former_collaborators.project_id) AND (c.user_id = project_former_collaborators.user_id) AND (c.accepted_at IS NOT NULL))))));
CREATE POLICY change ON project_former_collaborators FOR UPDATE TO authenticated
    USING ((((user_id = ( SELECT auth.uid() AS uid)) OR (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))) AND (EXISTS ( SELECT FROM project_collaborators c WHERE ((c.project_id = project_former_collaborators.project_id) AND (c.user_id = project_former_collaborators.user_id) AND (c.accepted_at IS NOT NULL))))));
CREATE POLICY read ON project_former_collaborators FOR SELECT TO authenticated
    USING (((user_id = ( SELECT auth.uid() AS uid)) OR (project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)))));
CREATE POLICY add ON project_invitations FOR INSERT TO authenticated
    WITH CHECK (((invited_by = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))));
CREATE POLICY change ON project_invitations FOR UPDATE TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects))))
    WITH CHECK (((invited_by = ( SELECT auth.uid() AS uid)) AND (project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects)))));
CREATE POLICY read ON project_invitations FOR SELECT TO authenticated
    USING (((project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects))) OR ((email = ( SELECT my_address() AS my_address)) AND (NOT (EXISTS ( SELECT FROM project_former_collaborators f WHERE ((f.project_id = project_invitations.project_id) AND (f.user_id = ( SELECT auth.uid() AS uid)) AND (f.left_at >= project_invitations.invited_at))))))));
CREATE POLICY remove ON project_invitations FOR DELETE TO authenticated
    USING (((project_id = ANY (ARRAY( SELECT my_projects('{owner}'::text[]) AS my_projects))) OR ((email = ( SELECT my_address() AS my_address)) AND (NOT (EXISTS ( SELECT FROM project_former_collaborators f WHERE ((f.project_id = project_invitations.project_id) AND (f.user_id = ( SELECT auth.uid() AS uid)) AND (f.left_at >= project_invitations.invited_at))))))));
CREATE POLICY add ON project_snapshots FOR INSERT TO authenticated
    WITH CHECK ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY change ON project_snapshots FOR UPDATE TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY read ON project_snapshots FOR SELECT TO authenticated
    USING ((project_id IN ( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects)));
CREATE POLICY add ON project_versions FOR INSERT TO authenticated
    WITH CHECK ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY read ON project_versions FOR SELECT TO authenticated
    USING ((project_id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY add ON projects FOR INSERT TO authenticated
    WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));
CREATE POLICY change ON projects FOR UPDATE TO authenticated
    USING ((id = ANY (ARRAY( SELECT my_projects('{owner,editor}'::text[]) AS my_projects))));
CREATE POLICY read ON projects FOR SELECT TO authenticated
    USING ((id = ANY (ARRAY( SELECT my_projects('{owner,editor,viewer}'::text[]) AS my_projects))));
CREATE POLICY add ON user_preferences FOR INSERT TO authenticated
    WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));
CREATE POLICY change ON user_preferences FOR UPDATE TO authenticated
    USING ((user_id = ( SELECT auth.uid() AS uid)))
    WITH CHECK ((user_id = ( SELECT auth.uid() AS uid)));
CREATE POLICY read ON user_preferences FOR SELECT TO authenticated
    USING ((user_id = ( SELECT auth.uid() AS uid)));
CREATE POLICY add ON user_profiles FOR INSERT TO authenticated
    WITH CHECK ((id = ( SELECT auth.uid() AS uid)));
CREATE POLICY change ON user_profiles FOR UPDATE TO authenticated
    USING ((id = ( SELECT auth.uid() AS uid)))
    WITH CHECK ((id = ( SELECT auth.uid() AS uid)));
CREATE POLICY read ON user_profiles FOR SELECT TO authenticated
    USING (((id = ( SELECT auth.uid() AS uid)) OR (EXISTS ( SELECT FROM projects p WHERE (p.user_id = user_profiles.id))) OR (EXISTS ( SELECT FROM project_collaborators c WHERE (c.user_id = user_profiles.id))) OR (EXISTS ( SELECT FROM chat_sessions s WHERE (s.user_id = user_profiles.id)))));
CREATE POLICY read_former ON user_profiles FOR SELECT TO authenticated
    USING ((EXISTS ( SELECT FROM project_former_collaborators f WHERE (f.user_id = user_profiles.id))));
