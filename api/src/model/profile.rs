//! A user's profile and preferences.

use chrono::{DateTime, Utc};

use super::ids::UserId;
use super::json::Json;

/// Longest URL of a picture, in bytes. A `data:` URL of a picture of 64 KiB has 86 KiB.
pub const MAX_AVATAR_URL_BYTES: usize = 128 * 1024;

/// A user's profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The `sub` of the user's token.
    pub id: UserId,
    /// The e-mail address from the user's token.
    pub email: Option<String>,
    /// Name shown to others.
    pub full_name: Option<String>,
    /// URL of the picture shown to others.
    pub avatar_url: Option<String>,
    /// When the server created the profile.
    pub created_at: DateTime<Utc>,
    /// When the profile last changed.
    pub updated_at: DateTime<Utc>,
    /// Whether this is the user of an access token.
    pub is_machine: bool,
}

/// A user's preferences for the editor.
#[derive(Clone, Debug)]
pub struct Preferences {
    /// Theme of the editor.
    pub editor_theme: String,
    /// Whether the editor saves automatically.
    pub auto_save_enabled: bool,
    /// Notification settings, in a format defined by the client.
    pub notification_preferences: Json,
    /// Interface settings, in a format defined by the client.
    pub ui_preferences: Json,
    /// When they last changed.
    pub updated_at: DateTime<Utc>,
}

impl Preferences {
    /// The defaults, for a user without stored preferences.
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

/// Changes to a profile; `None` keeps the value.
#[derive(Clone, Debug, Default)]
pub struct ProfileChanges {
    /// New name, or none.
    pub full_name: Option<Option<String>>,
    /// New picture URL, or none.
    pub avatar_url: Option<Option<String>>,
}

/// Changes to preferences; `None` keeps the value.
#[derive(Clone, Debug, Default)]
pub struct PreferenceChanges {
    /// New theme.
    pub editor_theme: Option<String>,
    /// Whether to save automatically.
    pub auto_save_enabled: Option<bool>,
    /// New notification settings.
    pub notification_preferences: Option<Json>,
    /// New interface settings.
    pub ui_preferences: Option<Json>,
}
