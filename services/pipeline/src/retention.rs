//! What the log no longer needs to keep.

use eventlog::{EventLog, LogError};
use model::{Offset, PartitionId};

/// Lets go of records that the log took before `before_ms` (UTC), but of none from `committed` on: those may be in no warehouse yet.
pub(crate) async fn trim(
    log: &dyn EventLog,
    partition: PartitionId,
    committed: Offset,
    before_ms: i64,
) -> Result<(), LogError> {
    let before = log.first_since(partition, before_ms).await?.min(committed);
    log.trim(partition, before).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    };

    use eventlog::{EmbeddedLog, LogOptions, conformance::batch};

    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    #[tokio::test]
    async fn what_is_old_goes_unless_it_is_not_committed() {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Arc::clone(&now);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        let log = EmbeddedLog::open(dir.path(), &LogOptions::default(), clock).await.unwrap();
        for hour in 0..4 {
            now.store(NOW + hour * model::HOUR_MS, Ordering::Relaxed);
            // Large ones: the log lets go of what it stores together.
            log.append(vec![batch(0, (0..10).map(|_| vec![b'x'; 100_000]))]).await.unwrap();
        }
        let gone = async |offset| log.read(0, offset, 1, 1).await.is_err_and(|e| matches!(e, LogError::Trimmed { .. }));

        trim(&log, 0, 15, NOW + 3 * model::HOUR_MS).await.unwrap();
        assert!(gone(0).await && gone(9).await, "old and committed");
        assert!(!gone(15).await && !gone(29).await, "old, but not committed");
        trim(&log, 0, 40, NOW + 2 * model::HOUR_MS).await.unwrap();
        assert!(gone(19).await && !gone(20).await, "committed, but not old");
        assert_eq!(log.read(0, 20, 100, usize::MAX).await.unwrap().len(), 20);
        log.close().await.unwrap();
    }
}
