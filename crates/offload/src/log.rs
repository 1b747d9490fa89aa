//! What the daemon and the person behind it get to see.
//!
//! Two channels: records for the daemon on the reply stream (`@nix {json}` lines, which become
//! progress and messages of the client), and the build's log as it is, on a pipe of its own, which
//! becomes `nix log` and the tail of an error message.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use worker_protocol::Dialect;
use worker_protocol::log::{Field, ResultKind};

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

/// An activity that the client shows, Nix's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ActivityType {
    CopyPath = 100,
    CopyPaths = 103,
}

/// Result type of a progress record: fields done, expected, running, failed.
const RESULT_PROGRESS: u64 = 105;
/// Result type that announces how many bytes of an activity type are to be expected.
const RESULT_SET_EXPECTED: u64 = 106;

/// One `@nix {..}` record.
#[derive(Debug, Serialize)]
#[serde(tag = "action", rename_all = "camelCase")]
enum Record<'a> {
    Msg {
        level: Level,
        msg: &'a str,
    },
    Start {
        id: u64,
        level: Level,
        parent: u64,
        #[serde(rename = "type")]
        kind: u64,
        text: &'a str,
        fields: &'a [&'a str],
    },
    Stop {
        id: u64,
    },
    Result {
        id: u64,
        #[serde(rename = "type")]
        kind: u64,
        fields: &'a [u64],
    },
}

/// The reply stream: replies, and records.
///
/// Failing to write is not reported: it means that the daemon is gone, which ends this process.
pub struct DaemonLog {
    stream: Box<dyn Write + Send>,
    next_activity: u64,
    dialect: Dialect,
}

impl std::fmt::Debug for DaemonLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DaemonLog").finish_non_exhaustive()
    }
}

/// Copying a set of paths in one direction, as the client sees it.
#[derive(Debug)]
pub struct Copying {
    paths: u64,
    path: Option<u64>,
    count: u64,
    done: u64,
    size: u64,
    sent: u64,
    shown: u64,
    source: String,
    destination: String,
}

/// Bytes of one path after which its progress is shown again.
const PROGRESS_STEP: u64 = 1 << 20;

impl DaemonLog {
    /// Writes to `stream`, one whole line at a time.
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        DaemonLog {
            stream: Box::new(stream),
            // Activities of one hook are told apart by these numbers only.
            next_activity: 1,
            dialect: Dialect::Nix,
        }
    }

    /// As [`DaemonLog::new`], for a guix-daemon: it knows no records, and shows the client every
    /// line that is no reply. What is only for those who want details is left out.
    pub fn guix(stream: impl Write + Send + 'static) -> Self {
        DaemonLog {
            dialect: Dialect::Guix,
            ..DaemonLog::new(stream)
        }
    }

    /// A reply: `# WORD`, and for an accept the machine's URI on a line of its own.
    pub(crate) fn reply(&mut self, word: &str, uri: Option<&str>) {
        let text = match uri {
            Some(uri) => format!("# {word}\n{uri}\n"),
            None => format!("# {word}\n"),
        };
        self.write(&text);
    }

    /// One message for the person.
    pub fn message(&mut self, level: Level, message: &str) {
        let msg = message;
        match self.dialect {
            Dialect::Nix => self.record(&Record::Msg { level, msg }),
            Dialect::Guix if level <= Level::Info => self.line(message),
            Dialect::Guix => {}
        }
    }

    /// A line for the client of a guix-daemon. None of its own lines begins like a reply.
    pub(crate) fn line(&mut self, text: &str) {
        let text = text.replace("\n# ", "\n  # ");
        self.write(&format!("{text}\n"));
    }

    /// Begins to copy `count` paths of `size` bytes.
    pub fn start_copying(
        &mut self,
        count: u64,
        size: u64,
        source: &str,
        destination: &str,
    ) -> Copying {
        let paths = self.start(
            ActivityType::CopyPaths,
            &format!("copying {count} paths from '{source}' to '{destination}'"),
            &[],
        );
        self.result(
            paths,
            RESULT_SET_EXPECTED,
            &[ActivityType::CopyPath as u64, size],
        );
        self.result(paths, RESULT_PROGRESS, &[0, count, 0, 0]);
        Copying {
            paths,
            path: None,
            count,
            done: 0,
            size: 0,
            sent: 0,
            shown: 0,
            source: source.to_owned(),
            destination: destination.to_owned(),
        }
    }

    /// Begins the next path of a copy.
    pub fn start_path(&mut self, copying: &mut Copying, path: &str, size: u64) {
        let (source, destination) = (copying.source.clone(), copying.destination.clone());
        let id = self.start(
            ActivityType::CopyPath,
            &format!("copying path '{path}' from '{source}' to '{destination}'"),
            &[path, &source, &destination],
        );
        copying.path = Some(id);
        (copying.size, copying.sent, copying.shown) = (size, 0, 0);
    }

    /// So many more bytes of the current path have been copied.
    pub fn progress(&mut self, copying: &mut Copying, bytes: u64) {
        copying.sent += bytes;
        if let Some(id) = copying.path
            && copying.sent - copying.shown >= PROGRESS_STEP
        {
            copying.shown = copying.sent;
            self.result(id, RESULT_PROGRESS, &[copying.sent, copying.size, 0, 0]);
        }
    }

    /// The current path is complete.
    pub fn stop_path(&mut self, copying: &mut Copying) {
        if let Some(id) = copying.path.take() {
            self.result(id, RESULT_PROGRESS, &[copying.sent, copying.size, 0, 0]);
            self.record(&Record::Stop { id });
            copying.done += 1;
            self.result(
                copying.paths,
                RESULT_PROGRESS,
                &[copying.done, copying.count, 0, 0],
            );
        }
    }

    /// The copy is over, complete or not.
    pub fn stop_copying(&mut self, copying: Copying) {
        if let Some(id) = copying.path {
            self.record(&Record::Stop { id });
        }
        self.record(&Record::Stop { id: copying.paths });
    }

    fn start(&mut self, kind: ActivityType, text: &str, fields: &[&str]) -> u64 {
        let id = self.next_activity;
        self.next_activity += 1;
        self.record(&Record::Start {
            id,
            level: Level::Talkative,
            parent: 0,
            kind: kind as u64,
            text,
            fields,
        });
        id
    }

    fn result(&mut self, id: u64, kind: u64, fields: &[u64]) {
        self.record(&Record::Result { id, kind, fields });
    }

    fn record(&mut self, record: &Record<'_>) {
        if self.dialect == Dialect::Guix {
            return;
        }
        let json =
            serde_json::to_string(record).expect("records hold nothing but texts and numbers");
        self.write(&format!("@nix {json}\n"));
    }

    fn write(&mut self, line: &str) {
        let _ = self.stream.write_all(line.as_bytes());
        let _ = self.stream.flush();
    }
}

/// The build's log: the bytes of the build, one line after the other.
pub struct BuildLog {
    stream: Box<dyn Write + Send>,
    unread: Option<File>,
}

impl std::fmt::Debug for BuildLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildLog").finish_non_exhaustive()
    }
}

/// How long the daemon is waited for without its reading anything.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
/// Pause between two looks at what it has not read yet.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

impl BuildLog {
    /// Writes to `stream`.
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        BuildLog {
            stream: Box::new(stream),
            unread: None,
        }
    }

    /// Writes to a pipe whose other end is at hand too: file descriptors 4 and 5 of Nix's hook.
    #[must_use]
    pub fn pipe(write_end: File, read_end: File) -> Self {
        BuildLog {
            stream: Box::new(write_end),
            unread: Some(read_end),
        }
    }

    /// One line of the log, without its line end.
    pub fn line(&mut self, line: &[u8]) {
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        // A daemon that no longer reads the log still wants the outputs.
        let _ = self.stream.write_all(&whole);
    }

    /// Some bytes of the log as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The build entered a phase.
    pub fn phase(&mut self, phase: &str) {
        let json = serde_json::json!({ "action": "setPhase", "phase": phase });
        self.line(format!("@nix {json}").as_bytes());
    }

    /// Waits until the daemon has read everything: it drops the rest of the log the moment that
    /// the hook exits (of 60,000 bytes 4096 were kept). Gives up when nothing is read for 5 s.
    pub fn drain(&mut self) {
        let _ = self.stream.flush();
        let Some(read_end) = &self.unread else { return };
        let mut last = u64::MAX;
        let mut moved = Instant::now();
        while let Ok(unread) = rustix::io::ioctl_fionread(read_end) {
            if unread == 0 || moved.elapsed() >= DRAIN_WAIT {
                return;
            }
            if unread != last {
                (last, moved) = (unread, Instant::now());
            }
            std::thread::sleep(DRAIN_PAUSE);
        }
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
    /// Passes on what a machine's daemon says while it works: lines and phases of the build to the
    /// build's log, other messages to the person who asked for details.
    pub fn forward(&mut self, said: impl Into<Said>) {
        let message = match said.into() {
            Said::Message(message) => message,
            Said::Raw(bytes) => return self.build.raw(&bytes),
        };
        match message {
            // A guix-daemon's own words and the build's output are one.
            worker_protocol::Log::Next(text) if self.daemon.dialect == Dialect::Guix => {
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
            worker_protocol::Log::StartActivity { .. }
            | worker_protocol::Log::StopActivity { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::sync::{Arc, Mutex};

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
    fn draining_waits_until_the_daemon_has_read_everything() {
        let (reader, writer) = std::io::pipe().unwrap();
        let file = |end: OwnedFd| File::from(end);
        let read_end = file(reader.try_clone().unwrap().into());
        let mut log = BuildLog::pipe(file(writer.into()), read_end);
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
        let unread = rustix::io::ioctl_fionread(log.unread.as_ref().unwrap());
        assert_eq!(unread, Ok(0));
        daemon.join().unwrap();
    }
}
