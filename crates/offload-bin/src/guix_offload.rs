//! `guix offload test` and `guix offload status`, as this program does them in the place of `guix`: for whoever knows
//! stock's, with stock's arguments and lines.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use offload::machines::Machine;
use offload::probe::{Status, Step, TestReport};
use regex_lite::Regex;

use crate::context::Context;
use crate::environment::{guix_directories, guix_list, guix_machines};
use crate::output::print;
use crate::together::wait_for;
use crate::{posix_regex, status, test};

/// What stands in front of stock's messages.
const PROGRAM: &str = "guix offload: ";

/// What a person can have `guix offload` do.
#[derive(Subcommand)]
pub(crate) enum GuixOffload {
    /// Tests build machines: whether Guix is usable there, imports what this host signs, and exports what this host
    /// takes.
    ///
    /// A line for each of these, as stock has them, on standard error. `offload test --guix` shows more steps. What is
    /// tried with stays on the machines as garbage; nothing is left here.
    ///
    /// Exit code: 0 where all machines are usable, 1 where one is not or the list was not understood, 2 for wrong
    /// arguments.
    Test(Machines),
    /// Prints how build machines are doing: kernel, architecture, host name, normalized load, free disk space, time
    /// difference.
    ///
    /// Exit code: 0 where all machines are reached, 1 where one is not or the list was not understood, 2 for wrong
    /// arguments.
    Status(Machines),
}

/// Which machines are meant.
#[derive(Args)]
pub(crate) struct Machines {
    /// The machine list, /etc/guix/machines.scm by default.
    file: Option<PathBuf>,
    /// Only machines whose name matches this extended regular expression of POSIX, anywhere.
    regexp: Option<String>,
    /// Print JSON, as `offload test --guix` and `offload status --guix` do.
    #[arg(long)]
    json: bool,
}

impl GuixOffload {
    /// # Errors
    /// When nobody could be asked.
    pub(crate) fn run(self) -> Result<ExitCode, String> {
        match self {
            GuixOffload::Test(machines) => machines.test(),
            GuixOffload::Status(machines) => machines.status(),
        }
    }
}

/// A machine list, read.
struct Chosen {
    machines: Vec<Machine>,
    /// Where from.
    file: PathBuf,
    /// Whether all of it was understood.
    understood: bool,
}

impl Machines {
    fn test(&self) -> Result<ExitCode, String> {
        let chosen = self.choose()?;
        eprint!("{PROGRAM}testing {}", chosen.title());
        let context = Context::of_process(true)?;
        let reports = test::test_each(&chosen.machines, context, |report| {
            eprint!("{}", test_lines(report));
        })?;
        if self.json {
            print(&format!("{:#}\n", test::document(&reports)));
        }
        let fine = reports.iter().all(|report| report.trouble.is_none());
        Ok(exit_code(fine && chosen.understood))
    }

    fn status(&self) -> Result<ExitCode, String> {
        let chosen = self.choose()?;
        eprint!("{PROGRAM}getting status of {}", chosen.title());
        let context = Context::of_process(true)?;
        let reports = status::ask_status(&chosen.machines, context, |report| {
            let (messages, block) = status_lines(report);
            eprint!("{messages}");
            if !self.json {
                print(&block);
            }
        })?;
        if self.json {
            print(&format!("{:#}\n", status::document(&reports)));
        }
        let fine = reports.iter().all(|report| report.state.is_ok());
        Ok(exit_code(fine && chosen.understood))
    }

    fn choose(&self) -> Result<Chosen, String> {
        let directories = guix_directories();
        let list = wait_for(guix_machines(&directories, self.file.as_deref()))?.list;
        let file = self.file.clone();
        let file = file.unwrap_or_else(|| guix_list(&directories));
        for problem in &list.problems {
            eprintln!("{PROGRAM}warning: {problem}");
        }
        let meant = match &self.regexp {
            Some(regexp) => {
                let parsed = posix_regex::compile(regexp);
                Some(parsed.map_err(|error| format!("no regular expression: {regexp}: {error}"))?)
            }
            None => None,
        };
        Ok(Chosen {
            machines: choose(list.machines, meant.as_ref()),
            file,
            understood: list.problems.is_empty(),
        })
    }
}

impl Chosen {
    fn title(&self) -> String {
        let (count, file) = (self.machines.len(), self.file.display());
        format!("{count} build machines defined in '{file}'...\n")
    }
}

fn exit_code(fine: bool) -> ExitCode {
    match fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Those that `meant` matches, each once: a list may have a machine for each of its systems.
fn choose(machines: Vec<Machine>, meant: Option<&Regex>) -> Vec<Machine> {
    let mut chosen: Vec<Machine> = Vec::new();
    for machine in machines {
        let same =
            |other: &Machine| other.name == machine.name && other.uri.port() == machine.uri.port();
        let is_meant = meant.is_none_or(|meant| meant.is_match(&machine.name));
        if is_meant && !chosen.iter().any(same) {
            chosen.push(machine);
        }
    }
    chosen
}

/// What stock says of a machine that is tested. Where stock would end, the other machines are tested, too.
fn test_lines(report: &TestReport) -> String {
    let mut lines = String::new();
    let machine = &report.machine;
    for note in &report.warnings {
        let _ = writeln!(lines, "{PROGRAM}warning: {machine}: {note}");
    }
    for passed in &report.passed {
        let detail = &passed.detail;
        let _ = match passed.step {
            Step::Store => writeln!(
                lines,
                "{PROGRAM}Guix is usable on '{machine}' (test returned {detail:?})"
            ),
            Step::Guile => writeln!(lines, "{PROGRAM}'{machine}' is running GNU Guile {detail}"),
            Step::Import => writeln!(
                lines,
                "{PROGRAM}sending 1 store item (0 MiB) to '{machine}'...\n\
                 {PROGRAM}'{machine}' successfully imported '{detail}'"
            ),
            Step::Export => writeln!(
                lines,
                "retrieving 1 store item from '{machine}'...\n\
                 {PROGRAM}successfully imported '{detail}' from '{machine}'"
            ),
            _ => Ok(()),
        };
    }
    if let Some(trouble) = &report.trouble {
        let (step, reason, advice) = (trouble.step, &trouble.reason, &trouble.advice);
        let _ = writeln!(lines, "{PROGRAM}error: {machine}: {step}: {reason}");
        let _ = writeln!(lines, "hint: {advice}");
    }
    lines
}

/// What stock says of how a machine is doing: messages, and the block on standard output.
fn status_lines(report: &Status) -> (String, String) {
    let machine = &report.machine;
    let up = match &report.state {
        Ok(up) => up,
        Err(trouble) => {
            let (step, reason, advice) = (trouble.step, &trouble.reason, &trouble.advice);
            let message = format!("{PROGRAM}error: {machine}: {step}: {reason}\nhint: {advice}\n");
            return (message, String::new());
        }
    };
    let unknown = || "unknown".to_owned();
    let host =
        |what: fn(&offload::probe::Host) -> String| up.host.as_ref().map_or_else(unknown, what);
    let load = up.load.zip(up.cores);
    let load = load.map_or_else(unknown, |(load, cores)| {
        format!("{:.2}", load.averages[0] / f64::from(cores))
    });
    let block = format!(
        "{machine}\n  kernel: {}\n  architecture: {}\n  host name: {}\n  normalized load: {load}\n  \
         free disk space: {}\n  time difference: {}\n",
        host(|host| format!("{} {}", host.kernel, host.release)),
        host(|host| host.architecture.clone()),
        host(|host| host.name.clone()),
        up.disk.map_or_else(unknown, |disk| size(disk.free)),
        up.clock.map_or_else(unknown, |clock| format!("{clock} s")),
    );
    let message = match up.clock {
        Some(clock) if clock < 0 => {
            let behind = clock.unsigned_abs();
            format!("{PROGRAM}warning: machine '{machine}' is {behind} seconds behind\n")
        }
        _ => String::new(),
    };
    (message, block)
}

/// Rounded to the largest unit of which there is more than one, as stock does.
fn size(bytes: u64) -> String {
    let units = [
        (50, "PiB"),
        (40, "TiB"),
        (30, "GiB"),
        (20, "MiB"),
        (10, "KiB"),
    ];
    for (exponent, unit) in units {
        let one = 1_u64 << exponent;
        if bytes > one {
            let rounded = (bytes + one / 2) >> exponent;
            return format!("{rounded} {unit}");
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use offload::machines::read_builders;
    use offload::probe::{Disk, Host, Load, Passed, Trouble, Up};
    use offload::remote::Way;

    use super::*;

    fn trouble(step: Step) -> Trouble {
        Trouble {
            step,
            reason: "failed to do it".to_owned(),
            advice: "do it right".to_owned(),
        }
    }

    #[test]
    fn a_test_says_what_stock_says() {
        let passed = |step, detail: &str| Passed {
            step,
            detail: detail.to_owned(),
            took: Some(Duration::from_millis(3)),
        };
        let report = TestReport {
            machine: "farm1".to_owned(),
            passed: vec![
                passed(Step::Connection, "farm1 port 22"),
                passed(Step::Store, "/gnu/store/0000-test"),
                passed(Step::Guile, "3.0.11"),
                passed(Step::Import, "/gnu/store/0000-export-test"),
                passed(Step::Export, "/gnu/store/0000-import-test"),
            ],
            trouble: None,
            warnings: Vec::new(),
            reached: Some((Way::GuixSocket, Some(100))),
        };
        let bad = TestReport {
            passed: report.passed[..2].to_vec(),
            trouble: Some(trouble(Step::Import)),
            warnings: vec!["guix repl does not run there".to_owned()],
            ..report.clone()
        };
        insta::assert_snapshot!([report, bad].map(|report| test_lines(&report)).join("\n"));
    }

    #[test]
    fn a_status_says_what_stock_says() {
        let up = Up {
            way: Way::GuixSocket,
            daemon: "guix-daemon, protocol 0x164".to_owned(),
            protocol: Some(100),
            trusted: None,
            load: Some(Load {
                averages: [1.0, 0.5, 0.25],
            }),
            cores: Some(8),
            disk: Some(Disk {
                free: 400 << 30,
                total: 1 << 40,
            }),
            host: Some(Host {
                kernel: "Linux".to_owned(),
                release: "6.12.38".to_owned(),
                architecture: "x86_64".to_owned(),
                name: "farm1".to_owned(),
            }),
            clock: Some(-3),
        };
        let modest = Up {
            load: None,
            disk: None,
            host: None,
            clock: None,
            ..up.clone()
        };
        let states = [Ok(up), Ok(modest), Err(trouble(Step::Connection))];
        let texts = states.map(|state| {
            let (messages, block) = status_lines(&Status {
                machine: "farm1".to_owned(),
                state,
                slots: 4,
                used: Some(0),
                outage: None,
            });
            messages + &block
        });
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn sizes_are_rounded_as_stock_rounds_them() {
        let sizes = [
            0,
            1024,
            1025,
            1536,
            5 << 20,
            (1 << 30) + 1,
            400 << 30,
            3 << 50,
        ];
        let text = sizes.map(size).join(", ");
        assert_eq!(
            text,
            "0 bytes, 1024 bytes, 1 KiB, 2 KiB, 5 MiB, 1 GiB, 400 GiB, 3 PiB"
        );
    }

    #[test]
    fn a_machine_is_meant_by_a_part_of_its_name_and_once() {
        let list = "ssh://farm1; ssh://farm2; ssh://farm1; ssh://farm1:2200; ssh://other";
        let machines = || {
            let mut machines = read_builders(list, "x86_64-linux").machines;
            for machine in &mut machines {
                machine.name = machine.uri.host().to_owned();
            }
            machines
        };
        let chosen = |meant: Option<&str>| {
            let meant = meant.map(|meant| Regex::new(meant).unwrap());
            let chosen = choose(machines(), meant.as_ref()).into_iter();
            chosen
                .map(|m| m.uri.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            chosen(None),
            "ssh://farm1 ssh://farm2 ssh://farm1:2200 ssh://other"
        );
        assert_eq!(chosen(Some("rm[2-9]|oth")), "ssh://farm2 ssh://other");
        assert_eq!(chosen(Some("^arm")), "");
    }
}
