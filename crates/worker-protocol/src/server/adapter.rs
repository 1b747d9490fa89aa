use std::future::poll_fn;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::options::Options;
use super::session::{Progress, Session};
#[cfg(doc)]
use crate::Misuse;
use crate::log::{Log, RemoteError};
use crate::streams::Streams;
use crate::wire::Text;
use crate::{Context, Error, Operation, Request, ValidPathInfo, Version};

/// How much may wait to be sent before sending is waited for.
const WRITE_BEHIND: usize = 64 << 10;

/// How much a client may send ahead while one of its requests is worked on.
const READ_AHEAD: usize = 1 << 20;

/// A store daemon's side of a connection.
///
/// ```no_run
/// # async fn example(reader: tokio::net::unix::OwnedReadHalf, writer: tokio::net::unix::OwnedWriteHalf)
/// # -> Result<(), worker_protocol::Error> {
/// use store_path::StoreDir;
/// use worker_protocol::operation::{IsValidPath, SetOptions};
/// use worker_protocol::server::{Options, Server};
/// use worker_protocol::{RemoteError, Request};
///
/// let mut server = Server::new(reader, writer, Options::nix(StoreDir::NIX, "0.1"));
/// while let Some(request) = server.next_request().await? {
///     match request {
///         Request::IsValidPath(_) => server.answer::<IsValidPath>(&false).await?,
///         Request::SetOptions(_) => server.answer::<SetOptions>(&()).await?,
///         other => {
///             let error = format!("this empty store has no {}", other.name());
///             server.fail(RemoteError::new(error)).await?;
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Waiting and giving up
///
/// There are no timeouts inside: wrap the futures. [`Server::next_request`], [`Server::upload_chunk`],
/// [`Server::next_path`], [`Server::request_begins`], [`Server::flush`] and [`Server::hung_up`] may be dropped at
/// any time and called again. [`Server::answer`] and [`Server::fail`] may not: whether the answer was given is not known then.
#[derive(Debug)]
pub struct Server<R, W> {
    session: Session,
    streams: Streams<R, W>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Server<R, W> {
    /// A server that talks through `reader` and `writer`.
    pub fn new(reader: R, writer: W, options: Options) -> Server<R, W> {
        Server {
            session: Session::new(options),
            streams: Streams::new(reader, writer),
        }
    }

    /// Ends the conversation, and hands the streams back with what came from the client and was not used.
    pub fn into_parts(self) -> (R, W, Vec<u8>) {
        let (reader, writer) = self.streams.into_parts();
        (reader, writer, self.session.into_unused())
    }

    /// The agreed version, once the handshake is done.
    pub fn version(&self) -> Option<Version> {
        self.session.version()
    }

    /// Store directory and version.
    pub fn context(&self) -> &Context {
        self.session.context()
    }

    /// The features that the client named, from 1.38 on.
    pub fn client_features(&self) -> &[Text] {
        self.session.client_features()
    }

    /// How many bytes came that were not used yet: what the client has sent ahead.
    pub fn buffered(&self) -> usize {
        self.session.buffered()
    }

    /// Waits for the client's handshake. [`Server::next_request`] does so by itself.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn accept(&mut self) -> Result<(), Error> {
        while let Progress::NeedBytes(count) = self.session.poll_accept()? {
            self.read_more(count).await?;
        }
        self.flush().await
    }

    /// Waits until something of the next request is there, or the client has hung up. Answers that were not
    /// sent yet are sent before.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn request_begins(&mut self) -> Result<(), Error> {
        match self.session.buffered() {
            0 => self.read_more(1).await,
            _ => Ok(()),
        }
    }

    /// Waits for the next request; nothing once the client has hung up between requests.
    ///
    /// Answers that were not sent yet are sent before anything is waited for, and before a request to build
    /// is handed out. Call [`Server::flush`] before other long work.
    ///
    /// # Errors
    /// [`Misuse`] if the request before was not answered; why the connection is of no use.
    pub async fn next_request(&mut self) -> Result<Option<Request>, Error> {
        loop {
            match self.session.poll_request() {
                Ok(Progress::Ready(None)) => {
                    self.flush().await?;
                    return Ok(None);
                }
                Ok(Progress::Ready(Some(request))) => {
                    if request.may_take_long() {
                        self.flush().await?;
                    }
                    return Ok(Some(request));
                }
                Ok(Progress::NeedBytes(count)) => self.read_more(count).await?,
                Err(error) => {
                    // The client is told what was wrong, if it still listens.
                    let _ = self.flush().await;
                    return Err(error);
                }
            }
        }
    }

    /// Sends a log message. It leaves with the answer, with [`Server::flush`], or once 64 KiB wait.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] between requests; why the connection is of no use.
    pub async fn log(&mut self, log: Log) -> Result<(), Error> {
        self.session.log(log)?;
        self.send(WRITE_BEHIND).await
    }

    /// Answers the request. Skips what is left of its data.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] if none waits or it is one of another operation; [`Error::Unsupported`] if the version
    /// cannot say this reply: then [`Server::fail`] can. Why the connection is of no use.
    pub async fn answer<O: Operation>(&mut self, reply: &O::Reply) -> Result<(), Error> {
        self.drain().await?;
        self.session.answer::<O>(reply)?;
        self.send(WRITE_BEHIND).await
    }

    /// Answers the request with an error. Skips what is left of its data.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] between requests; [`Misuse::UnreadData`] if it has data whose end is not known:
    /// then the connection cannot go on. Why the connection is of no use.
    pub async fn fail(&mut self, error: RemoteError) -> Result<(), Error> {
        self.drain().await?;
        self.session.fail(error)?;
        self.send(WRITE_BEHIND).await
    }

    /// Sends a block of data, for operations that deliver it before their reply.
    ///
    /// # Errors
    /// [`Misuse::NoRequest`] between requests; why the connection is of no use.
    pub async fn data(&mut self, block: &[u8]) -> Result<(), Error> {
        self.session.data(block)?;
        self.send(WRITE_BEHIND).await
    }

    /// Sends part of the archive behind the answer to NarFromPath, before the next request is read.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; why the connection is of no use.
    pub async fn raw(&mut self, data: &[u8]) -> Result<(), Error> {
        for piece in data.chunks(4 * WRITE_BEHIND) {
            self.session.raw(piece)?;
            self.send(WRITE_BEHIND).await?;
        }
        Ok(())
    }

    /// Sends everything.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.send(0).await?;
        let flushed = poll_fn(|task| self.streams.poll_flush(task)).await;
        flushed.map_err(|error| self.session.write_failed(&error))
    }

    /// Some of the data that follows the request; empty at its end. Say with [`Server::consume_upload`] how
    /// much of it was used.
    ///
    /// A client that has to be asked for its data is asked here. Where its size is not known (ImportPaths) stop at
    /// the end that the data itself tells: guix clients break the connection off if they are asked for more.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] if none follows; [`Error::WrongLength`] if it is not as long as announced: then
    /// [`Server::fail`] says so to the client. Why the connection is of no use.
    pub async fn upload_chunk(&mut self) -> Result<&[u8], Error> {
        while let Progress::NeedBytes(count) = self.session.poll_upload()? {
            self.read_more(count).await?;
        }
        Ok(self.session.upload())
    }

    /// Says that the first `count` bytes of the last [`Server::upload_chunk`] were used.
    pub fn consume_upload(&mut self, count: usize) {
        self.session.consume_upload(count);
    }

    /// Says that data without frames (of clients from before 1.25) ends here: its decoder found the end.
    pub fn end_inline_upload(&mut self) {
        self.session.end_inline_upload();
    }

    /// Of AddMultipleToStore: the next path, whose archive then comes through [`Server::upload_chunk`].
    /// Skips what is left of the archive before.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; [`Error::WrongLength`] if the archives are not as long as announced; why the
    /// connection is of no use.
    pub async fn next_path(&mut self) -> Result<Option<ValidPathInfo>, Error> {
        loop {
            match self.session.poll_path()? {
                Progress::Ready(path) => return Ok(path),
                Progress::NeedBytes(count) => self.read_more(count).await?,
            }
        }
    }

    /// Returns when the client has hung up: the sign that nobody waits for the request's result. Requests
    /// that the client sends ahead are kept, up to 1 MiB; a client that sends more is not noticed to hang up.
    pub async fn hung_up(&mut self) {
        poll_fn(|task| {
            let (streams, session) = (&mut self.streams, &mut self.session);
            while !streams.read_ended() {
                if session.buffered() >= READ_AHEAD {
                    return Poll::Pending;
                }
                ready!(streams.poll_read(task, &mut session.connection));
            }
            Poll::Ready(())
        })
        .await;
    }

    async fn drain(&mut self) -> Result<(), Error> {
        while let Progress::NeedBytes(count) = self.session.poll_drain()? {
            self.read_more(count).await?;
        }
        Ok(())
    }

    async fn read_more(&mut self, count: usize) -> Result<(), Error> {
        self.flush().await?;
        let wanted = self.session.buffered() + count;
        poll_fn(|task| {
            let (streams, session) = (&mut self.streams, &mut self.session);
            while session.buffered() < wanted && !streams.read_ended() {
                ready!(streams.poll_read(task, &mut session.connection));
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Returns once at most `left` bytes wait to be sent.
    async fn send(&mut self, left: usize) -> Result<(), Error> {
        let (streams, connection) = (&mut self.streams, &mut self.session.connection);
        let sent = poll_fn(|task| streams.poll_write(task, connection, left)).await;
        sent.map_err(|error| self.session.write_failed(&error))
    }
}
