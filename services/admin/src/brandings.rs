//! How the product shows itself, and by which hosts.

use std::collections::BTreeSet;

use api::v1::{
    self, GetBrandingRequest, GetBrandingResponse, SetBrandingRequest, SetBrandingResponse, SetTenantDomainsRequest,
    SetTenantDomainsResponse,
};
use model::{AppId, Branding, Error, TenantId};
use storage::Branded;
use tracing::info;

use crate::{
    caller::{Caller, denied},
    check,
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
        let branding = checked(request.branding.ok_or_else(required)?)?;
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

fn checked(branding: v1::Branding) -> Result<Branding, Error> {
    let branding = Branding::from(branding);
    let texts = [
        check_text("product_name", branding.product_name.as_deref(), 128, "a name", |name| !name.trim().is_empty()),
        check_text("logo_url", branding.logo_url.as_deref(), 2_048, "an address that begins with https://", is_page),
        check_text("icon_url", branding.icon_url.as_deref(), 2_048, "an address that begins with https://", is_page),
        check_text("primary_color", branding.primary_color.as_deref(), 7, "a colour as \"#1a2b3c\"", is_color),
        check_text("accent_color", branding.accent_color.as_deref(), 7, "a colour as \"#1a2b3c\"", is_color),
        check_text("mail_from", branding.mail_from.as_deref(), 320, "as `Acme <no-reply@acme.example>`", is_sender),
        check_text("support_url", branding.support_url.as_deref(), 2_048, "https:// or mailto:", |url| {
            is_page(url) || url.strip_prefix("mailto:").is_some_and(is_address)
        }),
        check_text("docs_url", branding.docs_url.as_deref(), 2_048, "an address that begins with https://", is_page),
    ];
    match texts.into_iter().flatten().reduce(Error::and) {
        Some(error) => Err(error),
        None => Ok(branding),
    }
}

fn check_text(
    field: &str,
    text: Option<&str>,
    most: usize,
    right: &str,
    is_right: impl Fn(&str) -> bool,
) -> Option<Error> {
    let (text, field) = (text?, format!("branding.{field}"));
    if text.len() > most {
        return Some(Error::invalid(field, "TOO_LONG", format!("must have at most {most} bytes, not {}", text.len())));
    }
    let is_right = is_right(text) && !text.chars().any(char::is_control);
    (!is_right).then(|| Error::invalid(field, "MALFORMED", format!("must be {right}")))
}

/// Only what a page may load and link to without doubt: a `javascript:` address would be somebody's script in another's page.
fn is_page(url: &str) -> bool {
    let host = url.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| check::is_host(host.rsplit_once(':').map_or(host, |(host, _)| host)))
        && !url.contains([' ', '"', '\'', '<', '>', '\\', '`'])
}

fn is_color(text: &str) -> bool {
    text.len() == 7 && text.starts_with('#') && text.bytes().skip(1).all(|b| b.is_ascii_hexdigit())
}

fn is_sender(text: &str) -> bool {
    match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => is_address(address) && !name.contains(['<', '>', '"', ',', ';']),
        None => is_address(text),
    }
}

fn is_address(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._%+-".contains(&b);
    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && name.bytes().all(plain) && check::is_host(host))
}

fn is_domain(text: &str) -> bool {
    check::is_host(text) && !text.bytes().any(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(branding: v1::Branding) -> Vec<String> {
        checked(branding).err().map_or_else(Vec::new, |error| error.violations.into_iter().map(|v| v.field).collect())
    }

    #[test]
    fn what_a_page_may_show_passes_and_nothing_else() {
        let some = |text: &str| Some(text.to_owned());
        let good = v1::Branding {
            product_name: some("Acme Einsichten ä"),
            logo_url: some("https://cdn.acme.example:8443/logo.svg?v=2"),
            icon_url: None,
            primary_color: some("#1a2B3c"),
            accent_color: some("#000000"),
            mail_from: some("Acme <no-reply@acme.example>"),
            support_url: some("mailto:help@acme.example"),
            docs_url: some("https://acme.example"),
        };
        assert_eq!(faults(good), Vec::<String>::new());
        for url in [
            "",
            "http://acme.example",
            "javascript:alert(1)",
            "https://",
            "https://a b",
            "https://x.example/\"onload=",
            "data:image/png;base64,x",
        ] {
            assert_eq!(
                faults(v1::Branding { logo_url: some(url), ..v1::Branding::default() }),
                ["branding.logo_url"],
                "{url}"
            );
        }
        for color in ["", "red", "#12345", "#12345g", "url(x)"] {
            assert_eq!(
                faults(v1::Branding { primary_color: some(color), ..v1::Branding::default() }),
                ["branding.primary_color"]
            );
        }
        let bad = v1::Branding {
            product_name: some(" "),
            mail_from: some("Acme <a@b.example>, <c@d.example>"),
            support_url: some("mailto:nobody"),
            ..v1::Branding::default()
        };
        assert_eq!(faults(bad), ["branding.product_name", "branding.mail_from", "branding.support_url"]);
    }

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
