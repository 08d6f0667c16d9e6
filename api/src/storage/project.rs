//! `projects` and `project_versions`.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::{project_versions, projects};
use sea_orm::{FromQueryResult, Value};

use super::access::{self, Member, is_member, memberships, role, role_of};
use super::columns::{JSON, Long, TEXT, by_keys, columns};
use super::db::{Tx, fail, unknown};
use super::door::{self, ListQuery};
use super::revision::{self, Target};
use super::sql::{Order, Sql, union};
use crate::model::enums::{ProjectRole, ProjectStatus};
use crate::model::error::{Error, Result};
use crate::model::event::{AsOf, Event};
use crate::model::ids::{ProjectId, UserId};
use crate::model::json::Json;
use crate::model::long_columns::{LongColumn, LongColumns, Needing};
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};
use crate::model::project::{
    ActivitySummary, NewProject, Project, ProjectChanges, ProjectFilter, ProjectOrderField, Stats,
};

const LONG: [Long<projects::Column>; 3] = [
    (projects::Column::Description, LongColumn::ProjectDescription, TEXT),
    (projects::Column::InitialPrompt, LongColumn::InitialPrompt, TEXT),
    (projects::Column::Config, LongColumn::ProjectConfig, JSON),
];

const LONG_OF_VERSION: [Long<project_versions::Column>; 3] = [
    (project_versions::Column::Description, LongColumn::ProjectDescription, TEXT),
    (project_versions::Column::InitialPrompt, LongColumn::InitialPrompt, TEXT),
    (project_versions::Column::Config, LongColumn::ProjectConfig, JSON),
];

/// Adds the columns of the project `p` as the actor sees it.
fn project_columns<'s>(sql: &'s mut Sql, tx: &Tx, needed: LongColumns) -> &'s mut Sql {
    columns::<projects::Entity>(sql, ("p", ""), &LONG, needed);
    role_of(sql.push(", "), "p", tx.me()).push(" AS viewer_role")
}

/// A project of the actor with one of its lists, in one statement.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub(super) async fn with_list<T>(
    tx: &Tx,
    Needing(id, long_columns): Needing<ProjectId>,
    list: ListQuery<'_, T>,
) -> Result<Option<(Project, Slice<T>)>> {
    let door = |sql: &mut Sql| {
        columns::<projects::Entity>(sql, ("p", door::PREFIX), &LONG, tx.needed().and(long_columns));
        role_of(sql.push(", "), "p", tx.me());
        sql.push(" AS door_viewer_role FROM projects p WHERE p.id = ").bind(id.0).push(" AND ");
        is_member(sql, "p.id", tx.me());
    };
    door::open(tx, door, |row| Ok((id, prefixed(row, door::PREFIX)?)), list).await
}

fn project(row: &sea_orm::QueryResult) -> Result<Project> {
    prefixed(row, "")
}

fn prefixed(row: &sea_orm::QueryResult, prefix: &str) -> Result<Project> {
    let viewer_role: String = row.try_get(prefix, "viewer_role").map_err(fail)?;
    let row = projects::Model::from_query_result(row, prefix).map_err(fail)?;
    Ok(Project {
        id: ProjectId(row.id),
        owner_id: UserId(row.user_id),
        viewer_role: role(&viewer_role)?,
        name: row.name,
        description: row.description.map(Into::into),
        initial_prompt: row.initial_prompt.into(),
        config: Json::stored(row.config),
        status: ProjectStatus::from_stored(&row.status).ok_or_else(|| unknown("project status", &row.status))?,
        revision: row.revision,
        session_count: row.session_count,
        message_count: row.message_count,
        file_count: row.file_count,
        change_count: row.change_count,
        created_at: row.created_at.to_utc(),
        updated_at: row.updated_at.to_utc(),
        last_accessed_at: row.last_accessed_at.to_utc(),
        last_session_at: row.last_session_at.map(|time| time.to_utc()),
        last_activity_at: row.last_activity_at.to_utc(),
        as_of: None,
    })
}

/// The projects among `ids` of which the actor is a member.
pub async fn by_ids(tx: &Tx, ids: &[impl Copy + Into<Needing<ProjectId>>]) -> Result<Vec<Project>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[ProjectId]| {
        project_columns(sql.push("SELECT "), tx, needed)
            .push(" FROM projects p WHERE p.id IN ")
            .list(ids.iter().map(|id| id.0))
            .push(" AND ");
        is_member(sql, "p.id", tx.me());
    });
    let projects = tx.rows(sql).await?.iter().map(project).collect::<Result<Vec<_>>>()?;
    access::opened(tx, projects.iter().map(|project| project.id));
    Ok(projects)
}

fn filter(sql: &mut Sql, tx: &Tx, filter: &ProjectFilter) {
    sql.push(" FROM projects p WHERE p.id IN ");
    memberships(sql, tx.me());
    match filter.status {
        Some(status) => sql.push(" AND p.status = ").bind(status.as_str()),
        None => sql.push(" AND p.status <> 'deleted'"),
    };
    if let Some(search) = &filter.search {
        sql.push(" AND (")
            .contains(tx.is_sqlite(), "p.name", search)
            .push(" OR ")
            .contains(tx.is_sqlite(), "p.description", search)
            .push(")");
    }
    if let Some(time) = filter.created_after {
        sql.push(" AND p.created_at >= ").bind(time);
    }
    if let Some(time) = filter.created_before {
        sql.push(" AND p.created_at <= ").bind(time);
    }
    if let Some(is_owned) = filter.is_owned {
        sql.push(if is_owned { " AND p.user_id = " } else { " AND p.user_id <> " }).bind(tx.me());
    }
}

/// The actor's own and shared projects.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn page(
    tx: &Tx,
    keep: &ProjectFilter,
    field: ProjectOrderField,
    descending: bool,
    page: &Page,
) -> Result<Slice<Project>> {
    let columns_of_order: &[(&str, KeyKind)] = match field {
        // Sorts by code points on both databases. A collation on the column would also change how the search compares.
        ProjectOrderField::Name if tx.is_sqlite() => &[("p.name", KeyKind::Text), ("p.id", KeyKind::Id)],
        ProjectOrderField::Name => &[("p.name COLLATE \"C\"", KeyKind::Text), ("p.id", KeyKind::Id)],
        ProjectOrderField::CreatedAt => &[("p.created_at", KeyKind::TimeOf("CREATED_AT")), ("p.id", KeyKind::Id)],
        ProjectOrderField::UpdatedAt => &[("p.updated_at", KeyKind::TimeOf("UPDATED_AT")), ("p.id", KeyKind::Id)],
        ProjectOrderField::LastAccessedAt => {
            &[("p.last_accessed_at", KeyKind::TimeOf("LAST_ACCESSED_AT")), ("p.id", KeyKind::Id)]
        }
        ProjectOrderField::LastActivityAt => {
            &[("p.last_activity_at", KeyKind::TimeOf("LAST_ACTIVITY_AT")), ("p.id", KeyKind::Id)]
        }
    };
    let order = Order { columns: columns_of_order, descending };
    let needed = tx.needed_of(page);
    let mut sql = Sql::new("SELECT ");
    project_columns(&mut sql, tx, needed);
    // SQLite sorts whole rows, so it reads long columns for the rows of the page only.
    let sorts_keys = tx.is_sqlite() && LONG.iter().any(|(_, column, _)| needed.has(*column));
    if sorts_keys {
        sql.push(" FROM projects p WHERE p.id IN (SELECT p.id");
    }
    filter(&mut sql, tx, keep);
    order.page(&mut sql, page)?;
    if sorts_keys {
        sql.push(")");
    }
    let rows = tx.rows(sql).await?.iter().map(project).collect::<Result<Vec<_>>>()?;
    access::opened(tx, rows.iter().map(|project| project.id));
    let rows = rows.into_iter().map(|row| {
        let key = match field {
            ProjectOrderField::Name => Key::Text(row.name.clone()),
            ProjectOrderField::CreatedAt => Key::TimeOf("CREATED_AT".to_owned(), row.created_at),
            ProjectOrderField::UpdatedAt => Key::TimeOf("UPDATED_AT".to_owned(), row.updated_at),
            ProjectOrderField::LastAccessedAt => Key::TimeOf("LAST_ACCESSED_AT".to_owned(), row.last_accessed_at),
            ProjectOrderField::LastActivityAt => Key::TimeOf("LAST_ACTIVITY_AT".to_owned(), row.last_activity_at),
        };
        (Cursor(vec![key, Key::Id(row.id.0)]), row)
    });
    Ok(Slice::cut(order.restore(rows.collect(), page), page))
}

/// Total length of the list of [`page`].
pub async fn count(tx: &Tx, keep: &ProjectFilter) -> Result<i64> {
    let mut sql = Sql::new("SELECT count(*) AS n");
    filter(&mut sql, tx, keep);
    tx.count(sql).await
}

/// The totals of the actor's own projects (`user_activity_summary`).
pub async fn activity_summary(tx: &Tx) -> Result<ActivitySummary> {
    let mut sql = Sql::new("SELECT * FROM user_activity_summary WHERE user_id = ");
    sql.bind(tx.me());
    let rows: Vec<entity::views::user_activity_summary::Model> = tx.all(sql).await?;
    Ok(rows.into_iter().next().map_or_else(ActivitySummary::default, |row| ActivitySummary {
        projects: row.total_projects,
        sessions: row.total_sessions,
        messages: row.total_messages,
        files: row.total_files,
        changes: row.total_changes,
        last_activity_at: row.last_activity.map(|time| time.to_utc()),
    }))
}

/// The projects that the actor is a member of, without deleted ones.
pub async fn joined(tx: &Tx) -> Result<Vec<ProjectId>> {
    let mut sql = Sql::new("SELECT p.id");
    filter(&mut sql, tx, &ProjectFilter::default());
    let rows = tx.rows(sql).await?;
    let projects =
        rows.iter().map(|row| Ok(ProjectId(row.try_get("", "id").map_err(fail)?))).collect::<Result<Vec<_>>>()?;
    access::opened(tx, projects.iter().copied());
    Ok(projects)
}

/// The members of a project of the actor: its owner and the collaborators who have accepted. Empty if the actor is not
/// a member.
pub async fn members(tx: &Tx, id: ProjectId) -> Result<HashSet<UserId>> {
    let mut sql = Sql::new("SELECT p.user_id AS id FROM projects p WHERE p.id = ");
    sql.bind(id.0).push(" AND ");
    is_member(&mut sql, "p.id", tx.me());
    sql.push(
        " UNION SELECT k.user_id FROM project_collaborators k WHERE k.accepted_at IS NOT NULL AND k.project_id = ",
    );
    sql.bind(id.0).push(" AND ");
    is_member(&mut sql, "k.project_id", tx.me());
    let rows = tx.rows(sql).await?;
    access::opened(tx, rows.first().map(|_| id));
    rows.iter().map(|row| Ok(UserId(row.try_get("", "id").map_err(fail)?))).collect()
}

/// The totals of a project as of a revision. Unlike the present totals, they are counted.
pub async fn stats(tx: &Tx, project: Member<'_>, as_of: AsOf) -> Result<Stats> {
    let mut sql = Sql::new("SELECT ");
    for (name, table, also) in [
        ("sessions", "chat_sessions", ""),
        ("messages", "chat_messages", ""),
        ("changes", "file_snapshots", ""),
        // Each version has the file's content at that time; folders have no content.
        (
            "files",
            "file_snapshots",
            " AND v.blob_id IS NOT NULL AND (v.superseded_revision IS NULL OR v.superseded_revision > ",
        ),
    ] {
        sql.push("(SELECT count(*) FROM ").push(table).push(" v WHERE v.project_id = ").bind(project);
        sql.push(" AND v.revision <= ").bind(as_of.revision).push(also);
        if !also.is_empty() {
            sql.bind(as_of.revision).push(")");
        }
        sql.push(") AS ").push(name).push(", ");
    }
    sql.push("(SELECT v.started_at FROM chat_sessions v WHERE v.project_id = ")
        .bind(project)
        .push(" AND v.revision <= ");
    sql.bind(as_of.revision)
        .push(" ORDER BY v.revision DESC LIMIT 1) AS last_session_at FROM projects p WHERE p.id = ");
    sql.bind(project);
    let row = tx.row(sql).await?.ok_or_else(|| Error::not_found("project", "id"))?;
    let count = |column: &str| -> Result<i32> {
        let count: i64 = row.try_get("", column).map_err(fail)?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    };
    Ok(Stats {
        sessions: count("sessions")?,
        messages: count("messages")?,
        files: count("files")?,
        changes: count("changes")?,
        last_session_at: row.try_get("", "last_session_at").map_err(fail)?,
        last_activity_at: as_of.time,
    })
}

/// Creates a project of the actor at revision 1, with its event.
pub async fn create(tx: &Tx, new: NewProject, event: &Event) -> Result<Project> {
    let (id, now) = (event.project_id, event.created_at);
    let own: [Value; 6] = [
        id.0.into(),
        new.name.clone().into(),
        new.description.clone().into(),
        new.initial_prompt.clone().into(),
        new.config.clone().into(),
        now.into(),
    ];
    if tx.is_sqlite() {
        const INSERT: &str = "INSERT INTO projects (id, name, description, initial_prompt, config, created_at, updated_at, \
            last_accessed_at, last_activity_at, user_id, status, revision, session_count, message_count, file_count, change_count) \
            VALUES ($1, $2, $3, $4, $5, $6, $6, $6, $6, $7, 'active', 1, 0, 0, 0, 0)";
        tx.execute(Sql::with(INSERT, own.into_iter().chain([tx.me().into()]))).await?;
        revision::append(tx, event, None).await?;
    } else {
        tx.execute(Sql::call("create_project", own)).await?;
    }
    access::opened(tx, [id]);
    Ok(Project {
        id,
        owner_id: tx.actor.user_id,
        viewer_role: ProjectRole::Owner,
        name: new.name,
        description: new.description.map(Into::into),
        initial_prompt: new.initial_prompt.into(),
        config: new.config,
        status: ProjectStatus::Active,
        revision: 1,
        session_count: 0,
        message_count: 0,
        file_count: 0,
        change_count: 0,
        created_at: now,
        updated_at: now,
        last_accessed_at: now,
        last_session_at: None,
        last_activity_at: now,
        as_of: None,
    })
}

/// Gives a locked project another owner.
pub async fn set_owner(tx: &Tx, id: ProjectId, owner: UserId) -> Result<bool> {
    let mut sql = Sql::new("UPDATE projects SET user_id = ");
    sql.bind(owner.0).push(" WHERE id = ").bind(id.0);
    sql.push(" AND NOT EXISTS (SELECT 1 FROM user_profiles u WHERE u.id = ").bind(owner.0).push(" AND u.is_machine)");
    Ok(tx.execute(sql).await? > 0)
}

/// The project of a target; `None` if the actor is not a member.
pub async fn of(tx: &Tx, target: Target) -> Result<Option<ProjectId>> {
    let mut sql = Sql::new("SELECT p.id FROM projects p WHERE p.id = ");
    target.project(&mut sql).push(" AND ");
    is_member(&mut sql, "p.id", tx.me());
    let row = tx.row(sql).await?;
    row.map(|row| Ok(ProjectId(row.try_get("", "id").map_err(fail)?))).transpose()
}

/// Stores the present fields of a locked project before a revision changes them.
pub async fn supersede(tx: &Tx, id: ProjectId, revision: i32) -> Result<()> {
    const KEEP: &str = "INSERT INTO project_versions (project_id, superseded_revision, name, description, initial_prompt, config, status, updated_at) \
         SELECT id, $2, name, description, initial_prompt, config, status, updated_at FROM projects WHERE id = $1";
    tx.execute(Sql::with(KEEP, [id.0.into(), revision.into()])).await?;
    Ok(())
}

/// Projects as of moments, with the fields that they had then.
pub async fn as_of(tx: &Tx, wanted: Vec<(Member<'_>, Needing<Project>, AsOf)>) -> Result<Vec<Project>> {
    let numbered: Vec<(usize, Member<'_>, LongColumns, AsOf)> = wanted
        .iter()
        .enumerate()
        .map(|(index, (member, project, as_of))| (index, *member, project.1, *as_of))
        .collect();
    let sql = union(&numbered, |sql, (index, member, long_columns, as_of)| {
        sql.push(&format!("SELECT {index} AS n, "));
        columns::<project_versions::Entity>(sql, ("v", ""), &LONG_OF_VERSION, tx.needed().and(long_columns));
        sql.push(" FROM project_versions v WHERE v.project_id = ").bind(member);
        sql.push(" AND v.superseded_revision > ").bind(as_of.revision);
        sql.push(" ORDER BY v.superseded_revision LIMIT 1");
        Ok(())
    })?;
    let mut then = HashMap::new();
    for row in tx.rows(sql).await? {
        let index: i32 = row.try_get("", "n").map_err(fail)?;
        then.insert(index, project_versions::Model::from_query_result(&row, "").map_err(fail)?);
    }
    let past = |(index, (_, Needing(project, _), as_of)): (i32, (Member<'_>, Needing<Project>, AsOf))| {
        let project = Project { as_of: Some(as_of), ..project };
        match then.remove(&index) {
            Some(then) => with_fields(project, then),
            None => Ok(project),
        }
    };
    (0..).zip(wanted).map(past).collect()
}

/// A project's fields before and after a revision changed them; `None` if no such change is stored. `present` is a
/// locked project as it is now.
pub async fn changed_at(tx: &Tx, present: &Project, revision: i32) -> Result<Option<(Project, Project)>> {
    let mut sql = Sql::new("SELECT v.* FROM project_versions v WHERE v.project_id = ");
    sql.bind(present.id.0).push(" AND v.superseded_revision >= ").bind(revision);
    sql.push(" ORDER BY v.superseded_revision LIMIT 2");
    let kept: Vec<project_versions::Model> = tx.all(sql).await?;
    let mut kept = kept.into_iter();
    let Some(before) = kept.next().filter(|before| before.superseded_revision == revision) else { return Ok(None) };
    let before = with_fields(present.clone(), before)?;
    let after = match kept.next() {
        Some(after) => with_fields(present.clone(), after)?,
        None => present.clone(),
    };
    Ok(Some((before, after)))
}

/// A project with fields of an earlier state.
fn with_fields(project: Project, then: project_versions::Model) -> Result<Project> {
    Ok(Project {
        name: then.name,
        description: then.description.map(Into::into),
        initial_prompt: then.initial_prompt.into(),
        config: Json::stored(then.config),
        status: ProjectStatus::from_stored(&then.status).ok_or_else(|| unknown("project status", &then.status))?,
        updated_at: then.updated_at.to_utc(),
        ..project
    })
}

/// Changes the fields of a locked project.
pub async fn update(tx: &Tx, id: ProjectId, changes: ProjectChanges, now: DateTime<Utc>) -> Result<()> {
    let mut sql = Sql::new("UPDATE projects SET updated_at = ");
    sql.bind(now);
    if let Some(name) = changes.name {
        sql.push(", name = ").bind(name);
    }
    if let Some(description) = changes.description {
        sql.push(", description = ").bind(description);
    }
    if let Some(initial_prompt) = changes.initial_prompt {
        sql.push(", initial_prompt = ").bind(initial_prompt);
    }
    if let Some(config) = changes.config {
        sql.push(", config = ").bind(config);
    }
    if let Some(status) = changes.status {
        sql.push(", status = ").bind(status.as_str());
    }
    sql.push(" WHERE id = ").bind(id.0);
    tx.execute(sql).await?;
    Ok(())
}

/// Records that the actor opened a project. This is not a revision, since it does not belong to the history.
///
/// # Errors
/// `NotFound` if the actor is not a member.
pub async fn touch(tx: &Tx, id: ProjectId, now: DateTime<Utc>) -> Result<()> {
    if !tx.is_sqlite() {
        // Viewers can do this, although row-level security does not let them update a project.
        let mut sql = Sql::new("SELECT count(*) FILTER (WHERE touch_project(p.id, ");
        sql.bind(now).push(")) AS n FROM projects p WHERE p.id = ").bind(id.0).push(" AND ");
        is_member(&mut sql, "p.id", tx.me());
        return if tx.count(sql).await? == 1 { Ok(()) } else { Err(Error::not_found("project", "id")) };
    }
    let mut sql = Sql::new("UPDATE projects SET last_accessed_at = ");
    sql.bind(now).push(" WHERE id = ").bind(id.0).push(" AND ");
    is_member(&mut sql, "projects.id", tx.me());
    match tx.execute(sql).await? {
        0 => Err(Error::not_found("project", "id")),
        _ => Ok(()),
    }
}
