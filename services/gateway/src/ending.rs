//! Answers that may have to end before their end: at the caller's deadline, or with the key that asked.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use mesh::{Body, Response, protocol::Protocol};
use model::Error;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// The answer, whose body ends with the error of `when` as soon as there is one, also if nobody reads it: a caller whose windows are
/// full would else keep the work on its answer waiting for ever.
pub(crate) fn ending(
    response: Response,
    protocol: Protocol,
    when: impl Future<Output = Error> + Send + 'static,
) -> Response {
    // A refusal over JSON is short and whole: cut off, it would only lose its reason.
    if response.status().is_client_error() || response.status().is_server_error() {
        return response;
    }
    response.map(|body| Body::new(Ending::new(body, protocol, when)))
}

struct Ending {
    answer: Arc<Mutex<Answer>>,
    protocol: Protocol,
    timer: AbortHandle,
}

struct Answer {
    body: Body,
    over: Option<Error>,
    /// Whether the caller was told.
    told: bool,
    reader: Option<Waker>,
}

impl Ending {
    fn new(body: Body, protocol: Protocol, when: impl Future<Output = Error> + Send + 'static) -> Self {
        let answer = Arc::new(Mutex::new(Answer { body, over: None, told: false, reader: None }));
        let timed = Arc::clone(&answer);
        let timer = tokio::spawn(async move {
            let error = when.await;
            let mut answer = timed.lock();
            answer.over = Some(error);
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

impl Drop for Ending {
    fn drop(&mut self) {
        self.timer.abort();
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let mut answer = self.answer.lock();
        if answer.told {
            return Poll::Ready(None);
        }
        if let Some(error) = answer.over.take() {
            answer.told = true;
            return Poll::Ready(Some(self.protocol.end(&error)));
        }
        let frame = http_body::Body::poll_frame(Pin::new(&mut answer.body), cx);
        answer.reader = frame.is_pending().then(|| cx.waker().clone());
        frame
    }

    fn is_end_stream(&self) -> bool {
        let answer = self.answer.lock();
        answer.told || (answer.over.is_none() && answer.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let answer = self.answer.lock();
        if answer.over.is_some() { SizeHint::default() } else { answer.body.size_hint() }
    }
}
