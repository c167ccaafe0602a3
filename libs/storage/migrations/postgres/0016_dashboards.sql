-- Questions side by side.
CREATE TABLE dashboards (
    tenant        TEXT COLLATE "C" NOT NULL,
    app           TEXT COLLATE "C" NOT NULL,
    id            TEXT COLLATE "C" NOT NULL,
    title         TEXT COLLATE "C" NOT NULL,
    description   TEXT COLLATE "C" NOT NULL,
    tiles         BIGINT           NOT NULL, -- how many it has
    content       TEXT COLLATE "C" NOT NULL, -- a JSON object: all of it, as the contract says it
    etag          TEXT COLLATE "C" NOT NULL, -- another one with each change
    updated_at_ms BIGINT           NOT NULL,
    updated_by    TEXT COLLATE "C" NOT NULL, -- a key's id
    PRIMARY KEY (tenant, app, id),
    FOREIGN KEY (tenant, app) REFERENCES apps (tenant, id)
);
