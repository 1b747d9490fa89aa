//! Who connects, and what OpenSSH's files and variables say about it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ssh_config::{
    CommandLine, Files, Folders, JumpHost, Keyword, Options, Proxy, Setting, SshConfig, TokenError,
    Tokens, Warning, host_name,
};
use super::{AddressRules, Credentials, HostKeys, KeyChoice, Route, SshTarget, Timeouts};

/// The port of SSH.
const SSH_PORT: u16 = 22;
/// Hosts between here and a machine, whoever's configuration names them.
const MAX_JUMPS: usize = 8;
/// The keys that OpenSSH looks for, in its order.
const DEFAULT_KEYS: [&str; 5] = [
    "id_rsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
];

/// The user who runs this: whose keys and known hosts are used where the machine list names none.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name, which is also the user name on machines for which nothing else is said.
    pub user: String,
    /// Number.
    pub uid: u32,
    /// Home directory, which has the folder `.ssh`.
    pub home: PathBuf,
    /// The name of this host.
    pub host_name: String,
    /// OpenSSH's system-wide folder.
    pub system: PathBuf,
    /// The environment: `SSH_AUTH_SOCK`, `NIX_SSHOPTS`, and what configuration files refer to.
    pub environment: BTreeMap<String, String>,
    /// The socket of a broker that keeps this user's connections open, should one listen there.
    pub broker: Option<PathBuf>,
}

impl fmt::Debug for Identity {
    /// Leaves out the environment, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user)
            .field("uid", &self.uid)
            .field("home", &self.home)
            .field("system", &self.system)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// A user with this name, number and home directory, and an empty environment.
    #[must_use]
    pub fn new(user: impl Into<String>, uid: u32, home: impl Into<PathBuf>) -> Self {
        Identity {
            user: user.into(),
            uid,
            home: home.into(),
            host_name: "localhost".to_owned(),
            system: PathBuf::from("/etc/ssh"),
            environment: BTreeMap::new(),
            broker: None,
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }
}

/// A machine as its entry in the machine list has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destination {
    /// Host name, address, or a `Host` of the configuration.
    pub host: String,
    /// Port, if the entry names one.
    pub port: Option<u16>,
    /// Remote user, if the entry names one.
    pub user: Option<String>,
    /// Private key file, if the entry names one: no other key is tried then.
    pub key: Option<PathBuf>,
    /// The host's public key line, if the entry has one: no other key is believed then.
    pub host_key: Option<String>,
    /// Whether what is sent shall be compressed, if the entry says so.
    pub compress: Option<bool>,
}

/// Why a configuration leads nowhere. Complete with "failed to reach MACHINE: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A value has tokens that make no sense.
    #[error("failed to expand the {option} of host {host}: {error}")]
    Token {
        /// The option.
        option: &'static str,
        /// The host that it is for.
        host: String,
        /// What is wrong.
        error: TokenError,
    },
    /// Each jump host is reached through another one.
    #[error("the way to host {0} leads through more than {MAX_JUMPS} jump hosts")]
    TooManyJumps(String),
}

/// What OpenSSH's configuration files and `NIX_SSHOPTS` say to a user, read once.
#[derive(Debug, Clone)]
pub struct SshSettings {
    identity: Identity,
    command_line: CommandLine,
    config: SshConfig,
}

/// How a machine is reached, and what was left out of the configuration on the way.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How it is reached.
    pub target: SshTarget,
    /// What is not honoured, each thing once.
    pub warnings: Vec<Warning>,
}

impl SshSettings {
    /// Reads the files. What cannot be read is told by [`SshSettings::plan`].
    #[must_use]
    pub fn read(identity: &Identity) -> Self {
        let options = identity.variable("NIX_SSHOPTS").unwrap_or_default();
        let command_line = CommandLine::of_sshopts(options);
        let folders = Folders {
            home: identity.home.clone(),
            system: identity.system.clone(),
            uid: identity.uid,
        };
        let config = match command_line.files() {
            Files::Usual => SshConfig::of_user(&folders),
            Files::None => SshConfig::default(),
            Files::Only(file) => SshConfig::of_file(file, &folders),
        };
        SshSettings {
            identity: identity.clone(),
            command_line,
            config,
        }
    }

    /// How a machine is reached. What its entry says goes before configuration files, and
    /// `NIX_SSHOPTS` before both, as it does for stock Nix. `timeouts` holds where the
    /// configuration has no bounds of its own.
    ///
    /// # Errors
    /// When the configuration leads nowhere.
    pub fn plan(&self, destination: &Destination, timeouts: Timeouts) -> Result<Plan, ConfigError> {
        let mut planner = Planner {
            settings: self,
            timeouts,
            warnings: Vec::new(),
            jumps: 0,
        };
        let mut command_line = self.command_line.clone();
        let entry = &destination.user;
        let user = entry
            .clone()
            .map(|user| (Keyword::User, Setting::User(user)));
        let port = destination
            .port
            .map(|port| (Keyword::Port, Setting::Port(port)));
        let compress = destination
            .compress
            .map(|compress| (Keyword::Compression, Setting::Compression(compress)));
        let said = user.into_iter().chain(port).chain(compress);
        command_line.add("machine list", said);
        let mut target = planner.target(&destination.host, &command_line)?;
        if let Some(file) = &destination.key {
            target.credentials.files = vec![file.clone()];
            target.credentials.choice = KeyChoice::Machine;
        }
        target.host_keys.pinned.clone_from(&destination.host_key);
        Ok(Plan {
            target,
            warnings: planner.warnings,
        })
    }
}

struct Planner<'a> {
    settings: &'a SshSettings,
    timeouts: Timeouts,
    warnings: Vec<Warning>,
    jumps: usize,
}

impl Planner<'_> {
    fn target(&mut self, host: &str, command_line: &CommandLine) -> Result<SshTarget, ConfigError> {
        let settings = self.settings;
        let identity = &settings.identity;
        let options = settings.config.options(command_line, host, &identity.user);
        for warning in &options.warnings {
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
        let real_name = match &options.host_name {
            Some(name) => host_name(name, host).map_err(|error| ConfigError::Token {
                option: "HostName",
                host: host.to_owned(),
                error,
            })?,
            None => host.to_owned(),
        };
        let user = options.user.as_deref().unwrap_or(&identity.user);
        let tokens = Tokens {
            original_host: host,
            host: &real_name,
            host_key_alias: options.host_key_alias.as_deref().unwrap_or(host),
            port: options.port.unwrap_or(SSH_PORT),
            remote_user: user,
            local_user: &identity.user,
            uid: identity.uid,
            home: &identity.home,
            local_host: &identity.host_name,
            jump_host: match &options.proxy {
                Some(Proxy::Jump(hosts)) => hosts.last().map_or("", |last| &last.host),
                _ => "",
            },
            environment: &identity.environment,
        };
        let expansion = Expansion { tokens, host };
        Ok(SshTarget {
            credentials: self.credentials(&options, &expansion)?,
            host_keys: self.host_keys(&options, &expansion)?,
            timeouts: timeouts(self.timeouts, &options),
            route: self.route(&options, &expansion)?,
            compression: options.compression.unwrap_or(false),
            addresses: AddressRules {
                family: options.address_family.unwrap_or_default(),
                bind: options.bind_address.clone(),
            },
            port: options.port.unwrap_or(SSH_PORT),
            user: user.to_owned(),
            host: real_name.clone(),
            round_trip: None,
            broker: None,
        })
    }

    fn credentials(
        &self,
        options: &Options,
        expansion: &Expansion<'_>,
    ) -> Result<Credentials, ConfigError> {
        let folder = self.settings.identity.home.join(".ssh");
        let is_configured = !options.identity_files.is_empty();
        let files = match is_configured {
            true => expansion.files("IdentityFile", &options.identity_files)?,
            false => DEFAULT_KEYS.map(|name| folder.join(name)).to_vec(),
        };
        Ok(Credentials {
            files,
            choice: match is_configured {
                true => KeyChoice::Configured,
                false => KeyChoice::Default,
            },
            certificates: expansion.files("CertificateFile", &options.certificate_files)?,
            agent: self.agent(options, expansion)?,
            identities_only: options.identities_only.unwrap_or(false),
        })
    }

    fn agent(
        &self,
        options: &Options,
        expansion: &Expansion<'_>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let variable = |name: &str| self.settings.identity.variable(name).map(PathBuf::from);
        Ok(match options.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => variable("SSH_AUTH_SOCK"),
            Some(none) if none.eq_ignore_ascii_case("none") => None,
            Some(named) => match named.strip_prefix('$') {
                Some(name) if !name.starts_with('{') => variable(name),
                _ => Some(expansion.file("IdentityAgent", named)?),
            },
        })
    }

    fn host_keys(
        &self,
        options: &Options,
        expansion: &Expansion<'_>,
    ) -> Result<HostKeys, ConfigError> {
        let defaults = |folder: &Path, names: [&str; 2]| names.map(|name| folder.join(name));
        let identity = &self.settings.identity;
        let mut files = match &options.user_known_hosts {
            Some(files) => expansion.files("UserKnownHostsFile", files)?,
            None => {
                let folder = identity.home.join(".ssh");
                defaults(&folder, ["known_hosts", "known_hosts2"]).to_vec()
            }
        };
        match &options.global_known_hosts {
            Some(named) => files.extend(
                named
                    .iter()
                    .filter(|name| !name.eq_ignore_ascii_case("none"))
                    .map(|name| expansion.tokens.system_file(name)),
            ),
            None => files.extend(defaults(
                &identity.system,
                ["ssh_known_hosts", "ssh_known_hosts2"],
            )),
        }
        let revoked = options.revoked_host_keys.as_deref();
        let revoked = revoked.filter(|name| !name.eq_ignore_ascii_case("none"));
        Ok(HostKeys {
            pinned: None,
            files,
            alias: options.host_key_alias.clone(),
            revoked: match revoked {
                Some(name) => Some(expansion.file("RevokedHostKeys", name)?),
                None => None,
            },
        })
    }

    fn route(
        &mut self,
        options: &Options,
        expansion: &Expansion<'_>,
    ) -> Result<Route, ConfigError> {
        match &options.proxy {
            None | Some(Proxy::None | Proxy::NoJump) => Ok(Route::Direct),
            Some(Proxy::Command(command)) => {
                let command = expansion.tokens.command(command);
                let command = command.map_err(|error| expansion.wrong("ProxyCommand", error))?;
                Ok(Route::Command(command))
            }
            Some(Proxy::Jump(hosts)) => self.jump(hosts, expansion.host),
        }
    }

    /// Each host with its own configuration, and reached through those before it.
    fn jump(&mut self, hosts: &[JumpHost], towards: &str) -> Result<Route, ConfigError> {
        let Some((last, before)) = hosts.split_last() else {
            return Ok(Route::Direct);
        };
        self.jumps += 1;
        if self.jumps > MAX_JUMPS {
            return Err(ConfigError::TooManyJumps(towards.to_owned()));
        }
        let mut command_line = CommandLine::default();
        let user = last.user.clone();
        let user = user.map(|user| (Keyword::User, Setting::User(user)));
        let port = last.port.map(|port| (Keyword::Port, Setting::Port(port)));
        let proxy = (!before.is_empty()).then(|| {
            let proxy = Proxy::Jump(before.to_vec());
            (Keyword::ProxyJump, Setting::Proxy(proxy))
        });
        command_line.add("ProxyJump", user.into_iter().chain(port).chain(proxy));
        let target = self.target(&last.host, &command_line)?;
        Ok(Route::Jump(Box::new(target)))
    }
}

/// Expands the values of one host's options.
struct Expansion<'a> {
    tokens: Tokens<'a>,
    /// The host as it was asked for.
    host: &'a str,
}

impl Expansion<'_> {
    fn file(&self, option: &'static str, name: &str) -> Result<PathBuf, ConfigError> {
        let file = self.tokens.user_file(name);
        file.map_err(|error| self.wrong(option, error))
    }

    /// `none` among them is no file.
    fn files(&self, option: &'static str, names: &[String]) -> Result<Vec<PathBuf>, ConfigError> {
        let names = names
            .iter()
            .filter(|name| !name.eq_ignore_ascii_case("none"));
        names.map(|name| self.file(option, name)).collect()
    }

    fn wrong(&self, option: &'static str, error: TokenError) -> ConfigError {
        ConfigError::Token {
            option,
            host: self.host.to_owned(),
            error,
        }
    }
}

/// Configured bounds instead of those of this program. There is always one: 0 leaves it.
fn timeouts(mut timeouts: Timeouts, options: &Options) -> Timeouts {
    if let Some(Some(bound)) = options.connect_timeout {
        timeouts.connect = bound;
        timeouts.key_exchange = bound;
    }
    if let Some(Some(interval)) = options.alive_interval {
        timeouts.keep_alive = interval;
    }
    if let Some(count) = options.alive_count_max.filter(|count| *count > 0) {
        timeouts.keep_alive_misses = count;
    }
    timeouts
}

#[cfg(test)]
mod tests;
