use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use model::{AppId, Offset, PartitionId, TenantId};
use serde::{Deserialize, Serialize};

use crate::{MetaError, Topic};

/// Records of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    /// The partition.
    pub partition: PartitionId,
    /// The first record.
    pub first: Offset,
    /// The offset after the last.
    pub end: Offset,
}

/// A part of the log to put into the warehouse anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The replay's id; unique.
    pub id: String,
    /// The log.
    pub topic: Topic,
    /// What of it: all committed, none empty, no two of them of the same records.
    pub ranges: Vec<LogRange>,
    /// When it was asked for, UTC ms.
    pub requested_at_ms: i64,
    /// The public part of the key that asked.
    pub requested_by: String,
}

/// How far a replay came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplayState {
    /// Nobody has begun it.
    Waiting,
    /// The new rows are made, beside the old ones.
    Building,
    /// The new rows take the place of the old ones; the pipeline begins nothing meanwhile.
    Swapping,
    /// The new rows are there.
    Done,
    /// It can't be done. Some days may have their new rows already.
    Failed,
    /// It was asked to end.
    Cancelled,
}

impl ReplayState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Building, Self::Swapping, Self::Done, Self::Failed, Self::Cancelled];

    /// As it stands in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Building => "building",
            Self::Swapping => "swapping",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// Rows of the range in one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// Those that were there.
    pub before: u64,
    /// Those that are there in their place.
    pub after: u64,
}

/// What is noted of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplayProgress {
    /// Records that the latest attempt has read.
    pub records: u64,
    /// Rows of the range by table, once they are counted.
    pub rows: BTreeMap<String, Rebuilt>,
    /// What any attempt may have changed: UTC days (their starts, ms) of apps, whose epochs change at the end.
    pub touched: BTreeSet<(i64, TenantId, AppId)>,
    /// Why it failed, or what went wrong with the attempt before.
    pub message: String,
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// What was asked for.
    pub request: ReplayRequest,
    /// How far it came.
    pub state: ReplayState,
    /// How often it was begun.
    pub attempt: u64,
    /// Whether somebody asked for its end.
    pub to_cancel: bool,
    /// When it ended, UTC ms.
    pub finished_at_ms: Option<i64>,
    /// What is noted of it.
    pub progress: ReplayProgress,
}

/// Whether rows of the warehouse were put back as they had been before: whoever deletes some looks at it before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayClock {
    /// Attempts of all replays so far.
    pub attempts: u64,
    /// Whether one is under way.
    pub running: bool,
}

/// Which ranges of the log were replayed, and what is still to be done for it.
///
/// One at a time. Whoever begins an attempt fences all earlier ones: what these still write here is a `Conflict` and changes nothing.
#[async_trait]
pub trait Replays: Send + Sync + 'static {
    /// Takes a request. `AlreadyExists` while another isn't finished, or if the id is taken.
    async fn request_replay(&self, request: ReplayRequest) -> Result<Replay, MetaError>;

    /// The replay of this id.
    async fn replay(&self, id: &str) -> Result<Option<Replay>, MetaError>;

    /// Replays, the newest first: at most `most` of those older than the one of `before`, its time (UTC ms) and id.
    async fn replays(&self, before: Option<(i64, &str)>, most: u32) -> Result<Vec<Replay>, MetaError>;

    /// The one that isn't finished.
    async fn open_replay(&self) -> Result<Option<Replay>, MetaError>;

    /// Begins it, or begins it again: `Building` under a new attempt. A hold of an earlier attempt stays until [`Replays::let_go`], so
    /// that there is time to make sure that nothing more comes of that one. `Conflict` if it is finished.
    async fn begin_replay(&self, id: &str) -> Result<Replay, MetaError>;

    /// Notes what is known.
    async fn note_replay(&self, id: &str, attempt: u64, progress: &ReplayProgress) -> Result<(), MetaError>;

    /// Has the partitions of the replay's log, `0..partitions`, stand still, and is `Swapping`: from now on [`crate::Ledger::begin`] refuses every
    /// range that wasn't pending before. Those that were can be ended.
    async fn hold(&self, id: &str, attempt: u64, partitions: u32) -> Result<(), MetaError>;

    /// Ends the hold, by whichever attempt it was put, and is `Building` again.
    async fn let_go(&self, id: &str, attempt: u64) -> Result<(), MetaError>;

    /// Ends it, and its hold, in a final state.
    async fn finish_replay(
        &self,
        id: &str,
        attempt: u64,
        state: ReplayState,
        progress: &ReplayProgress,
        now_ms: i64,
    ) -> Result<(), MetaError>;

    /// Asks for its end: whoever is at it ends it, unless the new rows are already taking their places. `Conflict` if it is finished.
    async fn cancel_replay(&self, id: &str) -> Result<Replay, MetaError>;

    /// What time it is by replays. An attempt shows before it reads or writes any row.
    async fn replay_clock(&self) -> Result<ReplayClock, MetaError>;
}
