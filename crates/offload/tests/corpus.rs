//! Every input that fuzzing kept, through the same oracles.

#[path = "../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

use offload::hook::testing as hook;
use offload::link::testing;
use offload::machines::scheme::testing::machine_file;
use offload::machines::testing::{machines_nix, machines_toml};

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
