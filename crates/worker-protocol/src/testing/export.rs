use store_path::StoreDir;

use crate::export::{Decoder, Encoder, Event, Step};
use crate::wire::{Error, Kind};

/// An export as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadExport {
    /// Its events.
    pub events: Vec<Event>,
    /// Its archives.
    pub archives: Vec<Vec<u8>>,
    /// How many bytes belong to it.
    pub length: u64,
    /// Whether it came to its end.
    pub is_whole: bool,
}

/// Why something is no export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoExport {
    /// Wrong between archives.
    Export(Error),
    /// Wrong in an archive that begins at `at`.
    Archive {
        /// Bytes of the export before the archive.
        at: u64,
        /// What is wrong in it.
        error: nar::Error,
    },
}

/// Reads an export, and its archives with a decoder of archives, from pieces; stops where it ends.
///
/// # Errors
/// [`NoExport`].
///
/// # Panics
/// If the decoder asks for nothing, takes what it was not given, or holds more than it should.
pub fn read_export<'a>(
    mut decoder: Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<ReadExport, NoExport> {
    let mut read = ReadExport {
        events: Vec::new(),
        archives: Vec::new(),
        length: 0,
        is_whole: false,
    };
    if decoder.decode(&[]) == Ok(Step::Archive) {
        read.archives.push(Vec::new());
    }
    let mut archives = nar::Decoder::new();
    for mut piece in pieces {
        while let Some(consumed) = step(&mut decoder, &mut archives, piece, &mut read)? {
            piece = &piece[consumed..];
        }
    }
    read.length = decoder.offset();
    read.is_whole = decoder.is_finished();
    match decoder.end_of_input() {
        None => assert!(read.is_whole),
        Some(error) => assert_eq!((error.offset, error.kind), (read.length, Kind::Truncated)),
    }
    Ok(read)
}

/// How many bytes of the input were taken by one step, or nothing if it has to go on with other input.
fn step(
    decoder: &mut Decoder,
    archives: &mut nar::Decoder,
    input: &[u8],
    read: &mut ReadExport,
) -> Result<Option<usize>, NoExport> {
    match decoder.decode(input).map_err(NoExport::Export)? {
        Step::Event { consumed, event } => {
            if event == Event::Archive {
                *archives = nar::Decoder::new();
                read.archives.push(Vec::new());
            }
            read.events.push(event);
            Ok(Some(consumed))
        }
        Step::Archive => {
            let at = decoder.offset();
            let archive = read.archives.last_mut().expect("one was begun");
            let failed = |error| NoExport::Archive { at, error };
            match archives.decode(input).map_err(failed)? {
                nar::Step::Event { consumed, .. } => {
                    archive.extend_from_slice(&input[..consumed]);
                    Ok(Some(consumed))
                }
                nar::Step::NeedMore { at_least } => {
                    assert!(at_least > 0);
                    archive.extend_from_slice(input);
                    Ok(None)
                }
                nar::Step::Finished => {
                    assert_eq!(archives.offset(), archive.len() as u64);
                    decoder.archive_ended(archives.offset());
                    Ok(Some(0))
                }
            }
        }
        Step::NeedMore { at_least } => {
            assert!(at_least > 0);
            Ok(None)
        }
        Step::Finished => Ok(None),
    }
}

/// Writes an export with these events and archives.
///
/// # Panics
/// If the events are not in order.
pub fn write_export(store_dir: StoreDir, read: &ReadExport) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(store_dir);
    let mut archives = read.archives.iter();
    for event in &read.events {
        encoder
            .encode(event, &mut out)
            .expect("events come in order");
        if *event == Event::Archive {
            out.extend_from_slice(archives.next().expect("one for each"));
        }
    }
    assert_eq!(encoder.is_finished(), read.is_whole);
    out
}

/// Exports: what is read is written the same, whole and cut, and nothing behind the end is taken. The first byte of
/// `data` chooses the size of the pieces.
///
/// # Panics
/// If that does not hold.
pub fn export_identity(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else {
        return;
    };
    let decoder = Decoder::new(StoreDir::NIX);
    let whole = read_export(decoder.clone(), [bytes]);
    let cut = read_export(decoder, bytes.chunks(1 + usize::from(size)));
    assert_eq!(cut, whole);
    if let Ok(read) = whole {
        assert!(read.length <= bytes.len() as u64);
        if read.is_whole {
            let written = write_export(StoreDir::NIX, &read);
            assert_eq!(Some(&written[..]), bytes.get(..written.len()));
            assert_eq!(written.len() as u64, read.length);
        }
    }
}
