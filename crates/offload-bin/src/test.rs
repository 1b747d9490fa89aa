//! `offload test`: whether machines would do, step by step.

use std::fmt::Write;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use offload::machines::Machine;
use offload::probe::{Step, TestReport};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::print;
use crate::selection::{Selected, Selection};
use crate::together::ask_each;

/// Tests machines, step by step.
#[derive(Args)]
pub(crate) struct Test {
    #[command(flatten)]
    selection: Selection,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Test {
    /// # Errors
    /// When nothing could be tested.
    pub(crate) fn run(self) -> Result<ExitCode, String> {
        let Selected {
            machines,
            understood,
        } = self.selection.read()?;
        let context = Context::of_process(self.selection.is_guix())?;
        if !self.json {
            let (user, host) = (&context.user, &context.host);
            print(&format!(
                "as user {user} of {host}, as a hook does whose daemon runs as that user\n"
            ));
        }
        let reports = test_each(&machines, context, |report| {
            if !self.json {
                print(&format!("\n{}", text(report)));
            }
        })?;
        match self.json {
            true => print(&format!("{:#}\n", document(&reports))),
            false => print(&format!("\n{}", summary(&reports))),
        }
        let fine = reports.iter().all(|report| report.trouble.is_none());
        Ok(match fine && understood {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Tests all machines at a time; each report goes to `hear` as soon as those before it are there.
///
/// # Errors
/// When nothing could be tested.
pub(crate) fn test_each(
    machines: &[Machine],
    context: Context,
    mut hear: impl FnMut(&TestReport),
) -> Result<Vec<TestReport>, String> {
    let Context {
        probe,
        mut health,
        host,
        ..
    } = context;
    let content = content(&host);
    let probe = Rc::new(probe);
    let asked: Vec<_> = machines.iter().cloned().enumerate().collect();
    let mut reports = Vec::new();
    ask_each(
        asked,
        |(index, machine)| {
            // Two entries may lead to the same store.
            let (probe, content) = (probe.clone(), format!("{content}, {index}\n"));
            async move { probe.test(&machine, &content).await }
        },
        |report: TestReport| {
            hear(&report);
            reports.push(report);
        },
    )?;
    for (machine, report) in machines.iter().zip(&reports) {
        // Builds need not wait until an outage is forgotten.
        if let (Some((way, protocol)), None) = (report.reached, &report.trouble) {
            health.reached(machine, way, protocol);
        }
    }
    Ok(reports)
}

/// What goes into the path that is imported: something new each time.
fn content(host: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = since.unwrap_or_default().as_nanos();
    let process = std::process::id();
    format!("offload test from {host}, {nanoseconds}.{process}")
}

/// What came of one machine, for people.
fn text(report: &TestReport) -> String {
    let mut text = format!("{}\n", report.machine);
    for warning in &report.warnings {
        let _ = writeln!(text, "  note  {warning}");
    }
    for passed in &report.passed {
        let took = passed.took.map_or_else(String::new, took);
        let _ = writeln!(text, "  ok    {:<15} {}{took}", passed.step, passed.detail);
    }
    if let Some(trouble) = &report.trouble {
        let _ = writeln!(text, "  FAIL  {:<15} {}", trouble.step, trouble.reason);
        let _ = writeln!(text, "        {:<15} {}", "what to do", trouble.advice);
    }
    text
}

fn took(time: Duration) -> String {
    format!(" ({} ms)", time.as_millis())
}

fn summary(reports: &[TestReport]) -> String {
    let good = reports.iter().filter(|report| report.trouble.is_none());
    match (good.count(), reports.len()) {
        (_, 0) => "no machines\n".to_owned(),
        (good, all) => format!("{good} of {all} machines would do\n"),
    }
}

/// What came of all, for programs.
pub(crate) fn document(reports: &[TestReport]) -> Value {
    let reports = reports.iter().map(|report| {
        let passed = report.passed.iter().map(|passed| {
            json!({
                "step": passed.step.as_str(),
                "detail": passed.detail,
                "milliseconds": passed.took.map(|took| took.as_secs_f64() * 1000.0),
            })
        });
        let failed = report.trouble.as_ref().map(|trouble| {
            json!({ "step": trouble.step.as_str(), "reason": trouble.reason, "advice": trouble.advice })
        });
        let (way, protocol) = report.reached.unzip();
        json!({
            "machine": report.machine,
            "ok": report.trouble.is_none(),
            "passed": passed.collect::<Vec<_>>(),
            "failed": failed,
            "way": way,
            "protocol": protocol.flatten(),
            "notes": report.warnings,
            "imported": report.passed.iter().find(|passed| passed.step == Step::Import).map(|passed| &passed.detail),
        })
    });
    json!({ "machines": reports.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use offload::probe::{Passed, Trouble};
    use offload::remote::Way;

    use super::*;

    fn reports() -> [TestReport; 2] {
        let passed = |step, detail: &str, took| Passed {
            step,
            detail: detail.to_owned(),
            took: Option::map(took, Duration::from_millis),
        };
        let good = TestReport {
            machine: "ssh-ng://root@farm1".to_owned(),
            passed: vec![
                passed(
                    Step::Configuration,
                    "ssh-ng://root@farm1 from /etc/nix/machines:1",
                    None,
                ),
                passed(Step::Name, "farm1 is 192.0.2.1", Some(2)),
                passed(
                    Step::Daemon,
                    "nix 2.8.0, protocol 1.34, by socket /nix/var/nix/daemon-socket/socket",
                    Some(45),
                ),
                passed(
                    Step::Import,
                    "/nix/store/00000000000000000000000000000000-offload-test",
                    Some(3),
                ),
            ],
            trouble: None,
            warnings: vec!["/root/.ssh/config:3: ForwardX11 is not honoured".to_owned()],
            reached: Some((Way::Socket, Some(34))),
        };
        let bad = TestReport {
            machine: "farm2".to_owned(),
            passed: good.passed[..2].to_vec(),
            trouble: Some(Trouble {
                step: Step::Connection,
                reason: "failed to connect to farm2 port 22: connection refused".to_owned(),
                advice: "see that farm2 is up".to_owned(),
            }),
            warnings: Vec::new(),
            reached: None,
        };
        [good, bad]
    }

    #[test]
    fn for_people() {
        let reports = reports();
        let texts: Vec<_> = reports.iter().map(text).collect();
        let texts = texts.join("\n") + "\n" + &summary(&reports) + &summary(&[]);
        insta::assert_snapshot!(texts);
    }

    #[test]
    fn for_programs() {
        insta::assert_snapshot!(format!("{:#}", document(&reports())));
    }
}
