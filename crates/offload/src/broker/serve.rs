//! Serves the hooks of one user.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::codec::{FramedRead, FramedWrite};

use super::keep::{Keeping, Opened, Place, Trouble};
use super::pump::pump;
use crate::link::{Answer, Ask, Asked, Codec, Frame};

/// How long a hook may take to say what it wants.
const ASK: Duration = Duration::from_secs(10);
/// Hooks that are served at a time; more wait.
const MAX_HOOKS: usize = 1024;
/// Pause after a hook could not be accepted.
const PAUSE: Duration = Duration::from_secs(1);
/// How often what nobody uses is looked for, at most.
const SWEEP: Duration = Duration::from_secs(5);

/// Serves hooks at `listener` until `stop`; then those that are being served, to their end. Only
/// root and the user who runs this are served: whoever is could log in to any machine as this user.
///
/// `tell` is called with one line for each connection that is made, lost or closed. Runs on a
/// [`LocalSet`](tokio::task::LocalSet).
pub async fn serve(
    listener: UnixListener,
    keeping: Keeping,
    tell: impl Fn(&str) + 'static,
    stop: impl Future<Output = ()>,
) {
    let broker = Rc::new(Broker {
        places: RefCell::default(),
        tell,
    });
    let mut hooks = JoinSet::new();
    let mut sweep = tokio::time::interval(keeping.spare.min(keeping.link).clamp(PAUSE, SWEEP));
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = sweep.tick() => broker.sweep(keeping),
            Some(_) = hooks.join_next() => {}
            accepted = listener.accept(), if hooks.len() < MAX_HOOKS => match accepted {
                Ok((stream, _)) => {
                    let broker = broker.clone();
                    hooks.spawn_local(async move { broker.serve(stream).await });
                }
                Err(error) => {
                    // Out of descriptors, as a rule: others may give some back.
                    (broker.tell)(&format!("failed to accept a hook: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
    // Whoever comes now is turned away at once, and connects itself.
    while !hooks.is_empty() {
        tokio::select! {
            _ = hooks.join_next() => {}
            accepted = listener.accept() => {
                if accepted.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

struct Broker<T> {
    /// By what a target says, as JSON.
    places: RefCell<HashMap<String, Rc<Place>>>,
    tell: T,
}

impl<T: Fn(&str)> Broker<T> {
    async fn serve(&self, stream: UnixStream) {
        let process = match welcome(&stream) {
            Ok(process) => process,
            Err(why) => return (self.tell)(&why),
        };
        let (reader, writer) = stream.into_split();
        let mut from_hook = FramedRead::new(reader, Codec);
        let mut to_hook = FramedWrite::new(writer, Codec);
        let asked = tokio::time::timeout(ASK, heard(&mut from_hook)).await;
        let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let ask = match asked {
            Ok(Some(ask)) => ask,
            Ok(None) => return,
            Err(error) => return (self.tell)(&format!("a hook asks for nothing: {error}")),
        };
        let place = self.place(&ask);
        let opening = place.open((process, ask.link), &ask.asked, &self.tell);
        let opened = tokio::select! {
            opened = opening => opened,
            // It has nothing to say before the answer.
            _ = from_hook.next() => return,
        };
        // How either side ends is told to the other, and is nobody else's business.
        let _: io::Result<()> = answer(opened, &ask.asked, from_hook, &mut to_hook).await;
    }

    fn place(&self, ask: &Ask) -> Rc<Place> {
        let key = serde_json::to_string(&ask.target).expect("it came as JSON");
        let mut places = self.places.borrow_mut();
        let place = places.entry(key);
        place
            .or_insert_with(|| Rc::new(Place::new(ask.target.clone())))
            .clone()
    }

    fn sweep(&self, keeping: Keeping) {
        let mut places = self.places.borrow_mut();
        places.retain(|_, place| {
            let left = place.sweep(keeping, &self.tell);
            left > 0 || place.is_connecting() || Rc::strong_count(place) > 1
        });
    }
}

/// The process that asks, if it may.
fn welcome(stream: &UnixStream) -> Result<i32, String> {
    let peer = stream.peer_cred();
    let peer = peer.map_err(|error| format!("failed to ask who a hook is: {error}"))?;
    let own = rustix::process::geteuid().as_raw();
    match peer.uid() == 0 || peer.uid() == own {
        true => Ok(peer.pid().unwrap_or_default()),
        false => Err(format!("user {} is not served", peer.uid())),
    }
}

async fn heard(from_hook: &mut FramedRead<OwnedReadHalf, Codec>) -> io::Result<Option<Ask>> {
    match from_hook.next().await.transpose()? {
        Some(Frame::Ask(ask)) => Ok(Some(serde_json::from_slice(&ask)?)),
        Some(_) => Err(io::Error::other("no question")),
        None => Ok(None),
    }
}

async fn answer(
    opened: Result<Opened, Trouble>,
    asked: &Asked,
    from_hook: FramedRead<OwnedReadHalf, Codec>,
    to_hook: &mut FramedWrite<OwnedWriteHalf, Codec>,
) -> io::Result<()> {
    let mut opened = match opened {
        Ok(opened) => opened,
        Err(Trouble::Refused { way, reason }) => {
            return say(to_hook, &Answer::Refused { way, reason }).await;
        }
        Err(Trouble::Failed(why)) => return say(to_hook, &Answer::Failed(why)).await,
    };
    let way = opened.stream.as_ref().map(|stream| &stream.way);
    let way = way.map_or_else(String::new, |way| format!("{way} by the broker"));
    say(to_hook, &Answer::Open { way }).await?;
    let Some(stream) = opened.stream.take() else {
        return Ok(());
    };
    let prepare = async {
        if let Asked::Socket(path) = asked {
            Place::prepare(&opened, path).await;
        }
    };
    let (pumped, ()) = tokio::join!(pump(from_hook, to_hook, stream), prepare);
    pumped
}

async fn say(to_hook: &mut FramedWrite<OwnedWriteHalf, Codec>, answer: &Answer) -> io::Result<()> {
    let answer = serde_json::to_vec(answer)?;
    to_hook.send(Frame::Answer(answer.as_slice())).await
}
