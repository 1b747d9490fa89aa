//! Every input that fuzzing kept, through the same oracles.

use std::path::Path;

use offload::hook::testing as hook;
use offload::link::testing;
use offload::machines::scheme::testing::machine_file;
use offload::machines::testing::{machines_nix, machines_toml};

fn replay(target: &str, oracle: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in folder
        .read_dir()
        .unwrap_or_else(|error| panic!("failed to list {}: {error}", folder.display()))
    {
        let path = entry.expect("an entry").path();
        oracle(
            &std::fs::read(&path)
                .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display())),
        );
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn guix_hook() {
    replay("guix_hook", hook::guix_conversation);
}

#[test]
fn nix_hook() {
    replay("nix_hook", hook::nix_conversation);
}

#[test]
fn ssh_config() {
    replay("ssh_config", testing::ssh_config);
}

#[test]
fn known_hosts() {
    replay("known_hosts", testing::known_hosts);
}

#[test]
fn the_lines_of_machine_lists() {
    replay("machines_nix", machines_nix);
}

#[test]
fn the_tables_of_machine_lists() {
    replay("machines_toml", machines_toml);
}

#[test]
fn the_programs_of_machine_lists() {
    replay("machines_scheme", machine_file);
}
