//! Requests that go to the coordinator's own daemon as they are.

use nar::{Decoder, Step};
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::client::{Event, Ticket};
use worker_protocol::operation::{self, Upload, UploadOperation};
use worker_protocol::server::Server;
use worker_protocol::{Error, Operation, Place, RemoteError, Request};

use super::bounds::Bounds;
use super::daemon::{Daemon, DaemonUpload, LocalDaemon};
use super::serve::{EndpointError, within};

/// Answers `request` with what the daemon answers. Errors of the daemon are the request's; the
/// connection to the client goes on.
pub(super) async fn forward<R, W>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    request: Request,
    bounds: &Bounds,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    macro_rules! forward {
        (plain: $($plain:ident)*; uploads: $($upload:ident)*) => {
            match request {
                $(Request::$plain(operation) => plain(server, daemon, &operation, bounds).await,)*
                $(Request::$upload(operation) => upload(server, daemon, &operation, bounds).await,)*
                Request::AddMultipleToStore(operation) => {
                    add_multiple(server, daemon, &operation, bounds).await
                }
                other => {
                    let message = format!("{} is not done through offload's store", other.name());
                    fail(server, bounds, message).await
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
    bounds: &Bounds,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    let client = match daemon.client().await {
        Ok(client) => client,
        Err(reason) => return fail(server, bounds, reason).await,
    };
    let queued = tokio::select! {
        queued = client.queue(operation) => queued,
        () = server.hung_up() => return Err(client_is_gone().into()),
    };
    let reply = match queued {
        Ok(ticket) => relay(server, client, ticket).await?,
        Err(error) => Err(error),
    };
    finish::<_, _, O>(server, daemon, reply, bounds).await
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
    bounds: &Bounds,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    let error = match reply {
        Ok(reply) => return end_data(bounds, server.answer::<O>(&reply)).await,
        Err(Error::Remote(error)) => error,
        Err(error) => {
            if !error.is_survivable() {
                daemon.hang_up();
            }
            RemoteError::new(format!("failed to {error} (this host's store daemon)"))
        }
    };
    end_data(bounds, server.fail(error)).await
}

async fn fail<R, W>(
    server: &mut Server<R, W>,
    bounds: &Bounds,
    message: String,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    end_data(bounds, server.fail(RemoteError::new(message))).await
}

/// Waits for an answer to be given, before which what is left of the request's data is skipped.
async fn end_data(
    bounds: &Bounds,
    answering: impl Future<Output = Result<(), Error>>,
) -> Result<(), EndpointError> {
    within(bounds.silence, "end the data of its request", answering).await
}

async fn upload<R, W, O>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    operation: &O,
    bounds: &Bounds,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: UploadOperation,
{
    let client = match daemon.client().await {
        Ok(client) => client,
        Err(reason) => return fail(server, bounds, reason).await,
    };
    let version = server.version().expect("a request came");
    let inline = O::upload(version) == Upload::Inline;
    let mut decoder = inline.then(Decoder::new);
    let mut taken = Taken::new(bounds);
    let sending = async {
        let mut upload = client.upload(operation).await?;
        loop {
            let chunk = taken.wait(server.upload_chunk()).await?;
            let (length, ended) = match &mut decoder {
                Some(decoder) => archive_length(decoder, chunk)?,
                None => (chunk.len(), chunk.is_empty()),
            };
            pass_on(server, &mut upload, length).await?;
            taken.add(length)?;
            if ended {
                break;
            }
        }
        if inline {
            server.end_inline_upload();
        }
        let ticket = end(server, upload).await?;
        Ok::<_, EndpointError>(relay(server, client, ticket).await??)
    };
    let reply = match sending.await {
        Ok(reply) => Ok(reply),
        Err(EndpointError::Client(error)) => Err(error),
        Err(error) => return Err(error),
    };
    finish::<_, _, O>(server, daemon, reply, bounds).await
}

/// What came of the data behind one request.
struct Taken {
    bytes: u64,
    bounds: Bounds,
}

impl Taken {
    fn new(bounds: &Bounds) -> Self {
        let bounds = *bounds;
        Taken { bytes: 0, bounds }
    }

    /// Waits for more of it.
    async fn wait<T>(
        &self,
        more: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EndpointError> {
        within(self.bounds.silence, "send the data of its request", more).await
    }

    fn add(&mut self, length: usize) -> Result<(), EndpointError> {
        self.bytes += length as u64;
        match self.bytes > self.bounds.upload_size {
            true => Err(EndpointError::UploadSize(self.bounds.upload_size)),
            false => Ok(()),
        }
    }
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
    bounds: &Bounds,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let client = match daemon.client().await {
        Ok(client) => client,
        Err(reason) => return fail(server, bounds, reason).await,
    };
    let mut taken = Taken::new(bounds);
    let adding = async {
        while let Some(path) = taken.wait(server.next_path()).await? {
            let add = operation::AddToStoreNar {
                path,
                repair: operation.repair,
                dont_check_signatures: operation.dont_check_signatures,
            };
            let mut upload = client.upload(&add).await?;
            loop {
                let length = taken.wait(server.upload_chunk()).await?.len();
                if length == 0 {
                    break;
                }
                pass_on(server, &mut upload, length).await?;
                taken.add(length)?;
            }
            let ticket = end(server, upload).await?;
            relay(server, client, ticket).await??;
        }
        Ok::<_, EndpointError>(())
    };
    let reply = match adding.await {
        Ok(()) => Ok(()),
        Err(EndpointError::Client(error)) => Err(error),
        Err(error) => return Err(error),
    };
    finish::<_, _, operation::AddMultipleToStore>(server, daemon, reply, bounds).await
}
