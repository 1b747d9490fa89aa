use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use store_path::StoreDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Command, Progress, ServeVersion, Session};
use crate::Error;
#[cfg(doc)]
use crate::Misuse;

/// How much may wait to be sent before data waits for it.
const WRITE_BEHIND: usize = 512 << 10;

/// A connection to `nix-store --serve --write`.
///
/// There are no timeouts inside: wrap the futures. All but [`Client::data`] may be dropped at any time and
/// called again.
#[derive(Debug)]
pub struct Client<R, W> {
    session: Session,
    reader: R,
    writer: W,
    write_failed: bool,
    read_ended: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Client<R, W> {
    /// A client that talks through `reader` and `writer`. Nothing is sent yet.
    pub fn new(
        reader: R,
        writer: W,
        store_dir: StoreDir,
        assume: Option<ServeVersion>,
    ) -> Client<R, W> {
        let session = Session::new(store_dir, assume);
        Client {
            session,
            reader,
            writer,
            write_failed: false,
            read_ended: false,
        }
    }

    /// The version that requests are encoded for, once it is known (or assumed).
    pub fn version(&self) -> Option<ServeVersion> {
        self.session.version()
    }

    /// Waits for the server's version. Replies do so by themselves.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn handshake(&mut self) -> Result<ServeVersion, Error> {
        loop {
            match self.session.poll_version()? {
                Progress::Ready(version) => return Ok(version),
                Progress::NeedBytes(count) => self.read_more(count).await,
            }
        }
    }

    /// Encodes a request behind those that wait to be sent. Waits only for the server's version, and only if
    /// none was assumed.
    ///
    /// # Errors
    /// Why the connection is of no use.
    pub async fn queue<C: Command>(&mut self, command: &C) -> Result<(), Error> {
        if self.session.version().is_none() {
            self.handshake().await?;
        }
        self.session.queue(command)
    }

    /// Says that nothing more will be asked, and waits until the server has ended. Replies that were not read
    /// are lost.
    pub async fn end(&mut self) {
        poll_fn(|task| self.poll_write(task, 0)).await;
        // A server that is gone already has ended, too.
        let _ = poll_fn(|task| Pin::new(&mut self.writer).poll_shutdown(task)).await;
        while !self.read_ended {
            self.session.discard();
            self.read_more(1).await;
        }
    }

    /// Sends data behind the request that was queued last.
    ///
    /// # Errors
    /// None yet: a server that does not listen any more shows in the replies.
    pub async fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        for piece in data.chunks(WRITE_BEHIND) {
            self.session.data(piece);
            poll_fn(|task| self.poll_write(task, WRITE_BEHIND)).await;
        }
        Ok(())
    }

    /// Waits for the reply to the first request that has none yet. Sends what was queued.
    ///
    /// # Errors
    /// [`Misuse::OutOfOrder`] if that request is another command; why the connection is of no use.
    pub async fn reply<C: Command>(&mut self) -> Result<C::Reply, Error> {
        loop {
            match self.session.poll_reply::<C>()? {
                Progress::Ready(reply) => {
                    poll_fn(|task| self.poll_write(task, 0)).await;
                    return Ok(reply);
                }
                Progress::NeedBytes(count) => self.read_more(count).await,
            }
        }
    }

    /// Queues one request and waits for its reply.
    ///
    /// # Errors
    /// As [`Client::queue`] and [`Client::reply`].
    pub async fn call<C: Command>(&mut self, command: &C) -> Result<C::Reply, Error> {
        self.queue(command).await?;
        self.reply::<C>().await
    }

    /// The data behind the reply that was read last: at least one byte of it, or of what follows it. Say with
    /// [`Client::consume`] how many bytes belonged to it.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; why the connection is of no use.
    pub async fn raw_chunk(&mut self) -> Result<&[u8], Error> {
        if self.session.raw()?.is_empty() {
            self.read_more(1).await;
        }
        self.session.raw()
    }

    /// Says that `count` bytes of the last [`Client::raw_chunk`] belonged to the data.
    pub fn consume(&mut self, count: usize) {
        self.session.consume_raw(count);
    }

    async fn read_more(&mut self, count: usize) {
        let wanted = self.session.buffered() + count;
        poll_fn(|task| {
            loop {
                let _ = self.poll_write(task, 0);
                if self.session.buffered() >= wanted || self.read_ended {
                    return Poll::Ready(());
                }
                ready!(self.poll_read(task));
            }
        })
        .await;
    }

    /// Ready when at most `left` bytes wait to be sent.
    fn poll_write(&mut self, task: &mut TaskContext<'_>, left: usize) -> Poll<()> {
        while self.session.outgoing().len() > left && !self.write_failed {
            let written = Pin::new(&mut self.writer).poll_write(task, self.session.outgoing());
            match ready!(written) {
                Ok(count) if count > 0 => self.session.sent(count),
                _ => self.write_failed = true,
            }
        }
        if self.write_failed {
            let waiting = self.session.outgoing().len();
            self.session.sent(waiting);
            return Poll::Ready(());
        }
        match ready!(Pin::new(&mut self.writer).poll_flush(task)) {
            Ok(()) => {}
            Err(_) => self.write_failed = true,
        }
        Poll::Ready(())
    }

    fn poll_read(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        let mut buffer = ReadBuf::new(self.session.space());
        let result = ready!(Pin::new(&mut self.reader).poll_read(task, &mut buffer));
        let count = buffer.filled().len();
        match result {
            Ok(()) if count > 0 => self.session.received(count),
            Ok(()) => {
                self.read_ended = true;
                self.session.input_ended(None);
            }
            Err(error) => {
                self.read_ended = true;
                self.session.input_ended(Some(&error));
            }
        }
        Poll::Ready(())
    }
}
