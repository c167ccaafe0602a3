//! Request bodies that nobody reads to their end.
//!
//! HTTP/1.1 has one request after another on a connection: a server that answers before it has read the body must close, and the
//! client, still writing, finds its connection broken instead of the refusal. So the rest is read and let go of, within bounds.
//!
//! HTTP/2 would reset the stream. What is on its way by then is answered by another reset once the connection remembers too many such streams
//! (50 of a second), and of those a connection may have 1,024 in all before it is closed: a sender that is refused for some minutes
//! would lose it, and every other call on it. So there, too, the rest is read.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{runtime::Handle, time::timeout};

/// How much more is read of a body that its service has let go of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

/// A body that reads on by itself when it is dropped before its end.
pub(crate) struct Lingering {
    body: Option<Incoming>,
    bounds: Bounds,
}

impl Lingering {
    pub(crate) fn new(body: Incoming, bounds: Bounds) -> Self {
        Self { body: Some(body), bounds }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        // Without a runtime the process ends, and its connections with it.
        if let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) {
            let Bounds { bytes, time } = self.bounds;
            runtime.spawn(timeout(time, read_on(body, bytes)));
        }
    }
}

async fn read_on(mut body: Incoming, bytes: u64) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len) as u64;
        if read > bytes {
            break;
        }
    }
}
