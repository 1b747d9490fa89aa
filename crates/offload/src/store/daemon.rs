//! The coordinator's own store daemon, for everything that is not asked of a builder.

use std::path::PathBuf;
use std::time::Duration;

use store_path::StoreDir;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use worker_protocol::client::{Client, NarUpload, Options};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

pub(super) type Daemon = Client<OwnedReadHalf, OwnedWriteHalf>;
pub(super) type DaemonUpload<'a, O> = NarUpload<'a, OwnedReadHalf, OwnedWriteHalf, O>;

/// A connection to the daemon, made when it is first needed: most builds never do.
pub(super) struct LocalDaemon {
    socket: PathBuf,
    store_dir: StoreDir,
    client: Option<Daemon>,
}

impl LocalDaemon {
    pub(super) fn new(socket: PathBuf, store_dir: StoreDir) -> Self {
        LocalDaemon {
            socket,
            store_dir,
            client: None,
        }
    }

    /// The connection, or why there is none.
    pub(super) async fn client(&mut self) -> Result<&mut Daemon, String> {
        if self.client.is_none() {
            let failed = |reason: String| {
                let socket = self.socket.display();
                format!("failed to reach this host's store daemon at {socket}: {reason}")
            };
            let connecting = UnixStream::connect(&self.socket);
            let stream = match tokio::time::timeout(CONNECT, connecting).await {
                Ok(connected) => connected.map_err(|error| failed(error.to_string()))?,
                Err(_) => return Err(failed(format!("no answer within {} s", CONNECT.as_secs()))),
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
