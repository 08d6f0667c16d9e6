//! The caller's profile and preferences.

use async_graphql::{Context, InputObject, MaybeUndefined, Object};

use crate::domain::profile;
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::scalar::Json;
use crate::graphql::types::profile::{User, UserPreferences};
use crate::model::profile::{PreferenceChanges, ProfileChanges};

#[derive(Default)]
pub struct ProfileMutation;

/// Changes of a profile.
#[derive(InputObject)]
struct UpdateProfileInput {
    /// The name shown to others. Null removes it. Absent: unchanged.
    full_name: MaybeUndefined<String>,
    /// The URL of the picture shown to others, of at most 128 KiB: a small picture can be in a `data:` URL. Null removes
    /// it. Absent: unchanged.
    avatar_url: MaybeUndefined<String>,
}

/// Changes of the preferences.
#[derive(InputObject)]
struct UpdatePreferencesInput {
    /// The name of the editor's theme. Null or absent: unchanged.
    editor_theme: Option<String>,
    /// Whether the editor saves automatically. Null or absent: unchanged.
    auto_save_enabled: Option<bool>,
    /// All of the client's settings for notifications. Null or absent: unchanged.
    notification_preferences: Option<Json>,
    /// All of the client's settings for its interface. Null or absent: unchanged.
    ui_preferences: Option<Json>,
}

/// The new value of a field; `None` keeps the old one.
fn changed(value: MaybeUndefined<String>) -> Option<Option<String>> {
    match value {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

#[Object]
impl ProfileMutation {
    /// Changes the caller's profile.
    async fn update_profile(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The fields to change.")] input: UpdateProfileInput,
    ) -> Attempt<User> {
        attempt(async {
            let changes = ProfileChanges { full_name: changed(input.full_name), avatar_url: changed(input.avatar_url) };
            let caller = caller(ctx)?;
            let profile = caller.write(ctx, |writer| profile::update(writer, changes));
            Ok(User(profile.await?))
        })
        .await
    }

    /// Changes the caller's preferences.
    async fn update_preferences(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The fields to change.")] input: UpdatePreferencesInput,
    ) -> Attempt<UserPreferences> {
        attempt(async {
            let changes = PreferenceChanges {
                editor_theme: input.editor_theme,
                auto_save_enabled: input.auto_save_enabled,
                notification_preferences: input.notification_preferences.map(|json| json.0),
                ui_preferences: input.ui_preferences.map(|json| json.0),
            };
            let caller = caller(ctx)?;
            let done = caller.write(ctx, |writer| profile::update_preferences(writer, changes));
            Ok(UserPreferences::of(caller.actor.user_id, done.await?))
        })
        .await
    }
}
