-- Apps for which nothing was committed since somebody asked to know.
CREATE TABLE ledger_marks (
    tenant     TEXT COLLATE "C" NOT NULL,
    app        TEXT COLLATE "C" NOT NULL,
    mark       TEXT COLLATE "C" NOT NULL, -- 128 random bits in hex
    made_at_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, app)
);
