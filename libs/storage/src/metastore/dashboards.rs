use async_trait::async_trait;
use model::{AppId, TenantId};
use serde_json::Value;

use super::{SqlMetastore, directory::require_app};
use crate::{
    Change, Dashboard, Dashboards, MetaError,
    sql::{Transaction, damaged, dashboards as sql, query},
};

#[async_trait]
impl Dashboards for SqlMetastore {
    async fn put_dashboard(
        &self,
        tenant: &TenantId,
        app: &AppId,
        dashboard: &Dashboard,
        before: &str,
        most: u32,
    ) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(tenant)).await?;
        lock(&mut changing, tenant, app).await?;
        require_app(&mut changing, tenant, app).await?;
        let was = one(&mut changing, tenant, app, &dashboard.id).await?;
        match &was {
            Some(_) if before.is_empty() => return Err(MetaError::AlreadyExists(named(&dashboard.id))),
            Some(was) if was.etag != before => return Err(MetaError::Conflict(named(&dashboard.id))),
            None if !before.is_empty() => return Err(MetaError::NotFound(named(&dashboard.id))),
            None => {
                let count = query(sql::COUNT).bind(tenant.as_str()).bind(app.as_str());
                let count: Option<(i64,)> = changing.fetch_optional(count).await?;
                if count.is_some_and(|(count,)| count >= i64::from(most)) {
                    return Err(MetaError::TooMany(format!("app {app} has {most} dashboards")));
                }
            }
            Some(_) => {}
        }
        let put = query(sql::PUT)
            .bind(tenant.as_str())
            .bind(app.as_str())
            .bind(&dashboard.id)
            .bind(&dashboard.title)
            .bind(&dashboard.description)
            .bind(i64::from(dashboard.tiles))
            .bind(&dashboard.content)
            .bind(&dashboard.etag)
            .bind(dashboard.updated_at_ms)
            .bind(&dashboard.updated_by);
        changing.execute(put).await?;
        changing.commit(change(app, &dashboard.id, was.as_ref(), Some(dashboard))?).await
    }

    async fn dashboard(&self, tenant: &TenantId, app: &AppId, id: &str) -> Result<Option<Dashboard>, MetaError> {
        let select = query(sql::ONE).bind(tenant.as_str()).bind(app.as_str()).bind(id);
        self.database.fetch_optional::<sql::DashboardRow>(select).await?.map(Dashboard::try_from).transpose()
    }

    async fn list_dashboards(&self, tenant: &TenantId, app: &AppId) -> Result<Vec<Dashboard>, MetaError> {
        let select = query(sql::LIST).bind(tenant.as_str()).bind(app.as_str());
        self.database.fetch_all::<sql::DashboardRow>(select).await?.into_iter().map(Dashboard::try_from).collect()
    }

    async fn delete_dashboard(&self, tenant: &TenantId, app: &AppId, id: &str, before: &str) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(tenant)).await?;
        lock(&mut changing, tenant, app).await?;
        let was = one(&mut changing, tenant, app, id).await?.ok_or_else(|| MetaError::NotFound(named(id)))?;
        if !before.is_empty() && was.etag != before {
            return Err(MetaError::Conflict(named(id)));
        }
        changing.execute(query(sql::DELETE).bind(tenant.as_str()).bind(app.as_str()).bind(id)).await?;
        changing.commit(change(app, id, Some(&was), None)?).await
    }
}

/// Whether there is room for one more, and what is replaced: one change of an app's dashboards at a time.
async fn lock(transaction: &mut Transaction, tenant: &TenantId, app: &AppId) -> Result<(), MetaError> {
    Ok(transaction.lock(format!("dashboards of {tenant}/{app}")).await?)
}

async fn one(
    transaction: &mut Transaction,
    tenant: &TenantId,
    app: &AppId,
    id: &str,
) -> Result<Option<Dashboard>, MetaError> {
    let select = query(sql::ONE).bind(tenant.as_str()).bind(app.as_str()).bind(id);
    let row: Option<sql::DashboardRow> = transaction.fetch_optional(select).await?;
    row.map(Dashboard::try_from).transpose()
}

fn change(app: &AppId, id: &str, before: Option<&Dashboard>, after: Option<&Dashboard>) -> Result<Change, MetaError> {
    let shown = |dashboard: Option<&Dashboard>| {
        let content = dashboard.map(|dashboard| serde_json::from_str(&dashboard.content).map_err(damaged));
        content.transpose().map(|content| content.unwrap_or(Value::Null))
    };
    let object = format!("apps/{app}/dashboards/{id}");
    Ok(Change { object, app: app.to_string(), before: shown(before)?, after: shown(after)? })
}

fn named(id: &str) -> String {
    format!("dashboard {id}")
}
