//! What tenants used.

pub(crate) const ADD: &str = "INSERT INTO tenant_usage (day_ms, tenant, events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, \
     work_us, warehouse_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (day_ms, tenant) DO UPDATE SET \
     events = tenant_usage.events + excluded.events, calls = tenant_usage.calls + excluded.calls, \
     bytes_in = tenant_usage.bytes_in + excluded.bytes_in, bytes_out = tenant_usage.bytes_out + excluded.bytes_out, \
     log_bytes = tenant_usage.log_bytes + excluded.log_bytes, queries = tenant_usage.queries + excluded.queries, \
     read_bytes = tenant_usage.read_bytes + excluded.read_bytes, work_us = tenant_usage.work_us + excluded.work_us, \
     warehouse_us = tenant_usage.warehouse_us + excluded.warehouse_us";
pub(crate) const FORGET: &str = "DELETE FROM tenant_usage WHERE day_ms < $1";
pub(crate) const BY_DAY: &str = "SELECT day_ms, events, calls, bytes_in, bytes_out, log_bytes, queries, read_bytes, work_us, warehouse_us \
     FROM tenant_usage WHERE tenant = $1 AND day_ms >= $2 AND day_ms < $3 ORDER BY day_ms";
/// PostgreSQL's sums of whole numbers are none.
pub(crate) const BY_TENANT: &str = "SELECT tenant, CAST(SUM(events) AS BIGINT), CAST(SUM(calls) AS BIGINT), CAST(SUM(bytes_in) AS BIGINT), \
     CAST(SUM(bytes_out) AS BIGINT), CAST(SUM(log_bytes) AS BIGINT), CAST(SUM(queries) AS BIGINT), CAST(SUM(read_bytes) AS BIGINT), \
     CAST(SUM(work_us) AS BIGINT), CAST(SUM(warehouse_us) AS BIGINT) \
     FROM tenant_usage WHERE day_ms >= $1 AND day_ms < $2 GROUP BY tenant ORDER BY tenant";
