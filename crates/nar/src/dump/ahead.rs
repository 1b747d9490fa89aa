use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::io::Errno;

use super::{Dump, DumpError, DumpErrorKind, DumpOptions};

/// Bytes that are handed from thread to thread at a time: large enough that waking one costs
/// nothing beside them.
const PIECE: usize = 256 * 1024;

/// How many pieces there are: one being read, one with the sink, and one in between.
const PIECES: usize = 3;

/// Writes the archive of whatever stands at `path` to `sink`, as [`dump_with`](super::dump_with)
/// does, and reads the file system on a thread of its own meanwhile. For sinks that take their time:
/// a hash comes within a few per cent of its own speed.
///
/// # Errors
/// As for [`dump`](super::dump), and if no thread can be started.
///
/// ```
/// use nar::{Digest, DumpOptions};
///
/// # let directory = tempfile::tempdir()?;
/// let mut digest = Digest::new();
/// nar::dump_ahead(directory.path(), &mut digest, DumpOptions::default())?;
/// assert_eq!(digest.finish().size, 96);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn dump_ahead(
    path: impl AsRef<Path>,
    sink: &mut impl Write,
    options: DumpOptions,
) -> Result<u64, DumpError> {
    let path = path.as_ref();
    let dump = Dump::with(path, options)?;
    let (empty_sender, empty) = sync_channel(PIECES);
    let (filled_sender, filled) = sync_channel(PIECES);
    for _ in 0..PIECES {
        let sent = empty_sender.send(vec![0; PIECE]);
        sent.expect("there is room, and its other end is here");
    }
    std::thread::scope(move |scope| {
        std::thread::Builder::new()
            .spawn_scoped(scope, move || read(dump, &empty, &filled_sender))
            .map_err(|error| no_thread(path, &error))?;
        let mut size = 0;
        // Whoever returns from here, for whatever reason, hangs up, and so ends the other thread.
        for piece in filled {
            let (buffer, length) = piece?;
            sink.write_all(&buffer[..length])
                .map_err(|error| DumpError::sink(path, error))?;
            size += length as u64;
            // Nobody waits for it any more if the archive was read to its end.
            let _ = empty_sender.send(buffer);
        }
        Ok(size)
    })
}

/// The machine has no thread left, or no memory for one.
fn no_thread(path: &Path, error: &io::Error) -> DumpError {
    let errno = error.raw_os_error().unwrap_or(Errno::AGAIN.raw_os_error());
    let operation = "start a thread to read";
    DumpError::new(path, DumpErrorKind::System { operation, errno })
}

type Piece = Result<(Vec<u8>, usize), DumpError>;

/// Fills buffers until the archive ends, reading fails, or nobody wants more.
fn read(mut dump: Dump, empty: &Receiver<Vec<u8>>, filled: &SyncSender<Piece>) {
    while let Ok(mut buffer) = empty.recv() {
        let piece = match dump.fill(&mut buffer) {
            Ok(0) => return,
            Ok(length) => Ok((buffer, length)),
            Err(error) => Err(error),
        };
        let failed = piece.is_err();
        if filled.send(piece).is_err() || failed {
            return;
        }
    }
}
