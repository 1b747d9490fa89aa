//! Inputs out, outputs in. Memory is bounded whatever the sizes; hashes are checked on the way.

pub(crate) mod guix;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nar::Dump;
use store_path::{ContentAddress, StorePath};
use tokio::time::Instant;
use worker_protocol::client::{MultipleUpload, NarUpload, Ticket};
use worker_protocol::operation::{AddMultipleToStore, AddToStoreNar};
use worker_protocol::{Error, ValidPathInfo, Version, serve};

use crate::failure::{Failure, RemoteFailure};
use crate::local::{LocalError, LocalStore, NixStore};
use crate::log::{Copying, Log};
use crate::remote::{
    ArchiveClaim, Conversation, Reader, Remote, Serve, Worker, Writer, finish, reply, unless_silent,
};

/// Bytes read from an input and sent at a time.
const CHUNK: usize = 256 << 10;
/// What is being done while inputs are sent, for messages.
const SENDING: &str = "copy inputs to the machine";

/// What is claimed of an upload's end: the replies that say that the daemon has everything.
#[derive(Debug)]
pub(crate) enum Sent {
    Nothing,
    Together(Ticket<AddMultipleToStore>),
    ByServe(Vec<Ticket<serve::AddToStoreNar>>),
}

/// Sends `missing` to the machine. The reply is not waited for where the protocol allows, so that
/// what follows leaves in the same flight; [`confirm`] does that.
pub(crate) async fn send(
    remote: &mut Remote,
    store: &LocalStore,
    missing: &BTreeSet<StorePath>,
    log: &mut Log,
) -> Result<Sent, Failure> {
    if missing.is_empty() {
        return Ok(Sent::Nothing);
    }
    let paths = in_order(store, missing)?;
    let size = paths.iter().map(|path| path.info.nar_size).sum();
    let uri = remote.uri().to_owned();
    let mut copying = log
        .daemon
        .start_copying(paths.len() as u64, size, "local", &uri);
    let sent = match &mut remote.conversation {
        Conversation::Serve(serve) => send_by_serve(serve, store, &paths, &mut copying, log).await,
        Conversation::Worker(client) => {
            let together = client
                .version()
                .is_some_and(Version::has_add_multiple_to_store);
            match together {
                true => send_together(client, store, &paths, &mut copying, log).await,
                false => send_one_by_one(client, store, &paths, &mut copying, log).await,
            }
        }
    };
    log.daemon.stop_copying(copying);
    sent
}

/// Waits until the machine has taken in what was sent.
pub(crate) async fn confirm(remote: &mut Remote, sent: Sent, log: &mut Log) -> Result<(), Failure> {
    match (sent, &mut remote.conversation) {
        (Sent::Together(ticket), Conversation::Worker(client)) => {
            let taken = reply(client, ticket, log).await;
            taken.map_err(|error| error.during(SENDING))?;
        }
        (Sent::ByServe(tickets), Conversation::Serve(serve)) => {
            for ticket in tickets {
                let taken = serve.reply(ticket, log).await;
                taken.map_err(|error| error.during(SENDING))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// References before what refers to them: a daemon registers one path after the other.
fn in_order(
    store: &LocalStore,
    missing: &BTreeSet<StorePath>,
) -> Result<Vec<ValidPathInfo>, Failure> {
    let mut infos = BTreeMap::new();
    for path in missing {
        infos.insert(path, store.path_info(path)?);
    }
    let mut ordered = Vec::with_capacity(missing.len());
    let mut seen = BTreeSet::new();
    for root in missing {
        // A path is pushed twice: to be entered, and (with `true`) when its references are done.
        let mut stack = vec![(root, false)];
        while let Some((path, done)) = stack.pop() {
            if done {
                let info = infos[path].clone();
                ordered.push(ValidPathInfo {
                    path: path.clone(),
                    info,
                });
            } else if seen.insert(path) {
                stack.push((path, true));
                let references = infos[path].references.iter();
                stack.extend(
                    references
                        .filter(|r| missing.contains(*r))
                        .map(|r| (r, false)),
                );
            }
        }
    }
    Ok(ordered)
}

async fn send_together(
    client: &mut Worker,
    store: &LocalStore,
    paths: &[ValidPathInfo],
    copying: &mut Copying,
    log: &mut Log,
) -> Result<Sent, Failure> {
    let operation = AddMultipleToStore {
        repair: false,
        dont_check_signatures: true,
    };
    let failed = |error: Error| RemoteFailure::from(error).during(SENDING);
    let answer = client.answer;
    let mut upload = client
        .upload_multiple(&operation, paths.len() as u64)
        .await
        .map_err(failed)?;
    for path in paths {
        upload.path(path).map_err(failed)?;
        send_archive(path, store, &mut upload, answer, copying, log).await?;
    }
    Ok(Sent::Together(upload.end().map_err(failed)?))
}

/// For daemons before 1.32 (nix 2.3.7), which take one path per request and ask for its data.
async fn send_one_by_one(
    client: &mut Worker,
    store: &LocalStore,
    paths: &[ValidPathInfo],
    copying: &mut Copying,
    log: &mut Log,
) -> Result<Sent, Failure> {
    let failed = |error: Error| RemoteFailure::from(error).during(SENDING);
    for path in paths {
        let operation = AddToStoreNar {
            path: path.clone(),
            repair: false,
            dont_check_signatures: true,
        };
        let answer = client.answer;
        let mut upload = client.upload(&operation).await.map_err(failed)?;
        send_archive(path, store, &mut upload, answer, copying, log).await?;
        let finished = finish(upload, answer, log).await;
        let ticket = finished.map_err(|error| error.during(SENDING))?;
        let taken = reply(client, ticket, log).await;
        taken.map_err(|error| error.during(SENDING))?;
    }
    Ok(Sent::Nothing)
}

async fn send_by_serve(
    serve: &mut Serve,
    store: &LocalStore,
    paths: &[ValidPathInfo],
    copying: &mut Copying,
    log: &mut Log,
) -> Result<Sent, Failure> {
    let failed = |error: Error| RemoteFailure::from(error).during(SENDING);
    let mut tickets = Vec::with_capacity(paths.len());
    for path in paths {
        let answer = serve.answer;
        let mut upload = serve.add(path.clone()).await.map_err(failed)?;
        send_archive(path, store, &mut upload, answer, copying, log).await?;
        tickets.push(upload.finish().map_err(failed)?);
    }
    Ok(Sent::ByServe(tickets))
}

/// Any kind of upload.
trait Upload {
    /// Waits no longer than `answer` for a piece to be taken in.
    async fn write(
        &mut self,
        data: &[u8],
        answer: Duration,
        log: &mut Log,
    ) -> Result<(), RemoteFailure>;
}

impl Upload for MultipleUpload<'_, Reader, Writer> {
    async fn write(
        &mut self,
        data: &[u8],
        answer: Duration,
        log: &mut Log,
    ) -> Result<(), RemoteFailure> {
        let heard = Cell::new(Instant::now());
        let mut forward = |message| log.forward(message);
        unless_silent(answer, &heard, self.write(data, &mut forward)).await
    }
}

impl Upload for NarUpload<'_, Reader, Writer, AddToStoreNar> {
    async fn write(
        &mut self,
        data: &[u8],
        answer: Duration,
        log: &mut Log,
    ) -> Result<(), RemoteFailure> {
        let heard = Cell::new(Instant::now());
        let mut forward = |message| log.forward(message);
        unless_silent(answer, &heard, self.write(data, &mut forward)).await
    }
}

impl Upload for serve::Upload<'_, Reader, Writer, serve::AddToStoreNar> {
    async fn write(
        &mut self,
        data: &[u8],
        answer: Duration,
        _: &mut Log,
    ) -> Result<(), RemoteFailure> {
        let heard = Cell::new(Instant::now());
        unless_silent(answer, &heard, self.write(data)).await
    }
}

async fn send_archive(
    path: &ValidPathInfo,
    store: &LocalStore,
    upload: &mut impl Upload,
    answer: Duration,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<(), Failure> {
    let name = store.store_dir().print(&path.path);
    log.daemon.start_path(copying, &name, path.info.nar_size);
    let mut dump = Dump::new(store.real_path(&path.path))?;
    let mut buffer = vec![0; CHUNK];
    let mut left = path.info.nar_size;
    loop {
        let length = dump.fill(&mut buffer)?;
        if length == 0 && left == 0 {
            log.daemon.stop_path(copying);
            return Ok(());
        }
        left = match left.checked_sub(length as u64) {
            Some(rest) if length > 0 => rest,
            _ => return Err(LocalError::Corrupt(name).into()),
        };
        let written = upload.write(&buffer[..length], answer, log).await;
        written.map_err(|error| error.during(SENDING))?;
        log.daemon.progress(copying, length as u64);
    }
}

/// Receives the archive of an output that was asked for, straight into its final place. Its content
/// must have `address`, if there is one.
pub(crate) async fn receive(
    remote: &mut Remote,
    store: &NixStore,
    claim: ArchiveClaim,
    promised: ValidPathInfo,
    address: Option<ContentAddress>,
    copying: &mut Copying,
    log: &mut Log,
) -> Result<ValidPathInfo, Failure> {
    let action = "copy an output from the machine";
    let path = store.local.store_dir().print(&promised.path);
    log.daemon
        .start_path(copying, &path, promised.info.nar_size);
    let opened = remote.open_archive(claim, log).await;
    opened.map_err(|error| error.during(action))?;
    let mut import = store.import(promised, address)?;
    loop {
        let chunk = remote.archive_chunk().await;
        let written = import.write(chunk.map_err(|error| error.during(action))?)?;
        remote.consume(written.consumed);
        log.daemon.progress(copying, written.consumed as u64);
        if written.finished {
            log.daemon.stop_path(copying);
            return Ok(import.finish()?);
        }
    }
}
