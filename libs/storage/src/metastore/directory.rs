use async_trait::async_trait;
use model::{AppId, AppSet, Permission, TenantId};
use serde_json::{Value, json};

use super::{SqlMetastore, audit::json, settings};
use crate::{
    AllSettings, App, Change, Directory, Key, Layers, MetaError, Setting, Tenant,
    sql::{Transaction, directory as sql, hex, query, taken, unhex},
};

#[async_trait]
impl Directory for SqlMetastore {
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), MetaError> {
        let insert =
            query(sql::INSERT_TENANT).bind(tenant.id.as_str()).bind(&tenant.display_name).bind(tenant.created_at_ms);
        let mut changing = self.changing(Some(&tenant.id)).await?;
        let inserted = changing.execute(insert).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(tenant_named(&tenant.id))))?;
        let after = json!({"display_name": tenant.display_name});
        changing.commit(Change { object: format!("tenants/{}", tenant.id), after, ..Change::default() }).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, MetaError> {
        let rows: Vec<sql::TenantRow> = self.database.fetch_all(query(sql::TENANTS)).await?;
        rows.into_iter().map(Tenant::try_from).collect()
    }

    async fn create_app(&self, app: &App) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(&app.tenant)).await?;
        require_tenant(&mut changing, &app.tenant).await?;
        let insert = query(sql::INSERT_APP)
            .bind(app.tenant.as_str())
            .bind(app.id.as_str())
            .bind(&app.display_name)
            .bind(&app.time_zone)
            .bind(app.created_at_ms);
        let inserted = changing.execute(insert).await;
        inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(app_named(&app.id))))?;
        let after = json!({"display_name": app.display_name, "time_zone": app.time_zone});
        let (object, app) = (format!("apps/{}", app.id), app.id.to_string());
        changing.commit(Change { object, app, before: Value::Null, after }).await
    }

    async fn apps(&self, tenant: &TenantId) -> Result<Vec<App>, MetaError> {
        let select = query(sql::APPS).bind(tenant.as_str());
        let rows: Vec<sql::AppRow> = self.database.fetch_all(select).await?;
        let mut apps: Vec<App> = rows.into_iter().map(App::try_from).collect::<Result<_, _>>()?;
        settings::fill_zones(&self.database, &mut apps).await?;
        Ok(apps)
    }

    async fn app(&self, tenant: &TenantId, app: &AppId) -> Result<Option<App>, MetaError> {
        let select = query(sql::APP).bind(tenant.as_str()).bind(app.as_str());
        let row: Option<sql::AppRow> = self.database.fetch_optional(select).await?;
        let mut app = row.map(App::try_from).transpose()?;
        settings::fill_zones(&self.database, app.as_mut_slice()).await?;
        Ok(app)
    }

    async fn create_key(&self, key: &Key) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(&key.scope.tenant)).await?;
        require_tenant(&mut changing, &key.scope.tenant).await?;
        if let AppSet::Only(apps) = &key.scope.apps {
            for app in apps {
                require_app(&mut changing, &key.scope.tenant, app).await?;
            }
        }
        insert_key(&mut changing, key, || key_named(&key.id)).await?;
        changing.commit(of_key(key, None, Some(key))).await
    }

    async fn rotate_key(&self, key: &Key, end_ms: i64) -> Result<(), MetaError> {
        let old = key.rotated_from.as_deref().unwrap_or_default();
        let mut changing = self.changing(Some(&key.scope.tenant)).await?;
        let before = key_in(&mut changing, old).await?;
        let end = query(sql::END_KEY).bind(key.scope.tenant.as_str()).bind(old).bind(end_ms);
        if changing.execute(end).await? == 0 {
            return Err(MetaError::NotFound(key_named(old)));
        }
        if let (Some(before), Some(after)) = (before, key_in(&mut changing, old).await?) {
            changing.note(of_key(&after, Some(&before), Some(&after))).await?;
        }
        insert_key(&mut changing, key, || format!("a key in the place of {}", key_named(old))).await?;
        changing.commit(of_key(key, None, Some(key))).await
    }

    async fn rotated_key(&self, id: &str) -> Result<Option<Key>, MetaError> {
        let row: Option<sql::KeyRow> = self.database.fetch_optional(query(sql::ROTATED_KEY).bind(id)).await?;
        row.map(Key::try_from).transpose()
    }

    async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<(), MetaError> {
        // All in the order of ids: two processes that note the same keys wait for each other, never in a circle.
        let mut uses: Vec<_> = uses.iter().collect();
        uses.sort_unstable();
        let mut transaction = self.database.write().await?;
        for (id, at_ms) in uses {
            transaction.execute(query(sql::USE_KEY).bind(id).bind(*at_ms)).await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn key(&self, id: &str) -> Result<Option<Key>, MetaError> {
        let row: Option<sql::KeyRow> = self.database.fetch_optional(query(sql::KEY).bind(id)).await?;
        row.map(Key::try_from).transpose()
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, MetaError> {
        let select = query(sql::KEYS).bind(tenant.as_str());
        let rows: Vec<sql::KeyRow> = self.database.fetch_all(select).await?;
        rows.into_iter().map(Key::try_from).collect()
    }

    async fn revoke_key(&self, tenant: &TenantId, id: &str, at_ms: i64) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(tenant)).await?;
        let before = key_in(&mut changing, id).await?;
        let update = query(sql::REVOKE_KEY).bind(tenant.as_str()).bind(id).bind(at_ms);
        let (Some(before), 1) = (before, changing.execute(update).await?) else {
            return Err(MetaError::NotFound(key_named(id)));
        };
        let after = Key { revoked_at_ms: before.revoked_at_ms.or(Some(at_ms)), ..before.clone() };
        changing.commit(of_key(&after, Some(&before), Some(&after))).await
    }

    async fn set_settings(
        &self,
        tenant: Option<&TenantId>,
        app: Option<&AppId>,
        setting: Setting,
        etag: Option<&str>,
    ) -> Result<(), MetaError> {
        settings::set(self, tenant, app, setting, etag).await
    }

    async fn settings(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> Result<Layers, MetaError> {
        settings::layers(&self.database, tenant, app).await
    }

    async fn all_settings(&self) -> Result<AllSettings, MetaError> {
        settings::all(&self.database).await
    }

    async fn secret(&self, name: &str, make: fn() -> [u8; 32]) -> Result<[u8; 32], MetaError> {
        let stored: Option<(String,)> = self.database.fetch_optional(query(sql::SECRET).bind(name)).await?;
        if let Some((text,)) = stored {
            return unhex(&text);
        }
        let mut transaction = self.database.write().await?;
        let insert = query(sql::INSERT_SECRET).bind(name).bind(hex(&make()));
        transaction.execute(insert).await?;
        // Whoever was first made it; everybody returns what is stored.
        let stored: Option<(String,)> = transaction.fetch_optional(query(sql::SECRET).bind(name)).await?;
        transaction.commit().await?;
        unhex(&stored.ok_or(sqlx::Error::RowNotFound)?.0)
    }
}

async fn key_in(transaction: &mut Transaction, id: &str) -> Result<Option<Key>, MetaError> {
    let row: Option<sql::KeyRow> = transaction.fetch_optional(query(sql::KEY).bind(id)).await?;
    row.map(Key::try_from).transpose()
}

/// `taken_name` is what is there already if the key can't be added.
async fn insert_key(
    transaction: &mut Transaction,
    key: &Key,
    taken_name: impl FnOnce() -> String,
) -> Result<(), MetaError> {
    let row = sql::KeyRow::from(key);
    let insert = query(sql::INSERT_KEY)
        .bind(row.id)
        .bind(row.tenant)
        .bind(row.kind)
        .bind(row.hash)
        .bind(row.display_name)
        .bind(row.environment)
        .bind(row.apps)
        .bind(row.permissions)
        .bind(row.priority)
        .bind(row.networks)
        .bind(row.origins)
        .bind(row.filters)
        .bind(row.rotated_from)
        .bind(row.created_at_ms)
        .bind(row.expires_at_ms)
        .bind(row.revoked_at_ms)
        .bind(row.last_used_at_ms);
    let inserted = transaction.execute(insert).await;
    inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(taken_name())))?;
    Ok(())
}

/// What becomes of a key, without what could be a secret.
fn of_key(key: &Key, before: Option<&Key>, after: Option<&Key>) -> Change {
    let shown = |key: &Key| {
        let mut shown = json(key);
        let permissions: Vec<_> = key.scope.permissions.iter().map(Permission::name).collect();
        shown["scope"]["permissions"] = json!(permissions);
        shown.as_object_mut().and_then(|fields| fields.remove("hash"));
        shown
    };
    Change {
        object: format!("keys/{}", key.id),
        app: key.scope.apps.single().map_or_else(String::new, AppId::to_string),
        before: before.map_or(Value::Null, shown),
        after: after.map_or(Value::Null, shown),
    }
}

pub(super) async fn require_tenant(transaction: &mut Transaction, tenant: &TenantId) -> Result<(), MetaError> {
    let found: Option<(String,)> = transaction.fetch_optional(query(sql::TENANT_EXISTS).bind(tenant.as_str())).await?;
    found.map(|_| ()).ok_or_else(|| MetaError::NotFound(tenant_named(tenant)))
}

/// The app, with the time zone of its own.
pub(super) async fn require_app(
    transaction: &mut Transaction,
    tenant: &TenantId,
    app: &AppId,
) -> Result<App, MetaError> {
    let select = query(sql::APP).bind(tenant.as_str()).bind(app.as_str());
    let found: Option<sql::AppRow> = transaction.fetch_optional(select).await?;
    found.ok_or_else(|| MetaError::NotFound(app_named(app)))?.try_into()
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
