//! A tenant's apps.

use api::v1::{CreateAppRequest, CreateAppResponse, ListAppsRequest, ListAppsResponse};
use model::{AppId, Error, ErrorCode, TenantId};
use storage::App;
use tracing::info;

use crate::{
    caller::Caller,
    service::{Admin, stored},
    wire::{app_to_add, app_to_wire},
};

impl Admin {
    pub(crate) async fn add_app(&self, caller: &Caller, request: CreateAppRequest) -> Result<CreateAppResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let app = app_to_add(request.app, tenant, (self.now_ms)())?;
        caller.may_add(&app.id)?;
        self.acting(caller, "AdminService/CreateApp").create_app(&app).await.map_err(stored)?;
        info!(by = caller.key_id(), tenant = %app.tenant, app = %app.id, "added an app");
        let time_zone = self.app(&app.tenant, &app.id).await?.time_zone; // its own, or else the tenant's
        Ok(CreateAppResponse { app: Some(app_to_wire(App { time_zone, ..app })) })
    }

    pub(crate) async fn apps(&self, caller: &Caller, request: &ListAppsRequest) -> Result<ListAppsResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let apps = self.directory.apps(&tenant).await.map_err(stored)?;
        if apps.is_empty() {
            self.require_tenant(&tenant).await?;
        }
        let within_reach = apps.into_iter().filter(|app| caller.reaches(&app.id));
        Ok(ListAppsResponse { apps: within_reach.map(app_to_wire).collect() })
    }

    /// The app.
    pub(crate) async fn app(&self, tenant: &TenantId, app: &AppId) -> Result<App, Error> {
        let found = self.directory.app(tenant, app).await.map_err(stored)?;
        found.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("app {app} does not exist")))
    }

    /// Refuses an app that isn't there.
    pub(crate) async fn require_app(&self, tenant: &TenantId, app: &AppId) -> Result<(), Error> {
        self.app(tenant, app).await.map(drop)
    }
}
