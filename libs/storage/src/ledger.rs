use async_trait::async_trait;
use model::{AppId, Incarnation, Offset, PartitionId, TenantId};

use crate::MetaError;

/// One life of one topic: what offsets refer to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// The topic's name.
    pub name: String,
    /// Its life.
    pub incarnation: Incarnation,
}

/// What the ledger knows of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The partition.
    pub partition: PartitionId,
    /// Rises with each claim; a write under an older one is fenced.
    pub generation: u64,
    /// Who claimed it last; for people.
    pub owner: String,
    /// The offset after the last record whose rows are in the warehouse for good.
    pub committed: Offset,
    /// The range that was being inserted when nothing more was heard.
    pub pending: Option<Pending>,
    /// Every record that the log took before this instant (log's clock, UTC ms) is committed. Never falls.
    pub frontier_ms: i64,
    /// Whether it stands still: see [`crate::Replays::hold`].
    pub held: bool,
    /// The shard of the warehouse where its rows go. Earlier ones may lie on others.
    pub shard: u32,
}

/// A range of records whose rows may or may not be in the warehouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// The first record: always the committed offset.
    pub first: Offset,
    /// The last record, included.
    pub last: Offset,
    /// When the range was recorded, UTC ms: tells whether deduplication windows may have expired.
    pub since_ms: i64,
}

/// An hour of an app into which a commit put events.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TouchedHour {
    /// The tenant.
    pub tenant: TenantId,
    /// The app.
    pub app: AppId,
    /// The hour's start, UTC ms, a multiple of `model::HOUR_MS`.
    pub hour_ms: i64,
}

/// What becomes true, all at once, when a pending range is in the warehouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The offset after the range.
    pub end: Offset,
    /// The new frontier time; a lower one than the stored leaves the stored.
    pub frontier_ms: i64,
    /// The hours that got events. The epoch of each that had ended by the frontier stored *before* this commit changes, and of each at all if
    /// none was stored: what was kept before may be of another life of the topic. The apps lose their marks.
    pub hours: Vec<TouchedHour>,
}

/// How far a partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// The partition.
    pub partition: PartitionId,
    /// As in [`PartitionState`].
    pub committed: Offset,
    /// As in [`PartitionState`].
    pub frontier_ms: i64,
}

impl From<&PartitionState> for Reached {
    fn from(state: &PartitionState) -> Self {
        let PartitionState { partition, committed, frontier_ms, .. } = *state;
        Self { partition, committed, frontier_ms }
    }
}

/// What the ledger knows of an app's hours, read in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs {
    /// The hours whose epochs ever changed, as (hour, epoch id) by hour; another has its first epoch. An id is unique, never a counter: a
    /// state kept under one can't be mistaken for another's.
    pub hours: Vec<(i64, u128)>,
    /// As unique; it goes with the next commit that has events of the app, whatever their hours. `None` if there was one since
    /// [`Ledger::mark`].
    pub mark: Option<u128>,
    /// How far the topic's partitions have come, by number.
    pub reached: Vec<Reached>,
    /// Whether any states are kept of the app, of whatever shape and age.
    pub has_states: bool,
}

/// The events of one app on one day, which are to go.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExpiringDay {
    /// The UTC day's start, ms.
    pub day_ms: i64,
    /// The tenant.
    pub tenant: TenantId,
    /// The app.
    pub app: AppId,
}

/// Why the ledger refuses a write.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another worker claimed the partition since. Stop at once; nothing was changed.
    #[error("partition {partition} was claimed by another worker: generation {held} is now {current}")]
    Fenced {
        /// The partition.
        partition: PartitionId,
        /// The generation that the caller holds.
        held: u64,
        /// The generation in the ledger.
        current: u64,
    },
    /// The range doesn't follow what is committed, or ends elsewhere than the pending one: a defect of the caller's.
    #[error("partition {partition}: {what}")]
    OutOfOrder {
        /// The partition.
        partition: PartitionId,
        /// What doesn't fit.
        what: String,
    },
    /// The partition stands still for a replay ([`crate::Replays::hold`]): the same range can begin later. Nothing was changed.
    #[error("partition {partition} stands still until a replay has put its rows in their places")]
    Held {
        /// The partition.
        partition: PartitionId,
    },
    /// The metastore's own failure.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// The one ledger of what is in the warehouse, for every log backend.
///
/// The protocol of a worker: `claim`; replay the pending range if there is one; then for each block `begin`, insert,
/// `commit`. Each write is conditional on the generation, so a zombie changes nothing.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// The number of the life of a topic that its broker calls `identity`: the same for the same identity for ever, and higher
    /// for a new one than any of the topic before. It is `now_ms` (UTC ms) where that is higher, as in the embedded log.
    async fn incarnation(&self, topic: &str, identity: &str, now_ms: i64) -> Result<Incarnation, MetaError>;

    /// Makes the caller the partition's owner under a new, higher generation, and returns what the ledger knows of
    /// it. A partition never seen before starts at offset 0, frontier 0.
    async fn claim(&self, topic: &Topic, partition: PartitionId, owner: &str) -> Result<PartitionState, MetaError>;

    /// Has the partition's rows go to that shard from now on: not while a range is pending, which may be there or come there.
    async fn place(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        shard: u32,
    ) -> Result<(), LedgerError>;

    /// Records that `pending` is about to be inserted. It must start at the committed offset. Where one is pending
    /// already, only the same range is accepted, and its `since_ms` stays. `Held` while the partition stands still, unless it is that range.
    async fn begin(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        pending: Pending,
    ) -> Result<(), LedgerError>;

    /// Ends the pending range: one transaction sets the committed offset to `commit.end`, clears the range, changes the
    /// epochs, and raises the frontier. `commit.end` must be the pending range's end.
    async fn commit(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        commit: Commit,
    ) -> Result<(), LedgerError>;

    /// Raises the frontier of an idle partition: nothing pending, committed still at `committed`. A lower time leaves the stored one.
    async fn advance(
        &self,
        topic: &Topic,
        partition: PartitionId,
        generation: u64,
        committed: Offset,
        frontier_ms: i64,
    ) -> Result<(), LedgerError>;

    /// Gives each of these hours a new epoch, ended or not: what was derived from them before is no longer true. All or none.
    async fn change_epochs(&self, hours: Vec<TouchedHour>) -> Result<(), MetaError>;

    /// All partitions of the topic by number, read in one snapshot.
    async fn partitions(&self, topic: &Topic) -> Result<Vec<PartitionState>, MetaError>;

    /// How far all partitions of the topic have come, by number, read in one snapshot.
    async fn reached(&self, topic: &Topic) -> Result<Vec<Reached>, MetaError>;

    /// The epochs of the app's hours in `from_ms..to_ms`, its mark, and how far the partitions have come.
    async fn epochs(
        &self,
        topic: &Topic,
        tenant: &TenantId,
        app: &AppId,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Epochs, MetaError>;

    /// Gives the app a mark if it has none, for an hour or so. What is read of the warehouse once the mark was seen holds as long as it
    /// stands: a block is inserted before it is committed.
    async fn mark(&self, tenant: &TenantId, app: &AppId, now_ms: i64) -> Result<(), MetaError>;

    /// Records that the events of these days are about to be deleted: from now on they may be gone. Again changes nothing.
    async fn expire(&self, days: &[ExpiringDay]) -> Result<(), MetaError>;

    /// The days that [`Ledger::expire`] recorded and [`Ledger::expired`] didn't end, by day.
    async fn expiring(&self) -> Result<Vec<ExpiringDay>, MetaError>;

    /// Records that the events of these days are deleted, and changes the epochs of all their hours. Both at once: no answer that
    /// was kept from before is taken for one of after.
    async fn expired(&self, days: &[ExpiringDay]) -> Result<(), MetaError>;

    /// The end of the last day of the app that was ever recorded by [`Ledger::expire`]: events of before may be gone.
    async fn expired_before(&self, tenant: &TenantId, app: &AppId) -> Result<Option<i64>, MetaError>;

    /// Makes the caller the one that does what `name` says, until `until_ms`; again prolongs that. Returns whether it is: not while
    /// another's time isn't over by `now_ms`. No more than a way to save work: clocks differ.
    async fn lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, MetaError>;
}
