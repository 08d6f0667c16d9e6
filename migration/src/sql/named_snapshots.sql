-- The revision that deleted a snapshot. The row is kept: a checkpoint still follows the writes for its message.
ALTER TABLE project_snapshots ADD COLUMN deleted_revision integer;

-- The snapshot that a revision renamed or deleted.
CREATE TABLE project_snapshot_changes (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    snapshot_id {uuid} NOT NULL REFERENCES project_snapshots (id) ON DELETE CASCADE,
    PRIMARY KEY (project_id, revision)
){clustered};
