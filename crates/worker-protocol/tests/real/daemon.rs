//! A real nix-daemon in a directory of its own, and archives to give it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StoreDir};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use worker_protocol::client::{Client, Options};
use worker_protocol::wire::Encoder;
use worker_protocol::{NarHash, PathInfo, ValidPathInfo};

pub(crate) type DaemonClient = Client<ChildStdout, ChildStdin>;

/// `nix-daemon --stdio` over a store of its own; each connection is one process.
pub(crate) struct Daemon {
    directory: TempDir,
    pub(crate) store_dir: StoreDir,
    /// A root file system that holds the daemon, or nothing for this machine's.
    root: Option<PathBuf>,
}

const CONFIG: &str = "sandbox = false\nbuild-users-group =\nsubstituters =\n\
                      experimental-features = nix-command ca-derivations\n";

/// Makes a copy of a root file system that forgets its changes, but for /nix.
const ENTER: &str = r#"
set -e
mount -t tmpfs tmpfs "$SCRATCH"
mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root"
mount -t overlay overlay -o "lowerdir=$ROOT,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work" "$SCRATCH/root"
mount -t proc proc "$SCRATCH/root/proc"
mount --rbind /dev "$SCRATCH/root/dev"
for each in nix gnu var/guix run/peer etc/nix etc/guix; do
    mkdir -p "$SCRATCH/root/$each" "$STATE/$each"
    mount --bind "$STATE/$each" "$SCRATCH/root/$each"
done
exec chroot "$SCRATCH/root" "$@"
"#;

impl Daemon {
    /// This machine's daemon, and those of the root file systems in the directory that the environment
    /// variable `OFFLOAD_ROOTS` names (made by `debootstrap`, with nix-bin installed in them).
    pub(crate) fn all() -> Vec<Daemon> {
        if !is_root() {
            let reason = Err("only root can make a nix-daemon open a store itself");
            testbed::runs_here("conversations with real nix-daemons", reason);
            return Vec::new();
        }
        let mut daemons = Vec::new();
        if std::process::Command::new("nix-daemon")
            .arg("--version")
            .output()
            .is_ok()
        {
            daemons.push(Daemon::here());
        } else {
            let reason = Err("this machine has no nix-daemon");
            testbed::runs_here("conversations with real nix-daemons", reason);
        }
        daemons.extend(roots("usr/bin/nix-daemon").into_iter().map(Daemon::within));
        daemons
    }

    fn here() -> Daemon {
        let directory = TempDir::with_prefix("worker-protocol-").expect("a temporary directory");
        let store = directory.path().join("store");
        std::fs::create_dir_all(&store).expect("a store directory");
        std::fs::create_dir_all(directory.path().join("etc")).expect("a configuration directory");
        std::fs::write(directory.path().join("etc/nix.conf"), CONFIG).expect("a configuration");
        let store = store.to_str().expect("it is UTF-8");
        let store_dir = StoreDir::new(store).expect("a store directory");
        Daemon {
            directory,
            store_dir,
            root: None,
        }
    }

    fn within(root: PathBuf) -> Daemon {
        let directory = TempDir::with_prefix("worker-protocol-").expect("a temporary directory");
        std::fs::create_dir_all(directory.path().join("state/etc/nix")).expect("a directory");
        std::fs::create_dir_all(directory.path().join("scratch")).expect("a directory");
        std::fs::write(directory.path().join("state/etc/nix/nix.conf"), CONFIG).expect("a file");
        Daemon {
            directory,
            store_dir: StoreDir::NIX,
            root: Some(root),
        }
    }

    pub(crate) fn connect(&self, options: Options) -> (DaemonClient, Child) {
        let mut command = self.command("nix-daemon");
        let mut child = command
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nix-daemon starts");
        let writer = child.stdin.take().expect("it is piped");
        let reader = child.stdout.take().expect("it is piped");
        (Client::new(reader, writer, options), child)
    }
}

impl Daemon {
    /// Starts it as one that listens, and returns its socket; nothing if its store is not where most are.
    pub(crate) async fn listen(&self) -> Option<(PathBuf, Child)> {
        self.root.as_ref()?;
        let state = self.directory.path().join("state");
        let socket = state.join("nix/var/nix/daemon-socket/socket");
        let mut command = self.command("nix-daemon");
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nix-daemon starts");
        appears(&socket).await;
        Some((socket, process))
    }

    /// The version of its programs.
    pub(crate) async fn version(&self) -> String {
        version_of(self.command("nix-daemon")).await
    }

    /// One of Nix's programs, over the same store.
    pub(crate) fn command(&self, program: &str) -> Command {
        let at = |name: &str| self.directory.path().join(name);
        let mut command = match &self.root {
            None => {
                let mut command = Command::new(program);
                command
                    .env("NIX_STORE_DIR", at("store"))
                    .env("NIX_STATE_DIR", at("state"))
                    .env("NIX_LOG_DIR", at("log"))
                    .env("NIX_CONF_DIR", at("etc"))
                    .env("NIX_LOCALSTATE_DIR", at("state"));
                command
            }
            Some(root) => enter(root, self.directory.path(), &[program]),
        };
        command.env_remove("NIX_REMOTE");
        command
    }

    /// A directory for sockets and files, as this process sees it and as the programs see it.
    pub(crate) fn shared(&self) -> (PathBuf, PathBuf) {
        let outside = self.directory.path().join("state/run/peer");
        std::fs::create_dir_all(&outside).expect("a directory");
        match self.root {
            None => (outside.clone(), outside),
            Some(_) => (outside, PathBuf::from("/run/peer")),
        }
    }
}

/// A guix-daemon in a root file system, over a store of its own.
pub(crate) struct GuixDaemon {
    directory: TempDir,
    pub(crate) root: PathBuf,
    _process: Child,
}

impl GuixDaemon {
    /// Those of the root file systems in the directory that `OFFLOAD_ROOTS` names.
    pub(crate) async fn all() -> Vec<GuixDaemon> {
        let mut daemons = Vec::new();
        if !is_root() {
            eprintln!("not asked for: only root can run a guix-daemon");
            return daemons;
        }
        for root in roots("usr/bin/guix-daemon") {
            daemons.push(GuixDaemon::start(&root).await);
        }
        daemons
    }

    async fn start(root: &Path) -> GuixDaemon {
        let directory = TempDir::with_prefix("worker-protocol-").expect("a temporary directory");
        std::fs::create_dir_all(directory.path().join("scratch")).expect("a directory");
        std::fs::create_dir_all(directory.path().join("state/run/peer")).expect("a directory");
        let arguments = [
            "guix-daemon",
            "--disable-chroot",
            "--no-substitutes",
            "--listen=/run/peer/socket",
        ];
        let process = enter(root, directory.path(), &arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("guix-daemon starts");
        let root = root.to_owned();
        let daemon = GuixDaemon {
            directory,
            root,
            _process: process,
        };
        appears(&daemon.socket()).await;
        daemon
    }

    /// The version of its programs.
    pub(crate) async fn version(&self) -> String {
        version_of(self.command(&["guix-daemon"])).await
    }

    /// A program of the same root file system, over the same store.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut command = enter(&self.root, self.directory.path(), command);
        command
            .env("HOME", "/root")
            .env("GUIX_DAEMON_SOCKET", "/run/peer/socket")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// A directory of this process as that file system sees it, and the directory that is `/gnu/store` there.
    pub(crate) fn shared(&self) -> (PathBuf, PathBuf) {
        let state = self.directory.path().join("state");
        (state.join("run/peer"), state.join("gnu/store"))
    }

    fn socket(&self) -> PathBuf {
        self.shared().0.join("socket")
    }

    pub(crate) async fn connect(&self, options: Options) -> Client<OwnedReadHalf, OwnedWriteHalf> {
        let stream = UnixStream::connect(self.socket())
            .await
            .expect("it listens");
        let (reader, writer) = stream.into_split();
        Client::new(reader, writer, options)
    }
}

/// Waits for a daemon to listen.
async fn appears(socket: &Path) {
    for _ in 0..300 {
        if UnixStream::connect(socket).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("nobody listens at {}", socket.display());
}

/// The last word of the first line that `--version` prints.
async fn version_of(mut command: Command) -> String {
    let output = command.arg("--version").output().await.expect("it starts");
    let text = String::from_utf8(output.stdout).expect("it prints UTF-8");
    let line = text.lines().next().expect("it prints a line");
    line.rsplit(' ')
        .next()
        .expect("a line has a word")
        .to_owned()
}

fn enter(root: &Path, directory: &Path, command: &[&str]) -> Command {
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", ENTER, "sh"])
        .args(command)
        .env("ROOT", root)
        .env("SCRATCH", directory.join("scratch"))
        .env("STATE", directory.join("state"));
    unshare
}

fn is_root() -> bool {
    let uid =
        std::fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data));
    matches!(uid, Ok(0))
}

fn roots(program: &str) -> Vec<PathBuf> {
    let Some(directory) = std::env::var_os("OFFLOAD_ROOTS") else {
        eprintln!("not asked for: other daemons, as OFFLOAD_ROOTS is not set");
        return Vec::new();
    };
    let entries = std::fs::read_dir(directory).expect("OFFLOAD_ROOTS is a directory");
    let mut roots: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|root| root.join(program).exists())
        .collect();
    roots.sort();
    roots
}

/// The archive of a regular file.
pub(crate) fn file_nar(contents: &[u8], executable: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out);
    encoder
        .text("nix-archive-1")
        .text("(")
        .text("type")
        .text("regular");
    if executable {
        encoder.text("executable").text("");
    }
    encoder.text("contents").bytes(contents).text(")");
    out
}

/// A content-addressed path with a file's archive.
pub(crate) fn source(store_dir: &StoreDir, name: &str, nar: &[u8]) -> ValidPathInfo {
    let hash = HashAlgorithm::Sha256.hash(nar);
    let address = ContentAddress {
        method: ContentAddressMethod::Recursive,
        hash,
    };
    let path = store_dir
        .make_fixed_output_path(name, &address)
        .expect("a good name");
    let info = PathInfo::new(NarHash::of(nar), nar.len() as u64).with_content_address(address);
    ValidPathInfo { path, info }
}
