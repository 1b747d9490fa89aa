//! Whole builds inside one process, over real SSH, with machines that misbehave on demand. What
//! real daemons do is tested with real ones, in `offload-bin`.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;

use offload::embedded::{Coordinator, Heard, Machine, Misbehaviour, PreparedBuild, Source, Wanted};
use offload::hook::ExitCode;
use offload::slots::SlotDirectory;
use store_path::{ContentAddress, ContentAddressMethod, HashAlgorithm, StorePath};

const SCRIPT: &str = r#"
echo "reading $input"
read -r line < "$input"
echo "$line, said the builder; it lies at $out" > "$out"
"#;

const INPUT: Source<'_> = Source {
    name: "letter",
    content: "HELLO\n",
};

const MISBEHAVIOURS: [Misbehaviour; 17] = [
    Misbehaviour::HasNoDaemon,
    Misbehaviour::RefusesInputs,
    Misbehaviour::CutsArchives,
    Misbehaviour::AltersArchives,
    Misbehaviour::SendsFilesWithoutEnd,
    Misbehaviour::SendsDirectoriesWithoutEnd,
    Misbehaviour::NestsDirectories,
    Misbehaviour::NamesEntries("a", "../../escaped"),
    Misbehaviour::NamesEntries("..", "a"),
    Misbehaviour::NamesEntries(".", "a"),
    Misbehaviour::NamesEntries("", "a"),
    Misbehaviour::NamesEntries("/escaped", "a"),
    Misbehaviour::NamesEntries("a", "b\0/escaped"),
    Misbehaviour::NamesEntries("a", "a"),
    Misbehaviour::InventsReferences,
    Misbehaviour::TalksWithoutEnd,
    Misbehaviour::SwapsReplies,
];

/// One coordinator, in a folder of its own.
struct Bed {
    folder: tempfile::TempDir,
    coordinator: Coordinator,
    build: PreparedBuild,
}

impl Bed {
    /// The store is named after the first machine's, where its builds really run.
    fn new(machine: &Machine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store_dir = machine.store().store_dir().clone();
        let mut coordinator = Coordinator::create(folder.path(), store_dir).unwrap();
        let build = coordinator.add_build("answer", INPUT, SCRIPT).unwrap();
        Bed {
            folder,
            coordinator,
            build,
        }
    }

    async fn offer(&self, builders: &str) -> (ExitCode, String) {
        let (request, inputs) = self.coordinator.words(&self.build, builders, &[]);
        self.converse(&request, Some(&inputs)).await
    }

    async fn converse(&self, request: &[u8], inputs: Option<&[u8]>) -> (ExitCode, String) {
        let mut text = String::new();
        let hear = |heard| match heard {
            Heard::Reply(line) => text.extend([&line, "\n"]),
            Heard::Log(line) => text.extend(["log: ", &line, "\n"]),
        };
        let code = self.coordinator.converse(request, inputs, hear).await;
        (code.unwrap(), text)
    }

    fn output(&self) -> &StorePath {
        self.build.output.as_ref().unwrap()
    }

    /// Nothing registered, nothing in the store or beside it that was not there before, no slot held.
    async fn assert_untouched(&self, machine: &Machine) {
        if let Some(output) = &self.build.output {
            assert_eq!(self.coordinator.path_info(output).unwrap(), None);
        }
        let mut left = Vec::new();
        for folder in [self.folder.path(), &self.coordinator.store_folder()] {
            for entry in folder.read_dir().unwrap() {
                left.push(entry.unwrap().file_name().into_string().unwrap());
            }
        }
        let known = |name: &String| {
            let valid = self.coordinator.path_info(&name.parse().unwrap());
            valid.unwrap().is_some()
        };
        left.retain(|name| name != "store" && name != "state" && !known(name));
        assert!(left.is_empty(), "{left:?}");
        self.assert_slots_free(machine).await;
    }

    /// A builder that another test starts at this moment inherits the lock until it is executed,
    /// so a held slot is looked at again.
    async fn assert_slots_free(&self, machine: &Machine) {
        let slots = SlotDirectory::open(self.coordinator.slot_directory()).unwrap();
        let list = offload::machines::read_builders(&machine.line("x86_64-linux"), "");
        let mut used = u32::MAX;
        for _ in 0..100 {
            let choice = slots.lock_choice().await.unwrap();
            used = slots.occupancy(&list.machines[0], &choice).unwrap().used;
            if used == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{used} slots are still held");
    }
}

async fn machine(folder: &Path, misbehaviour: Option<Misbehaviour>) -> Machine {
    Machine::start(folder, misbehaviour).await.unwrap()
}

#[tokio::test]
async fn a_build_goes_to_the_machine_and_its_output_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path(), None).await;
    let bed = Bed::new(&machine);
    let (code, text) = bed.offer(&machine.line("x86_64-linux")).await;
    assert_eq!(code, ExitCode::Done, "{text}");
    assert!(
        text.contains(&format!("# accept\n{}\n", machine.uri())),
        "{text}"
    );
    assert!(text.contains("log: reading /"), "{text}");
    let output = bed.output();
    let content = std::fs::read_to_string(bed.coordinator.file(output)).unwrap();
    let store_dir = machine.store().store_dir();
    let expected = format!(
        "HELLO, said the builder; it lies at {}\n",
        store_dir.print(output)
    );
    assert_eq!(content, expected);
    let info = bed
        .coordinator
        .path_info(output)
        .unwrap()
        .expect("registered");
    assert_eq!(info.deriver.as_ref(), Some(&bed.build.derivation));
    assert!(
        info.references.contains(output),
        "it names itself: {info:?}"
    );
    bed.assert_slots_free(&machine).await;

    // What the machine has, it is not sent again.
    let (code, text) = bed.offer(&machine.line("x86_64-linux")).await;
    assert_eq!(code, ExitCode::Done, "{text}");
    assert!(
        text.contains(": 0 inputs sent, 0 outputs received"),
        "{text}"
    );
}

#[tokio::test]
async fn a_builder_that_fails_is_a_permanent_failure() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path(), None).await;
    let mut bed = Bed::new(&machine);
    let script = "echo going down; exit 3";
    bed.build = bed.coordinator.add_build("sinking", INPUT, script).unwrap();
    let (code, text) = bed.offer(&machine.line("x86_64-linux")).await;
    assert_eq!(code, ExitCode::Permanent, "{text}");
    assert!(text.contains("log: going down"), "{text}");
    assert!(text.contains("builder failed: exit status: 3"), "{text}");
    bed.assert_untouched(&machine).await;
}

/// A machine that misbehaves costs the build nothing when there is another one.
#[tokio::test]
async fn another_machine_takes_over() {
    for misbehaviour in MISBEHAVIOURS {
        let folder = tempfile::tempdir().unwrap();
        let good = machine(folder.path(), None).await;
        let bad = machine(folder.path(), Some(misbehaviour)).await;
        let bed = Bed::new(&good);
        let faster = bad.line("x86_64-linux").replace(" 4 1 ", " 4 2 ");
        let builders = format!("{}\n{faster}", good.line("x86_64-linux"));
        let (code, text) = bed.offer(&builders).await;
        assert_eq!(code, ExitCode::Done, "{misbehaviour:?}: {text}");
        // It was asked first, and its failure is told.
        assert!(text.contains(&bad.uri()), "{misbehaviour:?}: {text}");
        let info = bed.coordinator.path_info(bed.output()).unwrap();
        assert!(info.is_some(), "{misbehaviour:?}: {text}");
        bed.assert_slots_free(&good).await;
        bed.assert_slots_free(&bad).await;
    }
}

#[tokio::test]
async fn a_machine_in_trouble_leaves_nothing_behind_and_says_why() {
    let mut stories = Vec::new();
    for misbehaviour in MISBEHAVIOURS {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path(), Some(misbehaviour)).await;
        let bed = Bed::new(&machine);
        let (code, text) = bed.offer(&machine.line("x86_64-linux")).await;
        let expected = match misbehaviour {
            // Found out before the accept: the daemon may go on without this hook.
            Misbehaviour::HasNoDaemon => ExitCode::Done,
            _ => ExitCode::Failed,
        };
        assert_eq!(code, expected, "{misbehaviour:?}: {text}");
        bed.assert_untouched(&machine).await;
        stories.push(format!(
            "{misbehaviour:?}\n{}",
            anonymous(&text, &bed, &machine)
        ));
    }
    insta::assert_snapshot!(stories.join("\n"));
}

#[tokio::test]
async fn words_that_make_no_sense_are_told_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path(), None).await;
    let bed = Bed::new(&machine);
    let line = machine.line("x86_64-linux");
    let (request, inputs) = bed.coordinator.words(&bed.build, &line, &[]);
    let (soon, _) = bed
        .coordinator
        .words(&bed.build, &line, &[("timeout", "soon")]);
    let (remote, _) = bed
        .coordinator
        .words(&bed.build, &line, &[("store", "https://cache")]);
    let elsewhere: Vec<u8> = String::from_utf8_lossy(&inputs)
        .replace(
            machine.store().store_dir().as_str(),
            &"/".repeat(64)[..machine.store().store_dir().as_str().len()],
        )
        .into_bytes();
    let other_output: Vec<u8> = [
        &inputs[..inputs.len() - 16],
        &[3, 0, 0, 0, 0, 0, 0, 0],
        b"dev\0\0\0\0\0",
    ]
    .concat();
    let mut stories = Vec::new();
    for (request, inputs) in [
        (&[7; 8][..], None),
        (&request[..100], None),
        (&request[..request.len() - 8], None),
        (&soon, Some(&inputs[..])),
        (&remote, Some(&inputs)),
        (&request, Some(&[])),
        (&request, Some(&inputs[..inputs.len() - 8])),
        (&request, Some(&[0xff; 8])),
        (&request, Some(&elsewhere)),
        (&request, Some(&other_output)),
    ] {
        let (code, text) = bed.converse(request, inputs).await;
        // Without a reply the daemon would fail all that its client asks for.
        let expected = match text.contains("# decline-permanently") {
            true => ExitCode::Done,
            false => ExitCode::Failed,
        };
        assert_eq!(code, expected, "{text}");
        stories.push(anonymous(&text, &bed, &machine));
        bed.assert_untouched(&machine).await;
    }
    insta::assert_snapshot!(stories.concat());
}

/// Replies before any machine is asked: none at all, none that would do, none that is free.
#[tokio::test]
async fn a_daemon_is_told_whether_to_ask_again() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path(), None).await;
    let bed = Bed::new(&machine);
    let line = machine.line("x86_64-linux");
    let slots = SlotDirectory::open(bed.coordinator.slot_directory()).unwrap();
    let listed = offload::machines::read_builders(&line, "");
    let choice = slots.lock_choice().await.unwrap();
    let held: Vec<_> = (0..4)
        .map(|_| slots.occupancy(&listed.machines[0], &choice).unwrap().free)
        .collect();
    drop(choice);
    let mut stories = Vec::new();
    for builders in [
        "",
        "@/nowhere/machines",
        "ssh-ng://arm aarch64-linux",
        &line,
    ] {
        let (code, text) = bed.offer(builders).await;
        assert_eq!(code, ExitCode::Done, "{text}");
        stories.push(format!(
            "{builders:.20}\n{}",
            anonymous(&text, &bed, &machine)
        ));
    }
    drop(held);
    let (code, text) = bed.offer(&line).await;
    assert_eq!(code, ExitCode::Done, "{text}");
    assert!(
        text.contains("# accept"),
        "a slot that is free again is used: {text}"
    );
    insta::assert_snapshot!(stories.concat());
}

/// The settings' limits hold although the machine's daemon knows nothing of them.
#[tokio::test]
async fn a_build_that_takes_too_long_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path(), None).await;
    let mut bed = Bed::new(&machine);
    let chatty = "while :; do echo tick; done";
    let silent = "echo once; exec sleep 60";
    let mut stories = Vec::new();
    for (name, script, setting) in [
        ("chatty", chatty, ("timeout", "1")),
        ("silent", silent, ("max-silent-time", "1")),
    ] {
        bed.build = bed.coordinator.add_build(name, INPUT, script).unwrap();
        let line = machine.line("x86_64-linux");
        let (request, inputs) = bed.coordinator.words(&bed.build, &line, &[setting]);
        let (code, text) = bed.converse(&request, Some(&inputs)).await;
        assert_eq!(code, ExitCode::TimedOut, "{text}");
        stories.push(anonymous(&text, &bed, &machine));
        bed.assert_untouched(&machine).await;
    }
    insta::assert_snapshot!(stories.concat());
}

/// What a build's daemon promises of its content, the hook checks itself.
#[tokio::test]
async fn content_that_is_not_what_it_should_be_is_refused() {
    let address = ContentAddress {
        method: ContentAddressMethod::Flat,
        hash: HashAlgorithm::Sha256.hash(b"what was asked for"),
    };
    let mut stories = Vec::new();
    for (wanted, misbehaviour) in [
        (Wanted::Fixed(address), None),
        (Wanted::Fixed(address), Some(Misbehaviour::RefersToItself)),
        (Wanted::Floating, Some(Misbehaviour::InventsPaths)),
        (Wanted::Floating, Some(Misbehaviour::InventsContents)),
        (Wanted::Floating, Some(Misbehaviour::RealisesOthers)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path(), misbehaviour).await;
        let mut bed = Bed::new(&machine);
        let coordinator = &mut bed.coordinator;
        let script = match wanted {
            // It does not say where it lies.
            Wanted::Fixed(_) => "echo something else >$out",
            _ => SCRIPT,
        };
        let build = coordinator.add_build_of(wanted, "addressed", INPUT, script);
        bed.build = build.unwrap();
        let (code, text) = bed.offer(&machine.line("x86_64-linux")).await;
        assert_eq!(code, ExitCode::Failed, "{misbehaviour:?}: {text}");
        let story = anonymous(&text, &bed, &machine);
        stories.push(format!("{misbehaviour:?}\n{story}"));
        bed.assert_untouched(&machine).await;
    }
    insta::assert_snapshot!(stories.join("\n"));
}

/// A log may be as long as the daemon's settings allow: for ever, until `timeout`.
#[tokio::test]
async fn a_log_without_end_ends_with_the_build() {
    let folder = tempfile::tempdir().unwrap();
    let machine = machine(folder.path(), Some(Misbehaviour::LogsWithoutEnd)).await;
    let bed = Bed::new(&machine);
    let line = machine.line("x86_64-linux");
    let setting = ("timeout", "1");
    let (request, inputs) = bed.coordinator.words(&bed.build, &line, &[setting]);
    let (mut lines, mut bytes) = (0_u64, 0);
    let hear = |heard| {
        if let Heard::Log(line) = heard {
            (lines, bytes) = (lines + 1, bytes + line.len());
        }
    };
    let conversation = bed.coordinator.converse(&request, Some(&inputs), hear);
    assert_eq!(conversation.await.unwrap(), ExitCode::TimedOut);
    assert!(lines > 1000, "{lines} lines, {bytes} bytes");
    bed.assert_untouched(&machine).await;
}

/// Messages and replies alone, without what differs from run to run.
fn anonymous(text: &str, bed: &Bed, machine: &Machine) -> String {
    let wanted = |line: &&str| {
        line.starts_with("# ") || line.contains("\"level\":0") || line.contains("\"level\":1")
    };
    let names = [
        (machine.uri(), "MACHINE"),
        (
            bed.build
                .output
                .as_ref()
                .map_or("no output", StorePath::hash_part)
                .to_owned(),
            "OUTPUT",
        ),
        (bed.build.input.hash_part().to_owned(), "INPUT"),
        (bed.build.derivation.hash_part().to_owned(), "DERIVATION"),
        (machine.store().store_dir().as_str().to_owned(), "STORE"),
        (bed.folder.path().display().to_string(), "FOLDER"),
    ];
    let mut lines: Vec<String> = text.lines().filter(wanted).map(str::to_owned).collect();
    for line in &mut lines {
        for (name, stands_for) in &names {
            *line = line.replace(name, stands_for);
        }
        // Hashes and offsets differ with the folder's name.
        replace_after(line, "sha256:", char::is_alphanumeric);
        replace_after(line, "sha256-", |c| {
            c.is_alphanumeric() || "+/=".contains(c)
        });
        let in_digest = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
        replace_after(line, "FOLDER/store/", in_digest);
        replace_after(line, "at byte ", |c| c.is_ascii_digit());
    }
    lines.join("\n") + "\n"
}

/// Puts `..` in the place of what follows `mark`, as far as it matches.
fn replace_after(line: &mut String, mark: &str, matches: impl Fn(char) -> bool) {
    let mut from = 0;
    while let Some(found) = line[from..].find(mark) {
        let start = from + found + mark.len();
        let length = line[start..]
            .find(|c| !matches(c))
            .unwrap_or(line.len() - start);
        if length > 0 {
            line.replace_range(start..start + length, "..");
        }
        from = start;
    }
}
