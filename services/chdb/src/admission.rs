//! The bound on queries that run at once, with a short queue in front of it, and the turns of small inserts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::error::QueryError;

/// Places for queries.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    max_waiting: usize,
    max_wait: Duration,
}

impl Admission {
    pub(crate) fn new(places: usize, max_waiting: usize, max_wait: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), waiting: AtomicUsize::new(0), max_waiting, max_wait }
    }

    /// A place, at once or after a wait; refused if the queue is full or the wait too long. The place is free again
    /// when the permit is dropped.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = QueuePlace::take(&self.waiting, self.max_waiting)
            .ok_or_else(|| QueryError::too_many_queries("Too many simultaneous queries, and too many that wait."))?;
        match tokio::time::timeout(self.max_wait, Arc::clone(&self.places).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| QueryError::shutting_down("The server is stopping.")),
            Err(_) => Err(QueryError::too_many_queries(format!(
                "Too many simultaneous queries: no place was free within {} ms.",
                self.max_wait.as_millis()
            ))),
        }
    }
}

/// How long a small insert waits for its turn; then it goes without. The one before it may be held up by its table.
const TURN: Duration = Duration::from_millis(100);

/// Turns of small inserts. Those of a log's partitions come together, and all at once they would take every core from the queries
/// that come meanwhile; one after the other they are in as soon.
pub(crate) struct Turns(Semaphore);

impl Turns {
    pub(crate) fn new(at_once: usize) -> Self {
        Self(Semaphore::new(at_once))
    }

    pub(crate) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(TURN, self.0.acquire()).await.ok()?.ok()
    }
}

/// Counts one waiter for as long as it lives, even if its client gives up.
struct QueuePlace<'a>(&'a AtomicUsize);

impl<'a> QueuePlace<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1)).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_house_queues_then_refuses() {
        let admission = Admission::new(1, 1, Duration::from_secs(5));
        let first = admission.enter().await.unwrap();
        let mut second = std::pin::pin!(admission.enter());
        assert!(futures::poll!(&mut second).is_pending());
        assert_eq!(admission.enter().await.unwrap_err().code, 202, "the queue is full");
        drop(first);
        let second = second.await.unwrap();
        assert_eq!(admission.enter().await.unwrap_err().code, 202, "the wait is too long");
        drop(second);
        drop(admission.enter().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_insert_waits_for_its_turn_but_not_for_ever() {
        let turns = Turns::new(1);
        let first = turns.take().await.unwrap();
        let mut second = std::pin::pin!(turns.take());
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let second = second.await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(turns.take().await.is_none());
        assert_eq!(began.elapsed(), TURN);
        drop(second);
        assert!(turns.take().await.is_some());
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_the_queue() {
        let admission = Admission::new(1, 1, Duration::from_secs(5));
        let _first = admission.enter().await.unwrap();
        {
            let mut gone = std::pin::pin!(admission.enter());
            assert!(futures::poll!(&mut gone).is_pending());
        }
        let mut next = std::pin::pin!(admission.enter());
        assert!(futures::poll!(&mut next).is_pending());
    }
}
