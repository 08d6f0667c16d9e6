//! A user's profile and preferences.

use chrono::{DateTime, Utc};

use super::ids::UserId;
use super::json::Json;

/// A user as the service knows them.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The `sub` of their token.
    pub id: UserId,
    /// E-mail address of their token.
    pub email: Option<String>,
    /// Name shown to others.
    pub full_name: Option<String>,
    /// Picture shown to others.
    pub avatar_url: Option<String>,
    /// When the service first saw them.
    pub created_at: DateTime<Utc>,
    /// When the profile last changed.
    pub updated_at: DateTime<Utc>,
}

/// How a user wants their editor.
#[derive(Clone, Debug)]
pub struct Preferences {
    /// Theme of the editor.
    pub editor_theme: String,
    /// Whether the editor saves by itself.
    pub auto_save_enabled: bool,
    /// The client's own settings for notifications.
    pub notification_preferences: Json,
    /// The client's own settings for its interface.
    pub ui_preferences: Json,
    /// When they last changed.
    pub updated_at: DateTime<Utc>,
}

impl Preferences {
    /// Of a user who has set none.
    pub fn unset(at: DateTime<Utc>) -> Self {
        Self {
            editor_theme: "vs-dark".to_owned(),
            auto_save_enabled: true,
            notification_preferences: Json::object(),
            ui_preferences: Json::object(),
            updated_at: at,
        }
    }
}

/// Changes to a profile; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct ProfileChanges {
    /// New name.
    pub full_name: Option<String>,
    /// New picture.
    pub avatar_url: Option<String>,
}

/// Changes to preferences; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct PreferenceChanges {
    /// New theme.
    pub editor_theme: Option<String>,
    /// Whether to save automatically.
    pub auto_save_enabled: Option<bool>,
    /// New settings for notifications.
    pub notification_preferences: Option<Json>,
    /// New settings for the interface.
    pub ui_preferences: Option<Json>,
}
