//! The processes of a pid namespace, as `/proc` shows them.

use std::{fmt, fs, io, path::PathBuf};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};

/// A process of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number as the machine sees it, not as its host does.
    pub pid: u32,
    /// Its number as its host sees it.
    pub pid_inside: u32,
    /// The name of its program, cut by the kernel after 15 bytes.
    pub name: String,
    /// Its arguments, joined by spaces; daemons put their state there.
    pub command_line: String,
}

impl Process {
    /// Sends it a signal. One that has ended by now is left in peace.
    ///
    /// # Errors
    /// If the machine refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
        match rustix::process::kill_process(pid, signal) {
            Err(Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pid_inside,
            name,
            command_line,
            ..
        } = self;
        write!(formatter, "{pid_inside} {name} ({command_line})")
    }
}

/// The namespace that identifies the processes of the host whose process 1 is `init`.
pub(crate) fn namespace_of(init: u32) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{init}/ns/pid"))
}

/// All living processes of the pid namespace; the dead that nobody has waited for yet are none.
pub(crate) fn of_namespace(namespace: &PathBuf) -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        // One that ends between two looks is not there.
        if namespace_of(pid).is_ok_and(|its| its == *namespace)
            && let Some(process) = living(pid)
        {
            processes.push(process);
        }
    }
    processes.sort_by_key(|process| process.pid);
    Ok(processes)
}

fn living(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, state) = name_and_state(&stat)?;
    if matches!(state, 'Z' | 'X') {
        return None;
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let pid_inside = innermost(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?;
    let command_line = String::from_utf8_lossy(&arguments)
        .replace('\0', " ")
        .trim_end()
        .to_owned();
    Some(Process {
        pid,
        pid_inside,
        name: name.to_owned(),
        command_line,
    })
}

/// `NSpid:\t4711\t5`: the numbers from the outermost namespace to the innermost.
fn innermost(status: &str) -> Option<u32> {
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_ascii_whitespace().next_back()?.parse().ok()
}

/// `42 (nix-daemon) S 1 ...`: a name may itself hold spaces and parentheses.
fn name_and_state(stat: &str) -> Option<(&str, char)> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (_, name) = head.split_once('(')?;
    Some((name, rest.chars().next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses() {
        assert_eq!(
            name_and_state("7 (a) b (c) R 1 7 7"),
            Some(("a) b (c", 'R'))
        );
        assert_eq!(name_and_state("7 (x"), None);
    }

    #[test]
    fn the_innermost_number_is_the_last() {
        assert_eq!(
            innermost("Name:\tsh\nNSpid:\t4711\t5\nNSpgid:\t1\t1\n"),
            Some(5)
        );
        assert_eq!(innermost("Name:\tsh\n"), None);
    }

    #[test]
    fn this_process_is_in_its_own_namespace() {
        let me = std::process::id();
        let all = of_namespace(&namespace_of(me).unwrap()).unwrap();
        assert!(
            all.iter()
                .any(|process| process.pid == me && !process.command_line.is_empty())
        );
    }
}
