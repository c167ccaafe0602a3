//! Which event identities were seen, and where first.

use std::collections::hash_map::Entry;

use ahash::{HashMap, HashMapExt};
use model::DAY_MS;

/// How long an identity counts once, from the arrival of its first event.
pub(crate) const WINDOW_MS: i64 = DAY_MS;
/// How often identities out of the window are let go.
const SWEEP_MS: i64 = model::HOUR_MS;

/// The identities of one partition: 128 bits of identity to the place and arrival of the first event that had it. Some
/// 50 MB a million. Places are those of [`crate::block::Place::order`].
#[derive(Debug, Default)]
pub(crate) struct Seen {
    first: HashMap<u128, (u64, i64)>,
    swept_ms: i64,
}

impl Seen {
    /// Whether an event with this identity came before the record at `at`, within the window. If not, it is the first now.
    ///
    /// A record is a duplicate only of one with a lower place, so a replay never condemns itself; and of none before `since`, where
    /// its user begins: what an erased user sent no longer counts, be it still known or not.
    pub(crate) fn is_duplicate(&mut self, identity: u128, at: u64, received_ms: i64, since: u64) -> bool {
        self.sweep(received_ms);
        match self.first.entry(identity) {
            Entry::Vacant(vacant) => {
                vacant.insert((at, received_ms));
                false
            }
            Entry::Occupied(mut there) => {
                let (first, arrived_ms) = *there.get();
                if (since..at).contains(&first) && received_ms - arrived_ms < WINDOW_MS {
                    return true;
                }
                there.insert((at, received_ms));
                false
            }
        }
    }

    /// Puts back what the warehouse holds: of several rows of an identity the newest that started a window.
    pub(crate) fn restore(&mut self, identity: u128, at: u64, received_ms: i64) {
        let kept = self.first.entry(identity).or_insert((at, received_ms));
        *kept = (at, received_ms).max(*kept);
    }

    fn sweep(&mut self, now_ms: i64) {
        if now_ms - self.swept_ms < SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        self.first.retain(|_, (_, arrived_ms)| now_ms - *arrived_ms < WINDOW_MS);
        if self.first.len() < self.first.capacity() / 4 {
            let mut smaller = HashMap::with_capacity(self.first.len());
            smaller.extend(self.first.drain());
            self.first = smaller;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_790_000_000_000;

    #[test]
    fn an_identity_counts_once_within_a_day_of_its_first_arrival() {
        let mut seen = Seen::default();
        assert!(!seen.is_duplicate(7, 10, T, 0));
        assert!(seen.is_duplicate(7, 11, T, 0));
        assert!(!seen.is_duplicate(8, 12, T, 0));
        assert!(seen.is_duplicate(7, 13, T + WINDOW_MS - 1, 0));
        assert!(!seen.is_duplicate(7, 14, T + WINDOW_MS, 0));
        assert!(seen.is_duplicate(7, 15, T + WINDOW_MS + 1, 0));
    }

    #[test]
    fn a_replay_does_not_condemn_itself() {
        let mut seen = Seen::default();
        seen.restore(7, 10, T); // already in the warehouse, from the pending range
        seen.restore(9, 11, T);
        assert!(!seen.is_duplicate(7, 10, T, 0));
        assert!(seen.is_duplicate(7, 12, T, 0));
        assert!(!seen.is_duplicate(9, 5, T, 0), "a lower offset came first, whatever was restored");
        assert!(seen.is_duplicate(9, 11, T, 0));
    }

    #[test]
    fn what_was_before_its_user_does_not_count() {
        let mut seen = Seen::default();
        assert!(!seen.is_duplicate(7, 10, T, 0));
        assert!(!seen.is_duplicate(7, 20, T, 15), "an erased user's");
        assert!(seen.is_duplicate(7, 21, T, 15));
        assert!(seen.is_duplicate(7, 22, T, 20), "the first offset is the new user's");
    }
}
