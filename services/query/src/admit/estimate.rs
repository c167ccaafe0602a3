//! What a query is expected to read, from what others read there before, and how long the warehouse is expected to work at that.

use std::{collections::HashMap, ops::Range, time::Duration};

use api::v1;
use model::{AppId, HOUR_MS, TenantId};
use parking_lot::Mutex;
use storage::warehouse::ReadCost;

/// What is expected of a place of which nothing is known yet.
const UNKNOWN: ReadCost = ReadCost { rows: 200_000, bytes: 16_000_000 };
/// How long the warehouse works at a byte, in ns, before a query was analyzed there: the order of what a large one takes. A small one, whose time
/// goes to its parts, takes more.
const UNKNOWN_NS: f64 = 1.0;
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

/// None before the first such query.
#[derive(Default)]
struct Rates {
    an_hour: Option<Rate>,
    all: Option<Rate>,
    ns_a_byte: Option<f64>,
}

#[derive(Clone, Copy)]
struct Rate {
    rows: f64,
    bytes: f64,
}

impl Rates {
    /// The rate that a query of this extent goes by, and how often.
    fn of(&mut self, extent: Extent) -> (&mut Option<Rate>, f64) {
        match extent {
            Extent::Hours(hours) => (&mut self.an_hour, hours),
            Extent::All => (&mut self.all, 1.0),
        }
    }
}

impl Estimates {
    /// What a query there is expected to read.
    pub(crate) fn expect(&self, place: &Place, extent: Extent) -> ReadCost {
        let mut places = self.0.lock();
        let known = places.get_mut(place).and_then(|rates| {
            let (rate, times) = rates.of(extent);
            rate.map(|rate| ReadCost { rows: (rate.rows * times) as u64, bytes: (rate.bytes * times) as u64 })
        });
        known.unwrap_or(UNKNOWN)
    }

    /// Learns what one read.
    pub(crate) fn learn(&self, place: Place, extent: Extent, read: ReadCost) {
        let mut places = self.0.lock();
        let (rate, times) = at(&mut places, place).of(extent);
        let read = Rate { rows: read.rows as f64 / times, bytes: read.bytes as f64 / times };
        let learned = rate
            .map_or(read, |mean| Rate { rows: nearer(mean.rows, read.rows), bytes: nearer(mean.bytes, read.bytes) });
        *rate = Some(learned);
    }

    /// How long the warehouse's threads are expected to work at so many bytes there: as at those that were analyzed there.
    pub(crate) fn expect_work(&self, place: &Place, bytes: u64) -> Duration {
        let there = self.0.lock().get(place).and_then(|rates| rates.ns_a_byte);
        Duration::from_nanos((there.unwrap_or(UNKNOWN_NS) * bytes as f64) as u64)
    }

    /// Learns how long they worked.
    pub(crate) fn learn_work(&self, place: Place, bytes: u64, worked: Duration) {
        if bytes == 0 {
            return;
        }
        let last = worked.as_nanos() as f64 / bytes as f64;
        let mut places = self.0.lock();
        let mean = &mut at(&mut places, place).ns_a_byte;
        *mean = Some(mean.map_or(last, |mean| nearer(mean, last)));
    }
}

fn at(places: &mut HashMap<Place, Rates>, place: Place) -> &mut Rates {
    if places.len() >= MOST_PLACES {
        places.clear();
    }
    places.entry(place).or_default()
}

fn nearer(mean: f64, last: f64) -> f64 {
    mean + RECENT * (last - mean)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn places() -> [Place; 2] {
        let (tenant, app) = (TenantId::new("t").unwrap(), AppId::new("a").unwrap());
        [v1::Route::Raw, v1::Route::Rollup].map(|route| Place { tenant: tenant.clone(), app: app.clone(), route })
    }

    #[test]
    fn a_longer_range_reads_more_and_places_differ() {
        let (estimates, [events, rollup]) = (Estimates::default(), places());
        let day = Extent::Hours(24.0);
        for _ in 0..50 {
            estimates.learn(events.clone(), day, ReadCost { rows: 240_000, bytes: 24_000_000 });
            estimates.learn(events.clone(), Extent::All, ReadCost { rows: 7_000_000, bytes: 7_000_000_000 });
        }
        assert_eq!(estimates.expect(&events, Extent::Hours(2.0)), ReadCost { rows: 20_000, bytes: 2_000_000 });
        assert_eq!(estimates.expect(&events, Extent::All), ReadCost { rows: 7_000_000, bytes: 7_000_000_000 });
        assert_eq!(estimates.expect(&rollup, day), UNKNOWN);
    }

    #[test]
    fn work_is_expected_as_it_was_there() {
        let (estimates, [events, rollup]) = (Estimates::default(), places());
        assert_eq!(estimates.expect_work(&events, 1_000), Duration::from_micros(1));
        estimates.learn_work(events.clone(), 1_000_000, Duration::from_millis(4));
        estimates.learn_work(events.clone(), 0, Duration::from_secs(1));
        assert_eq!(estimates.expect_work(&events, 500), Duration::from_micros(2));
        assert_eq!(estimates.expect_work(&rollup, 500), Duration::from_nanos(500), "of other places it tells nothing");
        estimates.learn_work(events.clone(), 1_000_000, Duration::from_millis(9));
        assert_eq!(estimates.expect_work(&events, 1_000), Duration::from_micros(5));
    }

    #[test]
    fn an_open_end_is_now_and_an_open_beginning_everything() {
        let within = |times: Range<i64>, now_ms| Extent::of(&[times], now_ms);
        assert_eq!(within(HOUR_MS..i64::MAX, 5 * HOUR_MS), Extent::Hours(4.0));
        assert_eq!(Extent::of(&[0..HOUR_MS, 5 * HOUR_MS..7 * HOUR_MS], 9 * HOUR_MS), Extent::Hours(3.0));
        assert_eq!(within(i64::MIN..HOUR_MS, HOUR_MS), Extent::All);
    }
}
