//! Batches on a stream, several in flight.

use std::collections::VecDeque;

use api::{
    raw::{Batch, Event},
    v1,
};
use futures::{StreamExt, TryStreamExt};
use load::shop::{Users, wire};
use prost::{Message, bytes::Bytes};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

use crate::{connection::Ingest, error::LoadError};

/// Events in a batch at most.
pub(crate) const BATCH_EVENTS: usize = 1_000;
/// Users identified at once.
const IDENTIFY_AT_ONCE: usize = 64;
/// Bytes in a batch at most; the server's default limit is 1 MiB.
const BATCH_BYTES: usize = 900_000;

/// Events cut into batches of one app.
pub(crate) struct Batches<I: Iterator<Item = Event>> {
    app: String,
    events: std::iter::Peekable<I>,
}

impl<I: Iterator<Item = Event>> Batches<I> {
    pub(crate) fn new(app: &str, events: impl IntoIterator<IntoIter = I>) -> Self {
        Self { app: app.to_owned(), events: events.into_iter().peekable() }
    }
}

impl<I: Iterator<Item = Event>> Iterator for Batches<I> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let mut batch = Batch::new(&self.app);
        let fits = |batch: &Batch, event: &Event| match batch.events() {
            0 => true,
            events => events < BATCH_EVENTS && batch.len_with(event) <= BATCH_BYTES,
        };
        while let Some(event) = self.events.next_if(|event| fits(&batch, event)) {
            batch.push(&event);
        }
        (batch.events() > 0).then_some(batch)
    }
}

/// Makes the users known, so that later events carry their country and plan.
pub(crate) async fn identify(client: &Ingest, users: &Users, app: &str) -> Result<(), LoadError> {
    let calls = users.iter().map(|user| {
        let (mut client, request) = (client.clone(), wire::identify(user, app).encode_to_vec());
        async move { client.identify(Bytes::from(request)).await }
    });
    futures::stream::iter(calls).buffer_unordered(IDENTIFY_AT_ONCE).map_ok(drop).try_collect::<()>().await?;
    Ok(())
}

/// What became of everything sent.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Events acknowledged as accepted.
    pub(crate) accepted: u64,
    /// When the last acknowledgement came.
    pub(crate) finished: Instant,
    /// The tokens of the last batches. Those in flight together may lie in the log in any order: all of them cover everything.
    pub(crate) tokens: Vec<String>,
}

/// Sends all batches on one stream, `in_flight` of them unacknowledged at any time; `on_ack` sees how many events were accepted.
/// A rejected event is an error: made events are valid.
pub(crate) async fn stream(
    mut client: Ingest,
    mut batches: impl Iterator<Item = Batch>,
    in_flight: usize,
    mut on_ack: impl FnMut(u64),
) -> Result<Outcome, LoadError> {
    let (sender, receiver) = mpsc::channel(in_flight);
    let mut answers = client.publish_stream(ReceiverStream::new(receiver)).await?.into_inner();
    let mut sender = Some(sender);
    let mut outcome = Outcome { accepted: 0, finished: Instant::now(), tokens: Vec::new() };
    let (mut sent, mut acknowledged, mut tokens) = (0u64, 0u64, VecDeque::new());
    loop {
        while let Some(open) = sender.as_ref().filter(|_| sent - acknowledged < in_flight as u64) {
            let message = batches.next().map(|batch| batch.into_stream_request(sent));
            match message {
                // If the stream has failed, the next answer says why.
                Some(message) => match open.send(message).await {
                    Ok(()) => sent += 1,
                    Err(_) => sender = None,
                },
                None => sender = None,
            }
        }
        match answers.message().await? {
            Some(answer) => {
                let (accepted, token) = verdict(answer.acknowledgement)?;
                acknowledged += 1;
                outcome.accepted += accepted;
                outcome.finished = Instant::now();
                tokens.push_back(token);
                if tokens.len() > in_flight {
                    tokens.pop_front();
                }
                on_ack(accepted);
            }
            None if sender.is_none() && acknowledged == sent => break,
            None => return Err(LoadError::Closed),
        }
    }
    outcome.tokens = tokens.into();
    Ok(outcome)
}

/// How many events were accepted, and the token; an error if any was not.
pub(crate) fn verdict(acknowledgement: Option<v1::Acknowledgement>) -> Result<(u64, String), LoadError> {
    let verdict = acknowledgement.ok_or(LoadError::Incomplete("acknowledgement"))?;
    match verdict.rejections.first() {
        None => Ok((verdict.accepted.into(), verdict.position_token)),
        Some(first) => Err(LoadError::Rejected {
            count: verdict.rejections.len() as u64,
            first: format!("{} {}: {}", first.code, first.field, first.message),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use api::raw::Value;
    use load::shop::{Density, Made, Week};

    use super::*;

    #[test]
    fn batches_keep_order_and_limits_and_lose_nothing() {
        let users = Users::new(1);
        let large = |made: &Made| wire::event(made, users.get(made.user), &"x".repeat(128), 1);
        let mut events: Vec<_> = Week::new(1, &users, 4_321, Density::Full).map(|made| large(&made)).collect();
        for (i, event) in events.iter_mut().enumerate() {
            *event = event.clone().with_id(&i.to_string());
            if i % 2 == 0 {
                (0..3).for_each(|n| event.set(&format!("note {n}"), Value::Text(&"ä".repeat(512))));
            }
        }
        let batches: Vec<_> = Batches::new("app", events.clone()).collect();
        assert!(batches.iter().any(|batch| batch.events() < BATCH_EVENTS - 1), "bytes cut some");
        let mut sent = Vec::new();
        for batch in batches {
            let (events, request) = (batch.events(), batch.into_request());
            assert!(events <= BATCH_EVENTS && request.len() <= BATCH_BYTES, "{events} {}", request.len());
            sent.extend(v1::PublishRequest::decode(request).unwrap().events);
        }
        let events: Vec<_> = events.iter().map(|event| v1::Event::decode(event.bytes()).unwrap()).collect();
        assert_eq!(sent, events);
        assert_eq!(Batches::new("app", Vec::new()).count(), 0);
    }
}
