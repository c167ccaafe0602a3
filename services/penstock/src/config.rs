//! The configuration: typed, complete, read once. `penstock config` prints it with its defaults.

use std::path::{Path, PathBuf};

use eventlog::{KafkaOptions, LogOptions};
use mesh::{
    serve::ServeOptions,
    telemetry::TelemetryOptions,
    tls::{EdgeOptions, TlsOptions},
    upstream::Addresses,
};
use serde::{Deserialize, Serialize};

use crate::roles::{Role, Roles};
use crate::{backup::BackupOptions, cluster::ClusterOptions, cold::ColdOptions};

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: {source}")]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("{setting}: {what}")]
    Value { setting: &'static str, what: String },
}

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The roles of this process: gateway, ingest, pipeline, query, metrics, admin, or warehouse. All but the last if none is
    /// named.
    pub(crate) roles: Vec<Role>,
    /// Directory of everything embedded, and of the keys made at the first start.
    pub(crate) data: PathBuf,
    /// Address of gRPC, grpc-web and JSON.
    pub(crate) listen: String,
    /// Address at which roles in other processes call the roles of this one; none if empty. Beyond this machine only with
    /// `mesh_tls`.
    pub(crate) mesh_listen: String,
    /// Address of /metrics, /livez and /readyz. For operators: it asks for no key.
    pub(crate) ops_listen: String,
    /// The event log: `embedded:DIR` or `kafka://HOST:PORT/TOPIC`. Default `embedded:DATA/log`.
    pub(crate) log: String,
    /// Partitions of an event log that is made. One that is there gets more by `penstock topic grow`.
    pub(crate) log_partitions: u32,
    /// For how many days the embedded log keeps records, as far as they are in the warehouse; 0 keeps all. A topic of Kafka has a
    /// retention of its own.
    pub(crate) log_days: u32,
    /// The warehouse: `embedded:DIR`, `http(s)://HOST:PORT`, or `cluster:` for the servers of `[cluster]`. Default `embedded:DATA/warehouse`.
    pub(crate) warehouse: String,
    /// Where the warehouse role serves its embedded warehouse: a port of this machine.
    pub(crate) warehouse_listen: String,
    /// User of a warehouse by HTTP.
    pub(crate) warehouse_user: String,
    /// Password of a warehouse by HTTP.
    pub(crate) warehouse_password: String,
    /// The engine's library for an embedded warehouse. Default: `libchdb.so` beside the program, or in `.tools/engine`
    /// of this directory or one above.
    pub(crate) engine: PathBuf,
    /// The metastore: `sqlite://FILE` or `postgres://...`. Default `sqlite://DATA/meta.db`.
    pub(crate) metastore: String,
    /// The cache: `memory:` or `redis://HOST:PORT`.
    pub(crate) cache: String,
    /// Where roles are that this process calls and doesn't have.
    pub(crate) upstreams: Upstreams,
    /// This process's identity among the roles.
    pub(crate) mesh_tls: TlsOptions,
    /// How the public port is reached.
    pub(crate) edge: EdgeOptions,
    /// The gateway's bounds.
    pub(crate) gateway: gateway::Options,
    /// What events may be.
    pub(crate) ingest: ingest::Limits,
    /// The servers of a warehouse that is a cluster.
    pub(crate) cluster: ClusterOptions,
    /// For how long events are kept.
    pub(crate) retention: admin::RetentionOptions,
    /// Where events lie that are old.
    pub(crate) cold: ColdOptions,
    /// Where backups go.
    pub(crate) backup: BackupOptions,
    /// How Kafka is spoken to.
    pub(crate) kafka: KafkaOptions,
    /// How blocks are cut.
    pub(crate) pipeline: pipeline::Options,
    /// Topics that others are told in.
    pub(crate) tee: pipeline::TeeOptions,
    /// The bounds of queries.
    pub(crate) query: query::Options,
    /// How the admin role works.
    pub(crate) admin: admin::Options,
    /// What tenants are asked for what they use.
    pub(crate) prices: admin::Prices,
    /// The bounds of the server.
    pub(crate) server: ServeOptions,
    /// Logs and traces.
    pub(crate) telemetry: TelemetryOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            roles: Vec::new(),
            data: PathBuf::from(".penstock"),
            listen: "127.0.0.1:7070".to_owned(),
            mesh_listen: String::new(),
            ops_listen: "127.0.0.1:7071".to_owned(),
            log: String::new(),
            log_partitions: 4,
            log_days: 7,
            warehouse: String::new(),
            warehouse_listen: String::new(),
            warehouse_user: "default".to_owned(),
            warehouse_password: String::new(),
            engine: PathBuf::new(),
            metastore: String::new(),
            cache: "memory:".to_owned(),
            upstreams: Upstreams::default(),
            mesh_tls: TlsOptions::default(),
            edge: EdgeOptions::default(),
            gateway: gateway::Options::default(),
            ingest: ingest::Limits::default(),
            cluster: ClusterOptions::default(),
            retention: admin::RetentionOptions::default(),
            cold: ColdOptions::default(),
            backup: BackupOptions::default(),
            kafka: KafkaOptions::default(),
            pipeline: pipeline::Options::default(),
            tee: pipeline::TeeOptions::default(),
            query: query::Options::default(),
            admin: admin::Options::default(),
            prices: admin::Prices::default(),
            server: ServeOptions::default(),
            telemetry: TelemetryOptions::default(),
        }
    }
}

/// Where roles in other processes are: `HOST:PORT`, several with commas; all addresses of a name are used.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Upstreams {
    /// The ingest role.
    pub(crate) ingest: Addresses,
    /// The query role.
    pub(crate) query: Addresses,
    /// The metrics role.
    pub(crate) metrics: Addresses,
    /// The admin role.
    pub(crate) admin: Addresses,
}

impl Upstreams {
    /// Those of a role that is called.
    pub(crate) fn of(&self, role: Role) -> &Addresses {
        match role {
            Role::Ingest => &self.ingest,
            Role::Query => &self.query,
            Role::Metrics => &self.metrics,
            _ => &self.admin,
        }
    }
}

/// Where the warehouse is.
pub(crate) enum WarehouseUrl<'a> {
    /// In this directory, in a process of our own.
    Embedded(&'a Path),
    /// At this address.
    Http(&'a str),
    /// At those of `cluster`.
    Cluster,
}

impl Config {
    /// Reads a file. Settings that it doesn't have keep their defaults; ones that don't exist are refused.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|e| ConfigError::Parse { path: path.to_owned(), source: Box::new(e) })
    }

    /// Fills in what depends on other settings.
    pub(crate) fn complete(mut self) -> Result<Self, ConfigError> {
        if self.data.to_str().is_none() {
            return Err(ConfigError::Value { setting: "data", what: "must be UTF-8".to_owned() });
        }
        let under = |name: &str| self.data.join(name).display().to_string();
        if self.log.is_empty() {
            self.log = format!("embedded:{}", under("log"));
        }
        if self.warehouse.is_empty() {
            self.warehouse = format!("embedded:{}", under("warehouse"));
        }
        if self.metastore.is_empty() {
            self.metastore = format!("sqlite://{}", under("meta.db"));
        }
        let embedded = matches!(self.warehouse_url()?, WarehouseUrl::Embedded(_));
        self.cluster.check(matches!(self.warehouse_url()?, WarehouseUrl::Cluster))?;
        self.query.complete(embedded);
        self.cold.check(embedded)?;
        if embedded && self.backup.to.is_empty() {
            self.backup.to = self.data.join("backups").display().to_string();
        }
        self.backup.check(embedded)?;
        if !self.prices.are_well() {
            return Err(ConfigError::Value { setting: "prices", what: "must be numbers from 0 on".to_owned() });
        }
        self.roles().check(&self)?;
        Ok(self)
    }

    /// The roles of this process.
    pub(crate) fn roles(&self) -> Roles {
        Roles::new(&self.roles)
    }

    /// The warehouse's address, read.
    pub(crate) fn warehouse_url(&self) -> Result<WarehouseUrl<'_>, ConfigError> {
        match self.warehouse.split_once(':') {
            Some(("embedded", dir)) if !dir.is_empty() => Ok(WarehouseUrl::Embedded(Path::new(dir))),
            Some(("http" | "https", _)) => Ok(WarehouseUrl::Http(&self.warehouse)),
            Some(("cluster", "")) => Ok(WarehouseUrl::Cluster),
            _ => Err(ConfigError::Value {
                setting: "warehouse",
                what: "must be embedded:DIR, http(s)://HOST:PORT or cluster:".to_owned(),
            }),
        }
    }

    /// The password of a warehouse by HTTP, if it has one.
    pub(crate) fn warehouse_password(&self) -> Option<&str> {
        Some(self.warehouse_password.as_str()).filter(|password| !password.is_empty())
    }

    /// What the log is, and how it is spoken to.
    pub(crate) fn log_options(&self) -> LogOptions {
        LogOptions { partitions: self.log_partitions, kafka: self.kafka.clone(), ..LogOptions::default() }
    }

    /// For how long the pipeline has the log keep records, in ms, if that is its to say.
    pub(crate) fn keep_log_ms(&self) -> Option<i64> {
        (self.log_days > 0 && self.log.starts_with("embedded:")).then(|| i64::from(self.log_days) * model::DAY_MS)
    }

    /// The same without what nobody should see who reads along.
    pub(crate) fn without_secrets(mut self) -> Self {
        for address in [&mut self.log, &mut self.metastore, &mut self.cache, &mut self.warehouse] {
            *address = without_password(address);
        }
        let is_secret = |name: &str| ["password", "secret", "pem"].iter().any(|part| name.contains(part));
        let properties = self.kafka.properties.iter_mut().filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
        let own = [&mut self.warehouse_password].into_iter().chain(&mut self.telemetry.sentry_dsn);
        for secret in own.chain(properties).filter(|secret| !secret.is_empty()) {
            *secret = HIDDEN.to_owned();
        }
        self
    }

    /// The configuration as a file that `read` takes.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is a table of plain values")
    }
}

/// What stands in the place of a secret.
const HIDDEN: &str = "HIDDEN";

/// An address as `postgres://USER:HIDDEN@HOST/DATABASE`.
fn without_password(address: &str) -> String {
    let hidden = || {
        let (scheme, rest) = address.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A password that is not %-encoded may have an @ and a / in it.
        let at = rest[..end].rfind('@').or_else(|| rest.rfind('@'))?;
        let (user, _) = rest[..at].split_once(':')?;
        Some(format!("{scheme}://{user}:{HIDDEN}{}", &rest[at..]))
    };
    hidden().unwrap_or_else(|| address.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_secret() {
        let mut config = Config::default().complete().unwrap();
        let plain = config.to_toml();
        assert_eq!(Config::default().complete().unwrap().without_secrets().to_toml(), plain, "nothing is hidden");
        config.warehouse_password = "hush".to_owned();
        config.metastore = "postgres://u:hush@db:5432/x?sslmode=require".to_owned();
        config.cache = "redis://:hu/s@hush@cache/0".to_owned();
        config.warehouse = "https://ch.example:8443".to_owned();
        config.telemetry.sentry_dsn = Some("https://hush@errors.example/1".to_owned());
        let property = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        config.kafka.properties = [property("sasl.password", "hush"), property("sasl.username", "me")].into();
        let shown = config.without_secrets().to_toml();
        assert!(!shown.contains("hush"), "{shown}");
        for there in [
            "postgres://u:HIDDEN@db:5432/x?sslmode=require",
            "redis://:HIDDEN@cache/0",
            "https://ch.example:8443",
            "\"me\"",
        ] {
            assert!(shown.contains(there), "{there}: {shown}");
        }
    }

    #[test]
    fn what_is_printed_is_read_again_and_a_typo_is_refused() {
        let config = Config::default().complete().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("penstock.toml");
        std::fs::write(&path, config.to_toml()).unwrap();
        assert_eq!(Config::read(&path).unwrap().to_toml(), config.to_toml());
        std::fs::write(&path, "[ingest]\nbatch_byts = 1\n").unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains("batch_byts"), "{error}");
        std::fs::write(&path, "warehouse = \"postgres://x\"").unwrap();
        assert!(Config::read(&path).unwrap().complete().is_err());
        std::fs::write(&path, "[prices]\ngigabyte_in = nan\n").unwrap();
        assert!(Config::read(&path).unwrap().complete().unwrap_err().to_string().starts_with("prices: must be"));
    }
}
