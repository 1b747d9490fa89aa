//! A channel of a link as a byte stream.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::ByteStream;

/// How much of a remote program's standard error is kept for messages, in bytes.
const MAX_STDERR: usize = 4096;
/// How much of it may wait for whoever listens, in pieces of at most 32 KiB: a channel's reader goes on
/// while something else is waited for.
pub(super) const MAX_UNHEARD: usize = 256;

/// Which message is the last of a channel that matters to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndsWith {
    /// A socket's channel stays half open after its peer has closed, until we close too.
    Eof,
    /// A command's standard error may follow the end of its standard output.
    Close,
}

/// Why a link has ended, once it has: its channels tell it to whoever reads them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ending(Arc<Mutex<Option<String>>>);

impl Ending {
    /// Says why; the first reason is the one that counts.
    pub(super) fn set(&self, reason: String) {
        let mut ending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ending.get_or_insert(reason);
    }

    fn reason(&self) -> Option<String> {
        let ending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ending.clone()
    }
}

pub(super) fn stream(
    channel: Channel<client::Msg>,
    ends_with: EndsWith,
    way: String,
    listener: Option<Sender<Bytes>>,
    ending: Ending,
) -> ByteStream {
    let (read_half, write_half) = channel.split();
    let writer = write_half.make_writer();
    let reader = ChannelReader {
        half: read_half,
        closer: Closer(Some(write_half)),
        rest: Bytes::new(),
        complaint: Vec::new(),
        listener,
        ends_with,
        ending,
    };
    ByteStream::new(reader, writer, way)
}

/// Closes the channel when nobody reads it any more, so that what is at the other end ends now and not
/// with the whole link.
struct Closer(Option<ChannelWriteHalf<client::Msg>>);

impl Drop for Closer {
    fn drop(&mut self) {
        // Without a runtime the link is gone, too.
        if let (Some(half), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move { half.close().await });
        }
    }
}

/// The data of a channel as a byte stream. What a command writes to standard error becomes the
/// read error when its output ends.
struct ChannelReader {
    half: ChannelReadHalf,
    #[expect(dead_code, reason = "its drop is its use")]
    closer: Closer,
    rest: Bytes,
    complaint: Vec<u8>,
    listener: Option<Sender<Bytes>>,
    ends_with: EndsWith,
    ending: Ending,
}

impl ChannelReader {
    fn end(&mut self) -> io::Result<()> {
        let complaint = std::mem::take(&mut self.complaint);
        if complaint.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&complaint);
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            text.trim_end().replace('\n', "; "),
        ))
    }

    /// The channel has ended without a word, because the whole link has.
    fn cut(&mut self) -> io::Result<()> {
        self.end()?;
        match self.ending.reason() {
            Some(reason) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, reason)),
            None => Ok(()),
        }
    }

    /// Keeps the end of it: that is where the reason for an end stands.
    fn complain(&mut self, data: Bytes) -> io::Result<()> {
        self.complaint.extend_from_slice(&data);
        let excess = self.complaint.len().saturating_sub(MAX_STDERR);
        self.complaint.drain(..excess);
        match self
            .listener
            .as_ref()
            .map(|listener| listener.try_send(data))
        {
            Some(Err(TrySendError::Full(_))) => Err(io::Error::other(
                "the command prints much more than it answers",
            )),
            // Whoever does not listen any more does not want it.
            Some(Ok(()) | Err(TrySendError::Closed(_))) | None => Ok(()),
        }
    }
}

impl AsyncRead for ChannelReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            // A fresh future per poll: receiving from the queue behind it is safe to drop.
            let message = ready!(pin!(self.half.wait()).poll(context));
            match message {
                Some(ChannelMsg::Data { data }) => self.rest = data,
                Some(ChannelMsg::ExtendedData { data, .. }) => self.complain(data)?,
                Some(ChannelMsg::Eof) if self.ends_with == EndsWith::Eof => {
                    return Poll::Ready(self.end());
                }
                Some(ChannelMsg::Close) => return Poll::Ready(self.end()),
                None => return Poll::Ready(self.cut()),
                Some(_) => {}
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}
