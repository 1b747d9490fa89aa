//! Builds that succeed. Each is made twice, under two names, because a word too many or too few on a connection shows
//! only when the connection, or the daemon behind it, is used again.

use crate::{
    bed::{Bed, Difference, bed, derivation, ours},
    registration::Registration,
};

/// Builds what `expression` makes of two names, checks what came of each, and that nothing is left over.
fn twice(expression: impl Fn(&str) -> String, check: impl Fn(&Bed, &str, &[Registration])) {
    let bed = bed();
    for round in ["first", "second"] {
        let paths = bed.built(&expression(round));
        let outputs: Vec<_> = paths
            .iter()
            .map(|path| bed.assert_same_on_both(path))
            .collect();
        check(&bed, round, &outputs);
    }
    bed.assert_clean();
}

fn read(bed: &Bed, path: &str) -> String {
    bed.pair
        .coordinator
        .read_file(path)
        .expect("the output is there")
}

/// Names relative to the tree's top, types, modes, sizes, link targets, times, owners, sorted.
fn listing(host: &testbed::Host, path: &str) -> String {
    let find = format!("find {path} -printf '%P|%y|%m|%s|%l|%T@|%U:%G\\n' | LC_ALL=C sort");
    host.run(&["sh", "-c", &find])
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn trivial() {
    testbed::require!();
    twice(
        |round| {
            derivation(
                &format!("trivial-{round}"),
                &format!("echo {round} > $out"),
                "",
            )
        },
        |bed, round, outputs| {
            assert_eq!(read(bed, &outputs[0].path), format!("{round}\n"));
            let deriver = outputs[0].deriver.as_ref().unwrap();
            assert!(
                deriver.ends_with(&format!("-trivial-{round}.drv")),
                "{deriver}"
            );
            assert_eq!(
                (outputs[0].nar_size, outputs[0].references.len()),
                (Some(120), 0)
            );
        },
    );
}

#[test]
fn three_inputs_that_the_builder_lacks() {
    testbed::require!();
    let sources = |round: &str| {
        format!(
            "srcs = map (n: builtins.toFile \"source-{round}-${{n}}\" \"{round} ${{n}}\n\") [ \"1\" \"2\" \"3\" ];"
        )
    };
    twice(
        |round| {
            derivation(
                &format!("inputs-{round}"),
                "cat $srcs > $out; echo $srcs >> $out",
                &sources(round),
            )
        },
        |bed, round, outputs| {
            let content = read(bed, &outputs[0].path);
            assert!(
                content.starts_with(&format!("{round} 1\n{round} 2\n{round} 3\n/nix/store/")),
                "{content}"
            );
            let inputs: Vec<_> = content
                .lines()
                .nth(3)
                .expect("the line of paths")
                .split(' ')
                .collect();
            let mut sorted = inputs.clone();
            sorted.sort_unstable();
            assert_eq!(outputs[0].references, sorted);
            for input in inputs {
                bed.pair
                    .builder
                    .run(&["nix-store", "--check-validity", input])
                    .unwrap();
            }
        },
    );
}

#[test]
fn two_outputs_one_of_which_refers_to_the_other() {
    testbed::require!();
    let script =
        "mkdir $out $dev; echo $out > $out/self; echo $out > $dev/out; ln -s $out/self $dev/link";
    twice(
        |round| {
            let both = derivation(
                &format!("outputs-{round}"),
                script,
                "outputs = [ \"out\" \"dev\" ];",
            );
            format!("let both = {both}; in [ both.out both.dev ]")
        },
        |bed, _, outputs| {
            let [out, dev] = outputs else {
                panic!("{outputs:?}")
            };
            assert_eq!(
                read(bed, &format!("{}/out", dev.path)),
                format!("{}\n", out.path)
            );
            for output in [out, dev] {
                assert_eq!(output.references, [&*out.path], "{}", output.path);
            }
        },
    );
}

#[test]
fn one_output_of_two_is_wanted() {
    testbed::require!();
    twice(
        |round| {
            let name = format!("one-output-{round}");
            format!(
                "({}).dev",
                derivation(
                    &name,
                    "echo > $out; echo $name > $dev",
                    "outputs = [ \"out\" \"dev\" ];"
                )
            )
        },
        |bed, round, outputs| {
            assert_eq!(read(bed, &outputs[0].path), format!("one-output-{round}\n"));
        },
    );
}

#[test]
fn fixed_output_flat() {
    testbed::require!();
    for algorithm in ["sha256", "sha1"] {
        twice(
            |round| {
                let content = format!("flat {algorithm} {round}");
                let attributes = format!(
                    "outputHashMode = \"flat\"; outputHashAlgo = \"{algorithm}\"; \
                     outputHash = builtins.hashString \"{algorithm}\" \"{content}\";"
                );
                derivation(
                    &format!("flat-{algorithm}-{round}"),
                    &format!("printf '%s' '{content}' > $out"),
                    &attributes,
                )
            },
            |bed, round, outputs| {
                assert_eq!(
                    read(bed, &outputs[0].path),
                    format!("flat {algorithm} {round}")
                );
                let address = outputs[0].content_address.as_ref().unwrap();
                assert!(
                    address.starts_with(&format!("fixed:{algorithm}:")),
                    "{address}"
                );
            },
        );
    }
}

#[test]
fn fixed_output_recursive() {
    testbed::require!();
    let script = |round: &str, top: &str| {
        format!("mkdir {top}; echo {round} > {top}/file; ln -s file {top}/link")
    };
    let hash = |round: &str| {
        let bed = bed();
        let make = format!(
            "{} && nix-hash --type sha256 --base32 tree-{round}",
            script(round, &format!("tree-{round}"))
        );
        bed.pair
            .coordinator
            .run(&["sh", "-c", &make])
            .unwrap()
            .trim()
            .to_owned()
    };
    let hashes = ["first", "second"].map(hash);
    twice(
        |round| {
            let hash = &hashes[usize::from(round == "second")];
            let attributes = format!(
                "outputHashMode = \"recursive\"; outputHashAlgo = \"sha256\"; outputHash = \"{hash}\";"
            );
            derivation(
                &format!("recursive-{round}"),
                &script(round, "$out"),
                &attributes,
            )
        },
        |bed, round, outputs| {
            assert_eq!(
                read(bed, &format!("{}/file", outputs[0].path)),
                format!("{round}\n")
            );
            let address = outputs[0].content_address.as_ref().unwrap();
            assert!(address.starts_with("fixed:r:sha256:"), "{address}");
        },
    );
}

#[test]
fn a_chain_of_five() {
    testbed::require!();
    twice(
        |round| {
            let link = derivation(
                &format!("chain-{round}-${{toString i}}"),
                "test -z \"$before\" || cat $before > $out; echo $before $i >> $out",
                "inherit before; i = toString i;",
            );
            format!("builtins.foldl' (before: i: {link}) \"\" [ 1 2 3 4 5 ]")
        },
        |bed, _, outputs| {
            let closure = bed
                .pair
                .coordinator
                .run(&["nix-store", "--query", "--requisites", &outputs[0].path])
                .unwrap();
            assert_eq!(closure.lines().count(), 5, "{closure}");
            for path in closure.lines() {
                bed.assert_same_on_both(path);
            }
            let content = read(bed, &outputs[0].path);
            let last_words: Vec<_> = content
                .lines()
                .filter_map(|line| line.split(' ').next_back())
                .collect();
            assert_eq!(last_words, ["1", "2", "3", "4", "5"]);
        },
    );
}

#[test]
fn a_tree_of_every_kind_of_node() {
    testbed::require!();
    let script = r#"
        mkdir -p $out/bin $out/empty $out/deep/er/than/this
        printf '#!/bin/sh\necho runs\n' > $out/bin/program; chmod 755 $out/bin/program
        ln -s program $out/bin/relative; ln -s $out/bin/program $out/absolute; ln -s /nowhere $out/dangling
        : > $out/zero; printf '%s' "$name" > "$out/with space"; : > $out/$(printf 'byte\377')
        head -c 1000003 /dev/zero > $out/deep/er/than/this/large; : > $out/.hidden
        chmod 600 $out/zero"#;
    twice(
        |round| derivation(&format!("tree-{round}"), script, ""),
        |bed, round, outputs| {
            let [here, there] = bed.hosts().map(|host| listing(host, &outputs[0].path));
            assert_eq!(here, there);
            assert!(
                here.lines().all(|line| line.ends_with("|1.0000000000|0:0")),
                "{here}"
            );
            assert!(
                here.contains("bin/program|f|555|") && here.contains("zero|f|444|0|"),
                "{here}"
            );
            assert_eq!(
                read(bed, &format!("{}/with space", outputs[0].path)),
                format!("tree-{round}")
            );
            let program = format!("{}/bin/relative", outputs[0].path);
            assert_eq!(bed.pair.coordinator.run(&[&program]).unwrap(), "runs\n");
        },
    );
}

#[test]
fn a_large_file_there_and_back() {
    testbed::require!();
    let bed = bed();
    let large = derivation("large", "head -c 20000000 /dev/urandom > $out", "");
    bed.use_machines(&[bed.pair.extra_machine_line(Bed::SECOND).to_string()]);
    let made = bed.built(&large);
    // To a builder that does not have it yet, as an input, and back as another output.
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
    let copied = bed.built(&derivation(
        "copied",
        "cp $large $out",
        &format!("large = {large};"),
    ));
    let before = Registration::read(&bed.pair.coordinator, &made[0]).unwrap();
    let after = bed.assert_same_on_both(&copied[0]);
    assert_eq!((before.hash, before.nar_size), (after.hash, after.nar_size));
    bed.assert_clean();
    // Or else every later look at all contents takes its time.
    for host in [
        &bed.pair.coordinator,
        &bed.pair.builder,
        &bed.pair.extra_builders[Bed::SECOND],
    ] {
        let paths: Vec<_> = [&made[0], &copied[0]]
            .into_iter()
            .filter(|path| Registration::read(host, path).is_some())
            .map(String::as_str)
            .collect();
        host.run(&[&["nix-store", "--delete"], &paths[..]].concat())
            .unwrap();
    }
}

#[test]
fn substitutes_not_allowed() {
    testbed::require!();
    twice(
        |round| {
            derivation(
                &format!("unsubstituted-{round}"),
                "echo $name > $out",
                "allowSubstitutes = false;",
            )
        },
        |bed, round, outputs| {
            assert_eq!(
                read(bed, &outputs[0].path),
                format!("unsubstituted-{round}\n")
            );
        },
    );
}

#[test]
fn structured_attributes() {
    testbed::require!();
    // There is no variable but in a file, which is where the builder begins.
    let script = r#"
        attributes=$(/bin/cat .attrs.json)
        outputs=''${attributes#*'"outputs":{"out":"'}
        list=''${attributes#*'"list":["'}
        echo "''${list%%'"'*}" >"''${outputs%%'"'*}"
    "#;
    twice(
        |round| {
            let attributes =
                format!("__structuredAttrs = true; list = [ \"{round}\" {{ nested = true; }} ];");
            derivation(&format!("structured-{round}"), script, &attributes)
        },
        |bed, round, outputs| {
            assert_eq!(read(bed, &outputs[0].path), format!("{round}\n"));
        },
    );
}

/// Every machine is of the system `builtin`.
#[test]
fn a_program_of_the_daemons_own() {
    testbed::require!();
    twice(
        |round| {
            let script = format!("mkdir $out && echo {round} >$out/{round}");
            let package = derivation(&format!("package-{round}"), &script, "");
            format!(
                "derivation {{ name = \"environment-{round}\"; system = \"builtin\"; \
                 builder = \"builtin:buildenv\"; manifest = \"/dev/null\"; \
                 derivations = [ \"true\" \"5\" \"1\" ({package}) ]; }}"
            )
        },
        |bed, round, outputs| {
            let file = format!("{}/{round}", outputs[0].path);
            assert_eq!(bed.run(&["cat", &file]), round);
        },
    );
}

#[test]
fn an_input_that_the_builder_substitutes() {
    testbed::require!();
    let cache = "file:///root/cache";
    let bed = Bed::start_with(&Difference {
        builder_conf: &["substituters = file:///root/cache", "require-sigs = false"],
        ..Difference::default()
    });
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
    let input = derivation("substituted-input", "echo input >$out", "");
    let path = bed.built(&input).remove(0);
    let there = |command: &[&str]| {
        let done = bed.pair.builder.run(command);
        done.unwrap_or_else(|error| panic!("{error}"))
    };
    there(&["nix", "copy", "--to", cache, &path]);
    // Nobody can ask a daemon for it before protocol 1.27, stock neither.
    let is_old = there(&["nix-store", "--version"]).contains(" 2.3.");
    for (name, option) in [("sent", "false"), ("substituted", "true")] {
        there(&["nix-store", "--delete", &path]);
        let expression = derivation(
            name,
            "read -r line <$input; echo $line >$out",
            &format!("input = {input};"),
        );
        let output = bed.build(
            &expression,
            &["--option", "builders-use-substitutes", option, "-vvv"],
        );
        assert!(output.status.success(), "{}", output.stderr);
        let sent = output.stderr.contains(&format!("copying path '{path}'"));
        assert_eq!(sent, is_old || option == "false", "{}", output.stderr);
        there(&["nix-store", "--check-validity", &path]);
        bed.assert_same_on_both(output.stdout.trim());
        there(&["nix-store", "--delete", output.stdout.trim()]);
    }
    bed.assert_clean();
}

#[test]
fn an_input_that_another_builder_made() {
    testbed::require!();
    let bed = bed();
    for round in ["first", "second"] {
        let made = derivation(
            &format!("made-{round}"),
            "mkdir $out; echo $name > $out/name",
            "",
        );
        let uses = derivation(
            &format!("uses-{round}"),
            "ln -s $made/name $out",
            &format!("made = {made};"),
        );
        bed.use_machines(&[bed.pair.extra_machine_line(Bed::SECOND).to_string()]);
        let made = bed.built(&made);
        bed.pair.extra_builders[Bed::SECOND]
            .run(&["nix-store", "--check-validity", &made[0]])
            .unwrap();
        bed.use_machines(&[bed.pair.machine_line().to_string()]);
        let uses = bed.built(&uses);
        let registration = bed.assert_same_on_both(&uses[0]);
        let name = bed.pair.coordinator.run(&["cat", &uses[0]]).unwrap();
        assert_eq!(name, format!("made-{round}\n"));
        assert_eq!(registration.references, made);
    }
    bed.assert_clean();
}

#[test]
fn sixteen_at_once() {
    testbed::require!();
    twice(
        |round| {
            let one = derivation(
                &format!("parallel-{round}-${{toString i}}"),
                "sleep 0.2; echo $name > $out",
                "",
            );
            format!("builtins.genList (i: {one}) 16")
        },
        |_, _, outputs| assert_eq!(outputs.len(), 16),
    );
}

#[test]
fn the_whole_log_of_a_build_that_succeeds() {
    testbed::require!();
    // Of 3000 lines stock's build-remote 2.8.0 keeps some 2500.
    testbed::require!(ours());
    twice(
        |round| {
            let script =
                "i=1; while [ $i -le 3000 ]; do echo $name line $i; i=$((i+1)); done; echo > $out";
            derivation(&format!("long-log-{round}"), script, "")
        },
        |bed, round, outputs| {
            let log = bed
                .pair
                .coordinator
                .run(&["nix", "log", &outputs[0].path])
                .unwrap();
            let expected: String = (1..=3000)
                .map(|i| format!("long-log-{round} line {i}\n"))
                .collect();
            assert_eq!(log.lines().count(), 3000);
            assert!(log == expected, "the log differs from what was printed");
        },
    );
}
