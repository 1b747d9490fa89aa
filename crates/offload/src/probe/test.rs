//! Whether a machine would do, step by step.

use std::collections::BTreeSet;
use std::time::Duration;

use nar::{Digest, Observe};
use store_path::{ContentAddress, ContentAddressMethod, Hash, HashAlgorithm, StoreDir, StorePath};
use tokio::time::Instant;
use worker_protocol::{NarHash, PathInfo, ValidPathInfo};

use super::guix;
use super::{Probe, Step, Trouble, no_log, place, within};
use crate::failure::Failure;
use crate::health::Knowledge;
use crate::link::{KeyChoice, Route, SshTarget};
use crate::log::Log;
use crate::machines::Machine;
use crate::remote::{Remote, Way};

/// The name of the path that is imported.
const NAME: &str = "offload-test";

/// What came of testing a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestReport {
    /// The machine, as its list calls it.
    pub machine: String,
    /// The steps that went well, in their order.
    pub passed: Vec<Passed>,
    /// Where it ended, if not well.
    pub trouble: Option<Trouble>,
    /// What of the SSH configuration is not honoured.
    pub warnings: Vec<String>,
    /// The way to the store daemon that worked, and the worker protocol's version (minor number)
    /// where that is spoken.
    pub reached: Option<(Way, Option<u8>)>,
}

/// A step that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Which one.
    pub step: Step,
    /// What was found.
    pub detail: String,
    /// How long it took, where that was measured; with [`Step::Daemon`] everything since the name.
    pub took: Option<Duration>,
}

impl TestReport {
    pub(super) fn pass(&mut self, step: Step, detail: impl Into<String>, since: Option<Instant>) {
        self.passed.push(Passed {
            step,
            detail: detail.into(),
            took: since.map(|since| since.elapsed()),
        });
    }

    /// Passes the steps of connecting.
    fn pass_link(&mut self, steps: &[Step], target: &SshTarget) {
        for step in steps {
            self.pass(*step, detail(*step, target), None);
        }
    }
}

impl Probe {
    /// Tests a machine, up to the first step that fails. `content` goes into the path that is
    /// imported there; where it is new, so is the path. The path stays there as garbage, which the
    /// machine's garbage collector removes; it is not registered here.
    pub async fn test(&self, machine: &Machine, content: &str) -> TestReport {
        let mut report = TestReport {
            machine: machine.name.clone(),
            passed: Vec::new(),
            trouble: None,
            warnings: Vec::new(),
            reached: None,
        };
        report.trouble = self.run(machine, content, &mut report).await.err();
        report
    }

    async fn run(
        &self,
        machine: &Machine,
        content: &str,
        report: &mut TestReport,
    ) -> Result<(), Trouble> {
        let way = self.plan(machine)?;
        report.warnings = way.warnings;
        let target = &way.target;
        let detail = format!("{} from {}", machine.uri, machine.origin);
        report.pass(Step::Configuration, detail, None);
        self.look_up(machine, target, report).await?;

        let started = Instant::now();
        let mut log = no_log();
        // What is known of it is not used: all of it is to be found out.
        let known = Knowledge::default();
        let mut remote = match self.connect(machine, target, &known, &mut log).await {
            Ok(remote) => remote,
            Err(failure) => {
                let (step, passed) = place(&failure);
                report.pass_link(passed, target);
                return Err(self.trouble(step, &failure, machine, Some(target)));
            }
        };
        report.pass_link(super::LINK, target);
        let daemon = format!("{}, by {}", remote.description(), remote.place());
        report.pass(Step::Daemon, daemon, Some(started));
        report.reached = Some((remote.way(), remote.protocol()));
        let (store_dir, log) = (&self.store_dir, &mut log);
        let greeting = self.timeouts.greeting;
        let done = match &self.guix {
            Some(host) => {
                let host = (host, greeting);
                guix::there_and_back(&mut remote, store_dir, host, content, report, log).await
            }
            None => {
                report.pass(Step::Trust, trust(&remote), None);
                there_and_back(&mut remote, store_dir, greeting, content, report, log).await
            }
        };
        remote.close().await;
        done.map_err(|(step, failure)| self.trouble(step, &failure, machine, Some(target)))
    }

    /// The first host on the way that is named here.
    async fn look_up(
        &self,
        machine: &Machine,
        target: &SshTarget,
        report: &mut TestReport,
    ) -> Result<(), Trouble> {
        let mut first = target;
        while let Route::Jump(next) = &first.route {
            first = next;
        }
        if let Route::Command(command) = &first.route {
            report.pass(
                Step::Name,
                format!("left to ProxyCommand {command:?}"),
                None,
            );
            return Ok(());
        }
        let started = Instant::now();
        let host = first.host.as_str();
        let looking = tokio::net::lookup_host((host, first.port));
        let wrong = |reason: String| Trouble {
            step: Step::Name,
            reason: format!("failed to look up {host}: {reason}"),
            advice: format!(
                "correct the name at {}, or add it to DNS, /etc/hosts or the SSH configuration",
                machine.origin
            ),
        };
        let found = match tokio::time::timeout(self.timeouts.connect, looking).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => return Err(wrong(error.to_string())),
            Err(_) => {
                let bound = self.timeouts.connect.as_secs_f32();
                return Err(wrong(format!("no answer within {bound} s (bound connect)")));
            }
        };
        let addresses: BTreeSet<_> = found.map(|address| address.ip().to_string()).collect();
        if addresses.is_empty() {
            return Err(wrong("it has no address".to_owned()));
        }
        let addresses: Vec<_> = addresses.into_iter().collect();
        let detail = format!("{host} is {}", addresses.join(", "));
        report.pass(Step::Name, detail, Some(started));
        Ok(())
    }
}

/// What is known of a step of connecting that went well.
fn detail(step: Step, target: &SshTarget) -> String {
    match step {
        Step::PrivateKey => {
            let credentials = &target.credentials;
            let files = credentials.files.iter();
            let files = match credentials.choice {
                KeyChoice::Default => files.filter(|file| file.exists()).collect::<Vec<_>>(),
                _ => files.collect(),
            };
            let mut keys: Vec<_> = files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            keys.extend(
                credentials
                    .agent
                    .as_ref()
                    .map(|agent| format!("agent at {}", agent.display())),
            );
            keys.join(", ")
        }
        Step::Connection => {
            let to = format!("{} port {}", target.host, target.port);
            match &target.route {
                Route::Direct => to,
                Route::Jump(jump) => format!("{to}, through {}", jump.host),
                Route::Command(_) => format!("{to}, by ProxyCommand"),
            }
        }
        Step::HostKey => match target.host_keys.pinned {
            Some(_) => "as pinned in the machine list".to_owned(),
            None => "on record in known_hosts".to_owned(),
        },
        _ => format!("let in as {}", target.user),
    }
}

fn trust(remote: &Remote) -> String {
    let user = remote.user();
    match (remote.way(), remote.trusted()) {
        (Way::Serve, _) if user == "root" => "the serve protocol trusts root".to_owned(),
        (Way::Serve, _) => format!(
            "the serve protocol does not tell whether {user} is trusted: it builds only for whom \
             trusted-users in nix.conf there names"
        ),
        (_, Some(true)) => format!("{user} is trusted"),
        (_, Some(false)) => format!(
            "{user} is not trusted: builds have to send more, and unsigned inputs are built anew \
             there; trusted-users = {user} in nix.conf there would change it"
        ),
        (_, None) => format!("the daemon does not tell whether {user} is trusted"),
    }
}

/// A small path there, and its archive back.
async fn there_and_back(
    remote: &mut Remote,
    store_dir: &StoreDir,
    greeting: Duration,
    content: &str,
    report: &mut TestReport,
    log: &mut Log,
) -> Result<(), (Step, Failure)> {
    let sample = Sample::new(store_dir, content);
    let name = store_dir.print(&sample.path);
    let started = Instant::now();
    let adding = remote.add_path(sample.info(), &sample.archive, log);
    let added = within(greeting, "import a path there", adding).await;
    added.map_err(|failure| (Step::Import, failure))?;
    report.pass(Step::Import, &name, Some(started));

    let started = Instant::now();
    let size = sample.archive.len();
    let reading = remote.archive_of(sample.path.clone(), size, log);
    let read = within(greeting, "export a path from there", reading).await;
    let read = read.map_err(|failure| (Step::Export, failure))?;
    if read != sample.archive {
        return Err((Step::Export, Failure::Altered(name)));
    }
    let detail = format!("{size} bytes, the same that went there");
    report.pass(Step::Export, detail, Some(started));
    Ok(())
}

/// The archive of a file.
pub(super) fn file_archive(content: &str) -> Vec<u8> {
    let mut archive = Vec::new();
    let mut encoder = nar::Encoder::new();
    let events = [
        nar::Event::File {
            executable: false,
            size: content.len() as u64,
        },
        nar::Event::Data(content.as_bytes()),
        nar::Event::FileEnd,
    ];
    for event in events {
        let encoded = encoder.encode(event, &mut archive);
        encoded.expect("a file is an archive");
    }
    archive
}

/// A path with a text, content-addressed: whoever is let in may add it, trusted or not.
struct Sample {
    path: StorePath,
    archive: Vec<u8>,
    text_hash: Hash,
}

impl Sample {
    fn new(store_dir: &StoreDir, content: &str) -> Self {
        let text_hash = HashAlgorithm::Sha256.hash(content.as_bytes());
        let path = store_dir.make_text_path(NAME, &text_hash, []);
        let path = path.expect("a valid name and a SHA-256 hash make a path");
        let archive = file_archive(content);
        Sample {
            path,
            archive,
            text_hash,
        }
    }

    fn info(&self) -> ValidPathInfo {
        let mut digest = Digest::new();
        digest.observe(&self.archive);
        let digest = digest.finish();
        ValidPathInfo {
            path: self.path.clone(),
            info: PathInfo::new(NarHash(digest.sha256), digest.size).with_content_address(
                ContentAddress {
                    method: ContentAddressMethod::Text,
                    hash: self.text_hash,
                },
            ),
        }
    }
}
