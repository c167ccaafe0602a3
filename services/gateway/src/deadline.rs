//! The caller's `grpc-timeout`, kept for the head and the body of the response.
//!
//! tonic's own covers headers only and ends as CANCELLED. Passing time is taken off the header, so each service sees what is left.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Frame, SizeHint};
use mesh::{Body, Request, Response, protocol::Protocol};
use model::{Error, ErrorCode};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::middleware::Next;

const HEADER: &str = "grpc-timeout";

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
        Ok(response) => Ok(response?
            .map(|body| Body::new(Bounded { body, protocol, sleep: Box::pin(sleep_until(deadline)), over: false }))),
        Err(_) => Err(exceeded()),
    }
}

fn exceeded() -> Error {
    Error::new(ErrorCode::DeadlineExceeded, "the deadline passed before the answer was complete")
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

fn format(left: Duration) -> HeaderValue {
    let text = match left.as_millis() {
        ms if ms < 100_000_000 => format!("{ms}m"),
        ms => format!("{}S", (ms / 1000).min(99_999_999)),
    };
    HeaderValue::try_from(text).expect("digits and a letter are a header value")
}

/// A body that ends with DEADLINE_EXCEEDED at its time.
struct Bounded {
    body: Body,
    protocol: Protocol,
    sleep: Pin<Box<Sleep>>,
    over: bool,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(&mut self.body), cx) {
            return Poll::Ready(frame);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.over = true;
        self.body = Body::empty(); // dropping the answer stops the work on it
        Poll::Ready(Some(self.protocol.end(&exceeded())))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        for bad in ["", "m", "1", "1x", "-1m", "123456789m", "1.5S", "ä"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_ends_at_the_deadline_with_its_status() {
        let endless = service_fn(|_: Request| async {
            let frames = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            Ok::<_, Error>(Response::new(Body::new(StreamBody::new(frames))))
        });
        let service = middleware::layer(deadline).layer(endless);
        let request = http::Request::post("/x")
            .header("content-type", "application/grpc")
            .header(HEADER, "5S")
            .body(Body::empty())
            .unwrap();
        let started = Instant::now();
        let body = service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(5));
        assert_eq!(body.trailers().unwrap()["grpc-status"], "4");
    }
}
