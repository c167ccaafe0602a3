//! Answers that are pushed as events arrive.
//!
//! Whoever subscribes to the same question, under the same seal, shares one computation ([`Shared`]), whatever their number. It asks
//! again, by the path of any question, when the ledger says that the pipeline has come further ([`pulse`]), and not before the least
//! interval is over; so what is kept of ended buckets is not computed again. Where nothing was committed it looks every
//! [`STEP`] whether its question means another time by now, or hours of it got new epochs, as by an erasure.
//!
//! Each answer has a number, and how it differs from the one before ([`change`]), worked out once for all. A subscriber remembers
//! only the number that it was sent: whoever missed one gets the next answer whole. So nothing is queued for anyone.

mod change;
mod pulse;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use api::{convert, v1, v1::subscribe_response::Push};
use formula::SealedPlan;
use futures::{Stream, stream};
use mesh::work::Account;
use model::{Error, ErrorCode, Position, TenantId};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    ask::Words,
    freshness::{AppHours, Fresh},
    kept::Question,
    run::{Caller, Engine},
};
use change::Change;
use pulse::Pulse;

/// The least time between pushes: by default, and the bounds of what may be asked for.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVALS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(3_600)];
/// How often a question is looked at that no commit concerns: now() moves on by so much.
const STEP: Duration = Duration::from_secs(10);
/// After so long without another push there is a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What `now` is where questions are compared: any instant does, if it is the same for all.
const SOME_NOW_MS: i64 = 1_700_000_000_999;
/// When who is refused or sent away may come again.
const RETRY: Duration = Duration::from_secs(1);

type Key = [u8; 32];

/// The subscriptions of this process.
pub(crate) struct Live {
    engine: Arc<Engine>,
    pulse: Pulse,
    books: Mutex<Books>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Books {
    /// How many there are.
    all: usize,
    tenants: HashMap<TenantId, usize>,
    shared: HashMap<Key, Weak<Shared>>,
}

/// What identical subscriptions have in common; it ends with the last of them.
struct Shared {
    tenant: TenantId,
    now: watch::Receiver<Now>,
    driver: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// How a shared question stands.
enum Now {
    Answered(Arc<Answer>),
    /// No answer comes any more.
    Over(Error),
}

struct Answer {
    number: u64,
    result: Arc<v1::Result>,
    key_columns: Vec<u32>,
    /// From the answer numbered one less; none if that is not less than the answer itself.
    change: Option<Arc<Change>>,
    /// What is in it.
    reached: Position,
    /// Why there is no newer one.
    behind: String,
}

/// Counted until it is dropped.
struct Seat {
    live: Arc<Live>,
    tenant: TenantId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut books = self.live.books.lock();
        books.all -= 1;
        metrics::gauge!("penstock_query_subscriptions").set(books.all as f64);
        if let Some(count) = books.tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                books.tenants.remove(&self.tenant);
            }
        }
    }
}

impl Live {
    pub(crate) fn new(engine: Arc<Engine>, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { engine, pulse: Pulse::default(), books: Mutex::default(), stop })
    }

    /// The pushes, from the whole answer on. What the question is refused for is told here.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        words: Words,
        mut caller: Caller,
        min_interval: Option<convert::WireDuration>,
    ) -> Result<impl Stream<Item = Result<v1::SubscribeResponse, Error>> + Send + use<>, Error> {
        let interval = interval(min_interval)?;
        if self.stop.is_cancelled() {
            return Err(stopping());
        }
        caller.max_staleness = None;
        let plan = self.engine.seal(&words.at(self.engine.now_ms())?, &caller).await?;
        let seat = self.seat(plan.tenant())?;
        let key = self.key(plan, &words, &caller, interval).await?;
        let wanted = self.engine.freshness.wanted(&caller.options)?;
        let joined = self.find(&key).and_then(|shared| {
            let answer = shared.answer().filter(|answer| wanted.as_ref().is_none_or(|w| answer.reached.covers(w)));
            Some((Arc::clone(&shared), answer?))
        });
        let (shared, first) = match joined {
            Some(joined) => joined,
            None => {
                let answer = Arc::new(ask(&self.engine, &words, &caller).await?);
                (self.join(key, &words, &caller, interval, &answer)?, answer)
            }
        };
        let pulse = self.pulse.listen(&self.engine);
        let now = shared.now.clone();
        let sent = shared.answer().filter(|answer| Arc::ptr_eq(answer, &first)).map(|answer| answer.number);
        let (stop, sent_at) = (self.stop.clone(), Instant::now());
        let push = Ok(said(Push::State(first.whole())));
        let subscription = Subscription { _seat: seat, _shared: shared, now, pulse, stop, sent, sent_at };
        let later = stream::try_unfold(subscription, |mut subscription| async move {
            let push = subscription.next().await?;
            Ok(Some((push, subscription)))
        });
        Ok(futures::StreamExt::chain(stream::iter([push]), later))
    }

    fn seat(self: &Arc<Self>, tenant: &TenantId) -> Result<Seat, Error> {
        let options = &self.engine.options;
        let mut books = self.books.lock();
        let own = books.tenants.get(tenant).copied().unwrap_or(0);
        if own >= options.tenant_max_subscriptions {
            return Err(full(&format!("the tenant has all of its {own} subscriptions")));
        }
        if books.all >= options.max_subscriptions {
            return Err(full(&format!("this process has all of its {} subscriptions", books.all)));
        }
        books.all += 1;
        *books.tenants.entry(tenant.clone()).or_default() += 1;
        metrics::gauge!("penstock_query_subscriptions").set(books.all as f64);
        Ok(Seat { live: Arc::clone(self), tenant: tenant.clone() })
    }

    /// The same for all who ask the same, whenever they come.
    async fn key(
        &self,
        mut plan: SealedPlan,
        words: &Words,
        caller: &Caller,
        interval: Duration,
    ) -> Result<Key, Error> {
        // A question may have no sense at that instant; then only those are the same that come within one second.
        if let Ok(asked) = words.at(SOME_NOW_MS) {
            plan = self.engine.seal(&asked, caller).await.unwrap_or(plan);
        }
        let mut question = Question::of_statement(&plan.compile()?);
        question.add_bytes(&[caller.class as u8]);
        question.add_bytes(&interval.as_millis().to_le_bytes());
        // What the caller sees beside the values.
        plan.plan().columns().for_each(|column| {
            question.add_bytes(column.name.as_bytes());
            question.add_bytes(column.unit.as_bytes());
        });
        Ok(question.digest())
    }

    /// What others subscribed to, if it goes on.
    fn find(&self, key: &Key) -> Option<Arc<Shared>> {
        let shared = self.books.lock().shared.get(key)?.upgrade()?;
        shared.answer().is_some().then_some(shared)
    }

    /// What others subscribed to, or a new one that begins with this answer.
    fn join(
        self: &Arc<Self>,
        key: Key,
        words: &Words,
        caller: &Caller,
        interval: Duration,
        first: &Arc<Answer>,
    ) -> Result<Arc<Shared>, Error> {
        if let Some(shared) = self.find(&key) {
            return Ok(shared);
        }
        let tenant = &caller.context.scope.tenant;
        let mut books = self.books.lock();
        books.shared.retain(|_, shared| shared.strong_count() > 0);
        let own = books.shared.values().filter_map(Weak::upgrade).filter(|shared| shared.tenant == *tenant).count();
        if own >= self.engine.options.tenant_max_live_questions {
            return Err(full(&format!("the tenant's subscriptions ask {own} different questions already, its limit")));
        }
        let (tell, now) = watch::channel(Now::Answered(Arc::clone(first)));
        let driver = Driver {
            engine: Arc::clone(&self.engine),
            words: words.clone(),
            caller: Caller { deadline: None, traceparent: None, ..caller.clone() },
            interval,
            pulse: self.pulse.listen(&self.engine),
            tell,
        };
        let (account, first) = (Account::of(tenant), Arc::clone(first));
        let driver = tokio::spawn(async move { account.charged(driver.run(first)).await }).abort_handle();
        let shared = Arc::new(Shared { tenant: tenant.clone(), now, driver });
        books.shared.insert(key, Arc::downgrade(&shared));
        Ok(shared)
    }
}

/// The whole answer to the question of now, which is refused if it was cut.
async fn ask(engine: &Arc<Engine>, words: &Words, caller: &Caller) -> Result<Answer, Error> {
    let asked = words.at(engine.now_ms())?;
    let key_columns = engine.seal(&asked, caller).await?.plan().row_key().into_iter().map(|at| at as u32).collect();
    let result = engine.answer(&asked, caller).await?;
    let info = result.info.as_ref();
    if info.is_some_and(|info| info.truncated) {
        let message = format!(
            "the answer has more than {} rows, and only a whole one can be subscribed to: ask for fewer groups, or with a LIMIT",
            engine.options.max_rows
        );
        return Err(Error::new(ErrorCode::ResourceExhausted, message));
    }
    let reached = info.and_then(|info| info.watermark.as_ref());
    let reached = reached.map(|watermark| engine.freshness.reached(watermark)).unwrap_or_default();
    Ok(Answer { number: 0, result: Arc::new(result), key_columns, change: None, reached, behind: String::new() })
}

impl Shared {
    /// The newest; none if it is over.
    fn answer(&self) -> Option<Arc<Answer>> {
        match &*self.now.borrow() {
            Now::Answered(answer) => Some(Arc::clone(answer)),
            Now::Over(_) => None,
        }
    }
}

impl Answer {
    fn whole(&self) -> v1::LiveState {
        v1::LiveState { result: Some((*self.result).clone()), key_columns: self.key_columns.clone() }
    }

    fn watermark(&self) -> Option<&v1::Watermark> {
        self.result.info.as_ref()?.watermark.as_ref()
    }
}

/// Asks a shared question again and again.
struct Driver {
    engine: Arc<Engine>,
    words: Words,
    caller: Caller,
    interval: Duration,
    pulse: watch::Receiver<Option<Fresh>>,
    tell: watch::Sender<Now>,
}

impl Driver {
    async fn run(mut self, mut answer: Arc<Answer>) {
        let mut asked_at = Instant::now();
        let mut meant = self.meaning().await;
        let mut pause = self.interval;
        loop {
            sleep_until(asked_at + pause).await;
            // What the ledger says is committed is to be in the answer, whoever computes it.
            self.caller.options.position_token = self.until_news(&answer, &mut meant).await;
            (asked_at, pause) = (Instant::now(), self.interval);
            let next = match ask(&self.engine, &self.words, &self.caller).await {
                Ok(next) => after(&answer, next),
                Err(error) if error.code == ErrorCode::Unavailable || error.retry_after.is_some() => {
                    debug!(%error, "a subscription is behind");
                    pause = pause.max(error.retry_after.unwrap_or(RETRY));
                    let Answer { number, ref result, ref key_columns, ref reached, .. } = *answer;
                    let (result, key_columns, reached) = (Arc::clone(result), key_columns.clone(), reached.clone());
                    Answer { number, result, key_columns, change: None, reached, behind: error.to_string() }
                }
                Err(error) => {
                    warn!(%error, "a subscription ends");
                    self.tell.send_replace(Now::Over(error));
                    return;
                }
            };
            let is_other = next.number != answer.number;
            answer = Arc::new(next);
            self.tell.send_if_modified(|now| {
                *now = Now::Answered(Arc::clone(&answer));
                is_other
            });
        }
    }

    /// Waits until the question may have another answer; the token of what is to be in that.
    async fn until_news(&mut self, answer: &Answer, meant: &mut Option<Key>) -> String {
        let is_new = |fresh: &Option<Fresh>| fresh.as_ref().is_some_and(|f| !answer.reached.covers(&f.reached));
        loop {
            let is_due = !answer.behind.is_empty()
                || match timeout(STEP, self.pulse.wait_for(is_new)).await {
                    Ok(moved) => moved.is_ok(),
                    Err(_) => false,
                };
            let means = self.meaning().await;
            if is_due || means.is_none() || means != *meant {
                *meant = means;
                let fresh = self.pulse.borrow();
                return fresh.as_ref().map_or_else(String::new, |fresh| fresh.watermark.position_token.clone());
            }
        }
    }

    /// What the question means now, and under which epochs; none while that can't be said.
    async fn meaning(&self) -> Option<Key> {
        let asked = self.words.at(self.engine.now_ms()).ok()?;
        let plan = self.engine.seal(&asked, &self.caller).await.ok()?;
        let mut question = Question::of_statement(&plan.compile().ok()?);
        let (tenant, app) = (plan.tenant().clone(), plan.app().clone());
        let ended = self.engine.freshness.ended(AppHours { tenant, app, times: plan.buckets().range }).await?;
        for (hour, epoch) in ended.epochs.iter() {
            question.add_bytes(&hour.to_le_bytes());
            question.add_bytes(&epoch.to_le_bytes());
        }
        Some(question.digest())
    }
}

/// The answer in the row of answers, under the same number if it says the same.
fn after(before: &Answer, next: Answer) -> Answer {
    let is_same = before.result.columns == next.result.columns && before.result.rows == next.result.rows;
    if is_same {
        return Answer { number: before.number, ..next };
    }
    let same_shape = before.result.columns == next.result.columns && before.key_columns == next.key_columns;
    let change = same_shape.then(|| Change::between(&before.result.rows, &next.result.rows, &next.key_columns));
    Answer { number: before.number + 1, change: change.flatten().map(Arc::new), ..next }
}

/// One caller who listens.
struct Subscription {
    _seat: Seat,
    _shared: Arc<Shared>,
    now: watch::Receiver<Now>,
    pulse: watch::Receiver<Option<Fresh>>,
    stop: CancellationToken,
    /// The number of the answer that it was sent last, if that is one of the shared ones.
    sent: Option<u64>,
    sent_at: Instant,
}

impl Subscription {
    async fn next(&mut self) -> Result<v1::SubscribeResponse, Error> {
        let push = loop {
            let answer = match &*self.now.borrow_and_update() {
                Now::Answered(answer) => Arc::clone(answer),
                Now::Over(error) => return Err(error.clone()),
            };
            if self.sent != Some(answer.number) {
                break self.news(&answer);
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(stopping()),
                changed = self.now.changed() => {
                    changed.map_err(|_| Error::internal("a subscription's work was cut off"))?;
                }
                () = sleep_until(self.sent_at + HEARTBEAT) => break self.heartbeat(),
            }
        };
        self.sent_at = Instant::now();
        Ok(said(push))
    }

    fn news(&mut self, answer: &Answer) -> Push {
        let before = self.sent.replace(answer.number);
        match answer.change.as_ref().filter(|_| before.is_some_and(|before| before + 1 == answer.number)) {
            Some(change) => {
                let (upserted, removed) = (change.upserted.clone(), change.removed.clone());
                Push::Change(v1::LiveChange { upserted, removed, info: answer.result.info.clone() })
            }
            None => Push::State(answer.whole()),
        }
    }

    fn heartbeat(&self) -> Push {
        let Now::Answered(answer) = &*self.now.borrow() else { return Push::Heartbeat(v1::Heartbeat::default()) };
        // Where nothing was committed since, the answer is as fresh as the frontier.
        let fresh = self.pulse.borrow();
        let frontier = fresh.as_ref().filter(|fresh| answer.reached.covers(&fresh.reached)).map(|f| &f.watermark);
        let watermark = frontier.or(answer.watermark()).cloned();
        Push::Heartbeat(v1::Heartbeat { watermark, behind: answer.behind.clone() })
    }
}

fn said(push: Push) -> v1::SubscribeResponse {
    v1::SubscribeResponse { push: Some(push) }
}

fn interval(asked: Option<convert::WireDuration>) -> Result<Duration, Error> {
    let Some(asked) = asked else { return Ok(INTERVAL) };
    let interval = convert::duration_from_wire("min_interval", &asked)?;
    if !(INTERVALS[0]..=INTERVALS[1]).contains(&interval) {
        return Err(Error::invalid("min_interval", "MALFORMED", "must be 0.2 s to 3,600 s"));
    }
    Ok(interval)
}

fn full(which: &str) -> Error {
    let message = format!("{which}; end one, or come again");
    Error { retry_after: Some(10 * RETRY), ..Error::new(ErrorCode::ResourceExhausted, message) }
}

fn stopping() -> Error {
    Error::unavailable("this process ends; subscribe again", RETRY)
}
