-- A new owner is no longer a collaborator.
CREATE TRIGGER projects_owner_changed AFTER UPDATE OF user_id ON projects BEGIN
    DELETE FROM project_collaborators WHERE project_id = NEW.id AND user_id = NEW.user_id;
END;
-- The tokens of a collaborator end when they leave the project, unless they own it now.
CREATE TRIGGER project_collaborators_removed AFTER DELETE ON project_collaborators BEGIN
    DELETE FROM project_collaborators WHERE project_id = OLD.project_id AND user_id IN (
        SELECT t.user_id FROM access_tokens t JOIN projects p ON p.id = t.project_id
        WHERE t.project_id = OLD.project_id AND t.created_by = OLD.user_id AND p.user_id <> OLD.user_id);
END;
-- The tokens of a viewer are viewers.
CREATE TRIGGER project_collaborators_lowered AFTER UPDATE OF role ON project_collaborators WHEN NEW.role = 'viewer' BEGIN
    UPDATE chat_sessions SET is_active = false, ended_at = (SELECT p.last_activity_at FROM projects p WHERE p.id = NEW.project_id)
    WHERE is_active AND project_id = NEW.project_id AND user_id IN (
        SELECT t.user_id FROM access_tokens t WHERE t.project_id = NEW.project_id AND t.created_by = NEW.user_id);
    UPDATE project_collaborators SET role = 'viewer'
    WHERE project_id = NEW.project_id AND user_id IN (
        SELECT t.user_id FROM access_tokens t WHERE t.project_id = NEW.project_id AND t.created_by = NEW.user_id);
END;
-- A token ends with its membership, its session ends, and its work keeps its name.
CREATE TRIGGER access_tokens_removed AFTER DELETE ON access_tokens BEGIN
    DELETE FROM project_collaborators WHERE project_id = OLD.project_id AND user_id = OLD.user_id;
    UPDATE chat_sessions SET is_active = false, ended_at = (SELECT p.last_activity_at FROM projects p WHERE p.id = OLD.project_id)
    WHERE is_active AND project_id = OLD.project_id AND user_id = OLD.user_id;
    INSERT INTO project_former_collaborators (project_id, user_id, left_at)
    SELECT p.id, u.id, p.last_activity_at FROM projects p JOIN user_profiles u ON u.id = OLD.user_id WHERE p.id = OLD.project_id
    ON CONFLICT (project_id, user_id) DO UPDATE SET left_at = excluded.left_at;
END;
