-- Access is unchanged. PostgreSQL assumes that `= ANY (ARRAY(…))` selects few rows, so it read and sorted a whole
-- history for a page of it. It assumes that a sub-select selects half of the rows, and evaluates it by a hash look-up,
-- however many projects the caller has.
ALTER POLICY read ON chat_sessions USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON chat_messages USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON project_files USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON blobs USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON file_snapshots USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON project_snapshots USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON project_events USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
