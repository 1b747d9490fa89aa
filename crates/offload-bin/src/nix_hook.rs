//! The process that nix-daemon starts as its build hook.
//!
//! | descriptor | what |
//! |---|---|
//! | 0 | the daemon's requests |
//! | 1, 2 | one pipe: replies and records for the client |
//! | 4 | the build's log, write end |
//! | 5 | the same pipe's read end, which tells how much the daemon has not read yet |

use std::process::ExitCode;

use offload::hook::serve;
use offload::log::{BuildLog, DaemonLog, Log};

use crate::environment::surroundings;
use crate::hook_process::{self, no_build_log, pipe};

/// Serves the daemon at standard input.
pub(crate) fn run() -> ExitCode {
    // Before anything else takes the number of a descriptor that is not there.
    let build = build_log();
    hook_process::run(async move || {
        let mut log = Log {
            daemon: DaemonLog::new(std::io::stderr()),
            build,
        };
        serve(tokio::io::stdin(), &mut log, &surroundings()).await
    })
}

fn build_log() -> BuildLog {
    match (pipe(4, true), pipe(5, false)) {
        (Ok(write_end), Ok(read_end)) => BuildLog::pipe(write_end, read_end),
        (Ok(write_end), Err(_)) => BuildLog::new(write_end),
        (Err(why), _) => no_build_log(&why),
    }
}
