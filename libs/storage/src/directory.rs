use async_trait::async_trait;
use model::{AppId, DAY_MS, Environment, KeyKind, Network, Scope, TenantId};
use serde::{Deserialize, Serialize};

use crate::MetaError;

/// A white-label customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The name people read.
    pub display_name: String,
    /// When it was made, UTC ms.
    pub created_at_ms: i64,
}

/// One application of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its id, unique within the tenant.
    pub id: AppId,
    /// The name people read.
    pub display_name: String,
    /// The IANA time zone in which its days begin unless a query says otherwise.
    pub time_zone: String,
    /// When it was made, UTC ms.
    pub created_at_ms: i64,
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The public part, by which it is looked up.
    pub id: String,
    /// How it is shown.
    #[serde(default)]
    pub kind: KeyKind,
    /// Of a key that is shown as its text, `model::KeyText::hash` of it: the text itself is shown once and never stored. Of one that signs, what
    /// verifies: the public key of Ed25519, or the secret of HMAC.
    pub hash: [u8; 32],
    /// What people call it.
    pub display_name: String,
    /// What its text says that it is for.
    pub environment: Environment,
    /// What it reaches.
    pub scope: Scope,
    /// From where it may be used.
    pub places: Places,
    /// In whose place it was made: that key's id.
    pub rotated_from: Option<String>,
    /// When it was made, UTC ms.
    pub created_at_ms: i64,
    /// From when on it is no longer good, UTC ms.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked, UTC ms.
    pub revoked_at_ms: Option<i64>,
    /// When a call with it was last let in, to about a minute, UTC ms. See [`Directory::note_key_uses`].
    pub last_used_at_ms: Option<i64>,
}

/// From where a key may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Networks of callers; every one if empty.
    pub networks: Vec<Network>,
    /// Origins of web pages, as browsers send them; every one if empty.
    pub origins: Vec<String>,
}

impl Key {
    /// Under which name copies of the key with this id lie in a [`crate::Cache`]. Who revokes the key deletes it.
    pub fn cache_name(id: &str) -> String {
        format!("key/{id}")
    }

    /// Whether it is neither revoked nor expired.
    pub fn is_good(&self, now_ms: i64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|end| now_ms < end)
    }
}

/// What a tenant may send and ask, where it is other than the configuration says. Of each: none, what the configuration says; 0, no
/// limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
}

/// For how many days events are kept, where it is other than the configuration says; 0, for ever. See [`kept_from_ms`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those of the tenant's apps that have none of their own.
    pub tenant: Option<u32>,
    /// Those of this app.
    pub app: Option<u32>,
}

impl Retention {
    /// The longest that can be set.
    pub const MAX_DAYS: u32 = 36_500;

    /// The days that hold, where the configuration says `default`.
    pub fn days(&self, default: u32) -> u32 {
        self.app.or(self.tenant).unwrap_or(default)
    }
}

/// The start of the first UTC day of which events are kept at `now_ms`, if they are kept for `days`; `None` if they are kept for ever.
///
/// Days come and go whole: an event is kept until its day is over since that many days.
pub fn kept_from_ms(days: u32, now_ms: i64) -> Option<i64> {
    (days > 0).then(|| (now_ms.div_euclid(DAY_MS) - i64::from(days)) * DAY_MS)
}

/// Tenants, their apps, their keys.
#[async_trait]
pub trait Directory: Send + Sync + 'static {
    /// Adds a tenant. `AlreadyExists` if the id is taken.
    async fn create_tenant(&self, tenant: &Tenant) -> Result<(), MetaError>;

    /// All tenants by id.
    async fn tenants(&self) -> Result<Vec<Tenant>, MetaError>;

    /// Adds an app. `NotFound` without its tenant, `AlreadyExists` if the id is taken in it.
    async fn create_app(&self, app: &App) -> Result<(), MetaError>;

    /// The tenant's apps by id; empty for an unknown tenant.
    async fn apps(&self, tenant: &TenantId) -> Result<Vec<App>, MetaError>;

    /// One app.
    async fn app(&self, tenant: &TenantId, app: &AppId) -> Result<Option<App>, MetaError>;

    /// Adds a key. `NotFound` without its tenant or one of the apps that its scope names, `AlreadyExists` if the id is taken.
    async fn create_key(&self, key: &Key) -> Result<(), MetaError>;

    /// Adds a key in the place of the one that its `rotated_from` names, which ends at `end_ms`, unless it ends before. `NotFound` if the tenant
    /// has no such key that isn't revoked, `AlreadyExists` if another came in its place.
    async fn rotate_key(&self, key: &Key, end_ms: i64) -> Result<(), MetaError>;

    /// The key that came in this one's place.
    async fn rotated_key(&self, id: &str) -> Result<Option<Key>, MetaError>;

    /// Notes when keys were used, UTC ms. A time before the one that is known changes nothing, nor does a key that isn't there.
    async fn note_key_uses(&self, uses: &[(String, i64)]) -> Result<(), MetaError>;

    /// The key with this id, be it good or not.
    async fn key(&self, id: &str) -> Result<Option<Key>, MetaError>;

    /// The tenant's keys, oldest first, revoked ones too.
    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, MetaError>;

    /// Revokes a key of the tenant from `at_ms` on. Revoking again keeps the first time. `NotFound` if the tenant has no such key.
    async fn revoke_key(&self, tenant: &TenantId, id: &str, at_ms: i64) -> Result<(), MetaError>;

    /// Sets the tenant's quota in place of the one before; one without any value is the same as none. `NotFound` without the
    /// tenant.
    async fn set_quota(&self, tenant: &TenantId, quota: &Quota) -> Result<(), MetaError>;

    /// The tenant's quota; of a tenant that has none, or isn't there, one without any value.
    async fn quota(&self, tenant: &TenantId) -> Result<Quota, MetaError>;

    /// All quotas that were set.
    async fn quotas(&self) -> Result<Vec<(TenantId, Quota)>, MetaError>;

    /// Sets for how many days the events of a tenant's app are kept, or without an app those of its apps that have none of their own.
    /// No days: takes it back. `NotFound` without the tenant or the app.
    async fn set_retention(&self, tenant: &TenantId, app: Option<&AppId>, days: Option<u32>) -> Result<(), MetaError>;

    /// What was set for a tenant and an app of it; without an app only the tenant's. Nothing for what isn't there.
    async fn retention(&self, tenant: &TenantId, app: Option<&AppId>) -> Result<Retention, MetaError>;

    /// All retentions that were set: of whole tenants without an app.
    async fn retentions(&self) -> Result<Vec<(TenantId, Option<AppId>, u32)>, MetaError>;

    /// A secret of this installation by name: made by `make` on the first call and the same ever after, for every process.
    async fn secret(&self, name: &str, make: fn() -> [u8; 32]) -> Result<[u8; 32], MetaError>;
}
