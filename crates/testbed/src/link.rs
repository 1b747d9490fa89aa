//! A slow link: a proxy that hands every byte on a fixed time after it came.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::{Error, error::While, network::Network};

/// How much one read takes.
const CHUNK: usize = 64 * 1024;

/// How many chunks are on their way at most: 64 MiB, more than any SSH window.
const CHUNKS_IN_FLIGHT: usize = 1024;

/// An address behind which a builder seems to be far away. Bandwidth is not limited. Nothing listens there any more
/// once it is dropped; connections that are open by then last until either end closes them.
#[derive(Debug)]
pub struct SlowLink {
    address: Ipv4Addr,
    listener: TcpListener,
}

impl SlowLink {
    /// Listens on port 22 of `address` inside of `network`, for the sshd at `target`.
    pub(crate) fn start(
        network: &Network,
        address: Ipv4Addr,
        target: Ipv4Addr,
        round_trip: Duration,
    ) -> Result<Self, Error> {
        let network = network.try_clone()?;
        let (sender, receiver) = mpsc::channel();
        // A thread of its own, because sockets belong to the namespace of the thread that makes them.
        thread::spawn(move || match listen(&network, address) {
            Ok((listener, handle)) => {
                sender.send(Ok(handle)).expect("it is waited for");
                serve(&listener, target, round_trip / 2);
            }
            Err(error) => sender.send(Err(error)).expect("it is waited for"),
        });
        let listener = receiver.recv().expect("the thread sends before it ends")?;
        Ok(Self { address, listener })
    }

    /// Where the coordinator finds the builder behind this link.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
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

fn serve(listener: &TcpListener, target: Ipv4Addr, one_way: Duration) {
    while let Ok((near, _)) = listener.accept() {
        // A failure here is a connection that breaks, which is what the ends see.
        thread::spawn(move || connect(near, target, one_way).ok());
    }
}

fn connect(near: TcpStream, target: Ipv4Addr, one_way: Duration) -> io::Result<()> {
    // The far end accepts when the third segment of TCP's handshake reaches it.
    thread::sleep(one_way * 3);
    let far = TcpStream::connect(SocketAddrV4::new(target, 22))?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_too, far_too) = (near.try_clone()?, far.try_clone()?);
    let there = thread::spawn(move || carry(near, far, one_way));
    carry(far_too, near_too, one_way);
    there
        .join()
        .map_err(|_| io::Error::other("a carrying thread panicked"))
}

/// Carries everything from one end to the other, each piece `delay` after it came, and then the end itself.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(CHUNKS_IN_FLIGHT);
    thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).unwrap_or(0);
            if sender
                .send((Instant::now() + delay, chunk[..read].to_vec()))
                .is_err()
                || read == 0
            {
                break;
            }
        }
        from.shutdown(Shutdown::Read).ok();
    });
    for (due, bytes) in receiver {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Both directions share the sockets, so each only closes its own half.
    to.shutdown(Shutdown::Write).ok();
}
