use super::session::{Progress, Session};
use crate::operation::{AddMultipleToStore, Upload, UploadOperation};
use crate::outstanding::{HANDSHAKE, Ticket};
use crate::wire::Encoder;
use crate::{Context, Error, Misuse, Operation, Place, ValidPathInfo, Value, Version};

/// Frames smaller than this are gathered until they reach it.
const FRAME: usize = 64 << 10;

/// How much is kept to be sent for a daemon that says nothing more. It may still listen.
const KEPT: usize = 1 << 20;

/// Infos within AddMultipleToStore's data have the layout of this version, whatever was agreed on.
const MULTIPLE: Version = Version::nix(16);

/// Data that is being sent behind a request.
#[derive(Debug)]
pub(super) struct UploadState {
    pub(super) place: Place,
    kind: Upload,
    /// Data that waits to become a frame.
    gathered: Vec<u8>,
    /// How much the daemon asked for and did not get yet.
    pub(super) wanted: usize,
    /// Bytes that must still come of the archive at hand, where its size is known.
    left: Option<u64>,
    /// Of AddMultipleToStore: paths that were announced, and given so far.
    paths: Option<(u64, u64)>,
    /// Whether the daemon answered before it asked for all data. What is left is dropped.
    answered: bool,
}

impl Session {
    /// Encodes a request whose data follows through [`Session::upload`]. Nothing else can be queued before
    /// [`Session::finish_upload`].
    ///
    /// # Errors
    /// As [`Session::queue`]; in Guix's dialect [`Misuse::OutOfOrder`] while replies (or the handshake) are
    /// outstanding.
    pub fn begin_upload<O: UploadOperation>(&mut self, operation: &O) -> Result<Ticket<O>, Error> {
        self.begin(operation, operation.data_size(), None)
    }

    /// Encodes the request to add `count` paths. Each begins with [`Session::upload_path`], and its archive
    /// follows through [`Session::upload`].
    ///
    /// # Errors
    /// As [`Session::queue`].
    pub fn begin_multiple(
        &mut self,
        operation: &AddMultipleToStore,
        count: u64,
    ) -> Result<Ticket<AddMultipleToStore>, Error> {
        let ticket = self.begin(operation, Some(0), Some((count, 0)))?;
        Encoder::new(&mut self.upload_state()?.gathered).word(count);
        Ok(ticket)
    }

    fn begin<O: Operation>(
        &mut self,
        operation: &O,
        left: Option<u64>,
        paths: Option<(u64, u64)>,
    ) -> Result<Ticket<O>, Error> {
        let ticket = self.queue_request(operation)?;
        self.upload = Some(UploadState {
            place: Place {
                number: ticket.number(),
                operation: O::NAME,
            },
            kind: O::upload(self.context.version),
            gathered: Vec::new(),
            wanted: 0,
            left,
            paths,
            answered: false,
        });
        Ok(ticket)
    }

    fn upload_state(&mut self) -> Result<&mut UploadState, Error> {
        let place = match &self.upload {
            Some(state) => state.place,
            None => self.outstanding.front().unwrap_or(HANDSHAKE),
        };
        self.alive(place)?;
        self.upload.as_mut().ok_or_else(|| Misuse::NoUpload.into())
    }

    /// Sends the next path's info within an upload of many.
    ///
    /// # Errors
    /// [`Misuse`] if the archive before is not complete, more paths come than were announced, or no upload is
    /// under way; why the session ended.
    pub fn upload_path(&mut self, path: &ValidPathInfo) -> Result<(), Error> {
        let context = Context {
            store_dir: self.context.store_dir.clone(),
            version: MULTIPLE,
        };
        let state = self.upload_state()?;
        state.check_complete()?;
        let Some((announced, given)) = &mut state.paths else {
            return Err(Misuse::PathCount {
                given: 1,
                announced: 0,
            }
            .into());
        };
        if *given == *announced {
            let given = *given + 1;
            return Err(Misuse::PathCount {
                given,
                announced: *announced,
            }
            .into());
        }
        *given += 1;
        state.left = Some(path.info.nar_size);
        path.encode(&mut Encoder::new(&mut state.gathered), &context);
        Ok(())
    }

    /// Takes data for the daemon, and returns how many bytes of it were taken: all, or less (maybe none)
    /// while a daemon that asks for its data has not asked for it; then [`Session::poll_upload`] waits for
    /// it to ask.
    ///
    /// # Errors
    /// [`Misuse::TooMuchData`] if it is more than was announced, [`Misuse::NoUpload`]; why the session ended.
    /// [`Error::Closed`] and the like if the daemon has ended while earlier replies were outstanding: then the
    /// upload is over, and the replies that had come can still be read.
    pub fn upload(&mut self, data: &[u8]) -> Result<usize, Error> {
        let place = self.upload_state()?.place;
        let ended = self.connection.input_has_ended();
        if ended && !self.upload_is_next() {
            self.upload = None;
            self.connection.discard_outgoing();
            return Err(self.connection.why_closed(place));
        }
        let Some(state) = &mut self.upload else {
            return Err(Misuse::NoUpload.into());
        };
        state.check_room(data.len())?;
        let out = self.connection.queue();
        let taken = match state.kind {
            _ if state.answered => data.len(),
            // It has said its last word on this upload, which [`Session::poll_upload`] reads.
            _ if ended && out.len() > KEPT => data.len(),
            Upload::Framed if state.gathered.len() + data.len() < FRAME => {
                state.gathered.extend_from_slice(data);
                data.len()
            }
            Upload::Framed => {
                Encoder::new(out).word((state.gathered.len() + data.len()) as u64);
                out.append(&mut state.gathered);
                out.extend_from_slice(data);
                data.len()
            }
            Upload::Tunnelled if state.wanted == 0 || data.is_empty() => 0,
            Upload::Tunnelled => {
                let count = data.len().min(state.wanted);
                Encoder::new(out).bytes(&data[..count]);
                state.wanted = 0;
                count
            }
            Upload::Inline | Upload::None => {
                out.extend_from_slice(data);
                data.len()
            }
        };
        if let Some(left) = &mut state.left {
            *left -= taken as u64;
        }
        Ok(taken)
    }

    /// Whether so many bytes of data may come.
    #[cfg(feature = "tokio")]
    pub(super) fn check_room(&mut self, count: usize) -> Result<(), Error> {
        self.upload_state()?.check_room(count)
    }

    /// Reads what the daemon says while data is sent to it, and is ready when a daemon that asks for its
    /// data asked for more, or needs none. Ends the raw data of the reply before.
    ///
    /// Replies to earlier requests stay where they are, unread. A daemon that asks for its data does so
    /// behind them, so there they have to be read first ([`Misuse::OutOfOrder`]).
    ///
    /// # Errors
    /// [`Error::Remote`] if the daemon gave up: then the upload has ended, and the session goes on.
    /// [`Misuse::NoUpload`] if none is under way. Or why the session ended.
    pub fn poll_upload(&mut self) -> Result<Progress<()>, Error> {
        let state = self.upload_state()?;
        let (place, tunnelled) = (state.place, state.kind == Upload::Tunnelled);
        match self.poll_handshake()? {
            Progress::Ready(()) => {}
            other => return Ok(other),
        }
        if !self.upload_is_next() {
            let wanted = place.number;
            return match self.outstanding.front() {
                Some(next) if self.upload_waits() => {
                    Err(Misuse::OutOfOrder { wanted, next }.into())
                }
                _ => Ok(Progress::NeedBytes(1)),
            };
        }
        self.raw = false;
        if self.at_body {
            return Ok(Progress::Ready(()));
        }
        let progress = self.poll_body(place, tunnelled);
        if let Err(Error::Remote(_)) = &progress {
            self.end_data();
        }
        if let (true, Some(state)) = (self.at_body, &mut self.upload) {
            state.answered = tunnelled;
        }
        progress
    }

    /// Whether a daemon that asks for its data has asked for none now.
    pub(super) fn upload_waits(&self) -> bool {
        self.upload.as_ref().is_some_and(|state| {
            state.kind == Upload::Tunnelled && state.wanted == 0 && !state.answered
        })
    }

    /// Whether the reply that is to come next is the upload's own.
    pub(super) fn upload_is_next(&self) -> bool {
        match (&self.upload, self.outstanding.front()) {
            (Some(state), Some(front)) => front == state.place,
            _ => false,
        }
    }

    /// Ends the data. Requests can be queued behind it at once.
    ///
    /// # Errors
    /// [`Misuse`] if less data or fewer paths came than were announced: then the upload goes on.
    /// [`Misuse::NoUpload`] if none is under way; why the session ended.
    pub fn finish_upload(&mut self) -> Result<(), Error> {
        let state = self.upload_state()?;
        state.check_complete()?;
        if let Some((announced, given)) = state.paths
            && announced != given
        {
            return Err(Misuse::PathCount { given, announced }.into());
        }
        self.end_data();
        Ok(())
    }

    /// Ends the upload, and says that no more data comes: with a frame of length 0; or with an empty block, if the
    /// daemon asked for more.
    fn end_data(&mut self) {
        let Some(mut state) = self.upload.take() else {
            return;
        };
        let out = self.connection.queue();
        match state.kind {
            Upload::Framed => {
                if !state.gathered.is_empty() {
                    Encoder::new(out).word(state.gathered.len() as u64);
                    out.append(&mut state.gathered);
                }
                Encoder::new(out).word(0);
            }
            Upload::Tunnelled if state.wanted > 0 && !state.answered => {
                Encoder::new(out).bytes(&[]);
            }
            Upload::Tunnelled | Upload::Inline | Upload::None => {}
        }
    }

    /// Gives the upload up, and the session with it: the daemon waits for data that never comes. `because` is what
    /// made it impossible to go on. Returns how the session ended, or that there was no upload.
    pub fn abandon_upload(&mut self, because: Option<Misuse>) -> Error {
        match self.upload.take() {
            Some(UploadState { place, .. }) => self.end(Error::Abandoned { place, because }),
            None => because.unwrap_or(Misuse::NoUpload).into(),
        }
    }
}

impl UploadState {
    fn check_room(&self, count: usize) -> Result<(), Error> {
        let given = count as u64;
        match self.left {
            Some(left) if given > left => Err(Misuse::TooMuchData { given, left }.into()),
            _ => Ok(()),
        }
    }

    fn check_complete(&self) -> Result<(), Error> {
        match self.left {
            Some(missing) if missing > 0 => Err(Misuse::TooLittleData { missing }.into()),
            _ => Ok(()),
        }
    }
}
