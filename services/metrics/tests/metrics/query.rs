//! A query service that notes what it is asked and answers as it is told.

use std::sync::Arc;

use api::v1::{
    DescribeRequest, DescribeResponse, ExplainRequest, ExplainResponse, ExportRequest, ExportResponse, QueryRequest,
    QueryResponse, QueryStreamRequest, QueryStreamResponse, Result as Answer, SqlRequest, SqlResponse,
    SqlStreamRequest, SqlStreamResponse, SubscribeRequest, SubscribeResponse,
    explain_request::Question,
    query_service_server::{QueryService, QueryServiceServer},
};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use mesh::{
    HttpService,
    context::{CallContext, RequireContext, of_grpc},
    signed::SigningKey,
};
use model::{Error, Permission};
use parking_lot::Mutex;
use tonic::{Request, Response, Status, codegen::BoxStream, service::Routes};
use tower::{Layer, util::BoxCloneSyncService};

/// One question, with all that came along.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) request: QueryRequest,
    pub(crate) context: Arc<CallContext>,
    pub(crate) timeout: Option<String>,
    pub(crate) trace: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Recorder {
    asked: Arc<Mutex<Vec<Asked>>>,
    answer: Arc<Mutex<Result<Answer, Error>>>,
    explained: Arc<Mutex<Vec<ExplainRequest>>>,
    subscribed: Arc<Mutex<Vec<(SubscribeRequest, Pusher)>>>,
}

/// What a subscriber is pushed.
pub(crate) type Pusher = UnboundedSender<Result<SubscribeResponse, Status>>;

impl Recorder {
    pub(crate) fn new() -> Self {
        let answer = Arc::new(Mutex::new(Ok(Answer::default())));
        Self { asked: Arc::default(), answer, explained: Arc::default(), subscribed: Arc::default() }
    }

    /// What was subscribed to since the last call.
    pub(crate) fn subscribed(&self) -> Vec<(SubscribeRequest, Pusher)> {
        std::mem::take(&mut self.subscribed.lock())
    }

    /// What it says from now on.
    pub(crate) fn answers(&self, answer: Result<Answer, Error>) {
        *self.answer.lock() = answer;
    }

    /// What it was asked since the last call.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock())
    }

    /// What it was to explain since the last call. It refuses what asks for `NO`.
    pub(crate) fn explained(&self) -> Vec<ExplainRequest> {
        std::mem::take(&mut self.explained.lock())
    }

    /// It as a service of the mesh, behind the same check of the context as the real one.
    pub(crate) fn service(&self, key: SigningKey, now_ms: fn() -> i64) -> HttpService {
        let routes = Routes::new(QueryServiceServer::new(self.clone())).prepare();
        BoxCloneSyncService::new(RequireContext::new(key, now_ms).layer(HttpService::new(routes)))
    }
}

#[tonic::async_trait]
impl QueryService for Recorder {
    async fn query(&self, request: Request<QueryRequest>) -> Result<Response<QueryResponse>, Status> {
        let text = |name: &str| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (timeout, trace) = (text("grpc-timeout"), text("traceparent"));
        let context = of_grpc(&request)?;
        self.asked.lock().push(Asked { request: request.into_inner(), context, timeout, trace });
        let answer = self.answer.lock().clone();
        answer
            .map(|result| Response::new(QueryResponse { result: Some(result), ..QueryResponse::default() }))
            .map_err(|e| api::status::to_status(&e))
    }

    type QueryStreamStream = BoxStream<QueryStreamResponse>;
    async fn query_stream(&self, _: Request<QueryStreamRequest>) -> Result<Response<Self::QueryStreamStream>, Status> {
        Err(not_asked_for())
    }

    async fn sql(&self, _: Request<SqlRequest>) -> Result<Response<SqlResponse>, Status> {
        Err(not_asked_for())
    }

    type SqlStreamStream = BoxStream<SqlStreamResponse>;
    async fn sql_stream(&self, _: Request<SqlStreamRequest>) -> Result<Response<Self::SqlStreamStream>, Status> {
        Err(not_asked_for())
    }

    type SubscribeStream = BoxStream<SubscribeResponse>;
    async fn subscribe(&self, request: Request<SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        of_grpc(&request)?.require(Permission::Query).map_err(|e| api::status::to_status(&e))?;
        self.answer.lock().clone().map_err(|e| api::status::to_status(&e))?;
        let (pusher, pushes) = unbounded();
        self.subscribed.lock().push((request.into_inner(), pusher));
        Ok(Response::new(Box::pin(pushes)))
    }

    type ExportStream = BoxStream<ExportResponse>;
    async fn export(&self, _: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        Err(not_asked_for())
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        of_grpc(&request)?.require(Permission::Query).map_err(|e| api::status::to_status(&e))?;
        let request = request.into_inner();
        self.explained.lock().push(request.clone());
        let no = |field: &str| Err(api::status::to_status(&Error::invalid(field, "NO", "must be yes")));
        match request.question {
            Some(Question::Query(query)) if query.measures[0].formula == "NO" => no("query.measures[0].formula"),
            Some(Question::Sql(query)) if query.sql == "NO" => no("sql"),
            _ if request.options.is_some_and(|options| options.time_zone == "NO") => no("options.time_zone"),
            _ => Ok(Response::new(ExplainResponse::default())),
        }
    }

    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Err(not_asked_for())
    }
}

fn not_asked_for() -> Status {
    Status::unimplemented("metrics are evaluated by Query, followed by Subscribe, and tiles tried by Explain")
}
