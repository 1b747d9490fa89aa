//! Standing in for `guix`: guix-daemon runs the program that `GUIX` names in its environment not
//! only as its build hook, but also to sign, to download, to find what is in use, and to
//! substitute. All of that is the real `guix`'s to do.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The environment variable that names the program that guix-daemon runs.
const STOOD_IN_FOR: &str = "GUIX";
/// The environment variable that names the real one.
const REAL: &str = "OFFLOAD_GUIX";

/// Where `guix` is when it is not on the path, or there is none: daemons may be started without.
const USUAL: [&str; 4] = [
    "/run/current-system/profile/bin/guix",
    "/var/guix/profiles/per-user/root/current-guix/bin/guix",
    "/usr/local/bin/guix",
    "/usr/bin/guix",
];

/// Whether a guix-daemon calls this program in place of `guix`: it hands on its environment.
pub(crate) fn stands_in() -> bool {
    std::env::var_os(STOOD_IN_FOR).is_some_and(|program| !program.is_empty())
}

/// Becomes the real `guix`, with all that this process was given.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let program = match program() {
        Ok(program) => program,
        Err(reason) => {
            eprintln!("offload: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("offload: failed to run {}: {error}", program.display());
    ExitCode::FAILURE
}

/// The real `guix`, or why there is none.
pub(crate) fn program() -> Result<PathBuf, String> {
    let named = std::env::var_os(REAL).filter(|program| !program.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    match named.map(PathBuf::from).or_else(|| find(&path)) {
        None => Err(format!(
            "failed to find guix, which is not on the path, {path:?}, nor at {}: set {REAL} in guix-daemon's \
             environment",
            USUAL.join(", ")
        )),
        Some(program) if is_this_program(&program) => Err(format!(
            "failed to find guix: {REAL} names this program: {}",
            program.display()
        )),
        Some(program) => Ok(program),
    }
}

/// The first `guix` of `path`, or else of the usual places, that is not this program.
fn find(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("guix"))
        .chain(USUAL.map(PathBuf::from))
        .find(|program| program.is_file() && !is_this_program(program))
}

/// Whether it is this program, or a script that leads to it.
fn is_this_program(program: &Path) -> bool {
    let Ok(program) = program.canonicalize() else {
        return false;
    };
    let named = std::env::var_os(STOOD_IN_FOR).map(PathBuf::from);
    [std::env::current_exe().ok(), named]
        .into_iter()
        .flatten()
        .any(|this| this.canonicalize().is_ok_and(|this| this == program))
}
