//! Stores that are not where they usually are, or not what they usually are.

use std::path::Path;

use testbed::Output;

use crate::{
    bed::{Bed, Difference, OUR_HOOK, STOCK_HOOK, bed, derivation, ours},
    registration::Registration,
};

/// Two outputs, one of which refers to the other and to an input that the builder lacks.
fn two_outputs(name: &str) -> String {
    let both = derivation(
        name,
        "mkdir $out; echo $src > $out/src; chmod 600 $out/src; echo $out > $dev",
        &format!(
            "outputs = [ \"out\" \"dev\" ]; src = builtins.toFile \"{name}-source\" \"text\";"
        ),
    );
    format!("let both = {both}; in [ both.out both.dev ]")
}

/// Where everything of one store is.
const ROOT: &str = "/srv/elsewhere";

fn build_below_root(bed: &Bed, hook: &str, expression: &str) -> Output {
    let store = format!("local?root={ROOT}");
    bed.build(
        expression,
        &["--store", &store, "--option", "build-hook", hook],
    )
}

/// Registrations, and files with modes, times and contents.
fn below_root(bed: &Bed, paths: &[String]) -> (Vec<Option<Registration>>, String) {
    let database = Path::new(ROOT).join("nix/var/nix/db/db.sqlite");
    let rows = paths
        .iter()
        .map(|path| Registration::read_in(&bed.pair.coordinator, &database, path));
    let places: Vec<_> = paths.iter().map(|path| format!("{ROOT}{path}")).collect();
    let look = format!(
        "find {0} -printf '%P|%y|%m|%s|%T@|%U:%G\\n' | LC_ALL=C sort; cat $(find {0} -type f | LC_ALL=C sort)",
        places.join(" ")
    );
    (rows.collect(), bed.run(&["sh", "-c", &look]))
}

#[test]
fn a_store_below_another_root() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let expression = two_outputs("below-root");
    let store = format!("local?root={ROOT}");
    let stock = bed.with_known_hosts(|| build_below_root(&bed, STOCK_HOOK, &expression));
    assert!(stock.status.success(), "{}", stock.stderr);
    let paths: Vec<_> = stock.stdout.lines().map(str::to_owned).collect();
    let by_stock = below_root(&bed, &paths);
    assert!(by_stock.0.iter().all(Option::is_some), "{by_stock:?}");
    let schema = format!("{ROOT}/nix/var/nix/db/schema");
    // The second one by Nix's own programs, which have to be told of the place, too.
    for schema_version in ["10", "010"] {
        let delete = [
            &["nix-store", "--store", &store, "--delete"],
            &*strs(&paths),
        ]
        .concat();
        bed.run(&delete);
        let coordinator = &bed.pair.coordinator;
        coordinator
            .write_file(&schema, schema_version)
            .expect("it is written");
        let ours = build_below_root(&bed, OUR_HOOK, &expression);
        assert!(ours.status.success(), "{}", ours.stderr);
        assert_eq!(below_root(&bed, &paths), by_stock);
        coordinator
            .write_file(&schema, "10")
            .expect("it is written");
        let usual = coordinator.exec(&["nix-store", "--check-validity", &paths[0]]);
        assert!(!usual.expect("it ends").status.success());
        let verify = [
            "nix-store",
            "--store",
            &store,
            "--verify",
            "--check-contents",
        ];
        bed.run(&verify);
    }
    bed.assert_clean();
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// As on NixOS, where only nix-daemon may write.
#[test]
fn a_store_that_is_mounted_read_only() {
    testbed::require!();
    let bed = Bed::start("", None);
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
    // There is none before somebody needs it.
    bed.built(&derivation("read-only-before", "echo > $out", ""));
    let read_only = "mount --bind /nix/store /nix/store && mount -o remount,ro,bind /nix/store";
    bed.run(&["sh", "-c", read_only]);
    let touched = bed.pair.coordinator.exec(&["touch", "/nix/store/x"]);
    assert!(!touched.expect("it ends").status.success());
    for round in ["first", "second"] {
        for path in bed.built(&two_outputs(&format!("read-only-{round}"))) {
            bed.assert_same_on_both(&path);
        }
    }
    let on = ["--option", "auto-optimise-store", "true"];
    let optimised = bed.build(&two_outputs("read-only-optimised"), &on);
    assert!(optimised.status.success(), "{}", optimised.stderr);
    bed.assert_clean();
}

#[test]
fn a_store_directory_of_another_name() {
    testbed::require!();
    let store = "NIX_STORE_DIR=/srv/store";
    let bed = Bed::start_with(&Difference {
        environment: &[store],
        ..Difference::default()
    });
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
    for round in ["first", "second"] {
        let expression = two_outputs(&format!("other-directory-{round}"));
        let command = [
            "env",
            store,
            "nix-build",
            "--no-out-link",
            "-E",
            &expression,
        ];
        let built = bed.run(&command);
        for path in built.lines() {
            assert!(path.starts_with("/srv/store/"), "{path}");
            bed.assert_same_on_both(path);
        }
    }
    bed.assert_idle();
    for host in bed.hosts() {
        let verify = ["env", store, "nix-store", "--verify", "--check-contents"];
        host.run(&verify).unwrap_or_else(|error| panic!("{error}"));
    }
}
