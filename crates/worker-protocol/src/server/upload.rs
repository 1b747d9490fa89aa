use super::session::{Progress, Session};
use crate::log::Message;
use crate::operation::Upload;
use crate::wire::{Decoder, Marks, Stop, WORD, decode_on, limit};
use crate::{Context, Error, Misuse, Request, ValidPathInfo, Value, Version};

/// How much is asked for at a time where data must be asked for.
const BLOCK: usize = 64 << 10;

/// Infos within AddMultipleToStore's data have the layout of this version, whatever was agreed on.
const MULTIPLE: Version = Version::nix(16);

/// Data that follows a request.
#[derive(Debug)]
pub(super) struct UploadState {
    kind: Upload,
    /// Bytes left of the frame or block at hand.
    piece: u64,
    /// Zeros behind the block at hand.
    padding: usize,
    /// Bytes left of the archive, where its size is known.
    left: Option<u64>,
    /// Whether a block was asked for and has not begun to come.
    asked: bool,
    /// Whether the last frame was read.
    at_end: bool,
    /// Of AddMultipleToStore: how many paths are still to come, once that was read.
    paths: Option<u64>,
    multiple: bool,
    /// The beginning of a path's info, which frames may cut anywhere.
    header: Vec<u8>,
    /// How far the header was read.
    marks: Marks,
}

impl UploadState {
    pub(super) fn for_request(request: &Request, version: Version) -> Option<UploadState> {
        let kind = match request.upload(version) {
            Upload::None => return None,
            kind => kind,
        };
        let left = match request {
            Request::AddToStoreNar(operation) => Some(operation.path.info.nar_size),
            Request::AddMultipleToStore(_) => Some(0),
            _ => None,
        };
        Some(UploadState {
            kind,
            piece: 0,
            padding: 0,
            left,
            asked: false,
            at_end: false,
            paths: None,
            multiple: matches!(request, Request::AddMultipleToStore(_)),
            header: Vec::new(),
            marks: Marks::default(),
        })
    }
}

impl Session {
    /// Reads on until data of the request is there ([`Session::upload`]). Ready with `false` at its end: at
    /// the end of the archive, if its size is known.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] if none follows; why the session ended.
    pub fn poll_upload(&mut self) -> Result<Progress<bool>, Error> {
        self.alive()?;
        let Some(state) = &self.upload else {
            return Err(Misuse::NoRawData.into());
        };
        if state.left == Some(0) {
            return Ok(Progress::Ready(false));
        }
        self.poll_piece()
    }

    /// Reads on until some byte of the stream of data is there.
    fn poll_piece(&mut self) -> Result<Progress<bool>, Error> {
        loop {
            let Some(state) = &mut self.upload else {
                return Err(Misuse::NoRawData.into());
            };
            if state.at_end {
                return Ok(Progress::Ready(false));
            }
            if state.piece > 0 || state.kind == Upload::Inline {
                let place = self.place();
                return match self.connection.raw(place)?.is_empty() {
                    true => Ok(Progress::NeedBytes(1)),
                    false => Ok(Progress::Ready(true)),
                };
            }
            let (framed, padding) = (state.kind == Upload::Framed, state.padding);
            if !framed && !state.asked && padding == 0 {
                state.asked = true;
                Message::Read(BLOCK).encode(self.connection.queue(), &self.context);
            }
            let asked = self.upload.as_ref().is_some_and(|state| state.asked);
            let length = self.read(|decoder, _| {
                let offset = decoder.offset();
                if decoder.raw(padding)?.iter().any(|&byte| byte != 0) {
                    return Err(decoder.error_at(offset, crate::wire::Kind::Padding));
                }
                match (framed, asked) {
                    (true, _) => decoder.size(limit::FRAME).map(Some),
                    (false, true) => decoder.size(BLOCK as u64).map(Some),
                    (false, false) => Ok(None),
                }
            })?;
            let state = self.upload.as_mut().expect("it was there above");
            state.padding = 0;
            match length {
                Err(count) => return Ok(Progress::NeedBytes(count)),
                Ok(None) => {}
                Ok(Some(length)) => {
                    state.asked = false;
                    state.piece = length;
                    // An empty block or frame is the end.
                    state.at_end = length == 0;
                    if !framed {
                        state.padding = padding_of(length);
                    }
                }
            }
        }
    }

    /// The data that is there, after [`Session::poll_upload`] said that there is some.
    pub fn upload(&self) -> &[u8] {
        &self.connection.incoming()[..self.available()]
    }

    fn available(&self) -> usize {
        let Some(state) = &self.upload else { return 0 };
        let mut count = self.connection.incoming().len();
        if state.kind != Upload::Inline {
            count = at_most(count, state.piece);
        }
        match state.left {
            Some(left) => at_most(count, left),
            None => count,
        }
    }

    /// Says that the first `count` bytes of [`Session::upload`] were used.
    pub fn consume_upload(&mut self, count: usize) {
        assert!(
            count <= self.available(),
            "no more is consumed than there is"
        );
        self.connection.consume(count);
        let state = self
            .upload
            .as_mut()
            .expect("there is data only within an upload");
        if state.kind != Upload::Inline {
            state.piece -= count as u64;
        }
        if let Some(left) = &mut state.left {
            *left -= count as u64;
        }
    }

    /// Says that data without frames ends here: its decoder found the end.
    pub fn end_inline_upload(&mut self) {
        if self
            .upload
            .as_ref()
            .is_some_and(|state| state.kind == Upload::Inline)
        {
            self.upload = None;
        }
    }

    /// Of AddMultipleToStore: skips what is left of the archive before and reads the next path's info;
    /// nothing after the last one.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; why the session ended.
    pub fn poll_path(&mut self) -> Result<Progress<Option<ValidPathInfo>>, Error> {
        if !self.upload.as_ref().is_some_and(|state| state.multiple) {
            return Err(Misuse::NoRawData.into());
        }
        while let Progress::Ready(true) = self.poll_upload()? {
            self.consume_upload(self.available());
        }
        if let Progress::NeedBytes(count) = self.poll_upload()? {
            return Ok(Progress::NeedBytes(count));
        }
        let context = Context {
            store_dir: self.context.store_dir.clone(),
            version: MULTIPLE,
        };
        let state = self.upload.as_ref().expect("it was there above");
        let Some(paths) = state.paths else {
            return match self.poll_header(|decoder| decoder.length(limit::ITEMS))? {
                Progress::NeedBytes(count) => Ok(Progress::NeedBytes(count)),
                Progress::Ready(count) => {
                    let state = self.upload.as_mut().expect("it was there above");
                    state.paths = Some(count as u64);
                    self.poll_path()
                }
            };
        };
        if paths == 0 {
            return Ok(Progress::Ready(None));
        }
        match self.poll_header(|decoder| ValidPathInfo::decode(decoder, &context))? {
            Progress::NeedBytes(count) => Ok(Progress::NeedBytes(count)),
            Progress::Ready(path) => {
                let state = self.upload.as_mut().expect("it was there above");
                state.paths = Some(paths - 1);
                state.left = Some(path.info.nar_size);
                Ok(Progress::Ready(Some(path)))
            }
        }
    }

    /// Decodes a value that frames may cut. It takes from the stream only what is surely part of it.
    fn poll_header<T>(
        &mut self,
        decode: impl Fn(&mut Decoder<'_>) -> Result<T, Stop>,
    ) -> Result<Progress<T>, Error> {
        loop {
            let state = self
                .upload
                .as_mut()
                .expect("a header stands within an upload");
            let base = self.connection.offset() - state.header.len() as u64;
            let maximum = self.connection.max_message();
            let marks = &mut state.marks;
            let missing = match decode_on(&state.header, base, marks, maximum, &decode) {
                Ok((value, _)) => {
                    state.header.clear();
                    return Ok(Progress::Ready(value));
                }
                Err(Stop::Incomplete { at_least }) => at_least,
                Err(Stop::Malformed(error)) => {
                    let place = self.place();
                    return Err(self.connection.end(Error::Malformed { place, error }));
                }
            };
            match self.poll_piece()? {
                Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
                Progress::Ready(false) => {
                    let place = self.place();
                    return Err(self.connection.out_of_place(place));
                }
                Progress::Ready(true) => {
                    let state = self
                        .upload
                        .as_mut()
                        .expect("a header stands within an upload");
                    let incoming = self.connection.incoming();
                    let count = at_most(missing.min(incoming.len()), state.piece);
                    state.header.extend_from_slice(&incoming[..count]);
                    state.piece -= count as u64;
                    self.connection.consume(count);
                }
            }
        }
    }

    /// Skips what is left of the request's data, so that it can be answered. Data without frames cannot be
    /// skipped: its end is not known here.
    ///
    /// # Errors
    /// [`Misuse::UnreadData`] for data without frames; why the session ended.
    pub fn poll_drain(&mut self) -> Result<Progress<()>, Error> {
        loop {
            let Some(state) = &mut self.upload else {
                return Ok(Progress::Ready(()));
            };
            match state.kind {
                Upload::Inline if state.left != Some(0) => return Err(Misuse::UnreadData.into()),
                // The client gets no further request for data.
                Upload::Tunnelled if state.piece == 0 && state.padding == 0 && !state.asked => {
                    state.at_end = true;
                }
                _ => state.left = None,
            }
            if state.kind == Upload::Tunnelled && state.piece == 0 && state.padding > 0 {
                let padding = state.padding;
                match self.read(|decoder, _| decoder.raw(padding).map(|_| ()))? {
                    Err(count) => return Ok(Progress::NeedBytes(count)),
                    Ok(()) => self.upload.as_mut().expect("it was there above").padding = 0,
                }
                continue;
            }
            let inline = state.kind == Upload::Inline;
            match if inline {
                Progress::Ready(false)
            } else {
                self.poll_piece()?
            } {
                Progress::NeedBytes(count) => return Ok(Progress::NeedBytes(count)),
                Progress::Ready(true) => self.consume_upload(self.available()),
                Progress::Ready(false) => self.upload = None,
            }
        }
    }
}

/// The lower of the two.
fn at_most(count: usize, limit: u64) -> usize {
    usize::try_from(limit).map_or(count, |limit| count.min(limit))
}

/// How many zeros stand behind so many bytes.
fn padding_of(length: u64) -> usize {
    let word = WORD as u64;
    ((word - length % word) % word) as usize
}
