//! What a person can do about a machine in trouble.

use super::{Probe, Step, Trouble};
use crate::failure::{Failure, RemoteFailure};
use crate::link::{HostKeyError, LinkError, SshTarget};
use crate::local::{ImportError, LocalError};
use crate::machines::Machine;

impl Probe {
    /// The trouble that a failure at `step` is.
    pub(super) fn trouble(
        &self,
        step: Step,
        failure: &Failure,
        machine: &Machine,
        target: Option<&SshTarget>,
    ) -> Trouble {
        let about_guix = self.guix.as_ref().and_then(|guix| {
            let directory = guix.keys.directory.display().to_string();
            about_guix(failure, machine.uri.host(), &directory)
        });
        let daemon = match self.guix {
            Some(_) => "guix-daemon",
            None => "nix-daemon",
        };
        Trouble {
            step,
            reason: failure.to_string(),
            advice: about_guix.unwrap_or_else(|| advice(failure, machine, target, daemon)),
        }
    }
}

/// What is different about a guix-daemon; `directory` has this host's keys.
fn about_guix(failure: &Failure, host: &str, directory: &str) -> Option<String> {
    let log = "journalctl -u guix-daemon";
    let generate = "guix archive --generate-key";
    let authorize = "guix archive --authorize";
    Some(match failure {
        Failure::Remote {
            error: RemoteFailure::Daemon(error),
            ..
        } if error.message.to_string_lossy().contains("unauthorized") => format!(
            "let this host's signatures in there: `{authorize} < KEY` on {host}, where KEY is a copy of \
             {directory}/signing-key.pub of this host"
        ),
        Failure::Remote {
            error: RemoteFailure::Daemon(_),
            ..
        } => format!(
            "this is what guix-daemon on {host} says: see its log there ({log}), its disk space, whether it \
             has a key to sign with ({generate}), and whether the user may have it sign, which takes root"
        ),
        Failure::Remote { .. } => format!(
            "see whether guix-daemon on {host} collects garbage or hangs ({log}), and that `guix` there \
             is that daemon's"
        ),
        Failure::NoDaemon(_) => format!(
            "see on {host} that guix-daemon runs ({log}); where its sshd forwards no sockets \
             (AllowStreamLocalForwarding), `guix repl` has to run there for the user"
        ),
        Failure::Import(ImportError::Signature { .. }) => format!(
            "let the machine's signatures in here: `{authorize} < KEY`, where KEY is a copy of \
             /etc/guix/signing-key.pub of {host}"
        ),
        Failure::Import(ImportError::Unsigned(_)) => {
            format!("give {host} a key to sign with: {generate}, as root there")
        }
        Failure::Local(LocalError::Read { .. } | LocalError::Key { .. }) => format!(
            "give this host a key to sign with ({generate}), and run this as a user who may read \
             {directory}"
        ),
        Failure::Local(LocalError::Authenticate(_))
        | Failure::Import(ImportError::Verify { .. }) => {
            "see that OFFLOAD_GUIX or the path leads to the real guix".to_owned()
        }
        _ => return None,
    })
}

fn advice(
    failure: &Failure,
    machine: &Machine,
    target: Option<&SshTarget>,
    daemon: &str,
) -> String {
    let origin = &machine.origin;
    let (user, host, port) = match target {
        Some(target) => (target.user.as_str(), target.host.as_str(), target.port),
        None => ("USER", machine.uri.host(), 22),
    };
    match failure {
        Failure::Link(error) => about_link(error, origin.to_string(), user, host, port),
        Failure::NoDaemon(_) => format!(
            "see on {host} that nix-daemon runs (systemctl status nix-daemon.socket), or that \
             `ssh -p {port} {user}@{host} nix-daemon --version` finds it; a restricted key must allow \
             the socket, `nix-daemon --stdio` or `nix-store --serve --write`"
        ),
        Failure::Remote {
            error: RemoteFailure::Daemon(_),
            ..
        } => format!(
            "this is what the daemon on {host} says: see its log there (journalctl -u nix-daemon), \
             its disk space, and trusted-users in its nix.conf"
        ),
        Failure::Remote {
            error: RemoteFailure::Silent(_) | RemoteFailure::Mute(_),
            ..
        } => format!(
            "the daemon on {host} is there and does not answer: see whether it collects garbage or \
             hangs (journalctl -u nix-daemon), and restart it"
        ),
        Failure::Remote {
            error: RemoteFailure::Protocol(_),
            ..
        } => format!(
            "what answers on {host} does not speak as a store daemon does: see that its shell prints \
             nothing for `ssh -p {port} {user}@{host} true`, and which nix runs there"
        ),
        Failure::Local(_) => "see what this host lacks: no machine is to blame".to_owned(),
        Failure::Import(error) if error.is_of_this_host() => {
            "see this host's disk and who may write there: no machine is to blame".to_owned()
        }
        _ => format!("see the log of the daemon on {host} (journalctl -u {daemon})"),
    }
}

fn about_link(error: &LinkError, origin: String, user: &str, host: &str, port: u16) -> String {
    match error {
        LinkError::Config(_) => "correct the SSH configuration".to_owned(),
        LinkError::KeyFile { file, .. } => format!(
            "make {} readable for the user who runs this, or correct the key at {origin}",
            file.display()
        ),
        LinkError::Passphrase(file) => format!(
            "use a key without one: nobody is there to type it (ssh-keygen -p -f {} takes it off)",
            file.display()
        ),
        LinkError::NoKey(_) => format!(
            "make a key (ssh-keygen -t ed25519), let it in ({}), or name one at {origin}",
            authorized_keys(user, host)
        ),
        LinkError::HostKey(error) => about_host_key(error, &origin),
        LinkError::Connect { .. } => format!(
            "see that {host} is up, that its sshd listens on port {port}, and that no firewall stands \
             between"
        ),
        LinkError::Command { .. } => {
            "run the command by hand, as the user who runs this; correct ProxyCommand".to_owned()
        }
        LinkError::Jump { host: jump, error } => format!(
            "this is about the jump host {jump}: {}",
            about_link(error, "its SSH configuration".to_owned(), "USER", jump, 22)
        ),
        LinkError::TimedOut { .. } => format!(
            "try `ssh -v -p {port} {user}@{host} true`; where it takes as long, the bound can be set \
             higher"
        ),
        LinkError::Refused { .. } => {
            format!("let the key in: {}", authorized_keys(user, host))
        }
        LinkError::Broker { .. } => "end the broker, or start it anew".to_owned(),
        LinkError::Channel { .. } | LinkError::Kept(_) | LinkError::Ssh(_) => {
            format!("try `ssh -v -p {port} {user}@{host} true`, and see the log of sshd there")
        }
    }
}

fn authorized_keys(user: &str, host: &str) -> String {
    format!("its public half belongs into .ssh/authorized_keys of {user} on {host}")
}

fn about_host_key(error: &HostKeyError, origin: &str) -> String {
    match error {
        HostKeyError::Pinned(_) => format!(
            "put the output of `base64 -w0 /etc/ssh/ssh_host_ed25519_key.pub` on the machine at {origin}"
        ),
        HostKeyError::File { file, .. } => {
            format!("make {} readable, or correct it", file.display())
        }
        HostKeyError::Changed { record, .. } => format!(
            "if the machine was set up anew, put its new key in the place of the one in {record}; if \
             not, do not connect: somebody may stand between"
        ),
        HostKeyError::Revoked { record, .. } => {
            format!("give the machine a new key, or correct {record}")
        }
        HostKeyError::Certificate { .. } => {
            "have the host's key signed again by its authority".to_owned()
        }
        HostKeyError::Unknown { .. } => {
            "compare, and then add that line, or pin the key in the machine list".to_owned()
        }
    }
}
