-- What a key's text says that it is for: live or test.
ALTER TABLE api_keys ADD COLUMN environment TEXT COLLATE "C" NOT NULL DEFAULT 'live';
-- From where it may be used: JSON arrays of networks, and of origins of web pages; NULL: from everywhere.
ALTER TABLE api_keys ADD COLUMN networks TEXT COLLATE "C";
ALTER TABLE api_keys ADD COLUMN origins TEXT COLLATE "C";
-- In whose place it was made: one key at most comes in another's.
ALTER TABLE api_keys ADD COLUMN rotated_from TEXT COLLATE "C";
CREATE UNIQUE INDEX api_keys_by_rotation ON api_keys (rotated_from);
-- To about a minute; NULL: never.
ALTER TABLE api_keys ADD COLUMN last_used_at_ms BIGINT;

-- Exports need a permission of their own now. Whoever could export, can.
UPDATE api_keys SET permissions = permissions || ' export' WHERE ' ' || permissions || ' ' LIKE '% query %';
