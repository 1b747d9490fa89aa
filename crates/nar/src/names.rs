use std::cmp::Ordering;

use crate::{Kind, Limits};

/// The directories that are open inside each other, each with the last name seen in it.
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

    /// How many directories are open.
    pub(crate) fn depth(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn open(&mut self) {
        self.starts.push(self.bytes.len());
    }

    pub(crate) fn close(&mut self) {
        let start = self.starts.pop().expect("every close follows its open");
        self.bytes.truncate(start);
    }

    /// Whether `name` may follow in the innermost directory.
    #[inline]
    pub(crate) fn check(&self, name: &[u8]) -> Result<(), Kind> {
        check_name(name)?;
        match name.cmp(&self.bytes[self.innermost()..]) {
            Ordering::Greater => Ok(()),
            Ordering::Equal => Err(Kind::NameTwice),
            Ordering::Less => Err(Kind::NameOrder),
        }
    }

    /// Makes `name` the last one of the innermost directory.
    #[inline]
    pub(crate) fn remember(&mut self, name: &[u8]) {
        self.bytes.truncate(self.innermost());
        self.bytes.extend_from_slice(name);
    }

    fn innermost(&self) -> usize {
        *self.starts.last().expect("names only stand in directories")
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

    #[test]
    fn order_is_by_bytes_and_per_directory() {
        let mut names = Names::new(&Limits::default());
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
    fn names_that_lead_elsewhere_are_refused() {
        for name in [&b""[..], b".", b"..", b"/", b"a/b", b"a\0"] {
            assert_eq!(check_name(name), Err(Kind::Name), "{name:?}");
        }
        for name in [&b"..."[..], b".a", b"\xff", b" ", b"\n"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }
}
