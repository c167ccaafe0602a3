use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use model::{Offset, PartitionId};
use tokio::sync::watch;

/// A process's place among those that work on the log, from [`crate::EventLog::assignment`] until it leaves.
///
/// A hint that keeps processes out of each other's way, and no lock: two may take a partition for theirs for a while.
/// What makes their work count once is the ledger's generation, which fences all but the last to claim.
#[async_trait]
pub trait Assignment: Send + Sync + 'static {
    /// The partitions to work on now.
    fn partitions(&self) -> watch::Receiver<BTreeSet<PartitionId>>;

    /// Says which partitions are worked on. One that was taken away is another process's as soon as it isn't among
    /// them, or after a bounded time.
    fn working_on(&self, partitions: BTreeSet<PartitionId>);

    /// Tells whoever watches the log from outside how far the work is: records below `end` are done. Returns at once.
    fn done(&self, partition: PartitionId, end: Offset);

    /// Gives up the place, so that others take over at once. To be called when nothing is worked on any more.
    async fn leave(&self);
}

/// The assignment of a log that one process has to itself.
#[derive(Clone)]
pub(crate) struct Everything(Arc<watch::Sender<BTreeSet<PartitionId>>>);

impl Everything {
    pub(crate) fn of(partitions: u32) -> Self {
        Self(Arc::new(watch::Sender::new((0..partitions).collect())))
    }

    /// There are so many now.
    pub(crate) fn grow(&self, partitions: u32) {
        self.0.send_replace((0..partitions).collect());
    }
}

#[async_trait]
impl Assignment for Everything {
    fn partitions(&self) -> watch::Receiver<BTreeSet<PartitionId>> {
        self.0.subscribe()
    }

    fn working_on(&self, _: BTreeSet<PartitionId>) {}

    fn done(&self, _: PartitionId, _: Offset) {}

    async fn leave(&self) {}
}
