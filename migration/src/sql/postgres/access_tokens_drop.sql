-- Reverts the functions, triggers and policies of access tokens.

DROP TRIGGER projects_owned_by_people ON projects;
DROP TRIGGER projects_owner_changed ON projects;
DROP TRIGGER project_events_of_machines ON project_events;
DROP TRIGGER user_profiles_of_machines ON user_profiles;
DROP TRIGGER project_collaborators_removed ON project_collaborators;
DROP TRIGGER project_collaborators_lowered ON project_collaborators;
DROP TRIGGER access_tokens_removed ON access_tokens;

DROP POLICY of_people ON user_profiles;
DROP POLICY of_people ON user_preferences;
DROP POLICY of_people ON project_collaborators;
DROP POLICY by_people ON project_collaborators;
DROP POLICY without_machines ON project_collaborators;
DROP POLICY by_people ON project_former_collaborators;
DROP POLICY changed_by_people ON project_former_collaborators;

DROP FUNCTION is_machine, refuse_machine, create_access_token, touch_access_token, find_access_token,
    remove_owner_from_collaborators, remove_tokens_of_collaborator, lower_tokens_of_viewer, remove_access_token;
