//! Protocol versions and what they have.

use std::fmt;

/// Which family of daemons a peer belongs to. Both began as the same program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// nix-daemon.
    Nix,
    /// guix-daemon.
    Guix,
}

/// A version of the protocol, as the handshake agrees on it: the lower of what both sides announce.
///
/// `Display` prints what people write: `1.37`, or `0x164` for Guix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    dialect: Dialect,
    minor: u8,
}

impl Version {
    /// The newest version of Nix's dialect that this crate speaks.
    pub const NIX_NEWEST: Version = Version::nix(38);
    /// The oldest version of Nix's dialect that this crate speaks. Nix 2.0 had 1.20; 2.34 still accepts
    /// clients from 1.18.
    pub const NIX_OLDEST: Version = Version::nix(18);
    /// The newest version of Guix's dialect that this crate speaks (guix 1.5).
    pub const GUIX_NEWEST: Version = Version::guix(0x64);
    /// The oldest version of Guix's dialect that this crate speaks.
    pub const GUIX_OLDEST: Version = Version::guix(0x60);

    /// Version 1.`minor` of Nix's dialect.
    pub const fn nix(minor: u8) -> Version {
        Version {
            dialect: Dialect::Nix,
            minor,
        }
    }

    /// Version `0x100 + minor` of Guix's dialect.
    pub const fn guix(minor: u8) -> Version {
        Version {
            dialect: Dialect::Guix,
            minor,
        }
    }

    /// The version that a word of the handshake announces, if its major part is 1.
    pub const fn from_word(dialect: Dialect, word: u64) -> Option<Version> {
        if word >> 8 == 1 {
            Some(Version {
                dialect,
                minor: (word & 0xff) as u8,
            })
        } else {
            None
        }
    }

    /// The word that announces this version.
    pub const fn to_word(self) -> u64 {
        1 << 8 | self.minor as u64
    }

    /// The dialect.
    pub const fn dialect(self) -> Dialect {
        self.dialect
    }

    /// The part behind the dot.
    pub const fn minor(self) -> u8 {
        self.minor
    }

    /// Whether this is Guix's dialect.
    pub const fn is_guix(self) -> bool {
        matches!(self.dialect, Dialect::Guix)
    }

    /// Whether this crate speaks it.
    pub fn is_spoken(self) -> bool {
        match self.dialect {
            Dialect::Nix => (Version::NIX_OLDEST..=Version::NIX_NEWEST).contains(&self),
            Dialect::Guix => (Version::GUIX_OLDEST..=Version::GUIX_NEWEST).contains(&self),
        }
    }

    const fn nix_since(self, minor: u8) -> bool {
        matches!(self.dialect, Dialect::Nix) && self.minor >= minor
    }

    const fn guix_since(self, minor: u8) -> bool {
        matches!(self.dialect, Dialect::Guix) && self.minor >= minor
    }
}

/// Declares one gate per line: `name: nix since, guix since`, where `never` stands for no version.
macro_rules! gates {
    ($($(#[$doc:meta])* $name:ident: $nix:tt, $guix:tt;)*) => {
        impl Version {
            $($(#[$doc])* pub const fn $name(self) -> bool {
                gates!(@nix self $nix) || gates!(@guix self $guix)
            })*
        }

        #[cfg(test)]
        const GATES: &[(&str, fn(Version) -> bool)] = &[$((stringify!($name), Version::$name)),*];
    };
    (@nix $self:ident never) => { false };
    (@nix $self:ident $minor:literal) => { $self.nix_since($minor) };
    (@guix $self:ident never) => { false };
    (@guix $self:ident $minor:literal) => { $self.guix_since($minor) };
}

gates! {
    /// The operations and values that Nix has and Guix has not, in every version.
    is_nix: 0, never;
    /// The daemon remembers builds that failed (Nix did before 2.0).
    has_failed_paths: never, 0;
    /// QueryMissing exists.
    has_query_missing: 19, never;
    /// Activities and results are sent as such, not as plain lines.
    has_activities: 20, never;
    /// The data of AddToStoreNar is asked for by the daemon piece by piece; before, it stands behind the
    /// request.
    has_tunnelled_nar: 21, never;
    /// QuerySubstitutablePathInfos takes a content address with every path.
    has_substitutable_addresses: 22, never;
    /// QueryDerivationOutputMap exists.
    has_output_map: 22, never;
    /// The data of AddToStoreNar is sent in frames.
    has_framed_nar: 23, never;
    /// AddToStore takes a content-address method, references and framed data, and answers with the whole
    /// path info.
    has_framed_add: 25, never;
    /// Errors have a level, a type and traces; before, a message and an exit status.
    has_structured_errors: 26, never;
    /// QueryValidPaths takes a flag that asks to substitute what is missing.
    has_substitute_flag: 27, never;
    /// RegisterDrvOutput and QueryRealisation exist.
    has_realisations: 27, never;
    /// Build results name the outputs that were built.
    has_built_outputs: 28, never;
    /// Build results hold times and how often something was built.
    has_build_times: 29, never;
    /// A derivation without `!outputs` means the `.drv` file itself; before, all of its outputs.
    has_derived_paths: 30, never;
    /// Realisations are JSON texts; before, a plain output path.
    has_json_realisations: 31, never;
    /// AddMultipleToStore exists.
    has_add_multiple_to_store: 32, never;
    /// The handshake tells the daemon's own version.
    has_daemon_version: 33, never;
    /// AddBuildLog exists (it came with 1.33's daemons, without a version of its own).
    has_add_build_log: 33, never;
    /// BuildPathsWithResults exists.
    has_build_paths_with_results: 34, never;
    /// The handshake tells whether the daemon trusts this client.
    has_trust: 35, never;
    /// AddPermRoot exists.
    has_add_perm_root: 36, never;
    /// Build results hold CPU times.
    has_cpu_times: 37, never;
    /// The handshake exchanges sets of features.
    has_features: 38, never;
    /// Guix's list of built-in builders.
    has_builtin_builders: never, 0x61;
    /// SetOptions leaves the parallelism to its list of pairs.
    has_options_as_pairs: never, 0x61;
    /// Guix's SetSubstituteUrls.
    has_substitute_urls: never, 0x64;
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dialect {
            Dialect::Nix => write!(f, "1.{}", self.minor),
            Dialect::Guix => write!(f, "{:#x}", self.to_word()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_back() {
        assert_eq!(Version::nix(37).to_word(), 0x125);
        assert_eq!(
            Version::from_word(Dialect::Nix, 0x125),
            Some(Version::nix(37))
        );
        assert_eq!(Version::from_word(Dialect::Nix, 0x225), None);
        assert_eq!(Version::from_word(Dialect::Nix, u64::MAX), None);
        assert_eq!(Version::nix(21).to_string(), "1.21");
        assert_eq!(Version::guix(0x64).to_string(), "0x164");
    }

    #[test]
    fn a_gate_that_opened_stays_open() {
        for (name, gate) in GATES {
            for dialect in [Dialect::Nix, Dialect::Guix] {
                let open: Vec<bool> = (0..=255)
                    .map(|minor| gate(Version { dialect, minor }))
                    .collect();
                assert!(open.is_sorted(), "{name}");
            }
        }
    }
}
