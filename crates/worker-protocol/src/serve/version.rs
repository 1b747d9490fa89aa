use std::fmt;

/// Version 2.x of this protocol, as the handshake agrees on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServeVersion(pub u8);

impl ServeVersion {
    /// The newest version that is spoken here.
    pub const NEWEST: ServeVersion = ServeVersion(7);
    /// The oldest version that is spoken here: that of Nix 2.3. In older
    /// ones paths can only be added as an export.
    pub const OLDEST: ServeVersion = ServeVersion(5);

    /// Whether build results name the outputs that were built.
    pub fn has_built_outputs(self) -> bool {
        self.0 >= 6
    }

    /// Whether a build is told whether to keep its directory when it fails.
    pub fn has_keep_failed(self) -> bool {
        self.0 >= 7
    }

    /// The version that a word of the handshake announces, if its major part is 2.
    pub(super) fn from_word(word: u64) -> Option<ServeVersion> {
        (word >> 8 == 2).then_some(ServeVersion((word & 0xff) as u8))
    }

    /// The word that announces this version.
    pub(super) fn to_word(self) -> u64 {
        2 << 8 | u64::from(self.0)
    }
}

impl fmt::Display for ServeVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}
