//! Whether a client is still there, whatever it is being served with.
//!
//! A session that waits for this host's daemon, or has more of a request than it can pass on, does not
//! read, and would not see the end of what it reads. The kernel tells of it all the same.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::EndpointError;

/// See the module's text.
#[derive(Debug)]
pub struct Presence(Watch);

#[derive(Debug)]
enum Watch {
    /// A second descriptor of the client's socket.
    Socket(UnixStream),
    /// A thread that says when nobody reads a pipe any more.
    Pipe(oneshot::Receiver<()>),
}

impl Presence {
    /// Watches the client at the other end of a socket.
    ///
    /// # Errors
    /// When there is no further descriptor.
    pub fn of_socket(socket: &UnixStream) -> io::Result<Self> {
        let socket = socket.as_fd().try_clone_to_owned()?;
        let socket = UnixStream::from_std(socket.into())?;
        Ok(Presence(Watch::Socket(socket)))
    }

    /// Watches the client that reads what is written to `output`, by a thread that lives as long as the
    /// client. What is no pipe never hangs up.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn of_pipe(output: OwnedFd) -> io::Result<Self> {
        let (sender, receiver) = oneshot::channel();
        let watch = move || {
            // Errors and the end are told without having been asked for.
            let mut watched = [PollFd::new(&output, PollFlags::empty())];
            if poll(&mut watched, None).is_ok() {
                // Whoever would hear it may have ended.
                let _ = sender.send(());
            }
        };
        std::thread::Builder::new().spawn(watch)?;
        Ok(Presence(Watch::Pipe(receiver)))
    }

    /// Does `serving` until the client has hung up. One that only says that it will ask no more is served to
    /// the end.
    ///
    /// # Errors
    /// Those of `serving`, and that the client is gone.
    pub async fn during(
        mut self,
        serving: impl Future<Output = Result<(), EndpointError>>,
    ) -> Result<(), EndpointError> {
        tokio::select! {
            biased;
            served = serving => served,
            () = self.ends() => Err(EndpointError::Gone),
        }
    }

    async fn ends(&mut self) {
        let is_gone = match &mut self.0 {
            Watch::Socket(socket) => socket_ends(socket).await,
            Watch::Pipe(receiver) => receiver.await.is_ok(),
        };
        if !is_gone {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether it ended; if not then nothing is known of it any more.
async fn socket_ends(socket: &UnixStream) -> bool {
    loop {
        match socket.ready(Interest::WRITABLE).await {
            Ok(ready) if ready.is_write_closed() => return true,
            // It is writable, as a rule: waits for the next change.
            Ok(_) => {
                let not_now = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                let _ = socket.try_io(Interest::WRITABLE, not_now);
            }
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);
    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn who_hangs_up_is_gone_whatever_was_sent_before() {
        let (mut client, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = UnixStream::from_std(ours).unwrap();
        let mut presence = Presence::of_socket(&ours).unwrap();
        client.write_all(&[7; 1000]).unwrap();
        assert!(timeout(MOMENT, presence.ends()).await.is_err());
        client.shutdown(Shutdown::Write).unwrap();
        let ended = timeout(MOMENT, presence.ends()).await;
        assert!(ended.is_err(), "it still reads");
        drop(client);
        let served = presence.during(std::future::pending());
        let served = timeout(LIMIT, served).await.expect("it is seen");
        assert!(matches!(served, Err(EndpointError::Gone)), "{served:?}");
    }

    #[tokio::test]
    async fn a_pipe_that_nobody_reads_any_more_and_a_file() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut presence = Presence::of_pipe(writer.into()).unwrap();
        assert!(timeout(MOMENT, presence.ends()).await.is_err());
        drop(reader);
        timeout(LIMIT, presence.ends()).await.expect("it is seen");
        let file = tempfile::tempfile().unwrap();
        let mut file = Presence::of_pipe(file.into()).unwrap();
        assert!(timeout(MOMENT, file.ends()).await.is_err());
    }
}
