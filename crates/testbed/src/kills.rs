//! A process killed at moments of a build that are drawn from a seed.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{Direction, Link, Process};

/// The environment variable that says how many moments are tried.
pub const KILLS_VARIABLE: &str = "OFFLOAD_TEST_KILLS";

/// The environment variable whose number means the same moments each time.
pub const SEED_VARIABLE: &str = "OFFLOAD_TEST_SEED";

/// Where the environment has no other.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// After so many kills it is looked whether all is whole.
const CHECK_EVERY: u32 = 20;

/// How long after its bytes a moment may be, in milliseconds: what a hook does last takes less.
const LATEST_MS: u64 = 40;

/// When a process is killed: so many milliseconds after so many bytes have passed a link that way.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    direction: Direction,
    bytes: u64,
    after_ms: u64,
}

impl Moment {
    /// Runs `build`, and at this moment of it kills (SIGKILL) the process that `victim` finds. Says whether there was one
    /// to kill, and what became of the build.
    ///
    /// # Panics
    /// If the moment does not come within `limit`; or as `build` does.
    pub fn kill<T: Send>(
        self,
        link: &Link,
        limit: Duration,
        victim: impl Fn() -> Option<Process>,
        build: impl FnOnce() -> T + Send,
    ) -> (bool, T) {
        link.reset();
        thread::scope(|scope| {
            let client = scope.spawn(build);
            let comes = self.comes(link, limit, || client.is_finished());
            let killed = comes && victim().is_some_and(|it| it.signal(Signal::KILL).is_ok());
            let built = client.join();
            let built = built.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (killed, built)
        })
    }

    /// Waits until it is there, unless the build is over before.
    fn comes(self, link: &Link, limit: Duration, is_over: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let look = Duration::from_millis(1);
        while !link.wait_for(self.direction, self.bytes, look) {
            assert!(Instant::now() < deadline, "{self:?} never comes");
            if is_over() {
                return false;
            }
        }
        thread::sleep(Duration::from_millis(self.after_ms));
        true
    }
}

/// How many moments are tried, and which.
#[derive(Debug, Clone, Copy)]
pub struct Kills {
    count: u32,
    seed: u64,
}

impl Kills {
    /// As the environment says: [`KILLS_VARIABLE`], `count` where it is not set, and [`SEED_VARIABLE`].
    ///
    /// # Panics
    /// If what it says is no number.
    pub fn from_environment(count: u32) -> Self {
        let kills = number(KILLS_VARIABLE);
        Kills {
            count: kills.map_or(count, |kills| kills.try_into().expect("not that many")),
            seed: number(SEED_VARIABLE).unwrap_or(SEED).max(1),
        }
    }

    /// Tries all of them. `build` makes the build of that name, with nothing in its way, and is called until it is known
    /// how much passes the link; `survives` makes it with something killed at that moment, and says whether there was
    /// anything to kill; `whole` asserts now and then, and in the end, that nothing is broken.
    ///
    /// # Panics
    /// If most moments come when nothing is there to be killed.
    pub fn try_all(
        self,
        link: &Link,
        build: impl Fn(&str),
        survives: impl Fn(&str, Moment) -> bool,
        whole: impl Fn(),
    ) {
        let Kills { count, seed } = self;
        eprintln!("{count} kills, {SEED_VARIABLE}={seed}");
        let mut passes = [0; 2];
        // In the second one the machine is known.
        for round in 0..2 {
            link.reset();
            build(&format!("left-alone-{round}"));
            passes = [Direction::ToBuilder, Direction::FromBuilder].map(|way| link.carried(way));
        }
        let mut random = Random(seed);
        let mut killed = 0;
        for round in 1..=count {
            let moment = random.moment(passes);
            killed += u32::from(survives(&format!("killed-{round}"), moment));
            if round % CHECK_EVERY == 0 {
                whole();
            }
        }
        whole();
        eprintln!("{killed} of {count} were killed");
        assert!(
            killed * 2 >= count,
            "most moments are in the middle of a build"
        );
    }
}

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is a number, not {value:?}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_moments_and_none_behind_the_end() {
        let moments = |seed| {
            let mut random = Random(seed);
            [(); 200].map(|()| random.moment([1000, 50]))
        };
        let first = moments(7);
        assert_eq!(format!("{first:?}"), format!("{:?}", moments(7)));
        assert_ne!(format!("{first:?}"), format!("{:?}", moments(8)));
        for moment in first {
            let all = [1000, 50][moment.direction as usize];
            assert!(moment.bytes <= all && moment.after_ms <= LATEST_MS);
        }
        let at_the_end = |moment: &&Moment| moment.bytes == [1000, 50][moment.direction as usize];
        let at_the_end = first.iter().filter(at_the_end).count();
        assert!((30..100).contains(&at_the_end), "{at_the_end}");
    }
}
