//! The example `nar`, as a process: what its commands print, and what they say when they fail.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that panics fails, and says where"
)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// The example that was built beside this test, or is built now when the test was built alone.
static EXAMPLE: LazyLock<PathBuf> = LazyLock::new(|| {
    let test = std::env::current_exe().unwrap();
    let [profile, target] = [2, 3].map(|above| test.ancestors().nth(above).unwrap());
    let path = profile.join("examples/nar");
    if !path.exists() {
        let profile = match profile.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            profile => profile,
        };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--package", "nar", "--example", "nar"])
            .args(["--all-features", "--profile", profile, "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.unwrap().success(), "the example cannot be built");
    }
    path
});

fn run<const N: usize>(arguments: [&OsStr; N], input: Stdio) -> Output {
    Command::new(&*EXAMPLE)
        .args(arguments)
        .stdin(input)
        .output()
        .unwrap()
}

#[track_caller]
fn printed<const N: usize>(arguments: [&OsStr; N]) -> Vec<u8> {
    let output = run(arguments, Stdio::null());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output.stdout
}

#[track_caller]
fn text<const N: usize>(arguments: [&OsStr; N]) -> String {
    String::from_utf8(printed(arguments)).unwrap()
}

#[track_caller]
fn complaint<const N: usize>(arguments: [&OsStr; N]) -> String {
    let output = run(arguments, Stdio::null());
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn all_commands_do_what_those_of_nix_do() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).into_os_string();
    let (tree, archive, copy) = (at("tree"), at("archive"), at("copy"));
    fs::create_dir_all(place.path().join("tree/d/e")).unwrap();
    fs::write(place.path().join("tree/d/e/g"), "x").unwrap();
    fs::write(place.path().join("tree/f"), "abc").unwrap();
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path().join("tree/f"), executable).unwrap();
    symlink("f", place.path().join("tree/l")).unwrap();
    let word = |word: &'static str| OsStr::new(word);

    let dumped = printed([word("dump"), &tree]);
    let mut expected = Vec::new();
    nar::dump(&tree, &mut expected).unwrap();
    assert!(dumped == expected);
    fs::write(&archive, &dumped).unwrap();

    let input = Stdio::from(File::open(&archive).unwrap());
    let restored = run([word("restore"), &copy], input);
    assert!(restored.status.success() && restored.stdout.is_empty());
    let mut again = Vec::new();
    nar::dump(&copy, &mut again).unwrap();
    assert!(again == dumped);

    let mut digest = nar::Digest::new();
    nar::dump(&tree, &mut digest).unwrap();
    let fingerprint = digest.finish();
    let hex = fingerprint
        .sha256
        .map(|byte| format!("{byte:02x}"))
        .concat();
    let hash = text([word("hash"), &tree]);
    assert_eq!(hash, format!("{hex} {}\n", fingerprint.size));

    assert_eq!(printed([word("cat"), &archive, word("/f")]), b"abc");
    assert_eq!(
        text([word("ls"), word("-R"), &archive]),
        "./d\n./d/e\n./d/e/g\n./f\n./l\n"
    );
    assert_eq!(
        text([word("ls"), word("-l"), &archive, word("/")]),
        "dr-xr-xr-x                    0 ./d\n\
         -r-xr-xr-x                    3 ./f\n\
         lrwxrwxrwx                    0 ./l -> f\n"
    );
}

/// The lines are those of Nix 2.8.0.
#[test]
fn listings_as_json_name_what_is_in_a_directory_and_say_more_if_asked() {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("archive").into_os_string();
    fs::write(&archive, nar::example()).unwrap();
    let word = |word: &'static str| OsStr::new(word);
    let [ls, json] = [word("ls"), word("--json")];
    assert_eq!(
        text([ls, json, &archive]),
        "{\"type\":\"directory\",\"entries\":{\"greeting\":{},\"link\":{}}}\n"
    );
    assert_eq!(
        text([ls, json, word("-R"), &archive]),
        "{\"type\":\"directory\",\"entries\":{\
         \"greeting\":{\"type\":\"regular\",\"size\":5,\"narOffset\":232},\
         \"link\":{\"type\":\"symlink\",\"target\":\"greeting\"}}}\n"
    );
    assert_eq!(
        text([ls, json, &archive, word("/greeting")]),
        "{\"type\":\"regular\",\"size\":5,\"narOffset\":232}\n"
    );
}

#[test]
fn errors_name_the_path() {
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("missing").into_os_string();
    let broken = place.path().join("broken").into_os_string();
    let archive = place.path().join("archive").into_os_string();
    fs::write(&broken, "no archive at all, but long enough for a word").unwrap();
    fs::write(&archive, nar::example()).unwrap();
    let word = |word: &'static str| OsStr::new(word);
    let none = "No such file or directory (os error 2)\n";
    let name = missing.display();
    for command in ["ls", "cat"] {
        assert_eq!(
            complaint([word(command), &missing, word("/")]),
            format!("nar: failed to open `{name}`: {none}")
        );
    }
    for command in ["dump", "hash"] {
        let said = complaint([word(command), &missing]);
        assert_eq!(said, format!("nar: failed to examine `{name}`: {none}"));
    }
    let taken = complaint([word("restore"), &archive]);
    let expected = format!("nar: failed to restore `{}`: ", archive.display());
    assert!(taken.starts_with(&expected), "{taken}");
    let said = complaint([word("ls"), &broken]);
    let expected = format!("nar: failed to read `{}`: expected ", broken.display());
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(
        complaint([word("cat"), &archive, word("/nothing")]),
        format!(
            "nar: failed to find `/nothing` in `{}`\n",
            archive.display()
        )
    );
    assert_eq!(
        complaint([word("cat"), &archive, word("/link")]),
        format!(
            "nar: failed to read `/link` in `{}`: it is not a file\n",
            archive.display()
        )
    );
}
