//! Evaluating: a definition becomes a typed query with one measure.

use api::v1::{
    EvaluateRequest, EvaluateResponse, Evaluation, Measure, NamedFormula, PreviewMetricRequest, PreviewMetricResponse,
    QueryRequest, ReadOptions, Result as Answer, TypedQuery,
};
use formula::Formula;
use model::{AppId, Error, Metric, Permission};
use storage::App;

use crate::{
    call::Call,
    definition::{self, Checked},
    origin::Origin,
    service::Metrics,
    wire::filters_to_wire,
};

/// The most rows of one answer.
const MAX_ROWS: u32 = 10_000;

impl Metrics {
    pub(crate) async fn preview(
        &self,
        call: &Call,
        request: PreviewMetricRequest,
    ) -> Result<PreviewMetricResponse, Error> {
        let app = self.target(call, Permission::Query, &request.app_id).await?;
        let Checked { metric, on, .. } = self.checked(&app, request.definition).await?.map_err(definition::one)?;
        let origin = Origin::request(metric.filters.len());
        // What is only tried is worth no more than any question.
        let metric = Metric { materialize: false, ..metric };
        let query = typed_query(&app.id, metric, on, request.evaluation.unwrap_or_default())?;
        let result = self.ask(call, query, origin, request.options).await?;
        Ok(PreviewMetricResponse { result: Some(result) })
    }

    pub(crate) async fn evaluate_stored(
        &self,
        call: &Call,
        request: EvaluateRequest,
    ) -> Result<EvaluateResponse, Error> {
        let EvaluateRequest { app_id, name, version, evaluation, options } = request;
        let evaluation = evaluation.unwrap_or_default();
        let app = self.target_of_evaluation(call, &app_id, &name, &evaluation).await?;
        let metric = self.named(&app, &name, version).await?;
        let version = metric.version;
        let (query, origin) = self.query_of(&app, metric, evaluation).await?;
        let result = self.ask(call, query, origin, options).await?;
        Ok(EvaluateResponse { result: Some(result), version })
    }

    /// What is asked to evaluate a metric that is kept.
    pub(crate) async fn query_of(
        &self,
        app: &App,
        metric: Metric,
        evaluation: Evaluation,
    ) -> Result<(TypedQuery, Origin), Error> {
        let origin = Origin::store(metric.filters.len());
        let rested = self.rested(app, &metric.name, &metric.formula, "name").await?;
        Ok((typed_query(&app.id, metric, rested.on, evaluation)?, origin))
    }

    async fn ask(
        &self,
        call: &Call,
        query: TypedQuery,
        origin: Origin,
        options: Option<ReadOptions>,
    ) -> Result<Answer, Error> {
        let request = QueryRequest { query: Some(query), options, ..QueryRequest::default() };
        self.upstream.query(call, request).await.map_err(|refusal| origin.told(refusal))
    }
}

/// The query whose one measure is the metric. Its filters are the metric's, then the evaluation's.
fn typed_query(app: &AppId, metric: Metric, on: Vec<Formula>, evaluation: Evaluation) -> Result<TypedQuery, Error> {
    let Evaluation { dimensions, filters, range, grain, order_by, limit, having, comparison, fill, top, totals } =
        evaluation;
    if limit > MAX_ROWS {
        let description = format!("must be at most {MAX_ROWS}, not {limit}");
        return Err(Error::invalid("evaluation.limit", "TOO_LARGE", description));
    }
    Ok(TypedQuery {
        app_id: app.as_str().to_owned(),
        filters: filters_to_wire(&metric.filters).chain(filters).collect(),
        measures: vec![Measure { name: metric.name, formula: metric.formula, unit: metric.unit }],
        dimensions,
        range,
        grain,
        order_by,
        limit,
        offset: 0,
        having,
        comparison,
        fill,
        top,
        totals,
        formulas: on.into_iter().map(named_formula).collect(),
        materialize: metric.materialize,
    })
}

fn named_formula(formula: Formula) -> NamedFormula {
    let Formula { name, formula, filters, unit } = formula;
    NamedFormula { name, formula, filters: filters_to_wire(&filters).collect(), unit }
}
