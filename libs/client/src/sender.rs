//! A bounded queue and the task that empties it.
//!
//! One batch is under way at a time, so events arrive in the order in which they were tracked. Every event has its id from the start: what is
//! sent again counts once.

use std::{future::Future, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};
use tonic::Code;

use crate::{
    Error, Flushed, Rejection, Violation,
    events::Queued,
    store::{Memory, OVERHEAD, Store},
    v1,
};

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(10);

/// When batches leave, and how much may be queued.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) batch_events: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) batch_time: Duration,
    pub(crate) queue_bytes: usize,
}

pub(crate) type OnRejected = Box<dyn Fn(Rejection) + Send + Sync>;

/// How batches get to the server.
pub(crate) trait Wire: Send + Sync + 'static {
    fn publish(&self, request: v1::PublishRequest) -> impl Future<Output = Result<v1::Acknowledgement, Error>> + Send;

    /// Returns the position token.
    fn identify(&self, request: v1::IdentifyRequest) -> impl Future<Output = Result<String, Error>> + Send;
}

/// The caller's side. Without it the task ends.
pub(crate) struct Sender<W: Wire> {
    shared: Arc<Shared<W>>,
    task: Mutex<Option<JoinHandle<()>>>,
    /// Whether what is queued outlives the process.
    kept: bool,
}

struct Shared<W> {
    wire: W,
    app: String,
    limits: Limits,
    on_rejected: OnRejected,
    state: Mutex<State>,
    /// Something is new for the task.
    wake: Notify,
    /// There may be room, or the failure is known.
    room: Notify,
    end: Notify,
}

struct State {
    store: Box<dyn Store>,
    /// All records that came, and all whose end is known.
    queued: u64,
    done: u64,
    total: Flushed,
    due: Instant,
    flushes: Vec<Flush>,
    /// Whether somebody waits for room.
    waited_for: bool,
    failure: Option<Error>,
    closed: bool,
}

struct Flush {
    target: u64,
    told: oneshot::Sender<Result<Flushed, Error>>,
}

/// What the task does next.
enum Next {
    Batch(Vec<Bytes>),
    WaitUntil(Instant),
    Wait,
}

impl<W: Wire> Sender<W> {
    pub(crate) fn new(
        store: Box<dyn Store>,
        kept: bool,
        wire: W,
        app: String,
        limits: Limits,
        on_rejected: OnRejected,
    ) -> Self {
        let queued = store.records() as u64;
        let state = State {
            store,
            queued,
            done: 0,
            total: Flushed::default(),
            due: Instant::now(),
            flushes: Vec::new(),
            waited_for: false,
            failure: None,
            closed: false,
        };
        let (wake, room, end) = (Notify::new(), Notify::new(), Notify::new());
        let shared = Arc::new(Shared { wire, app, limits, on_rejected, state: Mutex::new(state), wake, room, end });
        let working = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = working.end.notified() => {}
                () = working.work() => {}
            }
        });
        Self { shared, task: Mutex::new(Some(task)), kept }
    }

    /// Queues a record; waits while there is no room.
    pub(crate) async fn put(&self, record: Bytes) -> Result<(), Error> {
        loop {
            let mut room = std::pin::pin!(self.shared.room.notified());
            room.as_mut().enable(); // what comes from here on is heard
            if self.shared.offer(&record, true)? {
                return Ok(());
            }
            room.await;
        }
    }

    /// Queues a record, if there is room.
    pub(crate) fn try_put(&self, record: &Bytes) -> Result<(), Error> {
        if self.shared.offer(record, false)? { Ok(()) } else { Err(Error::QueueFull) }
    }

    /// Returns when the end of everything queued so far is known, or with what keeps it from being sent.
    pub(crate) async fn flush(&self) -> Result<Flushed, Error> {
        let (told, end) = oneshot::channel();
        {
            let mut state = self.shared.state.lock();
            if state.closed {
                return Err(Error::Closed);
            }
            state.failure = None;
            let target = state.queued;
            state.flushes.push(Flush { target, told });
            state.settle();
        }
        self.shared.wake.notify_one();
        end.await.unwrap_or(Err(Error::Closed))
    }

    /// Ends the task. What is still queued is kept on disk, or handed out as rejected.
    pub(crate) async fn close(&self) {
        if mem::replace(&mut self.shared.state.lock().closed, true) {
            return;
        }
        self.shared.end.notify_one();
        let task = self.task.lock().take();
        if let Some(task) = task {
            let _ = task.await;
        }
        self.shared.fail(&Error::Closed);
        let mut store = mem::replace(&mut self.shared.state.lock().store, Box::new(Memory::default()));
        while !self.kept && store.records() > 0 {
            let Ok(left) = store.first(self.shared.limits.batch_events, self.shared.limits.batch_bytes) else { break };
            let why = "the client was closed before it could be sent";
            left.iter().for_each(|record| self.shared.reject(record, "NOT_SENT", "", why));
            if store.forget(left.len()).is_err() {
                break;
            }
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.shared.state.lock().store.records()
    }

    pub(crate) fn token(&self) -> String {
        self.shared.token()
    }
}

impl<W: Wire> Drop for Sender<W> {
    fn drop(&mut self) {
        self.shared.end.notify_one();
        let state = self.shared.state.lock();
        let left = state.store.records();
        if left > 0 && !self.kept {
            tracing::warn!(left, "the client was dropped without close: what was queued is lost");
        }
    }
}

impl State {
    fn full_batch(&self, limits: &Limits) -> bool {
        self.store.records() >= limits.batch_events || self.store.size() >= limits.batch_bytes
    }

    /// Ends the flushes that have what they wait for.
    fn settle(&mut self) {
        let done = self.done;
        let (over, left) = mem::take(&mut self.flushes).into_iter().partition(|flush| flush.target <= done);
        self.flushes = left;
        let over: Vec<Flush> = over;
        for flush in over {
            // Whoever gave up waiting takes no counts along.
            if flush.told.send(Ok(self.total.clone())).is_ok() {
                (self.total.accepted, self.total.rejected) = (0, 0);
            }
        }
    }
}

impl<W: Wire> Shared<W> {
    /// Queues a record; false if there is no room.
    fn offer(&self, record: &Bytes, waits: bool) -> Result<bool, Error> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let first = state.store.records() == 0;
        if !first && state.store.size() + record.len() + OVERHEAD > self.limits.queue_bytes {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            state.waited_for |= waits;
            drop(state);
            self.wake.notify_one();
            return Ok(false);
        }
        state.store.add(record.clone())?;
        state.queued += 1;
        if first {
            state.due = Instant::now() + self.limits.batch_time;
        }
        if first || state.full_batch(&self.limits) {
            self.wake.notify_one();
        }
        Ok(true)
    }

    async fn work(&self) {
        let mut attempt = 0;
        loop {
            let sent = match self.next() {
                Ok(Next::Wait) => {
                    self.wake.notified().await;
                    continue;
                }
                Ok(Next::WaitUntil(due)) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.wake.notified() => {}
                    }
                    continue;
                }
                Ok(Next::Batch(batch)) => self.send(&batch).await.and_then(|count| self.forget(count)),
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => attempt = 0,
                Err(error) if error.is_retryable() => {
                    attempt += 1;
                    let pause = pause(&error, attempt, rand::random());
                    tracing::warn!(?pause, %error, "a batch is sent again");
                    sleep(pause).await;
                }
                Err(error) => self.fail(&error),
            }
        }
    }

    /// The batch that is to leave, records of one kind; or for how long there is none.
    fn next(&self) -> Result<Next, Error> {
        let mut state = self.state.lock();
        if state.store.records() == 0 || state.failure.is_some() {
            return Ok(Next::Wait);
        }
        let now = Instant::now();
        let hurried = !state.flushes.is_empty() || state.waited_for || state.full_batch(&self.limits);
        if now < state.due && !hurried {
            return Ok(Next::WaitUntil(state.due));
        }
        // Whatever comes from now on has waited for less long.
        state.due = now + self.limits.batch_time;
        let mut batch = state.store.first(self.limits.batch_events, self.limits.batch_bytes)?;
        let kind = |record: &Bytes| record.first().copied();
        let alike = batch.iter().take_while(|record| kind(record) == batch.first().and_then(kind)).count();
        batch.truncate(alike);
        Ok(Next::Batch(batch))
    }

    /// Sends the first of a batch, and returns how many records have their end; with an error none has.
    async fn send(&self, batch: &[Bytes]) -> Result<usize, Error> {
        let mut sending = batch;
        loop {
            let failed = match self.ask(sending).await {
                Ok(count) => return Ok(count),
                Err(error) => error,
            };
            let Some(what) = refusal(&failed) else { return Err(failed) };
            let other = failed.violations().iter().any(|v| v.field == "position_token");
            if other && !mem::take(&mut self.state.lock().total.token).is_empty() {
                continue; // the token was another installation's
            }
            match sending {
                [alone] => {
                    let field = what.field.strip_prefix("events[0].").unwrap_or(&what.field);
                    self.reject(alone, &what.reason, field, &what.description);
                    return Ok(1);
                }
                more => sending = more.get(..more.len() / 2).unwrap_or(more), // more than the server takes at once
            }
        }
    }

    async fn ask(&self, batch: &[Bytes]) -> Result<usize, Error> {
        let mut events = Vec::with_capacity(batch.len());
        for record in batch {
            match Queued::read(record) {
                Some(Queued::Event(event)) => events.push(event),
                Some(Queued::Identity(user)) => return self.identify(user).await,
                None if events.is_empty() => {
                    self.reject(record, "MALFORMED", "", "what lies in the queue is no record of this form");
                    return Ok(1);
                }
                None => break, // the records before it go first
            }
        }
        let count = events.len();
        let request = v1::PublishRequest { app_id: self.app.clone(), events, position_token: self.token() };
        let said = self.wire.publish(request).await?;
        for rejection in said.rejections {
            let Some(record) = batch.get(rejection.index as usize) else { continue };
            let field = rejection.field.split_once('.').map_or("", |(_, field)| field);
            self.reject(record, &rejection.code, field, &rejection.message);
        }
        self.acknowledged(said.accepted, said.position_token);
        Ok(count)
    }

    async fn identify(&self, mut user: v1::IdentifyRequest) -> Result<usize, Error> {
        if user.app_id.is_empty() {
            user.app_id.clone_from(&self.app);
        }
        user.position_token = self.token();
        let token = self.wire.identify(user).await?;
        self.acknowledged(0, token);
        Ok(1)
    }

    fn token(&self) -> String {
        self.state.lock().total.token.clone()
    }

    fn acknowledged(&self, accepted: u32, token: String) {
        let mut state = self.state.lock();
        state.total.accepted += u64::from(accepted);
        if !token.is_empty() {
            state.total.token = token;
        }
    }

    fn reject(&self, record: &[u8], code: &str, field: &str, description: &str) {
        self.state.lock().total.rejected += 1;
        let (event, identity) = Queued::read(record).map_or((None, None), Queued::given);
        let (code, field, description) = (code.to_owned(), field.to_owned(), description.to_owned());
        (self.on_rejected)(Rejection { code, field, description, event, identity });
    }

    fn forget(&self, count: usize) -> Result<(), Error> {
        let mut state = self.state.lock();
        state.store.forget(count)?;
        state.done += count as u64;
        state.settle();
        state.waited_for = false;
        drop(state);
        self.room.notify_waiters();
        Ok(())
    }

    /// Tells all who wait what keeps the queue from being sent. It stays as it is until the next flush.
    fn fail(&self, error: &Error) {
        let mut state = self.state.lock();
        if !state.closed {
            state.failure = Some(error.clone());
            tracing::error!(%error, "what is queued can't be sent, and stays queued until the next flush");
        }
        for flush in mem::take(&mut state.flushes) {
            let _ = flush.told.send(Err(error.clone()));
        }
        state.waited_for = false;
        drop(state);
        self.room.notify_waiters();
    }
}

/// What is at fault in a batch that was refused for what it says, not for who says it.
fn refusal(error: &Error) -> Option<Violation> {
    let failure = error.failure().filter(|failure| failure.code == Code::InvalidArgument)?;
    Some(failure.violations.first().cloned().unwrap_or_else(|| Violation {
        field: String::new(),
        reason: failure.reason.clone(),
        description: failure.message.clone(),
    }))
}

/// How long to wait before trying again: as long as the server says, or a share of a time that doubles.
fn pause(error: &Error, attempt: u32, share: f64) -> Duration {
    let longest = RETRY_FIRST.saturating_mul(1 << (attempt - 1).min(16)).min(RETRY_MOST);
    error.retry_after().unwrap_or_default().max(longest.mul_f64(share))
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
