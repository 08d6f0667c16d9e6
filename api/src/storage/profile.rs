//! `user_profiles` and `user_preferences`.

use chrono::{DateTime, Utc};
use entity::user_preferences;
use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use super::columns::{JSON, Long, TEXT, by_keys, columns};
use super::db::Tx;
use super::sql::Sql;
use crate::model::error::{Error, Result};
use crate::model::ids::UserId;
use crate::model::json::Json;
use crate::model::long_columns::{LongColumn, LongColumns, Needing};
use crate::model::profile::{PreferenceChanges, Preferences, Profile, ProfileChanges};

/// The columns of a profile that are read.
#[derive(FromQueryResult)]
struct Row {
    id: Uuid,
    email: Option<String>,
    full_name: Option<String>,
    avatar_url: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    is_machine: bool,
}

impl From<Row> for Profile {
    fn from(row: Row) -> Self {
        Self {
            id: UserId(row.id),
            email: row.email,
            full_name: row.full_name,
            avatar_url: row.avatar_url,
            created_at: row.created_at,
            updated_at: row.updated_at,
            is_machine: row.is_machine,
        }
    }
}

/// The columns of a profile. Row-level security hides the e-mail column from everyone; a function returns the caller's
/// own.
fn profile_columns(sql: &mut Sql, tx: &Tx, needed: LongColumns) {
    let avatar = if needed.has(LongColumn::AvatarUrl) { "avatar_url" } else { TEXT };
    sql.push("id, full_name, ")
        .push(avatar)
        .push(" AS avatar_url, created_at, updated_at, is_machine, CASE WHEN id = ")
        .bind(tx.me());
    sql.push(if tx.is_sqlite() { " THEN email END AS email" } else { " THEN my_email() END AS email" });
}

/// Refuses the user of an access token who signs in with another token, as row-level security does on PostgreSQL.
pub async fn refuse_machine(tx: &Tx) -> Result<()> {
    if tx.is_sqlite() {
        let mut sql = Sql::new("SELECT 1 AS n FROM user_profiles WHERE is_machine AND id = ");
        sql.bind(tx.me());
        if tx.row(sql).await?.is_some() {
            return Err(Error::Forbidden("An access token acts only in its project.".to_owned()));
        }
    }
    Ok(())
}

/// Creates the actor's profile and preferences from the token's claims, if they do not exist.
///
/// # Errors
/// `Forbidden` for machines.
pub async fn ensure(tx: &Tx, now: DateTime<Utc>) -> Result<()> {
    refuse_machine(tx).await?;
    let claims = &tx.actor.claims;
    const PROFILE: &str = "INSERT INTO user_profiles (id, email, full_name, avatar_url, claims_at, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (id) DO NOTHING";
    let profile = [
        tx.me().into(),
        claims.email.clone().into(),
        claims.shown_name().into(),
        claims.avatar_url.clone().into(),
        issued_at(tx).into(),
        now.into(),
    ];
    tx.execute(Sql::with(PROFILE, profile)).await?;
    const PREFERENCES: &str = "INSERT INTO user_preferences (user_id, editor_theme, auto_save_enabled, \
        notification_preferences, ui_preferences, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (user_id) DO NOTHING";
    let unset = Preferences::unset(now);
    let preferences = [
        tx.me().into(),
        unset.editor_theme.into(),
        unset.auto_save_enabled.into(),
        unset.notification_preferences.into(),
        unset.ui_preferences.into(),
        now.into(),
    ];
    tx.execute(Sql::with(PREFERENCES, preferences)).await?;
    Ok(())
}

/// Locks the actor's profile until the transaction ends. On SQLite the transaction is the lock.
pub async fn lock(tx: &Tx) -> Result<()> {
    if !tx.is_sqlite() {
        let mut sql = Sql::new("UPDATE user_profiles SET updated_at = updated_at WHERE id = ");
        sql.bind(tx.me());
        tx.execute(sql).await?;
    }
    Ok(())
}

fn issued_at(tx: &Tx) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(tx.actor.claims.issued_at?, 0)
}

/// Updates the actor's profile from the token, except the fields that they have set themselves. Ignores a token older
/// than the one used last. Fields that the token lacks are unchanged.
pub async fn follow(tx: &Tx, now: DateTime<Utc>) -> Result<()> {
    const FOLLOW: &str = "UPDATE user_profiles SET email = coalesce($1, email), claims_at = coalesce($4, claims_at), \
        full_name = CASE WHEN own_full_name THEN full_name WHEN $2 IS NOT NULL THEN $2 \
            WHEN full_name IS NULL OR full_name = email THEN coalesce($1, full_name) ELSE full_name END, \
        avatar_url = CASE WHEN own_avatar_url THEN avatar_url ELSE coalesce($3, avatar_url) END, updated_at = $5 \
        WHERE id = $6 AND (claims_at IS NULL OR $4 IS NULL OR claims_at <= $4) \
          AND (email IS DISTINCT FROM coalesce($1, email) \
               OR NOT own_full_name AND full_name IS DISTINCT FROM coalesce($2, full_name, $1) \
               OR NOT own_avatar_url AND avatar_url IS DISTINCT FROM coalesce($3, avatar_url))";
    let claims = &tx.actor.claims;
    let said: [Value; 5] = [
        claims.email.clone().into(),
        claims.full_name.clone().into(),
        claims.avatar_url.clone().into(),
        issued_at(tx).into(),
        now.into(),
    ];
    if tx.is_sqlite() {
        tx.execute(Sql::with(FOLLOW, said.into_iter().chain([tx.me().into()]))).await?;
    } else {
        tx.execute(Sql::call("update_profile_from_token", said)).await?;
    }
    Ok(())
}

/// The profiles among `ids` that the actor can see: their own, and without e-mail those of everyone with whom they
/// share a project.
pub async fn by_ids(tx: &Tx, ids: &[impl Copy + Into<Needing<UserId>>]) -> Result<Vec<Profile>> {
    let sql = by_keys(tx, ids, |sql, needed, ids: &[UserId]| select(sql, tx, needed, ids));
    let rows: Vec<Row> = tx.all(sql).await?;
    Ok(rows.into_iter().map(Profile::from).collect())
}

/// Adds `SELECT …` of the profiles among `ids` that the actor can see.
fn select(sql: &mut Sql, tx: &Tx, needed: LongColumns, ids: &[UserId]) {
    profile_columns(sql.push("SELECT "), tx, needed);
    sql.push(" FROM user_profiles u WHERE u.id IN ")
        .list(ids.iter().map(|id| id.0))
        .push(" AND (u.id = ")
        .bind(tx.me());
    // Owners, collaborators (including invited ones), and authors: a former member is still the author of their work.
    for (table, project) in [
        ("projects", "id"),
        ("project_collaborators", "project_id"),
        ("project_former_collaborators", "project_id"),
        ("chat_sessions", "project_id"),
    ] {
        sql.push(&format!(" OR EXISTS (SELECT 1 FROM {table} s WHERE s.user_id = u.id AND s.{project} IN "));
        super::access::memberships(sql, tx.me()).push(")");
    }
    sql.push(")");
}

/// The actor's preferences; `None` if they have no profile.
pub async fn preferences(tx: &Tx) -> Result<Option<Preferences>> {
    const LONG: [Long<user_preferences::Column>; 2] = [
        (user_preferences::Column::NotificationPreferences, LongColumn::NotificationPreferences, JSON),
        (user_preferences::Column::UiPreferences, LongColumn::UiPreferences, JSON),
    ];
    let mut sql = Sql::new("SELECT ");
    columns::<user_preferences::Entity>(&mut sql, ("p", ""), &LONG, tx.needed());
    sql.push(" FROM user_preferences p WHERE p.user_id = ").bind(tx.me());
    one_preferences(tx, sql).await
}

async fn one_preferences(tx: &Tx, sql: Sql) -> Result<Option<Preferences>> {
    let rows: Vec<user_preferences::Model> = tx.all(sql).await?;
    Ok(rows.into_iter().next().map(|row| Preferences {
        editor_theme: row.editor_theme,
        auto_save_enabled: row.auto_save_enabled,
        notification_preferences: Json::stored(row.notification_preferences),
        ui_preferences: Json::stored(row.ui_preferences),
        updated_at: row.updated_at.to_utc(),
    }))
}

/// Changes the actor's profile.
///
/// # Errors
/// `Internal` if the actor has no profile.
pub async fn update(tx: &Tx, changes: ProfileChanges, now: DateTime<Utc>) -> Result<Profile> {
    let mut sql = Sql::new("UPDATE user_profiles SET updated_at = ");
    sql.bind(now);
    if let Some(full_name) = changes.full_name {
        sql.push(", own_full_name = true, full_name = ").bind(full_name);
    }
    if let Some(avatar_url) = changes.avatar_url {
        sql.push(", own_avatar_url = true, avatar_url = ").bind(avatar_url);
    }
    sql.push(" WHERE id = ").bind(tx.me()).push(" RETURNING ");
    profile_columns(&mut sql, tx, tx.needed());
    let rows: Vec<Row> = tx.all(sql).await?;
    let row = rows.into_iter().next().ok_or_else(|| Error::internal("a signed-in user has no profile"))?;
    Ok(row.into())
}

/// Changes the actor's preferences.
///
/// # Errors
/// `Internal` if the actor has no profile.
pub async fn update_preferences(tx: &Tx, changes: PreferenceChanges, now: DateTime<Utc>) -> Result<Preferences> {
    let mut sql = Sql::new("UPDATE user_preferences SET updated_at = ");
    sql.bind(now);
    if let Some(editor_theme) = changes.editor_theme {
        sql.push(", editor_theme = ").bind(editor_theme);
    }
    if let Some(auto_save_enabled) = changes.auto_save_enabled {
        sql.push(", auto_save_enabled = ").bind(auto_save_enabled);
    }
    if let Some(value) = changes.notification_preferences {
        sql.push(", notification_preferences = ").bind(value);
    }
    if let Some(value) = changes.ui_preferences {
        sql.push(", ui_preferences = ").bind(value);
    }
    sql.push(" WHERE user_id = ").bind(tx.me()).push(" RETURNING *");
    one_preferences(tx, sql).await?.ok_or_else(|| Error::internal("a user's preferences were not made"))
}
