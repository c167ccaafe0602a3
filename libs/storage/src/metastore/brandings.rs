use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use model::{AppId, Branding, TenantId};
use serde_json::json;

use super::{
    SqlMetastore,
    audit::json,
    directory::{require_app, require_tenant},
};
use crate::{
    Branded, Brandings, Change, Hosts, MetaError,
    sql::{Transaction, brandings as sql, damaged, query, taken},
};

#[async_trait]
impl Brandings for SqlMetastore {
    async fn set_branding(
        &self,
        tenant: Option<&TenantId>,
        app: Option<&AppId>,
        branding: &Branding,
    ) -> Result<(), MetaError> {
        let mut changing = self.changing(tenant).await?;
        if let Some(tenant) = tenant {
            require_tenant(&mut changing, tenant).await?;
            if let Some(app) = app {
                require_app(&mut changing, tenant, app).await?;
            }
        }
        let place = place(tenant, app);
        let layers = changing.fetch_all(query(sql::LAYERS).bind(place.0).bind(place.1)).await?;
        let before = json(&branded(layers, place)?.set);
        let text = serde_json::to_string(branding).map_err(damaged)?;
        changing.execute(query(sql::SET).bind(place.0).bind(place.1).bind(text)).await?;
        let (object, app) = ("branding".to_owned(), place.1.to_owned());
        changing.commit(Change { object, app, before, after: json(branding) }).await
    }

    async fn branding(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> Result<Branded, MetaError> {
        let place = place(tenant, app);
        branded(self.database.fetch_all(query(sql::LAYERS).bind(place.0).bind(place.1)).await?, place)
    }

    async fn set_domains(&self, tenant: &TenantId, domains: &BTreeSet<String>) -> Result<(), MetaError> {
        let mut changing = self.changing(Some(tenant)).await?;
        require_tenant(&mut changing, tenant).await?;
        let before = domains_in(&mut changing, tenant).await?;
        changing.execute(query(sql::DELETE_DOMAINS).bind(tenant.as_str())).await?;
        // In one order for everybody, so that two who want the same wait and don't lock each other out.
        for domain in domains {
            let inserted = changing.execute(query(sql::INSERT_DOMAIN).bind(domain).bind(tenant.as_str())).await;
            inserted.map_err(|e| taken(e, || MetaError::AlreadyExists(format!("domain {domain}"))))?;
        }
        let (before, after) = (json!({"domains": before}), json!({"domains": domains}));
        changing.commit(Change { object: "domains".to_owned(), before, after, ..Change::default() }).await
    }

    async fn domains(&self, tenant: &TenantId) -> Result<BTreeSet<String>, MetaError> {
        let rows: Vec<(String,)> = self.database.fetch_all(query(sql::DOMAINS).bind(tenant.as_str())).await?;
        Ok(rows.into_iter().map(|(domain,)| domain).collect())
    }

    async fn hosts(&self) -> Result<Hosts, MetaError> {
        let rows: Vec<(String, String)> = self.database.fetch_all(query(sql::OF_TENANTS)).await?;
        let read = rows.into_iter().map(|(tenant, text)| Ok((tenant, serde_json::from_str(&text).map_err(damaged)?)));
        let mut set: HashMap<String, Branding> = read.collect::<Result<_, MetaError>>()?;
        let other = set.remove("").unwrap_or_default();
        let domains: Vec<(String, String)> = self.database.fetch_all(query(sql::ALL_DOMAINS)).await?;
        let shown = |tenant: &str| set.get(tenant).cloned().unwrap_or_default().within(&other);
        let by_domain = domains.into_iter().map(|(domain, tenant)| (domain, shown(&tenant))).collect();
        Ok(Hosts { by_domain, other })
    }
}

/// As it is stored.
pub(super) fn place<'a>(tenant: Option<&'a TenantId>, app: Option<&'a AppId>) -> (&'a str, &'a str) {
    (tenant.map_or("", TenantId::as_str), app.map_or("", AppId::as_str))
}

async fn domains_in(transaction: &mut Transaction, tenant: &TenantId) -> Result<BTreeSet<String>, MetaError> {
    let rows: Vec<(String,)> = transaction.fetch_all(query(sql::DOMAINS).bind(tenant.as_str())).await?;
    Ok(rows.into_iter().map(|(domain,)| domain).collect())
}

/// Of the layers, the widest first.
fn branded(layers: Vec<(String, String, String)>, place: (&str, &str)) -> Result<Branded, MetaError> {
    let mut branded = Branded::default();
    for (tenant, app, text) in layers {
        let set: Branding = serde_json::from_str(&text).map_err(damaged)?;
        branded.effective = set.clone().within(&branded.effective);
        if (tenant.as_str(), app.as_str()) == place {
            branded.set = set;
        }
    }
    Ok(branded)
}
