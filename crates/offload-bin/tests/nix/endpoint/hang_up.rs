//! Real clients that are killed while something of theirs waits: it is given up at once.

use std::{
    fs::File,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use testbed::{MachineLine, Signal};

use super::{known, line, service::Service, stock};
use crate::bed::{Bed, bed, derivation, ours};

/// How long it may take until nothing of a killed client is left, on a loaded machine. The service would wait for ten
/// minutes, the queue for ever.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Lets a build go on that waits for this file, also where its test has failed.
struct Go(PathBuf);

impl Go {
    fn now(&self) {
        File::create(&self.0).expect("it can be written");
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        // The builder itself may be gone by now.
        let _ = File::create(&self.0);
    }
}

fn wait_for(bed: &Bed, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < GONE_WITHIN,
            "{what}: {:#?}",
            processes(bed, &[])
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// How many processes of the coordinator have all of `words` in their command lines.
fn count(bed: &Bed, words: &[&str]) -> usize {
    processes(bed, words).len()
}

fn processes(bed: &Bed, words: &[&str]) -> Vec<testbed::Process> {
    let processes = bed.pair.coordinator.processes();
    let mut processes = processes.expect("processes can be listed");
    processes.retain(|process| words.iter().all(|word| process.command_line.contains(word)));
    processes
}

/// Starts a command on the coordinator that runs until it is killed.
fn start(bed: &Bed, command: &str) {
    bed.run(&[
        "sh",
        "-c",
        &format!("{command} </dev/null >/dev/null 2>&1 &"),
    ]);
}

fn kill(bed: &Bed, words: &[&str]) {
    let processes = processes(bed, words);
    assert_eq!(processes.len(), 1, "{processes:#?}");
    processes[0].signal(Signal::KILL).expect("root may");
}

/// This host's daemon waits for a lock before it takes any of the archive, which is more than all sockets hold.
#[test]
fn while_an_upload_waits() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    let root = "/tmp/endpoint-killed-store";
    let fill = format!(
        "head -c 32M /dev/urandom >/root/endpoint-killed; exec nix-store --store {root} --add /root/endpoint-killed"
    );
    let path = bed.run(&["sh", "-c", &fill]);
    let lock = File::create(bed.pair.coordinator.outside(format!("{path}.lock")));
    let lock = lock.expect("the store can be written");
    lock.lock().expect("nobody has it");
    let service = Service::start(&bed, "killed", "", "");
    let workers = || count(&bed, &["nix-daemon"]);
    let before = workers();
    let client = ["nix", "copy", &path];
    let nix = "nix --extra-experimental-features nix-command";
    start(
        &bed,
        &format!(
            "{nix} copy --no-check-sigs --from {root} --to {} {path}",
            service.url()
        ),
    );
    wait_for(&bed, "the upload does not begin", || workers() > before);
    // Until nothing more fits in.
    thread::sleep(Duration::from_secs(1));
    kill(&bed, &client);
    wait_for(&bed, "the upload goes on", || workers() == before);
    let said = service.said();
    assert!(said.contains("client hung up"), "{said}");
    drop(service);
    drop(lock);
    bed.assert_clean();
}

/// The one slot is taken, and a client is in the queue for it. Its place is free for the next one.
#[test]
fn while_it_waits_for_a_slot() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    bed.use_machines(&[MachineLine {
        max_jobs: "1".into(),
        ..bed.pair.machine_line()
    }
    .to_string()]);
    let line = line();
    let endpoints = || count(&bed, &["/opt/offload --stdio"]);
    let nix_build = |name: &str, script: &str| {
        let expression = derivation(name, script, "");
        let file = format!("/root/{name}.nix");
        bed.pair
            .coordinator
            .write_file(&file, expression)
            .expect("the file is written");
        let options = stock(&line).map(|word| format!("'{word}'")).join(" ");
        format!("nix-build --no-out-link {file} {options}")
    };
    let go = Go(bed.pair.builder.outside("/tmp/endpoint-go"));
    let wait = "while ! [ -e /tmp/endpoint-go ]; do sleep 0.05; done; echo > $out";
    start(&bed, &nix_build("endpoint-holds", wait));
    wait_for(&bed, "the first one is not built", || endpoints() == 1);
    // One who was killed leaves a file, and no lock on it.
    let tickets = || -> usize {
        let queues = "/nix/var/nix/offload/queues";
        let found = std::fs::read_dir(bed.pair.coordinator.outside(queues));
        let names = found.into_iter().flatten().filter_map(Result::ok);
        let queues = names.map(|queue| format!("{queues}/{}", queue.file_name().display()));
        let held = queues.map(|queue| {
            bed.pair
                .coordinator
                .held_locks(queue)
                .expect("locks can be tried")
        });
        held.map(|held| held.len()).sum()
    };
    // Stock's hook holds one of the endpoint's, too.
    wait_for(&bed, "the first one has no slot", || {
        let held = bed.pair.coordinator.held_locks("/nix/var/nix/current-load");
        let held = held.expect("locks can be tried");
        let is_machines = |path: &PathBuf| path.display().to_string().contains("root@127.0.0.1");
        held.iter().any(is_machines) && tickets() == 0
    });
    start(&bed, &nix_build("endpoint-queues", "echo > $out"));
    wait_for(&bed, "the second one does not wait", || tickets() == 1);
    kill(&bed, &["nix-build", "endpoint-queues.nix"]);
    wait_for(&bed, "the second one goes on", || {
        tickets() == 0 && endpoints() == 1
    });
    // The place behind the one who left is as good as any.
    let third = nix_build("endpoint-next", "echo > $out");
    let next = thread::scope(|scope| {
        let next = scope.spawn(|| bed.pair.coordinator.exec(&["sh", "-c", &third]));
        wait_for(&bed, "the third one does not wait", || tickets() == 1);
        go.now();
        next.join().expect("it ends").expect("it ends")
    });
    assert!(next.status.success(), "{}", next.stderr);
    bed.assert_clean();
}
