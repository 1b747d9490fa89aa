//! A client that speaks the worker protocol with the service itself, as stock's hook would.

use std::{
    cell::Cell, collections::BTreeSet, os::unix::net::UnixStream, path::Path, time::Duration,
};

use derivation::Derivation;
use store_path::{StoreDir, StorePath};
use tokio::{
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    runtime::Runtime,
};
use worker_protocol::{
    BasicDerivation, BuildMode, BuildResult, Log,
    client::{self, Options},
    log::ResultKind,
    operation::{AddToStoreNar, BuildDerivation, NarFromPath, QueryPathInfo},
};

use super::service::Service;
use crate::bed::Bed;

/// A conversation with the service.
pub(crate) struct Client {
    pub(crate) runtime: Runtime,
    pub(crate) client: client::Client<OwnedReadHalf, OwnedWriteHalf>,
}

impl Client {
    pub(super) fn connect(service: &Service<'_>) -> Self {
        Self::over(service.connect())
    }

    /// With the daemon at that socket.
    pub(crate) fn at(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).expect("the daemon listens"))
    }

    fn over(stream: UnixStream) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
        stream.set_nonblocking(true).expect("it is a socket");
        let guard = runtime.enter();
        let stream = tokio::net::UnixStream::from_std(stream).expect("it is a socket");
        drop(guard);
        let (reader, writer) = stream.into_split();
        let client = client::Client::new(reader, writer, Options::nix(StoreDir::NIX));
        Client { runtime, client }
    }

    /// Sends a path with its archive.
    pub(super) fn add(&mut self, operation: &AddToStoreNar, archive: &[u8]) {
        let client = &mut self.client;
        self.runtime.block_on(async {
            let mut hear = |_: Log| {};
            let mut upload = client.upload(operation).await.expect("it takes it");
            upload.write(archive, &mut hear).await.expect("it takes it");
            let ticket = upload.finish(&mut hear).await.expect("it takes it");
            client.reply(ticket, &mut hear).await.expect("it adds it");
        });
    }

    /// Builds; returns what is said of the build and the output's archive.
    pub(super) fn build(&mut self, wanted: &Wanted) -> (BuildResult, Vec<u8>) {
        let path = wanted.output.clone();
        let client = &mut self.client;
        self.runtime.block_on(async {
            let mut hear = |_: Log| {};
            let result = client
                .call(&wanted.request, &mut hear)
                .await
                .expect("it answers");
            assert!(result.status.is_success(), "{result:?}");
            let asked = QueryPathInfo { path: path.clone() };
            let info = client.call(&asked, &mut hear).await.expect("it answers");
            let size = info.expect("it was built").nar_size;
            let asked = NarFromPath { path };
            client.call(&asked, &mut hear).await.expect("it answers");
            let mut archive = Vec::new();
            while (archive.len() as u64) < size {
                let chunk = client.raw_chunk().await.expect("it goes on");
                assert!(!chunk.is_empty(), "it ends after {} bytes", archive.len());
                archive.extend_from_slice(chunk);
                let length = chunk.len();
                client.consume(length);
            }
            (result, archive)
        })
    }

    /// Has something built, and hangs up once the build has printed something.
    pub(super) fn desert(mut self, wanted: &Wanted) {
        let said = Cell::new(false);
        let mut hear = |log: Log| {
            let is_line = matches!(
                log,
                Log::Result {
                    kind: ResultKind::BUILD_LOG_LINE,
                    ..
                }
            );
            said.set(said.get() || is_line);
        };
        let client = &mut self.client;
        self.runtime.block_on(async {
            let call = client.call(&wanted.request, &mut hear);
            tokio::pin!(call);
            while !said.get() {
                let look = Duration::from_millis(10);
                if let Ok(done) = tokio::time::timeout(look, &mut call).await {
                    panic!("it has not begun, and ended: {done:?}");
                }
            }
        });
    }
}

/// What a client asks for, as stock's hook does.
pub(super) struct Wanted {
    request: BuildDerivation,
    output: StorePath,
}

impl Wanted {
    /// A derivation of the coordinator's store that has one output, and its `inputs`.
    pub(super) fn new(bed: &Bed, drv: &str, inputs: &[&str]) -> Self {
        let text = std::fs::read(bed.pair.coordinator.outside(drv));
        let text = text.expect("it was instantiated there");
        let path = |path: &str| StoreDir::NIX.parse(path).expect("a store path");
        let parsed = Derivation::parse(&StoreDir::NIX, &text).expect("Nix wrote it");
        let inputs: BTreeSet<_> = inputs.iter().map(|input| path(input)).collect();
        let output = parsed.outputs.iter().next();
        let output = output.and_then(|(_, output)| Some(output.path()?.to_store_path()));
        let request = BuildDerivation {
            path: path(drv),
            derivation: BasicDerivation::new(&parsed.resolve(inputs), &StoreDir::NIX),
            mode: BuildMode::Normal,
        };
        let output = output.expect("its place is known");
        Wanted { request, output }
    }
}
