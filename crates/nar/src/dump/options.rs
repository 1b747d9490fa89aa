use std::fmt;
use std::path::Path;

use crate::Limits;

/// What a dump leaves out and what it calls things.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # std::fs::create_dir(directory.path().join(".git"))?;
/// let options = nar::DumpOptions::default()
///     .filter(|path| path.file_name().is_none_or(|name| name != ".git"));
/// assert_eq!(nar::dump_with(directory.path(), &mut std::io::sink(), options)?, 96);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct DumpOptions {
    pub(super) case_hack: bool,
    pub(super) limits: Limits,
    pub(super) filter: Option<Filter>,
}

pub(super) type Filter = Box<dyn FnMut(&Path) -> bool + Send>;

impl DumpOptions {
    /// Take `~nix~case~hack~` and what follows off names, as Nix does by default on macOS.
    /// Two names that become one are an error. Off unless asked for.
    #[must_use]
    pub fn case_hack(mut self, case_hack: bool) -> Self {
        self.case_hack = case_hack;
        self
    }

    /// What the archive may demand of who restores it. [`Limits::NIX`] unless asked for.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Leave out every entry, and all in it, for whose path from the root `keep` says false. The
    /// path is the archive's: with [`DumpOptions::case_hack`], its names are without what that
    /// takes off, in whatever order the options were given.
    #[must_use]
    pub fn filter(mut self, keep: impl FnMut(&Path) -> bool + Send + 'static) -> Self {
        self.filter = Some(Box::new(keep));
        self
    }
}

impl fmt::Debug for DumpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DumpOptions")
            .field("case_hack", &self.case_hack)
            .field("limits", &self.limits)
            .field("filter", &self.filter.as_ref().map(|_| ".."))
            .finish()
    }
}
