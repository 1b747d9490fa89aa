//! How what passes over a connection is compressed: SSH's own methods.

use std::fmt;
use std::str::FromStr;

/// A method of compression, by its name in SSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionMethod {
    /// `none`
    None,
    /// `zlib`: from the key exchange on.
    Zlib,
    /// `zlib@openssh.com`: after authentication.
    ZlibOpenssh,
}

impl CompressionMethod {
    /// The name that is sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CompressionMethod::None => "none",
            CompressionMethod::Zlib => "zlib",
            CompressionMethod::ZlibOpenssh => "zlib@openssh.com",
        }
    }
}

/// Methods of compression and how hard to try.
///
/// ```
/// use offload::machines::{Compression, CompressionMethod};
///
/// let methods = Compression::parse_methods("zlib@openssh.com,zlib")?;
/// assert_eq!(methods, [CompressionMethod::ZlibOpenssh, CompressionMethod::Zlib]);
/// assert_eq!(Compression::default().to_string(), "none");
/// assert_eq!(Compression { methods, level: 3 }.to_string(), "zlib@openssh.com,zlib at level 3");
/// # Ok::<(), offload::machines::UnknownCompression>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compression {
    /// The methods that will do, the best first; never empty.
    pub methods: Vec<CompressionMethod>,
    /// zlib's level: 1 (fast) to 9 (small).
    pub level: u8,
}

/// A method of compression that SSH does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compression method is not known: {0:?}")]
pub struct UnknownCompression(pub String);

impl Compression {
    /// zlib's levels.
    pub const LEVELS: std::ops::RangeInclusive<u8> = 1..=9;

    /// What OpenSSH's `-C` and Nix's `compress` mean: zlib if the host has it; or no compression.
    #[must_use]
    pub fn when(compress: bool) -> Self {
        let zlib = [CompressionMethod::ZlibOpenssh, CompressionMethod::Zlib];
        match compress {
            true => Compression {
                methods: [&zlib[..], &[CompressionMethod::None]].concat(),
                ..Compression::default()
            },
            false => Compression::default(),
        }
    }

    /// Whether anything is to be compressed.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.methods.first() != Some(&CompressionMethod::None)
    }

    /// Reads `zlib@openssh.com,zlib`: names in SSH, or libssh's `yes` and `no`.
    ///
    /// # Errors
    /// When one is not known.
    pub fn parse_methods(names: &str) -> Result<Vec<CompressionMethod>, UnknownCompression> {
        let all = [CompressionMethod::ZlibOpenssh, CompressionMethod::Zlib];
        match names {
            "yes" => Ok([&all[..], &[CompressionMethod::None]].concat()),
            "no" => Ok(vec![CompressionMethod::None]),
            names => names.split(',').map(str::parse).collect(),
        }
    }
}

impl Default for Compression {
    /// No compression.
    fn default() -> Self {
        Compression {
            methods: vec![CompressionMethod::None],
            level: 6,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.methods.iter().map(|method| method.as_str()).collect();
        f.write_str(&names.join(","))?;
        match self.methods[..] {
            [CompressionMethod::None] => Ok(()),
            _ => write!(f, " at level {}", self.level),
        }
    }
}

impl FromStr for CompressionMethod {
    type Err = UnknownCompression;

    fn from_str(name: &str) -> Result<Self, UnknownCompression> {
        let all = [
            CompressionMethod::None,
            CompressionMethod::Zlib,
            CompressionMethod::ZlibOpenssh,
        ];
        let found = all.into_iter().find(|method| method.as_str() == name);
        found.ok_or_else(|| UnknownCompression(name.to_owned()))
    }
}
