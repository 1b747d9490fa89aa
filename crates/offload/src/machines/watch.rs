//! A machine list that is read anew when its files change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Effect, MachineList};

/// What a file was like when it was read: `None` where there was none.
type Stamp = Option<[i64; 6]>;

/// A file that is looked at again and again.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    seen: Option<Stamp>,
}

impl FileWatch {
    /// A file that nobody has looked at yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        FileWatch { path, seen: None }
    }

    /// Whether it is another one than it was at the last look, or has come or gone; at the first look always.
    pub fn has_changed(&mut self) -> bool {
        let now = Some(stamp(&self.path));
        std::mem::replace(&mut self.seen, now) != now
    }
}

/// See the module's text.
pub struct WatchedList {
    read: Box<dyn Fn() -> MachineList>,
    list: MachineList,
    seen: Vec<(PathBuf, Stamp)>,
}

/// What became of a list that was looked at again.
#[derive(Debug, Clone, PartialEq)]
pub enum Reread {
    /// It has not changed since it was last looked at.
    Unchanged,
    /// It has changed, and counts from now on.
    Taken,
    /// It has changed into this one, of which not everything can be understood, or which has no machine:
    /// the one of before counts. That is said once for each change.
    Refused(MachineList),
}

impl WatchedList {
    /// A list that `read` reads, for the first time at once. Whatever it is counts then.
    #[must_use]
    pub fn new(read: impl Fn() -> MachineList + 'static) -> Self {
        let list = read();
        WatchedList {
            read: Box::new(read),
            seen: stamps(&list, &[]),
            list,
        }
    }

    /// The list that counts.
    #[must_use]
    pub fn list(&self) -> &MachineList {
        &self.list
    }

    /// Looks at the files, and reads the list anew if one of them has changed.
    pub fn refresh(&mut self) -> Reread {
        let now = self
            .seen
            .iter()
            .map(|(path, _)| (path.clone(), stamp(path)));
        let now: Vec<_> = now.collect();
        if now == self.seen {
            return Reread::Unchanged;
        }
        let list = (self.read)();
        self.seen = stamps(&list, &now);
        let is_lost = |effect| matches!(effect, Effect::MachineSkipped | Effect::ListSkipped);
        if list.machines.is_empty() || list.problems.iter().any(|p| is_lost(p.effect())) {
            return Reread::Refused(list);
        }
        self.list = list;
        Reread::Taken
    }
}

impl std::fmt::Debug for WatchedList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchedList")
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}

/// What the list's files are like; of those that were looked at before it was read, what they were like then.
fn stamps(list: &MachineList, before: &[(PathBuf, Stamp)]) -> Vec<(PathBuf, Stamp)> {
    let stamp = |path: &PathBuf| match before.iter().find(|(known, _)| known == path) {
        Some((_, known)) => *known,
        None => stamp(path),
    };
    let files = list.files.iter().map(|file| &file.path);
    files.map(|path| (path.clone(), stamp(path))).collect()
}

fn stamp(path: &Path) -> Stamp {
    let found = path.metadata().ok()?;
    let inode = found.ino().cast_signed();
    let size = found.size().cast_signed();
    let (modified, changed) = (found.mtime(), found.ctime());
    Some([
        inode,
        size,
        modified,
        found.mtime_nsec(),
        changed,
        found.ctime_nsec(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::read_list;

    #[test]
    fn a_file_changes_when_it_is_written_comes_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machines.scm");
        let mut watch = FileWatch::new(path.clone());
        assert_eq!([(); 2].map(|()| watch.has_changed()), [true, false]);
        std::fs::write(&path, "(list)").unwrap();
        assert_eq!([(); 2].map(|()| watch.has_changed()), [true, false]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!([(); 2].map(|()| watch.has_changed()), [true, false]);
    }

    #[test]
    fn a_change_is_seen_once_and_a_broken_one_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let [outer, inner] = ["outer", "inner"].map(|name| folder.path().join(name));
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        write(&outer, &format!("ssh://a\n@{}\n", inner.display()));
        let named = outer.display().to_string();
        let mut watched = WatchedList::new(move || read_list(&named, "x"));
        let hosts = |watched: &WatchedList| -> Vec<String> {
            let machines = watched.list().machines.iter();
            machines
                .map(|machine| machine.uri.host().to_owned())
                .collect()
        };
        assert_eq!(watched.refresh(), Reread::Unchanged);
        // A file that was named and not there.
        write(&inner, "ssh://b\n");
        assert_eq!(watched.refresh(), Reread::Taken);
        assert_eq!(watched.refresh(), Reread::Unchanged);
        assert_eq!(hosts(&watched), ["a", "b"]);

        write(&inner, "ssh://c - - many\n");
        let Reread::Refused(refused) = watched.refresh() else {
            panic!("it cannot be understood");
        };
        assert_eq!(refused.problems.len(), 1);
        assert_eq!(watched.refresh(), Reread::Unchanged, "it is said once");
        write(&outer, "");
        assert!(matches!(watched.refresh(), Reread::Refused(_)));
        std::fs::remove_file(&outer).unwrap();
        assert!(matches!(watched.refresh(), Reread::Refused(_)));
        assert_eq!(hosts(&watched), ["a", "b"]);

        write(&outer, "ssh://d\n");
        assert_eq!(watched.refresh(), Reread::Taken);
        assert_eq!(hosts(&watched), ["d"]);
    }
}
