//! What stands in strings for the path of an output that is not known yet: `/` and 52 characters of nix-base32.

use std::fmt;

use store_path::{Hash, StorePathRef, base32, compress_hash, output_path_name};

use crate::derivation_name;

/// Bytes of a placeholder: a slash and a SHA-256 digest in nix-base32.
pub(crate) const PLACEHOLDER_LEN: usize = 1 + base32::encoded_len(32);

/// Bytes of a placeholder's digest that go into that of what is made of it: as many as a store path's.
const COMPRESSED_LEN: usize = 20;

/// The placeholder of one output, as its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder([u8; 32]);

impl Placeholder {
    /// Of the output of an input. `None` if `input` is no derivation.
    pub(crate) fn of_input(input: StorePathRef<'_>, output: &str) -> Option<Self> {
        let name = output_path_name(derivation_name(input)?, output);
        let hash_part = input.hash_part();
        Some(Self::of_text(&format!(
            "nix-upstream-output:{hash_part}:{name}"
        )))
    }

    /// Of the output of the derivation that the output behind this placeholder is.
    pub(crate) fn of_made(&self, output: &str) -> Self {
        let compressed = base32::encode(&compress_hash::<COMPRESSED_LEN>(&self.0));
        Self::of_text(&format!("nix-computed-output:{compressed}:{output}"))
    }

    fn of_text(text: &str) -> Self {
        let hash = Hash::sha256_of(text.as_bytes());
        Self(
            hash.digest()
                .try_into()
                .expect("a SHA-256 digest has 32 bytes"),
        )
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", base32::encode(&self.0))
    }
}

/// What stands for the path of a derivation's own output, in its own strings, as long as that path is not known.
///
/// ```
/// assert_eq!(derivation::output_placeholder("out"), "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9");
/// ```
#[must_use]
pub fn output_placeholder(output: &str) -> String {
    Placeholder::of_text(&format!("nix-output:{output}")).to_string()
}

/// What stands for the path of an input's output as long as that path is not known. `None` if `input` is no derivation.
#[must_use]
pub fn input_placeholder(input: StorePathRef<'_>, output: &str) -> Option<String> {
    dynamic_placeholder(input, output, &[])
}

/// What stands for the path of an output of a dynamic input: output `output` of `input` is itself a derivation, of which the first of `further`
/// is an output, and so on. `None` if `input` is no derivation.
///
/// ```
/// use derivation::{StorePath, dynamic_placeholder};
///
/// // builtins.outputOf producing.outPath "lib"
/// let producing: StorePath = "hjv39y7c9kczq1l5vyjh2gmqsb09dfdc-producing.drv.drv".parse()?;
/// let placeholder = dynamic_placeholder(producing.as_path_ref(), "out", &["lib"]);
/// assert_eq!(placeholder.as_deref(), Some("/1hfvjyh543djyb6mjq9lk75vm5aflfavlg1jm8lvg150gsmfhs33"));
/// # Ok::<(), store_path::PathError>(())
/// ```
#[must_use]
pub fn dynamic_placeholder(
    input: StorePathRef<'_>,
    output: &str,
    further: &[&str],
) -> Option<String> {
    let first = Placeholder::of_input(input, output)?;
    let last = further
        .iter()
        .fold(first, |placeholder, output| placeholder.of_made(output));
    Some(last.to_string())
}
