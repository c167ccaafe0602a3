//! Connections whose client doesn't say what it speaks.
//!
//! HTTP/1.1 and HTTP/2 come on one port, and the first bytes tell which. Only then do the bounds of either hold: who sends nothing, or half
//! of HTTP/2's preface, would keep a connection for ever.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails if its first bytes don't tell the protocol in time.
pub(crate) struct Opening<S> {
    stream: S,
    /// Bytes read that so far are HTTP/2's preface.
    matched: usize,
    /// None: the protocol is known.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Opening<S> {
    pub(crate) fn new(stream: S, within: Duration) -> Self {
        let end = Instant::now().checked_add(within).map(|end| Box::pin(tokio::time::sleep_until(end)));
        Self { stream, matched: 0, end }
    }

    fn came(&mut self, bytes: &[u8]) {
        let rest = &PREFACE[self.matched..];
        if bytes.is_empty() || (bytes.len() < rest.len() && rest.starts_with(bytes)) {
            self.matched += bytes.len();
        } else {
            self.end = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.end.is_none() {
            return read;
        }
        if read.is_ready() {
            self.came(&buf.filled()[before..]);
            return read;
        }
        match self.end.as_mut().map(|end| end.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// What comes of a connection that sends these pieces, a second apart, and then nothing for a minute.
    async fn after(pieces: &[&[u8]]) -> io::Result<usize> {
        let (mut client, server) = tokio::io::duplex(1024);
        let mut server = Opening::new(server, Duration::from_secs(10));
        let reading = async {
            let mut buf = [0; 1024];
            let mut read = 0;
            loop {
                match server.read(&mut buf).await? {
                    0 => return Ok(read),
                    more => read += more,
                }
            }
        };
        let sending = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(client);
        };
        tokio::join!(reading, sending).0
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_what_it_speaks_is_cut_and_who_did_is_left_alone() {
        let silent: [&[&[u8]]; 3] = [&[], &[b"P"], &[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r"]];
        for silent in silent {
            assert_eq!(after(silent).await.unwrap_err().kind(), io::ErrorKind::TimedOut, "{silent:?}");
        }
        let dribble: Vec<&[u8]> = PREFACE.chunks(1).collect();
        assert_eq!(after(&dribble).await.unwrap_err().kind(), io::ErrorKind::TimedOut, "a byte a second");
        let known: [&[&[u8]]; 5] =
            [&[PREFACE], &[&PREFACE[..9], &PREFACE[9..]], &[b"G"], &[b"P", b"OST"], &[b"PRI / "]];
        for known in known {
            assert_eq!(after(known).await.unwrap(), known.concat().len(), "{known:?}");
        }
    }
}
