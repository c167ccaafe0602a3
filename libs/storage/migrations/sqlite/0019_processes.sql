-- The processes of the house, as they say themselves.
CREATE TABLE processes (
    name       TEXT NOT NULL PRIMARY KEY,
    seen_at_ms BIGINT NOT NULL, -- when it said something last
    said       TEXT NOT NULL -- a JSON object: all of it
);
