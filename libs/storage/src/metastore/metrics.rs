use async_trait::async_trait;
use model::{AppId, Metric, TenantId};
use serde_json::Value;

use super::{SqlMetastore, audit::json};
use crate::{
    Change, MetaError, Metrics,
    sql::{Transaction, metrics as sql, query, taken},
};

#[async_trait]
impl Metrics for SqlMetastore {
    async fn put_metric(&self, tenant: &TenantId, app: &AppId, metric: &Metric) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(tenant)).await?;
        lock(&mut changing, tenant, app, &metric.name).await?;
        let before = newest(&mut changing, tenant, app, &metric.name).await?;
        let version = i64::from(metric.version);
        match before.as_ref().map(|before| i64::from(before.version)) {
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
        let inserted = changing.execute(insert).await;
        inserted.map_err(|e| taken(e, || MetaError::Conflict(named(&metric.name))))?;
        changing.commit(change(app, &metric.name, before.as_ref(), Some(metric))).await
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
        let mut changing = self.changing(Some(tenant)).await?;
        lock(&mut changing, tenant, app, name).await?;
        let before = newest(&mut changing, tenant, app, name).await?;
        if changing.execute(delete).await? == 0 {
            return Err(MetaError::NotFound(named(name)));
        }
        changing.commit(change(app, name, before.as_ref(), None)).await
    }
}

/// Versions follow one another and go together: one change of a metric at a time.
async fn lock(transaction: &mut Transaction, tenant: &TenantId, app: &AppId, name: &str) -> Result<(), MetaError> {
    Ok(transaction.lock(format!("metric {tenant}/{app}/{name}")).await?)
}

async fn newest(
    transaction: &mut Transaction,
    tenant: &TenantId,
    app: &AppId,
    name: &str,
) -> Result<Option<Metric>, MetaError> {
    let newest = query(sql::METRIC_NEWEST).bind(tenant.as_str()).bind(app.as_str()).bind(name);
    let row: Option<sql::MetricRow> = transaction.fetch_optional(newest).await?;
    row.map(Metric::try_from).transpose()
}

fn change(app: &AppId, name: &str, before: Option<&Metric>, after: Option<&Metric>) -> Change {
    let shown = |metric: Option<&Metric>| metric.map_or(Value::Null, json);
    let object = format!("apps/{app}/metrics/{name}");
    Change { object, app: app.to_string(), before: shown(before), after: shown(after) }
}

fn named(name: &str) -> String {
    format!("metric {name}")
}
