//! The caller's `grpc-timeout`, kept for the head and the body of the response.
//!
//! tonic's own covers headers only and ends as CANCELLED. Passing time is taken off the header, so each service sees what is left.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Frame, SizeHint};
use mesh::{
    Body, Request, Response,
    deadline::{HEADER, parse},
    protocol::Protocol,
};
use model::{Error, ErrorCode};
use parking_lot::Mutex;
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep_until, timeout_at},
};

use crate::middleware::Next;

/// Runs the rest of the stack within the caller's time.
pub(crate) async fn deadline(mut request: Request, next: Next) -> Result<Response, Error> {
    let Some(value) = request.headers().get(HEADER) else { return next.run(request).await };
    let timeout =
        value.to_str().ok().and_then(parse).ok_or_else(|| {
            Error::invalid(HEADER, "MALFORMED", "must be up to 8 digits and a unit out of H M S m u n")
        })?;
    let deadline = Instant::now() + timeout;
    request.headers_mut().insert(HEADER, format(timeout));
    let protocol = Protocol::of(&request);
    match timeout_at(deadline, next.run(request)).await {
        // A refusal over JSON is short and whole: cut off, it would only lose its reason.
        Ok(Ok(response)) if response.status().is_client_error() || response.status().is_server_error() => Ok(response),
        Ok(response) => Ok(response?.map(|body| Body::new(Bounded::new(body, protocol, deadline)))),
        Err(_) => Err(exceeded()),
    }
}

fn exceeded() -> Error {
    Error::new(ErrorCode::DeadlineExceeded, "the deadline passed before the answer was complete")
}

fn format(left: Duration) -> HeaderValue {
    let text = match left.as_millis() {
        ms if ms < 100_000_000 => format!("{ms}m"),
        ms => format!("{}S", (ms / 1000).min(99_999_999)),
    };
    HeaderValue::try_from(text).expect("digits and a letter are a header value")
}

/// A body that ends with DEADLINE_EXCEEDED at its time, also if nobody reads it: a caller whose windows are full would else
/// keep the work on its answer waiting for ever.
struct Bounded {
    answer: Arc<Mutex<Answer>>,
    protocol: Protocol,
    timer: AbortHandle,
}

struct Answer {
    body: Body,
    /// Whether its time is over, and whether the caller was told.
    over: bool,
    told: bool,
    reader: Option<Waker>,
}

impl Bounded {
    fn new(body: Body, protocol: Protocol, deadline: Instant) -> Self {
        let answer = Arc::new(Mutex::new(Answer { body, over: false, told: false, reader: None }));
        let timed = Arc::clone(&answer);
        let timer = tokio::spawn(async move {
            sleep_until(deadline).await;
            let mut answer = timed.lock();
            answer.over = true;
            let (body, reader) = (mem::replace(&mut answer.body, Body::empty()), answer.reader.take());
            drop(answer);
            drop(body); // which stops the work on it
            if let Some(reader) = reader {
                reader.wake();
            }
        });
        Self { answer, protocol, timer: timer.abort_handle() }
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let mut answer = self.answer.lock();
        if answer.told {
            return Poll::Ready(None);
        }
        if answer.over {
            answer.told = true;
            return Poll::Ready(Some(self.protocol.end(&exceeded())));
        }
        let frame = http_body::Body::poll_frame(Pin::new(&mut answer.body), cx);
        answer.reader = frame.is_pending().then(|| cx.waker().clone());
        frame
    }

    fn is_end_stream(&self) -> bool {
        let answer = self.answer.lock();
        answer.told || (!answer.over && answer.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let answer = self.answer.lock();
        if answer.over { SizeHint::default() } else { answer.body.size_hint() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, StreamBody};
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::middleware;

    fn in_five_seconds() -> Request {
        let call = http::Request::post("/x").header("content-type", "application/grpc").header(HEADER, "5S");
        call.body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_ends_at_the_deadline_with_its_status() {
        let endless = service_fn(|_: Request| async {
            let frames = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            Ok::<_, Error>(Response::new(Body::new(StreamBody::new(frames))))
        });
        let service = middleware::layer(deadline).layer(endless);
        let started = Instant::now();
        let body = service.oneshot(in_five_seconds()).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        assert_eq!(body.trailers().unwrap()["grpc-status"], "4");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_cut_off() {
        let refusal = || Protocol::Json.error(&Error::invalid("sql", "REQUIRED", "is needed"));
        let refusing = service_fn(move |_: Request| async move { Ok::<_, Error>(refusal()) });
        let call = http::Request::post("/v1/sql").header(HEADER, "1n").body(Body::empty()).unwrap();
        let response = middleware::layer(deadline).layer(refusing).oneshot(call).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.windows(8).any(|text| text == b"REQUIRED"), "{}", body.escape_ascii());
    }

    #[tokio::test(start_paused = true)]
    async fn work_on_an_answer_that_nobody_reads_stops_at_the_deadline() {
        let working = Arc::new(());
        let held = Arc::clone(&working);
        let unread = service_fn(move |_: Request| {
            let held = Arc::clone(&held);
            async move {
                let frames = futures::stream::poll_fn(move |_| {
                    let _work = &held;
                    Poll::Ready(Some(Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"more")))))
                });
                Ok::<_, Error>(Response::new(Body::new(StreamBody::new(frames))))
            }
        });
        let service = middleware::layer(deadline).layer(unread);
        let mut body = service.oneshot(in_five_seconds()).await.unwrap().into_body();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(Arc::strong_count(&working), 1, "the answer is let go of");
        let end = body.frame().await.unwrap().unwrap();
        assert_eq!(end.trailers_ref().unwrap()["grpc-status"], "4");
        assert!(body.frame().await.is_none());
    }
}
