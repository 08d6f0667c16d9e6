-- The files for which a revision undoes the change of another. An undo from before this table undid all files that both
-- revisions changed.
CREATE TABLE project_undone_files (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    undone_revision integer NOT NULL,
    file_id {uuid} NOT NULL,
    PRIMARY KEY (project_id, revision, undone_revision, file_id)
){clustered};
INSERT INTO project_undone_files (project_id, revision, undone_revision, file_id)
SELECT u.project_id, u.revision, u.undone_revision, v.file_id FROM project_undos u
JOIN file_snapshots v ON v.project_id = u.project_id AND v.revision = u.revision
JOIN file_snapshots w ON w.project_id = u.project_id AND w.revision = u.undone_revision AND w.file_id = v.file_id;
