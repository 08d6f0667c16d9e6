//! The caller's profile and preferences.

use async_graphql::{Context, InputObject, Object};

use crate::domain::profile;
use crate::graphql::context::caller;
use crate::graphql::error::{Attempt, attempt};
use crate::graphql::scalar::Json;
use crate::graphql::types::profile::{User, UserPreferences};
use crate::model::profile::{PreferenceChanges, ProfileChanges};

#[derive(Default)]
pub struct ProfileMutation;

/// What changes of a profile; what is left out stays.
#[derive(InputObject)]
struct UpdateProfileInput {
    /// The name shown to others.
    full_name: Option<String>,
    /// The URL of the picture shown to others.
    avatar_url: Option<String>,
}

/// What changes of the preferences; what is left out stays.
#[derive(InputObject)]
struct UpdatePreferencesInput {
    /// The theme of the editor, as the editor calls it.
    editor_theme: Option<String>,
    /// Whether the editor saves without being asked.
    auto_save_enabled: Option<bool>,
    /// The client's settings for notifications, whole.
    notification_preferences: Option<Json>,
    /// The client's settings for its interface, whole.
    ui_preferences: Option<Json>,
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
            let changes = ProfileChanges { full_name: input.full_name, avatar_url: input.avatar_url };
            let caller = caller(ctx)?;
            let profile = caller.write(|writer| profile::update(writer, changes));
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
            let done = caller.write(|writer| profile::update_preferences(writer, changes));
            Ok(UserPreferences::of(caller.actor.user_id, done.await?))
        })
        .await
    }
}
