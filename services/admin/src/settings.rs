//! What holds for the installation, tenants and apps, and where it comes from.

use api::{
    convert::{priority_from_wire, priority_to_wire},
    v1::{
        self, GetSettingsRequest, GetSettingsResponse, SetSettingsRequest, SetSettingsResponse, SettingOrigin,
        SettingsLevel,
    },
};
use model::{AppId, Error, Priority, TenantId};
use storage::{Layers, Setting, Settings};
use tracing::info;

use crate::{
    brandings::place,
    caller::{Caller, denied},
    check, quotas, retention,
    service::{Admin, stored},
    wire,
};

/// What holds, and where it comes from.
struct Held {
    set: v1::Settings,
    effective: v1::Settings,
    origins: Vec<SettingOrigin>,
    etag: String,
}

impl Admin {
    pub(crate) async fn set_settings(
        &self,
        caller: &Caller,
        request: SetSettingsRequest,
    ) -> Result<SetSettingsResponse, Error> {
        let (tenant, app) = place(caller, &request.tenant_id, &request.app_id)?;
        let required = || {
            Error::invalid("settings", "REQUIRED", "must be the settings; without any field it takes back what was set")
        };
        let etag = Some(request.etag).filter(|etag| !etag.is_empty());
        let wanted = checked(request.settings.ok_or_else(required)?)?;
        if app.is_none() && !caller.reaches_all() {
            return Err(denied("this key is limited to some apps: say in `app_id` which of them it is about"));
        }
        let setting = if caller.is_operator() {
            Setting::All(wanted)
        } else {
            let layers = self.directory.settings(tenant.as_ref(), app.as_ref()).await.map_err(stored)?;
            let set = layers.own(tenant.as_ref(), app.as_ref());
            if !leaves_to_operators(&wanted, set) {
                return Err(denied("only operators change `max_priority` and `retention_days`: leave them out"));
            }
            // Whoever has the whole tenant shares out what it may among its apps.
            if app.is_some() && caller.reaches_all() {
                Setting::OfOwners(wanted)
            } else if wanted.quota.is_none() || wanted.quota == set.quota {
                Setting::OfAdmins(wanted)
            } else {
                return Err(denied(
                    "only operators change a tenant's `quota`, and only they and admins of all apps an app's: leave it out",
                ));
            }
        };
        let acting = self.acting(caller, "AdminService/SetSettings");
        acting.set_settings(tenant.as_ref(), app.as_ref(), setting, etag.as_deref()).await.map_err(stored)?;
        info!(by = caller.key_id(), ?tenant, ?app, "set settings");
        let Held { set, effective, origins, etag } = self.held(tenant.as_ref(), app.as_ref()).await?;
        Ok(SetSettingsResponse { settings: Some(set), effective: Some(effective), origins, etag })
    }

    pub(crate) async fn settings(
        &self,
        caller: &Caller,
        request: &GetSettingsRequest,
    ) -> Result<GetSettingsResponse, Error> {
        let (tenant, app) = place(caller, &request.tenant_id, &request.app_id)?;
        match (&tenant, &app) {
            (Some(tenant), Some(app)) => self.require_app(tenant, app).await?,
            (Some(tenant), None) => self.require_tenant(tenant).await?,
            _ => {}
        }
        let Held { set, effective, origins, etag } = self.held(tenant.as_ref(), app.as_ref()).await?;
        Ok(GetSettingsResponse { settings: Some(set), effective: Some(effective), origins, etag })
    }

    async fn held(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> Result<Held, Error> {
        let layers = self.directory.settings(tenant, app).await.map_err(stored)?;
        let set = layers.own(tenant, app);
        let mut effective = layers.effective();
        let most = *effective.max_priority.get_or_insert(Priority::Interactive);
        effective.default_priority = effective.default_priority.or(Some(most)).max(Some(most));
        effective.time_zone.get_or_insert_with(|| Settings::TIME_ZONE.to_owned());
        effective.retention_days.get_or_insert(self.retention_days);
        Ok(Held { set: to_wire(set), effective: to_wire(&effective), origins: origins(&layers), etag: set.etag() })
    }
}

/// Whether what only operators set is left out, or as it is.
fn leaves_to_operators(wanted: &Settings, set: &Settings) -> bool {
    (wanted.max_priority.is_none() || wanted.max_priority == set.max_priority)
        && (wanted.retention_days.is_none() || wanted.retention_days == set.retention_days)
}

fn checked(settings: v1::Settings) -> Result<Settings, Error> {
    let v1::Settings { time_zone, allowed_origins, max_priority, default_priority, retention_days, quota } = settings;
    let priority = |field: &str, number| match number {
        0 => Ok(None),
        number => priority_from_wire(field, number).map(Some),
    };
    let quota = quotas::from_wire("settings.quota", &quota.unwrap_or_default());
    let (((time_zone, allowed_origins), (max_priority, default_priority)), ((), quota)) = check::both(
        check::both(
            check::both(
                check::zone_if_any("settings.time_zone", &time_zone),
                wire::places("settings.allowed_origins", &allowed_origins, check::origin),
            ),
            check::both(
                priority("settings.max_priority", max_priority),
                priority("settings.default_priority", default_priority),
            ),
        ),
        check::both(retention::check_days("settings.retention_days", retention_days), quota),
    )?;
    Ok(Settings { time_zone, allowed_origins, max_priority, default_priority, retention_days, quota })
}

fn to_wire(settings: &Settings) -> v1::Settings {
    let priority = |priority: Option<Priority>| priority.map_or(0, |priority| priority_to_wire(priority).into());
    v1::Settings {
        time_zone: settings.time_zone.clone().unwrap_or_default(),
        allowed_origins: settings.allowed_origins.clone(),
        max_priority: priority(settings.max_priority),
        default_priority: priority(settings.default_priority),
        retention_days: settings.retention_days,
        quota: (!settings.quota.is_none()).then(|| quotas::to_wire(settings.quota)),
    }
}

/// The nearest place that sets it, field by field.
fn origins(layers: &Layers) -> Vec<SettingOrigin> {
    type IsSet = fn(&Settings) -> bool;
    const FIELDS: [(&str, IsSet); 13] = [
        ("time_zone", |s| s.time_zone.is_some()),
        ("allowed_origins", |s| !s.allowed_origins.is_empty()),
        ("max_priority", |s| s.max_priority.is_some()),
        ("default_priority", |s| s.default_priority.is_some()),
        ("retention_days", |s| s.retention_days.is_some()),
        ("quota.events_per_second", |s| s.quota.events_per_second.is_some()),
        ("quota.events_burst", |s| s.quota.events_burst.is_some()),
        ("quota.bytes_per_second", |s| s.quota.bytes_per_second.is_some()),
        ("quota.bytes_burst", |s| s.quota.bytes_burst.is_some()),
        ("quota.requests_per_second", |s| s.quota.requests_per_second.is_some()),
        ("quota.requests_burst", |s| s.quota.requests_burst.is_some()),
        ("quota.query_bytes_per_second", |s| s.quota.query_bytes_per_second.is_some()),
        ("quota.query_bytes_burst", |s| s.quota.query_bytes_burst.is_some()),
    ];
    let places = [
        (&layers.app, SettingsLevel::App),
        (&layers.tenant, SettingsLevel::Tenant),
        (&layers.installation, SettingsLevel::Installation),
    ];
    let origin = |(field, is_set): &(&str, IsSet)| {
        let level =
            places.iter().find(|(settings, _)| is_set(settings)).map_or(SettingsLevel::Server, |(_, level)| *level);
        SettingOrigin { field: (*field).to_owned(), level: level.into() }
    };
    FIELDS.iter().map(origin).collect()
}
