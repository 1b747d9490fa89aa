//! Nix's own programs in the place of its database, where that has a schema that is not known.
//!
//! What is asked goes to a `nix-daemon --stdio` that serves this process alone, and what is to become
//! valid to `nix-store --load-db`. Neither waits for the locks on the outputs, which the daemon that
//! called us holds (nix 2.3.7, 2.8.0, 2.26.3, 2.34.8). Signatures follow by the former, as the latter
//! takes none. No program says that a valid path is content-addressed: `ca` stays empty.

mod conversation;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use store_path::{HashFormat, StoreDir, StorePath};
use worker_protocol::operation::{
    AddSignatures, QueryDerivationOutputMap, QueryPathInfo, QueryValidPaths, RegisterDrvOutput,
};
use worker_protocol::{Error, Operation, PathInfo, Realisation, ValidPathInfo};

use self::conversation::{Conversation, Talk};
use super::DatabaseError;

/// Where Nix's own programs are, and which store they are to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NixPrograms {
    /// The folder of `nix-store` and `nix-daemon`: those of the daemon that calls, as others may not
    /// know its database either. Empty to have them looked up in `PATH`.
    pub folder: PathBuf,
    /// The store, in the words of Nix's `store` setting.
    pub store: String,
}

/// Why Nix's own programs are of no help.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} by {}: {reason}", program.display())]
pub struct ProgramError {
    /// What was being done, as a verb.
    pub action: &'static str,
    /// The program.
    pub program: PathBuf,
    /// What it says, or what became of it.
    pub reason: String,
}

impl NixPrograms {
    /// The programs in `folder`, for the store that the daemon's `store` setting names. They open it
    /// themselves where it is the daemon's own.
    #[must_use]
    pub fn new(folder: PathBuf, setting: &str) -> Self {
        let store = match setting {
            "" | "auto" | "daemon" => "local",
            setting => setting,
        };
        NixPrograms {
            folder,
            store: store.to_owned(),
        }
    }

    fn command(&self, program: &str, argument: &str) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.args(["--store", &self.store, argument]);
        command
    }
}

/// A store as Nix's programs see it. See the module's text.
#[derive(Debug)]
pub(super) struct ByPrograms {
    programs: NixPrograms,
    /// How long one of them may say nothing.
    patience: Duration,
    store_dir: StoreDir,
    /// Why the database is not looked at.
    why: DatabaseError,
    /// Begun when something is asked.
    daemon: RefCell<Option<Conversation>>,
}

impl ByPrograms {
    pub(super) fn new(
        programs: NixPrograms,
        patience: Duration,
        store_dir: StoreDir,
        why: DatabaseError,
    ) -> Self {
        ByPrograms {
            programs,
            patience,
            store_dir,
            why,
            daemon: RefCell::new(None),
        }
    }

    pub(super) fn why(&self) -> &DatabaseError {
        &self.why
    }

    /// Asks the daemon; the inner error is the daemon's word on this one request.
    fn ask<O: Operation>(
        &self,
        action: &'static str,
        operation: &O,
    ) -> Result<Result<O::Reply, String>, ProgramError> {
        let mut daemon = self.daemon.borrow_mut();
        let mut conversation = match daemon.take() {
            Some(conversation) => conversation,
            None => {
                let command = self.programs.command("nix-daemon", "--stdio");
                let talk = Talk::start(command, self.patience);
                let talk = talk.map_err(|reason| self.failed(action, "nix-daemon", reason))?;
                Conversation::new(talk, self.store_dir.clone())
            }
        };
        match conversation.ask(operation) {
            Ok(reply) => {
                *daemon = Some(conversation);
                Ok(Ok(reply))
            }
            Err(error @ (Error::Remote(_) | Error::Unsupported { .. })) => {
                *daemon = Some(conversation);
                Ok(Err(error.to_string()))
            }
            Err(error) => {
                let reason = conversation.explain(&error);
                Err(self.failed(action, "nix-daemon", reason))
            }
        }
    }

    fn failed(&self, action: &'static str, program: &str, reason: String) -> ProgramError {
        ProgramError {
            action,
            program: self.programs.folder.join(program),
            reason,
        }
    }

    pub(super) fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, ProgramError> {
        let action = "look up a path";
        let info = self.ask(action, &QueryPathInfo { path: path.clone() })?;
        info.map_err(|reason| self.failed(action, "nix-daemon", reason))
    }

    pub(super) fn valid(
        &self,
        paths: &BTreeSet<StorePath>,
    ) -> Result<BTreeSet<StorePath>, ProgramError> {
        let action = "look up paths";
        let question = QueryValidPaths {
            paths: paths.clone(),
            substitute: false,
        };
        let valid = self.ask(action, &question)?;
        valid.map_err(|reason| self.failed(action, "nix-daemon", reason))
    }

    /// As far as they are known: not at all before Nix 2.4.
    pub(super) fn outputs(
        &self,
        path: &StorePath,
    ) -> Result<BTreeMap<String, StorePath>, ProgramError> {
        let question = QueryDerivationOutputMap { path: path.clone() };
        let known = self.ask("look up outputs", &question)?.unwrap_or_default();
        let known = known.into_iter();
        Ok(known
            .filter_map(|(name, path)| Some((name.to_string_lossy().into_owned(), path?)))
            .collect())
    }

    /// What is valid already stays as it is.
    pub(super) fn register(
        &self,
        paths: &[ValidPathInfo],
        realisations: &[Realisation],
    ) -> Result<(), ProgramError> {
        let known = self.valid(&paths.iter().map(|valid| valid.path.clone()).collect())?;
        let new: Vec<_> = paths
            .iter()
            .filter(|valid| !known.contains(&valid.path))
            .collect();
        if !new.is_empty() {
            self.load(&new)?;
        }
        let action = "add signatures";
        for valid in new.iter().filter(|valid| !valid.info.signatures.is_empty()) {
            let signatures = AddSignatures {
                path: valid.path.clone(),
                signatures: valid.info.signatures.clone(),
            };
            let added = self.ask(action, &signatures)?;
            added.map_err(|reason| self.failed(action, "nix-daemon", reason))?;
        }
        let action = "register a realisation";
        for realisation in realisations {
            let realisation = realisation.clone();
            let registered = self.ask(action, &RegisterDrvOutput { realisation })?;
            registered.map_err(|reason| self.failed(action, "nix-daemon", reason))?;
        }
        Ok(())
    }

    /// Makes all of them valid, or none.
    fn load(&self, paths: &[&ValidPathInfo]) -> Result<(), ProgramError> {
        let mut text = String::new();
        for valid in paths {
            self.write_registration(valid, &mut text);
        }
        let command = self.programs.command("nix-store", "--load-db");
        let loaded = Talk::start(command, self.patience).and_then(|talk| talk.run(text.as_bytes()));
        loaded.map_err(|reason| self.failed("register outputs", "nix-store", reason))
    }

    /// The path, its hash, size and deriver, how many references, and these: each on its own line.
    fn write_registration(&self, valid: &ValidPathInfo, text: &mut String) {
        let info = &valid.info;
        let print = |path| self.store_dir.print(path);
        let mut lines = vec![
            print(&valid.path),
            info.nar_hash.hash().digits(HashFormat::Base16),
            info.nar_size.to_string(),
            info.deriver.as_ref().map(print).unwrap_or_default(),
            info.references.len().to_string(),
        ];
        lines.extend(info.references.iter().map(print));
        *text += &lines.join("\n");
        text.push('\n');
    }
}
