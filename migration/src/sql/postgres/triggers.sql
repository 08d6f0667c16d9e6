-- The triggers of PostgreSQL.

CREATE TRIGGER projects_checked BEFORE UPDATE OF user_id, status ON projects FOR EACH ROW
WHEN (NEW.user_id <> OLD.user_id OR (NEW.status = 'deleted') <> (OLD.status = 'deleted'))
EXECUTE FUNCTION check_project_change();
CREATE TRIGGER project_collaborators_checked BEFORE UPDATE ON project_collaborators
FOR EACH ROW EXECUTE FUNCTION check_collaborator_change();

CREATE TRIGGER projects_members AFTER INSERT OR UPDATE OF user_id ON projects
FOR EACH ROW EXECUTE FUNCTION update_owner_membership();
CREATE TRIGGER project_collaborators_members AFTER INSERT OR DELETE OR UPDATE ON project_collaborators
FOR EACH ROW EXECUTE FUNCTION update_collaborator_membership();
