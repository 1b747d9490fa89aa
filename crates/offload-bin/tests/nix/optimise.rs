//! What `auto-optimise-store` makes of outputs, beside what it makes of them with the distribution's own hook.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    bed::{Bed, STOCK_HOOK, bed, derivation, ours},
    rows::{delete, registered},
};

/// Sets of names of one and the same file each: of all in the store that is a link, or is in one of `paths`.
fn shared(bed: &Bed, paths: &[String]) -> BTreeSet<BTreeSet<String>> {
    let find = format!(
        "find {} /nix/store/.links -not -type d -printf '%i %p\\n'",
        paths.join(" ")
    );
    let found = bed.run(&["sh", "-c", &find]);
    let mut names = BTreeMap::<_, BTreeSet<_>>::new();
    for line in found.lines() {
        let (inode, name) = line.split_once(' ').expect("two words");
        names.entry(inode).or_default().insert(name.to_owned());
    }
    let is_of_paths = |names: &BTreeSet<String>| {
        let mut names = names.iter();
        names.any(|name| paths.iter().any(|path| name.starts_with(path)))
    };
    names.into_values().filter(is_of_paths).collect()
}

/// Of everything in the store its inode.
fn inodes(bed: &Bed) -> String {
    let find = "find /nix/store -printf '%i %p\\n' | LC_ALL=C sort";
    bed.run(&["sh", "-c", find])
}

#[test]
fn files_are_shared_as_by_stock() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let on = ["--option", "auto-optimise-store", "true"];
    // Other tests have left paths that are not optimised.
    bed.run(&["nix-store", "--optimise"]);
    let script = "mkdir -p $out/deep/er; echo same > $out/a; echo same > $out/deep/er/b; echo $name > $out/own; \
                  echo same > $out/program; chmod 755 $out/program; cp $out/program $out/deep; \
                  : > $out/empty; : > $out/deep/empty; ln -s $out/a $out/link; ln -s $out/a $out/deep/link; \
                  mkdir $out/nothing; echo same > $file";
    let outputs = "outputs = [ \"out\" \"file\" ];";
    let here = bed.build(&derivation("optimised-before", script, outputs), &on);
    assert!(here.status.success(), "{}", here.stderr);
    let all = format!(
        "let d = {}; in [ d.out d.file ]",
        derivation("optimised", script, outputs)
    );
    let arguments = [&on[..], &["--option", "build-hook", STOCK_HOOK]].concat();
    let stock = bed.with_known_hosts(|| bed.build(&all, &arguments));
    assert!(stock.status.success(), "{}", stock.stderr);
    let paths: Vec<_> = stock.stdout.lines().map(str::to_owned).collect();
    let by_stock = (registered(&bed, &paths), shared(&bed, &paths));
    delete(&bed, &paths);
    let ours = bed.build(&all, &on);
    assert!(ours.status.success(), "{}", ours.stderr);
    let by_us = (registered(&bed, &paths), shared(&bed, &paths));
    assert_eq!(by_us, by_stock);
    let same = by_us.1.iter().find(|names| names.contains(&paths[1]));
    let same = same.expect("the file is there");
    // Two in this output and the other one, two in the path before, and the entry.
    assert_eq!(same.len(), 4, "{same:?}");
    let before = inodes(&bed);
    bed.run(&["nix-store", "--optimise"]);
    assert_eq!(inodes(&bed), before, "there was more to share");
    bed.assert_clean();
}

#[test]
fn files_are_left_alone_where_nobody_asks() {
    testbed::require!();
    let bed = bed();
    let script = "mkdir $out; echo equal > $out/a; echo equal > $out/b";
    let out = bed.built(&derivation("not-optimised", script, ""));
    assert_eq!(shared(&bed, &out).len(), 2);
    bed.assert_clean();
}
