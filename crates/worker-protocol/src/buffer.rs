//! The bytes that came and were not yet understood.

/// How much is read from a peer at once when nothing larger is wanted.
pub(crate) const READ_SIZE: usize = 256 << 10;

/// How much memory is kept for what comes next. One large value is no reason to hold as much for ever.
const KEPT: usize = 4 << 20;

/// A queue of bytes in one piece. Its memory follows the bytes that really came: room for more is made
/// only as much as is there already, or [`READ_SIZE`].
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// Initialised through its whole length; `start..end` holds the bytes.
    storage: Vec<u8>,
    start: usize,
    end: usize,
    /// Stream offset of the byte at `start`.
    offset: u64,
}

impl Buffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn consume(&mut self, count: usize) {
        assert!(count <= self.len(), "no more is consumed than there is");
        self.start += count;
        self.offset += count as u64;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.storage.len() > KEPT {
                self.storage = Vec::new();
            }
        }
    }

    /// Room to read into: at least half of [`READ_SIZE`], or as much again as is held.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let room = READ_SIZE.max(self.len());
        if self.storage.len() - self.end < room / 2 {
            // Moving costs at most what was read since the last move, as `start` is at least `len` then.
            if self.start >= self.len() && self.start > 0 {
                self.storage.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.storage.len() - self.end < room / 2 {
                self.storage.resize(self.end + room, 0);
            }
        }
        &mut self.storage[self.end..]
    }

    pub(crate) fn filled(&mut self, count: usize) {
        assert!(
            count <= self.storage.len() - self.end,
            "no more is filled than there was room"
        );
        self.end += count;
    }

    /// Appends bytes that were read elsewhere.
    pub(crate) fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.filled(count);
            bytes = &bytes[count..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_memory_stays_small() {
        let mut buffer = Buffer::default();
        let (mut next_in, mut next_out) = (0u8, 0u8);
        for round in 0..4000usize {
            let chunk: Vec<u8> = (0..(round * 7919) % 5000)
                .map(|_| {
                    next_in = next_in.wrapping_add(1);
                    next_in
                })
                .collect();
            buffer.extend(&chunk);
            let take = buffer.len().saturating_sub(round % 100);
            for &byte in &buffer.bytes()[..take] {
                next_out = next_out.wrapping_add(1);
                assert_eq!(byte, next_out);
            }
            buffer.consume(take);
        }
        assert!(buffer.storage.len() <= 4 * READ_SIZE);
    }

    #[test]
    fn the_memory_of_a_large_value_is_given_back() {
        let mut buffer = Buffer::default();
        buffer.extend(&vec![7; 2 * KEPT]);
        buffer.consume(2 * KEPT - 1);
        assert_eq!(buffer.bytes(), [7]);
        buffer.consume(1);
        assert_eq!(
            (buffer.storage.len(), buffer.offset()),
            (0, 2 * KEPT as u64)
        );
    }
}
