use super::{Error, Kind, Marks, Stop, Text, WORD};

/// How much of a text that does not parse is kept in its error.
const QUOTED: usize = 256;

/// A cursor over the bytes that have come so far.
///
/// A method that fails leaves the cursor where it had got to; start again with a new decoder (or a clone
/// made before) once more bytes are there.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    position: usize,
    base: u64,
    /// Of the tries before, if the value is tried again where it was cut.
    marks: Option<Marks>,
}

impl<'a> Decoder<'a> {
    /// Decodes `bytes`, and counts offsets from their start.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder::at(bytes, 0)
    }

    /// Decodes `bytes`, the first of which stands at offset `base` of a stream: errors then say where in
    /// the stream they are.
    pub fn at(bytes: &'a [u8], base: u64) -> Decoder<'a> {
        Decoder {
            bytes,
            position: 0,
            base,
            marks: None,
        }
    }

    /// As [`Decoder::at`], for a value that may be tried again.
    pub(super) fn with_marks(bytes: &'a [u8], base: u64, marks: Marks) -> Decoder<'a> {
        let marks = Some(marks);
        Decoder {
            marks,
            ..Decoder::at(bytes, base)
        }
    }

    /// What another try of the same value needs.
    pub(super) fn take_marks(&mut self) -> Marks {
        self.marks.take().unwrap_or_default()
    }

    /// How many bytes have been read by this decoder.
    pub fn consumed(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Offset of the next byte in the stream.
    pub fn offset(&self) -> u64 {
        self.base + self.position as u64
    }

    /// Says that nothing is left.
    ///
    /// # Errors
    /// [`Kind::Trailing`] when something is.
    pub fn finish(self) -> Result<(), Stop> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error_at(self.offset(), Kind::Trailing(left))),
        }
    }

    /// Fails with `kind` at `offset`.
    pub fn error_at(&self, offset: u64, kind: Kind) -> Stop {
        Stop::Malformed(Error { offset, kind })
    }

    /// Fails because `text`, which was read from `offset`, is not `what`.
    pub fn not_a(&self, offset: u64, what: &'static str, text: &[u8]) -> Stop {
        let text = Text::from(&text[..text.len().min(QUOTED)]);
        self.error_at(offset, Kind::Text { what, text })
    }

    /// The next `count` bytes as they are, without length or padding.
    ///
    /// # Errors
    /// [`Stop::Incomplete`].
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        self.ensure(count)?;
        let bytes = &self.bytes[self.position..self.position + count];
        self.position += count;
        Ok(bytes)
    }

    /// A word.
    ///
    /// # Errors
    /// [`Stop::Incomplete`].
    pub fn word(&mut self) -> Result<u64, Stop> {
        let bytes = self.raw(WORD)?;
        Ok(u64::from_le_bytes(
            bytes.try_into().expect("a word has eight bytes"),
        ))
    }

    /// The next word, which stays the next.
    ///
    /// # Errors
    /// [`Stop::Incomplete`].
    pub(crate) fn peek(&self) -> Result<u64, Stop> {
        Decoder::at(&self.bytes[self.position..], 0).word()
    }

    /// A word that must be 0 or 1.
    ///
    /// # Errors
    /// [`Kind::Boolean`] for another word.
    pub fn boolean(&mut self) -> Result<bool, Stop> {
        let offset = self.offset();
        match self.word()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error_at(offset, Kind::Boolean(other))),
        }
    }

    /// A length or count of at most `maximum`.
    ///
    /// # Errors
    /// [`Kind::TooLong`].
    pub fn length(&mut self, maximum: usize) -> Result<usize, Stop> {
        let length = self.size(maximum as u64)?;
        Ok(usize::try_from(length).expect("it is no larger than a `usize`"))
    }

    /// A size of at most `maximum`, of something that need not fit into memory.
    ///
    /// # Errors
    /// [`Kind::TooLong`].
    pub fn size(&mut self, maximum: u64) -> Result<u64, Stop> {
        let offset = self.offset();
        let length = self.word()?;
        if length > maximum {
            return Err(self.error_at(offset, Kind::TooLong { length, maximum }));
        }
        Ok(length)
    }

    /// Padded bytes, at most `maximum` of them, borrowed.
    ///
    /// # Errors
    /// [`Kind::TooLong`], [`Kind::Padding`].
    pub fn bytes(&mut self, maximum: usize) -> Result<&'a [u8], Stop> {
        let length = self.length(maximum)?;
        self.ensure(length.next_multiple_of(WORD))?;
        let bytes = self.raw(length)?;
        let offset = self.offset();
        let padding = self.raw(length.next_multiple_of(WORD) - length)?;
        if padding.iter().any(|&byte| byte != 0) {
            return Err(self.error_at(offset, Kind::Padding));
        }
        Ok(bytes)
    }

    /// Padded bytes, at most `maximum` of them, as an owned text.
    ///
    /// # Errors
    /// As [`Decoder::bytes`].
    pub fn text(&mut self, maximum: usize) -> Result<Text, Stop> {
        self.bytes(maximum).map(Text::from)
    }

    /// A list of at most `maximum` items, none of which is smaller than `smallest` bytes (at least 1).
    ///
    /// The list is not begun before `count * smallest` bytes are there, and an item that is cut adds the
    /// smallest size of those behind it to what is missing.
    ///
    /// # Errors
    /// [`Kind::TooLong`] for the count; whatever `item` fails with.
    pub fn list<T>(
        &mut self,
        maximum: usize,
        smallest: usize,
        mut item: impl FnMut(&mut Decoder<'a>) -> Result<T, Stop>,
    ) -> Result<Vec<T>, Stop> {
        let start = self.position;
        let count = self.length(maximum)?;
        self.ensure(count.saturating_mul(smallest.max(1)))?;
        let (list, done) = self.meet(start);
        // No more is reserved than came: items may be larger here than there.
        let room = self.remaining() / size_of::<T>().max(1);
        let mut items = Vec::with_capacity(room.min(count - done));
        for behind in (0..count - done).rev() {
            match item(self) {
                Ok(value) => items.push(value),
                Err(Stop::Incomplete { at_least }) => {
                    let at_least = at_least + behind * smallest;
                    return Err(Stop::Incomplete { at_least });
                }
                Err(malformed) => return Err(malformed),
            }
            self.note(list);
        }
        Ok(items)
    }

    /// Items without a count, at most `maximum` of them, up to the first that is nothing.
    ///
    /// # Errors
    /// [`Kind::TooLong`]; whatever `item` fails with.
    pub(crate) fn items_until_none<T>(
        &mut self,
        maximum: usize,
        mut item: impl FnMut(&mut Decoder<'a>) -> Result<Option<T>, Stop>,
    ) -> Result<Vec<T>, Stop> {
        let start = self.position;
        let (list, done) = self.meet(start);
        let mut items = Vec::new();
        while let Some(value) = item(self)? {
            items.push(value);
            self.note(list);
            if done + items.len() > maximum {
                let (length, maximum) = ((done + items.len()) as u64, maximum as u64);
                return Err(self.error_at(self.offset(), Kind::TooLong { length, maximum }));
            }
        }
        Ok(items)
    }

    /// Goes to the first item of a list, which begins at `start`, that was not yet seen complete. Returns the
    /// list's place among the marks, and how many items were skipped.
    fn meet(&mut self, start: usize) -> (usize, usize) {
        let Some(marks) = &mut self.marks else {
            return (0, 0);
        };
        let (list, done, position) = marks.meet(start, self.position);
        self.position = position;
        (list, done)
    }

    fn note(&mut self, list: usize) {
        if let Some(marks) = &mut self.marks {
            marks.note(list, self.position);
        }
    }

    /// An optional value.
    ///
    /// # Errors
    /// [`Kind::Boolean`] for a tag that is neither 0 nor 1; whatever `some` fails with.
    pub fn optional<T>(
        &mut self,
        some: impl FnOnce(&mut Decoder<'a>) -> Result<T, Stop>,
    ) -> Result<Option<T>, Stop> {
        if self.boolean()? {
            some(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn ensure(&self, count: usize) -> Result<(), Stop> {
        match count.checked_sub(self.remaining()) {
            None | Some(0) => Ok(()),
            Some(at_least) => Err(Stop::Incomplete { at_least }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Encoder;
    use super::*;

    #[test]
    fn padding_must_be_zero() {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes).text("abc");
        bytes[15] = 1;
        let error = Error {
            offset: 11,
            kind: Kind::Padding,
        };
        assert_eq!(Decoder::new(&bytes).text(8), Err(Stop::Malformed(error)));
    }

    #[test]
    fn a_length_above_its_maximum_is_an_error_before_its_bytes_come() {
        let bytes = u64::MAX.to_le_bytes();
        let kind = Kind::TooLong {
            length: u64::MAX,
            maximum: 3,
        };
        let error = Error { offset: 100, kind };
        assert_eq!(
            Decoder::at(&bytes, 100).text(3),
            Err(Stop::Malformed(error))
        );
    }

    #[test]
    fn a_cut_list_asks_for_what_is_surely_missing() {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes).list(["a", "b", "c"], |encoder, item| {
            encoder.text(item);
        });
        for cut in 0..bytes.len() {
            let result = Decoder::new(&bytes[..cut]).list(3, 16, |decoder| decoder.text(8));
            let at_least = match cut {
                0..8 => 8 - cut,
                _ => bytes.len() - cut,
            };
            assert_eq!(result, Err(Stop::Incomplete { at_least }), "cut at {cut}");
        }
    }
}
