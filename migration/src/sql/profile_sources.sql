-- What of a profile its user has set here, which their token no longer changes, and of when the token is that it follows.
ALTER TABLE user_profiles ADD COLUMN own_full_name boolean NOT NULL DEFAULT false;
ALTER TABLE user_profiles ADD COLUMN own_avatar_url boolean NOT NULL DEFAULT false;
ALTER TABLE user_profiles ADD COLUMN claims_at {timestamp};
-- Up to now nothing but their user has changed them.
UPDATE user_profiles SET own_full_name = true, own_avatar_url = true WHERE updated_at <> created_at;
