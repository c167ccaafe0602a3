-- Ranges of the log that are, or were, put into the warehouse anew.
CREATE TABLE replays (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    topic           TEXT COLLATE "C" NOT NULL,
    incarnation     BIGINT           NOT NULL, -- the 64 bits of an unsigned number
    ranges          TEXT COLLATE "C" NOT NULL, -- a JSON array: partition, first offset, the offset after the last
    requested_at_ms BIGINT           NOT NULL,
    requested_by    TEXT COLLATE "C" NOT NULL, -- the public part of a key
    state           TEXT COLLATE "C" NOT NULL, -- waiting, building, swapping, done, failed or cancelled
    attempt         BIGINT           NOT NULL, -- rises whenever it is begun; a write of an older one is fenced
    to_cancel       BIGINT           NOT NULL, -- 1: somebody asked for it
    finished_at_ms  BIGINT,
    progress        TEXT COLLATE "C" NOT NULL  -- a JSON object
);
CREATE INDEX replays_by_age ON replays (requested_at_ms, id);

-- The replay for which the partition stands still: nothing new becomes pending. NULL: none.
ALTER TABLE ledger_partitions ADD COLUMN hold TEXT COLLATE "C";
