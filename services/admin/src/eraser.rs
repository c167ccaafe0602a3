//! Erases users in the background: one process for all, as long as it holds the lease.
//!
//! The steps of an erasure, each of which can be done again, so that a crash anywhere costs only time:
//!
//! 1. wait until the pipeline has committed everything before the tombstone, in partitions too that the user was in before: what it stores later
//!    is no longer the user's;
//! 2. note which hours lose events: once they are deleted nobody could tell;
//! 3. put a row in the place of each record, so that [Reconcile](crate) still balances, and delete the others;
//! 4. count the user's rollup again. Rows there have no offsets, so a new user's go too and are put back: compared while nothing of the user
//!    is being inserted, until it is right. Whether something was is seen afterwards, since partitions that never rest are the usual ones;
//! 5. forget the states of the app, which know their users, and delete them; give the noted hours new epochs, and only then note that it is done;
//! 6. after the longest life of an insert look again, from step 2 on.
//!
//! Two that work at once, because one was stopped for longer than its lease, do no harm: they do the same.
//!
//! A replay copies rows, and a copy that it made before a deletion may come after it. So nothing is erased during one, and what was begun
//! when it began is noted as done only after a round in which none was under way.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    time::Duration,
};

use futures::future::try_join_all;
use model::{Offset, PartitionId, partition_of};
use serde::{Deserialize, Serialize};
use storage::{
    Erasure, ErasureRequest, ErasureState, Leased, MetaError, PartitionState, Placement, Topic, TouchedHour,
    WarehouseError,
    warehouse::{ErasedUser, LONGEST_INSERT},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Ground;

/// How often it is looked whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two comparisons of the rollup, and how many are made before others get their turn.
const COMPARE_EVERY: Duration = Duration::from_millis(50);
const COMPARISONS: usize = 20;
/// Of how many users at once: most of the time is spent waiting for a block.
const COMPARED: usize = 8;
/// For how long a comparison waits until the blocks are committed that were inserted meanwhile.
const BLOCK: Duration = Duration::from_secs(10);
/// How many erasures are looked at, and how many of them are carried out at once: one mutation a table for all. The statement of so many
/// of the longest ids is still one that a server takes.
const MOST_OPEN: u32 = 1_000;
const BATCH: usize = 32;
/// How many epochs change in one transaction: others wait for it.
const EPOCHS: usize = 1_000;

/// How the admin role works.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// After how many seconds an erasure looks again for rows that an insert brought which hung. Fewer than 300, the longest life of an
    /// insert, may miss some.
    pub look_again_seconds: u32,
    /// How many runs of a report are kept.
    pub report_runs: u32,
    /// For how many days they are.
    pub report_days: u32,
    /// Whether webhooks may lead to this machine, and then by http:// too: for development.
    pub webhooks_to_loopback: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            look_again_seconds: LONGEST_INSERT.as_secs() as u32,
            report_runs: 100,
            report_days: 30,
            webhooks_to_loopback: false,
        }
    }
}

/// What erases.
pub struct Eraser {
    /// What it works on.
    pub ground: Ground,
    /// How.
    pub options: Options,
    /// Among others, if the lease is its own.
    pub leased: Leased,
}

/// Why a step failed. It is done again.
#[derive(Debug, thiserror::Error)]
enum EraserError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
}

impl Eraser {
    /// Erases whoever is to be erased, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        self.leased.look(LOOK_EVERY, stop.cancelled(), || self.look()).await;
    }

    /// Does what there is to do, if nobody else does.
    async fn look(&self) -> Result<(), EraserError> {
        if self.ground.erasures.open_erasures(1).await?.is_empty() {
            open_erasures(0);
            return Ok(());
        }
        self.leased.hold(self.work()).await.map(drop)
    }

    async fn work(&self) -> Result<(), EraserError> {
        let open = self.ground.erasures.open_erasures(MOST_OPEN).await?;
        open_erasures(open.len());
        let mut topics = HashMap::new();
        for erasure in open.iter().filter(|erasure| erasure.progress.state == ErasureState::Waiting) {
            if !topics.contains_key(&erasure.topic) {
                let states = self.ground.ledger.partitions(&erasure.topic).await?;
                topics.insert(erasure.topic.clone(), (self.placement(&erasure.topic).await?, states));
            }
        }
        let mut due: Vec<_> = open.into_iter().filter(|erasure| self.is_due(erasure, &topics)).collect();
        for batch in due.chunks_mut(BATCH) {
            self.erase(batch).await?;
        }
        Ok(())
    }

    fn is_due(&self, erasure: &Erasure, topics: &HashMap<Topic, (Placement, Vec<PartitionState>)>) -> bool {
        match erasure.progress.state {
            ErasureState::Waiting => {
                let Some((placement, states)) = topics.get(&erasure.topic) else { return false };
                let committed = |p| states.iter().find(|state| state.partition == p).map_or(0, |state| state.committed);
                let before =
                    placement.ancestors(erasure.partition).into_iter().chain([(erasure.partition, erasure.end)]);
                // Nothing more comes of a log that is no longer read.
                before.into_iter().all(|(p, end)| committed(p) >= end) || !self.is_read(&erasure.topic)
            }
            ErasureState::Deleting => true,
            ErasureState::Settling => erasure.progress.look_again_at_ms.is_none_or(|at| at <= (self.leased.now_ms)()),
            ErasureState::Done => false,
        }
    }

    fn is_read(&self, topic: &Topic) -> bool {
        let log = &self.ground.log;
        log.topic() == topic.name && log.incarnation() == topic.incarnation
    }

    async fn placement(&self, topic: &Topic) -> Result<Placement, MetaError> {
        self.ground.placements.placement(topic, self.ground.log.partitions()).await
    }

    /// The partitions of which records of the user may still be stored.
    async fn partitions(&self, erasure: &Erasure) -> Result<Vec<PartitionState>, MetaError> {
        let Erasure { request: ErasureRequest { tenant, app, user_id, .. }, topic, .. } = erasure;
        let placement = self.placement(topic).await?;
        let own = partition_of(tenant.as_str(), app.as_str(), user_id, "", placement.partitions());
        let before = placement.ancestors(own);
        let mut states = self.ground.ledger.partitions(topic).await?;
        states.retain(|state| {
            let is_before = |(p, end): &(PartitionId, Offset)| *p == state.partition && state.committed < *end;
            state.partition == own || before.iter().any(is_before)
        });
        Ok(states)
    }

    /// Deletes what these users have, and notes how far each came then.
    async fn erase(&self, batch: &mut [Erasure]) -> Result<(), EraserError> {
        let clock = self.ground.replays.replay_clock().await?;
        if clock.running {
            return Ok(());
        }
        let mut found = Vec::new();
        for (at, erasure) in batch.iter_mut().enumerate() {
            if self.count(erasure).await? > 0 {
                found.push(at);
            }
            if erasure.progress.state == ErasureState::Waiting {
                erasure.progress.state = ErasureState::Deleting;
            }
            self.note(erasure).await?;
        }
        let users: Vec<_> = found.iter().map(|at| user(&batch[*at])).collect();
        self.ground.warehouse.mark_erased(&users).await?;
        self.ground.warehouse.delete_erased(&users).await?;
        let unsettled = self.settle_daily_users(batch).await?;
        self.delete_states(batch).await?;
        self.change_epochs(batch).await?;
        for erasure in batch {
            let left = self.count(erasure).await?;
            // After the count: what a replay that begins later copies is what was counted.
            let replayed = self.ground.replays.replay_clock().await? != clock;
            // An insert came meanwhile, or one after the other, or a copy may: all of it again.
            if left > 0 || replayed || unsettled.contains(&erasure.request.id) {
                self.note(erasure).await?;
                continue;
            }
            let now_ms = (self.leased.now_ms)();
            let progress = &mut erasure.progress;
            progress.hours.clear();
            if progress.state == ErasureState::Deleting {
                progress.state = ErasureState::Settling;
                progress.look_again_at_ms = Some(now_ms + i64::from(self.options.look_again_seconds) * 1_000);
            } else {
                progress.state = ErasureState::Done;
                progress.finished_at_ms = Some(now_ms);
            }
            self.note(erasure).await?;
            let (id, state) = (&erasure.request.id, erasure.progress.state.name());
            info!(tenant = %erasure.request.tenant, erasure = id, state, "a user's rows are gone");
        }
        Ok(())
    }

    /// Looks what there is of the user: how many rows in all.
    async fn count(&self, erasure: &mut Erasure) -> Result<u64, EraserError> {
        let remains = self.ground.warehouse.remains(&user(erasure)).await?;
        for (table, rows) in &remains.rows {
            erasure.progress.gone.entry((*table).to_owned()).or_default().look(*rows);
        }
        erasure.progress.hours.extend(remains.hours);
        Ok(remains.rows.values().sum())
    }

    async fn note(&self, erasure: &Erasure) -> Result<(), MetaError> {
        self.ground.erasures.note_erasure(&erasure.request.id, &erasure.progress).await
    }

    /// Counts the users' rollups again; returns, by id, those that never were at rest for long enough.
    async fn settle_daily_users(&self, batch: &[Erasure]) -> Result<BTreeSet<String>, EraserError> {
        let warehouse = &self.ground.warehouse;
        let mut open: Vec<&Erasure> = batch.iter().collect();
        for _ in 0..COMPARISONS {
            let (mut again, mut surplus) = (Vec::new(), Vec::new());
            let mut compared = Vec::new();
            for some in open.chunks(COMPARED) {
                compared.extend(try_join_all(some.iter().map(|erasure| self.daily_users(erasure))).await?);
            }
            for (erasure, differs) in open.into_iter().zip(compared) {
                match differs {
                    Some((0, 0)) => continue,
                    Some((_, 1..)) => surplus.push(user(erasure)),
                    Some((1.., 0)) => warehouse.fill_daily_users(&user(erasure)).await?,
                    None => {}
                }
                again.push(erasure);
            }
            warehouse.delete_daily_users(&surplus).await?;
            open = again;
            if open.is_empty() {
                break;
            }
            sleep(COMPARE_EVERY).await;
        }
        Ok(open.into_iter().map(|erasure| erasure.request.id.clone()).collect())
    }

    /// How the user's rollup differs from the events; `None` if that can't be told, since something of the user was inserted meanwhile.
    async fn daily_users(&self, erasure: &Erasure) -> Result<Option<(u64, u64)>, EraserError> {
        let warehouse = &self.ground.warehouse;
        let before = self.partitions(erasure).await?;
        let differs = warehouse.erased_daily_users(&user(erasure)).await?;
        if !self.is_read(&erasure.topic) {
            return Ok(Some(differs));
        }
        let Some(meanwhile) = inserted(&before, &self.partitions(erasure).await?) else { return Ok(None) };
        if !meanwhile.is_empty() {
            // Whether any is the user's is seen once all are there.
            let Ok(committed) = timeout(BLOCK, self.until_committed(&erasure.topic, &meanwhile)).await else {
                return Ok(None);
            };
            committed?;
            if warehouse.has_events(&user(erasure), &meanwhile).await? {
                return Ok(None);
            }
        }
        Ok(Some(differs))
    }

    async fn until_committed(&self, topic: &Topic, ranges: &[(PartitionId, Range<Offset>)]) -> Result<(), MetaError> {
        loop {
            let states = self.ground.ledger.partitions(topic).await?;
            let is_committed = |(p, range): &(PartitionId, Range<Offset>)| {
                states.iter().any(|state| state.partition == *p && state.committed >= range.end)
            };
            if ranges.iter().all(is_committed) {
                return Ok(());
            }
            sleep(COMPARE_EVERY).await;
        }
    }

    /// Deletes the states of the apps in which users had events until now. What was computed before can't be kept any more; what an insert
    /// that hung still brings of it is deleted with the next look.
    async fn delete_states(&self, batch: &[Erasure]) -> Result<(), EraserError> {
        let mut apps: BTreeMap<_, bool> = BTreeMap::new();
        for Erasure { request, progress, .. } in batch {
            *apps.entry((&request.tenant, &request.app)).or_default() |= !progress.hours.is_empty();
        }
        for ((tenant, app), had_events) in apps {
            let life = match had_events {
                true => self.ground.states.end_states(tenant, app).await?,
                false => self.ground.states.states_life(tenant, app).await?,
            };
            self.ground.warehouse.delete_states(tenant, app, life).await?;
        }
        Ok(())
    }

    async fn change_epochs(&self, batch: &[Erasure]) -> Result<(), EraserError> {
        let mut hours: BTreeMap<_, BTreeSet<i64>> = BTreeMap::new();
        for Erasure { request, progress, .. } in batch {
            hours.entry((&request.tenant, &request.app)).or_default().extend(&progress.hours);
        }
        let hours = hours.into_iter().flat_map(|((tenant, app), hours)| {
            hours.into_iter().map(|hour_ms| TouchedHour { tenant: tenant.clone(), app: app.clone(), hour_ms })
        });
        for some in hours.collect::<Vec<_>>().chunks(EPOCHS) {
            self.ground.ledger.change_epochs(some.to_vec()).await?;
        }
        Ok(())
    }
}

/// What may have been inserted between two looks at the same partitions, in part or whole; `None` if they aren't the same.
fn inserted(before: &[PartitionState], after: &[PartitionState]) -> Option<Vec<(PartitionId, Range<Offset>)>> {
    let of = |states: &[PartitionState]| states.iter().map(|state| state.partition).collect::<Vec<_>>();
    let ranges = before.iter().zip(after).map(|(before, after)| {
        let end = after.pending.map_or(after.committed, |pending| pending.last + 1);
        (before.partition, before.committed..end)
    });
    (of(before) == of(after)).then(|| ranges.filter(|(_, range)| !range.is_empty()).collect())
}

fn open_erasures(number: usize) {
    metrics::gauge!("penstock_erasures_open").set(number as f64);
}

fn user(erasure: &Erasure) -> ErasedUser<'_> {
    ErasedUser {
        tenant: &erasure.request.tenant,
        app: &erasure.request.app,
        user_id: &erasure.request.user_id,
        incarnation: erasure.topic.incarnation,
        partition: erasure.partition,
        end: erasure.end,
    }
}

#[cfg(test)]
mod tests {
    use storage::Pending;

    use super::*;

    fn state(partition: u32, committed: u64, last: Option<u64>) -> PartitionState {
        let pending = last.map(|last| Pending { first: committed, last, since_ms: 0 });
        PartitionState {
            partition,
            generation: 1,
            owner: String::new(),
            committed,
            pending,
            frontier_ms: 0,
            held: false,
            shard: 0,
        }
    }

    #[test]
    fn what_was_inserted_meanwhile_is_all_that_was_pending_then_or_since() {
        let rest = [state(1, 10, None), state(2, 20, None)];
        assert_eq!(inserted(&rest, &rest), Some(vec![]));
        let pending = [state(1, 10, Some(14)), state(2, 20, None)];
        assert_eq!(inserted(&pending, &pending), Some(vec![(1, 10..15)]));
        assert_eq!(inserted(&rest, &pending), Some(vec![(1, 10..15)]));
        let gone_on = [state(1, 15, Some(17)), state(2, 21, None)];
        assert_eq!(inserted(&pending, &gone_on), Some(vec![(1, 10..18), (2, 20..21)]));
        assert_eq!(inserted(&rest, &rest[..1]), None, "the log grew, or an old partition is through");
    }
}
