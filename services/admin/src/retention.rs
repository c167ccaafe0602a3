//! For how long events are kept: the operator's to say, the tenant's to know.

use api::v1::{
    GetTenantRetentionRequest, GetTenantRetentionResponse, SetTenantRetentionRequest, SetTenantRetentionResponse,
};
use model::{AppId, Error, TenantId};
use serde::{Deserialize, Serialize};
use storage::{Setting, Settings};
use tracing::info;

use crate::{
    caller::Caller,
    service::{Admin, stored},
    wire::app_of,
};

/// For how long events are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionOptions {
    /// For how many days the events of tenants are kept whose retention an operator didn't set (`SetTenantRetention`). 0: for ever.
    pub days: u32,
    /// How often it is looked what is older, in seconds.
    pub look_seconds: u64,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self { days: 0, look_seconds: 1_800 }
    }
}

impl Admin {
    pub(crate) async fn set_retention(
        &self,
        caller: &Caller,
        request: &SetTenantRetentionRequest,
    ) -> Result<SetTenantRetentionResponse, Error> {
        caller.require_operator()?;
        let tenant = caller.tenant(&request.tenant_id)?;
        let app = optional_app(caller, &request.app_id)?;
        check_days("days", request.days)?;
        let acting = self.acting(caller, "AdminService/SetTenantRetention");
        let days = Setting::RetentionDays(request.days);
        acting.set_settings(Some(&tenant), app.as_ref(), days, None).await.map_err(stored)?;
        info!(by = caller.key_id(), %tenant, ?app, days = ?request.days, "set a retention");
        let (days, effective_days) = self.kept(&tenant, app.as_ref()).await?;
        Ok(SetTenantRetentionResponse { days, effective_days })
    }

    pub(crate) async fn retention(
        &self,
        caller: &Caller,
        request: &GetTenantRetentionRequest,
    ) -> Result<GetTenantRetentionResponse, Error> {
        let tenant = caller.tenant(&request.tenant_id)?;
        let app = optional_app(caller, &request.app_id)?;
        match &app {
            Some(app) => self.require_app(&tenant, app).await?,
            None => self.require_tenant(&tenant).await?,
        }
        let (days, effective_days) = self.kept(&tenant, app.as_ref()).await?;
        Ok(GetTenantRetentionResponse { days, effective_days })
    }

    /// What was set for just this, and what holds.
    async fn kept(&self, tenant: &TenantId, app: Option<&AppId>) -> Result<(Option<u32>, u32), Error> {
        let layers = self.directory.settings(Some(tenant), app).await.map_err(stored)?;
        let set = layers.own(Some(tenant), app);
        Ok((set.retention_days, layers.effective().retention_days.unwrap_or(self.retention_days)))
    }
}

pub(crate) fn check_days(field: &str, days: Option<u32>) -> Result<(), Error> {
    if days.is_some_and(|days| days > Settings::MAX_DAYS) {
        let description = format!("must be at most {}; 0 is for ever", Settings::MAX_DAYS);
        return Err(Error::invalid(field, "TOO_MANY", description));
    }
    Ok(())
}

fn optional_app(caller: &Caller, text: &str) -> Result<Option<AppId>, Error> {
    if text.is_empty() { Ok(None) } else { app_of(caller, text).map(Some) }
}
