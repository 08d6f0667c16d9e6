-- A file's mode belongs to its versions: 0 plain, 1 executable, 2 symbolic link.
ALTER TABLE project_files ADD COLUMN mode smallint NOT NULL DEFAULT 0;
ALTER TABLE file_snapshots ADD COLUMN mode smallint NOT NULL DEFAULT 0;

-- The version of the same file whose lines this version restores; null for a new version.
ALTER TABLE file_snapshots ADD COLUMN restored_version integer;

-- The revisions that a revision undoes.
CREATE TABLE project_undos (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    undone_revision integer NOT NULL,
    PRIMARY KEY (project_id, revision, undone_revision)
){clustered};
