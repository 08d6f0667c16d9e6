-- Makes the caller's profile say what a token says that is not older than the last one. {schema} is the tables' own schema, quoted.
CREATE OR REPLACE FUNCTION follow_token(said_email text, said_name text, said_avatar_url text, issued timestamptz, at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    latest timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
    issued := greatest(least(issued, latest), '0001-01-01');
    UPDATE {schema}.user_profiles u SET email = coalesce(said_email, u.email), claims_at = coalesce(issued, u.claims_at),
        full_name = CASE WHEN u.own_full_name THEN u.full_name WHEN said_name IS NOT NULL THEN said_name
            WHEN u.full_name IS NULL OR u.full_name = u.email THEN coalesce(said_email, u.full_name) ELSE u.full_name END,
        avatar_url = CASE WHEN u.own_avatar_url THEN u.avatar_url ELSE coalesce(said_avatar_url, u.avatar_url) END,
        updated_at = greatest(least(at, latest), '0001-01-01')
    WHERE u.id = auth.uid() AND (u.claims_at IS NULL OR issued IS NULL OR u.claims_at <= issued)
      AND (u.email IS DISTINCT FROM coalesce(said_email, u.email)
           OR NOT u.own_full_name AND u.full_name IS DISTINCT FROM coalesce(said_name, u.full_name, said_email)
           OR NOT u.own_avatar_url AND u.avatar_url IS DISTINCT FROM coalesce(said_avatar_url, u.avatar_url));
END $$;
