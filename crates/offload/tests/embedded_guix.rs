//! Machines with a guix-daemon that is up to mischief, inside one process, over real SSH. What real daemons do is tested
//! with real ones, in `offload-bin`.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use guix_signature::{Acl, SecretKey};
use offload::embedded::{GuixExport, Hurry, Machine};
use offload::hook::{ExitCode, GuixArguments, GuixSurroundings, serve_guix};
use offload::link::{Identity, Timeouts};
use offload::local::{GuixDirectories, GuixKeys, HostBounds, Limits};
use offload::log::{BuildLog, DaemonLog, Log};
use offload::machines::{MachineList, read_builders, read_list};

/// The machine's key is made of it.
const SEED: [u8; 32] = [7; 32];

/// Guix's tables, as far as they are read.
const TABLES: &str = "
    CREATE TABLE ValidPaths (id INTEGER PRIMARY KEY, path TEXT, hash TEXT, registrationTime INTEGER,
        deriver TEXT, narSize INTEGER);
    CREATE TABLE Refs (referrer INTEGER, reference INTEGER);
    CREATE TABLE DerivationOutputs (drv INTEGER, id TEXT, path TEXT);";

const DIGEST: &str = "00000000000000000000000000000000";

/// Hears what is written.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<u8>>>);

impl Ear {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Ear {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A coordinator and its machine, in a folder.
struct Bed {
    folder: tempfile::TempDir,
    machine: Machine,
}

impl Bed {
    async fn start(export: GuixExport) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::start_guix(folder.path(), SEED, export);
        let machine = machine.await.unwrap();
        let database = folder.path().join("db");
        std::fs::create_dir(&database).unwrap();
        std::fs::write(database.join("schema"), "7").unwrap();
        let connection = rusqlite::Connection::open(database.join("db.sqlite")).unwrap();
        connection.execute_batch(TABLES).unwrap();
        let key = SecretKey::from_bytes(&SEED).unwrap();
        let acl = Acl::new([*key.public_key()]).to_sexp().to_advanced();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/acl"), acl).unwrap();
        Bed { folder, machine }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn surroundings(&self, limits: Limits) -> GuixSurroundings {
        let folder = self.folder.path();
        GuixSurroundings {
            directories: GuixDirectories {
                store: self.store().display().to_string(),
                state: folder.join("state"),
                database: folder.join("db"),
                configuration: folder.join("etc"),
            },
            identity: Identity {
                // Nothing of this host's.
                system: folder.join("ssh"),
                ..Identity::new("builder", 0, folder)
            },
            timeouts: Timeouts::default(),
            keys: GuixKeys {
                directory: folder.join("etc"),
                guix: None,
            },
            limits,
            bounds: HostBounds::default(),
        }
    }

    /// The list that has the machine.
    fn list(&self) -> MachineList {
        read_builders(&self.machine.line("x86_64-linux"), "")
    }

    /// Has the hook build something; says how that ended, without what differs from run to run.
    async fn build(&self, limits: Limits) -> (ExitCode, String) {
        self.ask(1, limits, vec![Some(self.list())]).await
    }

    /// The same, asked so many times, with what `lists` give when they are asked for.
    async fn ask(
        &self,
        times: usize,
        limits: Limits,
        lists: Vec<Option<MachineList>>,
    ) -> (ExitCode, String) {
        let store = self.store();
        let (drv, out) = (
            store.join(format!("{DIGEST}-test.drv")),
            store.join(format!("{DIGEST}-test")),
        );
        let out = out.display();
        let text = format!(
            r#"Derive([("out","{out}","","")],[],[],"x86_64-linux","/bin/sh",["-c","x"],[("out","{out}")])"#
        );
        std::fs::write(&drv, text).unwrap();
        let drv = drv.display();
        // All that a daemon would say to a hook that accepts.
        let asked = format!("0 x86_64-linux {drv} \n").repeat(times);
        let requests = format!("{asked}{drv} \n{out} \n");
        let words = ["x86_64-linux", "3600", "0", "7200"].map(str::to_owned);
        let arguments = GuixArguments::parse(&words).unwrap();
        let ear = Ear::default();
        let mut log = Log {
            daemon: DaemonLog::guix(ear.clone()),
            build: BuildLog::new(ear.clone()),
        };
        let surroundings = self.surroundings(limits);
        let mut lists = lists.into_iter();
        let machines = async move || lists.next().flatten();
        let requests = requests.as_bytes();
        let code = serve_guix(requests, &mut log, &arguments, &surroundings, machines).await;
        drop(log);
        (code, self.plain(&ear.text()))
    }

    /// Without what differs from run to run: places, process numbers, and hashes and sizes that depend on places.
    fn plain(&self, text: &str) -> String {
        let uri = self.machine.uri();
        let port = uri.rsplit(':').next().unwrap();
        let folder = self.folder.path().display().to_string();
        let text = text.replace(&folder, "DIR").replace(port, "PORT");
        let lines = text
            .lines()
            .filter(|line| !line.contains("acquired build slot"));
        let lines = lines.map(|line| {
            let depends = line.contains("does not end as");
            let words = line.split(' ').map(|word| {
                let bare = word.trim_end_matches([',', ';']);
                let is_hash =
                    bare.len() == 64 && bare.bytes().all(|b| b"0123456789abcdef".contains(&b));
                let is_size = depends && bare.parse::<u32>().is_ok_and(|size| size < 1 << 20);
                match (is_hash, is_size) {
                    (true, _) => word.replace(bare, "HASH"),
                    (_, true) => word.replace(bare, "SIZE"),
                    _ => word.to_owned(),
                }
            });
            words.collect::<Vec<_>>().join(" ")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The store holds what was there before, and no slot is held.
    fn assert_untouched(&self, told: &str) {
        assert_eq!(
            names(&self.store()),
            [format!("{DIGEST}-test.drv")],
            "{told}"
        );
        let beside = names(self.folder.path());
        assert_eq!(
            beside,
            ["client-key", "db", "etc", "state", "store"],
            "{told}"
        );
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Enough for every right output, and small for those without end.
const LIMITS: Limits = Limits {
    output: 10 << 20,
    free_disk: 0,
};

#[tokio::test]
async fn a_right_export_is_taken() {
    let bed = Bed::start(GuixExport::Right).await;
    let (code, text) = bed.build(LIMITS).await;
    assert_eq!(code, ExitCode::Done, "{text}");
    let output = bed.store().join(format!("{DIGEST}-test"));
    assert_eq!(
        std::fs::read_to_string(output).unwrap(),
        "said the machine\n"
    );
    insta::assert_snapshot!(text);
}

/// The first build is greeted before it asks. The second knows the machine, so that its requests leave with the greeting.
#[tokio::test]
async fn a_machine_that_cannot_be_asked_for_more_at_a_time_is_asked_one_by_one() {
    for (hurry, hurried) in [
        (Hurry::InGreeting, 1),
        (Hurry::InRequest, 2),
        (Hurry::InBuild, 2),
        (Hurry::InBuildWithAWord, 2),
    ] {
        let bed = Bed::start(GuixExport::RightOneByOne(hurry)).await;
        let output = bed.store().join(format!("{DIGEST}-test"));
        for _ in 0..2 {
            let (code, text) = bed.build(LIMITS).await;
            assert_eq!(code, ExitCode::Done, "{hurry:?}: {text}");
            assert_eq!(text.matches("offloading '").count(), 1, "{hurry:?}: {text}");
            let content = std::fs::read_to_string(&output).unwrap();
            assert_eq!(content, "said the machine\n");
        }
        assert_eq!(bed.machine.hurried(), hurried, "{hurry:?}");
    }
}

#[tokio::test]
async fn whatever_else_is_exported_is_refused_and_says_why() {
    let exports = [
        GuixExport::Unsigned,
        GuixExport::ByUnknownKey,
        GuixExport::OtherSignature,
        GuixExport::Forged,
        GuixExport::ByRsaKey,
        GuixExport::NoSignature,
        GuixExport::Altered,
        GuixExport::OtherPath,
        GuixExport::InventsReferences,
        GuixExport::Nothing,
        GuixExport::CutsArchive,
        GuixExport::CutsTrailer,
        GuixExport::Pads,
        GuixExport::AddsAnother,
        GuixExport::FileWithoutEnd,
        GuixExport::TrailerWithoutEnd,
    ];
    let mut told = Vec::new();
    for export in exports {
        let bed = Bed::start(export).await;
        let (code, text) = bed.build(LIMITS).await;
        // Never a verdict on the build.
        assert_eq!(code, ExitCode::Failed, "{export:?}: {text}");
        bed.assert_untouched(&text);
        let end = text.lines().last().unwrap_or_default();
        told.push(format!("{export:?}\n{end}"));
    }
    insta::assert_snapshot!(told.join("\n\n"));
}

/// A daemon asks the same process until a machine takes its build: machines that are listed meanwhile count.
#[tokio::test]
async fn a_list_that_has_changed_counts_from_the_next_request_on() {
    let bed = Bed::start(GuixExport::Right).await;
    let nothing = Some(MachineList::default());
    let lists = vec![nothing, None, Some(bed.list())];
    let (code, text) = bed.ask(2, LIMITS, lists).await;
    assert_eq!(code, ExitCode::Done, "{text}");
    let replies = text.lines().filter(|line| line.starts_with("# "));
    assert_eq!(
        replies.collect::<Vec<_>>(),
        ["# decline", "# accept"],
        "{text}"
    );

    let bed = Bed::start(GuixExport::Right).await;
    let half_written = read_list("./machines.toml", "");
    let lists = vec![Some(bed.list()), Some(half_written)];
    let (code, text) = bed.ask(1, LIMITS, lists).await;
    assert_eq!(code, ExitCode::Done, "{text}");
    let told = "offload: the machine list has changed, and the one of before counts\n";
    assert!(text.contains(told), "{text}");
}

#[tokio::test]
async fn a_disk_that_would_fill_up_is_this_hosts_trouble() {
    let bed = Bed::start(GuixExport::FileWithoutEnd).await;
    let limits = Limits {
        output: u64::MAX,
        free_disk: u64::MAX,
    };
    let (code, text) = bed.build(limits).await;
    assert_eq!(code, ExitCode::Failed, "{text}");
    assert!(text.contains("stay free (limit free-disk)"), "{text}");
    assert!(!text.contains("no other machine"), "{text}");
    bed.assert_untouched(&text);
}
