-- What holds for the whole installation, for tenants and for apps. The time zone of an app lies with the app; '' there: as its tenant has it.
CREATE TABLE settings (
    tenant   TEXT NOT NULL, -- '': the installation
    app      TEXT NOT NULL, -- '': every app
    settings TEXT NOT NULL, -- JSON: what is set
    PRIMARY KEY (tenant, app)
);

-- The tables of before are left to processes of before, which read them until the last of those has gone.
INSERT INTO settings (tenant, app, settings)
SELECT t.id, '', json_object('retention_days', r.days, 'quota', json_object(
    'events_per_second', q.events_per_second, 'events_burst', q.events_burst,
    'bytes_per_second', q.bytes_per_second, 'bytes_burst', q.bytes_burst,
    'requests_per_second', q.requests_per_second, 'requests_burst', q.requests_burst,
    'query_bytes_per_second', q.query_bytes_per_second, 'query_bytes_burst', q.query_bytes_burst))
FROM tenants t LEFT JOIN tenant_quotas q ON q.tenant = t.id LEFT JOIN retentions r ON r.tenant = t.id AND r.app = ''
WHERE q.tenant IS NOT NULL OR r.tenant IS NOT NULL;

INSERT INTO settings (tenant, app, settings)
SELECT tenant, app, json_object('retention_days', days) FROM retentions WHERE app <> '';
