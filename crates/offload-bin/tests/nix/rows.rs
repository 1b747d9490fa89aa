//! What stands in the coordinator's database after a build, beside what the distribution's own hook leaves there.

use testbed::MachineLine;

use crate::{
    bed::{Bed, STOCK_HOOK, bed, derivation, ours},
    floating,
    registration::{Realisation, Registration},
};

/// Of each path its registration, and of all files below it names, types, modes, sizes, link targets, times, owners.
pub(crate) fn registered(bed: &Bed, paths: &[String]) -> (Vec<Option<Registration>>, String) {
    let rows = paths
        .iter()
        .map(|path| Registration::read(&bed.pair.coordinator, path))
        .collect();
    let find = format!(
        "find {} -printf '%p|%y|%m|%s|%l|%T@|%U:%G\\n' | LC_ALL=C sort",
        paths.join(" ")
    );
    (rows, bed.run(&["sh", "-c", &find]))
}

pub(crate) fn delete(bed: &Bed, paths: &[String]) {
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    for host in bed.hosts() {
        host.run(&[&["nix-store", "--delete"], &paths[..]].concat())
            .expect("nothing refers to them");
    }
}

#[test]
fn rows_and_files_are_those_of_stock() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let several = derivation(
        "rows",
        "mkdir -p $out/bin; echo $src > $out/bin/x; chmod 700 $out/bin/x; ln -s $out $dev; echo $doc > $doc",
        "outputs = [ \"out\" \"dev\" \"doc\" ]; src = builtins.toFile \"rows-source\" \"\";",
    );
    let fixed = derivation(
        "rows-fixed",
        "printf fixed > $out",
        "outputHashMode = \"flat\"; outputHashAlgo = \"sha256\"; outputHash = builtins.hashString \"sha256\" \"fixed\";",
    );
    let all =
        format!("let several = {several}; in [ several.out several.dev several.doc ({fixed}) ]");
    // Of stock's, 2.3.7 does not know pinned keys.
    let stock = bed.with_known_hosts(|| bed.build(&all, &["--option", "build-hook", STOCK_HOOK]));
    assert!(stock.status.success(), "{}", stock.stderr);
    let paths: Vec<_> = stock.stdout.lines().map(str::to_owned).collect();
    let by_stock = registered(&bed, &paths);
    assert!(
        by_stock.0.len() == 4 && by_stock.0.iter().all(Option::is_some),
        "{by_stock:?}"
    );
    delete(&bed, &paths);
    assert_eq!(Registration::read(&bed.pair.coordinator, &paths[0]), None);
    assert_eq!(bed.built(&all), paths);
    assert_eq!(registered(&bed, &paths), by_stock);
    bed.assert_clean();
}

#[test]
fn realisations_are_those_of_stock() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    testbed::require!(known floating::known(&bed));
    let machine = |host_key: String| MachineLine {
        supported_features: "ca-derivations".into(),
        host_key,
        ..bed.pair.machine_line()
    };
    // Not to itself: 2.8.0 and the later ones hash that in two ways, and stock's take none of each other's.
    let both = derivation(
        "rows-floating",
        "mkdir $out $dev; echo one > $out/one; echo $out > $dev/out; chmod 755 $dev/out",
        &format!("{} outputs = [ \"out\" \"dev\" ];", floating::FLOATING),
    );
    let both = format!("let both = {both}; in [ both.out both.dev ]");
    let stock = bed.with_known_hosts(|| {
        bed.use_machines(&[machine("-".into()).to_string()]);
        bed.build(&both, &["--option", "build-hook", STOCK_HOOK])
    });
    assert!(stock.status.success(), "{}", stock.stderr);
    let paths: Vec<_> = stock.stdout.lines().map(str::to_owned).collect();
    let realised = || {
        let of = |path: &String| Realisation::of(&bed.pair.coordinator, path);
        paths.iter().map(of).collect::<Vec<_>>()
    };
    let by_stock = (registered(&bed, &paths), realised());
    assert!(by_stock.1.iter().all(|of| !of.is_empty()), "{by_stock:?}");
    delete(&bed, &paths);
    bed.use_machines(&[machine(bed.pair.machine_line().host_key).to_string()]);
    assert_eq!(bed.built(&both), paths);
    assert_eq!((registered(&bed, &paths), realised()), by_stock);
    bed.assert_clean();
}
