//! Stock's `guix offload` beside ours, on the same hosts.

use std::thread;

use testbed::{GuixMachine, Output};

use crate::{
    bed::{Bed, Build, LIMIT, OURS, beds, require},
    daemon::SecondDaemon,
};

/// A second daemon of the coordinator, whose hook is stock's.
fn stock(bed: &Bed) -> SecondDaemon<'_> {
    let environment = ["HOME=/root", "LANG=C.UTF-8", "PATH=/usr/bin:/bin"];
    SecondDaemon::start(&bed.pair.coordinator, &environment)
}

/// The trace of a build, each line once, without digests and process numbers.
fn trace(build: &Build) -> Vec<String> {
    let lines = build.said.lines().filter(|line| line.starts_with("@ "));
    let mut lines: Vec<_> = lines
        .map(|line| {
            let words = without_digests(line);
            let words = words.split(' ').map(|word| match word {
                _ if word.starts_with("/var/log/") => "LOG",
                _ if word.parse::<u32>().is_ok_and(|number| number > 1000) => "PID",
                _ => word,
            });
            let line = words.collect::<Vec<_>>().join(" ");
            line.replace("-by-stock", "").replace("-by-ours", "")
        })
        .filter(|line| !is_the_machines(line))
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

/// How the lines begin that stock tells of a build, in their order; the last comes from the daemons, of which there are two.
fn landmarks(build: &Build) -> Vec<&'static str> {
    const LANDMARKS: [&str; 9] = [
        "process ",
        "normalized load on machine ",
        "sending ",
        "offloading '",
        "@ build-remote ",
        "retrieving ",
        "importing file or directory '",
        "found valid signature for '",
        "done with offloaded '",
    ];
    let lines = build.said.lines();
    let plain = lines.map(|line| line.trim_start_matches("guix offload: "));
    let found = plain.filter_map(|line| LANDMARKS.into_iter().find(|mark| line.starts_with(mark)));
    found.collect()
}

/// Store paths begin with their names.
fn without_digests(line: &str) -> String {
    let mut parts = line.split("/gnu/store/");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.get(33..).unwrap_or(part))
}

/// Traces of the machine's own daemon, which stock 1.5.0 does not ask for by mistake: it compares "true" with "1".
fn is_the_machines(line: &str) -> bool {
    let starts = ["@ build-log ", "@ build-started ", "@ hash-mismatch "];
    let parts = ["failed with exit code 3", " - 1 hash mismatch "];
    starts.iter().any(|start| line.starts_with(start))
        || parts.iter().any(|part| line.contains(part))
}

#[test]
fn builds_are_told_and_end_alike() {
    require!();
    for bed in beds().iter() {
        let stock = stock(bed);
        let wrong = format!("sha256={}", "0".repeat(64));
        // Not among them: builds that take too long, which stock tells in one way or another.
        let cases: [(&str, &str, &[&str]); 3] = [
            ("fine", "echo said; echo x > $out", &[]),
            ("failing", "echo said; exit 3", &[]),
            ("wrong-hash", "echo x > $out", &[&wrong]),
        ];
        for (name, script, options) in cases {
            let theirs = stock.build(&format!("{name}-by-stock"), script, options);
            let ours = bed.build(&format!("{name}-by-ours"), script, options);
            let told = format!(
                "{}\nstock: {}\nours: {}",
                bed.version, theirs.said, ours.said
            );
            let status = |build: &Build| build.failure.as_ref().map(|(status, _)| *status);
            assert_eq!(status(&theirs), status(&ours), "{told}");
            assert_eq!(trace(&theirs), trace(&ours), "{told}");
            assert_eq!(landmarks(&theirs), landmarks(&ours), "{told}");
            assert_eq!(
                theirs.said.contains("said\n"),
                ours.said.contains("said\n"),
                "{told}"
            );
        }
        drop(stock);
        bed.assert_clean();
    }
}

/// What a hook says, and how it ends, that is given `requests` and these bounds in seconds, as a daemon gives them.
fn ask(bed: &Bed, program: &str, [silence, time]: [u32; 2], requests: &str) -> Output {
    bed.pair
        .coordinator
        .write_file("/root/requests", requests)
        .expect("it is written");
    let hook = format!(
        "{program} offload x86_64-linux {silence} 1 {time} < /root/requests 4>/dev/null 2>&1"
    );
    let asked = bed
        .pair
        .coordinator
        .exec_within(LIMIT, &["sh", "-c", &hook]);
    asked.expect("it ends")
}

/// The replies, and how the process ends, for `requests` on its standard input.
fn replies(bed: &Bed, program: &str, requests: &str) -> (Vec<String>, Option<i32>) {
    let output = ask(bed, program, [3600, 7200], requests);
    let replies = output.stdout.lines().filter(|line| line.starts_with("# "));
    (replies.map(str::to_owned).collect(), output.status.code())
}

/// How a build ends that takes too long.
struct TooLong {
    name: &'static str,
    script: &'static str,
    /// For the daemon that the client asks.
    option: &'static str,
    /// For a hook: silence and time.
    bounds: [u32; 2],
}

/// The daemon that the client asks has bounds of its own, and kills its hook (101) unless that comes first. Stock's hook
/// alone ends with 100 where the machine's daemon found the build silent, and with 1 where it ran out of time itself
/// (both versions), so that the client is told a verdict on the build or that nobody knows. Ours ends with 101.
#[test]
fn a_build_that_takes_too_long_is_told_as_that() {
    require!();
    let cases = [
        TooLong {
            name: "silent",
            script: "sleep 60; echo > $out",
            option: "silence=3",
            bounds: [3, 7200],
        },
        TooLong {
            name: "long",
            script: "while sleep 0.2; do echo said; done",
            option: "timeout=3",
            bounds: [3600, 3],
        },
    ];
    for bed in beds().iter() {
        for case in &cases {
            let build = bed.build(case.name, case.script, &[case.option]);
            let told = format!("{}, {}: {}", bed.version, case.name, build.said);
            let (status, _) = build.failure.expect("it fails");
            assert_eq!(status, 101, "{told}");
            let drv = &build.derivation;
            let trace = format!("@ build-failed {drv} - timeout");
            assert!(build.said.contains(&trace), "{told}");
            let requests = requests_for(bed, drv);
            for (program, codes) in [(OURS, &[101][..]), ("guix", &[1, 100])] {
                let output = ask(bed, program, case.bounds, &requests);
                let said = &output.stdout;
                let told = format!("{}, {program}, {}: {said}", bed.version, case.name);
                assert!(said.contains("# accept"), "{told}");
                let code = output.status.code().expect("no signal ends it");
                assert!(codes.contains(&code), "{code}: {told}");
            }
        }
        bed.assert_clean();
    }
}

/// A request for a derivation with the output `out`, and what a daemon says once it is accepted.
fn requests_for(bed: &Bed, drv: &str) -> String {
    let inputs = bed.run(&["guix", "gc", "--requisites", drv]);
    // Derive([("out","/gnu/store/..","","")],..
    let text = bed.read(drv);
    let output = text.split('"').nth(3).expect("it has an output");
    format!(
        "0 x86_64-linux {drv} \n{} \n{output} \n",
        inputs.replace('\n', " ")
    )
}

#[test]
fn requests_are_answered_alike() {
    require!();
    for bed in beds().iter() {
        let build = bed.build("asked-for", "echo x > $out", &[]);
        let drv = &build.derivation;
        let machine = bed.pair.guix_machine();
        let overloaded = GuixMachine {
            overload_threshold: "0.0".into(),
            ..machine.clone()
        };
        let cases = [
            (
                "other system",
                vec![machine.clone()],
                format!("1 riscv64-linux {drv} \n0 aarch64-linux {drv} \n"),
            ),
            (
                "feature",
                vec![machine.clone()],
                format!("1 x86_64-linux {drv} kvm\n"),
            ),
            (
                "none",
                vec![],
                format!("1 x86_64-linux {drv} \n0 x86_64-linux {drv} \n"),
            ),
            ("nothing asked", vec![machine], String::new()),
            // Stock waits for it even where the daemon could build; ours only where it could not.
            (
                "overloaded",
                vec![overloaded],
                format!("0 x86_64-linux {drv} \n"),
            ),
        ];
        for (case, machines, requests) in cases {
            bed.use_machines(&machines);
            let [theirs, ours] = ["guix", OURS].map(|program| replies(bed, program, &requests));
            assert_eq!(theirs, ours, "{}, {case}", bed.version);
        }
        bed.assert_clean();
    }
}

#[test]
fn slots_are_shared() {
    require!();
    for bed in beds().iter() {
        let machine = GuixMachine {
            parallel_builds: 1,
            ..bed.pair.guix_machine()
        };
        bed.use_machines(&[machine]);
        bed.run_there(&["rm", "-f", "/tmp/slots"]);
        let script = "echo begin >> /tmp/slots; sleep 2; echo end >> /tmp/slots; echo x > $out";
        let stock = stock(bed);
        let builds = thread::scope(|scope| {
            let theirs = scope.spawn(|| stock.build("one-slot-by-stock", script, &["parallel=2"]));
            let ours = scope.spawn(|| bed.build("one-slot-by-ours", script, &["parallel=2"]));
            [theirs, ours].map(|client| client.join().expect("the thread does not panic"))
        });
        drop(stock);
        for build in &builds {
            assert_eq!(build.failure, None, "{}", build.said);
            assert_eq!(
                build.said.matches("@ build-remote ").count(),
                2,
                "{}",
                build.said
            );
        }
        let log = bed.run_there(&["cat", "/tmp/slots"]);
        assert_eq!(log, ["begin\nend"; 4].join("\n"), "one at a time");
        bed.assert_clean();
    }
}
