//! Messages and progress.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use worker_protocol::Log;
use worker_protocol::log::{ActivityKind, Field, ResultKind};

use super::{FIRST_ACTIVITY, Level};

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

impl Record<'_> {
    /// How important it is, if it may be left out.
    fn level(&self) -> Option<Level> {
        match self {
            Record::Msg { level, .. } => Some(*level),
            _ => None,
        }
    }

    /// The same in the worker protocol.
    fn to_message(&self) -> Log {
        match *self {
            Record::Msg { msg, .. } => Log::Next(format!("{msg}\n").into()),
            Record::Start {
                id,
                level,
                parent,
                kind,
                text,
                fields,
            } => Log::StartActivity {
                id,
                level: worker_protocol::log::Level(level as u64),
                kind: ActivityKind(kind),
                text: text.into(),
                fields: fields
                    .iter()
                    .map(|&text| Field::Text(text.into()))
                    .collect(),
                parent,
            },
            Record::Stop { id } => Log::StopActivity { id },
            Record::Result { id, kind, fields } => Log::Result {
                id,
                kind: ResultKind(kind),
                fields: fields.iter().map(|&number| Field::Number(number)).collect(),
            },
        }
    }
}

/// Messages, progress, and a hook's replies.
///
/// Failing to write is not reported: it means that whoever asked is gone, which ends this build.
pub struct DaemonLog {
    sink: Sink,
    next_activity: u64,
}

enum Sink {
    /// A hook's reply stream.
    Records(Box<dyn Write + Send>),
    /// That of a guix-daemon's hook: it knows no records, and shows the client every line that is no
    /// reply.
    Lines(Box<dyn Write + Send>),
    /// A client of the store endpoint, which wants messages up to a level.
    Messages(UnboundedSender<Log>, u64),
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
    /// The current path, and its activity.
    path: Option<(String, u64)>,
    count: u64,
    done: u64,
    size: u64,
    sent: u64,
    shown: u64,
    shown_at: Instant,
    source: String,
    destination: String,
}

impl Copying {
    /// `copying '/gnu/store/..-x' from 'local' to 'farm1': 120 of 512 MiB`
    fn line(&self, path: &str) -> String {
        let (source, destination, sent) = (&self.source, &self.destination, self.sent >> 20);
        // Not every machine says beforehand how much it will send.
        let of = match self.size {
            0 => String::new(),
            size => format!("of {} ", size >> 20),
        };
        format!("copying '{path}' from '{source}' to '{destination}': {sent} {of}MiB")
    }
}

/// Bytes of one path after which its progress is shown again.
const PROGRESS_STEP: u64 = 1 << 20;
/// Time after which progress is told again to a guix-daemon, whose client sees lines only. The shortest silence
/// that a person would ask to be the end of a build is longer.
const LINE_PAUSE: Duration = Duration::from_secs(10);

impl DaemonLog {
    /// Writes to `stream`, one whole line at a time.
    pub fn new(stream: impl Write + Send + 'static) -> Self {
        DaemonLog {
            sink: Sink::Records(Box::new(stream)),
            // Activities of one hook are told apart by these numbers only.
            next_activity: FIRST_ACTIVITY,
        }
    }

    /// As [`DaemonLog::new`], for a guix-daemon. What is only for those who want details is left
    /// out.
    pub fn guix(stream: impl Write + Send + 'static) -> Self {
        DaemonLog {
            sink: Sink::Lines(Box::new(stream)),
            next_activity: FIRST_ACTIVITY,
        }
    }

    /// Whether a guix-daemon reads this.
    pub(super) fn is_guix(&self) -> bool {
        matches!(self.sink, Sink::Lines(_))
    }

    pub(super) fn to_client(sender: UnboundedSender<Log>, verbosity: u64) -> Self {
        DaemonLog {
            sink: Sink::Messages(sender, verbosity),
            next_activity: FIRST_ACTIVITY,
        }
    }

    /// A reply: `# WORD`, and for an accept the machine's URI on a line of its own.
    pub(crate) fn reply(&mut self, word: &str, uri: Option<&str>) {
        let text = match uri {
            Some(uri) => format!("# {word}\n{uri}\n"),
            None => format!("# {word}\n"),
        };
        if let Sink::Records(stream) | Sink::Lines(stream) = &mut self.sink {
            write(stream, &text);
        }
    }

    /// One message for the person.
    pub fn message(&mut self, level: Level, message: &str) {
        let msg = message;
        self.record(&Record::Msg { level, msg });
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
            ActivityKind::COPY_PATHS,
            &format!("copying {count} paths from '{source}' to '{destination}'"),
            &[],
        );
        self.result(
            paths,
            ResultKind::SET_EXPECTED,
            &[ActivityKind::COPY_PATH.0, size],
        );
        self.result(paths, ResultKind::PROGRESS, &[0, count, 0, 0]);
        Copying {
            paths,
            path: None,
            count,
            done: 0,
            size: 0,
            sent: 0,
            shown: 0,
            shown_at: Instant::now(),
            source: source.to_owned(),
            destination: destination.to_owned(),
        }
    }

    /// Begins the next path of a copy.
    pub fn start_path(&mut self, copying: &mut Copying, path: &str, size: u64) {
        let (source, destination) = (copying.source.clone(), copying.destination.clone());
        let id = self.start(
            ActivityKind::COPY_PATH,
            &format!("copying path '{path}' from '{source}' to '{destination}'"),
            &[path, &source, &destination],
        );
        copying.path = Some((path.to_owned(), id));
        (copying.size, copying.sent, copying.shown) = (size, 0, 0);
    }

    /// So many more bytes of the current path have been copied. Cheap enough to be told each piece.
    pub fn progress(&mut self, copying: &mut Copying, bytes: u64) {
        copying.sent += bytes;
        let Some((path, id)) = &copying.path else {
            return;
        };
        if let Sink::Lines(_) = &self.sink {
            if copying.shown_at.elapsed() >= LINE_PAUSE {
                copying.shown_at = Instant::now();
                self.message(Level::Notice, &copying.line(path));
            }
        } else if copying.sent - copying.shown >= PROGRESS_STEP {
            copying.shown = copying.sent;
            self.result(
                *id,
                ResultKind::PROGRESS,
                &[copying.sent, copying.size, 0, 0],
            );
        }
    }

    /// The current path is complete.
    pub fn stop_path(&mut self, copying: &mut Copying) {
        if let Some((_, id)) = copying.path.take() {
            self.result(
                id,
                ResultKind::PROGRESS,
                &[copying.sent, copying.size, 0, 0],
            );
            self.record(&Record::Stop { id });
            copying.done += 1;
            self.result(
                copying.paths,
                ResultKind::PROGRESS,
                &[copying.done, copying.count, 0, 0],
            );
        }
    }

    /// The copy is over, complete or not.
    pub fn stop_copying(&mut self, copying: Copying) {
        if let Some((_, id)) = copying.path {
            self.record(&Record::Stop { id });
        }
        self.record(&Record::Stop { id: copying.paths });
    }

    fn start(&mut self, kind: ActivityKind, text: &str, fields: &[&str]) -> u64 {
        let id = self.next_activity;
        self.next_activity += 1;
        self.record(&Record::Start {
            id,
            level: Level::Talkative,
            parent: 0,
            kind: kind.0,
            text,
            fields,
        });
        id
    }

    fn result(&mut self, id: u64, kind: ResultKind, fields: &[u64]) {
        self.record(&Record::Result {
            id,
            kind: kind.0,
            fields,
        });
    }

    fn record(&mut self, record: &Record<'_>) {
        match &mut self.sink {
            Sink::Records(stream) => {
                let json = serde_json::to_string(record);
                let json = json.expect("records hold nothing but texts and numbers");
                write(stream, &format!("@nix {json}\n"));
            }
            Sink::Lines(stream) => {
                if let Record::Msg { level, msg } = record
                    && *level <= Level::Info
                {
                    // A reply begins its line.
                    write(stream, &format!("{}\n", msg.replace("\n#", "\n #")));
                }
            }
            Sink::Messages(sender, verbosity) => {
                if record
                    .level()
                    .is_none_or(|level| level as u64 <= *verbosity)
                {
                    let _ = sender.send(record.to_message());
                }
            }
        }
    }
}

fn write(stream: &mut impl Write, line: &str) {
    let _ = stream.write_all(line.as_bytes());
    let _ = stream.flush();
}
