//! The coordinator's own store daemon, for everything that is not asked of a builder.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use store_path::StoreDir;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use worker_protocol::client::{Client, NarUpload, Options};

pub(super) type Daemon = Client<OwnedReadHalf, OwnedWriteHalf>;
pub(super) type DaemonUpload<'a, O> = NarUpload<'a, OwnedReadHalf, OwnedWriteHalf, O>;

/// Why this host's own store daemon cannot be used. Nothing of it is the client's doing.
#[derive(Debug, thiserror::Error)]
#[error("failed to reach this host's store daemon at {}: {reason}; {}", socket.display(), advice(*kind))]
pub(super) struct Unreachable {
    socket: PathBuf,
    reason: String,
    kind: ErrorKind,
}

/// What to do.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            "see that nix-daemon runs, or name its socket by NIX_DAEMON_SOCKET_PATH"
        }
        ErrorKind::PermissionDenied => "let the user whom the endpoint runs as connect to it",
        ErrorKind::TimedOut => {
            "see whether nix-daemon hangs (OFFLOAD_BOUNDS=connect=SECONDS waits longer)"
        }
        _ => "see what nix-daemon says",
    }
}

/// A connection to the daemon, made when it is first needed: most builds never do.
pub(super) struct LocalDaemon {
    socket: PathBuf,
    store_dir: StoreDir,
    /// How long connecting may take.
    connect: Duration,
    client: Option<Daemon>,
}

impl LocalDaemon {
    pub(super) fn new(socket: PathBuf, store_dir: StoreDir, connect: Duration) -> Self {
        LocalDaemon {
            socket,
            store_dir,
            connect,
            client: None,
        }
    }

    /// The connection, or why there is none.
    pub(super) async fn client(&mut self) -> Result<&mut Daemon, Unreachable> {
        if self.client.is_none() {
            let failed = |reason: String, kind| Unreachable {
                socket: self.socket.clone(),
                reason,
                kind,
            };
            let connecting = UnixStream::connect(&self.socket);
            let stream = match tokio::time::timeout(self.connect, connecting).await {
                Ok(connected) => {
                    connected.map_err(|error| failed(error.to_string(), error.kind()))?
                }
                Err(_) => {
                    let reason = format!("no answer within {} s", self.connect.as_secs_f64());
                    return Err(failed(reason, ErrorKind::TimedOut));
                }
            };
            let (reader, writer) = stream.into_split();
            let options = Options::nix(self.store_dir.clone());
            self.client = Some(Client::new(reader, writer, options));
        }
        Ok(self.client.as_mut().expect("it was made just now"))
    }

    /// Forgets the connection: it is of no use any more.
    pub(super) fn hang_up(&mut self) {
        self.client = None;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    async fn refusal(socket: &Path, folder: &Path) -> String {
        let connect = Duration::from_secs(10);
        let mut daemon = LocalDaemon::new(socket.to_owned(), StoreDir::NIX, connect);
        let Err(error) = daemon.client().await else {
            panic!("nobody listens");
        };
        error
            .to_string()
            .replace(&folder.display().to_string(), "DIR")
    }

    #[tokio::test]
    async fn who_is_not_there_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let [missing, deaf] = ["missing", "deaf"].map(|name| folder.path().join(name));
        drop(std::os::unix::net::UnixListener::bind(&deaf).unwrap());
        insta::assert_snapshot!(
            [refusal(&missing, folder.path()).await, refusal(&deaf, folder.path()).await].join("\n"),
            @r"
        failed to reach this host's store daemon at DIR/missing: No such file or directory (os error 2); see that nix-daemon runs, or name its socket by NIX_DAEMON_SOCKET_PATH
        failed to reach this host's store daemon at DIR/deaf: Connection refused (os error 111); see that nix-daemon runs, or name its socket by NIX_DAEMON_SOCKET_PATH
        "
        );
    }
}
