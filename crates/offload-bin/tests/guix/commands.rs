//! `guix offload test` and `guix offload status`: ours beside stock's.

use testbed::{GuixMachine, Host, Output};

use crate::bed::{Bed, LIMIT, OURS, beds, require};

/// Runs `PROGRAM offload ARGUMENTS` on the coordinator.
fn offload(bed: &Bed, program: &str, arguments: &[&str]) -> Output {
    let command = [&[program, "offload"], arguments].concat();
    let output = bed.pair.coordinator.exec_within(LIMIT, &command);
    output.unwrap_or_else(|error| panic!("{error}"))
}

/// The lines, sorted, without what differs each time: digests, and words that are numbers and sizes where those vary.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| {
            let line = match line.split_once("/gnu/store/") {
                Some((before, after)) if after.len() > 32 => {
                    format!("{before}/gnu/store/DIGEST{}", &after[32..])
                }
                _ => line.to_owned(),
            };
            let varies = [
                "normalized load: ",
                "free disk space: ",
                "time difference: ",
            ];
            match varies.iter().find(|name| line.contains(*name)) {
                Some(name) => format!("  {name}VALUE"),
                None => line,
            }
        })
        .collect();
    lines.sort();
    lines
}

/// Asserts that ours has every line of stock's.
fn assert_has_stocks_lines(bed: &Bed, arguments: &[&str]) {
    let [stock, ours] = ["guix", OURS].map(|program| offload(bed, program, arguments));
    let told = format!(
        "{}, {arguments:?}\nstock: {}{}\nours: {}{}",
        bed.version, stock.stdout, stock.stderr, ours.stdout, ours.stderr
    );
    assert!(stock.status.success() && ours.status.success(), "{told}");
    if arguments[0] == "status" {
        assert_eq!(lines(&stock.stdout), lines(&ours.stdout), "{told}");
    }
    let [stock, ours] = [stock, ours].map(|output| lines(&(output.stdout + &output.stderr)));
    // The coordinator's daemon says that, which ours does not need.
    for line in stock
        .iter()
        .filter(|line| !line.starts_with("exporting path"))
    {
        assert!(ours.contains(line), "{line:?} is missing: {told}");
    }
}

#[test]
fn a_test_and_a_status_have_stocks_lines() {
    require!();
    for bed in beds().iter() {
        let machine = bed.pair.guix_machine();
        let twice = GuixMachine {
            systems: "i686-linux".into(),
            ..machine.clone()
        };
        bed.use_machines(&[machine, twice]);
        for command in ["test", "status"] {
            assert_has_stocks_lines(bed, &[command]);
        }
        let other = "/root/other.scm";
        let list = bed.read("/etc/guix/machines.scm");
        bed.pair.coordinator.write_file(other, list).unwrap();
        for arguments in [["test", other, "^127"], ["status", other, "no such"]] {
            assert_has_stocks_lines(bed, &arguments);
        }
        bed.assert_clean();
    }
}

#[test]
fn programs_read_json_and_people_steps() {
    require!();
    for bed in beds().iter() {
        let tested = offload(bed, OURS, &["test", "--json"]);
        assert!(tested.status.success(), "{}", tested.stderr);
        for part in [
            "\"ok\": true",
            "\"step\": \"guile\"",
            "\"way\": \"guix-socket\"",
        ] {
            assert!(tested.stdout.contains(part), "{part}: {}", tested.stdout);
        }
        let status = offload(bed, OURS, &["status", "--json"]);
        assert!(
            status.stdout.contains("\"kernel\": \"Linux\""),
            "{}",
            status.stdout
        );
        let steps = bed.run(&[OURS, "test", "--guix"]);
        assert!(steps.contains("1 of 1 machines would do"), "{steps}");
        for step in [
            "daemon          guix-daemon, protocol",
            "store ",
            "guile ",
            "import ",
            "export ",
        ] {
            assert!(
                steps.contains(&format!("  ok    {step}")),
                "{step}: {steps}"
            );
        }
        let table = bed.run(&[OURS, "status", "--list", "/etc/guix/machines.scm"]);
        assert!(table.contains("by guix-daemon's socket"), "{table}");
    }
}

/// What is told where `guix archive --authorize` was forgotten on `host`.
fn without_keys_on(bed: &Bed, host: &Host) -> String {
    let forget = "mv /etc/guix/acl /root/acl; echo '(acl)' > /etc/guix/acl";
    host.run(&["sh", "-c", forget]).expect("it runs");
    let tested = offload(bed, OURS, &["test"]);
    host.run(&["mv", "/root/acl", "/etc/guix/acl"])
        .expect("it runs");
    assert_eq!(tested.status.code(), Some(1), "{}", tested.stderr);
    tested.stderr
}

#[test]
fn keys_that_nobody_has_let_in_are_found_out() {
    require!();
    for bed in beds().iter() {
        let [here, there] = bed.hosts();
        let said = without_keys_on(bed, there);
        assert!(
            said.contains("import: ") && said.contains("unauthorized"),
            "{said}"
        );
        assert!(said.contains("guix archive --authorize"), "{said}");
        let said = without_keys_on(bed, here);
        assert!(said.contains("successfully imported"), "{said}");
        assert!(
            said.contains("export: ") && said.contains("not authorized"),
            "{said}"
        );
        assert!(said.contains("guix archive --authorize"), "{said}");
    }
}

#[test]
fn a_machine_that_is_down_is_told_and_the_others_are_tested() {
    require!();
    for bed in beds().iter() {
        let machine = bed.pair.guix_machine();
        let down = GuixMachine {
            port: 9,
            ..machine.clone()
        };
        bed.use_machines(&[down, machine]);
        let tested = offload(bed, OURS, &["test"]);
        assert_eq!(tested.status.code(), Some(1), "{}", tested.stderr);
        assert!(
            tested.stderr.contains("error: 127.0.0.1: connection: "),
            "{}",
            tested.stderr
        );
        assert!(
            tested.stderr.contains("Guix is usable on '127.0.0.1'"),
            "{}",
            tested.stderr
        );
        let wrong = offload(bed, OURS, &["test", "a", "b", "c"]);
        assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stderr);
    }
}

/// What Guile's `string-match` makes of each row of the table.
const MATCH: &str = r#"
(use-modules (ice-9 rdelim) (ice-9 regex))
(call-with-input-file "/root/regexps"
  (lambda (port)
    (let loop ((line (read-line port)))
      (unless (eof-object? line)
        (let ((columns (string-split line #\tab)))
          (format #t "~a~%"
                  (catch 'regular-expression-syntax
                    (lambda () (if (string-match (car columns) (cadr columns)) "yes" "no"))
                    (lambda _ "error"))))
        (loop (read-line port))))))
"#;

#[test]
fn regular_expressions_mean_what_they_mean_to_guile() {
    require!();
    let table = include_str!("../../src/posix_regex.txt");
    let rows = table.lines().filter(|line| !line.starts_with("# "));
    let rows: Vec<_> = rows.collect();
    for bed in beds().iter() {
        let coordinator = &bed.pair.coordinator;
        let all = rows.join("\n") + "\n";
        coordinator.write_file("/root/regexps", all).unwrap();
        coordinator.write_file("/root/match.scm", MATCH).unwrap();
        let found = bed.run(&["guix", "repl", "--", "/root/match.scm"]);
        assert_eq!(found.lines().count(), rows.len(), "{found}");
        let wrong = rows.iter().zip(found.lines()).filter(|(row, found)| {
            let outcome = row.rsplit('\t').next().unwrap_or_default();
            outcome.rsplit('/').next() != Some(found)
        });
        let wrong: Vec<_> = wrong.collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", bed.version);
    }
}
