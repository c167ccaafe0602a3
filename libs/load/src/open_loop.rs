//! Calls at a fixed rate, whether or not the earlier ones are answered.
//!
//! Real clients don't wait for each other. A loop that sends its next call after the last answer slows down with the server and
//! misses just the calls that would have waited (coordinated omission). Here each call has its time beforehand, and whoever measures
//! counts from that time, so a call that could only be sent late has waited too.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};

/// When each call is due.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Calls are spread evenly, this many over `span`.
    pub calls: u64,
    /// In so long.
    pub span: Duration,
}

impl Schedule {
    /// So many calls a second.
    pub fn of(calls_per_second: u64, seconds: u64) -> Self {
        Self { calls: (calls_per_second * seconds).max(1), span: Duration::from_secs(seconds) }
    }

    /// When the call is due, from the start on. Computed from its number: no rounding adds up.
    pub fn due(&self, call: u64) -> Duration {
        let ns = self.span.as_nanos() * u128::from(call) / u128::from(self.calls.max(1));
        Duration::from_nanos(ns as u64)
    }
}

/// When calls are due that know nothing of each other (a Poisson process): so many a second on average, for so long. Even schedules of
/// several callers keep in step, so that what one waits for another is the same each time.
pub fn independent(calls_per_second: u64, seconds: u64, seed: u64) -> impl Iterator<Item = Duration> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut due = 0.0;
    std::iter::from_fn(move || {
        due -= (1.0 - random.random::<f64>()).ln() / calls_per_second as f64;
        (due < seconds as f64).then(|| Duration::from_secs_f64(due))
    })
}

/// Makes every call at its time and waits for all of them. Returns for each, in no order, when it was due and what it returned.
///
/// # Errors
/// If a call panics.
pub async fn run<T, F>(schedule: Schedule, call: impl Fn(u64) -> F) -> Result<Vec<(Instant, T)>, JoinError>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    run_at((0..schedule.calls).map(|call| schedule.due(call)), call).await
}

/// As [`run`], each call as long after the start as `dues` says, in order.
///
/// # Errors
/// If a call panics.
pub async fn run_at<T, F>(
    dues: impl IntoIterator<Item = Duration>,
    call: impl Fn(u64) -> F,
) -> Result<Vec<(Instant, T)>, JoinError>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (start, mut calls) = (Instant::now(), JoinSet::new());
    for (number, due) in (0..).zip(dues) {
        let due = start + due;
        sleep_until(due).await;
        let call = call(number);
        calls.spawn(async move { (due, call.await) });
    }
    let mut done = Vec::with_capacity(calls.len());
    while let Some(ended) = calls.join_next().await {
        done.push(ended?);
    }
    Ok(done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn calls_are_even_and_do_not_drift() {
        let schedule = Schedule { calls: 7 * 3_600, span: Duration::from_secs(3_600) };
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(7), Duration::from_secs(1));
        assert_eq!(schedule.due(7 * 3_599), Duration::from_secs(3_599));
        for call in 0..1_000 {
            let gap = schedule.due(call + 1) - schedule.due(call);
            assert!(gap.abs_diff(Duration::from_secs(1) / 7) <= Duration::from_nanos(1), "{gap:?}");
        }
    }

    #[test]
    fn independent_calls_are_as_many_and_keep_no_step() {
        let dues: Vec<_> = independent(50, 1_000, 7).collect();
        assert!(dues.is_sorted() && dues.iter().all(|due| *due < Duration::from_secs(1_000)));
        // 50,000 are expected, their number's standard deviation is 224.
        assert!((49_000..51_000).contains(&dues.len()), "{}", dues.len());
        // Of a Poisson process the gaps' standard deviation is their mean.
        let gaps: Vec<f64> = dues.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() * 50.0).collect();
        let variance = gaps.iter().map(|gap| (gap - 1.0).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&variance), "{variance}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_counted_for_every_call_that_was_due_in_it() {
        // A server that takes one call at a time, and the first for a whole second.
        let server = Arc::new(Semaphore::new(1));
        let schedule = Schedule { calls: 20, span: Duration::from_secs(2) };
        let calls = run(schedule, |number| {
            let server = Arc::clone(&server);
            async move {
                let _turn = server.acquire_owned().await.unwrap();
                if number == 0 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Instant::now()
            }
        });
        let mut waited: Vec<_> = calls.await.unwrap().into_iter().map(|(due, done)| (due, done - due)).collect();
        waited.sort_unstable();
        assert_eq!(waited.len(), 20);
        for (number, (_, waited)) in (0u32..).zip(&waited) {
            let want = Duration::from_millis(u64::from(1_000u32.saturating_sub(100 * number)));
            assert!(waited.abs_diff(want) <= Duration::from_millis(2), "call {number}: {waited:?}");
        }
    }
}
