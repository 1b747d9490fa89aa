//! The byte stream that a link hands out.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::Receiver;

/// A two-way byte stream to a program on a machine, its store daemon as a rule.
pub struct ByteStream {
    /// What the program sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What it is sent.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// Bytes that have passed so far.
    pub traffic: Traffic,
    /// How the stream reaches it, for messages: `socket /nix/var/nix/daemon-socket/socket`.
    pub way: String,
    /// What the program writes to standard error, where that was asked for. It comes while
    /// `reader` is read, and must be taken as it comes.
    pub said: Option<Receiver<Bytes>>,
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("way", &self.way)
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}

impl ByteStream {
    /// Wraps the two halves, counting what passes.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        way: impl Into<String>,
    ) -> Self {
        let traffic = Traffic::default();
        ByteStream {
            reader: Box::new(Counted {
                inner: reader,
                count: traffic.received.clone(),
            }),
            writer: Box::new(Counted {
                inner: writer,
                count: traffic.sent.clone(),
            }),
            traffic,
            way: way.into(),
            said: None,
        }
    }
}

/// Counts the bytes of a stream, before encryption.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    sent: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl Traffic {
    /// Bytes sent to the machine so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes received from it so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

struct Counted<S> {
    inner: S,
    count: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.count.fetch_add(written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
