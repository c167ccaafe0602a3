-- Users to erase and those that were, each with its tombstone: the place in the log before which nothing of the user may be stored.
-- Rows stay: whenever that part of the log is read again, the user is passed over again.
CREATE TABLE erasures (
    id               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant           TEXT COLLATE "C" NOT NULL,
    app              TEXT COLLATE "C" NOT NULL,
    user_id          TEXT COLLATE "C" NOT NULL,
    requested_at_ms  BIGINT           NOT NULL,
    requested_by     TEXT COLLATE "C" NOT NULL, -- the public part of a key
    topic            TEXT COLLATE "C" NOT NULL,
    incarnation      BIGINT           NOT NULL, -- the 64 bits of an unsigned number
    number           BIGINT           NOT NULL, -- of the partition
    log_end          BIGINT           NOT NULL,
    ordinal          BIGINT           NOT NULL, -- the order of the partition's tombstones, from 1
    state            TEXT COLLATE "C" NOT NULL, -- waiting, deleting, settling or done
    look_again_at_ms BIGINT,
    finished_at_ms   BIGINT,
    hours            TEXT COLLATE "C" NOT NULL, -- a JSON array: hours (UTC ms) that lose events and have no new epoch yet
    gone             TEXT COLLATE "C" NOT NULL, -- a JSON object: by table, how many rows are deleted and how many were left
    FOREIGN KEY (tenant, app) REFERENCES apps (tenant, id),
    UNIQUE (topic, incarnation, number, ordinal)
);
CREATE INDEX erasures_by_age ON erasures (tenant, app, requested_at_ms, id);
CREATE INDEX erasures_to_do ON erasures (requested_at_ms, id) WHERE finished_at_ms IS NULL;
