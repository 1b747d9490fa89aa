use std::ffi::{CStr, OsStr};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;

use super::DumpErrorKind;
use super::options::{DumpOptions, Filter};
use crate::case_hack;

/// Bytes asked of the kernel at a time when a directory is read: about a thousand entries.
const LISTING: usize = 32 * 1024;

/// The directories that are open inside each other, with their entries in archive order.
///
/// One arena holds the names of all of them, so that a tree costs few allocations.
pub(super) struct Directories {
    open: Vec<Directory>,
    entries: Vec<Entry>,
    /// The names of `entries`, each ended by a NUL.
    names: Vec<u8>,
    listing: Vec<MaybeUninit<u8>>,
    filter: Option<Filter>,
    case_hack: bool,
}

#[derive(Debug)]
struct Directory {
    descriptor: OwnedFd,
    /// Where its own part of `entries` and of `names` begins.
    first_entry: usize,
    first_name: usize,
    /// The entry that comes next.
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The first eight bytes of the name: they nearly always decide the order.
    prefix: u64,
    /// Where the name begins in `names`.
    name: usize,
    kind: FileType,
}

/// An entry and where it was listed.
pub(super) struct Listed<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    /// What it is called in the archive.
    pub(super) archive_name: &'a [u8],
    pub(super) kind: FileType,
}

impl Directories {
    pub(super) fn new(options: DumpOptions) -> Self {
        Self {
            open: Vec::new(),
            entries: Vec::new(),
            names: Vec::new(),
            listing: Vec::new(),
            filter: options.filter,
            case_hack: options.case_hack,
        }
    }

    /// Reads the directory and makes it the innermost one.
    pub(super) fn open(&mut self, descriptor: OwnedFd) -> Result<(), DumpErrorKind> {
        let (first_entry, first_name) = (self.entries.len(), self.names.len());
        // Pushed before it is read: an error then names it.
        self.open.push(Directory {
            descriptor,
            first_entry,
            first_name,
            next: first_entry,
        });
        self.listing.resize(LISTING, MaybeUninit::uninit());
        let descriptor = &self.open[self.open.len() - 1].descriptor;
        let mut listing = RawDir::new(descriptor, &mut self.listing);
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // Nothing was passed over, and the kernel is asked again.
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(DumpErrorKind::system("list", errno)),
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries.push(Entry {
                prefix: prefix(archive_name(name, self.case_hack)),
                name: self.names.len(),
                kind: entry.file_type(),
            });
            self.names.extend_from_slice(name.to_bytes_with_nul());
        }
        self.leave_out(first_entry);
        let (names, case_hack) = (&self.names, self.case_hack);
        let name = |entry: &Entry| archive_name(name_at(names, entry.name), case_hack);
        self.entries[first_entry..]
            .sort_unstable_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| name(a).cmp(name(b))));
        Ok(())
    }

    /// Removes the entries from `first` on that the filter does not keep.
    fn leave_out(&mut self, first: usize) {
        let Some(mut filter) = self.filter.take() else {
            return;
        };
        let (names, case_hack) = (&self.names, self.case_hack);
        let mut path = self.path_of_names(Path::new(""), |name| archive_name(name, case_hack));
        let kept = self.entries.split_off(first).into_iter().filter(|entry| {
            let name = archive_name(name_at(names, entry.name), case_hack);
            path.push(OsStr::from_bytes(name));
            let keep = filter(&path);
            path.pop();
            keep
        });
        self.entries.extend(kept);
        self.filter = Some(filter);
    }

    /// The next entry of the innermost directory, or `None` behind its last one.
    pub(super) fn next(&mut self) -> Option<Listed<'_>> {
        let directory = self.open.last_mut()?;
        let entry = self.entries.get(directory.next)?;
        directory.next += 1;
        let name = name_at(&self.names, entry.name);
        Some(Listed {
            directory: directory.descriptor.as_fd(),
            name,
            archive_name: archive_name(name, self.case_hack),
            kind: entry.kind,
        })
    }

    /// Leaves the innermost directory.
    pub(super) fn close(&mut self) {
        if let Some(directory) = self.open.pop() {
            self.entries.truncate(directory.first_entry);
            self.names.truncate(directory.first_name);
        }
    }

    /// The path in the file system of the entry that [`Directories::next`] returned last, under
    /// `root`.
    pub(super) fn path(&self, root: &Path) -> PathBuf {
        self.path_of_names(root, CStr::to_bytes)
    }

    /// [`Directories::path`] made of what `spelled` makes of names in the file system.
    fn path_of_names(&self, root: &Path, spelled: impl Fn(&CStr) -> &[u8]) -> PathBuf {
        let mut path = root.to_owned();
        for directory in &self.open {
            if directory.next > directory.first_entry {
                let name = name_at(&self.names, self.entries[directory.next - 1].name);
                path.push(OsStr::from_bytes(spelled(name)));
            }
        }
        path
    }
}

fn prefix(name: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = name.len().min(8);
    bytes[..length].copy_from_slice(&name[..length]);
    u64::from_be_bytes(bytes)
}

fn name_at(names: &[u8], at: usize) -> &CStr {
    CStr::from_bytes_until_nul(&names[at..]).expect("every name was stored with its NUL")
}

fn archive_name(name: &CStr, case_hack: bool) -> &[u8] {
    if case_hack {
        case_hack::strip(name.to_bytes())
    } else {
        name.to_bytes()
    }
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directories")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
