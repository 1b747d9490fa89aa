use std::future::poll_fn;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

use super::adapter_upload::{MultipleUpload, NarUpload};
use super::options::Options;
use super::session::{Progress, Session};
#[cfg(doc)]
use crate::Misuse;
use crate::operation::{AddMultipleToStore, UploadOperation};
use crate::outstanding::Ticket;
use crate::streams::{Goal, Streams};
use crate::{Context, Error, Log, Operation, Version};

/// What comes next from a daemon while it is waited for.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<T> {
    /// The daemon says something on the way.
    Log(Log),
    /// A block of the data that the operation delivers piece by piece before its reply.
    Data(Vec<u8>),
    /// What was waited for is there.
    Ready(T),
}

/// A connection to a store daemon.
///
/// Requests are queued, sent together, and their replies read in the same order:
///
/// ```no_run
/// # async fn example(reader: tokio::net::unix::OwnedReadHalf, writer: tokio::net::unix::OwnedWriteHalf)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use store_path::StoreDir;
/// use worker_protocol::client::{Client, Options};
/// use worker_protocol::operation::{IsValidPath, QueryPathInfo};
///
/// let mut client = Client::new(reader, writer, Options::nix(StoreDir::NIX));
/// let path = StoreDir::NIX.parse("/nix/store/6avgjx91lrwfifs8gx5rq5vcbm4kdjpn-hello")?;
/// let valid = client.queue(&IsValidPath { path: path.clone() }).await?;
/// let info = client.queue(&QueryPathInfo { path }).await?;
/// // Both leave in one write, and both are answered after one round trip.
/// let mut log = |log| eprintln!("{log:?}");
/// println!("valid: {}", client.reply(valid, &mut log).await?);
/// println!("info: {:?}", client.reply(info, &mut log).await?);
/// # Ok(())
/// # }
/// ```
///
/// # Waiting and giving up
///
/// There are no timeouts inside: wrap the futures. [`Client::handshake`], [`Client::queue`],
/// [`Client::flush`], [`Client::next`], [`Client::reply`] and [`Client::raw_chunk`] may be dropped at any time and
/// called again later with the same arguments (a ticket can be copied): nothing is lost, and no log message comes
/// twice. [`Client::call`] loses its ticket when it is dropped, so that the connection cannot be read
/// further. An upload that is dropped before it was finished ends the connection.
#[derive(Debug)]
pub struct Client<R, W> {
    pub(super) session: Session,
    streams: Streams<R, W>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Client<R, W> {
    /// A client that talks through `reader` and `writer`. Nothing is sent yet.
    pub fn new(reader: R, writer: W, options: Options) -> Client<R, W> {
        Client {
            session: Session::new(options),
            streams: Streams::new(reader, writer),
        }
    }

    /// The version that requests are encoded for, once it is known (or assumed).
    pub fn version(&self) -> Option<Version> {
        self.session.version()
    }

    /// Store directory and version, for values that are decoded from data.
    pub fn context(&self) -> &Context {
        self.session.context()
    }

    /// The daemon's own version, such as `2.34.8`, where it tells (from 1.33 on) and once the handshake is
    /// done: after the first reply or [`Client::handshake`].
    pub fn daemon_version(&self) -> Option<&str> {
        self.session.greeting()?.daemon_version.as_ref()?.to_str()
    }

    /// Whether the daemon trusts this client, where it tells (from 1.35 on) and once the handshake is done.
    pub fn trusted(&self) -> Option<bool> {
        self.session.greeting()?.trusted
    }

    /// How many replies are still to be read.
    pub fn outstanding(&self) -> usize {
        self.session.outstanding()
    }

    /// Why nothing can be sent any more, if so. Replies are waited for none the less, as the daemon may have said why;
    /// who gives up waiting finds the reason here.
    pub fn output_failure(&self) -> Option<Error> {
        self.session.output_failure()
    }

    /// Ends the conversation, and hands the streams back with what came from the daemon and was not used.
    pub fn into_parts(self) -> (R, W, Vec<u8>) {
        let (reader, writer) = self.streams.into_parts();
        (reader, writer, self.session.into_unused())
    }

    /// Waits for the end of the handshake. Replies do so by themselves.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn handshake(&mut self, log: &mut impl FnMut(Log)) -> Result<(), Error> {
        loop {
            match self.session.poll_handshake()? {
                Progress::Ready(()) => return Ok(()),
                Progress::Log(message) => log(message),
                Progress::NeedBytes(count) => self.read_more(count).await?,
                Progress::Data(_) => unreachable!("a handshake has no data"),
            }
        }
    }

    async fn wait_for_version(&mut self) -> Result<(), Error> {
        while let Progress::NeedBytes(count) = self.session.poll_version()? {
            self.read_more(count).await?;
        }
        Ok(())
    }

    /// Encodes a request behind those that wait to be sent. Waits only for the daemon's hello, and only if no
    /// version was assumed.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the agreed version cannot say it; or why the connection is of no use.
    pub async fn queue<O: Operation>(&mut self, operation: &O) -> Result<Ticket<O>, Error> {
        self.wait_for_version().await?;
        self.session.queue(operation)
    }

    /// Sends everything that was queued. Reads what comes meanwhile, so that a daemon that waits for its
    /// replies to be read cannot stop this.
    ///
    /// # Errors
    /// [`Misuse::UnreadReplies`] if more than 64 MiB came meanwhile. A daemon that does not listen any more
    /// is no error here, but in the replies: it may have said why.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.drive(Goal::Flushed).await
    }

    /// Waits for the reply to the first request that has none yet, and hands log messages to `log` as they
    /// come. Sends what was queued.
    ///
    /// # Errors
    /// [`Error::Remote`] if this request failed; the connection is as good as before. [`Misuse`] if it is
    /// not this reply's turn. Otherwise why the connection is of no use.
    pub async fn reply<O: Operation>(
        &mut self,
        ticket: Ticket<O>,
        log: &mut impl FnMut(Log),
    ) -> Result<O::Reply, Error> {
        self.reply_with_data(ticket, log, &mut |_| {}).await
    }

    /// As [`Client::reply`], for operations that deliver data before their reply: `data` gets it in
    /// blocks, as it comes.
    ///
    /// # Errors
    /// As [`Client::reply`].
    pub async fn reply_with_data<O: Operation>(
        &mut self,
        ticket: Ticket<O>,
        log: &mut impl FnMut(Log),
        data: &mut impl FnMut(Vec<u8>),
    ) -> Result<O::Reply, Error> {
        loop {
            match self.next(ticket).await? {
                Event::Ready(reply) => return Ok(reply),
                Event::Log(message) => log(message),
                Event::Data(block) => data(block),
            }
        }
    }

    /// What comes next on the way to the reply of the first request that has none yet, or the reply itself. Sends
    /// what was queued.
    ///
    /// This is [`Client::reply_with_data`] for those who pass on what they hear: nothing more is read from the
    /// daemon before this is called again, so that a slow listener holds the daemon up, and not its log.
    ///
    /// # Errors
    /// As [`Client::reply`].
    pub async fn next<O: Operation>(
        &mut self,
        ticket: Ticket<O>,
    ) -> Result<Event<O::Reply>, Error> {
        // Even if it is there already: others may wait for what was queued since.
        self.push().await;
        loop {
            match self.session.poll_reply(ticket)? {
                Progress::Ready(reply) => return Ok(Event::Ready(reply)),
                Progress::Log(message) => return Ok(Event::Log(message)),
                Progress::Data(block) => return Ok(Event::Data(block)),
                Progress::NeedBytes(count) => self.read_more(count).await?,
            }
        }
    }

    /// Queues one request and waits for its reply. All earlier replies must have been read.
    ///
    /// # Errors
    /// As [`Client::queue`] and [`Client::reply`].
    pub async fn call<O: Operation>(
        &mut self,
        operation: &O,
        log: &mut impl FnMut(Log),
    ) -> Result<O::Reply, Error> {
        let ticket = self.queue(operation).await?;
        self.reply(ticket, log).await
    }

    /// The archive that follows the reply to [`NarFromPath`](crate::operation::NarFromPath): at least one byte of it, or of what follows it.
    /// Say with [`Client::consume`] how many bytes were the archive's; the next reply begins behind them.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; or why the connection is of no use.
    pub async fn raw_chunk(&mut self) -> Result<&[u8], Error> {
        if self.session.raw()?.is_empty() {
            self.read_more(1).await?;
        }
        self.session.raw()
    }

    /// Says that `count` bytes of the last [`Client::raw_chunk`] were the archive's.
    pub fn consume(&mut self, count: usize) {
        self.session.consume_raw(count);
    }

    /// Queues a request with data. Earlier replies may be outstanding (but for a daemon from before 1.23 they
    /// have to be read before data is written, and for Guix's before this is called).
    ///
    /// # Errors
    /// As [`Client::queue`].
    pub async fn upload<O: UploadOperation>(
        &mut self,
        operation: &O,
    ) -> Result<NarUpload<'_, R, W, O>, Error> {
        self.wait_for_version().await?;
        let ticket = self.session.begin_upload(operation)?;
        Ok(NarUpload::new(self, ticket))
    }

    /// Queues the request to add `count` paths, references before what refers to them.
    ///
    /// # Errors
    /// As [`Client::queue`].
    pub async fn upload_multiple(
        &mut self,
        operation: &AddMultipleToStore,
        count: u64,
    ) -> Result<MultipleUpload<'_, R, W>, Error> {
        self.wait_for_version().await?;
        let ticket = self.session.begin_multiple(operation, count)?;
        Ok(MultipleUpload::new(NarUpload::new(self, ticket)))
    }

    /// Sends what can be sent without waiting.
    pub(super) async fn push(&mut self) {
        poll_fn(|task| {
            let _ = self.streams.poll_send(task, &mut self.session.connection);
            Poll::Ready(())
        })
        .await;
    }

    pub(super) async fn read_more(&mut self, count: usize) -> Result<(), Error> {
        self.drive(Goal::Buffered(self.session.buffered() + count))
            .await
    }

    pub(super) async fn drive(&mut self, goal: Goal) -> Result<(), Error> {
        let (streams, connection) = (&mut self.streams, &mut self.session.connection);
        poll_fn(|task| streams.poll_drive(task, connection, goal)).await
    }
}
