//! The real Guix sees the same machines.

use std::path::PathBuf;

use offload::machines::scheme::{GuixRepl, Reading, SchemeProblem, Surroundings, read_scheme};
use offload::machines::{Machine, MachineList, ProblemKind};
use testbed::CopyOfRoot;

use crate::{INSIDE, folder, names, read, show_list};

const VERSIONS: [&str; 2] = ["1.2.0", "1.5.0"];

fn recording(name: &str, version: &str) -> PathBuf {
    folder().join(format!("{name}.{version}"))
}

/// Text that Guix printed, read. Its own complaints are recorded as `;; ..`.
fn read_printed(printed: &str) -> Option<MachineList> {
    if printed.starts_with(";;") {
        return None;
    }
    let nothing = Surroundings {
        variable: &|_| None,
        read: &|path| panic!("{} is asked for", path.display()),
    };
    match read_scheme(printed, "printed", nothing) {
        Reading::Machines(list) => Some(list),
        Reading::NotStatic(form) => panic!("{form} in\n{printed}"),
    }
}

/// Defaults are spelled out by Guix, and left to whoever uses the machine by us. Guix 1.2.0 has another threshold, and does
/// not know where a machine stood.
fn spelled_out(mut machine: Machine, version: &str) -> Machine {
    machine.ssh_key.get_or_insert("/root/.ssh/id_rsa".into());
    let socket = "/var/guix/daemon-socket/socket";
    machine.daemon_socket.get_or_insert(socket.into());
    if version == "1.2.0" {
        machine.overload_threshold = machine
            .overload_threshold
            .map(|load| if load == 0.8 { 0.6 } else { load });
        machine.origin.source.clear();
        machine.origin.line = 1;
        machine.origin.column = None;
    }
    machine
}

/// Compares what was read with what Guix printed, which is nothing where it complained.
fn compare(name: &str, version: &str, printed: &str) {
    let theirs = read_printed(printed);
    let list = match (read(name), &theirs) {
        // Whatever it is, Guix is asked.
        (Reading::NotStatic(_), _) => return,
        (Reading::Machines(list), Some(_)) => list,
        (Reading::Machines(list), None) => {
            assert!(
                !list.problems.is_empty(),
                "{name}: Guix {version} says {printed}"
            );
            return;
        }
    };
    let theirs = theirs.expect("it did not complain");
    let machines = |list: &MachineList| -> Vec<Machine> {
        let machines = list.machines.iter().cloned();
        machines
            .map(|machine| spelled_out(machine, version))
            .collect()
    };
    assert_eq!(
        machines(&list),
        machines(&theirs),
        "{name}: Guix {version} prints\n{printed}"
    );
    let kinds = |list: &MachineList| -> Vec<ProblemKind> {
        list.problems
            .iter()
            .map(|problem| problem.kind.clone())
            .collect()
    };
    assert_eq!(kinds(&list), kinds(&theirs), "{name}: {}", show_list(&list));
}

#[test]
fn recorded_evaluations_have_the_same_machines() {
    for name in names() {
        for version in VERSIONS {
            let file = recording(&name, version);
            let printed = std::fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("failed to read {}: {error}", file.display()));
            compare(&name, version, &printed);
        }
    }
}

/// What every file that has to be evaluated comes to.
#[test]
fn evaluations_of_what_is_not_static() {
    let mut shown = String::new();
    for name in names() {
        if let Reading::NotStatic(form) = read(&name) {
            let printed = std::fs::read_to_string(recording(&name, "1.5.0")).expect("recorded");
            shown += &format!("{form}\n");
            shown += &read_printed(&printed).map_or(printed, |list| show_list(&list));
        }
    }
    insta::assert_snapshot!(shown.replace(&format!("{INSIDE}/"), ""));
}

#[tokio::test]
async fn evaluations_by_the_real_guix() {
    let test = "machine files as guix repl evaluates them";
    let roots = match testbed::roots_with("usr/bin/guix") {
        Ok(Some(roots)) => roots,
        Ok(None) => {
            eprintln!(
                "not asked for: {test}, as {} is not set",
                testbed::ROOTS_VARIABLE
            );
            return;
        }
        Err(missing) => {
            testbed::runs_here(test, Err(missing));
            return;
        }
    };
    for root in roots {
        let copy = CopyOfRoot::new(root, &[INSIDE]).expect("folders can be made");
        let kept = copy.kept(INSIDE);
        for name in ["key.pub".to_owned(), "is-running".to_owned()]
            .into_iter()
            .chain(names().into_iter().map(|name| name + ".scm"))
        {
            std::fs::copy(folder().join(&name), kept.join(&name)).expect("copied");
        }
        let guix = GuixRepl::new(copy.program("guix").expect("it can be written"));
        let version = version(&copy);
        for name in names() {
            let file = format!("{INSIDE}/{name}.scm");
            let printed = match guix.run(file.as_ref()).await {
                Ok(text) => text,
                Err(SchemeProblem::Guix { reason, .. }) => format!(";; {}\n", last_line(&reason)),
                Err(problem) => panic!("{file}: {problem}"),
            };
            if std::env::var_os("OFFLOAD_RECORD").is_some() {
                std::fs::write(recording(&name, &version), &printed).expect("it can be written");
            }
            compare(&name, &version, &printed);
        }
        eprintln!("{} machine files with guix {version}", names().len());
    }
}

fn last_line(text: &str) -> &str {
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("exit status: 1: ")
}

fn version(copy: &CopyOfRoot) -> String {
    let output = copy
        .command("guix")
        .arg("--version")
        .output()
        .expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().next().expect("a line");
    line.rsplit(' ').next().expect("a word").to_owned()
}
