//! What was learnt about machines, kept from one build to the next: how each one's store daemon is
//! reached and what it speaks, so that a conversation can begin in one flight; and which machine
//! could not be reached, so that not every build waits for it anew.
//!
//! One small JSON file per machine, replaced as a whole. Nothing here is needed: where it cannot
//! be read or written, the machine is learnt about again.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use store_path::HashAlgorithm;

use crate::machines::Machine;
use crate::remote::{Condition, Way};
use crate::state_file;

/// How long a machine is left alone after it could not be reached for the first time. It doubles
/// with every further failure, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest time for which a machine is left alone.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long a way that is not the first one is tried first, in seconds. A daemon's socket that was
/// not there yet when its host came up is there later on.
const DETOUR_FOR: u64 = 3600;
/// Largest file that is read, in bytes; ours have some hundred.
const MAX_FILE: u64 = 64 << 10;

/// What is known of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Knowledge {
    /// The machine's URI, for people who look at the file.
    pub machine: String,
    /// The way to its store daemon that worked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<Way>,
    /// When that way was first taken, in seconds since 1970.
    pub way_since: u64,
    /// The protocol version that was agreed on there: the minor number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// How far away it is, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<u64>,
    /// Since when it cannot be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outage: Option<Outage>,
    /// What people were told of the way there, and need not be told with every build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// How it was doing when it was last asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<Observed>,
}

/// How long what a machine has said of its load and disk is believed: its load is a mean of a
/// minute, and of many builds that begin together not every one has to ask.
const BELIEVED_FOR: u64 = 5;

/// How long a machine is believed to have no machines of its own. While it is used it is asked again and again.
const WITHOUT_MACHINES_FOR: u64 = 3600;

/// How a machine was doing, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Observed {
    /// When it was asked, in seconds since 1970.
    pub time: u64,
    /// Thousandths of the load per core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<u32>,
    /// What was free on the store's file system, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_disk: Option<u64>,
    /// Whether it had a list of machines of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has_machines: Option<bool>,
}

impl Observed {
    /// What was observed, if it is fresh at `now`, in seconds since 1970.
    #[must_use]
    pub fn fresh(&self, now: u64) -> Option<Condition> {
        self.is_within(BELIEVED_FOR, now).then(|| Condition {
            load: self.load.map(|load| f64::from(load) / 1000.0),
            free_disk: self.free_disk,
            has_machines: self.has_machines,
        })
    }

    /// Whether it is believed at `now`, in seconds since 1970, that its daemon has nobody to hand builds on to.
    #[must_use]
    pub fn builds_itself(&self, now: u64) -> bool {
        self.has_machines == Some(false) && self.is_within(WITHOUT_MACHINES_FOR, now)
    }

    fn is_within(&self, seconds: u64, now: u64) -> bool {
        (self.time..self.time.saturating_add(seconds)).contains(&now)
    }
}

/// A machine that could not be reached when it was last tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outage {
    /// How often it was tried in vain.
    pub failures: u32,
    /// When it was last tried, in seconds since 1970.
    pub last: u64,
    /// What went wrong.
    pub reason: String,
}

impl Outage {
    /// When the machine is worth another try, in seconds since 1970.
    #[must_use]
    pub fn over_at(&self) -> u64 {
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = FIRST_PAUSE * 2u32.pow(doublings);
        self.last.saturating_add(pause.min(LONGEST_PAUSE).as_secs())
    }

    /// Whether the machine had better be left alone at `now`, in seconds since 1970. A clock that
    /// was set back makes no outage last.
    #[must_use]
    pub fn lasts(&self, now: u64) -> bool {
        (self.last..self.over_at()).contains(&now)
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Where knowledge is kept, and what was read of it.
#[derive(Debug)]
pub struct Health {
    directory: PathBuf,
    known: BTreeMap<String, Knowledge>,
}

impl Health {
    /// Keeps knowledge in `directory` (Nix: `/nix/var/nix/offload`), which is created when there is
    /// something to keep.
    #[must_use]
    pub fn open(directory: impl Into<PathBuf>) -> Self {
        Health {
            directory: directory.into(),
            known: BTreeMap::new(),
        }
    }

    /// What is known of `machine`, by any process that shares the directory.
    pub fn of(&mut self, machine: &Machine) -> Knowledge {
        let uri = machine.uri.as_str();
        let mut known = read(&self.path(uri)).unwrap_or_default();
        let is_fresh =
            (known.way_since..known.way_since.saturating_add(DETOUR_FOR)).contains(&now());
        if known.way.is_some_and(Way::is_detour) && !is_fresh {
            (known.way, known.protocol) = (None, None);
        }
        self.known.insert(uri.to_owned(), known.clone());
        known
    }

    /// `machine` was reached by `way`, where `protocol` is spoken.
    pub fn reached(&mut self, machine: &Machine, way: Way, protocol: Option<u8>) {
        let known = self
            .known
            .get(machine.uri.as_str())
            .cloned()
            .unwrap_or_default();
        let reached = Knowledge {
            machine: machine.uri.as_str().to_owned(),
            way_since: match known.way == Some(way) {
                true => known.way_since,
                false => now(),
            },
            way: Some(way),
            protocol,
            outage: None,
            ..known
        };
        self.learn(machine, reached);
    }

    /// `machine` was so far away this time. The shortest time counts, as most of what is longer was waited for
    /// something else; but for times that are longer by far.
    pub fn measured(&mut self, machine: &Machine, round_trip: Duration) {
        let known = self.of(machine);
        let seen = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
        let near = |last: u64| last..last.saturating_mul(4).saturating_add(10);
        if !known
            .round_trip
            .is_some_and(|last| near(last).contains(&seen))
        {
            let round_trip = Some(seen);
            self.learn(
                machine,
                Knowledge {
                    round_trip,
                    ..known
                },
            );
        }
    }

    /// `machine` was asked how it is doing.
    pub fn observed(&mut self, machine: &Machine, condition: Condition) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "loads are far below millions and never negative; a cast saturates"
        )]
        let thousandths = |load: f64| (load * 1000.0) as u32;
        let observed = Observed {
            time: now(),
            load: condition.load.map(thousandths),
            free_disk: condition.free_disk,
            has_machines: condition.has_machines,
        };
        let known = Knowledge {
            condition: Some(observed),
            ..self.of(machine)
        };
        self.learn(machine, known);
    }

    /// `machine` could not be reached.
    pub fn failed(&mut self, machine: &Machine, reason: &str) {
        let known = self.of(machine);
        let now = now();
        let failures = match &known.outage {
            // Many hooks may find out the same at the same time.
            Some(outage) if outage.lasts(now) => outage.failures,
            Some(outage) => outage.failures.saturating_add(1),
            None => 1,
        };
        let outage = Some(Outage {
            failures,
            last: now,
            reason: reason.to_owned(),
        });
        let machine_uri = machine.uri.as_str().to_owned();
        self.learn(
            machine,
            Knowledge {
                machine: machine_uri,
                outage,
                ..known
            },
        );
    }

    /// What of `remarks` has not been told of `machine` yet; from now on it has.
    pub fn untold(&mut self, machine: &Machine, remarks: Vec<String>) -> Vec<String> {
        let known = self.of(machine);
        let is_new = |remark: &&String| !known.told.contains(remark);
        let untold = remarks.iter().filter(is_new).cloned().collect();
        let told = Knowledge {
            machine: machine.uri.as_str().to_owned(),
            told: remarks,
            ..known
        };
        self.learn(machine, told);
        untold
    }

    /// Nothing is written where nothing has changed: a build in a chain does not touch the disk.
    fn learn(&mut self, machine: &Machine, knowledge: Knowledge) {
        let uri = machine.uri.as_str();
        if self.known.get(uri) == Some(&knowledge) {
            return;
        }
        // Knowledge is a help, not a need: whoever cannot keep it learns again.
        let _ = write(&self.directory, &self.path(uri), &knowledge);
        self.known.insert(uri.to_owned(), knowledge);
    }

    /// Named by a hash: a URI may be longer than a file name.
    fn path(&self, uri: &str) -> PathBuf {
        let hash = HashAlgorithm::Sha256.hash(uri.as_bytes());
        let name = data_encoding::HEXLOWER.encode(&hash.digest()[..16]);
        self.directory.join(format!("{name}.json"))
    }
}

fn read(path: &Path) -> Option<Knowledge> {
    if path.metadata().ok()?.len() > MAX_FILE {
        return None;
    }
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// As a whole or not at all: others read it at any moment.
fn write(directory: &Path, path: &Path, knowledge: &Knowledge) -> std::io::Result<()> {
    state_file::create_directory(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    state_file::hand_over(file.as_file(), directory)?;
    serde_json::to_writer_pretty(&mut file, knowledge)?;
    file.flush()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::read_builders;

    fn machine(line: &str) -> Machine {
        read_builders(line, "x86_64-linux").machines.remove(0)
    }

    #[test]
    fn what_one_process_learns_another_knows() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("offload");
        let (a, b) = (machine("ssh-ng://a"), machine("ssh-ng://b"));
        let mut health = Health::open(&directory);
        assert_eq!(health.of(&a), Knowledge::default());
        health.reached(&a, Way::Socket, Some(34));
        health.failed(&b, "no answer");
        let mut other = Health::open(&directory);
        let known = other.of(&a);
        assert_eq!((known.way, known.protocol), (Some(Way::Socket), Some(34)));
        let outage = other.of(&b).outage.unwrap();
        assert_eq!((outage.failures, &*outage.reason), (1, "no answer"));
        assert!(outage.lasts(now()));

        // What it had learnt before stays; being reached ends the outage.
        other.failed(&a, "no answer");
        assert_eq!(health.of(&a).way, Some(Way::Socket));
        other.failed(&a, "no answer");
        assert_eq!(health.of(&a).outage.unwrap().failures, 1, "the same blip");
        let mut known = health.of(&a);
        known.outage.as_mut().unwrap().last -= 61;
        health.learn(&a, known);
        other.failed(&a, "no answer");
        assert_eq!(health.of(&a).outage.unwrap().failures, 2);
        health.reached(&a, Way::Command, None);
        assert_eq!(other.of(&a).outage, None);
    }

    #[test]
    fn a_detour_is_not_taken_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let a = machine("ssh-ng://a");
        let mut health = Health::open(folder.path());
        for (way, later) in [(Way::Serve, None), (Way::Socket, Some(Way::Socket))] {
            health.reached(&a, way, Some(34));
            let mut known = health.of(&a);
            assert_eq!(known.way, Some(way));
            known.way_since -= DETOUR_FOR;
            health.learn(&a, known);
            assert_eq!(health.of(&a).way, later);
        }
    }

    #[test]
    fn a_machine_is_as_far_as_it_was_at_best_until_it_is_much_farther() {
        let folder = tempfile::tempdir().unwrap();
        let a = machine("ssh-ng://a");
        let mut health = Health::open(folder.path());
        for (seen, believed) in [
            (50, 50),
            (120, 50),
            (40, 40),
            (169, 40),
            (170, 170),
            (0, 0),
            (9, 0),
        ] {
            health.measured(&a, Duration::from_millis(seen));
            let known = Health::open(folder.path()).of(&a);
            assert_eq!(known.round_trip, Some(believed), "after {seen} ms");
        }
    }

    #[test]
    fn nothing_is_told_twice() {
        let folder = tempfile::tempdir().unwrap();
        let a = machine("ssh-ng://a");
        let untold = |remarks: &[&str]| {
            let mut health = Health::open(folder.path());
            let remarks = remarks.iter().map(|&remark| remark.to_owned()).collect();
            let untold = health.untold(&a, remarks);
            health.reached(&a, Way::Socket, Some(34));
            health.failed(&a, "no answer");
            untold
        };
        assert_eq!(untold(&["x", "y"]), ["x", "y"]);
        assert_eq!(untold(&["y", "z"]), ["z"]);
        assert_eq!(untold(&["y", "z"]), [""; 0]);
        assert_eq!(
            untold(&["x"]),
            ["x"],
            "it had been mended, and is broken again"
        );
    }

    #[test]
    fn an_outage_lasts_longer_each_time_and_not_for_ever() {
        let outage = |failures| Outage {
            failures,
            last: 1000,
            reason: String::new(),
        };
        let pauses = [1, 2, 3, 4, 5, 1000].map(|failures| outage(failures).over_at() - 1000);
        assert_eq!(pauses, [60, 120, 240, 480, 600, 600]);
        assert!(outage(1).lasts(1059) && !outage(1).lasts(1060));
        assert!(!outage(1).lasts(999), "the clock was set back");
    }

    #[test]
    fn nonsense_is_no_knowledge() {
        let folder = tempfile::tempdir().unwrap();
        let mut health = Health::open(folder.path());
        let a = machine("ssh-ng://a");
        for text in ["", "{", "[1]", r#"{"way": "by-foot"}"#] {
            std::fs::write(health.path("ssh-ng://a"), text).unwrap();
            assert_eq!(health.of(&a), Knowledge::default(), "{text}");
        }
    }

    #[test]
    fn a_load_is_believed_for_a_moment() {
        let observed = Observed {
            time: 100,
            load: Some(1250),
            free_disk: Some(7),
            has_machines: Some(false),
        };
        let condition = Condition {
            load: Some(1.25),
            free_disk: Some(7),
            has_machines: Some(false),
        };
        assert_eq!(observed.fresh(100), Some(condition));
        assert_eq!(observed.fresh(100 + BELIEVED_FOR), None);
        assert_eq!(observed.fresh(99), None, "a clock that was set back");
        assert!(observed.builds_itself(100 + BELIEVED_FOR));
        assert!(!observed.builds_itself(100 + WITHOUT_MACHINES_FOR));
        for has_machines in [None, Some(true)] {
            let observed = Observed {
                has_machines,
                ..observed.clone()
            };
            assert!(!observed.builds_itself(100), "{has_machines:?}");
        }
    }
}
