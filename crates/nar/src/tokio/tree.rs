//! Dumps and restores for async code.

use std::io;
use std::path::PathBuf;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::task::{JoinHandle, spawn_blocking};

use crate::{Dump, Restore, RestoreError, RestoreErrorKind, RestoreOptions};

/// Bytes that a dump or restore moves at a time.
const BUFFER: usize = 256 * 1024;

/// Writes the archive of whatever stands at `path` to `sink`, and returns its size in bytes.
/// The file system is read on tokio's threads for blocking work, always a piece ahead of the sink.
///
/// # Errors
/// As for [`crate::dump`].
pub async fn dump(
    path: impl Into<PathBuf>,
    sink: &mut (impl AsyncWrite + Unpin),
) -> io::Result<u64> {
    let path = path.into();
    let fill = |mut dump: Dump, mut buffer: Vec<u8>| {
        spawn_blocking(move || {
            let filled = dump.fill(&mut buffer);
            (dump, buffer, filled)
        })
    };
    let dump = finished(spawn_blocking(move || Dump::new(path))).await??;
    let mut filling = fill(dump, vec![0; BUFFER]);
    let mut spare = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let (dump, buffer, filled) = finished(filling).await?;
        let length = filled?;
        if length == 0 {
            sink.flush().await?;
            return Ok(size);
        }
        filling = fill(dump, spare);
        sink.write_all(&buffer[..length]).await?;
        spare = buffer;
        size += length as u64;
    }
}

/// Restores the archive that `source` holds to `path`, where nothing may be yet. Reads up to the
/// source's end, where the archive must end too. The file system is written on tokio's threads
/// for blocking work.
///
/// # Errors
/// As for [`crate::restore`]. What was created is removed, also when the future is dropped.
pub async fn restore(
    source: &mut (impl AsyncRead + Unpin),
    path: impl Into<PathBuf>,
    options: RestoreOptions,
) -> Result<(), RestoreError> {
    let path = path.into();
    let named = path.clone();
    // The work itself panicked, and what it had created was removed on the way out.
    let lost = |error: io::Error| RestoreError {
        path: named.clone(),
        kind: RestoreErrorKind::source(&error),
        left_behind: Vec::new(),
    };
    let begun = finished(spawn_blocking(move || Restore::to(path, options))).await;
    let mut restore = begun.map_err(lost)??;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match source.read(&mut buffer).await {
            Ok(0) => {
                let finish = finished(spawn_blocking(move || restore.finish())).await;
                return finish.map_err(lost)?;
            }
            Ok(length) => length,
            Err(error) => {
                let fail = finished(spawn_blocking(move || restore.fail_source(&error))).await;
                return Err(fail.unwrap_or_else(lost));
            }
        };
        let write = spawn_blocking(move || {
            let written = restore.write_all(&buffer[..length]);
            (restore, buffer, written)
        });
        let written;
        (restore, buffer, written) = finished(write).await.map_err(lost)?;
        written?;
    }
}

async fn finished<T>(work: JoinHandle<T>) -> io::Result<T> {
    work.await.map_err(io::Error::other)
}
