-- What was changed or taken out, by whom: chains of entries, each of which holds the hash of the one before. Rows are only ever added.
CREATE TABLE audit_entries (
    chain         TEXT   NOT NULL, -- the tenant that it is about; '': none
    sequence      BIGINT NOT NULL, -- from 1, without gaps
    at_ms         BIGINT NOT NULL,
    method        TEXT   NOT NULL,
    key_id        TEXT   NOT NULL, -- the public part; '': the program itself
    key_tenant    TEXT   NOT NULL,
    object        TEXT   NOT NULL,
    app           TEXT   NOT NULL, -- '': not one
    before_json   TEXT   NOT NULL, -- '': nothing
    after_json    TEXT   NOT NULL, -- '': nothing
    address       TEXT   NOT NULL,
    trace_id      TEXT   NOT NULL,
    previous_hash TEXT   NOT NULL, -- '' of the first
    hash          TEXT   NOT NULL, -- SHA-256 in hex
    PRIMARY KEY (chain, sequence)
);
CREATE INDEX audit_entries_by_time ON audit_entries (chain, at_ms);

CREATE TRIGGER audit_entries_stay BEFORE DELETE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'audit entries are only ever added');
END;
CREATE TRIGGER audit_entries_stay_as_they_are BEFORE UPDATE ON audit_entries
BEGIN
    SELECT RAISE(ABORT, 'audit entries are only ever added');
END;
