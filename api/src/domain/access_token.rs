//! Access tokens: the owner of a project lets machines act in it.
//!
//! A token has a user of its own, a machine, who is a collaborator of the project. Therefore everything that holds for
//! members holds for it: what it can do, whose name its work shows, and how its subscriptions end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::collaborator::{CHANGED, check_role};
use super::project::{Target, read_back};
use super::write::Noun;
use super::{Services, Tx, Writer, check_name, policy};
use crate::metrics;
use crate::model::access_token::{AccessToken, MAX_NAME_CHARS, TokenSecret};
use crate::model::actor::{Actor, Claims};
use crate::model::clock;
use crate::model::enums::ProjectRole;
use crate::model::error::{Error, Result};
use crate::model::ids::{AccessTokenId, ProjectId};
use crate::model::project::Project;
pub use crate::storage::access_token::{by_ids, of_projects};
use crate::storage::revision::Named;
use crate::storage::{access_token, chat, collaborator};

/// The time in which a server records at most one use of a token.
const USE_PERIOD: Duration = Duration::from_secs(60);

const TOKEN: Noun = ("access token", "accessTokenId");

/// A token to create.
pub struct NewAccessToken {
    /// The project in which it acts.
    pub project_id: ProjectId,
    /// Its name, which its work shows.
    pub name: String,
    /// Editor or viewer.
    pub role: ProjectRole,
    /// When it expires; `None`: never.
    pub expires_at: Option<chrono::DateTime<chrono::Utc>>,
}

/// The user of an access token.
///
/// # Errors
/// `Unauthenticated` if the token is not valid.
pub async fn sign_in(services: &Arc<Services>, token: &str) -> Result<Actor> {
    let invalid = || refused("The access token is invalid, or was revoked.");
    let secret = TokenSecret::parse(token).ok_or_else(invalid)?;
    let machine = services.find_access_token(&secret).await?.ok_or_else(invalid)?;
    if machine.expires_at.is_some_and(|end| end <= clock::now()) {
        return Err(refused("The access token has expired."));
    }
    let actor = Actor {
        user_id: machine.user_id,
        expires_at: machine.expires_at.map(|end| end.timestamp()),
        verified_email: None,
        claims: Arc::new(Claims { full_name: machine.name, ..Claims::default() }),
        is_machine: true,
    };
    record_use(services, &actor);
    Ok(actor)
}

fn refused(message: &str) -> Error {
    Error::Unauthenticated(message.to_owned())
}

/// Records in the background that a token is in use.
fn record_use(services: &Arc<Services>, actor: &Actor) {
    let is_recent = |last: Instant| last.elapsed() < USE_PERIOD;
    if services.token_uses.get(&actor.user_id).is_some_and(is_recent) {
        return;
    }
    services.token_uses.insert(actor.user_id, Instant::now());
    let (services, actor) = (services.clone(), actor.clone());
    metrics::spawn(async move {
        let recorded = services.write(&actor, |writer: Writer| async move {
            let tx = writer.open().await?;
            access_token::touch(&tx, clock::now()).await?;
            tx.commit().await
        });
        if let Err(error) = recorded.await {
            tracing::debug!(error = error.message(), cause = error.cause(), "a use of an access token is not recorded");
        }
    });
}

/// Whether the token of a machine that is signed in was revoked.
///
/// # Errors
/// As [`Services::read`].
pub async fn is_revoked(services: &Services, actor: &Actor) -> Result<bool> {
    Ok(!access_token::has_project(&services.read(actor).await?).await?)
}

fn check(writer: &Writer, new: &NewAccessToken) -> Result<()> {
    check_role(new.role)?;
    check_name(writer.limits(), "name", &new.name)?;
    let length = new.name.chars().count();
    if length > MAX_NAME_CHARS {
        let message =
            format!("`name` has {length} characters; the name of an access token has at most {MAX_NAME_CHARS}.");
        return Err(Error::too_large("name", message));
    }
    if new.name.chars().any(char::is_control) {
        return Err(Error::bad_input("name", "A name cannot contain line breaks or other control characters."));
    }
    if new.expires_at.is_some_and(|end| end <= clock::now()) {
        return Err(Error::bad_input("expiresAt", "This is not in the future. A token without it does not expire."));
    }
    Ok(())
}

/// Creates an access token. Its secret cannot be read again. Returns the revision, too.
///
/// # Errors
/// `NotFound`; `Forbidden` unless the actor is the owner; `BadInput` for the owner's role, for an empty name, and for an
/// end in the past; `PayloadTooLarge` for a long name; `Conflict` if the project has too many.
pub async fn create(writer: Writer, new: NewAccessToken) -> Result<(AccessToken, TokenSecret, i32)> {
    check(&writer, &new)?;
    let project = new.project_id;
    let write = writer.begin_for(Target::Project(project), ("project", "projectId"), policy::may_manage_team).await?;
    let count = access_token::count(&write.tx, project).await?;
    let max = writer.limits().max_access_tokens;
    super::check_room(count, max, "projectId", "access tokens", "--max-access-tokens")?;
    let secret = TokenSecret::random();
    let token = AccessToken {
        id: AccessTokenId(clock::new_id()),
        project_id: project,
        user_id: secret.user_id(),
        name: new.name,
        role: new.role,
        created_by: writer.actor.user_id,
        created_at: write.locked.at,
        expires_at: new.expires_at,
        last_used_at: None,
    };
    access_token::create(&write.tx, &token, secret.sha256()).await?;
    let revision = write.locked.revision;
    write.commit(CHANGED, (token, secret, revision)).await
}

async fn present(tx: &Tx, id: AccessTokenId) -> Result<AccessToken> {
    let found = access_token::by_ids(tx, &[id]).await?;
    found.into_iter().next().ok_or_else(|| Error::not_found(TOKEN.0, TOKEN.1))
}

/// Revokes an access token, and ends its session. Its work keeps its name.
///
/// # Errors
/// `NotFound` unless the actor owns its project.
pub async fn revoke(writer: Writer, id: AccessTokenId) -> Result<Project> {
    let project = present(&writer.read().await?, id).await?.project_id;
    let target = Target::Project(project);
    // Also in a deleted project, whose members can still read it.
    let mut write = writer.begin_also_deleted(target, Named::default(), TOKEN, policy::may_manage_team).await?;
    let user = present(&write.tx, id).await?.user_id;
    write.about.session = chat::end_active(&write.tx, project, user, write.locked.at).await?;
    let closed = write.close(CHANGED).await?;
    // The token follows its membership.
    collaborator::remember(&closed.tx, project, user, closed.locked.at).await?;
    collaborator::remove(&closed.tx, project, user).await?;
    let project = read_back(&closed.tx, project).await?;
    closed.commit(project).await
}
