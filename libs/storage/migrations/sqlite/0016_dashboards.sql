-- Questions side by side.
CREATE TABLE dashboards (
    tenant        TEXT   NOT NULL,
    app           TEXT   NOT NULL,
    id            TEXT   NOT NULL,
    title         TEXT   NOT NULL,
    description   TEXT   NOT NULL,
    tiles         BIGINT NOT NULL, -- how many it has
    content       TEXT   NOT NULL, -- a JSON object: all of it, as the contract says it
    etag          TEXT   NOT NULL, -- another one with each change
    updated_at_ms BIGINT NOT NULL,
    updated_by    TEXT   NOT NULL, -- a key's id
    PRIMARY KEY (tenant, app, id),
    FOREIGN KEY (tenant, app) REFERENCES apps (tenant, id)
);
