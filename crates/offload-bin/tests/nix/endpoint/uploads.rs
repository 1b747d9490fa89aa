//! Paths that the coordinator's store lacks, and that a client sends to the endpoint.

use std::time::{Duration, Instant};

use store_path::{HashFormat, StoreDir};
use worker_protocol::{NarHash, PathInfo, ValidPathInfo, operation::AddToStoreNar};

use super::{
    client::{Client, Wanted},
    known, line,
    service::Service,
    stock,
};
use crate::{
    bed::{Bed, bed, derivation, ours},
    registration::Registration,
};

/// A client that has a store of its own, with inputs that only it has.
#[test]
fn inputs_of_another_store_are_sent() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    let input = "i = builtins.toFile \"endpoint-elsewhere\" \"from elsewhere\";";
    let expression = derivation("endpoint-of-elsewhere", "cat $i > $out", input);
    let (root, line) = ("/tmp/endpoint-elsewhere", line());
    let arguments = [&["--store", root][..], &stock(&line)].concat();
    let output = bed.build(&expression, &arguments);
    assert!(output.status.success(), "{}\n{}", output.stderr, bed.logs());
    let out = output.stdout.trim();
    assert_eq!(bed.run(&["cat", &format!("{root}{out}")]), "from elsewhere");
    assert_eq!(
        Registration::read(&bed.pair.coordinator, out),
        None,
        "the output went to the client's store only"
    );
    bed.assert_clean();
}

/// A path of another store, with its archive.
fn elsewhere(bed: &Bed, name: &str) -> (ValidPathInfo, Vec<u8>) {
    let (file, root) = (format!("/root/{name}"), format!("/tmp/{name}-store"));
    let fill = format!("echo {name} > {file}; exec nix-store --store {root} --add {file}");
    let path = bed.run(&["sh", "-c", &fill]);
    let query = |what: &str| bed.run(&["nix-store", "--store", &root, "--query", what, &path]);
    let dump = format!("nix-store --dump {file} > {file}.nar");
    bed.run(&["sh", "-c", &dump]);
    let archive = std::fs::read(bed.pair.coordinator.outside(format!("{file}.nar")));
    let archive = archive.expect("it was written");
    let info = PathInfo::new(NarHash::of(&archive), archive.len() as u64);
    assert_eq!(
        info.nar_hash.hash().print(HashFormat::Base32),
        query("--hash")
    );
    assert_eq!(info.nar_size.to_string(), query("--size"));
    let path = StoreDir::NIX.parse(&path).expect("Nix printed it");
    (ValidPathInfo { path, info }, archive)
}

/// What was sent is a root as long as its client is there, and garbage then.
#[test]
fn what_was_sent_is_kept_for_the_session() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known known(&bed));
    let service = Service::start(&bed, "uploads", "", "");
    let (valid, archive) = elsewhere(&bed, "endpoint-sent");
    let path = StoreDir::NIX.print(&valid.path);
    let expression = derivation(
        "endpoint-of-sent",
        "cat $i > $out",
        &format!("i = \"{path}\";"),
    );
    let [drv, _] = bed.instantiated(&expression);
    let is_valid = || Registration::read(&bed.pair.coordinator, &path).is_some();
    assert!(!is_valid());
    let wanted = Wanted::new(&bed, &drv, &[&path]);
    let mut client = Client::connect(&service);
    let add = AddToStoreNar {
        path: valid,
        repair: false,
        dont_check_signatures: true,
    };
    client.add(&add, &archive);
    assert!(is_valid());
    bed.run(&["nix-store", "--gc"]);
    assert!(is_valid(), "it was collected");
    let (_, built) = client.build(&wanted);
    assert!(String::from_utf8_lossy(&built).contains("endpoint-sent"));
    drop(client);
    // The coordinator's daemon is not told of the client's end at once.
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_valid() {
        assert!(Instant::now() < deadline, "nobody needs it any more");
        bed.run(&["nix-store", "--gc"]);
    }
    drop(service);
    bed.assert_clean();
}
