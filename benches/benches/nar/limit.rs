//! The system calls that no dump can do without.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Lists every directory below `path`, opens, examines, reads and closes every file, reads every
/// link, in the order they are listed in. Makes nothing of it.
pub(crate) fn read_all(path: &Path, buffer: &mut [u8]) -> Result<(), Errno> {
    let mut listing = vec![MaybeUninit::uninit(); 32 * 1024];
    let metadata = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(metadata.st_mode) == FileType::Directory {
        let root = rustix::fs::openat(CWD, path, OPEN, Mode::empty())?;
        read_directory(root.as_fd(), &mut listing, buffer)
    } else {
        let name = CString::new(path.as_os_str().as_encoded_bytes()).expect("no NUL");
        read_file(CWD, &name, buffer)
    }
}

fn read_directory(
    directory: BorrowedFd<'_>,
    listing: &mut [MaybeUninit<u8>],
    buffer: &mut [u8],
) -> Result<(), Errno> {
    let mut entries = Vec::new();
    let mut names = RawDir::new(directory, listing);
    while let Some(entry) = names.next() {
        let entry = entry?;
        entries.push((entry.file_name().to_owned(), entry.file_type()));
    }
    for (name, kind) in entries {
        match kind {
            FileType::Directory if matches!(name.to_bytes(), b"." | b"..") => {}
            FileType::Directory => {
                let inner = rustix::fs::openat(directory, &name, OPEN, Mode::empty())?;
                read_directory(inner.as_fd(), listing, buffer)?;
            }
            FileType::Symlink => drop(rustix::fs::readlinkat(directory, &name, Vec::new())?),
            _ => read_file(directory, &name, buffer)?,
        }
    }
    Ok(())
}

fn read_file(directory: BorrowedFd<'_>, name: &CString, buffer: &mut [u8]) -> Result<(), Errno> {
    let file = rustix::fs::openat(directory, name, OPEN, Mode::empty())?;
    let mut rest = rustix::fs::fstat(&file)?.st_size as usize;
    while rest > 0 {
        rest -= rustix::io::read(&file, &mut *buffer)?.min(rest);
    }
    Ok(())
}
