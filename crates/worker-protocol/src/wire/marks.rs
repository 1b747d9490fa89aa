use super::{Decoder, Error, Kind, Stop};

/// How far the lists of a value were read that is not complete yet.
///
/// A value whose bytes have not all come is tried again once more of them have. With these marks a list then goes on
/// behind the items that it has seen, so that the tries together cost no more than reading every item twice: once
/// to find out that all are there, once for the value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Marks {
    /// The lists that are begun, and those complete ones that no complete item holds, by their beginnings.
    lists: Vec<Mark>,
    /// How many of `lists` were met in this try.
    met: usize,
    /// Whether items were skipped in this try, so that its value lacks them.
    skipped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Where the list begins.
    start: usize,
    /// How many items are complete.
    done: usize,
    /// Where the item behind them begins.
    position: usize,
}

impl Marks {
    /// The list that begins at `start`, whose first item is at `position`: its place among the marks, how many of
    /// its items are to be skipped, and where the one behind them begins.
    pub(super) fn meet(&mut self, start: usize, position: usize) -> (usize, usize, usize) {
        let index = self.met;
        self.met += 1;
        match self.lists.get(index) {
            Some(mark) if mark.start == start => {
                self.skipped |= mark.done > 0;
                (index, mark.done, mark.position)
            }
            _ => {
                self.lists.truncate(index);
                let done = 0;
                self.lists.push(Mark {
                    start,
                    done,
                    position,
                });
                (index, done, position)
            }
        }
    }

    /// Notes that another item of list `index` is complete; lists within it are of no more use.
    pub(super) fn note(&mut self, index: usize, position: usize) {
        self.lists.truncate(index + 1);
        self.met = index + 1;
        let mark = &mut self.lists[index];
        mark.done += 1;
        mark.position = position;
    }
}

/// Reads a value from the start of `bytes`, the first of which stands at offset `base` of a stream. Returns it with
/// the number of its bytes. `marks` are of the tries before, which had the same bytes but fewer.
///
/// # Errors
/// [`Stop`]; [`Kind::TooLarge`] if the value needs more than `maximum` bytes.
pub(crate) fn decode_on<T>(
    bytes: &[u8],
    base: u64,
    marks: &mut Marks,
    maximum: usize,
    decode: impl Fn(&mut Decoder<'_>) -> Result<T, Stop>,
) -> Result<(T, usize), Stop> {
    marks.met = 0;
    marks.skipped = false;
    let mut decoder = Decoder::with_marks(bytes, base, std::mem::take(marks));
    let mut result = decode(&mut decoder);
    *marks = decoder.take_marks();
    if marks.skipped && !matches!(result, Err(Stop::Incomplete { .. })) {
        // Whatever was to be known of it can be known now, from its beginning.
        *marks = Marks::default();
        decoder = Decoder::at(bytes, base);
        result = decode(&mut decoder);
    }
    match result {
        Ok(value) => {
            *marks = Marks::default();
            Ok((value, decoder.consumed()))
        }
        Err(Stop::Incomplete { at_least }) if at_least > maximum.saturating_sub(bytes.len()) => {
            let maximum = maximum as u64;
            Err(Stop::Malformed(Error {
                offset: base,
                kind: Kind::TooLarge { maximum },
            }))
        }
        Err(stop) => Err(stop),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::Encoder;
    use super::*;

    /// Lists of lists of texts.
    fn sample(outer: usize, inner: usize) -> (Vec<Vec<String>>, Vec<u8>) {
        let lists: Vec<Vec<String>> = (0..outer)
            .map(|list| (0..inner).map(|item| format!("{list} {item}")).collect())
            .collect();
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes)
            .list(&lists, |encoder, list| {
                encoder.list(list, |encoder, item| {
                    encoder.text(item);
                });
            })
            .list(["behind"], |encoder, item| {
                encoder.text(item);
            });
        (lists, bytes)
    }

    fn read(decoder: &mut Decoder<'_>, read: &Cell<usize>) -> Result<Vec<Vec<String>>, Stop> {
        let text = |decoder: &mut Decoder<'_>| {
            let text = decoder.text(100)?;
            read.set(read.get() + 1);
            Ok(text.to_string())
        };
        let lists = decoder.list(1 << 20, 8, |decoder| decoder.list(1 << 20, 8, text))?;
        assert_eq!(decoder.list(1, 8, text)?, ["behind"]);
        Ok(lists)
    }

    #[test]
    fn a_list_that_comes_byte_by_byte_is_read_twice_and_not_once_per_byte() {
        let (lists, bytes) = sample(30, 40);
        let (mut marks, count) = (Marks::default(), Cell::new(0));
        for end in 0..bytes.len() {
            let cut = decode_on(&bytes[..end], 7, &mut marks, 1 << 20, |decoder| {
                read(decoder, &count)
            });
            let Err(Stop::Incomplete { at_least }) = cut else {
                panic!("{cut:?} from {end} of {} bytes", bytes.len());
            };
            assert!((1..=bytes.len() - end).contains(&at_least));
        }
        let whole = decode_on(&bytes, 7, &mut marks, 1 << 20, |decoder| {
            read(decoder, &count)
        });
        assert_eq!(whole, Ok((lists, bytes.len())));
        let items = 30 * 40 + 1;
        assert!(count.get() <= 2 * items, "{} for {items}", count.get());
    }

    #[test]
    fn what_was_skipped_still_decides_whether_the_value_is_right() {
        let (_, bytes) = sample(3, 2);
        let mut marks = Marks::default();
        let decode = |decoder: &mut Decoder<'_>| {
            let lists = read(decoder, &Cell::new(0))?;
            let offset = decoder.offset();
            match lists.len() {
                3 => Ok(3),
                count => Err(decoder.error_at(offset, Kind::Trailing(count))),
            }
        };
        for end in 0..bytes.len() {
            let cut = decode_on(&bytes[..end], 0, &mut marks, 1 << 20, decode);
            assert!(matches!(cut, Err(Stop::Incomplete { .. })), "{cut:?}");
        }
        let whole = decode_on(&bytes, 0, &mut marks, 1 << 20, decode);
        assert_eq!(whole, Ok((3, bytes.len())));
    }

    #[test]
    fn a_value_is_refused_as_soon_as_it_is_known_to_be_too_large() {
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes).word(1000);
        let refused = decode_on(&bytes, 3, &mut Marks::default(), 8007, |decoder| {
            decoder.list(1 << 20, 8, |decoder| decoder.text(100))
        });
        let kind = Kind::TooLarge { maximum: 8007 };
        let error = Error { offset: 3, kind };
        assert_eq!(refused, Err(Stop::Malformed(error)));
        let waits = decode_on(&bytes, 3, &mut Marks::default(), 8008, |decoder| {
            decoder.list(1 << 20, 8, |decoder| decoder.text(100))
        });
        assert_eq!(waits, Err(Stop::Incomplete { at_least: 8000 }));
    }
}
