//! A real nix-daemon in a directory of its own, and archives to give it.

use std::process::Stdio;

use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StoreDir};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use worker_protocol::client::{Client, Options};
use worker_protocol::wire::Encoder;
use worker_protocol::{NarHash, PathInfo, ValidPathInfo};

pub(crate) type DaemonClient = Client<ChildStdout, ChildStdin>;

/// `nix-daemon --stdio` over a store of its own; each connection is one process.
pub(crate) struct Daemon {
    directory: TempDir,
    pub(crate) store_dir: StoreDir,
}

impl Daemon {
    /// Nothing where there is no nix-daemon or this is not root (for whom alone it opens the store itself).
    pub(crate) fn new() -> Option<Daemon> {
        let root =
            std::fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data));
        let found = std::process::Command::new("nix-daemon")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !found || !matches!(root, Ok(0)) {
            eprintln!("LEFT OUT: this test needs root and a nix-daemon");
            return None;
        }
        let directory = TempDir::with_prefix("worker-protocol-").expect("a temporary directory");
        let store = directory.path().join("store");
        std::fs::create_dir_all(&store).expect("a store directory");
        std::fs::create_dir_all(directory.path().join("etc")).expect("a configuration directory");
        let config = "sandbox = false\nbuild-users-group =\nsubstituters =\n\
                      experimental-features = nix-command ca-derivations\n";
        std::fs::write(directory.path().join("etc/nix.conf"), config).expect("a configuration");
        let store_dir =
            StoreDir::new(store.to_str().expect("it is UTF-8")).expect("a store directory");
        Some(Daemon {
            directory,
            store_dir,
        })
    }

    pub(crate) fn connect(&self, options: Options) -> (DaemonClient, Child) {
        let (reader, writer, child) = self.connect_raw();
        (Client::new(reader, writer, options), child)
    }

    pub(crate) fn connect_raw(&self) -> (ChildStdout, ChildStdin, Child) {
        let at = |name: &str| self.directory.path().join(name);
        let mut child = Command::new("nix-daemon")
            .arg("--stdio")
            .env("NIX_STORE_DIR", at("store"))
            .env("NIX_STATE_DIR", at("state"))
            .env("NIX_LOG_DIR", at("log"))
            .env("NIX_CONF_DIR", at("etc"))
            .env("NIX_LOCALSTATE_DIR", at("state"))
            .env_remove("NIX_REMOTE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nix-daemon starts");
        let writer = child.stdin.take().expect("it is piped");
        let reader = child.stdout.take().expect("it is piped");
        (reader, writer, child)
    }
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
    let info = PathInfo {
        deriver: None,
        nar_hash: NarHash(hash),
        references: Default::default(),
        registration_time: 0,
        nar_size: nar.len() as u64,
        ultimate: false,
        signatures: Default::default(),
        content_address: Some(address),
    };
    ValidPathInfo { path, info }
}
