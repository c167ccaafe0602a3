//! The caller's `grpc-timeout`, kept for the head and the body of the response.
//!
//! tonic's own covers headers only and ends as CANCELLED. The service behind is told what is left once the call goes there.

use http::HeaderValue;
use mesh::{
    Request, Response,
    deadline::{HEADER, format, parse},
    protocol::Protocol,
};
use model::{Error, ErrorCode};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{ending::ending, middleware::Next};

/// When the caller's time is over.
#[derive(Clone, Copy)]
struct Deadline(Instant);

/// Takes the time that has passed off the header.
pub(crate) fn tell_rest(request: &mut Request) {
    let Some(Deadline(at)) = request.extensions().get().copied() else { return };
    let left = format(at.saturating_duration_since(Instant::now()));
    let left = HeaderValue::try_from(left).expect("digits and a letter are a header value");
    request.headers_mut().insert(HEADER, left);
}

/// Runs the rest of the stack within the caller's time.
pub(crate) async fn deadline(mut request: Request, next: Next) -> Result<Response, Error> {
    let Some(value) = request.headers().get(HEADER) else { return next.run(request).await };
    let timeout =
        value.to_str().ok().and_then(parse).ok_or_else(|| {
            Error::invalid(HEADER, "MALFORMED", "must be up to 8 digits and a unit out of H M S m u n")
        })?;
    let deadline = Instant::now() + timeout;
    request.extensions_mut().insert(Deadline(deadline));
    let protocol = Protocol::of(&request);
    match timeout_at(deadline, next.run(request)).await {
        Ok(response) => Ok(ending(response?, protocol, async move {
            sleep_until(deadline).await;
            exceeded()
        })),
        Err(_) => Err(exceeded()),
    }
}

fn exceeded() -> Error {
    Error::new(ErrorCode::DeadlineExceeded, "the deadline passed before the answer was complete")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{convert::Infallible, sync::Arc, task::Poll, time::Duration};

    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use mesh::Body;
    use tower::{Layer, ServiceExt};

    use super::*;
    use crate::middleware::{self, Stacked};

    fn in_five_seconds() -> Request {
        let call = http::Request::post("/x").header("content-type", "application/grpc").header(HEADER, "5S");
        call.body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_ends_at_the_deadline_with_its_status() {
        let endless = Stacked::new(|_: Request| async {
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
    async fn who_is_asked_next_is_told_what_is_left() {
        let slow = Stacked::new(|mut request: Request| async move {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            tell_rest(&mut request);
            let left = request.headers()[HEADER].to_str().unwrap().to_owned();
            Ok::<_, Error>(http::Response::builder().header("left", left).body(Body::empty()).unwrap())
        });
        let response = middleware::layer(deadline).layer(slow).oneshot(in_five_seconds()).await.unwrap();
        assert_eq!(response.headers()["left"], "3800m");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_cut_off() {
        let refusal = || Protocol::Json.error(&Error::invalid("sql", "REQUIRED", "is needed"));
        let refusing = Stacked::new(move |_: Request| async move { Ok::<_, Error>(refusal()) });
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
        let unread = Stacked::new(move |_: Request| {
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
