//! How Nix keeps names apart that differ only in case, on file systems that do not.
//!
//! A restore puts `~nix~case~hack~N` behind such a name, with `N` from 1, and a dump takes it off
//! again.

use std::collections::BTreeMap;

const SUFFIX: &[u8] = b"~nix~case~hack~";

/// The name in the archive of what is called `name` in the file system.
pub(crate) fn strip(name: &[u8]) -> &[u8] {
    find(name).map_or(name, |at| &name[..at])
}

fn find(name: &[u8]) -> Option<usize> {
    name.windows(SUFFIX.len())
        .position(|window| window == SUFFIX)
}

/// The names that were restored to one directory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// In lower case (ASCII only, as Nix has it), and how many more of the same there were.
    folded: BTreeMap<Vec<u8>, u32>,
}

impl Names {
    /// What is to stand behind `name` in the file system: often nothing. `None` if the name has
    /// a suffix already and would be dumped as another one.
    pub(crate) fn suffix(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        if find(name).is_some() {
            return None;
        }
        let Some(more) = self.folded.get_mut(&name.to_ascii_lowercase()) else {
            self.folded.insert(name.to_ascii_lowercase(), 0);
            return Some(Vec::new());
        };
        *more += 1;
        Some([SUFFIX, more.to_string().as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alike_are_numbered_and_come_back() {
        let mut names = Names::default();
        let mut restored = |name: &[u8]| Some([name, &names.suffix(name)?].concat());
        let all = [&b"README"[..], b"Readme", b"other", b"readme"].map(&mut restored);
        let all = all.map(Option::unwrap);
        assert_eq!(all[0], b"README");
        assert_eq!(all[1], b"Readme~nix~case~hack~1");
        assert_eq!(all[2], b"other");
        assert_eq!(all[3], b"readme~nix~case~hack~2");
        assert_eq!(
            all.each_ref().map(|name| strip(name)),
            [&b"README"[..], b"Readme", b"other", b"readme"]
        );
        assert_eq!(restored(b"a~nix~case~hack~1"), None);
    }
}
