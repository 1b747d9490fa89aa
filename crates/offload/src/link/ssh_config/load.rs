//! Reads the configuration files and what they include.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::parse::{Directive, Line, Place, parse};
use super::resolve::{Subject, resolve};
use super::{CommandLine, Options};

/// Files that include each other are followed to this depth, as by OpenSSH.
const MAX_DEPTH: usize = 16;
/// Files that are read for one configuration, all includes together.
const MAX_FILES: usize = 256;
/// Largest file, in bytes: some ten thousand hosts.
const MAX_FILE: u64 = 1 << 20;

/// The lines of all configuration files, in the order in which they count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::link) struct SshConfig {
    files: Vec<Vec<Line>>,
}

/// Where configuration files are, and whose.
#[derive(Debug, Clone)]
pub(in crate::link) struct Folders {
    /// The home directory of the user who runs this.
    pub(in crate::link) home: PathBuf,
    /// OpenSSH's system-wide folder, `/etc/ssh`.
    pub(in crate::link) system: PathBuf,
    /// The user's number, who has to own the files if root does not.
    pub(in crate::link) uid: u32,
}

impl SshConfig {
    /// Reads `~/.ssh/config` and `/etc/ssh/ssh_config`; one that does not exist is empty.
    pub(in crate::link) fn of_user(folders: &Folders) -> Self {
        let user = folders.home.join(".ssh");
        let system = &folders.system;
        let mut config = SshConfig::default();
        for (folder, name, checked) in [(&user, "config", true), (system, "ssh_config", false)] {
            let mut loader = Loader::new(folders, folder);
            let file = folder.join(name);
            config.files.extend(loader.file(&file, checked, 0));
        }
        config
    }

    /// Reads this file only, as OpenSSH's `-F FILE` says. It has to exist.
    pub(in crate::link) fn of_file(file: &Path, folders: &Folders) -> Self {
        let user = folders.home.join(".ssh");
        let lines = Loader::new(folders, &user).file(file, false, 0);
        SshConfig {
            files: vec![lines.unwrap_or_else(|| vec![unreadable(file, "no such file")])],
        }
    }

    /// What `command_line` and the files mean for `host`, in this order.
    pub(in crate::link) fn options(
        &self,
        command_line: &CommandLine,
        host: &str,
        local_user: &str,
    ) -> Options {
        let files = self.files.iter().map(Vec::as_slice);
        let all = std::iter::once(command_line.lines()).chain(files);
        resolve(all, Subject { host, local_user })
    }
}

struct Loader<'a> {
    folders: &'a Folders,
    /// What includes are relative to.
    base: &'a Path,
    files: usize,
}

impl<'a> Loader<'a> {
    fn new(folders: &'a Folders, base: &'a Path) -> Self {
        let files = 0;
        Loader {
            folders,
            base,
            files,
        }
    }

    /// The lines of a file, `None` where there is none. `checked`: nobody else may write to it.
    fn file(&mut self, file: &Path, checked: bool, depth: usize) -> Option<Vec<Line>> {
        self.files += 1;
        if depth > MAX_DEPTH {
            let reason = format!("files include each other more than {MAX_DEPTH} deep");
            return Some(vec![unreadable(file, &reason)]);
        }
        if self.files > MAX_FILES {
            let reason = format!("more than {MAX_FILES} files");
            return Some(vec![unreadable(file, &reason)]);
        }
        let text = match self.text(file, checked) {
            Ok(text) => text?,
            Err(reason) => return Some(vec![unreadable(file, &reason)]),
        };
        let mut lines = parse(&text, &Arc::from(file));
        for line in &mut lines {
            if let Directive::Include { patterns, files } = &mut line.directive {
                for pattern in patterns {
                    self.include(pattern, files, depth);
                }
            }
        }
        Some(lines)
    }

    fn include(&mut self, pattern: &str, files: &mut Vec<Vec<Line>>, depth: usize) {
        let path = match pattern.strip_prefix("~/") {
            Some(rest) => self.folders.home.join(rest),
            None => self.base.join(pattern),
        };
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let pattern = path.to_string_lossy();
        match glob::glob_with(&pattern, options) {
            Ok(found) => {
                // What cannot be looked at is as if it were not there, as for OpenSSH.
                for file in found.flatten() {
                    if self.files > MAX_FILES {
                        break;
                    }
                    files.extend(self.file(&file, true, depth + 1));
                }
            }
            Err(error) => files.push(vec![unreadable(&path, error.msg)]),
        }
    }

    fn text(&self, file: &Path, checked: bool) -> Result<Option<String>, String> {
        let opened = match std::fs::File::open(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| error.to_string())?,
        };
        let metadata = opened.metadata().map_err(|error| error.to_string())?;
        if metadata.is_dir() {
            return Err("is a directory".to_owned());
        }
        let owned = [0, self.folders.uid].contains(&metadata.uid());
        if checked && (!owned || metadata.mode() & 0o022 != 0) {
            return Err("left out, because others may write to it".to_owned());
        }
        let mut bytes = Vec::new();
        let read = opened.take(MAX_FILE + 1).read_to_end(&mut bytes);
        read.map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(format!(
                "left out, because it has more than {MAX_FILE} bytes"
            ));
        }
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

fn unreadable(file: &Path, reason: &str) -> Line {
    Line {
        place: Place {
            source: Arc::from(file),
            line: 0,
        },
        directive: Directive::Unreadable(reason.to_owned()),
    }
}
