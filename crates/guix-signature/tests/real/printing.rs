//! S-expressions are printed as libgcrypt prints them.

use data_encoding::HEXLOWER;
use guix_signature::sexp::Sexp;
use guix_signature::testing;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::agent::LIMIT;
use crate::copies;

/// Reads hexadecimal digits of canonical texts, a line each, and prints those of libgcrypt's advanced texts.
const SCRIPT: &str = r#"
(use-modules (gcrypt pk-crypto) (gcrypt base16) (rnrs bytevectors) (ice-9 rdelim))
(define (latin1->bytes text) (u8-list->bytevector (map char->integer (string->list text))))
(define (bytes->latin1 bytes) (list->string (map integer->char (bytevector->u8-list bytes))))
(let loop ((line (read-line)))
  (unless (eof-object? line)
    (let ((sexp (string->canonical-sexp (bytes->latin1 (base16-string->bytevector line)))))
      (display (bytevector->base16-string (latin1->bytes (canonical-sexp->string sexp))))
      (newline)
      (loop (read-line)))))
"#;

/// libgcrypt takes `0:` for a number with a leading zero, and guile no NUL: neither is in a canonical text then.
fn can_be_asked_for(sexp: &Sexp) -> bool {
    match sexp {
        Sexp::Atom(bytes) => !bytes.is_empty() && !bytes.contains(&0),
        Sexp::List(items) => items.iter().all(can_be_asked_for),
    }
}

#[test]
fn a_thousand_s_expressions_are_printed_with_the_same_bytes() {
    let mut runner = TestRunner::deterministic();
    let strategy = testing::sexp().prop_filter("what can be asked for", can_be_asked_for);
    let sexps: Vec<Sexp> = (0..1_000)
        .map(|_| strategy.new_tree(&mut runner).expect("a value").current())
        .collect();
    let lines = sexps
        .iter()
        .map(|sexp| HEXLOWER.encode(&sexp.to_canonical()) + "\n");
    let lines: String = lines.collect();
    for copy in copies("printing as libgcrypt does") {
        std::fs::write(copy.kept("/etc/guix/print.scm"), SCRIPT).expect("it can be written");
        std::fs::write(copy.kept("/etc/guix/lines"), &lines).expect("it can be written");
        let run = "guix repl -t machine /dev/null </dev/null >/dev/null; guix repl /etc/guix/print.scm </etc/guix/lines";
        let output = copy
            .command("timeout")
            .args([LIMIT, "sh", "-c", run])
            .output()
            .expect("it starts");
        let printed = String::from_utf8(output.stdout).expect("digits");
        let printed: Vec<_> = printed.lines().collect();
        assert_eq!(
            printed.len(),
            sexps.len(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        for (sexp, theirs) in sexps.iter().zip(printed) {
            let theirs = HEXLOWER.decode(theirs.as_bytes()).expect("digits");
            let ours = sexp.to_advanced();
            assert_eq!(
                String::from_utf8_lossy(&ours),
                String::from_utf8_lossy(&theirs)
            );
            assert_eq!(ours, theirs);
        }
        eprintln!(
            "{} s-expressions with {}",
            sexps.len(),
            copy.root().display()
        );
    }
}
