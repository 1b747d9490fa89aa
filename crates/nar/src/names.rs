use std::cmp::Ordering;

use crate::{Kind, Limits};

/// Whether `name` names something in a directory, and neither the directory itself nor anything
/// outside of it or further in.
#[cfg(target_os = "linux")]
pub(crate) fn is_file_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/')
}

/// The directories that are open inside each other, each with the last name seen in it. Names live
/// as long as `'n`.
pub(crate) trait OpenDirectories<'n> {
    /// How many directories are open.
    fn depth(&self) -> usize;

    /// A directory begins.
    fn open(&mut self);

    /// The innermost directory ends.
    fn close(&mut self);

    /// The last name in the innermost directory; empty, which no name is, if there is none yet.
    fn last(&self) -> &[u8];

    /// Makes `name` the last one of the innermost directory.
    fn remember(&mut self, name: &'n [u8]);

    /// Whether `name` may follow in the innermost directory.
    #[inline(always)]
    fn check(&self, name: &[u8]) -> Result<(), Kind> {
        check_name(name)?;
        match name.cmp(self.last()) {
            Ordering::Greater => Ok(()),
            Ordering::Equal => Err(Kind::NameTwice),
            Ordering::Less => Err(Kind::NameOrder),
        }
    }
}

/// Names that are copied, because their bytes go away.
///
/// Bounded by `Limits::depth` names of `Limits::name` bytes (16 KiB for Nix's limits); the space
/// is kept from directory to directory, so that entries cost no allocation.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The last names of all open directories, joined.
    bytes: Vec<u8>,
    /// For each open directory, where its last name begins in `bytes`. It ends where the next
    /// one begins. Empty, which no name is: no entry was seen yet.
    starts: Vec<usize>,
}

impl Names {
    pub(crate) fn new(limits: &Limits) -> Self {
        let depth = limits.depth.min(Limits::NIX.depth);
        let name = limits.name.min(Limits::NIX.name);
        Self {
            bytes: Vec::with_capacity(depth * name),
            starts: Vec::with_capacity(depth),
        }
    }

    fn innermost(&self) -> usize {
        *self.starts.last().expect("names only stand in directories")
    }
}

impl OpenDirectories<'_> for Names {
    fn depth(&self) -> usize {
        self.starts.len()
    }

    fn open(&mut self) {
        self.starts.push(self.bytes.len());
    }

    fn close(&mut self) {
        let start = self.starts.pop().expect("every close follows its open");
        self.bytes.truncate(start);
    }

    #[inline(always)]
    fn last(&self) -> &[u8] {
        &self.bytes[self.innermost()..]
    }

    #[inline(always)]
    fn remember(&mut self, name: &[u8]) {
        self.bytes.truncate(self.innermost());
        self.bytes.extend_from_slice(name);
    }
}

/// Names that stay where they are, in an archive that lies in memory. Costs no allocation unless
/// limits of one's own allow more depth than Nix does.
#[derive(Clone, Debug)]
pub(crate) struct BorrowedNames<'n> {
    depth: usize,
    last: [&'n [u8]; Limits::NIX.depth],
    /// Those of directories that lie deeper.
    deeper: Vec<&'n [u8]>,
}

impl BorrowedNames<'_> {
    pub(crate) fn new() -> Self {
        Self {
            depth: 0,
            last: [b""; Limits::NIX.depth],
            deeper: Vec::new(),
        }
    }
}

impl<'n> OpenDirectories<'n> for BorrowedNames<'n> {
    fn depth(&self) -> usize {
        self.depth
    }

    fn open(&mut self) {
        match self.last.get_mut(self.depth) {
            Some(last) => *last = b"",
            None => self.deeper.push(b""),
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        self.deeper.pop();
        self.depth -= 1;
    }

    #[inline(always)]
    fn last(&self) -> &[u8] {
        let here = self.deeper.last();
        here.unwrap_or_else(|| &self.last[self.depth - 1])
    }

    #[inline(always)]
    fn remember(&mut self, name: &'n [u8]) {
        match self.deeper.last_mut() {
            Some(last) => *last = name,
            None => self.last[self.depth - 1] = name,
        }
    }
}

/// Whether `name` can be a directory entry's name on any Unix file system, its length aside.
#[inline]
pub(crate) fn check_name(name: &[u8]) -> Result<(), Kind> {
    // No early exit: the compiler then compares many bytes at once.
    let forbidden = name
        .iter()
        .fold(false, |found, &byte| found | (byte == b'/') | (byte == 0));
    if forbidden || matches!(name, b"" | b"." | b"..") {
        Err(Kind::Name)
    } else {
        Ok(())
    }
}

/// Whether `target` can be a symbolic link's target on any Unix file system, its length aside.
pub(crate) fn check_target(target: &[u8]) -> Result<(), Kind> {
    if target.is_empty() || target.contains(&0) {
        Err(Kind::Target)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_is_by_bytes_and_per_directory(names: &mut dyn OpenDirectories<'static>) {
        names.open();
        names.remember(b"B");
        names.open();
        assert_eq!(names.check(b"A"), Ok(()));
        names.remember(b"A");
        names.close();
        assert_eq!(names.check(b"B"), Err(Kind::NameTwice));
        assert_eq!(names.check(b"A"), Err(Kind::NameOrder));
        assert_eq!(names.check(b"a"), Ok(()));
        names.remember(b"a\xff");
        assert_eq!(names.check(b"aa"), Err(Kind::NameOrder));
    }

    #[test]
    fn order_is_the_same_whoever_holds_the_names() {
        let mut copied = Names::new(&Limits::default());
        let mut borrowed = BorrowedNames::new();
        // Deeper, at last, than Nix allows.
        for depth in 0..70 {
            let names: [&mut dyn OpenDirectories<'static>; 2] = [&mut copied, &mut borrowed];
            for names in names {
                assert_eq!(names.depth(), depth);
                order_is_by_bytes_and_per_directory(names);
            }
        }
        for depth in (0..70).rev() {
            borrowed.close();
            assert_eq!(borrowed.depth(), depth);
            if depth > 0 {
                assert_eq!(borrowed.last(), b"a\xff");
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [&b""[..], b".", b"..", b"/", b"a/b", b"a\0"] {
            assert_eq!(check_name(name), Err(Kind::Name), "{name:?}");
        }
        for name in [&b"..."[..], b".a", b"\xff", b" ", b"\n"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }
}
