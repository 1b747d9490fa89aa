//! `offload status`: how machines stand.

use std::fmt::Write;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Args;
use offload::health;
use offload::machines::Machine;
use offload::probe::{Knowing, Status as Report, Up};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::print;
use crate::selection::{Selected, Selection};
use crate::together::{ask_each, wait_for};

/// Prints how machines stand.
#[derive(Args)]
pub(crate) struct Status {
    #[command(flatten)]
    selection: Selection,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    /// # Errors
    /// When nobody could be asked.
    pub(crate) fn run(self) -> Result<ExitCode, String> {
        let Selected {
            machines,
            understood,
        } = self.selection.read()?;
        let context = Context::of_process(self.selection.is_guix())?;
        let now = health::now();
        let reports = ask_status(&machines, context, |report| {
            if !self.json {
                print(&text(report, now));
            }
        })?;
        if self.json {
            print(&format!("{:#}\n", document(&reports)));
        } else if reports.is_empty() {
            print("no machines\n");
        }
        let fine = reports.iter().all(|report| report.state.is_ok());
        Ok(match fine && understood {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Asks all machines at a time how they stand; each answer goes to `hear` as soon as those before it are there.
///
/// # Errors
/// When nobody could be asked.
pub(crate) fn ask_status(
    machines: &[Machine],
    context: Context,
    mut hear: impl FnMut(&Report),
) -> Result<Vec<Report>, String> {
    let Context {
        probe,
        mut health,
        slots,
        ..
    } = context;
    let knowing = wait_for(Knowing::of(machines, &slots, &mut health))?;
    let asked = machines
        .iter()
        .cloned()
        .zip(knowing.known)
        .zip(knowing.used);
    let probe = Rc::new(probe);
    let mut reports = Vec::new();
    ask_each(
        asked,
        |((machine, known), used)| {
            let probe = probe.clone();
            async move { probe.status(&machine, &known, used).await }
        },
        |report: Report| {
            hear(&report);
            reports.push(report);
        },
    )?;
    for (machine, report) in machines.iter().zip(&reports) {
        // Builds need not wait until an outage is forgotten.
        if let Ok(up) = &report.state {
            health.reached(machine, up.way, up.protocol);
        }
    }
    Ok(reports)
}

/// How a machine stands at `now`, in seconds since 1970, for people.
fn text(report: &Report, now: u64) -> String {
    let mut text = format!("{}\n", report.machine);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<11} {value}");
    };
    match &report.state {
        Ok(up) => describe(up, &mut row),
        Err(trouble) => {
            row(
                "unreachable",
                format!("{}: {}", trouble.step, trouble.reason),
            );
            row("what to do", trouble.advice.clone());
        }
    }
    let used = report.used.map_or_else(unknown, |used| used.to_string());
    row(
        "slots",
        format!("{used} of {} in use by this host", report.slots),
    );
    if let Some(outage) = &report.outage {
        let ago = now.saturating_sub(outage.last);
        let times = outage.failures;
        let pause = match outage.lasts(now) {
            true => format!(
                ", left alone for {} s more",
                outage.over_at().saturating_sub(now)
            ),
            false => String::new(),
        };
        let reason = &outage.reason;
        row(
            "outage",
            format!("failed {times} times, last {ago} s ago{pause}: {reason}"),
        );
    }
    text.push('\n');
    text
}

fn describe(up: &Up, row: &mut impl FnMut(&str, String)) {
    row("reachable", format!("by {}", up.way));
    row("daemon", up.daemon.clone());
    let trust = match up.trusted {
        Some(true) => "trusts the user".to_owned(),
        Some(false) => "does not trust the user".to_owned(),
        None => "not told".to_owned(),
    };
    row("trust", trust);
    let load = up.load.map_or_else(unknown, |load| {
        let [one, five, fifteen] = load.averages;
        format!("{one:.2} {five:.2} {fifteen:.2} (1, 5, 15 minutes)")
    });
    row("load", load);
    row(
        "cores",
        up.cores.map_or_else(unknown, |cores| cores.to_string()),
    );
    let disk = up.disk.map_or_else(unknown, |disk| {
        format!("{} free of {}", size(disk.free), size(disk.total))
    });
    row("disk", disk);
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Bytes in a unit that leaves three or four digits.
fn size(bytes: u64) -> String {
    let mebibytes = bytes >> 20;
    match mebibytes {
        0..10_240 => format!("{mebibytes} MiB"),
        10_240..10_485_760 => format!("{} GiB", mebibytes >> 10),
        _ => format!("{} TiB", mebibytes >> 20),
    }
}

/// How all stand, for programs.
pub(crate) fn document(reports: &[Report]) -> Value {
    let reports = reports.iter().map(|report| {
        let up = report.state.as_ref().ok();
        let trouble = report.state.as_ref().err().map(|trouble| {
            json!({ "step": trouble.step.as_str(), "reason": trouble.reason, "advice": trouble.advice })
        });
        let outage = report.outage.as_ref().map(|outage| {
            json!({
                "failures": outage.failures,
                "last": outage.last,
                "over-at": outage.over_at(),
                "reason": outage.reason,
            })
        });
        let disk = up.and_then(|up| up.disk);
        json!({
            "machine": report.machine,
            "reachable": up.is_some(),
            "trouble": trouble,
            "way": up.map(|up| up.way),
            "daemon": up.map(|up| &up.daemon),
            "protocol": up.and_then(|up| up.protocol),
            "trusted": up.and_then(|up| up.trusted),
            "load": up.and_then(|up| up.load).map(|load| load.averages),
            "host": up.and_then(|up| up.host.as_ref()).map(|host| json!({
                "kernel": host.kernel,
                "release": host.release,
                "architecture": host.architecture,
                "name": host.name,
            })),
            "clock": up.and_then(|up| up.clock),
            "cores": up.and_then(|up| up.cores),
            "disk": disk.map(|disk| json!({ "free": disk.free, "total": disk.total })),
            "slots": { "used": report.used, "total": report.slots },
            "outage": outage,
        })
    });
    json!({ "machines": reports.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use offload::health::Outage;
    use offload::probe::{Disk, Host, Load, Step, Trouble};
    use offload::remote::Way;

    use super::*;

    fn reports() -> [Report; 3] {
        let up = Up {
            way: Way::Socket,
            daemon: "nix 2.8.0, protocol 1.34".to_owned(),
            protocol: Some(34),
            trusted: Some(true),
            load: Some(Load {
                averages: [0.5, 1.25, 16.0],
            }),
            cores: Some(16),
            disk: Some(Disk {
                free: 400 << 30,
                total: 20 << 40,
            }),
            host: Some(Host {
                kernel: "Linux".to_owned(),
                release: "6.12.38".to_owned(),
                architecture: "x86_64".to_owned(),
                name: "farm1".to_owned(),
            }),
            clock: Some(1),
        };
        let modest = Up {
            way: Way::Serve,
            daemon: "serve protocol 2.7".to_owned(),
            protocol: None,
            trusted: None,
            load: None,
            cores: None,
            disk: None,
            host: None,
            clock: None,
        };
        let report = |machine: &str, state, used, outage| Report {
            machine: machine.to_owned(),
            state,
            slots: 8,
            used,
            outage,
        };
        let outage = |failures| Outage {
            failures,
            last: 1000,
            reason: "no answer".to_owned(),
        };
        let trouble = Trouble {
            step: Step::Connection,
            reason: "failed to connect to farm3 port 22: connection refused".to_owned(),
            advice: "see that farm3 is up".to_owned(),
        };
        [
            report("ssh-ng://root@farm1", Ok(up), Some(3), None),
            report("farm2", Ok(modest), None, Some(outage(1))),
            report("farm3", Err(trouble), Some(0), Some(outage(2))),
        ]
    }

    #[test]
    fn for_people() {
        let texts = reports().map(|report| text(&report, 1070));
        insta::assert_snapshot!(texts.concat());
    }

    #[test]
    fn for_programs() {
        insta::assert_snapshot!(format!("{:#}", document(&reports())));
    }

    #[test]
    fn sizes() {
        let sizes = [0, 5 << 20, 10 << 30, 9 << 40, 10 << 40];
        assert_eq!(
            sizes.map(size).join(", "),
            "0 MiB, 5 MiB, 10 GiB, 9216 GiB, 10 TiB"
        );
    }
}
