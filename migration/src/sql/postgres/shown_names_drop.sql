-- The function of the first release.
CREATE OR REPLACE FUNCTION update_profile_from_token(token_email text, token_name text, token_avatar_url text, issued timestamptz, at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    latest timestamptz := clock_timestamp() + interval '1 minute';
BEGIN
    -- greatest and least ignore NULL: a token without a time has none here, as on SQLite.
    issued := CASE WHEN issued IS NOT NULL THEN greatest(least(issued, latest), '0001-01-01') END;
    UPDATE {schema}.user_profiles u SET email = coalesce(token_email, u.email), claims_at = coalesce(issued, u.claims_at),
        full_name = CASE WHEN u.own_full_name THEN u.full_name WHEN token_name IS NOT NULL THEN token_name
            WHEN u.full_name IS NULL OR u.full_name = u.email THEN coalesce(token_email, u.full_name) ELSE u.full_name END,
        avatar_url = CASE WHEN u.own_avatar_url THEN u.avatar_url ELSE coalesce(token_avatar_url, u.avatar_url) END,
        updated_at = greatest(least(at, latest), '0001-01-01')
    WHERE u.id = auth.uid() AND (u.claims_at IS NULL OR issued IS NULL OR u.claims_at <= issued)
      AND (u.email IS DISTINCT FROM coalesce(token_email, u.email)
           OR NOT u.own_full_name AND u.full_name IS DISTINCT FROM coalesce(token_name, u.full_name, token_email)
           OR NOT u.own_avatar_url AND u.avatar_url IS DISTINCT FROM coalesce(token_avatar_url, u.avatar_url));
END $$;
