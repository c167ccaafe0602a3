//! One worker of one partition, from claim to stop.

use std::time::Duration;

use eventlog::Record;
use model::{Offset, PartitionId, record};
use storage::{Commit, Pending, Topic, WarehouseError, warehouse::InsertOutcome};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use crate::{
    Parts, PipelineError,
    block::{self, Block, Memory, Place},
    recover::{self, Part},
    trace,
};

/// How often, and how far apart, a part is looked for that the engine says it has.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Claims the partition and moves its records into the warehouse until `stop`.
pub(crate) async fn run(parts: &Parts, partition: PartitionId, stop: &CancellationToken) -> Result<(), PipelineError> {
    let topic = parts.topic();
    let state = parts.ledger.claim(&topic, partition, &parts.owner).await?;
    let place = Place { incarnation: topic.incarnation, partition };
    let received_ms = first_received(parts, partition, state.committed).await?;
    let memory = recover::memory(&parts.warehouse, place, state.committed, received_ms).await?;
    info!(partition, generation = state.generation, committed = state.committed, pending = ?state.pending, "partition claimed");

    let generation = state.generation;
    let mut worker =
        Worker { parts, topic, place, generation, committed: state.committed, memory, stop, recovering: false };
    if let Some(pending) = state.pending {
        worker.replay(pending).await?;
    }
    worker.follow().await
}

/// When the record at the committed offset was received: the window of seen ids is counted from there.
async fn first_received(parts: &Parts, partition: PartitionId, committed: Offset) -> Result<i64, PipelineError> {
    let next = parts.log.read(partition, committed, 1, 1).await?;
    let received = next.first().and_then(|r| record::decode(&r.payload).ok()).map(|r| r.received_at_ms);
    Ok(received.unwrap_or_else(parts.now_ms))
}

struct Worker<'a> {
    parts: &'a Parts,
    topic: Topic,
    place: Place,
    generation: u64,
    committed: Offset,
    memory: Memory,
    stop: &'a CancellationToken,
    /// Whether an earlier owner may have inserted some of the block's days.
    recovering: bool,
}

impl Worker<'_> {
    /// Does again exactly the range that an earlier owner recorded.
    async fn replay(&mut self, pending: Pending) -> Result<(), PipelineError> {
        info!(partition = self.place.partition, ?pending, "replaying the pending range");
        let wanted = usize::try_from(pending.last - pending.first + 1).unwrap_or(usize::MAX);
        let mut records: Vec<Record> = Vec::new();
        while records.len() < wanted {
            let from = pending.first + records.len() as u64;
            let more = self.parts.log.read(self.place.partition, from, wanted - records.len(), usize::MAX).await?;
            if more.is_empty() {
                // The ledger is only ever ahead of a log that lost acknowledged records.
                let what = format!("offset {from} is pending but the log ends before it");
                return Err(PipelineError::Inconsistent(what));
            }
            records.extend(more);
        }
        self.recovering = true;
        self.process(&records).instrument(trace::block(&records)).await?;
        self.recovering = false;
        Ok(())
    }

    /// Block after block, as records come.
    async fn follow(&mut self) -> Result<(), PipelineError> {
        let options = &self.parts.options;
        let (partition, log) = (self.place.partition, &self.parts.log);
        let mut idle = interval(Duration::from_millis(options.idle_ms));
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_block = Instant::now();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                waited = log.wait_for(partition, self.committed) => waited?,
                _ = idle.tick() => { self.advance().await?; continue; }
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = sleep_until(next_block) => {}
                // A full block needs no company.
                full = log.wait_for(partition, self.committed + options.block_records as u64 - 1) => full?,
            }
            next_block = Instant::now() + Duration::from_millis(options.block_interval_ms);
            let records = log.read(partition, self.committed, options.block_records, options.block_bytes).await?;
            if !records.is_empty() {
                self.process(&records).instrument(trace::block(&records)).await?;
            }
        }
    }

    /// Says of an idle partition that nothing is missing up to now.
    async fn advance(&self) -> Result<(), PipelineError> {
        let partition = self.place.partition;
        let tail = self.parts.log.tail(partition).await?;
        let lag = tail.end.saturating_sub(self.committed);
        metrics::gauge!("penstock_pipeline_lag_records", "partition" => partition.to_string()).set(lag as f64);
        if tail.end == self.committed {
            let ledger = &self.parts.ledger;
            ledger.advance(&self.topic, partition, self.generation, self.committed, tail.time_ms).await?;
        }
        Ok(())
    }

    async fn process(&mut self, records: &[Record]) -> Result<(), PipelineError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let block = block::build(records, self.place, &mut self.memory, &self.parts.apps).await?;
        let pending = Pending { first: first.offset, last: last.offset, since_ms: (self.parts.now_ms)() };
        self.parts.ledger.begin(&self.topic, self.place.partition, self.generation, pending).await?;
        self.insert(&block, pending).await?;
        let commit = Commit {
            end: last.offset + 1,
            frontier_ms: last.appended_ms,
            hours: block.hours.iter().cloned().collect(),
        };
        self.parts.ledger.commit(&self.topic, self.place.partition, self.generation, commit).await?;
        self.committed = last.offset + 1;
        self.observe(&block, first);
        Ok(())
    }

    /// Each day and the users as one block each.
    async fn insert(&self, block: &Block, pending: Pending) -> Result<(), PipelineError> {
        let warehouse = &self.parts.warehouse;
        if !block.users.is_empty() {
            let users = &block.users;
            let insert = |token: String| {
                let (span, warehouse) = trace::insert(warehouse, users.len());
                async move { warehouse.insert_users(users, &token).await }.instrument(span)
            };
            self.once(Part::Users, pending, insert).await?;
        }
        for (day_ms, columns) in &block.days {
            let insert = |token: String| {
                let (span, warehouse) = trace::insert(warehouse, columns.len());
                async move { warehouse.insert_events(columns, &token).await }.instrument(span)
            };
            self.once(Part::Day(*day_ms), pending, insert).await?;
        }
        Ok(())
    }

    /// Inserts a part of the block exactly once, whatever happens to the warehouse meanwhile.
    ///
    /// An acknowledged insert is on disk. Where it is unknown what became of one (an earlier owner's, or one without an
    /// answer), the table is asked. The token alone isn't enough: the engine notes it *before* it makes the part visible, so one that is killed
    /// in between refuses the block ever after as a duplicate of rows that aren't there. Then the block goes in under the next token.
    async fn once<F>(&self, part: Part, pending: Pending, insert: impl Fn(String) -> F) -> Result<(), PipelineError>
    where
        F: Future<Output = Result<InsertOutcome, WarehouseError>>,
    {
        let (mut certain, mut attempt) = (!self.recovering, 0);
        let mut pause = Duration::from_millis(50);
        loop {
            let outcome = async {
                if !certain && self.is_there(part, pending).await? {
                    return Ok(true);
                }
                insert(self.token(part, pending, attempt)).await?;
                Ok::<_, WarehouseError>(certain || self.appears(part, pending).await?)
            };
            match outcome.await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    warn!(
                        partition = self.place.partition,
                        ?pending,
                        ?part,
                        "the engine took a block for one that it lost"
                    );
                    attempt += 1;
                }
                Err(error) if error.is_unavailable() && !self.stop.is_cancelled() => {
                    warn!(partition = self.place.partition, %error, "an insert is sent again");
                    certain = false;
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the part is there, or soon is: an earlier insert that the server still works on shows within moments.
    async fn appears(&self, part: Part, pending: Pending) -> Result<bool, WarehouseError> {
        for _ in 0..LOOKS {
            if self.is_there(part, pending).await? {
                return Ok(true);
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(false)
    }

    async fn is_there(&self, part: Part, pending: Pending) -> Result<bool, WarehouseError> {
        recover::is_there(&self.parts.warehouse, self.place, part, pending.first, pending.last).await
    }

    fn token(&self, part: Part, pending: Pending, attempt: u32) -> String {
        let Topic { name, incarnation } = &self.topic;
        let range = format!("{name}@{incarnation}:{}:{}-{}", self.place.partition, pending.first, pending.last);
        match part {
            Part::Day(day_ms) => format!("{range}:{}:{attempt}", day_ms / model::DAY_MS),
            Part::Users => format!("{range}:users:{attempt}"),
        }
    }

    fn observe(&self, block: &Block, first: &Record) {
        metrics::counter!("penstock_pipeline_events_total", "outcome" => "stored").increment(block.stored);
        metrics::counter!("penstock_pipeline_events_total", "outcome" => "duplicate").increment(block.duplicates);
        let delay_ms = ((self.parts.now_ms)() - first.appended_ms).max(0);
        metrics::histogram!("penstock_pipeline_delay_seconds").record(delay_ms as f64 / 1000.0);
    }
}
