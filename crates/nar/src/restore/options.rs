use crate::Limits;

/// How [`Restore`](crate::Restore) writes.
///
/// ```
/// use nar::{Durability, RestoreOptions};
///
/// # let directory = tempfile::tempdir()?;
/// let as_a_store_wants_it = RestoreOptions::default()
///     .canonical(true)
///     .durability(Durability::Power);
/// let path = directory.path().join("root");
/// nar::restore_with(&mut nar::example().as_slice(), &path, as_a_store_wants_it)?;
/// assert!(path.join("greeting").metadata()?.permissions().readonly());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    pub(super) canonical: bool,
    pub(super) durability: Durability,
    pub(super) case_hack: bool,
    pub(super) limits: Limits,
}

/// What a restored tree survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process. The operating system writes to the disk when it sees fit.
    #[default]
    Process,
    /// The loss of power: every file and directory is flushed as it is completed, and at last the
    /// directory that holds the root's name.
    Power,
    /// The loss of power, by one flush of the whole file system at the end: faster for large trees
    /// on a file system that nothing else writes to.
    PowerAtEnd,
}

impl RestoreOptions {
    /// Give everything the mode and time that a store wants: 0444, 0555 for directories and
    /// executable files, whatever the umask says, one second past the epoch as the time of last
    /// modification, and no access list or other extended attribute, whatever the directory that
    /// holds the root would pass on (but for those of SELinux and NFSv4, as in Nix). Otherwise
    /// modes are 0666 and 0777 less the umask, and the rest is left as the file system has it. Off
    /// unless asked for.
    #[must_use]
    pub fn canonical(mut self, canonical: bool) -> Self {
        self.canonical = canonical;
        self
    }

    /// What is on the disk when [`Restore::finish`](crate::Restore::finish) returns.
    /// [`Durability::Process`] unless asked for.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Put `~nix~case~hack~1` and so on behind names that differ in case only from one before
    /// them in their directory, as Nix does by default on macOS. The names of the directories that
    /// are open are held for it. Off unless asked for.
    #[must_use]
    pub fn case_hack(mut self, case_hack: bool) -> Self {
        self.case_hack = case_hack;
        self
    }

    /// What the archive may demand. [`Limits::NIX`] unless asked for.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}
