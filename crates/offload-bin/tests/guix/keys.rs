//! Keys that nobody has let in.

use crate::bed::{beds, require};

#[test]
fn outputs_by_an_unknown_key_are_not_kept() {
    require!();
    for bed in beds().iter() {
        bed.run(&["sh", "-c", "cp /etc/guix/acl /root/acl && cp /root/nobody.acl /etc/guix/acl 2>/dev/null || echo '(acl)' > /etc/guix/acl"]);
        let build = bed.build("unknown-key", "echo x > $out", &[]);
        bed.run(&["cp", "/root/acl", "/etc/guix/acl"]);
        assert!(build.failure.is_some(), "{}", build.said);
        assert!(build.said.contains("not authorized"), "{}", build.said);
        assert!(
            build.said.contains(&bed.pair.guix_machine().name),
            "{}",
            build.said
        );
        let left = bed.run(&["sh", "-c", "ls -d /gnu/store/*-unknown-key || true"]);
        assert_eq!(left, "");
        // Once the key is let in it is built.
        let again = bed.build("unknown-key", "echo x > $out", &[]);
        assert_eq!(bed.read(again.out()), "x\n");
        bed.assert_clean();
    }
}

#[test]
fn inputs_by_an_unknown_key_are_refused_by_the_machine() {
    require!();
    for bed in beds().iter() {
        let script = "echo some $inputs > $out";
        bed.build("distrusted", script, &["offload=no"]).out();
        bed.run_there(&[
            "sh",
            "-c",
            "mv /etc/guix/acl /root/acl; echo '(acl)' > /etc/guix/acl",
        ]);
        let build = bed.build("distrusted", script, &["chain=2"]);
        bed.run_there(&["cp", "/root/acl", "/etc/guix/acl"]);
        assert!(build.failure.is_some(), "{}", build.said);
        assert!(build.said.contains("unauthorized"), "{}", build.said);
        bed.assert_clean();
    }
}

#[test]
fn a_machine_without_a_key_is_told_apart() {
    require!();
    for bed in beds().iter() {
        bed.run_there(&["mv", "/etc/guix/signing-key.sec", "/root/key"]);
        let build = bed.build("no-key", "echo x > $out", &[]);
        bed.run_there(&["mv", "/root/key", "/etc/guix/signing-key.sec"]);
        assert!(build.failure.is_some(), "{}", build.said);
        assert!(
            build.said.contains("copy an output from the machine"),
            "{}",
            build.said
        );
    }
}
