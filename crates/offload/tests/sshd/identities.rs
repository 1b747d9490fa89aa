//! Who connects: keys of every kind, certificates, agents, and what the configuration says.

use offload::link::Destination;

use tokio::io::AsyncReadExt;

use crate::bed::{Agent, Bed, block_on, requirements, user};

fn to(host: &str) -> Destination {
    Destination {
        host: host.to_owned(),
        ..Destination::default()
    }
}

#[test]
fn keys_of_every_kind_and_format() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure_host("IdentityFile DIR/key");
    for options in [
        &["-t", "ed25519"][..],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "2048", "-m", "PEM"],
        &["-t", "rsa", "-b", "2048", "-m", "PKCS8"],
        &["-t", "ecdsa", "-m", "PEM"],
        &["-t", "ecdsa", "-m", "PKCS8"],
    ] {
        bed.key("key", options);
        assert_eq!(
            bed.reach("host"),
            format!("user USER is refused with DIR/key"),
            "{options:?}"
        );
        bed.write("authorized_keys", &bed.read("key.pub"));
        assert_eq!(bed.reach("host"), "fine", "{options:?}");
    }
    // SHA-1 is not asked for.
    bed.key("key", &["-t", "rsa", "-b", "2048"]);
    bed.write("authorized_keys", &bed.read("key.pub"));
    bed.write("sshd_config", "PubkeyAcceptedAlgorithms ssh-rsa\n");
    insta::assert_snapshot!(bed.reach("host"), @"user USER is refused with DIR/key");
}

#[test]
fn an_alias_of_the_users_configuration() {
    testbed::require!(requirements());
    let bed = Bed::new();
    std::fs::rename(bed.path("home/.ssh/id_ed25519"), bed.path("home/.ssh/farm")).unwrap();
    bed.configure(
        "Host farm
            HostName 127.0.0.1
            Port PORT
            User nobody-at-all
            IdentityFile ~/.ssh/%n
        Host *
            StrictHostKeyChecking accept-new
            Ciphers aes256-gcm@openssh.com",
    );
    let as_myself = Destination {
        user: Some(user()),
        ..to("farm")
    };
    insta::assert_snapshot!(bed.reach_at(as_myself), @r"
    fine
    DIR/home/.ssh/config:7: StrictHostKeyChecking accept-new is not honoured: unknown host keys are always refused
    DIR/home/.ssh/config:8: Ciphers aes256-gcm@openssh.com is not honoured
    ");
    let said = bed.reach("farm");
    assert!(
        said.starts_with("user nobody-at-all is refused with DIR/home/.ssh/farm\n"),
        "{said}"
    );
}

#[test]
fn the_systems_configuration_comes_last() {
    testbed::require!(requirements());
    let bed = Bed::new();
    let known = bed.read("home/.ssh/known_hosts");
    bed.write("ssh/ssh_known_hosts2", &known);
    std::fs::remove_file(bed.path("home/.ssh/known_hosts")).unwrap();
    bed.write("ssh/ssh_config", &bed.filled("Port PORT\nUser nobody\n"));
    bed.configure("User USER");
    assert_eq!(bed.reach("127.0.0.1"), "fine");
}

#[test]
fn the_machines_own_key_is_the_only_one() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure_host("");
    bed.key("key", &["-t", "ed25519"]);
    let with_key = |key: &str| Destination {
        key: Some(bed.path(key)),
        ..to("host")
    };
    insta::assert_snapshot!(bed.reach_at(with_key("key")), @"user USER is refused with DIR/key");
    insta::assert_snapshot!(bed.reach_at(with_key("none")), @"failed to read the private key DIR/none: no such file");
    assert_eq!(bed.reach_at(with_key("home/.ssh/id_ed25519")), "fine");
}

#[test]
fn keys_with_a_passphrase_are_an_agents() {
    testbed::require!(requirements());
    let mut bed = Bed::new();
    let agent = Agent::start(&bed);
    agent.add(&bed, "home/.ssh/id_ed25519");
    let key = bed.path("home/.ssh/id_ed25519");
    bed.keygen(&["-p", "-P", "", "-N", "secret", "-f", key.to_str().unwrap()]);
    bed.configure_host("");
    insta::assert_snapshot!(bed.reach("host"), @"no private key is given, no agent either, and none of these is of use: private key is protected by a passphrase, which only an agent could use here: DIR/home/.ssh/id_ed25519");
    let named = Destination {
        key: Some(key.clone()),
        ..to("host")
    };
    insta::assert_snapshot!(bed.reach_at(named.clone()), @"private key is protected by a passphrase, which only an agent could use here: DIR/home/.ssh/id_ed25519");
    let socket = agent.socket.to_str().unwrap().to_owned();
    bed.environment = vec![("SSH_AUTH_SOCK".to_owned(), socket)];
    assert_eq!(bed.reach("host"), "fine");
    assert_eq!(bed.reach_at(named), "fine");
    bed.configure_host("IdentityAgent none");
    assert!(bed.reach("host").contains("passphrase"));
}

#[test]
fn an_agents_keys_of_every_kind() {
    testbed::require!(requirements());
    let bed = Bed::new();
    let agent = Agent::start(&bed);
    bed.configure_host("IdentityAgent DIR/agent\nIdentityFile DIR/none");
    insta::assert_snapshot!(bed.reach("host"), @"user USER is refused with no key to try");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        bed.key("key", &["-t", kind]);
        agent.add(&bed, "key");
        std::fs::remove_file(bed.path("key")).unwrap();
        bed.write("authorized_keys", &bed.read("key.pub"));
        assert_eq!(bed.reach("host"), "fine", "{kind}");
    }
    // The last one by its public half only, and then not at all.
    bed.configure_host("IdentityAgent DIR/agent\nIdentityFile DIR/key\nIdentitiesOnly yes");
    assert_eq!(bed.reach("host"), "fine");
    bed.configure_host("IdentityAgent DIR/agent\nIdentityFile DIR/key.pub\nIdentitiesOnly yes");
    assert_eq!(bed.reach("host"), "fine");
    bed.configure_host("IdentityAgent DIR/agent\nIdentityFile DIR/none\nIdentitiesOnly yes");
    insta::assert_snapshot!(bed.reach("host"), @"user USER is refused with no key to try");
    drop(agent);
    insta::assert_snapshot!(bed.reach("host"), @"user USER is refused with no key to try (the agent at DIR/agent: No such file or directory (os error 2))");
}

#[test]
fn certificates_beside_keys_by_name_and_in_agents() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.key("ca", &["-t", "ecdsa"]);
    bed.write("authorized_keys", "");
    bed.write("sshd_config", &bed.filled("TrustedUserCAKeys DIR/ca.pub\n"));
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let _ = std::fs::remove_file(bed.path("key-cert.pub"));
        let _ = std::fs::remove_file(bed.path("elsewhere"));
        bed.key("key", &["-t", kind]);
        bed.configure_host("IdentityFile DIR/key");
        insta::allow_duplicates! {
            insta::assert_snapshot!(bed.reach("host"), @"user USER is refused with DIR/key");
        }
        bed.keygen(&["-q", "-s", "ca", "-I", "me", "-n", &user(), "key.pub"]);
        assert_eq!(bed.reach("host"), "fine", "{kind}");
        std::fs::rename(bed.path("key-cert.pub"), bed.path("elsewhere")).unwrap();
        bed.configure_host("IdentityFile DIR/key\nCertificateFile DIR/elsewhere");
        assert_eq!(bed.reach("host"), "fine", "{kind}");
        std::fs::rename(bed.path("elsewhere"), bed.path("key-cert.pub")).unwrap();
        let agent = Agent::start(&bed);
        agent.add(&bed, "key");
        bed.configure_host("IdentityFile DIR/none\nIdentityAgent DIR/agent");
        assert_eq!(bed.reach("host"), "fine", "{kind}");
    }
    bed.keygen(&[
        "-q",
        "-s",
        "ca",
        "-I",
        "them",
        "-n",
        "somebody-else",
        "key.pub",
    ]);
    bed.configure_host("IdentityFile DIR/key");
    insta::assert_snapshot!(bed.reach("host"), @r#"user USER is refused with DIR/key (certificate "them"), DIR/key"#);
}

#[test]
fn the_options_of_stock_nix() {
    testbed::require!(requirements());
    let mut bed = Bed::new();
    bed.key("key", &["-t", "ed25519"]);
    bed.write("authorized_keys", &bed.read("key.pub"));
    bed.write("elsewhere", &bed.read("home/.ssh/known_hosts"));
    bed.write("home/.ssh/known_hosts", "");
    bed.configure("Port 1\nUser nobody");
    let options = "-i DIR/key -p PORT -o 'UserKnownHostsFile DIR/elsewhere' -l USER -C -c aes -4";
    let options = bed.filled(options);
    bed.environment = vec![("NIX_SSHOPTS".to_owned(), options)];
    insta::assert_snapshot!(bed.reach("127.0.0.1"), @r"
    fine
    NIX_SSHOPTS: -c aes is not honoured
    ");
    bed.write(
        "other",
        &bed.filled("Host host\n HostName 127.0.0.1\n Port PORT\n"),
    );
    let options = bed.filled("-F DIR/other -i DIR/key -o UserKnownHostsFile=DIR/elsewhere");
    bed.environment = vec![("NIX_SSHOPTS".to_owned(), options)];
    assert_eq!(bed.reach("host"), "fine");
}

#[test]
fn what_is_sent_can_be_compressed() {
    testbed::require!(requirements());
    let bed = Bed::new();
    bed.configure_host("");
    let passed = |destination: Destination| {
        let before = bed.sshd.seen.lock().unwrap().bytes;
        let received = block_on(async {
            let (link, _) = bed.connect(destination).await;
            let link = link.unwrap();
            let mut stream = link.exec("head -c 1000000 /dev/zero").await.unwrap();
            let mut bytes = Vec::new();
            stream.reader.read_to_end(&mut bytes).await.unwrap();
            bytes
        });
        assert_eq!(received, [0; 1_000_000]);
        bed.sshd.seen.lock().unwrap().bytes - before
    };
    assert!(passed(to("host")) > 1_000_000);
    let compressed = Destination {
        compress: Some(true),
        ..to("host")
    };
    assert!(passed(compressed) < 100_000);
    bed.configure_host("Compression yes");
    assert!(passed(to("host")) < 100_000);
}
