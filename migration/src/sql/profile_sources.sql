-- The fields of a profile that the user has set, which tokens no longer change, and the time of the token used last.
ALTER TABLE user_profiles ADD COLUMN own_full_name boolean NOT NULL DEFAULT false;
ALTER TABLE user_profiles ADD COLUMN own_avatar_url boolean NOT NULL DEFAULT false;
ALTER TABLE user_profiles ADD COLUMN claims_at {timestamp};
-- Until now only the users themselves have changed them.
UPDATE user_profiles SET own_full_name = true, own_avatar_url = true WHERE updated_at <> created_at;
