//! The connections that are kept.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::link::{Asked, ByteStream, LinkError, SshLink, SshTarget};

/// How long things are kept that nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// A connection.
    pub link: Duration,
    /// A stream to a machine's daemon that was opened beforehand. The daemon runs a process for it; and
    /// of a connection that has died in silence it does not tell, as opening another one would.
    pub spare: Duration,
}

impl Default for Keeping {
    fn default() -> Self {
        Keeping {
            link: Duration::from_secs(600),
            spare: Duration::from_secs(10),
        }
    }
}

/// The connections to one machine, as one target says.
pub(super) struct Place {
    target: SshTarget,
    links: RefCell<Vec<Rc<Kept>>>,
    /// How far away it was last.
    round_trip: Cell<Option<Duration>>,
    /// Held while connecting: who waits meanwhile needs no connection of its own. Has the last
    /// failure, which those who had waited for it share.
    connecting: Mutex<Option<(Instant, String)>>,
}

/// Who asks: a process, and which of its links.
pub(super) type Owner = (i32, u64);

/// A connection. One link of one process uses it at a time: russh delivers to all streams of a
/// connection from one loop, so that whoever does not read would stop the others; and sshd serves each
/// connection with one process.
struct Kept {
    link: SshLink,
    owner: Cell<Owner>,
    streams: Cell<usize>,
    used: Cell<Instant>,
    /// Opened beforehand, by the socket's path.
    spares: RefCell<HashMap<String, (Instant, ByteStream)>>,
}

/// A stream that was asked for. With the last one of an owner its connection is free for another.
pub(super) struct Opened {
    pub(super) stream: Option<ByteStream>,
    kept: Rc<Kept>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.kept.streams.set(self.kept.streams.get() - 1);
        self.kept.used.set(Instant::now());
    }
}

/// Why a stream cannot be had.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The host refuses it.
    Refused { way: String, reason: String },
    /// The host cannot be reached.
    Failed(String),
}

impl From<LinkError> for Trouble {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Channel { way, reason } => Trouble::Refused { way, reason },
            error => Trouble::Failed(error.to_string()),
        }
    }
}

impl Place {
    pub(super) fn new(target: SshTarget) -> Self {
        Place {
            target,
            links: RefCell::default(),
            round_trip: Cell::default(),
            connecting: Mutex::default(),
        }
    }

    /// `root@builder:22`
    pub(super) fn name(&self) -> String {
        let SshTarget {
            user, host, port, ..
        } = &self.target;
        format!("{user}@{host}:{port}")
    }

    /// Opens what is asked for, over a connection that is there or a new one. One that turns out to
    /// be dead is replaced once.
    pub(super) async fn open(
        &self,
        owner: Owner,
        asked: &Asked,
        tell: &impl Fn(&str),
    ) -> Result<Opened, Trouble> {
        loop {
            let (mut opened, is_new) = self.link(owner, tell).await?;
            match opened.kept.open(asked).await {
                Ok(stream) => {
                    self.round_trip.set(opened.kept.link.round_trip());
                    opened.stream = stream;
                    return Ok(opened);
                }
                Err(error @ LinkError::Channel { .. }) => return Err(error.into()),
                Err(error) => {
                    tell(&format!("lost {}: {error}", self.name()));
                    self.forget_idle_and(&opened.kept);
                    if is_new {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    /// Has another stream to the socket at `path` ready for the next build.
    pub(super) async fn prepare(opened: &Opened, path: &str) {
        let kept = &opened.kept;
        if kept.spares.borrow().contains_key(path) {
            return;
        }
        if let Ok(stream) = kept.link.open_socket(path).await {
            let spare = (Instant::now(), stream);
            kept.spares.borrow_mut().insert(path.to_owned(), spare);
        }
    }

    async fn link(&self, owner: Owner, tell: &impl Fn(&str)) -> Result<(Opened, bool), Trouble> {
        if let Some(opened) = self.free(owner, tell) {
            return Ok((opened, false));
        }
        let asked = Instant::now();
        let mut last_failure = self.connecting.lock().await;
        if let Some(opened) = self.free(owner, tell) {
            return Ok((opened, false));
        }
        if let Some((at, why)) = &*last_failure
            && *at >= asked
        {
            return Err(Trouble::Failed(why.clone()));
        }
        let target = SshTarget {
            round_trip: self.round_trip.get(),
            ..self.target.clone()
        };
        let link = SshLink::connect(&target).await.map_err(|error| {
            *last_failure = Some((Instant::now(), error.to_string()));
            Trouble::from(error)
        })?;
        tell(&format!("connected to {}", self.name()));
        let kept = Rc::new(Kept {
            link,
            owner: Cell::new(owner),
            streams: Cell::new(1),
            used: Cell::new(Instant::now()),
            spares: RefCell::default(),
        });
        self.links.borrow_mut().push(kept.clone());
        let opened = Opened { stream: None, kept };
        Ok((opened, true))
    }

    /// The owner's connection, or one that nobody uses: the one that was used last, so that others
    /// fall idle. Nobody begins to use one whose host key is not believed any more.
    fn free(&self, owner: Owner, tell: &impl Fn(&str)) -> Option<Opened> {
        loop {
            let kept = self.next_free(owner)?;
            if kept.streams.get() == 0
                && let Err(error) = kept.link.check_host_keys(&self.target)
            {
                tell(&format!("closed {}: {error}", self.name()));
                let mut links = self.links.borrow_mut();
                links.retain(|other| !Rc::ptr_eq(other, &kept));
                continue;
            }
            kept.owner.set(owner);
            kept.streams.set(kept.streams.get() + 1);
            return Some(Opened { stream: None, kept });
        }
    }

    fn next_free(&self, owner: Owner) -> Option<Rc<Kept>> {
        let links = self.links.borrow();
        let is_free = |kept: &&Rc<Kept>| {
            !kept.link.is_closed() && (kept.streams.get() == 0 || kept.owner.get() == owner)
        };
        let free = links.iter().filter(is_free);
        let is_own = |kept: &Rc<Kept>| kept.streams.get() > 0;
        free.max_by_key(|kept| (is_own(kept), kept.used.get()))
            .cloned()
    }

    /// What ended one connection has most likely ended the others, and each takes its time to be
    /// found out. Those that are in use are left to who uses them.
    fn forget_idle_and(&self, dead: &Rc<Kept>) {
        let mut links = self.links.borrow_mut();
        links.retain(|kept| kept.streams.get() > 0 && !Rc::ptr_eq(kept, dead));
    }

    /// Ends what nobody has used for long, and says how many connections are left.
    pub(super) fn sweep(&self, keeping: Keeping, tell: &impl Fn(&str)) -> usize {
        let now = Instant::now();
        let mut links = self.links.borrow_mut();
        links.retain(|kept| {
            let mut spares = kept.spares.borrow_mut();
            spares.retain(|_, (since, _)| now < *since + keeping.spare);
            let is_idle = kept.streams.get() == 0 && now >= kept.used.get() + keeping.link;
            if kept.link.is_closed() {
                tell(&format!("lost {}", self.name()));
            } else if is_idle {
                tell(&format!("closed {}, which nobody used", self.name()));
            }
            !is_idle && !kept.link.is_closed()
        });
        links.len()
    }

    /// Whether somebody waits for a connection.
    pub(super) fn is_connecting(&self) -> bool {
        self.connecting.try_lock().is_err()
    }
}

impl Kept {
    async fn open(&self, asked: &Asked) -> Result<Option<ByteStream>, LinkError> {
        let stream = match asked {
            Asked::Link => return Ok(None),
            Asked::Socket(path) => match self.take_spare(path) {
                Some(stream) => stream,
                None => self.link.open_socket(path).await?,
            },
            Asked::Command(command) => self.link.exec(command).await?,
            Asked::CommandAndErrors(command) => self.link.exec_and_listen(command).await?,
        };
        Ok(Some(stream))
    }

    /// A stream that was opened beforehand. A daemon says nothing before it is spoken to: if there is
    /// something to read there, it is the end.
    fn take_spare(&self, path: &str) -> Option<ByteStream> {
        let (_, mut stream) = self.spares.borrow_mut().remove(path)?;
        let is_silent = stream.reader.read_u8().now_or_never().is_none();
        is_silent.then_some(stream)
    }
}
