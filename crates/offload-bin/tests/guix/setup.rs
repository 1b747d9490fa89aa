//! What the README says of setting it up with Guix, done as it stands there.

use testbed::Output;

use crate::{
    bed::{Bed, LIMIT, OURS, beds, require},
    daemon::SecondDaemon,
};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));

/// Where the page has the program.
const PROGRAM: &str = "/usr/local/bin/offload";

/// The nth block of that kind in the page's part about Guix.
fn block(kind: &str, nth: usize) -> String {
    let (_, part) = PAGE.split_once("\n### Guix\n").expect("the page has it");
    let (part, _) = part.split_once("\n### ").expect("others follow");
    let fence = format!("```{kind}\n");
    let text = part.split(&fence).skip(1).nth(nth);
    let text = text.unwrap_or_else(|| panic!("there is a block of {kind}"));
    let (text, _) = text.split_once("```").expect("it ends");
    text.replace(PROGRAM, OURS)
}

/// The set-up's last step, and a build by a daemon with this in its environment.
fn assert_works(bed: &Bed, name: &str, environment: &[&str]) {
    let told = format!("{}, {environment:?}", bed.version);
    let daemon = SecondDaemon::start(&bed.pair.coordinator, environment);
    let build = daemon.build(name, "echo x > $out", &[]);
    assert!(build.was_remote(), "{told}: {}", build.said);
    // Stock says who speaks.
    assert!(!build.said.contains("guix offload: "), "{}", build.said);
    assert_eq!(bed.read(build.out()), "x\n");
    // The daemon has the real guix sign it.
    let export = format!(
        "GUIX_DAEMON_SOCKET=/var/guix/second-socket guix archive --export {} | grep -ac sig-val",
        build.out()
    );
    assert_eq!(bed.run(&["sh", "-c", &export]), "1", "{told}");
    drop(daemon);
    bed.assert_clean();
}

/// Runs what the page says comes last.
fn assert_tests_well(bed: &Bed, command: &str) {
    let script = format!("offload() {{ {OURS} \"$@\"; }}\n{command}");
    let tested: Output = bed
        .pair
        .coordinator
        .exec_within(LIMIT, &["sh", "-c", &script])
        .expect("it ends");
    let said = tested.stdout + &tested.stderr;
    assert!(tested.status.success(), "{}: {said}", bed.version);
    assert!(said.contains("Guix is usable on '"), "{said}");
}

#[test]
fn on_another_distribution() {
    require!();
    let [block, back] = [0, 1].map(|nth| block("console", nth));
    let mut lines = block.lines();
    assert_eq!(lines.next(), Some("# systemctl edit guix-daemon"));
    assert_eq!(lines.next(), Some("[Service]"));
    let variable = lines
        .next()
        .and_then(|line| line.strip_prefix("Environment="));
    let variable = variable.expect("a setting of the unit");
    assert_eq!(lines.next(), Some("# systemctl restart guix-daemon"));
    let last = lines.next().and_then(|line| line.strip_prefix("# "));
    let last = last.expect("a root's prompt");
    let back = back.lines().map(|line| line.strip_prefix("# "));
    let Some(
        [
            Some("systemctl revert guix-daemon"),
            Some("systemctl restart guix-daemon"),
            Some(forget),
        ],
    ) = back.collect::<Vec<_>>().as_slice().as_array().copied()
    else {
        panic!("the way back is the unit as it was, and to forget what was learnt");
    };
    for bed in beds().iter() {
        // What systemd gives a service, and Debian's unit.
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";
        assert_works(
            bed,
            "set-up-by-systemd",
            &[path, "LC_ALL=C.UTF-8", variable],
        );
        assert_tests_well(bed, last);
        bed.run(&["test", "-d", "/var/guix/offload/knowledge"]);
        bed.run(&["sh", "-c", forget]);
        let left = bed.run(&["ls", "/var/guix/offload"]);
        // Stock has these, too.
        let is_stocks = |name: &str| name.contains(':') || name.ends_with("-lock");
        assert!(left.lines().all(is_stocks), "{left}");
    }
}

/// Prints what guix-daemon's service puts into its environment where `SERVICES` are a system's.
const SERVICE: &str = r#"
(use-modules (gnu services) (gnu services base) (gnu services shepherd)
             (guix gexp) (ice-9 match) (srfi srfi-1))
(unless (module-variable (resolve-module '(gnu services base)) 'guix-configuration-environment)
  (display "no such field\n")
  (exit 0))
(define services (primitive-eval (call-with-input-file "/root/services.scm" read)))
(define guix
  (find (lambda (service) (eq? (service-kind service) guix-service-type)) services))
(define extension
  (find (lambda (extension)
          (eq? (service-extension-target extension) shepherd-root-service-type))
        (service-type-extensions guix-service-type)))
(define daemon
  (find (lambda (service) (memq 'guix-daemon (shepherd-service-provision service)))
        ((service-extension-compute extension) (service-value guix))))
(let loop ((form (gexp->approximate-sexp (shepherd-service-start daemon))))
  (match form
    (('define 'environment-variables value)
     (let strings ((value value))
       (match value
         ((? string?) (format #t "~a~%" value))
         ((head . tail) (strings head) (strings tail))
         (_ #f))))
    ((head . tail) (loop head) (loop tail))
    (_ #f)))
"#;

#[test]
fn on_guix_system() {
    require!();
    let services = block("scheme", 0);
    for bed in beds().iter() {
        let coordinator = &bed.pair.coordinator;
        for (file, text) in [
            ("/root/services.scm", &*services),
            ("/root/service.scm", SERVICE),
        ] {
            coordinator.write_file(file, text).expect("it is written");
        }
        let said = bed.run(&["guix", "repl", "--", "/root/service.scm"]);
        if said == "no such field" {
            // 1.2.0's service has none.
            assert!(bed.version.starts_with("guix 1.2.0 "), "{}", bed.version);
            continue;
        }
        let ours = format!("GUIX={OURS}");
        assert!(said.lines().any(|line| line == ours), "{said}");
        assert!(
            said.contains("PATH=") && !said.contains("profile/bin"),
            "{said}"
        );
        // There the service's path has no guix, but every system has one here.
        bed.run(&[
            "sh",
            "-c",
            "mkdir -p /run/current-system/profile/bin && ln -sf /usr/bin/guix /run/current-system/profile/bin/",
        ]);
        assert_works(
            bed,
            "set-up-by-shepherd",
            &["PATH=/run/privileged/bin", "LC_ALL=C.UTF-8", &ours],
        );
        bed.run(&["rm", "-r", "/run/current-system"]);
    }
}
