//! Computes the buckets of wanted shapes that are not kept, or not as they are now: in the background, the newest first.
//!
//! Of several processes that want the same one does it, as long as it holds the tenant's lease. Should two do it, each has rows of its own,
//! and what is noted last counts: the lease saves work, and nothing depends on it. Nor does anything on what a build leaves that was cut
//! off: it is never noted, so never read, and goes by its age.

use std::{collections::HashSet, ops::Range, sync::Arc, time::Duration};

use formula::{Length, Run, STATE_COLUMNS};
use model::{AppId, DAY_MS, Error, HOUR_MS, Priority, TenantId};
use storage::{
    BucketState, Leased, Ledger, STATES_LAST_MS, Warehouse, WarehouseError,
    warehouse::{QuerySettings, StateSize},
};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{States, asked::Wanted, epochs_of, up};
use crate::{
    Options,
    admit::{Admission, Estimates, Extent, Place},
    breaker::Breaker,
    freshness::{AppHours, Ended, Freshness},
};

/// How often wanted shapes are looked at, if none comes to be wanted.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Events of the last two UTC days may still come late, so their hours are kept apart: one event makes one hour be computed anew.
const YOUNG_MS: i64 = DAY_MS;
/// Buckets that one statement computes.
const MOST_HOURS: usize = 24;
const MOST_DAYS: usize = 7;

/// What builds.
pub(crate) struct Builder {
    pub(crate) states: Arc<States>,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) warehouse: Warehouse,
    pub(crate) breaker: Breaker,
    pub(crate) admission: Admission,
    pub(crate) estimates: Arc<Estimates>,
    pub(crate) options: Options,
    /// This process among those that could do it.
    pub(crate) owner: String,
    pub(crate) now_ms: fn() -> i64,
}

/// Why a shape isn't built now.
enum Stop {
    /// Later it may be.
    Failed(Error),
    /// A bucket has too many groups, or too large ones.
    TooLarge,
    /// Another process is at it, or the app's states came to an end meanwhile.
    Anothers,
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What one pass works with.
struct Pass<'a> {
    wanted: &'a Wanted,
    ended: Ended,
    life: i64,
}

impl Builder {
    /// Builds what is wanted, until it is dropped.
    pub(crate) async fn run(self) {
        loop {
            let _ = timeout(LOOK_EVERY, self.states.asked.news.notified()).await;
            let mut elsewhere = HashSet::new();
            for wanted in self.states.asked.wanted() {
                let (tenant, shape) = (wanted.plan.tenant().clone(), wanted.shape.clone());
                if elsewhere.contains(&tenant) {
                    continue;
                }
                match self.build(&wanted).await {
                    Ok(()) => {}
                    Err(Stop::Anothers) => drop(elsewhere.insert(tenant)),
                    Err(Stop::TooLarge) => {
                        metrics::counter!("penstock_states_refused_total").increment(1);
                        debug!(%tenant, shape, "a shape has too many groups for its states to be kept");
                        self.states.asked.is_too_large(&tenant, &shape);
                    }
                    Err(Stop::Failed(error)) => {
                        debug!(%tenant, shape, %error, "states can't be computed now");
                        sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    async fn build(&self, wanted: &Wanted) -> Result<(), Stop> {
        let (tenant, app) = (wanted.plan.tenant(), wanted.plan.app());
        let from_ms = up((self.now_ms)() - wanted.reach_ms, HOUR_MS);
        let hours = AppHours { tenant: tenant.clone(), app: app.clone(), times: from_ms..i64::MAX };
        let Some(ended) = self.freshness.ended(hours).await else { return Ok(()) };
        let since_ms = (self.now_ms)() - STATES_LAST_MS;
        let times = (from_ms, ended.until_ms);
        let (life, kept) = self.states.store.states(tenant, app, &wanted.shape, times, since_ms).await?;
        let runs = missing(from_ms, &ended, &kept);
        if runs.is_empty() {
            return Ok(());
        }
        let pass = Pass { wanted, ended, life };
        let built = async {
            for (times, length) in runs {
                self.build_run(&pass, times, length).await?;
            }
            Ok::<_, Stop>(())
        };
        let leased = Leased {
            ledger: Arc::clone(&self.ledger),
            name: format!("states of {tenant}"),
            holder: self.owner.clone(),
            now_ms: self.now_ms,
        };
        let built = leased.hold(built).await;
        leased.let_go().await;
        built?.ok_or(Stop::Anothers)
    }

    /// Computes the states of buckets that follow one another, and notes that they are there.
    async fn build_run(&self, pass: &Pass<'_>, times: Range<i64>, length: Length) -> Result<(), Stop> {
        let Pass { wanted, ended, life } = pass;
        let (plan, shape) = (&wanted.plan, &wanted.shape);
        let (tenant, app) = (plan.tenant(), plan.app());
        // Room for the buckets of one run, and a number that nobody else draws.
        let first_piece = (uuid::Uuid::new_v4().as_u128() as i64 & (i64::MAX >> 1)) & !0xfff;
        let run = Run { times: times.clone(), length, first_piece, life: *life };
        let statement = plan.states(shape, &run)?;
        let buckets = (times.end - times.start) / length.ms();
        self.breaker.pass()?;
        let (place, extent) = (of_events(tenant, app), Extent::of(std::slice::from_ref(&times), (self.now_ms)()));
        let bytes = self.estimates.expect(&place, extent).bytes;
        let _leave = self.admission.enter(tenant, Priority::Background, bytes).await?;
        let settings = QuerySettings {
            query_id: uuid::Uuid::new_v4().to_string(),
            max_execution_time: Some(Duration::from_millis(self.options.max_execution_ms)),
            max_memory_bytes: Some(self.options.max_memory_bytes),
            max_threads: Some(1),
            priority: None, // under steady load the engine would never let it go on, and the load would stay
            ..QuerySettings::default()
        };
        let params: Vec<_> = statement.params().iter().map(|p| (p.name.as_str(), p.value.clone())).collect();
        let groups = self.options.states.groups;
        let most = groups.saturating_mul(buckets.unsigned_abs());
        let filled = self.warehouse.fill_states(&STATE_COLUMNS, statement.text(), &params, most, &settings);
        match self.breaker.watch(filled).await? {
            Ok(()) => {}
            // As one bucket has them, or as it needs more memory than a query may use.
            Err(WarehouseError::TooLarge(_) | WarehouseError::Memory(_)) => return Err(Stop::TooLarge),
            Err(error) => {
                warn!(%error, "states can't be computed");
                if error.is_unavailable() {
                    self.breaker.suspect().await;
                }
                return Err(error.into());
            }
        }
        let pieces = first_piece..first_piece + buckets;
        let sizes = self.warehouse.state_sizes((tenant, app), shape, pieces).await?;
        let is_large = |size: &StateSize| size.rows > groups || size.bytes > self.options.states.bytes;
        if sizes.iter().any(is_large) {
            return Err(Stop::TooLarge);
        }
        let state = |i: i64| {
            let bucket_ms = times.start + i * length.ms();
            let epochs = epochs_of(bucket_ms..bucket_ms + length.ms(), &ended.epochs);
            BucketState { bucket_ms, length_ms: length.ms(), epochs, piece: first_piece + i }
        };
        let states: Vec<_> = (0..buckets).map(state).collect();
        match self.states.store.keep_states(tenant, app, shape, *life, (self.now_ms)(), &states).await? {
            true => {
                metrics::counter!("penstock_states_built_total").increment(buckets.unsigned_abs());
                Ok(())
            }
            false => Err(Stop::Anothers),
        }
    }
}

fn of_events(tenant: &TenantId, app: &AppId) -> Place {
    Place { tenant: tenant.clone(), app: app.clone(), route: api::v1::Route::Raw }
}

/// The buckets from this time on that have ended and aren't kept as they are now: runs of them, the newest first.
fn missing(from_ms: i64, ended: &Ended, kept: &[BucketState]) -> Vec<(Range<i64>, Length)> {
    let until_ms = ended.until_ms;
    let young = (until_ms.div_euclid(DAY_MS) * DAY_MS - YOUNG_MS).max(from_ms);
    let first_day = up(from_ms, DAY_MS).min(young);
    let kept: HashSet<(i64, i64)> = kept
        .iter()
        .filter(|state| state.epochs == epochs_of(state.bucket_ms..state.bucket_ms + state.length_ms, &ended.epochs))
        .map(|state| (state.bucket_ms, state.length_ms))
        .collect();
    let mut runs = Vec::new();
    for (part, length, most) in [
        (young..until_ms, Length::Hour, MOST_HOURS),
        (first_day..young, Length::Day, MOST_DAYS),
        (from_ms..first_day, Length::Hour, MOST_HOURS),
    ] {
        let length_ms = length.ms();
        let mut end = part.end;
        let mut run: Option<Range<i64>> = None;
        while end - length_ms >= part.start {
            let bucket = end - length_ms..end;
            end = bucket.start;
            let is_full = |run: &Range<i64>| (run.end - run.start) / length_ms >= most as i64;
            if kept.contains(&(bucket.start, length_ms)) || run.as_ref().is_some_and(is_full) {
                runs.extend(run.take().map(|run| (run, length)));
            }
            if !kept.contains(&(bucket.start, length_ms)) {
                run = Some(bucket.start..run.map_or(bucket.end, |run| run.end));
            }
        }
        runs.extend(run.map(|run| (run, length)));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 12 * HOUR_MS;

    fn ended(until_ms: i64) -> Ended {
        Ended { until_ms, epochs: [].into(), mark: None, has_states: true }
    }

    #[test]
    fn what_is_missing_comes_newest_first_and_old_days_as_a_whole() {
        // From noon of day 90 to noon of day 100.
        let (from, until) = (90 * DAY_MS + NOON, 100 * DAY_MS + NOON);
        let runs = missing(from, &ended(until), &[]);
        let want = [
            (until - DAY_MS..until, Length::Hour),
            (99 * DAY_MS..99 * DAY_MS + NOON, Length::Hour),
            (92 * DAY_MS..99 * DAY_MS, Length::Day),
            (91 * DAY_MS..92 * DAY_MS, Length::Day),
            (from..91 * DAY_MS, Length::Hour),
        ];
        assert_eq!(runs, want);
    }

    #[test]
    fn only_what_is_as_it_is_now_is_not_missing() {
        let (from, until) = (100 * DAY_MS, 100 * DAY_MS + NOON);
        let state = |hour: i64, epochs: &str| BucketState {
            bucket_ms: from + hour * HOUR_MS,
            length_ms: HOUR_MS,
            epochs: epochs.to_owned(),
            piece: hour,
        };
        let mut kept: Vec<_> = (0..12).map(|hour| state(hour, "")).collect();
        assert_eq!(missing(from, &ended(until), &kept), []);
        let late = Ended { epochs: [(from + 3 * HOUR_MS, 7)].into(), ..ended(until) };
        let third = from + 3 * HOUR_MS..from + 4 * HOUR_MS;
        assert_eq!(missing(from, &late, &kept), [(third.clone(), Length::Hour)]);
        kept[3] = state(3, &epochs_of(third, &late.epochs));
        assert_eq!(missing(from, &late, &kept), []);
        kept.remove(5);
        assert_eq!(missing(from, &late, &kept), [(from + 5 * HOUR_MS..from + 6 * HOUR_MS, Length::Hour)]);
    }
}
