-- The number of a version that clients see is `version + version_offset`: it never repeats at one path, also if several files are
-- there one after the other. `version` counts the versions of one file without gaps.
ALTER TABLE project_files ADD COLUMN version_offset integer NOT NULL DEFAULT 0;
ALTER TABLE file_snapshots ADD COLUMN version_offset integer NOT NULL DEFAULT 0;

-- Finds the files that were ever at a path: each has a version that brought it there.
CREATE INDEX file_snapshots_arrival ON file_snapshots (project_id, path) WHERE change_type IN ('create', 'rename');
