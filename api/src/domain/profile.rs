//! Profiles and preferences.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Services, Writer, check_json, check_name, check_text};
use crate::metrics;
use crate::model::actor::{Actor, Claims};
use crate::model::clock;
use crate::model::error::Result;
use crate::model::ids::UserId;
use crate::model::profile::{PreferenceChanges, Preferences, Profile, ProfileChanges};
use crate::storage::profile;
pub use crate::storage::profile::{by_ids, preferences};

/// Maximum number of remembered users. When it is exceeded all are forgotten, which costs a statement each.
const SEEN_USERS: usize = 100_000;

/// Longest time that a response waits for the profile of a user whom this server has not seen yet.
const MEETING_TIME: Duration = Duration::from_millis(500);

/// Pause after a failed attempt to create a profile.
const PAUSE: Duration = Duration::from_secs(1);

/// Users whose profile exists and matches their token, or is being written, as far as this server knows. Nothing relies
/// on it: writes that refer to the profile create it themselves, and reads work without it.
#[derive(Default)]
pub struct Met(Mutex<Known>);

/// The claims of the newest token of a user that this server has seen.
#[derive(Clone, Copy)]
struct Said {
    hash: u64,
    issued_at: Option<i64>,
}

impl Said {
    fn by(claims: &Claims) -> Self {
        let mut hasher = DefaultHasher::new();
        (&claims.email, &claims.full_name, &claims.avatar_url).hash(&mut hasher);
        Self { hash: hasher.finish(), issued_at: claims.issued_at }
    }
}

#[derive(Default)]
struct Known {
    users: HashMap<UserId, Said>,
    failed: Option<Instant>,
}

impl Met {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to update a profile: for the first token of a user, or for a different one that is not older.
    fn begin(&self, actor: &Actor) -> bool {
        let said = Said::by(&actor.claims);
        let mut known = self.lock();
        let is_known = known.users.get(&actor.user_id).is_some_and(|before| {
            before.hash == said.hash
                || matches!((before.issued_at, said.issued_at), (Some(before), Some(now)) if now < before)
        });
        if is_known || known.failed.is_some_and(|failed| failed.elapsed() < PAUSE) {
            return false;
        }
        if known.users.len() >= SEEN_USERS {
            known.users.clear();
        }
        known.users.insert(actor.user_id, said);
        true
    }

    /// The profile of a user turned out to be missing.
    fn forget(&self, user: UserId) {
        self.lock().users.remove(&user);
    }
}

/// Creates the profile of a user whom this server has not seen yet, or updates it from the token. Runs in parallel with
/// the request, which does not need it: the request waits only briefly, and not for a read-only database.
pub async fn meet(services: &Arc<Services>, actor: &Actor) {
    if !services.met.begin(actor) {
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
            services.met.forget(actor.user_id);
            services.met.lock().failed = Some(Instant::now());
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
    }
}

/// Changes the actor's profile.
///
/// # Errors
/// `BadInput` for an empty name, `PayloadTooLarge` for a text over the limit.
pub async fn update(writer: Writer, changes: ProfileChanges) -> Result<Profile> {
    if let Some(Some(full_name)) = &changes.full_name {
        check_name(writer.limits(), "fullName", full_name)?;
    }
    if let Some(Some(avatar_url)) = &changes.avatar_url {
        check_text(writer.limits(), "avatarUrl", avatar_url)?;
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
/// `BadInput` for an empty theme, `PayloadTooLarge` for a value over the limit.
pub async fn update_preferences(writer: Writer, changes: PreferenceChanges) -> Result<Preferences> {
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
