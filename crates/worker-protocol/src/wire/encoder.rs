use super::WORD;

/// Appends values to a buffer. Every method hands the encoder back, so that calls can be chained.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`, behind what it holds.
    pub fn new(out: &'a mut Vec<u8>) -> Encoder<'a> {
        Encoder { out }
    }

    /// A word.
    pub fn word(&mut self, word: u64) -> &mut Self {
        self.out.extend_from_slice(&word.to_le_bytes());
        self
    }

    /// A boolean: the word 0 or 1.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.word(u64::from(value))
    }

    /// Bytes: their length, themselves, zeros up to a multiple of 8.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.text_of(&[bytes])
    }

    /// A text, written as its bytes.
    pub fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.text_of(&[text.as_ref()])
    }

    /// One text that is put together from parts.
    pub fn text_of(&mut self, parts: &[&[u8]]) -> &mut Self {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.out.reserve(2 * WORD + length);
        self.word(length as u64);
        for part in parts {
            self.out.extend_from_slice(part);
        }
        let padding = length.next_multiple_of(WORD) - length;
        self.out.extend_from_slice(&[0; WORD][..padding]);
        self
    }

    /// A list: its count, then what `item` writes for each.
    pub fn list<I>(
        &mut self,
        items: I,
        mut item: impl FnMut(&mut Encoder<'_>, I::Item),
    ) -> &mut Self
    where
        I: IntoIterator<IntoIter: ExactSizeIterator>,
    {
        let items = items.into_iter();
        self.word(items.len() as u64);
        for value in items {
            item(self, value);
        }
        self
    }

    /// An optional value: 0, or 1 and what `some` writes.
    pub fn optional<T>(
        &mut self,
        value: Option<T>,
        some: impl FnOnce(&mut Encoder<'_>, T),
    ) -> &mut Self {
        self.boolean(value.is_some());
        if let Some(value) = value {
            some(self, value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_padded_to_words() {
        for length in 0..=17 {
            let mut out = Vec::new();
            Encoder::new(&mut out).bytes(&vec![b'x'; length]);
            assert_eq!(out.len(), WORD + length.div_ceil(WORD) * WORD);
            assert!(out[WORD + length..].iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn parts_make_one_text() {
        let mut parts = Vec::new();
        Encoder::new(&mut parts).text_of(&[b"/nix/store", b"/", b"x"]);
        let mut whole = Vec::new();
        Encoder::new(&mut whole).text("/nix/store/x");
        assert_eq!(parts, whole);
    }
}
