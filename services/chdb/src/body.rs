//! A request's body, carried from the async server to the blocking thread that runs the statement.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::error::QueryError;

/// Frames in flight between the two sides: what bounds the memory of an upload.
const FRAMES_IN_FLIGHT: usize = 4;
/// How much of a body that nobody reads any more is swallowed, so that its sender gets to read the answer.
const MAX_DRAIN_BYTES: usize = 16 << 20;

/// The blocking end: reads as the client sends. An error carries a [`QueryError`].
pub(crate) struct BodyReader {
    frames: mpsc::Receiver<Result<Bytes, QueryError>>,
    frame: Bytes,
    ended: bool,
}

/// Starts to pull `body`; a silence longer than `timeout` ends it with an error.
pub(crate) fn channel(body: Incoming, timeout: Duration) -> BodyReader {
    let (sender, frames) = mpsc::channel(FRAMES_IN_FLIGHT);
    tokio::spawn(pump(body, timeout, sender));
    BodyReader { frames, frame: Bytes::new(), ended: false }
}

/// Sends frames and at last an empty one; a channel that closes without it means that the client is gone.
async fn pump(mut body: Incoming, timeout: Duration, sender: mpsc::Sender<Result<Bytes, QueryError>>) {
    let mut drained = 0;
    loop {
        let item = match tokio::time::timeout(timeout, body.frame()).await {
            Err(_) => Err(QueryError::socket_timeout("The client stopped sending its body.")),
            Ok(None) => Ok(Bytes::new()),
            Ok(Some(Err(e))) => Err(QueryError::network(format!("The body broke off: {e}."))),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if !data.is_empty() => Ok(data),
                _ => continue,
            },
        };
        let last = item.as_ref().map_or(true, Bytes::is_empty);
        let length = item.as_ref().map_or(0, Bytes::len);
        if sender.send(item).await.is_err() {
            drained += length;
        }
        if last || drained > MAX_DRAIN_BYTES {
            return;
        }
    }
}

impl BodyReader {
    /// A body that has ended.
    pub(crate) fn empty() -> Self {
        Self { frames: mpsc::channel(1).1, frame: Bytes::new(), ended: true }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.frame.is_empty() && !self.ended {
            match self.frames.blocking_recv() {
                Some(Ok(frame)) => (self.ended, self.frame) = (frame.is_empty(), frame),
                Some(Err(e)) => return Err(io::Error::other(e)),
                None => return Err(io::Error::other(QueryError::network("The client is gone."))),
            }
        }
        let length = buffer.len().min(self.frame.len());
        self.frame.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The [`QueryError`] in an error of a body, or what its decoder says.
pub(crate) fn body_error(error: io::Error) -> QueryError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<QueryError>()) {
        Some(inner) => inner.clone(),
        None => QueryError::decompress(format!("Can't decode the body: {error}.")),
    }
}
