//! Which of a client's requests to a guix-daemon leave in one write.

use std::collections::BTreeSet;

use store_path::{ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};
use worker_protocol::client::{Options, Progress, Session, Ticket};
use worker_protocol::operation::{AddTempRoot, AddToStore};
use worker_protocol::wire::Encoder;
use worker_protocol::{Error, Misuse, Version};

const DAEMON_MAGIC: u64 = 0x6478_696f;
const LAST: u64 = 0x616c_7473;
/// Bytes of a request for a temporary root: its number, the path's length, the path.
const REQUEST: usize = 8 + 8 + 48;
/// Bytes of the whole handshake.
const HELLO: usize = 4 * 8;

fn session(together: usize) -> Session {
    Session::new(Options {
        assume: Some(Version::GUIX_NEWEST),
        together,
        ..Options::guix(StoreDir::GUIX)
    })
}

fn root(session: &mut Session) -> Ticket<AddTempRoot> {
    let path = StorePath::from_base_name(&format!("{}-x", "0".repeat(32))).expect("a good name");
    session.queue(&AddTempRoot { path }).expect("it is queued")
}

/// Takes what leaves, and returns how many bytes that is.
fn leave(session: &mut Session) -> usize {
    let count = session.outgoing().len();
    session.sent(count);
    count
}

fn greet(session: &mut Session) {
    say(
        session,
        &[DAEMON_MAGIC, Version::GUIX_NEWEST.to_word(), LAST],
    );
    assert_eq!(session.poll_handshake(), Ok(Progress::Ready(())));
}

fn answer(session: &mut Session, ticket: Ticket<AddTempRoot>) {
    say(session, &[LAST, 1]);
    assert!(matches!(session.poll_reply(ticket), Ok(Progress::Ready(_))));
}

fn say(session: &mut Session, words: &[u64]) {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    for &word in words {
        encoder.word(word);
    }
    session.receive(&bytes);
}

#[test]
fn as_many_leave_with_the_handshake_as_may_and_the_next_when_all_are_answered() {
    let mut session = session(HELLO + 2 * REQUEST);
    let tickets = [(); 6].map(|()| root(&mut session));
    assert_eq!(leave(&mut session), HELLO + 2 * REQUEST);
    greet(&mut session);
    answer(&mut session, tickets[0]);
    assert_eq!(leave(&mut session), 0, "one is not answered yet");
    answer(&mut session, tickets[1]);
    assert_eq!(leave(&mut session), 2 * REQUEST);
    answer(&mut session, tickets[2]);
    answer(&mut session, tickets[3]);
    // Others may join until something leaves.
    let more = root(&mut session);
    assert_eq!(leave(&mut session), 2 * REQUEST);
    for ticket in [tickets[4], tickets[5]] {
        assert_eq!(leave(&mut session), 0);
        answer(&mut session, ticket);
    }
    assert_eq!(leave(&mut session), REQUEST);
    answer(&mut session, more);
}

#[test]
fn what_has_left_is_not_joined() {
    let mut session = session(1 << 10);
    let first = root(&mut session);
    assert_eq!(leave(&mut session), HELLO + REQUEST);
    let second = root(&mut session);
    greet(&mut session);
    assert_eq!(leave(&mut session), 0);
    answer(&mut session, first);
    let third = root(&mut session);
    assert_eq!(leave(&mut session), 2 * REQUEST);
    answer(&mut session, second);
    answer(&mut session, third);
}

#[test]
fn one_leaves_after_the_other_where_that_is_safer() {
    let mut session = session(0);
    let tickets = [(); 3].map(|()| root(&mut session));
    assert_eq!(leave(&mut session), HELLO);
    greet(&mut session);
    for ticket in tickets {
        assert_eq!(leave(&mut session), REQUEST);
        answer(&mut session, ticket);
    }
}

#[test]
fn one_that_is_larger_leaves_alone() {
    let mut session = session(1);
    let tickets = [(); 2].map(|()| root(&mut session));
    assert_eq!(leave(&mut session), HELLO);
    greet(&mut session);
    for ticket in tickets {
        assert_eq!(leave(&mut session), REQUEST);
        answer(&mut session, ticket);
    }
}

#[test]
fn nothing_leaves_with_data() {
    let add = AddToStore {
        name: "x".into(),
        method: ContentAddressMethod::Recursive,
        algorithm: HashAlgorithm::Sha256,
        references: BTreeSet::new(),
        repair: false,
    };
    let mut session = session(1 << 10);
    let ticket = root(&mut session);
    let refused = session.begin_upload(&add).map(drop);
    assert!(matches!(
        refused,
        Err(Error::Misused(Misuse::OutOfOrder { .. }))
    ));
    leave(&mut session);
    greet(&mut session);
    answer(&mut session, ticket);

    session.begin_upload(&add).expect("everything is answered");
    session.upload(&[0; 8]).expect("it is taken");
    session.finish_upload().expect("it is complete");
    let with_data = session.outgoing().len();
    root(&mut session);
    assert_eq!(leave(&mut session), with_data);
}
