//! The ways to a machine's store daemon.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use worker_protocol::Dialect;
use worker_protocol::client::Options;

use super::repl;
use crate::link::{ByteStream, Link, LinkError};
use crate::machines::{Machine, Scheme};

/// The socket of a Nix daemon, unless the machine's entry says otherwise.
pub(crate) const NIX_SOCKET: &str = "/nix/var/nix/daemon-socket/socket";

/// The socket of a Guix daemon, unless the machine's entry says otherwise.
pub(crate) const GUIX_SOCKET: &str = "/var/guix/daemon-socket/socket";

/// A way to a machine's store daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A channel to the daemon's socket: nothing has to be started (4-8 ms on an open connection,
    /// where a command takes 28-63).
    Socket,
    /// `nix-daemon --stdio`: for hosts that forward no sockets.
    Command,
    /// `nix-store --serve --write`, the protocol of `ssh://`: for keys that allow only that.
    Serve,
    /// A channel to the socket of a guix-daemon.
    GuixSocket,
    /// `guix repl`, whose Guile connects to that socket: stock's way.
    GuixRepl,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Socket => "the daemon's socket",
            Way::Command => "nix-daemon --stdio",
            Way::Serve => "nix-store --serve",
            Way::GuixSocket => "guix-daemon's socket",
            Way::GuixRepl => "guix repl to guix-daemon's socket",
        })
    }
}

impl Way {
    /// The ways that lead to `machine`, in the order in which they are tried; `known` worked last
    /// time.
    pub(super) fn of(machine: &Machine, dialect: Dialect, known: Option<Way>) -> Vec<Way> {
        let known = known.filter(|way| way.dialect() == dialect);
        let in_order = |all: &[Way]| {
            let rest = all.iter().copied().filter(|way| Some(*way) != known);
            known.into_iter().chain(rest).collect()
        };
        if dialect == Dialect::Guix {
            return in_order(&[Way::GuixSocket, Way::GuixRepl]);
        }
        // Who names a program, or the store behind it, means just that.
        if !machine.remote_program.is_empty() || machine.remote_store.is_some() {
            return match machine.uri.scheme() {
                Scheme::SshNg => vec![Way::Command],
                Scheme::Ssh => vec![Way::Serve],
            };
        }
        in_order(&[Way::Socket, Way::Command, Way::Serve])
    }

    /// Whether it is only taken where a better one is closed.
    pub(crate) fn is_detour(self) -> bool {
        !matches!(self, Way::Socket | Way::GuixSocket)
    }

    /// See [`Options::together`]: no more than one request where
    /// there is more on the way than a channel to the socket.
    pub(super) fn together(self) -> usize {
        match self {
            Way::GuixSocket => Options::TOGETHER,
            Way::Socket | Way::Command | Way::Serve | Way::GuixRepl => 0,
        }
    }

    /// What is spoken there.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Way::Socket | Way::Command | Way::Serve => Dialect::Nix,
            Way::GuixSocket | Way::GuixRepl => Dialect::Guix,
        }
    }

    /// Opens a stream that goes this way. A program that has to start for it may take `greeting`.
    pub(super) async fn open(
        self,
        link: &Link,
        machine: &Machine,
        greeting: Duration,
    ) -> Result<ByteStream, LinkError> {
        match self {
            Way::Socket => {
                let socket = machine.daemon_socket.as_deref();
                link.open_socket(socket.unwrap_or(NIX_SOCKET)).await
            }
            Way::GuixSocket | Way::GuixRepl => {
                let socket = machine.daemon_socket.as_deref();
                let socket = socket.unwrap_or(GUIX_SOCKET);
                match self {
                    Way::GuixRepl => repl::open_socket(link, socket, greeting).await,
                    _ => link.open_socket(socket).await,
                }
            }
            Way::Command => link.exec(&self.command(machine)).await,
            // What a build prints comes on standard error there.
            Way::Serve => link.exec_and_listen(&self.command(machine)).await,
        }
    }

    fn command(self, machine: &Machine) -> String {
        let (program, arguments) = match self {
            Way::Serve => ("nix-store", "--serve --write"),
            _ => ("nix-daemon", "--stdio"),
        };
        // Its words are the login shell's to understand, as they are with stock: `~/bin/x` works.
        let program = match machine.remote_program.as_slice() {
            [] => program.to_owned(),
            words => words.join(" "),
        };
        match &machine.remote_store {
            Some(store) => format!("{program} {arguments} --store {}", quote(store)),
            None => format!("{program} {arguments}"),
        }
    }
}

/// One word for a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::read_builders;

    #[track_caller]
    fn ways(uri: &str, known: Option<Way>) -> Vec<String> {
        let machine = read_builders(uri, "x86_64-linux").machines.remove(0);
        let ways = Way::of(&machine, Dialect::Nix, known).into_iter();
        ways.map(|way| match way {
            Way::Socket => way.to_string(),
            _ => way.command(&machine),
        })
        .collect()
    }

    #[test]
    fn a_guix_daemon_has_ways_of_its_own() {
        let machine = read_builders("ssh://a", "x86_64-linux").machines.remove(0);
        let ways = |known| Way::of(&machine, Dialect::Guix, known);
        assert_eq!(ways(None), [Way::GuixSocket, Way::GuixRepl]);
        assert_eq!(ways(Some(Way::GuixRepl)), [Way::GuixRepl, Way::GuixSocket]);
        // A file of another dialect's.
        assert_eq!(ways(Some(Way::Serve)), [Way::GuixSocket, Way::GuixRepl]);
    }

    #[test]
    fn what_worked_is_tried_first_and_what_is_named_alone() {
        let all = [
            "the daemon's socket",
            "nix-daemon --stdio",
            "nix-store --serve --write",
        ];
        assert_eq!(ways("ssh://a", None), all);
        assert_eq!(ways("ssh-ng://a", Some(Way::Socket)), all);
        assert_eq!(
            ways("ssh-ng://a", Some(Way::Serve)),
            [all[2], all[0], all[1]]
        );
        assert_eq!(
            ways("ssh-ng://a?remote-program=sudo%20/opt/d", Some(Way::Socket)),
            ["sudo /opt/d --stdio"]
        );
        assert_eq!(
            ways("ssh://a?remote-program=/opt/s&remote-store=/it's", None),
            [r"/opt/s --serve --write --store '/it'\''s'"]
        );
    }
}
