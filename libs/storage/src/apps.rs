use std::{collections::HashMap, sync::Arc};

use model::{AppId, AppSchema, PropertyKind, TenantId};
use parking_lot::RwLock;

use crate::{App, MetaError, Metastore, RegistryError};

/// An app and its registry, as read together.
#[derive(Debug, Clone)]
pub struct AppInfo {
    /// The app.
    pub app: App,
    /// Its properties.
    pub schema: Arc<AppSchema>,
    /// For how many days its events are kept, where that is set; 0, for ever.
    pub retention_days: Option<u32>,
    read_at_ms: i64,
}

/// Apps and their registries, kept in memory: what every batch and every query looks up.
///
/// A registry only grows, so a stale one is never wrong, only short: who misses a property asks [`Apps::fresh`].
pub struct Apps {
    meta: Arc<dyn Metastore>,
    known: RwLock<HashMap<(TenantId, AppId), Arc<AppInfo>>>,
    now_ms: fn() -> i64,
}

/// How long an app is taken from memory before the metastore is asked again.
const KEEP_MS: i64 = 10_000;

impl Apps {
    /// Reads through to this metastore.
    pub fn new(meta: Arc<dyn Metastore>, now_ms: fn() -> i64) -> Self {
        Self { meta, known: RwLock::default(), now_ms }
    }

    /// The app, up to ten seconds old; older if the metastore can't be reached. `NotFound` if the tenant has no such app.
    pub async fn get(&self, tenant: &TenantId, app: &AppId) -> Result<Arc<AppInfo>, MetaError> {
        let known = self.known.read().get(&(tenant.clone(), app.clone())).cloned();
        match known {
            Some(info) if (self.now_ms)() - info.read_at_ms < KEEP_MS => Ok(info),
            Some(old) => match self.fresh(tenant, app).await {
                Err(MetaError::Unavailable(_)) => Ok(old),
                fresh => fresh,
            },
            None => self.fresh(tenant, app).await,
        }
    }

    /// The app as the metastore has it now.
    pub async fn fresh(&self, tenant: &TenantId, app: &AppId) -> Result<Arc<AppInfo>, MetaError> {
        let found = self.meta.app(tenant, app).await?;
        let found = found.ok_or_else(|| MetaError::NotFound(format!("app {app}")))?;
        let schema = self.meta.schema(tenant, app).await?;
        let retention_days = self.meta.settings(Some(tenant), Some(app)).await?.effective().retention_days;
        Ok(self.keep(found, schema, retention_days))
    }

    /// The tenant's apps by id, as the metastore has them now; empty for an unknown tenant.
    pub async fn all(&self, tenant: &TenantId) -> Result<Vec<App>, MetaError> {
        self.meta.apps(tenant).await
    }

    /// Registers properties of an app (see [`crate::Registry::register`]) and returns it with them.
    pub async fn register(
        &self,
        info: &AppInfo,
        properties: &[(&str, PropertyKind)],
        limit: usize,
    ) -> Result<Arc<AppInfo>, RegistryError> {
        let schema = self.meta.register(&info.app.tenant, &info.app.id, properties, limit).await?;
        Ok(self.keep(info.app.clone(), schema, info.retention_days))
    }

    fn keep(&self, app: App, schema: AppSchema, retention_days: Option<u32>) -> Arc<AppInfo> {
        let key = (app.tenant.clone(), app.id.clone());
        let info = Arc::new(AppInfo { app, schema: Arc::new(schema), retention_days, read_at_ms: (self.now_ms)() });
        let mut known = self.known.write();
        // Two readers may come back in the other order: the longer registry is the later one.
        match known.get(&key) {
            Some(there) if there.schema.len() > info.schema.len() => Arc::clone(there),
            _ => {
                known.insert(key, Arc::clone(&info));
                info
            }
        }
    }
}
