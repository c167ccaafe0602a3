//! The configuration: typed, complete, read once. `penstock config` prints it with its defaults.

use std::path::{Path, PathBuf};

use mesh::{serve::ServeOptions, telemetry::TelemetryOptions};
use serde::{Deserialize, Serialize};

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
    /// Directory of everything embedded, and of the keys made at the first start.
    pub(crate) data: PathBuf,
    /// Address of gRPC, grpc-web and JSON.
    pub(crate) listen: String,
    /// Address of /metrics, /livez and /readyz. For operators: it asks for no key.
    pub(crate) ops_listen: String,
    /// The event log: `embedded:DIR`. Default `embedded:DATA/log`.
    pub(crate) log: String,
    /// Partitions of the event log, fixed when it is made.
    pub(crate) log_partitions: u32,
    /// The warehouse: `embedded:DIR` or `http://HOST:PORT`. Default `embedded:DATA/warehouse`.
    pub(crate) warehouse: String,
    /// User of a warehouse by HTTP.
    pub(crate) warehouse_user: String,
    /// Password of a warehouse by HTTP.
    pub(crate) warehouse_password: String,
    /// The engine's library for an embedded warehouse. Default: `libchdb.so` beside the program, or in `.tools/engine`
    /// of this directory or one above.
    pub(crate) engine: PathBuf,
    /// The metastore: `sqlite://FILE`. Default `sqlite://DATA/meta.db`.
    pub(crate) metastore: String,
    /// The edge.
    pub(crate) gateway: gateway::Options,
    /// What events may be.
    pub(crate) ingest: ingest::Limits,
    /// How blocks are cut.
    pub(crate) pipeline: pipeline::Options,
    /// The bounds of queries.
    pub(crate) query: query::Options,
    /// The bounds of the server.
    pub(crate) server: ServeOptions,
    /// Logs and traces.
    pub(crate) telemetry: TelemetryOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from(".penstock"),
            listen: "127.0.0.1:7070".to_owned(),
            ops_listen: "127.0.0.1:7071".to_owned(),
            log: String::new(),
            log_partitions: 4,
            warehouse: String::new(),
            warehouse_user: "default".to_owned(),
            warehouse_password: String::new(),
            engine: PathBuf::new(),
            metastore: String::new(),
            gateway: gateway::Options::default(),
            ingest: ingest::Limits::default(),
            pipeline: pipeline::Options::default(),
            query: query::Options::default(),
            server: ServeOptions::default(),
            telemetry: TelemetryOptions::default(),
        }
    }
}

/// Where the warehouse is.
pub(crate) enum WarehouseUrl<'a> {
    /// In this directory, in a process of our own.
    Embedded(&'a Path),
    /// At this address.
    Http(&'a str),
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
        self.warehouse_url()?;
        Ok(self)
    }

    /// The warehouse's address, read.
    pub(crate) fn warehouse_url(&self) -> Result<WarehouseUrl<'_>, ConfigError> {
        match self.warehouse.split_once(':') {
            Some(("embedded", dir)) if !dir.is_empty() => Ok(WarehouseUrl::Embedded(Path::new(dir))),
            Some(("http", _)) => Ok(WarehouseUrl::Http(&self.warehouse)),
            _ => Err(ConfigError::Value {
                setting: "warehouse",
                what: "must be embedded:DIR or http://HOST:PORT".to_owned(),
            }),
        }
    }

    /// The configuration as a file that `read` takes.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string(self).expect("a configuration is a table of plain values")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
    }
}
