//! How far behind the pipeline is: the age of the oldest record in the log that isn't in the warehouse for good.
//!
//! The ledger says how far each partition is committed. Only of a partition whose frontier is old is the log asked, so a pipeline
//! that keeps up costs one statement a second. While the ledger or the log is away, the lag stays as it was.

use std::{sync::Arc, time::Duration};

use eventlog::{EventLog, LogError};
use model::{Error, ErrorCode, PartitionId};
use storage::{Ledger, MetaError, PartitionState, Topic};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{Flow, FlowOptions, keep_looking};

/// When a refused batch may come again: the lag can't be known ahead, and it falls slowly from where batches are refused.
const AGAIN: Duration = Duration::from_secs(5);

/// The lag as measured last.
pub(crate) struct Lag {
    slow: Duration,
    max: Duration,
    measured: watch::Sender<Duration>,
}

#[derive(Debug, thiserror::Error)]
enum LagError {
    #[error(transparent)]
    Meta(#[from] MetaError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Lag {
    pub(crate) fn new(options: &FlowOptions) -> Self {
        let [slow, max] = [options.slow_lag_seconds, options.max_lag_seconds].map(|s| Duration::from_secs(s.max(1)));
        Self { slow, max, measured: watch::Sender::new(Duration::ZERO) }
    }

    /// Refuses while the pipeline is too far behind.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let lag = *self.measured.borrow();
        if lag < self.max {
            return Ok(());
        }
        let what = format!(
            "what was sent {} s ago can't be queried yet, and no more is taken until the pipeline catches up",
            lag.as_secs()
        );
        Err(Error { retry_after: Some(AGAIN), ..Error::new(ErrorCode::ResourceExhausted, what) })
    }

    /// Waits while the pipeline is too far behind; refuses after `deadline`.
    pub(crate) async fn wait(&self, deadline: Instant) -> Result<(), Error> {
        let mut measured = self.measured.subscribe();
        let waited = timeout_at(deadline, measured.wait_for(|lag| *lag < self.max)).await;
        if waited.is_ok() { Ok(()) } else { self.check() }
    }

    /// How many places of a window of `full` one batch takes: 1, and from the slow lag on as many as the lag is times that.
    pub(crate) fn places(&self, full: usize) -> usize {
        let times = self.measured.borrow().as_secs_f64() / self.slow.as_secs_f64();
        (times.ceil() as usize).clamp(1, full.max(1))
    }

    pub(crate) fn set(&self, lag: Duration) {
        metrics::gauge!("penstock_ingest_pipeline_lag_seconds").set(lag.as_secs_f64());
        self.measured.send_replace(lag);
    }
}

/// Measures again and again until `stop`.
pub(crate) async fn follow(
    flow: Arc<Flow>,
    log: Arc<dyn EventLog>,
    ledger: Arc<dyn Ledger>,
    now_ms: fn() -> i64,
    stop: CancellationToken,
) {
    let topic = Topic { name: log.topic().to_owned(), incarnation: log.incarnation() };
    keep_looking(&stop, "how far behind the pipeline is can't be told; it is taken to be as it was", || async {
        flow.lag.set(measure(&*log, &*ledger, &topic, now_ms(), flow.lag.slow).await?);
        Ok::<_, LagError>(())
    })
    .await;
}

/// The largest lag of all partitions. One of less than `slow` may be told as none.
async fn measure(
    log: &dyn EventLog,
    ledger: &dyn Ledger,
    topic: &Topic,
    now_ms: i64,
    slow: Duration,
) -> Result<Duration, LagError> {
    let states = ledger.partitions(topic).await?;
    let mut largest = Duration::ZERO;
    for partition in 0..log.partitions() {
        let state = states.iter().find(|state| state.partition == partition);
        let age = |since_ms: i64| Duration::from_millis(u64::try_from(now_ms - since_ms).unwrap_or(0));
        if state.is_some_and(|state| age(state.frontier_ms) < slow) {
            continue;
        }
        if let Some(oldest_ms) = oldest(log, partition, state).await? {
            largest = largest.max(age(oldest_ms));
        }
    }
    Ok(largest)
}

/// When the log took the first record of the partition that isn't committed, UTC ms.
async fn oldest(
    log: &dyn EventLog,
    partition: PartitionId,
    state: Option<&PartitionState>,
) -> Result<Option<i64>, LogError> {
    let committed = state.map_or(0, |state| state.committed);
    if log.tail(partition).await?.end <= committed {
        return Ok(None);
    }
    match log.read(partition, committed, 1, 1).await {
        Ok(records) => Ok(records.first().map(|record| record.appended_ms)),
        // Retention took what was not committed: what is left is what counts.
        Err(LogError::Trimmed { begin, .. }) => {
            Ok(log.read(partition, begin, 1, 1).await?.first().map(|record| record.appended_ms))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
