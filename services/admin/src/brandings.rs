//! How the product shows itself, and by which hosts.

use std::collections::BTreeSet;

use api::v1::{
    GetBrandingRequest, GetBrandingResponse, SetBrandingRequest, SetBrandingResponse, SetTenantDomainsRequest,
    SetTenantDomainsResponse,
};
use model::{AppId, Branding, Error, TenantId, is_host};
use storage::Branded;
use tracing::info;

use crate::{
    caller::{Caller, denied},
    service::{Admin, stored},
    wire::app_of,
};

/// The most domains of one tenant.
const MAX_DOMAINS: usize = 32;

impl Admin {
    pub(crate) async fn set_branding(
        &self,
        caller: &Caller,
        request: SetBrandingRequest,
    ) -> Result<SetBrandingResponse, Error> {
        let (tenant, app) = place(caller, &request.tenant_id, &request.app_id)?;
        let required = || {
            Error::invalid("branding", "REQUIRED", "must be the branding; without any field it takes back what was set")
        };
        let branding = Branding::from(request.branding.ok_or_else(required)?);
        branding.check()?;
        if app.is_none() && !caller.reaches_all() {
            return Err(denied("this key is limited to some apps: say in `app_id` which of them it is about"));
        }
        let acting = self.acting(caller, "AdminService/SetBranding");
        acting.set_branding(tenant.as_ref(), app.as_ref(), &branding).await.map_err(stored)?;
        info!(by = caller.key_id(), ?tenant, ?app, "set a branding");
        let Branded { set, effective } = self.branded(tenant.as_ref(), app.as_ref()).await?;
        Ok(SetBrandingResponse { branding: Some(set.into()), effective: Some(effective.into()) })
    }

    pub(crate) async fn branding(
        &self,
        caller: &Caller,
        request: &GetBrandingRequest,
    ) -> Result<GetBrandingResponse, Error> {
        let (tenant, app) = place(caller, &request.tenant_id, &request.app_id)?;
        let mut domains = BTreeSet::new();
        if let Some(tenant) = &tenant {
            match &app {
                Some(app) => self.require_app(tenant, app).await?,
                None => self.require_tenant(tenant).await?,
            }
            domains = self.directory.domains(tenant).await.map_err(stored)?;
        }
        let Branded { set, effective } = self.branded(tenant.as_ref(), app.as_ref()).await?;
        let (branding, effective) = (Some(set.into()), Some(effective.into()));
        Ok(GetBrandingResponse { branding, effective, domains: domains.into_iter().collect() })
    }

    pub(crate) async fn set_domains(
        &self,
        caller: &Caller,
        request: &SetTenantDomainsRequest,
    ) -> Result<SetTenantDomainsResponse, Error> {
        caller.require_operator()?;
        let tenant = caller.tenant(&request.tenant_id)?;
        if request.domains.len() > MAX_DOMAINS {
            let description = format!("are {}, the limit is {MAX_DOMAINS}", request.domains.len());
            return Err(Error::invalid("domains", "TOO_MANY", description));
        }
        let faults = request.domains.iter().enumerate().filter(|(_, domain)| !is_domain(domain)).map(|(i, domain)| {
            let rule = if domain.is_empty() { "REQUIRED" } else { "MALFORMED" };
            let description =
                "must be a host as \"analytics.acme.example\": in lower case, without scheme, port and path, and no IP address";
            Error::invalid(format!("domains[{i}]"), rule, description)
        });
        if let Some(error) = faults.reduce(Error::and) {
            return Err(error);
        }
        let domains: BTreeSet<_> = request.domains.iter().cloned().collect();
        self.acting(caller, "AdminService/SetTenantDomains").set_domains(&tenant, &domains).await.map_err(stored)?;
        info!(by = caller.key_id(), %tenant, ?domains, "set domains");
        Ok(SetTenantDomainsResponse { domains: domains.into_iter().collect() })
    }

    async fn branded(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> Result<Branded, Error> {
        self.directory.branding(tenant, app).await.map_err(stored)
    }
}

/// What it is about: the installation only where an operator names no tenant.
pub(crate) fn place(caller: &Caller, tenant: &str, app: &str) -> Result<(Option<TenantId>, Option<AppId>), Error> {
    let tenant = caller.chain(tenant)?;
    match (&tenant, app) {
        (_, "") => Ok((tenant, None)),
        (Some(_), app) => Ok((tenant, Some(app_of(caller, app)?))),
        (None, _) => Err(Error::invalid("tenant_id", "REQUIRED", "must name the tenant whose app it is")),
    }
}

fn is_domain(text: &str) -> bool {
    is_host(text) && !text.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_as_browsers_send_it() {
        for domain in ["acme.example", "a-1.acme.example", "xn--bcher-kva.example", "localhost"] {
            assert!(is_domain(domain), "{domain}");
        }
        for domain in [
            "",
            "Acme.example",
            "acme.example:443",
            "https://acme.example",
            "acme..example",
            "-a.example",
            "127.0.0.1",
            "a.example.",
            "*.example",
        ] {
            assert!(!is_domain(domain), "{domain}");
        }
    }
}
