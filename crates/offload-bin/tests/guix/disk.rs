//! Disks that are full, on either side.

use testbed::{GuixMachine, Host, Pool, Taken};

use crate::bed::{Bed, BedOptions, Build, LIMITS, require, roots};

/// What each of the two stores may hold, in megabytes. Guix gives no build to a machine with less than 100.
const STORE_MB: u64 = 256;

/// What a build makes that does not fit.
const TOO_MUCH: &str = "dd if=/dev/zero of=$out bs=1M count=300";

/// The bed, of the newest Guix, whose stores are small, with these limits. Tests take turns.
fn bed(limits: &str) -> Taken<'static, Bed> {
    static BED: Pool<Bed> = Pool::new(1, || {
        let roots = roots();
        let root = roots.last().expect("there is one");
        Bed::start(&BedOptions {
            store_size: Some(STORE_MB << 20),
            ..BedOptions::of(root)
        })
    });
    let bed = BED.take();
    empty(&bed.pair.builder);
    // What a failed build has left there stays until it is built again.
    bed.run_there(&["sh", "-c", "rm -rf /gnu/store/*-no-room-to-build-1"]);
    bed.run(&["rm", "-rf", "/var/guix/offload/knowledge"]);
    set_limits(&bed, limits);
    bed
}

fn set_limits(bed: &Bed, limits: &str) {
    let written = bed.pair.coordinator.write_file(LIMITS, limits);
    written.expect("the file is written");
}

/// Takes all but `left` megabytes of the store.
fn fill(host: &Host, left: u64) {
    let free = "df -Pk /gnu/store | tail -1 | awk '{print $4}'";
    let left = left << 10;
    let fill = format!("fallocate --length $(( $({free}) - {left} ))K /gnu/store/.ballast");
    host.run(&["sh", "-c", &fill])
        .unwrap_or_else(|error| panic!("{error}"));
}

fn empty(host: &Host) {
    host.run(&["rm", "-f", "/gnu/store/.ballast"])
        .unwrap_or_else(|error| panic!("{error}"));
}

fn first(bed: &Bed) -> GuixMachine {
    GuixMachine {
        speed: "10.0".into(),
        ..bed.pair.guix_machine()
    }
}

/// It failed without a verdict, with words that name the machine; nothing is registered.
fn assert_failed(bed: &Bed, build: &Build) {
    let (status, _) = build.failure.clone().expect("it fails");
    assert_eq!(status, 1, "{}", build.said);
    assert!(
        build.said.contains(&bed.pair.guix_machine().name),
        "{}",
        build.said
    );
    assert!(build.outputs.is_empty(), "{}", build.said);
}

#[test]
fn the_builders_disk_is_full() {
    require!();
    let bed = bed("free-disk=1M");
    let second = bed.pair.extra_guix_machine(Bed::SECOND);
    let builder = &bed.pair.builder;

    // Before it is asked for a build, it gets none.
    fill(builder, 50);
    bed.use_machines(&[first(&bed)]);
    let build = bed.build("low-disk", "echo x > $out", &[]);
    assert!(!build.was_remote(), "{}", build.said);
    assert!(
        build.said.contains("has less than 100 MiB of disk left"),
        "{}",
        build.said
    );
    bed.use_machines(&[first(&bed), second.clone()]);
    let build = bed.build("low-disk-there", "echo x > $out", &[]);
    assert!(
        build.said.contains(&format!("to '{}'", second.name)),
        "{}",
        build.said
    );
    empty(builder);

    // While it builds: no verdict, because another machine may have room.
    bed.run(&["rm", "-rf", "/var/guix/offload/knowledge"]);
    bed.use_machines(&[first(&bed)]);
    let build = bed.build("no-room-to-build", TOO_MUCH, &[]);
    assert_failed(&bed, &build);
    assert!(build.said.contains("No space left"), "{}", build.said);
    bed.assert_clean();
}

#[test]
fn the_builders_disk_is_full_while_inputs_are_sent() {
    require!();
    let bed = bed("free-disk=1M");
    let builder = &bed.pair.builder;
    bed.run(&["sh", "-c", "head -c 120M /dev/urandom > /root/large"]);
    let second = bed.pair.extra_guix_machine(Bed::SECOND);
    // Room for the build to be accepted, and not for what it needs.
    fill(builder, 110);
    bed.use_machines(&[first(&bed)]);
    let sources = ["sources=/root/large"];
    let build = bed.build("no-room-for-inputs", "echo $sources > $out", &sources);
    assert_failed(&bed, &build);
    assert!(build.said.contains("No space left"), "{}", build.said);
    bed.use_machines(&[first(&bed), second]);
    let build = bed.build("no-room-for-inputs", "echo $sources > $out", &sources);
    assert!(build.was_remote(), "{}", build.said);
    build.out();
    empty(builder);
    bed.assert_clean();
}

/// No machine is to blame, so no other one is tried.
#[test]
fn the_coordinators_disk_is_full() {
    require!();
    let bed = bed("");
    let second = bed.pair.extra_guix_machine(Bed::SECOND);
    // The first one's store is as small.
    bed.use_machines(&[second]);
    for (limit, words) in [
        ("free-disk=20M", "stay free (limit free-disk)"),
        ("free-disk=0", "No space left"),
        ("output=10M", "is larger than 10485760 bytes"),
    ] {
        set_limits(&bed, limit);
        let build = bed.build("no-room-for-outputs", TOO_MUCH, &[]);
        let (status, _) = build.failure.clone().expect("it fails");
        assert_eq!(status, 1, "{}", build.said);
        assert!(build.said.contains(words), "{}", build.said);
        let left = bed.run(&["sh", "-c", "ls -d /gnu/store/*-no-room-for-outputs || true"]);
        assert_eq!(left, "", "{limit}");
    }
    let small = bed.build("room", "echo x > $out", &[]);
    assert_eq!(bed.read_store(small.out()), "x\n");
    bed.assert_clean();
}
