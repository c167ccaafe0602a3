use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// A partition of the event log, from 0.
pub type PartitionId = u32;

/// A record's place in its partition, from 0, without gaps that a reader could mistake for loss.
pub type Offset = u64;

/// One life of a topic. A recreated topic starts a new one; it orders before the offset.
pub type Incarnation = u64;

/// How far a reader or writer has come: for each partition named, the offset *after* the last record covered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The life of the log that the offsets belong to.
    pub incarnation: Incarnation,
    /// (partition, end offset), ascending by partition, each once.
    pub ends: Vec<(PartitionId, Offset)>,
}

impl Position {
    /// Takes offsets in any order; of several for one partition the highest counts.
    pub fn new(incarnation: Incarnation, mut ends: Vec<(PartitionId, Offset)>) -> Self {
        ends.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        ends.dedup_by_key(|end| end.0);
        Self { incarnation, ends }
    }

    /// The least position that covers both.
    #[must_use]
    pub fn join(mut self, mut other: Self) -> Self {
        match self.incarnation.cmp(&other.incarnation) {
            Ordering::Less => other,
            Ordering::Greater => self,
            Ordering::Equal => {
                self.ends.append(&mut other.ends);
                Self::new(self.incarnation, self.ends)
            }
        }
    }

    /// Whether everything in `wanted` is covered. A later life covers all of an earlier one.
    pub fn covers(&self, wanted: &Self) -> bool {
        if self.incarnation != wanted.incarnation {
            return self.incarnation > wanted.incarnation;
        }
        wanted
            .ends
            .iter()
            .all(|&(partition, end)| end == 0 || self.ends.iter().any(|&(p, reached)| p == partition && reached >= end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_is_by_every_partition_and_by_life() {
        let reached = Position::new(1, vec![(1, 5), (0, 9), (1, 3)]);
        assert_eq!(reached.ends, [(0, 9), (1, 5)]);
        assert!(reached.covers(&Position::new(1, vec![(0, 9)])));
        assert!(reached.covers(&Position::new(1, vec![(2, 0)])));
        assert!(!reached.covers(&Position::new(1, vec![(0, 9), (1, 6)])));
        assert!(!reached.covers(&Position::new(1, vec![(2, 1)])));
        assert!(reached.covers(&Position::new(0, vec![(7, 99)])));
        assert!(!reached.covers(&Position::new(2, vec![])));
    }

    #[test]
    fn what_joins_two_covers_both_and_no_more() {
        let (one, other) = (Position::new(1, vec![(0, 9), (1, 5)]), Position::new(1, vec![(1, 7), (2, 1)]));
        assert_eq!(one.clone().join(other.clone()), Position::new(1, vec![(0, 9), (1, 7), (2, 1)]));
        let later = Position::new(2, vec![(0, 1)]);
        assert_eq!(one.clone().join(later.clone()), later);
        assert_eq!(later.clone().join(one), later);
    }
}
