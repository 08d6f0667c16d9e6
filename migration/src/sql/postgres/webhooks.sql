-- The rights on webhooks, which only the owners of their projects have, and the function by which servers find those with work.
-- Servers deliver on behalf of the owner.

GRANT SELECT, INSERT, DELETE, UPDATE (url, kinds, is_enabled, secret_number, previous_secret_until, revision, failed_attempts,
    failing_since, next_attempt_at, disabled_at, disabled_reason, lease_holder, lease_until, updated_at) ON webhooks TO authenticated;
CREATE POLICY read ON webhooks FOR SELECT TO authenticated USING (project_id {owner});
CREATE POLICY add ON webhooks FOR INSERT TO authenticated WITH CHECK (
    project_id {owner} AND is_time(previous_secret_until) AND is_time(failing_since) AND is_time(next_attempt_at)
    AND is_time(disabled_at) AND is_time(lease_until) AND is_time(created_at) AND is_time(updated_at));
CREATE POLICY change ON webhooks FOR UPDATE TO authenticated USING (project_id {owner}) WITH CHECK (
    is_time(previous_secret_until) AND is_time(failing_since) AND is_time(next_attempt_at) AND is_time(disabled_at)
    AND is_time(lease_until) AND is_time(updated_at));
CREATE POLICY remove ON webhooks FOR DELETE TO authenticated USING (project_id {owner});

GRANT SELECT, INSERT, DELETE, UPDATE (status, attempts, response_status, error, last_attempt_at, next_attempt_at, delivered_at)
    ON webhook_deliveries TO authenticated;
CREATE POLICY read ON webhook_deliveries FOR SELECT TO authenticated USING (project_id {owner});
CREATE POLICY add ON webhook_deliveries FOR INSERT TO authenticated WITH CHECK (
    project_id {owner} AND is_time(created_at) AND is_time(last_attempt_at) AND is_time(next_attempt_at) AND is_time(delivered_at)
    AND EXISTS (SELECT FROM webhooks w WHERE w.id = webhook_id AND w.project_id = webhook_deliveries.project_id));
CREATE POLICY change ON webhook_deliveries FOR UPDATE TO authenticated USING (project_id {owner})
    WITH CHECK (is_time(last_attempt_at) AND is_time(next_attempt_at) AND is_time(delivered_at));
CREATE POLICY remove ON webhook_deliveries FOR DELETE TO authenticated USING (project_id {owner});

-- Returns enabled webhooks with the owners of their projects: all of the wanted projects; without wanted projects, at most so
-- many of those that have something to deliver now or have changed since a time. Callers, whose claims have a `sub`, get nothing.
CREATE FUNCTION waiting_webhooks(wanted uuid[], since timestamptz, most integer)
RETURNS TABLE (id uuid, project_id uuid, owner_id uuid, is_due boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF auth.uid() IS NOT NULL THEN
        RAISE insufficient_privilege USING MESSAGE = 'callers cannot read the webhooks of projects';
    END IF;
    -- Two statements, since one plan for both would read the whole table.
    IF wanted IS NOT NULL THEN
        RETURN QUERY
            SELECT w.id, w.project_id, p.user_id, (w.lease_until IS NULL OR w.lease_until <= now())
                AND (w.revision < p.revision AND (w.next_attempt_at IS NULL OR w.next_attempt_at <= now())
                     OR EXISTS (SELECT FROM {schema}.webhook_deliveries r
                                WHERE r.webhook_id = w.id AND r.status = 'pending' AND r.revision <= w.revision))
            FROM {schema}.webhooks w JOIN {schema}.projects p ON p.id = w.project_id
            WHERE w.is_enabled AND w.project_id = ANY (wanted);
        RETURN;
    END IF;
    RETURN QUERY
        SELECT d.id, d.project_id, d.user_id, d.is_due
        FROM (SELECT w.id, w.project_id, p.user_id, w.updated_at, (w.lease_until IS NULL OR w.lease_until <= now())
                AND (w.revision < p.revision AND (w.next_attempt_at IS NULL OR w.next_attempt_at <= now())
                     OR EXISTS (SELECT FROM {schema}.webhook_deliveries r
                                WHERE r.webhook_id = w.id AND r.status = 'pending' AND r.revision <= w.revision)) AS is_due
              FROM {schema}.webhooks w JOIN {schema}.projects p ON p.id = w.project_id
              WHERE w.is_enabled) AS d
        WHERE d.is_due OR d.updated_at >= since
        ORDER BY d.is_due DESC, random() LIMIT most;
END $$;

REVOKE ALL ON FUNCTION waiting_webhooks FROM PUBLIC, anon, authenticated, service_role;
GRANT EXECUTE ON FUNCTION waiting_webhooks TO authenticated;
