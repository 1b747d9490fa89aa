//! Derivations whose output paths follow from their contents. Nix has them since 2.4.

use testbed::{MachineLine, Taken};

use crate::{
    bed::{Bed, bed, derivation},
    registration::Realisation,
};

pub(crate) const FLOATING: &str =
    "__contentAddressed = true; outputHashMode = \"recursive\"; outputHashAlgo = \"sha256\";";

/// A bed whose machine's line has the feature that such derivations require.
pub(crate) fn bed_with_feature() -> Taken<'static, Bed> {
    let bed = bed();
    let line = MachineLine {
        supported_features: "ca-derivations".into(),
        ..bed.pair.machine_line()
    };
    bed.use_machines(&[line.to_string()]);
    bed
}

/// `Err` where a host's Nix has no such derivations.
pub(crate) fn known(bed: &Bed) -> Result<(), &'static str> {
    let knows = |host: &testbed::Host| {
        let version = host.run(&["nix-store", "--version"]).expect("it runs");
        !version.contains(" 2.3.")
    };
    match bed.hosts().into_iter().all(knows) {
        true => Ok(()),
        false => Err("nix 2.3.7 has no floating derivations"),
    }
}

/// `Err` where one host's Nix refuses the content address that the other's gives to what refers to itself: how
/// such references count has changed between 2.8.0 and 2.26.3.
pub(crate) fn agree(bed: &Bed) -> Result<(), &'static str> {
    let [here, there] = bed.hosts().map(|host| {
        let version = host.run(&["nix-store", "--version"]).expect("it runs");
        version.contains(" 2.8.")
    });
    match here == there {
        true => Ok(()),
        false => Err("nix 2.8.0 and 2.26.3 hash references to oneself differently"),
    }
}

/// Builds, and returns the output paths after a look at them.
fn built(bed: &Bed, expression: &str) -> Vec<String> {
    let outputs = bed.built(expression);
    for path in &outputs {
        let row = bed.assert_same_on_both(path);
        assert!(row.content_address.is_some(), "{row:?}");
    }
    // Asked for again it is there, so what it realises is known.
    let output = bed.build(expression, &["--max-jobs", "0", "--option", "builders", ""]);
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(output.stdout.lines().collect::<Vec<_>>(), outputs);
    let [here, there] = bed.hosts().map(|host| Realisation::of(host, &outputs[0]));
    assert!(!here.is_empty());
    // The builder has what it built itself; the coordinator also what it stands for.
    assert!(
        there.iter().all(|realisation| here.contains(realisation)),
        "{here:?} {there:?}"
    );
    bed.assert_clean();
    outputs
}

#[test]
fn a_floating_output() {
    testbed::require!();
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let out = built(
        &bed,
        &derivation("floating", "echo floating > $out", FLOATING),
    );
    assert_eq!(bed.run(&["cat", &out[0]]), "floating");
}

#[test]
fn a_floating_output_that_depends_on_another() {
    testbed::require!();
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let input = derivation("floating-input", "echo input > $out", FLOATING);
    let attributes = format!("{FLOATING} input = {input};");
    let script = "echo $input > $out; cat $input >> $out";
    let out = built(&bed, &derivation("floating-user", script, &attributes));
    assert!(bed.run(&["cat", &out[0]]).ends_with("\ninput"));
}

#[test]
fn floating_outputs_that_refer_to_themselves_and_each_other() {
    testbed::require!();
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let attributes = format!("{FLOATING} outputs = [ \"out\" \"dev\" ];");
    let script = "mkdir $out $dev; echo self $out > $out/self; echo $out > $dev/out; ln -s $dev/out $dev/link";
    let expression = format!("({})", derivation("floating-two", script, &attributes));
    let dev = built(&bed, &format!("{expression}.dev"));
    let link = bed.run(&["readlink", &format!("{}/link", dev[0])]);
    assert_eq!(link, format!("{}/out", dev[0]));
    let out = built(&bed, &expression);
    assert_eq!(
        bed.run(&["cat", &format!("{}/self", out[0])]),
        format!("self {}", out[0])
    );
}

#[test]
fn a_floating_file() {
    testbed::require!();
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let flat = FLOATING.replace("recursive", "flat");
    let out = built(
        &bed,
        &derivation("floating-file", "echo flat > $out", &flat),
    );
    assert_eq!(bed.run(&["cat", &out[0]]), "flat");
}

#[test]
fn what_is_built_of_a_floating_output() {
    testbed::require!();
    let bed = bed_with_feature();
    testbed::require!(known known(&bed));
    let input = derivation("deferred-input", "echo deferred > $out", FLOATING);
    let attributes = format!("input = {input};");
    let out = bed.built(&derivation("deferred", "cat $input > $out", &attributes));
    bed.assert_same_on_both(&out[0]);
    assert_eq!(bed.run(&["cat", &out[0]]), "deferred");
    bed.assert_clean();
}
