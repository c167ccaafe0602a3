use async_trait::async_trait;
use model::TenantId;

use crate::MetaError;

/// What somebody used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Events that were taken.
    pub events: u64,
    /// Calls that were answered.
    pub calls: u64,
    /// Bytes of their bodies.
    pub bytes_in: u64,
    /// Bytes of the answers' bodies.
    pub bytes_out: u64,
    /// Bytes that the records take in the log, once.
    pub log_bytes: u64,
    /// Questions that ran in the warehouse.
    pub queries: u64,
    /// Bytes that they read.
    pub read_bytes: u64,
    /// For how long threads of the roles worked, in microseconds.
    pub work_us: u64,
    /// For how long statements ran in the warehouse, in microseconds.
    pub warehouse_us: u64,
}

/// What tenants used, by the UTC day: what processes counted, told now and again. For people, and for invoices that a minute more or less doesn't
/// matter to.
#[async_trait]
pub trait Usages: Send + Sync {
    /// Adds to what was used on the day that starts at `day_ms`, all of it or nothing, each tenant once; forgets days before `since_ms`. Names that are
    /// no tenant's are kept as they are.
    async fn add_used(&self, day_ms: i64, used: &[(String, Used)], since_ms: i64) -> Result<(), MetaError>;

    /// What the tenant used on each day that starts from then on and before the other instant, by day. A day without anything isn't there.
    async fn used_by_day(&self, tenant: &TenantId, from_ms: i64, to_ms: i64) -> Result<Vec<(i64, Used)>, MetaError>;

    /// What each tenant used on those days in all, by name.
    async fn used_by_tenant(&self, from_ms: i64, to_ms: i64) -> Result<Vec<(String, Used)>, MetaError>;
}
