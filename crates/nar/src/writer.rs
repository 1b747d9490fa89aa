use std::io::{self, Write};

use crate::{Encoder, Event, Limits};

/// Bytes that a [`Writer`] gathers before it writes.
pub(crate) const GATHERED: usize = 64 * 1024;

/// Writes an archive, event by event, to a sink.
///
/// Small events are gathered, and pieces of data of 64 KiB and more go to the sink as they are.
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
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<W: Write> {
    sink: W,
    encoder: Encoder,
    gathered: Vec<u8>,
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
            encoder: Encoder::with_limits(limits),
            gathered: Vec::new(),
        }
    }

    /// Writes what says `event`, at the latest when the archive is finished.
    ///
    /// # Errors
    /// An [`Error`](crate::Error) if the event cannot come here: nothing of it is written and
    /// another can be tried. Or the sink's error: what it has got is then unknown.
    pub fn write(&mut self, event: Event<'_>) -> io::Result<()> {
        match event {
            Event::Data(data) if data.len() >= GATHERED => {
                self.encoder.pass_data(data.len() as u64)?;
                self.flush()?;
                self.sink.write_all(data)
            }
            event => {
                self.encoder.encode(event, &mut self.gathered)?;
                if self.gathered.len() >= GATHERED {
                    self.flush()
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Copies the data of the file begun last from `source`, all that remains of it.
    ///
    /// # Errors
    /// Those of the source and of the sink, and [`io::ErrorKind::UnexpectedEof`] if the source
    /// ends before.
    pub fn copy_data(&mut self, source: &mut impl io::Read) -> io::Result<()> {
        self.flush()?;
        let mut buffer = vec![0; GATHERED];
        while self.encoder.remaining() > 0 {
            let wanted = usize::try_from(self.encoder.remaining())
                .unwrap_or(GATHERED)
                .min(GATHERED);
            match source.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.encoder.pass_data(length as u64)?;
                    self.sink.write_all(&buffer[..length])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    /// Ends the archive and hands back the sink, which has got all of it.
    ///
    /// # Errors
    /// The archive is not complete, or the sink fails.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        self.sink.flush()?;
        self.encoder.finish()?;
        Ok(self.sink)
    }
}
