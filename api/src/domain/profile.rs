//! Profiles and preferences.

use std::sync::Arc;

use super::{Services, check_json, check_name, check_text, write};
use crate::model::actor::{Actor, Claims};
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
    write(services, &claims.actor, move |tx| Box::pin(async move { profile::ensure(tx, &owned, clock::now()).await }))
        .await?;
    seen(services, true);
    Ok(())
}

/// Changes the actor's own profile.
///
/// # Errors
/// `BadInput` for an empty name, `PayloadTooLarge` for a text over the limit.
pub async fn update(services: &Arc<Services>, actor: &Actor, changes: ProfileChanges) -> Result<Profile> {
    if let Some(full_name) = &changes.full_name {
        check_name(&services.limits, "fullName", full_name)?;
    }
    if let Some(avatar_url) = &changes.avatar_url {
        check_text(&services.limits, "avatarUrl", avatar_url)?;
    }
    write(services, actor, move |tx| Box::pin(async move { profile::update(tx, changes, clock::now()).await })).await
}

/// Changes the actor's own preferences.
///
/// # Errors
/// `BadInput` for an empty theme, `PayloadTooLarge` for a value over the limit.
pub async fn update_preferences(
    services: &Arc<Services>,
    actor: &Actor,
    changes: PreferenceChanges,
) -> Result<Preferences> {
    let limits = &services.limits;
    if let Some(editor_theme) = &changes.editor_theme {
        check_name(limits, "editorTheme", editor_theme)?;
    }
    check_json(limits, "notificationPreferences", changes.notification_preferences.as_ref())?;
    check_json(limits, "uiPreferences", changes.ui_preferences.as_ref())?;
    write(services, actor, move |tx| {
        Box::pin(async move { profile::update_preferences(tx, changes, clock::now()).await })
    })
    .await
}
