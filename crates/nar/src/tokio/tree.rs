//! Dumps and restores for async code.

use std::path::PathBuf;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::runtime::Handle;
use ::tokio::task::{JoinHandle, spawn_blocking};
use rustix::io::Errno;

use crate::{Dump, DumpError, DumpOptions, Restore, RestoreError, RestoreOptions};

/// Bytes that a dump or restore moves at a time.
const BUFFER: usize = 256 * 1024;

/// Writes the archive of whatever stands at `path` to `sink`, and returns its size in bytes.
/// The file system is read on tokio's threads for blocking work, always a piece ahead of the sink.
///
/// # Errors
/// As for [`crate::dump`]. If the runtime shuts down meanwhile, the error is `ECANCELED`.
///
/// # Panics
/// Outside of a runtime.
pub async fn dump(
    path: impl Into<PathBuf>,
    sink: &mut (impl AsyncWrite + Unpin),
    options: DumpOptions,
) -> Result<u64, DumpError> {
    let path = path.into();
    let named = path.clone();
    let cancelled = |Cancelled| DumpError::system(&named, "read", Errno::CANCELED);
    let failed = |error| DumpError::sink(&named, error);
    let fill = |mut dump: Dump, mut buffer: Vec<u8>| {
        spawn_blocking(move || {
            let filled = dump.fill(&mut buffer);
            (dump, buffer, filled)
        })
    };
    let begun = finished(spawn_blocking(move || Dump::with(path, options))).await;
    let dump = begun.map_err(cancelled)??;
    let mut filling = fill(dump, vec![0; BUFFER]);
    let mut spare = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let (dump, buffer, filled) = finished(filling).await.map_err(cancelled)?;
        let length = filled?;
        if length == 0 {
            sink.flush().await.map_err(failed)?;
            return Ok(size);
        }
        filling = fill(dump, spare);
        let written = sink.write_all(&buffer[..length]).await;
        written.map_err(failed)?;
        spare = buffer;
        size += length as u64;
    }
}

/// Restores the archive that `source` holds to `path`, where nothing may be yet. Reads up to the
/// source's end, where the archive must end too. The file system is written on tokio's threads
/// for blocking work.
///
/// When the future is dropped before it has returned, all that was created is removed, on those
/// threads too and therefore some time later: until then `path` is taken, so that another attempt
/// at the same path may fail.
///
/// # Errors
/// As for [`crate::restore`]. What was created was removed by then. If the runtime shuts down
/// meanwhile, the error is `ECANCELED`.
///
/// # Panics
/// Outside of a runtime.
pub async fn restore(
    source: &mut (impl AsyncRead + Unpin),
    path: impl Into<PathBuf>,
    options: RestoreOptions,
) -> Result<(), RestoreError> {
    let path = path.into();
    let named = path.clone();
    let cancelled = |Cancelled| RestoreError::system(&named, "restore", Errno::CANCELED);

    let begun = spawn_blocking(move || Restore::to(path, options).map(Unfinished::new));
    let mut restore = finished(begun).await.map_err(cancelled)??;
    let mut buffer = vec![0; BUFFER];
    loop {
        match source.read(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => {
                let write = restore.work(move |restore| {
                    let written = restore.write_all(&buffer[..length]);
                    written.map(|()| buffer)
                });
                let written;
                (restore, written) = finished(write).await.map_err(cancelled)?;
                buffer = written?;
            }
            Err(error) => {
                let fail = restore.work(move |restore| restore.fail_source(error));
                let (_, error) = finished(fail).await.map_err(cancelled)?;
                return Err(error);
            }
        }
    }
    let (restore, flushed) = finished(restore.work(Restore::flush))
        .await
        .map_err(cancelled)?;
    flushed?;
    // Nothing is waited for any more: the caller learns of it, or it is removed.
    restore.keep();
    Ok(())
}

/// A restore that, when it is dropped, is removed by a thread for blocking work: removing many
/// files takes its time.
struct Unfinished(Option<Restore>);

impl Unfinished {
    fn new(restore: Restore) -> Self {
        Self(Some(restore))
    }

    /// Does something with the restore where that may block, and hands it back with the result.
    fn work<T: Send + 'static>(
        mut self,
        work: impl FnOnce(&mut Restore) -> T + Send + 'static,
    ) -> JoinHandle<(Self, T)> {
        spawn_blocking(move || {
            let restore = self.0.as_mut().expect("only dropping takes it");
            let done = work(restore);
            (self, done)
        })
    }

    fn keep(mut self) {
        if let Some(restore) = self.0.take() {
            restore.keep();
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Some(restore) = self.0.take() else { return };
        // A runtime that is shutting down drops the work, and with it the restore, at once.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(restore));
        }
    }
}

/// The runtime shuts down, and will not do the work.
struct Cancelled;

/// Waits for work. When that panics, so does this.
async fn finished<T>(work: JoinHandle<T>) -> Result<T, Cancelled> {
    work.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Cancelled,
    })
}
