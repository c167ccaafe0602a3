//! The ends of the partitions and the times of their records: what makes [`Tail`] true.
//!
//! A record gets its time when its offset is assigned, before it is durable. Two rules, both under one lock, make
//! every record from a tail's end on at least as late as the tail's time: a tail of a partition with records assigned
//! but not yet durable takes the time of the first of these; any other tail takes the clock, and later records get no
//! earlier time even if the clock falls. Across restarts the floor holds by a lease: no tail tells a time above the
//! lease, which is durable, and a log that wasn't closed starts from it. It waits until the clock is there, [`LEASE_MS`]
//! at most: times ahead of the clock would promise, to whoever goes by the clock, what is still to come.

use std::{path::Path, sync::Arc, thread, time::Duration};

use model::{Offset, PartitionId};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{fault, slots::SlotFile};
use crate::{LogError, Tail};

/// Where a log gets its time from: UTC ms since 1970. May fall and jump; the log's own time never falls.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How far a lease reaches; one fsync of a small file in this time while tails are asked for.
pub(super) const LEASE_MS: i64 = 1000;

/// The clock of the machine.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = std::time::UNIX_EPOCH.elapsed();
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// Ends and times of all partitions.
pub(super) struct Timeline {
    clock: Clock,
    state: Mutex<State>,
    lease: Mutex<Lease>,
    ends: Vec<watch::Sender<Offset>>,
}

struct State {
    /// No later record gets an earlier time.
    floor_ms: i64,
    partitions: Vec<Partition>,
}

struct Partition {
    begin: Offset,
    end: Offset,
    /// The time of the records that are assigned and not yet durable.
    in_flight_ms: Option<i64>,
}

struct Lease {
    until_ms: i64,
    file: SlotFile,
}

impl Timeline {
    /// Makes the lease of a new log.
    pub(super) fn create(place: &Path) -> Result<(), LogError> {
        SlotFile::create(&place.join("floor"), &i64::MIN.to_le_bytes())
            .map_err(|error| fault::file("making the log", error))
    }

    /// Goes on from the bounds found and the highest time found or leased. Blocks until the clock has reached a lease.
    pub(super) fn open(
        place: &Path,
        clock: Clock,
        bounds: &[(Offset, Offset)],
        last_ms: i64,
    ) -> Result<Self, LogError> {
        let fail = |error| fault::file("the lease of the clock", error);
        let (file, content) = SlotFile::open(&place.join("floor"), 8).map_err(fail)?;
        let until_ms = content.and_then(|bytes| bytes.try_into().ok()).map(i64::from_le_bytes);
        let until_ms = until_ms.ok_or_else(|| LogError::Damaged("the lease of the clock is unreadable".into()))?;
        let floor_ms = last_ms.max(until_ms);
        // Further ahead than by a lease, it is the clock that fell, and nobody knows for how long.
        let ahead_ms = floor_ms.saturating_sub(clock());
        if (1..=LEASE_MS).contains(&ahead_ms) {
            thread::sleep(Duration::from_millis(ahead_ms.unsigned_abs()));
        }
        let partitions = bounds.iter().map(|&(begin, end)| Partition { begin, end, in_flight_ms: None });
        Ok(Self {
            clock,
            state: Mutex::new(State { floor_ms, partitions: partitions.collect() }),
            lease: Mutex::new(Lease { until_ms, file }),
            ends: bounds.iter().map(|&(_, end)| watch::Sender::new(end)).collect(),
        })
    }

    /// How many partitions there are.
    pub(super) fn partitions(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The first offset still there and the offset after the last durable one.
    pub(super) fn bounds(&self, partition: PartitionId) -> (Offset, Offset) {
        let state = self.state.lock();
        let partition = &state.partitions[partition as usize];
        (partition.begin, partition.end)
    }

    /// The durable ends of all partitions.
    pub(super) fn ends(&self) -> Vec<Offset> {
        self.state.lock().partitions.iter().map(|partition| partition.end).collect()
    }

    /// Follows the durable end of a partition.
    pub(super) fn follow(&self, partition: PartitionId) -> watch::Receiver<Offset> {
        self.ends[partition as usize].subscribe()
    }

    /// The time of records that are about to be written to these partitions. Until [`Timeline::publish`] names them,
    /// their tails stay at it.
    pub(super) fn assign(&self, partitions: impl Iterator<Item = PartitionId>) -> i64 {
        let mut state = self.state.lock();
        let time_ms = state.rise((self.clock)());
        for partition in partitions {
            state.partitions[partition as usize].in_flight_ms.get_or_insert(time_ms);
        }
        time_ms
    }

    /// The records up to these ends are durable: they can be read, and who waits for them is woken.
    pub(super) fn publish(&self, ends: &[(PartitionId, Offset)]) {
        let mut state = self.state.lock();
        for &(partition, end) in ends {
            let partition_state = &mut state.partitions[partition as usize];
            partition_state.end = end;
            partition_state.in_flight_ms = None;
            self.ends[partition as usize].send_replace(end);
        }
    }

    /// The records below `begin` are let go of.
    pub(super) fn begin_at(&self, partition: PartitionId, begin: Offset) {
        self.state.lock().partitions[partition as usize].begin = begin;
    }

    /// The highest time given so far.
    pub(super) fn floor_ms(&self) -> i64 {
        self.state.lock().floor_ms
    }

    /// The tail, if its time is within the lease; else `None`, and [`Timeline::extend_lease`] is due.
    pub(super) fn tail(&self, partition: PartitionId) -> Option<Tail> {
        let until_ms = self.lease.lock().until_ms;
        let mut state = self.state.lock();
        let end = state.partitions[partition as usize].end;
        let time_ms = match state.partitions[partition as usize].in_flight_ms {
            Some(time_ms) => time_ms,
            None => {
                let now_ms = (self.clock)();
                if now_ms.max(state.floor_ms) > until_ms {
                    return None;
                }
                state.rise(now_ms)
            }
        };
        (time_ms <= until_ms).then_some(Tail { end, time_ms })
    }

    /// Makes a longer lease durable. Blocks on the disk.
    pub(super) fn extend_lease(&self) -> Result<(), LogError> {
        let mut lease = self.lease.lock();
        let until_ms = (self.clock)().max(self.floor_ms()).saturating_add(LEASE_MS);
        if until_ms > lease.until_ms {
            lease.set(until_ms)?;
        }
        Ok(())
    }

    /// Ends the lease at the highest time given, so that the next life of the log needn't run ahead of the clock.
    /// Call it when no tail can be asked for any more. Blocks on the disk.
    pub(super) fn end_lease(&self) -> Result<(), LogError> {
        let floor_ms = self.floor_ms();
        self.lease.lock().set(floor_ms)
    }
}

impl State {
    fn rise(&mut self, now_ms: i64) -> i64 {
        self.floor_ms = self.floor_ms.max(now_ms);
        self.floor_ms
    }
}

impl Lease {
    fn set(&mut self, until_ms: i64) -> Result<(), LogError> {
        let written = self.file.write(&until_ms.to_le_bytes()).and_then(|()| self.file.sync());
        written.map_err(|error| LogError::Unavailable(format!("the lease of the clock can't be written: {error}")))?;
        self.until_ms = until_ms;
        Ok(())
    }
}
