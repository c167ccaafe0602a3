//! Visits as they happen, for ever.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use rand::RngExt;

use super::{Density, Made, Users, visits::Visits};

/// How many events a visit has on average.
const EVENTS_OF_A_VISIT: f64 = 4.33;

/// Events in the order of their times, UTC ms, so many a second on average: each visit begins at a time of its own and goes on beside the others.
pub struct Live<'a> {
    visits: Visits<'a>,
    /// From the start of a visit to that of the next, on average.
    gap_ms: f64,
    next_ms: f64,
    /// What is yet to happen of the visits that began, by time and number.
    order: BinaryHeap<Reverse<(i64, u64)>>,
    events: BTreeMap<u64, Made>,
}

impl<'a> Live<'a> {
    /// From an instant on, when nobody is there yet. `events_per_second` is above 0.
    pub fn new(seed: u64, users: &'a Users, events_per_second: f64, from_ms: i64) -> Self {
        Self {
            visits: Visits::new(seed, users, Density::Natural),
            gap_ms: EVENTS_OF_A_VISIT / events_per_second * 1e3,
            next_ms: from_ms as f64,
            order: BinaryHeap::new(),
            events: BTreeMap::new(),
        }
    }
}

impl Iterator for Live<'_> {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        // Nothing that begins later comes before.
        while self.order.peek().is_none_or(|Reverse((at_ms, _))| self.next_ms <= *at_ms as f64) {
            for event in self.visits.visit(self.next_ms as i64) {
                self.order.push(Reverse((event.at_ms, event.number)));
                self.events.insert(event.number, event);
            }
            // Visitors don't know of one another: the times between them are exponential.
            self.next_ms -= self.gap_ms * (1.0 - self.visits.rng.random::<f64>()).ln();
        }
        let Reverse((_, number)) = self.order.pop()?;
        self.events.remove(&number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A Wednesday, 12:34 UTC.
    const NOW_MS: i64 = 1_790_166_840_000;

    #[test]
    fn events_come_in_order_at_their_rate() {
        let users = Users::new(1);
        // The first minutes have none of the visits that began before.
        let events: Vec<_> = Live::new(1, &users, 20.0, NOW_MS).take(60_000).skip(20_000).collect();
        assert!(events.is_sorted_by_key(|event| event.at_ms));
        let seconds = (events[events.len() - 1].at_ms - events[0].at_ms) as f64 / 1e3;
        let rate = events.len() as f64 / seconds;
        assert!((18.0..22.0).contains(&rate), "{rate}");
        let numbers: BTreeSet<_> = events.iter().map(|event| event.number).collect();
        assert_eq!(numbers.len(), events.len(), "each has a number of its own");
        assert!(events[..20].iter().any(|event| event.user != events[0].user), "visits go on side by side");
    }
}
