//! A sealed plan into an answer.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::v1;
use formula::{Route, SealedPlan, Statement};
use futures::{Stream, poll, stream};
use mesh::{context::CallContext, trace};
use model::{Error, ErrorCode, Position, Priority};
use parking_lot::Mutex;
use storage::{
    Apps, Cache, Warehouse,
    warehouse::{QuerySettings, ReadCost, RowBlock, RowStream},
};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, debug_span, field::Empty, warn};

use crate::{
    Options, Parts,
    admit::{Admission, Estimates, Extent, Leave, Place},
    answer,
    ask::{self, Asked},
    breaker::Breaker,
    flight::{Flights, Frontier},
    freshness::{Fresh, Freshness},
    kept::{Kept, Question},
    last::Last,
};

/// Rows in one part of a streamed answer.
const PART_ROWS: usize = 10_000;

/// "Now" is the last millisecond of one, so that who asks for the same within it asks for the same, and what was acknowledged a
/// moment ago is not after now.
const SECOND_MS: i64 = 1_000;

/// Answers questions.
pub(crate) struct Engine {
    apps: Arc<Apps>,
    warehouse: Warehouse,
    breaker: Breaker,
    cache: Arc<dyn Cache>,
    pub(crate) freshness: Freshness,
    admission: Admission,
    estimates: Arc<Estimates>,
    flights: Flights<Computed>,
    pub(crate) options: Options,
    now_ms: fn() -> i64,
}

/// Who asks, and what comes with the question.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) context: Arc<CallContext>,
    /// In which queue the question waits.
    pub(crate) class: Priority,
    /// How long the caller waits.
    pub(crate) deadline: Option<Instant>,
    /// How old an earlier answer may be that is given while the warehouse is away.
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) options: v1::ReadOptions,
    /// The one route that may be taken beside raw; any if it is none.
    pub(crate) route: Option<v1::Route>,
    pub(crate) traceparent: Option<String>,
}

impl Caller {
    fn allows(&self, route: v1::Route) -> bool {
        self.route.is_none_or(|only| only == route)
    }
}

/// What is to be computed, and in which queue.
pub(crate) struct Work {
    plan: SealedPlan,
    statement: Statement,
    extent: Extent,
    class: Priority,
    max_execution_ms: u64,
    traceparent: Option<String>,
}

/// A query that runs.
pub(crate) struct Running {
    work: Work,
    rows: RowStream,
    span: Span,
    fresh: Fresh,
    started: Instant,
    queued: Duration,
    breaker: Breaker,
    estimates: Arc<Estimates>,
    leave: Leave,
}

/// What a query found, for all who wait for it.
struct Computed {
    rows: Vec<v1::Row>,
    truncated: bool,
    route: v1::Route,
    fresh: Fresh,
    read: Option<ReadCost>,
    queued: Duration,
    /// Whether one of them has seen to what is kept of it.
    is_kept: AtomicBool,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { apps, ledger, topic, partitions, warehouse, cache, options, token_key, now_ms, .. } = parts;
        let freshness = Freshness { ledger, topic, partitions, token_key, known: Mutex::default() };
        let breaker = Breaker::new(warehouse.clone(), Duration::from_millis(options.silence_ms));
        let admission = Admission::new(&options, now_ms);
        let (estimates, flights) = (Arc::default(), Flights::default());
        Arc::new(Self { apps, warehouse, breaker, cache, freshness, admission, estimates, flights, options, now_ms })
    }

    /// What a question calls now.
    pub(crate) fn now_ms(&self) -> i64 {
        let now_ms = (self.now_ms)();
        now_ms - now_ms.rem_euclid(SECOND_MS) + SECOND_MS - 1
    }

    /// The question as a sealed plan.
    pub(crate) async fn seal(&self, asked: &Asked, caller: &Caller) -> Result<SealedPlan, Error> {
        let plan = ask::seal(asked, &caller.context, &self.apps, &caller.options.time_zone, self.now_ms()).await?;
        Ok(if caller.allows(v1::Route::Rollup) { plan } else { plan.without_rollups() })
    }

    /// The whole answer, up to the row cap; an earlier one if the warehouse is away and the caller takes that.
    pub(crate) async fn answer(self: &Arc<Self>, asked: &Asked, caller: &Caller) -> Result<v1::Result, Error> {
        let started = Instant::now();
        let plan = self.seal(asked, caller).await?;
        let wanted = self.freshness.wanted(&caller.options)?;
        let last = match caller.max_staleness.filter(|_| wanted.is_none()) {
            Some(max) => {
                let words = [&*asked.words, caller.options.time_zone.as_bytes()].join(&0);
                Some(Last::of(&plan, &words, max, (self.now_ms)())?)
            }
            None => None,
        };
        let answer = self.fresh_answer(&plan, wanted.as_ref(), caller, started).await;
        match (answer, last) {
            (Ok(answer), Some(last)) => {
                last.keep(&answer, &self.cache);
                Ok(answer)
            }
            (Err(error), Some(last)) if error.code == ErrorCode::Unavailable => {
                last.find(&*self.cache).await.ok_or(error)
            }
            (answer, _) => answer,
        }
    }

    async fn fresh_answer(
        self: &Arc<Self>,
        plan: &SealedPlan,
        wanted: Option<&Position>,
        caller: &Caller,
        started: Instant,
    ) -> Result<v1::Result, Error> {
        let fresh = self.freshness.ready(wanted, &caller.options).await?;
        let kept = match caller.allows(v1::Route::Cache) {
            true => Kept::find(plan, &self.freshness, &*self.cache).await?,
            false => None,
        };
        if let Some(kept) = kept
            && let Some(answer) = self.put_together(plan, kept, wanted, caller, &fresh, started).await?
        {
            return Ok(answer);
        }
        let computed = self.compute(self.work(plan.clone(), None, caller)?, &[], wanted, caller, &fresh).await?;
        let info = Some(computed.info(&computed.fresh, computed.route, computed.truncated, started));
        Ok(v1::Result { columns: columns(plan), rows: rows(computed), info })
    }

    /// The answer from what is kept and what is left to compute; `None` if that is more than the row cap.
    async fn put_together(
        self: &Arc<Self>,
        plan: &SealedPlan,
        kept: Kept,
        wanted: Option<&Position>,
        caller: &Caller,
        fresh: &Fresh,
        started: Instant,
    ) -> Result<Option<v1::Result>, Error> {
        let (missing, keys): (_, Vec<_>) = (kept.missing(), kept.missing_keys().collect());
        let nothing = || Arc::new(Computed::nothing(fresh));
        let computed = match missing.is_empty() {
            true => nothing(),
            false => {
                let work = self.work(plan.over(&missing), Some(&missing), caller)?;
                self.compute(work, &keys, wanted, caller, fresh).await?
            }
        };
        if computed.truncated {
            return Ok(None); // some of them between others, where nobody would look for the end
        }
        let route = if kept.has_any() || missing.is_empty() { v1::Route::Cache } else { computed.route };
        // What was kept is as of now, what others computed perhaps of a moment before.
        let oldest = if computed.fresh.reached.covers(&fresh.reached) { fresh } else { &computed.fresh };
        let keep = !computed.is_kept.swap(true, Ordering::Relaxed);
        let mut info = computed.info(oldest, route, false, started);
        let mut rows = kept.put_together(rows(computed), keep, &self.cache);
        info.truncated = rows.len() > self.options.max_rows;
        rows.truncate(self.options.max_rows);
        Ok(Some(v1::Result { columns: columns(plan), rows, info: Some(info) }))
    }

    /// The rows, up to the row cap, computed once for all who ask for the same at a time. `keys` says what else their use depends on.
    async fn compute(
        self: &Arc<Self>,
        work: Work,
        keys: &[&str],
        wanted: Option<&Position>,
        caller: &Caller,
        fresh: &Fresh,
    ) -> Result<Arc<Computed>, Error> {
        let mut key = Question::of_statement(&work.statement);
        key.add_bytes(&[work.class as u8]);
        keys.iter().for_each(|part| key.add_bytes(part.as_bytes()));
        let begin = |frontier: Frontier| {
            self.admission.in_time(work.plan.tenant(), work.class, caller.deadline)?;
            let (engine, fresh) = (Arc::clone(self), fresh.clone());
            Ok(async move { engine.run_whole(work, fresh, &frontier).await })
        };
        self.flights.join(key.digest(), wanted, (fresh.at, fresh.reached.clone()), begin).await
    }

    async fn run_whole(&self, work: Work, fresh: Fresh, frontier: &Frontier) -> Result<Computed, Error> {
        let mut running = self.run(work, fresh, frontier, Instant::now()).await?;
        let (mut rows, mut truncated) = (Vec::new(), false);
        while let Some(block) = running.next().await? {
            rows.extend(answer::rows(block));
            if rows.len() > self.options.max_rows {
                rows.truncate(self.options.max_rows);
                truncated = true;
                break; // dropping the stream stops the query
            }
        }
        let (route, read, queued) = (running.route(), running.rows.cost(), running.queued);
        let is_kept = AtomicBool::new(false);
        Ok(Computed { rows, truncated, route, fresh: running.fresh, read, queued, is_kept })
    }

    /// The answer as it comes.
    pub(crate) async fn stream(
        &self,
        asked: &Asked,
        caller: &Caller,
    ) -> Result<impl Stream<Item = Result<v1::ResultPart, Error>> + Send + use<>, Error> {
        let started = Instant::now();
        let plan = self.seal(asked, caller).await?;
        let wanted = self.freshness.wanted(&caller.options)?;
        let fresh = self.freshness.ready(wanted.as_ref(), &caller.options).await?;
        self.admission.in_time(plan.tenant(), caller.class, caller.deadline)?;
        let frontier = Frontier::new(fresh.at, fresh.reached.clone());
        let running = self.run(self.work(plan, None, caller)?, fresh, &frontier, started).await?;
        let columns = columns(&running.work.plan);
        let header = v1::Result { columns, rows: Vec::new(), info: Some(running.info(false)) };
        let first = part(v1::result_part::Part::Header(header));
        let rest =
            stream::try_unfold((Some(running), Vec::new()), |(running, mut waiting): (_, Vec<v1::Row>)| async move {
                let Some(mut running): Option<Running> = running else { return Ok(None) };
                while waiting.is_empty() {
                    match running.next().await? {
                        Some(block) => waiting = answer::rows(block),
                        None => {
                            return Ok(Some((part(v1::result_part::Part::End(running.info(true))), (None, waiting))));
                        }
                    }
                }
                let later = waiting.split_off(waiting.len().min(PART_ROWS));
                let rows = v1::RowBatch { rows: waiting };
                Ok(Some((part(v1::result_part::Part::Rows(rows)), (Some(running), later))))
            });
        Ok(futures::StreamExt::chain(stream::iter([Ok(first)]), rest))
    }

    fn work(&self, plan: SealedPlan, times: Option<&[Range<i64>]>, caller: &Caller) -> Result<Work, Error> {
        let extent = times.map_or_else(|| self.extent(&plan), |times| Extent::of(times, self.now_ms()));
        let (statement, traceparent) = (plan.compile()?, caller.traceparent.clone());
        let max_execution_ms = self.options.max_execution_ms;
        Ok(Work { plan, statement, extent, class: caller.class, max_execution_ms, traceparent })
    }

    /// The work of an export, whose readers may be slow.
    pub(crate) fn export_work(&self, plan: SealedPlan, caller: &Caller) -> Result<Work, Error> {
        Ok(Work { max_execution_ms: self.options.export_max_execution_ms, ..self.work(plan, None, caller)? })
    }

    fn extent(&self, plan: &SealedPlan) -> Extent {
        let range = plan.plan().range();
        let times = range.from_ms.unwrap_or(i64::MIN)..range.to_ms.unwrap_or(i64::MAX);
        Extent::of(&[times], self.now_ms())
    }

    /// What a plan is expected to read.
    pub(crate) fn expected_bytes(&self, plan: &SealedPlan) -> u64 {
        self.estimates.expect(&place(plan), self.extent(plan))
    }

    /// Begins a query when its turn comes.
    pub(crate) async fn run(
        &self,
        work: Work,
        fresh: Fresh,
        frontier: &Frontier,
        started: Instant,
    ) -> Result<Running, Error> {
        self.breaker.pass()?;
        let (came, tenant) = (Instant::now(), work.plan.tenant().clone());
        let bytes = self.estimates.expect(&place(&work.plan), work.extent);
        let mut enter = std::pin::pin!(self.admission.enter(&tenant, work.class, bytes));
        let (leave, fresh) = match poll!(enter.as_mut()) {
            std::task::Poll::Ready(leave) => (leave?, fresh),
            std::task::Poll::Pending => {
                frontier.later();
                let leave = enter.await?;
                // What was committed while it waited is in the answer, so it may say so.
                frontier.now();
                let fresh = self.freshness.now().await?;
                frontier.read(fresh.at, fresh.reached.clone());
                (leave, fresh)
            }
        };
        let queued = came.elapsed();
        self.breaker.pass()?;
        let query_id = uuid::Uuid::new_v4().to_string();
        let span = trace::when_sampled(|| {
            let (kind, system) = ("client", "clickhouse");
            debug_span!("select", otel.kind = kind, otel.status_code = Empty, db.system.name = system, %query_id)
        });
        let settings = QuerySettings {
            query_id,
            max_execution_time: Some(Duration::from_millis(work.max_execution_ms)),
            max_memory_bytes: Some(self.options.max_memory_bytes),
            max_threads: (work.class == Priority::Background).then_some(1),
            priority: Some(work.class as u32 + 1),
            traceparent: trace::traceparent(&span).or_else(|| work.traceparent.clone()),
            ..QuerySettings::default()
        };
        debug!(query_id = %settings.query_id, %tenant, app = %work.plan.app(), "query");
        let params: Vec<_> = work.statement.params().iter().map(|p| (p.name.as_str(), p.value.clone())).collect();
        let rows = self.warehouse.select(work.statement.text(), &params, &settings)?;
        let (breaker, estimates) = (self.breaker.clone(), Arc::clone(&self.estimates));
        Ok(Running { work, rows, span, fresh, started, queued, breaker, estimates, leave })
    }
}

impl Running {
    pub(crate) async fn next(&mut self) -> Result<Option<RowBlock>, Error> {
        let next = self.rows.next().instrument(self.span.clone());
        let failed = match self.breaker.watch(next).await? {
            Ok(Some(block)) => return Ok(Some(block)),
            Ok(None) => {
                self.settle();
                return Ok(None);
            }
            Err(error) => error,
        };
        self.span.record("otel.status_code", "ERROR");
        warn!(error = %failed, "a query failed in the warehouse");
        if failed.is_unavailable() {
            self.breaker.suspect().await;
        }
        Err(failed.into())
    }

    /// Charges what was read, if the server told it, and learns from it.
    fn settle(&mut self) {
        let Some(read) = self.rows.cost() else { return };
        self.leave.read(read.bytes);
        self.estimates.learn(place(&self.work.plan), self.work.extent, read.bytes);
    }

    fn route(&self) -> v1::Route {
        answer::route(self.work.statement.route())
    }

    fn info(&self, with_cost: bool) -> v1::ResultInfo {
        let cost = with_cost.then(|| cost(self.started, self.queued, self.rows.cost()));
        let watermark = Some(self.fresh.watermark.clone());
        v1::ResultInfo { watermark, route: self.route().into(), cost, ..v1::ResultInfo::default() }
    }
}

impl Computed {
    /// Of what needs no query.
    fn nothing(fresh: &Fresh) -> Self {
        let (rows, route, read) = (Vec::new(), v1::Route::Cache, None);
        let (fresh, queued, is_kept) = (fresh.clone(), Duration::ZERO, AtomicBool::new(false));
        Self { rows, truncated: false, route, fresh, read, queued, is_kept }
    }

    fn info(&self, fresh: &Fresh, route: v1::Route, truncated: bool, started: Instant) -> v1::ResultInfo {
        let (watermark, cost) = (Some(fresh.watermark.clone()), Some(cost(started, self.queued, self.read)));
        v1::ResultInfo { watermark, route: route.into(), cost, truncated, stale: false }
    }
}

fn place(plan: &SealedPlan) -> Place {
    let rollup = plan.route() == Route::DailyUsers;
    Place { tenant: plan.tenant().clone(), app: plan.app().clone(), rollup }
}

fn cost(started: Instant, queued: Duration, read: Option<ReadCost>) -> v1::Cost {
    let ReadCost { rows, bytes } = read.unwrap_or(ReadCost { rows: 0, bytes: 0 });
    let us = |time: Duration| time.as_micros() as u64;
    v1::Cost { elapsed_us: us(started.elapsed()), read_rows: rows, read_bytes: bytes, queued_us: us(queued) }
}

/// Those that were computed; nobody else may wait for them.
fn rows(computed: Arc<Computed>) -> Vec<v1::Row> {
    Arc::try_unwrap(computed).map_or_else(|shared| shared.rows.clone(), |own| own.rows)
}

fn columns(plan: &SealedPlan) -> Vec<v1::Column> {
    plan.plan().columns().map(answer::column).collect()
}

fn part(part: v1::result_part::Part) -> v1::ResultPart {
    v1::ResultPart { part: Some(part) }
}
