//! Finds JSON in the database that cannot be decoded, which the service did not write.

use uuid::Uuid;

use super::db::fail;
use super::operator::Operator;
use super::sql::Sql;
use crate::model::error::Result;
use crate::model::ids::ProjectId;
use crate::model::json::Json;

/// Rows read at once.
const BATCH: i64 = 500;

/// Rows that contain JSON, in the order in which pages are read.
struct Rows {
    noun: &'static str,
    from: &'static str,
    /// The column with the project, if there is one.
    project: Option<&'static str>,
    /// Columns with a number and an id, which order the rows.
    key: (&'static str, &'static str),
    columns: &'static [&'static str],
}

const SETTINGS: &[&str] = &[
    "stt_config",
    "tts_config",
    "llm_config",
    "vad_config",
    "turn_detection_config",
    "function_calls",
    "tool_integrations",
    "agent_personality",
    "required_env_vars",
    "dependencies",
    "source_files",
];

const OF_PROJECTS: [Rows; 7] = [
    Rows { noun: "project", from: "projects", project: Some("id"), key: ("revision", "id"), columns: &["config"] },
    Rows {
        noun: "earlier state of project",
        from: "project_versions",
        project: Some("project_id"),
        key: ("superseded_revision", "project_id"),
        columns: &["config"],
    },
    Rows {
        noun: "session",
        from: "chat_sessions",
        project: Some("project_id"),
        key: ("revision", "id"),
        columns: &["metadata"],
    },
    Rows {
        noun: "message",
        from: "project_events e JOIN chat_messages m ON m.id = e.message_id AND m.revision = e.revision",
        project: Some("e.project_id"),
        key: ("e.revision", "m.id"),
        columns: &["context_data", "metadata"],
    },
    Rows {
        noun: "streaming message",
        from: "streaming_messages",
        project: Some("project_id"),
        key: ("length", "id"),
        columns: &["context_data", "metadata"],
    },
    Rows {
        noun: "agent configuration",
        from: "agent_configurations",
        project: Some("project_id"),
        key: ("version", "id"),
        columns: SETTINGS,
    },
    Rows {
        noun: "version of agent configuration",
        from: "agent_configuration_versions",
        project: Some("project_id"),
        key: ("revision", "configuration_id"),
        columns: SETTINGS,
    },
];

const OF_USERS: Rows = Rows {
    noun: "preferences of user",
    from: "user_preferences",
    project: None,
    key: ("0", "user_id"),
    columns: &["notification_preferences", "ui_preferences"],
};

/// Describes the undecodable JSON of a project; without a project, that of the users.
pub async fn undecodable(operator: &Operator, project: Option<ProjectId>) -> Result<Vec<String>> {
    let Some(project) = project else { return read(operator, &OF_USERS, Uuid::nil()).await };
    let mut found = Vec::new();
    for rows in &OF_PROJECTS {
        found.extend(read(operator, rows, project.0).await?);
    }
    Ok(found)
}

async fn read(operator: &Operator, rows: &Rows, project: Uuid) -> Result<Vec<String>> {
    let (mut found, mut after) = (Vec::new(), (-1, Uuid::nil()));
    loop {
        let mut sql = Sql::new("SELECT ");
        sql.push(rows.key.0).push(" AS key_number, ").push(rows.key.1).push(" AS key_id");
        for column in rows.columns {
            sql.push(", ").push(column);
        }
        sql.push(" FROM ").push(rows.from).push(" WHERE (").push(rows.key.0).push(", ").push(rows.key.1).push(") > (");
        sql.bind(after.0).push(", ").bind(after.1).push(")");
        if let Some(of) = rows.project {
            sql.push(" AND ").push(of).push(" = ").bind(project);
        }
        sql.push(" ORDER BY 1, 2 LIMIT ").bind(BATCH);
        let page = operator.rows(sql).await?;
        for row in &page {
            let key = (row.try_get("", "key_number").map_err(fail)?, row.try_get("", "key_id").map_err(fail)?);
            // A damaged index could return the same rows forever.
            if key <= after {
                return Ok(found);
            }
            after = key;
            for column in rows.columns {
                let text = row.try_get::<String>("", column).map_err(|_| "It is no text.".to_owned());
                if let Err(why) = text.and_then(|text| Json::stored(text).compact()) {
                    found.push(format!("{column} of {} {} is no JSON: {why}", rows.noun, after.1));
                }
            }
        }
        if page.len() < usize::try_from(BATCH).unwrap_or(usize::MAX) {
            return Ok(found);
        }
    }
}
