use std::collections::BTreeMap;

use store_path::{HashAlgorithm, StoreDir, StorePath};

use crate::client::{self, Progress, Ticket};
use crate::operation::{
    AddMultipleToStore, AddToStoreNar, IsValidPath, NarFromPath, QueryPathInfo, QueryValidPaths,
};
use crate::server::{self, Progress as ServerProgress};
use crate::{
    Error, Log, NarHash, Operation, PathInfo, RemoteError, Request, ValidPathInfo, Version,
};

/// What a store holds: the sizes of archives whose bytes are all the same.
type Model = BTreeMap<u8, (u8, u16)>;

/// What a client says, each with the reply that the model foresees.
enum Step {
    Add(Ticket<AddToStoreNar>, bool),
    AddMany(Ticket<AddMultipleToStore>),
    IsValid(Ticket<IsValidPath>, bool),
    Info(Ticket<QueryPathInfo>, Option<u64>),
    Valid(Ticket<QueryValidPaths>, usize),
    Fetch(Ticket<NarFromPath>, Option<(u8, u16)>),
}

fn path(key: u8) -> StorePath {
    StorePath::from_parts([key % 8; 20], "x").expect("the name is one")
}

fn key(path: &StorePath) -> u8 {
    path.digest()[0]
}

fn valid_path(key: u8, byte: u8, size: u16) -> ValidPathInfo {
    let info = PathInfo {
        deriver: None,
        nar_hash: NarHash(HashAlgorithm::Sha256.hash(&[byte])),
        references: [path(key)].into(),
        registration_time: 1,
        nar_size: u64::from(size),
        ultimate: false,
        signatures: [].into(),
        content_address: None,
    };
    ValidPathInfo {
        path: path(key),
        info,
    }
}

/// A client says what `data` tells it to, all at once, to a server with a store in memory; both get their
/// bytes in pieces. Every reply is what a model of the store foresees.
///
/// The first three bytes choose the version (from 1.23 on) and the sizes of the pieces; every further four
/// make an operation.
///
/// # Panics
/// If a reply is another one, or one of the two halves does not come to an end.
pub fn conversation(data: &[u8]) {
    let [version, to_server, to_client, steps @ ..] = data else {
        return;
    };
    let version = Version::nix(23 + version % 16);
    let options = client::Options {
        version,
        assume: Some(version),
        ..client::Options::nix(StoreDir::NIX)
    };
    let mut client = client::Session::new(options);
    let mut server_options = server::Options::nix(StoreDir::NIX, "1");
    server_options.version = version;
    let mut peer = Peer {
        session: server::Session::new(server_options),
        pieces: [
            1 + usize::from(*to_server) * 4,
            1 + usize::from(*to_client) * 4,
        ],
        store: Model::new(),
        current: None,
        reading: None,
    };
    let mut model = Model::new();
    let said: Vec<Step> = steps
        .chunks_exact(4)
        .take(64)
        .map(|step| say(&mut client, &mut model, step, version))
        .collect();
    for step in said {
        hear(&mut client, &mut peer, step).expect("both halves follow the protocol");
    }
    assert_eq!(client.outstanding(), 0);
    assert_eq!(peer.store, model);
}

fn say(client: &mut client::Session, model: &mut Model, step: &[u8], version: Version) -> Step {
    let (kind, target, byte) = (step[0] % 6, step[1] % 8, step[2]);
    let size = u16::from(step[3]) * 37;
    let path = path(target);
    match kind {
        0 => {
            let refused = byte == 0;
            let add = AddToStoreNar {
                path: valid_path(target, byte, size),
                repair: false,
                dont_check_signatures: refused,
            };
            let ticket = client
                .begin_upload(&add)
                .expect("nothing else is under way");
            let archive = vec![byte; usize::from(size)];
            for piece in archive.chunks(1 + usize::from(step[3])) {
                assert_eq!(client.upload(piece), Ok(piece.len()));
            }
            client.finish_upload().expect("it is complete");
            if !refused {
                model.insert(target, (byte, size));
            }
            Step::Add(ticket, refused)
        }
        1 if version.has_add_multiple_to_store() => {
            let add = AddMultipleToStore {
                repair: false,
                dont_check_signatures: true,
            };
            let count = byte % 4;
            let ticket = client
                .begin_multiple(&add, u64::from(count))
                .expect("nothing is under way");
            for key in (0..count).map(|number| (target + number) % 8) {
                client
                    .upload_path(&valid_path(key, byte, size))
                    .expect("its turn");
                let taken = client.upload(&vec![byte; usize::from(size)]);
                assert_eq!(taken, Ok(usize::from(size)));
                model.insert(key, (byte, size));
            }
            client.finish_upload().expect("it is complete");
            Step::AddMany(ticket)
        }
        2 => {
            let ticket = client.queue(&QueryPathInfo { path }).expect("it exists");
            Step::Info(ticket, model.get(&target).map(|&(_, size)| u64::from(size)))
        }
        3 => {
            let ticket = client.queue(&NarFromPath { path }).expect("it exists");
            Step::Fetch(ticket, model.get(&target).copied())
        }
        4 => {
            let paths = (0..target).map(self::path).collect();
            let valid = QueryValidPaths {
                paths,
                substitute: false,
            };
            let ticket = client.queue(&valid).expect("it exists");
            Step::Valid(ticket, model.keys().filter(|&&key| key < target).count())
        }
        _ => {
            let ticket = client.queue(&IsValidPath { path }).expect("it exists");
            Step::IsValid(ticket, model.contains_key(&target))
        }
    }
}

fn hear(client: &mut client::Session, peer: &mut Peer, step: Step) -> Result<(), Error> {
    match step {
        Step::Add(ticket, false) => reply(client, peer, ticket)?,
        Step::Add(ticket, true) => {
            let refused = reply(client, peer, ticket).expect_err("it is refused");
            assert_eq!(refused, Error::Remote(refusal(client.context().version)));
        }
        Step::AddMany(ticket) => reply(client, peer, ticket)?,
        Step::IsValid(ticket, valid) => assert_eq!(reply(client, peer, ticket)?, valid),
        Step::Valid(ticket, count) => assert_eq!(reply(client, peer, ticket)?.len(), count),
        Step::Info(ticket, size) => {
            let info = reply(client, peer, ticket)?;
            assert_eq!(info.map(|info| info.nar_size), size);
        }
        Step::Fetch(ticket, None) => {
            reply(client, peer, ticket).expect_err("there is nothing to fetch");
        }
        Step::Fetch(ticket, Some((byte, size))) => {
            reply(client, peer, ticket)?;
            let mut left = usize::from(size);
            while left > 0 {
                let raw = client.raw()?;
                if raw.is_empty() {
                    peer.exchange(client);
                    continue;
                }
                let count = raw.len().min(left);
                assert!(raw[..count].iter().all(|&got| got == byte));
                client.consume_raw(count);
                left -= count;
            }
        }
    }
    Ok(())
}

fn reply<O: Operation>(
    client: &mut client::Session,
    peer: &mut Peer,
    ticket: Ticket<O>,
) -> Result<O::Reply, Error> {
    loop {
        match client.poll_reply(ticket)? {
            Progress::Ready(reply) => return Ok(reply),
            Progress::Log(log) => assert_eq!(log, Log::Next("working".into())),
            Progress::Data(_) => panic!("no operation here has data before its reply"),
            Progress::NeedBytes(count) => {
                let wanted = client.buffered() + count;
                while client.buffered() < wanted {
                    peer.exchange(client);
                }
            }
        }
    }
}

fn refusal(version: Version) -> RemoteError {
    let status = u64::from(!version.has_structured_errors());
    RemoteError::new("refused").with_status(status)
}

/// The server and its store.
struct Peer {
    session: server::Session,
    pieces: [usize; 2],
    store: Model,
    /// The request that is worked on.
    current: Option<Request>,
    /// Of a request with data: the path whose archive is being read, and how much of it came.
    reading: Option<(u8, u8, u16)>,
}

impl Peer {
    /// One piece goes to the server, which works as far as it gets, and one comes back.
    fn exchange(&mut self, client: &mut client::Session) {
        let idle = client.outgoing().is_empty() && self.session.outgoing().is_empty();
        let count = client.outgoing().len().min(self.pieces[0]);
        self.session.receive(&client.outgoing()[..count]);
        client.sent(count);
        self.work().expect("the client follows the protocol");
        let count = self.session.outgoing().len().min(self.pieces[1]);
        client.receive(&self.session.outgoing()[..count]);
        self.session.sent(count);
        assert!(
            !idle || count > 0,
            "nobody has anything to say, but somebody waits"
        );
    }

    /// Works on requests until bytes are missing.
    fn work(&mut self) -> Result<(), Error> {
        loop {
            if let Some(request) = self.current.take()
                && !self.serve(&request)?
            {
                self.current = Some(request);
                return Ok(());
            }
            match self.session.poll_request()? {
                ServerProgress::Ready(Some(request)) => {
                    self.session.log(Log::Next("working".into()))?;
                    self.current = Some(request);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Returns whether the request was answered; if not, it is taken up again when more bytes came.
    fn serve(&mut self, request: &Request) -> Result<bool, Error> {
        match request {
            Request::IsValidPath(IsValidPath { path }) => {
                let valid = self.store.contains_key(&key(path));
                self.session.answer::<IsValidPath>(&valid)?;
            }
            Request::QueryValidPaths(query) => {
                let paths = query.paths.iter();
                let valid = paths
                    .filter(|path| self.store.contains_key(&key(path)))
                    .cloned();
                self.session.answer::<QueryValidPaths>(&valid.collect())?;
            }
            Request::QueryPathInfo(QueryPathInfo { path }) => {
                let known = self.store.get(&key(path));
                let info = known.map(|&(byte, size)| valid_path(key(path), byte, size).info);
                self.session.answer::<QueryPathInfo>(&info)?;
            }
            Request::NarFromPath(NarFromPath { path }) => match self.store.get(&key(path)) {
                Some(&(byte, size)) => {
                    self.session.answer::<NarFromPath>(&())?;
                    self.session.raw(&vec![byte; usize::from(size)])?;
                }
                None => self.session.fail(RemoteError::new("nothing there"))?,
            },
            Request::AddToStoreNar(add) if add.dont_check_signatures => {
                if let ServerProgress::NeedBytes(_) = self.session.poll_drain()? {
                    return Ok(false);
                }
                self.session.fail(RemoteError::new("refused"))?;
            }
            Request::AddToStoreNar(add) => {
                self.reading.get_or_insert((key(&add.path.path), 0, 0));
                let complete = self.read_archive()?;
                if !complete || self.session.poll_drain()? != ServerProgress::Ready(()) {
                    return Ok(false);
                }
                self.keep(&add.path);
                self.session.answer::<AddToStoreNar>(&())?;
            }
            Request::AddMultipleToStore(_) => return self.add_multiple(),
            other => panic!("a client never said {}", other.name()),
        }
        Ok(true)
    }

    fn add_multiple(&mut self) -> Result<bool, Error> {
        loop {
            if self.reading.is_some() {
                if !self.read_archive()? {
                    return Ok(false);
                }
                let (key, byte, size) = self.reading.take().expect("it was there above");
                self.store.insert(key, (byte, size));
            }
            match self.session.poll_path()? {
                ServerProgress::NeedBytes(_) => return Ok(false),
                // The archive may be empty, and then does not tell its byte: the hash is made of it.
                ServerProgress::Ready(Some(path)) => {
                    self.reading = Some((key(&path.path), byte_of(&path), 0));
                }
                ServerProgress::Ready(None) => break,
            }
        }
        if let ServerProgress::NeedBytes(_) = self.session.poll_drain()? {
            return Ok(false);
        }
        self.session.answer::<AddMultipleToStore>(&())?;
        Ok(true)
    }

    /// Returns whether the archive at hand is complete.
    fn read_archive(&mut self) -> Result<bool, Error> {
        loop {
            match self.session.poll_upload()? {
                ServerProgress::NeedBytes(_) => return Ok(false),
                ServerProgress::Ready(false) => return Ok(true),
                ServerProgress::Ready(true) => {}
            }
            let count = self.session.upload().len();
            let (_, _, size) = self.reading.as_mut().expect("an archive belongs to a path");
            *size += u16::try_from(count).expect("archives are small");
            self.session.consume_upload(count);
        }
    }

    fn keep(&mut self, path: &ValidPathInfo) {
        let (key, _, size) = self.reading.take().expect("its archive was read");
        assert_eq!(u64::from(size), path.info.nar_size);
        self.store.insert(key, (byte_of(path), size));
    }
}

fn byte_of(path: &ValidPathInfo) -> u8 {
    let hash = path.info.nar_hash.0;
    let bytes = 0..=u8::MAX;
    let made_of = |byte: &u8| HashAlgorithm::Sha256.hash(&[*byte]) == hash;
    bytes
        .into_iter()
        .find(made_of)
        .expect("the hash is made of a byte")
}
