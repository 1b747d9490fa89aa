use super::session::{Progress, Session};
use super::upload::at_most;
use crate::wire::{Decoder, Marks, Stop, decode_on, limit};
use crate::{Context, Error, Misuse, ValidPathInfo, Value, Version};

/// Infos within AddMultipleToStore's data have the layout of this version, whatever was agreed on.
const MULTIPLE: Version = Version::nix(16);

/// The beginning of a value that frames may cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Header {
    bytes: Vec<u8>,
    /// Where a frame's part of the bytes begins, and at which offset of the stream.
    parts: Vec<(usize, u64)>,
    /// How far the value was read.
    marks: Marks,
}

impl Header {
    /// Appends bytes that stand at `offset` of the stream.
    fn push(&mut self, offset: u64, bytes: &[u8]) {
        let start = self.bytes.len();
        let goes_on = |&(before, at): &(usize, u64)| at + (start - before) as u64 == offset;
        if !self.parts.last().is_some_and(goes_on) {
            self.parts.push((start, offset));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The value, once it is complete. `next` is the offset of what stands behind the bytes.
    fn decode<T>(
        &mut self,
        next: u64,
        maximum: usize,
        decode: impl Fn(&mut Decoder<'_>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        match decode_on(&self.bytes, 0, &mut self.marks, maximum, decode) {
            Ok((value, _)) => {
                *self = Header::default();
                Ok(value)
            }
            Err(Stop::Malformed(mut error)) => {
                let part = |&&(start, _): &&(usize, u64)| start as u64 <= error.offset;
                error.offset = match self.parts.iter().rev().find(part) {
                    Some(&(start, offset)) => offset + (error.offset - start as u64),
                    None => next,
                };
                Err(Stop::Malformed(error))
            }
            Err(incomplete) => Err(incomplete),
        }
    }
}

impl Session {
    /// Of AddMultipleToStore: skips what is left of the archive before and reads the next path's info;
    /// nothing after the last one.
    ///
    /// # Errors
    /// [`Misuse::NoRawData`] elsewhere; [`Error::WrongLength`] if the archives are not as long as announced; why the
    /// session ended.
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
            return Ok(match self.poll_end()? {
                Progress::NeedBytes(count) => Progress::NeedBytes(count),
                Progress::Ready(_) => Progress::Ready(None),
            });
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
            let maximum = self.connection.max_message();
            let next = self.connection.offset();
            let missing = match state.header.decode(next, maximum, &decode) {
                Ok(value) => return Ok(Progress::Ready(value)),
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
                    let next = self.connection.offset();
                    let incoming = self.connection.incoming();
                    let count = at_most(missing.min(incoming.len()), state.piece);
                    state.header.push(next, &incoming[..count]);
                    state.piece -= count as u64;
                    self.connection.consume(count);
                }
            }
        }
    }
}
