//! Machines that are tested and asked for their status, some of them up to mischief, inside one
//! process.

use std::path::Path;

use offload::embedded::{Machine, Misbehaviour};
use offload::health::Knowledge;
use offload::link::{Identity, SshSettings, Timeouts};
use offload::machines::{Machine as Listed, read_builders};
use offload::probe::{Probe, Step, TestReport};

struct Bed {
    machine: Machine,
    folder: tempfile::TempDir,
}

impl Bed {
    async fn start(misbehaviour: Option<Misbehaviour>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let machine = Machine::start(folder.path(), misbehaviour)
            .await
            .expect("it starts");
        Bed { machine, folder }
    }

    fn listed(&self) -> Listed {
        let line = self.machine.line("x86_64-linux");
        read_builders(&line, "").machines.remove(0)
    }

    fn probe(&self) -> Probe {
        let mut identity = Identity::new("someone", 0, self.folder.path());
        // No configuration but what the test writes.
        identity.system = self.folder.path().to_owned();
        Probe {
            settings: SshSettings::read(&identity),
            timeouts: Timeouts::default(),
            store_dir: self.machine.store().store_dir().clone(),
            guix: None,
        }
    }

    async fn test(&self, listed: &Listed) -> TestReport {
        self.probe().test(listed, "a line\n").await
    }

    /// The report without what differs from run to run.
    fn text(&self, report: &TestReport) -> String {
        let passed = report.passed.iter();
        let mut lines: Vec<_> = passed
            .map(|passed| format!("ok   {}: {}", passed.step, passed.detail))
            .collect();
        if let Some(trouble) = &report.trouble {
            lines.push(format!("FAIL {}: {}", trouble.step, trouble.reason));
            lines.push(format!("     {}", trouble.advice));
        }
        let port = self.listed().uri.port().expect("it has one").to_string();
        let text = lines.join("\n").replace(&port, "PORT");
        let text = text.replace(&self.folder.path().display().to_string(), "DIR");
        let words = text
            .split(' ')
            .map(|word| match word.split_once("SHA256:") {
                Some((before, after)) => {
                    let rest = after.trim_start_matches(|c: char| {
                        c.is_ascii_alphanumeric() || "+/".contains(c)
                    });
                    format!("{before}FINGERPRINT{rest}")
                }
                None => word.to_owned(),
            });
        let text = words.collect::<Vec<_>>().join(" ");
        match text.find("/store/") {
            Some(start) if text[start..].contains("-offload-test") => {
                let hash = start + "/store/".len();
                format!("{}HASH{}", &text[..hash], &text[hash + 32..])
            }
            _ => text,
        }
    }
}

/// What the machine's store holds.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("store")).expect("it is there");
    entries
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("a store path's name")
        })
        .collect()
}

#[tokio::test]
async fn a_good_machine() {
    let bed = Bed::start(None).await;
    let report = bed.test(&bed.listed()).await;
    insta::assert_snapshot!(bed.text(&report));
    assert_eq!(report.trouble, None);
    let left = names(bed.folder.path());
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].ends_with("-offload-test"), "{left:?}");
    let file = bed.folder.path().join("store").join(&left[0]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "a line\n");
}

/// How the machine's entry may be wrong, and what the test says then.
async fn troubled(change: impl FnOnce(&mut Listed, &Path)) -> String {
    let bed = Bed::start(None).await;
    let mut listed = bed.listed();
    change(&mut listed, bed.folder.path());
    let report = bed.test(&listed).await;
    assert_eq!(names(bed.folder.path()), [] as [String; 0]);
    bed.text(&report)
}

fn uri(listed: &mut Listed, from: &str, to: &str) {
    let text = listed.uri.as_str().replace(from, to);
    listed.uri = offload::machines::StoreUri::parse(&text).expect("a URI");
}

#[tokio::test]
async fn a_name_without_an_address() {
    let text = troubled(|listed, _| uri(listed, "127.0.0.1", "no-such-host.invalid")).await;
    // The rest is the resolver's.
    let start = "failed to look up no-such-host.invalid: ";
    let (before, after) = text.split_once(start).expect(&text);
    let (_, advice) = after.split_once('\n').expect(after);
    insta::assert_snapshot!(format!("{before}{start}..\n{advice}"));
}

#[tokio::test]
async fn a_key_that_is_not_there() {
    let text = troubled(|listed, folder| listed.ssh_key = Some(folder.join("none"))).await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    // Port 1 of loopback: no service of a test host.
    let text = troubled(|listed, _| {
        let port = format!(":{}", listed.uri.port().unwrap());
        uri(listed, &port, ":1");
    })
    .await;
    insta::assert_snapshot!(text);
}

const STRANGER: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[tokio::test]
async fn another_host_key() {
    let text = troubled(|listed, _| listed.host_key = Some(STRANGER.to_owned())).await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_pinned_host_key_that_is_none() {
    let text = troubled(|listed, _| listed.host_key = Some("ssh-ed25519 !".to_owned())).await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn an_unknown_host_key() {
    let text = troubled(|listed, _| listed.host_key = None).await;
    // The key to add differs each time.
    let (before, rest) = text.split_once("add the line `").expect(&text);
    let (_, after) = rest.split_once("` to ").expect(rest);
    insta::assert_snapshot!(format!("{before}add the line `..` to {after}"));
}

#[tokio::test]
async fn a_key_that_is_refused() {
    let other = Bed::start(None).await;
    let key = other.listed().ssh_key;
    let name = key.as_ref().unwrap().display().to_string();
    let text = troubled(|listed, _| listed.ssh_key = key).await;
    insta::assert_snapshot!(text.replace(&name, "OTHER"));
}

/// A machine that is let in to and then misbehaves.
async fn misbehaving(misbehaviour: Misbehaviour) -> (Step, String) {
    let bed = Bed::start(Some(misbehaviour)).await;
    let report = bed.test(&bed.listed()).await;
    let step = report.trouble.as_ref().expect("it fails").step;
    (step, bed.text(&report))
}

#[tokio::test]
async fn no_daemon() {
    let (step, text) = misbehaving(Misbehaviour::HasNoDaemon).await;
    assert_eq!(step, Step::Daemon);
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_store_that_takes_nothing() {
    let (step, text) = misbehaving(Misbehaviour::RefusesInputs).await;
    assert_eq!(step, Step::Import);
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn archives_that_are_cut() {
    let (step, text) = misbehaving(Misbehaviour::CutsArchives).await;
    assert_eq!(step, Step::Export);
    insta::assert_snapshot!(text);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_keeps_silent() {
    // Time stands still while anything moves, and leaps when nothing does.
    let bed = Bed::start(Some(Misbehaviour::KeepsSilent)).await;
    let mut probe = bed.probe();
    // A leap must not look like a slow connection.
    let long = std::time::Duration::from_secs(100_000);
    probe.timeouts = Timeouts {
        connect: long,
        key_exchange: long,
        authentication: long,
        channel: long,
        keep_alive: long,
        ..probe.timeouts
    };
    let report = probe.test(&bed.listed(), "a line\n").await;
    insta::assert_snapshot!(bed.text(&report));
}

#[tokio::test]
async fn archives_that_are_altered() {
    let bed = Bed::start(Some(Misbehaviour::AltersArchives)).await;
    let report = bed.probe().test(&bed.listed(), "A Line\n").await;
    let trouble = report.trouble.expect("it fails");
    assert_eq!(trouble.step, Step::Export);
    assert!(
        trouble.reason.contains("is not what it was sent"),
        "{}",
        trouble.reason
    );
}

#[tokio::test]
async fn the_status_of_machines() {
    let bed = Bed::start(None).await;
    let mut listed = bed.listed();
    let known = Knowledge::default();
    let status = bed.probe().status(&listed, &known, Some(2)).await;
    let up = status.state.expect("it is there");
    assert_eq!((status.slots, status.used), (4, Some(2)));
    assert_eq!(up.way, offload::remote::Way::Socket);
    assert!(up.daemon.starts_with("nix offload "), "{}", up.daemon);
    // It runs no commands.
    assert_eq!((up.load, up.cores, up.disk), (None, None, None));

    listed.host_key = Some(STRANGER.to_owned());
    let status = bed.probe().status(&listed, &known, None).await;
    let trouble = status.state.expect_err("it is another");
    assert_eq!(trouble.step, Step::HostKey);
}
