//! An answer passed on: as it came, and with an honest end if its process goes away amid it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use model::{Error, ErrorCode};

use super::endpoint::UnderWay;
use crate::{Body, Response, protocol::Protocol};

pub(super) fn answer(answer: http::Response<Incoming>, under_way: UnderWay, protocol: Protocol) -> Response {
    let (mut head, body) = answer.into_parts();
    head.version = http::Version::HTTP_11; // the caller's connection has its own
    Response::from_parts(head, Body::new(Relayed { body, protocol, _under_way: under_way, over: false }))
}

struct Relayed {
    body: Incoming,
    protocol: Protocol,
    _under_way: UnderWay,
    over: bool,
}

impl http_body::Body for Relayed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match std::task::ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), cx)) {
            Some(Err(error)) => {
                self.over = true;
                tracing::warn!(%error, "an answer broke off");
                let error = Error::new(ErrorCode::Unavailable, "the process that answered went away");
                let error = Error { retry_after: Some(super::RETRY_AFTER), ..error };
                Poll::Ready(Some(self.protocol.end(&error)))
            }
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
