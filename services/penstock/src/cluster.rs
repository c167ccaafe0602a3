//! A warehouse of several ClickHouse servers: the settings, and what they come to.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage::{Warehouse, WarehouseError, warehouse::Topology};

use crate::config::{Config, ConfigError};

/// The ClickHouse servers of `warehouse = "cluster:"`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ClusterOptions {
    /// The name under which each server's `remote_servers` has all servers.
    pub(crate) name: String,
    /// The name under which it has those that are read, at least one of each shard. Default: `name`.
    pub(crate) readers: String,
    /// Of each shard the servers that take its inserts, as `http(s)://HOST:PORT`, several with commas: the first does while it is up. A
    /// shard is known by its place: a new one is added at the end, and none is taken away.
    pub(crate) shards: Vec<String>,
    /// The servers that are asked, each of which reads all shards. Default: those that take inserts.
    pub(crate) replicas: Vec<String>,
    /// Whether ClickHouse Keeper keeps replicas alike, each server with the macros `shard` and `replica`. Without it a shard is one server.
    pub(crate) keeper: bool,
    /// How many replicas must have a block before it counts as stored: a number, or `auto` for more than half. Default: the one that took it.
    pub(crate) quorum: String,
    /// How much later than its shard a replica may be that is read, at least 1000.
    pub(crate) max_staleness_ms: u64,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: "penstock".to_owned(),
            readers: String::new(),
            shards: Vec::new(),
            replicas: Vec::new(),
            keeper: true,
            quorum: String::new(),
            max_staleness_ms: 5_000,
        }
    }
}

impl ClusterOptions {
    /// Refuses what can't be, of a warehouse that is a cluster or isn't.
    pub(crate) fn check(&self, used: bool) -> Result<(), ConfigError> {
        let refuse = |setting, what: &str| Err(ConfigError::Value { setting, what: what.to_owned() });
        if used == self.shards.is_empty() {
            return refuse("cluster.shards", "must name servers with `warehouse = \"cluster:\"`, and none without");
        }
        if self.max_staleness_ms < 1_000 {
            return refuse("cluster.max_staleness_ms", "must be at least 1000");
        }
        let is_quorum = self.quorum == "auto" || self.quorum.parse::<u32>().is_ok_and(|number| number >= 1);
        match self.quorum.as_str() {
            "" => Ok(()),
            _ if !is_quorum => refuse("cluster.quorum", "must be a number from 1 on, or auto"),
            _ if !self.keeper => refuse("cluster.quorum", "needs replicas, and so `keeper`"),
            _ => Ok(()),
        }
    }

    /// The servers.
    pub(crate) fn topology(&self) -> Topology {
        let split = |urls: &String| urls.split(',').map(|url| url.trim().to_owned()).collect();
        let readers = if self.readers.is_empty() { &self.name } else { &self.readers };
        Topology {
            name: self.name.clone(),
            readers: readers.clone(),
            shards: self.shards.iter().map(split).collect(),
            replicas: self.replicas.clone(),
            replicated: self.keeper,
            max_staleness: Duration::from_millis(self.max_staleness_ms),
        }
    }

    /// How many replicas must have a block, if that is said.
    pub(crate) fn quorum(&self) -> Option<&str> {
        Some(self.quorum.as_str()).filter(|quorum| !quorum.is_empty())
    }

    /// The warehouse that these servers are.
    pub(crate) fn warehouse(&self, config: &Config, database: &str) -> Result<Warehouse, WarehouseError> {
        let warehouse =
            Warehouse::cluster(self.topology(), database, &config.warehouse_user, config.warehouse_password())?;
        Ok(match self.quorum() {
            Some(quorum) => warehouse.with_insert_quorum(quorum),
            None => warehouse,
        })
    }
}
