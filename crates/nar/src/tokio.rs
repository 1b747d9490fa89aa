//! The reader and writer of archives over tokio's traits, and dumps and restores for async code.
//!
//! They do all that those over `std::io` do: events, errors and bytes are the same, and only who
//! waits is not. What a call that is cancelled leaves behind stands with each.
//! [`Observed`](crate::Observed) has tokio's traits as well.

mod observed;
#[cfg(target_os = "linux")]
mod tree;

use std::future::poll_fn;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite,
    AsyncWriteExt,
};

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
    /// Whether a seek was begun and not waited for: where the source stands is unknown.
    is_seeking: bool,
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
            is_seeking: false,
        }
    }

    /// The next event, or `None` behind the archive's end.
    ///
    /// # Errors
    /// As for [`crate::Reader::next`].
    pub async fn next(&mut self) -> Result<Option<Event<'_>>, ReadError> {
        if self.is_seeking {
            return Err(ReadError::Source(io::Error::other("a seek was cancelled")));
        }
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

impl<R: AsyncBufRead + AsyncSeek + Unpin> Reader<R> {
    /// Passes over what is left of the file whose [`Event::File`] came last: what lies in the
    /// source's buffer by consuming it, and the rest by seeking. Returns how many bytes that was.
    ///
    /// When it is cancelled while it seeks, the place in the archive is lost: every later call
    /// fails.
    ///
    /// # Errors
    /// As for [`crate::Reader::skip_data`]; what lay in the buffer may have been passed over.
    pub async fn skip_data(&mut self) -> io::Result<u64> {
        if self.is_seeking {
            return Err(io::Error::other("a seek was cancelled"));
        }
        self.source.consume(self.cursor.take_consumed());
        let decoder = &mut self.cursor.decoder;
        let mut skipped = 0;
        if decoder.remaining() > 0 {
            let here = self.source.fill_buf().await?.len();
            skipped = decoder.skip_data(here as u64);
            // No more than `here`.
            self.source.consume(skipped as usize);
        }
        // The file may claim more than can be sought over at once. Nothing holds that much.
        let rest = decoder.remaining().min(i64::MAX as u64);
        if rest > 0 {
            self.is_seeking = true;
            let sought = self.source.seek(SeekFrom::Current(rest.cast_signed()));
            let sought = sought.await;
            self.is_seeking = false;
            sought?;
            skipped += decoder.skip_data(rest);
        }
        Ok(skipped)
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

    /// Copies the data of the file begun last from `source`, all that remains of it.
    ///
    /// When it is cancelled while it waits for the source, nothing is lost: it may be called again.
    ///
    /// # Errors
    /// As for [`crate::Writer::copy_data`].
    pub async fn copy_data(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), WriteError> {
        self.send(b"").await?;
        let mut buffer = vec![0; self.outgoing.copied_at_once()];
        while let room @ 1.. = self.outgoing.copied_at_once() {
            let read = source.read(&mut buffer[..room]).await;
            let length = read.map_err(WriteError::Source)?;
            if length == 0 {
                return Err(WriteError::Source(io::ErrorKind::UnexpectedEof.into()));
            }
            self.outgoing.pass_data(length)?;
            self.send(&buffer[..length]).await?;
        }
        Ok(())
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
