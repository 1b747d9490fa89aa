use super::multiple::Header;
use super::session::{Progress, Session};
use crate::log::Message;
use crate::operation::Upload;
use crate::wire::{WORD, limit};
use crate::{Error, Misuse, Request, Version};

/// How much is asked for at a time where data must be asked for.
const BLOCK: usize = 64 << 10;

/// Data that follows a request.
#[derive(Debug)]
pub(super) struct UploadState {
    kind: Upload,
    /// Bytes left of the frame or block at hand.
    pub(super) piece: u64,
    /// Zeros behind the block at hand.
    padding: usize,
    /// Bytes left of the archive, where its size is known.
    pub(super) left: Option<u64>,
    /// Whether a block was asked for and has not begun to come.
    asked: bool,
    /// Whether the last frame was read.
    at_end: bool,
    /// Of AddMultipleToStore: how many paths are still to come, once that was read.
    pub(super) paths: Option<u64>,
    pub(super) multiple: bool,
    /// The beginning of a path's info, which frames may cut anywhere.
    pub(super) header: Header,
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
            header: Header::default(),
        })
    }
}

impl Session {
    /// Reads on until data of the request is there ([`Session::upload`]). Ready with `false` at its end: at
    /// the end of the archive, if its size is known.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] if none follows; [`Error::WrongLength`] if it is not as long as announced: then it can
    /// be drained and the request failed. Why the session ended.
    pub fn poll_upload(&mut self) -> Result<Progress<bool>, Error> {
        self.alive()?;
        let Some(state) = &self.upload else {
            return Err(Misuse::NoRawData.into());
        };
        let (left, multiple) = (state.left, state.multiple);
        if left == Some(0) && !multiple {
            return self.poll_end();
        }
        if left == Some(0) {
            return Ok(Progress::Ready(false));
        }
        let progress = self.poll_piece()?;
        match left {
            Some(_) if progress == Progress::Ready(false) => Err(self.wrong_length(false)),
            _ => Ok(progress),
        }
    }

    /// Reads on until the data has ended as announced: ready with `false`. Data without frames may go on: it is
    /// the next request's then; and a client that has to be asked for more is not asked.
    pub(super) fn poll_end(&mut self) -> Result<Progress<bool>, Error> {
        let more = match &self.upload {
            Some(state) if state.kind == Upload::Framed => self.poll_piece()?,
            Some(state) => Progress::Ready(state.kind == Upload::Tunnelled && state.piece > 0),
            None => Progress::Ready(false),
        };
        match more {
            Progress::Ready(true) => Err(self.wrong_length(true)),
            other => Ok(other),
        }
    }

    fn wrong_length(&self, more: bool) -> Error {
        let place = self.place();
        Error::WrongLength { place, more }
    }

    /// Reads on until some byte of the stream of data is there.
    pub(super) fn poll_piece(&mut self) -> Result<Progress<bool>, Error> {
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
            match length {
                Err(count) => return Ok(Progress::NeedBytes(count)),
                Ok(None) => state.padding = 0,
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

    pub(super) fn available(&self) -> usize {
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
pub(super) fn at_most(count: usize, limit: u64) -> usize {
    usize::try_from(limit).map_or(count, |limit| count.min(limit))
}

/// How many zeros stand behind so many bytes.
fn padding_of(length: u64) -> usize {
    let word = WORD as u64;
    ((word - length % word) % word) as usize
}
