//! Profiles and preferences.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Services, Writer, check_json, check_name, check_text, policy};
use crate::metrics;
use crate::model::actor::Actor;
use crate::model::clock;
use crate::model::error::{Error, Result};
use crate::model::profile::{MAX_AVATAR_URL_BYTES, PreferenceChanges, Preferences, Profile, ProfileChanges};
use crate::storage::profile;
pub use crate::storage::profile::{by_ids, preferences};

/// Longest time that a response waits for the profile of a user whom this server has not seen yet.
const MEETING_TIME: Duration = Duration::from_millis(500);

/// Creates the profile of a user whom this server has not seen yet, or updates it from the token. Runs in parallel with
/// the request, which does not need it: the request waits only briefly, and not for a read-only database. The user of an
/// access token has one already, which does not change.
pub async fn meet(services: &Arc<Services>, actor: &Actor) {
    if actor.is_machine || !services.met.begin(actor) {
        return;
    }
    let (services, actor) = (services.clone(), actor.clone());
    let meeting = metrics::spawn(async move {
        let made = services.write(&actor, |writer: Writer| async move {
            let tx = writer.open().await?;
            profile::ensure(&tx, clock::now()).await?;
            profile::follow(&tx, clock::now()).await?;
            tx.commit().await
        });
        if let Err(error) = made.await {
            tracing::warn!(error = error.message(), cause = error.cause(), "a profile is not made yet");
            services.met.failed(actor.user_id);
        }
    });
    let _ = timeout(MEETING_TIME, meeting).await;
}

/// The profile of an actor without one in the database: the token's claims.
pub fn of_claims(services: &Services, actor: &Actor) -> Profile {
    // The next request creates the profile again.
    services.met.forget(actor.user_id);
    let now = clock::now();
    Profile {
        id: actor.user_id,
        email: actor.claims.email.clone(),
        full_name: actor.claims.shown_name(),
        avatar_url: actor.claims.avatar_url.clone(),
        created_at: now,
        updated_at: now,
        is_machine: actor.is_machine,
    }
}

/// Changes the actor's profile.
///
/// # Errors
/// `Forbidden` for machines, `BadInput` for an empty name, `PayloadTooLarge` for a text over the limit.
pub async fn update(writer: Writer, changes: ProfileChanges) -> Result<Profile> {
    policy::may_act_outside_projects(&writer.actor)?;
    if let Some(Some(full_name)) = &changes.full_name {
        check_name(writer.limits(), "fullName", full_name)?;
    }
    if let Some(Some(avatar_url)) = &changes.avatar_url {
        check_text(writer.limits(), "avatarUrl", avatar_url)?;
        if avatar_url.len() > MAX_AVATAR_URL_BYTES {
            let size = avatar_url.len();
            let message = format!("`avatarUrl` has {size} bytes; at most {MAX_AVATAR_URL_BYTES} are allowed.");
            return Err(Error::too_large("avatarUrl", message));
        }
    }
    let tx = writer.open().await?;
    profile::ensure(&tx, clock::now()).await?;
    let profile = profile::update(&tx, changes, clock::now()).await?;
    tx.commit().await?;
    Ok(profile)
}

/// Changes the actor's preferences.
///
/// # Errors
/// `Forbidden` for machines, `BadInput` for an empty theme, `PayloadTooLarge` for a value over the limit.
pub async fn update_preferences(writer: Writer, changes: PreferenceChanges) -> Result<Preferences> {
    policy::may_act_outside_projects(&writer.actor)?;
    let limits = writer.limits();
    if let Some(editor_theme) = &changes.editor_theme {
        check_name(limits, "editorTheme", editor_theme)?;
    }
    check_json(limits, "notificationPreferences", changes.notification_preferences.as_ref())?;
    check_json(limits, "uiPreferences", changes.ui_preferences.as_ref())?;
    let tx = writer.open().await?;
    profile::ensure(&tx, clock::now()).await?;
    let preferences = profile::update_preferences(&tx, changes, clock::now()).await?;
    tx.commit().await?;
    Ok(preferences)
}
