//! The ways to a machine's store daemon: its socket, a command, the serve protocol where a key allows only that; and
//! users whom the daemon does not trust.

use testbed::MachineLine;

use crate::bed::{Bed, bed, derivation, ours};

/// A key of the coordinator's that logs in as `user` and may do what `restriction` says.
pub(crate) fn restricted_key(bed: &Bed, user: &str, home: &str, restriction: &str) -> MachineLine {
    let file = format!("/root/.ssh/restricted-{user}");
    bed.run(&["rm", "-f", &file, &format!("{file}.pub")]);
    let make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &file];
    bed.run(&make);
    let public = bed.run(&["cat", &format!("{file}.pub")]);
    let keys = format!("{home}/.ssh/authorized_keys");
    let before = bed.pair.builder.read_file(&keys).unwrap_or_default();
    let kept: Vec<_> = before
        .lines()
        .filter(|line| !line.contains("restricted"))
        .collect();
    let lines = format!(
        "{}\n{restriction} {} restricted\n",
        kept.join("\n"),
        public.rsplit_once(' ').expect("it ends in a comment").0
    );
    bed.pair
        .builder
        .write_file(&keys, lines)
        .expect("it is written");
    let line = bed.pair.machine_line();
    MachineLine {
        uri: line.uri.replace("root@", &format!("{user}@")),
        key: file,
        ..line
    }
}

/// Builds twice with this machine, the second time with what was learnt the first time, and returns what was said.
fn build_twice(bed: &Bed, line: &MachineLine, name: &str) -> [String; 2] {
    bed.run(&["rm", "-rf", "/nix/var/nix/offload"]);
    bed.use_machines(&[line.to_string()]);
    [1, 2].map(|round| {
        let name = format!("{name}-{round}");
        let input = format!("builtins.toFile \"{name}-input\" \"it is {name}\"");
        let script = "echo loud and clear >&2; cat $input > $out";
        let expression = derivation(&name, script, &format!("input = {input};"));
        let mark = bed.mark();
        let output = bed.build(&expression, &["-vv"]);
        let said = bed.said_since(mark, &output);
        assert!(output.status.success(), "{said}\n{}", bed.logs());
        let out = output.stdout.trim_end();
        assert!(
            bed.run(&["nix-store", "--read-log", out])
                .contains("loud and clear")
        );
        assert_eq!(bed.run(&["cat", out]), format!("it is {name}"));
        bed.assert_same_on_both(out);
        bed.assert_clean();
        said
    })
}

fn assert_way(said: &[String; 2], way: &str) {
    for said in said {
        assert!(said.contains(way), "{way:?} is not said in\n{said}");
    }
}

#[test]
fn a_socket() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let said = build_twice(&bed, &bed.pair.machine_line(), "socket");
    assert_way(&said, "socket /nix/var/nix/daemon-socket/socket");
}

#[test]
fn a_key_that_allows_commands_only() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let line = restricted_key(&bed, "root", "/root", "no-port-forwarding");
    let said = build_twice(&bed, &line, "commands-only");
    assert_way(&said, "nix-daemon --stdio");
}

#[test]
fn a_key_that_allows_the_daemon_only() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let line = restricted_key(
        &bed,
        "root",
        "/root",
        "restrict,command=\"nix-daemon --stdio\"",
    );
    let said = build_twice(&bed, &line, "daemon-only");
    assert_way(&said, "nix-daemon --stdio");
}

#[test]
fn a_key_that_allows_the_serve_protocol_only() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let restriction = "restrict,command=\"nix-store --serve --write\"";
    let line = restricted_key(&bed, "root", "/root", restriction);
    let said = build_twice(&bed, &line, "serve-only");
    assert_way(&said, "serve protocol 2.");
}

#[test]
fn a_build_that_fails_in_the_serve_protocol() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let restriction = "restrict,command=\"nix-store --serve --write\"";
    let line = restricted_key(&bed, "root", "/root", restriction);
    bed.use_machines(&[line.to_string()]);
    let script = "for i in $(seq 300); do echo \"line $i\" >&2; done; exit 3";
    let expression = derivation("serve-fails", script, "");
    let [drv, _] = bed.instantiated(&expression);
    let output = bed.build(&expression, &[]);
    assert!(!output.status.success());
    assert!(output.stderr.contains("exit code 3"), "{}", output.stderr);
    let log = bed.run(&["nix-store", "--read-log", &drv]);
    for line in ["line 1", "line 150", "line 300"] {
        assert!(
            log.lines().any(|logged| logged == line),
            "{line:?} is not in\n{log}"
        );
    }
    bed.assert_clean();
}

/// A user on the builder whom its daemon does not trust.
pub(crate) fn add_user(bed: &Bed) {
    let script = "grep -q ^worker: /etc/passwd && exit; \
        echo worker:x:1234:1234::/home/worker:/bin/sh >> /etc/passwd; \
        echo 'worker:*:19000:0:99999:7:::' >> /etc/shadow; \
        mkdir -p /home/worker/.ssh; chown -R 1234:1234 /home/worker; chmod 700 /home/worker/.ssh";
    bed.pair
        .builder
        .run(&["sh", "-c", script])
        .expect("it runs");
}

#[test]
fn a_user_whom_the_builder_does_not_trust() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    add_user(&bed);
    let line = restricted_key(&bed, "worker", "/home/worker", "");
    let home = ["chown", "-R", "1234:1234", "/home/worker"];
    bed.pair.builder.run(&home).unwrap();
    // Sources are content-addressed, so that anybody may send them.
    build_twice(&bed, &line, "distrusted");

    // What was built here has no signature: the builder has to make it itself.
    let made = derivation(
        "distrusted-made",
        "echo made > $out",
        "preferLocalBuild = true;",
    );
    let local = bed.build(&made, &["--max-jobs", "1", "--option", "builders", ""]);
    assert!(local.status.success(), "{}", local.stderr);
    let user = derivation(
        "distrusted-user",
        "cat $made > $out",
        &format!("made = {made};"),
    );
    let mark = bed.mark();
    let output = bed.build(&user, &[]);
    let said = bed.said_since(mark, &output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("does not trust user worker"), "{said}");
    assert!(said.contains("trusted-users"), "{said}");
    assert_eq!(bed.run(&["cat", output.stdout.trim_end()]), "made");
    bed.assert_clean();
}

/// As stock: there is nothing that such a user could have built there. The message says what would change it.
#[test]
fn a_user_without_trust_who_has_the_serve_protocol_only() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    add_user(&bed);
    let restriction = "restrict,command=\"nix-store --serve --write\"";
    let line = restricted_key(&bed, "worker", "/home/worker", restriction);
    let home = ["chown", "-R", "1234:1234", "/home/worker"];
    bed.pair.builder.run(&home).unwrap();
    bed.use_machines(&[line.to_string()]);
    let output = bed.build(&derivation("serve-distrusted", "echo >$out", ""), &[]);
    let said = &output.stderr;
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("trusted-users = worker"), "{said}");
    bed.assert_clean();
}

#[test]
fn what_was_learnt_of_a_machine_that_has_changed() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let line = bed.pair.machine_line();
    build_twice(&bed, &line, "learnt");
    // Whatever it says, the build goes well: a daemon newer than any, one older, nonsense, an outage.
    for (index, (from, to)) in [
        ("\"protocol\": ", "\"protocol\": 9"),
        ("\"protocol\": ", "\"protocol\": 1"),
        ("\"protocol\": ", "\"protocol\": \"x\", \"old\": "),
        ("\"socket\"", "\"serve\""),
        (
            "\"way\"",
            "\"outage\": {\"failures\": 3, \"last\": 99999999999, \"reason\": \"x\"}, \"way\"",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let edit = format!("s/{}/{}/", from.replace('/', "\\/"), to.replace('/', "\\/"));
        bed.run(&[
            "sh",
            "-c",
            "sed -i \"$0\" /nix/var/nix/offload/*.json",
            &edit,
        ]);
        let out = bed.built(&derivation(&format!("relearnt-{index}"), "echo > $out", ""));
        bed.assert_same_on_both(&out[0]);
    }
    bed.assert_clean();
}
