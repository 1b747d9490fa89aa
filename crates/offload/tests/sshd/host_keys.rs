//! Which host keys are believed.

use offload::link::Destination;

use crate::bed::{Bed, requirements};

/// Fingerprints differ from run to run.
fn without_keys(text: &str) -> String {
    let words = text.split(' ').map(|word| match word {
        _ if word.starts_with("SHA256:") => "SHA256:..",
        _ if word.starts_with("AAAA") => "AAAA..",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn known_hosts_of_every_form() {
    testbed::require!(requirements());
    let bed = Bed::new();
    let key = bed.read("host_key.pub");
    let known = bed.path("home/.ssh/known_hosts");
    let reach = |lines: &str| {
        bed.write("home/.ssh/known_hosts", &bed.filled(lines));
        without_keys(&bed.reach("host"))
    };
    bed.configure_host("");
    insta::assert_snapshot!(reach(""), @"host key is not known: it shows ssh-ed25519 SHA256:.. if `ssh-keygen -lf` on the machine prints the same, add the line `[127.0.0.1]:PORT ssh-ed25519 AAAA.. to DIR/home/.ssh/known_hosts");
    for names in ["[127.0.0.1]:PORT", "a,[127.0.0.?]:*", "127.0.0.1", "*,!a"] {
        assert_eq!(reach(&format!("{names} {key}")), "fine", "{names}");
    }
    bed.write(
        "home/.ssh/known_hosts",
        &bed.filled(&format!("[127.0.0.1]:PORT {key}")),
    );
    bed.keygen(&["-q", "-H", "-f", known.to_str().unwrap()]);
    assert!(bed.read("home/.ssh/known_hosts").starts_with("|1|"));
    assert_eq!(bed.reach("host"), "fine");
    insta::assert_snapshot!(reach(&format!("* {key}@revoked * {key}")), @"host key is revoked by DIR/home/.ssh/known_hosts:2: ssh-ed25519 SHA256:..");
    bed.key("other", &["-t", "ed25519"]);
    let other = bed.read("other.pub");
    insta::assert_snapshot!(reach(&format!("# mine\n* {other}")), @"host key has changed: it shows ssh-ed25519 SHA256:.. but DIR/home/.ssh/known_hosts:2 says ssh-ed25519 SHA256:..");
    bed.configure_host("HostKeyAlias farm");
    assert_eq!(reach(&format!("farm {key}")), "fine");
    bed.configure_host("UserKnownHostsFile none DIR/more\nGlobalKnownHostsFile DIR/all");
    bed.write("all", &format!("127.0.0.1 {key}"));
    assert_eq!(bed.reach("host"), "fine");
    bed.configure_host("RevokedHostKeys DIR/host_key.pub");
    assert!(reach(&format!("* {key}")).contains("revoked by DIR/host_key.pub:1"));
}

#[test]
fn a_pinned_key_is_the_only_one() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure_host("");
    bed.key("other", &["-t", "ed25519"]);
    let pinned = |file: &str| Destination {
        host: "host".to_owned(),
        host_key: Some(bed.read(file)),
        ..Destination::default()
    };
    assert_eq!(bed.reach_at(pinned("host_key.pub")), "fine");
    let said = without_keys(&bed.reach_at(pinned("other.pub")));
    insta::assert_snapshot!(said, @"host key has changed: it shows ssh-ed25519 SHA256:.. but the machine list says ssh-ed25519 SHA256:..");
    bed.write("home/.ssh/known_hosts", "");
    assert_eq!(bed.reach_at(pinned("host_key.pub")), "fine");
}

#[test]
fn host_keys_of_every_kind() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure_host("");
    for options in [
        &["-t", "ecdsa", "-b", "256"][..],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "2048"],
    ] {
        bed.key("host_key", options);
        bed.write("home/.ssh/known_hosts", "");
        bed.know_host();
        assert_eq!(bed.reach("host"), "fine", "{options:?}");
    }
    // The kind that is known is asked for, whichever sshd would show.
    bed.key("other", &["-t", "ed25519"]);
    bed.write("sshd_config", &bed.filled("HostKey DIR/other\n"));
    assert_eq!(bed.reach("host"), "fine");
}

#[test]
fn an_authority_vouches_for_hosts() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure_host("");
    bed.write(
        "sshd_config",
        &bed.filled("HostCertificate DIR/host_key-cert.pub\n"),
    );
    let sign = |options: &[&str]| {
        let mut all = vec!["-q", "-s", "ca", "-I", "the farm", "-h"];
        all.extend(options);
        all.push("host_key.pub");
        bed.keygen(&all);
    };
    for (kind, host) in [("ed25519", "rsa"), ("ecdsa", "ed25519"), ("rsa", "ecdsa")] {
        bed.key("ca", &["-t", kind]);
        bed.key("host_key", &["-t", host]);
        let ca = bed.read("ca.pub");
        let trusted = bed.filled(&format!("@cert-authority [127.0.0.*]:PORT {ca}"));
        bed.write("home/.ssh/known_hosts", &trusted);
        sign(&["-n", "127.0.0.1"]);
        assert_eq!(bed.reach("host"), "fine", "{kind} {host}");
    }
    let trusted = bed.read("home/.ssh/known_hosts");
    sign(&["-n", "farm1,farm2"]);
    insta::assert_snapshot!(bed.reach("host"), @r#"host certificate "the farm", signed by the authority of DIR/home/.ssh/known_hosts:1, is for "farm1, farm2" and not for "127.0.0.1""#);
    sign(&["-n", "127.0.0.1", "-V", "20200101:20210101"]);
    insta::assert_snapshot!(bed.reach("host"), @r#"host certificate "the farm", signed by the authority of DIR/home/.ssh/known_hosts:1, is not valid at this time"#);
    bed.keygen(&[
        "-q",
        "-s",
        "ca",
        "-I",
        "me",
        "-n",
        "127.0.0.1",
        "host_key.pub",
    ]);
    insta::assert_snapshot!(bed.reach("host"), @r#"host certificate "me", signed by the authority of DIR/home/.ssh/known_hosts:1, is a user's and no host's"#);
    sign(&["-n", "127.0.0.1"]);
    let ca = bed.read("ca.pub");
    bed.write(
        "home/.ssh/known_hosts",
        &format!("{trusted}@revoked * {ca}"),
    );
    let said = without_keys(&bed.reach("host"));
    insta::assert_snapshot!(said, @"host key is revoked by DIR/home/.ssh/known_hosts:2: ssh-rsa SHA256:..");
    // A key that is known by itself needs nobody's word.
    bed.key("other", &["-t", "ed25519"]);
    let [other, key] = ["other.pub", "host_key.pub"].map(|name| bed.read(name));
    bed.write(
        "home/.ssh/known_hosts",
        &format!("@cert-authority * {other}* {key}"),
    );
    assert_eq!(bed.reach("host"), "fine");
}
