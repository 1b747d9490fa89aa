//! A conversation with a machine's guix-daemon. It takes what comes while it works for an error: requests
//! leave in one write, or one after the other (see [`worker_protocol::client::Options::together`]).

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use store_path::{StoreDir, StorePath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use worker_protocol::client::Ticket;
use worker_protocol::operation::{AddTextToStore, ExportPath, Operation, QueryValidPaths};

use super::{Conversation, Remote, Worker, Writer, queue, reply, unless_silent};
use crate::failure::{Failure, RemoteFailure};
use crate::link::{ByteStream, Link};
use crate::local::SignedImport;
use crate::log::{Copying, Log, Said};

/// How long a machine may take to say how it is.
const CONDITION: Duration = Duration::from_secs(10);
/// Longest answer to that question, in bytes.
const MAX_ANSWER: u64 = 4096;

/// What is being done, for messages.
const SENDING: &str = "copy inputs to the machine";
/// What is being done, for messages.
const EXPORTING: &str = "copy an output from the machine";

/// What stands before the names of a machine's files of configuration.
const CONFIGURATION: &str = "configuration:";

/// How a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    /// The load of the last minute per core: 1 is fully loaded.
    pub load: Option<f64>,
    /// What is free on the store's file system, in bytes.
    pub free_disk: Option<u64>,
    /// Whether it has a list of machines of its own, to which its daemon may hand builds on.
    pub has_machines: Option<bool>,
}

/// How a machine was doing when it was reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Seen {
    /// It has just said so.
    Now(Condition),
    /// It had said so a moment before.
    Lately(Condition),
}

/// `guix archive --import` on the machine.
pub(crate) struct Importer {
    writer: Writer,
    /// Reads what the command says, until its end: a link whose replies nobody reads carries nothing at all, and the
    /// command says what it likes while it is being sent the stream. Ends when this is dropped.
    listening: JoinSet<std::io::Result<()>>,
    answer: Duration,
}

impl Remote {
    pub(crate) fn worker(&mut self) -> &mut Worker {
        match &mut self.conversation {
            Conversation::Worker(client) => client,
            Conversation::Serve(_) => unreachable!("a guix-daemon has no serve protocol"),
        }
    }

    /// Whether requests have left together.
    pub(crate) fn hurries(&self) -> bool {
        self.together > 0
    }

    /// As [`Remote::begin_anew`]; requests leave one by one from now on.
    pub(crate) async fn begin_in_steps(&mut self, log: &mut Log) -> Result<(), Failure> {
        self.together = 0;
        self.begin_anew(log).await
    }

    async fn call<O: Operation>(
        &mut self,
        operation: &O,
        action: &'static str,
        log: &mut Log,
    ) -> Result<O::Reply, Failure> {
        let client = self.worker();
        let called = match queue(client, operation).await {
            Ok(ticket) => reply(client, ticket, log).await,
            Err(error) => Err(error),
        };
        called.map_err(|error| error.during(action))
    }

    /// Those of `paths` that the machine has.
    pub(crate) async fn valid(
        &mut self,
        paths: BTreeSet<StorePath>,
        log: &mut Log,
    ) -> Result<BTreeSet<StorePath>, Failure> {
        let request = QueryValidPaths {
            paths,
            substitute: false,
        };
        self.call(&request, "ask which inputs are missing", log)
            .await
    }

    /// Adds a file whose path follows from its contents.
    pub(crate) async fn add_text(
        &mut self,
        request: &AddTextToStore,
        log: &mut Log,
    ) -> Result<StorePath, Failure> {
        self.call(request, SENDING, log).await
    }

    /// Asks for the same, and does not wait for the reply.
    pub(crate) async fn queue_text(
        &mut self,
        request: &AddTextToStore,
    ) -> Result<Ticket<AddTextToStore>, Failure> {
        let queued = queue(self.worker(), request).await;
        queued.map_err(|error| error.during(SENDING))
    }

    /// Asks for an export of `path`.
    pub(crate) async fn queue_export(
        &mut self,
        path: &StorePath,
    ) -> Result<Ticket<ExportPath>, Failure> {
        let request = ExportPath {
            path: path.clone(),
            sign: true,
        };
        let queued = queue(self.worker(), &request).await;
        queued.map_err(|error| error.during(EXPORTING))
    }

    /// Receives what was asked for into `import`.
    pub(crate) async fn export(
        &mut self,
        ticket: Ticket<ExportPath>,
        import: &mut SignedImport,
        copying: &mut Copying,
        log: &mut Log,
    ) -> Result<(), Failure> {
        let failed = |error: RemoteFailure| error.during(EXPORTING);
        let client = self.worker();
        let answer = client.answer;
        let heard = Cell::new(Instant::now());
        let broken = RefCell::new(None);
        let stop = Notify::new();
        let log = RefCell::new(log);
        let mut forward = |message| {
            heard.set(Instant::now());
            log.borrow_mut().forward(Said::Message(message));
        };
        let mut take = |block: Vec<u8>| {
            heard.set(Instant::now());
            let daemon = &mut log.borrow_mut().daemon;
            daemon.progress(copying, block.len() as u64);
            let mut broken = broken.borrow_mut();
            if broken.is_none()
                && let Err(error) = import.write(&block)
            {
                *broken = Some(error);
                stop.notify_one();
            }
        };
        let exported = client.reply_with_data(ticket, &mut forward, &mut take);
        let exported = tokio::select! {
            // First, because a machine that sends without end keeps the other one busy for ever.
            biased;
            () = stop.notified() => Ok(()),
            exported = unless_silent(answer, &heard, exported) => exported.map(drop),
        };
        match broken.into_inner() {
            Some(error) => Err(error.into()),
            None => exported.map_err(failed),
        }
    }

    /// Starts `guix archive --import` on the machine.
    pub(crate) async fn start_import(&self) -> Result<Importer, Failure> {
        let stream = self
            .link
            .exec(&import_command(self.machine.daemon_socket.as_deref()))
            .await?;
        Ok(Importer::new(stream, self.timeouts.answer))
    }

    /// Asks the machine how it is doing, by one command. What it does not tell is not known.
    pub(crate) async fn condition(&self) -> Option<Condition> {
        condition(&self.link, &self.store_dir).await
    }

    /// How the machine was doing when it was reached, where that is asked.
    pub(crate) fn seen(&self) -> Option<Seen> {
        self.seen
    }
}

/// What imports where the machine's daemon listens; a shell runs it.
fn import_command(socket: Option<&str>) -> String {
    let command = "guix archive --import";
    match socket {
        Some(socket) => {
            let quoted = socket.replace('\'', r"'\''");
            format!("GUIX_DAEMON_SOCKET='{quoted}' {command}")
        }
        None => command.to_owned(),
    }
}

/// Asks the machine at the other end of `link` how it is doing.
pub(super) async fn condition(link: &Link, store_dir: &StoreDir) -> Option<Condition> {
    let store = store_dir.as_str();
    let command =
        format!("cat /proc/loadavg; nproc; df -Pk '{store}'; echo {CONFIGURATION} /etc/guix/*");
    let asking = async {
        let mut answer = String::new();
        let ByteStream {
            reader, mut writer, ..
        } = link.exec(&command).await.ok()?;
        // A command that the key is bound to may read its input.
        writer.shutdown().await.ok()?;
        let mut limited = reader.take(MAX_ANSWER);
        // Complaints come as an error at the end; what was said before counts.
        let _ = limited.read_to_string(&mut answer).await;
        Some(parse_condition(&answer))
    };
    tokio::time::timeout(CONDITION, asking).await.ok().flatten()
}

impl Importer {
    fn new(stream: ByteStream, answer: Duration) -> Self {
        let ByteStream {
            mut reader, writer, ..
        } = stream;
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut nowhere = tokio::io::sink();
            tokio::io::copy(&mut reader, &mut nowhere).await.map(drop)
        });
        Importer {
            writer,
            listening,
            answer,
        }
    }

    /// Sends some of the stream.
    pub(crate) async fn write(&mut self, data: &[u8]) -> Result<(), RemoteFailure> {
        let written = tokio::time::timeout(self.answer, self.writer.write_all(data)).await;
        written
            .map_err(|_| RemoteFailure::Silent(self.answer))?
            .map_err(|error| RemoteFailure::Command(error.to_string()))
    }

    /// Ends the stream, and waits until the machine has taken it in. What the command says on its
    /// standard error need not mean that it failed.
    pub(crate) async fn finish(mut self) -> Result<(), RemoteFailure> {
        let answer = self.answer;
        let finishing = async {
            self.writer.shutdown().await?;
            match self.listening.join_next().await {
                Some(Ok(ended)) => ended,
                Some(Err(error)) => Err(error.into()),
                None => Ok(()),
            }
        };
        let finished = tokio::time::timeout(answer, finishing).await;
        finished
            .map_err(|_| RemoteFailure::Silent(answer))?
            .map_err(|error| RemoteFailure::Command(error.to_string()))
    }
}

/// ```text
/// 0.52 0.58 0.59 1/467 12345
/// 8
/// Filesystem     1024-blocks     Used Available Capacity Mounted on
/// /dev/vda1         41152736 20576368  18460000      53% /
/// configuration: /etc/guix/acl /etc/guix/signing-key.pub
/// ```
fn parse_condition(answer: &str) -> Condition {
    let (answer, configuration) = match answer.split_once(CONFIGURATION) {
        // What has no end may have been cut.
        Some((answer, names)) => (answer, names.strip_suffix('\n')),
        None => (answer, None),
    };
    let mut lines = answer.lines();
    let first = |line: Option<&str>| line.and_then(|line| line.split(' ').next()?.parse().ok());
    let load: Option<f64> = first(lines.next());
    let cores: Option<f64> = first(lines.next());
    let blocks = lines
        .last()
        .and_then(|line| line.split_ascii_whitespace().nth(3)?.parse::<u64>().ok());
    let load = load.zip(cores).map(|(load, cores)| load / cores.max(1.0));
    Condition {
        load: load.filter(|load| load.is_finite()),
        free_disk: blocks.map(|blocks| blocks.saturating_mul(1024)),
        has_machines: configuration.and_then(has_machines),
    }
}

/// Whether a list of machines is among these files. A daemon's keys are there at least: where there is nothing to
/// be seen, its files are elsewhere or not for everyone.
fn has_machines(names: &str) -> Option<bool> {
    let mut names = names.split_ascii_whitespace().peekable();
    match names.peek() {
        None | Some(&"/etc/guix/*") => None,
        Some(_) => Some(names.any(|name| name.contains("machines"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock moves on where nothing else does.
    #[tokio::test(start_paused = true)]
    async fn a_command_may_talk_while_it_is_sent_the_stream() {
        const TALK: usize = 1 << 20;
        let (reader, mut says) = tokio::io::duplex(1024);
        let (writer, mut hears) = tokio::io::duplex(1024);
        let mut importer = Importer::new(
            ByteStream::new(reader, writer, "command"),
            Duration::from_secs(600),
        );
        let command = tokio::spawn(async move {
            says.write_all(&vec![b'x'; TALK]).await?;
            tokio::io::copy(&mut hears, &mut tokio::io::sink()).await
        });
        importer.write(&[0; 10_000]).await.expect("it is taken in");
        importer.finish().await.expect("it ends");
        assert_eq!(command.await.unwrap().unwrap(), 10_000);
    }

    #[test]
    fn what_imports_talks_to_the_machines_own_daemon() {
        assert_eq!(import_command(None), "guix archive --import");
        assert_eq!(
            import_command(Some("/srv/it's/socket")),
            r"GUIX_DAEMON_SOCKET='/srv/it'\''s/socket' guix archive --import"
        );
    }

    #[test]
    fn load_is_per_core_and_disk_in_bytes() {
        let answer = |configuration: &str| {
            parse_condition(&format!(
                "0.50 0.58 0.59 1/467 12345\n2\n\
                Filesystem     1024-blocks     Used Available Capacity Mounted on\n\
                /dev/vda1         41152736 20576368  18460000      53% /\n{configuration}"
            ))
        };
        let known = |has_machines| Condition {
            load: Some(0.25),
            free_disk: Some(18_460_000 << 10),
            has_machines,
        };
        let keys = "configuration: /etc/guix/acl /etc/guix/signing-key.pub";
        for (configuration, has_machines) in [
            (format!("{keys}\n"), Some(false)),
            (format!("{keys} /etc/guix/machines.scm\n"), Some(true)),
            (keys.to_owned(), None),
            ("configuration: /etc/guix/*\n".to_owned(), None),
            ("configuration:\n".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(
                answer(&configuration),
                known(has_machines),
                "{configuration:?}"
            );
        }
        let unknown = Condition {
            load: None,
            free_disk: None,
            has_machines: None,
        };
        for nonsense in ["", "x\ny\nz\n", "sh: nproc: not found\n"] {
            assert_eq!(parse_condition(nonsense), unknown, "{nonsense:?}");
        }
    }
}
