//! How a host comes up.

use std::{
    fs, io,
    net::{Ipv4Addr, Shutdown},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use super::{Host, LOOK_EVERY};
use crate::{
    Error, HostOptions, control_group::ControlGroup, error::While, network::Network, process, root,
};

/// How long a host may take to come up. It needs a tenth of a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);

impl Host {
    /// Starts a host. `prepare` is given its root folder, laid out but not yet in use.
    pub(crate) fn start(
        name: &str,
        options: &HostOptions,
        sshd: Option<Ipv4Addr>,
        network: &Network,
        prepare: impl FnOnce(&Path) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let starting = || format!("start {name}");
        let folder = tempfile::Builder::new()
            .prefix("testbed-")
            .tempdir()
            .while_trying(starting)?;
        let root = folder.path().join("root");
        root::lay_out(&root, name, options, sshd)?;
        prepare(&root)?;
        for (file, text) in [
            ("init", include_str!("../init.sh").to_owned()),
            ("mounts", mounts(options)),
            (
                "store-size",
                options.store_size.map_or_else(String::new, |size| {
                    format!("{size} {}\n", options.kind.store())
                }),
            ),
        ] {
            fs::write(folder.path().join(file), text).while_trying(starting)?;
        }
        let control_group = ControlGroup::create().map_err(|error| error.to_string());
        let log = tempfile::tempfile().while_trying(starting)?;
        let supervisor = Command::new("setsid")
            .args(["bash", "-c", include_str!("../supervise.sh"), "supervise"])
            .arg(folder.path())
            .arg(
                control_group
                    .as_ref()
                    .map_or(Path::new(""), ControlGroup::folder),
            )
            .arg(network.path())
            .arg(options.distribution.root())
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().while_trying(starting)?)
            .stderr(log.try_clone().while_trying(starting)?)
            .spawn()
            .while_trying(starting)?;
        let mut host = Self {
            name: name.to_owned(),
            sshd,
            // The supervisor removes it.
            folder: folder.keep(),
            log,
            supervisor,
            init: 0,
            init_handle: None,
            namespace: PathBuf::new(),
            control_group,
            services: Vec::new(),
            kind: options.kind,
        };
        host.come_up()?;
        Ok(host)
    }

    /// Starts the services of a host that has crashed, and waits until they take connections.
    ///
    /// # Errors
    /// As when it was started first.
    pub fn boot(&mut self) -> Result<(), Error> {
        let action = || format!("boot {}", self.name);
        for file in [
            "pid",
            "root/run/sshd.pid",
            "root/run/nix-daemon.pid",
            "root/run/guix-daemon.pid",
        ] {
            match fs::remove_file(self.folder.join(file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed.while_trying(action)?,
            }
        }
        self.services.clear();
        fs::write(self.folder.join("boot"), "").while_trying(action)?;
        self.come_up()
    }

    fn come_up(&mut self) -> Result<(), Error> {
        let coming_up = || format!("bring up {}", self.name);
        let init = self.poll("its process 1", |host| {
            Ok(number_in(&host.folder.join("pid")))
        })?;
        let pid =
            Pid::from_raw(i32::try_from(init).expect("pids are small")).expect("pids are positive");
        let handle =
            rustix::process::pidfd_open(pid, PidfdFlags::empty()).while_trying(coming_up)?;
        self.namespace = process::namespace_of(init).while_trying(coming_up)?;
        (self.init, self.init_handle) = (init, Some(handle));
        let names = fs::read_to_string(self.root().join("run/services"))
            .while_trying(|| "read the services".into())?;
        for service in names.split_whitespace() {
            let file = self.root().join(format!("run/{service}.pid"));
            let inside = self.poll(&format!("the start of {service}"), |_| Ok(number_in(&file)))?;
            self.services.push((service.to_owned(), inside));
            self.poll(service, |host| host.serves(service, inside))?;
        }
        // The daemon's process for the question whether it is there.
        self.poll("quiet", |host| {
            let strays = host.strays().map_err(|error| error.to_string())?;
            Ok(strays.is_empty().then_some(()))
        })
    }

    /// Looks until there is something; an `Err` is why there never will be.
    fn poll<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<Option<T>, String>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + START_LIMIT;
        let not_up = |reason| Error::NotUp {
            host: self.name.clone(),
            reason,
            logs: self.logs(),
        };
        loop {
            if let Some(found) = look(self).map_err(not_up)? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(not_up(format!("waited {START_LIMIT:?} for {what}")));
            }
            let supervisor = WaitId::Pid(Pid::from_child(&self.supervisor));
            let without_reaping =
                WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if let Ok(Some(_)) = rustix::process::waitid(supervisor, without_reaping) {
                return Err(not_up(format!("it ended before {what}")));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// `Some` when the service takes connections.
    fn serves(&self, service: &str, pid_inside: u32) -> Result<Option<()>, String> {
        let processes = self.processes().map_err(|error| error.to_string())?;
        if !processes
            .iter()
            .any(|process| process.pid_inside == pid_inside)
        {
            return Err(format!("{service} has ended"));
        }
        let reachable = match (service, self.sshd) {
            ("sshd", Some(address)) => fs::read_to_string(format!("/proc/{}/net/tcp", self.init))
                .is_ok_and(|table| is_listening(&table, address, 22)),
            _ => {
                // By way of /proc, because the path of a socket must be short.
                let socket = format!("/proc/{}/root{}", self.init, self.kind.socket());
                UnixStream::connect(socket).and_then(hang_up).is_ok()
            }
        };
        Ok(reachable.then_some(()))
    }
}

/// The number that a complete line of the file holds.
fn number_in(file: &Path) -> Option<u32> {
    fs::read_to_string(file)
        .ok()?
        .strip_suffix('\n')?
        .parse()
        .ok()
}

/// Waits until the daemon has seen that nothing is asked of it. Its process for this connection ends with that.
fn hang_up(mut connection: UnixStream) -> io::Result<u64> {
    connection.shutdown(Shutdown::Write)?;
    connection.set_read_timeout(Some(START_LIMIT))?;
    io::copy(&mut connection, &mut io::sink())
}

fn mounts(options: &HostOptions) -> String {
    options
        .mounts
        .iter()
        .map(|mount| format!("{}\t{}\n", mount.from.display(), mount.to.display()))
        .collect()
}

/// Whether `/proc/net/tcp` has a listening socket: `0: 0100007F:0016 00000000:0000 0A ...`.
fn is_listening(table: &str, address: Ipv4Addr, port: u16) -> bool {
    let wanted = format!("{:08X}:{port:04X}", u32::from_ne_bytes(address.octets()));
    table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        words.next() == Some(&wanted) && words.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found() {
        let table = "  sl  local_address rem_address   st\n   0: 0200007F:0016 00000000:0000 0A 00000000:00000000\n";
        assert!(is_listening(table, Ipv4Addr::new(127, 0, 0, 2), 22));
        assert!(!is_listening(table, Ipv4Addr::LOCALHOST, 22));
        assert!(!is_listening(
            &table.replace(" 0A ", " 01 "),
            Ipv4Addr::new(127, 0, 0, 2),
            22
        ));
    }
}
