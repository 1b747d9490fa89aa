//! One line of `/etc/nix/machines`.

use std::fmt;

/// One line of `/etc/nix/machines`, as words; a test changes the word it is about.
///
/// ```
/// # use testbed::MachineLine;
/// let line = MachineLine { max_jobs: "2".into(), ..MachineLine::new("ssh-ng://root@127.0.0.1") };
/// assert_eq!(line.to_string(), "ssh-ng://root@127.0.0.1 x86_64-linux /root/.ssh/id_ed25519 2 1 - - -");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineLine {
    /// `ssh-ng://user@host` or `ssh://user@host`.
    pub uri: String,
    /// System types, separated by commas.
    pub systems: String,
    /// The file of the private key on the coordinator.
    pub key: String,
    /// How many builds may run at once.
    pub max_jobs: String,
    /// Preferred over others by this factor.
    pub speed_factor: String,
    /// Features that it has, separated by commas.
    pub supported_features: String,
    /// Features without which nothing is built there, separated by commas.
    pub mandatory_features: String,
    /// Base64 of the host's public key line, or `-` for what `known_hosts` says.
    pub host_key: String,
}

impl MachineLine {
    /// A machine for 8 builds at once, root's own key, and the host key of `known_hosts`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            systems: format!("{}-linux", std::env::consts::ARCH),
            key: "/root/.ssh/id_ed25519".into(),
            max_jobs: "8".into(),
            speed_factor: "1".into(),
            supported_features: "-".into(),
            mandatory_features: "-".into(),
            host_key: "-".into(),
        }
    }
}

impl fmt::Display for MachineLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            uri,
            systems,
            key,
            max_jobs,
            speed_factor,
            supported_features,
            mandatory_features,
            host_key,
        } = self;
        write!(
            formatter,
            "{uri} {systems} {key} {max_jobs} {speed_factor} {supported_features} {mandatory_features} {host_key}"
        )
    }
}
