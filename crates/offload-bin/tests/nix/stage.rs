//! A build that is held at one of its stages, so that something can happen to it just then.

use std::time::Duration;

pub(crate) use testbed::Stage;
use testbed::{Fault, Host, Link, MachineLine, Output, Pool, Taken};

use crate::bed::{Bed, derivation};

/// How long a build may take, whatever becomes of its machine: every wait for a machine is bounded far below it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The bounds of the hook on this bed, so that nothing takes minutes: a silent machine is given up after 3 s.
const BOUNDS: &str =
    "OFFLOAD_BOUNDS=connect=5,key-exchange=5,authentication=5,channel=5,keep-alive=1";

/// A bed of its own, whose first builder is behind a link and preferred to the second.
pub(crate) struct Stages {
    pub(crate) bed: Bed,
    pub(crate) link: Link,
}

/// Tests take turns, each on whole machines with nothing known of them.
pub(crate) fn stages() -> Taken<'static, Stages> {
    // Most of the time they wait for a machine to be given up.
    static STAGES: Pool<Stages> = Pool::new(2, || {
        let bed = Bed::start(BOUNDS, None);
        let link = bed.pair.open_link(Duration::ZERO);
        let link = link.expect("the bed has no link yet");
        Stages { bed, link }
    });
    let mut stages = STAGES.take();
    stages.repair();
    stages
}

impl Stages {
    pub(crate) fn first(&self) -> MachineLine {
        MachineLine {
            uri: format!("ssh-ng://root@{}", self.link.address()),
            speed_factor: "10".into(),
            ..self.bed.pair.machine_line()
        }
    }

    pub(crate) fn second(&self) -> MachineLine {
        self.bed.pair.extra_machine_line(Bed::SECOND)
    }

    /// Makes everything as good as new; stores stay as they are.
    pub(crate) fn repair(&mut self) {
        Fault::repair(&mut self.bed.pair.builder, &self.link).expect("it can be repaired");
        self.bed.run(&["rm", "-rf", "/nix/var/nix/offload"]);
    }

    /// A build with an input of its own, which can be held at each stage.
    pub(crate) fn expression(&self, name: &str) -> String {
        let input = format!("/root/input-{name}");
        let fill = format!("head -c {} /dev/urandom >{input}", Stage::INPUT);
        self.bed.run(&["sh", "-c", &fill]);
        let script = Stage::script("$input");
        derivation(name, &script, &format!("input = {input};"))
    }

    /// Builds on `machines`; once the first of them has brought it to `stage`, `fault` happens to it.
    pub(crate) fn build(
        &mut self,
        expression: &str,
        machines: &[MachineLine],
        stage: Stage,
        fault: impl FnOnce(&mut Host, &Link),
    ) -> Output {
        self.build_with(&[], expression, machines, stage, fault)
    }

    /// As [`build`](Stages::build), with more `arguments` for nix-build.
    pub(crate) fn build_with(
        &mut self,
        arguments: &[&str],
        expression: &str,
        machines: &[MachineLine],
        stage: Stage,
        fault: impl FnOnce(&mut Host, &Link),
    ) -> Output {
        let lines: Vec<_> = machines.iter().map(ToString::to_string).collect();
        self.bed.use_machines(&lines);
        let pair = &mut self.bed.pair;
        let coordinator = &pair.coordinator;
        let command = ["nix-build", "--no-out-link", "-v", "-E", expression];
        let command = [&command, arguments].concat();
        let client = || coordinator.exec_within(LIMIT, &command);
        let output = stage.strike(&mut pair.builder, &self.link, LIMIT, client, fault);
        output.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Asserts that nothing is registered of the output, nothing half-written is valid, no slot held.
    pub(crate) fn assert_untouched(&self, out: &str) {
        let coordinator = &self.bed.pair.coordinator;
        let validity = coordinator.exec(&["nix-store", "--check-validity", out]);
        let validity = validity.expect("it ends");
        assert!(!validity.status.success(), "{out} is valid");
    }

    /// Asserts that all three stores are whole, and no process of a build is left, and no slot is held.
    pub(crate) fn assert_clean(&self) {
        self.bed.assert_idle();
        let pair = &self.bed.pair;
        let second = &pair.extra_builders[Bed::SECOND];
        self.bed
            .assert_whole(&[&pair.coordinator, &pair.builder, second]);
    }
}
