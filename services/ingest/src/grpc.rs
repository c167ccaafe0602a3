//! The gRPC side of the service.

use std::{pin::Pin, sync::Arc};

use api::{
    raw::{IngestService, IngestServiceServer},
    status::to_status,
    v1,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use mesh::{HttpService, context};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::Routes};
use tower::util::BoxCloneSyncService;

use crate::{Publisher, wire::StreamRequest};

/// Room for a message's framing and small fields over the batch limit, so that the refusal names the limit.
const SLACK_BYTES: usize = 4 << 20;

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
        let publisher = Arc::clone(&self.publisher);
        let at_once = publisher.limits().stream_batches;
        let answers = request
            .into_inner()
            // A drain ends the stream after the batches that have come in; what the client sends later it sends again.
            .take_until(self.stop.clone().cancelled_owned())
            .map(move |message| {
                let (publisher, context) = (Arc::clone(&publisher), Arc::clone(&context));
                async move {
                    let message = message?;
                    let StreamRequest { sequence, batch } = StreamRequest::read(&message).map_err(|e| to_status(&e))?;
                    let acknowledgement = publisher.batch(&context, batch).await.map_err(|e| to_status(&e))?;
                    Ok(v1::PublishStreamResponse { sequence, acknowledgement: Some(acknowledgement) })
                }
            })
            .buffered(at_once);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn identify(&self, request: Request<Bytes>) -> Result<Response<v1::IdentifyResponse>, Status> {
        let context = context::of_grpc(&request)?;
        let position_token = self.publisher.identify(&context, request.get_ref()).await.map_err(|e| to_status(&e))?;
        Ok(Response::new(v1::IdentifyResponse { position_token }))
    }
}
