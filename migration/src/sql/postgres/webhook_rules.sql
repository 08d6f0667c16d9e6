-- Rules for the rows of webhooks and deliveries: their owners can write them directly, and a row that the service cannot read
-- or move would stay for the next owner. The service has written no row that breaks them.

DELETE FROM webhooks w USING projects p WHERE p.id = w.project_id AND (
    w.revision NOT BETWEEN 0 AND p.revision OR w.failed_attempts NOT BETWEEN 0 AND 1000000000
    OR w.secret_number NOT BETWEEN 1 AND 1000000000 OR NOT string_to_array(w.kinds, ',') <@ ARRAY[{kinds}]
    OR w.url !~* '^https?://[^/?#]' OR w.url ~ '[\x01-\x20\x7f#]' OR octet_length(w.url) > 2048);
DELETE FROM webhook_deliveries d USING projects p WHERE p.id = d.project_id AND (
    d.revision NOT BETWEEN 1 AND p.revision OR d.attempts NOT BETWEEN 0 AND 1000000000 OR NOT d.kind = ANY (ARRAY[{kinds}]));

ALTER TABLE webhooks
    ADD CONSTRAINT webhooks_revision CHECK (revision >= 0),
    ADD CONSTRAINT webhooks_failed_attempts CHECK (failed_attempts BETWEEN 0 AND 1000000000),
    ADD CONSTRAINT webhooks_secret_number CHECK (secret_number BETWEEN 1 AND 1000000000),
    ADD CONSTRAINT webhooks_kinds CHECK (string_to_array(kinds, ',') <@ ARRAY[{kinds}]),
    -- The service checks the rest of a URL before it connects.
    ADD CONSTRAINT webhooks_url CHECK (url ~* '^https?://[^/?#]' AND url !~ '[\x01-\x20\x7f#]' AND octet_length(url) <= 2048);
ALTER TABLE webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_revision CHECK (revision >= 1),
    ADD CONSTRAINT webhook_deliveries_attempts CHECK (attempts BETWEEN 0 AND 1000000000),
    ADD CONSTRAINT webhook_deliveries_kind CHECK (kind = ANY (ARRAY[{kinds}]));

-- No webhook is ahead of its project's log, or leased for longer than a server does.
CREATE POLICY within_the_log ON webhooks AS RESTRICTIVE FOR INSERT TO authenticated WITH CHECK (
    revision <= (SELECT p.revision FROM projects p WHERE p.id = webhooks.project_id)
    AND (lease_until <= now() + interval '1 hour') IS NOT FALSE);
CREATE POLICY stays_within_the_log ON webhooks AS RESTRICTIVE FOR UPDATE TO authenticated USING (true) WITH CHECK (
    revision <= (SELECT p.revision FROM projects p WHERE p.id = webhooks.project_id)
    AND (lease_until <= now() + interval '1 hour') IS NOT FALSE);
CREATE POLICY within_the_log ON webhook_deliveries AS RESTRICTIVE FOR INSERT TO authenticated WITH CHECK (
    revision <= (SELECT p.revision FROM projects p WHERE p.id = webhook_deliveries.project_id));
