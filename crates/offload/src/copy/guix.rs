//! Inputs to a guix-daemon. It takes what is content-addressed from anybody and unsigned: texts as they come,
//! archives one per round trip. Anything else comes in an export stream signed with the coordinator's key.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use guix_signature::ItemHasher;
use nar::Dump;
use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StorePath};
use tokio::time::Instant;
use worker_protocol::client::{NarUpload, Ticket};
use worker_protocol::export::{Trailer, encode_next};
use worker_protocol::operation::{AddTextToStore, AddToStore, ImportPaths, UploadOperation};
use worker_protocol::wire::{Encoder, Text};
use worker_protocol::{Context, Error, ValidPathInfo, Value, Version};

use super::{CHUNK, SENDING, in_order};
use crate::failure::{Failure, RemoteFailure};
use crate::local::{GuixStore, Signer};
use crate::log::{Copying, Level, Log};
use crate::remote::{Importer, Reader, Remote, Writer, finish, reply, unless_silent};

/// Most paths that are sent one by one. More go in one stream.
const MAX_SINGLE: usize = 32;
/// Largest stream that is sent through the daemon, in bytes of archives: it asks for 32 KiB per
/// round trip. A larger one is worth the half second that `guix archive --import` takes to start.
const MAX_LOCK_STEP: u64 = 256 << 10;
/// Largest file that is read to find out whether its path follows from its contents, in bytes.
const MAX_TEXT: u64 = 1 << 20;

/// What a machine lacks, and how it gets there.
struct Load {
    info: ValidPathInfo,
    manner: Manner,
}

/// How a path can be sent.
enum Manner {
    /// As the text of a file, references beside it.
    Text(Vec<u8>),
    /// As an archive whose hash, or whose file's hash, makes the path.
    Archive(ContentAddressMethod),
    /// With a signature only.
    Signed,
}

/// Texts that are on their way, references before what refers to them: their claims, and the paths that have to
/// come of them.
#[derive(Debug, Default)]
pub(crate) struct SentTexts(Vec<(Ticket<AddTextToStore>, StorePath)>);

/// Sends `missing` to the machine. Returns when it has taken them in, but for texts: their replies are not waited
/// for, so that what follows can leave with them; [`confirm`] does that.
pub(crate) async fn send(
    remote: &mut Remote,
    store: &GuixStore,
    missing: &BTreeSet<StorePath>,
    log: &mut Log,
) -> Result<SentTexts, Failure> {
    if missing.is_empty() {
        return Ok(SentTexts::default());
    }
    let loads: Vec<_> = in_order(&store.local, missing)?
        .into_iter()
        .map(|info| manner(store, &info).map(|manner| Load { info, manner }))
        .collect::<Result<_, _>>()?;
    let size: u64 = loads.iter().map(|load| load.info.info.nar_size).sum();
    let message = format!(
        "sending {} to '{}'...",
        items(loads.len(), size),
        remote.name()
    );
    log.daemon.message(Level::Notice, &message);
    let name = remote.name().to_owned();
    let mut copying = log
        .daemon
        .start_copying(loads.len() as u64, size, "local", &name);
    let sent = send_all(remote, store, &loads, size, &mut copying, log).await;
    log.daemon.stop_copying(copying);
    sent
}

/// Waits until the machine has taken in what was sent.
pub(crate) async fn confirm(
    remote: &mut Remote,
    store: &GuixStore,
    sent: SentTexts,
    log: &mut Log,
) -> Result<(), Failure> {
    for (ticket, path) in sent.0 {
        let added = reply(remote.worker(), ticket, log).await;
        check(store, &path, &added.map_err(|error| error.during(SENDING))?)?;
    }
    Ok(())
}

async fn send_all(
    remote: &mut Remote,
    store: &GuixStore,
    loads: &[Load],
    size: u64,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<SentTexts, Failure> {
    let is_signed = |load: &Load| matches!(load.manner, Manner::Signed);
    if loads.len() > MAX_SINGLE || loads.iter().any(is_signed) {
        send_stream(remote, store, loads, size, copying, log).await?;
        return Ok(SentTexts::default());
    }
    // These refer to nothing, and nothing can leave with them.
    for load in loads {
        if let Manner::Archive(method) = load.manner {
            send_content(remote, store, &load.info, method, copying, log).await?;
        }
    }
    let mut sent = SentTexts::default();
    for load in loads {
        if let Manner::Text(contents) = &load.manner {
            let request = AddTextToStore {
                name: Text::from(load.info.path.name()),
                contents: Text::from(contents.clone()),
                references: load.info.info.references.clone(),
            };
            let ticket = remote.queue_text(&request).await?;
            sent.0.push((ticket, load.info.path.clone()));
        }
    }
    Ok(sent)
}

/// `3 store items (2 MiB)`
fn items(count: usize, size: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} store item{plural} ({} MiB)", size >> 20)
}

/// Whether the path follows from the content, and how.
fn manner(store: &GuixStore, path: &ValidPathInfo) -> Result<Manner, Failure> {
    let ValidPathInfo { path, info } = path;
    let place = store.local.real_path(path);
    if path.is_derivation() {
        return Ok(Manner::Text(store.local.read_derivation(path)?));
    }
    let store_dir = store.local.store_dir();
    let is = |method, hash| {
        let address = ContentAddress { method, hash };
        let references = info.references.iter().map(StorePath::as_path_ref);
        let made = store_dir.make_content_addressed_path(path.name(), &address, references, false);
        made.as_ref() == Ok(path)
    };
    if info.references.is_empty() && is(ContentAddressMethod::Recursive, info.nar_hash.hash()) {
        return Ok(Manner::Archive(ContentAddressMethod::Recursive));
    }
    let Some(text) = small_file(&place, info.nar_size) else {
        return Ok(Manner::Signed);
    };
    let hash = HashAlgorithm::Sha256.hash(&text);
    if is(ContentAddressMethod::Text, hash) {
        return Ok(Manner::Text(text));
    }
    if info.references.is_empty() && is(ContentAddressMethod::Flat, hash) {
        return Ok(Manner::Archive(ContentAddressMethod::Flat));
    }
    Ok(Manner::Signed)
}

/// The contents of a regular file that is not executable and not large.
fn small_file(place: &Path, size: u64) -> Option<Vec<u8>> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = place.symlink_metadata().ok()?;
    let is_plain = metadata.is_file() && metadata.permissions().mode() & 0o111 == 0;
    if size > MAX_TEXT || metadata.len() > MAX_TEXT || !is_plain {
        return None;
    }
    std::fs::read(place).ok()
}

/// Sends an archive from which its path follows by `method`.
async fn send_content(
    remote: &mut Remote,
    store: &GuixStore,
    info: &ValidPathInfo,
    method: ContentAddressMethod,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<(), Failure> {
    let request = AddToStore {
        name: Text::from(info.path.name()),
        method,
        algorithm: HashAlgorithm::Sha256,
        references: BTreeSet::new(),
        repair: false,
    };
    let client = remote.worker();
    let failed = |error: Error| RemoteFailure::from(error).during(SENDING);
    let answer = client.answer;
    let upload = client.upload(&request).await.map_err(failed)?;
    let mut upload = Bounded { upload, answer };
    send_archive(store, info, &mut upload, None, copying, log).await?;
    let finished = upload.finish(log).await;
    let ticket = finished.map_err(|error| error.during(SENDING))?;
    let added = reply(client, ticket, log).await;
    let added = added.map_err(|error| error.during(SENDING))?;
    check(store, &info.path, &added.path)
}

/// What the machine has made must be what was sent.
fn check(store: &GuixStore, sent: &StorePath, made: &StorePath) -> Result<(), Failure> {
    match made == sent {
        true => Ok(()),
        false => Err(Failure::OtherInput {
            input: store.local.store_dir().print(sent),
            made: store.local.store_dir().print(made),
        }),
    }
}

/// Sends everything in one signed stream: by a command where it is worth that, and through the
/// daemon where there is no such command.
async fn send_stream(
    remote: &mut Remote,
    store: &GuixStore,
    loads: &[Load],
    size: u64,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<(), Failure> {
    let mut signer = store.keys.signer()?;
    let paths: Vec<_> = loads.iter().map(|load| &load.info).collect();
    if size <= MAX_LOCK_STEP {
        return send_in_lock_step(remote, store, &paths, &mut signer, copying, log).await;
    }
    let by_command = send_by_command(remote, store, &paths, &mut signer, copying, log).await;
    if let Err(failure @ (Failure::Local(_) | Failure::Dump(_))) = by_command {
        return Err(failure);
    }
    // The command's own words do not tell success from failure.
    let all = paths.iter().map(|path| path.path.clone()).collect();
    let valid = remote.valid(all, log).await?;
    let rest: Vec<_> = paths
        .into_iter()
        .filter(|path| !valid.contains(&path.path))
        .collect();
    if rest.is_empty() {
        return Ok(());
    }
    if let Err(failure) = by_command {
        let message = format!(
            "offload: {} does not import by a command, but through its daemon: {failure}",
            remote.name()
        );
        log.daemon.message(Level::Notice, &message);
    }
    send_in_lock_step(remote, store, &rest, &mut signer, copying, log).await
}

async fn send_by_command(
    remote: &mut Remote,
    store: &GuixStore,
    paths: &[&ValidPathInfo],
    signer: &mut Signer,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<(), Failure> {
    let mut importer = remote.start_import().await?;
    write_stream(store, paths, signer, &mut importer, copying, log).await?;
    let finished = importer.finish().await;
    finished.map_err(|error| error.during(SENDING))
}

async fn send_in_lock_step(
    remote: &mut Remote,
    store: &GuixStore,
    paths: &[&ValidPathInfo],
    signer: &mut Signer,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<(), Failure> {
    let failed = |error: Error| RemoteFailure::from(error).during(SENDING);
    let client = remote.worker();
    let answer = client.answer;
    let upload = client.upload(&ImportPaths {}).await.map_err(failed)?;
    let mut upload = Bounded { upload, answer };
    write_stream(store, paths, signer, &mut upload, copying, log).await?;
    let finished = upload.finish(log).await;
    let ticket = finished.map_err(|error| error.during(SENDING))?;
    let imported = reply(client, ticket, log).await;
    imported.map(drop).map_err(|error| error.during(SENDING))
}

/// Where a stream or an archive goes.
trait Sink {
    async fn write(&mut self, data: &[u8], log: &mut Log) -> Result<(), RemoteFailure>;
}

impl Sink for Importer {
    async fn write(&mut self, data: &[u8], _: &mut Log) -> Result<(), RemoteFailure> {
        Importer::write(self, data).await
    }
}

/// An upload, and how long a piece may take to be taken in.
struct Bounded<'a, O: UploadOperation> {
    upload: NarUpload<'a, Reader, Writer, O>,
    answer: Duration,
}

impl<O: UploadOperation> Bounded<'_, O> {
    async fn finish(self, log: &mut Log) -> Result<Ticket<O>, RemoteFailure> {
        finish(self.upload, self.answer, log).await
    }
}

impl<O: UploadOperation> Sink for Bounded<'_, O> {
    async fn write(&mut self, data: &[u8], log: &mut Log) -> Result<(), RemoteFailure> {
        let heard = Cell::new(Instant::now());
        let mut forward = |message| log.forward(message);
        let written = self.upload.write(data, &mut forward);
        unless_silent(self.answer, &heard, written).await
    }
}

/// Writes the export stream of `paths`, each signed.
async fn write_stream(
    store: &GuixStore,
    paths: &[&ValidPathInfo],
    signer: &mut Signer,
    sink: &mut impl Sink,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<(), Failure> {
    let context = Context::new(store.local.store_dir().clone(), Version::GUIX_NEWEST);
    let mut between = Vec::new();
    for path in paths {
        encode_next(&mut between, true);
        let written = sink.write(&between, log).await;
        written.map_err(|error| error.during(SENDING))?;
        between.clear();
        let message = format!(
            "exporting path `{}'",
            store.local.store_dir().print(&path.path)
        );
        log.daemon.message(Level::Notice, &message);
        let mut hasher = ItemHasher::new();
        send_archive(store, path, sink, Some(&mut hasher), copying, log).await?;
        let mut trailer = Trailer {
            path: path.path.clone(),
            references: path.info.references.iter().cloned().collect(),
            deriver: path.info.deriver.clone(),
            signature: None,
        };
        let hash = hasher.finish(&trailer.signed_bytes(&context));
        trailer.signature = Some(Text::from(signer.sign(&hash).await?));
        trailer.encode(&mut Encoder::new(&mut between), &context);
    }
    encode_next(&mut between, false);
    let written = sink.write(&between, log).await;
    written.map_err(|error| error.during(SENDING))
}

async fn send_archive(
    store: &GuixStore,
    path: &ValidPathInfo,
    sink: &mut impl Sink,
    mut hasher: Option<&mut ItemHasher>,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<(), Failure> {
    let name = store.local.store_dir().print(&path.path);
    log.daemon.start_path(copying, &name, path.info.nar_size);
    let mut dump = Dump::new(store.local.real_path(&path.path))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = dump.fill(&mut buffer)?;
        if length == 0 {
            log.daemon.stop_path(copying);
            return Ok(());
        }
        if let Some(hasher) = &mut hasher {
            hasher.update(&buffer[..length]);
        }
        let written = sink.write(&buffer[..length], log).await;
        written.map_err(|error| error.during(SENDING))?;
        log.daemon.progress(copying, length as u64);
    }
}
