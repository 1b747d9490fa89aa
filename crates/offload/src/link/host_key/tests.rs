//! Which keys are believed, and what is said of the others.

use super::*;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const OTHER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

fn key(line: &str) -> PublicKey {
    PublicKey::from_openssh(line).unwrap()
}

fn pinned(line: impl Into<String>) -> HostKeys {
    HostKeys {
        pinned: Some(line.into()),
        ..HostKeys::default()
    }
}

/// Files in a folder of their own, whose name is `DIR` in texts.
struct Files(tempfile::TempDir);

impl Files {
    fn new(texts: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in texts {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Files(folder)
    }

    fn keys(&self, names: &[&str]) -> HostKeys {
        HostKeys {
            files: names.iter().map(|name| self.0.path().join(name)).collect(),
            ..HostKeys::default()
        }
    }

    fn judge(&self, keys: &HostKeys, host: &str, port: u16, shown: &str) -> String {
        let judged = keys
            .record(host, port)
            .and_then(|record| record.check(&key(shown)));
        match judged {
            Ok(()) => "fine".to_owned(),
            Err(error) => error
                .to_string()
                .replace(&self.0.path().display().to_string(), "DIR"),
        }
    }
}

#[test]
fn pinned_keys_match_whatever_their_comment() {
    let keys = pinned(format!("{KEY} root@farm1"));
    let record = keys.record("farm1", 22).unwrap();
    assert_eq!(record.check(&key(KEY)), Ok(()));
    insta::assert_snapshot!(record.check(&key(OTHER)).unwrap_err(), @"host key has changed: it shows ssh-ed25519 SHA256:SvzqXV/w1JLsbntg1WRzuMw9vHAaDQHjIKLlxH0h1EM, but the machine list says ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE");
    let broken = pinned("ssh-ed25519 !");
    insta::assert_snapshot!(broken.record("farm1", 22).err().unwrap(), @r#"pinned host key is no OpenSSH public key line: "ssh-ed25519 !""#);
}

#[test]
fn known_hosts_files_are_looked_at_in_turn() {
    let system = format!("# all\n[farm1]:2222,farm2 {KEY}\n");
    let files = Files::new(&[("system", &system)]);
    let keys = files.keys(&["known_hosts", "system"]);
    let text = |host: &str, port: u16, shown: &str| files.judge(&keys, host, port, shown);
    assert_eq!(text("farm1", 2222, KEY), "fine");
    assert_eq!(text("FARM2", 22, KEY), "fine");
    // As OpenSSH: without the port will do.
    assert_eq!(text("farm2", 2222, KEY), "fine");
    insta::assert_snapshot!(text("farm2", 22, OTHER), @"host key has changed: it shows ssh-ed25519 SHA256:SvzqXV/w1JLsbntg1WRzuMw9vHAaDQHjIKLlxH0h1EM, but DIR/system:2 says ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE");
    insta::assert_snapshot!(text("farm1", 22, KEY), @"host key is not known: it shows ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE; if `ssh-keygen -lf` on the machine prints the same, add the line `farm1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ` to DIR/known_hosts");
}

#[test]
fn what_is_revoked_is_refused_whatever_else_is_said() {
    let both = format!("farm* {KEY}\n@revoked * {KEY}\n");
    let list = format!("# stolen\n{OTHER} old\n");
    let files = Files::new(&[
        ("known_hosts", &both),
        ("list", &list),
        ("krl", "SSHKRL\n\0"),
    ]);
    let known = files.keys(&["known_hosts"]);
    let text = |keys: &HostKeys, shown| files.judge(keys, "farm1", 22, shown);
    insta::assert_snapshot!(text(&known, KEY), @"host key is revoked by DIR/known_hosts:2: ssh-ed25519 SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE");
    let pinned = HostKeys {
        pinned: Some(KEY.to_owned()),
        ..known
    };
    assert!(text(&pinned, KEY).contains("revoked"));
    let listed = |name: &str| HostKeys {
        revoked: Some(files.0.path().join(name)),
        ..self::pinned(OTHER)
    };
    insta::assert_snapshot!(text(&listed("list"), OTHER), @"host key is revoked by DIR/list:2: ssh-ed25519 SHA256:SvzqXV/w1JLsbntg1WRzuMw9vHAaDQHjIKLlxH0h1EM");
    insta::assert_snapshot!(text(&listed("none"), OTHER), @"failed to read host keys from DIR/none: no such file");
    insta::assert_snapshot!(text(&listed("krl"), OTHER), @"failed to read host keys from DIR/krl: it is a binary revocation list, and only lists of public keys are read");
    insta::assert_snapshot!(text(&listed("known_hosts"), OTHER), @"failed to read host keys from DIR/known_hosts: line 1 is no public key");
}

#[test]
fn an_alias_is_looked_up_without_port() {
    let files = Files::new(&[("known_hosts", &format!("build-farm {KEY}\n"))]);
    let keys = HostKeys {
        alias: Some("Build-Farm".to_owned()),
        ..files.keys(&["known_hosts"])
    };
    assert_eq!(files.judge(&keys, "10.0.0.1", 2222, KEY), "fine");
    let other = HostKeys {
        alias: Some("other".to_owned()),
        ..keys
    };
    assert!(
        files
            .judge(&other, "build-farm", 22, KEY)
            .contains("`other ssh-ed25519")
    );
}

/// A line that is not understood is told when it may be the reason; a folder is no file.
#[test]
fn what_is_broken_is_told() {
    let text = format!("@what farm1 {KEY}\n|1|x farm1 {KEY}\nfarm1 ssh-new AAAA\nfarm2 x y\n");
    let files = Files::new(&[("known_hosts", &text)]);
    let text = files.judge(&files.keys(&["known_hosts"]), "farm1", 22, KEY);
    assert!(
        text.ends_with("(not understood: DIR/known_hosts:3: key is not one that is understood)"),
        "{text}"
    );
    insta::assert_snapshot!(files.judge(&files.keys(&["."]), "farm1", 22, KEY), @"failed to read host keys from DIR/.: Is a directory (os error 21)");
}
