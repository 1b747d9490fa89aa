//! Running a command in bounded time.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// What a command left when it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed on its standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// All that it printed on its standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
    /// From its start to its end.
    pub elapsed: Duration,
}

/// Runs `command` in a process group of its own; what is still running after `limit` is killed with its group.
/// The flag says whether that was necessary.
///
/// The streams go to files, not pipes: a process that outlives the command with the streams open blocks nobody.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<(Output, bool)> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .process_group(0);
    let started = Instant::now();
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let (ended, end) = mpsc::channel();
    // Waits without reaping, so that the group's number stays ours until the kill below is done.
    let waiter = thread::spawn(move || {
        let result = rustix::process::waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        );
        // Nobody listens any more once the limit is over.
        ended.send(result.map(|_| Instant::now())).ok();
    });
    let (at, overran) = match end.recv_timeout(limit) {
        Ok(at) => (at?, false),
        Err(_) => {
            rustix::process::kill_process_group(pid, Signal::KILL)?;
            (Instant::now(), true)
        }
    };
    let status = child.wait()?;
    waiter.join().expect("the waiting thread does not panic");
    let output = Output {
        status,
        stdout: contents(&mut stdout)?,
        stderr: contents(&mut stderr)?,
        elapsed: at - started,
    };
    Ok((output, overran))
}

fn contents(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> &str {
    let ends = text
        .trim_end()
        .rmatch_indices('\n')
        .nth(lines.saturating_sub(1));
    ends.map_or(text, |(at, _)| &text[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_whole() {
        let (output, overran) = run(
            Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]),
            Duration::from_secs(20),
        )
        .unwrap();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str(), overran),
            ("out\n", "err\n", false)
        );
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn what_overruns_is_killed_with_its_children() {
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$; sleep 60 & wait"]);
        let (output, overran) = run(&mut command, Duration::from_millis(300)).unwrap();
        assert!(overran && started.elapsed() < Duration::from_secs(20));
        let group = Pid::from_raw(output.stdout.trim().parse().unwrap()).unwrap();
        let gone_by = Instant::now() + Duration::from_secs(10);
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(Instant::now() < gone_by, "group {group:?} is still there");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_tail_is_whole_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(tail("a\nb\nc", 1), "c");
        assert_eq!(tail("a\n", 5), "a\n");
    }
}
