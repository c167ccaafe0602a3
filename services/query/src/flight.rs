//! Identical work in flight runs once.
//!
//! Whoever asks for what is being computed waits for it too. The work goes on while anyone waits, whoever came first, and stops when
//! nobody does. What may be shared is decided by when the work read how far the pipeline had come: a caller joins while
//! that is still to come, or lies back less than [`SHARED_FOR`] and covers the caller's position token.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use model::{Error, Position};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long after its frontier was read a flight is joined: so much older an answer may be than the caller's own would be.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// What is computed, under whose eyes: a hash of all that the outcome depends on.
pub(crate) type Key = [u8; 32];

type Outcome<T> = Result<Arc<T>, Error>;
type UnderWay<T> = HashMap<Key, Flight<T>>;

pub(crate) struct Flights<T>(Arc<Mutex<UnderWay<T>>>);

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

struct Flight<T> {
    outcome: WeakShared<BoxFuture<'static, Outcome<T>>>,
    frontier: Frontier,
}

/// How far the pipeline had come when a flight's query began.
#[derive(Clone)]
pub(crate) struct Frontier(Arc<Mutex<Seen>>);

enum Seen {
    /// The flight will read it before its query begins.
    Later,
    /// It reads it at this moment.
    Now,
    /// It was read then.
    Then(Instant, Position),
}

impl Frontier {
    /// It was read `at` that time.
    pub(crate) fn new(at: Instant, reached: Position) -> Self {
        Self(Arc::new(Mutex::new(Seen::Then(at, reached))))
    }

    /// From now on it is going to be read again.
    pub(crate) fn later(&self) {
        *self.0.lock() = Seen::Later;
    }

    /// From now on it is being read.
    pub(crate) fn now(&self) {
        *self.0.lock() = Seen::Now;
    }

    /// It was read.
    pub(crate) fn read(&self, at: Instant, reached: Position) {
        *self.0.lock() = Seen::Then(at, reached);
    }

    fn serves(&self, wanted: Option<&Position>) -> bool {
        match &*self.0.lock() {
            Seen::Later => true,
            Seen::Now => wanted.is_none(),
            Seen::Then(at, reached) => at.elapsed() <= SHARED_FOR && wanted.is_none_or(|wanted| reached.covers(wanted)),
        }
    }
}

/// Takes the flight off the list when its work ends or is dropped.
struct Listed<T> {
    flights: Weak<Mutex<UnderWay<T>>>,
    key: Key,
    frontier: Frontier,
}

impl<T> Drop for Listed<T> {
    fn drop(&mut self) {
        let Some(flights) = self.flights.upgrade() else { return };
        let mut flights = flights.lock();
        // A later flight may have taken its place.
        if flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(&flight.frontier.0, &self.frontier.0)) {
            flights.remove(&self.key);
        }
    }
}

impl<T: Send + Sync + 'static> Flights<T> {
    /// The outcome of the flight that computes this and has all that is `wanted`, or of the one that `begin` makes. It is told of the
    /// frontier that the caller read `at` that time, which serves unless the work reads it again.
    pub(crate) async fn join<F>(
        &self,
        key: Key,
        wanted: Option<&Position>,
        (at, reached): (Instant, Position),
        begin: impl FnOnce(Frontier) -> Result<F, Error>,
    ) -> Outcome<T>
    where
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let outcome: Shared<_> = {
            let mut flights = self.0.lock();
            let there = flights.get(&key).filter(|flight| flight.frontier.serves(wanted));
            match there.and_then(|flight| flight.outcome.upgrade()) {
                Some(outcome) => {
                    metrics::counter!("penstock_query_shared_total").increment(1);
                    outcome
                }
                None => {
                    let frontier = Frontier::new(at, reached);
                    let work = begin(frontier.clone())?;
                    let listed = Listed { flights: Arc::downgrade(&self.0), key, frontier: frontier.clone() };
                    let outcome = async move {
                        let _listed = listed;
                        work.await.map(Arc::new)
                    };
                    let outcome = outcome.boxed().shared();
                    if let Some(weak) = outcome.downgrade() {
                        flights.insert(key, Flight { outcome: weak, frontier });
                    }
                    outcome
                }
            }
        };
        outcome.await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::{
        sync::watch,
        time::{advance, sleep},
    };

    use super::*;

    fn position(end: u64) -> Position {
        Position::new(1, vec![(0, end)])
    }

    /// Counts how often it began and ended.
    #[derive(Default)]
    struct Works {
        begun: AtomicUsize,
        ended: Arc<AtomicUsize>,
    }

    struct Ended(Arc<AtomicUsize>);

    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Works {
        fn counts(&self) -> (usize, usize) {
            (self.begun.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed))
        }

        async fn ask(&self, flights: &Flights<u32>, key: u8, wanted: Option<u64>, reached: u64) -> Outcome<u32> {
            let wanted = wanted.map(position);
            let read = (Instant::now(), position(reached));
            let begin = |_| {
                self.begun.fetch_add(1, Ordering::Relaxed);
                let ended = Ended(Arc::clone(&self.ended));
                Ok(async move {
                    let _ended = ended;
                    sleep(Duration::from_secs(10)).await;
                    Ok(reached as u32)
                })
            };
            flights.join([key; 32], wanted.as_ref(), read, begin).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn identical_work_runs_once_and_other_work_apart() {
        let (flights, works) = (Flights::default(), Works::default());
        let same = (0..50).map(|_| works.ask(&flights, 1, None, 5));
        let other = works.ask(&flights, 2, None, 6);
        let (same, other) = futures::join!(join_all(same), other);
        assert!(same.iter().all(|outcome| **outcome.as_ref().unwrap() == 5));
        assert_eq!((*other.unwrap(), works.counts()), (6, (2, 2)));
        assert!(flights.0.lock().is_empty());
        works.ask(&flights, 1, None, 5).await.unwrap();
        assert_eq!(works.counts(), (3, 3), "what is over is not shared");
    }

    #[tokio::test(start_paused = true)]
    async fn the_work_goes_on_without_its_first_and_stops_without_any() {
        let (flights, works) = (Flights::default(), Works::default());
        let mut first = Box::pin(works.ask(&flights, 1, None, 5));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(works.ask(&flights, 1, None, 5));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert_eq!(works.counts(), (1, 0));
        assert_eq!(*second.await.unwrap(), 5);
        let mut third = Box::pin(works.ask(&flights, 1, None, 5));
        assert!((&mut third).now_or_never().is_none());
        drop(third);
        assert_eq!(works.counts(), (2, 2));
        assert!(flights.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gets_less_than_its_token_covers_or_what_is_old() {
        let (flights, works) = (Flights::default(), Works::default());
        let mut first = Box::pin(works.ask(&flights, 1, None, 5));
        assert!((&mut first).now_or_never().is_none());
        let mut covered = Box::pin(works.ask(&flights, 1, Some(5), 6));
        assert!((&mut covered).now_or_never().is_none());
        assert_eq!(works.counts().0, 1);
        let mut later = Box::pin(works.ask(&flights, 1, Some(6), 6));
        assert!((&mut later).now_or_never().is_none());
        assert_eq!(works.counts().0, 2);
        advance(SHARED_FOR + Duration::from_millis(1)).await;
        let mut last = Box::pin(works.ask(&flights, 1, None, 7));
        assert!((&mut last).now_or_never().is_none());
        assert_eq!(works.counts().0, 3);
        let (first, covered, later, last) = futures::join!(first, covered, later, last);
        assert_eq!([first, covered, later, last].map(|outcome| *outcome.unwrap()), [5, 5, 6, 7]);
        assert!(flights.0.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_is_joined_however_long_it_lasts() {
        let (flights, turn) = (Flights::default(), watch::Sender::new(false));
        let mut told = turn.subscribe();
        let begin = |frontier: Frontier| {
            Ok(async move {
                frontier.later();
                told.wait_for(|turn| *turn).await.unwrap();
                frontier.now();
                sleep(Duration::from_millis(1)).await;
                frontier.read(Instant::now(), position(9));
                sleep(Duration::from_secs(1)).await;
                Ok(9u32)
            })
        };
        let first = flights.join([1; 32], None, (Instant::now(), position(1)), begin);
        let mut first = Box::pin(first);
        assert!((&mut first).now_or_never().is_none());
        advance(10 * SHARED_FOR).await;
        let none = |_| -> Result<futures::future::Ready<Result<u32, Error>>, Error> { panic!("it is under way") };
        let token = position(8);
        let mut second = Box::pin(flights.join([1; 32], Some(&token), (Instant::now(), position(8)), none));
        assert!((&mut second).now_or_never().is_none());
        turn.send_replace(true);
        let (first, second) = futures::join!(first, second);
        assert_eq!((*first.unwrap(), *second.unwrap()), (9, 9));
    }
}
