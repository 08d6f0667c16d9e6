-- Only the author of a session hides its messages, and an entry ends once.
GRANT SELECT, INSERT, UPDATE (superseded_revision) ON chat_folds TO authenticated;
CREATE POLICY read ON chat_folds FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON chat_folds FOR INSERT TO authenticated WITH CHECK (
    project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}')))
    AND EXISTS (SELECT FROM chat_messages m WHERE m.id = message_id AND m.project_id = chat_folds.project_id
                AND m.user_id = (SELECT auth.uid())));
CREATE POLICY change ON chat_folds FOR UPDATE TO authenticated
    USING (superseded_revision IS NULL AND project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}')))
           AND EXISTS (SELECT FROM chat_messages m WHERE m.id = message_id AND m.user_id = (SELECT auth.uid())))
    WITH CHECK (true);

-- Past states of a project cannot change.
GRANT SELECT, INSERT ON project_versions TO authenticated;
CREATE POLICY read ON project_versions FOR SELECT TO authenticated
    USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
CREATE POLICY add ON project_versions FOR INSERT TO authenticated
    WITH CHECK (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor}'))));
