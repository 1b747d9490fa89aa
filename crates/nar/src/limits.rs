/// What an archive may at most demand of whoever reads, writes or restores it.
///
/// The defaults are the limits of Nix itself. File contents have no limit: their size is a `u64`
/// and no memory is ever reserved for them.
///
/// ```
/// let shallow = nar::Limits { depth: 2, ..nar::Limits::default() };
/// assert_eq!((shallow.name, shallow.target), (255, 4095));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Default for Limits {
    fn default() -> Self {
        Self::NIX
    }
}
