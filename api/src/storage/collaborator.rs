//! `project_collaborators`, `project_invitations` and `project_former_collaborators`: present, invited and former
//! members of projects.

use chrono::{DateTime, Utc};
use entity::views::pending_invitations;
use entity::{project_collaborators, project_invitations};

use super::access::{Member, is_member, role};
use super::columns::{Long, TEXT, columns};
use super::db::Tx;
use super::sql::{Order, Sql};
use crate::model::collaborator::{Collaborator, EmailAddress, EmailInvitation, Invitation};
use crate::model::enums::ProjectRole;
use crate::model::error::Result;
use crate::model::ids::{ProjectId, UserId};
use crate::model::long_columns::LongColumn;
use crate::model::page::{Cursor, Key, KeyKind, Page, Slice};
use crate::model::profile::Profile;

const NEWEST_FIRST: Order =
    Order { columns: &[("i.invited_at", KeyKind::Time), ("i.project_id", KeyKind::Id)], descending: true };

fn collaborator(row: project_collaborators::Model) -> Result<Collaborator> {
    Ok(Collaborator {
        project_id: ProjectId(row.project_id),
        user_id: UserId(row.user_id),
        role: role(&row.role)?,
        invited_by: row.invited_by.map(UserId),
        invited_at: row.invited_at.to_utc(),
        accepted_at: row.accepted_at.map(|time| time.to_utc()),
    })
}

fn email_invitation(row: project_invitations::Model) -> Result<EmailInvitation> {
    Ok(EmailInvitation {
        project_id: ProjectId(row.project_id),
        email: EmailAddress::parse(&row.email, "email")?,
        role: role(&row.role)?,
        invited_by: row.invited_by.map(UserId),
        invited_at: row.invited_at.to_utc(),
    })
}

fn invitation(row: pending_invitations::Model) -> Result<Invitation> {
    let inviter = match (row.inviter_id, row.inviter_created_at, row.inviter_updated_at) {
        (Some(id), Some(created_at), Some(updated_at)) => Some(Profile {
            id: UserId(id),
            email: None,
            full_name: row.inviter_name,
            avatar_url: row.inviter_avatar_url,
            created_at: created_at.to_utc(),
            updated_at: updated_at.to_utc(),
            // Only people invite.
            is_machine: false,
        }),
        _ => None,
    };
    Ok(Invitation {
        project_id: ProjectId(row.project_id),
        project_name: row.project_name,
        role: role(&row.role)?,
        invited_by: inviter,
        invited_at: row.invited_at.to_utc(),
    })
}

/// The collaborators of projects.
pub async fn of_projects(tx: &Tx, projects: &[Member<'_>]) -> Result<Vec<Collaborator>> {
    let mut sql = Sql::new("SELECT k.* FROM project_collaborators k WHERE k.project_id IN ");
    sql.list(projects.iter().copied()).push(" ORDER BY k.invited_at, k.user_id");
    let rows: Vec<project_collaborators::Model> = tx.all(sql).await?;
    rows.into_iter().map(collaborator).collect()
}

/// A user's entry in a project of which the actor is a member.
pub async fn one(tx: &Tx, project: ProjectId, user: UserId) -> Result<Option<Collaborator>> {
    let mut sql = Sql::new("SELECT k.* FROM project_collaborators k WHERE k.project_id = ");
    sql.bind(project.0).push(" AND k.user_id = ").bind(user.0).push(" AND ");
    is_member(&mut sql, "k.project_id", tx.me());
    let rows: Vec<project_collaborators::Model> = tx.all(sql).await?;
    rows.into_iter().next().map(collaborator).transpose()
}

/// The number of collaborators and invitations of a project, without the owner.
pub async fn count(tx: &Tx, project: ProjectId) -> Result<i64> {
    let mut sql = Sql::new("SELECT (SELECT count(*) FROM project_collaborators WHERE project_id = ");
    sql.bind(project.0).push(") + (SELECT count(*) FROM project_invitations WHERE project_id = ").bind(project.0);
    tx.count({
        sql.push(") AS n");
        sql
    })
    .await
}

/// Invites a user to a locked project, or changes the role of the invitation. Returns whether the user exists; machines
/// are not invited.
pub async fn invite(tx: &Tx, invited: &Collaborator) -> Result<bool> {
    // Row-level security hides the profiles of others from the owner.
    let machine = if tx.is_sqlite() {
        "EXISTS (SELECT 1 FROM user_profiles u WHERE u.id = $2 AND u.is_machine)"
    } else {
        "is_machine($2)"
    };
    let invite = format!(
        "INSERT INTO project_collaborators (project_id, user_id, role, invited_by, invited_at, accepted_at) \
         SELECT $1, $2, $3, $4, $5, $6 WHERE NOT {machine} ON CONFLICT (project_id, user_id) DO UPDATE SET \
         role = excluded.role, invited_by = excluded.invited_by, invited_at = excluded.invited_at"
    );
    let values = [
        invited.project_id.0.into(),
        invited.user_id.0.into(),
        invited.role.as_str().into(),
        invited.invited_by.map(|id| id.0).into(),
        invited.invited_at.into(),
        invited.accepted_at.into(),
    ];
    tx.execute_referring(Sql::with(&invite, values)).await
}

/// Changes the role of a collaborator of a locked project. False for a machine, whose role does not change.
pub async fn set_role(tx: &Tx, project: ProjectId, user: UserId, role: ProjectRole) -> Result<bool> {
    let mut sql = Sql::new("UPDATE project_collaborators SET role = ");
    sql.bind(role.as_str()).push(" WHERE project_id = ").bind(project.0).push(" AND user_id = ").bind(user.0);
    sql.push(" AND NOT EXISTS (SELECT 1 FROM user_profiles u WHERE u.id = user_id AND u.is_machine)");
    Ok(tx.execute(sql).await? > 0)
}

/// Removes a collaborator from a locked project.
pub async fn remove(tx: &Tx, project: ProjectId, user: UserId) -> Result<()> {
    let mut sql = Sql::new("DELETE FROM project_collaborators WHERE project_id = ");
    sql.bind(project.0).push(" AND user_id = ").bind(user.0);
    tx.execute(sql).await?;
    Ok(())
}

/// Records a former member of a locked project, so that their name stays visible on their work. Older invitations of
/// their e-mail address are no longer valid for them.
pub async fn remember(tx: &Tx, project: ProjectId, user: UserId, now: DateTime<Utc>) -> Result<()> {
    const REMEMBER: &str = "INSERT INTO project_former_collaborators (project_id, user_id, left_at) VALUES ($1, $2, $3) \
        ON CONFLICT (project_id, user_id) DO UPDATE SET left_at = excluded.left_at";
    tx.execute(Sql::with(REMEMBER, [project.0.into(), user.0.into(), now.into()])).await?;
    Ok(())
}

/// Whether a member has left a locked project at or after this time.
pub async fn has_lost_since(tx: &Tx, project: ProjectId, time: DateTime<Utc>) -> Result<bool> {
    let mut sql = Sql::new("SELECT count(*) AS n FROM project_former_collaborators WHERE project_id = ");
    sql.bind(project.0).push(" AND left_at >= ").bind(time);
    Ok(tx.count(sql).await? > 0)
}

/// The invitations of e-mail addresses to projects that the actor owns.
pub async fn email_invitations(tx: &Tx, projects: &[ProjectId]) -> Result<Vec<EmailInvitation>> {
    let mut sql =
        Sql::new("SELECT i.* FROM project_invitations i JOIN projects p ON p.id = i.project_id WHERE i.project_id IN ");
    sql.list(projects.iter().map(|id| id.0)).push(" AND p.user_id = ").bind(tx.me());
    sql.push(" ORDER BY i.invited_at, i.email");
    let rows: Vec<project_invitations::Model> = tx.all(sql).await?;
    rows.into_iter().map(email_invitation).collect()
}

/// Invites an e-mail address to a locked project, or changes the role of the invitation.
pub async fn invite_email(tx: &Tx, invited: &EmailInvitation) -> Result<()> {
    const INVITE: &str = "INSERT INTO project_invitations (project_id, email, role, invited_by, invited_at) \
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (project_id, email) DO UPDATE SET role = excluded.role, \
        invited_by = excluded.invited_by, invited_at = excluded.invited_at";
    let values = [
        invited.project_id.0.into(),
        invited.email.as_str().into(),
        invited.role.as_str().into(),
        invited.invited_by.map(|id| id.0).into(),
        invited.invited_at.into(),
    ];
    tx.execute(Sql::with(INVITE, values)).await?;
    Ok(())
}

/// Withdraws the invitation of an address to a locked project. Returns whether there was one.
pub async fn withdraw_email(tx: &Tx, project: ProjectId, email: &EmailAddress) -> Result<bool> {
    let mut sql = Sql::new("DELETE FROM project_invitations WHERE project_id = ");
    sql.bind(project.0).push(" AND email = ").bind(email.as_str());
    Ok(tx.execute(sql).await? > 0)
}

/// Adds the actor's e-mail address if it is verified, and null otherwise.
fn my_address(sql: &mut Sql, tx: &Tx) {
    sql.bind(tx.actor.verified_email.as_ref().map(|email| email.as_str().to_owned()));
}

/// Adds the condition that the actor has not left the project since the invitation `i`: a removed member cannot return
/// by an older invitation of their address.
fn not_left_since(sql: &mut Sql, tx: &Tx) {
    sql.push(" AND NOT EXISTS (SELECT 1 FROM project_former_collaborators f WHERE f.project_id = i.project_id AND f.user_id = ");
    sql.bind(tx.me()).push(" AND f.left_at >= i.invited_at)");
}

/// Adds the actor's open invitations. If there are two to one project, the invitation of the user takes precedence.
pub(super) fn mine<'s>(sql: &'s mut Sql, tx: &Tx) -> &'s mut Sql {
    sql.push(" FROM pending_invitations i WHERE (i.user_id = ").bind(tx.me()).push(" OR (i.email = ");
    my_address(sql, tx);
    for (table, project) in [("projects", "id"), ("project_collaborators", "project_id")] {
        sql.push(&format!(
            " AND NOT EXISTS (SELECT 1 FROM {table} t WHERE t.{project} = i.project_id AND t.user_id = "
        ));
        sql.bind(tx.me()).push(")");
    }
    not_left_since(sql, tx);
    sql.push("))")
}

/// Adds `SELECT …` of the invitations `i`, up to the `FROM`.
fn select_invitations<'s>(sql: &'s mut Sql, tx: &Tx) -> &'s mut Sql {
    const LONG: [Long<pending_invitations::Column>; 1] =
        [(pending_invitations::Column::InviterAvatarUrl, LongColumn::AvatarUrl, TEXT)];
    columns::<pending_invitations::Entity>(sql.push("SELECT "), ("i", ""), &LONG, tx.needed());
    sql
}

/// The actor's open invitations, newest first.
///
/// # Errors
/// `BadInput` for a cursor of another list.
pub async fn invitations(tx: &Tx, page: &Page) -> Result<Slice<Invitation>> {
    let mut sql = Sql::new("");
    NEWEST_FIRST.page(mine(select_invitations(&mut sql, tx), tx), page)?;
    let rows: Vec<pending_invitations::Model> = tx.all(sql).await?;
    let rows = rows.into_iter().map(|row| {
        let row = invitation(row)?;
        Ok((Cursor(vec![Key::Time(row.invited_at), Key::Id(row.project_id.0)]), row))
    });
    Ok(Slice::cut(rows.collect::<Result<_>>()?, page))
}

/// The actor's open invitations to these projects.
pub async fn invitations_into(tx: &Tx, projects: &[ProjectId]) -> Result<Vec<Invitation>> {
    let mut sql = Sql::new("");
    mine(select_invitations(&mut sql, tx), tx).push(" AND i.project_id IN ").list(projects.iter().map(|id| id.0));
    let rows: Vec<pending_invitations::Model> = tx.all(sql).await?;
    rows.into_iter().map(invitation).collect()
}

/// Total length of the list of [`invitations`].
pub async fn invitations_count(tx: &Tx) -> Result<i64> {
    let mut sql = Sql::new("SELECT count(*) AS n");
    mine(&mut sql, tx);
    tx.count(sql).await
}

/// Whether the actor has an open invitation to a project.
pub async fn is_invited(tx: &Tx, project: ProjectId) -> Result<bool> {
    let mut sql = Sql::new("SELECT count(*) AS n");
    mine(&mut sql, tx).push(" AND i.project_id = ").bind(project.0);
    Ok(tx.count(sql).await? > 0)
}

/// Accepts the actor's invitation to a locked project. Returns whether there still was one.
pub async fn accept(tx: &Tx, project: ProjectId, now: DateTime<Utc>) -> Result<bool> {
    let mut sql = Sql::new("UPDATE project_collaborators SET accepted_at = ");
    sql.bind(now).push(" WHERE accepted_at IS NULL AND project_id = ").bind(project.0);
    sql.push(" AND user_id = ").bind(tx.me());
    let mut accepted = tx.execute(sql).await?;
    if accepted == 0 {
        let mut sql = Sql::new(
            "INSERT INTO project_collaborators (project_id, user_id, role, invited_by, invited_at, accepted_at) SELECT project_id, ",
        );
        sql.bind(tx.me()).push(", role, invited_by, invited_at, ").bind(now);
        sql.push(" FROM project_invitations i WHERE project_id = ").bind(project.0).push(" AND email = ");
        my_address(&mut sql, tx);
        not_left_since(&mut sql, tx);
        accepted = tx.execute(sql).await?;
    }
    forget_my_address(tx, project).await?;
    Ok(accepted > 0)
}

/// Removes the actor's open invitations to a locked project. Returns whether there still was one.
pub async fn decline(tx: &Tx, project: ProjectId) -> Result<bool> {
    let mut sql = Sql::new("DELETE FROM project_collaborators WHERE accepted_at IS NULL AND project_id = ");
    sql.bind(project.0).push(" AND user_id = ").bind(tx.me());
    let by_id = tx.execute(sql).await?;
    let by_address = forget_my_address(tx, project).await?;
    Ok(by_id + by_address > 0)
}

async fn forget_my_address(tx: &Tx, project: ProjectId) -> Result<u64> {
    let mut sql = Sql::new("DELETE FROM project_invitations AS i WHERE project_id = ");
    sql.bind(project.0).push(" AND email = ");
    my_address(&mut sql, tx);
    not_left_since(&mut sql, tx);
    tx.execute(sql).await
}
