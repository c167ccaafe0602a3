//! Sending a call again: how often in all, and its body.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tonic::Status;

use crate::Body;

/// What a call earns and a retry costs: one call in ten may be a retry, and a burst of a hundred at most.
const EARN: u64 = 1;
const COST: u64 = 10;
const FULL: u64 = 100 * COST;

/// How many retries an upstream may have, so that a failing one isn't sent a multiple of its load.
pub(super) struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU64::new(FULL))
    }
}

impl Budget {
    pub(super) fn earn(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < FULL).then(|| n + EARN));
    }

    /// Whether a retry may be made; it is paid for.
    pub(super) fn spend(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(COST)).is_ok()
    }
}

/// How much of a body is kept for a second attempt, in bytes: a batch of events and some.
const KEPT_BYTES: usize = 2 << 20;

/// A request's body that can be sent again while all that was taken from it is kept. Nothing is copied.
pub(super) struct Replay(Arc<Mutex<Shared>>);

struct Shared {
    body: Body,
    taken: Vec<Bytes>,
    taken_bytes: usize,
    /// Whether something was taken that isn't kept.
    lost: bool,
    /// Only the last attempt may take more.
    attempts: u64,
}

impl Replay {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Shared { body, taken: Vec::new(), taken_bytes: 0, lost: false, attempts: 0 })))
    }

    /// Whether a further attempt would send all of it.
    pub(super) fn is_whole(&self) -> bool {
        !self.0.lock().lost
    }

    /// The body from its beginning. Earlier attempts' bodies end with an error.
    pub(super) fn attempt(&self) -> Attempt {
        let mut shared = self.0.lock();
        shared.attempts += 1;
        Attempt { shared: Arc::clone(&self.0), number: shared.attempts, next: 0 }
    }
}

/// Once the call is decided nothing more is kept.
impl Drop for Replay {
    fn drop(&mut self) {
        self.0.lock().lost = true;
    }
}

/// The body of one attempt.
pub(super) struct Attempt {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    next: usize,
}

impl http_body::Body for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let mut shared = this.shared.lock();
        if shared.attempts != this.number {
            return Poll::Ready(Some(Err(Status::cancelled("the call is sent elsewhere"))));
        }
        if let Some(bytes) = shared.taken.get(this.next) {
            this.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(bytes.clone()))));
        }
        let frame = std::task::ready!(Pin::new(&mut shared.body).poll_frame(cx));
        match frame.as_ref().map(|frame| frame.as_ref().map(Frame::data_ref)) {
            None => {}
            Some(Ok(Some(data))) if !shared.lost && shared.taken_bytes + data.len() <= KEPT_BYTES => {
                let data = data.clone();
                shared.taken_bytes += data.len();
                shared.taken.push(data);
                this.next += 1;
            }
            Some(_) => {
                shared.lost = true;
                shared.taken = Vec::new();
                this.next = 0;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.lock();
        self.next >= shared.taken.len() && shared.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared.lock();
        let replayed: usize = shared.taken.iter().skip(self.next).map(Bytes::len).sum();
        let rest = shared.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + replayed as u64);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + replayed as u64);
        }
        hint
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http_body::Body as _;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn body(pieces: usize, bytes: usize) -> Body {
        let frames = (0..pieces).map(move |n| Ok::<_, Status>(Frame::data(Bytes::from(vec![n as u8; bytes]))));
        Body::new(StreamBody::new(futures::stream::iter(frames)))
    }

    async fn all(attempt: Attempt) -> Vec<u8> {
        attempt.collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn a_body_is_the_same_again_wherever_the_first_attempt_broke_off() {
        let whole = all(Replay::new(body(5, 3)).attempt()).await;
        for broke_off_at in 0..=5 {
            let replay = Replay::new(body(5, 3));
            let mut first = replay.attempt();
            for _ in 0..broke_off_at {
                first.frame().await.unwrap().unwrap();
            }
            assert!(replay.is_whole());
            let second = replay.attempt();
            assert!(first.frame().await.unwrap().is_err(), "the first may not take what the second is to send");
            assert_eq!(all(second).await, whole, "{broke_off_at}");
        }
    }

    #[tokio::test]
    async fn a_body_too_large_to_keep_is_sent_once_and_whole() {
        let replay = Replay::new(body(3, KEPT_BYTES / 2));
        let sent = all(replay.attempt()).await;
        assert_eq!(sent.len(), 3 * (KEPT_BYTES / 2));
        assert!(!replay.is_whole());
    }

    #[tokio::test]
    async fn the_end_is_known_before_the_last_frame_is_asked_for() {
        let replay = Replay::new(Body::empty());
        assert!(replay.attempt().is_end_stream());
        let one = Replay::new(Body::new(http_body_util::Full::new(Bytes::from_static(b"x"))));
        all(one.attempt()).await;
        let again = one.attempt();
        assert!(!again.is_end_stream() && again.size_hint().exact() == Some(1));
    }

    #[test]
    fn one_call_in_ten_may_be_a_retry() {
        let budget = Budget::default();
        while budget.spend() {}
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.earn();
            retries += u64::from(budget.spend());
        }
        assert_eq!(retries, 100);
    }
}
