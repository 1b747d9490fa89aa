//! Requests that go to the coordinator's own daemon as they are.

use nar::{Decoder, Step};
use tokio::io::{AsyncRead, AsyncWrite};
use worker_protocol::client::{Event, Ticket};
use worker_protocol::operation::{self, Upload, UploadOperation};
use worker_protocol::server::Server;
use worker_protocol::{Error, Operation, RemoteError, Request};

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
        Err(error) => return fail(server, bounds, error.to_string()).await,
    };
    let queued = tokio::select! {
        queued = client.queue(operation) => queued,
        () = server.hung_up() => return Err(EndpointError::Gone),
    };
    let reply = match queued {
        Ok(ticket) => relay(server, client, ticket).await,
        Err(error) => Err(Trouble::Daemon(error)),
    };
    finish::<_, _, O>(server, daemon, reply, bounds).await
}

/// Waits for a reply while the client is told what the daemon says, as fast as the client takes it. Ends when the
/// client hangs up: so does the daemon's work, with its connection.
async fn relay<R, W, O>(
    server: &mut Server<R, W>,
    client: &mut Daemon,
    ticket: Ticket<O>,
) -> Result<O::Reply, Trouble>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    loop {
        let event = tokio::select! {
            biased;
            event = client.next(ticket) => event.map_err(Trouble::Daemon)?,
            () = server.hung_up() => return Err(EndpointError::Gone.into()),
        };
        match event {
            Event::Log(message) => {
                server.log(message).await?;
                server.flush().await?;
            }
            Event::Data(_) => {}
            Event::Ready(reply) => return Ok(reply),
        }
    }
}

/// Who is to blame that a request has not become a reply of the daemon.
enum Trouble {
    /// The client: the conversation with it is over. What it says goes to whoever runs the endpoint.
    Client(EndpointError),
    /// The daemon: the client is told.
    Daemon(Error),
    /// What the client has sent is not what it should be. It is told, and the daemon is not waited for:
    /// it waits for the rest.
    Data(String),
}

impl From<EndpointError> for Trouble {
    fn from(error: EndpointError) -> Self {
        Trouble::Client(error)
    }
}

/// Of whatever is read from the client or written to it.
impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Client(error.into())
    }
}

async fn finish<R, W, O>(
    server: &mut Server<R, W>,
    daemon: &mut LocalDaemon,
    reply: Result<O::Reply, Trouble>,
    bounds: &Bounds,
) -> Result<(), EndpointError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    let error = match reply {
        Ok(reply) => return end_data(bounds, server.answer::<O>(&reply)).await,
        Err(Trouble::Client(error)) => return Err(error),
        Err(Trouble::Daemon(Error::Remote(error))) => error,
        Err(Trouble::Daemon(error)) => {
            if !error.is_survivable() {
                daemon.hang_up();
            }
            RemoteError::new(format!("failed to {error} (this host's store daemon)"))
        }
        Err(Trouble::Data(why)) => {
            daemon.hang_up();
            RemoteError::new(why)
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
    within(
        ("silence", bounds.silence),
        "end the data of its request",
        answering,
    )
    .await
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
        Err(error) => return fail(server, bounds, error.to_string()).await,
    };
    let version = server.version().expect("a request came");
    let inline = O::upload(version) == Upload::Inline;
    let mut decoder = inline.then(Decoder::new);
    let mut taken = Taken::new(bounds);
    let sending = async {
        let mut upload = client.upload(operation).await.map_err(Trouble::Daemon)?;
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
        relay(server, client, ticket).await
    };
    let reply = sending.await;
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
        within(
            ("silence", self.bounds.silence),
            "send the data of its request",
            more,
        )
        .await
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
) -> Result<(), Trouble>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    while count > 0 {
        let chunk = server.upload_chunk().await?;
        match upload
            .send(&chunk[..count])
            .await
            .map_err(Trouble::Daemon)?
        {
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
) -> Result<Ticket<O>, Trouble>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    O: Operation,
{
    loop {
        match upload.hear().await.map_err(Trouble::Daemon)? {
            Event::Log(message) => server.log(message).await?,
            Event::Data(_) => {}
            Event::Ready(()) => return upload.end().map_err(Trouble::Daemon),
        }
    }
}

/// How many bytes of `chunk` belong to the archive, and whether it ends there.
fn archive_length(decoder: &mut Decoder, chunk: &[u8]) -> Result<(usize, bool), Trouble> {
    let mut position = 0;
    loop {
        let step = decoder.decode(&chunk[position..]);
        let step = step.map_err(|error| {
            Trouble::Data(format!("the data that was sent is no archive: {error}"))
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
        Err(error) => return fail(server, bounds, error.to_string()).await,
    };
    let mut taken = Taken::new(bounds);
    let adding = async {
        while let Some(mut path) = taken.wait(server.next_path()).await? {
            // As a nix-daemon has it with this operation: nobody else says what was built here.
            path.info.ultimate = false;
            let add = operation::AddToStoreNar {
                path,
                repair: operation.repair,
                dont_check_signatures: operation.dont_check_signatures,
            };
            let mut upload = client.upload(&add).await.map_err(Trouble::Daemon)?;
            loop {
                let length = taken.wait(server.upload_chunk()).await?.len();
                if length == 0 {
                    break;
                }
                pass_on(server, &mut upload, length).await?;
                taken.add(length)?;
            }
            let ticket = end(server, upload).await?;
            relay(server, client, ticket).await?;
        }
        Ok(())
    };
    let reply = adding.await;
    finish::<_, _, operation::AddMultipleToStore>(server, daemon, reply, bounds).await
}
