//! Large files and trees, in and out.

use crate::bed::{Bed, beds, require_heavy};

/// Makes `what` here, sends it as the input of a build that copies it, and compares both.
fn in_and_out(name: &str, make: &str) {
    for bed in beds().iter() {
        let script = format!("if [ -n \"$inputs\" ]; then cp -r $inputs $out; else {make}; fi");
        let here = bed.build(name, &script, &["offload=no"]);
        assert!(!here.was_remote(), "{}", here.said);
        let there = bed.build(name, &script, &["chain=2"]);
        assert!(there.was_remote(), "{}", there.said);
        let [first, second] = [here.out(), there.out()].map(|path| digest(bed, path));
        assert_eq!(first, second, "{}", bed.version);
        assert_ne!(here.out(), there.out());
        // Once more on the same daemons.
        let last = bed.build(&format!("{name}-last"), "echo last > $out", &[]);
        assert!(last.was_remote(), "{}", last.said);
        bed.assert_clean();
    }
}

fn digest(bed: &Bed, path: &str) -> String {
    bed.run(&["guix", "hash", "-rx", path])
}

#[test]
fn twenty_thousand_files() {
    require_heavy!();
    let make = "mkdir $out; i=0; while [ $i -lt 200 ]; do mkdir $out/$i; j=0; while [ $j -lt 100 ]; do \
                echo $i $j > $out/$i/$j; j=$((j+1)); done; i=$((i+1)); done";
    in_and_out("twenty-thousand", make);
}

#[test]
fn half_a_gibibyte() {
    require_heavy!();
    in_and_out(
        "half-a-gibibyte",
        "dd if=/dev/urandom of=$out bs=1M count=512",
    );
}
