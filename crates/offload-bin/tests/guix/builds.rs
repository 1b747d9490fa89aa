//! Builds and what comes of them. Each is made twice, under two names: a word too many on a connection shows only when
//! the daemon behind it is used again.

use crate::bed::{Bed, Build, beds, require};

/// Builds `script` under two names on every Guix, checks what came of each, and that nothing is left over.
fn twice(name: &str, script: &str, options: &[&str], check: impl Fn(&Bed, &Build)) {
    for bed in beds().iter() {
        for round in ["first", "second"] {
            let script = format!("echo {round} >/dev/null\n{script}");
            let build = bed.build(&format!("{name}-{round}"), &script, options);
            assert!(build.was_remote(), "{}: {}", bed.version, build.said);
            check(bed, &build);
        }
        bed.assert_clean();
    }
}

/// Names relative to the tree's top, types, modes, sizes, link targets, times, owners, sorted.
fn listing(host: &testbed::Host, path: &str) -> String {
    let find = format!("find {path} -printf '%P|%y|%m|%s|%l|%T@|%U:%G\\n' | LC_ALL=C sort");
    host.run(&["sh", "-c", &find])
        .unwrap_or_else(|error| panic!("{error}"))
}

fn assert_same_on_both(bed: &Bed, path: &str) {
    let [here, there] = bed.hosts().map(|host| listing(host, path));
    assert_eq!(here, there, "{path}");
}

#[test]
fn trivial() {
    require!();
    twice(
        "trivial",
        "echo hello > $out; echo said by the build",
        &[],
        |bed, build| {
            assert_eq!(bed.read(build.out()), "hello\n");
            assert_same_on_both(bed, build.out());
            assert!(build.said.contains("said by the build"), "{}", build.said);
            let trace = format!("@ build-succeeded {} -", build.derivation);
            assert!(build.said.contains(&trace), "{}", build.said);
            let name = build.derivation.rsplit('/').next().unwrap();
            let log = format!(
                "{{ zcat $(find /var/log/guix -name '{}*.gz') || bzcat $(find /var/log/guix -name '{}*.bz2'); }} 2>/dev/null",
                &name[2..],
                &name[2..]
            );
            let log = bed.run(&["sh", "-c", &log]);
            assert!(log.contains("said by the build"), "{log}");
        },
    );
}

#[test]
fn failing() {
    require!();
    twice(
        "failing",
        "echo before the end; exit 3",
        &[],
        |bed, build| {
            let (status, _) = build.failure.clone().expect("it fails");
            assert_eq!(status, 100, "{}", build.said);
            assert!(build.said.contains("before the end"), "{}", build.said);
            let trace = format!("@ build-failed {} - 1", build.derivation);
            assert!(build.said.contains(&trace), "{}", build.said);
            assert!(build.outputs.is_empty());
            assert_eq!(
                bed.pair
                    .coordinator
                    .held_locks("/gnu/store/.locks")
                    .unwrap_or_default()
                    .len(),
                0
            );
        },
    );
}

#[test]
fn several_outputs_that_refer_to_each_other() {
    require!();
    let script = "mkdir -p $out/bin $doc; echo $doc $out > $out/bin/x; chmod 755 $out/bin/x; ln -s $out/bin/x $dev; : > $doc/empty";
    twice("several", script, &["outputs=out,dev,doc"], |bed, build| {
        assert_eq!(build.outputs.len(), 3, "{}", build.said);
        for (_, path) in &build.outputs {
            assert_same_on_both(bed, path);
        }
        let references = bed.run(&["guix", "gc", "--references", build.out()]);
        let mut references: Vec<_> = references.lines().collect();
        references.sort_unstable();
        let path = |name: &str| {
            build
                .outputs
                .iter()
                .find(|(output, _)| output == name)
                .unwrap()
                .1
                .as_str()
        };
        let mut expected = vec![path("doc"), path("out")];
        expected.sort_unstable();
        assert_eq!(references, expected);
        let deriver = bed.run(&["guix", "gc", "--derivers", build.out()]);
        assert_eq!(deriver, build.derivation);
    });
}

#[test]
fn fixed_outputs_right_and_wrong() {
    require!();
    for bed in beds().iter() {
        let hash = bed.run(&["sh", "-c", "echo good | sha256sum"]);
        let hash = format!("sha256={}", hash.split(' ').next().unwrap());
        for round in 0..2 {
            let good = bed.build(&format!("good-{round}"), "echo good > $out", &[&hash]);
            assert!(good.was_remote(), "{}", good.said);
            assert_eq!(bed.read(good.out()), "good\n");
            let bad = bed.build(&format!("bad-{round}"), "echo bad > $out", &[&hash]);
            assert!(
                bad.failure.is_some() && bad.outputs.is_empty(),
                "{}",
                bad.said
            );
            assert!(bad.said.contains("hash mismatch"), "{}", bad.said);
        }
        bed.assert_clean();
    }
}

#[test]
fn a_tree_of_files() {
    require!();
    let script = "mkdir -p $out; i=0; while [ $i -lt 40 ]; do mkdir $out/$i; j=0; while [ $j -lt 50 ]; do \
                  echo $i $j > $out/$i/$j; j=$((j+1)); done; chmod 755 $out/$i/1; ln -s ../$i/2 $out/$i/link; \
                  i=$((i+1)); done; : > \"$out/empty file\"; mkdir $out/empty";
    twice("tree", script, &[], |bed, build| {
        assert_same_on_both(bed, build.out());
        let count = bed.run(&["sh", "-c", &format!("find {} | wc -l", build.out())]);
        assert_eq!(count, "2083");
    });
}

#[test]
fn a_chain() {
    require!();
    let script = "cat $inputs /dev/null > $out; echo one more >> $out";
    twice("chain", script, &["chain=4"], |bed, build| {
        assert_eq!(bed.read(build.out()).lines().count(), 4);
        assert_eq!(
            build.said.matches("@ build-remote ").count(),
            4,
            "{}",
            build.said
        );
    });
}

#[test]
fn inputs_that_only_the_coordinator_has() {
    require!();
    for bed in beds().iter() {
        for (round, size) in [("small", 1), ("large", 3000)] {
            // One KiB per round, and the name in it.
            let script = "n=0; while [ $n -lt SIZE ]; do printf '%01023d\\n' $n; n=$((n+1)); done > $out; echo $inputs >> $out";
            let script = script.replace("SIZE", &size.to_string());
            let name = format!("needed-{round}");
            let first = bed.build(&name, &script, &["offload=no"]);
            assert!(!first.was_remote(), "{}", first.said);
            // The same derivation is the chain's first link, which is there by now.
            let second = bed.build(&name, &script, &["chain=2"]);
            assert!(second.was_remote(), "{}", second.said);
            assert!(second.said.contains("sending "), "{}", second.said);
            assert_eq!(
                second.said.matches("@ build-remote ").count(),
                1,
                "{}",
                second.said
            );
            assert!(bed.read(second.out()).contains(first.out()));
        }
        bed.assert_clean();
    }
}

#[test]
fn a_long_log_arrives_whole() {
    require!();
    let script = "n=0; while [ $n -lt 3000 ]; do echo line $n of a long log; n=$((n+1)); done; echo end > $out";
    twice("talkative", script, &[], |_, build| {
        assert!(
            build.said.contains("line 2999 of a long log"),
            "{} bytes",
            build.said.len()
        );
        for (n, line) in build
            .said
            .lines()
            .filter(|line| line.contains(" of a"))
            .enumerate()
        {
            assert_eq!(line, format!("line {n} of a long log"));
        }
        assert_eq!(build.said.matches(" of a long log").count(), 3000);
    });
}

/// More than go one by one.
#[test]
fn many_inputs_in_one_stream() {
    require!();
    const COUNT: u32 = 100;
    for bed in beds().iter() {
        let make = "rm -rf /root/many; mkdir /root/many; for n in $(seq COUNT); do \
                    head -c 5000 /dev/urandom >/root/many/many-$n; done";
        bed.run(&["sh", "-c", &make.replace("COUNT", &COUNT.to_string())]);
        let sources = (1..=COUNT).map(|number| format!("/root/many/many-{number}"));
        let sources = sources.collect::<Vec<_>>().join(",");
        let sources = format!("sources={sources}");
        let build = bed.build("many-inputs", "cat $sources > $out", &[&sources]);
        assert!(build.was_remote(), "{}", build.said);
        let size = bed.run(&["stat", "--format=%s", build.out()]);
        assert_eq!(size, (COUNT * 5000).to_string());
        bed.assert_clean();
    }
}
