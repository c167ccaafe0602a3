-- How long events are kept, where it is other than the configuration says.
CREATE TABLE retentions (
    tenant TEXT   NOT NULL REFERENCES tenants (id),
    -- '': every app of the tenant that has none of its own.
    app    TEXT   NOT NULL,
    -- 0: for ever.
    days   BIGINT NOT NULL,
    PRIMARY KEY (tenant, app)
);

-- Events of before this time are no longer sure to be there.
CREATE TABLE ledger_expired (
    tenant    TEXT   NOT NULL,
    app       TEXT   NOT NULL,
    before_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, app)
);

-- Days whose events are being deleted: the epochs of their hours change with the end of that.
CREATE TABLE ledger_expiring (
    day_ms BIGINT NOT NULL,
    tenant TEXT   NOT NULL,
    app    TEXT   NOT NULL,
    PRIMARY KEY (day_ms, tenant, app)
);

-- Which of several processes does what needs to be done once.
CREATE TABLE leases (
    name     TEXT   NOT NULL PRIMARY KEY,
    owner    TEXT   NOT NULL,
    until_ms BIGINT NOT NULL
);
