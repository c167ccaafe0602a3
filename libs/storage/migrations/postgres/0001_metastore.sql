-- The tables of ../sqlite. Text compares by bytes ("C"), as it does there, and whatever the database's own rule: an index can't
-- be upset by a new version of that rule.
--
-- Times are UTC milliseconds. Ids, hashes and secrets are text, so that a person with a shell can read every row.

CREATE TABLE tenants (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    display_name  TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT           NOT NULL
);

CREATE TABLE apps (
    tenant        TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    id            TEXT COLLATE "C" NOT NULL,
    display_name  TEXT COLLATE "C" NOT NULL,
    time_zone     TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT           NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE api_keys (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    tenant        TEXT COLLATE "C" NOT NULL REFERENCES tenants (id),
    hash          TEXT COLLATE "C" NOT NULL, -- SHA-256 of the whole key, in hex
    display_name  TEXT COLLATE "C" NOT NULL,
    apps          TEXT COLLATE "C",          -- a JSON array of app ids; NULL: every app
    permissions   TEXT COLLATE "C" NOT NULL, -- names with a space between
    priority      TEXT COLLATE "C" NOT NULL, -- interactive, scheduled or background
    created_at_ms BIGINT           NOT NULL,
    expires_at_ms BIGINT,
    revoked_at_ms BIGINT
);
CREATE INDEX api_keys_by_age ON api_keys (tenant, created_at_ms, id);

CREATE TABLE secrets (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL -- 32 bytes in hex
);

-- Rows are only ever added. `place` is n0.. or s0.. (a column of its own), n_more or s_more (a map).
CREATE TABLE properties (
    tenant  TEXT COLLATE "C" NOT NULL,
    app     TEXT COLLATE "C" NOT NULL,
    ordinal BIGINT           NOT NULL, -- the order of registration, from 0
    name    TEXT COLLATE "C" NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    place   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, app, name, kind),
    UNIQUE (tenant, app, ordinal)
);
CREATE UNIQUE INDEX properties_own_columns ON properties (tenant, app, place) WHERE place NOT IN ('n_more', 's_more');

CREATE TABLE ledger_partitions (
    topic            TEXT COLLATE "C" NOT NULL,
    incarnation      BIGINT           NOT NULL, -- the 64 bits of an unsigned number
    number           BIGINT           NOT NULL,
    generation       BIGINT           NOT NULL,
    owner            TEXT COLLATE "C" NOT NULL,
    committed        BIGINT           NOT NULL,
    pending_last     BIGINT,                    -- NULL: nothing is pending; else the pending range is committed..=pending_last
    pending_since_ms BIGINT,
    frontier_ms      BIGINT           NOT NULL,
    PRIMARY KEY (topic, incarnation, number)
);

-- An hour without a row has its first epoch. Epochs outlive a topic: what was derived from an hour doesn't know of topics.
CREATE TABLE ledger_epochs (
    tenant  TEXT COLLATE "C" NOT NULL,
    app     TEXT COLLATE "C" NOT NULL,
    hour_ms BIGINT           NOT NULL,
    epoch   TEXT COLLATE "C" NOT NULL, -- 128 random bits in hex
    PRIMARY KEY (tenant, app, hour_ms)
);

CREATE TABLE metric_versions (
    tenant        TEXT COLLATE "C" NOT NULL,
    app           TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    version       BIGINT           NOT NULL,
    display_name  TEXT COLLATE "C" NOT NULL,
    description   TEXT COLLATE "C" NOT NULL,
    formula       TEXT COLLATE "C" NOT NULL,
    filters       TEXT COLLATE "C" NOT NULL, -- a JSON array
    unit          TEXT COLLATE "C" NOT NULL,
    created_at_ms BIGINT           NOT NULL,
    PRIMARY KEY (tenant, app, name, version)
);
