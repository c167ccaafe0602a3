use async_trait::async_trait;
use model::{AppId, TenantId};

use crate::MetaError;

/// Questions side by side, under one name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dashboard {
    /// Its id; unique in its app.
    pub id: String,
    /// What people call it.
    pub title: String,
    /// What it is about.
    pub description: String,
    /// How many questions it has.
    pub tiles: u32,
    /// All of it, as the contract says it in JSON: an object. Empty in a list.
    pub content: String,
    /// What tells this state of it from all others.
    pub etag: String,
    /// When it became what it is, UTC ms.
    pub updated_at_ms: i64,
    /// The public part of the key that made it so.
    pub updated_by: String,
}

/// The dashboards of apps.
#[async_trait]
pub trait Dashboards: Send + Sync + 'static {
    /// Stores a dashboard in place of the one whose etag is `before`: `NotFound` if there is none, `Conflict` if it is another by now. If `before` is
    /// empty it is new: `AlreadyExists` if it is there, `TooMany` if the app has `most` of them.
    async fn put_dashboard(
        &self,
        tenant: &TenantId,
        app: &AppId,
        dashboard: &Dashboard,
        before: &str,
        most: u32,
    ) -> Result<(), MetaError>;

    /// A dashboard.
    async fn dashboard(&self, tenant: &TenantId, app: &AppId, id: &str) -> Result<Option<Dashboard>, MetaError>;

    /// The app's dashboards by title, without their content.
    async fn list_dashboards(&self, tenant: &TenantId, app: &AppId) -> Result<Vec<Dashboard>, MetaError>;

    /// Deletes a dashboard: `NotFound` if there is none, `Conflict` if its etag is not `before`, unless that is empty.
    async fn delete_dashboard(&self, tenant: &TenantId, app: &AppId, id: &str, before: &str) -> Result<(), MetaError>;
}
