use super::{Model, info, key, path, working};
use crate::operation::{
    AddMultipleToStore, AddTextToStore, AddToStore, AddToStoreNar, Added, ExportPath, ImportPaths,
    IsValidPath, NarFromPath, QueryPathInfo, QueryValidPaths, Upload,
};
use crate::server::{Options, Progress, Session};
use crate::{Done, Error, NarHash, RemoteError, Request, ValidPathInfo, client};

/// How many bytes say what the data is and where it ends, where it tells that itself.
const HEAD: usize = 4;

/// The server and its store.
pub(super) struct Peer {
    session: Session,
    pieces: [usize; 2],
    pub(super) store: Model,
    /// The request that is worked on.
    current: Option<Request>,
    /// The data that came of it.
    data: Vec<u8>,
    /// Of many paths: the one whose archive is being read.
    path: Option<ValidPathInfo>,
}

impl Peer {
    pub(super) fn new(options: Options, pieces: [usize; 2]) -> Peer {
        Peer {
            session: Session::new(options),
            pieces,
            store: Model::new(),
            current: None,
            data: Vec::new(),
            path: None,
        }
    }

    /// One piece goes to the server, which works as far as it gets, and one comes back.
    pub(super) fn exchange(&mut self, client: &mut client::Session) {
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
            if let Some(request) = self.current.take() {
                if !self.serve(&request)? {
                    self.current = Some(request);
                    return Ok(());
                }
                self.data.clear();
            }
            match self.session.poll_request()? {
                Progress::Ready(Some(request)) => {
                    self.session.log(working())?;
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
                let held = |path: &&_| self.store.contains_key(&key(path));
                let valid = query.paths.iter().filter(held).cloned().collect();
                self.session.answer::<QueryValidPaths>(&valid)?;
            }
            Request::QueryPathInfo(QueryPathInfo { path }) => {
                let known = self.store.get(&key(path));
                let info = known.map(|&(byte, size)| info(key(path), byte, size));
                match info {
                    None if self.session.context().version.is_guix() => self.nothing()?,
                    info => self.session.answer::<QueryPathInfo>(&info)?,
                }
            }
            Request::NarFromPath(NarFromPath { path }) => match self.store.get(&key(path)) {
                Some(&(byte, size)) => {
                    self.session.answer::<NarFromPath>(&())?;
                    self.session.raw(&vec![byte; usize::from(size)])?;
                }
                None => self.nothing()?,
            },
            Request::ExportPath(ExportPath { path, .. }) => match self.store.get(&key(path)) {
                Some(&(byte, size)) => {
                    for block in vec![byte; usize::from(size)].chunks(1000) {
                        self.session.data(block)?;
                    }
                    self.session.answer::<ExportPath>(&Done)?;
                }
                None => self.nothing()?,
            },
            Request::AddTextToStore(AddTextToStore { contents, .. }) => {
                let added = self.keep(contents);
                self.session.answer::<AddTextToStore>(&path(added))?;
            }
            uploaded => return self.add(uploaded),
        }
        Ok(true)
    }

    fn nothing(&mut self) -> Result<(), Error> {
        self.session.fail(RemoteError::new("nothing there"))
    }

    /// As [`Peer::serve`], of requests with data.
    fn add(&mut self, request: &Request) -> Result<bool, Error> {
        let inline = request.upload(self.session.context().version) == Upload::Inline;
        match request {
            Request::AddToStoreNar(add) if add.dont_check_signatures => {}
            Request::AddMultipleToStore(_) => {
                if !self.read_paths()? {
                    return Ok(false);
                }
            }
            Request::AddToStoreNar(add) => {
                if !self.read_data(|got| size_of_archive(&add.path) - got.len())? {
                    return Ok(false);
                }
            }
            _ => {
                if !self.read_data(missing)? {
                    return Ok(false);
                }
            }
        }
        if inline {
            self.session.end_inline_upload();
        }
        if let Progress::NeedBytes(_) = self.session.poll_drain()? {
            return Ok(false);
        }
        match request {
            Request::AddToStoreNar(add) if add.dont_check_signatures => {
                self.session.fail(RemoteError::new("refused"))?;
            }
            Request::AddToStoreNar(add) => {
                self.keep_archive(&add.path);
                self.session.answer::<AddToStoreNar>(&())?;
            }
            Request::AddMultipleToStore(_) => self.session.answer::<AddMultipleToStore>(&())?,
            Request::AddToStore(_) => {
                let added = self.keep(&self.data.clone());
                let (byte, size) = self.store[&added];
                let added = Added {
                    path: path(added),
                    info: Some(info(added, byte, size)),
                };
                self.session.answer::<AddToStore>(&added)?;
            }
            Request::ImportPaths(_) => {
                let added = self.keep(&self.data.clone());
                self.session.answer::<ImportPaths>(&vec![path(added)])?;
            }
            other => panic!("a client never said {}", other.name()),
        }
        Ok(true)
    }

    /// Returns whether all paths and their archives have come.
    fn read_paths(&mut self) -> Result<bool, Error> {
        loop {
            if let Some(path) = self.path.take() {
                if !self.read_data(|got| size_of_archive(&path) - got.len())? {
                    self.path = Some(path);
                    return Ok(false);
                }
                self.keep_archive(&path);
                self.data.clear();
            }
            match self.session.poll_path()? {
                Progress::NeedBytes(_) => return Ok(false),
                Progress::Ready(Some(path)) => self.path = Some(path),
                Progress::Ready(None) => return Ok(true),
            }
        }
    }

    /// Returns whether the data is complete, of which `missing` tells how many bytes still lack at least.
    fn read_data(&mut self, missing: impl Fn(&[u8]) -> usize) -> Result<bool, Error> {
        while missing(&self.data) > 0 {
            match self.session.poll_upload()? {
                Progress::NeedBytes(_) => return Ok(false),
                Progress::Ready(more) => assert!(more, "it ends too early"),
            }
            let chunk = self.session.upload();
            let count = chunk.len().min(missing(&self.data));
            self.data.extend_from_slice(&chunk[..count]);
            self.session.consume_upload(count);
        }
        Ok(true)
    }

    fn keep_archive(&mut self, path: &ValidPathInfo) {
        let byte = byte_of(path);
        assert!(self.data.iter().all(|&got| got == byte));
        let size = u16::try_from(self.data.len()).expect("archives are small");
        self.store.insert(key(&path.path), (byte, size));
    }

    /// Keeps data that tells what it is.
    fn keep(&mut self, data: &[u8]) -> u8 {
        assert_eq!(missing(data), 0);
        assert!(data[HEAD..].iter().all(|&got| got == data[1]));
        let size = u16::try_from(data.len() - HEAD).expect("data is small");
        self.store.insert(data[0], (data[1], size));
        data[0]
    }
}

fn size_of_archive(path: &ValidPathInfo) -> usize {
    usize::try_from(path.info.nar_size).expect("archives are small")
}

/// How many bytes lack at least of data that tells its own end.
fn missing(data: &[u8]) -> usize {
    match data {
        [_, _, low, high, rest @ ..] => usize::from(u16::from_le_bytes([*low, *high])) - rest.len(),
        short => HEAD - short.len(),
    }
}

/// The archive may be empty, and then does not tell its byte: the hash is made of it.
fn byte_of(path: &ValidPathInfo) -> u8 {
    let hash = path.info.nar_hash;
    let made_of = |byte: &u8| NarHash::of(&[*byte]) == hash;
    let mut bytes = 0..=u8::MAX;
    bytes.find(made_of).expect("the hash is made of a byte")
}
