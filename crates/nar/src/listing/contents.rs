use std::io::{self, BufRead, Read};

/// Reads one file's data out of an archive, and all of it: an archive that ends before is
/// [`io::ErrorKind::UnexpectedEof`].
///
/// Made by [`Node::open`](crate::Node::open).
#[derive(Debug)]
pub struct Contents<R> {
    archive: R,
    remaining: u64,
}

impl<R> Contents<R> {
    /// The next `size` bytes of `archive`.
    pub(super) fn new(archive: R, size: u64) -> Self {
        Self {
            archive,
            remaining: size,
        }
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// The archive, behind what was read.
    pub fn into_inner(self) -> R {
        self.archive
    }
}

/// Of so many bytes, as many as remain.
fn within(bytes: usize, remaining: u64) -> usize {
    usize::try_from(remaining).map_or(bytes, |remaining| remaining.min(bytes))
}

impl<R: Read> Read for Contents<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = within(buffer.len(), self.remaining);
        if room == 0 {
            return Ok(0);
        }
        let length = self.archive.read(&mut buffer[..room])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining -= length as u64;
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Contents<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let buffer = self.archive.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(&buffer[..within(buffer.len(), self.remaining)])
    }

    fn consume(&mut self, length: usize) {
        self.remaining -= length as u64;
        self.archive.consume(length);
    }
}
