//! Builds whose floating outputs turn out to be the same path: whoever brings it in first has its lock, as with Nix's
//! own importers. Not so stock's hook: it locks nothing, and two of those fail.

use std::{
    fs::{self, File},
    io::Write,
    thread,
    time::{Duration, Instant},
};

use store_path::{Hash, StoreDir};
use worker_protocol::{Log, NarHash, PathInfo, ValidPathInfo, operation::AddToStoreNar};

use crate::{
    bed::{Bed, derivation, ours},
    endpoint::client::Client,
    floating::{FLOATING, bed_with_feature, known},
    registration::{Realisation, Registration},
};

/// How long a build may take to get to its output.
const LIMIT: Duration = Duration::from_secs(60);

/// How often two hooks bring in the same path at the same time.
const ROUNDS: u32 = 3;

/// A derivation that is not the one of another `who`, but makes the same; it is done when all of `everybody` are.
fn same(round: &str, who: &str, everybody: &[&str]) -> String {
    let stamps = everybody
        .iter()
        .map(|who| format!("/tmp/same/{round}-{who}"));
    let stamps = stamps.collect::<Vec<_>>().join(" ");
    let script = format!(
        ": >/tmp/same/{round}-{who}; for stamp in {stamps}; do while ! [ -e $stamp ]; do sleep 0.02; done; done; \
         mkdir $out; for i in $(seq 200); do echo {round} $i >$out/$i; done; echo $out >$out/self"
    );
    derivation("same", &script, FLOATING)
}

/// Whether the hook has told the collector to keep `path`, which it does before it takes the lock; and has had time
/// enough since then to go on, if it waits for nobody.
fn is_waiting_for(bed: &Bed, path: &str) -> bool {
    let is_rooted = is_rooted(bed, path);
    if is_rooted {
        thread::sleep(Duration::from_millis(500));
    }
    is_rooted
}

fn is_rooted(bed: &Bed, path: &str) -> bool {
    let folder = bed.pair.coordinator.outside("/nix/var/nix/temproots");
    let files = fs::read_dir(folder).expect("the daemon has made it");
    // The daemon's have other names, and its clients' processes have ended or add other roots.
    let names = bed.hook().map(|hook| hook.pid_inside.to_string());
    let mut files = files.filter_map(Result::ok);
    let file = files.find(|file| file.file_name().to_str() == names.as_deref());
    let text = file.and_then(|file| fs::read_to_string(file.path()).ok());
    text.is_some_and(|text| text.split('\0').any(|root| root == path))
}

fn wait_for(bed: &Bed, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < LIMIT, "{}", bed.logs());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whoever_else_brings_it_in_is_waited_for() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let expression = derivation("locked", "echo locked >$out", FLOATING);
    let path = bed.built(&expression).remove(0);
    bed.run(&["nix-store", "--delete", &path]);
    let lock_path = bed.pair.coordinator.outside(format!("{path}.lock"));
    let mut lock = File::create(&lock_path).expect("the store can be written");
    lock.lock().expect("nobody has it");
    let output = thread::scope(|scope| {
        let build = scope.spawn(|| bed.build(&expression, &[]));
        wait_for(&bed, || is_waiting_for(&bed, &path) || build.is_finished());
        assert!(!bed.pair.coordinator.outside(&path).exists());
        // As stock gives it up.
        fs::remove_file(&lock_path).expect("it is there");
        lock.write_all(b"d").expect("it is open");
        drop(lock);
        build.join().expect("the build ends")
    });
    assert!(output.status.success(), "{}", output.stderr);
    let words = format!("waiting for the lock on {path}");
    assert!(output.stderr.contains(&words), "{}", output.stderr);
    assert!(!lock_path.exists());
    assert!(!is_rooted(&bed, &path));
    bed.assert_clean();
}

#[test]
fn two_hooks_bring_in_the_same_path() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let create = ["install", "-d", "-m", "777", "/tmp/same"];
    bed.pair.builder.run(&create).expect("the folder is made");
    for round in 0..ROUNDS {
        let round = round.to_string();
        let client = |who: &str| {
            let output = bed.build(&same(&round, who, &["a", "b"]), &[]);
            assert!(output.status.success(), "{who}: {}", output.stderr);
            output.stdout
        };
        let [one, other] = thread::scope(|scope| {
            let other = scope.spawn(|| client("b"));
            [client("a"), other.join().expect("the build ends")]
        });
        assert_eq!(one, other);
        let path = one.trim_end();
        let row = Registration::read(&bed.pair.coordinator, path).expect("it is valid");
        assert!(row.content_address.is_some(), "{row:?}");
        let realisations = Realisation::of(&bed.pair.coordinator, path);
        assert_eq!(realisations.len(), 2, "{realisations:?}");
        assert!(
            !bed.pair
                .coordinator
                .outside(format!("{path}.lock"))
                .exists()
        );
    }
    bed.assert_clean();
}

/// What the coordinator's daemon is sent when it gets `path` from another client, who is trusted.
fn addition(bed: &Bed, path: &str) -> (AddToStoreNar, Vec<u8>) {
    let row = Registration::read(&bed.pair.coordinator, path).expect("it is valid");
    bed.run(&[
        "sh",
        "-c",
        &format!("nix-store --dump {path} >/root/same.nar"),
    ]);
    let archive = fs::read(bed.pair.coordinator.outside("/root/same.nar"));
    let archive = archive.expect("it was written");
    let hash = Hash::parse(&row.hash, None).expect("Nix wrote it");
    let hash = NarHash::from_hash(hash).expect("it is a SHA-256");
    let info = PathInfo::new(hash, archive.len() as u64);
    let path = StoreDir::NIX.parse(path).expect("Nix made it");
    let operation = AddToStoreNar {
        path: ValidPathInfo { path, info },
        repair: false,
        dont_check_signatures: true,
    };
    (operation, archive)
}

#[test]
fn the_daemons_own_importer_is_waited_for() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let expression = derivation("added", "echo added >$out", FLOATING);
    let path = bed.built(&expression).remove(0);
    let (operation, archive) = addition(&bed, &path);
    bed.run(&["nix-store", "--delete", &path]);
    let socket = bed
        .pair
        .coordinator
        .outside("/nix/var/nix/daemon-socket/socket");
    let Client {
        runtime,
        mut client,
    } = Client::at(&socket);
    let output = thread::scope(|scope| {
        let mut hear = |_: Log| {};
        let mut upload = runtime
            .block_on(client.upload(&operation))
            .expect("it takes it");
        let (begin, rest) = archive.split_at(archive.len() / 2);
        let begun = runtime.block_on(upload.write(begin, &mut hear));
        begun.expect("it takes it");
        let lock = bed.pair.coordinator.outside(format!("{path}.lock"));
        wait_for(&bed, || lock.exists());
        let build = scope.spawn(|| bed.build(&expression, &[]));
        wait_for(&bed, || is_waiting_for(&bed, &path) || build.is_finished());
        let sent = runtime.block_on(upload.write(rest, &mut hear));
        sent.expect("it takes it");
        let ticket = runtime.block_on(upload.finish(&mut hear));
        let ticket = ticket.expect("it takes it");
        let added = runtime.block_on(client.reply(ticket, &mut hear));
        added.expect("it adds it");
        build.join().expect("the build ends")
    });
    drop(client);
    assert!(output.status.success(), "{}", output.stderr);
    let words = format!("waiting for the lock on {path}");
    assert!(output.stderr.contains(&words), "{}", output.stderr);
    let row = Registration::read(&bed.pair.coordinator, &path).expect("it is valid");
    assert_eq!(row.content_address, None, "the other one brought it in");
    assert_eq!(Realisation::of(&bed.pair.coordinator, &path).len(), 1);
    bed.assert_clean();
    bed.run(&["nix-store", "--delete", &path]);
}

#[test]
fn one_client_builds_the_same_path_twice() {
    testbed::require!();
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let create = ["install", "-d", "-m", "777", "/tmp/same"];
    bed.pair.builder.run(&create).expect("the folder is made");
    let [one, other] = ["a", "b"].map(|who| format!("({})", same("client", who, &["a", "b"])));
    let paths = bed.built(&format!("[ {one} {other} ]"));
    assert_eq!(paths[0], paths[1]);
    bed.assert_clean();
}
