//! From the log into the warehouse: each acknowledged event counted exactly once.
//!
//! The path of a block, one worker a partition ([`worker`]):
//!
//! 1. read records from the committed offset on;
//! 2. decode each once ([`block`]): drop what its identity says was seen ([`seen`]), join what is known of the user
//!    ([`users`]), lay the rest into columns, one set a UTC day;
//! 3. record the range as pending in the ledger, fenced by the worker's generation;
//! 4. insert each day as one block, under a token made of the range and the day;
//! 5. commit in the ledger: offset, epochs and frontier time in one transaction.
//!
//! A worker that stops anywhere in between loses nothing: the next owner finds the pending range ([`recover`]), builds
//! the very same block again and sends what isn't there. A worker's memory of ids and users is thrown away
//! with it and rebuilt from the warehouse, so it never knows more than what is committed.

mod block;
mod recover;
mod seen;
mod trace;
mod users;
mod worker;

use std::{sync::Arc, time::Duration};

use eventlog::EventLog;
use serde::{Deserialize, Serialize};
use storage::{Apps, Ledger, LedgerError, MetaError, Topic, Warehouse, WarehouseError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// How blocks are cut.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Records in a block at most.
    pub block_records: usize,
    /// Bytes of records in a block at most.
    pub block_bytes: usize,
    /// The shortest time between two blocks of a partition that aren't full, in ms: fresher answers against fewer parts.
    pub block_interval_ms: u64,
    /// How often the frontier of an idle partition is moved on, in ms.
    pub idle_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { block_records: 50_000, block_bytes: 32 << 20, block_interval_ms: 250, idle_ms: 1_000 }
    }
}

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The log's failure.
    #[error(transparent)]
    Log(#[from] eventlog::LogError),
    /// The ledger's failure, or another worker's claim.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The metastore's failure.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The warehouse's failure.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// What the warehouse returned isn't what this program wrote.
    #[error("the warehouse holds what the pipeline can't have written: {0}")]
    Inconsistent(String),
}

/// What the pipeline stands on.
pub struct Parts {
    /// Where events come from.
    pub log: Arc<dyn EventLog>,
    /// What is committed.
    pub ledger: Arc<dyn Ledger>,
    /// Apps and their properties.
    pub apps: Arc<Apps>,
    /// Where events go.
    pub warehouse: Warehouse,
    /// How blocks are cut.
    pub options: Options,
    /// This process's name in the ledger.
    pub owner: String,
    /// UTC ms.
    pub now_ms: fn() -> i64,
}

impl Parts {
    fn topic(&self) -> Topic {
        Topic { name: self.log.topic().to_owned(), incarnation: self.log.incarnation() }
    }
}

/// Runs a worker for every partition until `stop`; the block under way is committed first.
///
/// A worker that fails is started anew after a pause, from what the ledger knows; one that was fenced is not, its
/// partition has another owner.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let parts = Arc::new(parts);
    let mut workers = JoinSet::new();
    for partition in 0..parts.log.partitions() {
        let (parts, stop) = (Arc::clone(&parts), stop.clone());
        workers.spawn(async move { keep_running(&parts, partition, &stop).await });
    }
    workers.join_all().await;
}

async fn keep_running(parts: &Arc<Parts>, partition: u32, stop: &CancellationToken) {
    let mut pause = Duration::from_millis(100);
    while !stop.is_cancelled() {
        let started = tokio::time::Instant::now();
        // A task of its own, so that a panic ends this run and not the partition.
        let (own_parts, own_stop) = (Arc::clone(parts), stop.clone());
        let run = tokio::spawn(async move { worker::run(&own_parts, partition, &own_stop).await });
        match run.await {
            Ok(Ok(())) => return,
            Ok(Err(PipelineError::Ledger(error @ LedgerError::Fenced { .. }))) => {
                warn!(partition, %error, "this worker stops");
                return;
            }
            Ok(Err(error)) => warn!(partition, %error, "a pipeline worker failed and starts anew"),
            Err(panic) => error!(partition, %panic, "a pipeline worker panicked and starts anew"),
        }
        if started.elapsed() > Duration::from_secs(60) {
            pause = Duration::from_millis(100);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(Duration::from_secs(5)),
        }
    }
}
