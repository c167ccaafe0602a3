//! Settings: what is set lies in one table, but for the time zones of apps, which lie with the apps.

use model::{AppId, TenantId};
use serde_json::json;

use super::{
    SqlMetastore,
    audit::json,
    brandings::place,
    directory::{require_app, require_tenant},
};
use crate::{
    AllSettings, App, Change, Layers, MetaError, Setting, Settings,
    sql::{Database, damaged, directory as sql, query},
};

pub(super) async fn set(
    store: &SqlMetastore,
    tenant: Option<&TenantId>,
    app: Option<&AppId>,
    setting: Setting,
    etag: Option<&str>,
) -> Result<(), MetaError> {
    let (of, id) = place(tenant, app);
    let mut changing = store.changing(tenant).await?;
    // Who changes a part of them waits for who changes another.
    changing.lock(format!("settings of {of}/{id}")).await?;
    let mut zone = String::new();
    if let Some(tenant) = tenant {
        require_tenant(&mut changing, tenant).await?;
        if let Some(app) = app {
            zone = require_app(&mut changing, tenant, app).await?.time_zone;
        }
    }
    let layers = layered(changing.fetch_all(query(sql::LAYERS).bind(of).bind(id)).await?, zone)?;
    let before = layers.own(tenant, app).clone();
    if etag.is_some_and(|etag| etag != before.etag()) {
        return Err(MetaError::Conflict("what is set there".to_owned()));
    }
    let (object, mut after) = match setting {
        Setting::All(settings) => ("settings", Settings { quota: settings.quota.bounded(), ..settings }),
        Setting::OfAdmins(Settings { time_zone, allowed_origins, default_priority, .. }) => {
            ("settings", Settings { time_zone, allowed_origins, default_priority, ..before.clone() })
        }
        Setting::OfOwners(Settings { time_zone, allowed_origins, default_priority, quota, .. }) => {
            let quota = quota.bounded();
            ("settings", Settings { time_zone, allowed_origins, default_priority, quota, ..before.clone() })
        }
        Setting::Quota(quota) => ("quota", Settings { quota: quota.bounded(), ..before.clone() }),
        Setting::RetentionDays(retention_days) => ("retention", Settings { retention_days, ..before.clone() }),
    };
    let shown = |settings: &Settings| match object {
        "quota" => json(&settings.quota),
        "retention" => json!({"days": settings.retention_days}),
        _ => json(settings),
    };
    let (object, before, shown_after) = (object.to_owned(), shown(&before), shown(&after));
    if let Some(app) = app {
        let zone = after.time_zone.take().unwrap_or_default();
        changing.execute(query(sql::SET_ZONE).bind(of).bind(app.as_str()).bind(zone)).await?;
    }
    let write = match after == Settings::default() {
        true => query(sql::UNSET_SETTINGS).bind(of).bind(id),
        false => query(sql::SET_SETTINGS).bind(of).bind(id).bind(serde_json::to_string(&after).map_err(damaged)?),
    };
    changing.execute(write).await?;
    changing.commit(Change { object, app: id.to_owned(), before, after: shown_after }).await
}

pub(super) async fn layers(
    database: &Database,
    tenant: Option<&TenantId>,
    app: Option<&AppId>,
) -> Result<Layers, MetaError> {
    let (of, id) = place(tenant, app);
    let mut zone = String::new();
    if app.is_some() {
        let row: Option<sql::AppRow> = database.fetch_optional(query(sql::APP).bind(of).bind(id)).await?;
        zone = row.map(App::try_from).transpose()?.map(|app| app.time_zone).unwrap_or_default();
    }
    layered(database.fetch_all(query(sql::LAYERS).bind(of).bind(id)).await?, zone)
}

pub(super) async fn all(database: &Database) -> Result<AllSettings, MetaError> {
    let rows: Vec<Row> = database.fetch_all(query(sql::ALL_SETTINGS)).await?;
    let read = rows.into_iter().map(|(tenant, app, text)| {
        let tenant = (!tenant.is_empty()).then(|| TenantId::new(&tenant)).transpose().map_err(damaged)?;
        let app = (!app.is_empty()).then(|| AppId::new(&app)).transpose().map_err(damaged)?;
        Ok((tenant, app, serde_json::from_str(&text).map_err(damaged)?))
    });
    Ok(AllSettings::of(read.collect::<Result<Vec<_>, MetaError>>()?))
}

/// Gives apps of one tenant that have no zone of their own the one that holds.
pub(super) async fn fill_zones(database: &Database, apps: &mut [App]) -> Result<(), MetaError> {
    let Some(tenant) = apps.iter().find(|app| app.time_zone.is_empty()).map(|app| app.tenant.clone()) else {
        return Ok(());
    };
    let zone = layers(database, Some(&tenant), None).await?.effective().time_zone;
    let zone = zone.unwrap_or_else(|| Settings::TIME_ZONE.to_owned());
    for app in apps.iter_mut().filter(|app| app.time_zone.is_empty()) {
        app.time_zone.clone_from(&zone);
    }
    Ok(())
}

/// Tenant, app, and as JSON what is set there.
type Row = (String, String, String);

/// Of the rows of one place and those around it; `zone` is the app's own, if it has one.
fn layered(rows: Vec<Row>, zone: String) -> Result<Layers, MetaError> {
    let mut layers = Layers::default();
    for (tenant, app, text) in rows {
        let settings = serde_json::from_str(&text).map_err(damaged)?;
        *match (tenant.as_str(), app.as_str()) {
            ("", _) => &mut layers.installation,
            (_, "") => &mut layers.tenant,
            _ => &mut layers.app,
        } = settings;
    }
    layers.app.time_zone = Some(zone).filter(|zone| !zone.is_empty());
    Ok(layers)
}
