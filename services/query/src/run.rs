//! A sealed plan into an answer.

use std::{sync::Arc, time::Duration};

use api::v1;
use formula::{SealedPlan, Statement};
use futures::{Stream, stream};
use mesh::{context::CallContext, trace};
use model::Error;
use parking_lot::Mutex;
use storage::{
    Apps, Cache, Warehouse,
    warehouse::{QuerySettings, RowStream},
};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, debug_span, field::Empty, warn};

use crate::{
    Options, Parts,
    admit::{Admission, Leave},
    answer,
    ask::{self, Asked},
    freshness::Freshness,
    kept::Kept,
};

/// Rows in one part of a streamed answer.
const PART_ROWS: usize = 10_000;

/// Answers questions.
pub(crate) struct Engine {
    apps: Arc<Apps>,
    warehouse: Warehouse,
    cache: Arc<dyn Cache>,
    freshness: Freshness,
    admission: Admission,
    options: Options,
    now_ms: fn() -> i64,
}

/// Who asks, and what comes with the question.
pub(crate) struct Caller {
    pub(crate) context: Arc<CallContext>,
    pub(crate) options: v1::ReadOptions,
    pub(crate) traceparent: Option<String>,
}

/// A query that runs.
struct Running {
    statement: Statement,
    rows: RowStream,
    span: Span,
    watermark: v1::Watermark,
    started: Instant,
    _leave: Leave,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts { apps, ledger, topic, partitions, warehouse, cache, options, token_key, now_ms, .. } = parts;
        let freshness = Freshness { ledger, topic, partitions, token_key, known: Mutex::default() };
        Arc::new(Self { apps, warehouse, cache, freshness, admission: Admission::new(&options), options, now_ms })
    }

    pub(crate) fn now_ms(&self) -> i64 {
        (self.now_ms)()
    }

    /// The question as a sealed plan.
    pub(crate) async fn seal(&self, asked: &Asked, caller: &Caller) -> Result<SealedPlan, Error> {
        ask::seal(asked, &caller.context, &self.apps, &caller.options.time_zone, self.now_ms()).await
    }

    /// The whole answer, up to the row cap.
    pub(crate) async fn answer(&self, asked: &Asked, caller: &Caller) -> Result<v1::Result, Error> {
        let started = Instant::now();
        let plan = self.seal(asked, caller).await?;
        let watermark = self.freshness.ready(&caller.options).await?;
        let kept = Kept::find(&plan, &self.freshness, &*self.cache).await?;
        if let Some(kept) = kept
            && let Some(answer) = self.put_together(&plan, kept, caller, &watermark, started).await?
        {
            return Ok(answer);
        }
        let mut running = self.run(&plan, caller, watermark, started).await?;
        let (rows, truncated) = self.rows(&mut running).await?;
        let columns = running.statement.columns().iter().map(answer::column).collect();
        Ok(v1::Result { columns, rows, info: Some(running.info(truncated, true)) })
    }

    /// The answer from what is kept and what is left to compute; `None` if that is more than the row cap.
    async fn put_together(
        &self,
        plan: &SealedPlan,
        kept: Kept,
        caller: &Caller,
        watermark: &v1::Watermark,
        started: Instant,
    ) -> Result<Option<v1::Result>, Error> {
        let (missing, mut route, mut computed) = (kept.missing(), v1::Route::Cache.into(), Vec::new());
        if !missing.is_empty() {
            let mut running = self.run(&plan.over(&missing), caller, watermark.clone(), started).await?;
            let (rows, truncated) = self.rows(&mut running).await?;
            if truncated {
                return Ok(None); // some of them between others, where nobody would look for the end
            }
            if !kept.has_any() {
                route = running.info(false, false).route;
            }
            computed = rows;
        }
        let mut rows = kept.put_together(computed, &self.cache);
        let truncated = rows.len() > self.options.max_rows;
        rows.truncate(self.options.max_rows);
        let columns = plan.plan().columns().map(answer::column).collect();
        let cost = Some(v1::Cost { elapsed_us: started.elapsed().as_micros() as u64 });
        let info = v1::ResultInfo { watermark: Some(watermark.clone()), route, cost, truncated };
        Ok(Some(v1::Result { columns, rows, info: Some(info) }))
    }

    /// All rows, up to the row cap, and whether there are more.
    async fn rows(&self, running: &mut Running) -> Result<(Vec<v1::Row>, bool), Error> {
        let mut rows: Vec<v1::Row> = Vec::new();
        while let Some(block) = running.next().await? {
            rows.extend(answer::rows(block));
            if rows.len() > self.options.max_rows {
                rows.truncate(self.options.max_rows);
                return Ok((rows, true)); // dropping the stream stops the query
            }
        }
        Ok((rows, false))
    }

    /// The answer as it comes.
    pub(crate) async fn stream(
        &self,
        asked: &Asked,
        caller: &Caller,
    ) -> Result<impl Stream<Item = Result<v1::ResultPart, Error>> + Send + use<>, Error> {
        let running = self.start(asked, caller).await?;
        let columns = running.statement.columns().iter().map(answer::column).collect();
        let header = v1::Result { columns, rows: Vec::new(), info: Some(running.info(false, false)) };
        let first = part(v1::result_part::Part::Header(header));
        let rest =
            stream::try_unfold((Some(running), Vec::new()), |(running, mut waiting): (_, Vec<v1::Row>)| async move {
                let Some(mut running): Option<Running> = running else { return Ok(None) };
                while waiting.is_empty() {
                    match running.next().await? {
                        Some(block) => waiting = answer::rows(block),
                        None => {
                            return Ok(Some((
                                part(v1::result_part::Part::End(running.info(false, true))),
                                (None, waiting),
                            )));
                        }
                    }
                }
                let later = waiting.split_off(waiting.len().min(PART_ROWS));
                let rows = v1::RowBatch { rows: waiting };
                Ok(Some((part(v1::result_part::Part::Rows(rows)), (Some(running), later))))
            });
        Ok(futures::StreamExt::chain(stream::iter([Ok(first)]), rest))
    }

    async fn start(&self, asked: &Asked, caller: &Caller) -> Result<Running, Error> {
        let started = Instant::now();
        let plan = self.seal(asked, caller).await?;
        let watermark = self.freshness.ready(&caller.options).await?;
        self.run(&plan, caller, watermark, started).await
    }

    async fn run(
        &self,
        plan: &SealedPlan,
        caller: &Caller,
        watermark: v1::Watermark,
        started: Instant,
    ) -> Result<Running, Error> {
        let leave = self.admission.enter(plan.tenant()).await?;
        let statement = plan.compile()?;
        let query_id = uuid::Uuid::new_v4().to_string();
        let span = trace::when_sampled(|| {
            let (kind, system) = ("client", "clickhouse");
            debug_span!("select", otel.kind = kind, otel.status_code = Empty, db.system.name = system, %query_id)
        });
        let settings = QuerySettings {
            query_id,
            max_execution_time: Some(Duration::from_millis(self.options.max_execution_ms)),
            max_memory_bytes: Some(self.options.max_memory_bytes),
            traceparent: trace::traceparent(&span).or_else(|| caller.traceparent.clone()),
            ..QuerySettings::default()
        };
        debug!(query_id = %settings.query_id, tenant = %plan.tenant(), app = %plan.app(), "query");
        let params: Vec<_> = statement.params().iter().map(|p| (p.name.as_str(), p.value.clone())).collect();
        let rows = self.warehouse.select(statement.text(), &params, &settings)?;
        Ok(Running { statement, rows, span, watermark, started, _leave: leave })
    }
}

impl Running {
    async fn next(&mut self) -> Result<Option<storage::warehouse::RowBlock>, Error> {
        self.rows.next().instrument(self.span.clone()).await.map_err(|error| {
            self.span.record("otel.status_code", "ERROR");
            warn!(%error, "a query failed in the warehouse");
            Error::from(error)
        })
    }

    fn info(&self, truncated: bool, with_cost: bool) -> v1::ResultInfo {
        let elapsed_us = self.started.elapsed().as_micros() as u64;
        let cost = with_cost.then_some(v1::Cost { elapsed_us });
        let route = answer::route(self.statement.route()).into();
        v1::ResultInfo { watermark: Some(self.watermark.clone()), route, cost, truncated }
    }
}

fn part(part: v1::result_part::Part) -> v1::ResultPart {
    v1::ResultPart { part: Some(part) }
}
