//! Keys that only libgcrypt knows: `guix authenticate` signs with them and judges them.

use crate::bed::{Bed, BedOptions, require, roots};

/// A bed both of whose hosts have RSA keys, and know only those.
fn bed(root: &std::path::Path) -> Bed {
    let bed = Bed::start(&BedOptions::of(root));
    for host in bed.hosts() {
        let generate = "rm -f /etc/guix/signing-key.* /etc/guix/acl; echo '(acl)' > /etc/guix/acl; \
                        guix archive --generate-key='(genkey (rsa (nbits 4:2048)))'";
        let made = host.run(&["sh", "-c", generate]);
        made.unwrap_or_else(|error| panic!("{error}"));
    }
    let [here, there] = bed.hosts();
    here.let_sign_for(there).expect("it may sign");
    there.let_sign_for(here).expect("it may sign");
    bed
}

#[test]
fn rsa_keys_sign_and_are_verified() {
    require!();
    for root in roots() {
        let bed = bed(&root);
        bed.use_machines(&[bed.pair.guix_machine()]);
        let key = bed.read("/etc/guix/signing-key.pub");
        assert!(key.contains("rsa"), "{key}");
        let script = "echo some $inputs > $out";
        for round in ["first", "second"] {
            let name = format!("rsa-{round}");
            bed.build(&name, script, &["offload=no"]).out();
            // Its input goes there signed, and its output comes back signed.
            let build = bed.build(&name, script, &["chain=2"]);
            assert!(build.was_remote(), "{}", build.said);
            assert!(bed.read(build.out()).starts_with("some /gnu/store/"));
        }
        let tested = bed.run(&[crate::bed::OURS, "test", "--guix"]);
        assert!(tested.contains("1 of 1 machines would do"), "{tested}");

        let forget = "mv /etc/guix/acl /root/acl; echo '(acl)' > /etc/guix/acl";
        bed.run(&["sh", "-c", forget]);
        let build = bed.build("rsa-unknown", "echo x > $out", &[]);
        bed.run(&["cp", "/root/acl", "/etc/guix/acl"]);
        assert!(build.failure.is_some(), "{}", build.said);
        assert!(
            build.said.contains("unauthorized public key"),
            "{}",
            build.said
        );
        let left = bed.run(&["sh", "-c", "ls -d /gnu/store/*-rsa-unknown || true"]);
        assert_eq!(left, "");
        bed.assert_clean();
    }
}
