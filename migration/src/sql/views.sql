-- All views. {change_id} is the id of a code change: its version's with UUID version 8 (see api/src/model/ids.rs).

CREATE VIEW project_overview {invoker} AS
SELECT p.id, p.user_id, p.name, p.description, p.initial_prompt, p.config, p.status, p.revision,
       p.created_at, p.updated_at, p.last_accessed_at,
       p.session_count AS total_sessions,
       p.message_count AS total_messages,
       p.file_count AS total_files,
       p.change_count AS total_changes,
       p.last_session_at AS latest_session_date,
       p.last_activity_at AS last_activity
FROM projects p
WHERE p.status <> 'deleted';

CREATE VIEW recent_chat_activity {invoker} AS
SELECT m.id, m.user_id, u.full_name AS user_name, m.project_id, p.name AS project_name, m.session_id, m.role,
       substr(m.content, 1, 200) AS content, m.timestamp, m.is_checkpoint, m.context_data, m.metadata
FROM chat_messages m
JOIN projects p ON p.id = m.project_id
JOIN user_profiles u ON u.id = m.user_id
WHERE p.status = 'active' AND m.hidden_revision IS NULL;

CREATE VIEW file_change_history {invoker} AS
SELECT {change_id} AS id, v.project_id, e.session_id, e.message_id, v.file_id, v.change_type,
       v.id AS snapshot_id, v.version, v.revision, v.additions, v.deletions, e.created_at,
       v.path AS file_path, f.file_name, p.name AS project_name, m.content AS message_content,
       e.created_at AS change_timestamp, e.actor_id AS created_by_user_id, u.full_name AS created_by_user_name,
       e.description AS change_description
FROM file_snapshots v
JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision
JOIN project_files f ON f.id = v.file_id
JOIN projects p ON p.id = v.project_id
LEFT JOIN chat_messages m ON m.id = e.message_id
LEFT JOIN user_profiles u ON u.id = e.actor_id;

CREATE VIEW user_activity_summary {invoker} AS
SELECT u.id AS user_id, u.full_name,
       coalesce(t.total_projects, 0) AS total_projects,
       coalesce(t.total_sessions, 0) AS total_sessions,
       coalesce(t.total_messages, 0) AS total_messages,
       coalesce(t.total_files, 0) AS total_files,
       coalesce(t.total_changes, 0) AS total_changes,
       t.last_activity
FROM user_profiles u
LEFT JOIN (
    SELECT p.user_id, count(*) AS total_projects, sum(p.session_count) AS total_sessions,
           sum(p.message_count) AS total_messages, sum(p.file_count) AS total_files,
           sum(p.change_count) AS total_changes, max(p.last_activity_at) AS last_activity
    FROM projects p WHERE p.status <> 'deleted' GROUP BY p.user_id
) t ON t.user_id = u.id;

CREATE VIEW project_collaboration_overview {invoker} AS
SELECT p.id AS project_id, p.name AS project_name, p.user_id AS owner_id, u.full_name AS owner_name,
       (SELECT count(*) FROM project_collaborators c WHERE c.project_id = p.id AND c.accepted_at IS NOT NULL) AS total_collaborators,
       p.session_count AS total_sessions, p.message_count AS total_messages, p.last_activity_at AS last_activity
FROM projects p
JOIN user_profiles u ON u.id = p.user_id
WHERE p.status = 'active';

-- content_size is in bytes; diff_size counts the lines that the version added and removed.
CREATE VIEW file_version_history {invoker} AS
SELECT v.id AS snapshot_id, v.file_id, v.path AS file_path, f.file_name, v.project_id, p.name AS project_name,
       v.version, v.revision, e.description AS change_description, e.created_at, e.actor_id AS created_by_user_id,
       u.full_name AS created_by_user_name, s.title AS session_title, b.size AS content_size,
       v.additions + v.deletions AS diff_size
FROM file_snapshots v
JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision
JOIN project_files f ON f.id = v.file_id
JOIN projects p ON p.id = v.project_id
LEFT JOIN blobs b ON b.id = v.blob_id
LEFT JOIN chat_sessions s ON s.id = e.session_id
LEFT JOIN user_profiles u ON u.id = e.actor_id;

-- What an invited user can see before answering. It reads with its owner's rights, since the user is not a member yet.
-- On PostgreSQL it is restricted to the caller's own invitations; on SQLite queries must restrict it.
CREATE VIEW pending_invitations {barrier} AS
SELECT c.project_id, p.name AS project_name, c.user_id, CAST(NULL AS text) AS email, c.role, c.invited_at,
       u.id AS inviter_id, u.full_name AS inviter_name, u.avatar_url AS inviter_avatar_url,
       u.created_at AS inviter_created_at, u.updated_at AS inviter_updated_at
FROM {invited_users} c
JOIN projects p ON p.id = c.project_id
LEFT JOIN user_profiles u ON u.id = c.invited_by
WHERE c.accepted_at IS NULL AND p.status <> 'deleted'
UNION ALL
SELECT i.project_id, p.name, {no_uuid}, i.email, i.role, i.invited_at,
       u.id, u.full_name, u.avatar_url, u.created_at, u.updated_at
FROM {invited_addresses} i
JOIN projects p ON p.id = i.project_id
LEFT JOIN user_profiles u ON u.id = i.invited_by
WHERE p.status <> 'deleted';
