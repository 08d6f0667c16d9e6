-- Members who can write can rename and delete snapshots. Deleted snapshots cannot change.
GRANT UPDATE (name, description, deleted_revision) ON project_snapshots TO authenticated;
CREATE POLICY change ON project_snapshots FOR UPDATE TO authenticated
    USING (deleted_revision IS NULL AND project_id IN (SELECT m.project_id FROM project_members m WHERE m.role <> 'viewer'))
    WITH CHECK (true);

-- Only the newest revision can be recorded as a change of a snapshot, and only by its author.
GRANT SELECT, INSERT ON project_snapshot_changes TO authenticated;
CREATE POLICY read ON project_snapshot_changes FOR SELECT TO authenticated
    USING (project_id IN (SELECT m.project_id FROM project_members m));
CREATE POLICY add ON project_snapshot_changes FOR INSERT TO authenticated WITH CHECK (
    EXISTS (SELECT FROM project_snapshots s WHERE s.id = snapshot_id AND s.project_id = project_snapshot_changes.project_id)
    AND EXISTS (SELECT FROM projects p JOIN project_events e ON e.project_id = p.id AND e.revision = p.revision
                WHERE p.id = project_snapshot_changes.project_id AND p.revision = project_snapshot_changes.revision
                  AND e.kind IN ('SNAPSHOT_UPDATED', 'SNAPSHOT_DELETED') AND e.actor_id = (SELECT auth.uid())));
