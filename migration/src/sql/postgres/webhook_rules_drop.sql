DROP POLICY within_the_log ON webhook_deliveries;
DROP POLICY stays_within_the_log ON webhooks;
DROP POLICY within_the_log ON webhooks;
ALTER TABLE webhook_deliveries
    DROP CONSTRAINT webhook_deliveries_kind, DROP CONSTRAINT webhook_deliveries_attempts, DROP CONSTRAINT webhook_deliveries_revision;
ALTER TABLE webhooks
    DROP CONSTRAINT webhooks_url, DROP CONSTRAINT webhooks_kinds, DROP CONSTRAINT webhooks_secret_number,
    DROP CONSTRAINT webhooks_failed_attempts, DROP CONSTRAINT webhooks_revision;
