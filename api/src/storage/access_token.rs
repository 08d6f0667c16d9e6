//! `access_tokens`: the tokens of machines. Each has a user and a membership, from which its rights follow.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{QueryResult, TryGetable, Value};
use uuid::Uuid;

use super::access::{self, role};
use super::db::{Db, Tx, fail};
use super::sql::Sql;
use crate::model::access_token::AccessToken;
use crate::model::error::Result;
use crate::model::ids::{AccessTokenId, ProjectId, UserId};

/// The user of an access token who signs in.
#[expect(missing_docs, reason = "the names say it")]
pub struct Machine {
    pub user_id: UserId,
    pub name: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// At most one use in this time is recorded.
const USE_PERIOD: TimeDelta = TimeDelta::minutes(1);

fn get<T: TryGetable>(row: &QueryResult, column: &str) -> Result<T> {
    row.try_get("", column).map_err(fail)
}

fn access_token(row: &QueryResult) -> Result<AccessToken> {
    Ok(AccessToken {
        id: AccessTokenId(get(row, "id")?),
        project_id: ProjectId(get(row, "project_id")?),
        user_id: UserId(get(row, "user_id")?),
        name: get::<Option<String>>(row, "name")?.unwrap_or_default(),
        role: role(&get::<String>(row, "role")?)?,
        created_by: UserId(get(row, "created_by")?),
        created_at: get(row, "created_at")?,
        expires_at: get(row, "expires_at")?,
        last_used_at: get(row, "last_used_at")?,
    })
}

/// The tokens of the actor's own projects whose `column` is among `ids`, oldest first.
async fn among<I: Into<Uuid> + Copy>(tx: &Tx, column: &str, ids: &[I]) -> Result<Vec<AccessToken>> {
    let mut sql = Sql::new(
        "SELECT t.id, t.project_id, t.user_id, t.created_by, t.created_at, t.expires_at, t.last_used_at, u.full_name AS name, k.role \
         FROM access_tokens t JOIN user_profiles u ON u.id = t.user_id \
         JOIN project_collaborators k ON k.project_id = t.project_id AND k.user_id = t.user_id WHERE ",
    );
    sql.push(column).push(" IN ").list(ids.iter().map(|id| -> Uuid { (*id).into() })).push(" AND ");
    access::owns(&mut sql, "t.project_id", tx.me()).push(" ORDER BY t.created_at, t.id");
    tx.rows(sql).await?.iter().map(access_token).collect()
}

/// The tokens of the projects that the actor owns, oldest first.
pub async fn of_projects(tx: &Tx, projects: &[ProjectId]) -> Result<Vec<AccessToken>> {
    among(tx, "t.project_id", projects).await
}

/// The tokens with these ids, of projects that the actor owns.
pub async fn by_ids(tx: &Tx, ids: &[AccessTokenId]) -> Result<Vec<AccessToken>> {
    among(tx, "t.id", ids).await
}

/// The number of tokens of a locked project.
pub async fn count(tx: &Tx, project: ProjectId) -> Result<i64> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM access_tokens WHERE project_id = ");
    sql.bind(project.0);
    tx.count(sql).await
}

/// Adds a token to a locked project, with its user and its membership.
pub async fn create(tx: &Tx, new: &AccessToken, sha256: [u8; 32]) -> Result<()> {
    let hash = sha256.to_vec();
    if !tx.is_sqlite() {
        let values: [Value; 7] = [
            new.id.0.into(),
            new.project_id.0.into(),
            new.name.clone().into(),
            new.role.as_str().into(),
            hash.into(),
            new.expires_at.into(),
            new.created_at.into(),
        ];
        tx.execute(Sql::call("create_access_token", values)).await?;
        return Ok(());
    }
    const USER: &str =
        "INSERT INTO user_profiles (id, full_name, created_at, updated_at, is_machine) VALUES ($1, $2, $3, $3, true)";
    tx.execute(Sql::with(USER, [new.user_id.0.into(), new.name.clone().into(), new.created_at.into()])).await?;
    const MEMBER: &str = "INSERT INTO project_collaborators (project_id, user_id, role, invited_by, invited_at, accepted_at) \
        VALUES ($1, $2, $3, $4, $5, $5)";
    let member: [Value; 5] = [
        new.project_id.0.into(),
        new.user_id.0.into(),
        new.role.as_str().into(),
        new.created_by.0.into(),
        new.created_at.into(),
    ];
    tx.execute(Sql::with(MEMBER, member)).await?;
    const TOKEN: &str = "INSERT INTO access_tokens (id, project_id, user_id, created_by, sha256, created_at, expires_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let token: [Value; 7] = [
        new.id.0.into(),
        new.project_id.0.into(),
        new.user_id.0.into(),
        new.created_by.0.into(),
        hash.into(),
        new.created_at.into(),
        new.expires_at.into(),
    ];
    tx.execute(Sql::with(TOKEN, token)).await?;
    Ok(())
}

/// The user of the token with this hash, also after it has expired. There is no caller yet, so that this reads without
/// one.
pub async fn find(db: &Db, sha256: [u8; 32]) -> Result<Option<Machine>> {
    let mut sql = Sql::new("SELECT t.user_id, ");
    if db.is_sqlite() {
        sql.push("u.full_name AS name, t.expires_at FROM access_tokens t JOIN user_profiles u ON u.id = t.user_id WHERE t.sha256 = ");
        sql.bind(sha256.to_vec());
    } else {
        sql.push("t.name, t.expires_at FROM find_access_token(").bind(sha256.to_vec()).push(") AS t");
    }
    let machine = |row: &QueryResult| {
        Ok(Machine {
            user_id: UserId(get(row, "user_id")?),
            name: get(row, "name")?,
            expires_at: get(row, "expires_at")?,
        })
    };
    db.read_as_nobody(sql).await?.first().map(machine).transpose()
}

/// Records a use of the actor's token.
pub async fn touch(tx: &Tx, now: DateTime<Utc>) -> Result<()> {
    if !tx.is_sqlite() {
        tx.execute(Sql::call("touch_access_token", [now.into()])).await?;
        return Ok(());
    }
    let mut sql = Sql::new("UPDATE access_tokens SET last_used_at = ");
    sql.bind(now).push(" WHERE user_id = ").bind(tx.me());
    sql.push(" AND (last_used_at IS NULL OR last_used_at < ").bind(now - USE_PERIOD).push(")");
    tx.execute(sql).await?;
    Ok(())
}

/// Whether the actor has a project. A machine without one has lost its token.
pub async fn has_project(tx: &Tx) -> Result<bool> {
    let mut sql = Sql::new("SELECT 1 AS n WHERE EXISTS ");
    access::memberships(&mut sql, tx.me());
    Ok(tx.row(sql).await?.is_some())
}
