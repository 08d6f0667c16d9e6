-- Only the newest revision can be recorded as an undo, only by its author, and only for files that it changes.
GRANT SELECT, INSERT ON project_undone_files TO authenticated;
CREATE POLICY read ON project_undone_files FOR SELECT TO authenticated
    USING (project_id IN (SELECT m.project_id FROM project_members m));
CREATE POLICY add ON project_undone_files FOR INSERT TO authenticated WITH CHECK (
    project_id IN (SELECT m.project_id FROM project_members m WHERE m.role <> 'viewer')
    AND undone_revision BETWEEN 1 AND revision - 1
    AND EXISTS (SELECT FROM file_snapshots v WHERE v.project_id = project_undone_files.project_id
                AND v.revision = undone_revision AND v.file_id = project_undone_files.file_id)
    AND EXISTS (SELECT FROM projects p JOIN project_events e ON e.project_id = p.id AND e.revision = p.revision
                WHERE p.id = project_undone_files.project_id AND p.revision = project_undone_files.revision
                AND e.actor_id = (SELECT auth.uid())));
