//! The real `nix`, if it is installed: it instantiates an expression of every kind into a store of its own, and everything that it says of
//! the files is compared with what we say. And so do every `nix` and every `guix` in the root folders of the folder that the environment's
//! `OFFLOAD_ROOTS` names, which takes root.

mod peer;
mod root;

use std::path::Path;
use std::process::Command;

use derivation::json::read_show;
use derivation::{Derivation, JsonForm, StoreDir};
use peer::Files;
use root::Root;

/// Runs a program of Nix with a store under `root`; `None`, loudly, if there is no such program.
fn nix(program: &str, root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(["--store", root.to_str().expect("UTF-8")])
        .args([
            "--option",
            "experimental-features",
            "nix-command ca-derivations impure-derivations",
        ])
        .args(arguments)
        .env("NIX_CONF_DIR", root)
        .env("HOME", root)
        .env_remove("NIX_REMOTE")
        .output();
    match output {
        Ok(output) => {
            assert!(
                output.status.success(),
                "{program} failed: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(String::from_utf8(output.stdout).expect("UTF-8"))
        }
        Err(error) => {
            let reason = Err(format!("{program} does not run: {error}"));
            testbed::runs_here("parity with the real Nix", reason);
            None
        }
    }
}

#[test]
fn the_real_nix_says_the_same() {
    let expression = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kinds.nix");
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let Some(instantiated) = nix(
        "nix-instantiate",
        root,
        &[expression.to_str().expect("UTF-8")],
    ) else {
        return;
    };
    assert_eq!(instantiated.lines().count(), 24, "{instantiated}");
    let files = Files::read(&root.join("nix/store"));
    files.check(&StoreDir::NIX);

    let paths: Vec<_> = files
        .0
        .keys()
        .map(|path| StoreDir::NIX.print(path))
        .collect();
    let mut arguments = vec!["show-derivation"];
    arguments.extend(paths.iter().map(String::as_str));
    if let Some(shown) = nix("nix", root, &arguments) {
        let form = if shown.contains("\"derivations\"") {
            JsonForm::Version4
        } else {
            JsonForm::FullPaths
        };
        files.check_json(form, &StoreDir::NIX, &shown);
    }
}

/// What instantiates, and then shows, the expressions at `$@`; of the features there are those that a `nix` knows.
const NIX: &str = r#"
set -e
features="nix-command ca-derivations impure-derivations dynamic-derivations blake3-hashes git-hashing"
nix-instantiate --store / --option experimental-features "$features" "$@" >&2
case "$(nix --version)" in
    *\ 2.3.*) nix show-derivation /nix/store/*.drv ;;
    *) nix --store / --option experimental-features "$features" show-derivation /nix/store/*.drv ;;
esac
"#;

#[test]
fn every_other_nix_says_the_same() {
    for root in Root::all("nix-instantiate") {
        let version = root.print(&["nix", "--version"]);
        eprintln!("asking {version}");
        let mut command = vec!["sh", "-c", NIX, "sh"];
        let minor = minor_version(&version);
        // Each with the version that knows all of it, and how many derivations it adds.
        let mut expressions = vec![
            ("kinds.nix", 0, 24),
            ("dynamic.nix", 18, 4),
            ("hashes.nix", 31, 7),
        ];
        expressions.retain(|(_, since, _)| minor >= *since);
        let expected: usize = expressions.iter().map(|(_, _, count)| count).sum();
        let expressions: Vec<_> = expressions
            .iter()
            .map(|(name, _, _)| root.give(name))
            .collect();
        command.extend(expressions.iter().map(String::as_str));
        let shown = root.print(&command);
        let files = Files::read(&root.outside("/nix/store"));
        assert_eq!(files.0.len(), expected, "{version}");
        files.check(&StoreDir::NIX);
        if minor >= 33 {
            files.check_json(JsonForm::Version4, &StoreDir::NIX, &shown);
        } else {
            // A form in between is read and not written.
            let read = read_show(&StoreDir::NIX, &shown)
                .unwrap_or_else(|error| panic!("failed to read what {version} shows: {error}"));
            assert_eq!(read.len(), files.0.len());
            for (path, derivation) in read {
                let parsed = Derivation::parse(&StoreDir::NIX, &files.0[&path]);
                assert_eq!(parsed.as_ref(), Ok(&derivation), "{path} of {version}");
            }
        }
    }
}

/// `34` of `nix (Nix) 2.34.8`.
fn minor_version(version: &str) -> u32 {
    let number = version.trim().rsplit(' ').next().unwrap_or_default();
    let minor = number
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse().ok());
    minor.unwrap_or_else(|| panic!("no version: {version}"))
}

/// A daemon, and a client that makes what the script at `$1` says.
const GUIX: &str = r#"
guix-daemon --disable-chroot --no-substitutes --listen=/run/peer/socket >&2 &
until [ -S /run/peer/socket ]; do sleep 0.1; done
export GUIX_DAEMON_SOCKET=/run/peer/socket
exec guix repl -- "$1"
"#;

#[test]
fn every_guix_says_the_same() {
    for root in Root::all("guix") {
        let version = root.print(&["guix", "--version"]);
        let version = version.lines().next().unwrap_or_default();
        eprintln!("asking {version}");
        let script = root.give("guix.scm");
        let printed = root.print(&["sh", "-c", GUIX, "sh", &script]);
        let files = Files::read(&root.outside("/gnu/store"));
        files.check(&StoreDir::GUIX);
        // It prints what it made, one to a line.
        assert_eq!(printed.lines().count(), files.0.len(), "{printed}");
        for path in files.0.keys() {
            let path = StoreDir::GUIX.print(path);
            assert!(printed.contains(&path), "{path} of {version}: {printed}");
        }
    }
}
