//! From the log into the warehouse: each acknowledged event counted exactly once.
//!
//! Which partitions are worked on here the log's assignment says ([`run`]), so that several processes share them; that
//! no two count an event is the ledger's doing, whatever the assignment says.
//!
//! The path of a block, one worker a partition ([`worker`]), of whom as many are at it at once as [`Parts::at_once`] says:
//!
//! 1. read records from the committed offset on;
//! 2. record the range as pending in the ledger, fenced by the worker's generation;
//! 3. decode each once ([`block`]): pass over those of users who were erased ([`erased`]), drop what its identity says was seen
//!    ([`seen`]), join what is known of the user ([`users`]), lay the rest into columns, one set a UTC day;
//! 4. insert each day as one block, under a token made of the range and the day;
//! 5. tell others, if any want to be told ([`tee`]);
//! 6. commit in the ledger: offset, epochs and frontier time in one transaction.
//!
//! A worker that stops anywhere in between loses nothing: the next owner finds the pending range ([`recover`]), builds
//! the very same block again and sends what isn't there. A worker's memory of ids and users is thrown away
//! with it and rebuilt from the warehouse, so it never knows more than what is committed. While the log or the metastore
//! is away it waits ([`patience`]); one that was stopped for a while and wakes up asks the ledger before it inserts.
//!
//! Where the log grows, a new partition's worker begins when all is committed that its users sent before, and with what was known of them
//! ([`storage::Placement::ancestors`]).
//!
//! A range that was committed long ago can be done again the same way, beside all this: see [`replay`].

mod block;
mod erased;
mod patience;
mod recover;
mod replay;
mod retention;
mod seen;
mod shares;
mod tee;
mod trace;
mod users;
mod worker;

pub use tee::{Tee, TeeOptions};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use eventlog::{Assignment, EventLog, LogError};
use model::PartitionId;
use serde::{Deserialize, Serialize};
use storage::{
    Apps, Erasures, Ledger, LedgerError, MetaError, Placement, Placements, Replays, Topic, Warehouse, WarehouseError,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Between a worker's failure and its next start, growing from the one to the other.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// How often it is looked whether the log grew.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    /// How far that time grows while blocks take long, in ms.
    pub block_interval_busy_ms: u64,
    /// How often the frontier of an idle partition is moved on, in ms.
    pub idle_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_records: 50_000,
            block_bytes: 32 << 20,
            block_interval_ms: 500,
            block_interval_busy_ms: 700,
            idle_ms: 1_000,
        }
    }
}

/// Why a worker ends.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The log's failure.
    #[error(transparent)]
    Log(#[from] LogError),
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

impl PipelineError {
    /// Whether it is only that the log or the metastore is away, or a replay is: what was to be done can be done later.
    fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Log(LogError::Unavailable(_))
                | Self::Meta(MetaError::Unavailable(_))
                | Self::Ledger(LedgerError::Meta(MetaError::Unavailable(_)) | LedgerError::Held { .. })
        )
    }
}

/// What the pipeline stands on.
pub struct Parts {
    /// Where events come from.
    pub log: Arc<dyn EventLog>,
    /// What is committed.
    pub ledger: Arc<dyn Ledger>,
    /// Who was erased.
    pub erasures: Arc<dyn Erasures>,
    /// What is to be replayed.
    pub replays: Arc<dyn Replays>,
    /// Which partitions have whose records.
    pub placements: Arc<dyn Placements>,
    /// Apps and their properties.
    pub apps: Arc<Apps>,
    /// Where events go.
    pub warehouse: Warehouse,
    /// How blocks are cut.
    pub options: Options,
    /// Who else is told.
    pub tee: Tee,
    /// How many blocks are worked on at once. Where the warehouse shares the cores with this process, more would only all take longer: each block would
    /// be as old as all are together when it is in. Elsewhere it is the other's to say.
    pub at_once: usize,
    /// For how long the log keeps records after it took them, in ms, once they are committed; `None` where that is not the pipeline's to say.
    pub keep_log_ms: Option<i64>,
    /// This process's name in the ledger.
    pub owner: String,
    /// UTC ms.
    pub now_ms: fn() -> i64,
}

impl Parts {
    fn topic(&self) -> Topic {
        Topic { name: self.log.topic().to_owned(), incarnation: self.log.incarnation() }
    }

    /// How records are placed now, in as many partitions as this process knows of then.
    async fn placement(&self) -> Result<Arc<Placement>, PipelineError> {
        let placement = self.placements.placement(&self.topic(), self.log.partitions()).await?;
        self.log.grow(placement.partitions()).await?;
        Ok(Arc::new(placement))
    }
}

/// Runs a worker for each partition that the log assigns to this process, until `stop`.
///
/// A worker whose partition is taken away commits the block under way, and only then another process gets it; the same
/// holds at the end, after which the place in the assignment is given up. A worker that fails is started anew after a
/// pause, from what the ledger knows. Of all processes that run one, one replays what is to be replayed.
pub async fn run(parts: Parts, stop: CancellationToken) {
    let turns = Arc::new(Semaphore::new(parts.at_once.min(Semaphore::MAX_PERMITS)));
    let parts = Arc::new(parts);
    let replays = tokio::spawn(replay::run(Arc::clone(&parts), stop.clone()));
    let Some(assignment) = take_place(&parts, &stop).await else { return };
    let mut assigned = assignment.partitions();
    let (partitions, mut placed) = watch::channel(0);
    tokio::spawn(follow_placement(Arc::clone(&parts), partitions, stop.clone()));
    let mut workers: BTreeMap<PartitionId, CancellationToken> = BTreeMap::new();
    let mut running = JoinSet::new();
    loop {
        let stopping = stop.is_cancelled();
        // One of a growth under way has no records yet, and nobody knows what comes before them.
        let partitions = if stopping { 0 } else { *placed.borrow_and_update() };
        let wanted: BTreeSet<_> = assigned.borrow_and_update().iter().copied().filter(|p| *p < partitions).collect();
        for (_, stop) in workers.iter().filter(|(partition, _)| !wanted.contains(partition)) {
            stop.cancel();
        }
        for partition in wanted {
            // One that still stops, and is wanted again, is started anew when it has ended.
            workers.entry(partition).or_insert_with(|| {
                let (parts, turns) = (Arc::clone(&parts), Arc::clone(&turns));
                let (assignment, stop) = (Arc::clone(&assignment), stop.child_token());
                let own_stop = stop.clone();
                running.spawn(async move {
                    keep_running(&parts, &turns, &assignment, partition, &own_stop).await;
                    partition
                });
                stop
            });
        }
        assignment.working_on(workers.keys().copied().collect());
        if stopping && running.is_empty() {
            break;
        }
        tokio::select! {
            Some(ended) = running.join_next() => match ended {
                Ok(partition) => drop(workers.remove(&partition)),
                Err(error) => error!(%error, "the keeper of a pipeline worker panicked; its partition stands still"),
            },
            Ok(()) = assigned.changed() => {}
            Ok(()) = placed.changed() => {}
            () = stop.cancelled(), if !stopping => {}
        }
    }
    assignment.leave().await;
    if let Err(error) = replays.await {
        error!(%error, "whoever replays panicked; it goes on elsewhere or at the next start");
    }
}

/// Tells how many partitions have records, until `stop`.
async fn follow_placement(parts: Arc<Parts>, partitions: watch::Sender<u32>, stop: CancellationToken) {
    loop {
        match parts.placement().await {
            Ok(placement) => drop(partitions.send_replace(placement.partitions())),
            Err(error) if *partitions.borrow() == 0 => warn!(%error, "where records are isn't known yet"),
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// The place in the assignment, as soon as the log gives one.
async fn take_place(parts: &Parts, stop: &CancellationToken) -> Option<Arc<dyn Assignment>> {
    loop {
        match parts.log.assignment() {
            Ok(assignment) => return Some(assignment.into()),
            Err(error) => error!(%error, "the log assigns no partitions to this process; it asks again"),
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = sleep(MAX_PAUSE) => {}
        }
    }
}

async fn keep_running(
    parts: &Arc<Parts>,
    turns: &Arc<Semaphore>,
    assignment: &Arc<dyn Assignment>,
    partition: PartitionId,
    stop: &CancellationToken,
) {
    let mut pause = MIN_PAUSE;
    while !stop.is_cancelled() {
        let started = Instant::now();
        // A task of its own, so that a panic ends this run and not the partition.
        let (own_parts, own_turns) = (Arc::clone(parts), Arc::clone(turns));
        let (own_assignment, own_stop) = (Arc::clone(assignment), stop.clone());
        let run =
            tokio::spawn(
                async move { worker::run(&own_parts, &own_turns, &*own_assignment, partition, &own_stop).await },
            );
        let ended = run.await;
        if started.elapsed() > Duration::from_secs(60) {
            pause = MIN_PAUSE;
        }
        match ended {
            Ok(Ok(())) => return,
            // Another process claimed the partition. Mostly this one is the zombie, and is told so before the pause is over;
            // if the partition is still assigned here by then, the other was, and it is claimed back.
            Ok(Err(PipelineError::Ledger(error @ LedgerError::Fenced { .. }))) => {
                pause = MAX_PAUSE;
                warn!(partition, %error, ?pause, "a pipeline worker was fenced");
            }
            Ok(Err(error)) => warn!(partition, %error, "a pipeline worker failed and starts anew"),
            Err(panic) => error!(partition, %panic, "a pipeline worker panicked and starts anew"),
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
        }
    }
}
