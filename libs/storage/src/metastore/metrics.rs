use async_trait::async_trait;
use model::{AppId, Metric, TenantId};

use super::SqlMetastore;
use crate::{
    MetaError, Metrics,
    sql::{Transaction, metrics as sql, query, taken},
};

#[async_trait]
impl Metrics for SqlMetastore {
    async fn put_metric(&self, tenant: &TenantId, app: &AppId, metric: &Metric) -> Result<(), MetaError> {
        let mut transaction = self.database.write().await?;
        lock(&mut transaction, tenant, app, &metric.name).await?;
        let newest = query(sql::NEWEST_VERSION).bind(tenant.as_str()).bind(app.as_str()).bind(&metric.name);
        let newest: Option<(Option<i64>,)> = transaction.fetch_optional(newest).await?;
        let newest = newest.and_then(|(version,)| version);
        let version = i64::from(metric.version);
        match newest {
            Some(_) if version == 1 => return Err(MetaError::AlreadyExists(named(&metric.name))),
            None if version != 1 => return Err(MetaError::NotFound(named(&metric.name))),
            Some(newest) if version != newest + 1 => return Err(MetaError::Conflict(named(&metric.name))),
            _ => {}
        }
        let insert = query(sql::INSERT_METRIC)
            .bind(tenant.as_str())
            .bind(app.as_str())
            .bind(&metric.name)
            .bind(version)
            .bind(&metric.display_name)
            .bind(&metric.description)
            .bind(&metric.formula)
            .bind(sql::filters_text(&metric.filters))
            .bind(&metric.unit)
            .bind(metric.created_at_ms)
            .bind(i64::from(metric.materialize));
        let inserted = transaction.execute(insert).await;
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
        let mut select = query(text).bind(tenant.as_str()).bind(app.as_str()).bind(name);
        if let Some(version) = version {
            select = select.bind(i64::from(version));
        }
        let row: Option<sql::MetricRow> = self.database.fetch_optional(select).await?;
        row.map(Metric::try_from).transpose()
    }

    async fn list_metrics(&self, tenant: &TenantId, app: &AppId) -> Result<Vec<Metric>, MetaError> {
        let select = query(sql::METRICS).bind(tenant.as_str()).bind(app.as_str());
        let rows: Vec<sql::MetricRow> = self.database.fetch_all(select).await?;
        rows.into_iter().map(Metric::try_from).collect()
    }

    async fn metric_versions(&self, tenant: &TenantId, app: &AppId, name: &str) -> Result<Vec<Metric>, MetaError> {
        let select = query(sql::METRIC_VERSIONS).bind(tenant.as_str()).bind(app.as_str()).bind(name);
        let rows: Vec<sql::MetricRow> = self.database.fetch_all(select).await?;
        rows.into_iter().map(Metric::try_from).collect()
    }

    async fn delete_metric(&self, tenant: &TenantId, app: &AppId, name: &str) -> Result<(), MetaError> {
        let delete = query(sql::DELETE_METRIC).bind(tenant.as_str()).bind(app.as_str()).bind(name);
        let mut transaction = self.database.write().await?;
        lock(&mut transaction, tenant, app, name).await?;
        if transaction.execute(delete).await? == 0 {
            return Err(MetaError::NotFound(named(name)));
        }
        Ok(transaction.commit().await?)
    }
}

/// Versions follow one another and go together: one change of a metric at a time.
async fn lock(transaction: &mut Transaction, tenant: &TenantId, app: &AppId, name: &str) -> Result<(), MetaError> {
    Ok(transaction.lock(format!("metric {tenant}/{app}/{name}")).await?)
}

fn named(name: &str) -> String {
    format!("metric {name}")
}
