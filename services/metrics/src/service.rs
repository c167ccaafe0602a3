//! The contract's methods: each takes a call apart and says the outcome as gRPC.

use std::sync::Arc;

use api::{
    status::to_status,
    v1::{
        CreateMetricRequest, CreateMetricResponse, DeleteMetricRequest, DeleteMetricResponse, EvaluateRequest,
        EvaluateResponse, GetMetricRequest, GetMetricResponse, ListMetricVersionsRequest, ListMetricVersionsResponse,
        ListMetricsRequest, ListMetricsResponse, PreviewMetricRequest, PreviewMetricResponse, SubscribeMetricRequest,
        SubscribeMetricResponse, UpdateMetricRequest, UpdateMetricResponse, ValidateMetricRequest,
        ValidateMetricResponse, metrics_service_server::MetricsService,
    },
};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use model::Error;
use storage::{MetaError, Metastore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tracing::warn;

use crate::{call::Call, known::Known, upstream::Upstream};

/// What every method works on.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) store: Arc<dyn Metastore>,
    pub(crate) known: Arc<Known>,
    pub(crate) upstream: Upstream,
    pub(crate) now_ms: fn() -> i64,
    /// What goes on for long ends with the process.
    pub(crate) stop: CancellationToken,
}

#[tonic::async_trait]
impl MetricsService for Metrics {
    async fn create_metric(
        &self,
        request: Request<CreateMetricRequest>,
    ) -> Result<Response<CreateMetricResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.create(&call, message).await)
    }

    async fn update_metric(
        &self,
        request: Request<UpdateMetricRequest>,
    ) -> Result<Response<UpdateMetricResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.update(&call, message).await)
    }

    async fn get_metric(&self, request: Request<GetMetricRequest>) -> Result<Response<GetMetricResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.get(&call, &message).await)
    }

    async fn list_metrics(
        &self,
        request: Request<ListMetricsRequest>,
    ) -> Result<Response<ListMetricsResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.list(&call, &message).await)
    }

    async fn list_metric_versions(
        &self,
        request: Request<ListMetricVersionsRequest>,
    ) -> Result<Response<ListMetricVersionsResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.versions(&call, &message).await)
    }

    async fn delete_metric(
        &self,
        request: Request<DeleteMetricRequest>,
    ) -> Result<Response<DeleteMetricResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.delete(&call, &message).await)
    }

    async fn validate_metric(
        &self,
        request: Request<ValidateMetricRequest>,
    ) -> Result<Response<ValidateMetricResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.validate(&call, message).await)
    }

    async fn preview_metric(
        &self,
        request: Request<PreviewMetricRequest>,
    ) -> Result<Response<PreviewMetricResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.preview(&call, message).await)
    }

    async fn evaluate(&self, request: Request<EvaluateRequest>) -> Result<Response<EvaluateResponse>, Status> {
        let (call, message) = take(request)?;
        answer(self.evaluate_stored(&call, message).await)
    }

    type SubscribeMetricStream = BoxStream<'static, Result<SubscribeMetricResponse, Status>>;

    async fn subscribe_metric(
        &self,
        request: Request<SubscribeMetricRequest>,
    ) -> Result<Response<Self::SubscribeMetricStream>, Status> {
        let (call, message) = take(request)?;
        let pushes = self.subscribe(call, message).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(pushes.map_err(|e| to_status(&e)).boxed()))
    }
}

pub(crate) fn take<T>(request: Request<T>) -> Result<(Call, T), Status> {
    let call = Call::of(&request).map_err(|e| to_status(&e))?;
    Ok((call, request.into_inner()))
}

pub(crate) fn answer<T>(outcome: Result<T, Error>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|e| to_status(&e))
}

/// The metastore's error for the caller. What only we may know of it goes to the log.
pub(crate) fn stored(error: MetaError) -> Error {
    if matches!(error, MetaError::Unavailable(_) | MetaError::Address(_) | MetaError::Inconsistent(_)) {
        warn!(%error, "the metastore failed");
    }
    error.into()
}
