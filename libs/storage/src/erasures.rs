use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use model::{AppId, Offset, PartitionId, TenantId};
use serde::{Deserialize, Serialize};

use crate::{MetaError, Topic};

/// A user to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureRequest {
    /// The erasure's id; unique.
    pub id: String,
    /// Whose user it is.
    pub tenant: TenantId,
    /// The tenant's app.
    pub app: AppId,
    /// The user.
    pub user_id: String,
    /// When it was asked for, UTC ms.
    pub requested_at_ms: i64,
    /// The public part of the key that asked.
    pub requested_by: String,
}

/// Where in the log a user ends: nothing that stands there before may be stored, what comes after is a new user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The place among the partition's tombstones, from 1, without gaps.
    pub ordinal: u64,
    /// Whose user it is.
    pub tenant: TenantId,
    /// The tenant's app.
    pub app: AppId,
    /// The user.
    pub user_id: String,
    /// The first offset of the user's partition that is a new user's.
    pub end: Offset,
}

/// How far an erasure came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErasureState {
    /// The pipeline has not come to the tombstone yet.
    Waiting,
    /// Rows are being deleted.
    Deleting,
    /// All rows are deleted. An insert that was on its way may still add some: after the longest life of one it is looked again.
    Settling,
    /// It was looked again, and nothing was left.
    Done,
}

impl ErasureState {
    /// All of them, in the order in which they come.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Deleting, Self::Settling, Self::Done];

    /// As it stands in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Deleting => "deleting",
            Self::Settling => "settling",
            Self::Done => "done",
        }
    }
}

/// What became of a user's rows in one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Rows deleted.
    pub deleted: u64,
    /// Rows there when it was last looked.
    pub left: u64,
}

impl Gone {
    /// So many rows are there now: what was there before and no longer is, was deleted.
    pub fn look(&mut self, left: u64) {
        self.deleted += self.left.saturating_sub(left);
        self.left = left;
    }
}

/// What is known of an erasure besides its tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// How far it came.
    pub state: ErasureState,
    /// While it settles: when to look again, UTC ms.
    pub look_again_at_ms: Option<i64>,
    /// When it was done, UTC ms.
    pub finished_at_ms: Option<i64>,
    /// Hours (UTC ms) that lose events and whose epochs must change after that.
    pub hours: BTreeSet<i64>,
    /// The user's rows by table.
    pub gone: BTreeMap<String, Gone>,
}

/// A user's erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// What was asked for.
    pub request: ErasureRequest,
    /// The log in which the tombstone stands.
    pub topic: Topic,
    /// The user's partition.
    pub partition: PartitionId,
    /// The first offset of it that is a new user's.
    pub end: Offset,
    /// How far it came.
    pub progress: Progress,
}

/// Which users were erased, and what is still to be done for it.
#[async_trait]
pub trait Erasures: Send + Sync + 'static {
    /// Takes a request and puts up its tombstone: at `log_end`, or further on where the partition's worker is further already. `NotFound` if
    /// the app isn't there, `AlreadyExists` if the id is taken, `Conflict` if the topic no longer has so many `partitions`: the user may
    /// have another one now.
    ///
    /// It is atomic with [`crate::Ledger::begin`]. A worker that begins a range and reads the tombstones after that misses none whose end is
    /// before the range's: either it began first, and the end lies after its range, or the tombstone was first, and is read.
    async fn request_erasure(
        &self,
        request: ErasureRequest,
        topic: &Topic,
        partitions: u32,
        partition: PartitionId,
        log_end: Offset,
    ) -> Result<Erasure, MetaError>;

    /// The partition's tombstones whose ordinals are higher than `after`, in order.
    async fn tombstones(&self, topic: &Topic, partition: PartitionId, after: u64) -> Result<Vec<Tombstone>, MetaError>;

    /// The tenant's erasure of this id.
    async fn erasure(&self, tenant: &TenantId, id: &str) -> Result<Option<Erasure>, MetaError>;

    /// An app's erasures, the newest first: at most `most` of those older than the one of `before`, its time (UTC ms) and id.
    async fn erasures(
        &self,
        tenant: &TenantId,
        app: &AppId,
        before: Option<(i64, &str)>,
        most: u32,
    ) -> Result<Vec<Erasure>, MetaError>;

    /// Erasures of all tenants that aren't done, the oldest first.
    async fn open_erasures(&self, most: u32) -> Result<Vec<Erasure>, MetaError>;

    /// Notes how far an erasure came. One that is done stays so, with all that was noted then.
    async fn note_erasure(&self, id: &str, progress: &Progress) -> Result<(), MetaError>;
}
