//! Tenants: the operator's.

use api::v1::{CreateTenantRequest, CreateTenantResponse, ListTenantsResponse};
use model::{Error, ErrorCode, TenantId};
use tracing::info;

use crate::{
    caller::Caller,
    service::{Admin, stored},
    wire::{tenant_from_wire, tenant_to_wire},
};

impl Admin {
    pub(crate) async fn add_tenant(
        &self,
        caller: &Caller,
        request: CreateTenantRequest,
    ) -> Result<CreateTenantResponse, Error> {
        caller.require_operator()?;
        let tenant = tenant_from_wire(request.tenant, (self.now_ms)())?;
        self.acting(caller, "AdminService/CreateTenant").create_tenant(&tenant).await.map_err(stored)?;
        info!(by = caller.key_id(), tenant = %tenant.id, "added a tenant");
        Ok(CreateTenantResponse { tenant: Some(tenant_to_wire(tenant)) })
    }

    pub(crate) async fn tenants(&self, caller: &Caller) -> Result<ListTenantsResponse, Error> {
        caller.require_operator()?;
        let tenants = self.directory.tenants().await.map_err(stored)?;
        Ok(ListTenantsResponse { tenants: tenants.into_iter().map(tenant_to_wire).collect() })
    }

    /// Refuses a tenant that isn't there. Lists of its things would be empty; only an operator can have named it.
    pub(crate) async fn require_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        let tenants = self.directory.tenants().await.map_err(stored)?;
        if tenants.iter().any(|t| t.id == *tenant) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::NotFound, format!("tenant {tenant} does not exist")))
    }
}
