//! A range of the log, put into the warehouse anew while everything goes on: its rows were lost there, or written wrongly.
//!
//! One process does it, as long as it holds the lease, in attempts:
//!
//! 1. read the range, and build its rows as the workers do: from what is known of the time before it, as far as that is in the range too from the
//!    new rows, past everyone who was erased since;
//! 2. put them into tables of the attempt's own ([`Rebuild`]), and copy there what else lies in the same partitions of the server's tables,
//!    in steps, until little is left that came in meanwhile;
//! 3. have the pipeline stand still ([`storage::Replays::hold`]): workers end what they began and begin nothing, while ingest goes on;
//! 4. copy the rest, and put each new partition in the place of the old one;
//! 5. give new epochs to all that may have changed, and go on.
//!
//! Whatever goes wrong, and wherever, the next attempt does all of it again. It has the tables of the one before dropped first, and only
//! then ends that one's hold: so a process that was stopped amid a swap, and wakes up, can't replace rows that came in since. What was
//! swapped already is swapped for the same once more.
//!
//! Nothing that is deleted meanwhile may come back with a copy of before. Whoever deletes (the eraser, the expiry) lets a replay go
//! first, and if one began or went on while it was at it, does it all again ([`storage::Replays::replay_clock`]). Rows that may be
//! gone because they are no longer kept are not made anew: they stay as they are.

use std::{sync::Arc, time::Duration};

use eventlog::LogError;
use model::{DAY_MS, HOUR_MS, Offset};
use storage::{
    Leased, LogRange, MetaError, Placement, Replay, ReplayProgress, ReplayRequest, ReplayState, TouchedHour,
    warehouse::{
        Columns, Part, Rebuild,
        schema::{EVENTS, USERS},
    },
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    Parts, PipelineError,
    block::{self, Place},
    erased::Erased,
    patience::patiently,
    recover::{self, Known},
    tee::Told,
    worker,
};

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many records may be left to copy while the pipeline stands still, and so often it is tried to have no more.
const FEW_RECORDS: u64 = 20_000;
const MOST_STEPS: usize = 10;
/// How long the pipeline stands still for a range that doesn't end, how often it is looked, and how long it then goes on.
const HOLD_PATIENCE: Duration = Duration::from_secs(60);
const HOLD_LOOK_EVERY: Duration = Duration::from_millis(20);
const BETWEEN_HOLDS: Duration = Duration::from_secs(10);
/// How many epochs change in one transaction: others wait for it.
const EPOCHS: usize = 1_000;

/// Replays what is to be replayed, until `stop`.
pub(crate) async fn run(parts: Arc<Parts>, stop: CancellationToken) {
    let leased = Arc::new(Leased {
        ledger: Arc::clone(&parts.ledger),
        name: "replays".to_owned(),
        holder: parts.owner.clone(),
        now_ms: parts.now_ms,
    });
    let look_apart = || async {
        // A task of its own, so that a panic ends this attempt and not all of them.
        let (parts, leased, stop) = (Arc::clone(&parts), Arc::clone(&leased), stop.clone());
        let mut attempt = JoinSet::new();
        attempt.spawn(async move { look(&parts, &leased, &stop).await });
        match attempt.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => {
                error!(%panic, "a replay panicked; it is begun again");
                Ok(())
            }
            None => Ok(()),
        }
    };
    leased.look(LOOK_EVERY, stop.cancelled(), look_apart).await; // what was done of an attempt is done again
}

/// Does what there is to do, if nobody else does.
async fn look(parts: &Parts, leased: &Leased, stop: &CancellationToken) -> Result<(), PipelineError> {
    let Some(Replay { request: ReplayRequest { id, .. }, .. }) = parts.replays.open_replay().await? else {
        return Ok(());
    };
    let attempt = async {
        tokio::select! {
            done = work(parts, &id, stop) => done,
            over = cancelled(parts, &id, stop) => over,
        }
    };
    leased.hold(attempt).await.map(drop)
}

/// Returns when the attempt is to end: the next one ends it.
async fn cancelled(parts: &Parts, id: &str, stop: &CancellationToken) -> Result<(), PipelineError> {
    loop {
        sleep(LOOK_EVERY).await;
        let replay = patiently(stop, || parts.replays.replay(id)).await?;
        if replay.is_some_and(|replay| replay.to_cancel && replay.state == ReplayState::Building) {
            return Ok(());
        }
    }
}

/// One attempt.
async fn work(parts: &Parts, id: &str, stop: &CancellationToken) -> Result<(), PipelineError> {
    parts.warehouse.ping().await?;
    let Replay { request, attempt, to_cancel, progress, .. } = parts.replays.begin_replay(id).await?;
    info!(replay = id, attempt, ranges = ?request.ranges, "replaying");
    let progress = ReplayProgress { records: 0, message: String::new(), ..progress };
    let placement = patiently(stop, || parts.placement()).await?;
    let mut attempt = Attempt { parts, stop, request, number: attempt, progress, placement };
    parts.warehouse.drop_rebuilt().await?;
    parts.replays.let_go(id, attempt.number).await?;
    if to_cancel {
        return attempt.end(ReplayState::Cancelled).await;
    }
    match attempt.replay().await {
        Ok(()) => attempt.end(ReplayState::Done).await,
        Err(error) if may_pass(&error) => Err(error),
        Err(error) => {
            error!(replay = id, %error, "a replay failed");
            attempt.progress.message = said(&error);
            attempt.end(ReplayState::Failed).await
        }
    }
}

/// Whether another attempt may do better, or is under way.
fn may_pass(error: &PipelineError) -> bool {
    match error {
        PipelineError::Warehouse(error) => error.is_unavailable(),
        PipelineError::Meta(MetaError::Conflict(_)) => true,
        error => error.is_away(),
    }
}

/// The failure for people. What a server says may hold statements and data: that goes to the log.
fn said(error: &PipelineError) -> String {
    match error {
        PipelineError::Warehouse(_) => "the warehouse could not do a step of it: the log says more".to_owned(),
        PipelineError::Log(error @ LogError::Trimmed { .. }) => format!("the log has let go of a part of it: {error}"),
        error => error.to_string(),
    }
}

struct Attempt<'a> {
    parts: &'a Parts,
    stop: &'a CancellationToken,
    request: ReplayRequest,
    number: u64,
    progress: ReplayProgress,
    /// Until the replay is done the log doesn't grow.
    placement: Arc<Placement>,
}

impl Attempt<'_> {
    async fn replay(&mut self) -> Result<(), PipelineError> {
        let Parts { warehouse, ledger, .. } = self.parts;
        let topic = self.parts.topic();
        if self.request.topic != topic {
            return Err(PipelineError::Inconsistent("the range is of another log than this one".to_owned()));
        }
        let name = format!("{}_{}", self.request.id, self.number);
        let mut rebuild = warehouse.rebuild(&name, topic.incarnation, &self.request.ranges).await?;
        // Each after what its users sent before, be it in another partition: those have lower numbers.
        let mut ranges = self.request.ranges.clone();
        ranges.sort_unstable_by_key(|range| (range.partition, range.first));
        for range in ranges {
            self.build(&mut rebuild, range).await?;
        }
        rebuild.check_sent().await?;
        let mut expired = Vec::new();
        for (tenant, app) in rebuild.apps().await? {
            if let Some(before_ms) = ledger.expired_before(&tenant, &app).await? {
                expired.push((tenant, app, before_ms));
            }
        }
        rebuild.leave_expired(&expired).await?;
        self.progress.rows = rebuild.count().await?;
        self.progress.touched.extend(rebuild.days().await?);
        let to_swap = rebuild.parts().await?;
        self.note().await?;
        let copied = self.copy(&rebuild, &to_swap).await?;
        self.hold().await?;
        info!(replay = self.request.id, parts = to_swap.len(), "the pipeline stands still for a replay");
        for parts in Part::by_table(&to_swap) {
            rebuild.copy(parts, Some(&copied), None).await?;
        }
        rebuild.count_users(Some(&copied), None).await?;
        for part in &to_swap {
            rebuild.swap(part).await?;
        }
        Ok(())
    }

    /// Makes the rows of a range.
    async fn build(&mut self, rebuild: &mut Rebuild, range: LogRange) -> Result<(), PipelineError> {
        let Parts { log, ledger, warehouse, erasures, apps, options, .. } = self.parts;
        let LogRange { partition, first, end } = range;
        let topic = &self.request.topic;
        let place = Place { incarnation: topic.incarnation, partition };
        let received_ms = patiently(self.stop, || worker::first_received(self.parts, partition, first)).await?;
        let placement = Arc::clone(&self.placement);
        let erased = patiently(self.stop, || Erased::of(&**erasures, topic, &placement, partition)).await?;
        // What is before it may be wrong as well, and be made anew by now.
        let known = Known { warehouse, events: rebuild.renewed(EVENTS).await?, users: rebuild.renewed(USERS).await? };
        let mut memory = recover::memory(&known, place, placement, first, received_ms, erased).await?;
        let states = patiently(self.stop, || ledger.partitions(topic)).await?;
        let shard = states.iter().find(|state| state.partition == partition).map_or(0, |state| state.shard);
        let mut next = first;
        while next < end {
            let most = usize::try_from(end - next).unwrap_or(usize::MAX).min(options.block_records);
            let records = patiently(self.stop, || log.read(partition, next, most, options.block_bytes)).await?;
            let Some(last) = records.last() else {
                let what = format!("offset {next} of partition {partition} is committed but the log ends before it");
                return Err(PipelineError::Inconsistent(what));
            };
            next = last.offset + 1;
            let block = block::build(&records, place, &mut memory, apps, Told::default(), self.stop).await?;
            let others = [&block.uncounted, &block.erased].map(Columns::Uncounted);
            let days = block.days.values().map(Columns::Events);
            for columns in days.chain([Columns::Users(&block.users)]).chain(others) {
                rebuild.insert(shard, columns).await?;
            }
            self.progress.records += records.len() as u64;
            self.note().await?;
        }
        Ok(())
    }

    /// Copies what else lies there, until little more comes in meanwhile. Returns how far, by partition of the log.
    async fn copy(&self, rebuild: &Rebuild, to_swap: &[Part]) -> Result<Vec<Offset>, PipelineError> {
        let mut copied = self.committed().await?;
        // A day in one go has the largest parts.
        for part in to_swap {
            rebuild.copy(std::slice::from_ref(part), None, Some(&copied)).await?;
        }
        rebuild.count_users(None, Some(&copied)).await?;
        for _ in 0..MOST_STEPS {
            let committed = self.committed().await?;
            if committed.iter().zip(&copied).map(|(now, then)| now - then).sum::<u64>() <= FEW_RECORDS {
                break;
            }
            for parts in Part::by_table(to_swap) {
                rebuild.copy(parts, Some(&copied), Some(&committed)).await?;
            }
            rebuild.count_users(Some(&copied), Some(&committed)).await?;
            copied = committed;
        }
        Ok(copied)
    }

    /// How far each partition is committed: the range itself is, and it never falls.
    async fn committed(&self) -> Result<Vec<Offset>, PipelineError> {
        let states = patiently(self.stop, || self.parts.ledger.partitions(&self.request.topic)).await?;
        let mut committed = vec![0; self.placement.partitions() as usize];
        for state in states {
            if let Some(offset) = committed.get_mut(state.partition as usize) {
                *offset = state.committed;
            }
        }
        let ends = self.request.ranges.iter().map(|range| (committed.get(range.partition as usize), range.end));
        if ends.into_iter().any(|(committed, end)| committed.is_none_or(|committed| *committed < end)) {
            return Err(PipelineError::Inconsistent(
                "the range is not committed: the ledger is of before it".to_owned(),
            ));
        }
        Ok(committed)
    }

    /// Has the pipeline stand still. A range whose worker is gone ends when another has taken over; while none does, the
    /// others go on in between.
    async fn hold(&self) -> Result<(), PipelineError> {
        let Parts { replays, ledger, .. } = self.parts;
        loop {
            replays.hold(&self.request.id, self.number, self.placement.partitions()).await?;
            let since = Instant::now();
            while since.elapsed() < HOLD_PATIENCE {
                let states = ledger.partitions(&self.request.topic).await?;
                if states.iter().all(|state| state.pending.is_none()) {
                    return Ok(());
                }
                sleep(HOLD_LOOK_EVERY).await;
            }
            warn!(replay = self.request.id, "what the pipeline has begun doesn't end; a replay waits for it");
            replays.let_go(&self.request.id, self.number).await?;
            sleep(BETWEEN_HOLDS).await;
        }
    }

    async fn note(&self) -> Result<(), PipelineError> {
        patiently(self.stop, || self.parts.replays.note_replay(&self.request.id, self.number, &self.progress)).await
    }

    /// Tells readers that what they kept may be other now, and ends it.
    async fn end(mut self, state: ReplayState) -> Result<(), PipelineError> {
        let Parts { warehouse, ledger, replays, now_ms, .. } = self.parts;
        warehouse.drop_rebuilt().await?;
        let touched = std::mem::take(&mut self.progress.touched);
        let hours: Vec<_> = touched
            .into_iter()
            .flat_map(|(day_ms, tenant, app)| {
                (0..DAY_MS / HOUR_MS).map(move |hour| TouchedHour {
                    tenant: tenant.clone(),
                    app: app.clone(),
                    hour_ms: day_ms + hour * HOUR_MS,
                })
            })
            .collect();
        for some in hours.chunks(EPOCHS) {
            ledger.change_epochs(some.to_vec()).await?;
        }
        replays.finish_replay(&self.request.id, self.number, state, &self.progress, now_ms()).await?;
        info!(replay = self.request.id, state = state.name(), rows = ?self.progress.rows, "a replay ended");
        Ok(())
    }
}
