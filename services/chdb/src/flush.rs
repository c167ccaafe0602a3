//! A connection that tells when all that was written to it has left this process.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Counts the flushes of one connection.
#[derive(Clone)]
pub(crate) struct Flushes(Arc<watch::Sender<u64>>);

impl Flushes {
    /// Waits until everything that was written before this call has been handed to the system.
    pub(crate) async fn next(&self) {
        let mut count = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = count.changed().await;
    }
}

/// A TCP connection whose flushes are counted.
pub(crate) struct Connection {
    stream: TcpStream,
    flushes: Flushes,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, flushes: Flushes(Arc::new(watch::Sender::new(0))) }
    }

    pub(crate) fn flushes(&self) -> Flushes {
        self.flushes.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The server flushes only when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.flushes.0.send_modify(|count| *count += 1);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
