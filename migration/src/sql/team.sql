-- Invitations of e-mail addresses. They name no user, so that an invitation does not reveal whether an account exists.
-- A user who proves to have the address turns it into a row of project_collaborators. Addresses are trimmed and in
-- lower case.
CREATE TABLE project_invitations (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('editor', 'viewer')),
    invited_by {uuid} REFERENCES user_profiles (id) ON DELETE SET NULL,
    invited_at {timestamp} NOT NULL,
    PRIMARY KEY (project_id, email)
){clustered};
CREATE INDEX project_invitations_email ON project_invitations (email);

-- Former members of a project; their work still shows their names.
CREATE TABLE project_former_collaborators (
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id {uuid} NOT NULL REFERENCES user_profiles (id) ON DELETE CASCADE,
    left_at {timestamp} NOT NULL,
    PRIMARY KEY (project_id, user_id)
){clustered};
CREATE INDEX project_former_collaborators_user ON project_former_collaborators (user_id);

-- What an invited user can see before answering. It reads with its owner's rights, since the user is not a member yet,
-- so queries must restrict it to the caller's own rows.
CREATE VIEW pending_invitations AS
SELECT c.project_id, p.name AS project_name, c.user_id, CAST(NULL AS text) AS email, c.role, c.invited_at,
       u.id AS inviter_id, u.full_name AS inviter_name, u.avatar_url AS inviter_avatar_url,
       u.created_at AS inviter_created_at, u.updated_at AS inviter_updated_at
FROM project_collaborators c
JOIN projects p ON p.id = c.project_id
LEFT JOIN user_profiles u ON u.id = c.invited_by
WHERE c.accepted_at IS NULL AND p.status <> 'deleted'
UNION ALL
SELECT i.project_id, p.name, {no_uuid}, i.email, i.role, i.invited_at,
       u.id, u.full_name, u.avatar_url, u.created_at, u.updated_at
FROM project_invitations i
JOIN projects p ON p.id = i.project_id
LEFT JOIN user_profiles u ON u.id = i.invited_by
WHERE p.status <> 'deleted';

-- All versions of all agent configurations, including the present ones, valid from `revision` until
-- `superseded_revision`; agent_configurations has the identity and the present state.
CREATE TABLE agent_configuration_versions (
    configuration_id {uuid} NOT NULL REFERENCES agent_configurations (id) ON DELETE CASCADE,
    version integer NOT NULL,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    superseded_revision integer,
    is_deletion boolean NOT NULL,
    is_active boolean NOT NULL,
    config_name text NOT NULL,
    description text,
    stt_provider text NOT NULL,
    stt_model text NOT NULL,
    stt_config {json} NOT NULL,
    tts_provider text NOT NULL,
    tts_model text NOT NULL,
    tts_config {json} NOT NULL,
    llm_provider text NOT NULL,
    llm_model text NOT NULL,
    llm_config {json} NOT NULL,
    vad_provider text NOT NULL,
    vad_config {json} NOT NULL,
    turn_detection_config {json} NOT NULL,
    function_calls {json} NOT NULL,
    tool_integrations {json} NOT NULL,
    agent_instructions text NOT NULL,
    agent_personality {json} NOT NULL,
    required_env_vars {json} NOT NULL,
    dependencies {json} NOT NULL,
    source_files {json} NOT NULL,
    PRIMARY KEY (configuration_id, version)
);
CREATE INDEX agent_configuration_versions_revision ON agent_configuration_versions (project_id, revision);
CREATE UNIQUE INDEX agent_configurations_active ON agent_configurations (project_id) WHERE is_active;
