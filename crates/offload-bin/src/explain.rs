//! `offload explain`: which machine a build would get, and why not the others.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use offload::health;
use offload::machines::host_system;
use offload::probe::{Demanded, Explanation, Knowing, explain};
use offload::schedule::{Demand, Order};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::print;
use crate::selection::{Selected, Selection};
use crate::together::wait_for;

/// Prints which machine a build would get at this moment.
#[derive(Args)]
pub(crate) struct Explain {
    #[command(flatten)]
    selection: Selection,
    /// The system that the build is for, `x86_64-linux` for example. By default this host's.
    #[arg(long, value_name = "SYSTEM")]
    system: Option<String>,
    /// The features that the build requires (`requiredSystemFeatures`), separated by commas.
    #[arg(long, value_name = "FEATURES", value_delimiter = ',')]
    features: Vec<String>,
    /// The derivation that is to be built, a .drv file: it says which system and features.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["system", "features"])]
    derivation: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Explain {
    /// # Errors
    /// When the machines are not known.
    pub(crate) fn run(self) -> Result<ExitCode, String> {
        let Selected {
            machines,
            understood,
        } = self.selection.read()?;
        let mut context = Context::of_process(self.selection.is_guix())?;
        let knowing = wait_for(Knowing::of(&machines, &context.slots, &mut context.health))?;
        let system = || host_system(std::env::consts::ARCH, std::env::consts::OS);
        let Demanded { demand, notes } = match self.derivation {
            Some(file) => {
                Demanded::by(&file, &context.probe.store_dir).map_err(|e| e.to_string())?
            }
            None => Demanded {
                demand: Demand {
                    system: self.system.unwrap_or_else(system),
                    required_features: self.features,
                },
                notes: Vec::new(),
            },
        };
        let order = match self.selection.is_guix() {
            true => Order::Speed { ties: &[] },
            false => Order::Load,
        };
        let explanation = explain(&machines, &knowing, &demand, order, health::now());
        match self.json {
            true => print(&format!("{:#}\n", document(&explanation, &demand, &notes))),
            false => print(&text(&explanation, &demand, &notes)),
        }
        Ok(match !explanation.candidates.is_empty() && understood {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// For people.
fn text(explanation: &Explanation, demand: &Demand, notes: &[&str]) -> String {
    let mut text = format!("a build for {}", demand.system);
    if !demand.required_features.is_empty() {
        let _ = write!(text, " with {}", demand.required_features.join(", "));
    }
    match explanation.candidates.first() {
        Some((best, _)) => {
            let _ = writeln!(text, " goes to {best}");
        }
        None if explanation.may_become_possible => text += " has to wait\n",
        None => text += " goes nowhere\n",
    }
    for (index, (machine, why)) in explanation.candidates.iter().enumerate() {
        let _ = writeln!(text, "  {}. {machine}: {why}", index + 1);
    }
    for (machine, why) in &explanation.rejected {
        let _ = writeln!(text, "  no {machine} {why}");
    }
    for note in notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

/// For programs.
fn document(explanation: &Explanation, demand: &Demand, notes: &[&str]) -> Value {
    let list = |pairs: &[(String, String)]| -> Vec<_> {
        let pairs = pairs.iter();
        pairs
            .map(|(machine, why)| json!({ "machine": machine, "reason": why }))
            .collect()
    };
    json!({
        "system": demand.system,
        "required-features": demand.required_features,
        "notes": notes,
        "candidates": list(&explanation.candidates),
        "rejected": list(&explanation.rejected),
        "may-become-possible": explanation.may_become_possible,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people_and_programs() {
        let pair = |machine: &str, why: &str| (machine.to_owned(), why.to_owned());
        let mut explanation = Explanation {
            candidates: vec![
                pair("farm1", "load 1 of 8, speed 2"),
                pair("farm2", "load 1 of 8, speed 1"),
            ],
            rejected: vec![pair("farm3", "lacks feature kvm")],
            may_become_possible: false,
        };
        let demand = Demand {
            system: "x86_64-linux".to_owned(),
            required_features: vec!["kvm".to_owned(), "big-parallel".to_owned()],
        };
        let mut texts = vec![
            text(&explanation, &demand, &["it is impure"]),
            format!("{:#}\n", document(&explanation, &demand, &["it is impure"])),
        ];
        explanation.candidates.clear();
        texts.push(text(&explanation, &demand, &[]));
        explanation.may_become_possible = true;
        texts.push(text(&explanation, &demand, &[]));
        insta::assert_snapshot!(texts.join("\n"));
    }
}
