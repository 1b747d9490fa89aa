//! The hashes of a derivation and of all below it.

use std::collections::HashSet;

use store_path::StorePath;

use super::{HashModulo, ModuloError, ModuloMemo};
use crate::{DerivationFile, Error, Kind};

/// Why the hashes of a derivation and all below it cannot be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError<E> {
    /// The caller could not load the file.
    #[error("derivation is not at hand: {path}: {error}")]
    Load {
        /// The file.
        path: StorePath,
        /// What the caller said.
        error: E,
    },
    /// The file is not a derivation.
    #[error("derivation is malformed: {path}: {error}")]
    Parse {
        /// The file.
        path: StorePath,
        /// Why.
        error: Error,
    },
    /// The file has no hash.
    #[error("derivation has no hash: {path}: {error}")]
    Modulo {
        /// The file.
        path: StorePath,
        /// Why.
        error: ModuloError,
    },
    /// The file is among its own inputs, which no hash function allows.
    #[error("derivation is its own input: {0}")]
    Cycle(StorePath),
}

impl ModuloMemo {
    /// Computes the hash of the derivation at `path`, loading it and every derivation below it that is not known yet once. Depth is no
    /// matter: at any time only the files between `path` and the one at work are in memory.
    ///
    /// # Errors
    /// [`WalkError`] with the path of the file that is missing or wrong.
    pub fn walk<E>(
        &mut self,
        path: &StorePath,
        mut load: impl FnMut(&StorePath) -> Result<Vec<u8>, E>,
    ) -> Result<HashModulo, WalkError<E>> {
        if let Some(hash) = self.get(path) {
            return Ok(hash);
        }
        let mut in_progress = HashSet::new();
        let mut stack: Vec<Step> = Vec::new();
        let mut next = Some(path.clone());
        loop {
            if let Some(path) = next.take()
                && let Some(step) = self.open(path, &mut load)?
            {
                if !in_progress.insert(step.path.clone()) {
                    return Err(WalkError::Cycle(step.path));
                }
                stack.push(step);
            }
            let Some(step) = stack.last_mut() else { break };
            match step.waiting.pop() {
                Some(input) if self.known.contains_key(&input) => {}
                Some(input) => next = Some(input),
                None => {
                    let step = stack.pop().expect("the loop looked at it");
                    in_progress.remove(&step.path);
                    self.close(step)?;
                }
            }
        }
        Ok(self.get(path).expect("the walk ends when it is known"))
    }

    /// Loads a file. If all its inputs are known so is its hash from now on, else gives what it waits for.
    fn open<E>(
        &mut self,
        path: StorePath,
        load: &mut impl FnMut(&StorePath) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Step>, WalkError<E>> {
        let text = match load(&path) {
            Ok(text) => text,
            Err(error) => return Err(WalkError::Load { path, error }),
        };
        let file = match DerivationFile::parse(&self.dir, &text) {
            Ok(file) => file,
            Err(error) => return Err(WalkError::Parse { path, error }),
        };
        let waiting: Vec<_> = if file.derivation().kind() == Ok(Kind::InputAddressed) {
            let inputs = file.derivation().input_derivations.keys();
            inputs
                .filter(|input| !self.known.contains_key(input.base_name()))
                .map(|input| input.as_path_ref().to_store_path())
                .collect()
        } else {
            Vec::new()
        };
        if waiting.is_empty() {
            return match self.hash(&file) {
                Ok(hash) => {
                    self.known.insert(path, hash);
                    Ok(None)
                }
                Err(error) => Err(WalkError::Modulo { path, error }),
            };
        }
        Ok(Some(Step {
            path,
            text,
            waiting,
        }))
    }

    /// Computes the hash of a file that waits for nothing any more.
    fn close<E>(&mut self, step: Step) -> Result<(), WalkError<E>> {
        let Step { path, text, .. } = step;
        // Parsed again: keeping what was parsed would mean copying it, which costs more.
        match DerivationFile::parse(&self.dir, &text) {
            Ok(file) => match self.hash(&file) {
                Ok(hash) => {
                    self.known.insert(path, hash);
                    Ok(())
                }
                Err(error) => Err(WalkError::Modulo { path, error }),
            },
            Err(error) => Err(WalkError::Parse { path, error }),
        }
    }
}

/// A file on the way down.
struct Step {
    path: StorePath,
    text: Vec<u8>,
    /// Inputs that were not known when it was opened.
    waiting: Vec<StorePath>,
}
