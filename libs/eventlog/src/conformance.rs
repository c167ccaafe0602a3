//! The suite that every backend passes: one function for each promise of [`EventLog`].
//!
//! A backend says how its logs are made and opened again ([`Factory`]) and names the suite in a test file:
//!
//! ```text
//! eventlog::conformance_tests!(MyFactory::new());
//! ```

// The suite is test code: it asserts, and prints the seeds of what it chose at random.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use model::{Offset, PartitionId};

use crate::{Batch, EventLog, Record};

mod appending;
mod assigning;
mod closing;
mod growing;
mod kafka;
mod reading;
mod tail;
mod trimming;

pub use appending::*;
pub use assigning::*;
pub use closing::*;
pub use growing::*;
pub use kafka::{KafkaStand, KafkaTopic, MemoryIncarnations};
pub use reading::*;
pub use tail::*;
pub use trimming::*;

/// How long anything may take that must happen: far longer than it does on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many partitions the suite's logs have.
pub const PARTITIONS: u32 = 3;

/// How the suite gets its logs.
#[async_trait]
pub trait Factory: Sync {
    /// A new, empty log with [`PARTITIONS`] partitions.
    async fn make(&self) -> Arc<dyn EventLog>;

    /// The log made last, opened again. The suite has closed it and let go of it.
    async fn reopen(&self) -> Arc<dyn EventLog>;
}

/// Makes a test of each function of the suite. Takes an expression that gives a [`Factory`], evaluated in each test.
#[macro_export]
macro_rules! conformance_tests {
    ($factory:expr) => {
        $crate::conformance_tests! { $factory =>
            each_appender_sees_its_order
            one_call_reaches_several_partitions
            empty_batches_take_no_offset
            invalid_batches_are_refused
            unknown_partitions_are_refused
            large_records_come_back_whole
            what_was_acknowledged_survives
            identity_survives
            read_limits_hold
            reads_have_no_gaps_wherever_they_begin
            a_time_leads_to_its_first_record
            waiting_ends_when_the_record_is_there
            a_tail_holds_for_all_later_records
            times_never_fall
            trimming_lets_go_of_no_record_it_must_keep
            trimming_everything_keeps_the_offsets
            trimming_goes_on_while_others_append_and_read
            one_process_gets_all_partitions
            a_closed_log_refuses
        }
    };
    ($factory:expr => $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                $crate::conformance::$name(&$factory).await;
            }
        )*
    };
}

/// A batch of these records.
pub fn batch<R: AsRef<[u8]>>(partition: PartitionId, records: impl IntoIterator<Item = R>) -> Batch {
    let (mut buffer, mut ends) = (Vec::new(), Vec::new());
    for record in records {
        buffer.extend_from_slice(record.as_ref());
        ends.push(u32::try_from(buffer.len()).unwrap());
    }
    Batch { partition, buffer: buffer.into(), ends }
}

/// All records of a partition from `from` on.
pub async fn read_from(log: &dyn EventLog, partition: PartitionId, from: Offset) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let next = records.last().map_or(from, |last| last.offset + 1);
        let more = log.read(partition, next, 1000, 1 << 20).await.unwrap();
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

/// The payloads, as texts.
pub fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()).collect()
}

/// Asserts that the records have consecutive offsets from `first` on and times that never fall.
pub fn assert_consecutive(records: &[Record], first: Offset) {
    for (index, record) in records.iter().enumerate() {
        assert_eq!(record.offset, first + index as u64);
    }
    assert!(records.is_sorted_by_key(|record| record.appended_ms), "times must not fall");
}

/// Random numbers for the suite: splitmix64 from a seed that is printed.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A new seed, printed; the environment's `SEED` if that is set.
    pub fn new() -> Self {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("SEED={seed}");
        Self(seed)
    }

    /// Another sequence, for another task.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
