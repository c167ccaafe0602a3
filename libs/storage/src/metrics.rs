use async_trait::async_trait;
use model::{AppId, Metric, TenantId};

use crate::MetaError;

/// The metrics that tenants define, with their history.
#[async_trait]
pub trait Metrics: Send + Sync + 'static {
    /// Stores a version of a metric. Version 1 makes the metric (`AlreadyExists` if it is there); version n+1 follows the
    /// newest version n (`Conflict` if that isn't the newest, `NotFound` if there is none).
    async fn put_metric(&self, tenant: &TenantId, app: &AppId, metric: &Metric) -> Result<(), MetaError>;

    /// One version of a metric, or the newest.
    async fn metric(
        &self,
        tenant: &TenantId,
        app: &AppId,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<Metric>, MetaError>;

    /// The newest version of each of the app's metrics, by name.
    async fn list_metrics(&self, tenant: &TenantId, app: &AppId) -> Result<Vec<Metric>, MetaError>;

    /// All versions of one metric, newest first; empty if there is none.
    async fn metric_versions(&self, tenant: &TenantId, app: &AppId, name: &str) -> Result<Vec<Metric>, MetaError>;

    /// Deletes a metric with its history. `NotFound` if there is none.
    async fn delete_metric(&self, tenant: &TenantId, app: &AppId, name: &str) -> Result<(), MetaError>;
}
