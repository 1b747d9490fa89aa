//! The hook killed (SIGKILL) at moments of its builds that are drawn from a seed: nothing half-written is registered, no
//! slot stays held, and the next build of the same derivation succeeds.

use std::{
    thread,
    time::{Duration, Instant},
};

use testbed::{Direction, Host, Signal};

use crate::{
    bed::{Build, build_on, require},
    stage::{LIMIT, Stages, stages},
};

/// How many moments are tried, unless `OFFLOAD_TEST_KILLS` says otherwise.
const KILLS: u32 = 4;

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
    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % (limit + 1)
    }

    /// A moment of a build that sends and receives so many bytes.
    fn moment(&mut self, [sent, received]: [u64; 2]) -> Moment {
        let (direction, all) = match self.up_to(1) {
            0 => (Direction::ToBuilder, sent),
            _ => (Direction::FromBuilder, received),
        };
        // One in four when all has passed, which is when the daemon registers outputs.
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
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")))
}

/// Makes two outputs with many files, of an input of its own.
const SCRIPT: &str = "mkdir $out $dev; i=0; while [ $i -lt 20 ]; do head -c 20000 $sources >$out/$i; \
                      ln -s $dev/$i $out/to-$i; echo $i >$dev/$i; i=$((i+1)); done";

fn options(stages: &Stages, name: &str) -> [String; 2] {
    [stages.input(name), "outputs=out,dev".to_owned()]
}

fn build(coordinator: &Host, name: &str, options: &[String; 2]) -> Build {
    let output = build_on(
        coordinator,
        name,
        SCRIPT,
        &options.each_ref().map(String::as_str),
    );
    Build::parse(&output.unwrap_or_else(|error| panic!("{error}")))
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
    let processes = stages.bed.pair.coordinator.processes();
    let processes = processes.expect("processes can be listed");
    // Started by a script, as a program of the dynamic linker.
    let hook = processes
        .iter()
        .find(|process| process.command_line.contains("/opt/ours offload "));
    hook.is_some_and(|hook| hook.signal(Signal::KILL).is_ok())
}

#[test]
fn at_any_moment() {
    require!();
    for stages in stages().iter() {
        let kills = number("OFFLOAD_TEST_KILLS")
            .map_or(KILLS, |kills| kills.try_into().expect("not that many"));
        let seed = number("OFFLOAD_TEST_SEED").unwrap_or(0x9E37_79B9_7F4A_7C15);
        eprintln!(
            "{}: {kills} kills, OFFLOAD_TEST_SEED={seed}",
            stages.bed.version
        );
        let mut random = Random(seed.max(1));
        stages.bed.use_machines(&[stages.first()]);
        // How much passes when nothing happens, once the hook knows the machine.
        let mut passes = [0; 2];
        for round in 0..2 {
            let name = format!("left-alone-{round}");
            let options = options(stages, &name);
            stages.link.reset();
            build(&stages.bed.pair.coordinator, &name, &options).out();
            passes =
                [Direction::ToBuilder, Direction::FromBuilder].map(|way| stages.link.carried(way));
        }
        let mut killed = 0;
        for round in 1..=kills {
            let moment = random.moment(passes);
            killed += u32::from(survives(stages, &format!("killed-{round}"), moment));
            if round % CHECK_EVERY == 0 {
                stages.assert_clean();
            }
        }
        stages.assert_clean();
        eprintln!("{killed} of {kills} hooks were killed");
        assert!(
            killed * 2 >= kills,
            "most moments are in the middle of a build"
        );
    }
}

/// One build whose hook is killed at `moment`, and then the same derivation again. Whether there was one to kill.
fn survives(stages: &Stages, name: &str, moment: Moment) -> bool {
    let options = options(stages, name);
    stages.link.reset();
    let coordinator = &stages.bed.pair.coordinator;
    let (killed, first) = thread::scope(|scope| {
        let client = scope.spawn(|| build(coordinator, name, &options));
        let killed = kill(stages, moment, || client.is_finished());
        (killed, client.join().expect("the thread does not panic"))
    });
    let status = first.failure.as_ref().map(|(status, _)| *status);
    eprintln!("{name}: {moment:?}, killed: {killed}, failed: {status:?}");
    stages.assert_idle();
    // The daemon registers all outputs of a build at once.
    let registered = first.outputs.len();
    let expected = match status {
        Some(_) => 0,
        None => 2,
    };
    assert_eq!(registered, expected, "{moment:?}: {}", first.said);
    let again = build(coordinator, name, &options);
    assert_eq!(again.failure, None, "{}", again.said);
    let count = format!("ls {} | wc -l", again.out());
    assert_eq!(stages.bed.run(&["sh", "-c", &count]), "40");
    stages.assert_idle();
    killed
}
