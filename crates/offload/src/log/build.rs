//! The build's own output.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use worker_protocol::Log;
use worker_protocol::log::{ActivityKind, Field, Level, ResultKind};

use super::BUILD;

/// The build's log: the bytes of the build, one line after the other.
pub struct BuildLog {
    sink: Sink,
    /// Whether the daemon reads it. It does so from the accept on: before, a full pipe (64 KiB) would be waited for
    /// without an end.
    is_read: bool,
}

enum Sink {
    /// A hook's log pipe, and its other end where that is at hand.
    Pipe(Box<dyn Write + Send>, Option<File>),
    /// A client of the store endpoint, and the beginning of a line for it.
    Messages(UnboundedSender<Log>, Vec<u8>),
}

impl std::fmt::Debug for BuildLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildLog").finish_non_exhaustive()
    }
}

/// The longest piece of a line that a client is sent, in bytes. The rest comes as another line.
const LONGEST_LINE: usize = 1 << 20;
/// How long the daemon is waited for without its reading anything.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at what it has not read yet.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

impl BuildLog {
    /// Writes to `stream`, from the accept on.
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        let sink = Sink::Pipe(Box::new(stream), None);
        let is_read = false;
        BuildLog { sink, is_read }
    }

    /// Writes to a pipe whose other end is at hand too: file descriptors 4 and 5 of Nix's hook.
    #[must_use]
    pub fn pipe(write_end: File, read_end: File) -> Self {
        let sink = Sink::Pipe(Box::new(write_end), Some(read_end));
        let is_read = false;
        BuildLog { sink, is_read }
    }

    pub(super) fn to_client(sender: UnboundedSender<Log>) -> Self {
        let sink = Sink::Messages(sender, Vec::new());
        let is_read = true;
        BuildLog { sink, is_read }
    }

    /// The build is accepted. What a machine has said until then is dropped: it is not the build's.
    pub(super) fn accepted(&mut self) {
        self.is_read = true;
    }

    /// The build of `derivation` begins on `machine`. A hook's daemon knows that already.
    pub fn start(&mut self, derivation: &str, machine: &str) {
        self.send(Log::StartActivity {
            id: BUILD,
            level: Level::INFO,
            kind: ActivityKind::BUILD,
            text: format!("building '{derivation}' on '{machine}'").into(),
            fields: vec![
                Field::Text(derivation.into()),
                Field::Text(machine.into()),
                // The first round of one.
                Field::Number(1),
                Field::Number(1),
            ],
            parent: 0,
        });
    }

    /// The build is over.
    pub fn stop(&mut self) {
        if let Sink::Messages(_, rest) = &mut self.sink
            && !rest.is_empty()
        {
            let rest = std::mem::take(rest);
            self.line(&rest);
        }
        self.send(Log::StopActivity { id: BUILD });
    }

    /// One line of the log, without its line end.
    pub fn line(&mut self, line: &[u8]) {
        if !self.is_read {
            return;
        }
        match &mut self.sink {
            Sink::Pipe(stream, _) => {
                let mut whole = Vec::with_capacity(line.len() + 1);
                whole.extend_from_slice(line);
                whole.push(b'\n');
                // A daemon that no longer reads the log still wants the outputs.
                let _ = stream.write_all(&whole);
            }
            Sink::Messages(..) => self.result(ResultKind::BUILD_LOG_LINE, line),
        }
    }

    /// Some bytes of the log as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        if !self.is_read {
            return;
        }
        let rest = match &mut self.sink {
            Sink::Pipe(stream, _) => {
                let _ = stream.write_all(bytes);
                return;
            }
            Sink::Messages(_, rest) => rest,
        };
        rest.extend_from_slice(bytes);
        let mut lines = std::mem::take(rest);
        while let Some(end) = lines.iter().position(|&byte| byte == b'\n') {
            self.line(&lines[..end]);
            lines.drain(..=end);
        }
        if lines.len() > LONGEST_LINE {
            self.line(&lines);
            lines.clear();
        }
        if let Sink::Messages(_, rest) = &mut self.sink {
            *rest = lines;
        }
    }

    /// The build entered a phase.
    pub fn phase(&mut self, phase: &str) {
        match &self.sink {
            Sink::Pipe(..) => {
                let json = serde_json::json!({ "action": "setPhase", "phase": phase });
                self.line(format!("@nix {json}").as_bytes());
            }
            Sink::Messages(..) => self.result(ResultKind::SET_PHASE, phase.as_bytes()),
        }
    }

    fn result(&mut self, kind: ResultKind, text: &[u8]) {
        self.send(Log::Result {
            id: BUILD,
            kind,
            fields: vec![Field::Text(text.into())],
        });
    }

    fn send(&mut self, message: Log) {
        if let Sink::Messages(sender, _) = &self.sink {
            // A client that is gone is noticed by whoever talks to it.
            let _ = sender.send(message);
        }
    }

    /// Waits until the daemon has read everything: it drops the rest of the log the moment that
    /// the hook exits (of 60,000 bytes 4096 were kept). Gives up when nothing is read for 5 s.
    pub fn drain(&mut self) {
        let Sink::Pipe(stream, unread) = &mut self.sink else {
            return;
        };
        let _ = stream.flush();
        let Some(read_end) = unread else { return };
        let mut last = u64::MAX;
        let mut moved = Instant::now();
        while let Ok(unread) = rustix::io::ioctl_fionread(&*read_end) {
            if unread == 0 || moved.elapsed() >= DRAIN_WAIT {
                return;
            }
            if unread != last {
                (last, moved) = (unread, Instant::now());
            }
            std::thread::sleep(DRAIN_PAUSE);
        }
    }

    #[cfg(test)]
    pub(super) fn unread(&self) -> Option<&File> {
        match &self.sink {
            Sink::Pipe(_, unread) => unread.as_ref(),
            Sink::Messages(..) => None,
        }
    }
}
