//! A network namespace with nothing but its loopback.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::thread::LinkNameSpaceType;

use crate::{Error, error::While};

/// A network namespace. It lasts as long as this value or a process or socket in it.
#[derive(Debug)]
pub(crate) struct Network {
    namespace: File,
}

impl Network {
    pub(crate) fn create() -> Result<Self, Error> {
        let mut shell = Command::new("unshare")
            .args([
                "--net",
                "bash",
                "-c",
                "ip link set lo up && echo up && read -r _",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .while_trying(|| "run unshare".into())?;
        let mut said = String::new();
        let stdout = shell.stdout.take().expect("it was asked for above");
        let read = BufReader::new(stdout).read_line(&mut said);
        let namespace = File::open(format!("/proc/{}/ns/net", shell.id()));
        // Its standard input is closed first, which ends it.
        let status = shell.wait().while_trying(|| "wait for unshare".into())?;
        read.while_trying(|| "hear of the network namespace".into())?;
        if said != "up\n" {
            return Err(std::io::Error::other(status.to_string()))
                .while_trying(|| "make a network namespace".into());
        }
        Ok(Self {
            namespace: namespace.while_trying(|| "open the network namespace".into())?,
        })
    }

    /// Where programs that this process starts find the namespace.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.namespace.as_raw_fd()
        ))
    }

    /// Moves the calling thread, and those that it starts from now on, into the namespace.
    pub(crate) fn enter(&self) -> Result<(), Error> {
        rustix::thread::move_into_link_name_space(
            self.namespace.as_fd(),
            Some(LinkNameSpaceType::Network),
        )
        .while_trying(|| "enter the network namespace".into())
    }

    pub(crate) fn try_clone(&self) -> Result<Self, Error> {
        let namespace = self
            .namespace
            .try_clone()
            .while_trying(|| "keep the network namespace".into())?;
        Ok(Self { namespace })
    }
}
