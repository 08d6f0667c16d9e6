-- The webhooks of projects. `revision` is the newest revision that is delivered, and the position in the log: events after it
-- follow in order. `kinds` are the wanted kinds of events, separated by commas; empty for all. Secrets are not stored: they are
-- derived from the server's secret, the id and `secret_number`. The server with the lease delivers; nobody else changes the
-- position.
CREATE TABLE webhooks (
    id {uuid} PRIMARY KEY,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    url text NOT NULL,
    kinds text NOT NULL,
    is_enabled boolean NOT NULL,
    secret_number integer NOT NULL,
    previous_secret_until {timestamp},
    revision integer NOT NULL,
    failed_attempts integer NOT NULL,
    failing_since {timestamp},
    next_attempt_at {timestamp},
    disabled_at {timestamp},
    disabled_reason text,
    lease_holder {uuid},
    lease_until {timestamp},
    created_at {timestamp} NOT NULL,
    updated_at {timestamp} NOT NULL
);
CREATE INDEX webhooks_project ON webhooks (project_id, id);

-- The newest deliveries of each webhook: one row per event, however often it is sent. A pending delivery at or before the
-- webhook's position is to be sent again.
CREATE TABLE webhook_deliveries (
    id {uuid} PRIMARY KEY,
    webhook_id {uuid} NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    revision integer NOT NULL,
    project_id {uuid} NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    kind text NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    attempts integer NOT NULL,
    response_status integer,
    error text,
    created_at {timestamp} NOT NULL,
    last_attempt_at {timestamp} NOT NULL,
    next_attempt_at {timestamp},
    delivered_at {timestamp},
    UNIQUE (webhook_id, revision)
);
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook_id, revision) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_project ON webhook_deliveries (project_id);
