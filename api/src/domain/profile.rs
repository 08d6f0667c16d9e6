//! Profiles and preferences.

use std::sync::Arc;

use super::{Services, Writer, check_json, check_name, check_text};
use crate::model::actor::Claims;
use crate::model::clock;
use crate::model::error::Result;
use crate::model::profile::{PreferenceChanges, Preferences, Profile, ProfileChanges};
use crate::storage::profile;
pub use crate::storage::profile::{by_ids, preferences};

/// Remembered users; more than a server has at once, and then it forgets them all, which costs a statement each.
const SEEN_USERS: usize = 100_000;

/// Makes the profile of a user whom this server has not seen yet.
///
/// # Errors
/// `Internal` where the database fails.
pub async fn sign_in(services: &Arc<Services>, claims: &Claims) -> Result<()> {
    let user = claims.actor.user_id;
    let seen = |services: &Services, add: bool| {
        let mut seen = services.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if add {
            if seen.len() >= SEEN_USERS {
                seen.clear();
            }
            seen.insert(user)
        } else {
            seen.contains(&user)
        }
    };
    if seen(services, false) {
        return Ok(());
    }
    let owned = claims.clone();
    let ensure = |writer: Writer| async move {
        let tx = writer.open().await?;
        profile::ensure(&tx, &owned, clock::now()).await?;
        tx.commit().await
    };
    services.write(&claims.actor, ensure).await?;
    seen(services, true);
    Ok(())
}

/// Changes the actor's own profile.
///
/// # Errors
/// `BadInput` for an empty name, `PayloadTooLarge` for a text over the limit.
pub async fn update(writer: Writer, changes: ProfileChanges) -> Result<Profile> {
    if let Some(full_name) = &changes.full_name {
        check_name(writer.limits(), "fullName", full_name)?;
    }
    if let Some(avatar_url) = &changes.avatar_url {
        check_text(writer.limits(), "avatarUrl", avatar_url)?;
    }
    let tx = writer.open().await?;
    let profile = profile::update(&tx, changes, clock::now()).await?;
    tx.commit().await?;
    Ok(profile)
}

/// Changes the actor's own preferences.
///
/// # Errors
/// `BadInput` for an empty theme, `PayloadTooLarge` for a value over the limit.
pub async fn update_preferences(writer: Writer, changes: PreferenceChanges) -> Result<Preferences> {
    let limits = writer.limits();
    if let Some(editor_theme) = &changes.editor_theme {
        check_name(limits, "editorTheme", editor_theme)?;
    }
    check_json(limits, "notificationPreferences", changes.notification_preferences.as_ref())?;
    check_json(limits, "uiPreferences", changes.ui_preferences.as_ref())?;
    let tx = writer.open().await?;
    let preferences = profile::update_preferences(&tx, changes, clock::now()).await?;
    tx.commit().await?;
    Ok(preferences)
}
