//! The coordinator: a store with a database like Nix's, and the daemon's side of the hook's
//! conversation.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use derivation::{Derivation, DerivationFile, ModuloMemo, Output, PathsError};
use nar::{Digest, Observe};
use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StoreDir, StorePath};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use worker_protocol::wire::Encoder;
use worker_protocol::{NarHash, PathInfo, ValidPathInfo};

use super::directory_store::restore_at;
use crate::hook::{ExitCode, Surroundings, serve};
use crate::link::{Identity, Timeouts};
use crate::local::{Database, DatabaseError, HostBounds, StoreDirectories};
use crate::log::{BuildLog, DaemonLog, Log};

/// The tables and columns of Nix's database, schema version 10, that the import touches.
const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE ValidPaths (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, path TEXT UNIQUE NOT NULL,
        hash TEXT NOT NULL, registrationTime INTEGER NOT NULL, deriver TEXT, narSize INTEGER,
        ultimate INTEGER, sigs TEXT, ca TEXT);
    CREATE TABLE Refs (
        referrer INTEGER NOT NULL REFERENCES ValidPaths(id) ON DELETE CASCADE,
        reference INTEGER NOT NULL REFERENCES ValidPaths(id) ON DELETE RESTRICT,
        PRIMARY KEY (referrer, reference));";

/// The system that everything here builds for.
const SYSTEM: &str = "x86_64-linux";

/// Why the coordinator could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// Files.
    #[error("failed to set up the embedded coordinator: {0}")]
    Io(#[from] io::Error),
    /// Its database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Creating its database.
    #[error("failed to create the embedded coordinator's database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A name that is not one.
    #[error(transparent)]
    Name(#[from] store_path::FingerprintError),
    /// A derivation whose output has no place.
    #[error(transparent)]
    Paths(#[from] PathsError),
}

/// See the module's text.
#[derive(Debug)]
pub struct Coordinator {
    folder: PathBuf,
    store_dir: StoreDir,
    database: Database,
}

/// A file that is an input of a build.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it holds.
    pub content: &'a str,
}

/// How an output is to be addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// By what the derivation says.
    InputAddressed,
    /// By its content, which is known.
    Fixed(ContentAddress),
    /// By its content, which is seen when it is there.
    Floating,
}

/// A derivation that the coordinator wants built.
#[derive(Debug, Clone)]
pub struct PreparedBuild {
    /// The `.drv` file.
    pub derivation: StorePath,
    /// Its output `out`, unless that is floating.
    pub output: Option<StorePath>,
    /// Its input.
    pub input: StorePath,
}

/// What the daemon hears from its hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A line of the reply stream: a reply, or a `@nix` record.
    Reply(String),
    /// A line of the build's log.
    Log(String),
}

impl Coordinator {
    /// Creates a store in `folder` whose paths are named as if they stood in `store_dir`.
    ///
    /// # Errors
    /// When its files cannot be created.
    pub fn create(folder: &Path, store_dir: StoreDir) -> Result<Self, CoordinatorError> {
        let state = folder.join("state");
        std::fs::create_dir_all(folder.join("store"))?;
        create_database(&state)?;
        Ok(Coordinator {
            folder: folder.to_owned(),
            database: Database::open(&state, store_dir.clone(), HostBounds::default().database)?,
            store_dir,
        })
    }

    /// Where all paths' files are.
    #[must_use]
    pub fn store_folder(&self) -> PathBuf {
        self.folder.join("store")
    }

    /// Where a path's files are.
    #[must_use]
    pub fn file(&self, path: &StorePath) -> PathBuf {
        self.folder.join("store").join(path.base_name())
    }

    /// What is known of a path; nothing if it is not valid.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, DatabaseError> {
        self.database.path_info(path)
    }

    /// Where slot locks are.
    #[must_use]
    pub fn slot_directory(&self) -> PathBuf {
        self.folder.join("state/current-load")
    }

    /// Adds a derivation with one input file. `script` is run by `/bin/sh`; the input's path is in
    /// its variable `input`, where its output goes in `out`.
    ///
    /// # Errors
    /// When a name is not valid, or the files cannot be written.
    pub fn add_build(
        &mut self,
        name: &str,
        input: Source<'_>,
        script: &str,
    ) -> Result<PreparedBuild, CoordinatorError> {
        self.add_build_of(Wanted::InputAddressed, name, input, script)
    }

    /// As [`add_build`](Coordinator::add_build), with an output that is addressed in any way.
    ///
    /// # Errors
    /// As [`add_build`](Coordinator::add_build).
    pub fn add_build_of(
        &mut self,
        wanted: Wanted,
        name: &str,
        input: Source<'_>,
        script: &str,
    ) -> Result<PreparedBuild, CoordinatorError> {
        let source = self.add_text(input.name, input.content.as_bytes(), &BTreeSet::new())?;
        let text = |text: &str| text.as_bytes().to_vec().into();
        let mut derivation = Derivation {
            input_sources: [source.clone().into()].into_iter().collect(),
            system: SYSTEM.into(),
            builder: text("/bin/sh"),
            arguments: vec![text("-c"), text(script)],
            ..Derivation::default()
        };
        let input = self.store_dir.print(&source);
        let variables = [
            ("name", name),
            ("system", SYSTEM),
            ("builder", "/bin/sh"),
            ("input", &input),
            ("out", ""),
        ];
        for (variable, value) in variables {
            derivation.environment.insert(text(variable), text(value));
        }
        let output = self.add_output(&mut derivation, name, wanted)?;
        let references = BTreeSet::from([source.clone()]);
        let file = derivation.print(&self.store_dir);
        Ok(PreparedBuild {
            derivation: self.add_text(&format!("{name}.drv"), &file, &references)?,
            output,
            input: source,
        })
    }

    /// Gives `derivation` its output, and tells where that will lie.
    fn add_output(
        &self,
        derivation: &mut Derivation<'_>,
        name: &str,
        wanted: Wanted,
    ) -> Result<Option<StorePath>, CoordinatorError> {
        let store_dir = &self.store_dir;
        let (path, output) = match wanted {
            Wanted::InputAddressed => {
                let outputs = &mut derivation.outputs;
                outputs.insert("out".into(), Output::Deferred);
                let path = self.output_path(name, &derivation.print(store_dir))?;
                let output = Output::InputAddressed {
                    path: path.clone().into(),
                };
                (path, output)
            }
            Wanted::Fixed(address) => {
                let path = store_dir.make_content_addressed_path(name, &address, [], false)?;
                let output = Output::Fixed {
                    path: path.clone().into(),
                    address,
                };
                (path, output)
            }
            Wanted::Floating => {
                let output = Output::Floating {
                    method: ContentAddressMethod::Recursive,
                    algorithm: HashAlgorithm::Sha256,
                };
                derivation.outputs.insert("out".into(), output);
                return Ok(None);
            }
        };
        let variable = store_dir.print(&path).into_bytes();
        derivation
            .environment
            .insert(b"out".into(), variable.into());
        derivation.outputs.insert("out".into(), output);
        Ok(Some(path))
    }

    /// Where the output `out` of a derivation has to lie whose text leaves that open.
    fn output_path(&self, name: &str, blank: &[u8]) -> Result<StorePath, CoordinatorError> {
        let file = DerivationFile::parse(&self.store_dir, blank).map_err(io::Error::other)?;
        let paths = file.output_paths(name, &ModuloMemo::new(self.store_dir.clone()))?;
        let path = paths.get("out").cloned().flatten();
        Ok(path.ok_or_else(|| io::Error::other("output path is not known before the build"))?)
    }

    fn add_text(
        &mut self,
        name: &str,
        content: &[u8],
        references: &BTreeSet<StorePath>,
    ) -> Result<StorePath, CoordinatorError> {
        let hash = HashAlgorithm::Sha256.hash(content);
        let path = self.store_dir.make_text_path(
            name,
            &hash,
            references.iter().map(StorePath::as_path_ref),
        )?;
        if self.database.path_info(&path)?.is_some() {
            return Ok(path);
        }
        let mut archive = Vec::new();
        let mut encoder = nar::Encoder::new();
        let size = content.len() as u64;
        let executable = false;
        for event in [
            nar::Event::File { executable, size },
            nar::Event::Data(content),
            nar::Event::FileEnd,
        ] {
            encoder
                .encode(event, &mut archive)
                .map_err(io::Error::other)?;
        }
        let mut digest = Digest::new();
        digest.observe(&archive);
        let fingerprint = digest.finish();
        let mut restore = restore_at(&self.folder.join("store"), path.base_name())?;
        restore.write_all(&archive).map_err(io::Error::other)?;
        restore.finish().map_err(io::Error::other)?;
        self.database.register(
            &[ValidPathInfo {
                path: path.clone(),
                info: PathInfo::new(NarHash(fingerprint.sha256), fingerprint.size)
                    .with_references(references.clone())
                    .with_registration_time(1),
            }],
            &[],
        )?;
        Ok(path)
    }

    /// Offers `build` to a hook that knows the machines of `builders` (Nix's setting), plays the
    /// daemon until the hook ends, and hands over what is heard.
    ///
    /// # Errors
    /// When the conversation breaks off.
    pub async fn offer(
        &self,
        build: &PreparedBuild,
        builders: &str,
        heard: impl FnMut(Heard),
    ) -> io::Result<ExitCode> {
        let (request, inputs) = self.words(build, builders, &[]);
        self.converse(&request, Some(&inputs), heard).await
    }

    /// The daemon's words: its settings (`more` among them) with an offer, and what follows an
    /// accept.
    #[must_use]
    pub fn words(
        &self,
        build: &PreparedBuild,
        builders: &str,
        more: &[(&str, &str)],
    ) -> (Vec<u8>, Vec<u8>) {
        let store = format!(
            "local?store={}&real={}&state={}",
            self.store_dir.as_str(),
            self.folder.join("store").display(),
            self.folder.join("state").display(),
        );
        let mut request = Vec::new();
        let mut encoder = Encoder::new(&mut request);
        let settings = [
            ("builders", builders),
            ("store", &store),
            ("system", SYSTEM),
        ];
        for (name, value) in settings.iter().chain(more) {
            encoder.word(1).text(name).text(value);
        }
        encoder.word(0).text("try").word(0).text(SYSTEM);
        encoder
            .text(self.store_dir.print(&build.derivation))
            .word(0);
        let mut inputs = Vec::new();
        let mut encoder = Encoder::new(&mut inputs);
        encoder.list([&build.input], |encoder, path| {
            encoder.text(self.store_dir.print(path));
        });
        encoder.list(["out"], |encoder, name| {
            encoder.text(name);
        });
        (request, inputs)
    }

    /// Writes `request` to a hook, and `inputs` once it accepts; then hangs up. Without `inputs`
    /// it hangs up right behind the request.
    ///
    /// # Errors
    /// When the conversation breaks off.
    pub async fn converse(
        &self,
        request: &[u8],
        inputs: Option<&[u8]>,
        mut heard: impl FnMut(Heard),
    ) -> io::Result<ExitCode> {
        let (mut daemon, hook) = tokio::io::duplex(64 << 10);
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut log = Log {
            daemon: DaemonLog::new(Lines::new(sender.clone(), Heard::Reply)),
            build: BuildLog::new(Lines::new(sender, Heard::Log)),
        };
        let surroundings = self.surroundings();
        let serving = async move {
            let code = serve(hook, &mut log, &surroundings).await;
            // What the daemon waits for is the end of these streams.
            drop(log);
            code
        };
        let talking = async {
            daemon.write_all(request).await?;
            let mut daemon: Option<DuplexStream> = inputs.map(|_| daemon);
            let inputs = inputs.unwrap_or_default();
            while let Some(line) = receiver.recv().await {
                let answer = match &line {
                    Heard::Reply(reply) if reply == "# accept" => Some(inputs),
                    Heard::Reply(reply) if reply.starts_with("# ") => Some(&[][..]),
                    _ => None,
                };
                heard(line);
                if let (Some(answer), Some(mut stream)) =
                    (answer, daemon.take_if(|_| answer.is_some()))
                {
                    stream.write_all(answer).await?;
                }
            }
            Ok(())
        };
        let (code, talked) = tokio::join!(serving, talking);
        talked.map(|()| code)
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            directories: StoreDirectories {
                store: self.store_dir.as_str().to_owned(),
                state: self.folder.join("state"),
            },
            // There is no Nix here.
            programs: PathBuf::new(),
            identity: Identity {
                // Nothing of this host's.
                system: self.folder.join("ssh"),
                ..Identity::new("builder", 0, &self.folder)
            },
            timeouts: Timeouts::default(),
            bounds: HostBounds::default(),
        }
    }
}

/// Creates an empty database in the state directory `state`.
pub(crate) fn create_database(state: &Path) -> Result<(), CoordinatorError> {
    std::fs::create_dir_all(state.join("db"))?;
    std::fs::write(state.join("db/schema"), "10")?;
    rusqlite::Connection::open(state.join("db/db.sqlite"))?.execute_batch(TABLES)?;
    Ok(())
}

/// Hands over whole lines.
struct Lines {
    sender: mpsc::UnboundedSender<Heard>,
    wrap: fn(String) -> Heard,
    rest: Vec<u8>,
}

impl Lines {
    fn new(sender: mpsc::UnboundedSender<Heard>, wrap: fn(String) -> Heard) -> Self {
        Lines {
            sender,
            wrap,
            rest: Vec::new(),
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            // Whoever does not listen any more misses it.
            let _ = self.sender.send((self.wrap)(line));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
