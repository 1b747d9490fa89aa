/// What an archive may at most demand of whoever reads, writes or restores it.
///
/// The defaults are the limits of Nix itself. File contents have no limit: their size is a `u64`
/// and no memory is ever reserved for them.
///
/// ```
/// let shallow = nar::Limits::NIX.with_depth(2);
/// assert_eq!((shallow.name, shallow.target, shallow.depth), (255, 4095, 2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest name of a directory entry, in bytes. 255: `NAME_MAX` of Linux, and Nix's limit.
    pub name: usize,
    /// Longest target of a symbolic link, in bytes. 4095: `PATH_MAX` of Linux less its NUL, and
    /// Nix's limit.
    pub target: usize,
    /// How many nodes may lie inside each other, root and innermost included. 64: Nix's limit. A
    /// restore holds one descriptor for each that is a directory.
    pub depth: usize,
}

impl Limits {
    /// The limits of Nix: names of 255 bytes, targets of 4095, 64 nodes inside each other.
    pub const NIX: Self = Self {
        name: 255,
        target: 4095,
        depth: 64,
    };

    /// The same but for the longest name, in bytes.
    #[must_use]
    pub const fn with_name(mut self, name: usize) -> Self {
        self.name = name;
        self
    }

    /// The same but for the longest target of a symbolic link, in bytes.
    #[must_use]
    pub const fn with_target(mut self, target: usize) -> Self {
        self.target = target;
        self
    }

    /// The same but for the number of nodes that may lie inside each other.
    #[must_use]
    pub const fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::NIX
    }
}
