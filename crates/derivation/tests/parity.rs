//! The real `nix`, if it is installed: it instantiates an expression of every kind into a store of its own, and everything that it says of
//! the files is compared with what we say.

mod peer;

use std::path::Path;
use std::process::Command;

use derivation::{JsonForm, StoreDir};
use peer::Files;

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
