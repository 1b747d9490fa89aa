//! A link: a proxy before a builder's sshd that hands every byte on a fixed time after it came, counts round trips, and
//! falls silent or breaks on demand.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use self::state::{Connection, State};
use crate::{Error, error::While, network::Network};

mod state;

pub use state::Direction;

/// How much one read takes.
const CHUNK: usize = 64 * 1024;

/// How many chunks are on their way at most: 64 MiB, more than any SSH window.
const CHUNKS_IN_FLIGHT: usize = 1024;

/// An address behind which a builder seems to be far away. Bandwidth is not limited. Nothing listens there any more
/// once it is dropped; connections that are open by then last until either end closes them.
#[derive(Debug)]
pub struct Link {
    address: Ipv4Addr,
    listener: TcpListener,
    state: Arc<State>,
}

impl Link {
    /// Listens on port 22 of `address` inside of `network`, for the sshd at `target`.
    pub(crate) fn start(
        network: &Network,
        address: Ipv4Addr,
        target: Ipv4Addr,
        round_trip: Duration,
    ) -> Result<Self, Error> {
        let network = network.try_clone()?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let (sender, receiver) = mpsc::channel();
        // A thread of its own, because sockets belong to the namespace of the thread that makes them.
        thread::spawn(move || match listen(&network, address) {
            Ok((listener, handle)) => {
                sender.send(Ok(handle)).expect("it is waited for");
                serve(&listener, target, round_trip / 2, &shared);
            }
            Err(error) => sender.send(Err(error)).expect("it is waited for"),
        });
        let listener = receiver.recv().expect("the thread sends before it ends")?;
        Ok(Self {
            address,
            listener,
            state,
        })
    }

    /// Where the coordinator finds the builder behind this link.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// How many bytes were carried that way since the start or the last [`reset`](Link::reset).
    pub fn carried(&self, direction: Direction) -> u64 {
        self.state.carried(direction)
    }

    /// Waits until `bytes` have been carried that way, `limit` at most; says whether they were.
    pub fn wait_for(&self, direction: Direction, bytes: u64, limit: Duration) -> bool {
        self.state.wait_for(direction, bytes, limit)
    }

    /// Carries no more than `bytes` that way, of those that [`carried`](Link::carried) counts: whatever comes behind
    /// them waits, and so does the end of a connection. The other way stays open.
    pub fn hold_after(&self, direction: Direction, bytes: u64) {
        self.state.hold(&[direction], |_| bytes);
    }

    /// Carries nothing any more, either way, as a cable does that was pulled out: connections stay open, and new ones
    /// are taken and hear nothing.
    pub fn fall_silent(&self) {
        let both = [Direction::ToBuilder, Direction::FromBuilder];
        self.state.hold(&both, |carried| carried);
    }

    /// Ends every connection, at both ends, without what is on its way.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// Carries again, begins to count anew.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// How many round trips all connections have taken since the start or the last [`reset`](Link::reset).
    ///
    /// Of one connection: 1 for TCP's handshake, and the length of the longest chain of pieces that were sent back and
    /// forth, each only after the one before had arrived: what the conversation takes at least, in units of the round
    /// trip time. A side that streams while the other talks is counted as if it had waited for what it heard, which is
    /// one per round trip time at most. Pieces that happen to cross cannot be told from answers, so the delay must be
    /// far above the time that either side needs to think.
    pub fn round_trips(&self) -> u64 {
        self.state.round_trips()
    }

    /// How many connections were made since the start or the last [`reset`](Link::reset).
    pub fn connections(&self) -> u64 {
        self.state.connections()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.reset();
        // Wakes the thread in accept(2); the only failure is that it has ended by itself.
        rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both).ok();
    }
}

fn listen(network: &Network, address: Ipv4Addr) -> Result<(TcpListener, TcpListener), Error> {
    network.enter()?;
    let listener =
        TcpListener::bind((address, 22)).while_trying(|| format!("listen on {address}:22"))?;
    let handle = listener
        .try_clone()
        .while_trying(|| "keep the listening socket".into())?;
    Ok((listener, handle))
}

fn serve(listener: &TcpListener, target: Ipv4Addr, one_way: Duration, state: &Arc<State>) {
    while let Ok((near, _)) = listener.accept() {
        let state = Arc::clone(state);
        // A failure here is a connection that breaks, which is what the ends see.
        thread::spawn(move || connect(&near, target, one_way, &state).ok());
    }
}

fn connect(
    near: &TcpStream,
    target: Ipv4Addr,
    one_way: Duration,
    state: &Arc<State>,
) -> io::Result<()> {
    let accepted = Instant::now();
    near.set_nodelay(true)?;
    let connection = Arc::new(Connection::new(state, near.try_clone()?));
    // Over a real link the near end's connect(2) would return a round trip from now, and nothing be sent before.
    let connected = accepted + one_way * 2;
    let (there, back) = (Direction::ToBuilder, Direction::FromBuilder);
    let pieces = read(near.try_clone()?, &connection, there, connected, one_way);
    // The far end accepts when the third segment of TCP's handshake reaches it.
    thread::sleep((connected + one_way).saturating_duration_since(Instant::now()));
    let far = TcpStream::connect(SocketAddrV4::new(target, 22))?;
    far.set_nodelay(true)?;
    connection.reaches(far.try_clone()?);
    let (far_too, connection_too) = (far.try_clone()?, Arc::clone(&connection));
    let carrier = thread::spawn(move || carry(pieces, far_too, &connection_too, there));
    let pieces = read(far, &connection, back, connected, one_way);
    carry(pieces, near.try_clone()?, &connection, back);
    carrier
        .join()
        .map_err(|_| io::Error::other("a carrying thread panicked"))
}

/// What was read at once, and when it arrives. The end has no bytes.
struct Piece {
    bytes: Vec<u8>,
    due: Instant,
    number: u64,
}

/// Reads all that comes from one end; nothing of it counts as sent before `earliest`.
fn read(
    mut from: TcpStream,
    connection: &Arc<Connection>,
    direction: Direction,
    earliest: Instant,
    one_way: Duration,
) -> mpsc::Receiver<Piece> {
    let (sender, receiver) = mpsc::sync_channel(CHUNKS_IN_FLIGHT);
    let connection = Arc::clone(connection);
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).unwrap_or(0);
            let piece = Piece {
                bytes: chunk[..read].to_vec(),
                due: Instant::now().max(earliest) + one_way,
                number: connection.sent(direction),
            };
            if sender.send(piece).is_err() || read == 0 {
                break;
            }
        }
        from.shutdown(Shutdown::Read).ok();
    });
    receiver
}

/// Hands everything on when it is due, and then the end itself.
fn carry(
    pieces: mpsc::Receiver<Piece>,
    mut to: TcpStream,
    connection: &Connection,
    direction: Direction,
) {
    for piece in pieces {
        thread::sleep(piece.due.saturating_duration_since(Instant::now()));
        let mut rest = &piece.bytes[..];
        loop {
            let allowed = connection.wait_for_leave(direction, rest.len());
            // Before it is written, because the answer may be there before the write is over. That a connection ends
            // is no answer.
            if direction == Direction::ToBuilder || !piece.bytes.is_empty() {
                connection.arrived(direction, piece.number);
            }
            if to.write_all(&rest[..allowed]).is_err() {
                return;
            }
            rest = &rest[allowed..];
            if rest.is_empty() {
                break;
            }
        }
        if piece.bytes.is_empty() {
            break;
        }
    }
    // Both directions share the sockets, so each only closes its own half.
    to.shutdown(Shutdown::Write).ok();
}
