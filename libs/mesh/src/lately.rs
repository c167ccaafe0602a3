//! How calls went of late, for people who look and have no Prometheus: counts and times of the last minute.

use std::{
    collections::BTreeMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::telemetry::SECONDS;

/// How long a slot counts into, and how many are kept: the last minute, and what has begun of the next slot.
const SLOT: Duration = Duration::from_secs(10);
const SLOTS: usize = 7;

static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);
static CALLS: LazyLock<Mutex<BTreeMap<&'static str, Window>>> = LazyLock::new(Mutex::default);

/// Calls of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calls {
    /// How many.
    pub calls: u64,
    /// How many of them failed by no fault of the caller.
    pub failed: u64,
    /// Seconds that half of them took at most, interpolated as Prometheus' `histogram_quantile` does.
    pub p50_seconds: f64,
    /// The same of 99 %.
    pub p99_seconds: f64,
}

/// Whether a call of this outcome failed by no fault of the caller.
pub fn is_failure(code: &str) -> bool {
    matches!(code, "INTERNAL" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "UNKNOWN" | "DATA_LOSS")
}

/// Counts a call.
pub fn record(kind: &'static str, code: &str, seconds: f64) {
    CALLS.lock().entry(kind).or_default().record(slot_now(), is_failure(code), seconds);
}

/// The calls of the last minute, by kind; none of kinds that had none.
pub fn calls() -> Vec<(&'static str, Calls)> {
    let slot = slot_now();
    let all = CALLS.lock();
    all.iter().map(|(kind, window)| (*kind, window.calls(slot))).filter(|(_, calls)| calls.calls > 0).collect()
}

fn slot_now() -> u64 {
    SINCE.elapsed().as_secs() / SLOT.as_secs()
}

#[derive(Default)]
struct Window([Slot; SLOTS]);

#[derive(Clone, Copy, Default)]
struct Slot {
    number: u64,
    failed: u64,
    /// By the bounds of [`SECONDS`], and beyond.
    buckets: [u64; SECONDS.len() + 1],
}

impl Window {
    fn record(&mut self, number: u64, failed: bool, seconds: f64) {
        let slot = &mut self.0[(number % SLOTS as u64) as usize];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        slot.failed += u64::from(failed);
        slot.buckets[SECONDS.partition_point(|le| *le < seconds)] += 1;
    }

    fn calls(&self, now: u64) -> Calls {
        let (mut failed, mut buckets) = (0, [0; SECONDS.len() + 1]);
        for slot in self.0.iter().filter(|slot| slot.number <= now && now - slot.number < SLOTS as u64) {
            failed += slot.failed;
            for (sum, more) in buckets.iter_mut().zip(slot.buckets) {
                *sum += more;
            }
        }
        let [p50_seconds, p99_seconds] = [0.5, 0.99].map(|q| quantile(&buckets, q));
        Calls { calls: buckets.iter().sum(), failed, p50_seconds, p99_seconds }
    }
}

/// Within the bucket as if its values lay evenly; beyond the last bound, that.
fn quantile(buckets: &[u64; SECONDS.len() + 1], q: f64) -> f64 {
    let rank = q * buckets.iter().sum::<u64>() as f64;
    let (mut below, mut from) = (0.0, 0.0);
    for (number, to) in buckets.iter().zip(SECONDS) {
        let number = *number as f64;
        if number > 0.0 && below + number >= rank {
            return from + (to - from) * (rank - below) / number;
        }
        (below, from) = (below + number, to);
    }
    if rank > 0.0 { from } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_told_and_nothing_older() {
        let mut window = Window::default();
        for _ in 0..99 {
            window.record(10, false, 0.0015);
        }
        window.record(11, true, 7.0);
        let told = window.calls(11);
        assert_eq!((told.calls, told.failed), (100, 1));
        assert!((0.001..0.002).contains(&told.p50_seconds), "{told:?}");
        assert!((told.p99_seconds - 0.002).abs() < 1e-9, "{told:?}");
        assert_eq!(window.calls(16).calls, 100);
        let told = window.calls(17);
        assert_eq!((told.calls, told.failed), (1, 1));
        assert!((5.0..=10.0).contains(&told.p99_seconds), "{told:?}");
        assert_eq!(window.calls(18), Calls::default());
        // What takes the place of a slot doesn't add to it.
        window.record(17, false, 100.0);
        let told = window.calls(18);
        assert_eq!((told.calls, told.failed), (1, 0));
        assert_eq!(told.p99_seconds, 30.0, "beyond the last bound");
    }
}
