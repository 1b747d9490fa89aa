//! A host's own root folder, before anything is mounted on it.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    process::Command,
};

use crate::{Error, HostOptions, StoreDaemon, error::While};

/// The folders that are the host's own, and their modes.
const FOLDERS: [(&str, u32); 20] = [
    ("dev", 0o755),
    ("etc/guix", 0o755),
    ("etc/nix", 0o755),
    ("etc/ssh", 0o755),
    ("gnu/store", 0o1775),
    ("home", 0o755),
    ("nix", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root/.ssh", 0o700),
    ("run/sshd", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var/cache", 0o755),
    ("var/empty", 0o755),
    ("var/guix", 0o755),
    ("var/lib", 0o755),
    ("var/log/guix", 0o755),
    ("var/tmp", 0o1777),
    ("srv", 0o755),
];

/// What of the distribution's `/etc` its programs do not run without.
const FROM_ETC: [&str; 4] = ["alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"];

/// How many builds a daemon can run at once, each as a user of its own.
const BUILD_USERS: u32 = 16;

const NIX_CONF: &str = "\
build-users-group = nixbld
experimental-features = nix-command
sandbox = false
substituters =
";

const SSHD_CONFIG: &str = "\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PidFile none
Port 22
UsePAM no
";

/// Lays out `root`. `sshd` is the address that the host's sshd listens on, if it has one.
pub(crate) fn lay_out(
    root: &Path,
    name: &str,
    options: &HostOptions,
    sshd: Option<Ipv4Addr>,
) -> Result<(), Error> {
    let action = || format!("lay out the root of {name}");
    folders(root).while_trying(action)?;
    copy_from_etc(root, options.distribution.root()).while_trying(action)?;
    accounts(root).while_trying(action)?;
    let write = |path: &str, text: String| fs::write(root.join(path), text).while_trying(action);
    write("etc/hosts", format!("127.0.0.1 localhost {name}\n"))?;
    write(
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n".into(),
    )?;
    write("etc/nix/nix.conf", lines(NIX_CONF, &options.nix_conf))?;
    write(
        "run/store-daemon.arguments",
        lines("", &options.daemon_arguments),
    )?;
    write(
        "run/store-daemon.environment",
        lines("", &options.daemon_environment),
    )?;
    let mut services = Vec::new();
    if let Some(address) = sshd {
        let mut config = format!("{SSHD_CONFIG}ListenAddress {address}\n");
        if options.store == StoreDaemon::Absent {
            config.push_str("SetEnv PATH=/var/empty\n");
        }
        write("etc/ssh/sshd_config", lines(&config, &options.sshd_config))?;
        services.push("sshd");
    }
    if options.store == StoreDaemon::Running {
        services.push(options.kind.daemon());
    }
    write("run/services", services.join(" ") + "\n")?;
    write("run/start", include_str!("start.sh").into())
}

fn lines(head: &str, more: &[String]) -> String {
    more.iter()
        .fold(head.to_owned(), |text, line| text + line + "\n")
}

fn folders(root: &Path) -> io::Result<()> {
    for (folder, mode) in FOLDERS {
        let path = root.join(folder);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700))
}

fn copy_from_etc(root: &Path, distribution: &Path) -> io::Result<()> {
    let there = FROM_ETC
        .iter()
        .map(|name| distribution.join("etc").join(name))
        .filter(|path| path.exists());
    let status = Command::new("cp")
        .arg("-a")
        .args(there)
        .arg(root.join("etc"))
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("cp ended with {status}")))
    }
}

/// root (no password, but not locked), sshd's own, and the build users, as Nix's manual wants them.
fn accounts(root: &Path) -> io::Result<()> {
    let mut passwd = "root:x:0:0:root:/root:/bin/sh\n\
        sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n\
        nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        .to_owned();
    let mut members = Vec::new();
    for number in 1..=BUILD_USERS {
        let id = 30_000 + number;
        passwd += &format!("nixbld{number}:x:{id}:30000::/var/empty:/usr/sbin/nologin\n");
        members.push(format!("nixbld{number}"));
    }
    fs::write(root.join("etc/passwd"), passwd)?;
    let group = format!(
        "root:x:0:\nnogroup:x:65534:\nnixbld:x:30000:{}\n",
        members.join(",")
    );
    fs::write(root.join("etc/group"), group)?;
    fs::write(root.join("etc/shadow"), "root:*:19000:0:99999:7:::\n")?;
    fs::set_permissions(root.join("etc/shadow"), fs::Permissions::from_mode(0o600))
}
