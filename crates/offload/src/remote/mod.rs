//! A conversation with a machine's store daemon, whichever way it is reached and whichever of the
//! two protocols is spoken there.

mod ask;
mod building;
mod guix;
mod output;
mod repl;
mod serve;
mod trial;
mod way;

pub use guix::Condition;
pub(crate) use guix::{Importer, Seen};
pub(crate) use output::{ArchiveClaim, InfoClaim};
pub use way::Way;
pub(crate) use way::{GUIX_SOCKET, NIX_SOCKET};

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::task::Poll;
use std::time::Duration;

use store_path::StoreDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use worker_protocol::client::{Client, NarUpload, Options, Ticket};
use worker_protocol::operation::UploadOperation;
use worker_protocol::{Dialect, Error, Operation, Version};

use self::ask::Asked;
pub use self::ask::{Question, Terms};
pub(crate) use self::serve::Serve;
use crate::failure::{Failure, RemoteFailure};
use crate::health::{self, Knowledge};
use crate::link::{ByteStream, Link, LinkError, SshTarget, Timeouts, Traffic};
use crate::log::{Log, Said};
use crate::machines::Machine;

/// How many bytes of messages a daemon may send before any answer but a build's. What comes there is
/// a line or two; the bound keeps who talks for ever from holding a slot for ever.
const MAX_TALK: u64 = 16 << 20;

/// The same while a machine substitutes inputs: 2.8.0 tells of every few KiB that it has fetched, in
/// some 40 bytes.
const MAX_TALK_OF_SUBSTITUTION: u64 = 4 << 30;

pub(crate) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(crate) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A conversation in the worker protocol, and how long its answers may take.
pub(crate) struct Worker {
    client: Client<Reader, Writer>,
    /// See [`Timeouts::answer`].
    pub(crate) answer: Duration,
    /// Guix: whether the daemon asks its own build hook, which takes it the start of a Guile.
    may_hand_on: bool,
}

impl Deref for Worker {
    type Target = Client<Reader, Writer>;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl DerefMut for Worker {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

/// An open conversation with a machine's store daemon. One per build: hanging up is the only way
/// to cancel a build.
pub struct Remote {
    pub(crate) conversation: Conversation,
    link: Link,
    machine: Machine,
    store_dir: StoreDir,
    user: String,
    timeouts: Timeouts,
    traffic: Traffic,
    way: Way,
    place: String,
    /// The question that has left already.
    asked: Option<Asked>,
    /// See [`Options::together`].
    together: usize,
    /// See [`Worker::may_hand_on`].
    may_hand_on: bool,
    seen: Option<Seen>,
}

/// In one of the two protocols.
pub(crate) enum Conversation {
    Worker(Box<Worker>),
    Serve(Box<Serve>),
}

impl Conversation {
    /// One that has ended before it began.
    fn with_nobody(store_dir: &StoreDir) -> Self {
        let (reader, writer) = (tokio::io::empty(), tokio::io::sink());
        let options = Options::nix(store_dir.clone());
        let client = Client::new(
            Box::new(reader) as Reader,
            Box::new(writer) as Writer,
            options,
        );
        let answer = Duration::ZERO;
        Conversation::Worker(Box::new(Worker {
            client,
            answer,
            may_hand_on: true,
        }))
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote")
            .field("machine", &self.machine.uri.as_str())
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// A conversation that has begun.
struct Begun {
    conversation: Conversation,
    asked: Option<Asked>,
    together: usize,
    traffic: Traffic,
    place: String,
}

impl Remote {
    /// Connects to `machine`, begins a conversation in `dialect` with its store daemon, and asks
    /// `question`.
    ///
    /// With what is `known` of the machine everything leaves in one flight; otherwise the ways are
    /// tried one after the other, and the daemon is listened to first.
    ///
    /// # Errors
    /// When the machine cannot be reached, or no way leads to a store daemon.
    pub async fn connect(
        machine: &Machine,
        target: &SshTarget,
        store_dir: StoreDir,
        dialect: Dialect,
        known: &Knowledge,
        question: &Question,
        log: &mut Log,
    ) -> Result<Self, Failure> {
        let link = Link::connect(target).await?;
        let last = known.condition.as_ref();
        let now = health::now();
        let may_hand_on = !last.is_some_and(|seen| seen.builds_itself(now));
        let road = |way: Way| Road {
            link: &link,
            machine,
            store_dir: &store_dir,
            way,
            together: way.together(),
            may_hand_on,
            timeouts: target.timeouts,
        };
        let roads = || Way::of(machine, dialect, known.way).into_iter().map(road);
        let lately = last.and_then(|seen| seen.fresh(now));
        let is_asked = matches!(question.terms, Terms::Guix { .. }) && lately.is_none();
        // Beside the greeting, so that whoever is far away is not waited for twice. A socket takes none of the
        // sessions that an sshd grants, of which there may be one only.
        let is_asked_beside = is_asked && known.way == Some(Way::GuixSocket);
        let asking = async {
            match is_asked_beside {
                true => Ok(guix::condition(&link, &store_dir).await),
                false => Ok(None),
            }
        };
        let arriving = arrive(roads(), known, question, log);
        let ((way, begun), mut condition) = match tokio::try_join!(arriving, asking) {
            Err(Failure::NoDaemon(_)) if is_asked_beside => {
                (arrive(roads(), known, question, log).await?, None)
            }
            arrived => arrived?,
        };
        if is_asked && !is_asked_beside {
            condition = guix::condition(&link, &store_dir).await;
        }
        Ok(Remote {
            conversation: begun.conversation,
            asked: begun.asked,
            together: begun.together,
            may_hand_on,
            seen: condition.map(Seen::Now).or(lately.map(Seen::Lately)),
            traffic: begun.traffic,
            place: begun.place,
            link,
            machine: machine.clone(),
            store_dir,
            user: target.user.clone(),
            timeouts: target.timeouts,
            way,
        })
    }

    /// Gives this conversation up and begins another one on the same connection.
    ///
    /// # Errors
    /// When the daemon is not there any more.
    pub async fn begin_anew(&mut self, log: &mut Log) -> Result<(), Failure> {
        let believed = match &self.conversation {
            Conversation::Worker(client) => client.version(),
            Conversation::Serve(_) => None,
        };
        self.give_up_conversation();
        let road = Road {
            link: &self.link,
            machine: &self.machine,
            store_dir: &self.store_dir,
            way: self.way,
            together: self.together,
            may_hand_on: self.may_hand_on,
            timeouts: self.timeouts,
        };
        let begun = road.begin(believed, &Question::default(), log).await?;
        self.conversation = begun.conversation;
        self.asked = begun.asked;
        self.together = begun.together;
        self.traffic = begun.traffic;
        Ok(())
    }

    /// Hears no more of what the daemon still sends there, which must not be waited for: unread, it would hold
    /// up the whole connection. It may be much: nix 2.8.0 sends the archive of an output that a failed build
    /// has left half-written.
    pub(crate) fn give_up_conversation(&mut self) {
        self.conversation = Conversation::with_nobody(&self.store_dir);
    }

    /// The machine's store URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.machine.uri.as_str()
    }

    /// What messages call the machine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.machine.name
    }

    /// The user on the machine.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How the daemon is reached.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// How the daemon is reached, in full: `socket /nix/..` or `command "nix-daemon --stdio"`.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Bytes that have passed, before encryption.
    #[must_use]
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// How far away the machine is, where we have connected to it ourselves.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.link.round_trip()
    }

    /// The minor number of the worker protocol's version that is spoken, if that protocol is.
    #[must_use]
    pub fn protocol(&self) -> Option<u8> {
        match &self.conversation {
            Conversation::Worker(client) => client.version().map(Version::minor),
            Conversation::Serve(_) => None,
        }
    }

    /// Whether the daemon trusts this user, where it tells (from protocol 1.35 on).
    #[must_use]
    pub fn trusted(&self) -> Option<bool> {
        match &self.conversation {
            Conversation::Worker(client) => client.trusted(),
            Conversation::Serve(_) => None,
        }
    }

    /// Hears what the machine has yet to say of a build that is over. Nothing more can be asked.
    pub(crate) async fn hear_out(&mut self, log: &mut Log) {
        if let Conversation::Serve(serve) = &mut self.conversation {
            serve.finish(log).await;
        }
    }

    /// What the daemon says of itself, for messages: `nix 2.8.0, protocol 1.34`.
    #[must_use]
    pub fn description(&self) -> String {
        match &self.conversation {
            Conversation::Worker(client) => {
                let program = match self.way.dialect() {
                    // It does not tell its version.
                    Dialect::Guix => Some("guix-daemon".to_owned()),
                    Dialect::Nix => client
                        .daemon_version()
                        .map(|version| format!("nix {version}")),
                };
                let version = client
                    .version()
                    .map(|version| format!("protocol {version}"));
                let said = [program, version].into_iter().flatten();
                said.collect::<Vec<_>>().join(", ")
            }
            Conversation::Serve(serve) => serve.description(),
        }
    }

    /// Whether the way there was a broker's, and broke on our side of it.
    pub(crate) fn has_lost_its_broker(&self) -> bool {
        self.link.has_lost_its_broker()
    }

    /// Ends the conversation and the connection.
    pub async fn close(self) {
        drop(self.conversation);
        self.link.close().await;
    }
}

/// Takes the first of `roads` that leads to a store daemon.
async fn arrive(
    roads: impl Iterator<Item = Road<'_>>,
    known: &Knowledge,
    question: &Question,
    log: &mut Log,
) -> Result<(Way, Begun), Failure> {
    let mut dead_ends = Vec::new();
    for road in roads {
        let way = road.way;
        let protocol = known.protocol.filter(|_| known.way == Some(way));
        let believed = protocol.map(|minor| version(way.dialect(), minor));
        match road.begin(believed, question, log).await {
            Ok(begun) => return Ok((way, begun)),
            // This one names the way already.
            Err(failure @ Failure::Link(LinkError::Channel { .. })) => {
                dead_ends.push(failure.to_string());
            }
            Err(failure) if is_dead_end(&failure) => {
                dead_ends.push(format!("{way}: {failure}"));
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::NoDaemon(dead_ends.join("; ")))
}

/// One way to one machine, on an open connection.
struct Road<'a> {
    link: &'a Link,
    machine: &'a Machine,
    store_dir: &'a StoreDir,
    way: Way,
    /// See [`Options::together`].
    together: usize,
    /// See [`Worker::may_hand_on`].
    may_hand_on: bool,
    timeouts: Timeouts,
}

impl Road<'_> {
    /// Begins a conversation. A daemon that turns out to be older than `believed` is greeted anew; one that
    /// hangs up on requests that leave together is asked one by one.
    async fn begin(
        &self,
        believed: Option<Version>,
        question: &Question,
        log: &mut Log,
    ) -> Result<Begun, Failure> {
        match self.greet(believed, question, self.together, log).await {
            Err(Failure::Remote {
                error: RemoteFailure::Protocol(Error::AssumedTooMuch { .. }),
                ..
            }) => self.greet(None, question, self.together, log).await,
            Err(failure) if self.together > 0 && failure.is_end_of_hurry() => {
                self.greet(None, question, 0, log).await
            }
            begun => begun,
        }
    }

    async fn greet(
        &self,
        believed: Option<Version>,
        question: &Question,
        together: usize,
        log: &mut Log,
    ) -> Result<Begun, Failure> {
        let greeting = self.timeouts.greeting;
        let opened = self.way.open(self.link, self.machine, greeting).await?;
        let ByteStream {
            reader,
            writer,
            traffic,
            way: place,
            said,
        } = opened;
        let store_dir = self.store_dir.clone();
        let (conversation, asked) = match said {
            Some(said) => {
                let (serve, asked) =
                    Serve::greet(reader, writer, said, store_dir, question, self.timeouts).await?;
                (Conversation::Serve(Box::new(serve)), asked)
            }
            None => {
                let options = match self.way.dialect() {
                    Dialect::Nix => Options::nix(store_dir),
                    Dialect::Guix => Options::guix(store_dir),
                };
                let options = Options {
                    assume: believed,
                    together,
                    ..options
                };
                let mut client = Worker {
                    client: Client::new(reader, writer, options),
                    answer: self.timeouts.answer,
                    may_hand_on: self.may_hand_on,
                };
                let asked =
                    greet_worker(&mut client, question, self.timeouts.greeting, log).await?;
                (Conversation::Worker(Box::new(client)), asked)
            }
        };
        Ok(Begun {
            conversation,
            asked,
            together,
            traffic,
            place,
        })
    }
}

fn version(dialect: Dialect, minor: u8) -> Version {
    match dialect {
        Dialect::Nix => Version::nix(minor),
        Dialect::Guix => Version::guix(minor),
    }
}

/// Where the version is believed to be known, the question leaves with the greeting.
async fn greet_worker(
    client: &mut Worker,
    question: &Question,
    greeting: Duration,
    log: &mut Log,
) -> Result<Option<Asked>, Failure> {
    let late = || RemoteFailure::Unwelcoming(greeting).during("greet the store daemon");
    let early = match client.version() {
        Some(_) => {
            let asked = ask::ask(client, question, false);
            let asked = tokio::time::timeout(greeting, asked).await;
            asked.map_err(|_| late())??
        }
        None => None,
    };
    let mut forward = |message| log.forward(Said::Message(message));
    let greeted = tokio::time::timeout(greeting, client.handshake(&mut forward)).await;
    greeted
        .map_err(|_| RemoteFailure::Unwelcoming(greeting))
        .and_then(|greeted| Ok(greeted?))
        .map_err(|error| error.during("greet the store daemon"))?;
    match early {
        Some(asked) => Ok(Some(asked)),
        None => {
            let asked = ask::ask(client, question, false);
            let asked = tokio::time::timeout(greeting, asked).await;
            asked.map_err(|_| late())?
        }
    }
}

/// Whether another way may lead there: this one ends at something else than what was expected.
fn is_dead_end(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Remote {
            error: RemoteFailure::Protocol(_),
            ..
        }
    )
}

/// Encodes a request behind those that wait to be sent.
async fn queue<O: Operation>(
    client: &mut Worker,
    operation: &O,
) -> Result<Ticket<O>, RemoteFailure> {
    let answer = client.answer;
    match tokio::time::timeout(answer, client.queue(operation)).await {
        Ok(queued) => Ok(queued?),
        Err(_) => Err(RemoteFailure::Silent(answer)),
    }
}

/// Waits for a reply that comes without a build.
pub(crate) async fn reply<O: Operation>(
    client: &mut Worker,
    ticket: Ticket<O>,
    log: &mut Log,
) -> Result<O::Reply, RemoteFailure> {
    reply_behind(client, ticket, MAX_TALK, log).await
}

/// Waits for a reply before which no more than `most` bytes are said.
async fn reply_behind<O: Operation>(
    client: &mut Worker,
    ticket: Ticket<O>,
    most: u64,
    log: &mut Log,
) -> Result<O::Reply, RemoteFailure> {
    let heard = Cell::new(Instant::now());
    let talked = Cell::new(0);
    let mut forward = |message| {
        let said = Said::Message(message);
        talked.set(talked.get() + said.size());
        log.forward(said);
        heard.set(Instant::now());
    };
    let answer = client.answer;
    let reply = client.reply(ticket, &mut forward);
    unless_talkative(most, &talked, unless_silent(answer, &heard, reply)).await
}

/// Waits for `future` until more than `most` bytes were said instead.
pub(crate) async fn unless_talkative<T>(
    most: u64,
    talked: &Cell<u64>,
    future: impl Future<Output = Result<T, RemoteFailure>>,
) -> Result<T, RemoteFailure> {
    tokio::pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Pending if talked.get() > most => Poll::Ready(Err(RemoteFailure::Talkative(most))),
        polled => polled,
    })
    .await
}

/// Ends an upload. A guix-daemon, and a nix-daemon before protocol 1.23, asks for each piece, and asks late where it is
/// busy: no longer than `answer`.
pub(crate) async fn finish<O: UploadOperation>(
    upload: NarUpload<'_, Reader, Writer, O>,
    answer: Duration,
    log: &mut Log,
) -> Result<Ticket<O>, RemoteFailure> {
    let heard = Cell::new(Instant::now());
    let mut forward = |message| {
        heard.set(Instant::now());
        log.forward(message);
    };
    unless_silent(answer, &heard, upload.finish(&mut forward)).await
}

/// Waits for `future` until nothing was heard for `bound`.
pub(crate) async fn unless_silent<T>(
    bound: Duration,
    heard: &Cell<Instant>,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, RemoteFailure> {
    tokio::pin!(future);
    loop {
        let deadline = heard.get() + bound;
        // The clock first: whoever never stops talking keeps the future busy for ever.
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(deadline) => {
                if heard.get() + bound <= deadline {
                    return Err(RemoteFailure::Silent(bound));
                }
            }
            result = &mut future => return Ok(result?),
        }
    }
}
