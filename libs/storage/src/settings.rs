use std::collections::HashMap;

use model::{AppId, Priority, TenantId};
use serde::{Deserialize, Serialize};

/// What is set at one place: the whole installation, a tenant, or one of its apps. What isn't set is as the next wider place has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The IANA time zone in which days begin unless a question says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Origins of the web pages that may call with keys that name none themselves; not set if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// The highest priority that calls may run at, whatever their keys say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_priority: Option<Priority>,
    /// The priority of questions that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_priority: Option<Priority>,
    /// For how many days events are kept; 0, for ever. See [`crate::kept_from_ms`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// What may be sent and asked. An app's holds beside its tenant's, which all of its apps share.
    #[serde(skip_serializing_if = "Quota::is_none")]
    pub quota: Quota,
}

/// What a tenant or an app may send and ask. Of each: none, where it isn't set; 0, no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Events a second, sustained.
    pub events_per_second: Option<u64>,
    /// Events that may come at once after a pause.
    pub events_burst: Option<u64>,
    /// Bytes a second, sustained.
    pub bytes_per_second: Option<u64>,
    /// Bytes that may come at once after a pause.
    pub bytes_burst: Option<u64>,
    /// Calls a second, sustained.
    pub requests_per_second: Option<u64>,
    /// Calls that may come at once after a pause.
    pub requests_burst: Option<u64>,
    /// Bytes that queries read a second, sustained.
    pub query_bytes_per_second: Option<u64>,
    /// Bytes that queries may read at once after a pause.
    pub query_bytes_burst: Option<u64>,
}

impl Quota {
    /// The largest value of each field.
    pub const MAX: u64 = 1_000_000_000_000;

    /// Whether nothing is set.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// This, with what it doesn't set as `wider` has it, each value by itself.
    fn within(self, wider: &Self) -> Self {
        Self {
            events_per_second: self.events_per_second.or(wider.events_per_second),
            events_burst: self.events_burst.or(wider.events_burst),
            bytes_per_second: self.bytes_per_second.or(wider.bytes_per_second),
            bytes_burst: self.bytes_burst.or(wider.bytes_burst),
            requests_per_second: self.requests_per_second.or(wider.requests_per_second),
            requests_burst: self.requests_burst.or(wider.requests_burst),
            query_bytes_per_second: self.query_bytes_per_second.or(wider.query_bytes_per_second),
            query_bytes_burst: self.query_bytes_burst.or(wider.query_bytes_burst),
        }
    }

    /// What exceeds the limit of the product is as good as it.
    pub(crate) fn bounded(self) -> Self {
        let bound = |value: Option<u64>| value.map(|value| value.min(Self::MAX));
        Self {
            events_per_second: bound(self.events_per_second),
            events_burst: bound(self.events_burst),
            bytes_per_second: bound(self.bytes_per_second),
            bytes_burst: bound(self.bytes_burst),
            requests_per_second: bound(self.requests_per_second),
            requests_burst: bound(self.requests_burst),
            query_bytes_per_second: bound(self.query_bytes_per_second),
            query_bytes_burst: bound(self.query_bytes_burst),
        }
    }
}

impl Settings {
    /// The longest retention that can be set.
    pub const MAX_DAYS: u32 = 36_500;
    /// The time zone where none is set.
    pub const TIME_ZONE: &str = "UTC";

    /// What tells it from other settings.
    pub fn etag(&self) -> String {
        let text = serde_json::to_vec(self).expect("settings are plain values");
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&text))
    }

    /// This, with what it doesn't set as `wider` has it.
    #[must_use]
    pub fn within(self, wider: &Self) -> Self {
        let is_open = self.allowed_origins.is_empty();
        Self {
            time_zone: self.time_zone.or_else(|| wider.time_zone.clone()),
            allowed_origins: if is_open { wider.allowed_origins.clone() } else { self.allowed_origins },
            max_priority: self.max_priority.or(wider.max_priority),
            default_priority: self.default_priority.or(wider.default_priority),
            retention_days: self.retention_days.or(wider.retention_days),
            quota: self.quota.within(&wider.quota),
        }
    }
}

/// What is set on the way to one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    /// Of the installation.
    pub installation: Settings,
    /// Of the tenant; nothing where it is about the installation.
    pub tenant: Settings,
    /// Of the app; nothing where it is about a whole tenant.
    pub app: Settings,
}

impl Layers {
    /// What is set at the place that these are of itself.
    pub fn own(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> &Settings {
        match (tenant, app) {
            (None, _) => &self.installation,
            (_, None) => &self.tenant,
            _ => &self.app,
        }
    }

    /// What holds there.
    pub fn effective(&self) -> Settings {
        self.app.clone().within(&self.tenant.clone().within(&self.installation))
    }
}

/// What to set in place of what was set before.
#[derive(Debug, Clone)]
pub enum Setting {
    /// Everything.
    All(Settings),
    /// What tenants' admins may set; the rest, which is operators', stays.
    OfAdmins(Settings),
    /// The same, and what an app may of what its tenant may.
    OfOwners(Settings),
    /// The quota alone.
    Quota(Quota),
    /// The retention alone.
    RetentionDays(Option<u32>),
}

/// What holds everywhere: of apps all but their time zones, which [`crate::Directory::app`] tells.
#[derive(Debug, Clone, Default)]
pub struct AllSettings {
    installation: Settings,
    tenants: HashMap<TenantId, OfTenant>,
}

#[derive(Debug, Clone, Default)]
struct OfTenant {
    settings: Settings,
    apps: HashMap<AppId, Settings>,
    /// What apps have for themselves, within their tenant's.
    quotas: HashMap<AppId, Quota>,
}

impl AllSettings {
    /// Of what is set at places, the widest first.
    pub fn of(set: impl IntoIterator<Item = (Option<TenantId>, Option<AppId>, Settings)>) -> Self {
        let mut all = Self::default();
        for (tenant, app, settings) in set {
            let Some(tenant) = tenant else {
                all.installation = settings;
                continue;
            };
            let Self { installation, tenants } = &mut all;
            let wider = || OfTenant { settings: installation.clone(), ..OfTenant::default() };
            let of_tenant = tenants.entry(tenant).or_insert_with(wider);
            let own = settings.quota;
            let settings = settings.within(&of_tenant.settings);
            match app {
                Some(app) => {
                    if !own.is_none() {
                        of_tenant.quotas.insert(app.clone(), own);
                    }
                    of_tenant.apps.insert(app, settings);
                }
                None => of_tenant.settings = settings,
            }
        }
        all
    }

    /// What holds for a tenant's app, or without an app for the tenant.
    pub fn at(&self, tenant: &TenantId, app: Option<&AppId>) -> &Settings {
        let Some(of_tenant) = self.tenants.get(tenant) else { return &self.installation };
        app.and_then(|app| of_tenant.apps.get(app)).unwrap_or(&of_tenant.settings)
    }

    /// Whether pages of this origin are named by anybody's.
    pub fn name_origin(&self, origin: &[u8]) -> bool {
        let tenants = self.tenants.values().flat_map(|t| t.apps.values().chain([&t.settings]));
        let names = |settings: &Settings| settings.allowed_origins.iter().any(|named| named.as_bytes() == origin);
        tenants.chain([&self.installation]).any(names)
    }

    /// The same of all apps of a tenant that have something of their own.
    pub fn of_apps(&self, tenant: &TenantId) -> impl Iterator<Item = &Settings> {
        self.tenants.get(tenant).into_iter().flat_map(|of_tenant| of_tenant.apps.values())
    }

    /// The quotas of a tenant's apps, those that have one for themselves.
    pub fn quotas(&self, tenant: &TenantId) -> Option<&HashMap<AppId, Quota>> {
        self.tenants.get(tenant).map(|of_tenant| &of_tenant.quotas).filter(|quotas| !quotas.is_empty())
    }
}
