//! `PublishStream`: one batch after another is let in, worked on beside the others, and answered in its turn.
//!
//! A stream has a window of credits, told with each answer. No more of its batches are worked on at once, and until one is let in
//! the next is not read: HTTP/2 then slows a sender that looks at no credits. Each batch that was let in is a task of
//! its own, so that it gives its room back even if nobody reads the answers.

use std::sync::Arc;

use api::{status::to_status, v1};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use mesh::{context::CallContext, work::Account};
use model::{Error, Permission};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument;

use crate::{
    Publisher,
    flow::{Admission, OpenStream, Size, Sizes},
    publish::RETRY_AFTER,
    wire::{self, StreamRequest},
};

/// An answer to come, or the error that ends the stream.
type Answer = Result<JoinHandle<Result<v1::PublishStreamResponse, Status>>, Status>;

/// One open stream.
struct Sender {
    publisher: Arc<Publisher>,
    context: Arc<CallContext>,
    /// A place for each batch of the full window.
    places: Arc<Semaphore>,
    answers: mpsc::Sender<Answer>,
    stop: CancellationToken,
    _open: OpenStream,
}

/// Takes the batches of a stream. The stream ends with the messages, at the first error, or, when `stop` says so, after the
/// batches that have come in.
pub(crate) fn publish(
    publisher: Arc<Publisher>,
    context: Arc<CallContext>,
    messages: impl Stream<Item = Result<Bytes, Status>> + Send + Unpin + 'static,
    stop: CancellationToken,
) -> Result<impl Stream<Item = Result<v1::PublishStreamResponse, Status>> + Send + 'static, Error> {
    context.require(Permission::Ingest)?;
    let open = publisher.flow().open_stream(&context.scope.tenant)?;
    let full = publisher.limits().stream_batches.max(1);
    let (answers, answered) = mpsc::channel(full);
    let signer = Arc::clone(&publisher);
    let sender = Sender { publisher, context, places: Arc::new(Semaphore::new(full)), answers, stop, _open: open };
    let account = Account::of(&sender.context.scope.tenant);
    tokio::spawn(async move { account.charged(sender.run(messages)).await }.in_current_span());
    let answers = ReceiverStream::new(answered).then(|answer: Answer| async move {
        let ended = answer?.await;
        ended.unwrap_or_else(|_| Err(to_status(&Error::internal("a batch's work was cut off"))))
    });
    // Who sends on before an answer is there can't pass its token on.
    let mut covered = None;
    Ok(answers.map(move |answer| {
        let mut answer = answer?;
        if let Some(acknowledgement) = &mut answer.acknowledgement {
            signer.cover(&mut covered, &mut acknowledgement.position_token).map_err(|e| to_status(&e))?;
        }
        Ok(answer)
    }))
}

impl Sender {
    async fn run(self, mut messages: impl Stream<Item = Result<Bytes, Status>> + Send + Unpin) {
        loop {
            let message = tokio::select! {
                biased;
                () = self.answers.closed() => return, // the caller is gone
                // What the client sends from now on it sends again.
                () = self.stop.cancelled() => return,
                message = messages.next() => message,
            };
            let Some(message) = message else { return };
            let answer = tokio::select! {
                biased;
                () = self.answers.closed() => return,
                answer = self.take(message) => answer,
                () = self.stop.cancelled() => Err(draining()),
            };
            let last = answer.is_err();
            if self.answers.send(answer).await.is_err() || last {
                return;
            }
        }
    }

    /// Starts the work on a batch as soon as it is let in.
    async fn take(&self, message: Result<Bytes, Status>) -> Answer {
        let message = message?;
        let sizes = self.sizes(&message).map_err(|e| to_status(&e))?;
        // A smaller window is made of the same places: each batch takes as many more.
        let places = self.publisher.flow().places(self.publisher.limits().stream_batches) as u32;
        let place = Arc::clone(&self.places).acquire_many_owned(places).await;
        let place = place.map_err(|_| to_status(&Error::internal("a stream's window is closed")))?;
        let tenant = &self.context.scope.tenant;
        let admission = self.publisher.flow().admit_in_time(tenant, &sizes).await.map_err(|e| to_status(&e))?;
        let (publisher, context) = (Arc::clone(&self.publisher), Arc::clone(&self.context));
        let work = async move {
            let account = Account::of(&context.scope.tenant);
            let answer = account.charged(answer(&publisher, &context, &message, admission)).await;
            drop((message, place));
            answer.map_err(|e| to_status(&e))
        };
        Ok(tokio::spawn(work.in_current_span()))
    }

    fn sizes(&self, message: &[u8]) -> Result<Sizes, Error> {
        let StreamRequest { batch, .. } = StreamRequest::read(message)?;
        self.publisher.check_bytes(batch)?; // before it waits
        let scope = &self.context.scope;
        if self.publisher.flow().quotas.are_of_apps(&scope.tenant) {
            return Ok(self.publisher.sizes(scope, &wire::Batch::read(batch)?, batch.len()));
        }
        Ok(Size { events: wire::count(batch)?, bytes: batch.len() }.into())
    }
}

async fn answer(
    publisher: &Publisher,
    context: &CallContext,
    message: &[u8],
    admission: Admission,
) -> Result<v1::PublishStreamResponse, Error> {
    let StreamRequest { sequence, batch } = StreamRequest::read(message)?;
    let acknowledgement = publisher.admitted(context, batch, admission).await?;
    let credits = publisher.flow().credits(publisher.limits().stream_batches) as u32;
    Ok(v1::PublishStreamResponse { sequence, acknowledgement: Some(acknowledgement), credits })
}

fn draining() -> Status {
    to_status(&Error::unavailable("this process ends; send again what was not acknowledged", RETRY_AFTER))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
