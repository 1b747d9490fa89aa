//! Machines that are reached as root's own OpenSSH configuration says.

use testbed::MachineLine;

use crate::bed::{Bed, bed, derivation, ours};

/// A machine that only the configuration knows: no key, no host key.
fn alias(name: &str) -> String {
    let line = MachineLine {
        key: "-".into(),
        ..MachineLine::new(format!("ssh-ng://{name}"))
    };
    line.to_string()
}

/// Does something with this as root's `~/.ssh/config`, and both builders' keys in `known_hosts`.
fn with_config(bed: &Bed, config: &str, action: impl FnOnce()) {
    let coordinator = &bed.pair.coordinator;
    let key = |host: &testbed::Host| {
        host.read_file("/etc/ssh/ssh_host_ed25519_key.pub")
            .expect("sshd has a key")
    };
    let second = key(&bed.pair.extra_builders[Bed::SECOND]);
    let known = format!("farm {}127.0.0.2 {second}", key(&bed.pair.builder));
    let write = |file: &str, text: &str| {
        coordinator
            .write_file(file, text)
            .expect("the file is written");
        bed.run(&["chmod", "600", file]);
    };
    write("/root/.ssh/known_hosts", &known);
    bed.run(&["ssh-keygen", "-q", "-H", "-f", "/root/.ssh/known_hosts"]);
    write("/root/.ssh/config", config);
    bed.run(&["mv", "/root/.ssh/id_ed25519", "/root/.ssh/farm"]);
    action();
    bed.run(&["mv", "/root/.ssh/farm", "/root/.ssh/id_ed25519"]);
    bed.run(&["sh", "-c", "rm /root/.ssh/config /root/.ssh/known_hosts*"]);
    bed.use_machines(&[bed.pair.machine_line().to_string()]);
}

const FARM: &str = "
Host farm
    HostName 127.0.0.1
    HostKeyAlias farm
    User root
    IdentityFile ~/.ssh/%n
Host gate
    HostName 127.0.0.2
    IdentityFile /root/.ssh/farm
";

#[test]
fn a_machine_named_by_an_alias() {
    testbed::require!();
    let bed = bed();
    with_config(&bed, FARM, || {
        bed.use_machines(&[alias("farm")]);
        let built = bed.built(&derivation("by-alias", "echo > $out", ""));
        bed.assert_same_on_both(&built[0]);
    });
    bed.assert_clean();
}

#[test]
fn what_is_not_honoured_is_told_once() {
    testbed::require!();
    testbed::require!(ours());
    let bed = bed();
    let more = format!("{FARM}Host *\n    Ciphers aes256-gcm@openssh.com\n");
    with_config(&bed, &more, || {
        bed.use_machines(&[alias("farm")]);
        let said = ["told-first", "told-no-more"].map(|name| {
            let mark = bed.mark();
            let output = bed.build(&derivation(name, "echo > $out", ""), &[]);
            assert!(output.status.success(), "{}", output.stderr);
            bed.said_since(mark, &output)
        });
        let remark = "/root/.ssh/config:11: Ciphers aes256-gcm@openssh.com is not honoured";
        assert!(said[0].contains(remark), "{}", said[0]);
        assert!(!said[1].contains(remark), "{}", said[1]);
    });
    bed.assert_clean();
}

#[test]
fn a_machine_behind_another_host() {
    testbed::require!();
    let bed = bed();
    let behind = format!("{FARM}Match originalhost farm\n    ProxyJump gate\n");
    with_config(&bed, &behind, || {
        bed.use_machines(&[alias("farm")]);
        let built = bed.built(&derivation("behind-a-gate", "echo > $out", ""));
        bed.assert_same_on_both(&built[0]);
    });
    bed.assert_clean();
}

/// A bed of its own, because the hook's environment is for good.
#[test]
fn the_options_of_the_hooks_environment() {
    testbed::require!();
    testbed::require!(ours());
    let options = "-i /root/.ssh/farm -o UserKnownHostsFile=/root/known";
    let bed = Bed::start(&format!("NIX_SSHOPTS='{options}'"), None);
    let key = bed
        .pair
        .builder
        .read_file("/etc/ssh/ssh_host_ed25519_key.pub")
        .expect("sshd has a key");
    bed.pair
        .coordinator
        .write_file("/root/known", format!("127.0.0.1 {key}"))
        .expect("the file is written");
    bed.run(&["mv", "/root/.ssh/id_ed25519", "/root/.ssh/farm"]);
    bed.use_machines(&[alias("root@127.0.0.1")]);
    let built = bed.built(&derivation("by-options", "echo > $out", ""));
    bed.assert_same_on_both(&built[0]);
    bed.assert_clean();
}
