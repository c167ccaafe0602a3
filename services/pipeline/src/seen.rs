//! Which event identities were seen, and where first.

use model::DAY_MS;

/// How long an identity counts once, from the arrival of its first event.
pub(crate) const WINDOW_MS: i64 = DAY_MS;
/// How often identities out of the window are let go.
const SWEEP_MS: i64 = model::HOUR_MS;
/// A power of two.
const SEGMENTS: usize = 256;
/// Slots of the smallest segment.
const FEWEST: usize = 64;
/// The largest place that is told apart; beyond is whatever lies in partitions that users went to.
const FAR: u64 = (1 << 48) - 1;

/// The identities of one partition: 88 bits of identity to the place and arrival of the first event that had it. 24 to 30 MB a million: see
/// [`Segment`]. Places are those of [`crate::block::Place::order`].
///
/// Of a hundred million known identities one is taken for that of a new event by chance once in 10^18 events.
#[derive(Debug)]
pub(crate) struct Seen {
    /// By the highest bits of the identity. Each grows and lets go by itself, and at another time, though all have as many: nothing waits for
    /// all of a large table to be moved, nor is it there twice meanwhile.
    segments: Vec<Segment>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { segments: (0..SEGMENTS).map(Segment::new).collect() }
    }
}

impl Seen {
    /// Whether an event with this identity came before the record at `at`, within the window. If not, it is the first now.
    ///
    /// A record is a duplicate only of one with a lower place, so a replay never condemns itself; and of none before `since`, where
    /// its user begins: what an erased user sent no longer counts, be it still known or not.
    pub(crate) fn is_duplicate(&mut self, identity: u128, at: u64, received_ms: i64, since: u64) -> bool {
        let segment = self.segment(identity);
        segment.let_go(received_ms);
        let slot = segment.slot_of(identity);
        if let Some((first, arrived)) = segment.get(slot)
            && (since..at).contains(&first)
            && age_ms(received_ms, arrived) < WINDOW_MS
        {
            return true;
        }
        segment.put(slot, identity, at, received_ms);
        false
    }

    /// Puts back what the warehouse holds: of several rows of an identity the newest that started a window.
    pub(crate) fn restore(&mut self, identity: u128, at: u64, received_ms: i64) {
        let segment = self.segment(identity);
        let slot = segment.slot_of(identity);
        let is_newer = |(first, arrived)| at > first || (at == first && age_ms(received_ms, arrived) > 0);
        if segment.get(slot).is_none_or(is_newer) {
            segment.put(slot, identity, at, received_ms);
        }
    }

    fn segment(&mut self, identity: u128) -> &mut Segment {
        &mut self.segments[(identity >> (128 - SEGMENTS.ilog2())) as usize]
    }
}

/// A table by open addressing with linear probing, in three columns: a search reads the marks alone. It is 68 to 85 % full and grows by a quarter, so
/// an identity takes 20 bytes / 0.85 to 20 bytes / 0.68.
#[derive(Debug)]
struct Segment {
    number: usize,
    /// The lowest 64 bits of identities, 0 where there is none. The slot follows from them.
    marks: Vec<u64>,
    /// 48 bits of place, and 16 more of the identity.
    firsts: Vec<u64>,
    /// The lowest 32 bits of the arrival, ms. What is known arrived within a day of `newest_ms`, so these tell it.
    arrivals: Vec<u32>,
    used: usize,
    newest_ms: i64,
    swept_ms: i64,
}

impl Segment {
    fn new(number: usize) -> Self {
        let [marks, firsts] = [const { Vec::new() }; 2];
        Self { number, marks, firsts, arrivals: Vec::new(), used: 0, newest_ms: 0, swept_ms: 0 }
    }

    /// Where the identity is, or would be put: a slot that is free, or beyond the last while there are none.
    fn slot_of(&self, identity: u128) -> usize {
        let (mark, more) = bits(identity);
        let mut slot = self.first_slot(mark);
        while let Some(there) = self.marks.get(slot) {
            if *there == 0 || (*there == mark && self.firsts[slot] & 0xFFFF == more) {
                break;
            }
            slot = if slot + 1 == self.marks.len() { 0 } else { slot + 1 };
        }
        slot
    }

    /// In the order of the marks, so that a table that grows is read and written from one end to the other.
    fn first_slot(&self, mark: u64) -> usize {
        ((u128::from(mark) * self.marks.len() as u128) >> 64) as usize
    }

    /// The place and the arrival of what is in the slot.
    fn get(&self, slot: usize) -> Option<(u64, u32)> {
        let is_used = self.marks.get(slot).is_some_and(|mark| *mark != 0);
        is_used.then(|| {
            let first = self.firsts[slot] >> 16;
            (if first == FAR { u64::MAX } else { first }, self.arrivals[slot])
        })
    }

    /// Puts the identity into its slot.
    fn put(&mut self, mut slot: usize, identity: u128, at: u64, received_ms: i64) {
        self.newest_ms = self.newest_ms.max(received_ms);
        let (mark, more) = bits(identity);
        if self.marks.get(slot).is_none_or(|mark| *mark == 0) {
            if (self.used + 1) * 20 > self.marks.len() * 17 {
                // From other beginnings, so that they don't all grow at once.
                let first = FEWEST + FEWEST / 4 * self.number / SEGMENTS;
                self.resize((self.marks.len() * 5 / 4).max(first), |_| true);
                slot = self.slot_of(identity);
            }
            self.used += 1;
        }
        self.marks[slot] = mark;
        self.firsts[slot] = at.min(FAR) << 16 | more;
        self.arrivals[slot] = received_ms as u32;
    }

    /// Lets go of what is out of the window, now and again.
    fn let_go(&mut self, now_ms: i64) {
        if now_ms - self.newest_ms >= WINDOW_MS {
            *self = Self::new(self.number);
        }
        if self.swept_ms == 0 {
            self.swept_ms = now_ms - SWEEP_MS * self.number as i64 / SEGMENTS as i64;
        }
        if now_ms - self.swept_ms < SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        let is_kept = |arrived: u32| age_ms(now_ms, arrived) < WINDOW_MS;
        let kept =
            self.marks.iter().zip(&self.arrivals).filter(|(mark, arrived)| **mark != 0 && is_kept(**arrived)).count();
        if kept < self.used {
            self.resize(kept * 5 / 4 + 16, is_kept);
        }
    }

    fn resize(&mut self, slots: usize, is_kept: impl Fn(u32) -> bool) {
        let (marks, firsts, arrivals) = (vec![0; slots], vec![0; slots], vec![0; slots]);
        let before = std::mem::replace(self, Self { marks, firsts, arrivals, used: 0, ..*self });
        for ((mark, first), arrived) in before.marks.into_iter().zip(before.firsts).zip(before.arrivals) {
            if mark == 0 || !is_kept(arrived) {
                continue;
            }
            let mut slot = self.first_slot(mark);
            while self.marks[slot] != 0 {
                slot = if slot + 1 == slots { 0 } else { slot + 1 };
            }
            (self.marks[slot], self.firsts[slot], self.arrivals[slot]) = (mark, first, arrived);
            self.used += 1;
        }
    }
}

/// What is kept of an identity beside its segment: its mark, and 16 bits more.
fn bits(identity: u128) -> (u64, u64) {
    ((identity as u64).max(1), (identity >> 64) as u64 & 0xFFFF)
}

/// How long after an arrival, of which the lowest bits are known, this is; less than nothing, before it. Right within 24 days.
fn age_ms(now_ms: i64, arrived: u32) -> i64 {
    i64::from((now_ms as u32).wrapping_sub(arrived) as i32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

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

    /// The same by the book.
    #[derive(Default)]
    struct Book(HashMap<u128, (u64, i64)>);

    impl Book {
        fn is_duplicate(&mut self, identity: u128, at: u64, received_ms: i64, since: u64) -> bool {
            let known = self.0.get(&identity);
            let is_known = known
                .is_some_and(|(first, arrived_ms)| (since..at).contains(first) && received_ms - arrived_ms < WINDOW_MS);
            if !is_known {
                self.0.insert(identity, (at, received_ms));
            }
            is_known
        }
    }

    #[test]
    fn any_sequence_is_told_as_by_the_book() {
        let seed = std::env::var("PENSTOCK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
        println!("PENSTOCK_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (mut seen, mut book, mut now_ms) = (Seen::default(), Book::default(), T);
        let mut identities: Vec<u128> = Vec::new();
        for at in 1..40_000 {
            // A day in all, and sometimes a silence of up to forty.
            now_ms += random.random_range(0..4_000);
            if random.random_ratio(1, 5_000) {
                now_ms += random.random_range(0..40 * 86_400_000);
            }
            // Of one segment and of all, with bits in common.
            let new = random.random::<u128>() >> [0, 8, 64, 100][random.random_range(0..4)];
            let identity = *identities.choose(&mut random).filter(|_| at % 3 > 0).unwrap_or(&new);
            identities.push(identity);
            let place = match random.random_range(0..100) {
                0 => 0,
                1 => u64::MAX,
                _ => at,
            };
            let since = if at % 10 == 0 { at.saturating_sub(random.random_range(0..1_000)) } else { 0 };
            let told = seen.is_duplicate(identity, place, now_ms, since);
            assert_eq!(told, book.is_duplicate(identity, place, now_ms, since), "{identity:x} at {at}");
        }
    }

    #[test]
    fn a_million_takes_thirty_megabytes_at_most_and_what_is_old_nothing() {
        let mut random = StdRng::seed_from_u64(7);
        let bytes = |seen: &Seen| seen.segments.iter().map(|segment| 20 * segment.marks.capacity()).sum::<usize>();
        let mut seen = Seen::default();
        for at in 1..=300_000 {
            assert!(!seen.is_duplicate(random.random(), at, T, 0));
            if at % 30_000 == 0 {
                assert!((23 * at..30 * at).contains(&(bytes(&seen) as u64)), "{} at {at}", bytes(&seen));
            }
        }
        for at in 0..10_000 {
            seen.is_duplicate(random.random(), 2_000_000 + at, T + WINDOW_MS - 1, 0);
        }
        assert!(bytes(&seen) > 6_000_000, "all of it still counts");
        for at in 0..10_000 {
            seen.is_duplicate(random.random(), 3_000_000 + at, T + WINDOW_MS + SWEEP_MS, 0);
        }
        assert!(bytes(&seen) < 1_000_000, "{}", bytes(&seen));
    }

    #[test]
    fn segments_grow_one_after_the_other() {
        let mut random = StdRng::seed_from_u64(7);
        let mut seen = Seen::default();
        let sizes = |seen: &Seen| -> Vec<_> { seen.segments.iter().map(|segment| segment.marks.len()).collect() };
        let (mut before, mut most, mut all) = (sizes(&seen), 0, 0);
        for at in 1..=500_000 {
            seen.is_duplicate(random.random(), at, T, 0);
            if at > 400_000 && at % 4_000 == 0 {
                let grown = sizes(&seen).iter().zip(&before).filter(|(now, before)| now != before).count();
                (most, all) = (most.max(grown), all + grown);
            }
            if at % 4_000 == 0 {
                before = sizes(&seen);
            }
        }
        assert!((200..312).contains(&all), "by a quarter, so each once: {all}");
        assert!(most < 40, "{most} of {SEGMENTS} within a hundredth");
    }
}
