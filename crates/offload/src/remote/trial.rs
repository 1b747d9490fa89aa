//! What only a trial of a machine needs: adding a path from memory, reading one into memory, and
//! running a command.

use std::time::Duration;

use store_path::StorePath;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use worker_protocol::ValidPathInfo;
use worker_protocol::operation::{AddToStoreNar, ImportPaths};

use super::{Conversation, Remote, repl, reply};
use crate::failure::{Failure, RemoteFailure};
use crate::log::Log;

/// Most that is read of what a command prints, in bytes.
const MAX_OUTPUT: u64 = 64 << 10;

impl Remote {
    /// Adds a path, whose archive is small, to the machine's store.
    ///
    /// # Errors
    /// When the daemon refuses it.
    pub(crate) async fn add_path(
        &mut self,
        path: ValidPathInfo,
        archive: &[u8],
        log: &mut Log,
    ) -> Result<(), Failure> {
        let added = match &mut self.conversation {
            Conversation::Serve(serve) => {
                let sent = async {
                    let mut upload = serve.add(path).await?;
                    upload.write(archive).await?;
                    upload.finish()
                };
                match sent.await {
                    Ok(ticket) => serve.reply(ticket, log).await.map(drop),
                    Err(error) => Err(error.into()),
                }
            }
            Conversation::Worker(client) => {
                let operation = AddToStoreNar {
                    path,
                    repair: false,
                    dont_check_signatures: false,
                };
                let mut forward = |message: worker_protocol::Log| log.forward(message);
                let sent = async {
                    let mut upload = client.upload(&operation).await?;
                    upload.write(archive, &mut forward).await?;
                    upload.finish(&mut forward).await
                };
                match sent.await {
                    Ok(ticket) => reply(client, ticket, log).await,
                    Err(error) => Err(error.into()),
                }
            }
        };
        added.map_err(|error: RemoteFailure| error.during("import a path there"))
    }

    /// Reads the first `size` bytes of the archive of `path`. The conversation is over with that:
    /// what may follow is not looked for.
    ///
    /// # Errors
    /// When the daemon has no such path, or sends less.
    pub(crate) async fn archive_of(
        &mut self,
        path: StorePath,
        size: usize,
        log: &mut Log,
    ) -> Result<Vec<u8>, Failure> {
        let failed = |error: RemoteFailure| error.during("export a path from there");
        let claim = self.queue_archive(path).await?;
        self.open_archive(claim, log).await.map_err(failed)?;
        let mut archive = Vec::with_capacity(size);
        while archive.len() < size {
            let chunk = self.archive_chunk().await.map_err(failed)?;
            let wanted = chunk.len().min(size - archive.len());
            archive.extend_from_slice(&chunk[..wanted]);
            self.consume(wanted);
        }
        Ok(archive)
    }

    /// Has the machine's guix-daemon import an export stream, which is small.
    ///
    /// # Errors
    /// When the daemon refuses it.
    pub(crate) async fn import_stream(
        &mut self,
        stream: &[u8],
        log: &mut Log,
    ) -> Result<Vec<StorePath>, Failure> {
        let client = self.worker();
        let mut forward = |message: worker_protocol::Log| log.forward(message);
        let sent = async {
            let mut upload = client.upload(&ImportPaths {}).await?;
            upload.write(stream, &mut forward).await?;
            upload.finish(&mut forward).await
        };
        let imported = match sent.await {
            Ok(ticket) => reply(client, ticket, log).await,
            Err(error) => Err(error.into()),
        };
        imported.map_err(|error: RemoteFailure| error.during("import a path there"))
    }

    /// The version of Guile that `guix` runs with on the machine; `None` where it may not be run.
    pub(crate) async fn guile_version(&self, bound: Duration) -> Option<String> {
        let output = self.output_of(repl::COMMAND, b"(version)\n", bound).await?;
        guile_version(&String::from_utf8_lossy(&output)).map(str::to_owned)
    }

    /// What `command` prints on the machine within `bound`; `None` where it may not be run. Its errors
    /// are not heard.
    pub(crate) async fn output_of(
        &self,
        command: &str,
        input: &[u8],
        bound: Duration,
    ) -> Option<Vec<u8>> {
        let running = async {
            let mut stream = self.link.exec(command).await.ok()?;
            let _ = stream.writer.write_all(input).await;
            // A forced command instead of ours ends when it hears nothing.
            let _ = stream.writer.shutdown().await;
            let mut output = Vec::new();
            // The read error at the end is what was said on standard error.
            let _ = stream
                .reader
                .take(MAX_OUTPUT)
                .read_to_end(&mut output)
                .await;
            Some(output)
        };
        tokio::time::timeout(bound, running).await.ok().flatten()
    }
}

/// ```text
/// (repl-version 0 1 1)
/// (values (value "3.0.11"))
/// ```
fn guile_version(output: &str) -> Option<&str> {
    let start = "(values (value \"";
    let version = output
        .lines()
        .find_map(|line| line.strip_prefix(start)?.strip_suffix("\"))"))?;
    let is_version = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    version.chars().all(is_version).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guile_tells_its_version() {
        let output = "(repl-version 0 1 1)\n(values (value \"3.0.11\"))\n";
        assert_eq!(guile_version(output), Some("3.0.11"));
        for nonsense in ["", "(values (value \"\u{1b}[2J\"))", "guix: not found"] {
            assert_eq!(guile_version(nonsense), None, "{nonsense:?}");
        }
    }
}
