//! The process that guix-daemon starts as its build hook.
//!
//! | descriptor | what |
//! |---|---|
//! | 0 | the daemon's requests |
//! | 1, 2 | one pipe: replies, and lines for the client |
//! | 4 | the build's log |

use std::process::ExitCode;

use offload::hook::{GuixArguments, serve_guix};
use offload::log::{BuildLog, DaemonLog, Log};

use crate::environment::{guix_machines_anew, guix_surroundings};
use crate::hook_process::{self, no_build_log, pipe};

/// Serves the daemon at standard input.
pub(crate) fn run(arguments: &GuixArguments) -> ExitCode {
    // Before anything else takes the number of a descriptor that is not there.
    let build = build_log();
    hook_process::run(async move || {
        let mut log = Log {
            daemon: DaemonLog::guix(std::io::stderr()),
            build,
        };
        let surroundings = guix_surroundings();
        let requests = tokio::io::stdin();
        let machines = guix_machines_anew();
        serve_guix(requests, &mut log, arguments, &surroundings, machines).await
    })
}

/// Either end of a pipe tells how much of it is not read yet.
fn build_log() -> BuildLog {
    match (pipe(4, true), pipe(4, true)) {
        (Ok(write_end), Ok(same)) => BuildLog::pipe(write_end, same),
        (Err(why), _) | (_, Err(why)) => no_build_log(&why),
    }
}
