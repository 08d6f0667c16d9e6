-- Whether all clients can read a time: the service cannot read `infinity`. The last year ends with its last microsecond.
CREATE OR REPLACE FUNCTION is_time(at timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(at >= '0001-01-01 00:00:00+00' AND at < '10000-01-01 00:00:00+00', true)
$$;
