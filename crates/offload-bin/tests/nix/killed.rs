//! The hook killed (SIGKILL) at moments of its builds that are drawn from a seed: nothing half-written is registered, no
//! slot stays held, and the next build of the same derivation succeeds.

use std::{
    thread,
    time::{Duration, Instant},
};

use testbed::{Direction, Signal};

use crate::{
    bed::ours,
    registration::Registration,
    stage::{LIMIT, Stages, stages},
};

/// How many moments are tried, unless `OFFLOAD_TEST_KILLS` says otherwise.
const KILLS: u32 = 12;

/// After so many kills all stores are read.
const CHECK_EVERY: u32 = 20;

/// How long after its bytes a moment may be, in milliseconds: what a hook does last takes less.
const LATEST_MS: u64 = 40;

/// When a hook is killed: so many milliseconds after so many bytes have passed that way.
#[derive(Debug, Clone, Copy)]
struct Moment {
    direction: Direction,
    bytes: u64,
    after_ms: u64,
}

/// A small generator of numbers (xorshift64*), so that a seed means the same moments for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn up_to(&mut self, limit: u64) -> u64 {
        self.next() % (limit + 1)
    }

    /// A moment of a build that sends and receives so many bytes.
    fn moment(&mut self, [sent, received]: [u64; 2]) -> Moment {
        let (direction, all) = match self.up_to(1) {
            0 => (Direction::ToBuilder, sent),
            _ => (Direction::FromBuilder, received),
        };
        // One in four when all has passed, which is when outputs are registered.
        let bytes = match self.up_to(3) {
            0 => all,
            _ => self.up_to(all),
        };
        Moment {
            direction,
            bytes,
            after_ms: self.up_to(LATEST_MS),
        }
    }
}

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")),
    )
}

/// Two outputs with many files, of an input of its own.
fn expression(stages: &Stages, name: &str) -> String {
    let input = format!("/root/input-{name}");
    stages
        .bed
        .run(&["sh", "-c", &format!("head -c 300K /dev/urandom >{input}")]);
    let script = "mkdir $out $dev; i=0; while [ $i -lt 20 ]; do \
                  head -c 20000 $input >$out/$i; ln -s $dev/$i $out/to-$i; echo $i >$dev/$i; i=$((i+1)); done";
    let attributes = format!("input = {input}; outputs = [ \"out\" \"dev\" ];");
    let all = crate::bed::derivation(name, script, &attributes);
    format!("let d = {all}; in [ d.out d.dev ]")
}

/// Kills the hook at `moment`; says whether there was one to kill.
fn kill(stages: &Stages, moment: Moment, is_over: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    let look = Duration::from_millis(1);
    while !stages.link.wait_for(moment.direction, moment.bytes, look) {
        assert!(Instant::now() < deadline, "{moment:?} never comes");
        if is_over() {
            return false;
        }
    }
    thread::sleep(Duration::from_millis(moment.after_ms));
    let hook = stages.bed.hook();
    hook.is_some_and(|hook| hook.signal(Signal::KILL).is_ok())
}

#[test]
fn at_any_moment() {
    testbed::require!();
    testbed::require!(ours());
    let stages = stages();
    let kills = number("OFFLOAD_TEST_KILLS")
        .map_or(KILLS, |kills| kills.try_into().expect("not that many"));
    let seed = number("OFFLOAD_TEST_SEED").unwrap_or(0x9E37_79B9_7F4A_7C15);
    eprintln!("{kills} kills, OFFLOAD_TEST_SEED={seed}");
    let mut random = Random(seed.max(1));
    stages.bed.use_machines(&[stages.first().to_string()]);
    // How much passes when nothing happens, once the hook knows the machine.
    let mut passes = [0; 2];
    for round in 0..2 {
        stages.link.reset();
        stages
            .bed
            .built(&expression(&stages, &format!("left-alone-{round}")));
        passes = [Direction::ToBuilder, Direction::FromBuilder].map(|way| stages.link.carried(way));
    }
    let (mut killed, mut registered) = (0, 0);
    for round in 1..=kills {
        let moment = random.moment(passes);
        let outcome = survives(&stages, &format!("killed-{round}"), moment);
        killed += u32::from(outcome.killed);
        registered += u32::from(outcome.registered);
        if round % CHECK_EVERY == 0 {
            stages.assert_clean();
        }
    }
    stages.assert_clean();
    eprintln!(
        "{killed} of {kills} hooks were killed, {registered} of them with their outputs registered"
    );
    assert!(
        killed * 2 > kills,
        "most moments are in the middle of a build"
    );
}

struct Outcome {
    killed: bool,
    registered: bool,
}

/// One build whose hook is killed at `moment`, and then the same derivation again.
fn survives(stages: &Stages, name: &str, moment: Moment) -> Outcome {
    let expression = expression(stages, name);
    stages.link.reset();
    let coordinator = &stages.bed.pair.coordinator;
    let command = ["nix-build", "--no-out-link", "-E", &expression];
    let (killed, output) = thread::scope(|scope| {
        let client = scope.spawn(|| coordinator.exec_within(LIMIT, &command));
        let killed = kill(stages, moment, || client.is_finished());
        let output = client.join().expect("the thread does not panic");
        (
            killed,
            output.unwrap_or_else(|error| panic!("{moment:?}: {error}")),
        )
    });
    eprintln!("{name}: {moment:?}, killed: {killed}, {}", output.status);
    stages.bed.assert_idle();
    // The derivation's path is followed by the output's name where there are several.
    let outputs = "nix-store --query --outputs $(nix-instantiate -E \"$1\" 2>/dev/null | sed 's/!.*//' | sort -u)";
    let outputs = stages.bed.run(&["sh", "-c", outputs, "sh", &expression]);
    let valid = outputs
        .lines()
        .filter(|path| Registration::read(coordinator, path).is_some());
    let registered = valid.count();
    // One transaction registers all outputs of a build.
    assert!(
        registered == 0 || registered == 2,
        "{moment:?}: {registered} of {outputs}"
    );
    for path in stages.bed.built(&expression) {
        stages.bed.assert_same_on_both(&path);
    }
    stages.bed.assert_idle();
    Outcome {
        killed,
        registered: registered == 2,
    }
}
