//! The roles of a process, and what they need.

use std::collections::BTreeSet;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};

/// A part of the product that can be a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The edge: what customers reach.
    Gateway,
    /// Events into the log.
    Ingest,
    /// From the log into the warehouse.
    Pipeline,
    /// Questions to the warehouse.
    Query,
    /// Custom metrics.
    Metrics,
    /// Tenants, apps, keys.
    Admin,
    /// The embedded ClickHouse engine, for other processes of this machine. Not part of a whole process: that has its own.
    Warehouse,
}

impl Role {
    /// Its name in settings and certificates.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Ingest => "ingest",
            Self::Pipeline => "pipeline",
            Self::Query => "query",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
            Self::Warehouse => "warehouse",
        }
    }
}

/// Every role that has its place in a whole process.
pub(crate) const WHOLE: [Role; 6] =
    [Role::Gateway, Role::Ingest, Role::Pipeline, Role::Query, Role::Metrics, Role::Admin];
/// The roles that other roles call.
pub(crate) const CALLED: [Role; 4] = [Role::Ingest, Role::Query, Role::Metrics, Role::Admin];
/// The roles that call others.
pub(crate) const CALLERS: [Role; 3] = [Role::Gateway, Role::Metrics, Role::Admin];

/// The roles that one process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Roles(BTreeSet<Role>);

impl Roles {
    /// All of a whole process if none is named.
    pub(crate) fn new(named: &[Role]) -> Self {
        if named.is_empty() { Self(WHOLE.into()) } else { Self(named.iter().copied().collect()) }
    }

    pub(crate) fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    pub(crate) fn any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }

    /// Whether the product is in this process alone.
    pub(crate) fn is_whole(&self) -> bool {
        WHOLE.iter().all(|role| self.has(*role))
    }

    /// What traces call this process.
    pub(crate) fn service_name(&self) -> String {
        if self.is_whole() { "penstock".to_owned() } else { format!("penstock-{}", self.names().replace(',', "-")) }
    }

    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|role| role.name()).collect();
        names.join(",")
    }

    /// Refuses what can't work: a part that only this process would have, a role that can't be found, a mesh that can be
    /// listened to.
    pub(crate) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        if self.has(Role::Warehouse) {
            if !config.warehouse.starts_with("embedded:") || config.warehouse_listen.is_empty() {
                let what =
                    "the warehouse role serves warehouse = \"embedded:DIR\" at warehouse_listen = \"127.0.0.1:PORT\"";
                return refuse("warehouse", what);
            }
            if self.0.len() == 1 {
                return Ok(());
            }
        }
        if !self.is_whole() {
            self.check_shared(config)?;
        }
        for role in CALLED.into_iter().filter(|role| self.calls(*role)) {
            if config.upstreams.of(role).is_empty() {
                let what = format!(
                    "must say where the {} role is (HOST:PORT, more with commas): this process ({}) calls it",
                    role.name(),
                    self.names()
                );
                return refuse(upstream_setting(role), what);
            }
        }
        if !self.is_whole() && self.any(&CALLED) && config.mesh_listen.is_empty() {
            return refuse("mesh_listen", "must say HOST:PORT: other processes call the roles of this one");
        }
        self.check_mesh(config)
    }

    /// Whether the role is called by this process and is in another.
    pub(crate) fn calls(&self, role: Role) -> bool {
        let called = match role {
            Role::Query => self.any(&CALLERS),
            Role::Metrics => self.any(&[Role::Gateway, Role::Admin]),
            _ => self.has(Role::Gateway),
        };
        called && !self.has(role)
    }

    fn check_shared(&self, config: &Config) -> Result<(), ConfigError> {
        let parts = [
            ("log", &config.log, "embedded:", "kafka://HOST:PORT/TOPIC"),
            ("metastore", &config.metastore, "sqlite:", "postgres://USER:PASSWORD@HOST/DATABASE"),
            ("cache", &config.cache, "memory:", "redis://HOST:PORT"),
            ("warehouse", &config.warehouse, "embedded:", "http://HOST:PORT"),
        ];
        for (setting, value, own, shared) in parts {
            let served_here = setting == "warehouse" && self.has(Role::Warehouse);
            if value.starts_with(own) && !served_here {
                let what = format!(
                    "{own} is for one process alone, and this one has only some roles ({}): use {shared}",
                    self.names()
                );
                return refuse(setting, what);
            }
        }
        Ok(())
    }

    fn check_mesh(&self, config: &Config) -> Result<(), ConfigError> {
        if !config.mesh_tls.authority.as_os_str().is_empty() {
            return Ok(());
        }
        let what = "is not of this machine, so the roles need mutual TLS: set [mesh_tls], see `penstock certs`";
        let loopback = |address: &str| address.parse().is_ok_and(|a: mesh::upstream::Addresses| a.are_loopback());
        if !config.mesh_listen.is_empty() && !loopback(&config.mesh_listen) {
            return refuse("mesh_listen", what);
        }
        for role in CALLED.into_iter().filter(|role| self.calls(*role)) {
            if !config.upstreams.of(role).are_loopback() {
                return refuse(upstream_setting(role), what);
            }
        }
        Ok(())
    }
}

const fn upstream_setting(role: Role) -> &'static str {
    match role {
        Role::Ingest => "upstreams.ingest",
        Role::Query => "upstreams.query",
        Role::Metrics => "upstreams.metrics",
        _ => "upstreams.admin",
    }
}

fn refuse(setting: &'static str, what: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::Value { setting, what: what.into() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shared() -> Config {
        Config {
            log: "kafka://127.0.0.1:9092/events".to_owned(),
            metastore: "postgres://penstock@127.0.0.1/penstock".to_owned(),
            cache: "redis://127.0.0.1".to_owned(),
            warehouse: "http://127.0.0.1:8123".to_owned(),
            ..Config::default()
        }
    }

    fn refusal(config: Config, roles: &[Role]) -> Option<String> {
        let config = Config { roles: roles.to_vec(), ..config }.complete();
        config.err().map(|error| error.to_string())
    }

    #[test]
    fn a_whole_process_stands_on_anything() {
        assert_eq!(refusal(Config::default(), &[]), None);
        assert_eq!(refusal(shared(), &WHOLE), None);
    }

    #[test]
    fn what_can_not_be_shared_is_refused_with_what_can() {
        for (config, setting, instead) in [
            (Config { log: String::new(), ..shared() }, "log", "kafka://"),
            (Config { metastore: "sqlite://x".to_owned(), ..shared() }, "metastore", "postgres://"),
            (Config { cache: "memory:".to_owned(), ..shared() }, "cache", "redis://"),
            (Config { warehouse: "embedded:x".to_owned(), ..shared() }, "warehouse", "http://"),
        ] {
            let error = refusal(config, &[Role::Pipeline]).unwrap();
            assert!(error.starts_with(&format!("{setting}: ")) && error.contains(instead), "{error}");
        }
        assert_eq!(refusal(shared(), &[Role::Pipeline]), None);
    }

    #[test]
    fn roles_that_call_each_other_must_be_found_and_not_be_overheard() {
        let found = |config: &mut Config, address: &str| {
            let upstreams = &mut config.upstreams;
            for addresses in [&mut upstreams.ingest, &mut upstreams.query, &mut upstreams.metrics, &mut upstreams.admin]
            {
                *addresses = address.parse().unwrap();
            }
        };
        assert!(refusal(shared(), &[Role::Gateway]).unwrap().starts_with("upstreams.ingest: "));
        assert!(refusal(shared(), &[Role::Query]).unwrap().starts_with("mesh_listen: "));
        let mut config = shared();
        found(&mut config, "127.0.0.1:7080");
        assert_eq!(refusal(config.clone(), &[Role::Gateway]), None);
        found(&mut config, "10.0.0.1:7080");
        assert!(refusal(config.clone(), &[Role::Gateway]).unwrap().contains("mutual TLS"));
        config.mesh_tls.authority = "ca.pem".into();
        assert_eq!(refusal(config, &[Role::Gateway]), None);
        let open = Config { mesh_listen: "0.0.0.0:7080".to_owned(), ..shared() };
        assert!(refusal(open, &[Role::Query]).unwrap().contains("mutual TLS"));
    }

    #[test]
    fn the_warehouse_role_serves_what_is_embedded_at_an_address() {
        let served = Config { warehouse_listen: "127.0.0.1:8123".to_owned(), ..Config::default() };
        assert_eq!(refusal(served, &[Role::Warehouse]), None);
        assert!(refusal(Config::default(), &[Role::Warehouse]).unwrap().contains("warehouse_listen"));
        assert!(refusal(shared(), &[Role::Warehouse]).unwrap().contains("embedded:DIR"));
    }
}
