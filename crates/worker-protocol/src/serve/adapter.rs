use std::future::poll_fn;
use std::mem;
use std::task::Poll;

use store_path::StoreDir;
use tokio::io::{AsyncRead, AsyncWrite};

use super::command::{Command, UploadCommand};
use super::session::{Context, Progress, Session};
use super::version::ServeVersion;
use crate::Error;
#[cfg(doc)]
use crate::Misuse;
use crate::outstanding::Ticket;
use crate::streams::{Goal, PIECE, Streams, WRITE_BEHIND};

/// A connection to `nix-store --serve --write`.
///
/// ```no_run
/// # async fn example(path: store_path::StorePath) -> Result<(), Box<dyn std::error::Error>> {
/// use std::process::Stdio;
/// use store_path::StoreDir;
/// use worker_protocol::serve::{Client, QueryPathInfos, QueryValidPaths};
///
/// let mut program = tokio::process::Command::new("ssh")
///     .args(["builder", "nix-store", "--serve", "--write"])
///     .stdin(Stdio::piped())
///     .stdout(Stdio::piped())
///     .spawn()?;
/// let reader = program.stdout.take().ok_or("it is piped")?;
/// let writer = program.stdin.take().ok_or("it is piped")?;
/// let mut client = Client::new(reader, writer, StoreDir::NIX, None);
///
/// let paths = [path].into();
/// let valid = QueryValidPaths { lock: true, substitute: false, paths };
/// let infos = QueryPathInfos { paths: valid.paths.clone() };
/// let valid = client.queue(&valid).await?;
/// let infos = client.queue(&infos).await?;
/// // The handshake and both requests leave in one write, and are answered after one round trip.
/// println!("valid: {:?}", client.reply(valid).await?);
/// println!("infos: {:?}", client.reply(infos).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Waiting and giving up
///
/// There are no timeouts inside: wrap the futures. All but those of [`Client::call`] and [`Upload::write`] may
/// be dropped at any time and called again later. An [`Upload`] that is dropped before it was finished ends the
/// connection.
#[derive(Debug)]
pub struct Client<R, W> {
    session: Session,
    streams: Streams<R, W>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Client<R, W> {
    /// A client that talks through `reader` and `writer`. Nothing is sent yet. See [`Session::new`] for `assume`.
    pub fn new(
        reader: R,
        writer: W,
        store_dir: StoreDir,
        assume: Option<ServeVersion>,
    ) -> Client<R, W> {
        Client {
            session: Session::new(store_dir, assume),
            streams: Streams::new(reader, writer),
        }
    }

    /// The version that requests are encoded for, once it is known (or assumed).
    pub fn version(&self) -> Option<ServeVersion> {
        self.session.version()
    }

    /// Store directory and version.
    pub fn context(&self) -> &Context {
        self.session.context()
    }

    /// How many replies are still to be read.
    pub fn outstanding(&self) -> usize {
        self.session.outstanding()
    }

    /// Why nothing can be sent any more, if so. Replies are waited for none the less, as the server may have said why;
    /// who gives up waiting finds the reason here.
    pub fn output_failure(&self) -> Option<Error> {
        self.session.output_failure()
    }

    /// Ends the conversation, and hands the streams back with what came from the server and was not used.
    pub fn into_parts(self) -> (R, W, Vec<u8>) {
        let (reader, writer) = self.streams.into_parts();
        (reader, writer, self.session.into_unused())
    }

    /// Waits for the end of the handshake. Replies do so by themselves.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn handshake(&mut self) -> Result<ServeVersion, Error> {
        loop {
            match self.session.poll_handshake()? {
                Progress::Ready(version) => return Ok(version),
                Progress::NeedBytes(count) => self.read_more(count).await?,
            }
        }
    }

    /// Encodes a request behind those that wait to be sent. Waits for the server's version only if the command's
    /// layout depends on it and none was assumed.
    ///
    /// # Errors
    /// [`Misuse`] for a command with data: see [`Client::upload`]. Why the connection is of no use.
    pub async fn queue<C: Command>(&mut self, command: &C) -> Result<Ticket<C>, Error> {
        if C::NEEDS_VERSION && self.session.version().is_none() {
            self.handshake().await?;
        }
        self.session.queue(command)
    }

    /// Queues a request with data. Earlier replies may be outstanding.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn upload<C: UploadCommand>(
        &mut self,
        command: &C,
    ) -> Result<Upload<'_, R, W, C>, Error> {
        if C::NEEDS_VERSION && self.session.version().is_none() {
            self.handshake().await?;
        }
        let ticket = self.session.begin_upload(command)?;
        Ok(Upload {
            client: self,
            ticket,
            writing: false,
        })
    }

    /// Sends everything that was queued. Reads what comes meanwhile.
    ///
    /// # Errors
    /// [`Misuse::UnreadReplies`] if more than 64 MiB came meanwhile. A server that does not listen any more is
    /// no error here, but in the replies.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.drive(Goal::Flushed).await
    }

    /// Waits for the reply to the first request that has none yet. Sends what was queued.
    ///
    /// # Errors
    /// [`Misuse`] if it is not this reply's turn; why the connection is of no use.
    pub async fn reply<C: Command>(&mut self, ticket: Ticket<C>) -> Result<C::Reply, Error> {
        // Even if the reply is there already: others may wait for what was queued since.
        self.push().await;
        loop {
            match self.session.poll_reply(ticket)? {
                Progress::Ready(reply) => return Ok(reply),
                Progress::NeedBytes(count) => self.read_more(count).await?,
            }
        }
    }

    /// Queues one request and waits for its reply. All earlier replies must have been read.
    ///
    /// # Errors
    /// As [`Client::queue`] and [`Client::reply`].
    pub async fn call<C: Command>(&mut self, command: &C) -> Result<C::Reply, Error> {
        let ticket = self.queue(command).await?;
        self.reply(ticket).await
    }

    /// The data behind the reply that was read last: at least one byte of it, or of what follows it. Say with
    /// [`Client::consume`] how many bytes belonged to it; the next reply begins behind them.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; why the connection is of no use.
    pub async fn raw_chunk(&mut self) -> Result<&[u8], Error> {
        if self.session.raw()?.is_empty() {
            self.read_more(1).await?;
        }
        self.session.raw()
    }

    /// Says that `count` bytes of the last [`Client::raw_chunk`] belonged to the data.
    pub fn consume(&mut self, count: usize) {
        self.session.consume_raw(count);
    }

    /// Says that nothing more will be asked, and waits until the server has ended: by then it has said on its
    /// standard error all that it had to say. Replies that were not read are lost.
    pub async fn end(&mut self) {
        let (streams, connection) = (&mut self.streams, &mut self.session.connection);
        poll_fn(|task| streams.poll_end(task, connection)).await;
    }

    /// Sends data in pieces, and waits before each while much waits to be sent.
    async fn send(&mut self, data: &[u8]) -> Result<(), Error> {
        for piece in data.chunks(PIECE) {
            self.drive(Goal::Unsent(WRITE_BEHIND)).await?;
            self.session.upload(piece)?;
            self.push().await;
        }
        Ok(())
    }

    /// Sends what can be sent without waiting.
    async fn push(&mut self) {
        poll_fn(|task| {
            let _ = self.streams.poll_send(task, &mut self.session.connection);
            Poll::Ready(())
        })
        .await;
    }

    async fn read_more(&mut self, count: usize) -> Result<(), Error> {
        self.drive(Goal::Buffered(self.session.buffered() + count))
            .await
    }

    async fn drive(&mut self, goal: Goal) -> Result<(), Error> {
        let (streams, connection) = (&mut self.streams, &mut self.session.connection);
        poll_fn(|task| streams.poll_drive(task, connection, goal)).await
    }
}

/// Data that is being sent behind a request. What the server says meanwhile is read, and kept.
///
/// Dropping it before [`Upload::finish`] ends the connection. So does going on after a future of [`Upload::write`]
/// was dropped: how much of the data was taken is not known then.
#[derive(Debug)]
pub struct Upload<'a, R, W, C> {
    client: &'a mut Client<R, W>,
    ticket: Ticket<C>,
    /// Whether a future of [`Upload::write`] was begun and not yet done.
    writing: bool,
}

impl<R, W, C> Upload<'_, R, W, C> {
    /// Gives the upload up if a future that may have taken data was dropped. What is called then says so.
    fn go_on(&mut self) {
        if mem::take(&mut self.writing) {
            self.client.session.abandon_upload(None);
        }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin, C: UploadCommand> Upload<'_, R, W, C> {
    /// Sends some data. It returns once the last of it was taken: then less than 1 MiB waits to be sent.
    ///
    /// # Errors
    /// [`Misuse::TooMuchData`] if it is more than was announced: then nothing of it was taken. Why the connection
    /// is of no use, such as that the server has ended: it says why on its standard error.
    pub async fn write(&mut self, data: &[u8]) -> Result<(), Error> {
        self.go_on();
        self.client.session.check_room(data.len())?;
        self.writing = true;
        let result = self.client.send(data).await;
        self.writing = false;
        match result {
            Err(Error::Misused(misuse)) => Err(self.client.session.abandon_upload(Some(misuse))),
            other => other,
        }
    }

    /// Ends the data. It does not wait for it to be sent: requests can be queued behind it at once.
    ///
    /// # Errors
    /// [`Error::Abandoned`] if data is missing; why the connection is of no use.
    pub fn finish(mut self) -> Result<Ticket<C>, Error> {
        self.go_on();
        match self.client.session.finish_upload() {
            Ok(()) => Ok(self.ticket),
            Err(Error::Misused(misuse)) => Err(self.client.session.abandon_upload(Some(misuse))),
            Err(error) => Err(error),
        }
    }
}

impl<R, W, C> Drop for Upload<'_, R, W, C> {
    fn drop(&mut self) {
        // Does nothing if the upload is over.
        self.client.session.abandon_upload(None);
    }
}
