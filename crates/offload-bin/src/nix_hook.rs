//! The process that nix-daemon starts as its build hook.
//!
//! | descriptor | what |
//! |---|---|
//! | 0 | the daemon's requests |
//! | 1, 2 | one pipe: replies and records for the client |
//! | 4 | the build's log, write end |
//! | 5 | the same pipe's read end, which tells how much the daemon has not read yet |

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use offload::hook::{self, serve};
use offload::log::{BuildLog, DaemonLog, Log};

use crate::environment::surroundings;

/// Serves the daemon at standard input.
pub(crate) fn run() -> ExitCode {
    // A panic must not end the process with Rust's exit code 101: to Nix that is a timeout.
    let code = std::panic::catch_unwind(AssertUnwindSafe(hold_conversation));
    match code {
        Ok(code) => ExitCode::from(code as u8),
        Err(_) => ExitCode::FAILURE,
    }
}

fn hold_conversation() -> hook::ExitCode {
    let mut log = Log {
        daemon: DaemonLog::new(std::io::stderr()),
        build: build_log(),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("offload: failed to start: {error}");
            return hook::ExitCode::Failed;
        }
    };
    let code = runtime.block_on(serve(tokio::io::stdin(), &mut log, &surroundings()));
    // A thread may still be reading standard input; the process does not wait for it.
    runtime.shutdown_background();
    code
}

/// Descriptors 4 and 5 where they are a pipe, opened anew by name: taking over a bare number would
/// need unsafe code.
fn build_log() -> BuildLog {
    let pipe = |descriptor: u32, write: bool| {
        let path = format!("/proc/self/fd/{descriptor}");
        let file = File::options().read(!write).write(write).open(path).ok()?;
        let is_pipe = file
            .metadata()
            .is_ok_and(|found| found.file_type().is_fifo());
        is_pipe.then_some(file)
    };
    match (pipe(4, true), pipe(5, false)) {
        (Some(write_end), Some(read_end)) => BuildLog::pipe(write_end, read_end),
        (Some(write_end), None) => BuildLog::new(write_end),
        (None, _) => BuildLog::new(std::io::sink()),
    }
}
