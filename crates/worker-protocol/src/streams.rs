//! The reader and the writer below a session.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Connection;
use crate::{Error, Misuse};

/// How much may come from a server while something is sent and nobody reads replies.
const READ_AHEAD: usize = 64 << 20;

/// How much may wait to be sent before a client's data waits for it.
pub(crate) const WRITE_BEHIND: usize = 512 << 10;

/// How much of a client's data is taken at a time: enough for few system calls, and little to be held.
pub(crate) const PIECE: usize = 256 << 10;

/// What a client waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// So many bytes that came and were not used, or the end of the input.
    Buffered(usize),
    /// No more than so many bytes to be sent, to a peer that takes them: where writing has failed, the end of the
    /// input, which tells why, or as much of it as may be held.
    Unsent(usize),
    /// Everything sent and flushed.
    Flushed,
}

#[derive(Debug)]
pub(crate) struct Streams<R, W> {
    reader: R,
    writer: W,
    /// Whether something was written since the writer was flushed.
    unflushed: bool,
    /// Whether the writer has failed.
    write_failed: bool,
    read_ended: bool,
}

impl<R, W> Streams<R, W> {
    pub(crate) fn new(reader: R, writer: W) -> Streams<R, W> {
        Streams {
            reader,
            writer,
            unflushed: false,
            write_failed: false,
            read_ended: false,
        }
    }

    pub(crate) fn into_parts(self) -> (R, W) {
        (self.reader, self.writer)
    }

    /// Whether the input has ended.
    pub(crate) fn read_ended(&self) -> bool {
        self.read_ended
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Streams<R, W> {
    /// Ready when something came, or the input ended.
    pub(crate) fn poll_read(
        &mut self,
        task: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<()> {
        let mut buffer = ReadBuf::new(connection.space());
        let result = ready!(Pin::new(&mut self.reader).poll_read(task, &mut buffer));
        let count = buffer.filled().len();
        match &result {
            Ok(()) if count > 0 => connection.received(count),
            ended => {
                self.read_ended = true;
                connection.input_ended(ended.as_ref().err());
            }
        }
        Poll::Ready(())
    }

    /// Ready when at most `left` bytes are left to be sent.
    pub(crate) fn poll_write(
        &mut self,
        task: &mut Context<'_>,
        connection: &mut Connection,
        left: usize,
    ) -> Poll<io::Result<()>> {
        while connection.outgoing().len() > left {
            // Whoever waits to take it may have a copy of it already.
            connection.seal();
            match ready!(Pin::new(&mut self.writer).poll_write(task, connection.outgoing()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => connection.sent(count),
            }
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the writer has passed on everything that it took.
    pub(crate) fn poll_flush(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.writer).poll_flush(task))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when nothing is left to be sent. That the writer failed is no error: what the peer had said before
    /// is still to be read, and may tell why.
    pub(crate) fn poll_send(
        &mut self,
        task: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<()> {
        if !self.write_failed {
            let mut written = ready!(self.poll_write(task, connection, 0));
            if written.is_ok() {
                written = ready!(self.poll_flush(task));
            }
            if let Err(failure) = written {
                self.write_failed = true;
                connection.output_failed(&failure);
            }
        }
        if self.write_failed {
            connection.discard_outgoing();
        }
        Poll::Ready(())
    }

    /// Writes and reads as much as can be done without waiting, until a client's goal is reached, or the input
    /// has ended: then the replies tell why.
    ///
    /// # Errors
    /// [`Misuse::UnreadReplies`] if too much comes while something is sent.
    pub(crate) fn poll_drive(
        &mut self,
        task: &mut Context<'_>,
        connection: &mut Connection,
        goal: Goal,
    ) -> Poll<Result<(), Error>> {
        let reads = matches!(goal, Goal::Buffered(_));
        let full = |connection: &Connection| connection.incoming().len() >= READ_AHEAD;
        if !reads && !self.read_ended && !full(connection) {
            // What has come already is not left lying until writing has to wait.
            let _ = self.poll_read(task, connection);
        }
        loop {
            let sending = self.poll_send(task, connection);
            let reached = match goal {
                Goal::Buffered(count) => connection.incoming().len() >= count,
                Goal::Unsent(_) if self.write_failed => full(connection),
                Goal::Unsent(count) => connection.outgoing().len() <= count,
                Goal::Flushed => sending.is_ready(),
            };
            if reached || self.read_ended {
                return Poll::Ready(Ok(()));
            }
            if !reads && full(connection) {
                let error = Misuse::UnreadReplies(connection.incoming().len());
                return Poll::Ready(Err(error.into()));
            }
            ready!(self.poll_read(task, connection));
        }
    }

    /// Closes the writer and reads until the input ends. What comes is lost.
    pub(crate) fn poll_end(
        &mut self,
        task: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<()> {
        ready!(self.poll_send(task, connection));
        // A peer that is gone already has ended, too.
        let _ = ready!(Pin::new(&mut self.writer).poll_shutdown(task));
        while !self.read_ended {
            connection.consume(connection.incoming().len());
            ready!(self.poll_read(task, connection));
        }
        Poll::Ready(())
    }
}
