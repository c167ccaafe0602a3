//! One statement, from its turn to its last row.

use std::{ops::Range, sync::Arc, time::Duration};

use api::v1;
use formula::{SealedPlan, Statement};
use futures::poll;
use mesh::trace;
use model::{Error, Priority};
use storage::warehouse::{QuerySettings, ReadCost, RowBlock, RowStream, analyze};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, debug_span, field::Empty, warn};

use super::Engine;
use crate::{
    admit::{Estimates, Extent, Leave, Place, SMALL_BYTES},
    answer,
    breaker::Breaker,
    flight::Frontier,
    freshness::Fresh,
    spend::Spending,
};

/// How long an interactive question stands back for a small one, each time that it has read a block of rows, some milliseconds of work: beside small
/// ones that run all the time it still goes on. The less urgent classes stand back for as long as the engine has them, a second.
const STANDS_BACK: Duration = Duration::from_millis(10);

/// What is to be computed, and in which queue.
pub(crate) struct Work {
    pub(super) plan: SealedPlan,
    pub(super) statement: Statement,
    pub(super) extent: Extent,
    /// The times of the plan, and the life of the states that the statement reads, if it does.
    pub(super) by_states: Option<(Vec<Range<i64>>, i64)>,
    pub(super) class: Priority,
    pub(super) max_execution_ms: u64,
    /// When the one caller whom it is for stops waiting. What is shared ends when nobody waits for it.
    pub(super) until: Option<Instant>,
    pub(super) traceparent: Option<String>,
    /// Whether it is asked how it goes, instead of its rows.
    pub(super) is_analyzed: bool,
}

impl Work {
    /// From now on.
    fn max_execution_time(&self) -> Duration {
        let left = self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
        // A second more: the caller's own deadline says better what happened.
        Duration::from_millis(self.max_execution_ms).min(left.saturating_add(Duration::from_secs(1)))
    }
}

/// A query that runs.
pub(crate) struct Running {
    pub(super) work: Work,
    pub(super) rows: RowStream,
    pub(super) span: Span,
    pub(super) fresh: Fresh,
    pub(super) started: Instant,
    pub(super) queued: Duration,
    pub(super) breaker: Breaker,
    pub(super) estimates: Arc<Estimates>,
    pub(super) leave: Leave,
    pub(super) spending: Spending,
}

impl Engine {
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
        let place = place(&work.plan, answer::route(work.statement.route()));
        let ReadCost { bytes, .. } = self.estimates.expect(&place, work.extent);
        let mut spending = self.reading.begin(&tenant, work.plan.app(), bytes).await?;
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
        let is_small = bytes <= SMALL_BYTES;
        // Of those that somebody waits for, a small one comes first: it is over before it is in anyone's way. Standing back is for between two blocks of
        // rows; within one the cores are shared by how nice a query is, which for one by itself costs half a millisecond and is of no use.
        let (priority, stands_back, nice) = match (work.class, is_small) {
            (Priority::Interactive, true) => (1, None, None),
            (Priority::Interactive, false) => (2, Some(STANDS_BACK), (!leave.is_alone()).then_some(5)),
            (Priority::Scheduled, _) => (3, None, Some(10)),
            (Priority::Background, _) => (4, None, Some(15)),
        };
        let settings = QuerySettings {
            query_id,
            max_execution_time: Some(work.max_execution_time()),
            max_memory_bytes: Some(self.options.max_memory_bytes),
            max_threads: (work.class == Priority::Background || is_small).then_some(1),
            is_small,
            priority: Some(priority),
            stands_back,
            nice,
            traceparent: trace::traceparent(&span).or_else(|| work.traceparent.clone()),
            ..QuerySettings::default()
        };
        debug!(query_id = %settings.query_id, %tenant, app = %work.plan.app(), "query");
        let params: Vec<_> = work.statement.params().iter().map(|p| (p.name.as_str(), p.value.clone())).collect();
        let text = work.statement.text();
        let rows = match work.is_analyzed {
            true => self.warehouse.select(&analyze::analyzing(text), &params, &settings)?,
            false => self.warehouse.select(text, &params, &settings)?,
        };
        spending.start();
        let (breaker, estimates) = (self.breaker.clone(), Arc::clone(&self.estimates));
        Ok(Running { work, rows, span, fresh, started, queued, breaker, estimates, leave, spending })
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
        self.spending.read(read.bytes);
        // What the server tells of one that is analyzed isn't all that it read.
        if self.work.is_analyzed {
            return;
        }
        self.estimates.learn(place(&self.work.plan, self.route()), self.work.extent, read);
    }

    pub(super) fn route(&self) -> v1::Route {
        answer::route(self.work.statement.route())
    }

    pub(super) fn info(&self, with_cost: bool) -> v1::ResultInfo {
        let cost = with_cost.then(|| cost(self.started, self.queued, self.rows.cost()));
        let watermark = Some(self.fresh.watermark.clone());
        v1::ResultInfo { watermark, route: self.route().into(), cost, ..v1::ResultInfo::default() }
    }
}

pub(super) fn place(plan: &SealedPlan, route: v1::Route) -> Place {
    Place { tenant: plan.tenant().clone(), app: plan.app().clone(), route }
}

pub(super) fn cost(started: Instant, queued: Duration, read: Option<ReadCost>) -> v1::Cost {
    let ReadCost { rows, bytes } = read.unwrap_or(ReadCost { rows: 0, bytes: 0 });
    let us = |time: Duration| time.as_micros() as u64;
    v1::Cost { elapsed_us: us(started.elapsed()), read_rows: rows, read_bytes: bytes, queued_us: us(queued) }
}
