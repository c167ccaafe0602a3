//! The gRPC side of the service.

use std::{pin::Pin, sync::Arc};

use api::{
    raw::{IngestService, IngestServiceServer},
    status::to_status,
    v1,
};
use bytes::Bytes;
use futures::Stream;
use mesh::{HttpService, context};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};
use tower::util::BoxCloneSyncService;

use crate::{Publisher, stream};

/// Room for a message's framing and small fields over the batch limit, so that the refusal names the limit.
pub(crate) const SLACK_BYTES: usize = 1 << 20;

pub(crate) fn service(publisher: Arc<Publisher>, stop: CancellationToken) -> HttpService {
    let limit = publisher.limits().batch_bytes + SLACK_BYTES;
    let server = IngestServiceServer::new(Grpc { publisher, stop })
        .max_decoding_message_size(limit)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .accept_compressed(tonic::codec::CompressionEncoding::Zstd);
    BoxCloneSyncService::new(Routes::new(server).prepare())
}

struct Grpc {
    publisher: Arc<Publisher>,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl IngestService for Grpc {
    type PublishStreamStream = Pin<Box<dyn Stream<Item = Result<v1::PublishStreamResponse, Status>> + Send>>;

    async fn publish(&self, request: Request<Bytes>) -> Result<Response<v1::PublishResponse>, Status> {
        let context = context::of_grpc(&request)?;
        let acknowledgement = self.publisher.batch(&context, request.get_ref()).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(v1::PublishResponse { acknowledgement: Some(acknowledgement) }))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let context = context::of_grpc(&request)?;
        let (publisher, stop) = (Arc::clone(&self.publisher), self.stop.clone());
        let answers = stream::publish(publisher, context, request.into_inner(), stop).map_err(|e| to_status(&e))?;
        Ok(Response::new(Box::pin(answers)))
    }

    async fn identify(&self, request: Request<Bytes>) -> Result<Response<v1::IdentifyResponse>, Status> {
        let context = context::of_grpc(&request)?;
        let position_token = self.publisher.identify(&context, request.get_ref()).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(v1::IdentifyResponse { position_token }))
    }
}
