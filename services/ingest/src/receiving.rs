//! Single calls as they come in: none is read before there is room for all of it.
//!
//! A call says how large it is before it comes: a body by its `content-length`, a gRPC message by the length that goes before it. So much room it waits
//! for, unread but for the first bytes, which slows its sender; what it is decompressed to counts as well, at the most that it may be. The room is
//! shared among tenants as that of batches that are worked on ([`crate::flow`]), and given back with the answer. Who waits too long is refused.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use mesh::{Body, HttpService, Request, context, protocol::Protocol};
use model::Error;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::{Limits, Publisher, flow::Room, grpc::SLACK_BYTES};

/// What goes before a gRPC message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Has each single call wait for room before `service` reads it. Streams have their own ([`crate::stream`]).
pub(crate) fn bounded(publisher: Arc<Publisher>, service: HttpService) -> HttpService {
    BoxCloneSyncService::new(service_fn(move |request: Request| {
        let (publisher, service) = (Arc::clone(&publisher), service.clone());
        async move {
            if request.uri().path().ends_with("/PublishStream") {
                return service.oneshot(request).await;
            }
            let protocol = Protocol::of(&request);
            match received(&publisher, protocol, request).await {
                Ok((request, _room)) => service.oneshot(request).await,
                Err(error) => Ok(protocol.error(&error)),
            }
        }
    }))
}

/// The call, and room for it.
async fn received(publisher: &Publisher, protocol: Protocol, request: Request) -> Result<(Request, Room), Error> {
    let tenant = context::of(request.extensions())?.scope.tenant.clone();
    let (head, mut body) = request.into_parts();
    let (bytes, first) = match protocol {
        Protocol::Json => (of_json(&head.headers, publisher.limits()), Bytes::new()),
        _ => {
            let first = first_bytes(&mut body).await?;
            (of_grpc(&first, publisher.limits()), first)
        }
    };
    let room = publisher.flow().receive(&tenant, bytes).await?;
    let first = (!first.is_empty()).then(|| Ok(http_body::Frame::data(first)));
    let body = Body::new(StreamBody::new(stream::iter(first).chain(BodyStream::new(body))));
    Ok((Request::from_parts(head, body), room))
}

/// As many of a body's pieces as have the length of its message.
async fn first_bytes(body: &mut Body) -> Result<Bytes, Error> {
    let mut first = BytesMut::new();
    while first.len() < PREFIX_BYTES {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|e| Error::invalid("body", "MALFORMED", format!("can't be read: {e}")))?;
        match frame.into_data() {
            Ok(data) => first.extend_from_slice(&data),
            Err(_) => break, // it ends
        }
    }
    Ok(first.freeze())
}

/// What a gRPC message takes that begins like this, at most.
fn of_grpc(first: &[u8], limits: &Limits) -> usize {
    let limit = limits.batch_bytes + SLACK_BYTES;
    match first.split_first_chunk::<PREFIX_BYTES>() {
        Some(([compressed, length @ ..], _)) => {
            let length = (&length[..]).get_u32() as usize;
            length.min(limit) + if *compressed == 0 { 0 } else { limit }
        }
        None => PREFIX_BYTES, // it is refused as it is
    }
}

/// What a body with these headers takes, at most.
fn of_json(headers: &HeaderMap, limits: &Limits) -> usize {
    let limit = limits.json_bytes;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(limit).min(limit) + if headers.contains_key(header::CONTENT_ENCODING) { limit } else { 0 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_what_it_declares_and_what_that_may_become() {
        let limits = Limits { batch_bytes: 1_000, json_bytes: 4_000, ..Limits::default() };
        let most = 1_000 + SLACK_BYTES;
        let frame = |first: u8, length: u32| [&[first][..], &length.to_be_bytes(), b"some"].concat();
        assert_eq!(of_grpc(&frame(0, 700), &limits), 700);
        assert_eq!(of_grpc(&frame(0, u32::MAX), &limits), most, "it is refused when so much has come");
        assert_eq!(of_grpc(&frame(1, 700), &limits), 700 + most);
        assert_eq!(of_grpc(&[0, 0], &limits), PREFIX_BYTES);

        let headers = |pairs: &[(header::HeaderName, &str)]| {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        assert_eq!(of_json(&headers(&[(header::CONTENT_LENGTH, "700")]), &limits), 700);
        assert_eq!(of_json(&headers(&[]), &limits), 4_000);
        let gzip = [(header::CONTENT_LENGTH, "70"), (header::CONTENT_ENCODING, "gzip")];
        assert_eq!(of_json(&headers(&gzip), &limits), 4_070);
    }

    #[tokio::test]
    async fn the_length_is_found_however_the_body_is_cut() {
        let pieces = [&[0u8][..], &[], &[0, 0], &[1, 0, 9, 9], &[9]].map(Bytes::copy_from_slice);
        let frames = stream::iter(pieces.map(|piece| Ok::<_, tonic::Status>(http_body::Frame::data(piece))));
        let mut body = Body::new(StreamBody::new(frames));
        let first = first_bytes(&mut body).await.unwrap();
        assert_eq!(&first[..], [0, 0, 0, 1, 0, 9, 9]);
        assert_eq!(body.collect().await.unwrap().to_bytes(), &[9][..], "the rest is unread");
    }
}
