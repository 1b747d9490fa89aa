use std::mem;

use tokio::io::{AsyncRead, AsyncWrite};

use super::adapter::{Client, Event};
use super::session::Progress;
#[cfg(doc)]
use crate::Misuse;
use crate::operation::AddMultipleToStore;
use crate::outstanding::Ticket;
use crate::streams::{Goal, PIECE, WRITE_BEHIND};
use crate::{Error, Log, Operation, ValidPathInfo};

/// Data that is being sent behind a request. The daemon's log is read meanwhile.
///
/// [`NarUpload::write`] takes all of the data it is given. [`NarUpload::send`] takes some of it, and hands out what
/// the daemon says, one message at a time: for those who pass it on, and whose futures may be dropped.
///
/// Dropping it before [`NarUpload::finish`] ends the connection. So does going on after a future of
/// [`NarUpload::write`] was dropped: how much of the data was taken is not known then.
#[derive(Debug)]
pub struct NarUpload<'a, R, W, O> {
    client: &'a mut Client<R, W>,
    ticket: Ticket<O>,
    /// Whether a future of [`NarUpload::write`] was begun and not yet done.
    writing: bool,
}

impl<'a, R, W, O> NarUpload<'a, R, W, O> {
    pub(super) fn new(client: &'a mut Client<R, W>, ticket: Ticket<O>) -> Self {
        NarUpload {
            client,
            ticket,
            writing: false,
        }
    }

    /// Gives the upload up if a future that may have taken data was dropped. What is called then says so.
    fn go_on(&mut self) {
        if mem::take(&mut self.writing) {
            self.client.session.abandon_upload(None);
        }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin, O: Operation> NarUpload<'_, R, W, O> {
    /// Sends data. It returns once the last of it was taken: then less than 1 MiB waits to be sent.
    ///
    /// # Errors
    /// [`Error::Remote`] if the daemon gave up: then this upload is over, its reply is read, and the
    /// connection is as good as before. [`Misuse::TooMuchData`] if it is more than was announced: then
    /// nothing of it was taken. Otherwise why the connection is of no use.
    pub async fn write(&mut self, data: &[u8], log: &mut impl FnMut(Log)) -> Result<(), Error> {
        self.go_on();
        self.writing = true;
        let mut left = data;
        let result = self.write_all(&mut left, log).await;
        self.writing = false;
        match result {
            Err(Error::Misused(misuse)) if left.len() < data.len() => {
                Err(self.client.session.abandon_upload(Some(misuse)))
            }
            other => other,
        }
    }

    async fn write_all(
        &mut self,
        data: &mut &[u8],
        log: &mut impl FnMut(Log),
    ) -> Result<(), Error> {
        loop {
            match self.client.send(data).await? {
                Event::Log(message) => log(message),
                Event::Data(_) => {}
                Event::Ready(count) => {
                    *data = &data[count..];
                    if data.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Sends some of the data, and says how many bytes of it were taken: at least one, at most 256 KiB. What the
    /// daemon says comes first, and then nothing was taken.
    ///
    /// It waits while more than 512 KiB wait to be sent, and for a daemon that has to ask for its data. Its future
    /// may be dropped at any time: then nothing was taken.
    ///
    /// # Errors
    /// As [`NarUpload::write`].
    pub async fn send(&mut self, data: &[u8]) -> Result<Event<usize>, Error> {
        self.go_on();
        self.client.send(data).await
    }

    /// Waits until the data can end: at once, but for a daemon that has to ask for its data. What the daemon says
    /// comes first. Its future may be dropped at any time.
    ///
    /// # Errors
    /// As [`NarUpload::write`].
    pub async fn hear(&mut self) -> Result<Event<()>, Error> {
        self.go_on();
        self.client.hear_upload().await
    }

    /// Ends the data. It does not wait for it to be sent: requests can be queued behind it at once.
    ///
    /// # Errors
    /// As [`NarUpload::write`]; [`Error::Abandoned`] if data is missing.
    pub async fn finish(mut self, log: &mut impl FnMut(Log)) -> Result<Ticket<O>, Error> {
        loop {
            match self.hear().await {
                Ok(Event::Log(message)) => log(message),
                Ok(Event::Data(_)) => {}
                Ok(Event::Ready(())) => return self.end(),
                Err(Error::Misused(misuse)) => {
                    return Err(self.client.session.abandon_upload(Some(misuse)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the data, after [`NarUpload::hear`] was ready.
    ///
    /// # Errors
    /// As [`NarUpload::finish`].
    pub fn end(mut self) -> Result<Ticket<O>, Error> {
        self.go_on();
        match self.client.session.finish_upload() {
            Ok(()) => Ok(self.ticket),
            Err(Error::Misused(misuse)) => Err(self.client.session.abandon_upload(Some(misuse))),
            Err(error) => Err(error),
        }
    }
}

impl<R, W, O> Drop for NarUpload<'_, R, W, O> {
    fn drop(&mut self) {
        // Does nothing if the upload is over.
        self.client.session.abandon_upload(None);
    }
}

/// Paths with their archives that are being sent behind [`AddMultipleToStore`]. See [`NarUpload`].
#[derive(Debug)]
pub struct MultipleUpload<'a, R, W> {
    upload: NarUpload<'a, R, W, AddMultipleToStore>,
}

impl<'a, R, W> MultipleUpload<'a, R, W> {
    pub(super) fn new(upload: NarUpload<'a, R, W, AddMultipleToStore>) -> Self {
        MultipleUpload { upload }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> MultipleUpload<'_, R, W> {
    /// Begins the next path. The archive before must be complete.
    ///
    /// # Errors
    /// [`Misuse::TooLittleData`], [`Misuse::PathCount`]; why the connection is of no use.
    pub fn path(&mut self, path: &ValidPathInfo) -> Result<(), Error> {
        self.upload.go_on();
        self.upload.client.session.upload_path(path)
    }

    /// Sends some of the path's archive.
    ///
    /// # Errors
    /// As [`NarUpload::write`].
    pub async fn write(&mut self, data: &[u8], log: &mut impl FnMut(Log)) -> Result<(), Error> {
        self.upload.write(data, log).await
    }

    /// Sends some of the path's archive, and says how much: see [`NarUpload::send`].
    ///
    /// # Errors
    /// As [`NarUpload::write`].
    pub async fn send(&mut self, data: &[u8]) -> Result<Event<usize>, Error> {
        self.upload.send(data).await
    }

    /// Ends the data.
    ///
    /// # Errors
    /// As [`NarUpload::finish`]; [`Error::Abandoned`] if paths are missing, too.
    pub async fn finish(
        self,
        log: &mut impl FnMut(Log),
    ) -> Result<Ticket<AddMultipleToStore>, Error> {
        self.upload.finish(log).await
    }

    /// Ends the data. A daemon that knows this operation never has to ask for it, so there is nothing to wait for.
    ///
    /// # Errors
    /// As [`MultipleUpload::finish`].
    pub fn end(self) -> Result<Ticket<AddMultipleToStore>, Error> {
        self.upload.end()
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Client<R, W> {
    /// Waits first and takes data last, so that nothing was taken when its future is dropped.
    async fn send(&mut self, data: &[u8]) -> Result<Event<usize>, Error> {
        self.session.check_room(data.len())?;
        loop {
            self.drive(Goal::Unsent(WRITE_BEHIND)).await?;
            match self.hear_upload().await? {
                Event::Ready(()) | Event::Data(_) => {}
                Event::Log(message) => return Ok(Event::Log(message)),
            }
            let taken = self.session.upload(&data[..data.len().min(PIECE)])?;
            if taken > 0 || data.is_empty() {
                self.push().await;
                return Ok(Event::Ready(taken));
            }
        }
    }

    /// Reads what has come during an upload; waits only for a daemon that has to ask for its data.
    async fn hear_upload(&mut self) -> Result<Event<()>, Error> {
        loop {
            if !self.session.upload_is_next() && !self.session.upload_waits() {
                return Ok(Event::Ready(()));
            }
            match self.session.poll_upload()? {
                Progress::Ready(()) => return Ok(Event::Ready(())),
                Progress::Log(message) => return Ok(Event::Log(message)),
                Progress::Data(_) => {}
                Progress::NeedBytes(count) if self.session.upload_waits() => {
                    self.read_more(count).await?;
                }
                Progress::NeedBytes(_) => return Ok(Event::Ready(())),
            }
        }
    }
}
