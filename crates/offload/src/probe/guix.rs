//! What a machine with a guix-daemon is tried with: a path whose content makes its name, one that this host has
//! signed, and one that the machine signs.

use std::time::Duration;

use guix_signature::ItemHasher;
use nar::{Digest, Observe};
use store_path::{HashAlgorithm, StoreDir, StorePath};
use tokio::time::Instant;
use worker_protocol::export::{Trailer, encode_next};
use worker_protocol::operation::AddTextToStore;
use worker_protocol::wire::{Encoder, Text};
use worker_protocol::{Context, NarHash, Value, Version};

use super::test::{TestReport, file_archive};
use super::{GuixHost, Step, within};
use crate::failure::Failure;
use crate::local::{Destination, ImportError, Limits, SignedImport};
use crate::log::Log;
use crate::remote::Remote;

/// The names of the paths, which are stock's: of the one that the machine makes of its own accord, of the one that
/// goes there signed, and of the one that comes back signed.
const TEXT: &str = "test";
const TO_IMPORT: &str = "export-test";
const TO_EXPORT: &str = "import-test";

/// How long `guix repl` may take to tell Guile's version.
const REPL: Duration = Duration::from_secs(30);

/// Has the machine take a path, import a signed one, and export one whose signature is verified. `content` goes into
/// the latter two. All three stay there as garbage; here nothing is left.
pub(super) async fn there_and_back(
    remote: &mut Remote,
    store_dir: &StoreDir,
    (host, greeting): (&GuixHost, Duration),
    content: &str,
    report: &mut TestReport,
    log: &mut Log,
) -> Result<(), (Step, Failure)> {
    let mut trial = Trial {
        remote,
        store_dir,
        host,
        greeting,
        log,
    };
    let started = Instant::now();
    let text = trial.add(TEXT, "Hello, build machine!").await;
    let text = text.map_err(|failure| (Step::Store, failure))?;
    report.pass(Step::Store, store_dir.print(&text), Some(started));

    let started = Instant::now();
    match trial.remote.guile_version(REPL).await {
        Some(version) => report.pass(Step::Guile, version, Some(started)),
        None => report.warnings.push(
            "guix repl does not run there: it would be needed only where sshd forwards no sockets"
                .to_owned(),
        ),
    }

    let started = Instant::now();
    let imported = trial.import(content).await;
    let imported = imported.map_err(|failure| (Step::Import, failure))?;
    report.pass(Step::Import, store_dir.print(&imported), Some(started));

    let started = Instant::now();
    let exported = trial.export(content).await;
    let exported = exported.map_err(|failure| (Step::Export, failure))?;
    report.pass(Step::Export, store_dir.print(&exported), Some(started));
    Ok(())
}

struct Trial<'a> {
    remote: &'a mut Remote,
    store_dir: &'a StoreDir,
    host: &'a GuixHost,
    greeting: Duration,
    log: &'a mut Log,
}

impl Trial<'_> {
    fn path(&self, name: &str, content: &str) -> StorePath {
        let hash = HashAlgorithm::Sha256.hash(content.as_bytes());
        let path = self.store_dir.make_text_path(name, &hash, []);
        path.expect("a valid name and a SHA-256 hash make a path")
    }

    /// Has the machine add a text, which takes no signature.
    async fn add(&mut self, name: &str, content: &str) -> Result<StorePath, Failure> {
        let path = self.path(name, content);
        let request = AddTextToStore {
            name: Text::from(name),
            contents: Text::from(content),
            references: [].into(),
        };
        let adding = self.remote.add_text(&request, self.log);
        let made = within(self.greeting, "add a path there", adding).await?;
        match made == path {
            true => Ok(path),
            false => Err(Failure::OtherInput {
                input: self.store_dir.print(&path),
                made: self.store_dir.print(&made),
            }),
        }
    }

    /// Sends a path that this host has signed.
    async fn import(&mut self, content: &str) -> Result<StorePath, Failure> {
        let path = self.path(TO_IMPORT, content);
        let archive = file_archive(content);
        let context = Context::new(self.store_dir.clone(), Version::GUIX_NEWEST);
        let mut trailer = Trailer {
            path: path.clone(),
            references: Vec::new(),
            deriver: None,
            signature: None,
        };
        let mut hasher = ItemHasher::new();
        hasher.update(&archive);
        let hash = hasher.finish(&trailer.signed_bytes(&context));
        let signature = self.host.keys.signer()?.sign(&hash).await?;
        trailer.signature = Some(Text::from(signature));
        let mut stream = Vec::new();
        encode_next(&mut stream, true);
        stream.extend(&archive);
        trailer.encode(&mut Encoder::new(&mut stream), &context);
        encode_next(&mut stream, false);
        let importing = self.remote.import_stream(&stream, self.log);
        let imported = within(self.greeting, "import a path there", importing).await?;
        match imported.contains(&path) {
            true => Ok(path),
            false => Err(Failure::MissingOutput(self.store_dir.print(&path))),
        }
    }

    /// Receives a path that the machine signs as a build's output is received, but in a folder of its own.
    async fn export(&mut self, content: &str) -> Result<StorePath, Failure> {
        let authority = self.host.keys.authority()?;
        let path = self.add(TO_EXPORT, content).await?;
        let folder = tempfile::tempdir_in(&self.host.scratch).and_then(|folder| {
            let directory = std::fs::File::open(folder.path())?;
            Ok((folder, directory))
        });
        let (folder, directory) = folder.map_err(|source| ImportError::Folder {
            path: self.host.scratch.clone(),
            source,
        })?;
        let destination = Destination {
            directory: &directory,
            folder: folder.path(),
            store_dir: self.store_dir,
            limits: Limits {
                output: 1 << 20,
                free_disk: 0,
            },
        };
        let mut import = SignedImport::begin(destination, path.clone(), None)?;
        let name = self.remote.name().to_owned();
        let mut copying = self.log.daemon.start_copying(1, 0, &name, "local");
        let ticket = self.remote.queue_export(&path).await?;
        let exporting = (self.remote).export(ticket, &mut import, &mut copying, self.log);
        within(self.greeting, "export a path from there", exporting).await?;
        self.log.daemon.stop_copying(copying);
        let restored = import.finish(&authority).await?;
        let mut digest = Digest::new();
        digest.observe(&file_archive(content));
        let expected = NarHash(digest.finish().sha256);
        match restored.info.info.nar_hash == expected {
            true => Ok(path),
            false => Err(Failure::Altered(self.store_dir.print(&path))),
        }
    }
}
