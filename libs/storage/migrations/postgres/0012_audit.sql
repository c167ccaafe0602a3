-- What was changed or taken out, by whom: chains of entries, each of which holds the hash of the one before. Rows are only ever added.
CREATE TABLE audit_entries (
    chain         TEXT COLLATE "C" NOT NULL, -- the tenant that it is about; '': none
    sequence      BIGINT           NOT NULL, -- from 1, without gaps
    at_ms         BIGINT           NOT NULL,
    method        TEXT COLLATE "C" NOT NULL,
    key_id        TEXT COLLATE "C" NOT NULL, -- the public part; '': the program itself
    key_tenant    TEXT COLLATE "C" NOT NULL,
    object        TEXT COLLATE "C" NOT NULL,
    app           TEXT COLLATE "C" NOT NULL, -- '': not one
    before_json   TEXT COLLATE "C" NOT NULL, -- '': nothing
    after_json    TEXT COLLATE "C" NOT NULL, -- '': nothing
    address       TEXT COLLATE "C" NOT NULL,
    trace_id      TEXT COLLATE "C" NOT NULL,
    previous_hash TEXT COLLATE "C" NOT NULL, -- '' of the first
    hash          TEXT COLLATE "C" NOT NULL, -- SHA-256 in hex
    PRIMARY KEY (chain, sequence)
);
CREATE INDEX audit_entries_by_time ON audit_entries (chain, at_ms);

CREATE FUNCTION refuse_to_change_audit_entries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are only ever added';
END
$$;
CREATE TRIGGER audit_entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_audit_entries();
