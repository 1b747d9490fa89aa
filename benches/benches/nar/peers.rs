//! The real Nix's programs.

use std::path::Path;
use std::process::{Command, Stdio};

/// `program` with a store of its own, which it looks for although it does not need it.
pub(crate) fn nix(program: &str, arguments: &[&str], path: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(path).stderr(Stdio::null());
    let place = std::env::temp_dir().join("nar-bench-nix");
    for (variable, name) in [
        ("NIX_STATE_DIR", "state"),
        ("NIX_STORE_DIR", "store"),
        ("NIX_LOG_DIR", "log"),
    ] {
        command.env(variable, place.join(name));
    }
    command
}

/// Whether there are any.
pub(crate) fn has_nix() -> bool {
    Command::new("nix-store")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok()
}
