//! Requests that go to the coordinator's own daemon as they are.

use nar::{Decoder, Step};
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::client::{Event, Ticket};
use worker_protocol::operation::{self, Upload, UploadOperation};
use worker_protocol::server::Server;
use worker_protocol::{Error, Operation, Place, RemoteError, Request};

use super::daemon::{Daemon, DaemonUpload, LocalDaemon};

/// Answers `request` with what the daemon answers. Errors of the daemon are the request's; the
/// connection to the client goes on.
pub(super) async fn forward<R, W>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    request: Request,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    macro_rules! forward {
        (plain: $($plain:ident)*; uploads: $($upload:ident)*) => {
            match request {
                $(Request::$plain(operation) => plain(server, daemon, &operation).await,)*
                $(Request::$upload(operation) => upload(server, daemon, &operation).await,)*
                Request::AddMultipleToStore(operation) => {
                    add_multiple(server, daemon, &operation).await
                }
                other => {
                    let message = format!("{} is not done through offload's store", other.name());
                    server.fail(RemoteError::new(message)).await
                }
            }
        };
    }
    forward! {
        plain:
            HasSubstitutes QueryPathHash QueryReferences QueryReferrers AddTextToStore BuildPaths
            EnsurePath AddTempRoot AddIndirectRoot SyncWithGC FindRoots QueryDeriver
            QuerySubstitutablePathInfo QueryDerivationOutputs QueryAllValidPaths
            QueryDerivationOutputNames QueryPathFromHashPart QuerySubstitutablePathInfos
            QuerySubstitutablePaths QueryValidDerivers AddSignatures QueryMissing
            QueryDerivationOutputMap RegisterDrvOutput QueryRealisation BuildPathsWithResults
            AddPermRoot;
        uploads: AddToStore AddToStoreNar AddBuildLog
    }
}

async fn plain<R, W, O>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    operation: &O,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    let client = match daemon.client().await {
        Ok(client) => client,
        Err(reason) => return server.fail(RemoteError::new(reason)).await,
    };
    let queued = tokio::select! {
        queued = client.queue(operation) => queued,
        () = server.hung_up() => return Err(client_is_gone()),
    };
    let reply = match queued {
        Ok(ticket) => relay(server, client, ticket).await?,
        Err(error) => Err(error),
    };
    finish::<_, _, O>(server, daemon, reply).await
}

/// Waits for a reply while the client is told what the daemon says, as fast as the client takes it. Ends when the
/// client hangs up: so does the daemon's work, with its connection.
async fn relay<R, W, O>(
    server: &mut Server<R, W>,
    client: &mut Daemon,
    ticket: Ticket<O>,
) -> Result<Result<O::Reply, Error>, Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    loop {
        let event = tokio::select! {
            biased;
            event = client.next(ticket) => event,
            () = server.hung_up() => return Err(client_is_gone()),
        };
        match event {
            Ok(Event::Log(message)) => {
                server.log(message).await?;
                server.flush().await?;
            }
            Ok(Event::Data(_)) => {}
            Ok(Event::Ready(reply)) => return Ok(Ok(reply)),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// The error of a request whose reply nobody waits for any more.
pub(super) fn client_is_gone() -> Error {
    Error::Closed {
        place: Place {
            number: 0,
            operation: "a request",
        },
    }
}

async fn finish<R, W, O>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    reply: Result<O::Reply, Error>,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    match reply {
        Ok(reply) => server.answer::<O>(&reply).await,
        Err(Error::Remote(error)) => server.fail(error).await,
        Err(error) => {
            if !error.is_survivable() {
                daemon.hang_up();
            }
            let message = format!("failed to {error} (this host's store daemon)");
            server.fail(RemoteError::new(message)).await
        }
    }
}

async fn upload<R, W, O>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    operation: &O,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: UploadOperation,
{
    let client = match daemon.client().await {
        Ok(client) => client,
        Err(reason) => return server.fail(RemoteError::new(reason)).await,
    };
    let version = server.version().expect("a request came");
    let inline = O::upload(version) == Upload::Inline;
    let mut decoder = inline.then(Decoder::new);
    let reply = async {
        let mut upload = client.upload(operation).await?;
        loop {
            let chunk = server.upload_chunk().await?;
            let (length, ended) = match &mut decoder {
                Some(decoder) => archive_length(decoder, chunk)?,
                None => (chunk.len(), chunk.is_empty()),
            };
            pass_on(server, &mut upload, length).await?;
            if ended {
                break;
            }
        }
        if inline {
            server.end_inline_upload();
        }
        let ticket = end(server, upload).await?;
        relay(server, client, ticket).await?
    };
    let reply = reply.await;
    finish::<_, _, O>(server, daemon, reply).await
}

/// Sends `count` bytes of the data that came on to the daemon, and what the daemon says meanwhile to the client.
async fn pass_on<R, W, O>(
    server: &mut Server<R, W>,
    upload: &mut DaemonUpload<'_, O>,
    mut count: usize,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    while count > 0 {
        let chunk = server.upload_chunk().await?;
        match upload.send(&chunk[..count]).await? {
            Event::Log(message) => server.log(message).await?,
            Event::Data(_) => {}
            Event::Ready(sent) => {
                server.consume_upload(sent);
                count -= sent;
            }
        }
    }
    Ok(())
}

/// Ends the data.
async fn end<R, W, O>(
    server: &mut Server<R, W>,
    mut upload: DaemonUpload<'_, O>,
) -> Result<Ticket<O>, Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    loop {
        match upload.hear().await? {
            Event::Log(message) => server.log(message).await?,
            Event::Data(_) => {}
            Event::Ready(()) => return upload.end(),
        }
    }
}

/// How many bytes of `chunk` belong to the archive, and whether it ends there.
fn archive_length(decoder: &mut Decoder, chunk: &[u8]) -> Result<(usize, bool), Error> {
    let mut position = 0;
    loop {
        let step = decoder.decode(&chunk[position..]).map_err(|error| {
            let message = format!("the data is no archive: {error}");
            Error::Remote(RemoteError::new(message))
        })?;
        match step {
            Step::Event { consumed, .. } => position += consumed,
            Step::NeedMore { .. } => return Ok((chunk.len(), false)),
            Step::Finished => return Ok((position, true)),
        }
    }
}

/// Path by path: how many there are is only known behind them.
async fn add_multiple<R, W>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    operation: &operation::AddMultipleToStore,
) -> Result<(), Error>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let client = match daemon.client().await {
        Ok(client) => client,
        Err(reason) => return server.fail(RemoteError::new(reason)).await,
    };
    let reply = async {
        while let Some(path) = server.next_path().await? {
            let add = operation::AddToStoreNar {
                path,
                repair: operation.repair,
                dont_check_signatures: operation.dont_check_signatures,
            };
            let mut upload = client.upload(&add).await?;
            loop {
                let length = server.upload_chunk().await?.len();
                if length == 0 {
                    break;
                }
                pass_on(server, &mut upload, length).await?;
            }
            let ticket = end(server, upload).await?;
            relay(server, client, ticket).await??;
        }
        Ok(())
    };
    let reply = reply.await;
    finish::<_, _, operation::AddMultipleToStore>(server, daemon, reply).await
}
