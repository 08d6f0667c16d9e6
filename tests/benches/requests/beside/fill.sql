-- Fills the bench's tables that derive from the service's, on both databases.
INSERT INTO bench_projects SELECT id, user_id, revision, message_count, updated_at, last_activity_at FROM projects;
INSERT INTO bench_collaborators SELECT project_id, user_id, role FROM project_collaborators WHERE accepted_at IS NOT NULL;
INSERT INTO bench_sessions SELECT id, project_id, user_id, message_count, is_active FROM chat_sessions;
INSERT INTO bench_messages SELECT id, project_id, session_id, user_id, revision, role, content, timestamp, is_checkpoint,
    context_data, metadata FROM chat_messages;
INSERT INTO bench_events SELECT project_id, revision, kind, actor_id, session_id, message_id, created_at FROM project_events;
