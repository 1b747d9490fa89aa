//! Ways that are not plain TCP: jump hosts and commands.

use std::time::Duration;

use offload::link::Destination;

use crate::bed::{Bed, Sshd, block_on, echo, requirements};

/// A second sshd with the same files.
fn gate(bed: &Bed) -> Sshd {
    let gate = Sshd::start(bed.folder.path());
    let key = bed.read("host_key.pub");
    bed.append(
        "home/.ssh/known_hosts",
        &format!("[127.0.0.1]:{} {key}", gate.port),
    );
    gate
}

#[test]
fn through_other_hosts() {
    testbed::require!(requirements());
    let bed = Bed::new();
    let (gate, second) = (gate(&bed), gate(&bed));
    let hosts = format!(
        "Host gate
            HostName 127.0.0.1
            Port {}
        Host second
            HostName 127.0.0.1
            Port {}
        Host host
            HostName 127.0.0.1
            Port PORT
            HostKeyAlias known\n",
        gate.port, second.port
    );
    let key = bed.read("host_key.pub");
    bed.append("home/.ssh/known_hosts", &format!("known {key}"));
    let reach = |more: &str| {
        bed.configure(&format!("{hosts}{more}\n"));
        bed.reach("host")
    };
    let turns = |sshd: &Sshd| sshd.seen.lock().unwrap().turns;
    assert_eq!(reach("ProxyJump gate"), "fine");
    assert!(turns(&gate) > 0 && turns(&second) == 0);
    assert_eq!(reach("ProxyJump gate,USER@second"), "fine");
    assert!(turns(&second) > 0);
    // A jump host's own configuration counts as well.
    assert_eq!(
        reach("ProxyJump second\nHost second\nProxyJump gate"),
        "fine"
    );
    insta::assert_snapshot!(reach("Host *\nProxyJump gate"), @"the way to host gate leads through more than 8 jump hosts");
    insta::assert_snapshot!(reach("ProxyJump nobody@gate"), @"failed to reach the jump host 127.0.0.1: user nobody is refused with DIR/home/.ssh/id_ed25519");
    bed.configure("Host gate\nHostName 127.0.0.1\nPort PORT\nHost host\nHostName 127.0.0.1\nPort 1\nProxyJump gate");
    insta::assert_snapshot!(bed.reach("host"), @"failed to reach the jump host 127.0.0.1: connection to 127.0.0.1 port 1 is refused: ConnectFailed");
}

#[test]
fn by_a_command() {
    testbed::require!(requirements());
    let bed = Bed::new();
    let script = "#!/bin/bash\nexec 3<>/dev/tcp/$1/$2\necho $$ >DIR/pid\ncat <&3 & exec cat >&3\n";
    bed.write("proxy", &bed.filled(script));
    bed.configure_host("ProxyCommand bash DIR/proxy %h %p");
    block_on(async {
        let destination = Destination {
            host: "host".to_owned(),
            ..Destination::default()
        };
        let (link, warnings) = bed.connect(destination).await;
        let link = link.unwrap();
        assert_eq!((echo(&link).await.as_str(), warnings), ("fine", Vec::new()));
        let process = format!("/proc/{}/stat", bed.read("pid").trim());
        assert!(std::path::Path::new(&process).exists());
        drop(link);
        // The link's task has to see that it is gone, and the kernel to end the command.
        for _ in 0..1000 {
            let state = std::fs::read_to_string(&process).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the command outlives its link");
    });
    bed.configure_host("ProxyCommand sh -c 'echo no way to %n >&2; exit 1'");
    let said = bed.reach("host");
    insta::assert_snapshot!(said, @r#"failed to connect by ProxyCommand "sh ..": no way to host"#);
    bed.configure_host("ProxyCommand /nowhere/nc %h");
    insta::assert_snapshot!(bed.reach("host"), @r#"failed to connect by ProxyCommand "/nowhere/nc ..": /bin/sh: 1: exec: /nowhere/nc: not found"#);
    bed.configure_host("ProxyCommand nc %z");
    insta::assert_snapshot!(bed.reach("host"), @r#"failed to expand the ProxyCommand of host host: %z has no meaning in "nc ..""#);
}
