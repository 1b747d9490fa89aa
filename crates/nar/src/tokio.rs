//! The reader and writer of archives over tokio's traits, and dumps and restores for async code.
//!
//! They differ from those over `std::io` in nothing but who waits.

mod observed;
#[cfg(target_os = "linux")]
mod tree;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

#[cfg(target_os = "linux")]
pub use self::tree::{dump, restore};

use crate::reader::{Cursor, Found, Progress};
use crate::writer::Outgoing;
use crate::{Event, Limits, ReadError, WriteError};

/// Reads an archive, event by event, from anything that buffers.
///
/// As [`crate::Reader`], for tokio. [`Reader::next`] may be cancelled without loss.
///
/// ```
/// use nar::{Event, tokio::Reader};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let archive = nar::example();
/// let mut reader = Reader::new(&archive[..]);
/// let mut total = 0;
/// while let Some(event) = reader.next().await? {
///     if let Event::File { size, .. } = event {
///         total += size;
///     }
/// }
/// assert_eq!(total, 5);
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<R> {
    source: R,
    cursor: Cursor,
}

impl<R: AsyncBufRead + Unpin> Reader<R> {
    /// Reads from `source`, under [`Limits::NIX`].
    pub fn new(source: R) -> Self {
        Self::with_limits(source, Limits::NIX)
    }

    /// Reads from `source`, under limits of one's own.
    pub fn with_limits(source: R, limits: Limits) -> Self {
        Self {
            source,
            cursor: Cursor::new(limits),
        }
    }

    /// The next event, or `None` behind the archive's end.
    ///
    /// # Errors
    /// As for [`crate::Reader::next`].
    pub async fn next(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        self.source.consume(self.cursor.take_consumed());
        let found = match poll_fn(|context| self.poll_found(context)).await? {
            // Half of all events borrow nothing.
            Some(Found::Bare(event)) => return Ok(Some(event)),
            Some(found) => found,
            None => return Ok(None),
        };
        // The buffer is not empty, so this neither reads nor waits.
        let input = self.source.fill_buf().await.map_err(ReadError::Source)?;
        Ok(Some(self.cursor.event(found, input)))
    }

    /// Goes to the next event, as [`crate::Reader::next`] does.
    #[inline]
    fn poll_found(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Found>, ReadError>> {
        loop {
            let input = ready!(Pin::new(&mut self.source).poll_fill_buf(context));
            let input = input.map_err(ReadError::Source)?;
            match self.cursor.advance(input)? {
                Progress::Found(found) => return Poll::Ready(Ok(Some(found))),
                Progress::More(consumed) => self.source.consume(consumed),
                Progress::Finished => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// How many bytes of the archive the events so far have said.
    pub fn offset(&self) -> u64 {
        self.cursor.decoder.offset()
    }

    /// The source: behind the event returned last, or behind the archive when that is complete.
    pub fn into_inner(mut self) -> R {
        self.source.consume(self.cursor.take_consumed());
        self.source
    }
}

/// Writes an archive, event by event, to a sink.
///
/// As [`crate::Writer`], for tokio. A call that is cancelled while it waits for the sink leaves there
/// an unknown part of what it had, as a failure does: every later call fails.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    outgoing: Outgoing,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Writes to `sink`, under [`Limits::NIX`].
    pub fn new(sink: W) -> Self {
        Self::with_limits(sink, Limits::NIX)
    }

    /// Writes to `sink`, under limits of one's own.
    pub fn with_limits(sink: W, limits: Limits) -> Self {
        Self {
            sink,
            outgoing: Outgoing::new(limits),
        }
    }

    /// Writes what says `event`, at the latest when the archive is finished.
    ///
    /// # Errors
    /// As for [`crate::Writer::write`].
    pub async fn write(&mut self, event: Event<'_>) -> Result<(), WriteError> {
        match self.outgoing.push(event)? {
            Some(data) => self.send(data).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let gathered = self.outgoing.begin()?;
        let sent = self.sink.write_all(gathered).await;
        sent.map_err(WriteError::Sink)?;
        let sent = self.sink.write_all(data).await;
        sent.map_err(WriteError::Sink)?;
        self.outgoing.end();
        Ok(())
    }

    /// Ends the archive and hands back the sink, which has got all of it.
    ///
    /// # Errors
    /// The archive is not complete, or the sink fails now or did before.
    pub async fn finish(mut self) -> Result<W, WriteError> {
        self.outgoing.check_complete()?;
        self.send(b"").await?;
        self.sink.flush().await.map_err(WriteError::Sink)?;
        Ok(self.sink)
    }
}
