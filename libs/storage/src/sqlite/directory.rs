use async_trait::async_trait;
use model::{AppId, AppSet, TenantId};
use sqlx::{Sqlite, Transaction};

use super::SqliteMetastore;
use crate::{
    App, Directory, Key, MetaError, Tenant,
    sql::{directory as sql, hex, taken, unhex},
};

#[async_trait]
impl Directory for SqliteMetastore {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), MetaError> {
        let insert = sqlx::query(sql::INSERT_TENANT)
            .bind(tenant.id.as_str())
            .bind(&tenant.display_name)
            .bind(tenant.created_at_ms);
        let inserted = insert.execute(&self.writer).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(tenant_named(&tenant.id))))?;
        Ok(())
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, MetaError> {
        let rows: Vec<sql::TenantRow> = sqlx::query_as(sql::TENANTS).fetch_all(&self.readers).await?;
        rows.into_iter().map(Tenant::try_from).collect()
    }

    async fn create_app(&self, app: &App) -> Result<(), MetaError> {
        let mut transaction = self.write().await?;
        require_tenant(&mut transaction, &app.tenant).await?;
        let insert = sqlx::query(sql::INSERT_APP)
            .bind(app.tenant.as_str())
            .bind(app.id.as_str())
            .bind(&app.display_name)
            .bind(&app.time_zone)
            .bind(app.created_at_ms);
        let inserted = insert.execute(&mut *transaction).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(app_named(&app.id))))?;
        Ok(transaction.commit().await?)
    }

    async fn apps(&self, tenant: &TenantId) -> Result<Vec<App>, MetaError> {
        let select = sqlx::query_as(sql::APPS).bind(tenant.as_str());
        let rows: Vec<sql::AppRow> = select.fetch_all(&self.readers).await?;
        rows.into_iter().map(App::try_from).collect()
    }

    async fn app(&self, tenant: &TenantId, app: &AppId) -> Result<Option<App>, MetaError> {
        let select = sqlx::query_as(sql::APP).bind(tenant.as_str()).bind(app.as_str());
        let row: Option<sql::AppRow> = select.fetch_optional(&self.readers).await?;
        row.map(App::try_from).transpose()
    }

    async fn create_key(&self, key: &Key) -> Result<(), MetaError> {
        let mut transaction = self.write().await?;
        require_tenant(&mut transaction, &key.scope.tenant).await?;
        if let AppSet::Only(apps) = &key.scope.apps {
            for app in apps {
                require_app(&mut transaction, &key.scope.tenant, app).await?;
            }
        }
        let row = sql::KeyRow::from(key);
        let insert = sqlx::query(sql::INSERT_KEY)
            .bind(row.id)
            .bind(row.tenant)
            .bind(row.hash)
            .bind(row.display_name)
            .bind(row.apps)
            .bind(row.permissions)
            .bind(row.priority)
            .bind(row.created_at_ms)
            .bind(row.expires_at_ms)
            .bind(row.revoked_at_ms);
        let inserted = insert.execute(&mut *transaction).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(key_named(&key.id))))?;
        Ok(transaction.commit().await?)
    }

    async fn key(&self, id: &str) -> Result<Option<Key>, MetaError> {
        let row: Option<sql::KeyRow> = sqlx::query_as(sql::KEY).bind(id).fetch_optional(&self.readers).await?;
        row.map(Key::try_from).transpose()
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, MetaError> {
        let select = sqlx::query_as(sql::KEYS).bind(tenant.as_str());
        let rows: Vec<sql::KeyRow> = select.fetch_all(&self.readers).await?;
        rows.into_iter().map(Key::try_from).collect()
    }

    async fn revoke_key(&self, tenant: &TenantId, id: &str, at_ms: i64) -> Result<(), MetaError> {
        let update = sqlx::query(sql::REVOKE_KEY).bind(tenant.as_str()).bind(id).bind(at_ms);
        match update.execute(&self.writer).await?.rows_affected() {
            0 => Err(MetaError::NotFound(key_named(id))),
            _ => Ok(()),
        }
    }

    async fn secret(&self, name: &str, make: fn() -> [u8; 32]) -> Result<[u8; 32], MetaError> {
        let stored = sqlx::query_scalar(sql::SECRET).bind(name);
        let stored: Option<String> = stored.fetch_optional(&self.readers).await?;
        if let Some(text) = stored {
            return unhex(&text);
        }
        let mut transaction = self.write().await?;
        let insert = sqlx::query(sql::INSERT_SECRET).bind(name).bind(hex(&make()));
        insert.execute(&mut *transaction).await?;
        // Whoever was first made it; everybody returns what is stored.
        let text: String = sqlx::query_scalar(sql::SECRET).bind(name).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        unhex(&text)
    }
}

async fn require_tenant(transaction: &mut Transaction<'_, Sqlite>, tenant: &TenantId) -> Result<(), MetaError> {
    let select = sqlx::query(sql::TENANT_EXISTS).bind(tenant.as_str());
    match select.fetch_optional(&mut **transaction).await? {
        Some(_) => Ok(()),
        None => Err(MetaError::NotFound(tenant_named(tenant))),
    }
}

async fn require_app(
    transaction: &mut Transaction<'_, Sqlite>,
    tenant: &TenantId,
    app: &AppId,
) -> Result<(), MetaError> {
    let select = sqlx::query(sql::APP).bind(tenant.as_str()).bind(app.as_str());
    match select.fetch_optional(&mut **transaction).await? {
        Some(_) => Ok(()),
        None => Err(MetaError::NotFound(app_named(app))),
    }
}

fn tenant_named(tenant: &TenantId) -> String {
    format!("tenant {tenant}")
}

fn app_named(app: &AppId) -> String {
    format!("app {app}")
}

fn key_named(id: &str) -> String {
    format!("key {id}")
}
