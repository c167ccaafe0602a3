-- Apps for which nothing was committed since somebody asked to know.
CREATE TABLE ledger_marks (
    tenant     TEXT   NOT NULL,
    app        TEXT   NOT NULL,
    mark       TEXT   NOT NULL, -- 128 random bits in hex
    made_at_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, app)
);
