//! What is the same for every daemon's hook, as a process.

use std::fs::File;
use std::os::unix::fs::FileTypeExt;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use offload::hook;
use offload::log::BuildLog;

/// Runs `serve` to its exit code.
pub(crate) fn run(serve: impl AsyncFnOnce() -> hook::ExitCode) -> ExitCode {
    // A panic must not end the process with Rust's exit code 101: to daemons that is a timeout.
    let code = std::panic::catch_unwind(AssertUnwindSafe(|| hold_conversation(serve)));
    match code {
        Ok(code) => ExitCode::from(code as u8),
        Err(_) => ExitCode::FAILURE,
    }
}

fn hold_conversation(serve: impl AsyncFnOnce() -> hook::ExitCode) -> hook::ExitCode {
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
    let code = runtime.block_on(serve());
    // A thread may still be reading standard input; the process does not wait for it.
    runtime.shutdown_background();
    code
}

/// A descriptor where it is a pipe, opened anew by name: taking over a bare number would need
/// unsafe code.
///
/// # Errors
/// Why it is none, or is not opened.
pub(crate) fn pipe(descriptor: u32, write: bool) -> Result<File, String> {
    let path = format!("/proc/self/fd/{descriptor}");
    let opened = File::options().read(!write).write(write).open(path);
    let is_pipe = |file: &File| {
        let found = file.metadata();
        found.is_ok_and(|found| found.file_type().is_fifo())
    };
    match opened {
        Ok(file) if is_pipe(&file) => Ok(file),
        Ok(_) => Err(format!("descriptor {descriptor} is no pipe")),
        Err(error) => Err(format!("descriptor {descriptor} is not opened: {error}")),
    }
}

/// Where a build's log goes that the daemon does not take.
pub(crate) fn no_build_log(why: &str) -> BuildLog {
    eprintln!("offload: the logs of builds are lost: {why}");
    BuildLog::new(std::io::sink())
}
