use async_trait::async_trait;
use model::{AppId, AppSchema, PropertyKind, TenantId};
use sqlx::{Executor, Sqlite};

use super::SqliteMetastore;
use crate::{MetaError, Registry, RegistryError, place, registry::assign, sql::registry as sql};

#[async_trait]
impl Registry for SqliteMetastore {
    async fn schema(&self, tenant: &TenantId, app: &AppId) -> Result<AppSchema, MetaError> {
        read(&self.readers, tenant, app).await
    }

    async fn register(
        &self,
        tenant: &TenantId,
        app: &AppId,
        properties: &[(&str, PropertyKind)],
        limit: usize,
    ) -> Result<AppSchema, RegistryError> {
        let known = read(&self.readers, tenant, app).await?;
        if properties.iter().all(|(name, kind)| known.slot(name, *kind).is_some()) {
            return Ok(known);
        }
        let mut transaction = self.write().await?;
        let stored = read(&mut *transaction, tenant, app).await?;
        for (at, property) in (stored.len() as i64..).zip(assign(&stored, properties, limit)?) {
            let insert = sqlx::query(sql::INSERT_PROPERTY)
                .bind(tenant.as_str())
                .bind(app.as_str())
                .bind(at)
                .bind(property.name)
                .bind(property.kind.name())
                .bind(place::name(property.slot));
            insert.execute(&mut *transaction).await?;
        }
        let schema = read(&mut *transaction, tenant, app).await?;
        transaction.commit().await?;
        Ok(schema)
    }
}

async fn read(
    executor: impl Executor<'_, Database = Sqlite>,
    tenant: &TenantId,
    app: &AppId,
) -> Result<AppSchema, MetaError> {
    let select = sqlx::query_as(sql::PROPERTIES).bind(tenant.as_str()).bind(app.as_str());
    sql::schema(select.fetch_all(executor).await?)
}
