//! A gRPC client of the house, with a key.

use std::time::Instant;

use api::v1::{self, metrics_service_client::MetricsServiceClient, query_service_client::QueryServiceClient};
use tonic::{Code, Request, Response, Status, transport::Channel};

use super::{answer::Cell, plans::Question};
use crate::house::PATIENCE;

pub struct Client {
    pub channel: Channel,
    pub key: String,
}

/// A request with the key.
pub fn authorized<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

/// The zone in which a question is asked.
pub fn in_zone(time_zone: &str) -> Option<v1::ReadOptions> {
    Some(v1::ReadOptions { time_zone: time_zone.to_owned(), ..v1::ReadOptions::default() })
}

impl Client {
    pub async fn sql(&self, sql: &str, options: Option<v1::ReadOptions>) -> Result<Vec<Vec<Cell>>, Status> {
        let request = v1::SqlRequest { sql: sql.to_owned(), options, ..v1::SqlRequest::default() };
        let ask =
            async || QueryServiceClient::new(self.channel.clone()).sql(authorized(&self.key, request.clone())).await;
        Ok(rows(again(ask).await?.result))
    }

    /// Asks a question in either form; tells where the answer came from too. There are no more rows than the house gives at most.
    pub async fn ask(
        &self,
        question: &Question,
        options: v1::ReadOptions,
    ) -> Result<(v1::Route, Vec<Vec<Cell>>), Status> {
        let (service, options) = (QueryServiceClient::new(self.channel.clone()), Some(options));
        let result = match question.clone() {
            Question::Sql(sql) => {
                let request = v1::SqlRequest { sql, options, ..v1::SqlRequest::default() };
                again(async || service.clone().sql(authorized(&self.key, request.clone())).await).await?.result
            }
            Question::Typed(query) => {
                let request = v1::QueryRequest { query: Some(*query), options, ..v1::QueryRequest::default() };
                again(async || service.clone().query(authorized(&self.key, request.clone())).await).await?.result
            }
        };
        let route =
            result.as_ref().and_then(|result| result.info.as_ref()).map_or(v1::Route::Unspecified, |i| i.route());
        Ok((route, cells(result.unwrap())))
    }

    pub async fn query(&self, request: v1::QueryRequest) -> Result<Vec<Vec<Cell>>, Status> {
        let ask =
            async || QueryServiceClient::new(self.channel.clone()).query(authorized(&self.key, request.clone())).await;
        Ok(rows(again(ask).await?.result))
    }

    /// Defines the metric and evaluates it by its name.
    pub async fn metric(
        &self,
        definition: v1::MetricDefinition,
        evaluate: v1::EvaluateRequest,
    ) -> Result<Vec<Vec<Cell>>, Status> {
        let mut service = MetricsServiceClient::new(self.channel.clone());
        let create = v1::CreateMetricRequest { app_id: evaluate.app_id.clone(), definition: Some(definition) };
        service.create_metric(authorized(&self.key, create)).await?;
        let ask = async || service.clone().evaluate(authorized(&self.key, evaluate.clone())).await;
        Ok(rows(again(ask).await?.result))
    }
}

/// Asks until there is an answer: a busy machine may need more than one wait or one deadline.
async fn again<T>(ask: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T, Status> {
    let started = Instant::now();
    loop {
        match ask().await {
            Err(status) if status.code() == Code::DeadlineExceeded && started.elapsed() < 4 * PATIENCE => {}
            answer => return answer.map(Response::into_inner),
        }
    }
}

fn rows(result: Option<v1::Result>) -> Vec<Vec<Cell>> {
    let result = result.unwrap();
    assert!(!result.info.as_ref().unwrap().truncated, "the question has too many rows");
    cells(result)
}

fn cells(result: v1::Result) -> Vec<Vec<Cell>> {
    result.rows.into_iter().map(|row| row.values.into_iter().map(Cell::of_wire).collect()).collect()
}
