use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use model::{AppId, Branding, TenantId};

use crate::MetaError;

/// A branding at one place, from the whole installation over a tenant to one of its apps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Branded {
    /// What is set for just this.
    pub set: Branding,
    /// What holds: what isn't set is as the next wider place has it.
    pub effective: Branding,
}

/// What whoever comes by a host is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// By the domains of tenants, in lower case.
    pub by_domain: HashMap<String, Branding>,
    /// By any other host.
    pub other: Branding,
}

/// How the product shows itself, and by which hosts.
#[async_trait]
pub trait Brandings: Send + Sync + 'static {
    /// Sets a branding in place of the one before: of a tenant's app, without an app of the tenant, without both of the installation. `NotFound`
    /// without the tenant or the app.
    async fn set_branding(
        &self,
        tenant: Option<&TenantId>,
        app: Option<&AppId>,
        branding: &Branding,
    ) -> Result<(), MetaError>;

    /// The branding there. Of what isn't there nothing is set.
    async fn branding(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> Result<Branded, MetaError>;

    /// Sets the domains of a tenant in place of those before, in lower case. `NotFound` without the tenant; `AlreadyExists`, naming the domain, if
    /// one is another tenant's: then none is changed.
    async fn set_domains(&self, tenant: &TenantId, domains: &BTreeSet<String>) -> Result<(), MetaError>;

    /// The domains of a tenant.
    async fn domains(&self, tenant: &TenantId) -> Result<BTreeSet<String>, MetaError>;

    /// What every host shows.
    async fn hosts(&self) -> Result<Hosts, MetaError>;
}
