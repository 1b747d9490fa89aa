use std::ffi::CStr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::retry_on_intr;

use super::DumpErrorKind;

/// Directories and files are opened without following links, without waiting for a FIFO's other
/// end that a file was swapped for, and without becoming anyone's terminal.
pub(super) const OPEN: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// The file being read.
#[derive(Debug)]
pub(super) struct File {
    descriptor: OwnedFd,
    size: u64,
    /// Whether a read met the file's end where its size says it is.
    met_end: bool,
}

impl File {
    /// Opens a regular file; says whether its owner may execute it.
    pub(super) fn open(parent: BorrowedFd<'_>, name: &CStr) -> Result<(Self, bool), DumpErrorKind> {
        let descriptor = retry_on_intr(|| rustix::fs::openat(parent, name, OPEN, Mode::empty()))
            .map_err(|errno| DumpErrorKind::system("open", errno))?;
        let stat = retry_on_intr(|| rustix::fs::fstat(&descriptor))
            .map_err(|errno| DumpErrorKind::system("examine", errno))?;
        // Something else may stand here since the directory was read.
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            kind => return Err(DumpErrorKind::special(kind)),
        }
        let size = u64::try_from(stat.st_size).expect("no file has a negative size");
        let executable = Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR);
        Ok((
            Self {
                descriptor,
                size,
                met_end: false,
            },
            executable,
        ))
    }

    /// Its size in bytes when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Reads at most the `remaining` bytes of the file that its size promises, and at least one.
    pub(super) fn read(&mut self, room: &mut [u8], remaining: u64) -> Result<usize, DumpErrorKind> {
        // One byte more than is due, if there is room: a read that returns without it has met
        // the file's end, and spares the read that would only look for it.
        let wanted = usize::try_from(remaining.saturating_add(1)).unwrap_or(usize::MAX);
        let room_length = room.len();
        let length = self.read_some(&mut room[..wanted.min(room_length)])?;
        match length as u64 {
            0 => Err(DumpErrorKind::Shrank {
                size: self.size,
                read: self.size - remaining,
            }),
            read if read > remaining => Err(DumpErrorKind::Grew { size: self.size }),
            read => {
                self.met_end = read == remaining && wanted <= room_length;
                Ok(length)
            }
        }
    }

    /// All bytes that were due are read: the file must end here.
    pub(super) fn expect_end(&mut self) -> Result<(), DumpErrorKind> {
        if self.met_end || self.read_some(&mut [0])? == 0 {
            return Ok(());
        }
        Err(DumpErrorKind::Grew { size: self.size })
    }

    fn read_some(&self, room: &mut [u8]) -> Result<usize, DumpErrorKind> {
        retry_on_intr(|| rustix::io::read(&self.descriptor, &mut *room))
            .map_err(|errno| DumpErrorKind::system("read", errno))
    }
}
