//! Starts a pair and keeps it until its standard input ends, for looking around in it by hand:
//! `cargo run -p testbed --example pair [-- HOOK [ROOT]]`, where `HOOK` is a program that the coordinator finds as
//! `/opt/offload` and uses as its build hook, and `ROOT` a distribution's root folder for both hosts.

use std::io::Read;

use testbed::{Distribution, HostOptions, Mount, Pair, PairOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let mut coordinator = HostOptions {
        nix_conf: vec![
            "max-jobs = 0".into(),
            "builders = @/etc/nix/machines".into(),
        ],
        ..HostOptions::default()
    };
    let mut builder = HostOptions::default();
    if let Some(hook) = arguments.next() {
        coordinator
            .mounts
            .push(Mount::new(std::fs::canonicalize(hook)?, "/opt/offload"));
        coordinator
            .nix_conf
            .push("build-hook = /opt/offload".into());
    }
    if let Some(root) = arguments.next() {
        coordinator.distribution = Distribution::at(root);
        builder.distribution = coordinator.distribution.clone();
    }
    let pair = Pair::start(PairOptions {
        coordinator,
        builder,
        ..PairOptions::default()
    })?;
    let machines = format!("{}\n", pair.machine_line());
    pair.coordinator
        .write_file("/etc/nix/machines", &machines)?;
    print!("/etc/nix/machines: {machines}");
    for host in [&pair.coordinator, &pair.builder] {
        let init = host.processes()?.first().map_or(0, |process| process.pid);
        println!(
            "{}: nsenter --target={init} --all --root --wd bash   files: {}",
            host.name(),
            host.root().display()
        );
    }
    println!("ends with its standard input (^D)");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
