-- The roles of callers, and the function that returns the caller's user id, as on Supabase.
--
-- Roles belong to the cluster, not to this database. Existing roles are used unchanged, and reverting this migration
-- keeps them. `anon` and `service_role` get no privileges; they exist to be refused.

DO $$
DECLARE
    wanted text;
    missing text;
BEGIN
    SELECT string_agg(format('CREATE ROLE %I NOLOGIN NOINHERIT;', r.name), ' ') INTO missing
    FROM unnest(ARRAY['anon', 'authenticated', 'service_role']) AS r (name)
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.name);
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
        EXCEPTION
            -- The migration of another database of the cluster was first.
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role "%" is missing, and "%" cannot create it: an administrator must run: % %',
                    wanted, current_user, missing, format('GRANT authenticated TO %I;', current_user);
        END;
    END LOOP;
    -- The owner can also serve, if there is only one login.
    IF NOT pg_has_role(current_user, 'authenticated',
                       CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        BEGIN
            EXECUTE format('GRANT authenticated TO %I', current_user);
        EXCEPTION
            WHEN unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION '"%" is not a member of the role "authenticated": an administrator must run: GRANT authenticated TO %;',
                    current_user, quote_ident(current_user);
        END;
    END IF;
END $$;

DO $$
BEGIN
    IF to_regnamespace('auth') IS NULL THEN
        CREATE SCHEMA auth;
        COMMENT ON SCHEMA auth IS 'made by antiphon';
        GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    END IF;
    IF to_regprocedure('auth.uid()') IS NULL THEN
        -- After a transaction that has set it, the setting is empty, not null.
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
            'SELECT (nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb ->> ''sub'')::uuid';
        COMMENT ON FUNCTION auth.uid() IS 'made by antiphon';
        REVOKE ALL ON FUNCTION auth.uid() FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION auth.uid() TO anon, authenticated, service_role;
    END IF;
END $$;
