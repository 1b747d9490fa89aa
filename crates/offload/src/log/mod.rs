//! What the daemon and the person behind it get to see.
//!
//! Two channels: records and messages, which become progress and messages of the client, and the
//! build's log as it is, which becomes `nix log` and the tail of an error message. A hook writes the
//! first to its reply stream (`@nix {json}` lines) and the second to a pipe of its own; the store
//! endpoint sends both to its client in the worker protocol.

mod build;
mod daemon;

pub use build::BuildLog;
pub use daemon::{Copying, DaemonLog};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use worker_protocol::log::{Field, ResultKind};

/// The activity that is the build itself.
const BUILD: u64 = 1;
/// The number of the first activity beside it.
const FIRST_ACTIVITY: u64 = 2;

/// How important a message is: Nix's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "u8")]
pub enum Level {
    /// Always shown, with `error:` before it.
    Error = 0,
    /// Always shown.
    Warning = 1,
    /// Shown by default.
    Notice = 2,
    /// Shown by default by programs that show progress.
    Info = 3,
    /// Shown with `-v`.
    Talkative = 4,
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level as u8
    }
}

/// What a machine says while it works.
#[derive(Debug, Clone)]
pub enum Said {
    /// In the worker protocol.
    Message(worker_protocol::Log),
    /// On standard error, where the serve protocol is spoken: the build's log as it is.
    Raw(Bytes),
}

impl Said {
    /// About how many bytes it has.
    pub(crate) fn size(&self) -> u64 {
        let text = match self {
            Said::Raw(bytes) => bytes.len(),
            Said::Message(worker_protocol::Log::Next(text)) => text.len(),
            Said::Message(worker_protocol::Log::StartActivity { text, .. }) => text.len(),
            Said::Message(worker_protocol::Log::Result { fields, .. }) => fields
                .iter()
                .map(|field| match field {
                    Field::Text(text) => text.len(),
                    Field::Number(_) => size_of::<u64>(),
                })
                .sum(),
            Said::Message(_) => 0,
        };
        // The message itself, however empty.
        text as u64 + 8
    }
}

impl From<worker_protocol::Log> for Said {
    fn from(message: worker_protocol::Log) -> Self {
        Said::Message(message)
    }
}

/// Where lines go while a build runs: both streams at once.
#[derive(Debug)]
pub struct Log {
    /// Replies and records.
    pub daemon: DaemonLog,
    /// The build's own output.
    pub build: BuildLog,
}

impl Log {
    /// A log whose messages go to a client of ours, in the worker protocol: those up to `verbosity`.
    #[must_use]
    pub fn to_client(sender: &UnboundedSender<worker_protocol::Log>, verbosity: u64) -> Self {
        Log {
            daemon: DaemonLog::to_client(sender.clone(), verbosity),
            build: BuildLog::to_client(sender.clone()),
        }
    }

    /// Accepts the build, Nix's for the machine at `uri`: from now on its log is read.
    pub(crate) fn accept(&mut self, uri: Option<&str>) {
        self.daemon.reply("accept", uri);
        self.build.accepted();
    }

    /// Passes on what a machine's daemon says while it works: lines and phases of the build to the
    /// build's log, other messages to the person who asked for details.
    pub fn forward(&mut self, said: impl Into<Said>) {
        let message = match said.into() {
            Said::Message(message) => message,
            Said::Raw(bytes) => return self.build.raw(&bytes),
        };
        match message {
            // A guix-daemon's own words and the build's output are one.
            worker_protocol::Log::Next(text) if self.daemon.is_guix() => {
                self.build.raw(text.as_bytes());
            }
            worker_protocol::Log::Next(text) => {
                let text = text.to_string_lossy();
                self.daemon.message(Level::Talkative, text.trim_end());
            }
            worker_protocol::Log::Result { kind, fields, .. } => match (kind, fields.first()) {
                (ResultKind::BUILD_LOG_LINE, Some(Field::Text(line))) => self.build.line(line),
                (ResultKind::SET_PHASE, Some(Field::Text(phase))) => {
                    self.build.phase(&phase.to_string_lossy());
                }
                _ => {}
            },
            // The client sees one build, by the daemon that called us; the machine's own
            // activities would only repeat that.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    /// Remembers what is written.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn replies_and_records_are_whole_lines() {
        let memory = Memory::default();
        let mut log = DaemonLog::new(memory.clone());
        log.message(Level::Warning, "two\nlines and a \"quote\"");
        log.reply("accept", Some("ssh-ng://farm1"));
        let mut copying = log.start_copying(2, 3 << 20, "local", "ssh-ng://farm1");
        for (path, pieces) in [("/s/a", 3), ("/s/b", 0)] {
            log.start_path(&mut copying, path, pieces << 20);
            for _ in 0..2 * pieces {
                log.progress(&mut copying, 1 << 19);
            }
            log.stop_path(&mut copying);
        }
        log.stop_copying(copying);
        log.reply("decline", None);
        insta::assert_snapshot!(memory.text());
    }

    #[test]
    fn a_machines_messages_find_their_places() {
        let (daemon, build) = (Memory::default(), Memory::default());
        let mut log = Log {
            daemon: DaemonLog::new(daemon.clone()),
            build: BuildLog::new(build.clone()),
        };
        log.build.accepted();
        let result = |kind, text: &[u8]| worker_protocol::Log::Result {
            id: 9,
            kind,
            fields: vec![Field::Text(text.into())],
        };
        log.forward(result(ResultKind::BUILD_LOG_LINE, b"compiling \xff"));
        log.forward(result(ResultKind::SET_PHASE, b"check"));
        log.forward(result(ResultKind::PROGRESS, b""));
        log.forward(worker_protocol::Log::Next("warning: careful\n".into()));
        log.forward(worker_protocol::Log::StopActivity { id: 9 });
        let lines = build.0.lock().unwrap().clone();
        let phase = "@nix {\"action\":\"setPhase\",\"phase\":\"check\"}\n";
        assert_eq!(lines, [b"compiling \xff\n", phase.as_bytes()].concat());
        assert_eq!(
            daemon.text(),
            "@nix {\"action\":\"msg\",\"level\":4,\"msg\":\"warning: careful\"}\n"
        );
    }

    #[test]
    fn a_guix_daemon_gets_whole_lines_of_which_only_replies_begin_like_one() {
        let (daemon, build) = (Memory::default(), Memory::default());
        let mut log = Log {
            daemon: DaemonLog::guix(daemon.clone()),
            build: BuildLog::new(build.clone()),
        };
        log.forward(worker_protocol::Log::Next("nobody reads it yet".into()));
        log.daemon.message(Level::Talkative, "left out");
        log.daemon.message(Level::Notice, "two\n# lines");
        let copying = log.daemon.start_copying(1, 9, "local", "builder");
        log.daemon.stop_copying(copying);
        log.accept(None);
        log.forward(worker_protocol::Log::Next("as it is".into()));
        assert_eq!(daemon.text(), "two\n # lines\n# accept\n");
        assert_eq!(build.text(), "as it is");
    }

    /// The daemon would take a long silence for the build's.
    #[tokio::test(start_paused = true)]
    async fn a_guix_daemon_gets_a_line_now_and_then_while_something_is_copied() {
        let memory = Memory::default();
        let mut log = DaemonLog::guix(memory.clone());
        let mut copying = log.start_copying(2, 0, "local", "farm1");
        for size in [40 << 20, 0] {
            log.start_path(&mut copying, "/s/a", size);
            for _ in 0..8 {
                tokio::time::advance(Duration::from_secs(3)).await;
                log.progress(&mut copying, 5 << 20);
            }
            log.stop_path(&mut copying);
        }
        log.stop_copying(copying);
        insta::assert_snapshot!(memory.text(), @r"
        copying '/s/a' from 'local' to 'farm1': 20 of 40 MiB
        copying '/s/a' from 'local' to 'farm1': 40 of 40 MiB
        copying '/s/a' from 'local' to 'farm1': 20 MiB
        copying '/s/a' from 'local' to 'farm1': 40 MiB
        ");
    }

    #[test]
    fn a_client_of_ours_gets_the_same_in_the_worker_protocol() {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut log = Log::to_client(&sender, 3);
        log.build.start("/s/a.drv", "ssh-ng://farm1");
        log.daemon.message(Level::Talkative, "left out");
        log.daemon.message(Level::Warning, "careful");
        log.forward(Said::Raw(Bytes::from_static(b"one\ntw")));
        log.forward(Said::Raw(Bytes::from_static(b"o\nrest")));
        let mut copying = log.daemon.start_copying(1, 9, "local", "ssh-ng://farm1");
        log.daemon.start_path(&mut copying, "/s/b", 9);
        log.daemon.stop_path(&mut copying);
        log.daemon.stop_copying(copying);
        log.build.stop();
        let mut said = Vec::new();
        while let Ok(message) = receiver.try_recv() {
            said.push(format!("{message:?}"));
        }
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn draining_waits_until_the_daemon_has_read_everything() {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = |end: OwnedFd| File::from(end);
        let read_end = file(reader.try_clone().unwrap().into());
        let mut log = BuildLog::pipe(file(writer.into()), read_end);
        log.accepted();
        log.line(&[b'x'; 9999]);
        let daemon = std::thread::spawn(move || {
            let mut reader = reader;
            let mut read = 0;
            while read < 10_000 {
                std::thread::sleep(Duration::from_millis(5));
                read += reader.read(&mut [0; 1000]).unwrap();
            }
        });
        log.drain();
        let unread = rustix::io::ioctl_fionread(log.unread().unwrap());
        assert_eq!(unread, Ok(0));
        daemon.join().unwrap();
    }
}
