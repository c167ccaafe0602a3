//! Which query runs next, and who is told to come later.
//!
//! A query waits in the queue of its class ([`fair`] says whose turn it is) for a place. It is put there with what it is expected to
//! read ([`estimate`]), and charged in the end with what it read. Who can't start before its caller's deadline, or finds the queue
//! full, is refused at once; who has waited its time, then. A refusal says where the query stood, why, and when to come again,
//! by how long queries took of late.
//!
//! Background work starts off-peak: in the configured hours, and while less than half of the places are in use; and never more of it than
//! some cores of the warehouse do.

mod estimate;
mod fair;
mod hours;
mod shown;

use std::{sync::Arc, time::Duration};

use model::{Error, ErrorCode, Priority, TenantId};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

pub(crate) use estimate::{Estimates, Extent, Place};
pub use hours::Hours;

use crate::Options;
use fair::{Ask, Bounds, Fair, Full, QUANTUM, Standing};
use shown::Shown;

/// What is expected to read no more than this is read by one thread, all columns at once: a small query's CPU time goes to the parts of a
/// table, not to its rows, and twice of it with a step for the filter, a look for projections and a second thread.
pub(crate) const SMALL_BYTES: u64 = 4 << 20;

/// The least and the most that a refusal tells to wait.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(60));
/// How often background work looks whether its hours have begun.
const LOOK: Duration = Duration::from_secs(1);
/// What the time of one query counts in the mean of all.
const RECENT: f64 = 0.1;
/// No query is taken for more.
const MOST_BYTES: i64 = 1 << 44;

/// Lets queries run.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    places: usize,
    max_waits: [Duration; 3],
    hours: Option<Hours>,
    now_ms: fn() -> i64,
    shown: Shown,
}

struct State {
    fair: Fair<oneshot::Sender<Leave>>,
    /// How long queries ran of late, in seconds; none before the first ended.
    service: Option<f64>,
}

/// Leave to run; the place is free again when it is dropped.
pub(crate) struct Leave {
    inner: Arc<Inner>,
    ask: Ask,
    since: Instant,
    read_bytes: Option<u64>,
}

impl Leave {
    /// Whether no other query has a place.
    pub(crate) fn is_alone(&self) -> bool {
        self.inner.state.lock().fair.running() <= 1
    }

    /// What the query read in truth, for the books.
    pub(crate) fn read(&mut self, bytes: u64) {
        self.read_bytes = Some(bytes);
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let took = self.since.elapsed().as_secs_f64();
        let mut state = self.inner.state.lock();
        state.fair.finish(&self.ask, self.read_bytes.map(cost));
        state.service = Some(state.service.map_or(took, |mean| mean + RECENT * (took - mean)));
        self.inner.shown.queue(&state.fair);
        drop(state);
        self.inner.shown.ended(&self.ask.tenant, took, self.read_bytes.unwrap_or(self.ask.bytes.unsigned_abs()));
        self.inner.start();
    }
}

/// In the queue until it is dropped.
struct Waiting<'a> {
    inner: &'a Inner,
    ask: Ask,
    number: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        state.fair.cancel(&self.ask, self.number);
        self.inner.shown.queue(&state.fair);
    }
}

impl Admission {
    pub(crate) fn new(options: &Options, now_ms: fn() -> i64) -> Self {
        let places = options.concurrent.max(1);
        let bounds = Bounds {
            places,
            tenant_places: options.tenant_concurrent.max(1),
            shared_tenant_places: options.shared_tenant_concurrent.max(1),
            background_places: options.background_concurrent,
            waiting: options.max_waiting,
            tenant_waiting: options.tenant_max_waiting,
        };
        Self(Arc::new(Inner {
            state: Mutex::new(State { fair: Fair::new(bounds), service: None }),
            places,
            max_waits: [options.max_queue_ms, options.scheduled_max_queue_ms, options.background_max_queue_ms]
                .map(Duration::from_millis),
            hours: options.background_hours,
            now_ms,
            shown: Shown::default(),
        }))
    }

    /// Refuses whoever could not start before this instant, as far as can be known now.
    pub(crate) fn in_time(&self, tenant: &TenantId, class: Priority, deadline: Option<Instant>) -> Result<(), Error> {
        let Some(deadline) = deadline else { return Ok(()) };
        let inner = &self.0;
        let state = inner.state.lock();
        let standing = state.fair.standing(tenant, class, None);
        let wait = inner.wait(&state, standing);
        if wait.is_zero() || Instant::now() + wait <= deadline {
            return Ok(()); // a deadline that has passed already is not the queue's to tell
        }
        Err(inner.refusal(&state, standing, class, "can't start before its deadline"))
    }

    /// Waits for a place, for a query that is expected to read so much.
    pub(crate) async fn enter(&self, tenant: &TenantId, class: Priority, bytes: u64) -> Result<Leave, Error> {
        let inner = &*self.0;
        let ask = Ask { tenant: tenant.clone(), class, bytes: cost(bytes) };
        let (tell, mut told) = oneshot::channel();
        let (came, waiting) = (Instant::now(), {
            let mut state = inner.state.lock();
            match state.fair.wait(&ask, tell) {
                Ok(number) => Waiting { inner, ask, number },
                Err(full) => {
                    let standing = state.fair.standing(tenant, class, None);
                    let what = match full {
                        Full::Tenant => "is one too many of this tenant's that wait",
                        Full::House => "is one too many in a full queue",
                    };
                    return Err(inner.refusal(&state, standing, class, what));
                }
            }
        });
        self.0.start();
        let until = Instant::now() + inner.max_waits[class as usize];
        while Instant::now() < until {
            // Its hours may begin while nothing else happens.
            let look = if class == Priority::Background { until.min(Instant::now() + LOOK) } else { until };
            if let Ok(Ok(leave)) = timeout_at(look, &mut told).await {
                inner.shown.waited(class, came.elapsed());
                return Ok(leave);
            }
            self.0.start();
        }
        // It may have been let in at this very moment.
        told.close();
        if let Ok(leave) = told.try_recv() {
            return Ok(leave);
        }
        let state = inner.state.lock();
        let standing = state.fair.standing(tenant, class, Some(waiting.number));
        let refusal = inner.refusal(&state, standing, class, "has waited its time in vain");
        drop(state); // `waiting` needs it when it goes
        Err(refusal)
    }
}

impl Inner {
    /// Lets everyone in who may start now.
    fn start(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            let open = self.is_background_open(&state);
            let started = state.fair.start(open);
            self.shown.queue(&state.fair);
            let Some((ask, tell)) = started else { return };
            drop(state); // who waits no longer gives the place back at once
            let _ = tell.send(Leave { inner: Arc::clone(self), ask, since: Instant::now(), read_bytes: None });
        }
    }

    fn is_background_open(&self, state: &State) -> bool {
        state.fair.running() * 2 < self.places || self.hours.is_some_and(|hours| hours.contains((self.now_ms)()))
    }

    /// How long whoever stands there waits, by how long queries took of late.
    fn wait(&self, state: &State, standing: Standing) -> Duration {
        let Some(service) = state.service else { return Duration::ZERO };
        let all = (standing.before + state.fair.running()).saturating_sub(self.places - 1) as f64 / self.places as f64;
        let own = match standing.tenant_full {
            true => (standing.own_before + 1) as f64 / standing.tenant_places as f64,
            false => 0.0,
        };
        Duration::from_secs_f64((all.max(own) * service).min(86_400.0))
    }

    fn refusal(&self, state: &State, standing: Standing, class: Priority, what: &str) -> Error {
        let (running, place) = (state.fair.running(), standing.before + 1);
        let why = if standing.tenant_full {
            format!("the tenant has all of its {} places in use", standing.tenant_places)
        } else if class == Priority::Background && !self.is_background_open(state) {
            let till = self.hours.map(Hours::begin);
            let till = till.map_or_else(String::new, |till| format!("till {till} or "));
            format!("background work is closed {till}while half of the {} places are in use", self.places)
        } else {
            format!("the house is full: {running} of its {} places are in use", self.places)
        };
        metrics::counter!("penstock_query_refused_total", "class" => class.name()).increment(1);
        let message = format!("this query {what}, at place {place} of the {} queue; {why}", class.name());
        let retry = self.wait(state, standing).clamp(RETRY.0, RETRY.1);
        Error { retry_after: Some(retry), ..Error::new(ErrorCode::ResourceExhausted, message) }
    }
}

fn cost(bytes: u64) -> i64 {
    i64::try_from(bytes).map_or(MOST_BYTES, |bytes| bytes.clamp(QUANTUM, MOST_BYTES))
}

#[cfg(test)]
mod tests;
