mod peer;

use std::collections::{BTreeMap, VecDeque};

use store_path::{ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};

use super::oracle::version_from;
use crate::client::{self, Progress, Ticket};
use crate::operation::{
    AddMultipleToStore, AddTextToStore, AddToStore, AddToStoreNar, Added, ExportPath, ImportPaths,
    IsValidPath, NarFromPath, QueryPathInfo, QueryValidPaths, Upload, UploadOperation,
};
use crate::{
    Done, Error, Log, NarHash, Operation, PathInfo, RemoteError, ValidPathInfo, Version, server,
};
use peer::Peer;

/// What a store holds: archives whose bytes are all the same, and how many there are.
type Model = BTreeMap<u8, (u8, u16)>;

/// What a client said, each with the reply that the model foresees.
enum Said {
    Add(Ticket<AddToStoreNar>, bool),
    AddMany(Ticket<AddMultipleToStore>),
    AddFile(Ticket<AddToStore>, u8),
    AddText(Ticket<AddTextToStore>, u8),
    Import(Ticket<ImportPaths>, u8),
    IsValid(Ticket<IsValidPath>, bool),
    Info(Ticket<QueryPathInfo>, Option<u64>),
    Valid(Ticket<QueryValidPaths>, usize),
    Fetch(Ticket<NarFromPath>, Option<(u8, u16)>),
    Export(Ticket<ExportPath>, Option<(u8, u16)>),
}

fn path(key: u8) -> StorePath {
    StorePath::from_parts([key % 8; 20], "x").expect("the name is one")
}

fn key(path: &StorePath) -> u8 {
    path.digest()[0]
}

fn info(key: u8, byte: u8, size: u16) -> PathInfo {
    PathInfo::new(NarHash::of(&[byte]), u64::from(size))
        .with_references([path(key)])
        .with_registration_time(1)
}

fn valid_path(key: u8, byte: u8, size: u16) -> ValidPathInfo {
    ValidPathInfo {
        path: path(key),
        info: info(key, byte, size),
    }
}

/// Data that tells its own end: which path it is, how long it is, and that many bytes.
fn self_delimited(key: u8, byte: u8, size: u16) -> Vec<u8> {
    let mut data = vec![key % 8, byte];
    data.extend(size.to_le_bytes());
    data.resize(data.len() + usize::from(size), byte);
    data
}

/// A client says what `data` tells it to, as much at once as its version allows, to a server with a store in memory;
/// both get their bytes in pieces. Every reply is what a model of the store foresees.
///
/// The first three bytes choose the version, the sizes of the pieces and how much leaves together; every further four
/// make an operation.
///
/// # Panics
/// If a reply is another one, or one of the two halves does not come to an end.
pub fn conversation(data: &[u8]) {
    let [version, to_server, to_client, steps @ ..] = data else {
        return;
    };
    let version = version_from(*version);
    let options = client::Options {
        version,
        assume: Some(version),
        together: usize::from(to_server ^ to_client) * 16,
        ..client::Options::nix(StoreDir::NIX)
    };
    let mut server_options = server::Options::nix(StoreDir::NIX, "1");
    server_options.version = version;
    let pieces = [to_server, to_client].map(|&size| 1 + usize::from(size) * 4);
    let mut talk = Talk {
        client: client::Session::new(options),
        peer: Peer::new(server_options, pieces),
        model: Model::new(),
        said: VecDeque::new(),
        version,
    };
    for step in steps.chunks_exact(4).take(64) {
        talk.say([step[0], step[1] % 8, step[2], step[3]])
            .expect("both halves follow the protocol");
    }
    talk.hear_all().expect("both halves follow the protocol");
    assert_eq!(talk.client.outstanding(), 0);
    assert_eq!(talk.peer.store, talk.model);
}

struct Talk {
    client: client::Session,
    peer: Peer,
    model: Model,
    /// What was said and not yet answered.
    said: VecDeque<Said>,
    version: Version,
}

impl Talk {
    fn say(&mut self, [kind, target, byte, length]: [u8; 4]) -> Result<(), Error> {
        let (size, path) = (u16::from(length) * 37, path(target));
        let held = self.model.get(&target).copied();
        let is_nix = self.version.is_nix();
        let said = match kind % 11 {
            0 if is_nix => return self.add(target, byte, size),
            1 if self.version.has_add_multiple_to_store() => {
                self.add_many(target, byte, size).map(Said::AddMany)?
            }
            2 => {
                let ticket = self.client.queue(&QueryPathInfo { path })?;
                Said::Info(ticket, held.map(|(_, size)| u64::from(size)))
            }
            3 if is_nix => Said::Fetch(self.client.queue(&NarFromPath { path })?, held),
            4 => {
                let paths = (0..target).map(self::path).collect();
                let valid = QueryValidPaths {
                    paths,
                    substitute: false,
                };
                let below = self.model.keys().filter(|&&key| key < target);
                Said::Valid(self.client.queue(&valid)?, below.count())
            }
            5 => {
                let file = AddToStore {
                    name: "x".into(),
                    method: ContentAddressMethod::Recursive,
                    algorithm: HashAlgorithm::Sha256,
                    references: [].into(),
                    repair: false,
                };
                let data = self_delimited(target, byte, size);
                let ticket = self.upload(&file, &data, usize::from(length))?;
                self.model.insert(target, (byte, size));
                Said::AddFile(ticket, target)
            }
            6 => {
                let text = AddTextToStore {
                    name: "x".into(),
                    contents: self_delimited(target, byte, size).into(),
                    references: [].into(),
                };
                self.model.insert(target, (byte, size));
                Said::AddText(self.client.queue(&text)?, target)
            }
            7 => {
                let data = self_delimited(target, byte, size);
                let ticket = self.upload(&ImportPaths {}, &data, usize::from(length))?;
                self.model.insert(target, (byte, size));
                Said::Import(ticket, target)
            }
            8 => {
                let sign = byte & 1 == 1;
                Said::Export(self.client.queue(&ExportPath { path, sign })?, held)
            }
            9 => return self.hear_all(),
            _ => Said::IsValid(self.client.queue(&IsValidPath { path })?, held.is_some()),
        };
        self.said.push_back(said);
        Ok(())
    }

    fn add(&mut self, target: u8, byte: u8, size: u16) -> Result<(), Error> {
        // Data without frames cannot be skipped, so there nothing is refused.
        let refused = byte == 0 && self.version.has_tunnelled_nar();
        let add = AddToStoreNar {
            path: valid_path(target, byte, size),
            repair: false,
            dont_check_signatures: refused,
        };
        let data = vec![byte; usize::from(size)];
        let ticket = match self.upload(&add, &data, usize::from(size / 7)) {
            Err(Error::Remote(error)) => {
                assert!(refused);
                assert_eq!(error, refusal(self.version));
                return Ok(());
            }
            ticket => ticket?,
        };
        if !refused {
            self.model.insert(target, (byte, size));
        }
        self.said.push_back(Said::Add(ticket, refused));
        Ok(())
    }

    fn add_many(
        &mut self,
        target: u8,
        byte: u8,
        size: u16,
    ) -> Result<Ticket<AddMultipleToStore>, Error> {
        let add = AddMultipleToStore {
            repair: false,
            dont_check_signatures: true,
        };
        let count = byte % 4;
        let ticket = self.client.begin_multiple(&add, u64::from(count))?;
        for key in (0..count).map(|number| (target + number) % 8) {
            self.client.upload_path(&valid_path(key, byte, size))?;
            let taken = self.client.upload(&vec![byte; usize::from(size)]);
            assert_eq!(taken, Ok(usize::from(size)));
            self.model.insert(key, (byte, size));
        }
        self.client.finish_upload()?;
        Ok(ticket)
    }

    /// Sends data in pieces, after everything else was heard where that must be.
    fn upload<O: UploadOperation>(
        &mut self,
        operation: &O,
        data: &[u8],
        piece: usize,
    ) -> Result<Ticket<O>, Error> {
        let asked_for = O::upload(self.version) == Upload::Tunnelled;
        if asked_for || self.version.is_guix() {
            self.hear_all()?;
        }
        let ticket = self.client.begin_upload(operation)?;
        let mut rest = data;
        while !rest.is_empty() {
            let taken = self.client.upload(&rest[..rest.len().min(piece + 1)])?;
            rest = &rest[taken..];
            if taken == 0 {
                self.hear_wish()?;
            }
        }
        if asked_for {
            self.hear_wish()?;
        }
        self.client.finish_upload()?;
        Ok(ticket)
    }

    /// Waits until the server asks for data, or has answered.
    fn hear_wish(&mut self) -> Result<(), Error> {
        loop {
            match self.client.poll_upload()? {
                Progress::Ready(()) => return Ok(()),
                Progress::Log(log) => assert_eq!(log, working()),
                Progress::Data(_) => panic!("an upload brings no data"),
                Progress::NeedBytes(count) => self.wait(count),
            }
        }
    }

    fn wait(&mut self, count: usize) {
        assert!(count > 0);
        let wanted = self.client.buffered() + count;
        while self.client.buffered() < wanted {
            self.peer.exchange(&mut self.client);
        }
    }

    fn hear_all(&mut self) -> Result<(), Error> {
        while let Progress::NeedBytes(count) = self.client.poll_handshake()? {
            self.wait(count);
        }
        while let Some(said) = self.said.pop_front() {
            self.hear(said)?;
        }
        Ok(())
    }

    fn hear(&mut self, said: Said) -> Result<(), Error> {
        match said {
            Said::Add(ticket, false) => self.reply(ticket)?,
            Said::Add(ticket, true) => {
                let refused = self.reply(ticket).expect_err("it is refused");
                assert_eq!(refused, Error::Remote(refusal(self.version)));
            }
            Said::AddMany(ticket) => self.reply(ticket)?,
            Said::AddFile(ticket, target) => {
                let Added { path, info } = self.reply(ticket)?;
                assert_eq!(
                    (path, info.is_some()),
                    (self::path(target), self.version.has_framed_add())
                );
            }
            Said::AddText(ticket, target) => assert_eq!(self.reply(ticket)?, path(target)),
            Said::Import(ticket, target) => assert_eq!(self.reply(ticket)?, [path(target)]),
            Said::IsValid(ticket, valid) => assert_eq!(self.reply(ticket)?, valid),
            Said::Valid(ticket, count) => assert_eq!(self.reply(ticket)?.len(), count),
            Said::Info(ticket, None) if self.version.is_guix() => {
                self.reply(ticket).expect_err("there is nothing to tell");
            }
            Said::Info(ticket, size) => {
                let info = self.reply(ticket)?;
                assert_eq!(info.map(|info| info.nar_size), size);
            }
            Said::Fetch(ticket, None) => {
                self.reply(ticket).expect_err("there is nothing to fetch");
            }
            Said::Fetch(ticket, Some(held)) => {
                self.reply(ticket)?;
                self.fetch(held)?;
            }
            Said::Export(ticket, held) => {
                let mut data = Vec::new();
                let reply = self.reply_with(ticket, &mut data);
                match held {
                    None => assert!(reply.is_err()),
                    Some((byte, size)) => {
                        assert_eq!(reply?, Done);
                        assert_eq!(data, vec![byte; usize::from(size)]);
                    }
                }
            }
        }
        Ok(())
    }

    fn fetch(&mut self, (byte, size): (u8, u16)) -> Result<(), Error> {
        let mut left = usize::from(size);
        while left > 0 {
            let raw = self.client.raw()?;
            if raw.is_empty() {
                self.wait(1);
                continue;
            }
            let count = raw.len().min(left);
            assert!(raw[..count].iter().all(|&got| got == byte));
            self.client.consume_raw(count);
            left -= count;
        }
        Ok(())
    }

    fn reply<O: Operation>(&mut self, ticket: Ticket<O>) -> Result<O::Reply, Error> {
        let mut data = Vec::new();
        let reply = self.reply_with(ticket, &mut data);
        assert!(data.is_empty(), "{} has no data before its reply", O::NAME);
        reply
    }

    fn reply_with<O: Operation>(
        &mut self,
        ticket: Ticket<O>,
        data: &mut Vec<u8>,
    ) -> Result<O::Reply, Error> {
        loop {
            match self.client.poll_reply(ticket)? {
                Progress::Ready(reply) => return Ok(reply),
                Progress::Log(log) => assert_eq!(log, working()),
                Progress::Data(block) => data.extend(block),
                Progress::NeedBytes(count) => self.wait(count),
            }
        }
    }
}

fn working() -> Log {
    Log::Next("working".into())
}

fn refusal(version: Version) -> RemoteError {
    let status = u64::from(!version.has_structured_errors());
    RemoteError::new("refused").with_status(status)
}
