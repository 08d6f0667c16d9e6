//! The application's authorization layer: membership in projects.
//!
//! A statement that starts from ids chosen by the caller, or from the caller, is a *door*: it contains the condition
//! [`is_member`] or [`memberships`]. Functions that read below a project take a [`Member`] instead, and their
//! statements do not check again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::marker::PhantomData;

use sea_orm::{QueryResult, Value};
use uuid::Uuid;

use super::db::{Me, Tx, fail, unknown};
use super::sql::Sql;
use crate::model::enums::ProjectRole;
use crate::model::error::{Error, Result};
use crate::model::ids::{ProjectId, Within};

/// Proof that the actor of a transaction is a member of a project. It borrows the transaction, because the next one
/// must check again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member<'t> {
    project: ProjectId,
    transaction: PhantomData<&'t Tx>,
}

impl Member<'_> {
    /// The project.
    pub fn project(self) -> ProjectId {
        self.project
    }
}

impl From<Member<'_>> for Value {
    fn from(member: Member<'_>) -> Self {
        member.project.0.into()
    }
}

/// Records verified projects, of which a statement with the condition has returned rows.
pub(super) fn opened(tx: &Tx, projects: impl IntoIterator<Item = ProjectId>) {
    tx.proven.lock().extend(projects);
}

/// Proofs for the given projects that the actor is a member of. Looks up only projects that the transaction has not
/// verified yet.
pub async fn members(tx: &Tx, projects: impl IntoIterator<Item = ProjectId>) -> Result<HashMap<ProjectId, Member<'_>>> {
    let asked: HashSet<ProjectId> = projects.into_iter().collect();
    let me = tx.me();
    // With this layer disabled, row-level security alone restricts each statement.
    if me.scopes {
        let unknown: Vec<ProjectId> = {
            let proven = tx.proven.lock();
            asked.iter().filter(|id| !proven.contains(id)).copied().collect()
        };
        if !unknown.is_empty() {
            let mut sql = Sql::new("SELECT p.id FROM projects p WHERE p.id IN ");
            sql.list(unknown.iter().map(|id| id.0)).push(" AND ");
            is_member(&mut sql, "p.id", me);
            let rows = tx.rows(sql).await?;
            let found = rows.iter().map(|row| Ok(ProjectId(row.try_get("", "id").map_err(fail)?)));
            opened(tx, found.collect::<Result<Vec<_>>>()?);
        }
    }
    let proven = tx.proven.lock();
    let known = asked.into_iter().filter(|id| !me.scopes || proven.contains(id));
    Ok(known.map(|project| (project, Member { project, transaction: PhantomData })).collect())
}

/// The proof for a project; `None` if the actor is not a member.
pub async fn member(tx: &Tx, project: ProjectId) -> Result<Option<Member<'_>>> {
    Ok(members(tx, [project]).await?.remove(&project))
}

/// As [`member`], for a required membership.
///
/// # Errors
/// `NotFound` if the actor is not a member.
pub async fn required(tx: &Tx, project: ProjectId) -> Result<Member<'_>> {
    member(tx, project).await?.ok_or_else(|| Error::not_found("project", "id"))
}

/// The given keys whose projects the actor is a member of, each with the proof.
pub async fn within<'t, K: Clone>(
    tx: &'t Tx,
    keys: &[K],
    project: impl Fn(&K) -> ProjectId,
) -> Result<Vec<(Member<'t>, K)>> {
    let members = members(tx, keys.iter().map(&project)).await?;
    Ok(keys.iter().filter_map(|key| Some((*members.get(&project(key))?, key.clone()))).collect())
}

/// Adds the condition that `me` is a member of the project in `column`: its owner, or a collaborator who has accepted.
/// `IS TRUE` prevents PostgreSQL from turning it into a join: it would assume that a user's few projects have few rows,
/// and read and sort a whole history for one page.
pub(super) fn is_member<'s>(sql: &'s mut Sql, column: &str, me: Me) -> &'s mut Sql {
    if !me.scopes {
        return sql.push("TRUE");
    }
    if me.has_members {
        sql.push("(EXISTS (SELECT 1 FROM project_members a WHERE a.user_id = ").bind(me);
        return sql.push(" AND a.project_id = ").push(column).push(")) IS TRUE");
    }
    sql.push("(EXISTS (SELECT 1 FROM projects a WHERE a.id = ").push(column).push(" AND (a.user_id = ").bind(me);
    sql.push(" OR EXISTS (SELECT 1 FROM project_collaborators c WHERE c.project_id = a.id AND c.user_id = ").bind(me);
    sql.push(" AND c.accepted_at IS NOT NULL)))) IS TRUE")
}

/// Adds the condition that `me` owns the project with the id in `column`.
pub(super) fn owns<'s>(sql: &'s mut Sql, column: &str, me: Me) -> &'s mut Sql {
    if !me.scopes {
        return sql.push("TRUE");
    }
    sql.push("EXISTS (SELECT 1 FROM projects a WHERE a.id = ").push(column).push(" AND a.user_id = ").bind(me).push(")")
}

/// Adds a subselect of the projects that `me` is a member of.
pub(super) fn memberships(sql: &mut Sql, me: Me) -> &mut Sql {
    if !me.scopes {
        return sql.push("(SELECT id FROM projects)");
    }
    if me.has_members {
        return sql.push("(SELECT project_id FROM project_members WHERE user_id = ").bind(me).push(")");
    }
    sql.push("(SELECT id FROM projects WHERE user_id = ").bind(me);
    sql.push(" UNION SELECT project_id FROM project_collaborators WHERE user_id = ").bind(me);
    sql.push(" AND accepted_at IS NOT NULL)")
}

/// Adds the role of `me` in the row `project` of `projects`; null without a role.
pub(super) fn role_of<'s>(sql: &'s mut Sql, project: &str, me: Me) -> &'s mut Sql {
    if me.has_members {
        sql.push("(SELECT a.role FROM project_members a WHERE a.user_id = ").bind(me);
        return sql.push(" AND a.project_id = ").push(project).push(".id)");
    }
    sql.push("CASE WHEN ").push(project).push(".user_id = ").bind(me);
    sql.push(" THEN 'owner' ELSE (SELECT role FROM project_collaborators c WHERE c.project_id = ").push(project);
    sql.push(".id AND c.user_id = ").bind(me).push(" AND c.accepted_at IS NOT NULL) END")
}

/// The role in the column that [`role_of`] or a table has.
pub(super) fn role(text: &str) -> Result<ProjectRole> {
    ProjectRole::from_stored(text).ok_or_else(|| unknown("role", text))
}

/// Adds the condition that a row is one of `things`, by project and id.
pub(super) fn among<I: Copy + Into<Uuid>>(sql: &mut Sql, (project, id): (&str, &str), things: &[(Member<'_>, I)]) {
    sql.push(id).push(" IN ").list(things.iter().map(|(_, id)| (*id).into())).push(" AND ");
    inside(sql, project, things);
}

/// Adds the condition that `column` is the project of one of `things`.
pub(super) fn inside<K>(sql: &mut Sql, column: &str, things: &[(Member<'_>, K)]) {
    let projects: BTreeSet<ProjectId> = things.iter().map(|(member, _)| member.project).collect();
    sql.push(column).push(" IN ").list(projects.into_iter().map(|id| id.0));
}

/// Reads a count per object from the columns `project_id`, `parent` and `n`.
pub(super) fn counted<I>(row: &QueryResult, id: impl Fn(Uuid) -> I) -> Result<(Within<I>, i64)> {
    let of = |column: &str| row.try_get::<Uuid>("", column).map_err(fail);
    let thing = Within { project: ProjectId(of("project_id")?), id: id(of("parent")?) };
    Ok((thing, row.try_get("", "n").map_err(fail)?))
}
