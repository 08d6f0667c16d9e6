//! The measured work: its GraphQL for the service and for PostGraphile, and its SQL.

use tests::database::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Read the caller's 20 newest projects with their counts and last activity.
    Q1,
    /// Read the last 50 messages of a session.
    Q2,
    /// Read a project with 20 files, each with its 5 newest versions.
    Q3,
    /// Read the 20 newest changes of a project, with their diffs.
    Q4,
    /// Add a message.
    M1,
    /// Change a file that is at a known version.
    M2,
    /// Restore a project's files to the revision before its last sync, and back the next time. Only the service
    /// supports this.
    Restore,
}

impl Work {
    pub(crate) const COMPARED: [Self; 6] = [Self::Q1, Self::Q2, Self::Q3, Self::Q4, Self::M1, Self::M2];

    /// The service's GraphQL.
    pub(crate) fn document(self) -> &'static str {
        match self {
            Self::Q1 => {
                "{ projects(first: 20) { nodes { id name description status createdAt updatedAt stats {
                   totalSessions totalMessages totalFiles totalChanges latestSessionAt lastActivityAt } } } }"
            }
            Self::Q2 => {
                "query($id: ID!) { node(id: $id) { ... on ChatSession {
                   messages(last: 50) { nodes { id role content timestamp isCheckpoint } } } } }"
            }
            Self::Q3 => {
                "query($id: ID!) { project(id: $id) { id name files(first: 20) { nodes {
                   id path name type language sizeBytes updatedAt
                   versions(first: 5) { nodes { version changeDescription createdAt } } } } } }"
            }
            Self::Q4 => {
                "query($id: ID!) { project(id: $id) { changes(first: 20) { nodes {
                   id revision type path additions deletions changeDescription createdAt diff } } } }"
            }
            Self::M1 => {
                "mutation($input: AddMessageInput!) { addMessage(input: $input) { revision message { id timestamp } } }"
            }
            Self::M2 => {
                "mutation($input: UpdateFileInput!) { updateFile(input: $input) { revision file { version hash } } }"
            }
            Self::Restore => {
                "mutation($input: RestoreRevisionInput!) { restoreRevision(input: $input) { fileCount manifestSha256 } }"
            }
        }
    }

    /// PostGraphile's GraphQL, in the schema that it derives from the tables.
    pub(crate) fn postgraphile(self) -> &'static str {
        match self {
            Self::Q1 => {
                "{ allProjects(first: 20, orderBy: UPDATED_AT_DESC) { nodes {
                   rowId name description status createdAt updatedAt
                   sessionCount messageCount fileCount changeCount lastSessionAt lastActivityAt } } }"
            }
            Self::Q2 => {
                "query($id: UUID!) { chatSessionByRowId(rowId: $id) {
                   chatMessagesBySessionId(last: 50, orderBy: REVISION_ASC) { nodes {
                     rowId role content timestamp isCheckpoint } } } }"
            }
            Self::Q3 => {
                "query($id: UUID!) { projectByRowId(rowId: $id) { rowId name
                   projectFilesByProjectId(first: 20, orderBy: FILE_PATH_ASC) { nodes {
                     rowId filePath fileName fileType language sizeBytes updatedAt
                     fileSnapshotsByFileId(first: 5, orderBy: VERSION_DESC) { nodes {
                       version event { description createdAt } } } } } } }"
            }
            Self::Q4 => {
                "query($id: UUID!) { allFileChangeHistories(first: 20, condition: { projectId: $id }, orderBy: REVISION_DESC) {
                   nodes { rowId revision changeType filePath additions deletions changeDescription createdAt
                     stored { diff } } } }"
            }
            Self::M1 => "mutation($input: BenchAddMessageInput!) { benchAddMessage(input: $input) { result } }",
            Self::M2 => "mutation($input: BenchUpdateFileInput!) { benchUpdateFile(input: $input) { result } }",
            Self::Restore => "",
        }
    }

    /// A word that each response contains once for every returned item.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Q1 => "\"lastActivityAt\"",
            Self::Q2 => "\"isCheckpoint\"",
            Self::Q3 => "\"version\"",
            Self::Q4 => "\"diff\"",
            Self::M1 => "\"timestamp\"",
            Self::M2 => "\"data\"",
            Self::Restore => "\"manifestSha256\"",
        }
    }

    /// The SQL of a transaction; the database returns JSON. The diffs, which the service computes on demand, are stored
    /// already.
    fn sql(self, kind: Kind) -> &'static [&'static str] {
        match (self, kind) {
            (Self::Q1, _) => &[
                "SELECT {agg}({obj}('id', {id}(q.id), 'name', q.name, 'description', q.description, 'status', q.status,
                   'createdAt', q.created_at, 'updatedAt', q.updated_at, 'totalSessions', q.session_count,
                   'totalMessages', q.message_count, 'totalFiles', q.file_count, 'totalChanges', q.change_count,
                   'latestSessionAt', q.last_session_at, 'lastActivityAt', q.last_activity_at)){text} FROM (
                 SELECT p.* FROM projects p WHERE p.status <> 'deleted' AND p.id IN (
                   SELECT id FROM projects WHERE user_id = {caller} UNION
                   SELECT project_id FROM project_collaborators WHERE user_id = {caller} AND accepted_at IS NOT NULL)
                 ORDER BY p.updated_at DESC, p.id DESC LIMIT 20) q",
            ],
            (Self::Q2, _) => &[
                "SELECT {agg}({obj}('id', {id}(q.id), 'role', q.role, 'content', q.content, 'timestamp', q.timestamp,
                   'isCheckpoint', q.is_checkpoint)){text} FROM (
                 SELECT m.* FROM chat_messages m WHERE m.session_id = {target} AND {member}
                 ORDER BY m.revision DESC LIMIT 50) q",
            ],
            (Self::Q3, _) => &[
                "SELECT {obj}('id', {id}(m.project_id), 'name', m.name, 'files', (
                   SELECT {agg}({obj}('id', {id}(f.id), 'path', f.file_path, 'name', f.file_name, 'type', f.file_type,
                     'language', f.language, 'sizeBytes', f.size_bytes, 'updatedAt', f.updated_at, 'versions', (
                     SELECT {agg}({obj}('version', w.version, 'changeDescription', w.description, 'createdAt', w.created_at))
                     FROM (SELECT v.version, e.description, e.created_at FROM file_snapshots v
                       JOIN project_events e ON e.project_id = v.project_id AND e.revision = v.revision
                       WHERE v.file_id = f.id ORDER BY v.version DESC LIMIT 5) w)))
                   FROM (SELECT * FROM project_files x WHERE x.project_id = m.project_id AND NOT x.is_deleted
                     ORDER BY x.file_path LIMIT 20) f)){text}
                 FROM (SELECT p.id AS project_id, p.name FROM projects p WHERE p.id = {target}) m WHERE {member}",
            ],
            (Self::Q4, _) => &[
                "SELECT {agg}({obj}('id', {id}(q.id), 'revision', q.revision, 'type', q.change_type, 'path', q.file_path,
                   'additions', q.additions, 'deletions', q.deletions, 'changeDescription', q.change_description,
                   'createdAt', q.created_at, 'diff', q.diff)){text} FROM (
                 SELECT m.*, d.diff FROM file_change_history m LEFT JOIN bench_diffs d ON d.version_id = m.snapshot_id
                 WHERE m.project_id = {target} AND {member} ORDER BY m.revision DESC LIMIT 20) q",
            ],
            (Self::M1, Kind::Postgres) => &["SELECT bench_add_message({target}, {content})::text"],
            (Self::M2, Kind::Postgres) => &["SELECT bench_update_file({target}, {number}, {content})::text"],
            (Self::M1, Kind::Sqlite) => &[
                "UPDATE bench_sessions SET message_count = message_count + 1 WHERE id = {target} AND user_id = {caller}",
                "UPDATE bench_projects SET revision = revision + 1, message_count = message_count + 1, last_activity_at = {now}
                 WHERE id = (SELECT project_id FROM bench_sessions WHERE id = {target})",
                "INSERT INTO bench_messages
                 SELECT randomblob(16), p.id, s.id, s.user_id, p.revision, 'user', {content}, {now}, 0, '{}', '{}'
                 FROM bench_sessions s JOIN bench_projects p ON p.id = s.project_id WHERE s.id = {target}",
                "INSERT INTO bench_events
                 SELECT m.project_id, m.revision, 'MESSAGE_ADDED', m.user_id, m.session_id, m.id, m.timestamp
                 FROM bench_messages m WHERE m.session_id = {target} ORDER BY m.revision DESC LIMIT 1",
            ],
            (Self::M2, Kind::Sqlite) => &[
                "INSERT INTO bench_versions SELECT m.id, m.version, m.content, substr(m.content, 1, 500), {now}
                 FROM bench_files m WHERE m.id = {target} AND m.version = {number} AND {member}",
                "UPDATE bench_files SET content = {content}, version = version + 1 WHERE id = {target} AND version = {number}",
            ],
            (Self::Restore, _) => &[],
        }
    }

    /// The statements of the transaction, in this database's dialect.
    pub(crate) fn statements(self, kind: Kind) -> Vec<Statement> {
        self.sql(kind).iter().map(|sql| Statement::new(sql, kind)).collect()
    }
}

/// A parameter of a statement, named as in the hand-written server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Caller,
    Target,
    Content,
    Number,
}

impl Value {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Target => "target",
            Self::Content => "content",
            Self::Number => "number",
        }
    }
}

/// A statement, and its parameters in order.
#[derive(Clone)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

impl Statement {
    fn new(sql: &str, kind: Kind) -> Self {
        // On PostgreSQL row-level security checks this.
        const MEMBER: &str = "EXISTS (SELECT 1 FROM projects a WHERE a.id = m.project_id AND (a.user_id = {caller} OR EXISTS (
            SELECT 1 FROM project_collaborators c WHERE c.project_id = a.id AND c.user_id = {caller} AND c.accepted_at IS NOT NULL)))";
        let is_sqlite = kind == Kind::Sqlite;
        let mut sql = sql.replace("{member}", if is_sqlite { MEMBER } else { "true" });
        for (word, in_sqlite, in_postgres) in [
            ("{agg}", "json_group_array", "json_agg"),
            ("{obj}", "json_object", "json_build_object"),
            ("{id}", "hex", ""),
            ("{text}", "", "::text"),
            ("{now}", "strftime('%Y-%m-%dT%H:%M:%f+00:00')", "now()"),
        ] {
            sql = sql.replace(word, if is_sqlite { in_sqlite } else { in_postgres });
        }
        let mut values = Vec::new();
        for (value, cast) in
            [(Value::Caller, "::uuid"), (Value::Target, "::uuid"), (Value::Content, ""), (Value::Number, "::int")]
        {
            let word = format!("{{{}}}", value.name());
            if sql.contains(&word) {
                values.push(value);
                let cast = if is_sqlite { "" } else { cast };
                sql = sql.replace(&word, &format!("${}{cast}", values.len()));
            }
        }
        Self { sql, values }
    }
}
