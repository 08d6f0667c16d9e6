-- Only its author appends to a streaming message, in an active session; text that was appended does not change. Owners
-- can remove messages that others have abandoned, together with their chunks.
GRANT SELECT, INSERT, UPDATE (length, last_append_at), DELETE ON growing_messages TO authenticated;
CREATE POLICY read ON growing_messages FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON growing_messages FOR INSERT TO authenticated WITH CHECK (
    user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}')))
    AND EXISTS (SELECT FROM chat_sessions s WHERE s.id = session_id AND s.project_id = growing_messages.project_id
                AND s.user_id = (SELECT auth.uid()) AND s.is_active));
CREATE POLICY change ON growing_messages FOR UPDATE TO authenticated USING (
    user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));
CREATE POLICY remove ON growing_messages FOR DELETE TO authenticated USING (
    (user_id = (SELECT auth.uid()) AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))))
    OR project_id = ANY (ARRAY(SELECT my_projects('{owner}'))));

GRANT SELECT, INSERT ON growing_chunks TO authenticated;
CREATE POLICY read ON growing_chunks FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON growing_chunks FOR INSERT TO authenticated WITH CHECK (
    project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}')))
    AND EXISTS (SELECT FROM growing_messages g WHERE g.id = message_id AND g.project_id = growing_chunks.project_id
                AND g.user_id = (SELECT auth.uid())));
