//! Writing, in libgcrypt's two forms.

use data_encoding::HEXUPPER;

use super::{Sexp, parse::is_token};

impl Sexp {
    /// The canonical form: `(1:a(1:b0:))`. One text for each value.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.canonical(&mut out);
        out
    }

    fn canonical(&self, out: &mut Vec<u8>) {
        match self {
            Sexp::Atom(bytes) => {
                out.extend(format!("{}:", bytes.len()).bytes());
                out.extend(bytes);
            }
            Sexp::List(items) => {
                out.push(b'(');
                items.iter().for_each(|item| item.canonical(out));
                out.push(b')');
            }
        }
    }

    /// The advanced form, byte for byte as libgcrypt 1.8.7 and 1.12.4 write it: what stands in Guix's files and
    /// signatures, with the line's end behind it.
    #[must_use]
    pub fn to_advanced(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_advanced(&mut out);
        out
    }

    /// [`to_advanced`](Self::to_advanced) to the end of `out`. No copy of an atom is made elsewhere.
    pub(crate) fn write_advanced(&self, out: &mut Vec<u8>) {
        self.advanced(0, out);
        out.push(b'\n');
    }

    /// Lists begin a line each, one space further in than the one around them; an atom ends with a space unless it is
    /// a list's last item; and what follows a list and is none begins a line too, be it an atom or the end of the list.
    fn advanced(&self, depth: usize, out: &mut Vec<u8>) {
        let items = match self {
            Sexp::Atom(bytes) => return atom(bytes, out),
            Sexp::List(items) => items,
        };
        out.push(b'(');
        let mut after_list = false;
        for (index, item) in items.iter().enumerate() {
            let is_list = matches!(item, Sexp::List(_));
            if is_list || after_list {
                new_line(depth + 1, out);
            }
            item.advanced(depth + 1, out);
            if !is_list && index + 1 < items.len() {
                out.push(b' ');
            }
            after_list = is_list;
        }
        if after_list {
            new_line(depth + 1, out);
        }
        out.push(b')');
    }
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.resize(out.len() + depth, b' ');
}

/// A token if it is one, else a string if it is printable, else hexadecimal digits.
fn atom(bytes: &[u8], out: &mut Vec<u8>) {
    let is_printable = |byte: &u8| matches!(byte, 8..=13 | 0x20..=0x7e | 0xa1..);
    match bytes {
        [first, ..] if !first.is_ascii_digit() && bytes.iter().all(|b| is_token(*b)) => {
            out.extend(bytes);
        }
        [0x80..=0xff, ..] => hexadecimal(bytes, out),
        _ if bytes.iter().all(is_printable) => string(bytes, out),
        _ => hexadecimal(bytes, out),
    }
}

fn hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'#');
    let start = out.len();
    out.resize(start + HEXUPPER.encode_len(bytes.len()), 0);
    HEXUPPER.encode_mut(bytes, &mut out[start..]);
    out.push(b'#');
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            8 => out.extend(b"\\b"),
            b'\t' => out.extend(b"\\t"),
            11 => out.extend(b"\\v"),
            b'\n' => out.extend(b"\\n"),
            12 => out.extend(b"\\f"),
            b'\r' => out.extend(b"\\r"),
            b'"' | b'\'' | b'\\' => out.extend([b'\\', byte]),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
