use std::process::Stdio;

use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use worker_protocol::client::{Client, Options};
use worker_protocol::wire::Encoder;
use worker_protocol::{NarHash, PathInfo, ValidPathInfo};

/// This machine's nix-daemon over a store of its own.
pub(crate) struct Daemon {
    pub(crate) directory: TempDir,
    pub(crate) store_dir: StoreDir,
}

pub(crate) type DaemonClient = Client<ChildStdout, ChildStdin>;

impl Daemon {
    pub(crate) fn is_here() -> Result<(), String> {
        let uid =
            std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me));
        if !matches!(uid, Ok(0)) {
            return Err("only root can make it open a store itself".to_owned());
        }
        let mut command = std::process::Command::new("nix-daemon");
        match command.arg("--version").output() {
            Ok(output) => {
                eprint!("{}", String::from_utf8_lossy(&output.stdout));
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn new() -> Daemon {
        let directory = TempDir::with_prefix("worker-protocol-").expect("a temporary directory");
        for name in ["store", "etc"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        let config =
            "sandbox = false\nbuild-users-group =\nsubstituters =\nfsync-metadata = false\n";
        std::fs::write(directory.path().join("etc/nix.conf"), config).expect("a file");
        let store = directory.path().join("store");
        let store_dir = StoreDir::new(store.to_str().expect("it is UTF-8"));
        Daemon {
            directory,
            store_dir: store_dir.expect("a store directory"),
        }
    }

    pub(crate) fn start(&self) -> (ChildStdout, ChildStdin, Child) {
        let at = |name: &str| self.directory.path().join(name);
        let mut process = Command::new("nix-daemon")
            .arg("--stdio")
            .env_remove("NIX_REMOTE")
            .env("NIX_STORE_DIR", at("store"))
            .env("NIX_STATE_DIR", at("state"))
            .env("NIX_LOG_DIR", at("log"))
            .env("NIX_CONF_DIR", at("etc"))
            .env("NIX_LOCALSTATE_DIR", at("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nix-daemon starts");
        let writer = process.stdin.take().expect("it is piped");
        let reader = process.stdout.take().expect("it is piped");
        (reader, writer, process)
    }

    pub(crate) async fn connect(&self) -> (DaemonClient, Child) {
        let (reader, writer, process) = self.start();
        let mut client = Client::new(reader, writer, Options::nix(self.store_dir.clone()));
        client.handshake(&mut |_| {}).await.expect("a handshake");
        (client, process)
    }
}

pub(crate) fn path(number: u32) -> StorePath {
    let hash = HashAlgorithm::Sha256.hash(&number.to_le_bytes());
    let digest = hash.digest()[..20].try_into().expect("it is longer");
    StorePath::from_parts(digest, "a-package-1.2.3").expect("a good name")
}

/// A path with its archive.
pub(crate) type Source = (ValidPathInfo, Vec<u8>);

/// A content-addressed path with a file's archive.
pub(crate) fn source(store_dir: &StoreDir, name: &str, contents: &[u8]) -> Source {
    let mut nar = Vec::with_capacity(contents.len() + 200);
    let mut encoder = Encoder::new(&mut nar);
    for text in ["nix-archive-1", "(", "type", "regular", "contents"] {
        encoder.text(text);
    }
    encoder.bytes(contents).text(")");
    let hash = HashAlgorithm::Sha256.hash(&nar);
    let address = ContentAddress {
        method: ContentAddressMethod::Recursive,
        hash,
    };
    let path = store_dir.make_fixed_output_path(name, &address);
    let info = PathInfo::new(NarHash::of(&nar), nar.len() as u64).with_content_address(address);
    let path = path.expect("a good name");
    (ValidPathInfo { path, info }, nar)
}
