//! A database whose schema is not known: what stands in it is left to Nix's own programs.

use crate::{
    bed::{Bed, STOCK_HOOK, bed, derivation, ours},
    registration::Registration,
    rows::{delete, registered},
};

const SCHEMA: &str = "/nix/var/nix/db/schema";

/// Does something while the schema's version is one that the hook does not know, and Nix does: to whom `010` is 10.
fn with_unknown_schema<T>(bed: &Bed, action: impl FnOnce() -> T) -> T {
    let coordinator = &bed.pair.coordinator;
    let known = coordinator.read_file(SCHEMA).expect("there is a database");
    assert_eq!(known.trim(), "10", "what the next line means");
    coordinator
        .write_file(SCHEMA, "010")
        .expect("it is written");
    let done = action();
    coordinator
        .write_file(SCHEMA, known)
        .expect("it is written");
    done
}

#[test]
fn rows_are_those_of_stock_but_for_content_addresses() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    // Signed on the builder, so that there is something to keep.
    let several = derivation(
        "schema",
        "mkdir -p $out/bin; cat $src > $out/bin/x; chmod 700 $out/bin/x; echo $src $out > $out/self; ln -s $out $dev",
        "outputs = [ \"out\" \"dev\" ]; src = builtins.toFile \"schema-source\" \"text\";",
    );
    let fixed = derivation(
        "schema-fixed",
        "printf schema > $out",
        "outputHashMode = \"flat\"; outputHashAlgo = \"sha256\"; outputHash = builtins.hashString \"sha256\" \"schema\";",
    );
    let uses = derivation(
        "schema-uses",
        "cat $made/self > $out",
        "made = several.dev;",
    );
    let all = format!("let several = {several}; in [ several.out several.dev ({uses}) ({fixed}) ]");
    let stock = bed.with_known_hosts(|| bed.build(&all, &["--option", "build-hook", STOCK_HOOK]));
    assert!(stock.status.success(), "{}", stock.stderr);
    let paths: Vec<_> = stock.stdout.lines().map(str::to_owned).collect();
    let (mut rows, files) = registered(&bed, &paths);
    delete(&bed, &paths);
    let output = with_unknown_schema(&bed, || bed.build(&all, &["-vv"]));
    assert!(output.status.success(), "{}", output.stderr);
    assert!(
        output.stderr.contains("schema is version \"010\""),
        "{}",
        output.stderr
    );
    let is_signed =
        |row: &Option<Registration>| row.as_ref().is_some_and(|row| row.signatures.is_some());
    assert!(rows.iter().all(is_signed), "{rows:?}");
    let fixed = rows
        .last_mut()
        .and_then(Option::as_mut)
        .expect("the last is fixed");
    assert!(fixed.content_address.take().is_some(), "{fixed:?}");
    assert_eq!(registered(&bed, &paths), (rows, files));
    bed.assert_clean();
}

#[test]
fn an_input_goes_to_the_builder() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let made = derivation("schema-made", "echo $name > $out", "");
    // Made on one machine, needed on another.
    bed.use_machines(&[bed.pair.extra_machine_line(Bed::SECOND).to_string()]);
    bed.built(&made);
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
    let uses = derivation(
        "schema-needs",
        "cat $made $source > $out",
        &format!("made = {made}; source = builtins.toFile \"schema-needed\" \"source\";"),
    );
    let out = with_unknown_schema(&bed, || bed.built(&uses));
    assert_eq!(bed.run(&["cat", &out[0]]), "schema-made\nsource");
    bed.assert_same_on_both(&out[0]);
    bed.assert_clean();
}
