-- Whose states are of which life: with its end they are all forgotten.
CREATE TABLE state_lives (
    tenant TEXT   NOT NULL,
    app    TEXT   NOT NULL,
    life   BIGINT NOT NULL,
    PRIMARY KEY (tenant, app)
);

-- Buckets whose states lie in the warehouse, complete.
CREATE TABLE bucket_states (
    tenant     TEXT   NOT NULL,
    app        TEXT   NOT NULL,
    -- A hash of what is computed.
    shape      TEXT   NOT NULL,
    bucket_ms  BIGINT NOT NULL,
    length_ms  BIGINT NOT NULL,
    -- Of the epochs that its hours had.
    epochs     TEXT   NOT NULL,
    -- What its rows are known by.
    piece      BIGINT NOT NULL,
    kept_at_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, app, shape, bucket_ms, length_ms)
);

-- 1: its states are kept however rarely it is evaluated.
ALTER TABLE metric_versions ADD COLUMN materialize BIGINT NOT NULL DEFAULT 0;
