//! When `guix repl` is called, and what becomes of what it says. A shell script stands in for it: what the real one
//! prints is compared in `parity`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use offload::machines::scheme::{GuixRepl, MachineFile, Way, read_machine_file};
use tempfile::TempDir;

const PRINTED: &str = r#"(list (build-machine (name "a") (user "u") (host-key "ssh-ed25519 AAAA") (systems '("x"))))"#;

/// A folder with a machine file that is not static, and a `guix` that does as the shell commands say.
struct Bed {
    folder: TempDir,
    guix: GuixRepl,
}

impl Bed {
    fn new(commands: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let program = folder.path().join("guix");
        let script = format!(
            "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nprintf '%s ' \"$@\" >>calls\ncat >script\n{commands}\n"
        );
        std::fs::write(&program, script).expect("it is ours");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        let mut guix = GuixRepl::new(program);
        guix.cache = Some(folder.path().join("cache"));
        let bed = Bed { folder, guix };
        std::fs::write(bed.file(), "(map f '())").expect("it is ours");
        bed
    }

    fn printing(text: &str) -> Self {
        let bed = Self::new("cat printed");
        std::fs::write(bed.folder.path().join("printed"), text).expect("it is ours");
        bed
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("machines.scm")
    }

    fn calls(&self) -> usize {
        let calls = std::fs::read_to_string(self.folder.path().join("calls"));
        calls.unwrap_or_default().matches("repl").count()
    }

    async fn read(&self) -> MachineFile {
        read_machine_file(&self.file(), &|_| None, Some(&self.guix)).await
    }

    /// All that is said, without what differs from run to run.
    async fn said(&self) -> String {
        let read = self.read().await;
        let problems = read.list.problems.iter().map(ToString::to_string);
        let lines: Vec<_> = problems.chain([read.way.to_string()]).collect();
        lines
            .join("\n")
            .replace(&self.folder.path().display().to_string(), "DIR")
    }
}

#[tokio::test]
async fn guix_is_called_once_while_the_file_stays_the_same() {
    let bed = Bed::printing(PRINTED);
    let first = bed.read().await;
    assert_eq!(first.list.machines[0].name, "a");
    assert!(matches!(first.way, Way::Evaluated(_)), "{}", first.way);
    let second = bed.read().await;
    assert_eq!(second.list, first.list);
    assert!(matches!(second.way, Way::Remembered(_)), "{}", second.way);
    assert_eq!(bed.calls(), 1);

    // Another text, of the same length.
    std::fs::write(bed.file(), "(map g '())").unwrap();
    assert!(matches!(bed.read().await.way, Way::Evaluated(_)));
    assert_eq!(bed.calls(), 2);

    // Another file with the same text.
    let other = bed.folder.path().join("other");
    std::fs::copy(bed.file(), &other).unwrap();
    std::fs::rename(&other, bed.file()).unwrap();
    assert!(matches!(bed.read().await.way, Way::Evaluated(_)));
    assert!(matches!(bed.read().await.way, Way::Remembered(_)));
    assert_eq!(bed.calls(), 3);
}

#[tokio::test]
async fn an_answer_is_not_used_for_ever_and_a_broken_one_never() {
    let mut bed = Bed::printing(PRINTED);
    bed.guix.max_age = Duration::ZERO;
    bed.read().await;
    assert!(matches!(bed.read().await.way, Way::Evaluated(_)));
    bed.guix.max_age = Duration::from_secs(600);
    assert!(matches!(bed.read().await.way, Way::Remembered(_)));
    for entry in bed.folder.path().join("cache").read_dir().unwrap() {
        std::fs::write(entry.unwrap().path(), "{").unwrap();
    }
    assert!(matches!(bed.read().await.way, Way::Evaluated(_)));
    assert_eq!(bed.calls(), 3);
}

#[tokio::test]
async fn without_a_place_to_keep_answers_guix_is_called_each_time() {
    let mut bed = Bed::printing(PRINTED);
    bed.guix.cache = None;
    for _ in 0..2 {
        assert!(matches!(bed.read().await.way, Way::Evaluated(_)));
    }
    assert_eq!(bed.calls(), 2);
}

#[tokio::test]
async fn guix_is_given_the_script_the_file_and_a_home() {
    let mut bed = Bed::new("printf '%s' \"$HOME\" >home; echo '(list)'");
    bed.guix.home = Some("/home/somebody".into());
    assert_eq!(bed.read().await.list.problems, []);
    let read = |name: &str| std::fs::read_to_string(bed.folder.path().join(name)).unwrap();
    assert_eq!(
        read("calls"),
        format!("repl -- /dev/stdin {} ", bed.file().display())
    );
    assert!(read("script").contains("(resolve-interface '(guix scripts offload))"));
    assert_eq!(read("home"), "/home/somebody");
}

#[tokio::test]
async fn files_that_need_no_guix() {
    let bed = Bed::printing(PRINTED);
    std::fs::remove_file(bed.file()).unwrap();
    let none = bed.read().await;
    assert_eq!((none.list.machines.len(), none.list.problems.len()), (0, 0));
    assert_eq!(none.way, Way::NoFile);
    std::fs::write(bed.file(), PRINTED).unwrap();
    let read = bed.read().await;
    assert_eq!((read.list.machines.len(), read.way), (1, Way::Read));
    assert_eq!(bed.calls(), 0);
}

#[tokio::test]
async fn what_is_said_when_there_are_no_machines() {
    let mut said = Vec::new();
    for commands in [
        "echo 'Syntax error: x' >&2; exit 1",
        "kill -9 $$",
        "true",
        "echo '#f'",
        "echo '(list (f))'",
        "yes | head -c 2000000",
        "yes | head -c 2000000 >&2; exit 1",
    ] {
        let bed = Bed::new(commands);
        let mut text = bed.said().await;
        text.truncate(text.floor_char_boundary(300));
        said.push(format!("{commands}\n{text}"));
        assert!(
            !bed.folder.path().join("cache").exists()
                || commands.starts_with("echo '#f'")
                || commands == "true"
        );
    }
    let mut slow = Bed::new("sleep 600");
    slow.guix.limit = Duration::from_secs(1);
    said.push(format!("sleep 600\n{}", slow.said().await));

    let mut absent = Bed::new("true");
    absent.guix.program = PathBuf::from("/no/such/guix");
    said.push(format!("no program\n{}", absent.said().await));

    let bed = Bed::new("true");
    let without = read_machine_file(&bed.file(), &|_| None, None).await;
    let directory = read_machine_file(bed.folder.path(), &|_| None, None).await;
    std::fs::write(bed.file(), b"(list \"\xff\")").unwrap();
    let latin1 = read_machine_file(&bed.file(), &|_| None, None).await;
    std::fs::write(bed.file(), vec![b' '; 2 << 20]).unwrap();
    let large = read_machine_file(&bed.file(), &|_| None, None).await;
    for file in [without, directory, latin1, large] {
        let problem = file.list.problems[0].to_string();
        let folder = bed.folder.path().display().to_string();
        said.push(problem.replace(&folder, "DIR"));
    }
    insta::assert_snapshot!(said.join("\n\n"));
}

/// What a program has started ends with it.
#[tokio::test]
async fn an_evaluation_that_takes_too_long_leaves_no_process() {
    let mut bed = Bed::new("sleep 600 & echo $! >child; wait");
    bed.guix.limit = Duration::from_secs(2);
    bed.read().await;
    let child = std::fs::read_to_string(bed.folder.path().join("child")).unwrap();
    let child = Path::new("/proc").join(child.trim());
    for _ in 0..200 {
        let state = std::fs::read_to_string(child.join("stat"));
        if state.is_err() || state.is_ok_and(|state| state.contains(") Z ")) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} is still there", child.display());
}
