//! Extended attributes that something has from the moment it is created.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, retry_on_intr};

/// What the machine's policy puts on everything and is not ours to take off. The default of Nix's
/// setting `ignored-acls`.
const KEPT: [&[u8]; 3] = [b"security.csm", b"security.selinux", b"system.nfs4_acl"];

/// Bytes of names that one thing can have: `XATTR_LIST_MAX` of Linux.
const LONGEST_LIST: usize = 64 * 1024;

/// Removes the attributes that something new inherited from the directory it was made in: access
/// lists, most of all. What is then made in it inherits nothing.
pub(super) fn remove_inherited(descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    // Nearly always there are none, so the kernel is not asked first how long their list is.
    let mut short = [0; 256];
    let mut long = Vec::new();
    let names = match retry_on_intr(|| rustix::fs::flistxattr(descriptor, &mut short)) {
        Ok(length) => &short[..length],
        Err(Errno::RANGE) => {
            long.resize(LONGEST_LIST, 0);
            let length = retry_on_intr(|| rustix::fs::flistxattr(descriptor, &mut long))?;
            &long[..length]
        }
        Err(errno) => return ignore_absent(errno),
    };
    for name in names.split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if !KEPT.contains(&name.to_bytes()) {
            retry_on_intr(|| rustix::fs::fremovexattr(descriptor, name)).or_else(ignore_absent)?;
        }
    }
    Ok(())
}

/// Not every file system has attributes, and removing one may have removed another.
fn ignore_absent(errno: Errno) -> Result<(), Errno> {
    match errno {
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODATA => Ok(()),
        errno => Err(errno),
    }
}
