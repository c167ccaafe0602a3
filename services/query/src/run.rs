//! A sealed plan into an answer.

mod analyzed;
mod computed;
mod statement;

use std::{
    ops::Range,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use api::v1;
use formula::SealedPlan;
use futures::{Stream, stream};
use mesh::{context::CallContext, exemplar, limits::Limits};
use model::{Act, Error, ErrorCode, Position, Priority};
use parking_lot::Mutex;
use storage::{Apps, Audit, Brandings, Cache, Warehouse, warehouse::ReadCost};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::warn;

pub(crate) use self::statement::{Running, Work};
use self::{
    computed::{Computed, rows},
    statement::place,
};
use crate::{
    Options, Parts,
    admit::{Admission, Estimates, Extent},
    answer,
    ask::{self, Asked},
    breaker::Breaker,
    elsewhere::{Claims, Outcome},
    flight::{Flights, Frontier},
    freshness::{AppHours, Ended, Fresh, Freshness},
    kept::{Kept, Question},
    last::Last,
    marks::Marks,
    spend::Reading,
    states::{Builder, Count, States},
};

/// Rows in one part of a streamed answer.
const PART_ROWS: usize = 10_000;

/// The part of the time until its deadline for which a caller waits that would rather have an earlier answer than none.
const PATIENT_FOR: f64 = 0.8;

/// "Now" is the last millisecond of one, so that who asks for the same within it asks for the same, and what was acknowledged a
/// moment ago is not after now.
const SECOND_MS: i64 = 1_000;

/// Answers questions.
pub(crate) struct Engine {
    pub(crate) apps: Arc<Apps>,
    pub(crate) audit: Arc<dyn Audit>,
    pub(crate) brandings: Arc<dyn Brandings>,
    warehouse: Warehouse,
    breaker: Breaker,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) freshness: Arc<Freshness>,
    marks: Marks,
    pub(crate) states: Arc<States>,
    admission: Admission,
    reading: Arc<Reading>,
    estimates: Arc<Estimates>,
    flights: Flights<Computed>,
    claims: Claims,
    pub(crate) options: Options,
    now_ms: fn() -> i64,
    /// What goes on in the background, as long as this is there.
    _background: JoinSet<()>,
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
    pub(crate) fn allows(&self, route: v1::Route) -> bool {
        self.route.is_none_or(|only| only == route)
    }
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            apps,
            ledger,
            directory,
            name,
            audit,
            brandings,
            states,
            topic,
            partitions,
            warehouse,
            cache,
            options,
            token_key,
            now_ms,
            ..
        } = parts;
        let limits = Limits::follow(Arc::clone(&cache), directory, ("query", name), 0);
        let claims = Claims::new(Arc::clone(&cache), Arc::clone(&limits));
        let reading = Arc::new(Reading::new(limits, &options));
        let freshness = Arc::new(Freshness::new(Arc::clone(&ledger), topic, partitions, token_key));
        let marks = Marks::new(Arc::clone(&ledger), now_ms);
        let breaker = Breaker::new(warehouse.clone(), Duration::from_millis(options.silence_ms));
        let admission = Admission::new(&options, now_ms);
        let states = Arc::new(States::new(states, &options, now_ms));
        let (estimates, flights) = (Arc::<Estimates>::default(), Flights::default());
        let builder = Builder {
            states: Arc::clone(&states),
            freshness: Arc::clone(&freshness),
            ledger,
            warehouse: warehouse.clone(),
            breaker: breaker.clone(),
            admission: admission.clone(),
            estimates: Arc::clone(&estimates),
            options: options.clone(),
            owner: uuid::Uuid::new_v4().to_string(),
            now_ms,
        };
        let _background = JoinSet::from_iter([builder.run()]);
        Arc::new(Self {
            apps,
            audit,
            brandings,
            warehouse,
            breaker,
            cache,
            freshness,
            marks,
            states,
            admission,
            reading,
            estimates,
            flights,
            claims,
            options,
            now_ms,
            _background,
        })
    }

    /// What a question calls now.
    pub(crate) fn now_ms(&self) -> i64 {
        let now_ms = (self.now_ms)();
        now_ms - now_ms.rem_euclid(SECOND_MS) + SECOND_MS - 1
    }

    /// The call as the audit log tells of it.
    pub(crate) fn act(&self, method: &str, caller: &Caller) -> Act {
        caller.context.act(method, caller.traceparent.as_deref(), (self.now_ms)())
    }

    /// The question as a sealed plan.
    pub(crate) async fn seal(&self, asked: &Asked, caller: &Caller) -> Result<SealedPlan, Error> {
        let plan = ask::seal(asked, &caller.context, &self.apps, &caller.options.time_zone, self.now_ms()).await?;
        Ok(if caller.allows(v1::Route::Rollup) { plan } else { plan.without_rollups() })
    }

    /// The whole answer, up to the row cap; an earlier one if the warehouse is away or too slow, and the caller takes that.
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
        let fresh = self.fresh_answer(&plan, asked.counts(), wanted.as_ref(), caller, started);
        let answer = match (&last, caller.deadline) {
            // Who takes an earlier answer needs it before the deadline: a slow warehouse has until then.
            (Some(last), Some(deadline)) => {
                let mut fresh = pin!(fresh);
                match timeout_at(started + (deadline - started).mul_f64(PATIENT_FOR), &mut fresh).await {
                    Ok(answer) => answer,
                    Err(_) => match last.find(&*self.cache).await {
                        Some(earlier) => return Ok(earlier),
                        None => fresh.await,
                    },
                }
            }
            _ => fresh.await,
        };
        if let Ok(answer) = &answer {
            let route = answer.info.as_ref().map_or("", |info| info.route().as_str_name());
            exemplar::record("penstock_query_seconds", ("route", route), started.elapsed().as_secs_f64());
        }
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
        count: Count,
        wanted: Option<&Position>,
        caller: &Caller,
        started: Instant,
    ) -> Result<v1::Result, Error> {
        let (fresh, ended) = self.freshness.ready(wanted, &caller.options, hours(plan)).await?;
        let known = ended.as_ref().filter(|_| caller.allows(v1::Route::States)).map(|ended| (ended, count));
        let kept = match &ended {
            Some(ended) if caller.allows(v1::Route::Cache) => Kept::find(plan, ended, &*self.cache).await?,
            _ => None,
        };
        if kept.as_ref().is_some_and(|kept| kept.wants_mark) {
            self.marks.want(plan.tenant(), plan.app());
        }
        if let Some(kept) = kept.filter(Kept::keeps_any)
            && let Some(answer) = self.put_together(plan, (kept, known), wanted, caller, &fresh, started).await?
        {
            return Ok(answer);
        }
        let work = self.work(plan, None, known, caller).await?;
        let computed = self.compute(work, (&[], Vec::new()), wanted, caller, &fresh).await?;
        Ok(computed.result(plan, &fresh, started))
    }

    /// Which hours of the plan's range have ended; `None` if nobody would ask.
    pub(crate) async fn ended(&self, plan: &SealedPlan) -> Option<Ended> {
        self.freshness.ended(hours(plan)?).await
    }

    /// The answer from what is kept and what is left to compute; `None` if that is more than the row cap.
    async fn put_together(
        self: &Arc<Self>,
        plan: &SealedPlan,
        (kept, known): (Kept, Option<(&Ended, Count)>),
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
                let work = self.work(plan, Some(&missing), known, caller).await?;
                self.compute(work, (&keys, kept.missing_as_kept()), wanted, caller, fresh).await?
            }
        };
        if computed.truncated {
            // Some of them between others, where nobody would look for the end.
            return Ok((!kept.has_any()).then(|| computed.result(plan, fresh, started)));
        }
        let has_any = kept.has_any();
        let keep = (!computed.is_kept.swap(true, Ordering::Relaxed)).then(|| computed.claim.lock().take());
        let mut info = computed.info(if has_any { computed.oldest(fresh) } else { computed.promised(fresh) }, started);
        if has_any {
            info.route = v1::Route::Cache.into();
        }
        let mut rows = kept.put_together(rows(computed), keep, &self.cache);
        info.truncated = rows.len() > self.options.max_rows;
        rows.truncate(self.options.max_rows);
        Ok(Some(v1::Result { columns: columns(plan), rows, info: Some(info) }))
    }

    /// The rows, up to the row cap, computed once for all who ask for the same at a time. `keys` says what else their use depends on, and
    /// under which they are kept, if all are.
    async fn compute(
        self: &Arc<Self>,
        work: Work,
        (keys, kept): (&[&str], Vec<String>),
        wanted: Option<&Position>,
        caller: &Caller,
        fresh: &Fresh,
    ) -> Result<Arc<Computed>, Error> {
        let mut key = Question::of_statement(&work.statement);
        key.add_bytes(&[work.class as u8]);
        keys.iter().for_each(|part| key.add_bytes(part.as_bytes()));
        let key = key.digest();
        let begin = |frontier: Frontier| {
            self.admission.in_time(work.plan.tenant(), work.class, caller.deadline)?;
            let (engine, fresh) = (Arc::clone(self), fresh.clone());
            Ok(async move {
                match engine.claims.claim(&key, &kept).await {
                    Outcome::Elsewhere(rows) => Ok(Computed::elsewhere(rows, &fresh)),
                    Outcome::Here(claim) => {
                        let computed = engine.run_whole(work, fresh, &frontier).await?;
                        Ok(Computed { claim: Mutex::new(claim), ..computed })
                    }
                }
            })
        };
        self.flights.join(key, wanted, (fresh.at, fresh.reached.clone()), begin).await
    }

    async fn run_whole(&self, work: Work, fresh: Fresh, frontier: &Frontier) -> Result<Computed, Error> {
        let Some((times, life)) = work.by_states.clone() else { return self.run_once(work, fresh, frontier).await };
        let (tenant, app) = (work.plan.tenant().clone(), work.plan.app().clone());
        let (plan, traceparent) = (work.plan.over(&times), work.traceparent.clone());
        let Work { class, max_execution_ms, .. } = work;
        match self.run_once(work, fresh.clone(), frontier).await {
            // They may have been deleted while they were read.
            Ok(computed) if self.states.life(&tenant, &app).await == Some(life) => {
                metrics::counter!("penstock_states_used_total").increment(1);
                return Ok(computed);
            }
            Ok(_) => {}
            Err(error) if error.code == ErrorCode::Internal => warn!(%error, "states can't be read; their events are"),
            Err(error) => return Err(error),
        }
        let (statement, extent) = (plan.compile()?, Extent::of(&times, self.now_ms()));
        let (by_states, until, is_analyzed) = (None, None, false);
        let work =
            Work { plan, statement, extent, by_states, class, max_execution_ms, until, traceparent, is_analyzed };
        self.run_once(work, fresh, frontier).await
    }

    async fn run_once(&self, work: Work, fresh: Fresh, frontier: &Frontier) -> Result<Computed, Error> {
        let was_whole = self.warehouse.is_whole();
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
        // What a replica that is late or away didn't tell is not what the epochs speak of.
        let is_kept = AtomicBool::new(!was_whole || !self.warehouse.is_whole());
        let claim = Mutex::default();
        Ok(Computed { rows, truncated, route, fresh: running.fresh, read, queued, is_kept, claim })
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
        let (fresh, _) = self.freshness.ready(wanted.as_ref(), &caller.options, None).await?;
        self.admission.in_time(plan.tenant(), caller.class, caller.deadline)?;
        let frontier = Frontier::new(fresh.at, fresh.reached.clone());
        let work = Work { until: caller.deadline, ..self.work_without_states(&plan, None, caller)? };
        let running = self.run(work, fresh, &frontier, started).await?;
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

    /// What answers the plan, or the part of it that is about these times: from states if it is known which are kept.
    async fn work(
        &self,
        plan: &SealedPlan,
        times: Option<&[Range<i64>]>,
        known: Option<(&Ended, Count)>,
        caller: &Caller,
    ) -> Result<Work, Error> {
        let all = [range(plan)];
        let of_times = times.unwrap_or(&all);
        let found = match known {
            Some((ended, count)) if ended.has_states => {
                self.states.find(plan, of_times, ended, Some(count)).await?.ok()
            }
            Some((ended, count)) => {
                // There is nothing to find; that it was asked nobody needs to wait for.
                let (states, plan, times) = (Arc::clone(&self.states), plan.clone(), of_times.to_vec());
                let ended = ended.clone();
                tokio::spawn(async move { states.find(&plan, &times, &ended, Some(count)).await.map(drop) });
                None
            }
            None => None,
        };
        // States are read with a longer text: one that is too long reads none.
        let by_states = found.and_then(|found| Some((plan.put_together(&found.pieces).ok()?, found)));
        let Some((statement, found)) = by_states else { return self.work_without_states(plan, times, caller) };
        Ok(Work {
            plan: plan.clone(),
            statement,
            extent: Extent::of(&found.pieces.rest, self.now_ms()),
            by_states: Some((of_times.to_vec(), found.life)),
            class: caller.class,
            max_execution_ms: self.options.max_execution_ms,
            until: None,
            traceparent: caller.traceparent.clone(),
            is_analyzed: false,
        })
    }

    fn work_without_states(
        &self,
        plan: &SealedPlan,
        times: Option<&[Range<i64>]>,
        caller: &Caller,
    ) -> Result<Work, Error> {
        let extent = Extent::of(times.unwrap_or(&[range(plan)]), self.now_ms());
        let plan = times.map_or_else(|| plan.clone(), |times| plan.over(times));
        let (statement, traceparent) = (plan.compile()?, caller.traceparent.clone());
        let (class, max_execution_ms) = (caller.class, self.options.max_execution_ms);
        let (by_states, until, is_analyzed) = (None, None, false);
        Ok(Work { plan, statement, extent, by_states, class, max_execution_ms, until, traceparent, is_analyzed })
    }

    /// The work of an export, whose readers may be slow.
    pub(crate) fn export_work(&self, plan: &SealedPlan, caller: &Caller) -> Result<Work, Error> {
        let max_execution_ms = self.options.export_max_execution_ms;
        Ok(Work { max_execution_ms, until: caller.deadline, ..self.work_without_states(plan, None, caller)? })
    }

    /// What a plan is expected to read from this route, and how long the warehouse's threads are expected to work at it.
    pub(crate) fn expected(&self, plan: &SealedPlan, route: v1::Route, times: &[Range<i64>]) -> (ReadCost, Duration) {
        let place = place(plan, route);
        let read = self.estimates.expect(&place, Extent::of(times, self.now_ms()));
        (read, self.estimates.expect_work(&place, read.bytes))
    }
}

/// The event times of a plan, UTC ms.
pub(crate) fn range(plan: &SealedPlan) -> Range<i64> {
    let range = plan.plan().range();
    range.from_ms.unwrap_or(i64::MIN)..range.to_ms.unwrap_or(i64::MAX)
}

/// The hours that it matters of whether they have ended; `None` if it doesn't of any.
pub(crate) fn hours(plan: &SealedPlan) -> Option<AppHours> {
    let times = plan.buckets().range;
    let (tenant, app) = (plan.tenant().clone(), plan.app().clone());
    (times.start > i64::MIN).then_some(AppHours { tenant, app, times })
}

fn columns(plan: &SealedPlan) -> Vec<v1::Column> {
    plan.plan().columns().map(answer::column).collect()
}

fn part(part: v1::result_part::Part) -> v1::ResultPart {
    v1::ResultPart { part: Some(part) }
}
