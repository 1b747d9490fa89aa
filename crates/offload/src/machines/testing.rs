//! The oracles of the fuzz targets: they panic where something does not hold that has to.

use super::{Format, Machine, MachineList, convert, read_builders};

/// Any text as Nix's lines, which files follow only in the test's own reading: texts that name files
/// are left out.
pub fn machines_nix(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if !text.contains('@') {
        check(&read_builders(text, "x86_64-linux"), text);
    } else {
        // The user's name in a URI has an @, too, but not in front.
        let entries: Vec<_> = text.split(['\n', ';']).map(str::trim).collect();
        let kept = entries.into_iter().filter(|entry| !entry.starts_with('@'));
        let text = kept.collect::<Vec<_>>().join("\n");
        check(&read_builders(&text, "x86_64-linux"), &text);
    }
}

/// Any text as TOML.
pub fn machines_toml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // What begins like this is TOML whatever follows.
    let text = format!("version=1\n{text}");
    check(&read_builders(&text, "x86_64-linux"), &text);
}

/// Every line of a problem exists, and what was understood can be said in every format.
fn check(list: &MachineList, text: &str) {
    let lines = text.split('\n').count();
    for problem in &list.problems {
        let line = problem.origin.line;
        assert!((1..=lines).contains(&line), "{problem} of {lines} lines");
    }
    for format in [Format::Nix, Format::Toml, Format::Lix] {
        let converted = convert(&list.machines, format);
        let again = read_builders(&converted.text, "x86_64-linux");
        assert_eq!(again.problems, [], "{}", converted.text);
        assert_eq!(again.machines.len(), list.machines.len());
        for (was, is) in list.machines.iter().zip(&again.machines) {
            let is_lost = |lost: &super::Unsayable| lost.machine == was.name;
            if !converted.unsayable.iter().any(is_lost) {
                assert_eq!(comparable(was), comparable(is), "{}", converted.text);
            }
        }
    }
}

/// The machine without what a format may spell its own way.
fn comparable(machine: &Machine) -> impl PartialEq + std::fmt::Debug + use<> {
    let uri = &machine.uri;
    let reached = (
        uri.scheme(),
        uri.user().map(str::to_owned),
        uri.host().to_owned(),
        uri.port(),
    );
    let offered = (
        machine.systems.clone(),
        machine.max_jobs,
        machine.speed_factor.to_bits(),
        machine.supported_features.clone(),
        machine.mandatory_features.clone(),
    );
    let asked = (
        machine.ssh_key.clone(),
        machine.host_key.clone(),
        machine.compression.clone(),
        machine.daemon_socket.clone(),
        machine.remote_program.clone(),
        machine.remote_store.clone(),
        machine.max_connections,
        machine.overload_threshold.map(f64::to_bits),
    );
    (reached, offered, asked)
}
