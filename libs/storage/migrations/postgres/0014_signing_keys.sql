-- How a key is shown: as its text (bearer), or by tokens that it signs (eddsa, hs256); of these, `hash` is what verifies them.
ALTER TABLE api_keys ADD COLUMN kind TEXT COLLATE "C" NOT NULL DEFAULT 'bearer';
