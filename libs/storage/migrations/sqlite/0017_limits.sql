-- Calls of tenants and what their queries read, as the quotas of what they send.
ALTER TABLE tenant_quotas ADD COLUMN requests_per_second BIGINT;
ALTER TABLE tenant_quotas ADD COLUMN requests_burst BIGINT;
ALTER TABLE tenant_quotas ADD COLUMN query_bytes_per_second BIGINT;
ALTER TABLE tenant_quotas ADD COLUMN query_bytes_burst BIGINT;
