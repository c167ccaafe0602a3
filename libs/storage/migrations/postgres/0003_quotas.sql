-- What tenants may send, where it is other than the configuration says. NULL: as the configuration says; 0: no limit.
CREATE TABLE tenant_quotas (
    tenant            TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES tenants (id),
    events_per_second BIGINT,
    events_burst      BIGINT,
    bytes_per_second  BIGINT,
    bytes_burst       BIGINT
);
