//! Tenants, apps, keys and secrets.

use model::{AppId, AppSet, Environment, KeyKind, Network, Permission, Permissions, Priority, Scope, TenantId};
use serde::{Serialize, de::DeserializeOwned};

use super::{damaged, hex, unhex};
use crate::{App, Key, MetaError, Places, Tenant};

pub(crate) const INSERT_TENANT: &str = "INSERT INTO tenants (id, display_name, created_at_ms) VALUES ($1, $2, $3)";
pub(crate) const TENANTS: &str = "SELECT id, display_name, created_at_ms FROM tenants ORDER BY id";
pub(crate) const TENANT_EXISTS: &str = "SELECT id FROM tenants WHERE id = $1";

pub(crate) const INSERT_APP: &str =
    "INSERT INTO apps (tenant, id, display_name, time_zone, created_at_ms) VALUES ($1, $2, $3, $4, $5)";
pub(crate) const APPS: &str =
    "SELECT tenant, id, display_name, time_zone, created_at_ms FROM apps WHERE tenant = $1 ORDER BY id";
pub(crate) const APP: &str =
    "SELECT tenant, id, display_name, time_zone, created_at_ms FROM apps WHERE tenant = $1 AND id = $2";

/// The columns of a [`KeyRow`], in its order.
macro_rules! key_columns {
    () => {
        "id, tenant, kind, hash, display_name, environment, apps, permissions, priority, networks, origins, filters, \
         rotated_from, created_at_ms, expires_at_ms, revoked_at_ms, last_used_at_ms"
    };
}

pub(crate) const INSERT_KEY: &str = concat!(
    "INSERT INTO api_keys (",
    key_columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
);
pub(crate) const KEY: &str = concat!("SELECT ", key_columns!(), " FROM api_keys WHERE id = $1");
pub(crate) const ROTATED_KEY: &str = concat!("SELECT ", key_columns!(), " FROM api_keys WHERE rotated_from = $1");
pub(crate) const KEYS: &str =
    concat!("SELECT ", key_columns!(), " FROM api_keys WHERE tenant = $1 ORDER BY created_at_ms, id");
pub(crate) const REVOKE_KEY: &str =
    "UPDATE api_keys SET revoked_at_ms = COALESCE(revoked_at_ms, $3) WHERE tenant = $1 AND id = $2";
/// $1 tenant, $2 id, $3 the end.
pub(crate) const END_KEY: &str = "UPDATE api_keys \
     SET expires_at_ms = CASE WHEN expires_at_ms < $3 THEN expires_at_ms ELSE $3 END \
     WHERE tenant = $1 AND id = $2 AND revoked_at_ms IS NULL";
/// $1 id, $2 when.
pub(crate) const USE_KEY: &str =
    "UPDATE api_keys SET last_used_at_ms = $2 WHERE id = $1 AND COALESCE(last_used_at_ms, $2 - 1) < $2";

/// $1 tenant, $2 app, $3 settings.
pub(crate) const SET_SETTINGS: &str = "INSERT INTO settings (tenant, app, settings) VALUES ($1, $2, $3) \
     ON CONFLICT (tenant, app) DO UPDATE SET settings = $3";
/// $1 tenant, $2 app.
pub(crate) const UNSET_SETTINGS: &str = "DELETE FROM settings WHERE tenant = $1 AND app = $2";
/// $1 tenant, $2 app, $3 time zone.
pub(crate) const SET_ZONE: &str = "UPDATE apps SET time_zone = $3 WHERE tenant = $1 AND id = $2";
/// $1 tenant, $2 app.
pub(crate) const LAYERS: &str = "SELECT tenant, app, settings FROM settings \
     WHERE (tenant = '' AND app = '') OR (tenant = $1 AND app IN ('', $2))";
/// The widest first.
pub(crate) const ALL_SETTINGS: &str = "SELECT tenant, app, settings FROM settings ORDER BY tenant, app";

pub(crate) const SECRET: &str = "SELECT value FROM secrets WHERE name = $1";
pub(crate) const INSERT_SECRET: &str =
    "INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

row! {
    pub(crate) struct TenantRow {
        id: String,
        display_name: String,
        created_at_ms: i64,
    }
}

impl TryFrom<TenantRow> for Tenant {
    type Error = MetaError;
    fn try_from(row: TenantRow) -> Result<Self, MetaError> {
        Ok(Self {
            id: TenantId::new(&row.id).map_err(damaged)?,
            display_name: row.display_name,
            created_at_ms: row.created_at_ms,
        })
    }
}

row! {
    pub(crate) struct AppRow {
        tenant: String,
        id: String,
        display_name: String,
        time_zone: String,
        created_at_ms: i64,
    }
}

impl TryFrom<AppRow> for App {
    type Error = MetaError;
    fn try_from(row: AppRow) -> Result<Self, MetaError> {
        Ok(Self {
            tenant: TenantId::new(&row.tenant).map_err(damaged)?,
            id: AppId::new(&row.id).map_err(damaged)?,
            display_name: row.display_name,
            time_zone: row.time_zone,
            created_at_ms: row.created_at_ms,
        })
    }
}

row! {
    /// A key with its scope in the words that a person reads.
    pub(crate) struct KeyRow {
        pub(crate) id: String,
        pub(crate) tenant: String,
        pub(crate) kind: String,
        pub(crate) hash: String,
        pub(crate) display_name: String,
        pub(crate) environment: String,
        pub(crate) apps: Option<String>,
        pub(crate) permissions: String,
        pub(crate) priority: String,
        pub(crate) networks: Option<String>,
        pub(crate) origins: Option<String>,
        pub(crate) filters: Option<String>,
        pub(crate) rotated_from: Option<String>,
        pub(crate) created_at_ms: i64,
        pub(crate) expires_at_ms: Option<i64>,
        pub(crate) revoked_at_ms: Option<i64>,
        pub(crate) last_used_at_ms: Option<i64>,
    }
}

impl From<&Key> for KeyRow {
    fn from(key: &Key) -> Self {
        let names: Vec<&str> = key.scope.permissions.iter().map(Permission::name).collect();
        let apps = match &key.scope.apps {
            AppSet::All => None,
            AppSet::Only(apps) => Some(array(apps)),
        };
        Self {
            id: key.id.clone(),
            tenant: key.scope.tenant.as_str().to_owned(),
            kind: key.kind.name().to_owned(),
            hash: hex(&key.hash),
            display_name: key.display_name.clone(),
            environment: key.environment.name().to_owned(),
            apps,
            permissions: names.join(" "),
            priority: key.scope.priority.name().to_owned(),
            networks: (!key.places.networks.is_empty()).then(|| array(&key.places.networks)),
            origins: (!key.places.origins.is_empty()).then(|| array(&key.places.origins)),
            filters: (!key.scope.filters.is_empty()).then(|| array(&key.scope.filters)),
            rotated_from: key.rotated_from.clone(),
            created_at_ms: key.created_at_ms,
            expires_at_ms: key.expires_at_ms,
            revoked_at_ms: key.revoked_at_ms,
            last_used_at_ms: key.last_used_at_ms,
        }
    }
}

impl TryFrom<KeyRow> for Key {
    type Error = MetaError;
    fn try_from(row: KeyRow) -> Result<Self, MetaError> {
        let permissions = row
            .permissions
            .split_ascii_whitespace()
            .map(|name| Permission::from_name(name).ok_or_else(|| damaged(format_args!("permission {name:?}"))))
            .collect::<Result<Permissions, _>>()?;
        let apps = match &row.apps {
            None => AppSet::All,
            Some(json) => AppSet::Only(of_array(json)?),
        };
        let places = Places {
            networks: row.networks.as_deref().map(of_array::<Network>).transpose()?.unwrap_or_default(),
            origins: row.origins.as_deref().map(of_array).transpose()?.unwrap_or_default(),
        };
        let environment = Environment::from_name(&row.environment);
        let scope = Scope {
            filters: row.filters.as_deref().map(of_array).transpose()?.unwrap_or_default(),
            ..Scope::new(
                TenantId::new(&row.tenant).map_err(damaged)?,
                apps,
                permissions,
                Priority::from_name(&row.priority)
                    .ok_or_else(|| damaged(format_args!("priority {:?}", row.priority)))?,
            )
        };
        Ok(Self {
            id: row.id,
            kind: KeyKind::from_name(&row.kind).ok_or_else(|| damaged(format_args!("kind {:?}", row.kind)))?,
            hash: unhex(&row.hash)?,
            display_name: row.display_name,
            environment: environment.ok_or_else(|| damaged(format_args!("environment {:?}", row.environment)))?,
            scope,
            places,
            customer: None,
            rotated_from: row.rotated_from,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            revoked_at_ms: row.revoked_at_ms,
            last_used_at_ms: row.last_used_at_ms,
        })
    }
}

fn array<T: Serialize>(members: &[T]) -> String {
    serde_json::to_string(members).expect("members have string keys alone")
}

fn of_array<T: DeserializeOwned>(json: &str) -> Result<Vec<T>, MetaError> {
    serde_json::from_str(json).map_err(damaged)
}
