//! The event log: what is acknowledged is here, durably, before anything else happens to it.
//!
//! [`EventLog`] states the promises; the conformance suite checks them on every backend. `embedded:DIR` keeps the
//! log on the local disk, for one process; `kafka://HOST:PORT` in a topic of Apache Kafka, for any number of them.
//!
//! A log is one topic, whose partitions may become more and never fewer. A record is bytes; what they mean is `model::record`'s
//! matter. Offsets count records in a partition from 0. Records of one [`Batch`] are placed in their order; another
//! caller's may come to lie between them.

use async_trait::async_trait;
use bytes::Bytes;
use model::{Incarnation, Offset, PartitionId, Position};

mod assignment;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod embedded;
mod kafka;
mod open;

pub use assignment::Assignment;
pub use embedded::{Clock, EmbeddedLog, system_clock};
pub use kafka::{Incarnations, KafkaLog, KafkaOptions, Keep, Message, Outlet};
pub use open::{LogOptions, open};

/// Records for one partition, in order: one buffer, cut at the given ends, so that a batch costs one allocation.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The partition that all of them go to.
    pub partition: PartitionId,
    /// The records' bytes, one after another.
    pub buffer: Bytes,
    /// Where each record ends in `buffer`, never falling (a record may be empty); the last is the buffer's length.
    pub ends: Vec<u32>,
}

impl Batch {
    fn check(&self) -> Result<(), LogError> {
        let last = self.ends.last().copied().unwrap_or(0);
        if self.ends.is_sorted() && last as usize == self.buffer.len() {
            return Ok(());
        }
        Err(LogError::Invalid("a batch's ends must never fall, and the last be its buffer's length".into()))
    }
}

/// One record as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the log took it, UTC ms by the log's clock. Never falls from one offset to the next that is read after it
    /// (see the crate's page on Kafka for what its clocks allow between two readers).
    pub appended_ms: i64,
    /// Its bytes.
    pub payload: Bytes,
}

/// The end of a partition at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The offset that the next record will get.
    pub end: Offset,
    /// UTC ms by the log's clock. Every record from `end` on has `appended_ms >= time_ms`, so a reader that has
    /// come to `end` has seen all that was taken before this instant.
    pub time_ms: i64,
}

/// What the log can't do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no such partition.
    #[error("partition {partition} is not one of the log's {partitions}")]
    NoSuchPartition {
        /// The partition asked for.
        partition: PartitionId,
        /// How many there are.
        partitions: u32,
    },
    /// The offset was trimmed away.
    #[error("partition {partition} begins at offset {begin}, {offset} is gone")]
    Trimmed {
        /// The partition read.
        partition: PartitionId,
        /// The offset asked for.
        offset: Offset,
        /// The first offset still there.
        begin: Offset,
    },
    /// The call breaks a rule of [`EventLog`]; nothing was appended. The message names the rule.
    #[error("{0}")]
    Invalid(String),
    /// What is on disk isn't what this program wrote. The message names the place.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The URL or the options don't describe a log, or not the one that is there.
    #[error("{0}")]
    Config(String),
    /// The log can't be reached or written now (disk full, closed, broker away); nothing was acknowledged.
    #[error("the log can't be used now: {0}")]
    Unavailable(String),
}

/// A durable, partitioned, ordered log of one topic.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// The topic's name, part of every deduplication token.
    fn topic(&self) -> &str;

    /// The life of this topic: fixed while it exists, higher when it is made anew.
    fn incarnation(&self) -> Incarnation;

    /// How many partitions there are, as far as this process knows.
    fn partitions(&self) -> u32;

    /// Sees to it that there are so many partitions, 1024 at most, or more. What is there stays where it is. Cut off, it has them or not; who
    /// reads meanwhile may be told that the log is `Unavailable`.
    async fn grow(&self, partitions: u32) -> Result<(), LogError> {
        if partitions <= self.partitions() {
            return Ok(());
        }
        Err(LogError::Invalid(format!("this log has {} partitions for good", self.partitions())))
    }

    /// Appends and returns, for each partition named, the offset after its last record of this call.
    ///
    /// A batch whose `ends` don't cut its buffer, or with a record too large for the log, is [`LogError::Invalid`], and
    /// none of the call's batches is taken.
    /// When this returns `Ok`, every record is on stable storage and survives a power cut. On `Err` some of the
    /// records may still turn up: callers retry with the same event ids. Empty batches are allowed and take no offset.
    /// Appends of concurrent callers are committed together. A dropped future may or may not have appended.
    async fn append(&self, batches: Vec<Batch>) -> Result<Position, LogError>;

    /// Reads records from `from` on, in order and without gaps: at most `max_records`, and no further record once
    /// `max_bytes` of payload are reached (so at least one, if there is one). Empty at the end. Only records that
    /// are durable are ever returned. A payload shares the memory of the records stored with
    /// it: copy what is kept long.
    async fn read(
        &self,
        partition: PartitionId,
        from: Offset,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Record>, LogError>;

    /// Resolves once a record at `offset` or later can be read; at once, if it can be already.
    async fn wait_for(&self, partition: PartitionId, offset: Offset) -> Result<(), LogError>;

    /// The end of the partition and the instant for which it holds.
    async fn tail(&self, partition: PartitionId) -> Result<Tail, LogError>;

    /// The first offset that is still there of a record that the log took at `time_ms` (UTC, the log's clock) or later; the end if there
    /// is none.
    async fn first_since(&self, partition: PartitionId, time_ms: i64) -> Result<Offset, LogError> {
        let (mut low, mut high) = (0, self.tail(partition).await?.end);
        while low < high {
            let middle = low.midpoint(high);
            match self.read(partition, middle, 1, 1).await {
                Ok(records) if records.first().is_some_and(|record| record.appended_ms < time_ms) => low = middle + 1,
                Ok(_) => high = middle,
                Err(LogError::Trimmed { begin, .. }) => low = begin,
                Err(error) => return Err(error),
            }
        }
        Ok(low)
    }

    /// Lets go of records below `before`. May keep some of them; never lets go of `before` itself or later ones.
    /// Offsets are never given twice, even if everything was let go of.
    async fn trim(&self, partition: PartitionId, before: Offset) -> Result<(), LogError>;

    /// Takes a place among the processes that work on the log's partitions. Only a process that does so asks for one.
    fn assignment(&self) -> Result<Box<dyn Assignment>, LogError>;

    /// Ends all work on the log: what was taken is durable, whoever waits is woken, later calls are `Unavailable`.
    /// Closing again is `Ok`.
    async fn close(&self) -> Result<(), LogError>;
}

/// Runs what blocks off the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LogError::Unavailable(format!("the log's work was cut off: {error}"))))
}
