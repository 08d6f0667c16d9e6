-- What users did in a project: a segment sums up 256 revisions by quarter of an hour, user and file, so that insights do
-- not scan a history (api/src/model/activity.rs). Segment n covers the revisions after 256 (n - 1) up to 256 n. History
-- does not change, so every server computes the same segment, and a missing one can be computed at any time. A project's
-- segments have no gaps.
CREATE TABLE project_activity (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    segment integer NOT NULL,
    first_at {timestamp} NOT NULL,
    last_at {timestamp} NOT NULL,
    cells {bytes} NOT NULL,
    PRIMARY KEY (project_id, segment)
);
CREATE INDEX project_activity_time ON project_activity (project_id, last_at, first_at);
