//! Asking under the key that made a report.

use api::{
    status::from_status,
    v1::{
        self, EvaluateRequest, ExplainRequest, QueryRequest, ReadOptions, ReportQuestion, SqlRequest, explain_request,
        metrics_service_client::MetricsServiceClient, query_service_client::QueryServiceClient,
        report_question::Question,
    },
};
use mesh::{
    HttpService,
    context::{CONTEXT_HEADER, CallContext},
    upstream::Affinity,
};
use model::{Error, ErrorCode, Priority, Scope};
use tonic::Request;

use super::Desk;

/// How long a context may take to arrive, in ms.
const CONTEXT_LIFE_MS: i64 = 30_000;
/// The largest answer that is taken, in bytes: one too large to be kept is still told from none.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A question as it is to be asked.
pub(super) struct Asking<'a> {
    pub(super) app: &'a str,
    pub(super) time_zone: &'a str,
    pub(super) question: &'a ReportQuestion,
}

impl Desk {
    /// Whom the key lets ask, at scheduled priority.
    pub(super) fn context(&self, scope: &Scope, key_id: &str) -> CallContext {
        CallContext {
            scope: scope.clone(),
            priority: Priority::Scheduled.max(scope.priority),
            key_id: key_id.to_owned(),
            address: String::new(),
            good_until_ms: (self.parts.now_ms)() + CONTEXT_LIFE_MS,
        }
    }

    /// Refuses a question that could not be answered.
    pub(super) async fn check(&self, context: &CallContext, asking: &Asking<'_>) -> Result<(), Error> {
        let options = Some(asking.options());
        let question = match &asking.question.question {
            Some(Question::Query(query)) => explain_request::Question::Query(query.clone()),
            Some(Question::Sql(sql)) => explain_request::Question::Sql(sql.clone()),
            // Only its answer shows what is wrong with an evaluation; one row is enough.
            Some(Question::Metric(_)) => return self.ask(context, asking).await.map(drop),
            None => return Err(missing()),
        };
        let request = ExplainRequest { question: Some(question), options, analyze: false };
        let explained = self.query().explain(self.request(context, request)).await;
        explained.map(drop).map_err(|status| refused(&status))
    }

    /// The answer.
    pub(super) async fn ask(&self, context: &CallContext, asking: &Asking<'_>) -> Result<v1::Result, Error> {
        let options = Some(asking.options());
        let result = match asking.question.question.clone() {
            Some(Question::Query(query)) => {
                let request = QueryRequest { query: Some(query), options, ..QueryRequest::default() };
                self.query().query(self.request(context, request)).await.map(|answer| answer.into_inner().result)
            }
            Some(Question::Sql(sql)) => {
                let request = SqlRequest { sql: sql.sql, app_id: sql.app_id, options };
                self.query().sql(self.request(context, request)).await.map(|answer| answer.into_inner().result)
            }
            Some(Question::Metric(metric)) => {
                let v1::MetricQuestion { name, version, evaluation } = metric;
                let app_id = asking.app.to_owned();
                let request = EvaluateRequest { app_id, name, version, evaluation, options };
                let mut metrics = MetricsServiceClient::new(self.parts.metrics.clone());
                metrics = metrics.max_decoding_message_size(MAX_ANSWER_BYTES);
                metrics.evaluate(self.request(context, request)).await.map(|answer| answer.into_inner().result)
            }
            None => return Err(missing()),
        };
        let result = result.map_err(|status| refused(&status))?;
        result.ok_or_else(|| Error::internal("the query service gave no result"))
    }

    fn query(&self) -> QueryServiceClient<HttpService> {
        QueryServiceClient::new(self.parts.query.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    fn request<T>(&self, context: &CallContext, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Affinity::tenant(&context.scope.tenant));
        let header = context.to_header(&self.parts.context_key);
        let header = header.as_bytes().try_into().expect("a context is ASCII");
        request.metadata_mut().insert(CONTEXT_HEADER, header);
        request
    }
}

impl Asking<'_> {
    fn options(&self) -> ReadOptions {
        ReadOptions { time_zone: self.time_zone.to_owned(), ..ReadOptions::default() }
    }
}

fn missing() -> Error {
    Error::invalid("report.question", "REQUIRED", "must be a typed query, a SELECT or a metric")
}

/// The refusal, with its fields as the report has them.
fn refused(status: &tonic::Status) -> Error {
    let mut refusal = from_status(status);
    if refusal.code == ErrorCode::Unauthenticated {
        return Error::internal("the query service doesn't accept this service's contexts");
    }
    for violation in &mut refusal.violations {
        violation.field.insert_str(0, "report.question.");
    }
    refusal
}
