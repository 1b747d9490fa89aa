use std::fmt;
use std::io::{self, Write};

use crate::{Encoder, Error, Event, Limits};

/// Bytes that a [`Writer`] gathers before it writes, and that [`Writer::copy_data`] moves at a time.
pub(crate) const GATHERED: usize = 64 * 1024;

/// Writes an archive, event by event, to a sink.
///
/// Small events are gathered, and pieces of data of 64 KiB and more go to the sink as they are.
/// Nobody knows how much of a piece a sink that fails has taken, so that its failure is the end:
/// every later call fails too.
///
/// ```
/// use nar::{Event, Writer};
///
/// let mut writer = Writer::new(Vec::new());
/// writer.write(Event::Directory)?;
/// writer.write(Event::Entry(b"link"))?;
/// writer.write(Event::Symlink(b"target"))?;
/// writer.write(Event::DirectoryEnd)?;
/// let archive = writer.finish()?;
/// assert_eq!(archive.len(), 288);
/// # Ok::<(), nar::WriteError>(())
/// ```
#[derive(Debug)]
pub struct Writer<W: Write> {
    sink: W,
    outgoing: Outgoing,
}

/// Why an archive could not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// The event cannot come here, or the archive is not complete. Nothing of the event was
    /// written, and another can be tried.
    Archive(Error),
    /// The source of a file's data failed, or ended before the file does
    /// ([`io::ErrorKind::UnexpectedEof`]). What came before was written, and the file can be gone
    /// on with.
    Source(io::Error),
    /// The sink failed. What it has got is not known, so nothing more is written.
    Sink(io::Error),
    /// The sink failed before, or a call was cancelled while it waited for the sink.
    Abandoned,
}

impl<W: Write> Writer<W> {
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
    /// The event cannot come here, or the sink fails now or did before.
    pub fn write(&mut self, event: Event<'_>) -> Result<(), WriteError> {
        match self.outgoing.push(event)? {
            Some(data) => self.send(data),
            None => Ok(()),
        }
    }

    /// Copies the data of the file begun last from `source`, all that remains of it.
    ///
    /// # Errors
    /// Those of the source, which may not end before the file does, and of the sink.
    pub fn copy_data(&mut self, source: &mut impl io::Read) -> Result<(), WriteError> {
        self.send(b"")?;
        let mut buffer = vec![0; self.outgoing.copied_at_once()];
        while let room @ 1.. = self.outgoing.copied_at_once() {
            match source.read(&mut buffer[..room]) {
                Ok(0) => return Err(WriteError::Source(io::ErrorKind::UnexpectedEof.into())),
                Ok(length) => {
                    self.outgoing.pass_data(length)?;
                    self.send(&buffer[..length])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(WriteError::Source(error)),
            }
        }
        Ok(())
    }

    fn send(&mut self, data: &[u8]) -> Result<(), WriteError> {
        let gathered = self.outgoing.begin()?;
        self.sink.write_all(gathered).map_err(WriteError::Sink)?;
        self.sink.write_all(data).map_err(WriteError::Sink)?;
        self.outgoing.end();
        Ok(())
    }

    /// Ends the archive and hands back the sink, which has got all of it.
    ///
    /// # Errors
    /// The archive is not complete, or the sink fails now or did before.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.outgoing.check_complete()?;
        self.send(b"")?;
        self.sink.flush().map_err(WriteError::Sink)?;
        Ok(self.sink)
    }
}

/// What is on its way to a sink, whoever waits for that.
#[derive(Debug)]
pub(crate) struct Outgoing {
    encoder: Encoder,
    gathered: Vec<u8>,
    /// Bytes were begun to be sent. It stays so when that fails or is cancelled: how many the sink
    /// has taken is then unknown, and neither sending them again nor going on makes an archive.
    is_sending: bool,
}

impl Outgoing {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            encoder: Encoder::with_limits(limits),
            gathered: Vec::new(),
            is_sending: false,
        }
    }

    /// Takes the event. `Some`: all that was gathered is due, and this data behind it.
    #[inline]
    pub(crate) fn push<'a>(&mut self, event: Event<'a>) -> Result<Option<&'a [u8]>, WriteError> {
        self.check()?;
        match event {
            Event::Data(data) if data.len() >= GATHERED => {
                self.pass_data(data.len())?;
                Ok(Some(data))
            }
            event => {
                let encoded = self.encoder.encode(event, &mut self.gathered);
                encoded.map_err(WriteError::Archive)?;
                Ok((self.gathered.len() >= GATHERED).then_some(b""))
            }
        }
    }

    /// Takes note of data that is sent without being gathered.
    pub(crate) fn pass_data(&mut self, length: usize) -> Result<(), WriteError> {
        self.check()?;
        let passed = self.encoder.pass_data(length as u64);
        passed.map_err(WriteError::Archive)
    }

    /// How many bytes of the file's data to copy next: 0 when none remain.
    pub(crate) fn copied_at_once(&self) -> usize {
        let remaining = usize::try_from(self.encoder.remaining());
        remaining.map_or(GATHERED, |remaining| remaining.min(GATHERED))
    }

    /// What has to be sent before anything else. [`Outgoing::end`] says that it was, and all else
    /// that was due.
    pub(crate) fn begin(&mut self) -> Result<&[u8], WriteError> {
        self.check()?;
        self.is_sending = true;
        Ok(&self.gathered)
    }

    pub(crate) fn end(&mut self) {
        self.gathered.clear();
        self.is_sending = false;
    }

    pub(crate) fn check_complete(&self) -> Result<(), WriteError> {
        self.check()?;
        self.encoder.check_complete().map_err(WriteError::Archive)
    }

    fn check(&self) -> Result<(), WriteError> {
        if self.is_sending {
            return Err(WriteError::Abandoned);
        }
        Ok(())
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => write!(f, "write an archive: {error}"),
            Self::Source(error) => write!(f, "read data for an archive: {error}"),
            Self::Sink(error) => write!(f, "write an archive: {error}"),
            Self::Abandoned => f.write_str("go on with an archive: its sink got a part of it"),
        }
    }
}

impl std::error::Error for WriteError {
    /// What lies behind the error that the message ends with.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) | Self::Sink(error) => error.source(),
            Self::Archive(_) | Self::Abandoned => None,
        }
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Archive(error) => error.into(),
            WriteError::Source(error) | WriteError::Sink(error) => error,
            WriteError::Abandoned => Self::other(error),
        }
    }
}
