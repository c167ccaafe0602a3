-- What tenants used, by the UTC day.
CREATE TABLE tenant_usage (
    day_ms       BIGINT NOT NULL, -- its start
    tenant       TEXT NOT NULL,
    events       BIGINT NOT NULL, -- taken
    calls        BIGINT NOT NULL,
    bytes_in     BIGINT NOT NULL, -- of bodies
    bytes_out    BIGINT NOT NULL,
    log_bytes    BIGINT NOT NULL, -- of records, once
    queries      BIGINT NOT NULL,
    read_bytes   BIGINT NOT NULL, -- by them
    work_us      BIGINT NOT NULL, -- of threads
    warehouse_us BIGINT NOT NULL, -- of statements
    PRIMARY KEY (day_ms, tenant)
);
