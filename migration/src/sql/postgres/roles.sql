-- Who asks: the roles of a caller, and the function that says which user it is, as Supabase has them.
--
-- Roles are the cluster's and not this database's: those that are there are used as they are, and taking this
-- migration back leaves them. Nothing is granted to `anon` and `service_role`; they are here to be refused.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = wanted);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
        EXCEPTION
            -- The migration of another database of the cluster came first.
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role "%" is missing, and "%" may not make it: let an administrator run CREATE ROLE % NOLOGIN NOINHERIT',
                    wanted, current_user, wanted;
        END;
    END LOOP;
    -- The owner may serve too, where there is only one login.
    IF NOT pg_has_role(current_user, 'authenticated',
                       CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
        BEGIN
            EXECUTE format('GRANT authenticated TO %I', current_user);
        EXCEPTION
            WHEN unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION '"%" is no member of the role "authenticated": let an administrator run GRANT authenticated TO %',
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
        -- After a transaction that had set it the setting is empty and not null.
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
            'SELECT (nullif(current_setting(''request.jwt.claims'', true), '''')::jsonb ->> ''sub'')::uuid';
        COMMENT ON FUNCTION auth.uid() IS 'made by antiphon';
        REVOKE ALL ON FUNCTION auth.uid() FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION auth.uid() TO anon, authenticated, service_role;
    END IF;
END $$;
