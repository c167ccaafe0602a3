use async_trait::async_trait;
use model::{AppId, Metric, TenantId};

use super::SqliteMetastore;
use crate::{
    MetaError, Metrics,
    sql::{metrics as sql, taken},
};

#[async_trait]
impl Metrics for SqliteMetastore {
    async fn put_metric(&self, tenant: &TenantId, app: &AppId, metric: &Metric) -> Result<(), MetaError> {
        let mut transaction = self.write().await?;
        let newest =
            sqlx::query_scalar(sql::NEWEST_VERSION).bind(tenant.as_str()).bind(app.as_str()).bind(&metric.name);
        let newest: Option<i64> = newest.fetch_one(&mut *transaction).await?;
        let version = i64::from(metric.version);
        match newest {
            Some(_) if version == 1 => return Err(MetaError::AlreadyExists(named(&metric.name))),
            None if version != 1 => return Err(MetaError::NotFound(named(&metric.name))),
            Some(newest) if version != newest + 1 => return Err(MetaError::Conflict(named(&metric.name))),
            _ => {}
        }
        let insert = sqlx::query(sql::INSERT_METRIC)
            .bind(tenant.as_str())
            .bind(app.as_str())
            .bind(&metric.name)
            .bind(version)
            .bind(&metric.display_name)
            .bind(&metric.description)
            .bind(&metric.formula)
            .bind(sql::filters_text(&metric.filters))
            .bind(&metric.unit)
            .bind(metric.created_at_ms);
        let inserted = insert.execute(&mut *transaction).await;
        inserted.map_err(|e| taken(e, || MetaError::Conflict(named(&metric.name))))?;
        Ok(transaction.commit().await?)
    }

    async fn metric(
        &self,
        tenant: &TenantId,
        app: &AppId,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<Metric>, MetaError> {
        let text = if version.is_some() { sql::METRIC_AT } else { sql::METRIC_NEWEST };
        let mut select = sqlx::query_as(text).bind(tenant.as_str()).bind(app.as_str()).bind(name);
        if let Some(version) = version {
            select = select.bind(i64::from(version));
        }
        let row: Option<sql::MetricRow> = select.fetch_optional(&self.readers).await?;
        row.map(Metric::try_from).transpose()
    }

    async fn list_metrics(&self, tenant: &TenantId, app: &AppId) -> Result<Vec<Metric>, MetaError> {
        let select = sqlx::query_as(sql::METRICS).bind(tenant.as_str()).bind(app.as_str());
        let rows: Vec<sql::MetricRow> = select.fetch_all(&self.readers).await?;
        rows.into_iter().map(Metric::try_from).collect()
    }

    async fn metric_versions(&self, tenant: &TenantId, app: &AppId, name: &str) -> Result<Vec<Metric>, MetaError> {
        let select = sqlx::query_as(sql::METRIC_VERSIONS).bind(tenant.as_str()).bind(app.as_str()).bind(name);
        let rows: Vec<sql::MetricRow> = select.fetch_all(&self.readers).await?;
        rows.into_iter().map(Metric::try_from).collect()
    }

    async fn delete_metric(&self, tenant: &TenantId, app: &AppId, name: &str) -> Result<(), MetaError> {
        let delete = sqlx::query(sql::DELETE_METRIC).bind(tenant.as_str()).bind(app.as_str()).bind(name);
        match delete.execute(&self.writer).await?.rows_affected() {
            0 => Err(MetaError::NotFound(named(name))),
            _ => Ok(()),
        }
    }
}

fn named(name: &str) -> String {
    format!("metric {name}")
}
