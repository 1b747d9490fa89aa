//! A build that is held at one of its stages, so that something can happen to it just then.

use std::{
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use testbed::{Direction, Host, Link, MachineLine, Output};

use crate::bed::{Bed, derivation};

/// How long a build may take, whatever becomes of its machine: every wait for a machine is bounded far below it.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The bounds of the hook on this bed, so that nothing takes minutes: a silent machine is given up after 3 s.
const BOUNDS: &str =
    "OFFLOAD_BOUNDS=connect=5,key-exchange=5,authentication=5,channel=5,keep-alive=1";

/// What an input has, and each output twice of it: in megabytes.
const INPUT_MB: u32 = 8;

/// More than it takes to connect and to ask, less than the first piece of an input.
const ACCEPTED: u64 = 16 << 10;

/// In the middle of an input, and of an output.
const HALF_WAY: u64 = 4 << 20;

/// Where a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not begun.
    BeforeConnect,
    /// Accepted; of the input no more than the beginning has arrived.
    Accepted,
    /// Half of the input has arrived on the builder.
    Upload,
    /// The builder is at it.
    Build,
    /// Part of the output has come back.
    Download,
}

/// A bed of its own, whose first builder is behind a link and preferred to the second.
pub(crate) struct Stages {
    pub(crate) bed: Bed,
    pub(crate) link: Link,
}

/// Tests take turns, each on whole machines with nothing known of them.
pub(crate) fn stages() -> MutexGuard<'static, Stages> {
    static STAGES: LazyLock<Mutex<Stages>> = LazyLock::new(|| {
        let bed = Bed::start(BOUNDS, None);
        let link = bed.pair.open_link(Duration::ZERO);
        let link = link.expect("the bed has no link yet");
        Mutex::new(Stages { bed, link })
    });
    let mut stages = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.link.cut();
        let first = &mut self.bed.pair.builder;
        first.crash().expect("the builder can be killed");
        // Most of the time it is not there.
        std::fs::remove_file(first.outside("/tmp/hold")).ok();
        first.boot().expect("the builder comes up again");
        self.bed.run(&["rm", "-rf", "/nix/var/nix/offload"]);
        self.link.reset();
    }

    /// A build with an input of its own, which takes as long as `/tmp/hold` is there on the builder.
    pub(crate) fn expression(&self, name: &str) -> String {
        let input = format!("/root/input-{name}");
        let size = format!("{INPUT_MB}M");
        let fill = format!("head -c {size} /dev/urandom >{input}");
        self.bed.run(&["sh", "-c", &fill]);
        let script = ": >/tmp/building; while [ -e /tmp/hold ]; do sleep 0.05; done; \
                      mkdir $out; cat $input >$out/one; cp $out/one $out/two";
        derivation(name, script, &format!("input = {input};"))
    }

    /// Builds on `machines`; once the first of them has brought it to `stage`, `fault` happens to it.
    pub(crate) fn build(
        &mut self,
        expression: &str,
        machines: &[MachineLine],
        stage: Stage,
        fault: fn(&mut Host, &Link),
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
        fault: fn(&mut Host, &Link),
    ) -> Output {
        let lines: Vec<_> = machines.iter().map(ToString::to_string).collect();
        self.bed.use_machines(&lines);
        let Stages { bed, link } = self;
        let (coordinator, builder) = (&bed.pair.coordinator, &mut bed.pair.builder);
        link.reset();
        // An earlier build may have left it.
        std::fs::remove_file(builder.outside("/tmp/building")).ok();
        match stage {
            Stage::BeforeConnect => fault(builder, link),
            Stage::Accepted => link.hold_after(Direction::ToBuilder, ACCEPTED),
            Stage::Upload => link.hold_after(Direction::ToBuilder, HALF_WAY),
            Stage::Build => builder
                .write_file("/tmp/hold", "")
                .expect("the file is written"),
            Stage::Download => link.hold_after(Direction::FromBuilder, HALF_WAY),
        }
        let command = ["nix-build", "--no-out-link", "-v", "-E", expression];
        let command = [&command, arguments].concat();
        thread::scope(|scope| {
            let client = scope.spawn(|| coordinator.exec_within(LIMIT, &command));
            if stage != Stage::BeforeConnect {
                let reached = reaches(stage, builder, link, || client.is_finished());
                assert!(reached, "{stage:?} is not reached: {:?}", client.join());
                fault(builder, link);
            }
            let output = client.join().expect("the thread does not panic");
            output.unwrap_or_else(|error| panic!("{error}"))
        })
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

/// Waits until the build is at `stage`, unless it is over before.
fn reaches(stage: Stage, builder: &Host, link: &Link, is_over: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    let look = Duration::from_millis(5);
    loop {
        let reached = match stage {
            Stage::BeforeConnect => true,
            Stage::Accepted => link.wait_for(Direction::ToBuilder, ACCEPTED, look),
            Stage::Upload => link.wait_for(Direction::ToBuilder, HALF_WAY, look),
            Stage::Download => link.wait_for(Direction::FromBuilder, HALF_WAY, look),
            Stage::Build => {
                thread::sleep(look);
                builder.outside("/tmp/building").exists()
            }
        };
        if reached || is_over() || Instant::now() > deadline {
            return reached;
        }
    }
}
