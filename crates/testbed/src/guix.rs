//! What a pair with guix-daemons needs beside one with nix-daemons: keys that sign store items, and another machine list.

use std::fmt;

use data_encoding::BASE64;

use crate::{Error, Host, Pair};

/// One `build-machine` of `/etc/guix/machines.scm`, as words; a test changes the word it is about.
///
/// ```
/// # use testbed::GuixMachine;
/// let machine = GuixMachine { parallel_builds: 2, ..GuixMachine::new("builder", "ssh-ed25519 AAAA") };
/// assert!(machine.to_string().contains("(parallel-builds 2)"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuixMachine {
    /// Its host name, which is also what messages call it.
    pub name: String,
    /// The TCP port of its sshd.
    pub port: u16,
    /// System types, separated by blanks.
    pub systems: String,
    /// Who logs in there.
    pub user: String,
    /// The file of the private key on the coordinator.
    pub private_key: String,
    /// The host's public key line.
    pub host_key: String,
    /// How many builds may run at once.
    pub parallel_builds: u32,
    /// Preferred over others by this factor.
    pub speed: String,
    /// The load from which on it gets no builds, `#f` for none.
    pub overload_threshold: String,
    /// `none`, `zlib`, `zlib@openssh.com,zlib`.
    pub compression: String,
    /// Features that it has, separated by blanks.
    pub features: String,
    /// The socket of its daemon, unless that is the usual one.
    pub daemon_socket: Option<String>,
}

impl GuixMachine {
    /// A machine for 8 builds at once, with root's own key, whatever its load.
    pub fn new(name: impl Into<String>, host_key: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            port: 22,
            systems: format!("{}-linux", std::env::consts::ARCH),
            user: "root".into(),
            private_key: "/root/.ssh/id_ed25519".into(),
            host_key: host_key.into(),
            parallel_builds: 8,
            speed: "1.0".into(),
            overload_threshold: "#f".into(),
            compression: "none".into(),
            features: String::new(),
            daemon_socket: None,
        }
    }

    /// A whole `machines.scm` of such machines.
    pub fn list(machines: &[Self]) -> String {
        let entries: String = machines
            .iter()
            .map(|machine| format!("\n {machine}"))
            .collect();
        format!("(list{entries})\n")
    }
}

impl fmt::Display for GuixMachine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |words: &str| {
            let quoted = words.split_whitespace().map(|word| format!("{word:?}"));
            quoted.collect::<Vec<_>>().join(" ")
        };
        let socket = self.daemon_socket.iter();
        let socket: String = socket
            .map(|socket| format!(" (daemon-socket {socket:?})"))
            .collect();
        write!(
            formatter,
            "(build-machine (name {:?}) (port {}) (systems (list {})) (user {:?}) (private-key {:?}) (host-key {:?}) \
             (parallel-builds {}) (speed {}) (overload-threshold {}) (compression {:?}) (features (list {})){socket})",
            self.name,
            self.port,
            words(&self.systems),
            self.user,
            self.private_key,
            self.host_key,
            self.parallel_builds,
            self.speed,
            self.overload_threshold,
            self.compression,
            words(&self.features),
        )
    }
}

impl Pair {
    /// Gives each host a key that signs what it exports, and lets the coordinator and each builder import what the
    /// other has signed.
    ///
    /// # Errors
    /// If `guix archive` fails on one of them.
    pub fn exchange_guix_keys(&self) -> Result<(), Error> {
        for host in std::iter::once(&self.coordinator).chain(self.builders()) {
            host.run(&["guix", "archive", "--generate-key"])?;
        }
        for builder in self.builders() {
            for (of, to) in [(builder, &self.coordinator), (&self.coordinator, builder)] {
                of.let_sign_for(to)?;
            }
        }
        Ok(())
    }

    /// The entry of `machines.scm` for the first builder, through the slow link if there is one. Its name is its
    /// address.
    pub fn guix_machine(&self) -> GuixMachine {
        self.guix_entry(&self.machine_line())
    }

    /// As [`guix_machine`](Pair::guix_machine) for the extra builder of that index, without a slow link.
    ///
    /// # Panics
    /// If there is none of that index.
    pub fn extra_guix_machine(&self, index: usize) -> GuixMachine {
        self.guix_entry(&self.extra_machine_line(index))
    }

    fn guix_entry(&self, line: &crate::MachineLine) -> GuixMachine {
        let name = line.uri.rsplit('@').next().unwrap_or(&line.uri);
        let key = BASE64.decode(line.host_key.as_bytes()).unwrap_or_default();
        GuixMachine::new(name, String::from_utf8_lossy(&key))
    }
}

impl Host {
    /// Lets `importer` import what this host has signed.
    ///
    /// # Errors
    /// If this host has no key, or `guix archive` fails there.
    pub fn let_sign_for(&self, importer: &Host) -> Result<(), Error> {
        let key = self.read_file("/etc/guix/signing-key.pub")?;
        let file = format!("/root/{}.pub", self.name());
        importer.write_file(&file, key)?;
        let authorize = format!("guix archive --authorize < {file}");
        importer.run(&["sh", "-c", &authorize]).map(drop)
    }
}
