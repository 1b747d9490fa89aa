//! Reading: one pass, each function begins at what it reads and leaves the cursor behind it.

use zeroize::Zeroizing;

use super::{Error, ErrorKind, MAX_DEPTH, MAX_LEN, Sexp};

/// Digits of a length: as many as [`MAX_LEN`] has.
const MAX_LENGTH_DIGITS: usize = 7;

impl Sexp {
    /// Reads a list in any mixture of the advanced and the canonical form, with white space around it.
    ///
    /// Of what libgcrypt reads, `[display hints]` and lengths before `"..."` and `#...#` are refused: nobody writes
    /// them into keys.
    ///
    /// # Errors
    /// [`Error`] with the offset of the first byte that does not fit.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        parse(text, Form::Any)
    }

    /// Reads a list in the canonical form: what is accepted is exactly what [`to_canonical`](Self::to_canonical) gives.
    ///
    /// ```
    /// # use guix_signature::sexp::Sexp;
    /// assert_eq!(Sexp::parse_canonical(b"(1:a0:())")?.to_advanced(), b"(a \"\" \n ()\n )\n");
    /// assert_eq!(Sexp::parse_canonical(b"(1:a )").unwrap_err().to_string(), "expected a list, an atom or `)` at 4");
    /// # Ok::<(), guix_signature::sexp::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error`] with the offset of the first byte that does not fit.
    pub fn parse_canonical(text: &[u8]) -> Result<Self, Error> {
        parse(text, Form::Canonical)
    }
}

/// What is accepted.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Any,
    Canonical,
}

struct Parser<'a> {
    text: &'a [u8],
    offset: usize,
    form: Form,
}

fn parse(text: &[u8], form: Form) -> Result<Sexp, Error> {
    let mut parser = Parser {
        text,
        offset: 0,
        form,
    };
    if text.len() > MAX_LEN {
        parser.offset = MAX_LEN;
        return Err(parser.error(ErrorKind::TooLong));
    }
    parser.white_space();
    if !parser.take(b'(') {
        return Err(parser.error(ErrorKind::ListStart));
    }
    let sexp = parser.list(1)?;
    parser.white_space();
    match parser.peek() {
        None => Ok(sexp),
        Some(_) => Err(parser.error(ErrorKind::End)),
    }
}

impl Parser<'_> {
    /// `a (b) #63#)`: what follows the opening parenthesis of a list at `depth`.
    fn list(&mut self, depth: usize) -> Result<Sexp, Error> {
        if depth > MAX_DEPTH {
            return Err(self.error_at(self.offset - 1, ErrorKind::TooDeep));
        }
        let mut items = Vec::new();
        loop {
            self.white_space();
            if self.take(b')') {
                return Ok(Sexp::List(items));
            }
            items.push(match self.take(b'(') {
                true => self.list(depth + 1)?,
                false => Sexp::Atom(self.atom()?),
            });
        }
    }

    /// `abc`, `"abc"`, `#616263#` or `3:abc`.
    fn atom(&mut self) -> Result<Vec<u8>, Error> {
        match self.peek() {
            None => Err(self.error(ErrorKind::ListEnd)),
            Some(b'0'..=b'9') => self.verbatim(),
            Some(_) if self.form == Form::Canonical => Err(self.error(ErrorKind::Item)),
            Some(b'"') => self.string(),
            Some(b'#') => self.hexadecimal(),
            Some(byte) if is_token(byte) => Ok(self.token()),
            Some(_) => Err(self.error(ErrorKind::Item)),
        }
    }

    /// `3:abc`
    fn verbatim(&mut self) -> Result<Vec<u8>, Error> {
        let start = self.offset;
        let digits = self.rest().iter().take_while(|b| b.is_ascii_digit());
        let digits = digits.take(MAX_LENGTH_DIGITS + 1).count();
        let number = &self.rest()[..digits];
        let leading_zero = digits > 1 && number[0] == b'0';
        self.offset += digits;
        if digits > MAX_LENGTH_DIGITS || leading_zero || !self.take(b':') {
            return Err(self.error_at(start, ErrorKind::Length));
        }
        let number = &self.text[start..start + digits];
        let length = number
            .iter()
            .fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        let Some(bytes) = self.rest().get(..length) else {
            return Err(self.error_at(start, ErrorKind::Short));
        };
        let bytes = bytes.to_vec();
        self.offset += length;
        Ok(bytes)
    }

    /// `abc`
    fn token(&mut self) -> Vec<u8> {
        let length = self.rest().iter().take_while(|b| is_token(**b)).count();
        let bytes = self.rest()[..length].to_vec();
        self.offset += length;
        bytes
    }

    /// `#61 62 63#`
    fn hexadecimal(&mut self) -> Result<Vec<u8>, Error> {
        let start = self.offset;
        self.offset += 1;
        let most = self.rest().iter().take_while(|b| **b != b'#').count();
        // Never grown, so that no part of a secret stays behind in memory that was given back.
        let mut bytes = Zeroizing::new(Vec::with_capacity(most.div_ceil(2)));
        let mut high = None;
        loop {
            self.white_space();
            let Some(byte) = self.peek() else {
                return Err(self.error(ErrorKind::HexDigit));
            };
            if byte == b'#' {
                break;
            }
            let Some(digit) = char::from(byte).to_digit(16).map(|digit| digit as u8) else {
                return Err(self.error(ErrorKind::HexDigit));
            };
            self.offset += 1;
            match high.take() {
                None => high = Some(digit << 4),
                Some(high) => bytes.push(high | digit),
            }
        }
        if high.is_some() {
            return Err(self.error_at(start, ErrorKind::HexOdd));
        }
        self.offset += 1;
        Ok(std::mem::take(&mut bytes))
    }

    /// `"abc"`
    fn string(&mut self) -> Result<Vec<u8>, Error> {
        self.offset += 1;
        let mut bytes = Vec::new();
        loop {
            let Some(byte) = self.peek() else {
                return Err(self.error(ErrorKind::StringEnd));
            };
            match byte {
                b'"' => break,
                b'\\' => bytes.extend(self.escape()?),
                _ => {
                    bytes.push(byte);
                    self.offset += 1;
                }
            }
        }
        self.offset += 1;
        Ok(bytes)
    }

    /// `\n`, `\101`, `\x41`, or a backslash and a line's end, which stand for nothing.
    fn escape(&mut self) -> Result<Option<u8>, Error> {
        let start = self.offset;
        let wrong = self.error_at(start, ErrorKind::Escape);
        self.offset += 1;
        let byte = self.peek().ok_or(wrong)?;
        let number = |text: Option<&[u8]>, radix| {
            let text = text.filter(|text| text.iter().all(u8::is_ascii_alphanumeric));
            let text = text.and_then(|text| std::str::from_utf8(text).ok());
            text.and_then(|text| u8::from_str_radix(text, radix).ok())
                .ok_or(wrong)
        };
        let (value, length) = match byte {
            b'b' => (8, 1),
            b't' => (b'\t', 1),
            b'v' => (11, 1),
            b'n' => (b'\n', 1),
            b'f' => (12, 1),
            b'r' => (b'\r', 1),
            b'"' | b'\'' | b'\\' => (byte, 1),
            b'0'..=b'7' => (number(self.rest().get(..3), 8)?, 3),
            b'x' => (number(self.rest().get(1..3), 16)?, 3),
            b'\r' | b'\n' => {
                let other = if byte == b'\r' { b'\n' } else { b'\r' };
                self.offset += 1;
                self.take(other);
                return Ok(None);
            }
            _ => return Err(wrong),
        };
        self.offset += length;
        Ok(Some(value))
    }

    fn white_space(&mut self) {
        if self.form == Form::Any {
            let is_space = |byte: &u8| matches!(byte, b' ' | 9..=13);
            self.offset += self.rest().iter().take_while(|b| is_space(b)).count();
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.offset += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.rest().first().copied()
    }

    fn rest(&self) -> &[u8] {
        &self.text[self.offset..]
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.error_at(self.offset, kind)
    }

    fn error_at(&self, offset: usize, kind: ErrorKind) -> Error {
        Error { offset, kind }
    }
}

/// The bytes of a token; it does not begin with a digit.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-./_:*+=".contains(&byte)
}
