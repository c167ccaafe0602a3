//! How the product shows itself.

/// $1 tenant, $2 app, $3 branding.
pub(crate) const SET: &str = "INSERT INTO brandings (tenant, app, branding) VALUES ($1, $2, $3) \
     ON CONFLICT (tenant, app) DO UPDATE SET branding = $3";
/// $1 tenant, $2 app. The widest first.
pub(crate) const LAYERS: &str = "SELECT tenant, app, branding FROM brandings \
     WHERE (tenant = '' AND app = '') OR (tenant = $1 AND app IN ('', $2)) ORDER BY tenant, app";
/// Of the installation and of tenants.
pub(crate) const OF_TENANTS: &str = "SELECT tenant, branding FROM brandings WHERE app = ''";

/// $1 domain, $2 tenant.
pub(crate) const INSERT_DOMAIN: &str = "INSERT INTO tenant_domains (domain, tenant) VALUES ($1, $2)";
/// $1 tenant.
pub(crate) const DELETE_DOMAINS: &str = "DELETE FROM tenant_domains WHERE tenant = $1";
/// $1 tenant.
pub(crate) const DOMAINS: &str = "SELECT domain FROM tenant_domains WHERE tenant = $1";
pub(crate) const ALL_DOMAINS: &str = "SELECT domain, tenant FROM tenant_domains";
