//! Asking the query service on a caller's behalf.

use api::{
    status::from_status,
    v1::{
        ExplainRequest, QueryRequest, Result as Answer, SubscribeRequest, SubscribeResponse,
        query_service_client::QueryServiceClient,
    },
};
use mesh::{
    HttpService,
    context::{CONTEXT_HEADER, CallContext},
    signed::SigningKey,
    upstream::Affinity,
};
use model::{Error, ErrorCode};
use tonic::Streaming;
use tracing::error;

use crate::{MAX_ANSWER_BYTES, call::Call};

/// How long a context passed on may take to arrive, in milliseconds.
const CONTEXT_LIFE_MS: i64 = 30_000;

/// The query service, in this process or another.
#[derive(Clone)]
pub(crate) struct Upstream {
    query: HttpService,
    key: SigningKey,
    now_ms: fn() -> i64,
}

impl Upstream {
    pub(crate) fn new(query: HttpService, key: SigningKey, now_ms: fn() -> i64) -> Self {
        Self { query, key, now_ms }
    }

    /// Asks as the caller: the query service sees the caller's scope and priority, and nothing that this service may do besides.
    pub(crate) async fn query(&self, call: &Call, request: QueryRequest) -> Result<Answer, Error> {
        let answer = self.client().query(self.request(call, request)).await;
        let answer = answer.map_err(|status| refused(&status))?.into_inner();
        answer.result.ok_or_else(|| Error::internal("the query service gave no result"))
    }

    /// Whether the caller could ask that; the refusal if not.
    pub(crate) async fn explain(&self, call: &Call, request: ExplainRequest) -> Result<(), Error> {
        let explained = self.client().explain(self.request(call, request)).await;
        explained.map(drop).map_err(|status| refused(&status))
    }

    /// Subscribes as the caller.
    pub(crate) async fn subscribe(
        &self,
        call: &Call,
        request: SubscribeRequest,
    ) -> Result<Streaming<SubscribeResponse>, Error> {
        let pushes = self.client().subscribe(self.request(call, request)).await;
        pushes.map(tonic::Response::into_inner).map_err(|status| refused(&status))
    }

    fn client(&self) -> QueryServiceClient<HttpService> {
        QueryServiceClient::new(self.query.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    fn request<T>(&self, call: &Call, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(Affinity::tenant(call.tenant()));
        let metadata = request.metadata_mut();
        let good_until_ms = (self.now_ms)() + CONTEXT_LIFE_MS;
        let header = CallContext { good_until_ms, ..CallContext::clone(&call.context) }.to_header(&self.key);
        metadata.insert(CONTEXT_HEADER, header.as_bytes().try_into().expect("a context is ASCII"));
        for (name, value) in call.passed_on() {
            metadata.insert(name, value);
        }
        request
    }
}

/// The query service's refusal as ours. The caller is known here: if only the query service doesn't know it, the two disagree.
pub(crate) fn refused(status: &tonic::Status) -> Error {
    let refusal = from_status(status);
    if refusal.code == ErrorCode::Unauthenticated {
        error!(%refusal, "the query service doesn't accept this service's contexts");
        return Error::internal("the query service can't be asked");
    }
    refusal
}
