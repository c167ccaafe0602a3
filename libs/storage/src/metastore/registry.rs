use async_trait::async_trait;
use model::{AppId, AppSchema, PropertyKind, TenantId};

use super::SqlMetastore;
use crate::{
    MetaError, Registry, RegistryError, place,
    registry::assign,
    sql::{Statement, query, registry as sql},
};

#[async_trait]
impl Registry for SqlMetastore {
    async fn schema(&self, tenant: &TenantId, app: &AppId) -> Result<AppSchema, MetaError> {
        sql::schema(self.database.fetch_all(all_properties(tenant, app)).await?)
    }

    async fn register(
        &self,
        tenant: &TenantId,
        app: &AppId,
        properties: &[(&str, PropertyKind)],
        limit: usize,
    ) -> Result<AppSchema, RegistryError> {
        let known = self.schema(tenant, app).await?;
        if properties.iter().all(|(name, kind)| known.slot(name, *kind).is_some()) {
            return Ok(known);
        }
        let mut transaction = self.database.write().await?;
        transaction.lock(format!("properties of {tenant}/{app}")).await?;
        let stored = sql::schema(transaction.fetch_all(all_properties(tenant, app)).await?)?;
        for (at, property) in (stored.len() as i64..).zip(assign(&stored, properties, limit)?) {
            let insert = query(sql::INSERT_PROPERTY)
                .bind(tenant.as_str())
                .bind(app.as_str())
                .bind(at)
                .bind(property.name)
                .bind(property.kind.name())
                .bind(place::name(property.slot));
            transaction.execute(insert).await?;
        }
        let schema = sql::schema(transaction.fetch_all(all_properties(tenant, app)).await?)?;
        transaction.commit().await?;
        Ok(schema)
    }
}

fn all_properties(tenant: &TenantId, app: &AppId) -> Statement {
    query(sql::PROPERTIES).bind(tenant.as_str()).bind(app.as_str())
}
