//! A build that is held at one of its stages, so that something can happen to it just then.

use std::time::Duration;

use testbed::{Fault, GuixMachine, Host, Link, Pool, Stage, Taken};

use crate::bed::{Bed, BedOptions, Build, are_pairs_named, build_on, is_heavy, pairs};

/// How long a build may take, whatever becomes of its machine: every wait for a machine is bounded far below it.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// The bounds of the hook on these beds, so that nothing takes minutes: a silent machine is given up after 3 s.
const BOUNDS: &str =
    "OFFLOAD_BOUNDS=connect=5,key-exchange=5,authentication=5,channel=5,keep-alive=1";

/// A bed of its own, whose first builder is behind a link and preferred to the second.
pub(crate) struct Stages {
    pub(crate) bed: Bed,
    pub(crate) link: Link,
}

/// Tests take turns, each on whole machines with nothing known of them; on those of the newest Guix, and where heavy
/// tests were asked for, or pairs named, on those of each of the pairs.
pub(crate) fn stages() -> Taken<'static, Vec<Stages>> {
    // Most of the time they wait for a machine to be given up.
    static STAGES: Pool<Vec<Stages>> = Pool::new(2, || {
        let pairs = pairs();
        let first = match is_heavy() || are_pairs_named() {
            true => 0,
            false => pairs.len() - 1,
        };
        let stages = pairs[first..].iter().map(|pair| {
            let bed = Bed::start(&BedOptions {
                environment: &[BOUNDS],
                ..BedOptions::between(pair)
            });
            let link = bed.pair.open_link(Duration::ZERO);
            let link = link.expect("the bed has no link yet");
            Stages { bed, link }
        });
        stages.collect()
    });
    let mut stages = STAGES.take();
    for stages in stages.iter_mut() {
        stages.repair();
    }
    stages
}

impl Stages {
    pub(crate) fn first(&self) -> GuixMachine {
        GuixMachine {
            name: self.link.address().to_string(),
            speed: "10.0".into(),
            ..self.bed.pair.guix_machine()
        }
    }

    pub(crate) fn second(&self) -> GuixMachine {
        self.bed.pair.extra_guix_machine(Bed::SECOND)
    }

    /// Makes everything as good as new; stores stay as they are.
    pub(crate) fn repair(&mut self) {
        Fault::repair(&mut self.bed.pair.builder, &self.link).expect("it can be repaired");
        self.bed.run(&["rm", "-rf", "/var/guix/offload/knowledge"]);
    }

    /// Makes a file for an input, of its own for each name.
    pub(crate) fn input(&self, name: &str) -> String {
        let input = format!("/root/input-{name}");
        let size = Stage::INPUT;
        let fill = format!("test -e {input} || head -c {size} /dev/urandom >{input}");
        self.bed.run(&["sh", "-c", &fill]);
        format!("sources={input}")
    }

    /// Builds on `machines`; once the first of them has brought it to `stage`, `fault` happens to it.
    pub(crate) fn build(
        &mut self,
        name: &str,
        machines: &[GuixMachine],
        stage: Stage,
        fault: impl FnOnce(&mut Host, &Link),
    ) -> Build {
        let script = Stage::script("$sources");
        let input = self.input(name);
        self.bed.use_machines(machines);
        let pair = &mut self.bed.pair;
        let coordinator = &pair.coordinator;
        let client = || build_on(coordinator, name, &script, &[&input]);
        let output = stage.strike(&mut pair.builder, &self.link, LIMIT, client, fault);
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        assert!(output.elapsed < LIMIT, "{output:?}");
        Build::parse(&output)
    }

    /// Asserts that no process of a build is left on either side, and no slot is held.
    pub(crate) fn assert_idle(&self) {
        let pair = &self.bed.pair;
        self.bed
            .assert_no_strays(&[&pair.coordinator, &pair.builder]);
        let status = self.bed.run(&[crate::bed::OURS, "explain", "--guix"]);
        assert!(status.contains("load 0 of "), "{status}");
    }

    /// Asserts that all three stores are whole, and no process of a build is left, and no slot is held.
    pub(crate) fn assert_clean(&self) {
        self.assert_idle();
        let pair = &self.bed.pair;
        let second = &pair.extra_builders[Bed::SECOND];
        self.bed
            .assert_whole(&[&pair.coordinator, &pair.builder, second]);
    }
}
