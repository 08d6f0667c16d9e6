-- Who reads these is decided as before. But `= ANY (ARRAY(…))` counts as keeping few of the rows, so PostgreSQL read and sorted a
-- whole history for a page of it; a sub-select counts as keeping half of them, and is looked up by its hash, however many
-- projects somebody has.
ALTER POLICY read ON chat_sessions USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON chat_messages USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON project_files USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON blobs USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON file_snapshots USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON project_snapshots USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
ALTER POLICY read ON project_events USING (project_id IN (SELECT my_projects('{owner,editor,viewer}')));
