//! What is read the same way in every format.

use std::collections::BTreeSet;

use data_encoding::BASE64;

use super::ProblemKind;

/// `true`, `yes`, `1` and their opposites: what Nix takes for a boolean.
pub(super) fn flag(name: &'static str, value: &str) -> Result<bool, ProblemKind> {
    match value {
        "true" | "yes" | "1" => Ok(true),
        "false" | "no" | "0" => Ok(false),
        _ => Err(ProblemKind::Flag {
            name,
            value: value.to_owned(),
        }),
    }
}

/// A speed factor; 0 means 1, as it does to stock Nix (2.8.0 to 2.34.8) and Lix.
pub(super) fn speed_factor(factor: f64) -> Result<f64, ProblemKind> {
    match factor {
        0.0 => Ok(1.0),
        factor if factor.is_finite() && factor > 0.0 => Ok(factor),
        factor => Err(ProblemKind::SpeedFactor(factor.to_string())),
    }
}

/// A number of connections. 0 means 1 to stock Nix, and is a mistake here.
pub(super) fn max_connections(text: &str) -> Result<u32, ProblemKind> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(ProblemKind::MaxConnections(text.to_owned())),
    }
}

/// The base64 of a whole public key line, as `base64 -w0 ssh_host_ed25519_key.pub` prints it.
pub(super) fn base64_host_key(text: &str) -> Result<String, ProblemKind> {
    let wrong = || ProblemKind::HostKey(text.to_owned());
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| wrong())?;
    let line = String::from_utf8(bytes).map_err(|_| wrong())?;
    host_key(&line).map_err(|_| wrong())
}

/// A public key line: an algorithm, a key, perhaps a comment.
pub(super) fn host_key(line: &str) -> Result<String, ProblemKind> {
    let line = line.trim_end();
    if line.split_ascii_whitespace().count() < 2 || line.contains('\n') {
        return Err(ProblemKind::HostKeyLine(line.to_owned()));
    }
    Ok(line.to_owned())
}

/// Systems or features, each one word that a line of Nix's format can hold too.
pub(super) fn names(names: Vec<String>) -> Result<BTreeSet<String>, ProblemKind> {
    let is_word = |name: &str| {
        let breaks = |c: char| c.is_whitespace() || c.is_control() || ",;#".contains(c);
        !name.is_empty() && name != "-" && !name.contains(breaks)
    };
    match names.iter().find(|name| !is_word(name)) {
        Some(other) => Err(ProblemKind::Word(other.clone())),
        None => Ok(names.into_iter().collect()),
    }
}
