//! The system calls that no dump, and no restore, can do without.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nar::{Event, Events};
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

/// What an archive asks of a file system, its events without their borrowed names.
pub(crate) enum Call<'a> {
    MakeDirectory(CString),
    CreateFile(CString, Mode, &'a [u8]),
    MakeLink(CString, CString),
    CloseDirectory,
}

/// The calls that restore `archive` to `root`, for [`make_all`].
pub(crate) fn calls<'a>(archive: &'a [u8], root: &str) -> Vec<Call<'a>> {
    let text = |bytes: &[u8]| CString::new(bytes).expect("no NUL");
    let mut calls = Vec::new();
    let mut name = text(root.as_bytes());
    let mut mode = Mode::empty();
    let mut contents: &[u8] = b"";
    for event in Events::new(archive) {
        match event.expect("an archive") {
            Event::Directory => calls.push(Call::MakeDirectory(name.clone())),
            Event::Entry(entry) => name = text(entry),
            Event::File { executable, .. } => {
                mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
                contents = b"";
            }
            // An archive in memory has all of a file in one piece.
            Event::Data(data) => contents = data,
            Event::FileEnd => calls.push(Call::CreateFile(name.clone(), mode, contents)),
            Event::Symlink(target) => calls.push(Call::MakeLink(name.clone(), text(target))),
            Event::DirectoryEnd => calls.push(Call::CloseDirectory),
        }
    }
    calls
}

/// Makes every directory and link, and creates, writes and closes every file.
pub(crate) fn make_all(calls: &[Call<'_>]) -> Result<(), Errno> {
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut open: Vec<OwnedFd> = Vec::new();
    for call in calls {
        let directory = open.last().map_or(CWD, AsFd::as_fd);
        match call {
            Call::MakeDirectory(name) => {
                rustix::fs::mkdirat(directory, name, Mode::RWXU)?;
                open.push(rustix::fs::openat(directory, name, OPEN, Mode::empty())?);
            }
            Call::CreateFile(name, mode, data) => {
                let file = rustix::fs::openat(directory, name, create, *mode)?;
                let mut rest = *data;
                while !rest.is_empty() {
                    rest = &rest[rustix::io::write(&file, rest)?..];
                }
            }
            Call::MakeLink(name, target) => rustix::fs::symlinkat(target, directory, name)?,
            Call::CloseDirectory => drop(open.pop()),
        }
    }
    Ok(())
}
