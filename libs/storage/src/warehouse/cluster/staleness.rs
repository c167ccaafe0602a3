//! How late a read replica may be.
//!
//! Not later than what is asked for. Before a statement reads, every read replica is told to fetch what its shard has by then (`SYSTEM SYNC
//! REPLICA ... LIGHTWEIGHT`): a request to each, which many statements share. One that doesn't manage within the bound on staleness, or doesn't
//! answer, isn't waited for again until it does, which is tried beside the statements. ClickHouse itself doesn't read what is later than the bound
//! (`max_replica_delay_for_distributed_queries`); so while a replica is away, an answer may be late by that bound, and no more. Nothing is kept
//! of such answers, and what must be complete, as the identities that a partition's new owner reads, is asked of each shard.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use clickhouse::Client;
use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep, timeout};

use super::{Cluster, Role, SHARD_PATIENCE, Server, Warehouse, WarehouseError, schema};
use crate::warehouse::rebuild::BESIDE;

/// Of a replica beyond the bound on staleness, until it counts as later than that.
const GRACE: Duration = Duration::from_secs(1);

/// What is waited for before a statement reads.
pub(in crate::warehouse) enum CatchUp {
    /// Nothing: it is there.
    Done,
    /// Tables of a replica's database.
    Server(Box<Client>, String, BTreeSet<String>),
    /// Tables of all that are read.
    Replicas(Arc<Cluster>, BTreeSet<String>),
}

impl Warehouse {
    /// Has the server fetch what its shard has of all tables.
    pub(in crate::warehouse) async fn fetch_all(&self) -> Result<(), WarehouseError> {
        let tables = format!("SELECT FROM {}", schema::TABLES.join(" "));
        self.caught_up(&self.server(), &tables).wait().await
    }

    /// Whether all that was inserted before is found, whichever replica is read; else `Unavailable`. For what is kept.
    pub(in crate::warehouse) async fn is_read_whole(&self, statement: &str) -> Result<(), WarehouseError> {
        let Role::Cluster(cluster) = &self.role else { return Ok(()) };
        cluster.caught_up(statement).wait().await?;
        match self.is_whole() {
            true => Ok(()),
            false => {
                Err(WarehouseError::Unavailable("a read replica is late or away: nothing is kept meanwhile".to_owned()))
            }
        }
    }

    /// Whether every replica that may be read is there and as late as a read waits for. An answer that began and ended while it was so has
    /// all that was inserted before, and may be kept.
    pub fn is_whole(&self) -> bool {
        match &self.role {
            Role::Cluster(cluster) => !cluster.away.iter().any(|away| away.load(Ordering::Relaxed)),
            _ => true,
        }
    }
}

impl Cluster {
    pub(in crate::warehouse) fn caught_up(self: &Arc<Self>, statement: &str) -> CatchUp {
        if !self.topology.replicated {
            return CatchUp::Done;
        }
        CatchUp::Replicas(Arc::clone(self), named(statement))
    }

    /// Returns when every replica that is read has what the table had when this was called.
    async fn catch_up(self: Arc<Self>, table: String) {
        let asked = Instant::now();
        // Those of a replay are read by one alone.
        let mut last = match self.caught_up.get(table.as_str()) {
            Some(last) => Some(last.lock().await),
            None => None,
        };
        if last.as_deref().is_some_and(|last| last.is_some_and(|began| began >= asked)) {
            return; // another's request that began meanwhile
        }
        let began = Instant::now();
        let here = self.away.iter().enumerate().filter(|(_, away)| !away.load(Ordering::Relaxed));
        join_all(here.map(async |(which, away)| {
            let Err(error) = self.sync(which, &table).await else { return };
            if !away.swap(true, Ordering::Relaxed) {
                tracing::warn!(which, table, %error, "a read replica is late, or away: statements no longer wait for it");
                tokio::spawn(Self::await_replica(Arc::downgrade(&self), which, lasting(&table).to_owned()));
            }
        }))
        .await;
        if let Some(last) = last.as_deref_mut() {
            *last = Some(began);
        }
    }

    async fn sync(&self, which: usize, table: &str) -> Result<(), WarehouseError> {
        let Some(replica) = self.replicas.each().nth(which) else { return Ok(()) };
        sync(replica, &self.shards[0].database, table, self.topology.max_staleness + GRACE).await
    }

    /// Until it answers again.
    async fn await_replica(cluster: Weak<Self>, which: usize, table: String) {
        loop {
            sleep(GRACE).await;
            let Some(cluster) = cluster.upgrade() else { return };
            if cluster.sync(which, &table).await.is_ok() {
                tracing::warn!(which, "a read replica is there again");
                return cluster.away[which].store(false, Ordering::Relaxed);
            }
        }
    }
}

impl CatchUp {
    /// Of a server that holds replicas: the tables that the statement names.
    pub(in crate::warehouse) fn of(server: &Server, database: &str, statement: &str) -> Self {
        let reads =
            statement.starts_with("SELECT") || [" SELECT ", " FROM "].iter().any(|word| statement.contains(word));
        let tables = if reads { named(statement) } else { BTreeSet::new() };
        Self::Server(Box::new(server.client.clone()), database.to_owned(), tables)
    }

    pub(in crate::warehouse) async fn wait(self) -> Result<(), WarehouseError> {
        match self {
            Self::Done => Ok(()),
            Self::Server(client, database, tables) => {
                let each = tables.into_iter().map(async |table| {
                    sync(&client, &database, &table, SHARD_PATIENCE).await.map_err(|error| match error {
                        WarehouseError::Timeout(late) => WarehouseError::Unavailable(late),
                        error => error,
                    })
                });
                try_join_all(each).await.map(drop)
            }
            Self::Replicas(cluster, tables) => {
                join_all(tables.into_iter().map(|table| Arc::clone(&cluster).catch_up(table))).await;
                Ok(())
            }
        }
    }
}

/// The tables whose names stand in a statement, those of a replay too: one too many costs a request.
fn named(statement: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_table = |word: &&str| {
        let of = |table: &str| word.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with(BESIDE));
        schema::TABLES.into_iter().any(of)
    };
    statement.split(|c| !is_name(c)).filter(is_table).map(str::to_owned).collect()
}

/// The table itself, or the one beside which a replay made it: that one is gone when the replay is over.
fn lasting(table: &str) -> &str {
    table.split_once(BESIDE).map_or(table, |(lasting, _)| lasting)
}

/// Has a replica fetch what its shard has of the table by now. `Timeout` if it doesn't manage.
async fn sync(replica: &Client, database: &str, table: &str, patience: Duration) -> Result<(), WarehouseError> {
    let statement = format!("SYSTEM SYNC REPLICA {database}.{table} LIGHTWEIGHT");
    let client = replica.clone().with_database("default");
    let query = client.query_raw(&statement).with_setting("receive_timeout", patience.as_secs().to_string());
    let silent = || WarehouseError::Unavailable(format!("no answer for {:?}", patience + GRACE));
    Ok(timeout(patience + GRACE, query.execute()).await.map_err(|_| silent())??)
}
