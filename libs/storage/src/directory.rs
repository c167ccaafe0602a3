use async_trait::async_trait;
use model::{AppId, DAY_MS, Environment, KeyKind, Network, Scope, TenantId};
use serde::{Deserialize, Serialize};

use crate::{AllSettings, Layers, MetaError, Setting};

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
    /// The IANA time zone in which its days begin unless a query says otherwise: as it is told, the one that holds; of an app to add, empty if it is to
    /// be as its tenant has it.
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
    /// Whom of the tenant's own customers a call is of, and how much that may call: of a token, never of the key itself.
    #[serde(skip)]
    pub customer: Option<Customer>,
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

/// One of a tenant's own customers, as its token has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customer {
    /// What the tenant calls it, and how many calls it may make a second, sustained, with all of its tokens.
    pub calls: Option<(String, u64)>,
    /// Origins of the web pages that may use the token, beside what its key allows; all of those if empty.
    pub origins: Vec<String>,
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

    /// Sets what holds for a tenant's app, without an app for the tenant, without both for the installation. Without any value it takes back what was
    /// set. `NotFound` without the tenant or the app; `Conflict` if there is an etag, and what is set there has another.
    async fn set_settings(
        &self,
        tenant: Option<&TenantId>,
        app: Option<&AppId>,
        setting: Setting,
        etag: Option<&str>,
    ) -> Result<(), MetaError>;

    /// What is set there, and at wider places. Nothing for what isn't there.
    async fn settings(&self, tenant: Option<&TenantId>, app: Option<&AppId>) -> Result<Layers, MetaError>;

    /// What holds everywhere.
    async fn all_settings(&self) -> Result<AllSettings, MetaError>;

    /// A secret of this installation by name: made by `make` on the first call and the same ever after, for every process.
    async fn secret(&self, name: &str, make: fn() -> [u8; 32]) -> Result<[u8; 32], MetaError>;
}
