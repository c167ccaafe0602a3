use async_trait::async_trait;
use model::{AppId, TenantId};

use crate::MetaError;

/// For how long states may be used, in ms: later they are computed anew, and whatever was left behind is gone.
pub const STATES_LAST_MS: i64 = 7 * model::DAY_MS;

/// The states of one bucket, as they lie in the warehouse.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketState {
    /// When the bucket begins, UTC ms.
    pub bucket_ms: i64,
    /// How long it is, in ms.
    pub length_ms: i64,
    /// What the epochs of its hours were when it was computed: a word without a meaning but to be the same.
    pub epochs: String,
    /// What its rows are known by among those of its shape. A bucket without groups has no rows.
    pub piece: i64,
}

/// Which states of aggregates are complete. Their rows lie in the warehouse, where nobody knows this.
///
/// The states of an app have *lives*: with the end of one they are all forgotten, and what was begun in it can't be kept any more. So who
/// ends a life can delete the rows of all lives before, and who was about to read these finds out that it changed.
#[async_trait]
pub trait States: Send + Sync {
    /// The app's life of states.
    async fn states_life(&self, tenant: &TenantId, app: &AppId) -> Result<i64, MetaError>;

    /// The life, and the states of a shape that are kept since `since_ms` of buckets that begin at `from_ms` or later and before `to_ms`,
    /// by time.
    async fn states(
        &self,
        tenant: &TenantId,
        app: &AppId,
        shape: &str,
        (from_ms, to_ms): (i64, i64),
        since_ms: i64,
    ) -> Result<(i64, Vec<BucketState>), MetaError>;

    /// Notes that these states are complete since `now_ms`, in the place of earlier ones of the same buckets, and forgets what is
    /// older than [`STATES_LAST_MS`]. `false`, and nothing is noted, if the life is over in which they were computed.
    async fn keep_states(
        &self,
        tenant: &TenantId,
        app: &AppId,
        shape: &str,
        life: i64,
        now_ms: i64,
        states: &[BucketState],
    ) -> Result<bool, MetaError>;

    /// Begins another life of the app's states, and returns it.
    async fn end_states(&self, tenant: &TenantId, app: &AppId) -> Result<i64, MetaError>;
}
