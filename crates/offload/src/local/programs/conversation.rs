//! Talking to a program: all on one socket, so that every wait for it has a bound.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use store_path::StoreDir;
use worker_protocol::client::{Options, Progress, Session};
use worker_protocol::{Error, Operation};

/// How much of what a program complains of is told: the end of it, in bytes.
const COMPLAINT: u64 = 2048;
/// Pause between two looks whether a program has ended.
const PAUSE: Duration = Duration::from_millis(1);

/// A program whose standard input and output are the other end of a socket. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Talk {
    child: Child,
    stream: UnixStream,
    /// Its standard error.
    complaints: File,
    patience: Duration,
}

impl Talk {
    /// Starts `command`, which may take `patience` to say or take in anything.
    ///
    /// # Errors
    /// Why it cannot be started.
    pub(super) fn start(command: Command, patience: Duration) -> Result<Self, String> {
        spawn(command, patience).map_err(|error| error.to_string())
    }

    /// Gives it `input` and waits for its end.
    ///
    /// # Errors
    /// What it complained of, or what became of it.
    pub(super) fn run(mut self, input: &[u8]) -> Result<(), String> {
        let written = self.stream.write_all(input);
        let closed = written.and_then(|()| self.stream.shutdown(Shutdown::Write));
        let ended = closed.and_then(|()| std::io::copy(&mut self.stream, &mut std::io::sink()));
        if let Err(error) = ended
            && !has_hung_up(&error)
        {
            let complaint = self.complaint();
            return Err(complaint.unwrap_or_else(|| self.in_words(error).to_string()));
        }
        let status = self.wait().map_err(|error| error.to_string())?;
        match status.success() {
            true => Ok(()),
            false => Err(self.complaint().unwrap_or_else(|| status.to_string())),
        }
    }

    /// Waits for its end, for which it has let go of its input and output already.
    fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(self.in_words(ErrorKind::WouldBlock.into()));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// What the operating system says when the patience is over means nothing to a person.
    fn in_words(&self, error: std::io::Error) -> std::io::Error {
        match error.kind() {
            ErrorKind::WouldBlock => {
                let seconds = self.patience.as_secs_f64();
                std::io::Error::new(
                    ErrorKind::TimedOut,
                    format!("no answer within {seconds} s (bound program)"),
                )
            }
            _ => error,
        }
    }

    fn complaint(&mut self) -> Option<String> {
        let length = self.complaints.seek(SeekFrom::End(0)).ok()?;
        let start = SeekFrom::Start(length.saturating_sub(COMPLAINT));
        self.complaints.seek(start).ok()?;
        let mut bytes = Vec::new();
        (&self.complaints)
            .take(COMPLAINT)
            .read_to_end(&mut bytes)
            .ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.split_whitespace().collect();
        (!lines.is_empty()).then(|| lines.join(" "))
    }
}

/// Takes the command, because that has the program's end of the socket as long as it is there.
fn spawn(mut command: Command, patience: Duration) -> std::io::Result<Talk> {
    let (stream, other) = UnixStream::pair()?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let complaints = tempfile::tempfile()?;
    let child = command
        .stdin(OwnedFd::from(other.try_clone()?))
        .stdout(OwnedFd::from(other))
        // The end of this process's own is what the daemon that called it waits for.
        .stderr(complaints.try_clone()?)
        .spawn()?;
    Ok(Talk {
        child,
        stream,
        complaints,
        patience,
    })
}

/// Whether the other end is closed: also with something unread in it, which is an error of its own.
fn has_hung_up(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    )
}

impl Drop for Talk {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The worker protocol with a daemon that is such a program.
#[derive(Debug)]
pub(super) struct Conversation {
    talk: Talk,
    session: Session,
}

impl Conversation {
    pub(super) fn new(talk: Talk, store_dir: StoreDir) -> Self {
        Conversation {
            talk,
            session: Session::new(Options::nix(store_dir)),
        }
    }

    /// Sends one request and waits for its reply. What the daemon says meanwhile is nobody's concern.
    ///
    /// # Errors
    /// The daemon's word, or why the conversation is over.
    pub(super) fn ask<O: Operation>(&mut self, operation: &O) -> Result<O::Reply, Error> {
        while let Progress::NeedBytes(count) = self.session.poll_version()? {
            self.exchange(count);
        }
        let ticket = self.session.queue(operation)?;
        loop {
            match self.session.poll_reply(ticket)? {
                Progress::Ready(reply) => return Ok(reply),
                Progress::NeedBytes(count) => self.exchange(count),
                Progress::Log(_) | Progress::Data(_) => {}
            }
        }
    }

    /// Sends what is to be sent, and reads until `count` bytes are there or no more will come: which
    /// of these the session sees by itself.
    fn exchange(&mut self, count: usize) {
        let sent = self.session.outgoing().len();
        match self.talk.stream.write_all(self.session.outgoing()) {
            Ok(()) => self.session.sent(sent),
            // It has ended; what it said before is there to be read.
            Err(error) if has_hung_up(&error) => self.session.output_failed(&error),
            Err(error) => return self.session.input_ended(Some(&self.talk.in_words(error))),
        }
        while self.session.buffered() < count {
            match self.talk.stream.read(self.session.space()) {
                Ok(0) => return self.session.input_ended(None),
                Ok(length) => self.session.received(length),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if has_hung_up(&error) => return self.session.input_ended(None),
                Err(error) => return self.session.input_ended(Some(&self.talk.in_words(error))),
            }
        }
    }

    /// Why the conversation is over: the program's own words, if there are any.
    pub(super) fn explain(mut self, error: &Error) -> String {
        let complaint = self.talk.complaint();
        complaint.unwrap_or_else(|| format!("failed to {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, patience: Duration) -> Talk {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Talk::start(command, patience).unwrap()
    }

    #[test]
    fn a_program_that_ends_well_or_badly() {
        let long = Duration::from_secs(60);
        assert_eq!(shell("test \"$(cat)\" = text", long).run(b"text"), Ok(()));
        let errors = [
            shell("echo error: no >&2; exit 1", long).run(b""),
            shell("exit 3", long).run(&[b'x'; 1 << 20]),
            Talk::start(Command::new("/nowhere/nix-store"), long).map(drop),
            shell("sleep 60", Duration::from_millis(20)).run(b""),
        ];
        insta::assert_snapshot!(errors.map(Result::unwrap_err).join("\n"), @"
        error: no
        exit status: 3
        No such file or directory (os error 2)
        no answer within 0.02 s (bound program)
        ");
    }

    #[test]
    fn a_daemon_that_is_none() {
        use worker_protocol::operation::QueryAllValidPaths;
        let long = Duration::from_secs(60);
        let ask = |script, patience| {
            let mut conversation = Conversation::new(shell(script, patience), StoreDir::NIX);
            let error = conversation.ask(&QueryAllValidPaths {}).unwrap_err();
            conversation.explain(&error)
        };
        let errors = [
            ask("echo error: it is locked >&2", long),
            ask("exit 1", long),
            ask("echo this is no handshake", long),
            ask("sleep 60", Duration::from_millis(20)),
        ];
        insta::assert_snapshot!(errors.join("\n"), @"
        error: it is locked
        failed to reach the peer: it closed the connection during the handshake
        failed to agree on a protocol version with the peer: it began with 0x2073692073696874
        failed to reach the peer during the handshake: no answer within 0.02 s (bound program)
        ");
    }
}
