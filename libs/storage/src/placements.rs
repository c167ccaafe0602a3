use std::time::Duration;

use async_trait::async_trait;
use model::{Offset, PartitionId};
use serde::{Deserialize, Serialize};

use crate::{MetaError, Topic};

/// For how long a writer goes by what it knows of a placement that changes, from when it asked. One that hears nothing more for so long
/// acknowledges nothing.
pub const CHANGING_HOLDS: Duration = Duration::from_secs(5);

/// How a topic's records are spread over its partitions, now and before.
///
/// A record goes to the partition that its user's hash says ([`model::partition_of`]), of as many as there are. More partitions are always a
/// multiple of those before: so a new partition p has the users of the old partition p modulo their number and no others, and each
/// user's records, in the order of their (partition, offset), are in the order in which they were appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// How many partitions there were in the beginning.
    pub first: u32,
    /// How they grew, the earliest first.
    pub grown: Vec<Grown>,
    /// The growth under way.
    pub growing: Option<Growing>,
    /// Rises with each change.
    pub version: u64,
}

/// A growth that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grown {
    /// How many partitions there were after it.
    pub to: u32,
    /// Of each partition that there was before the offset from which on records are placed by the new number.
    pub ends: Vec<Offset>,
}

/// A growth under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growing {
    /// How many partitions there will be.
    pub to: u32,
    /// Whether writers stand still: what they append may no longer be placed by the old number.
    pub paused: bool,
}

/// A process that appends to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Its name: unique.
    pub name: String,
    /// The version of the placement that it acts by. One of a pause: nothing of what it appended before is under way.
    pub version: u64,
    /// For how long it goes by what it knows of a placement that doesn't change, ms.
    pub holds_ms: u64,
    /// When it was heard of last, UTC ms by its own clock.
    pub heard_ms: i64,
}

impl Placement {
    /// That of a topic that never grew.
    pub fn new(partitions: u32) -> Self {
        Self { first: partitions, grown: Vec::new(), growing: None, version: 0 }
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        self.grown.last().map_or(self.first, |grown| grown.to)
    }

    /// Where partition `p` got its first users from: (partition, the offset up to which records were theirs), the nearest first. Before
    /// the first record of `p` is worked on, all of that is.
    pub fn ancestors(&self, p: PartitionId) -> Vec<(PartitionId, Offset)> {
        let mut ancestors = Vec::new();
        let mut p = p;
        for (before, grown) in self.growths().rev() {
            if p >= before && p < grown.to {
                p %= before;
                ancestors.push((p, grown.ends.get(p as usize).copied().unwrap_or(0)));
            }
        }
        ancestors
    }

    /// How many partitions there were since there is partition `p`: the users that it began with are those placed there by that number.
    pub fn since(&self, p: PartitionId) -> u32 {
        let growth = self.grown.iter().find(|grown| p < grown.to);
        if p < self.first { self.first } else { growth.map_or(self.partitions(), |grown| grown.to) }
    }

    /// All other partitions that may have records of users of partition `p`: of before, and of after.
    pub fn relatives(&self, p: PartitionId) -> Vec<PartitionId> {
        let comes_from = |q, p| self.ancestors(q).iter().any(|(ancestor, _)| *ancestor == p);
        (0..self.partitions()).filter(|q| *q != p && (comes_from(*q, p) || comes_from(p, *q))).collect()
    }

    /// By how many partitions the record at this offset of partition `p` was to be placed, if a writer may have placed it by another number: one
    /// that was, was never acknowledged.
    pub fn partitions_at(&self, p: PartitionId, offset: Offset) -> Option<u32> {
        let is_after = |grown: &&Grown| grown.ends.get(p as usize).is_some_and(|end| offset >= *end);
        self.grown.iter().rev().find(is_after).map(|grown| grown.to)
    }

    /// Each growth and how many partitions there were before.
    fn growths(&self) -> impl DoubleEndedIterator<Item = (u32, &Grown)> {
        self.grown.iter().enumerate().map(|(i, grown)| match i.checked_sub(1) {
            Some(before) => (self.grown[before].to, grown),
            None => (self.first, grown),
        })
    }
}

/// Where records go, and how that changes while they do.
///
/// A topic grows in three steps. It is **announced**: writers go on as before, but from now on go by what they know no longer than
/// [`CHANGING_HOLDS`]. They are **paused**: each says when nothing of its own is under way. Then it is **cut**: from the ends that the
/// partitions have by now on records are placed by the new number. Who doesn't answer is waited for as long as it goes by what it knows; what
/// it appends later it doesn't acknowledge, and who reads the partition passes over it ([`Placement::partitions_at`]).
#[async_trait]
pub trait Placements: Send + Sync + 'static {
    /// The topic's placement. Of one never heard of before: it has `partitions`.
    async fn placement(&self, topic: &Topic, partitions: u32) -> Result<Placement, MetaError>;

    /// Says that a writer is there and acts by `writer.version`; returns the placement as of after that.
    async fn confirm(&self, topic: &Topic, partitions: u32, writer: &Writer) -> Result<Placement, MetaError>;

    /// The writers that are there, or may be.
    async fn writers(&self, topic: &Topic) -> Result<Vec<Writer>, MetaError>;

    /// Forgets a writer that is gone.
    async fn forget_writer(&self, topic: &Topic, name: &str) -> Result<(), MetaError>;

    /// Announces a growth; again changes nothing. `NotFound` if nobody ever asked for the topic's placement; `Conflict` while it grows to another
    /// number, or if `to` is not a multiple of the partitions that there are.
    async fn grow(&self, topic: &Topic, to: u32) -> Result<Placement, MetaError>;

    /// Has writers pause, or go on again. `Conflict` unless a growth of this version is under way.
    async fn pause(&self, topic: &Topic, version: u64, paused: bool) -> Result<Placement, MetaError>;

    /// Ends a growth of this version whose writers are paused: records are placed by the new number from `ends` on, or where a partition's worker is further
    /// already from there. The new partitions are in the ledger from now on, complete up to where those are that their users come from. `Conflict`
    /// if it is another version or not paused, or while a replay isn't finished.
    ///
    /// It is atomic with [`crate::Ledger::begin`], as [`crate::Erasures::request_erasure`] is.
    async fn cut(&self, topic: &Topic, version: u64, ends: &[Offset]) -> Result<Placement, MetaError>;
}

#[cfg(test)]
mod tests {
    use model::partition_of;

    use super::*;

    fn grown_twice() -> Placement {
        let grown = vec![Grown { to: 4, ends: vec![100, 200] }, Grown { to: 8, ends: vec![150, 250, 30, 40] }];
        Placement { first: 2, grown, growing: None, version: 9 }
    }

    #[test]
    fn a_partition_s_users_come_from_those_before() {
        let placement = grown_twice();
        assert_eq!(placement.partitions(), 8);
        assert!(placement.ancestors(0).is_empty());
        assert_eq!(placement.ancestors(3), [(1, 200)]);
        assert_eq!(placement.ancestors(5), [(1, 250)]);
        assert_eq!(placement.ancestors(7), [(3, 40), (1, 200)]);
        assert_eq!(placement.relatives(1), [3, 5, 7]);
        assert_eq!(placement.relatives(7), [1, 3]);
        assert!(Placement::new(4).relatives(1).is_empty());
    }

    #[test]
    fn a_record_is_where_the_number_of_its_time_says() {
        let placement = grown_twice();
        let at = |p, offset| placement.partitions_at(p, offset);
        assert_eq!([at(0, 99), at(0, 100), at(0, 149), at(0, 150)], [None, Some(4), Some(4), Some(8)]);
        assert_eq!([at(3, 0), at(3, 39), at(3, 40), at(7, 0)], [None, None, Some(8), None]);
        assert_eq!(Placement::new(4).partitions_at(1, 0), None);
        assert_eq!([0, 1, 2, 3, 4, 7].map(|p| placement.since(p)), [2, 2, 4, 4, 8, 8]);
    }

    #[test]
    fn a_user_s_partitions_rise() {
        let placement = grown_twice();
        for user in 0..100 {
            let user = format!("u{user}");
            let all = [2, 4, 8].map(|partitions| partition_of("acme", "web", &user, "", partitions));
            let ancestors = placement.ancestors(all[2]);
            assert!(all.is_sorted(), "{all:?}");
            assert!(all.iter().all(|p| *p == all[2] || ancestors.iter().any(|(a, _)| a == p)), "{all:?} {ancestors:?}");
        }
    }
}
