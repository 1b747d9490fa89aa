//! What a link has carried, and what it may.

use std::{
    collections::BTreeMap,
    net::{Shutdown, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A way over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the coordinator.
    ToBuilder = 0,
    /// To the coordinator.
    FromBuilder = 1,
}

/// Shared by all connections of a link.
#[derive(Debug, Default)]
pub(super) struct State {
    account: Mutex<Account>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Account {
    /// Bytes, by direction.
    carried: [u64; 2],
    /// What `carried` may grow to, where there is such a limit.
    limits: [Option<u64>; 2],
    round_trips: u64,
    connections: u64,
    /// Sockets of the open connections, by their number.
    open: BTreeMap<u64, Vec<TcpStream>>,
    next: u64,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn carried(&self, direction: Direction) -> u64 {
        self.lock().carried[direction as usize]
    }

    pub(super) fn round_trips(&self) -> u64 {
        self.lock().round_trips
    }

    pub(super) fn connections(&self) -> u64 {
        self.lock().connections
    }

    pub(super) fn wait_for(&self, direction: Direction, bytes: u64, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut account = self.lock();
        while account.carried[direction as usize] < bytes {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(account, left);
            account = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Limits these directions to what `limit` makes of the bytes that were carried.
    pub(super) fn hold(&self, directions: &[Direction], limit: impl Fn(u64) -> u64) {
        let mut account = self.lock();
        for &direction in directions {
            let index = direction as usize;
            account.limits[index] = Some(limit(account.carried[index]));
        }
    }

    pub(super) fn cut(&self) {
        let mut account = self.lock();
        for socket in account.open.values().flatten() {
            // One that is closed already is no worse.
            socket.shutdown(Shutdown::Both).ok();
        }
        account.limits = [None; 2];
        self.changed.notify_all();
    }

    pub(super) fn reset(&self) {
        let mut account = self.lock();
        (account.carried, account.limits) = ([0; 2], [None; 2]);
        (account.round_trips, account.connections) = (0, 0);
        self.changed.notify_all();
    }
}

/// One connection over a link. Each piece that is sent has a number: how many pieces sent from the near end, each after
/// the one before had been answered, led to it.
#[derive(Debug)]
pub(super) struct Connection {
    state: Arc<State>,
    number: u64,
    /// The highest number that has arrived, by direction.
    arrived: Mutex<[u64; 2]>,
}

impl Connection {
    pub(super) fn new(state: &Arc<State>, near: TcpStream) -> Self {
        let mut account = state.lock();
        let number = account.next;
        account.next += 1;
        account.open.insert(number, vec![near]);
        account.connections += 1;
        // TCP's own handshake.
        account.round_trips += 1;
        drop(account);
        Self {
            state: Arc::clone(state),
            number,
            arrived: Mutex::default(),
        }
    }

    /// The far end is there, too.
    pub(super) fn reaches(&self, far: TcpStream) {
        if let Some(sockets) = self.state.lock().open.get_mut(&self.number) {
            sockets.push(far);
        }
    }

    /// The number of a piece that is sent now.
    pub(super) fn sent(&self, direction: Direction) -> u64 {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        match direction {
            Direction::ToBuilder => arrived[Direction::FromBuilder as usize] + 1,
            Direction::FromBuilder => arrived[Direction::ToBuilder as usize],
        }
    }

    /// A piece has been handed over.
    pub(super) fn arrived(&self, direction: Direction, number: u64) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let highest = &mut arrived[direction as usize];
        if number > *highest {
            if direction == Direction::FromBuilder {
                self.state.lock().round_trips += number - *highest;
            }
            *highest = number;
        }
    }

    /// Waits until something may be carried; counts those of the `wanted` bytes that may, and returns how many. None
    /// are wanted for the end of the connection.
    pub(super) fn wait_for_leave(&self, direction: Direction, wanted: usize) -> usize {
        let index = direction as usize;
        let mut account = self.state.lock();
        loop {
            let limit = account.limits[index].unwrap_or(u64::MAX);
            let room = limit.saturating_sub(account.carried[index]);
            if room > 0 {
                let allowed = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
                account.carried[index] += allowed as u64;
                self.state.changed.notify_all();
                return allowed;
            }
            let waited = self.state.changed.wait(account);
            account = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.lock().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn connection(state: &Arc<State>) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Connection::new(state, socket)
    }

    #[test]
    fn a_round_trip_is_an_answer_to_what_an_answer_led_to() {
        let state = Arc::new(State::default());
        let connection = connection(&state);
        let (there, back) = (Direction::ToBuilder, Direction::FromBuilder);
        // Both greet unasked.
        let greetings = [connection.sent(there), connection.sent(back)];
        connection.arrived(back, greetings[1]);
        assert_eq!((greetings, state.round_trips()), ([1, 0], 1));
        // Two questions in one flight, and their answers.
        connection.arrived(there, greetings[0]);
        let questions = [connection.sent(there), connection.sent(there)];
        for question in questions {
            connection.arrived(there, question);
            connection.arrived(back, connection.sent(back));
        }
        assert_eq!(state.round_trips(), 2);
        // One more that needed them.
        connection.arrived(there, connection.sent(there));
        connection.arrived(back, connection.sent(back));
        assert_eq!(state.round_trips(), 3);
    }

    #[test]
    fn what_is_held_goes_on_after_the_reset() {
        let state = Arc::new(State::default());
        let connection = Arc::new(connection(&state));
        let direction = Direction::ToBuilder;
        state.hold(&[direction], |_| 10);
        assert_eq!(connection.wait_for_leave(direction, 64), 10);
        assert!(!state.wait_for(direction, 11, Duration::from_millis(20)));
        let waiting = Arc::clone(&connection);
        let waiter = std::thread::spawn(move || waiting.wait_for_leave(direction, 54));
        state.reset();
        assert_eq!(waiter.join().unwrap(), 54);
        assert_eq!(state.carried(direction), 54);
    }
}
