//! Parity with the real `nix-store --dump` and `--restore`. Left out, loudly, without it.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nar::testing::{Tree, trees};
use nar::{DumpOptions, RestoreOptions};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::{TempDir, tempdir};

struct NixStore {
    state: TempDir,
    options: &'static [&'static str],
}

impl NixStore {
    fn find(options: &'static [&'static str]) -> Option<Self> {
        let found = Command::new("nix-store").arg("--version").output();
        if found.is_ok_and(|output| output.status.success()) {
            return Some(Self {
                state: tempdir().unwrap(),
                options,
            });
        }
        testbed::runs_here("parity with nix-store", Err("it is not installed"));
        None
    }

    fn run(&self, operation: &str, path: &Path, input: &[u8]) -> Output {
        let mut child = Command::new("nix-store")
            .args(self.options)
            .arg(operation)
            .arg(path)
            .env("NIX_STATE_DIR", self.state.path().join("state"))
            .env("NIX_STORE_DIR", self.state.path().join("store"))
            .env("NIX_LOG_DIR", self.state.path().join("log"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // It may refuse before it has read everything.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output().unwrap()
        })
    }

    fn dump(&self, path: &Path) -> Vec<u8> {
        let output = self.run("--dump", path, b"");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    fn restore(&self, archive: &[u8], path: &Path) -> bool {
        self.run("--restore", path, archive).status.success()
    }
}

fn dump(path: &Path) -> Vec<u8> {
    let mut archive = Vec::new();
    nar::dump(path, &mut archive).unwrap();
    archive
}

/// Every way from an archive over a file system and back, ours and the real one's.
#[test]
fn random_trees_go_both_ways() {
    let Some(nix_store) = NixStore::find(&[]) else {
        return;
    };
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let result = runner.run(&trees(), |tree| {
        let place = tempdir().unwrap();
        let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
        let archive = tree.encode().unwrap();
        nar::restore(&mut &*archive, &ours).unwrap();
        prop_assert!(nix_store.restore(&archive, &theirs));
        prop_assert!(nix_store.dump(&ours) == archive);
        prop_assert!(dump(&theirs) == archive);
        prop_assert!(dump(&ours) == archive);
        Ok(())
    });
    result.unwrap();
}

/// What the real one refuses to restore is refused here too. The other way round does not hold:
/// it lets pass, for example, whatever follows an archive.
#[test]
fn refusals_of_the_real_one_are_ours_too() {
    let Some(nix_store) = NixStore::find(&[]) else {
        return;
    };
    let mut runner = TestRunner::new(ProptestConfig::with_cases(60));
    let changed = (trees(), any::<prop::sample::Index>(), any::<u8>());
    let result = runner.run(&changed, |(tree, at, with)| {
        let mut archive = tree.encode().unwrap();
        let at = at.index(archive.len());
        archive[at] = with;
        let place = tempdir().unwrap();
        let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
        let accepted = nar::restore(&mut &*archive, &ours).is_ok();
        if accepted {
            prop_assert!(nix_store.restore(&archive, &theirs));
            prop_assert!(dump(&theirs) == archive);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn a_real_tree_is_dumped_alike() {
    let Some(nix_store) = NixStore::find(&[]) else {
        return;
    };
    let path = Path::new("/usr/share/perl5");
    let path = if path.exists() {
        path
    } else {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    };
    assert!(dump(path) == nix_store.dump(path));
}

#[test]
fn case_hack_is_the_real_ones() {
    let Some(nix_store) = NixStore::find(&["--option", "use-case-hack", "true"]) else {
        return;
    };
    let names = ["A", "B", "Bb", "a", "b", "bB", "bb", "c"];
    let file = |name: &str| Tree::File {
        executable: false,
        contents: name.into(),
    };
    let tree = Tree::Directory(names.map(|name| (name.into(), file(name))).into());
    let archive = tree.encode().unwrap();
    let place = tempdir().unwrap();
    let (ours, theirs) = (place.path().join("ours"), place.path().join("theirs"));
    let options = RestoreOptions::default().case_hack(true);
    nar::restore_with(&mut &*archive, &ours, options).unwrap();
    assert!(nix_store.restore(&archive, &theirs));

    let listing = |path: &Path| {
        let entries = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    assert_eq!(listing(&ours), listing(&theirs));
    assert!(nix_store.dump(&ours) == archive);
    let mut dumped = Vec::new();
    let options = DumpOptions::default().case_hack(true);
    nar::dump_with(&theirs, &mut dumped, options).unwrap();
    assert!(dumped == archive);
}

#[test]
fn listings_are_those_of_nix_nar_ls() {
    let Some(nix_store) = NixStore::find(&[]) else {
        return;
    };
    let place = tempdir().unwrap();
    let file = place.path().join("archive");
    let mut runner = TestRunner::new(ProptestConfig::with_cases(15));
    let result = runner.run(&trees(), |tree| {
        let archive = tree.encode().unwrap();
        let listing = nar::Listing::of(&archive).unwrap();
        // Names and targets that are not text have no JSON, there as here.
        let Ok(json) = serde_json::to_value(&listing) else {
            return Ok(());
        };
        fs::write(&file, &archive).unwrap();
        let output = Command::new("nix")
            .args([
                "--extra-experimental-features",
                "nix-command",
                "nar",
                "ls",
                "--json",
                "-R",
            ])
            .arg(&file)
            .arg("/")
            .env("NIX_STATE_DIR", nix_store.state.path().join("state"))
            .env("NIX_STORE_DIR", nix_store.state.path().join("store"))
            .output()
            .unwrap();
        let theirs = serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        prop_assert_eq!(&json["root"], &theirs);
        Ok(())
    });
    result.unwrap();
}
