//! Users.

use async_graphql::{ComplexObject, Context, ID, Object, SimpleObject};

use super::insights::{self, Insights};
use crate::graphql::context::{Caller, caller};
use crate::graphql::enums::InsightBucket;
use crate::graphql::error::or_null;
use crate::graphql::loader::{InsightsOfUser, OwnPreferences};
use crate::graphql::scalar::{Json, Text, Time};
use crate::model::error::Result;
use crate::model::ids::UserId;
use crate::model::node_id::NodeId;
use crate::model::profile::{Preferences, Profile};

/// A user.
pub struct User(pub Profile);

/// A user. Others see the name and the picture of a user with whom they share a project.
#[Object]
impl User {
    /// Identifies the user: the `sub` of their tokens if it is a UUID, otherwise a UUID made of the issuer and the `sub`.
    pub(super) async fn id(&self) -> ID {
        self.0.id.0.into()
    }

    /// The e-mail address in the user's tokens. Null for all users except the caller.
    async fn email(&self, ctx: &Context<'_>) -> Option<&str> {
        self.0.email.as_deref().filter(|_| caller(ctx).is_ok_and(|caller| caller.actor.user_id == self.0.id))
    }

    /// The name shown to others.
    async fn full_name(&self) -> Option<&str> {
        self.0.full_name.as_deref()
    }

    /// The URL of the picture shown to others.
    async fn avatar_url(&self) -> Option<Text<'_>> {
        self.0.avatar_url.as_deref().map(Text)
    }

    /// When the service first saw a token of the user.
    async fn created_at(&self) -> Time {
        Time(self.0.created_at)
    }

    /// When the profile last changed.
    async fn updated_at(&self) -> Time {
        Time(self.0.updated_at)
    }

    /// Whether this is a machine with an access token, not a person. Its name is that of the token.
    async fn is_machine(&self) -> bool {
        self.0.is_machine
    }

    /// What the user did in a range of time, in the projects that the caller is a member of and that are not deleted.
    async fn insights(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The start of the range, in 2023 or later.")] from: Time,
        #[graphql(desc = "The end of the range, which is not part of it; later than `from`.")] to: Time,
        #[graphql(
            default_with = "InsightBucket::Day",
            desc = "The length of `buckets`. A range has at most 1,000 of them."
        )]
        bucket: InsightBucket,
        #[graphql(
            default_with = "Some(\"UTC\".to_owned())",
            desc = "The time zone, by its name in the IANA database, such as `Europe/Berlin`."
        )]
        time_zone: Option<String>,
    ) -> Option<Result<Insights>> {
        or_null(async {
            let range = insights::range(from, to, bucket, time_zone)?;
            let caller = caller(ctx)?;
            let Some((insights, behind)) = caller.load(InsightsOfUser(self.0.id, range)).await? else {
                return Ok(None);
            };
            for (project, revision) in behind {
                caller.services.roll_up(&caller.actor, project, revision);
            }
            Ok(Some(Insights::new(insights, None)))
        })
        .await
    }

    /// The user's preferences for the editor. Null for all users except the caller.
    async fn preferences(&self, ctx: &Context<'_>) -> Option<Result<UserPreferences>> {
        or_null(async { UserPreferences::of_profile(caller(ctx)?, &self.0).await }).await
    }
}

/// A user's preferences for the editor, visible only to that user.
#[derive(SimpleObject)]
#[graphql(complex)]
pub struct UserPreferences {
    #[graphql(skip)]
    user: UserId,
    /// The name of the editor's theme.
    editor_theme: String,
    /// Whether the editor saves automatically.
    auto_save_enabled: bool,
    /// The client's settings for notifications; `{}` by default.
    notification_preferences: Json,
    /// The client's settings for its interface; `{}` by default.
    ui_preferences: Json,
    /// When the preferences last changed.
    updated_at: Time,
}

#[ComplexObject]
impl UserPreferences {
    /// The globally unique id, for `node`; only for their user.
    pub(super) async fn id(&self) -> ID {
        NodeId::Preferences(self.user).to_string().into()
    }

    /// The user with these preferences.
    async fn user(&self, ctx: &Context<'_>) -> Option<Result<User>> {
        or_null(super::optional_user(ctx, Some(self.user))).await
    }
}

impl UserPreferences {
    /// The preferences of the caller; `None` for all other users.
    pub async fn of_profile(caller: &Caller, profile: &Profile) -> Result<Option<Self>> {
        if caller.actor.user_id != profile.id {
            return Ok(None);
        }
        let preferences = caller.load(OwnPreferences).await?;
        Ok(Some(Self::of(profile.id, preferences.unwrap_or_else(|| Preferences::unset(profile.updated_at)))))
    }

    /// The preferences of a user.
    pub fn of(user: UserId, row: Preferences) -> Self {
        Self {
            user,
            editor_theme: row.editor_theme,
            auto_save_enabled: row.auto_save_enabled,
            notification_preferences: Json(row.notification_preferences),
            ui_preferences: Json(row.ui_preferences),
            updated_at: Time(row.updated_at),
        }
    }
}
