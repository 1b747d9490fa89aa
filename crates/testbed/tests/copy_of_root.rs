//! What a command does in a copy of a root folder is forgotten, but for what is kept.

use testbed::CopyOfRoot;

#[test]
fn only_what_is_kept_stays() {
    testbed::require!();
    let copy = CopyOfRoot::new("/", &["/srv/kept"]).unwrap();
    let script = "pwd; echo $HOME; ls -A /srv/kept /srv/lost; \
        mkdir -p /srv/lost && echo a >/srv/lost/file; echo b >/srv/kept/file; cat /srv/*/file";
    let run = || {
        let output = copy.command("sh").args(["-c", script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::write(copy.kept("/srv/kept/ours"), "").unwrap();
    assert_eq!(run(), "/\n/root\n/srv/kept:\n.kept\nours\nb\na\n");
    assert_eq!(run(), "/\n/root\n/srv/kept:\n.kept\nfile\nours\nb\na\n");
    assert_eq!(std::fs::read(copy.kept("/srv/kept/file")).unwrap(), b"b\n");
    assert!(!std::path::Path::new("/srv/lost").exists());

    let cat = copy.program("cat").unwrap();
    let mut command = std::process::Command::new(cat);
    let output = command.arg(copy.kept("/srv/kept/file")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "b\n");
}
