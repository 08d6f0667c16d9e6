ALTER POLICY read ON chat_sessions USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
ALTER POLICY read ON chat_messages USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
ALTER POLICY read ON project_files USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
ALTER POLICY read ON blobs USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
ALTER POLICY read ON file_snapshots USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
ALTER POLICY read ON project_snapshots USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
ALTER POLICY read ON project_events USING (project_id = ANY (ARRAY(SELECT my_projects('{owner,editor,viewer}'))));
