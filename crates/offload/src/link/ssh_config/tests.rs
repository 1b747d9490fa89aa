//! What configurations mean, by example.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::load::{Folders, SshConfig};
use super::parse::parse;
use super::print::Form;
use super::resolve::{Subject, resolve};
use super::{CommandLine, testing};

/// What `text` says of `host` to root, and what is left out.
fn said(text: &str, host: &str) -> String {
    let lines = parse(text, &Arc::from(Path::new("config")));
    let local_user = "root";
    let options = resolve(
        std::iter::once(lines.as_slice()),
        Subject { host, local_user },
    );
    let mut said = options.print(Form::Shown);
    for warning in options.warnings {
        said += &format!("{warning}\n");
    }
    said
}

#[test]
fn the_first_value_wins_and_files_add_up() {
    let text = "
        Host farm1
            User ci
            IdentityFile ~/.ssh/farm
            UserKnownHostsFile /a /b
        Host farm* !farm2
            User other
            Port 2222
            IdentityFile ~/.ssh/all
        IdentityFile ~/.ssh/farm
        Host *
            UserKnownHostsFile /c
            ConnectTimeout 1m";
    insta::assert_snapshot!(said(text, "farm1"), @r"
    user ci
    port 2222
    connecttimeout 60
    identityfile ~/.ssh/farm
    identityfile ~/.ssh/all
    userknownhostsfile /a /b
    ");
    insta::assert_snapshot!(said(text, "farm2"), @r"
    connecttimeout 60
    userknownhostsfile /c
    ");
}

#[test]
fn match_looks_at_the_name_so_far_and_the_user_so_far() {
    let text = "
        Match originalhost a
            HostName %h.example
            User ci
        Match host a
            Port 1
        Match host *.example user ci,x localuser root
            Port 2
        Match !user ci
            Port 3
        Match all
            BindAddress ::1";
    insta::assert_snapshot!(said(text, "a"), @r"
    hostname %h.example
    user ci
    port 2
    bindaddress ::1
    ");
    insta::assert_snapshot!(said(text, "b"), @r"
    port 3
    bindaddress ::1
    ");
}

#[test]
fn match_final_reads_everything_twice() {
    let text = "
        Host b.example
            Port 1
        Match final host b.example
            User late
        Match canonical
            BindAddress ::1
        Host a
            HostName b.example";
    insta::assert_snapshot!(said(text, "a"), @r"
    hostname b.example
    user late
    port 1
    bindaddress ::1
    ");
}

#[test]
fn a_jump_and_a_command_exclude_each_other() {
    let text = "
        Host a
            ProxyJump me@gate:23,[::1]:24
        Host b
            ProxyCommand none
        Host *
            ProxyCommand nc '%h'  %p # as it is";
    insta::assert_snapshot!(said(text, "a"), @"proxyjump me@gate:23,[::1]:24");
    insta::assert_snapshot!(said(text, "b"), @"proxycommand none");
    insta::assert_snapshot!(said(text, "c"), @"proxycommand nc '%h'  %p # as it is");
}

/// Each text that a person reads about a configuration; nothing of it concerns other hosts.
#[test]
fn what_is_left_out_is_told_once_with_its_place() {
    let text = "Ciphers aes128-cbc
        Ciphers +3des
        StrictHostKeyChecking accept-new
        StrictHostKeyChecking no
        CanonicalizeHostname no
        CanonicalizeHostname always
        ForwardAgent yes
        SendEnv LANG LC_*
        Port 99999
        Port many
        ConnectTimeout soon
        Compression maybe
        AddressFamily ipx
        ServerAliveCountMax -1
        ProxyJump a@:1
        ProxyJump a,b,c,d,e,f,g,h,i
        User \"\"
        User a b
        User \"a
        User
        StrictHostKeyChecking perhaps
        Bogus 1
        IgnoreUnknown Use*,bogu?
        Bogus 1
        UseSomething 1
        Match host farm1 exec \"true\"
            Port 1
        Match host farm2 exec \"true\"
            Port 2
        Match host
            Port 3
        Match all user root
            Port 4
        Host \"farm1
            Port 5
        Host farm2
            MACs hmac-md5
        Match final
            PKCS11Provider /a
        Host *
            PubkeyAuthentication no
            RemoteCommand none
            SetEnv TOKEN=secret";
    let said = said(text, "farm1");
    assert!(!said.contains("secret"), "clients hear of it");
    insta::assert_snapshot!(said);
}

#[test]
fn a_command_line_goes_first() {
    let line = |text: &str| {
        let config = SshConfig::default();
        let options = config.options(&CommandLine::of_sshopts(text), "farm1", "root");
        let mut said = options.print(Form::Shown);
        for warning in options.warnings {
            said += &format!("{warning}\n");
        }
        said
    };
    insta::assert_snapshot!(line("-vTp 2222 -p1 -i a -ib -lci -6C -b ::1 -J gate"), @r"
    user ci
    port 2222
    addressfamily inet6
    bindaddress ::1
    compression yes
    identityfile a
    identityfile b
    proxyjump gate
    ");
    insta::assert_snapshot!(line("-o 'ProxyCommand=ssh -W %h:%p gate' -oUser=ci -o 'IdentityFile a b' -e none -L 1:a:2"), @r#"
    user ci
    proxycommand ssh -W %h:%p gate
    NIX_SSHOPTS: IdentityFile: more than one value: "b"
    "#);
    insta::assert_snapshot!(line("-c aes -w 1 -G farm9 -o StrictHostKeyChecking=no -o Host=a -o Bogus=1 -p x -é -i"), @r#"
    NIX_SSHOPTS: -c aes is not honoured
    NIX_SSHOPTS: -w 1 is not honoured
    NIX_SSHOPTS: -G is not honoured
    NIX_SSHOPTS: "farm9" is no option
    NIX_SSHOPTS: StrictHostKeyChecking no is not honoured: unknown host keys are always refused
    NIX_SSHOPTS: -o "Host=a" is not honoured
    NIX_SSHOPTS: Bogus is no option of OpenSSH's
    NIX_SSHOPTS: Port: not a number from 1 to 65535: "x"
    NIX_SSHOPTS: -é is not honoured
    NIX_SSHOPTS: -i: no value follows
    "#);
    insta::assert_snapshot!(line("-o User='a -p 22"), @r"
    port 22
    NIX_SSHOPTS: a quote is not closed; taken apart at blanks
    NIX_SSHOPTS: User: a quote is not closed
    ");
}

#[test]
fn files_include_others() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let system = folder.path().join("ssh");
    let write = |file: &Path, text: &str| {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).unwrap();
    };
    let user = home.join(".ssh");
    let include = "Host farm1\n  Include more/*.conf none ~/other\nPort 1\n";
    write(&user.join("config"), include);
    write(&user.join("more/b.conf"), "User b\nHost other\n  User c\n");
    write(&user.join("more/a.conf"), "BindAddress ::1\nInclude loop\n");
    write(&user.join("more/.hidden.conf"), "BindAddress ::2\n");
    write(&user.join("loop"), "Include loop\n");
    write(&home.join("other"), "HostKeyAlias mine\n");
    let others = user.join("more/c.conf");
    write(&others, "Port 3\n");
    std::fs::set_permissions(&others, PermissionsExt::from_mode(0o666)).unwrap();
    write(
        &system.join("ssh_config"),
        "Include ssh_config.d/*\nPort 2\nUser d\n",
    );
    write(
        &system.join("ssh_config.d/x"),
        "Host *\n  ConnectTimeout 5\n",
    );
    let owner = std::fs::metadata(&home).unwrap();
    let folders = Folders {
        home,
        system,
        uid: std::os::unix::fs::MetadataExt::uid(&owner),
    };
    let config = SshConfig::of_user(&folders);
    let said = |config: &SshConfig, host: &str| {
        let options = config.options(&CommandLine::default(), host, "root");
        let mut said = options.print(Form::Shown);
        for warning in options.warnings {
            said += &format!("{warning}\n");
        }
        said.replace(&folder.path().display().to_string(), "DIR")
    };
    insta::assert_snapshot!(said(&config, "farm1"));
    insta::assert_snapshot!(said(&config, "farm2"), @r"
    user d
    port 2
    connecttimeout 5
    ");
    let none = SshConfig::of_file(&folder.path().join("none"), &folders);
    insta::assert_snapshot!(said(&none, "farm2"), @"DIR/none: no such file");
}

proptest! {
    #[test]
    fn any_file_holds_to_the_oracle(text in testing::file()) {
        testing::oracle(text.as_bytes());
    }

    #[test]
    fn any_valid_file_holds_to_the_oracle(text in testing::valid_file()) {
        testing::oracle(text.as_bytes());
    }

    #[test]
    fn any_bytes_hold_to_the_oracle(data in prop::collection::vec(any::<u8>(), 0..200)) {
        testing::oracle(&data);
    }
}
