//! Bodies: read whole within a bound, and gRPC's five-byte frames.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use model::Error;

use crate::Body;

/// The whole body, if it isn't larger than `limit_bytes`.
pub async fn collect(body: Body, limit_bytes: usize) -> Result<Bytes, Error> {
    match Limited::new(body, limit_bytes).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Error::invalid("body", "TOO_LONG", format!("must have at most {limit_bytes} bytes")))
        }
        Err(error) => Err(Error::invalid("body", "MALFORMED", format!("can't be read: {error}"))),
    }
}

/// One gRPC message as its frame, uncompressed.
pub fn frame(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

/// Cuts gRPC messages out of the bytes as they come.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: BytesMut,
}

impl Deframer {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message. Compressed ones aren't expected: the caller asked for identity.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Error> {
        if self.buffer.len() < 5 {
            return Ok(None);
        }
        if self.buffer[0] != 0 {
            return Err(Error::internal("a compressed message where none was asked for"));
        }
        let len = u32::from_be_bytes([self.buffer[1], self.buffer[2], self.buffer[3], self.buffer[4]]) as usize;
        if self.buffer.len() < 5 + len {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(5 + len);
        Ok(Some(message.split_off(5).freeze()))
    }
}

/// What is done around each frame of a body that is made or taken.
pub(crate) trait Around: Send + Unpin + 'static {
    /// Polls.
    fn around<T>(&mut self, poll: impl FnOnce() -> T) -> T;
}

/// The body within this, which is dropped with it.
pub(crate) fn within(body: Body, around: impl Around) -> Body {
    Body::new(Within { body, around })
}

struct Within<A> {
    body: Body,
    around: A,
}

impl<A: Around> http_body::Body for Within<A> {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Self { body, around } = &mut *self;
        around.around(|| http_body::Body::poll_frame(Pin::new(body), cx))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_cut() {
        let bytes = [frame(b"one"), frame(b""), frame(&[9; 300])].concat();
        for step in 1..bytes.len() {
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            for piece in bytes.chunks(step) {
                deframer.push(piece);
                while let Some(message) = deframer.next_message().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, [Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![9; 300])]);
        }
    }
}
