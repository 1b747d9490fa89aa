//! The reader and writer of archives over tokio's traits, and dumps and restores for async code.
//!
//! They differ from those over `std::io` in nothing but who waits.

#[cfg(target_os = "linux")]
mod tree;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt};

#[cfg(target_os = "linux")]
pub use self::tree::{dump, restore};

use crate::reader::{Cursor, Found, Progress};
use crate::writer::GATHERED;
use crate::{Encoder, Event, Limits, ReadError};

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
/// As [`crate::Writer`], for tokio. Cancelling a call leaves the sink with an unknown part of it.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    encoder: Encoder,
    gathered: Vec<u8>,
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
            encoder: Encoder::with_limits(limits),
            gathered: Vec::new(),
        }
    }

    /// Writes what says `event`, at the latest when the archive is finished.
    ///
    /// # Errors
    /// As for [`crate::Writer::write`].
    pub async fn write(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Data(data) if data.len() >= GATHERED => {
                self.encoder.pass_data(data.len() as u64)?;
                self.flush().await?;
                self.sink.write_all(data).await
            }
            event => {
                self.encoder.encode(event, &mut self.gathered)?;
                if self.gathered.len() >= GATHERED {
                    self.flush().await
                } else {
                    Ok(())
                }
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.gathered).await?;
        self.gathered.clear();
        Ok(())
    }

    /// Ends the archive and hands back the sink, which has got all of it.
    ///
    /// # Errors
    /// The archive is not complete, or the sink fails.
    pub async fn finish(mut self) -> io::Result<W> {
        self.flush().await?;
        self.sink.flush().await?;
        self.encoder.finish()?;
        Ok(self.sink)
    }
}
