//! The machine's store daemon: the worker protocol's server half over a directory store.

use std::collections::BTreeSet;
use std::io;
use std::process::Stdio;
use std::sync::Arc;

use nar::Dump;
use store_path::StorePath;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;
use worker_protocol::log::{ActivityKind, Field, Level, ResultKind};
use worker_protocol::operation::{
    AddMultipleToStore, AddTempRoot, AddToStoreNar, BuildDerivation, IsValidPath, NarFromPath,
    QueryPathInfo, QueryValidPaths, SetOptions,
};
use worker_protocol::server::{Options, Server};
use worker_protocol::wire::{Decoder, Encoder, Stop};
use worker_protocol::{
    BuildResult, BuildStatus, Context, Done, DrvOutput, Error, Log, Operation, PathInfo,
    Realisation, RemoteError, Request, ValidPathInfo, Version,
};

use super::misbehaviour::{alter, described, invented};
use super::{DirectoryStore, Misbehaviour};

/// The number of the only activity that a conversation has: its build.
const BUILD: u64 = 1;

/// [`QueryPathInfo`], as if an archive stood where the reply is waited for.
struct Swapped;

impl Operation for Swapped {
    const NUMBER: u64 = QueryPathInfo::NUMBER;
    const NAME: &'static str = QueryPathInfo::NAME;
    const RAW_REPLY: bool = true;
    type Reply = ();

    fn exists(_: Version) -> bool {
        true
    }

    fn encode(&self, _: &mut Encoder<'_>, _: &Context) {}

    fn decode(_: &mut Decoder<'_>, _: &Context) -> Result<Swapped, Stop> {
        Ok(Swapped)
    }

    fn encode_reply(_: &(), _: &mut Encoder<'_>, _: &Context) {}

    fn decode_reply(_: &mut Decoder<'_>, _: &Context) -> Result<(), Stop> {
        Ok(())
    }
}

/// Serves one connection until the client hangs up.
pub(super) async fn serve<R, W>(
    reader: R,
    writer: W,
    store: Arc<DirectoryStore>,
    misbehaviour: Option<Misbehaviour>,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let version = concat!("offload ", env!("CARGO_PKG_VERSION"));
    let options = Options::nix(store.store_dir().clone(), version);
    let mut connection = Connection {
        server: Server::new(reader, writer, options),
        store,
        misbehaviour,
    };
    while let Some(request) = connection.server.next_request().await? {
        if misbehaviour == Some(Misbehaviour::KeepsSilent) {
            connection.server.hung_up().await;
            return Ok(());
        }
        connection.handle(request).await?;
    }
    Ok(())
}

struct Connection<R, W> {
    server: Server<R, W>,
    store: Arc<DirectoryStore>,
    misbehaviour: Option<Misbehaviour>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Connection<R, W> {
    async fn handle(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::SetOptions(_) => self.server.answer::<SetOptions>(&()).await,
            Request::AddTempRoot(_) => self.server.answer::<AddTempRoot>(&Done).await,
            Request::IsValidPath(request) => {
                let valid = self.store.info(&request.path).is_some();
                self.server.answer::<IsValidPath>(&valid).await
            }
            Request::QueryValidPaths(request) => {
                let valid = self.store.valid(&request.paths);
                self.server.answer::<QueryValidPaths>(&valid).await
            }
            Request::QueryPathInfo(request) => {
                let info = self.store.info(&request.path);
                let info = info.map(|info| self.told(&request.path, info));
                match self.misbehaviour {
                    Some(Misbehaviour::TalksWithoutEnd) => self.talk().await,
                    Some(Misbehaviour::SwapsReplies) => self.swap(&request.path).await,
                    _ => self.server.answer::<QueryPathInfo>(&info).await,
                }
            }
            Request::AddToStoreNar(request) => match self.add(request.path).await? {
                Ok(()) => self.server.answer::<AddToStoreNar>(&()).await,
                Err(error) => self.fail(error).await,
            },
            Request::AddMultipleToStore(_) => self.add_multiple().await,
            Request::BuildDerivation(request) => self.build(request).await,
            Request::NarFromPath(request) => self.send_archive(&request.path).await,
            other => {
                let error = format!("this store has no operation {}", other.name());
                self.fail(io::Error::other(error)).await
            }
        }
    }

    /// What the machine says of a path of which it knows `info`.
    fn told(&self, path: &StorePath, info: PathInfo) -> PathInfo {
        let archive = self.misbehaviour.and_then(Misbehaviour::archive);
        let mut told = match archive {
            Some(archive) => described(&archive, info),
            None => info,
        };
        if self.misbehaviour == Some(Misbehaviour::InventsReferences) {
            told.references.insert(invented());
        }
        if self.misbehaviour == Some(Misbehaviour::RefersToItself) {
            told.references.insert(path.clone());
        }
        told
    }

    /// Sends an archive where what is known of it is asked for, and waits for the end.
    async fn swap(&mut self, path: &StorePath) -> Result<(), Error> {
        self.server.answer::<Swapped>(&()).await?;
        if let Ok(dump) = Dump::new(self.store.file(path)) {
            self.send_dump(dump).await?;
        }
        self.server.flush().await?;
        self.server.hung_up().await;
        Ok(())
    }

    /// Ends when the client hangs up.
    async fn talk(&mut self) -> Result<(), Error> {
        loop {
            let text = "and another thing ".repeat(1000);
            self.server.log(Log::Next(text.into())).await?;
            self.server.flush().await?;
        }
    }

    async fn fail(&mut self, error: io::Error) -> Result<(), Error> {
        self.server.fail(RemoteError::new(error.to_string())).await
    }

    async fn add_multiple(&mut self) -> Result<(), Error> {
        while let Some(path) = self.server.next_path().await? {
            if let Err(error) = self.add(path).await? {
                return self.fail(error).await;
            }
        }
        self.server.answer::<AddMultipleToStore>(&()).await
    }

    /// Takes the archive that follows. The inner error is the store's, and does not end the
    /// conversation.
    async fn add(&mut self, path: ValidPathInfo) -> Result<io::Result<()>, Error> {
        if self.misbehaviour == Some(Misbehaviour::RefusesInputs) {
            return Ok(Err(io::Error::other("no space left on device")));
        }
        let mut restore = match self.store.restore(&path.path) {
            Ok(restore) => restore,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let chunk = self.server.upload_chunk().await?;
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len();
            if let Err(error) = restore.write(chunk) {
                return Ok(Err(io::Error::other(error)));
            }
            self.server.consume_upload(length);
        }
        if let Err(error) = restore.finish() {
            return Ok(Err(io::Error::other(error)));
        }
        self.store.register(path);
        Ok(Ok(()))
    }

    async fn build(&mut self, request: BuildDerivation) -> Result<(), Error> {
        let start = Log::StartActivity {
            id: BUILD,
            level: Level::INFO,
            kind: ActivityKind::BUILD,
            text: format!("building {}", request.path).into(),
            fields: vec![],
            parent: 0,
        };
        self.server.log(start).await?;
        while self.misbehaviour == Some(Misbehaviour::LogsWithoutEnd) {
            self.log_line(b"still at it".repeat(100)).await?;
        }
        let built = match request
            .derivation
            .outputs
            .values()
            .any(|o| o.path.is_empty())
        {
            true => self.invent(&request),
            false => self.run_builder(&request).await?,
        };
        let result = match built {
            Ok(result) => result,
            Err(error) => {
                let mut result = BuildResult::new(BuildStatus::MiscFailure);
                result.error = error.to_string().into();
                result
            }
        };
        self.server.log(Log::StopActivity { id: BUILD }).await?;
        self.server.answer::<BuildDerivation>(&result).await
    }

    /// Runs the builder in a directory of its own, its output as lines of the log.
    async fn run_builder(
        &mut self,
        request: &BuildDerivation,
    ) -> Result<io::Result<BuildResult>, Error> {
        let derivation = &request.derivation;
        let (mut builder, output) = match prepare(request) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let mut child = match builder.command.spawn() {
            Ok(child) => child,
            Err(error) => return Ok(Err(error)),
        };
        // The write end of its output is held by the child alone from here on.
        let _directory = builder.directory;
        drop(builder.command);
        let mut lines = BufReader::new(output).split(b'\n');
        let status = loop {
            tokio::select! {
                line = lines.next_segment() => match line {
                    Ok(Some(line)) => self.log_line(line).await?,
                    _ => break child.wait().await,
                },
                // Nobody waits for the build any more: dropping the child ends it.
                () = self.server.hung_up() => break Err(io::ErrorKind::BrokenPipe.into()),
            }
        };
        let status = match status {
            Ok(status) => status,
            Err(error) => return Ok(Err(error)),
        };
        if !status.success() {
            let mut result = BuildResult::new(BuildStatus::PermanentFailure);
            result.error = format!("builder failed: {status}").into();
            return Ok(Ok(result));
        }
        let outputs = self.outputs(request);
        let candidates: BTreeSet<_> = derivation
            .input_sources
            .iter()
            .chain(&outputs)
            .cloned()
            .collect();
        for output in &outputs {
            if let Err(error) = self
                .store
                .register_output(output, &request.path, &candidates)
            {
                return Ok(Err(error));
            }
        }
        Ok(Ok(BuildResult::new(BuildStatus::Built)))
    }

    /// Makes up a floating output.
    fn invent(&self, request: &BuildDerivation) -> io::Result<BuildResult> {
        let (store_dir, misbehaviour) = (self.store.store_dir(), self.misbehaviour);
        let misbehaviour = misbehaviour.ok_or(io::ErrorKind::Unsupported)?;
        let (path, content, address) = misbehaviour.floating_output(store_dir, &request.path);
        std::fs::write(self.store.file(&path), content)?;
        self.store
            .register_output(&path, &request.path, &BTreeSet::new())?;
        let info = self.store.info(&path).ok_or(io::ErrorKind::NotFound)?;
        let info = info.with_content_address(address);
        let out_path = path.clone();
        self.store.register(ValidPathInfo { path, info });
        let id = DrvOutput {
            derivation_hash: misbehaviour.derivation_hash(store_dir, &request.derivation),
            output: "out".to_owned(),
        };
        let realisation = Realisation::new(id.clone(), out_path);
        let mut result = BuildResult::new(BuildStatus::Built);
        result.built_outputs.insert(id, realisation);
        Ok(result)
    }

    fn outputs(&self, request: &BuildDerivation) -> BTreeSet<StorePath> {
        let paths = request.derivation.outputs.values();
        paths
            .filter_map(|output| self.store.store_dir().parse(output.path.to_str()?).ok())
            .collect()
    }

    async fn log_line(&mut self, line: Vec<u8>) -> Result<(), Error> {
        let line = Log::Result {
            id: BUILD,
            kind: ResultKind::BUILD_LOG_LINE,
            fields: vec![Field::Text(line.into())],
        };
        self.server.log(line).await?;
        self.server.flush().await
    }

    async fn send_archive(&mut self, path: &StorePath) -> Result<(), Error> {
        let dump = match Dump::new(self.store.file(path)) {
            Ok(dump) if self.store.info(path).is_some() => dump,
            _ => {
                return self
                    .fail(io::Error::other(format!("path {path} is not valid")))
                    .await;
            }
        };
        self.server.answer::<NarFromPath>(&()).await?;
        if let Some(archive) = self.misbehaviour.and_then(Misbehaviour::archive) {
            return self.server.raw(&archive).await;
        }
        if let Some((begin, more)) = self.misbehaviour.and_then(Misbehaviour::without_end) {
            self.server.raw(&begin).await?;
            loop {
                self.server.raw(&more).await?;
            }
        }
        self.send_dump(dump).await
    }

    async fn send_dump(&mut self, mut dump: Dump) -> Result<(), Error> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = dump.fill(&mut buffer).unwrap_or(0);
            match self.misbehaviour {
                Some(Misbehaviour::CutsArchives) => {
                    self.server.raw(&buffer[..length / 2]).await?;
                    self.server.flush().await?;
                    return Err(Error::Remote(RemoteError::new("cut")));
                }
                Some(Misbehaviour::AltersArchives) if length > 0 => alter(&mut buffer[..length]),
                _ => {}
            }
            if length == 0 {
                return Ok(());
            }
            self.server.raw(&buffer[..length]).await?;
        }
    }
}

struct Builder {
    command: Command,
    directory: tempfile::TempDir,
}

/// The builder's process, and the end of the pipe that its output comes from.
fn prepare(request: &BuildDerivation) -> io::Result<(Builder, pipe::Receiver)> {
    let derivation = &request.derivation;
    let directory = tempfile::tempdir()?;
    let (receiver, sender) = io::pipe()?;
    let mut command = Command::new(os(&derivation.builder));
    command
        .args(derivation.arguments.iter().map(|argument| os(argument)))
        .env_clear()
        .env("NIX_BUILD_TOP", directory.path())
        .env("TMPDIR", directory.path())
        .env("HOME", "/homeless-shelter")
        .envs(
            derivation
                .environment
                .iter()
                .map(|(name, value)| (os(name), os(value))),
        )
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(sender.try_clone()?)
        .stderr(sender)
        .kill_on_drop(true);
    let receiver = pipe::Receiver::from_owned_fd(receiver.into())?;
    Ok((Builder { command, directory }, receiver))
}

fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}
