-- Which events a key may read: a JSON array of properties with their values; NULL: all.
ALTER TABLE api_keys ADD COLUMN filters TEXT COLLATE "C";
