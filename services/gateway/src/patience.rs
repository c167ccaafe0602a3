//! How long a call's message may take to come.
//!
//! A call has its place among those under way from the head of its request on. Whoever sends the rest a byte at a time would keep many places for
//! as long as it likes: a message has a while to begin, and from then on as long as a slow line needs for it. Only waiting for the caller counts.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use mesh::{Body, Request, Response};
use model::{Error, ErrorCode};
use tokio::{
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

use crate::middleware::Next;

/// What any message may take.
const BEGIN: Duration = Duration::from_secs(20);
/// What comes at least in each second after that.
const BYTES_A_SECOND: u32 = 8 << 10;

/// Runs the rest of the stack while the message comes, however slowly it may. Methods that take streams have their own bounds.
pub(crate) async fn patience(request: Request, next: Next) -> Result<Response, Error> {
    let path = request.uri().path();
    if api::takes_stream(path) || path.starts_with("/grpc.reflection.") {
        return next.run(request).await;
    }
    let slow = Arc::new(Notify::new());
    let request = request.map(|body| {
        if http_body::Body::is_end_stream(&body) {
            return body;
        }
        Body::new(Patient {
            body,
            slow: Arc::clone(&slow),
            left: BEGIN,
            waits: Box::pin(sleep_until(Instant::now())),
            since: None,
        })
    });
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = slow.notified() => {
            let message = format!("the request's body comes too slowly: {BYTES_A_SECOND} bytes a second after {BEGIN:?} are waited for");
            Err(Error::new(ErrorCode::DeadlineExceeded, message))
        }
    }
}

struct Patient {
    body: Body,
    slow: Arc<Notify>,
    /// For how long it may still be waited, unless more comes.
    left: Duration,
    waits: Pin<Box<Sleep>>,
    /// Since when it is waited for the caller.
    since: Option<Instant>,
}

impl http_body::Body for Patient {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(&mut this.body), cx) else {
            if this.since.is_none() {
                let now = Instant::now();
                this.since = Some(now);
                this.waits.as_mut().reset(now + this.left);
            }
            ready!(Future::poll(this.waits.as_mut(), cx));
            this.slow.notify_one(); // and the call is over
            return Poll::Pending;
        };
        if let Some(since) = this.since.take() {
            this.left = this.left.saturating_sub(since.elapsed());
        }
        if let Some(Ok(data)) = frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            let bytes = data.map_or(0, Bytes::len) as u32;
            this.left += Duration::from_secs(1) * bytes / BYTES_A_SECOND;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::sleep;
    use tower::{Layer, ServiceExt};

    use super::*;
    use crate::middleware::{self, Stacked};

    /// How long a call takes whose body comes in so many pieces of so many bytes with so long a pause before each, and how it ends.
    async fn call(path: &str, pieces: usize, bytes: usize, pause: Duration) -> (Duration, Result<usize, ErrorCode>) {
        let frames = stream::iter(0..pieces).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, tonic::Status>(Frame::data(Bytes::from(vec![0; bytes])))
        });
        let reading = Stacked::new(|request: Request| async {
            let read = request.into_body().collect().await.unwrap().to_bytes();
            sleep(Duration::from_secs(100)).await; // the service's own time is not the caller's
            Ok::<_, Error>(Response::new(Body::new(http_body_util::Full::new(read).map_err(|never| match never {}))))
        });
        let request = http::Request::post(path).body(Body::new(StreamBody::new(Box::pin(frames)))).unwrap();
        let started = Instant::now();
        let answer = middleware::layer(patience).layer(reading).oneshot(request).await;
        let took = started.elapsed();
        match answer {
            Ok(answer) => (took, Ok(answer.into_body().collect().await.unwrap().to_bytes().len())),
            Err(error) => (took, Err(error.code)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_line_is_waited_for_and_a_trickle_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(call("/v1/events", 3, 5, second).await, (103 * second, Ok(15)));
        // 4 MiB at a little over the least rate.
        let (took, answer) = call("/v1/events", 500, 8_400, second).await;
        assert_eq!((took, answer), (600 * second, Ok(4_200_000)));
        let trickled = call("/v1/events", 100_000, 1, second).await;
        assert_eq!(trickled.1, Err(ErrorCode::DeadlineExceeded));
        assert!(trickled.0 >= BEGIN && trickled.0 < BEGIN + second, "{:?}", trickled.0);
        let stream = call("/penstock.v1.IngestService/PublishStream", 50, 1, second).await;
        assert_eq!(stream, (150 * second, Ok(50)), "it may be silent as long as it likes");
    }
}
