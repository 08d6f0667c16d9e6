//! Webhooks and their deliveries.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

use super::enums::{DeliveryStatus, EventKind};
use super::ids::{ProjectId, UserId, WebhookDeliveryId, WebhookId};

/// A webhook of a project. It is a subscriber with a stored position: events after `revision` follow in order.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`graphql/types/webhook.rs` describes the fields")]
pub struct Webhook {
    pub id: WebhookId,
    pub project_id: ProjectId,
    pub url: String,
    /// Empty for all kinds.
    pub kinds: Vec<EventKind>,
    pub is_enabled: bool,
    /// The number of its secret, which a rotation raises.
    pub secret_number: i32,
    /// Until when the secret with the previous number also signs.
    pub previous_secret_until: Option<DateTime<Utc>>,
    /// The newest revision that is delivered.
    pub revision: i32,
    /// The failed attempts of the next delivery.
    pub failed_attempts: i32,
    pub failing_since: Option<DateTime<Utc>>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub disabled_at: Option<DateTime<Utc>>,
    pub disabled_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Webhook {
    /// The numbers of the secrets that sign a message at a time, the newest first.
    pub fn secrets(&self, now: DateTime<Utc>) -> impl Iterator<Item = i32> {
        let previous = self.previous_secret_until.is_some_and(|until| now < until);
        [Some(self.secret_number), previous.then(|| self.secret_number.saturating_sub(1))].into_iter().flatten()
    }
}

/// An enabled webhook, with the user on whose behalf it is delivered.
#[derive(Clone, Copy, Debug)]
pub struct WaitingWebhook {
    /// The webhook.
    pub id: WebhookId,
    /// Its project.
    pub project: ProjectId,
    /// The owner of the project.
    pub owner: UserId,
    /// Whether it has something to deliver now, and no server delivers it.
    pub is_due: bool,
}

/// A delivery of an event to a webhook.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`graphql/types/webhook.rs` describes the fields")]
pub struct Delivery {
    pub id: WebhookDeliveryId,
    pub webhook_id: WebhookId,
    pub project_id: ProjectId,
    pub revision: i32,
    pub kind: EventKind,
    pub status: DeliveryStatus,
    pub attempts: i32,
    pub response_status: Option<i32>,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_attempt_at: DateTime<Utc>,
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
}

/// Number of the newest deliveries of a webhook that are kept.
pub const KEPT_DELIVERIES: i64 = 1_000;

/// The result of an attempt to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// Why it failed; `None` if the receiver has accepted the message.
    pub error: Option<String>,
}

/// The status by which a receiver unsubscribes (410 Gone).
pub const GONE: u16 = 410;

/// The pause after the first failed attempt; each further one is three times as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(3 * 60 * 60);

/// The pause after a number of failed attempts, from 1. `jitter`, from 0 to 1, varies it by a fifth in both directions, so
/// that the webhooks of a receiver do not return all at once.
pub fn pause_after(failed_attempts: i32, jitter: f64) -> Duration {
    let exponent = u32::try_from(failed_attempts.saturating_sub(1)).unwrap_or_default();
    let pause = 3_u32.checked_pow(exponent).map_or(LONGEST_PAUSE, |factor| FIRST_PAUSE.saturating_mul(factor));
    pause.min(LONGEST_PAUSE).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
}

/// When to try again after a failed attempt; `None` if the delivery has failed for the whole time of retries. The last
/// attempt is at the end of that time.
pub fn retry_at(
    failed_attempts: i32,
    failing_since: DateTime<Utc>,
    now: DateTime<Utc>,
    retry_time: Duration,
    jitter: f64,
) -> Option<DateTime<Utc>> {
    let end = later(failing_since, retry_time);
    (now < end).then(|| later(now, pause_after(failed_attempts, jitter)).min(end))
}

/// A time after another, in whole microseconds, as both databases store it.
pub fn later(time: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    let later = TimeDelta::from_std(by).ok().and_then(|by| time.checked_add_signed(by));
    later.unwrap_or(DateTime::<Utc>::MAX_UTC).trunc_subsecs(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn pauses_grow_up_to_three_hours_and_vary_by_a_fifth() {
        let seconds: Vec<u64> = (1..=9).map(|failed| pause_after(failed, 0.5).as_secs()).collect();
        assert_eq!(seconds, [5, 15, 45, 135, 405, 1_215, 3_645, 10_800, 10_800]);
        assert_eq!([0.0, 1.0, -7.0, 7.0].map(|jitter| pause_after(1, jitter).as_secs()), [4, 6, 4, 6]);
        for failed in [i32::MIN, 0, i32::MAX] {
            assert!(pause_after(failed, 1.0) <= LONGEST_PAUSE.mul_f64(1.2), "{failed}");
        }
    }

    #[test]
    fn attempts_continue_for_a_day_and_the_last_one_is_at_its_end() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for jitter in [0.0, 0.5, 1.0] {
            let (mut now, mut failed) = (start, 1);
            while let Some(next) = retry_at(failed, start, now, DAY, jitter) {
                assert!(next > now && next <= start + DAY, "{failed}: {now} {next}");
                (now, failed) = (next, failed + 1);
            }
            assert_eq!(now, start + DAY);
            assert!((13..=20).contains(&failed), "{failed}");
        }
        assert_eq!(retry_at(1, start, start, Duration::from_secs(1), 0.5), Some(start + Duration::from_secs(1)));
    }
}
