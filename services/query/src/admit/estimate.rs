//! What a query is expected to read, from what others read there before.

use std::{collections::HashMap, ops::Range};

use api::v1;
use model::{AppId, HOUR_MS, TenantId};
use parking_lot::Mutex;

/// What is expected of a place of which nothing is known yet, in bytes.
const UNKNOWN_BYTES: f64 = 16e6;
/// What the last query counts in the mean.
const RECENT: f64 = 0.2;
/// Places that are remembered; when there are more all are forgotten, which costs a few wrong guesses.
const MOST_PLACES: usize = 100_000;

/// How much time a query is about, as far as that is bounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Extent {
    /// Hours of event time.
    Hours(f64),
    /// From the beginning on.
    All,
}

impl Extent {
    /// That of event times, UTC ms; an open end is now.
    pub(crate) fn of(times: &[Range<i64>], now_ms: i64) -> Self {
        if times.is_empty() || times.iter().any(|times| times.start == i64::MIN) {
            return Self::All;
        }
        let ms: i64 = times.iter().map(|times| times.end.min(now_ms).saturating_sub(times.start).max(0)).sum();
        Self::Hours((ms as f64 / HOUR_MS as f64).max(1.0))
    }
}

/// What queries read, by where they read it.
#[derive(Default)]
pub(crate) struct Estimates(Mutex<HashMap<Place, Rates>>);

/// An app's rows in one of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) tenant: TenantId,
    pub(crate) app: AppId,
    /// Where answers come from: the events, or what is kept beside them.
    pub(crate) route: v1::Route,
}

/// In bytes; none before the first such query.
#[derive(Default)]
struct Rates {
    an_hour: Option<f64>,
    all: Option<f64>,
}

impl Rates {
    /// The rate that a query of this extent goes by, and how often.
    fn of(&mut self, extent: Extent) -> (&mut Option<f64>, f64) {
        match extent {
            Extent::Hours(hours) => (&mut self.an_hour, hours),
            Extent::All => (&mut self.all, 1.0),
        }
    }
}

impl Estimates {
    /// How many bytes a query there is expected to read.
    pub(crate) fn expect(&self, place: &Place, extent: Extent) -> u64 {
        let mut places = self.0.lock();
        let known = places.get_mut(place).and_then(|rates| {
            let (rate, times) = rates.of(extent);
            rate.map(|rate| rate * times)
        });
        known.unwrap_or(UNKNOWN_BYTES) as u64
    }

    /// Learns what one read.
    pub(crate) fn learn(&self, place: Place, extent: Extent, bytes: u64) {
        let mut places = self.0.lock();
        if places.len() >= MOST_PLACES {
            places.clear();
        }
        let (rate, times) = places.entry(place).or_default().of(extent);
        let read = bytes as f64 / times;
        *rate = Some(rate.map_or(read, |mean| mean + RECENT * (read - mean)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_range_reads_more_and_places_differ() {
        let estimates = Estimates::default();
        let (tenant, app) = (TenantId::new("t").unwrap(), AppId::new("a").unwrap());
        let events = Place { tenant, app, route: v1::Route::Raw };
        let rollup = Place { route: v1::Route::Rollup, ..events.clone() };
        let day = Extent::Hours(24.0);
        for _ in 0..50 {
            estimates.learn(events.clone(), day, 24_000_000);
            estimates.learn(events.clone(), Extent::All, 7_000_000_000);
        }
        assert_eq!(estimates.expect(&events, Extent::Hours(2.0)), 2_000_000);
        assert_eq!(estimates.expect(&events, Extent::All), 7_000_000_000);
        assert_eq!(estimates.expect(&rollup, day), UNKNOWN_BYTES as u64);
    }

    #[test]
    fn an_open_end_is_now_and_an_open_beginning_everything() {
        let within = |times: Range<i64>, now_ms| Extent::of(&[times], now_ms);
        assert_eq!(within(HOUR_MS..i64::MAX, 5 * HOUR_MS), Extent::Hours(4.0));
        assert_eq!(Extent::of(&[0..HOUR_MS, 5 * HOUR_MS..7 * HOUR_MS], 9 * HOUR_MS), Extent::Hours(3.0));
        assert_eq!(within(i64::MIN..HOUR_MS, HOUR_MS), Extent::All);
    }
}
