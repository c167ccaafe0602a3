//! One worker of one partition, from claim to stop.

use std::{collections::VecDeque, time::Duration};

use eventlog::{Assignment, LogError, Record};
use mesh::work::Account;
use model::{Offset, PartitionId, record};
use storage::{
    Commit, LedgerError, Pending, Placement, Topic, Warehouse, WarehouseError,
    warehouse::{Columns, DaysOfPartition},
};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, warn};

use crate::{
    Parts, PipelineError,
    block::{self, Block, Memory, Place},
    erased::Erased,
    patience::patiently,
    recover::{self, Known, Part},
    retention, trace,
};

/// A worker is at work for one part in so many of its time, as far as its intervals may grow. The slower the house, the larger
/// the blocks: each costs the engine a part to merge, whatever its size.
const SHARE: u32 = 8;

/// How often the log lets go of what it no longer needs to keep.
const TRIM_EVERY: Duration = Duration::from_secs(600);

/// How often it is looked whether what a new partition's users sent before is stored.
const ANCESTORS_EVERY: Duration = Duration::from_millis(100);

/// How often, and how far apart, a part is looked for that the engine says it has.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// Between two tries while the warehouse is away, growing from the one to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a claim is taken for good once the ledger confirmed it. A process that was stopped for longer may wake up as a
/// zombie: its tokens no longer make an insert harmless when the engine has forgotten them.
const CONFIRMED: Duration = Duration::from_secs(5);

/// Claims the partition and moves its records into the warehouse until `stop`; a block at a time, as `turns` come.
pub(crate) async fn run(
    parts: &Parts,
    turns: &Semaphore,
    assignment: &dyn Assignment,
    partition: PartitionId,
    stop: &CancellationToken,
) -> Result<(), PipelineError> {
    let topic = parts.topic();
    let placement = patiently(stop, || parts.placement()).await?;
    if !ancestors_are_done(parts, &topic, &placement, partition, stop).await? {
        return Ok(());
    }
    let state = patiently(stop, || parts.ledger.claim(&topic, partition, &parts.owner)).await?;
    let place = Place { incarnation: topic.incarnation, partition };
    let received_ms = patiently(stop, || first_received(parts, partition, state.committed)).await?;
    let erased = patiently(stop, || Erased::of(&*parts.erasures, &topic, &placement, partition)).await?;
    let memory =
        recover::memory(&Known::of(&parts.warehouse), place, placement, state.committed, received_ms, erased).await?;
    info!(partition, generation = state.generation, committed = state.committed, pending = ?state.pending, "partition claimed");

    let generation = state.generation;
    let committed = state.committed;
    let mut worker = Worker {
        parts,
        shard: parts.warehouse.shard(state.shard)?,
        assignment,
        topic,
        place,
        generation,
        committed,
        memory,
        stop,
        recovering: false,
        work: Account::default(),
    };
    let ended = async {
        if let Some(pending) = state.pending {
            worker.replay(pending).await?;
        }
        worker.move_to(state.shard).await?;
        worker.follow(turns).await
    };
    let ended = ended.await;
    set_lag(partition, 0); // it is whoever goes on that knows it
    ended
}

/// Waits until everything is committed that the partition's users sent while they were in others; `false` if it is to stop before.
async fn ancestors_are_done(
    parts: &Parts,
    topic: &Topic,
    placement: &Placement,
    partition: PartitionId,
    stop: &CancellationToken,
) -> Result<bool, PipelineError> {
    let ancestors = placement.ancestors(partition);
    let mut waits = false;
    while !ancestors.is_empty() {
        let states = patiently(stop, || parts.ledger.partitions(topic)).await?;
        let committed = |p| states.iter().find(|state| state.partition == p).map_or(0, |state| state.committed);
        if ancestors.iter().all(|(ancestor, end)| committed(*ancestor) >= *end) {
            break;
        }
        if !std::mem::replace(&mut waits, true) {
            info!(partition, ?ancestors, "a new partition waits for what its users sent before");
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            () = sleep(ANCESTORS_EVERY) => {}
        }
    }
    Ok(true)
}

fn set_lag(partition: PartitionId, lag: u64) {
    metrics::gauge!("penstock_pipeline_lag_records", "partition" => partition.to_string()).set(lag as f64);
}

/// When the record at the offset was received: the window of seen ids is counted from there.
pub(crate) async fn first_received(
    parts: &Parts,
    partition: PartitionId,
    offset: Offset,
) -> Result<i64, PipelineError> {
    let next = parts.log.read(partition, offset, 1, 1).await?;
    let received =
        next.first().and_then(|r| record::decode(&r.payload, &mut Vec::new()).ok()).map(|r| r.received_at_ms);
    Ok(received.unwrap_or_else(parts.now_ms))
}

struct Worker<'a> {
    parts: &'a Parts,
    /// Where the partition's rows go.
    shard: Warehouse,
    assignment: &'a dyn Assignment,
    topic: Topic,
    place: Place,
    generation: u64,
    committed: Offset,
    memory: Memory,
    stop: &'a CancellationToken,
    /// Whether an earlier owner may have inserted some of the block's days.
    recovering: bool,
    /// What was done and is nobody's yet: a block's is charged when it is in.
    work: Account,
}

/// A range that is pending under this worker's generation.
struct Claim {
    pending: Pending,
    /// When the ledger was asked that said so last.
    confirmed: Instant,
}

impl Worker<'_> {
    /// Does again exactly the range that an earlier owner recorded.
    async fn replay(&mut self, pending: Pending) -> Result<(), PipelineError> {
        info!(partition = self.place.partition, ?pending, "replaying the pending range");
        let wanted = usize::try_from(pending.last - pending.first + 1).unwrap_or(usize::MAX);
        let mut records: Vec<Record> = Vec::new();
        while records.len() < wanted {
            let from = pending.first + records.len() as u64;
            let (partition, left) = (self.place.partition, wanted - records.len());
            let more = patiently(self.stop, || self.parts.log.read(partition, from, left, usize::MAX)).await?;
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

    /// Goes on where the partition belongs, should the warehouse have got more shards. What is on the old one stays there.
    async fn move_to(&mut self, from: u32) -> Result<(), PipelineError> {
        let (warehouse, partition) = (&self.parts.warehouse, self.place.partition);
        let to = warehouse.shard_of(partition);
        if to != from {
            let place = || self.parts.ledger.place(&self.topic, partition, self.generation, to);
            patiently(self.stop, place).await?;
            info!(partition, from, to, "the partition's rows go to another shard from now on");
            self.shard = warehouse.shard(to)?;
        }
        Ok(())
    }

    /// Block after block, as records come.
    async fn follow(&mut self, turns: &Semaphore) -> Result<(), PipelineError> {
        let options = &self.parts.options;
        let (partition, log, block_records) = (self.place.partition, &self.parts.log, options.block_records as u64);
        let mut idle = interval(Duration::from_millis(options.idle_ms));
        idle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut trim = interval(TRIM_EVERY);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_block = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                _ = idle.tick() => { self.advance().await?; continue; }
                _ = trim.tick() => { self.trim().await; continue; }
                waited = patiently(self.stop, || log.wait_for(partition, self.committed)) => waited?,
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(()),
                () = sleep_until(next_block) => {}
                // A full block needs no company.
                full = patiently(self.stop, || log.wait_for(partition, self.committed + block_records - 1)) => full?,
            }
            // The turn comes first: what is read then is as fresh as it can be, and nothing waits in memory.
            let due = Instant::now();
            let read = async || {
                let turn = turns.acquire().await;
                let started = Instant::now();
                let records = log.read(partition, self.committed, options.block_records, options.block_bytes).await?;
                Ok::<_, LogError>((turn, started, records))
            };
            let (turn, started, records) = patiently(self.stop, read).await?;
            if !records.is_empty() {
                let work = self.work.clone();
                work.charged(self.process(&records).instrument(trace::block(&records))).await?;
            }
            drop(turn);
            let [shortest, longest] =
                [options.block_interval_ms, options.block_interval_busy_ms].map(Duration::from_millis);
            // Waiting for the turn is part of it.
            next_block = due + shortest.max(longest.min(started.elapsed() * SHARE));
        }
    }

    /// Says of an idle partition that nothing is missing up to now.
    async fn advance(&self) -> Result<(), PipelineError> {
        let partition = self.place.partition;
        let tail = patiently(self.stop, || self.parts.log.tail(partition)).await?;
        set_lag(partition, tail.end.saturating_sub(self.committed));
        if tail.end == self.committed {
            let (ledger, generation) = (&self.parts.ledger, self.generation);
            let advance = || ledger.advance(&self.topic, partition, generation, self.committed, tail.time_ms);
            patiently(self.stop, advance).await?;
        }
        Ok(())
    }

    /// Lets the log go of what it need not keep. Where that fails it is tried again next time.
    async fn trim(&self) {
        let (Some(keep_ms), partition) = (self.parts.keep_log_ms, self.place.partition) else { return };
        let before_ms = (self.parts.now_ms)() - keep_ms;
        if let Err(error) = retention::trim(&*self.parts.log, partition, self.committed, before_ms).await {
            warn!(partition, %error, "the log keeps more than it need");
        }
    }

    async fn process(&mut self, records: &[Record]) -> Result<(), PipelineError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let pending = Pending { first: first.offset, last: last.offset, since_ms: (self.parts.now_ms)() };
        let mut claim = self.begin(pending).await?;
        // Only now: a tombstone that is put up from here on lies behind the range, and so does a cut.
        self.learn_of_erased().await?;
        self.memory.placement = patiently(self.stop, || self.parts.placement()).await?;
        let Parts { apps, tee, .. } = self.parts;
        let block = block::build(records, self.place, &mut self.memory, apps, tee.empty(), self.stop).await?;
        let inserting = Instant::now();
        self.insert(&block, &mut claim).await?;
        let inserted = inserting.elapsed();
        patiently(self.stop, || tee.publish(&block.told)).await?;
        self.commit(Commit {
            end: last.offset + 1,
            frontier_ms: last.appended_ms,
            hours: block.hours.iter().cloned().collect(),
        })
        .await?;
        self.committed = last.offset + 1;
        self.assignment.done(self.place.partition, self.committed);
        self.observe(&block, first);
        block.shares.charge(&self.work, inserted);
        Ok(())
    }

    /// Records the range as pending, or confirms that it still is under this worker's claim.
    async fn begin(&self, pending: Pending) -> Result<Claim, PipelineError> {
        let (ledger, partition) = (&self.parts.ledger, self.place.partition);
        let mut confirmed = Instant::now();
        let begin = || {
            confirmed = Instant::now(); // not when the answer comes: it may be read long after
            ledger.begin(&self.topic, partition, self.generation, pending)
        };
        patiently(self.stop, begin).await?;
        Ok(Claim { pending, confirmed })
    }

    async fn learn_of_erased(&mut self) -> Result<(), PipelineError> {
        let (erasures, partition) = (&*self.parts.erasures, self.place.partition);
        let news = patiently(self.stop, || self.memory.erased.news(erasures, &self.topic, partition)).await?;
        self.memory.erased.learn(partition, news, &mut self.memory.users);
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<(), PipelineError> {
        let (ledger, partition) = (&self.parts.ledger, self.place.partition);
        let tried =
            patiently(self.stop, || ledger.commit(&self.topic, partition, self.generation, commit.clone())).await;
        // A try without an answer may have been the one that did it.
        if let Err(PipelineError::Ledger(LedgerError::OutOfOrder { .. })) = &tried {
            let states = patiently(self.stop, || ledger.partitions(&self.topic)).await?;
            if states.iter().any(|state| {
                (state.partition, state.generation, state.committed) == (partition, self.generation, commit.end)
            }) {
                return Ok(());
            }
        }
        tried
    }

    /// Each day, the users and what doesn't count as one block each.
    async fn insert(&self, block: &Block, claim: &mut Claim) -> Result<(), PipelineError> {
        let parts = [
            (Part::Users, Columns::Users(&block.users)),
            (Part::Uncounted, Columns::Uncounted(&block.uncounted)),
            (Part::Erased(block.erased.len()), Columns::Uncounted(&block.erased)),
        ];
        let days = block.days.iter().map(|(day_ms, events)| (Part::Day(*day_ms), Columns::Events(events)));
        let parts = parts.into_iter().chain(days).filter(|(_, columns)| !columns.is_empty()).collect();
        let uncertain = self.once(parts, claim).await?;
        let days_ms =
            uncertain.into_iter().filter_map(|part| if let Part::Day(day_ms) = part { Some(day_ms) } else { None });
        self.settle_daily_users(days_ms.collect(), claim).await
    }

    /// Sees to it that the rollup of these days counts what is there, after inserts that may have reached one and not the other.
    async fn settle_daily_users(&self, days_ms: Vec<i64>, claim: &mut Claim) -> Result<(), PipelineError> {
        let (warehouse, Place { incarnation, partition }) = (&self.shard, self.place);
        let mut rows = DaysOfPartition { days_ms, incarnation, partition };
        let mut pause = FIRST_PAUSE;
        while !rows.days_ms.is_empty() {
            let settled = async {
                rows.days_ms = warehouse.daily_users_differ(&rows).await?;
                if !rows.days_ms.is_empty() {
                    let days_ms = &rows.days_ms;
                    warn!(partition, ?days_ms, "the daily users are mended: an insert reached only some of its tables");
                    // Not by a zombie: somebody else's insert would come between.
                    *claim = self.begin(claim.pending).await?;
                    warehouse.settle_daily_users(&rows).await?;
                }
                Ok::<_, PipelineError>(())
            };
            if let Err(error) = settled.await {
                self.await_warehouse(error, &mut pause).await?;
            }
        }
        Ok(())
    }

    /// The pause after a failure that may pass; any other is returned.
    async fn await_warehouse(&self, error: PipelineError, pause: &mut Duration) -> Result<(), PipelineError> {
        let PipelineError::Warehouse(away) = &error else { return Err(error) };
        if !away.is_unavailable() || self.stop.is_cancelled() {
            return Err(error);
        }
        warn!(partition = self.place.partition, %error, "the warehouse is asked again");
        sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// Inserts each part of the block exactly once, whatever happens to the warehouse meanwhile.
    ///
    /// An acknowledged insert is on disk. Where it is unknown what became of one (an earlier owner's, or one without an
    /// answer), the table is asked. The token alone isn't enough: the engine notes it *before* it makes the part visible, so one that is killed
    /// in between refuses the block ever after as a duplicate of rows that aren't there. Then the block goes in under the next token.
    ///
    /// Returns the parts of which it was not certain at every moment what became of them.
    async fn once(
        &self,
        mut left: VecDeque<(Part, Columns<'_>)>,
        claim: &mut Claim,
    ) -> Result<Vec<Part>, PipelineError> {
        let parts = |left: &VecDeque<(Part, Columns<'_>)>| left.iter().map(|(part, _)| *part).collect();
        let (mut uncertain, mut attempt): (Option<Vec<_>>, _) = (self.recovering.then(|| parts(&left)), 0);
        let mut pause = FIRST_PAUSE;
        while !left.is_empty() {
            match self.attempt(&mut left, uncertain.is_none(), attempt, claim).await {
                Ok(()) if left.is_empty() => {}
                Ok(()) => {
                    let (partition, pending, lost) = (self.place.partition, claim.pending, parts(&left));
                    warn!(partition, ?pending, ?lost, "the engine took blocks for ones that it lost");
                    attempt += 1;
                }
                Err(error) => {
                    self.await_warehouse(error, &mut pause).await?;
                    uncertain.get_or_insert_with(|| parts(&left));
                }
            }
        }
        Ok(uncertain.unwrap_or_default())
    }

    /// Inserts what is missing, and leaves what still is. As long as all is certain, an insert that is acknowledged is there.
    async fn attempt(
        &self,
        left: &mut VecDeque<(Part, Columns<'_>)>,
        certain: bool,
        attempt: u32,
        claim: &mut Claim,
    ) -> Result<(), PipelineError> {
        // With a quorum a row that one replica shows isn't stored yet: the block's token waits for the others.
        if !certain && !self.shard.has_quorum() {
            self.keep_missing(left, claim.pending).await?;
        }
        let mut next = 0;
        while let Some((part, columns)) = left.get(next).copied() {
            if claim.confirmed.elapsed() > CONFIRMED {
                *claim = self.begin(claim.pending).await?;
            }
            let (span, warehouse) = trace::insert(&self.shard, columns.len());
            warehouse.insert(columns, &self.token(part, claim.pending, attempt)).instrument(span).await?;
            if certain {
                left.pop_front();
            } else {
                next += 1;
            }
        }
        // An earlier insert that the server still works on shows within moments.
        for look in 0..LOOKS {
            if left.is_empty() {
                break;
            }
            if look > 0 {
                sleep(BETWEEN_LOOKS).await;
            }
            self.keep_missing(left, claim.pending).await?;
        }
        Ok(())
    }

    /// Keeps of these parts those that the warehouse hasn't.
    async fn keep_missing(
        &self,
        left: &mut VecDeque<(Part, Columns<'_>)>,
        pending: Pending,
    ) -> Result<(), WarehouseError> {
        let parts: Vec<_> = left.iter().map(|(part, _)| *part).collect();
        let there = recover::those_there(&self.shard, self.place, &parts, pending).await?;
        left.retain(|(part, _)| !there.contains(part));
        Ok(())
    }

    fn token(&self, part: Part, pending: Pending, attempt: u32) -> String {
        let Topic { name, incarnation } = &self.topic;
        let range = format!("{name}@{incarnation}:{}:{}-{}", self.place.partition, pending.first, pending.last);
        match part {
            Part::Day(day_ms) => format!("{range}:{}:{attempt}", day_ms / model::DAY_MS),
            Part::Users => format!("{range}:users:{attempt}"),
            Part::Uncounted => format!("{range}:uncounted:{attempt}"),
            // A later try knows the same tombstones or more, so their number says which they are.
            Part::Erased(rows) => format!("{range}:erased {rows}:{attempt}"),
        }
    }

    fn observe(&self, block: &Block, first: &Record) {
        metrics::counter!("penstock_pipeline_events_total", "outcome" => "stored").increment(block.stored);
        metrics::counter!("penstock_pipeline_events_total", "outcome" => "duplicate").increment(block.duplicates);
        metrics::counter!("penstock_pipeline_events_total", "outcome" => "dead letter").increment(block.dead_letters);
        metrics::counter!("penstock_pipeline_events_total", "outcome" => "erased").increment(block.erased.len() as u64);
        let delay_ms = ((self.parts.now_ms)() - first.appended_ms).max(0);
        metrics::histogram!("penstock_pipeline_delay_seconds").record(delay_ms as f64 / 1000.0);
    }
}
