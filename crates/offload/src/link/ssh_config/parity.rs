//! The same configurations read by OpenSSH itself: `ssh -G` prints what it has understood.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::test_runner::{Config, TestRunner};

use super::parse::parse;
use super::print::Form;
use super::resolve::{Subject, resolve};
use super::{Options, host_name, testing};

/// The options that are compared, but for files of known hosts, whose names `ssh -G` expands.
const COMPARED: [&str; 16] = [
    "addressfamily",
    "bindaddress",
    "certificatefile",
    "compression",
    "connecttimeout",
    "globalknownhostsfile",
    "hostkeyalias",
    "hostname",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "port",
    "proxycommand",
    "proxyjump",
    "revokedhostkeys",
    "user",
];
const ALSO_COMPARED: [&str; 2] = ["serveralivecountmax", "serveraliveinterval"];

/// What OpenSSH understands; `None` if it refuses the file.
fn openssh(config: &Path, host: &str) -> Option<String> {
    let output = Command::new("ssh")
        .args(["-G", "-F"])
        .arg(config)
        .arg(host)
        .output()
        .expect("ssh starts");
    let text = String::from_utf8(output.stdout).expect("names are UTF-8 here");
    let lines = text.lines().filter(|line| {
        let keyword = line.split(' ').next().unwrap_or_default();
        COMPARED.contains(&keyword) || ALSO_COMPARED.contains(&keyword)
    });
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort();
    output.status.success().then(|| lines.join("\n"))
}

/// The same of ours, with OpenSSH's defaults where nothing is said.
fn ours(text: &str, host: &str, default: &str) -> (String, Options) {
    let lines = parse(text, &Arc::from(Path::new("config")));
    let user = default
        .lines()
        .find_map(|line| line.strip_prefix("user "))
        .expect("there is a user");
    let subject = Subject {
        host,
        local_user: user,
    };
    let options = resolve(std::iter::once(lines.as_slice()), subject);
    let mut shown = options.clone();
    shown.user_known_hosts = None;
    let name = shown.host_name.take().unwrap_or_else(|| host.to_owned());
    let name = host_name(&name, host).unwrap_or(name);
    shown.host_name = Some(name.to_ascii_lowercase());
    let shown = shown.print(Form::Shown);
    let mut lines: Vec<&str> = shown
        .lines()
        .filter(|line| {
            ![
                "proxyjump none",
                "proxycommand none",
                "revokedhostkeys none",
            ]
            .contains(line)
        })
        .collect();
    let keyword = |line: &'_ str| line.split(' ').next().unwrap_or_default().to_owned();
    let said: Vec<String> = lines.iter().map(|line| keyword(line)).collect();
    lines.extend(
        default
            .lines()
            .filter(|line| !said.contains(&keyword(line))),
    );
    lines.sort_unstable();
    // It tells `none` from 0 here; to us both are no bound of its own.
    let text = lines.join("\n");
    (text, options)
}

fn comparable(text: &str) -> String {
    text.replace("connecttimeout none", "connecttimeout 0")
}

/// Compares what both make of a file; whether both understand all of it.
fn compare(file: &Path, text: &str, host: &str, default: &str) -> bool {
    std::fs::write(file, text).expect("the file is written");
    let (ours, options) = ours(text, host, default);
    let told = |what: &str| options.warnings.iter().any(|told| told.text.contains(what));
    match openssh(file, host) {
        // OpenSSH lets anything be a jump host, and what follows the first blank be nothing.
        Some(_) if told("ProxyJump: ") => false,
        Some(theirs) => {
            assert_eq!(comparable(&ours), comparable(&theirs), "{host}:\n{text}");
            let mut warnings = options.warnings.iter();
            let fine = warnings.all(|told| told.text.contains(" is not honoured"));
            assert!(fine, "{text}\n{:?}", options.warnings);
            true
        }
        // It looks at values that mean nothing here, and into blocks for others.
        None => {
            let more = ["Host", "Match", "ForwardAgent", "IgnoreUnknown"];
            let more = more.iter().any(|keyword| text.contains(keyword));
            assert!(more || !options.warnings.is_empty(), "{text}");
            false
        }
    }
}

fn requirements() -> Result<(), &'static str> {
    match Command::new("ssh").arg("-V").output() {
        Ok(_) => Ok(()),
        Err(_) => Err("no ssh (package openssh-client)"),
    }
}

const HANDWRITTEN: &str = "
Match originalhost FOO
    User upper
Host foo
    User lower
    HostName %h.Example
Match host foo.example
    Port 99
    ProxyJump u@j1:23,[::1]:24,ssh://x@y:25
Match user lower !localuser nobody
    ConnectTimeout 1m30
Host bar !b?r
    Port 1
Host b*
    ProxyCommand   sh -c \"x  y\" # z
    ProxyJump gate
    IdentityAgent $FOO
    IdentitiesOnly = yes
Match final host foo.example
    BindAddress ::1
Host *
    ServerAliveInterval 1h
    ServerAliveCountMax=7
    IdentityFile a
    IdentityFile \"b c\"
    IdentityFile a
    CertificateFile ~/%r-cert.pub
    GlobalKnownHostsFile /a \"/b c\"
    AddressFamily inet6
    HostKeyAlias alias%h
    RevokedHostKeys none
    Compression yes
    ProxyJump none
";

#[test]
fn configurations_mean_what_they_mean_to_openssh() {
    testbed::require!(requirements());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    std::fs::write(&file, "").unwrap();
    let defaults = |host: &str| openssh(&file, host).expect("an empty file is no trouble");
    let hosts = ["foo", "FOO", "bar", "b", "baz", "foo.example"];
    for host in hosts {
        let default = defaults(host);
        let handwritten = folder.path().join("handwritten");
        assert!(compare(&handwritten, HANDWRITTEN, host, &default));
    }
    let default = defaults("farm1");
    let random = folder.path().join("random");
    let config = Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let understood = Cell::new(0);
    TestRunner::new(config)
        .run(&testing::valid_file(), |text| {
            let fine = compare(&random, &text, "farm1", &default);
            understood.set(understood.get() + usize::from(fine));
            Ok(())
        })
        .unwrap();
    let understood = understood.get();
    assert!(
        understood > 150,
        "only {understood} files are fine with OpenSSH"
    );
}
