//! What a query is expected to read, from what queries of its app read before.

use std::{collections::HashMap, ops::Range};

use model::{AppId, HOUR_MS, TenantId};
use parking_lot::Mutex;

/// What is expected of an app of which nothing is known yet, in bytes.
const UNKNOWN_BYTES: f64 = 16e6;
/// What the last query counts in the mean.
const RECENT: f64 = 0.2;
/// Apps that are remembered; when there are more all are forgotten, which costs a few wrong guesses.
const MOST_APPS: usize = 100_000;

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

/// What queries read, by app.
#[derive(Default)]
pub(crate) struct Estimates(Mutex<HashMap<(TenantId, AppId), Rates>>);

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
    /// How many bytes a query of the app is expected to read.
    pub(crate) fn expect(&self, tenant: &TenantId, app: &AppId, extent: Extent) -> u64 {
        let mut apps = self.0.lock();
        let known = apps.get_mut(&(tenant.clone(), app.clone())).and_then(|rates| {
            let (rate, times) = rates.of(extent);
            rate.map(|rate| rate * times)
        });
        known.unwrap_or(UNKNOWN_BYTES) as u64
    }

    /// Learns what one read.
    pub(crate) fn learn(&self, tenant: &TenantId, app: &AppId, extent: Extent, bytes: u64) {
        let mut apps = self.0.lock();
        if apps.len() >= MOST_APPS {
            apps.clear();
        }
        let rates = apps.entry((tenant.clone(), app.clone())).or_default();
        let (rate, times) = rates.of(extent);
        let read = bytes as f64 / times;
        *rate = Some(rate.map_or(read, |mean| mean + RECENT * (read - mean)));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_range_reads_more_and_apps_differ() {
        let (estimates, tenant) = (Estimates::default(), TenantId::new("t").unwrap());
        let (app, other) = (AppId::new("a").unwrap(), AppId::new("b").unwrap());
        let day = Extent::of(&[0..24 * HOUR_MS], 100 * HOUR_MS);
        assert_eq!(day, Extent::Hours(24.0));
        for _ in 0..50 {
            estimates.learn(&tenant, &app, day, 24_000_000);
            estimates.learn(&tenant, &app, Extent::All, 7_000_000_000);
        }
        assert_eq!(estimates.expect(&tenant, &app, Extent::Hours(2.0)), 2_000_000);
        assert_eq!(estimates.expect(&tenant, &app, Extent::All), 7_000_000_000);
        assert_eq!(estimates.expect(&tenant, &other, day), UNKNOWN_BYTES as u64);
    }

    #[test]
    fn an_open_end_is_now_and_an_open_beginning_everything() {
        assert_eq!(Extent::of(&[HOUR_MS..i64::MAX], 5 * HOUR_MS), Extent::Hours(4.0));
        assert_eq!(Extent::of(&[0..HOUR_MS, 5 * HOUR_MS..7 * HOUR_MS], 9 * HOUR_MS), Extent::Hours(3.0));
        assert_eq!(Extent::of(std::slice::from_ref(&(i64::MIN..HOUR_MS)), HOUR_MS), Extent::All);
    }
}
